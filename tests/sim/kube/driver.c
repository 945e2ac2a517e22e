/* Between the played server and the cores: what the daemon's driver does, with the checks of K1-K7 and P2-P5
 * at the places where they can be seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sim/kube/world.h"

#define RATE_WINDOW_MS 10000

static struct pod *pod_of_uid(struct world *w, struct a_view uid)
{
    uint64_t i;
    if (uid.len < 2 || !a_text_u64((struct a_view){uid.ptr + 1, uid.len - 1}, &i) ||
        i >= (uint64_t)w->n_pods) {
        fail(w, "a pod that never was: %.*s", A_VIEW_ARG(uid));
        return &w->pods[0];
    }
    return &w->pods[i];
}

/* ---- the watch ---- */

static void row_check(struct world *w, const struct kube_row *row)
{
    struct pod *p = pod_of_uid(w, kube_row_uid(row));
    uint64_t version = 0;
    if (!a_text_u64(kube_row_text(row, row->version), &version) || !p->seen || version < p->seen_version)
        fail(w, "K1: %s went back from %" PRIu64 " to %" PRIu64, p->name, p->seen_version, version);
    p->seen_version = version;
}

static void change_take(struct world *w, const struct kube_change *c)
{
    struct pod *p = pod_of_uid(w, kube_row_uid(c->row));
    trace(w, "watch: %s %s", p->name,
          c->type == KUBE_ROW_ADDED  ? "added"
          : c->type == KUBE_ROW_GONE ? "gone"
                                     : "changed");
    if (c->type == KUBE_ROW_ADDED && (p->seen || p->seen_version > 0))
        fail(w, "K2: %s was added twice", p->name);
    if (c->type != KUBE_ROW_ADDED && !p->seen)
        fail(w, "K2: %s was not there", p->name);
    if (c->type == KUBE_ROW_GONE && p->exists)
        fail(w, "K3, K7: %s is told to be gone, and is there", p->name);
    p->seen = c->type != KUBE_ROW_GONE;
    pool_event(w, (struct kube_pool_event){.type = c->type == KUBE_ROW_GONE ? KUBE_POOL_GONE : KUBE_POOL_POD,
                                           .row = c->row});
}

/* K4: what the server asked for is obeyed, and it is not run down. */
static void rate_check(struct world *w, uint64_t request)
{
    uint64_t *slot = &w->asked[request % A_ARRAY_SIZE(w->asked)];
    if (w->now < w->not_before)
        fail(w, "K4: asked at %" PRIu64 ", and was asked to wait until %" PRIu64, w->now, w->not_before);
    if (request > A_ARRAY_SIZE(w->asked) && w->now < *slot + RATE_WINDOW_MS)
        fail(w, "K4: %zu requests in 10 s", A_ARRAY_SIZE(w->asked));
    *slot = w->now;
    w->not_before = 0;
}

static void request_send(struct world *w, const struct kube_watch_update *u)
{
    bool list = u->ask == KUBE_ASK_LIST;
    rate_check(w, u->request);
    struct event *e = after(w, between(w, 1, 40), list ? DO_LIST : DO_WATCH);
    e->number = w->conn = u->request;
    w->conn_open = false;
    w->conn_until = w->now + u->timeout_s * UINT64_C(1000);
    w->counts[list ? COUNT_LISTS : COUNT_WATCHES]++;
    kube_lines_reset(&w->lines);
    if (list)
        snprintf(e->text, sizeof e->text, "%s", u->continue_token != NULL ? u->continue_token : "0");
    else
        snprintf(e->text, sizeof e->text, "%s", u->version);
}

void watch_event(struct world *w, struct kube_watch_event e)
{
    struct kube_watch_update u;
    e.now_ms = w->now;
    if (e.type == KUBE_WATCH_END && e.request == w->conn)
        w->not_before = e.retry_after_ms > 0 ? w->now + e.retry_after_ms : 0;
    kube_watch_step(w->watch, &e, &u);
    for (size_t i = 0; i < u.n_changes && !w->failed; i++)
        change_take(w, &u.changes[i]);
    for (const struct kube_row *row = NULL; !w->failed && (row = kube_watch_next(w->watch, row)) != NULL;)
        row_check(w, row);
    if (u.cancel) {
        w->conn = 0;
        w->conn_open = false;
    }
    if (u.synced || u.stale) {
        w->stale = u.stale;
        w->counts[COUNT_STALE] += u.stale;
        pool_event(w, (struct kube_pool_event){.type = u.stale ? KUBE_POOL_STALE : KUBE_POOL_SYNCED});
    }
    if (u.ask != KUBE_ASK_NOTHING)
        request_send(w, &u);
}

