/* A member's folder, before it starts and after it ended. What is here and not in d_prepare_document() runs
 * in the io pool; the member is the job's alone meanwhile.
 *
 *     DATA/members/N/   spec state control log shim.log    the shim's (docs/components/shim.md)
 *                       token                              Ray's, mode 0600
 *                       revision.json                      the revision as it was fetched
 *                       deployed                           digest of the revision that Serve runs
 *                       home/ models/                      HOME; links to models
 *     TEMP_ROOT/astra-XXXXXXXX/   r/ tmp/                  Ray's session with the logs of its workers; TMPDIR
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"

#define DOCUMENT_MAX (8 << 20)
#define ENVIRON_MAX (1 << 20)
#define SHM_SPARE_BYTES (64 << 20) /* beside Ray's object store: what other libraries put into /dev/shm */
#define OPEN_FILES 65536
#define KILL_ROUNDS 50
#define PORT_ROUNDS 250

/* ---- the revision ---- */

static int need_add(struct d_member *m, int kind, const char *name, const struct wire_value *v,
                    struct a_error *reterr)
{
    struct d_need need = {.kind = kind, .name = name};
    if (!a_digest_parse(wire_value_view(v), &need.digest))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "revision: %s: expected sha256:HEX", name);
    m->needs = a_realloc(m->needs, (m->n_needs + 1) * sizeof *m->needs);
    m->needs[m->n_needs++] = need;
    return 0;
}

/* The first that fits this node's processor. */
static int environment_choose(struct d_member *m, const struct wire_value *doc, struct a_error *reterr)
{
    wire_value_foreach(env, wire_value_get(doc, "environment"))
    {
        const struct wire_value *arch = wire_value_get(env, "arch");
        if (wire_value_is_null(arch) || a_view_is(wire_value_view(arch), sys_env_arch()))
            return need_add(m, D_NEED_ENVIRONMENT, "environment", wire_value_get(env, "digest"), reterr);
    }
    return a_fail(reterr, -EINVAL, A_CODE_ENV_MISMATCH, "the app has no environment for %s nodes",
                  sys_env_arch());
}

int d_prepare_document(struct d_member *m, struct a_error *reterr)
{
    A_AUTOFREE char *blob = artifact_cache_blob(&m->agent->cache, &m->revision_digest);
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *doc;
    m->n_needs = 0;
    int rc = sys_file_read(blob, DOCUMENT_MAX, &text, reterr);
    if (rc < 0)
        return rc;
    a_arena_deinit(&m->arena);
    m->document = NULL;
    rc = wire_json_parse(&m->arena, a_buf_view(&text), "revision", NULL, &doc, reterr);
    if (rc < 0)
        return rc;
    rc = environment_choose(m, doc, reterr);
    if (rc == 0 && !wire_value_is_null(wire_value_get(doc, "code")))
        rc = need_add(m, D_NEED_CODE, "code", wire_value_get(doc, "code"), reterr);
    wire_value_foreach(model, wire_value_get(doc, "models"))
    {
        if (rc == 0)
            rc = need_add(m, D_NEED_MODEL, a_arena_strndup(&m->arena, model->key.ptr, model->key.len), model,
                          reterr);
    }
    if (rc == 0) {
        m->document = doc;
        m->document_digest = m->revision_digest;
    }
    return rc;
}

/* ---- artifacts ---- */

static int environment_prepare(struct d_member *m, const struct d_need *need, struct a_error *reterr)
{
    const struct artifact_cache *cache = &m->agent->cache;
    A_AUTOFREE char *blob = artifact_cache_blob(cache, &need->digest);
    A_BUF_AUTO struct a_buf text = {0};
    struct artifact_manifest manifest;
    char glibc[32];
    const struct artifact_host host = {.platform = sys_env_machine(), .glibc = glibc};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    sys_env_glibc(glibc, sizeof glibc);
    int rc = artifact_peek(blob, ARTIFACT_MANIFEST_FILE, ARTIFACT_MANIFEST_MAX, &text, &e);
    if (rc < 0)
        return a_fail(reterr, rc, e.code == A_CODE_OS ? A_CODE_OS : A_CODE_ENV_MISMATCH,
                      "environment: no packed environment: %s", a_error_text(&e));
    rc = artifact_manifest_check(a_buf_view(&text), &host, &manifest, reterr);
    return rc < 0 ? rc : artifact_cache_unpack(cache, &need->digest, NULL, &m->environment_dir, reterr);
}

