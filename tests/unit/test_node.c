/* The node core: grants, refusals, persistence before acknowledgement, and a search by random events. Numbers
 * N.. are the invariants of docs/components/node.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "starlink/node/node.h"

#define GIB (UINT64_C(1) << 30)
#define STORE_A "aaaaaaaa-0000-4000-8000-000000000000"
#define STORE_B "bbbbbbbb-0000-4000-8000-000000000000"

static const struct a_capacity node_capacity = {4000, 8 * GIB, 100 * GIB};
static const struct a_capacity claim_capacity = {1000, 2 * GIB, 4 * GIB};

/* A node with a daemon that answers at once, unless told not to. */
struct world {
    struct sl_node node;
    uint64_t now_ms;
    bool hold_writes, fail_writes, no_ports;
    uint64_t held_token;
    uint16_t next_port;
    struct sl_node_action last_reply;
    int n_replies, n_starts, n_stops, n_unassigns, n_writes;
    uint64_t started;
    char *disk; /* what the last successful write left */
};

static void step(struct world *w, struct sl_node_event event);

static void write_do(struct world *w, uint64_t token)
{
    w->n_writes++;
    if (!w->fail_writes) {
        struct a_buf text = {0};
        sl_node_encode(&w->node, &text);
        free(w->disk);
        w->disk = a_buf_steal(&text);
    }
    step(w, (struct sl_node_event){.kind = SL_NODE_EV_PERSISTED, .token = token, .ok = !w->fail_writes});
}

static void action_do(struct world *w, const struct sl_node_action *a)
{
    switch (a->kind) {
    case SL_NODE_REPLY:
        w->last_reply = *a;
        w->n_replies++;
        break;
    case SL_NODE_PERSIST:
        if (w->hold_writes)
            w->held_token = a->token;
        else
            write_do(w, a->token);
        break;
    case SL_NODE_ASSIGN:
        w->next_port = (uint16_t)(w->next_port + 100);
        step(w, (struct sl_node_event){.kind = SL_NODE_EV_ASSIGNED,
                                       .claim_number = a->claim->number,
                                       .port_first = w->next_port,
                                       .port_count = w->no_ports ? 0 : 100});
        break;
    case SL_NODE_UNASSIGN:
        w->n_unassigns++;
        break;
    case SL_NODE_START:
        w->n_starts++;
        w->started = a->claim->number;
        break;
    case SL_NODE_STOP:
        w->n_stops++;
        break;
    case SL_NODE_CHANGED:
        break;
    }
}

static void update_do(struct world *w, const struct sl_node_update *u)
{
    struct sl_node_action copy[64];
    size_t n = u->n_actions;
    assert_true(n <= 64);
    memcpy(copy, u->actions, n * sizeof *copy);
    sl_node_check(&w->node);
    for (size_t i = 0; i < n; i++)
        action_do(w, &copy[i]);
}

static void step(struct world *w, struct sl_node_event event)
{
    struct sl_node_update u;
    event.now_ms = w->now_ms;
    sl_node_step(&w->node, &event, &u);
    update_do(w, &u);
}

static void world_init(struct world *w)
{
    struct sl_node_update u;
    *w = (struct world){.now_ms = 1000, .next_port = 19900};
    sl_node_init(&w->node, &node_capacity);
    sl_node_begin(&w->node, w->now_ms, &u);
    update_do(w, &u);
}

static void world_deinit(struct world *w)
{
    sl_node_deinit(&w->node);
    free(w->disk);
}

/* The process dies and comes back with what is on disk. */
static void world_restart(struct world *w)
{
    struct sl_node_update u;
    sl_node_deinit(&w->node);
    sl_node_init(&w->node, &node_capacity);
    assert_int_equal(sl_node_decode(&w->node, a_view_str(w->disk), w->now_ms, NULL), 0);
    w->held_token = 0;
    sl_node_begin(&w->node, w->now_ms, &u);
    update_do(w, &u);
}

static struct a_claim_id claim_id(int app, int unit, uint32_t attempt)
{
    struct a_claim_id id = {.attempt = attempt};
    snprintf(id.app_uid.s, sizeof id.app_uid.s, "%08d-0000-4000-8000-000000000000", app);
    snprintf(id.unit.s, sizeof id.unit.s, "ocr-%05d", unit);
    snprintf(id.member.s, sizeof id.member.s, "head");
    return id;
}

