#include "daemon/agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "daemon/agent/inside.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/ready.h"

#define HOST_MAX 254

/* ---- who we are ---- */

/* The node's id follows from a key that is made once and stays with the data folder. */
static int identity_open(struct d_agent *a, struct a_error *reterr)
{
    const struct d_identity_options options = {.role = NET_ROLE_NODE,
                                               .dir = a->data,
                                               .token_path = a->options.token_file,
                                               .cluster = a->cluster,
                                               .name = a->options.name};
    int rc = d_identity_open(&a->identity, &options, reterr);
    a->id = a->identity.id;
    return rc;
}

/* A loopback address of the node's own: two members of one unit on one host must not share one, for Ray finds
 * a node's raylet by its address; and Ray replaces 127.0.0.1 by the machine's outer address. */
static char *address_choose(const struct d_agent *a)
{
    if (a->options.address != NULL)
        return a_strdup(a->options.address);
    uint64_t h = a_hash_str(0, a->id.s);
    return a_asprintf("127.%u.%u.%u", 1 + (unsigned)(h % 250), (unsigned)(h >> 16) % 250,
                      2 + (unsigned)(h >> 32) % 250);
}

static int name_take(const char *flag, const char *text, struct a_name *ret, struct a_error *reterr)
{
    if (text == NULL)
        return 0;
    if (!a_name_parse(a_view_str(text), ret))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s %s: expected a name of a-z, 0-9 and '-'", flag,
                      text);
    return 0;
}

static int capacity_measure(struct d_agent *a, struct a_error *reterr)
{
    struct a_capacity *c = &a->options.capacity;
    uint64_t free_bytes = 0, total;
    int rc = 0;
    if (c->mcpu == 0)
        c->mcpu = sys_env_cpu_m();
    if (c->memory_bytes == 0)
        c->memory_bytes = sys_env_memory_total();
    if (c->disk_bytes == 0)
        rc = sys_disk_free(a->data, &free_bytes, &total, reterr);
    if (c->disk_bytes == 0)
        c->disk_bytes = free_bytes;
    return rc;
}

/* lib/astra beside bin/astra, where nothing else was said; of the installation, where an artifact has none.
 */
static char *libdir_find(const struct d_agent *a)
{
    const char *executables[] = {a->self_path, sys_env_get(D_AGENT_INSTALLED)};
    char *real = NULL;
    if (a->options.libdir != NULL)
        return sys_path_real(a->options.libdir, &real, NULL) == 0 ? real : NULL;
    for (size_t i = 0; i < A_ARRAY_SIZE(executables) && executables[i] != NULL; i++) {
        size_t folder = (size_t)(strrchr(executables[i], '/') - executables[i]);
        A_AUTOFREE char *beside = a_asprintf("%.*s/../lib/astra", (int)folder, executables[i]);
        if (sys_path_real(beside, &real, NULL) == 0)
            return real;
    }
    return NULL;
}

static int options_complete(struct d_agent *a, struct a_error *reterr)
{
    static char host[HOST_MAX];
    struct d_agent_options *o = &a->options;
    sys_env_hostname(host, sizeof host);
    if (o->host == NULL)
        o->host = host;
    if (o->name == NULL)
        o->name = o->host;
    int rc = name_take("cluster", o->cluster, &a->cluster, reterr);
    if (rc == 0)
        rc = name_take("network", o->network, &a->network, reterr);
    if (rc == 0)
        rc = name_take("zone", o->zone, &a->zone, reterr);
    return rc < 0 ? rc : capacity_measure(a, reterr);
}

/* ---- the folder ---- */

static int data_open(struct d_agent *a, struct a_error *reterr)
{
    static const char *const below[] = {"members", "tfcc"};
    int rc = sys_dir_make(a->options.data, 0700, reterr);
    if (rc == 0)
        rc = sys_path_real(a->options.data, &a->data, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(below); i++) {
        A_AUTOFREE char *path = sys_path_join(a->data, below[i]);
        rc = sys_dir_make(path, 0700, reterr);
    }
    if (rc < 0)
        return rc;
    A_AUTOFREE char *lock = sys_path_join(a->data, "lock");
    rc = sys_lock_take(lock, &a->lock_fd, reterr);
    if (rc == -EWOULDBLOCK)
        return a_fail(reterr, rc, A_CODE_CONFLICT, "another agent runs with %s", a->data);
    return rc;
}