static int needs_prepare(struct d_member *m, struct a_error *reterr)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_needs; i++) {
        const struct d_need *need = &m->needs[i];
        if (need->kind == D_NEED_ENVIRONMENT)
            rc = environment_prepare(m, need, reterr);
        else if (need->kind == D_NEED_CODE)
            rc = artifact_cache_unpack(&m->agent->cache, &need->digest, NULL, &m->code_dir, reterr);
        if (rc < 0)
            a_error_wrap(reterr, "%s", need->name);
    }
    return rc;
}

static int models_link(const struct d_member *m, struct a_error *reterr)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_needs; i++) {
        if (m->needs[i].kind != D_NEED_MODEL)
            continue;
        A_AUTOFREE char *blob = artifact_cache_blob(&m->agent->cache, &m->needs[i].digest);
        A_AUTOFREE char *path = a_asprintf("%s/models/%s", m->folder, m->needs[i].name);
        if (!sys_path_is_inside(a_view_str(m->needs[i].name)) || strchr(m->needs[i].name, '/') != NULL)
            rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "model \"%s\": not a name", m->needs[i].name);
        else
            rc = sys_symlink_replace(blob, path, reterr);
    }
    return rc;
}

/* ---- the folder ---- */

static int folder_make(const struct d_member *m, struct a_error *reterr)
{
    static const char *const below[] = {"home", "models"};
    A_AUTOFREE char *token = sys_path_join(m->folder, "token");
    A_AUTOFREE char *ray = sys_path_join(m->temp, D_MEMBER_RAY_DIR);
    A_AUTOFREE char *tmp = sys_path_join(m->temp, "tmp");
    A_AUTOFREE char *revision = sys_path_join(m->folder, "revision.json");
    A_AUTOFREE char *blob = artifact_cache_blob(&m->agent->cache, &m->document_digest);
    struct a_view secret = sys_secret_view(&m->token);
    int rc = sys_dir_make(m->folder, 0700, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(below); i++) {
        A_AUTOFREE char *path = sys_path_join(m->folder, below[i]);
        rc = sys_dir_make(path, 0700, reterr);
    }
    if (rc == 0)
        rc = sys_dir_make(m->temp, 0700, reterr);
    if (rc == 0)
        rc = sys_dir_make(ray, 0700, reterr);
    if (rc == 0)
        rc = sys_dir_make(tmp, 0700, reterr);
    if (rc == 0)
        rc = sys_file_write_atomic(token, secret.ptr, secret.len, 0600, reterr);
    if (rc == 0)
        rc = sys_file_copy(blob, revision, 0600, reterr);
    return rc < 0 ? rc : models_link(m, reterr);
}

bool d_prepare_has_workers(const struct d_member *m)
{
    return wire_value_count(wire_value_path(m->document, "spec.workers")) > 0;
}

int d_prepare_serve(const struct d_member *m, struct a_buf *ret_body, bool *ret_shared,
                    struct a_error *reterr)
{
    A_AUTOFREE char *models = sys_path_join(m->folder, "models");
    bool workers = d_prepare_has_workers(m), local = false;
    const struct unit_ray_serve s = {
        .document = m->document,
        .unit = m->id.unit.s,
        .models_dir = workers ? D_SHIM_SHM_MODELS : models,
        .host =
            workers ? "0.0.0.0" : m->agent->address, /* Ray has one host for the replicas of all members */
        .port_first = m->port_first,
    };
    int rc = unit_ray_serve_body(&s, ret_body, &local, reterr);
    if (rc == 0)
        *ret_shared = workers && local;
    return rc;
}

