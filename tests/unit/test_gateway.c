/* The gateway's core with literal times; the numbers are the invariants of docs/components/gateway.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/gateway.h"
#include "gateway/policy/policy.h"

struct world {
    struct gw gw;
    const struct gw_update *u;
    size_t n;
};

static void step(struct world *w, struct gw_event e)
{
    gw_step(&w->gw, &e, &w->u, &w->n);
}

static void route(struct world *w, const char *id, const char *host, const char *prefix, bool idempotent,
                  uint32_t cap)
{
    struct wire_sl_route r = {.id = a_view_str(id),
                              .host = a_view_str(host),
                              .prefix = a_view_str(prefix),
                              .application = A_VIEW_LIT("a"),
                              .wait_ms = 1000,
                              .timeout_ms = 60000,
                              .max_body_bytes = 1000,
                              .retry_body_bytes = 100,
                              .idempotent = idempotent,
                              .policy = A_VIEW_LIT("least"),
                              .max_ongoing = cap,
                              .units_wanted = 2};
    strcpy(r.app.name.s, "ocr");
    step(w, (struct gw_event){.type = GW_ROUTE, .route = &r});
}

static void endpoint(struct world *w, uint64_t now_ms, const char *id, const char *unit,
                     enum wire_sl_endpoint_state state)
{
    struct wire_sl_endpoint e = {.id = a_view_str(id),
                                 .application = A_VIEW_LIT("a"),
                                 .ip = A_VIEW_LIT("127.0.0.1"),
                                 .port = 1,
                                 .state = state};
    strcpy(e.app.name.s, "ocr");
    snprintf(e.unit.s, sizeof e.unit.s, "%s", unit);
    step(w, (struct gw_event){.type = GW_ENDPOINT, .now_ms = now_ms, .endpoint = &e});
}

static void request(struct world *w, uint64_t now_ms, struct gw_request *req, const char *method)
{
    *req = (struct gw_request){.replayable = true};
    step(w, (struct gw_event){.type = GW_REQUEST,
                              .now_ms = now_ms,
                              .request = req,
                              .host = A_VIEW_LIT("h"),
                              .path = A_VIEW_LIT("/ocr/x"),
                              .method = a_view_str(method)});
}

static void failed(struct world *w, uint64_t now_ms, struct gw_request *req, enum gw_failure failure)
{
    step(w, (struct gw_event){
                .type = GW_FAILED, .now_ms = now_ms, .request = req, .failure = failure, .error = "x"});
}

static void committed(struct world *w, uint64_t now_ms, struct gw_request *req)
{
    step(w, (struct gw_event){.type = GW_COMMITTED, .now_ms = now_ms, .request = req});
}

static void done(struct world *w, uint64_t now_ms, struct gw_request *req)
{
    step(w, (struct gw_event){.type = GW_DONE, .now_ms = now_ms, .request = req, .ok = true});
}

static const char *sent_to(const struct world *w, size_t i)
{
    assert_true(i < w->n);
    assert_int_equal(w->u[i].type, GW_SEND);
    return w->u[i].endpoint->id;
}

static int status_of(const struct world *w)
{
    assert_true(w->n >= 1);
    assert_int_equal(w->u[w->n - 1].type, GW_ANSWER);
    return w->u[w->n - 1].status;
}

static int setup(void **state)
{
    static struct world w;
    w = (struct world){0};
    gw_init(&w.gw, &(struct gw_options){.seed = 1});
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    gw_deinit(&w->gw);
    gw_deinit(&w->gw);
    return 0;
}

static void test_most_specific_route(void **state)
{
    struct world *w = *state;
    route(w, "root", "*", "/", false, 0);
    route(w, "ocr", "*", "/ocr/", false, 0);
    route(w, "deep", "*", "/ocr/v2", false, 0);
    route(w, "host", "h.example", "/", false, 0);
    const struct {
        const char *host, *path, *id;
    } cases[] = {
        {"x", "/", "root"},       {"x", "/ocr", "ocr"},          {"x", "/ocrx", "root"},
        {"x", "/ocr/v1", "ocr"},  {"x", "/ocr/v2", "deep"},      {"x", "/ocr/v2/p", "deep"},
        {"x", "/ocr/v22", "ocr"}, {"h.example", "/ocr", "host"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++)
        assert_string_equal(gw_route_find(&w->gw, a_view_str(cases[i].host), a_view_str(cases[i].path))->id,
                            cases[i].id);
    step(w, (struct gw_event){.type = GW_ROUTE_GONE, .id = A_VIEW_LIT("root")});
    assert_null(gw_route_find(&w->gw, A_VIEW_LIT("x"), A_VIEW_LIT("/ocrx")));
}

/* 1 */
static void test_cap_and_order_of_waiting(void **state)
{
    struct world *w = *state;
    struct gw_request r[4];
    route(w, "r", "*", "/ocr", false, 1);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    assert_string_equal(sent_to(w, 0), "e1");
    for (int i = 1; i < 4; i++) {
        request(w, (uint64_t)i, &r[i], "POST");
        assert_int_equal(w->u[0].type, GW_WAIT);
    }
    assert_int_equal(gw_deadline(&w->gw), 1001);
    done(w, 10, &r[0]);
    assert_int_equal(w->n, 1);
    assert_ptr_equal(w->u[0].request, &r[1]);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 1002});
    assert_int_equal(w->n, 1);
    assert_ptr_equal(w->u[0].request, &r[2]);
    assert_int_equal(status_of(w), 503);
    done(w, 1003, &r[2]);
    done(w, 1003, &r[3]); /* its client went away while it waited */
    done(w, 1003, &r[1]);
    assert_int_equal(w->gw.n_in_flight + w->gw.n_waiting, 0); /* 9 */
}

