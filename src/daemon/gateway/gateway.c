#include "daemon/gateway/gateway.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/gateway/process.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/ready.h"

#define DESCRIPTORS_APART 256 /* listeners, the server, the admin port, files */

static void check_told(const char *expr, const char *file, int line)
{
    sys_log(ERROR, "gateway", "gateway.check", "a broken invariant: one connection was given up",
            SYS_STR("check", expr), SYS_STR("file", file), SYS_I64("line", line));
}

/* ---- stopping ---- */

static void drain_over(void *ctx)
{
    struct d_gateway *g = ctx;
    sys_log(WARN, "gateway", "gateway.cut", "requests were still under way when time was up");
    sys_loop_stop(g->loop);
}

static void stop_asked(void *ctx, int signum)
{
    struct d_gateway *g = ctx;
    if (g->draining) {
        sys_loop_stop(g->loop); /* asked twice */
        return;
    }
    g->draining = true;
    sys_log(INFO, "gateway", "gateway.draining", "no new connections; requests under way finish",
            SYS_I64("signal", signum));
    sys_timer_set_in(&g->drain_timer, g->options.drain_ms);
    d_gw_crew_drain(g);
}

static void reload_asked(void *ctx, int signum)
{
    struct d_gateway *g = ctx;
    (void)signum;
    d_gw_access_log_reopen(g->access);
    d_gw_certificate_read(g);
}

/* ---- starting ---- */

static int signals_open(struct d_gateway *g, struct a_error *reterr)
{
    int rc = sys_signal_open(g->loop, SIGTERM, stop_asked, g, &g->term, reterr);
    if (rc == 0)
        rc = sys_signal_open(g->loop, SIGINT, stop_asked, g, &g->interrupt, reterr);
    if (rc == 0)
        rc = sys_signal_open(g->loop, SIGHUP, reload_asked, g, &g->hangup, reterr);
    return rc;
}

static void limits_set(struct d_gateway *g)
{
    uint64_t files = sys_env_raise_nofile();
    uint64_t room = files > 2 * DESCRIPTORS_APART ? files - DESCRIPTORS_APART : DESCRIPTORS_APART;
    if (g->options.max_connections == 0)
        g->options.max_connections = room / 2; /* each may need one to a replica */
}

static void view_restore(struct d_gateway *g)
{
    g->stale = true;
    if (!d_gw_view_load(&g->view))
        return;
    sys_log(INFO, "gateway", "view.loaded",
            "the routes of the last run are served until a server tells better",
            SYS_U64("records", g->view.records.len));
    d_gw_crew_apply(g);
    d_gw_vouch_restored(g);
}

static int ready_tell(struct d_gateway *g, struct a_error *reterr)
{
    sys_log(INFO, "gateway", "gateway.listening", "requests are taken", SYS_U64("port", g->port),
            SYS_U64("admin", g->admin_port), SYS_U64("threads", g->n_workers));
    if (g->options.ready_file[0] == '\0')
        return 0;
    struct sys_ready_port ports[] = {{"gateway", g->port}, {"admin", g->admin_port}};
    return sys_ready_write(g->options.ready_file, ports, A_ARRAY_SIZE(ports), reterr);
}

static int gateway_start(struct d_gateway *g, struct a_error *reterr)
{
    limits_set(g);
    int rc = sys_loop_new(&g->loop, reterr);
    if (rc != 0)
        return rc;
    sys_timer_init(&g->drain_timer, g->loop, drain_over, g);
    rc = signals_open(g, reterr);
    if (rc == 0)
        rc = d_gw_access_log_open(g->options.access_log, &g->access, reterr);
    if (rc == 0)
        rc = d_gw_view_open(&g->view, g->loop, g->options.data, g->n_workers, reterr);
    g->view.on_kept = d_gw_crew_kept;
    g->view.ctx = g;
    d_gw_vouch_start(g);
    if (rc == 0)
        rc = d_gw_certificate_open(g, reterr);
    if (rc == 0)
        rc = d_gw_crew_start(g, reterr);
    if (rc == 0)
        rc = d_gw_admin_start(g, reterr);
    if (rc != 0)
        return rc;
    d_gw_certificate_watch(g);
    view_restore(g);
    rc = d_gw_link_start(g, reterr);
    return rc == 0 ? ready_tell(g, reterr) : rc;
}

static void batches_free(struct d_gateway *g)
{
    for (struct a_list *l; (l = a_list_pop_front(&g->batches)) != NULL;) {
        struct d_gw_batch *b = a_list_entry(l, struct d_gw_batch, link);
        a_buf_deinit(&b->frames);
        a_free(b);
    }
}

static void gateway_end(struct d_gateway *g)
{
    if (g->loop != NULL) {
        d_gw_crew_stop(g); /* first: what the workers posted last is told to the link and to the admin port */
        d_gw_link_stop(g);
        d_gw_admin_stop(g);
        d_gw_certificate_close(g);
        d_gw_access_log_free(a_steal(&g->access));
        d_gw_view_close(&g->view);
        d_gw_vouch_stop(g);
        sys_signal_close(a_steal(&g->term));
        sys_signal_close(a_steal(&g->interrupt));
        sys_signal_close(a_steal(&g->hangup));
        sys_timer_clear(&g->drain_timer);
        sys_loop_free(a_steal(&g->loop));
    }
    batches_free(g);
    d_gw_apps_free(&g->apps);
    d_gw_apps_free(&g->apps_new);
    a_free(g->workers);
    a_free(g->applied);
    a_free(g->totals);
    sys_log_finish();
}

int d_gateway_main(int argc, char **argv)
{
    A_ERROR_AUTO struct a_error error = {0};
    struct d_gateway g = {0};
    enum sys_log_level level;
    int rc = d_gw_options_read(argc, argv, &g.options, &error);
    if (rc == 0 && !sys_log_level_parse(g.options.log_level, &level))
        rc = a_fail(&error, -EINVAL, A_CODE_USAGE, "--log-level: there is no level %s", g.options.log_level);
    if (rc < 0)
        fprintf(stderr, "astra gateway: %s\n", a_error_text(&error));
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    sys_log_set_level(level);
    sys_log_set_json(g.options.log_json);
    a_check_set_hook(check_told);
    signal(SIGPIPE, SIG_IGN);
    g.n_workers = (unsigned)g.options.threads;
    a_list_init(&g.batches);
    rc = gateway_start(&g, &error);
    if (rc == 0)
        sys_loop_run(g.loop);
    else
        fprintf(stderr, "astra gateway: %s\n", a_error_text(&error));
    gateway_end(&g);
    return rc == 0 ? 0 : 1;
}
