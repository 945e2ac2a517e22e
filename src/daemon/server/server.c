/* `astra server`: options, the data folder, start and stop. */
#include "daemon/server/main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "daemon/server/server.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"
#include "sys/ready.h"

static const char usage_text[] =
    "usage: astra server --data DIR [--api HOST:PORT] [--starlink HOST:PORT] [--ready-file FILE]\n"
    "\n"
    "  --data DIR               store, artifacts, tokens, CA; made when absent\n"
    "  --api HOST:PORT          HTTPS API (default 127.0.0.1:7700; port 0: a free one)\n"
    "  --api-host NAME          another name or address under which the API is reached, for its certificate\n"
    "  --starlink HOST:PORT     agents and gateways (default 127.0.0.1:7701)\n"
    "  --certificate-life TIME  of nodes' and gateways' certificates (default 24h)\n"
    "  --lost-after TIME        a node that is silent or away for so long counts as lost (default 10s, at "
    "least 4s)\n"
    "  --counts-every TIME      success counts are stored so often: a crash loses so much of them (default "
    "1m)\n"
    "  --logs-max BYTES         of the last words of failed members, all of them (default " D_KEPT_LOGS_MAX
    ")\n"
    "  --roles ROLE,...         of resource, scheduler, api, kube (default all; only kube may be left out)\n"
    "  --ready-file FILE        written once it serves: {\"pid\", \"api\", \"starlink\"}\n"
    "\n"
    "--lost-after, --counts-every and --logs-max may also come from ASTRA_CFG_SERVER_LOST_AFTER,\n"
    "_COUNTS_EVERY and _LOGS_MAX.\n"
    "DIR/api.token, DIR/join.token and DIR/ca.key (mode 0600) are made at the first start and read again at "
    "the\n"
    "next. DIR/ca.pem is what clients of the API trust.\n";

static int life_read(struct server_options *o, const char *text)
{
    if (text == NULL ||
        (a_text_duration(a_view_str(text), &o->certificate_life_ms) && o->certificate_life_ms > 0))
        return 0;
    fprintf(stderr, "astra server: --certificate-life %s: no duration such as 24h\n", text);
    return 2;
}

static int lost_after_read(struct server_options *o)
{
    o->lost_ms = SL_RESOURCE_LOST_MS;
    if (o->lost_after == NULL ||
        (a_text_duration(a_view_str(o->lost_after), &o->lost_ms) && o->lost_ms >= SL_RESOURCE_LOST_MIN_MS))
        return 0;
    fprintf(stderr, "astra server: --lost-after %s: expected a duration of at least 4s\n", o->lost_after);
    return 2;
}

static int counts_every_read(struct server_options *o)
{
    o->counts_ms = D_SERVER_COUNTS_MS;
    if (o->counts_every == NULL ||
        (a_text_duration(a_view_str(o->counts_every), &o->counts_ms) && o->counts_ms > 0))
        return 0;
    fprintf(stderr, "astra server: --counts-every %s: no duration such as 1m\n", o->counts_every);
    return 2;
}

static int logs_max_read(struct server_options *o)
{
    const char *text = o->logs_max != NULL ? o->logs_max : D_KEPT_LOGS_MAX;
    if (a_text_bytes(a_view_str(text), &o->logs_max_bytes))
        return 0;
    fprintf(stderr, "astra server: --logs-max %s: expected bytes, for example 256Mi\n", text);
    return 2;
}

static const char *const roles_known[] = {"resource", "scheduler", "api", "kube", NULL};

static bool has_role(const struct server_options *o, const char *role)
{
    struct a_view rest = a_view_str(o->roles);
    while (rest.len > 0)
        if (a_view_is(a_view_split(rest, ',', &rest), role))
            return true;
    return o->roles == NULL;
}

/* One process has all roles but kube, as long as there is one process. */
static int roles_read(const struct server_options *o)
{
    struct a_view rest = a_view_str(o->roles);
    while (rest.len > 0) {
        struct a_view word = a_view_split(rest, ',', &rest);
        size_t i = 0;
        while (roles_known[i] != NULL && !a_view_is(word, roles_known[i]))
            i++;
        if (roles_known[i] == NULL) {
            fprintf(stderr,
                    "astra server: --roles: " A_VIEW_FMT " is none of resource, scheduler, api, kube\n",
                    A_VIEW_ARG(word));
            return 2;
        }
    }
    for (size_t i = 0; i < 3; i++)
        if (!has_role(o, roles_known[i])) {
            fprintf(stderr, "astra server: --roles: %s cannot be left out yet\n", roles_known[i]);
            return 2;
        }
    return 0;
}