static void test_nobody_is_ready_then_somebody_is(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", false, 1);
    request(w, 0, &r, "GET");
    assert_int_equal(w->u[0].type, GW_WAIT);
    endpoint(w, 500, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    assert_string_equal(sent_to(w, 0), "e1");
    done(w, 501, &r);
}

/* 4 */
static void test_what_may_be_sent_again(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", false, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "POST");
    failed(w, 1, &r, GW_FAILURE_LOST);
    assert_int_equal(status_of(w), 502);
    done(w, 1, &r);

    request(w, 60000, &r, "POST");
    const char *first = sent_to(w, 0);
    failed(w, 60001, &r, GW_FAILURE_REFUSED); /* nothing was sent: any method */
    assert_string_not_equal(sent_to(w, 0), first);
    done(w, 60002, &r);

    request(w, 120000, &r, "GET");
    failed(w, 120001, &r, GW_FAILURE_LOST);
    sent_to(w, 0);
    r.replayable = false; /* by now a part of the body has been let go */
    failed(w, 120002, &r, GW_FAILURE_LOST);
    assert_int_equal(status_of(w), 502);
    done(w, 120003, &r);

    request(w, 180000, &r, "GET");
    failed(w, 180001, &r, GW_FAILURE_TIMEOUT);
    assert_int_equal(status_of(w), 504);
    done(w, 180002, &r);
}

/* 4: what kills one replica may kill the next. */
static void test_a_request_that_kills(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    for (int i = 0; i < 6; i++) {
        char id[8];
        snprintf(id, sizeof id, "e%d", i);
        endpoint(w, 0, id, id, WIRE_SL_ENDPOINT_UP);
    }
    request(w, 0, &r, "POST");
    for (uint64_t i = 1; i < GW_LOST_MAX; i++) {
        failed(w, i, &r, GW_FAILURE_LOST);
        sent_to(w, 0);
    }
    failed(w, 9, &r, GW_FAILURE_LOST);
    assert_int_equal(status_of(w), 502);
    done(w, 9, &r);
}

/* 4: one replica that comes and goes is one, not three that the request killed. */
static void test_a_replica_that_comes_and_goes(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "GET");
    for (uint64_t i = 1; i <= GW_LOST_MAX + 1; i++) {
        endpoint(w, 10 * i, "e1", "u1", WIRE_SL_ENDPOINT_DEAD);
        assert_int_equal(w->n, 2);
        assert_int_equal(w->u[0].type, GW_ABORT);
        assert_int_equal(w->u[1].type, GW_WAIT);
        endpoint(w, 10 * i + 5, "e1", "u1", WIRE_SL_ENDPOINT_UP);
        assert_string_equal(sent_to(w, 0), "e1");
    }
    committed(w, 100, &r);
    done(w, 101, &r);
}

static void test_nothing_is_sent_again_when_told_so(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    gw_deinit(&w->gw);
    gw_init(&w->gw, &(struct gw_options){.seed = 1, .no_resend = true});
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "GET");
    failed(w, 1, &r, GW_FAILURE_REFUSED);
    assert_int_equal(status_of(w), 502);
    done(w, 2, &r);
}

/* 3 */
static void test_never_after_commit(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "GET");
    committed(w, 1, &r);
    failed(w, 2, &r, GW_FAILURE_LOST);
    assert_int_equal(w->n, 0);
    done(w, 2, &r);
}

/* 5, 6 */
static void test_dead_endpoint(void **state)
{
    struct world *w = *state;
    struct gw_request r[12];
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    for (int i = 0; i < 12; i++)
        request(w, 0, &r[i], "POST");
    committed(w, 0, &r[11]);
    endpoint(w, 1, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 2, "e1", "u1", WIRE_SL_ENDPOINT_DEAD);
    assert_int_equal(w->n, 22); /* 11 x (ABORT, SEND): more than the budget's 10, and free */
    for (size_t i = 0; i < w->n; i += 2) {
        assert_int_equal(w->u[i].type, GW_ABORT);
        assert_string_equal(sent_to(w, i + 1), "e2");
    }
    for (int i = 0; i < 10; i++) {
        failed(w, 3, &r[i], GW_FAILURE_LOST); /* from here on each one costs */
        sent_to(w, 0);
    }
    failed(w, 3, &r[10], GW_FAILURE_LOST);
    assert_int_equal(status_of(w), 502);
    for (int i = 0; i < 12; i++)
        done(w, 4, &r[i]);
    assert_int_equal(w->gw.n_in_flight, 0);
}