static struct sl_node_event request(enum sl_node_event_kind kind, struct a_claim_id id, uint64_t epoch,
                                    const char *store)
{
    struct sl_node_event e = {.kind = kind,
                              .id = id,
                              .epoch = epoch,
                              .ttl_ms = 5000,
                              .capacity = claim_capacity,
                              .link = 7,
                              .seq = 42,
                              .revision = 3};
    snprintf(e.store_id.s, sizeof e.store_id.s, "%s", store);
    snprintf(e.app.namespace.s, sizeof e.app.namespace.s, "default");
    snprintf(e.app.name.s, sizeof e.app.name.s, "ocr");
    if (kind == SL_NODE_EV_BIND)
        e.payload = A_VIEW_LIT("start me\n\x01");
    return e;
}

static enum sl_node_result ask(struct world *w, struct sl_node_event e)
{
    int before = w->n_replies;
    step(w, e);
    assert_int_equal(w->n_replies, before + 1);
    assert_int_equal(w->last_reply.seq, 42);
    assert_int_equal(w->last_reply.link, 7);
    return w->last_reply.result;
}

static int state_of(struct world *w, struct a_claim_id id)
{
    const struct sl_claim *c = sl_node_find(&w->node, &id);
    return c != NULL ? c->state.state : -1;
}

static void test_life(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(w.last_reply.free.mcpu, 3000);
    assert_int_equal(sl_node_find(&w.node, &id)->port_first, 20000);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A)), SL_NODE_OK); /* a repeat */
    assert_int_equal(sl_node_free(&w.node).mcpu, 3000);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(w.n_starts, 1);
    w.now_ms += 60000; /* no expiry any more */
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    assert_int_equal(state_of(&w, id), A_CLAIM_BOUND);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 6, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 6, STORE_A)), SL_NODE_OK);
    assert_int_equal(w.n_stops, 1);
    assert_int_equal(sl_node_free(&w.node).mcpu, 3000); /* until it is really gone */
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = w.started});
    assert_int_equal(state_of(&w, id), A_CLAIM_RELEASED);
    assert_int_equal(sl_node_free(&w.node).mcpu, 4000);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 6, STORE_A)), SL_NODE_WRONG_STATE); /* N8 */
    w.now_ms += SL_NODE_LINGER_MS;
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    assert_int_equal(state_of(&w, id), -1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 6, STORE_A)), SL_NODE_OK);
    world_deinit(&w);
}

static void test_refusals(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct sl_node_event big = request(SL_NODE_EV_RESERVE, claim_id(1, 1, 1), 5, STORE_A);
    big.capacity.memory_bytes = 9 * GIB;
    assert_int_equal(ask(&w, big), SL_NODE_NO_CAPACITY);
    assert_string_equal(w.last_reply.short_of, "memory");
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, i, 1), 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 9, 1), 5, STORE_A)),
                     SL_NODE_NO_CAPACITY);
    assert_string_equal(w.last_reply.short_of, "cpu");
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 0, 2), 4, STORE_A)),
                     SL_NODE_STALE_EPOCH);
    assert_int_equal(w.last_reply.epoch, 5);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, claim_id(1, 0, 1), 4, STORE_A)),
                     SL_NODE_STALE_EPOCH);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, claim_id(1, 0, 1), 9, STORE_B)),
                     SL_NODE_WRONG_STORE);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, claim_id(1, 8, 1), 5, STORE_A)), SL_NODE_UNKNOWN_CLAIM);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, claim_id(1, 0, 1), 9, STORE_B)), SL_NODE_WRONG_STORE);
    struct sl_node_event forever = request(SL_NODE_EV_RESERVE, claim_id(2, 1, 1), 5, STORE_A);
    forever.ttl_ms = SL_NODE_TTL_MAX_MS + 1;
    assert_int_equal(ask(&w, forever), SL_NODE_INVALID);
    w.now_ms += 5000; /* all reservations run out */
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    assert_int_equal(w.n_unassigns, 4);
    assert_int_equal(sl_node_free(&w.node).mcpu, 4000);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, claim_id(1, 0, 1), 5, STORE_A)), SL_NODE_UNKNOWN_CLAIM);
    w.no_ports = true;
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 0, 3), 5, STORE_A)), SL_NODE_NO_PORTS);
    assert_int_equal(state_of(&w, claim_id(1, 0, 3)), -1);
    world_deinit(&w);
}

