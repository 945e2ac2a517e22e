/* The claimer and the spread policy. The numbers S1.. are the invariants of docs/components/scheduler.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "starlink/sched/policy.h"

#define GiB (UINT64_C(1) << 30)

struct world {
    struct sl_sched sched;
    struct sl_sched_update update;
    uint64_t now;
    enum sl_domain spread[SL_DOMAINS];
    struct a_name arch; /* empty = any */
};

static int setup(void **state)
{
    struct world *w = a_new(struct world);
    const enum sl_domain spread[] = SL_SPREAD_DEFAULT;
    memcpy(w->spread, spread, sizeof w->spread);
    sl_sched_init(&w->sched, "spread");
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_sched_deinit(&w->sched);
    sl_sched_deinit(&w->sched);
    a_free(w);
    return 0;
}

static struct a_node_id node_id(int i)
{
    uint8_t bytes[16] = {(uint8_t)(i << 3)};
    struct a_node_id id;
    a_node_id_make(bytes, &id);
    return id;
}

static void step(struct world *w, struct sl_sched_event e)
{
    e.now_ms = w->now;
    assert_int_equal(sl_sched_step(&w->sched, &e, &w->update), 0);
}

static struct sl_view_node row(int i, const char *cluster, uint64_t gib)
{
    struct sl_view_node n = {.id = node_id(i), .connected = true};
    snprintf(n.cluster.s, sizeof n.cluster.s, "%s", cluster);
    snprintf(n.zone.s, sizeof n.zone.s, "%s", "z");
    snprintf(n.host, sizeof n.host, "host-%d", i);
    n.capacity = n.free = (struct a_capacity){4000, gib * GiB, 100 * GiB};
    return n;
}

static void add(struct world *w, int i, const char *cluster, uint64_t gib)
{
    struct sl_view_node n = row(i, cluster, gib);
    sl_view_set(&w->sched.view, &n);
    step(w, (struct sl_sched_event){.type = SL_SCHED_VIEW, .node = n.id});
}

static void place_used(struct world *w, uint64_t gang, size_t n_members, const struct sl_gang_used *used,
                       size_t n_used)
{
    struct sl_gang_member members[4] = {{.head = true, .capacity = {1000, 2 * GiB, GiB}, .attempt = 1}};
    snprintf(members[0].name.s, sizeof members[0].name.s, "%s", "head");
    for (size_t i = 1; i < n_members; i++) {
        members[i] = (struct sl_gang_member){.capacity = {2000, 3 * GiB, GiB}, .attempt = 1};
        snprintf(members[i].name.s, sizeof members[i].name.s, "gpu-%zu", i - 1);
    }
    struct sl_gang_request r = {
        .gang = gang, .epoch = 4, .members = members, .n_members = n_members, .used = used, .n_used = n_used};
    memcpy(r.spread, w->spread, sizeof r.spread);
    r.archs = &w->arch;
    r.n_archs = w->arch.s[0] != '\0';
    snprintf(r.app_uid.s, sizeof r.app_uid.s, "%s", "017f22e2-79b0-4fff-bfff-ffffffffffff");
    snprintf(r.store_id.s, sizeof r.store_id.s, "%s", "aaaaaaaa-79b0-4fff-bfff-ffffffffffff");
    snprintf(r.unit.s, sizeof r.unit.s, "ocr-%d", (int)gang);
    snprintf(r.app.namespace.s, sizeof r.app.namespace.s, "default");
    step(w, (struct sl_sched_event){.type = SL_SCHED_PLACE, .request = &r});
}

static void place(struct world *w, uint64_t gang, size_t n_members)
{
    place_used(w, gang, n_members, NULL, 0);
}

static const struct sl_sched_update_item *nth(const struct world *w, enum sl_sched_update_type type, size_t n)
{
    for (size_t i = 0; i < w->update.n_items; i++)
        if (w->update.items[i].type == type && n-- == 0)
            return &w->update.items[i];
    return NULL;
}

static struct sl_sched_update_item item(const struct world *w, enum sl_sched_update_type type, size_t n)
{
    const struct sl_sched_update_item *found = nth(w, type, n);
    assert_non_null(found);
    return *found;
}