/* 10: more are lost at once than the budget pays for. */
static void test_held_until_the_verdict(void **state)
{
    struct world *w = *state;
    struct gw_request r[16];
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    for (int i = 0; i < 16; i++)
        request(w, 0, &r[i], "POST");
    endpoint(w, 1, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    for (int i = 0; i < 15; i++) {
        failed(w, 2, &r[i], GW_FAILURE_LOST);
        assert_int_equal(w->u[0].type, i < 10 ? GW_SEND : GW_WAIT);
    }
    assert_int_equal(w->gw.n_waiting, 5);
    struct gw_endpoint *e1 = gw_endpoint_find(&w->gw, A_VIEW_LIT("e1"));
    assert_true(e1->failures_in_a_row == 1 && e1->aside_until_ms == 252); /* 7: one failure, not 15 */
    done(w, 3, &r[14]);                                                   /* its client has gone */
    failed(w, 4, &r[15], GW_FAILURE_REFUSED);
    assert_int_equal(w->n, 5); /* those four, and this one: the endpoint is gone */
    for (size_t i = 0; i < w->n; i++)
        assert_string_equal(sent_to(w, i), "e2");
    failed(w, 5, &r[10], GW_FAILURE_LOST); /* free once only, and e2 answers */
    assert_int_equal(status_of(w), 502);
    failed(w, 5, &r[0], GW_FAILURE_LOST);
    assert_int_equal(w->u[0].type, GW_WAIT);
    assert_int_equal(a_heap_deadline(&w->gw.timers), 5 + GW_VERDICT_MS);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 5 + GW_VERDICT_MS});
    assert_ptr_equal(w->u[0].request, &r[0]);
    assert_int_equal(status_of(w), 502);
    failed(w, 3000, &r[1], GW_FAILURE_LOST);
    endpoint(w, 3001, "e2", "u2", WIRE_SL_ENDPOINT_DEAD); /* held there, and in flight there: all leave */
    for (int i = 0; i < 16; i++)
        done(w, 4000, &r[i]);
    assert_true(w->gw.n_in_flight == 0 && w->gw.n_waiting == 0);
}

static void test_drain(void **state)
{
    struct world *w = *state;
    struct gw_request r[2];
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    endpoint(w, 1, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 2, "e1", "u1", WIRE_SL_ENDPOINT_DRAINING);
    assert_int_equal(w->n, 0);
    request(w, 3, &r[1], "POST");
    assert_string_equal(sent_to(w, 0), "e2");
    done(w, 4, &r[0]);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->u[0].type, GW_DRAINED);
    assert_string_equal(w->u[0].endpoint->id, "e1");
    done(w, 5, &r[1]);
    assert_int_equal(w->n, 0);
}

static void drain(struct world *w, uint64_t now_ms, uint64_t requests_ms, uint64_t streams_ms)
{
    struct wire_sl_endpoint e = {.id = A_VIEW_LIT("e1"),
                                 .application = A_VIEW_LIT("a"),
                                 .ip = A_VIEW_LIT("127.0.0.1"),
                                 .port = 1,
                                 .state = WIRE_SL_ENDPOINT_DRAINING,
                                 .drain_requests_ms = requests_ms,
                                 .drain_streams_ms = streams_ms};
    strcpy(e.app.name.s, "ocr");
    snprintf(e.unit.s, sizeof e.unit.s, "%s", "u1");
    step(w, (struct gw_event){.type = GW_ENDPOINT, .now_ms = now_ms, .endpoint = &e});
}

static void streams(struct world *w, uint64_t now_ms, struct gw_request *req)
{
    step(w, (struct gw_event){.type = GW_COMMITTED, .now_ms = now_ms, .request = req, .stream = true});
}

