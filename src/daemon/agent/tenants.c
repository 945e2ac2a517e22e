/* How members of two namespaces on one node are kept apart.
 *
 * Where the agent may switch users, each namespace has a user of its own out of a range of 65536, by the
 * order in which namespaces came to this node (DATA/tenants; never given to another one): what it writes is
 * its own, and so are its processes' environments. A member's folders stay the agent's, and only its group
 * passes: Ray, and whoever writes there, may open what is in them to everybody. Folders that lead to what
 * members need can be passed through by all and listed by none: of the shared cache one reads what one knows
 * the digest of.
 *
 * Where it may not (no root, a user namespace without such numbers, a folder above DATA that is closed,
 * members that an agent without users left here), the node takes claims of one namespace at a time: the node
 * core refuses the others, and the server knows. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/user.h"

#define TENANTS_MAX 65536u
#define FILE_MAX ((A_NAME_MAX + 1) * TENANTS_MAX)
#define PASS 0711  /* through it, but not to be listed */
#define DROP 01733 /* everybody may put a file there, and touch only his own */

struct d_tenants {
    bool switches; /* users are switched */
    uint32_t first;
    struct a_buf names; /* one a line, in order */
};

static bool everything_is_passable(const struct d_agent *a)
{
    const struct {
        const char *path;
        bool ours; /* opened by folders_open() itself */
    } roots[] = {{a->data, true}, {a->cache.dir, true}, {a->options.temp_root, false}, {a->libdir, false}};
    for (size_t i = 0; i < A_ARRAY_SIZE(roots); i++) {
        A_AUTOFREE char *inside =
            a_asprintf("%s%s", roots[i].path != NULL ? roots[i].path : "", roots[i].ours ? "" : "/.");
        if (roots[i].path != NULL && !sys_path_is_passable(inside))
            return false;
    }
    return true;
}

/* The data folder is ours to open, and often has the others below it. */
static bool data_open(const struct d_agent *a)
{
    return sys_path_is_passable(a->data) && sys_path_chmod(a->data, PASS, NULL) == 0;
}

static int folders_open(const struct d_agent *a, struct a_error *reterr)
{
    const struct {
        const char *dir, *below;
        mode_t mode;
    } folders[] = {{a->data, "", PASS},      {a->data, "members", PASS},   {a->data, "tfcc", DROP},
                   {a->cache.dir, "", PASS}, {a->cache.dir, "tree", PASS}, {a->cache.dir, "blob", PASS}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(folders); i++) {
        A_AUTOFREE char *path = a_asprintf("%s/%s", folders[i].dir, folders[i].below);
        rc = sys_path_chmod(path, folders[i].mode, reterr);
    }
    return rc;
}

static int names_load(struct d_agent *a, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(a->data, "tenants");
    return sys_file_exists(path) ? sys_file_read(path, FILE_MAX, &a->tenants->names, reterr) : 0;
}

/* Members that an agent before this one started as its own user. */
static bool has_members_as_us(const struct d_agent *a)
{
    A_AUTOFREE char *path = sys_path_join(a->data, "tenants");
    return a->node.n_claims > 0 && !sys_file_exists(path);
}

static const char *why_no_users(struct d_agent *a, bool automatic, uint32_t first)
{
    if (!sys_user_may_switch(first, TENANTS_MAX))
        return "this process may not become other users";
    if (!data_open(a) || !everything_is_passable(a))
        return "a folder above --data, --cache, --temp-root or --libdir is closed to other users";
    if (automatic && has_members_as_us(a))
        return "members of before run as the agent's user; with the next start without any";
    return NULL;
}