static void reply(struct world *w, const struct sl_sched_update_item *to, enum sl_reply what)
{
    struct sl_sched_event e = {.type = SL_SCHED_REPLY, .node = to->node};
    e.reply.id = to->order.id;
    e.reply.what = what;
    e.reply.grant = A_VIEW_LIT("ports");
    step(w, e);
}

static void test_gang_of_two(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    add(w, 2, "east", 8);
    place(w, 1, 2);
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0), b = item(w, SL_SCHED_SEND_RESERVE, 1);
    assert_string_not_equal(a.node.s, b.node.s);
    assert_int_equal(a.order.epoch, 4);
    assert_true(a.order.head);
    reply(w, &a, SL_REPLY_GRANTED);
    assert_null(nth(w, SL_SCHED_GRANTED, 0)); /* S2: nothing before all are reserved */
    assert_null(nth(w, SL_SCHED_SEND_BIND, 0));
    reply(w, &b, SL_REPLY_GRANTED);
    struct sl_sched_update_item granted = item(w, SL_SCHED_GRANTED, 0);
    assert_int_equal(granted.n_placed, 2);
    assert_true(a_view_is(granted.placed[0].grant, "ports"));
    assert_null(nth(w, SL_SCHED_SEND_BIND, 0)); /* S3: not before COMMIT */
    step(w, (struct sl_sched_event){.type = SL_SCHED_COMMIT, .gang = 1});
    struct sl_sched_update_item bind_a = item(w, SL_SCHED_SEND_BIND, 0),
                                bind_b = item(w, SL_SCHED_SEND_BIND, 1);
    reply(w, &bind_b, SL_REPLY_BOUND);
    reply(w, &bind_b, SL_REPLY_BOUND);
    assert_null(nth(w, SL_SCHED_BOUND, 0));
    w->now += SL_SCHED_RESEND_MS;
    step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    assert_non_null(nth(w, SL_SCHED_SEND_BIND, 0)); /* the lost one again, only it */
    assert_null(nth(w, SL_SCHED_SEND_BIND, 1));
    reply(w, &bind_a, SL_REPLY_BOUND);
    assert_int_equal(item(w, SL_SCHED_BOUND, 0).n_placed, 2);
    assert_int_equal(sl_sched_gangs(&w->sched), 0);
    assert_int_equal(sl_sched_deadline(&w->sched), A_NEVER);
}

static void test_refusal_tries_on_with_the_nodes_numbers(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    add(w, 2, "east", 4);
    place(w, 1, 1);
    struct sl_sched_update_item first = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_equal(first.node.s, node_id(1).s); /* most room */
    struct a_capacity left = {100, GiB, GiB};
    struct sl_sched_event e = {.type = SL_SCHED_REPLY, .node = first.node};
    e.reply.id = first.order.id;
    e.reply.what = SL_REPLY_REFUSED;
    e.reply.free = &left;
    step(w, e);
    struct sl_sched_update_item second = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_equal(second.node.s, node_id(2).s);
    assert_true(second.order.id.attempt > first.order.id.attempt); /* S4 */
    assert_int_equal(sl_view_get(&w->sched.view, &first.node)->free.mcpu, 100);
    assert_null(nth(w, SL_SCHED_SEND_RELEASE, 0)); /* a refusal left nothing to release */
}

static void test_silent_node_is_released_and_left_out(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    add(w, 2, "east", 4);
    place(w, 1, 1);
    struct sl_sched_update_item first = item(w, SL_SCHED_SEND_RESERVE, 0);
    w->now = sl_sched_deadline(&w->sched);
    step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    assert_string_equal(item(w, SL_SCHED_SEND_RELEASE, 0).node.s, first.node.s);
    struct sl_sched_update_item second = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_not_equal(second.node.s, first.node.s);
    reply(w, &first, SL_REPLY_GRANTED); /* too late: stays to be released */
    assert_null(nth(w, SL_SCHED_GRANTED, 0));
    assert_int_equal(sl_sched_releases(&w->sched), 1);
    reply(w, &first, SL_REPLY_GONE);
    assert_int_equal(sl_sched_releases(&w->sched), 0);
}