/* 13: each has its time, counted from the drain's begin, and is cut then. */
static void test_drain_has_an_end(void **state)
{
    struct world *w = *state;
    struct gw_request safe, post, begun, stream, late;
    route(w, "r", "*", "/ocr", false, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &safe, "GET");
    request(w, 0, &post, "POST");
    request(w, 0, &begun, "POST");
    request(w, 0, &stream, "POST");
    request(w, 0, &late, "POST");
    committed(w, 1, &begun);
    streams(w, 1, &stream);
    drain(w, 1000, 60000, 300000);
    drain(w, 2000, 60000, 300000); /* said again: the time runs on */
    assert_int_equal(gw_deadline(&w->gw), 61000);
    endpoint(w, 3000, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    streams(w, 50000, &late); /* its answer has begun in time: it is a stream now */
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 60999});
    assert_int_equal(w->n, 0);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 61000});
    assert_int_equal(w->n, 5);
    assert_true(w->u[0].type == GW_ABORT && w->u[0].request == &safe);
    assert_string_equal(sent_to(w, 1), "e2"); /* GET: may be sent again */
    assert_true(w->u[2].type == GW_ABORT && w->u[2].request == &post);
    assert_true(w->u[3].type == GW_ANSWER && w->u[3].status == 503 && w->u[3].cause == GW_CAUSE_DRAIN);
    assert_true(w->u[4].type == GW_CUT && w->u[4].request == &begun);
    assert_int_equal(a_heap_deadline(&w->gw.drains), 301000);
    assert_true(gw_deadline(&w->gw) < 301000); /* what went to e2 waits for its answer there */
    done(w, 62000, &stream);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 301000});
    assert_int_equal(w->n, 2);
    assert_true(w->u[0].type == GW_CUT && w->u[0].request == &late);
    assert_int_equal(w->u[1].type, GW_DRAINED);
    assert_int_equal(a_heap_deadline(&w->gw.drains), A_NEVER);
    struct gw_request *all[] = {&safe, &post, &begun, &late};
    for (size_t i = 0; i < A_ARRAY_SIZE(all); i++)
        done(w, 301001, all[i]);
    assert_int_equal(w->gw.n_in_flight + w->gw.n_waiting, 0);
}

/* Streams may have less time than requests, and a drain may be taken back. */
static void test_drain_of_streams_first(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", false, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "POST");
    drain(w, 0, 5000, 1);
    assert_int_equal(gw_deadline(&w->gw), 5000);
    streams(w, 4000, &r);
    assert_int_equal(w->n, 0); /* never within the step that commits it */
    assert_int_equal(gw_deadline(&w->gw), 1);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 4000});
    assert_true(w->u[0].type == GW_CUT && w->u[0].request == &r);
    done(w, 4001, &r);
    endpoint(w, 4002, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 5000, &r, "POST");
    drain(w, 5000, 5000, 5000);
    endpoint(w, 6000, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    assert_int_equal(gw_deadline(&w->gw), A_NEVER);
    done(w, 20000, &r);
}

/* 7 */
static void test_set_aside_and_back(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r, "POST");
    failed(w, 1, &r, GW_FAILURE_REFUSED);
    assert_string_equal(sent_to(w, 0), "e1"); /* the only one: used all the same */
    done(w, 2, &r);
    endpoint(w, 2, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    for (uint64_t t = 3; t < 200; t += 10) {
        request(w, t, &r, "POST");
        assert_string_equal(sent_to(w, 0), "e2");
        done(w, t, &r);
    }
    struct gw_request probe;
    request(w, 300, &probe, "POST");
    assert_string_equal(sent_to(w, 0), "e1"); /* its time is over: one request finds out */
    request(w, 300, &r, "POST");
    assert_string_equal(sent_to(w, 0), "e2");
    done(w, 300, &r);
    committed(w, 301, &probe);
    done(w, 301, &probe);
}

static void committed_after(struct world *w, uint64_t now_ms, struct gw_request *req, uint64_t latency_ms)
{
    step(w, (struct gw_event){
                .type = GW_COMMITTED, .now_ms = now_ms, .request = req, .latency_us = latency_ms * 1000});
    done(w, now_ms, req);
}

static struct gw_endpoint *find(struct world *w, const char *id)
{
    return gw_endpoint_find(&w->gw, a_view_str(id));
}

/* Two requests at each endpoint; those at e2 are answered. */
static void stall_begin(struct world *w, struct gw_request r[4])
{
    route(w, "r", "*", "/ocr", true, 2);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_DRAINING);
    for (int i = 0; i < 2; i++)
        request(w, 0, &r[i], "POST");
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    for (int i = 2; i < 4; i++) {
        request(w, 100, &r[i], "POST");
        assert_string_equal(sent_to(w, 0), "e2");
        committed_after(w, 110, &r[i], 10);
    }
}

/* 12 */
static void test_stalled_among_others_that_answer(void **state)
{
    struct world *w = *state;
    struct gw_request r[4], probe;
    stall_begin(w, r);
    assert_int_equal(gw_deadline(&w->gw), 1000);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 1000});
    assert_int_equal(w->n, 4); /* both leave it */
    assert_int_equal(w->u[0].type, GW_ABORT);
    assert_string_equal(sent_to(w, 1), "e2");
    assert_string_equal(sent_to(w, 3), "e2");
    assert_int_equal(w->gw.stalled, 1);
    assert_non_null(strstr(find(w, "e1")->error, "no answer for 1000 ms to 2 requests"));
    for (int i = 0; i < 2; i++)
        committed_after(w, 1010, &r[i], 10);
    /* later one request finds out whether it is well, and leaves it alone when it is not */
    find(w, "e2")->last_pick_ms = 1300;
    request(w, 1300, &probe, "POST");
    assert_string_equal(sent_to(w, 0), "e1");
    request(w, 1310, &r[0], "POST");
    assert_string_equal(sent_to(w, 0), "e2");
    committed_after(w, 1320, &r[0], 10);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 2300});
    assert_string_equal(sent_to(w, 1), "e2");
    committed_after(w, 2310, &probe, 10);
}

