#include "daemon/up/members.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/shim/spec.h"
#include "sys/file.h"

#define STATE_MAX 4096
#define ENVIRON_MAX (1 << 20)

/* ---- finding ---- */

/* The value of NAME in the spec's environment. */
static const char *spec_variable(const struct d_shim_spec *spec, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < spec->n_env; i++)
        if (strncmp(spec->env[i], name, n) == 0 && spec->env[i][n] == '=')
            return spec->env[i] + n + 1;
    return "?";
}

static void spec_read(struct d_up_member *m, const char *folder, const char *node)
{
    A_CLEANUP(d_shim_spec_deinit)
    struct d_shim_spec spec = {0};
    A_AUTOFREE char *path = sys_path_join(folder, D_SHIM_SPEC_FILE);
    A_BUF_AUTO struct a_buf text = {0};
    if (sys_file_read(path, D_SHIM_SPEC_MAX, &text, NULL) < 0 ||
        d_shim_spec_parse(a_buf_view(&text), &spec, NULL) < 0) {
        m->label = a_asprintf("a member on %s", node);
        return;
    }
    m->label = a_asprintf("%s/%s on %s", spec_variable(&spec, "ASTRA_UNIT"),
                          spec_variable(&spec, "ASTRA_MEMBER"), node);
    m->mark = a_asprintf("ASTRA_CLAIM=%s", spec_variable(&spec, "ASTRA_CLAIM"));
}

static void state_read(struct d_up_member *m, const char *folder)
{
    A_AUTOFREE char *path = sys_path_join(folder, D_SHIM_STATE_FILE);
    A_BUF_AUTO struct a_buf text = {0};
    struct d_shim_state state;
    if (sys_file_read(path, STATE_MAX, &text, NULL) < 0 ||
        d_shim_state_parse(a_buf_view(&text), &state, NULL) < 0)
        return;
    m->shim = (struct sys_proc_id){(pid_t)state.shim.pid, state.shim.start};
    m->first = (struct sys_proc_id){(pid_t)state.member.pid, state.member.start};
}

struct walk {
    const struct d_up_layout *layout;
    struct a_list *members;
    const char *node, *folder; /* NODES/NODE/members */
};

static int member_entry(void *ctx, const char *name, bool is_dir)
{
    const struct walk *w = ctx;
    if (!is_dir)
        return 0;
    A_AUTOFREE char *folder = sys_path_join(w->folder, name);
    struct d_up_member *m = a_new(struct d_up_member);
    spec_read(m, folder, w->node);
    state_read(m, folder);
    a_list_push_back(w->members, &m->link);
    return 0;
}

static int node_entry(void *ctx, const char *name, bool is_dir)
{
    struct walk *w = ctx;
    A_AUTOFREE char *folder = a_asprintf("%s/%s/members", w->layout->nodes, name);
    if (!is_dir || !sys_file_exists(folder))
        return 0;
    w->node = name;
    w->folder = folder;
    int ignored A_UNUSED = sys_dir_list(folder, member_entry, w, NULL);
    return 0;
}

void d_up_members_find(const struct d_up_layout *l, struct a_list *members)
{
    struct walk w = {.layout = l, .members = members};
    if (sys_file_exists(l->nodes)) {
        int ignored A_UNUSED = sys_dir_list(l->nodes, node_entry, &w, NULL);
    }
}

void d_up_members_free(struct a_list *members)
{
    a_list_foreach_safe (it, members) {
        struct d_up_member *m = a_list_entry(it, struct d_up_member, link);
        a_list_remove(it);
        a_free(m->label);
        a_free(m->mark);
        a_free(m);
    }
}

/* ---- their processes ---- */

static bool environ_has(struct a_view environ_text, const char *variable)
{
    for (struct a_view rest = environ_text; variable != NULL && rest.len > 0;)
        if (a_view_is(a_view_split(rest, '\0', &rest), variable))
            return true;
    return false;
}

static bool process_is_ours(const struct d_up_layout *l, struct a_list *members, pid_t pid)
{
    A_BUF_AUTO struct a_buf text = {0};
    if (sys_proc_environ(pid, ENVIRON_MAX, &text) < 0)
        return false;
    if (environ_has(a_buf_view(&text), l->mark))
        return true;
    a_list_foreach (it, members) {
        struct d_up_member *m = a_list_entry(it, struct d_up_member, link);
        if (environ_has(a_buf_view(&text), m->mark)) {
            m->processes++;
            return true;
        }
    }
    return false;
}

static size_t processes_each(const struct d_up_layout *l, struct a_list *members, int signum)
{
    struct sys_proc_list list;
    const struct sys_proc_id self = sys_proc_self();
    size_t n = 0;
    if (sys_proc_list(0, &list, NULL) < 0)
        return 0;
    for (size_t i = 0; i < list.len; i++) {
        const struct sys_proc_info *info = &list.items[i];
        if (info->state == 'Z' || info->id.pid == self.pid || !process_is_ours(l, members, info->id.pid))
            continue;
        n++;
        if (signum != 0) {
            int ignored A_UNUSED = sys_proc_kill(&info->id, signum);
        }
    }
    sys_proc_list_deinit(&list);
    return n;
}

size_t d_up_members_count(const struct d_up_layout *l, struct a_list *members)
{
    a_list_foreach (it, members) {
        a_list_entry(it, struct d_up_member, link)->processes = 0;
    }
    return processes_each(l, members, 0);
}

size_t d_up_members_kill(const struct d_up_layout *l, struct a_list *members)
{
    return processes_each(l, members, SIGKILL);
}
