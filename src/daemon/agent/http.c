/* Health and metrics of the node and its members. */
#include <string.h>

#include "base/alloc.h"
#include "base/metrics.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "tfcc/page.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* A request for metrics while the counters pages are read in the pool. */
struct metrics {
    struct d_agent *agent;
    struct net_http_request *request;
    struct a_buf text;
    struct sys_work work;
};

static void gauge(struct a_buf *b, const char *name, const char *help, uint64_t value)
{
    a_metric_print(b, name, "gauge", help, value);
}

static void counter(struct a_buf *b, const char *name, const char *help, uint64_t value)
{
    a_metric_print(b, name, "counter", help, value);
}

static void disk_print(const struct d_agent *a, struct a_buf *b)
{
    uint64_t free_bytes, total;
    if (sys_disk_free(a->data, &free_bytes, &total, NULL) != 0)
        return;
    gauge(b, "astra_node_disk_free_bytes", "Free where members and artifacts are", free_bytes);
    gauge(b, "astra_node_disk_bytes", "Of that disk, in all", total);
}

static void node_print(struct d_agent *a, struct a_buf *b)
{
    struct a_capacity left = sl_node_free(&a->node);
    gauge(b, "astra_node_attached", "1 while a resource server answers", a->attached);
    gauge(b, "astra_node_incarnation", "Starts of the agent", a->node.incarnation);
    gauge(b, "astra_node_cordoned", "1 while no new claims are taken", a->node.cordoned);
    gauge(b, "astra_node_draining", "1 while claims are to leave", a->node.draining);
    gauge(b, "astra_node_capacity_mcpu", "Thousandths of a CPU", a->node.capacity.mcpu);
    gauge(b, "astra_node_capacity_memory_bytes", "Memory that claims may take",
          a->node.capacity.memory_bytes);
    gauge(b, "astra_node_free_mcpu", "Of it, not claimed", left.mcpu);
    gauge(b, "astra_node_free_memory_bytes", "Of it, not claimed", left.memory_bytes);
    gauge(b, "astra_node_used_mcpu", "CPU that the machine really uses", a->used_mcpu);
    gauge(b, "astra_node_used_memory_bytes", "Memory that the machine really uses", a->used_memory_bytes);
    gauge(b, "astra_node_certificate_seconds", "Until the node's certificate ends; 0 when it has",
          (uint64_t)A_MAX(d_identity_left_s(&a->identity), (int64_t)0));
    gauge(b, "astra_node_certificate_expired", "1 when the certificate has ended; everything runs on",
          d_identity_left_s(&a->identity) < 0);
    counter(b, "astra_agent_renewals_total", "Certificates that followed another", a->identity.renewals);
    counter(b, "astra_agent_beats_total", "Heartbeats sent", a->beats);
    counter(b, "astra_agent_members_started_total", "Members started", a->members_started);
    counter(b, "astra_agent_members_failed_total", "Members that ended unasked or could not start",
            a->members_failed);
    counter(b, "astra_agent_logs_sent_total", "Logs of failed members that the server took", a->logs_sent);
    counter(b, "astra_agent_logs_dropped_total",
            "Logs of failed members given up: refused, too many, or no room", a->logs_dropped);
    counter(b, "astra_agent_oom_kills_total", "Processes killed for their member's memory", a->oom_kills);
}

static void member_row(struct a_buf *b, const struct d_member *m, const char *name, uint64_t value)
{
    a_buf_addf(b, "%s{unit=\"%s\",member=\"%s\"} %llu\n", name, m->id.unit.s, m->id.member.s,
               (unsigned long long)value);
}

static void members_print(const struct d_agent *a, struct a_buf *b)
{
    static const struct {
        const char *name, *help;
    } all[] = {
        {"astra_member_up", "1 while the member's Ray answers"},
        {"astra_member_memory_bytes", "Memory of its processes"},
        {"astra_member_mcpu", "CPU that its processes use"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(all); i++) {
        a_metric_head(b, all[i].name, "gauge", all[i].help);
        a_list_foreach (it, &a->members) {
            const struct d_member *m = a_list_entry(it, struct d_member, link);
            const uint64_t values[] = {m->state.state == A_MEMBER_UP, m->used_memory_bytes, m->used_mcpu};
            member_row(b, m, all[i].name, values[i]);
        }
    }
}

static void pages_run(void *ctx)
{
    struct metrics *r = ctx;
    struct tfcc_pages pages = {0};
    A_AUTOFREE char *folder = sys_path_join(r->agent->data, "tfcc");
    if (tfcc_pages_collect(folder, &pages, NULL) == 0)
        tfcc_pages_print_metrics(&pages, &r->text);
    tfcc_pages_deinit(&pages);
}

static void pages_done(void *ctx, bool cancelled)
{
    struct metrics *r = ctx;
    (void)cancelled;
    r->agent->scrapes--;
    net_http_reply_text(r->request, 200, METRICS_TYPE, a_buf_view(&r->text));
    a_buf_deinit(&r->text);
    a_free(r);
}

static void metrics_answer(struct d_agent *a, struct net_http_request *request)
{
    struct metrics *r = a_new(struct metrics);
    r->agent = a;
    r->request = request;
    a->scrapes++;
    node_print(a, &r->text);
    disk_print(a, &r->text);
    members_print(a, &r->text);
    if (sys_pool_submit(a->io, a->loop, &r->work, pages_run, pages_done, r) < 0)
        pages_done(r, true);
}

static void handle(void *ctx, struct net_http_request *r)
{
    struct d_agent *a = ctx;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (r->head->method == WIRE_HTTP_POST && a_view_is(r->path, "/leave")) {
        d_leave_handle(a, r);
        return;
    }
    if (r->head->method != WIRE_HTTP_GET && r->head->method != WIRE_HTTP_HEAD)
        a_error_set(&e, A_CODE_METHOD, "only GET is answered here");
    else if (a_view_is(r->path, "/healthz")) {
        net_http_reply_text(r, 200, "text/plain", A_VIEW_LIT("ok\n"));
        return;
    } else if (a_view_is(r->path, "/readyz")) {
        net_http_reply_text(r, a->joined ? 200 : 503, "text/plain",
                            a->joined ? A_VIEW_LIT("ok\n") : A_VIEW_LIT("no server has answered yet\n"));
        return;
    } else if (a_view_is(r->path, "/metrics")) {
        metrics_answer(a, r);
        return;
    } else
        a_error_set(&e, A_CODE_NOT_FOUND, "here are /healthz, /readyz and /metrics");
    net_http_reply_error(r, &e, NULL);
}

int d_http_start(struct d_agent *a, struct a_error *reterr)
{
    static const struct net_http_server_ops ops = {.handle = handle};
    struct sys_addr addr;
    int rc = sys_addr_parse(a->options.http, &addr, reterr);
    if (rc < 0)
        return rc;
    a->http_server = net_http_server_new(a->loop, NULL, &ops, a);
    rc = net_http_server_listen(a->http_server, &addr, NULL, &addr, reterr);
    if (rc < 0)
        return rc;
    a->http_port = sys_addr_port(&addr);
    return d_leave_start(a, &addr, reterr);
}