static void test_one_long_request_is_no_stall(void **state)
{
    struct world *w = *state;
    struct gw_request r[4];
    stall_begin(w, r);
    committed_after(w, 200, &r[1], 200);
    request(w, 900, &r[2], "POST");
    assert_string_equal(sent_to(w, 0), "e2");
    committed_after(w, 1300, &r[2], 10);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = 1000 + 300});
    for (uint64_t at = gw_deadline(&w->gw); w->gw.stalled == 0; at = gw_deadline(&w->gw)) {
        request(w, at, &r[2], "POST");
        committed_after(w, at, &r[2], 10);
        step(w, (struct gw_event){.type = GW_TIME, .now_ms = at});
        assert_int_equal(w->n, 0); /* set aside, but the one that waits stays */
    }
    assert_int_equal(find(w, "e1")->in_flight, 1);
    committed_after(w, 20000, &r[0], 20000);
    assert_int_equal(find(w, "e1")->failures_in_a_row, 0);
}

/* One request at e1, and e2 answers others in so long; where the first is when e1 has been suspected twice.
 */
static const char *suspected_twice(struct world *w, struct gw_request *first, uint64_t latency_ms)
{
    struct gw_request other;
    route(w, "r", "*", "/ocr", true, 2);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_DRAINING);
    request(w, 0, first, "POST");
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    for (uint64_t at = 500; w->gw.stalled < 2 && at < 60000; at += 500) {
        request(w, at, &other, "POST");
        assert_string_equal(sent_to(w, 0), "e2");
        committed_after(w, at, &other, latency_ms);
        step(w, (struct gw_event){.type = GW_TIME, .now_ms = at});
    }
    return first->endpoint->id;
}

static void test_one_stuck_leaves_a_second_later(void **state)
{
    struct world *w = *state;
    struct gw_request first;
    assert_string_equal(suspected_twice(w, &first, 10), "e2");
    assert_int_equal(first.sent_ms, 2000);
    committed_after(w, 2010, &first, 10);
}

/* 12: the mean is 4 s, the verdict comes at 30 s, and at 31 s less than half of the 60 s is left. */
static void test_stuck_for_half_its_time_stays(void **state)
{
    struct world *w = *state;
    struct gw_request first;
    assert_string_equal(suspected_twice(w, &first, 4000), "e1");
    committed_after(w, 55000, &first, 55000);
}