/* ---- the pool ---- */

static void delete_check(struct world *w, const struct pod *p)
{
    if (w->stale)
        fail(w, "P5: %s is deleted while the watch is stale", p->name);
    if (!p->ours)
        fail(w, "P3: %s is not ours", p->name);
    if (p->exists && !p->ending && p->joined && !p->failed && (p->claims > 0 || !p->draining || p->left))
        fail(w, "P2: %s is deleted with %u claims, %sdraining", p->name, p->claims,
             p->draining ? "" : "not ");
}

static void drain_take(struct world *w, struct pod *p)
{
    uint32_t draining = 0, pods = 0;
    for (int i = 0; i < w->n_pods; i++) {
        const struct pod *q = &w->pods[i];
        bool there = q->exists && q->ours && !q->ending;
        pods += there;
        draining += there && q->draining && !q->failed && q != p;
    }
    if (w->stale)
        fail(w, "P5: %s is drained while the watch is stale", p->name);
    if (p->exists && !p->ending && draining + 1 > A_MAX(pods / 10, 1u))
        fail(w, "P4: %u of %u are drained at once", draining + 1, pods);
    w->counts[COUNT_DRAINS]++;
    if (!p->exists || chance(w, 0.1))
        return;
    p->draining = true;
    node_tell(w, p);
}

static void action_take(struct world *w, const struct kube_pool_action *a)
{
    trace(w, "pool: %s %s",
          a->verb == KUBE_POOL_CREATE   ? "create"
          : a->verb == KUBE_POOL_DELETE ? "delete"
          : a->verb == KUBE_POOL_DRAIN  ? "drain"
                                        : "keep",
          a->name);
    struct pod *p = a->uid != NULL ? pod_of_uid(w, a_view_str(a->uid)) : NULL;
    if (a->verb == KUBE_POOL_CREATE || a->verb == KUBE_POOL_DELETE) {
        struct event *e = after(w, between(w, 1, 80), a->verb == KUBE_POOL_CREATE ? DO_CREATE : DO_DELETE);
        snprintf(e->text, sizeof e->text, "%s", a->name);
        e->pod = p != NULL ? (int)(p - w->pods) : 0;
    }
    if (a->verb == KUBE_POOL_DELETE)
        delete_check(w, p);
    if (a->verb == KUBE_POOL_DRAIN)
        drain_take(w, p);
    if (a->verb == KUBE_POOL_KEEP) {
        p->draining = false;
        node_tell(w, p);
    }
}

void pool_event(struct world *w, struct kube_pool_event e)
{
    struct kube_pool_update u;
    struct kube_pool_action actions[64];
    char names[64][2][64];
    e.now_ms = w->now;
    kube_pool_step(w->pool, &e, &u);
    size_t n = A_MIN(u.n_actions, A_ARRAY_SIZE(actions));
    for (size_t i = 0; i < n; i++) { /* carrying one out tells the pool of it, and that is its next step */
        actions[i] = u.actions[i];
        snprintf(names[i][0], 64, "%s", actions[i].name);
        snprintf(names[i][1], 64, "%s", actions[i].uid != NULL ? actions[i].uid : "");
        actions[i].name = names[i][0];
        actions[i].uid = actions[i].uid != NULL ? names[i][1] : NULL;
    }
    if (u.n_actions > n)
        fail(w, "P4: %zu actions at once", u.n_actions);
    for (size_t i = 0; i < n && !w->failed; i++)
        action_take(w, &actions[i]);
}

void pool_spec_tell(struct world *w)
{
    struct kube_pool_event e = {.type = KUBE_POOL_SPEC};
    e.spec.min = w->min;
    e.spec.max = w->max;
    e.spec.grace_ms = 30000;
    e.spec.template = a_view_str(w->template);
    pool_event(w, e);
}

void node_tell(struct world *w, const struct pod *p)
{
    char uid[16];
    struct kube_pool_event e = {.type = KUBE_POOL_NODE};
    if (!p->joined || !p->ours)
        return;
    snprintf(uid, sizeof uid, "u%d", (int)(p - w->pods));
    trace(w, "node of %s: %u claims%s%s", p->name, p->claims, p->left ? ", left" : "",
          p->draining ? ", draining" : "");
    e.node.pod_uid = a_view_str(uid);
    e.node.claims = p->claims;
    e.node.state = p->left || !p->exists ? KUBE_NODE_LEFT
                   : !p->draining        ? KUBE_NODE_JOINED
                   : p->claims == 0      ? KUBE_NODE_DRAINED
                                         : KUBE_NODE_DRAINING;
    pool_event(w, e);
}