static int cache_open(struct d_agent *a, struct a_error *reterr)
{
    A_AUTOFREE char *own = sys_path_join(a->data, "cache");
    int rc = sys_dir_make(a->options.cache != NULL ? a->options.cache : own, 0700, reterr);
    A_AUTOFREE char *real = NULL;
    if (rc == 0)
        rc = sys_path_real(a->options.cache != NULL ? a->options.cache : own, &real, reterr);
    return rc < 0 ? rc : artifact_cache_open(&a->cache, real, reterr);
}

/* ---- start and end ---- */

static void ended(void *ctx, int signum)
{
    struct d_agent *a = ctx;
    (void)signum;
    sys_log(INFO, "agent", "agent.end", "the agent ends; its members run on");
    sys_loop_stop(a->loop);
}

static void slept(void *ctx, uint64_t gap_ms)
{
    struct d_agent *a = ctx;
    sys_log(WARN, "agent", "agent.slept", "the machine was suspended", SYS_U64("ms", gap_ms));
    d_claims_event(a, &(struct sl_node_event){.kind = SL_NODE_EV_SLEPT, .slept_ms = gap_ms});
    if (a->attached)
        d_report_all(a);
}

static int pools_open(struct d_agent *a, struct a_error *reterr)
{
    int rc = sys_loop_new(&a->loop, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_IO, 0, 0, &a->io, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_HASH, 0, 0, &a->hash, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_DNS, 0, 0, &a->dns, reterr);
    if (rc == 0)
        rc = sys_signal_open(a->loop, SIGTERM, ended, a, &a->sigterm, reterr);
    if (rc == 0)
        rc = sys_signal_open(a->loop, SIGINT, ended, a, &a->sigint, reterr);
    return rc;
}

static int agent_open(struct d_agent *a, struct a_error *reterr)
{
    int rc = data_open(a, reterr);
    if (rc == 0)
        rc = options_complete(a, reterr);
    if (rc == 0)
        rc = identity_open(a, reterr);
    if (rc == 0)
        rc = pools_open(a, reterr);
    if (rc == 0)
        rc = cache_open(a, reterr);
    if (rc == 0)
        rc = sys_path_self(&a->self_path, reterr);
    if (rc == 0)
        rc = d_upgrade_start(a, reterr);
    if (rc < 0)
        return rc;
    a->libdir = libdir_find(a);
    a->address = address_choose(a);
    a->ports_dir = a->options.ports_dir != NULL ? a_strdup(a->options.ports_dir) : sys_portblock_dir();
    a->started_ms = sys_loop_now_ms(a->loop);
    a->http = net_http_client_new(a->loop, NULL);
    sys_loop_on_suspend(a->loop, slept, a);
    const struct sys_field common[] = {SYS_STR("node", a->options.name)};
    sys_log_set_common(common, 1);
    rc = d_claims_load(a, reterr);
    return rc < 0 ? rc : d_tenants_open(a, reterr);
}

static int agent_begin(struct d_agent *a, struct a_error *reterr)
{
    int rc = d_http_start(a, reterr);
    if (rc == 0)
        rc = d_link_start(a, reterr);
    if (rc < 0)
        return rc;
    a->begun = true;
    d_outbox_start(a);
    d_claims_begin(a);
    d_usage_start(a);
    d_ended_start(a);
    sys_log(INFO, "agent", "agent.begin", "the agent runs", SYS_STR("id", a->id.s),
            SYS_STR("address", a->address), SYS_U64("incarnation", a->node.incarnation),
            SYS_U64("http", a->http_port));
    const struct sys_ready_port port = {"agent", a->http_port};
    return a->options.ready_file != NULL ? sys_ready_write(a->options.ready_file, &port, 1, reterr) : 0;
}