static void test_all_slow_is_no_stall(void **state)
{
    struct world *w = *state;
    struct gw_request r[4];
    route(w, "r", "*", "/ocr", true, 2);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    endpoint(w, 0, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    for (int i = 0; i < 4; i++)
        request(w, 0, &r[i], "POST");
    for (uint64_t at = 1000; at < 20000; at += 1000) {
        step(w, (struct gw_event){.type = GW_TIME, .now_ms = at});
        assert_int_equal(w->n, 0);
    }
    assert_int_equal(w->gw.stalled, 0);
    for (int i = 0; i < 4; i++)
        committed_after(w, 20000, &r[i], 20000);
}

static void test_limits(void **state)
{
    struct world *w = *state;
    struct gw_request r = {.replayable = true};
    route(w, "r", "*", "/ocr", true, 0);
    step(w, (struct gw_event){.type = GW_REQUEST,
                              .request = &r,
                              .host = A_VIEW_LIT("h"),
                              .path = A_VIEW_LIT("/ocr"),
                              .method = A_VIEW_LIT("POST"),
                              .has_length = true,
                              .length = 1001});
    assert_int_equal(status_of(w), 413);
    done(w, 0, &r);
    r = (struct gw_request){0};
    step(w, (struct gw_event){.type = GW_REQUEST,
                              .request = &r,
                              .host = A_VIEW_LIT("h"),
                              .path = A_VIEW_LIT("/other"),
                              .method = A_VIEW_LIT("GET")});
    assert_int_equal(status_of(w), 404);
    done(w, 0, &r);
}

static void test_snapshot_replaces_all(void **state)
{
    struct world *w = *state;
    struct gw_request r[2];
    route(w, "r", "*", "/ocr", true, 0);
    route(w, "old", "*", "/old", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    committed(w, 0, &r[0]);
    request(w, 0, &r[1], "POST");
    step(w, (struct gw_event){.type = GW_VIEW_BEGIN, .snapshot = true});
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 1, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    step(w, (struct gw_event){.type = GW_VIEW_END, .now_ms = 1});
    assert_int_equal(w->n, 2);
    assert_string_equal(sent_to(w, 1), "e2");
    assert_null(gw_route_find(&w->gw, A_VIEW_LIT("h"), A_VIEW_LIT("/old")));
    assert_int_equal(w->gw.endpoints.len, 2); /* e1 is dead, and counts what is in flight there */
    step(w, (struct gw_event){.type = GW_ROUTE_GONE, .id = A_VIEW_LIT("r")});
    done(w, 2, &r[0]);
    assert_int_equal(w->gw.endpoints.len, 1);
    done(w, 2, &r[1]);
    assert_int_equal(w->gw.n_in_flight, 0);
}

/* 6: what leaves an endpoint that a view takes away never goes to another one that the same view takes away.
 */
static void test_view_is_one_change(void **state)
{
    for (int snapshot = 0; snapshot < 2; snapshot++) {
        struct world *w = *state;
        struct gw_request r;
        route(w, "r", "*", "/ocr", true, 0);
        endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
        request(w, 1, &r, "GET");
        assert_string_equal(sent_to(w, 0), "e1");
        endpoint(w, 2, "e2", "u2", WIRE_SL_ENDPOINT_UP);
        endpoint(w, 2, "e3", "u3", WIRE_SL_ENDPOINT_UP);
        step(w, (struct gw_event){.type = GW_VIEW_BEGIN, .snapshot = snapshot});
        if (snapshot) {
            route(w, "r", "*", "/ocr", true, 0);
            endpoint(w, 3, "e3", "u3", WIRE_SL_ENDPOINT_UP);
        } else {
            step(w, (struct gw_event){.type = GW_ENDPOINT_GONE, .now_ms = 3, .id = A_VIEW_LIT("e1")});
            assert_int_equal(w->n, 0);
            endpoint(w, 3, "e2", "u2", WIRE_SL_ENDPOINT_DEAD);
            assert_int_equal(w->n, 0);
        }
        step(w, (struct gw_event){.type = GW_VIEW_END, .now_ms = 3});
        assert_int_equal(w->n, 2);
        assert_int_equal(w->u[0].type, GW_ABORT);
        assert_string_equal(sent_to(w, 1), "e3");
        done(w, 4, &r);
    }
}

/* 1: an endpoint that was gone for a moment still has what is in flight there. */
static void test_gone_and_back(void **state)
{
    struct world *w = *state;
    struct gw_request r[2];
    route(w, "r", "*", "/ocr", false, 1);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    step(w, (struct gw_event){.type = GW_ENDPOINT_GONE, .now_ms = 1, .id = A_VIEW_LIT("e1")});
    endpoint(w, 2, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 3, &r[1], "POST");
    assert_int_equal(r[1].state, GW_REQUEST_WAITING);
    done(w, 4, &r[0]);
    assert_string_equal(sent_to(w, 0), "e1");
    step(w, (struct gw_event){.type = GW_ENDPOINT_GONE, .now_ms = 5, .id = A_VIEW_LIT("e1")});
    assert_int_equal(w->gw.endpoints.len, 1);
    done(w, 6, &r[1]);
    assert_int_equal(w->gw.endpoints.len, 0);
}

/* 7: a suspect with room is better than an answer from here. */
static void test_suspect_rather_than_refusal(void **state)
{
    struct world *w = *state;
    struct gw_request r[3];
    route(w, "r", "*", "/ocr", false, 1);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    failed(w, 0, &r[0], GW_FAILURE_LOST); /* e1 is set aside */
    done(w, 0, &r[0]);
    endpoint(w, 1, "e2", "u2", WIRE_SL_ENDPOINT_UP);
    request(w, 1, &r[1], "POST");
    assert_string_equal(sent_to(w, 0), "e2");
    request(w, 2, &r[2], "POST");
    assert_int_equal(r[2].state, GW_REQUEST_WAITING);
    endpoint(w, 3, "e1", "u1", WIRE_SL_ENDPOINT_UP); /* still aside: nothing new is known of it */
    assert_int_equal(r[2].state, GW_REQUEST_WAITING);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = a_heap_deadline(&w->gw.timers)});
    assert_string_equal(sent_to(w, 0), "e1");
    done(w, 2000, &r[1]);
    done(w, 2000, &r[2]);
}

