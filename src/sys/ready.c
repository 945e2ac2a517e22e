#include "sys/ready.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "sys/file.h"

int sys_ready_write(const char *path, const struct sys_ready_port *ports, size_t n_ports,
                    struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "{\"pid\": %ld", (long)getpid());
    for (size_t i = 0; i < n_ports; i++) {
        a_buf_add_str(&b, ", ");
        a_text_print_json(&b, a_view_str(ports[i].name));
        a_buf_addf(&b, ": %u", ports[i].port);
    }
    a_buf_add_str(&b, "}\n");
    return sys_file_write_atomic(path, b.ptr, b.len, 0600, reterr);
}