static bool work_is_left(const struct d_agent *a)
{
    a_list_foreach (it, &a->members) {
        if (a_list_entry(it, struct d_member, link)->job.running)
            return true;
    }
    return d_upgrade_is_working(a) || d_outbox_is_working(a) || a->write.running || a->collect.running ||
           a->ended_look.running || a->scrapes > 0 || !a_list_empty(&a->fetches);
}

/* Nothing new begins; what the pools do is waited for and told. */
static void work_finish(struct d_agent *a)
{
    a->closing = true;
    d_usage_stop(a);
    d_ended_stop(a);
    d_outbox_stop(a);
    d_logs_stop(a);
    d_upgrade_stop(a);
    d_link_stop(a);
    a_list_foreach (it, &a->members) {
        d_member_leave(a_list_entry(it, struct d_member, link));
    }
    while (work_is_left(a)) {
        sys_pool_drain(a->io);
        sys_pool_drain(a->hash);
        sys_loop_turn(a->loop, false);
    }
}

/* Members' shims run on: only what follows them ends. Returns what is to start in our place, or NULL. */
static char *agent_close(struct d_agent *a)
{
    if (a->begun)
        work_finish(a);
    else
        d_link_stop(a);
    net_http_server_free(a->http_server);
    a_list_foreach_safe (it, &a->members) {
        d_member_free(a_list_entry(it, struct d_member, link));
    }
    d_outbox_free(a);
    net_http_client_free(a->http);
    d_identity_close(&a->identity);
    d_tenants_close(a);
    d_claims_free(a);
    for (size_t i = 0; i < a->n_blocks; i++)
        sys_portblock_leave(&a->blocks[i]);
    a_free(a->blocks);
    sys_pool_free(a->io);
    sys_pool_free(a->hash);
    sys_pool_free(a->dns);
    sys_signal_close(a->sigterm);
    sys_signal_close(a->sigint);
    sys_loop_free(a->loop);
    sys_secret_deinit(&a->local_token);
    artifact_cache_close(&a->cache);
    sys_fd_close(a->lock_fd);
    char *next = d_upgrade_free(a);
    char *const owned[] = {a->data, a->libdir, a->self_path, a->ports_dir, a->address};
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++)
        a_free(owned[i]);
    return next;
}

int d_agent_main(int argc, char **argv)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct d_agent *a = a_new(struct d_agent);
    enum sys_log_level level = SYS_LOG_INFO;
    a->lock_fd = -1;
    a_list_init(&a->members);
    a_list_init(&a->fetches);
    a_list_init(&a->bulks);
    int rc = d_agent_options_parse(argc, argv, &a->options, &e);
    if (rc == 0 && a->options.help) {
        d_agent_options_help();
        a_free(a);
        return 0;
    }
    if (rc == 0 && !sys_log_level_parse(a->options.log_level, &level))
        rc = a_fail(&e, -EINVAL, A_CODE_USAGE, "--log-level %s: expected debug, info, warn, error or off",
                    a->options.log_level);
    if (rc != 0) {
        fprintf(stderr, "astra agent: %s\n", a_error_text(&e));
        a_free(a);
        return 2;
    }
    sys_log_set_level(level);
    d_enter(&a->options, argc, argv);
    sys_env_raise_nofile();
    rc = agent_open(a, &e);
    if (rc == 0)
        rc = agent_begin(a, &e);
    if (rc == 0)
        sys_loop_run(a->loop);
    else
        fprintf(stderr, "astra agent: %s\n", a_error_text(&e));
    int status = rc < 0 ? a_code_exit(e.code) : a->status;
    A_AUTOFREE char *next = agent_close(a);
    a_free(a);
    sys_log_finish();
    if (rc == 0 && next != NULL) {
        d_enter_again(next, argc, argv);
        status = 1; /* whoever starts agents starts it again */
    }
    return status;
}