/* 7: a dead replica that nobody has declared dead yet is not tried six times within a millisecond. */
static void test_back_to_the_only_one_after_a_pause(void **state)
{
    struct world *w = *state;
    struct gw_request r[2];
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    request(w, 0, &r[0], "POST");
    failed(w, 1, &r[0], GW_FAILURE_LOST); /* an old connection, perhaps: at once */
    assert_string_equal(sent_to(w, 0), "e1");
    failed(w, 2, &r[0], GW_FAILURE_LOST);
    assert_int_equal(w->u[0].type, GW_WAIT);
    assert_true(r[0].lost == 1 && r[0].tries == 2); /* 4: one replica was lost, not two */
    request(w, 3, &r[1], "POST");
    assert_int_equal(r[1].state, GW_REQUEST_WAITING); /* 1: in its order */
    struct gw_endpoint *e1 = gw_endpoint_find(&w->gw, A_VIEW_LIT("e1"));
    assert_int_equal(gw_deadline(&w->gw), e1->aside_until_ms);
    step(w, (struct gw_event){.type = GW_TIME, .now_ms = e1->aside_until_ms});
    assert_ptr_equal(w->u[0].request, &r[0]);
    assert_int_equal(w->n, 2); /* and those behind it */
    failed(w, 760, &r[0], GW_FAILURE_REFUSED);
    failed(w, 760, &r[1], GW_FAILURE_REFUSED);
    assert_true(r[0].state == GW_REQUEST_WAITING && r[1].state == GW_REQUEST_WAITING);
    endpoint(w, 800, "e2", "u1", WIRE_SL_ENDPOINT_UP); /* started again: all go there */
    assert_true(r[0].state == GW_REQUEST_SENT && r[1].state == GW_REQUEST_SENT);
    assert_string_equal(r[0].endpoint->id, "e2");
    done(w, 900, &r[0]);
    done(w, 900, &r[1]);
}

/* 7: with nothing else to go to, the wait's end is the last try all the same. */
static void test_back_at_the_end_of_the_wait(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    uint64_t now_ms = 1;
    request(w, 0, &r, "POST");
    for (uint32_t tries = 1; tries < GW_TRIES_MAX; tries++) {
        assert_true(r.state == GW_REQUEST_SENT && r.tries == tries);
        failed(w, now_ms, &r, GW_FAILURE_REFUSED);
        if (r.state == GW_REQUEST_WAITING) {
            assert_true(gw_deadline(&w->gw) <= now_ms + 1000);
            now_ms = gw_deadline(&w->gw);
            step(w, (struct gw_event){.type = GW_TIME, .now_ms = now_ms});
        }
    }
    assert_true(now_ms > 2000); /* long enough for a replica to come back */
    failed(w, now_ms, &r, GW_FAILURE_REFUSED);
    assert_int_equal(status_of(w), 502);
    done(w, now_ms, &r);
}

static void test_report(void **state)
{
    struct world *w = *state;
    struct gw_request r;
    route(w, "r", "*", "/ocr", true, 0);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    struct gw_endpoint *e = gw_endpoint_find(&w->gw, A_VIEW_LIT("e1"));
    assert_true(e->reported); /* nothing to say of it yet */
    request(w, 0, &r, "POST");
    assert_true(!e->reported && e->in_flight == 1);
    gw_endpoint_reported(e);
    failed(w, 1, &r, GW_FAILURE_LOST);
    assert_true(!e->reported && e->counts.failed == 1 && e->counts.resent == 1);
    assert_string_equal(e->error, "x");
    gw_endpoint_reported(e);
    assert_true(e->reported && e->counts.failed == 0);
    done(w, 2, &r);
    assert_int_equal(e->in_flight, 0);
    assert_null(gw_endpoint_find(&w->gw, A_VIEW_LIT("e2")));
}

/* A path of many slashes is looked at no further than the longest prefix goes. */
static void test_long_paths(void **state)
{
    struct world *w = *state;
    static char path[65536];
    memset(path, '/', sizeof path);
    memcpy(path, "/ocr", 4);
    route(w, "r", "*", "/ocr", true, 0);
    assert_non_null(gw_route_find(&w->gw, A_VIEW_LIT("h"), (struct a_view){path, sizeof path}));
    assert_true(w->gw.key.len < 16);
    assert_non_null(gw_route_find(&w->gw, A_VIEW_LIT("h"), A_VIEW_LIT("/ocr")));
    assert_null(gw_route_find(&w->gw, A_VIEW_LIT("h"), A_VIEW_LIT("/ocrx/ocr")));
}

/* 1: queues of several routes over one endpoint's places: each freed place goes to somebody, once. */
static void test_two_queues(void **state)
{
    struct world *w = *state;
    struct gw_request a[3];
    route(w, "r1", "*", "/ocr", true, 1);
    route(w, "r2", "h", "/ocr", true, 1);
    endpoint(w, 0, "e1", "u1", WIRE_SL_ENDPOINT_UP);
    for (int i = 0; i < 3; i++) {
        a[i] = (struct gw_request){.replayable = true};
        step(w, (struct gw_event){.type = GW_REQUEST,
                                  .request = &a[i],
                                  .host = i == 1 ? A_VIEW_LIT("other") : A_VIEW_LIT("h"),
                                  .path = A_VIEW_LIT("/ocr"),
                                  .method = A_VIEW_LIT("GET")});
    }
    assert_int_equal(w->gw.n_waiting, 2);
    done(w, 1, &a[0]);
    assert_int_equal(w->n, 1);
    struct gw_request *next = w->u[0].request;
    done(w, 2, next);
    assert_int_equal(w->n, 1);
    assert_ptr_not_equal(w->u[0].request, next);
    done(w, 3, w->u[0].request);
    assert_true(w->gw.n_waiting == 0 && w->gw.n_in_flight == 0 && a_list_empty(&w->gw.queued));
}

