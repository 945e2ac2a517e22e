#include "tfcc/page_name.h"

#include <stdbool.h>
#include <string.h>

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

void tfcc_page_name(const char *model, char *ret)
{
    const char *slash = strrchr(model, '/');
    size_t n = 0;
    for (const char *at = slash != NULL ? slash + 1 : model; *at != '\0' && n < TFCC_PAGE_NAME_MAX; at++, n++)
        ret[n] = is_plain(*at) && (n > 0 || *at != '.') ? *at : '_';
    ret[n] = '\0';
}
