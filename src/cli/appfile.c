#include "cli/appfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sys/file.h"

#define FILE_MAX (8 << 20)

/* --namespace fills in what the file leaves out. */
static void namespace_settle(struct cli_call *c, struct cli_appfile *f)
{
    struct wire_value *metadata = wire_value_get(f->doc, "metadata");
    const struct wire_value *own = wire_value_get(metadata, "namespace");
    const char *asked = c->common.namespace;
    if (asked == NULL || !wire_value_is(metadata, WIRE_VALUE_OBJECT))
        return;
    if (own == NULL)
        wire_value_set_string(c->arena, metadata, "namespace", asked);
    else if (strcmp(wire_value_string(own, ""), asked) != 0)
        wire_problem_add(&f->problems, A_CODE_APP_INVALID, "metadata.namespace", own,
                         "leave one of the two out", "the file says %s, --namespace says %s",
                         wire_value_string(own, "?"), asked);
}

int cli_appfile_read(struct cli_call *c, const char *path, struct cli_appfile *ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *raw;
    struct cli_appfile f = {.path = path, .problems.arena = c->arena};
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = wire_yaml_parse(c->arena, a_buf_view(&text), path, NULL, &raw, reterr);
    if (rc != 0)
        return rc;
    const char *slash = strrchr(path, '/');
    f.folder = slash == NULL   ? "."
               : slash == path ? "/"
                               : a_arena_strndup(c->arena, path, (size_t)(slash - path));
    f.doc = unit_app_expand(c->arena, raw);
    namespace_settle(c, &f);
    unit_app_check(&f.problems, f.doc, &f.app);
    f.name = wire_value_string(wire_value_path(f.app, "metadata.name"), "");
    f.namespace = wire_value_string(wire_value_path(f.app, "metadata.namespace"), cli_namespace(c));
    *ret = f;
    return 0;
}

int cli_appfile_verdict(const struct cli_appfile *f, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_problems_print(&b, &f->problems, f->path);
    if (b.len > 0)
        fwrite(b.ptr, 1, b.len, stderr);
    if (f->problems.n_errors == 0)
        return 0;
    return a_fail(reterr, -EINVAL, A_CODE_APP_INVALID, "%s has %zu error%s; nothing was changed", f->path,
                  f->problems.n_errors, f->problems.n_errors == 1 ? "" : "s");
}

struct wire_value *cli_appfile_problems(struct cli_call *c, const struct cli_appfile *f)
{
    struct wire_value *list = wire_value_new_array(c->arena);
    for (const struct wire_problem *p = f->problems.first; p != NULL; p = p->next) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set_string(c->arena, v, "severity", p->code == A_CODE_NONE ? "warning" : "error");
        wire_value_set_string(c->arena, v, "code", p->code == A_CODE_NONE ? NULL : a_code_name(p->code));
        wire_value_set_string(c->arena, v, "field", p->field);
        wire_value_set_int(c->arena, v, "line", p->line);
        wire_value_set_int(c->arena, v, "column", p->column);
        wire_value_set_string(c->arena, v, "message", p->message);
        wire_value_set_string(c->arena, v, "hint", p->hint);
        wire_value_append(list, v);
    }
    return list;
}