/* N10: an exclusive node has claims of one namespace at a time. */
static void test_one_namespace_at_a_time(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.node.exclusive = true;
    struct a_claim_id id = claim_id(1, 1, 1);
    struct sl_node_event other = request(SL_NODE_EV_RESERVE, claim_id(2, 2, 1), 1, STORE_A);
    snprintf(other.app.namespace.s, sizeof other.app.namespace.s, "red");
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, other), SL_NODE_NO_CAPACITY);
    assert_non_null(strstr(w.last_reply.short_of, "namespace"));
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 3, 1), 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, other), SL_NODE_NO_CAPACITY);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, claim_id(1, 3, 1), 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, other), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 4, 1), 1, STORE_A)),
                     SL_NODE_NO_CAPACITY);
    w.node.exclusive = false;
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 4, 1), 1, STORE_A)), SL_NODE_OK);
    world_deinit(&w);
}

static void test_marks(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 1, STORE_A)), SL_NODE_OK);
    assert_int_equal(
        ask(&w, (struct sl_node_event){.kind = SL_NODE_EV_DRAIN, .on = true, .link = 7, .seq = 42}),
        SL_NODE_OK);
    assert_int_equal(sl_node_state(&w.node), A_NODE_DRAINING);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 2, 1), 1, STORE_A)), SL_NODE_CORDONED);
    assert_int_equal(w.node.incarnation, 1);
    world_restart(&w); /* the mark is on disk */
    assert_int_equal(w.node.incarnation, 2);
    assert_int_equal(sl_node_state(&w.node), A_NODE_DRAINING);
    assert_int_equal(w.n_starts, 2); /* asked for again: the daemon finds it running */
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 1, STORE_A)), SL_NODE_OK);
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = w.started});
    assert_int_equal(sl_node_state(&w.node), A_NODE_DRAINED);
    assert_int_equal(ask(&w, (struct sl_node_event){.kind = SL_NODE_EV_DRAIN, .link = 7, .seq = 42}),
                     SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, claim_id(1, 2, 1), 1, STORE_A)), SL_NODE_OK);
    world_deinit(&w);
}

/* N6: no acknowledgement and no start before the write. */
static void test_persist_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1);
    w.hold_writes = true;
    step(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A));
    step(&w, request(SL_NODE_EV_BIND, id, 5, STORE_A)); /* waits in line */
    assert_int_equal(w.n_replies, 0);
    step(&w, (struct sl_node_event){
                 .kind = SL_NODE_EV_PERSISTED, .token = w.held_token, .ok = false}); /* disk full */
    assert_int_equal(w.n_replies, 0);
    w.now_ms += SL_NODE_PERSIST_RETRY_MS;
    w.hold_writes = false;
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    assert_int_equal(w.n_replies, 2);
    assert_int_equal(w.n_starts, 1);
    world_restart(&w);
    assert_int_equal(state_of(&w, id), A_CLAIM_BOUND);
    assert_int_equal(w.n_starts, 2);
    const struct sl_claim *c = sl_node_find(&w.node, &id);
    assert_int_equal(c->payload_len, 10);
    assert_memory_equal(c->payload, "start me\n\x01", 10);
    assert_int_equal(c->port_first, 20000);
    assert_int_equal(c->revision, 3);
    world_deinit(&w);
}

static void test_adoption(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 5, STORE_B)), SL_NODE_WRONG_STORE); /* not above */
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 6, STORE_B)), SL_NODE_OK);
    assert_int_equal(w.n_starts, 1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 7, STORE_B)), SL_NODE_OK); /* a fence */
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 6, STORE_B)), SL_NODE_STALE_EPOCH);
    assert_true(w.n_starts == 1 && sl_node_find(&w.node, &id)->state.state == A_CLAIM_BOUND);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 7, STORE_A)), SL_NODE_WRONG_STORE);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 7, STORE_B)), SL_NODE_OK);
    world_deinit(&w);
}

/* Who may be told what a claim was bound with: whom it would obey. */
static void test_authority(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1), other = claim_id(1, 2, 1);
    const struct a_uuid a = {STORE_A}, b = {STORE_B};
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 5), SL_NODE_UNKNOWN_CLAIM);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 5), SL_NODE_WRONG_STATE);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, id, 5, STORE_A)), SL_NODE_OK);
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 5), SL_NODE_OK);
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 4), SL_NODE_STALE_EPOCH);
    assert_int_equal(sl_node_authority(&w.node, &id, &b, 9), SL_NODE_WRONG_STORE);
    assert_int_equal(sl_node_authority(&w.node, &other, &a, 5), SL_NODE_UNKNOWN_CLAIM);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, other, 7, STORE_A)), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_BIND, other, 7, STORE_A)), SL_NODE_OK);
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 6),
                     SL_NODE_STALE_EPOCH); /* 7 was seen of this app */
    assert_int_equal(sl_node_authority(&w.node, &id, &a, 7), SL_NODE_OK);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RELEASE, id, 7, STORE_A)), SL_NODE_OK);
    assert_int_not_equal(sl_node_authority(&w.node, &id, &a, 7), SL_NODE_OK);
    world_deinit(&w);
}