/* S5: one claim under way per node. */
static void test_one_in_flight(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 16);
    place(w, 1, 2); /* both members fit the one node */
    struct sl_sched_update_item head = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_null(nth(w, SL_SCHED_SEND_RESERVE, 1));
    place(w, 2, 1);
    assert_null(nth(w, SL_SCHED_SEND_RESERVE, 0));
    assert_null(nth(w, SL_SCHED_FAILED, 0));
    reply(w, &head, SL_REPLY_GRANTED);
    struct sl_sched_update_item worker = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_int_equal(worker.gang, 1);
    reply(w, &worker, SL_REPLY_GRANTED);
    assert_non_null(nth(w, SL_SCHED_GRANTED, 0));
    struct sl_sched_update_item other = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_int_equal(other.gang, 2);
}

static void test_no_capacity_explains(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 1);
    struct sl_view_node n = row(2, "east", 8);
    n.unfit = SL_UNFIT_CORDONED;
    sl_view_set(&w->sched.view, &n);
    place(w, 1, 1);
    struct sl_sched_update_item failed = item(w, SL_SCHED_FAILED, 0);
    assert_int_equal(failed.reason, A_REASON_NO_CAPACITY);
    assert_int_equal(failed.explain.nodes, 2);
    assert_int_equal(failed.explain.unfit[SL_UNFIT_MEMORY], 1);
    assert_int_equal(failed.explain.unfit[SL_UNFIT_CORDONED], 1);
    assert_string_equal(failed.explain.nearest.s, node_id(1).s);
    A_BUF_AUTO struct a_buf b = {0};
    sl_explain_print(&b, &failed.explain);
    assert_non_null(strstr(b.ptr, "head (cpu 1, memory 2Gi, disk 1Gi)"));
    assert_non_null(strstr(b.ptr, "1 cordoned"));
    assert_non_null(strstr(b.ptr, "1 too little free memory"));
    assert_int_equal(sl_sched_gangs(&w->sched), 0);
    failed.explain.unfit[SL_UNFIT_REFUSED] = 1;
    failed.explain.refused = A_REASON_PORT_TAKEN;
    sl_explain_print(&b, &failed.explain);
    assert_non_null(strstr(b.ptr, "1 refused the claim a moment ago (PortTaken)"));
}

/* What an operator would change first stands first: the nodes that only lack room, by how much of the member
 * they lack, then those where something else must change. Looking asks no node and holds nothing. */
static void test_explain_orders_nodes_by_what_they_lack(void **state)
{
    struct world *w = *state;
    struct sl_gang_member member = {.head = true, .capacity = {3000, 16 * GiB, GiB}, .attempt = 1};
    struct sl_gang_request r = {.members = &member, .n_members = 1};
    struct sl_explain_node nodes[3];
    struct sl_explain why;
    size_t n = 99;
    const uint64_t gib[] = {4, 12, 8};
    for (int i = 0; i < 3; i++)
        add(w, i + 1, "east", gib[i]);
    struct sl_view_node cordoned = row(4, "east", 64), away = row(5, "east", 64);
    cordoned.unfit = SL_UNFIT_CORDONED;
    away.unfit = SL_UNFIT_AWAY;
    sl_view_set(&w->sched.view, &away);
    sl_view_set(&w->sched.view, &cordoned);
    assert_false(sl_sched_explain(&w->sched, &r, &why, nodes, 3, &n));
    assert_int_equal(why.nodes, 5);
    assert_int_equal(n, 3); /* no more than there is room for: the nearest ones */
    for (int i = 0; i < 3; i++)
        assert_string_equal(nodes[i].node.s, node_id((int[]){2, 3, 1}[i]).s);
    assert_int_equal(nodes[0].unfit, SL_UNFIT_MEMORY);
    assert_int_equal(nodes[0].lack.memory_bytes, 4 * GiB);
    assert_int_equal(nodes[0].lack.mcpu, 0);
    sl_view_remove(&w->sched.view, &nodes[1].node);
    sl_view_remove(&w->sched.view, &nodes[2].node);
    assert_false(sl_sched_explain(&w->sched, &r, &why, nodes, 3, &n));
    assert_string_equal(nodes[1].node.s, cordoned.id.s);
    assert_string_equal(nodes[2].node.s, away.id.s);
    assert_true(a_capacity_is_zero(&nodes[1].lack));
    member.capacity.memory_bytes = 2 * GiB;
    assert_true(sl_sched_explain(&w->sched, &r, &why, nodes, 3, &n));
    assert_int_equal(sl_sched_gangs(&w->sched), 0);
}