/* 0; 2: wrong usage, told on stderr; -1: help was asked for. */
static int options_read(struct server_options *o, int argc, char **argv)
{
    const char *life = NULL;
    *o = (struct server_options){.api = "127.0.0.1:7700",
                                 .starlink = "127.0.0.1:7701",
                                 .certificate_life_ms = D_SERVER_CERT_LIFE_MS,
                                 .lost_after = sys_env_get("ASTRA_CFG_SERVER_LOST_AFTER"),
                                 .counts_every = sys_env_get("ASTRA_CFG_SERVER_COUNTS_EVERY"),
                                 .logs_max = sys_env_get("ASTRA_CFG_SERVER_LOGS_MAX")};
    const struct {
        const char *flag, **target;
    } flags[] = {{"--data", &o->data},
                 {"--api", &o->api},
                 {"--api-host", &o->api_host},
                 {"--starlink", &o->starlink},
                 {"--certificate-life", &life},
                 {"--lost-after", &o->lost_after},
                 {"--counts-every", &o->counts_every},
                 {"--logs-max", &o->logs_max},
                 {"--roles", &o->roles},
                 {"--ready-file", &o->ready_file}};
    for (int i = 1; i < argc; i++) {
        const char **target = NULL;
        for (size_t k = 0; k < A_ARRAY_SIZE(flags); k++)
            if (strcmp(argv[i], flags[k].flag) == 0)
                target = flags[k].target;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage_text, stdout);
            return -1;
        }
        if (target == NULL || i + 1 == argc) {
            fprintf(stderr, "astra server: %s: %s\n%s", argv[i],
                    target == NULL ? "no such option" : "needs a value", usage_text);
            return 2;
        }
        *target = argv[++i];
    }
    if (lost_after_read(o) != 0 || counts_every_read(o) != 0 || logs_max_read(o) != 0 || roles_read(o) != 0)
        return 2;
    if (o->data == NULL) {
        fprintf(stderr, "astra server: --data is required\n%s", usage_text);
        return 2;
    }
    return life_read(o, life);
}

/* The token in the file, or a new one in a new file. */
static int token_load(const struct server *s, const char *name, struct sys_secret *ret,
                      struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(s->options.data, name);
    A_BUF_AUTO struct a_buf text = {0};
    char hex[65];
    if (sys_file_exists(path)) {
        int rc = sys_file_read(path, 256, &text, reterr);
        struct a_view line, rest;
        if (rc != 0)
            return rc;
        line = a_view_trim(a_view_split(a_buf_view(&text), '\n', &rest));
        if (line.len < 32)
            return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                          "%s: no token in it (at least 32 characters): remove it to get a new one", path);
        sys_secret_set(ret, line);
        return 0;
    }
    sys_random_hex(hex, 32);
    a_buf_addf(&text, "%s\n", hex);
    int rc = sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
    if (rc == 0)
        sys_secret_set(ret, a_view_str(hex));
    sys_secret_wipe(hex, sizeof hex);
    return rc;
}

static void adopt_round(struct server *s)
{
    bool back = s->n_record_nodes >
                0; /* a store without units may be one that was lost: nobody is known to be missing */
    if (s->adopted && s->nodes_are_back)
        return;
    for (size_t i = 0; back && i < s->n_record_nodes; i++) {
        const struct sl_resource_node *node = sl_resource_node(&s->resource, &s->record_nodes[i]);
        back = node != NULL && node->snapshot;
    }
    if (back && !s->nodes_are_back) {
        s->nodes_are_back = true;
        d_routes_touch(s);
    }
    if (!s->adopted && (back || sys_loop_now_ms(s->loop) - s->started_ms >= D_SERVER_ADOPT_MS)) {
        d_apps_adopted(s);
        d_routes_touch(s);
    }
}

/* While some gateway waits for its first view, time alone may end the wait. */
static uint64_t start_deadline(const struct server *s)
{
    uint64_t now = sys_loop_now_ms(s->loop);
    if (!s->adopted)
        return s->started_ms + D_SERVER_ADOPT_MS;
    return now - s->started_ms < D_SERVER_ORPHAN_TEXT_MS ? now + 500 : A_NEVER;
}

static void on_round(void *ctx)
{
    struct server *s = ctx;
    adopt_round(s);
    d_cores_round(s);
    d_routes_round(s);
    sys_log_flush();
    sys_timer_set_at(&s->wake, A_MIN(d_cores_deadline(s), start_deadline(s)));
}

static void on_wake(void *ctx)
{
    (void)ctx; /* the round hook does the work */
}

static void on_signal(void *ctx, int signum)
{
    struct server *s = ctx;
    sys_log(INFO, "server", "stop", "stopping: what runs on the nodes runs on", SYS_I64("signal", signum));
    s->stopping = true;
    sys_loop_stop(s->loop);
}

static int data_open(struct server *s, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(s->options.data, "astra.db");
    int rc = sys_dir_make(s->options.data, 0700, reterr);
    if (rc == 0)
        rc = d_authority_open(s, reterr);
    if (rc == 0)
        rc = token_load(s, "api.token", &s->api_token, reterr);
    if (rc == 0)
        rc = store_open(s->loop, &(struct store_options){.path = path}, &s->store, reterr);
    if (rc == 0)
        rc = d_authority_load(s, reterr);
    if (rc == 0)
        rc = d_artifacts_load(s, reterr);
    if (rc == 0)
        rc = d_cluster_limits_load(s, reterr);
    if (rc == 0)
        rc = d_apps_load(s, reterr);
    if (rc == 0)
        rc = d_upgrades_load(s, reterr);
    if (rc == 0)
        d_kept_logs_load(s);
    return rc;
}