/* The part of the spec that describes this member: spec.head, or the worker group of its name. */
static const struct wire_value *member_spec(const struct d_member *m)
{
    const struct wire_value *spec = wire_value_get(m->document, "spec");
    if (m->head)
        return wire_value_get(spec, "head");
    wire_value_foreach(worker, wire_value_get(spec, "workers"))
    {
        if (strcmp(wire_value_string(wire_value_get(worker, "name"), ""), m->group) == 0)
            return worker;
    }
    return NULL;
}

static bool member_serves(const struct d_member *m, const struct wire_value *own)
{
    const char *word = wire_value_string(wire_value_get(own, "serves"), "auto");
    if (!m->head || strcmp(word, "always") == 0)
        return true;
    return strcmp(word, "never") != 0 && !d_prepare_has_workers(m);
}

static int command_build(struct d_member *m, struct a_arena *arena, struct unit_ray_command *ret,
                         struct a_error *reterr)
{
    const struct d_agent *a = m->agent;
    const struct wire_value *own = member_spec(m);
    uint64_t shm = 0;
    const char *shm_text = wire_value_string(wire_value_get(own, "shm"), NULL);
    if (shm_text != NULL && !a_text_bytes(a_view_str(shm_text), &shm))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "shm: %s is no number of bytes", shm_text);
    const struct unit_ray_start start = {
        .role = m->head ? UNIT_RAY_HEAD : UNIT_RAY_WORKER,
        .environment_dir = m->environment_dir,
        .ip = a->address,
        .port_first = m->port_first,
        .head_ip = m->head_address,
        .head_port_first = m->head_port,
        .temp_dir = a_arena_printf(arena, "%s/" D_MEMBER_RAY_DIR, m->temp),
        .token_path = a_arena_printf(arena, "%s/token", m->folder),
        .mcpu = m->capacity.mcpu,
        .memory_bytes = m->capacity.memory_bytes,
        .object_store_bytes = shm,
        .serves = member_serves(m, own),
        .ray = wire_value_get(own, "ray"),
        .claim = m->key,
        .tfcc_page_dir = a_arena_printf(arena, "%s/tfcc", a->data),
        .namespace = wire_value_string(wire_value_path(m->document, "app.namespace"), "default"),
        .app = wire_value_string(wire_value_path(m->document, "app.name"), ""),
        .unit = m->id.unit.s,
        .member = m->id.member.s,
        .models_dir = a_arena_printf(arena, "%s/models", m->folder),
        .models = wire_value_get(m->document, "models"),
        .log_level = wire_value_string(wire_value_path(m->document, "spec.logs.level"), NULL),
        .code_dir = m->code_dir,
        .revision = (uint64_t)wire_value_int(wire_value_get(m->document, "revision"), 0),
        .extra_pythonpath = a->libdir != NULL ? a_arena_printf(arena, "%s/python", a->libdir) : NULL,
        .home_dir = a_arena_printf(arena, "%s/home", m->folder),
        .tmp_dir = a_arena_printf(arena, "%s/tmp", m->temp),
        .env = wire_value_get(m->document, "env"),
    };
    return unit_ray_command_build(&start, arena, ret, reterr);
}

/* Replicas of one unit read one config: where they lie on several nodes, its paths must be the same on all.
 */
static int serve_look(struct d_member *m, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf body = {0};
    int rc = d_prepare_serve(m, &body, &m->shared_models, reterr);
    if (rc == 0 && m->shared_models && m->agent->options.namespaces_off)
        rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s", D_RUN_NO_SHARED_MODELS);
    return rc;
}