int d_tenants_open(struct d_agent *a, struct a_error *reterr)
{
    const char *mode = a->options.isolation;
    uint64_t first = 0;
    bool automatic = strcmp(mode, "auto") == 0, wanted = strcmp(mode, "user") == 0;
    if (!automatic && !wanted && strcmp(mode, "node") != 0 && strcmp(mode, "off") != 0)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--isolation %s: expected auto, user, node or off",
                      mode);
    if (!a_text_u64(a_view_str(a->options.uid_first), &first) || first == 0 ||
        first > UINT32_MAX - TENANTS_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--uid-first %s: expected a number of a user",
                      a->options.uid_first);
    const char *why = wanted || automatic ? why_no_users(a, automatic, (uint32_t)first) : NULL;
    if (wanted && why != NULL)
        return a_fail(reterr, -EPERM, A_CODE_FORBIDDEN, "--isolation user: %s", why);
    a->tenants = a_new(struct d_tenants);
    a->tenants->first = (uint32_t)first;
    a->tenants->switches = (wanted || automatic) && why == NULL;
    a->node.exclusive = strcmp(mode, "node") == 0 || (automatic && why != NULL);
    sys_log(INFO, "agent", "isolation", "how namespaces are kept apart",
            SYS_STR("by", a->tenants->switches ? "user"
                          : a->node.exclusive  ? "node"
                                               : "nothing"),
            SYS_STR("why", why != NULL ? why : "as asked"));
    int rc = a->tenants->switches ? folders_open(a, reterr) : 0;
    return rc == 0 && a->tenants->switches ? names_load(a, reterr) : rc;
}

void d_tenants_close(struct d_agent *a)
{
    if (a->tenants != NULL)
        a_buf_deinit(&a->tenants->names);
    a_free(a_steal(&a->tenants));
}

int d_tenant_user(struct d_agent *a, const struct a_name *namespace, uint32_t *ret_uid,
                  struct a_error *reterr)
{
    struct d_tenants *t = a->tenants;
    uint32_t n = 0;
    *ret_uid = 0;
    if (!t->switches)
        return 0;
    for (struct a_view rest = a_buf_view(&t->names); rest.len > 0; n++)
        if (a_view_is(a_view_split(rest, '\n', &rest), namespace->s)) {
            *ret_uid = t->first + n;
            return 0;
        }
    if (n >= TENANTS_MAX)
        return a_fail(reterr, -ENOSPC, A_CODE_UNAVAILABLE,
                      "this node has seen %u namespaces: no user is left", n);
    A_AUTOFREE char *path = sys_path_join(a->data, "tenants");
    a_buf_addf(&t->names, "%s\n", namespace->s);
    int rc = sys_file_write_atomic(path, t->names.ptr, t->names.len, 0600, reterr);
    if (rc == 0)
        *ret_uid = t->first + n;
    else
        t->names.len -= strlen(namespace->s) + 1;
    return rc;
}

int d_tenant_give(const struct d_member *m, struct a_error *reterr)
{
    A_AUTOFREE char *home = sys_path_join(m->folder, "home");
    A_AUTOFREE char *models = sys_path_join(m->folder, "models");
    A_AUTOFREE char *token = sys_path_join(m->folder, "token");
    A_AUTOFREE char *ray = sys_path_join(m->temp, D_MEMBER_RAY_DIR);
    A_AUTOFREE char *tmp = sys_path_join(m->temp, "tmp");
    const char *const own[] = {home, token, ray, tmp};
    const char *const read[] = {models, m->environment_dir, m->code_dir};
    int rc = sys_user_let_pass(m->folder, m->uid, reterr);
    if (rc == 0)
        rc = sys_user_let_pass(m->temp, m->uid, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(own); i++)
        rc = sys_user_give(own[i], m->uid, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(read); i++)
        if (read[i] != NULL)
            rc = sys_path_chmod(read[i], 0755, reterr);
    for (size_t i = 0; rc == 0 && i < m->n_needs; i++) {
        A_AUTOFREE char *blob = artifact_cache_blob(&m->agent->cache, &m->needs[i].digest);
        if (m->needs[i].kind == D_NEED_MODEL)
            rc = sys_path_chmod(blob, 0644, reterr);
    }
    return rc;
}