/* A node that another namespace has to itself is no candidate, and explained so. */
static void test_nodes_of_other_namespaces(void **state)
{
    struct world *w = *state;
    struct sl_view_node n = row(1, "east", 16);
    assert_true(a_name_parse(A_VIEW_LIT("red"), &n.tenant));
    sl_view_set(&w->sched.view, &n);
    place(w, 1, 1);
    struct sl_sched_update_item failed = item(w, SL_SCHED_FAILED, 0);
    assert_int_equal(failed.explain.unfit[SL_UNFIT_NAMESPACE], 1);
    n.tenant = (struct a_name){"default"};
    sl_view_set(&w->sched.view, &n);
    place(w, 2, 1);
    assert_non_null(nth(w, SL_SCHED_SEND_RESERVE, 0));
}

/* A gang stays in one cluster: when the rest does not fit beside what was reserved, that is let go. */
static void test_moves_to_another_cluster_whole(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 20);
    add(w, 2, "east", 20);
    add(w, 3, "west", 8);
    add(w, 4, "west", 8);
    place(w, 1, 2);
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0), b = item(w, SL_SCHED_SEND_RESERVE, 1);
    assert_true(strcmp(a.node.s, node_id(2).s) <= 0 && strcmp(b.node.s, node_id(2).s) <= 0);
    reply(w, &a, SL_REPLY_GRANTED);
    struct sl_view_node *reserved = sl_view_get(&w->sched.view, &a.node);
    reserved->free = (struct a_capacity){0};
    reply(w, &b, SL_REPLY_REFUSED);
    assert_string_equal(item(w, SL_SCHED_SEND_RELEASE, 0).node.s, a.node.s);
    for (size_t i = 0; i < 2; i++) {
        struct sl_sched_update_item r = item(w, SL_SCHED_SEND_RESERVE, i);
        assert_string_equal(sl_view_get(&w->sched.view, &r.node)->cluster.s, "west");
    }
}

static void test_bind_that_fails_releases_the_whole_gang(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    add(w, 2, "east", 8);
    place(w, 1, 2);
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0), b = item(w, SL_SCHED_SEND_RESERVE, 1);
    reply(w, &a, SL_REPLY_GRANTED);
    reply(w, &b, SL_REPLY_GRANTED);
    step(w, (struct sl_sched_event){.type = SL_SCHED_COMMIT, .gang = 1});
    reply(w, &a, SL_REPLY_BOUND);
    reply(w, &b, SL_REPLY_GONE); /* the reservation ran out */
    assert_int_equal(item(w, SL_SCHED_FAILED, 0).attempt_max, 1);
    assert_string_equal(item(w, SL_SCHED_SEND_RELEASE, 0).node.s, a.node.s);
    assert_null(nth(w, SL_SCHED_SEND_RELEASE, 1));
}

static void test_bind_unanswered_fails_in_time(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    place(w, 1, 1);
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0);
    reply(w, &a, SL_REPLY_GRANTED);
    step(w, (struct sl_sched_event){.type = SL_SCHED_COMMIT, .gang = 1});
    while (nth(w, SL_SCHED_FAILED, 0) == NULL) {
        assert_true(w->now <= SL_SCHED_RESERVATION_MS);
        w->now = sl_sched_deadline(&w->sched);
        step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    }
    assert_int_equal(item(w, SL_SCHED_FAILED, 0).reason, A_REASON_DEADLINE_EXCEEDED);
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    place(w, 1, 1);
    step(w, (struct sl_sched_event){.type = SL_SCHED_CANCEL, .gang = 1});
    assert_non_null(nth(w, SL_SCHED_SEND_RELEASE, 0));
    assert_null(nth(w, SL_SCHED_FAILED, 0));
    assert_int_equal(sl_view_get(&w->sched.view, &(struct a_node_id){.s = ""}) == NULL, 1);
    struct a_node_id id = node_id(1);
    assert_int_equal(sl_view_get(&w->sched.view, &id)->in_flight, 0);
}