static int ready(struct server *s, struct a_error *reterr)
{
    struct sys_addr starlink;
    net_link_listener_addr(s->listener, &starlink);
    struct sys_ready_port ports[] = {{"api", d_api_port(s)}, {"starlink", sys_addr_port(&starlink)}};
    sys_log(INFO, "server", "ready", "serving", SYS_U64("api", ports[0].port),
            SYS_U64("starlink", ports[1].port), SYS_STR("store", store_id(s->store)->s),
            SYS_U64("apps", s->apps.len));
    if (s->options.ready_file == NULL)
        return 0;
    return sys_ready_write(s->options.ready_file, ports, A_ARRAY_SIZE(ports), reterr);
}

static int server_start(struct server *s, struct a_error *reterr)
{
    int rc = sys_pool_new(SYS_POOL_IO, 0, 0, &s->io, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_HASH, 0, 0, &s->hash, reterr);
    if (rc == 0)
        rc = data_open(s, reterr);
    if (rc == 0 && s->n_record_nodes > 0)
        d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_STARTED});
    if (rc == 0)
        rc = d_counts_start(s, reterr);
    if (rc == 0)
        rc = d_peers_listen(s, reterr);
    if (rc == 0 && has_role(&s->options, "kube"))
        rc = d_kube_start(s, reterr);
    if (rc == 0)
        rc = d_api_start(s, reterr);
    if (rc == 0)
        rc = ready(s, reterr);
    return rc;
}

static void server_init(struct server *s, const struct server_options *options)
{
    *s = (struct server){.options = *options};
    a_list_init(&s->peers);
    a_list_init(&s->gateways);
    a_list_init(&s->event_watchers);
    a_list_init(&s->tickets);
    a_list_init(&s->commands);
    a_list_init(&s->actions);
    a_list_init(&s->operations);
    a_list_init(&s->cluster_drains);
    sys_random_uuid4(&s->boot_id);
    a_random_init(&s->random, sys_random_seed());
    sl_resource_init(&s->resource, sys_random_seed());
    s->resource.lost_ms = s->options.lost_ms;
    sl_sched_init(&s->sched, NULL);
    d_routes_init(s);
}

/* In the order in which things need one another: no core event after the peers are gone. */
static void server_deinit(struct server *s)
{
    d_api_stop(s);
    d_kube_stop(s);
    d_cluster_drains_stop(s);
    d_upgrades_stop(s);
    d_tickets_end(s);
    d_peers_close(s);
    d_kept_logs_free(s);
    d_counts_stop(s);
    d_authority_close(s);
    sys_round_remove(&s->round);
    sys_timer_clear(&s->wake);
    store_close(s->store);
    d_replays_free(s);
    d_apps_free(s);
    d_artifacts_free(s);
    d_cluster_limits_deinit(s);
    d_routes_free(s);
    d_away_free(s);
    d_event_ring_free(s->events);
    sl_sched_deinit(&s->sched);
    sl_resource_deinit(&s->resource);
    a_map_deinit(&s->agents);
    sys_pool_free(s->io);
    sys_pool_free(s->hash);
    sys_secret_deinit(&s->join_token);
    sys_secret_deinit(&s->api_token);
}

static int serve(struct server *s, struct a_error *reterr)
{
    struct sys_signal *term = NULL, *interrupt = NULL;
    int rc = server_start(s, reterr);
    if (rc == 0)
        rc = sys_signal_open(s->loop, SIGTERM, on_signal, s, &term, reterr);
    if (rc == 0)
        rc = sys_signal_open(s->loop, SIGINT, on_signal, s, &interrupt, reterr);
    if (rc == 0) {
        sys_timer_init(&s->wake, s->loop, on_wake, s);
        sys_round_add(s->loop, &s->round, on_round, s);
        sys_loop_run(s->loop);
    }
    sys_signal_close(term);
    sys_signal_close(interrupt);
    return rc;
}

int d_server_main(int argc, char **argv)
{
    struct server_options options;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = options_read(&options, argc, argv);
    if (rc != 0)
        return rc > 0 ? rc : 0;
    signal(SIGPIPE, SIG_IGN);
    struct server *s = a_new(struct server);
    server_init(s, &options);
    rc = sys_loop_new(&s->loop, &e);
    if (rc == 0) {
        s->started_ms = sys_loop_now_ms(s->loop);
        rc = serve(s, &e);
        server_deinit(s);
        sys_loop_free(s->loop);
        sys_log_finish();
    }
    if (rc != 0)
        fprintf(stderr, "astra server: %s\n", a_error_text(&e));
    a_free(s);
    return rc == 0 ? 0 : 1;
}