static void test_budget_follows_the_load(void **state)
{
    (void)state;
    struct gw_budget b = {0};
    for (int i = 0; i < 1000; i++)
        gw_budget_request(&b, 5000);
    int taken = 0;
    while (gw_budget_take(&b, 5500))
        taken++;
    assert_int_equal(taken, 100);
    assert_false(gw_budget_take(&b, 14999));
    assert_true(gw_budget_take(&b, 15000)); /* that second has left the window */
}

/* Random events against a small fleet: caps (1), one attempt (2), no pick of what is not UP (6), counters
 * (9). */
static void check_caps(struct world *w)
{
    uint64_t in_flight = 0;
    for (struct gw_endpoint *e = gw_endpoint_next(&w->gw, NULL); e != NULL; e = gw_endpoint_next(&w->gw, e)) {
        assert_true(e->in_flight <= 2);
        in_flight += e->in_flight;
    }
    assert_true(in_flight <= w->gw.n_in_flight);
    for (size_t i = 0; i < w->n; i++)
        if (w->u[i].type == GW_SEND)
            assert_int_equal(w->u[i].endpoint->state, WIRE_SL_ENDPOINT_UP);
}

static void random_event(struct world *w, struct a_random *random, struct gw_request *r, uint64_t now_ms)
{
    static const char *const ids[] = {"e1", "e2", "e3", "e4"};
    static const char *const units[] = {"u1", "u1", "u2", "u3"};
    size_t k = (size_t)a_random_below(random, 4);
    switch (a_random_below(random, 8)) {
    case 0:
        endpoint(w, now_ms, ids[k], units[k],
                 (enum wire_sl_endpoint_state)a_random_below(random, WIRE_SL_ENDPOINT_STATE_COUNT));
        break;
    case 1:
        if (a_random_below(random, 4) == 0)
            step(w, (struct gw_event){.type = GW_ENDPOINT_GONE, .now_ms = now_ms, .id = a_view_str(ids[k])});
        break;
    case 2:
        step(w, (struct gw_event){.type = GW_TIME, .now_ms = now_ms});
        break;
    default:
        if (r->route == NULL && r->state == GW_REQUEST_IDLE)
            request(w, now_ms, r, a_random_below(random, 2) ? "GET" : "POST");
        else if (r->state == GW_REQUEST_SENT && a_random_below(random, 3) == 0)
            failed(w, now_ms, r, (enum gw_failure)a_random_below(random, 4));
        else if (r->state == GW_REQUEST_SENT && a_random_below(random, 2) == 0)
            committed(w, now_ms, r);
        else
            done(w, now_ms, r);
    }
}

static void test_random_walks(void **state)
{
    struct world *w = *state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct a_random random;
        struct gw_request r[12] = {0};
        a_random_init(&random, seed);
        route(w, "r", "*", "/ocr", seed % 2 == 0, 2);
        for (uint64_t now = 0; now < 4000; now += 3) {
            random_event(w, &random, &r[a_random_below(&random, 12)], now);
            check_caps(w);
        }
        for (int i = 0; i < 12; i++)
            done(w, 4000, &r[i]);
        assert_int_equal(w->gw.n_in_flight + w->gw.n_waiting, 0);
        assert_int_equal(gw_route_next(&w->gw, NULL)->n_in_flight, 0);
        step(w, (struct gw_event){.type = GW_VIEW_BEGIN, .snapshot = true});
        step(w, (struct gw_event){.type = GW_VIEW_END});
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_most_specific_route),
        T(test_cap_and_order_of_waiting),
        T(test_nobody_is_ready_then_somebody_is),
        T(test_what_may_be_sent_again),
        T(test_a_request_that_kills),
        T(test_a_replica_that_comes_and_goes),
        T(test_nothing_is_sent_again_when_told_so),
        T(test_never_after_commit),
        T(test_dead_endpoint),
        T(test_held_until_the_verdict),
        T(test_drain),
        T(test_stalled_among_others_that_answer),
        T(test_one_long_request_is_no_stall),
        T(test_one_stuck_leaves_a_second_later),
        T(test_stuck_for_half_its_time_stays),
        T(test_all_slow_is_no_stall),
        T(test_drain_has_an_end),
        T(test_drain_of_streams_first),
        T(test_set_aside_and_back),
        T(test_back_to_the_only_one_after_a_pause),
        T(test_back_at_the_end_of_the_wait),
        T(test_limits),
        T(test_snapshot_replaces_all),
        T(test_view_is_one_change),
        T(test_gone_and_back),
        T(test_suspect_rather_than_refusal),
        T(test_report),
        T(test_long_paths),
        T(test_two_queues),
        T(test_budget_follows_the_load),
        T(test_random_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