static void test_releases_until_gone(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    struct sl_claim_order order = {
        .id = {.attempt = 3}, .epoch = 4, .reason = A_REASON_DRAINED, .grace_ms = 10};
    step(w, (struct sl_sched_event){.type = SL_SCHED_RELEASE, .node = node_id(1), .order = &order});
    struct sl_sched_update_item sent = item(w, SL_SCHED_SEND_RELEASE, 0);
    assert_int_equal(sent.order.grace_ms, 10);
    w->now = sl_sched_deadline(&w->sched);
    step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    assert_non_null(nth(w, SL_SCHED_SEND_RELEASE, 0));
    struct sl_view_node n = row(1, "east", 8);
    n.connected = false;
    sl_view_set(&w->sched.view, &n);
    w->now = sl_sched_deadline(&w->sched);
    step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    assert_null(nth(w, SL_SCHED_SEND_RELEASE, 0)); /* away: kept, not sent */
    assert_int_equal(sl_sched_releases(&w->sched), 1);
    reply(w, &sent, SL_REPLY_RELEASING);
    assert_true(sl_sched_deadline(&w->sched) - w->now > SL_SCHED_RESEND_MS);
    struct sl_sched_event gone = {.type = SL_SCHED_GONE, .node = node_id(1)};
    gone.gone = order.id;
    step(w, gone);
    assert_int_equal(sl_sched_releases(&w->sched), 0);
}

/* S8 */
static void test_fences_until_answered(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 8);
    struct sl_claim_order order = {.id = {.attempt = 3}, .epoch = 4};
    struct sl_sched_event fence = {.type = SL_SCHED_FENCE, .node = node_id(1), .order = &order};
    step(w, fence);
    struct sl_sched_update_item sent = item(w, SL_SCHED_SEND_FENCE, 0);
    assert_int_equal(sent.order.epoch, 4);
    step(w, fence);
    assert_null(nth(w, SL_SCHED_SEND_FENCE, 0)); /* under way */
    w->now = sl_sched_deadline(&w->sched);
    step(w, (struct sl_sched_event){.type = SL_SCHED_TIME});
    assert_non_null(nth(w, SL_SCHED_SEND_FENCE, 0)); /* no answer yet */
    order.epoch = 5;
    step(w, fence);
    assert_int_equal(item(w, SL_SCHED_SEND_FENCE, 0).order.epoch, 5);
    reply(w, &sent, SL_REPLY_BOUND);
    assert_int_equal(sl_sched_releases(&w->sched), 0);
    step(w, fence);
    step(w, (struct sl_sched_event){.type = SL_SCHED_RELEASE, .node = node_id(1), .order = &order});
    assert_non_null(nth(w, SL_SCHED_SEND_RELEASE, 0));
    step(w, fence);
    reply(w, &sent, SL_REPLY_BOUND); /* of the fence: the release goes on */
    assert_int_equal(sl_sched_releases(&w->sched), 1);
    reply(w, &sent, SL_REPLY_GONE);
    assert_int_equal(sl_sched_releases(&w->sched), 0);
}