static void test_slept(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct a_claim_id id = claim_id(1, 1, 1);
    assert_int_equal(ask(&w, request(SL_NODE_EV_RESERVE, id, 5, STORE_A)), SL_NODE_OK);
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_SLEPT, .slept_ms = 4000});
    assert_int_equal(state_of(&w, id), A_CLAIM_RESERVED);
    assert_int_equal(sl_node_deadline(&w.node), w.now_ms + 1000);
    step(&w, (struct sl_node_event){.kind = SL_NODE_EV_SLEPT, .slept_ms = 60000});
    assert_int_equal(state_of(&w, id), A_CLAIM_RELEASED);
    world_deinit(&w);
}

static void test_file_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "astra-node 2\nend\n",
        "astra-node 1\n",
        "astra-node 1\nincarnation x\nend\n",
        "astra-node 1\nclaim a\nend\n",
        "astra-node 1\nsomething 1\nend\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sl_node node;
        sl_node_init(&node, &node_capacity);
        assert_true(sl_node_decode(&node, a_view_str(bad[i]), 0, NULL) < 0);
        sl_node_deinit(&node);
    }
}

static struct sl_node_event random_event(struct world *w, struct a_random *r, uint64_t *epochs)
{
    int app = (int)a_random_below(r, 3);
    struct a_claim_id id = claim_id(app, (int)a_random_below(r, 4), 1 + (uint32_t)a_random_below(r, 3));
    if (a_random_below(r, 20) == 0)
        epochs[app]++;
    uint64_t epoch = epochs[app] - a_random_below(r, 2);
    switch (a_random_below(r, 9)) {
    case 0:
    case 1:
    case 2:
        return request(SL_NODE_EV_RESERVE, id, epoch, STORE_A);
    case 3:
    case 4:
        return request(SL_NODE_EV_BIND, id, epoch, STORE_A);
    case 5:
        return request(SL_NODE_EV_RELEASE, id, epoch, STORE_A);
    case 6:
        w->now_ms += a_random_below(r, 3000);
        return (struct sl_node_event){.kind = SL_NODE_EV_TIMER};
    case 7:
        return (struct sl_node_event){.kind = SL_NODE_EV_STOPPED,
                                      .claim_number = a_random_below(r, w->node.next_number)};
    default:
        return (struct sl_node_event){.kind = SL_NODE_EV_CORDON, .on = a_random_below(r, 4) == 0};
    }
}

/* Random requests, held and failing writes, restarts: the invariants hold after each step (update_do checks),
 * an epoch never falls (N7), and what was acknowledged as BOUND survives a restart (N6). */
static void test_search(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w;
        struct a_random r;
        uint64_t epochs[3] = {2, 2, 2}, acknowledged[3] = {0};
        a_random_init(&r, seed);
        world_init(&w);
        for (int i = 0; i < 200; i++) {
            struct sl_node_event e = random_event(&w, &r, epochs);
            w.fail_writes = a_random_below(&r, 10) == 0;
            int before = w.n_replies;
            step(&w, e);
            bool bound = w.n_replies == before + 1 && w.last_reply.asked == SL_NODE_EV_BIND &&
                         w.last_reply.result == SL_NODE_OK;
            struct a_claim_id id = w.last_reply.id;
            if (a_random_below(&r, 30) == 0) {
                world_restart(&w);
                if (bound)
                    assert_int_equal(state_of(&w, id), A_CLAIM_BOUND);
            }
            if (bound)
                acknowledged[id.app_uid.s[7] - '0'] = e.epoch;
            for (int app = 0; app < 3; app++) {
                struct a_claim_id any = claim_id(app, 0, 0);
                assert_true(sl_node_epoch(&w.node, &any.app_uid) >= acknowledged[app]);
            }
        }
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_marks),    cmocka_unit_test(test_persist_first),
        cmocka_unit_test(test_adoption), cmocka_unit_test(test_authority),
        cmocka_unit_test(test_slept),    cmocka_unit_test(test_file_refused),
        cmocka_unit_test(test_search),   cmocka_unit_test(test_one_namespace_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
