#include "base/metrics.h"

#include <inttypes.h>

void a_metric_head(struct a_buf *b, const char *name, const char *type, const char *help)
{
    a_buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void a_metric_print(struct a_buf *b, const char *name, const char *type, const char *help, uint64_t value)
{
    a_metric_head(b, name, type, help);
    a_buf_addf(b, "%s %" PRIu64 "\n", name, value);
}

void a_metric_label(struct a_buf *b, struct a_view value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"')
            a_buf_add_char(b, '\\');
        if (c == '\n')
            a_buf_add_str(b, "\\n");
        else
            a_buf_add_char(b, c);
    }
}
