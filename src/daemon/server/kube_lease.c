/* Who drives a cluster: the Lease, by the rules of client-go's leader election. A record that changes is a
 * sign of life of its holder; one that stood still for its duration, by our own clock, may be taken over,
 * with the version that was read. Clocks of two machines are never compared. Who could not renew for 10 s
 * writes nothing more to the cluster until it can: that is before another one may take over. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "sys/clock.h"
#include "sys/log.h"

static void on_timer(void *ctx);

static uint64_t now_of(const struct d_kube_cluster *c)
{
    return sys_loop_now_ms(c->kube->s->loop);
}

static void owned_set(struct d_kube_cluster *c, bool owned)
{
    struct d_kube_lease *l = &c->lease;
    if (owned)
        d_kube_condition_set(c, D_KUBE_OWNER, true, "Holder", "%s", "");
    else
        d_kube_condition_set(c, D_KUBE_OWNER, false, "Standby", "%s%s",
                             l->holder[0] != '\0' ? "the lease is held by " : "the lease is not ours yet",
                             l->holder);
    if (l->owned == owned)
        return;
    l->owned = owned;
    sys_log(INFO, "kube", "kube.lease",
            owned ? "this server drives the cluster" : "another server may drive it",
            SYS_STR("cluster", c->name.s));
    if (!owned)
        return;
    a_list_foreach (it, &c->follows)
        d_kube_follow_owned(a_list_entry(it, struct d_kube_follow, link));
    d_kube_custom_owned(c);
}

/* What the server has now. */
static void lease_see(struct d_kube_cluster *c, const struct kube_lease *seen)
{
    struct d_kube_lease *l = &c->lease;
    if (strcmp(l->version, seen->version) != 0)
        l->seen_ms = now_of(c);
    snprintf(l->version, sizeof l->version, "%s", seen->version);
    snprintf(l->holder, sizeof l->holder, "%s", seen->holder != NULL ? seen->holder : "");
    l->acquired_us = seen->acquired_us;
    l->renewed_us = seen->renewed_us;
    l->duration_s = seen->duration_s;
    l->transitions = seen->transitions;
}

static bool lease_is_ours(const struct d_kube_cluster *c)
{
    return strcmp(c->lease.holder, c->kube->holder) == 0;
}

static bool lease_is_free(const struct d_kube_cluster *c)
{
    const struct d_kube_lease *l = &c->lease;
    return l->holder[0] == '\0' || now_of(c) - l->seen_ms >= (uint64_t)l->duration_s * 1000;
}

static void lease_wait(struct d_kube_cluster *c)
{
    struct d_kube_lease *l = &c->lease;
    if (l->owned && now_of(c) - l->renewed_ms >= D_KUBE_LEASE_LOST_MS)
        owned_set(c, false);
    bool steady = l->owned && now_of(c) - l->renewed_ms < D_KUBE_LEASE_RETRY_MS;
    sys_timer_set_in(&l->timer, steady ? D_KUBE_LEASE_RENEW_MS : D_KUBE_LEASE_RETRY_MS);
}

static bool lease_read(struct d_kube_cluster *c, const struct net_web_answer *a)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *v;
    struct kube_lease seen;
    if (a->rc != 0 || a->status / 100 != 2 || wire_json_parse(&arena, a->body, NULL, NULL, &v, NULL) != 0 ||
        kube_lease_read(v, &seen, NULL) != 0)
        return false;
    lease_see(c, &seen);
    return true;
}

static void on_written(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_cluster *c = ctx;
    struct d_kube_lease *l = &c->lease;
    l->call = NULL;
    d_kube_cluster_heard(c, a);
    if (lease_read(c, a)) {
        l->renewed_ms = now_of(c);
        owned_set(c, true);
    } else if (a->rc == 0 && a->status == 409) {
        l->version[0] = '\0'; /* somebody was faster: look again */
    }
    lease_wait(c);
}

static char *lease_path(const struct d_kube_cluster *c, struct a_arena *arena, bool collection)
{
    return a_arena_printf(arena, "/apis/coordination.k8s.io/v1/namespaces/%s/leases%s%s", c->access.namespace,
                          collection ? "" : "/" KUBE_LEASE_PREFIX, collection ? "" : c->kube->installation);
}

static void lease_write(struct d_kube_cluster *c)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf body = {0};
    struct d_kube_lease *l = &c->lease;
    bool fresh = l->version[0] == '\0', ours = lease_is_ours(c);
    int64_t now_us = (int64_t)sys_clock_wall_ms() * 1000;
    const struct kube_lease lease = {
        .name = a_arena_printf(&arena, "%s%s", KUBE_LEASE_PREFIX, c->kube->installation),
        .namespace = c->access.namespace,
        .version = l->version,
        .holder = c->kube->holder,
        .duration_s = D_KUBE_LEASE_S,
        .acquired_us = ours && !fresh ? l->acquired_us : now_us,
        .renewed_us = now_us,
        .transitions = l->transitions + (ours || fresh ? 0 : 1)};
    wire_json_print(&body, kube_lease_make(&arena, &lease), 0);
    const struct net_web_request q = {.method = fresh ? "POST" : "PUT",
                                      .path = lease_path(c, &arena, fresh),
                                      .body = a_buf_view(&body),
                                      .timeout_ms = D_KUBE_LEASE_RENEW_MS,
                                      .done = on_written,
                                      .ctx = c};
    if (net_web_send(c->web, &q, &l->call, NULL) != 0)
        lease_wait(c);
}

static void on_read(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_cluster *c = ctx;
    struct d_kube_lease *l = &c->lease;
    l->call = NULL;
    d_kube_cluster_heard(c, a);
    if (a->rc == 0 && a->status == 404) {
        l->version[0] = l->holder[0] = '\0';
        lease_write(c);
    } else if (!lease_read(c, a)) {
        lease_wait(c);
    } else if (lease_is_ours(c) || lease_is_free(c)) {
        lease_write(c);
    } else {
        owned_set(c, false);
        lease_wait(c);
    }
}

static void on_timer(void *ctx)
{
    struct d_kube_cluster *c = ctx;
    struct d_kube_lease *l = &c->lease;
    A_ARENA_AUTO struct a_arena arena = {0};
    if (l->call != NULL)
        return;
    if (l->owned && l->version[0] != '\0') {
        lease_write(c);
        return;
    }
    const struct net_web_request q = {
        .path = lease_path(c, &arena, false), .timeout_ms = D_KUBE_LEASE_RENEW_MS, .done = on_read, .ctx = c};
    if (net_web_send(c->web, &q, &l->call, NULL) != 0)
        lease_wait(c);
}

void d_kube_lease_start(struct d_kube_cluster *c)
{
    sys_timer_init(&c->lease.timer, c->kube->s->loop, on_timer, c);
    sys_timer_set_in(&c->lease.timer, 0);
    owned_set(c, false);
}

void d_kube_lease_stop(struct d_kube_cluster *c)
{
    if (c->lease.call != NULL)
        net_web_call_cancel(c->lease.call);
    sys_timer_clear(&c->lease.timer);
    c->lease = (struct d_kube_lease){.owned = false};
}
