/* The children's logs. They append to plain files, so that they go on talking when the supervisor is killed;
 * what grew too large is copied away and the file cut to nothing (a line written in between may be lost). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/up/inside.h"
#include "sys/file.h"

#define PIECE_BYTES (UINT64_C(16) << 20)
#define PIECES 3
#define TAIL_LINES 8
#define TAIL_BYTES 2048

int d_up_log_open(const struct d_up *up, const char *name, int *ret_fd, struct a_error *reterr)
{
    A_AUTOFREE char *path = a_asprintf("%s/%s.log", up->layout.log, name);
    return sys_file_append_open(path, 0600, ret_fd, reterr);
}

static void file_rotate(const char *path)
{
    int ignored A_UNUSED;
    for (int i = PIECES - 1; i >= 1; i--) {
        A_AUTOFREE char *from = a_asprintf("%s.%d", path, i), *to = a_asprintf("%s.%d", path, i + 1);
        if (sys_file_exists(from))
            ignored = sys_file_rename(from, to, NULL);
    }
    A_AUTOFREE char *first = a_asprintf("%s.1", path);
    if (sys_file_copy(path, first, 0600, NULL) == 0)
        ignored = sys_file_clear(path, NULL);
}

static int entry_rotate(void *ctx, const char *name, bool is_dir)
{
    struct sys_stat st;
    size_t n = strlen(name);
    A_AUTOFREE char *path = sys_path_join(ctx, name);
    if (!is_dir && n > 4 && strcmp(name + n - 4, ".log") == 0 && sys_file_stat(path, &st, NULL) == 0 &&
        st.size > PIECE_BYTES)
        file_rotate(path);
    return 0;
}

void d_up_log_rotate(const struct d_up_layout *l)
{
    int ignored A_UNUSED = sys_dir_list(l->log, entry_rotate, l->log, NULL);
}

void d_up_log_tail_print(const struct d_up_layout *l, const char *name)
{
    A_AUTOFREE char *path = a_asprintf("%s/%s.log", l->log, name);
    A_BUF_AUTO struct a_buf tail = {0};
    struct sys_file_facts facts;
    if (sys_file_read_part(path, SYS_FILE_TAIL, TAIL_BYTES, &tail, &facts, NULL) < 0)
        return;
    struct a_view v = a_buf_view(&tail);
    size_t begin = v.len, lines = 0;
    while (begin > 0 && (v.ptr[begin - 1] != '\n' || lines < TAIL_LINES + 1))
        lines += v.ptr[--begin] == '\n';
    for (struct a_view rest = {v.ptr + begin, v.len - begin}; rest.len > 0;) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        if (line.len > 0)
            fprintf(stderr, "  %s: " A_VIEW_FMT "\n", name, A_VIEW_ARG(line));
    }
}