static int spec_write(struct d_member *m, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_CLEANUP(d_shim_spec_deinit)
    struct d_shim_spec spec = {0};
    A_BUF_AUTO struct a_buf text = {0};
    A_AUTOFREE char *path = sys_path_join(m->folder, D_SHIM_SPEC_FILE);
    struct unit_ray_command command = {0};
    int rc = serve_look(m, reterr);
    if (rc == 0)
        rc = command_build(m, &arena, &command, reterr);
    if (rc < 0)
        return rc;
    a_assert(command.argv != NULL && command.envp != NULL);
    for (size_t i = 0; command.argv[i] != NULL; i++)
        d_shim_spec_add_arg(&spec, command.argv[i]);
    for (size_t i = 0; command.envp[i] != NULL; i++)
        d_shim_spec_add_env(&spec, command.envp[i]);
    spec.cwd = a_asprintf("%s/home", m->folder);
    spec.set_ids = m->uid != 0;
    spec.uid = spec.gid = m->uid;
    if (m->uid != 0) /* no file knows a name for this number, and programs ask for one */
        d_shim_spec_add_env(&spec, "USER=astra");
    spec.no_namespaces = m->agent->options.namespaces_off;
    spec.shm_bytes = command.object_store_bytes + SHM_SPARE_BYTES;
    if (d_prepare_has_workers(m))
        spec.shm_models = a_asprintf("%s/models", m->folder);
    spec.open_files = OPEN_FILES;
    d_shim_spec_print(&spec, &text);
    return sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
}

/* ---- what is left ---- */

static bool process_marked(pid_t pid, const char *mark)
{
    char path[64];
    A_BUF_AUTO struct a_buf text = {0};
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    if (sys_file_read(path, ENVIRON_MAX, &text, NULL) < 0)
        return false;
    size_t n = strlen(mark) + 1;
    for (struct a_view rest = a_buf_view(&text); rest.len >= n;) {
        struct a_view variable = a_view_split(rest, '\0', &rest);
        if (a_view_is(variable, mark))
            return true;
    }
    return false;
}

/* Kills every process that carries the member's mark, until a round finds none: what a killed shim without
 * namespaces left behind. */
static int marked_kill(const struct d_member *m, struct a_error *reterr)
{
    A_AUTOFREE char *mark = a_asprintf("ASTRA_CLAIM=%s", m->key);
    for (int round = 0; round < KILL_ROUNDS; round++) {
        struct sys_proc_list list;
        size_t found = 0;
        int rc = sys_proc_list(0, &list, reterr);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < list.len; i++) {
            if (list.items[i].state == 'Z' || !process_marked(list.items[i].id.pid, mark))
                continue;
            found++;
            rc = sys_proc_kill(&list.items[i].id, SIGKILL);
        }
        sys_proc_list_deinit(&list);
        if (found == 0)
            return 0;
        sys_clock_sleep_ms(20);
    }
    return a_fail(reterr, -EBUSY, A_CODE_OS, "processes of %s do not end", m->key);
}

void d_prepare_run(void *ctx)
{
    struct d_member *m = ctx;
    struct a_error *e = &m->job_error;
    int rc = marked_kill(m, e); /* a shim that an agent started with its last breath */
    if (rc == 0)
        rc = sys_dir_remove(m->folder, e);
    if (rc == 0)
        rc = sys_dir_remove(m->temp, e);
    if (rc == 0)
        rc = needs_prepare(m, e);
    if (rc == 0)
        rc = folder_make(m, e);
    if (rc == 0 && m->uid != 0)
        rc = d_tenant_give(m, e);
    m->job_rc = rc < 0 ? rc : spec_write(m, e);
}

static bool keep_others(void *ctx, uint64_t claim)
{
    return claim != ((const struct d_member *)ctx)->number;
}

/* A killed process may take a moment to let its sockets go; its block is not free before. A stranger on one
 * of the ports is not waited for longer than that. */
static void ports_await(const struct d_member *m)
{
    for (int round = 0; round < PORT_ROUNDS; round++) {
        bool used = false;
        for (int i = 0; i < UNIT_RAY_PORTS && !used; i++)
            used = sys_port_is_used((uint16_t)(m->port_first + i));
        if (!used)
            return;
        sys_clock_sleep_ms(20);
    }
}

void d_clean_run(void *ctx)
{
    struct d_member *m = ctx;
    struct a_error *e = &m->job_error;
    int rc = marked_kill(m, e);
    if (rc == 0) {
        ports_await(m);
        d_ended_keep(m);
        rc = sys_dir_remove(m->temp, e);
    }
    if (rc == 0)
        rc = sys_dir_remove(m->folder, e);
    if (rc == 0)
        artifact_cache_unref(&m->agent->cache, m->agent->id.s, keep_others, m);
    m->job_rc = rc;
}