static void test_spread_over_clusters_zones_hosts(void **state)
{
    struct world *w = *state;
    add(w, 1, "east", 64);
    add(w, 2, "west", 8);
    add(w, 3, "west", 8);
    struct sl_gang_used used[] = {{.zone = {"z"}, .host = "host-1", .units = 1},
                                  {.zone = {"z"}, .host = "host-2", .units = 0}};
    snprintf(used[0].cluster.s, sizeof used[0].cluster.s, "%s", "east");
    snprintf(used[1].cluster.s, sizeof used[1].cluster.s, "%s", "west");
    place_used(w, 1, 1, used, 2);
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_equal(sl_view_get(&w->sched.view, &a.node)->cluster.s,
                        "west"); /* though east has more room */
    used[0].units = 2;
    used[1].units = 1;
    reply(w, &a, SL_REPLY_GRANTED);
    place_used(w, 2, 1, used, 2);
    struct sl_sched_update_item b = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_equal(b.node.s, node_id(3).s); /* same cluster, the host without one */
}

/* East is the cluster with fewest units; the zone without any is in west; the host without any is another
 * node's there, which has least room. Each order picks another one, and none of them the room alone. */
static void test_order_of_spreading(void **state)
{
    struct world *w = *state;
    const struct {
        const char *cluster, *zone, *host;
        uint64_t gib;
    } nodes[] = {
        {"east", "e1", "h1", 8},  /* 1: its cluster has 1, its zone 1, its host 1 */
        {"west", "w1", "h2", 8},  /* 2: 4, 0, 2 */
        {"west", "w2", "h3", 4},  /* 3: 4, 3, 0 */
        {"west", "w2", "h1", 64}, /* 4: 4, 3, 1 */
    };
    struct sl_gang_used used[] = {{.units = 1}, {.units = 1}, {.units = 1}, {.units = 2}};
    const char *const where[][3] = {
        {"east", "e1", "h1"}, {"west", "w9", "h9"}, {"west", "w2", "h8"}, {"west", "w2", "h2"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(used); i++) {
        snprintf(used[i].cluster.s, sizeof used[i].cluster.s, "%s", where[i][0]);
        snprintf(used[i].zone.s, sizeof used[i].zone.s, "%s", where[i][1]);
        snprintf(used[i].host, sizeof used[i].host, "%s", where[i][2]);
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(nodes); i++) {
        struct sl_view_node n = row((int)i + 1, nodes[i].cluster, nodes[i].gib);
        snprintf(n.zone.s, sizeof n.zone.s, "%s", nodes[i].zone);
        snprintf(n.host, sizeof n.host, "%s", nodes[i].host);
        sl_view_set(&w->sched.view, &n);
    }
    const struct {
        enum sl_domain spread[SL_DOMAINS];
        int node;
    } cases[] = {
        {{SL_DOMAIN_CLUSTER, SL_DOMAIN_ZONE, SL_DOMAIN_HOST}, 1},
        {{SL_DOMAIN_ZONE, SL_DOMAIN_CLUSTER, SL_DOMAIN_HOST}, 2},
        {{SL_DOMAIN_HOST, SL_DOMAIN_ZONE, SL_DOMAIN_CLUSTER}, 3},
        {{SL_DOMAIN_NONE}, 4}, /* room decides */
        {{SL_DOMAIN_ZONE}, 2},
        {{SL_DOMAIN_HOST}, 3},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        memcpy(w->spread, cases[i].spread, sizeof w->spread);
        place_used(w, i + 1, 1, used, A_ARRAY_SIZE(used));
        assert_string_equal(item(w, SL_SCHED_SEND_RESERVE, 0).node.s, node_id(cases[i].node).s);
        step(w, (struct sl_sched_event){.type = SL_SCHED_CANCEL, .gang = i + 1});
    }
}

/* A node without an environment for its processor is no candidate, and that is said. */
static void test_processors(void **state)
{
    struct world *w = *state;
    struct sl_view_node n = row(1, "east", 64);
    snprintf(n.arch.s, sizeof n.arch.s, "%s", "amd64");
    sl_view_set(&w->sched.view, &n);
    add(w, 2, "east", 64); /* of an agent that does not tell */
    snprintf(w->arch.s, sizeof w->arch.s, "%s", "arm64");
    place(w, 1, 1);
    struct sl_sched_update_item failed = item(w, SL_SCHED_FAILED, 0);
    assert_int_equal(failed.reason, A_REASON_NO_CAPACITY);
    assert_int_equal(failed.explain.unfit[SL_UNFIT_ARCH], 2);
    struct a_buf text = {0};
    sl_explain_print(&text, &failed.explain);
    assert_non_null(strstr(text.ptr, "2 have a processor for which the app has no environment"));
    a_buf_deinit(&text);
    struct sl_explain why;
    struct sl_explain_node nodes[2];
    size_t n_nodes;
    struct sl_gang_member member = {.name = {"head"}, .head = true, .capacity = {.mcpu = 1}};
    struct sl_gang_request r = {.members = &member, .n_members = 1, .archs = &w->arch, .n_archs = 1};
    assert_false(sl_sched_explain(&w->sched, &r, &why, nodes, 2, &n_nodes));
    assert_int_equal(nodes[0].unfit, SL_UNFIT_ARCH);
    snprintf(w->arch.s, sizeof w->arch.s, "%s", "amd64");
    place(w, 2, 1);
    assert_string_equal(item(w, SL_SCHED_SEND_RESERVE, 0).node.s, node_id(1).s);
}

/* ---- limits and prices ---- */

static void limit(struct world *w, const char *cluster, struct sl_limits limits)
{
    struct a_name name;
    assert_true(a_name_parse(a_view_str(cluster), &name));
    sl_view_limits_set(&w->sched.view, &name, &limits);
}

/* S9: what is under way counts, and so does each member of the gang itself. */
static void test_limits_are_never_passed(void **state)
{
    struct world *w = *state;
    for (int i = 1; i <= 4; i++)
        add(w, i, "east", 8);
    limit(w, "east", (struct sl_limits){.mcpu = 3000});
    place(w, 1, 2); /* 1 + 2 cores */
    struct sl_sched_update_item a = item(w, SL_SCHED_SEND_RESERVE, 0), c = item(w, SL_SCHED_SEND_RESERVE, 1);
    reply(w, &a, SL_REPLY_GRANTED);
    place(w, 9, 1); /* one of them is under way */
    assert_null(nth(w, SL_SCHED_SEND_RESERVE, 0));
    step(w, (struct sl_sched_event){.type = SL_SCHED_CANCEL, .gang = 9});
    reply(w, &c, SL_REPLY_GRANTED);
    place(w, 2, 1);
    struct sl_sched_update_item failed = item(w, SL_SCHED_FAILED, 0);
    assert_string_equal(failed.explain.limited.s, "east");
    assert_int_equal(failed.explain.limit, SL_LIMIT_CPU);
    A_BUF_AUTO struct a_buf b = {0};
    sl_explain_print(&b, &failed.explain);
    assert_non_null(strstr(b.ptr, "in a cluster that is at its limit (max-cpu of east is 3, 3 in use)"));
    limit(w, "east", (struct sl_limits){.memory_bytes = 6 * GiB}); /* 2 + 3 are taken */
    place(w, 3, 1);
    assert_int_equal(item(w, SL_SCHED_FAILED, 0).explain.limit, SL_LIMIT_MEMORY);
    limit(w, "east", (struct sl_limits){.mcpu = 1});
    add(w, 5, "north", 4);
    add(w, 6, "north", 4);
    limit(w, "north", (struct sl_limits){.nodes = 1});
    place(w, 4, 2); /* 2 GiB and 3 GiB: no node has room for both */
    failed = item(w, SL_SCHED_FAILED, 0);
    assert_int_equal(failed.explain.limit, SL_LIMIT_NODES);
    assert_string_equal(failed.explain.member.s, "gpu-0");
    limit(w, "north", (struct sl_limits){0});
    place(w, 5, 2);
    assert_non_null(nth(w, SL_SCHED_SEND_RESERVE, 1));
    limit(w, "east", (struct sl_limits){0});
    assert_int_equal(w->sched.view.clusters.len, 0);
}

/* A cluster that is lost takes nothing along of the others' limits; where these do not suffice, it is said.
 */
static void test_failover_within_limits(void **state)
{
    struct world *w = *state;
    struct a_name east, west;
    struct sl_budget b;
    add(w, 1, "east", 8);
    add(w, 2, "west", 8);
    add(w, 3, "west", 8);
    struct sl_view_node n = row(1, "east", 8);
    n.free.mcpu = 0;
    n.connected = false;
    n.unfit = SL_UNFIT_AWAY;
    sl_view_set(&w->sched.view, &n);
    assert_true(a_name_parse(a_view_str("east"), &east) && a_name_parse(a_view_str("west"), &west));
    limit(w, "east", (struct sl_limits){.mcpu = 4000});
    limit(w, "west", (struct sl_limits){.mcpu = 1000});
    assert_true(sl_view_budget(&w->sched.view, &east, &b));
    assert_int_equal(b.used.mcpu, 4000); /* away is not lost: what runs there runs on */
    n.lost = true;
    sl_view_set(&w->sched.view, &n);
    assert_true(sl_view_budget(&w->sched.view, &east, &b));
    assert_int_equal(b.used.mcpu, 0);
    place(w, 1, 1);
    struct sl_sched_update_item first = item(w, SL_SCHED_SEND_RESERVE, 0);
    assert_string_equal(first.node.s, node_id(2).s);
    reply(w, &first, SL_REPLY_GRANTED);
    place(w, 2, 1);
    struct sl_sched_update_item failed = item(w, SL_SCHED_FAILED, 0);
    assert_string_equal(failed.explain.limited.s, "west");
    assert_int_equal(failed.explain.unfit[SL_UNFIT_LIMIT], 2);
    assert_int_equal(failed.explain.unfit[SL_UNFIT_AWAY], 1);
}

static void priced(struct world *w, int i, const char *cluster, uint64_t gib, double price)
{
    struct sl_view_node n = row(i, cluster, gib);
    n.price = price;
    sl_view_set(&w->sched.view, &n);
}

/* Spreading first, then what the claim costs by its share of the node, then room. */
static void test_cheaper_first(void **state)
{
    struct world *w = *state;
    priced(w, 1, "east", 64, 3);
    priced(w, 2, "east", 8, 1);
    priced(w, 3, "west", 16, 1.2); /* half of the memory: 1.2/8 against 1/4 of a cpu: 0.3 and 0.25 */
    place(w, 1, 1);
    assert_string_equal(item(w, SL_SCHED_SEND_RESERVE, 0).node.s, node_id(2).s);
    struct sl_gang_used used[] = {{.units = 1}};
    snprintf(used[0].cluster.s, sizeof used[0].cluster.s, "east");
    place_used(w, 2, 1, used, 1); /* the app is in east already */
    assert_string_equal(item(w, SL_SCHED_SEND_RESERVE, 0).node.s, node_id(3).s);
    priced(w, 4, "west", 32, 8);
    w->spread[0] = SL_DOMAIN_NONE;
    place(w, 3, 1); /* cheap ones are busy: 3/4 against 8/4 */
    assert_string_equal(item(w, SL_SCHED_SEND_RESERVE, 0).node.s, node_id(1).s);
}

static void test_policies_have_names(void **state)
{
    (void)state;
    for (const struct sl_policy *const *p = sl_policies; *p != NULL; p++)
        assert_ptr_equal(sl_policy_find((*p)->name), *p);
    assert_null(sl_policy_find("nothing"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_gang_of_two),
        T(test_refusal_tries_on_with_the_nodes_numbers),
        T(test_silent_node_is_released_and_left_out),
        T(test_one_in_flight),
        T(test_no_capacity_explains),
        T(test_explain_orders_nodes_by_what_they_lack),
        T(test_nodes_of_other_namespaces),
        T(test_moves_to_another_cluster_whole),
        T(test_bind_that_fails_releases_the_whole_gang),
        T(test_bind_unanswered_fails_in_time),
        T(test_cancel),
        T(test_releases_until_gone),
        T(test_fences_until_answered),
        T(test_spread_over_clusters_zones_hosts),
        T(test_order_of_spreading),
        T(test_processors),
        T(test_limits_are_never_passed),
        T(test_failover_within_limits),
        T(test_cheaper_first),
        cmocka_unit_test(test_policies_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
