/* The watch core against docs/components/kube.md: each K by its number, and what a pod's row keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "kube/pod.h"

struct world {
    struct kube_watch *watch;
    struct kube_watch_update u;
    uint64_t now, request;
    char text[8192];
};

static void step(struct world *w, struct kube_watch_event e)
{
    e.now_ms = w->now;
    if (e.request == 0)
        e.request = w->request;
    kube_watch_step(w->watch, &e, &w->u);
    if (w->u.ask != KUBE_ASK_NOTHING)
        w->request = w->u.request;
}

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.now = 1000};
    w.watch = kube_watch_new(&(struct kube_watch_options){.kind = &kube_kind_pod, .seed = 7});
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kube_watch_free(w->watch);
    return 0;
}

static void tick_at(struct world *w, uint64_t now)
{
    w->now = now;
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_TICK});
}

/* A pod as text: name, uid, version, phase. */
static const char *pod(struct world *w, const char *name, const char *uid, int version, const char *phase)
{
    snprintf(w->text, sizeof w->text,
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\",\"resourceVersion\":\"%d\"},"
             "\"status\":{\"phase\":\"%s\"}}",
             name, uid, version, phase);
    return w->text;
}

static void line(struct world *w, const char *type, const char *object)
{
    char text[24000];
    snprintf(text, sizeof text, "{\"type\":\"%s\",\"object\":%s}", type, object);
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = a_view_str(text)});
}

static void page(struct world *w, int version, const char *token, const char *items)
{
    char text[24000];
    snprintf(
        text, sizeof text,
        "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"%d\",\"continue\":\"%s\"},\"items\":[%s]}",
        version, token, items);
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_PAGE, .text = a_view_str(text)});
}

static void end_with(struct world *w, int status, uint64_t retry_after_ms)
{
    step(w, (struct kube_watch_event){
                .type = KUBE_WATCH_END, .status = status, .retry_after_ms = retry_after_ms});
}

static void open_watch(struct world *w)
{
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_OPEN});
}

static void changes(struct world *w, size_t i, enum kube_change_type type, const char *name)
{
    assert_true(i < w->u.n_changes);
    assert_int_equal(w->u.changes[i].type, type);
    assert_true(a_view_is(kube_row_name(w->u.changes[i].row), name));
}

/* Two pods listed at version 10, and an open watch. */
static void listed(struct world *w)
{
    char items[20000] = "";
    tick_at(w, 1000);
    assert_int_equal(w->u.ask, KUBE_ASK_LIST);
    assert_null(w->u.continue_token);
    strcat(strcat(items, pod(w, "a", "u-a", 5, "Running")), ",");
    strcat(items, pod(w, "b", "u-b", 6, "Pending"));
    page(w, 10, "", items);
    assert_int_equal(w->u.ask, KUBE_ASK_WATCH);
    assert_string_equal(w->u.version, "10");
    assert_in_range(w->u.timeout_s, 240, 360);
    assert_true(w->u.synced);
    assert_int_equal(w->u.n_changes, 2);
    open_watch(w);
}

static void test_follow(void **state)
{
    struct world *w = *state;
    listed(w);
    line(w, "MODIFIED", pod(w, "b", "u-b", 11, "Running"));
    assert_int_equal(w->u.n_changes, 1);
    changes(w, 0, KUBE_ROW_CHANGED, "b");
    assert_int_equal(kube_row_pod(w->u.changes[0].before)->phase, KUBE_PHASE_PENDING);
    assert_int_equal(kube_row_pod(w->u.changes[0].row)->phase, KUBE_PHASE_RUNNING);
    line(w, "MODIFIED", pod(w, "b", "u-b", 12, "Running")); /* nothing that the row keeps */
    assert_int_equal(w->u.n_changes, 0);
    line(w, "ADDED", pod(w, "c", "u-c", 13, "Pending"));
    changes(w, 0, KUBE_ROW_ADDED, "c");
    line(w, "DELETED", pod(w, "a", "u-a", 14, "Running"));
    changes(w, 0, KUBE_ROW_GONE, "a");
    line(w, "DELETED", pod(w, "b", "u-old", 15, "Running")); /* another one of that name, long ago */
    assert_int_equal(w->u.n_changes, 0);
    line(w, "ADDED", pod(w, "b", "u-new", 16, "Running")); /* K2 */
    assert_int_equal(w->u.n_changes, 2);
    changes(w, 0, KUBE_ROW_GONE, "b");
    changes(w, 1, KUBE_ROW_ADDED, "b");
    assert_int_equal(kube_watch_count(w->watch), 2);
    assert_non_null(kube_watch_get(w->watch, a_view_str("ns/b")));
    assert_null(kube_watch_get(w->watch, a_view_str("ns/a")));
    end_with(w, 200, 0);
    assert_int_equal(w->u.ask, KUBE_ASK_WATCH); /* K4: at once, from the last version */
    assert_string_equal(w->u.version, "16");
}

static void test_bookmark(void **state)
{
    struct world *w = *state;
    listed(w);
    line(w, "BOOKMARK",
         "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"900\",\"creationTimestamp\":null},\"spec\":{}"
         "}");
    assert_int_equal(w->u.n_changes, 0);
    end_with(w, 0, 0);
    assert_string_equal(w->u.version, "900");
}

/* Until something is asked for: how long that took. */
static uint64_t waited(struct world *w)
{
    uint64_t from = w->now;
    for (int i = 0; w->u.ask == KUBE_ASK_NOTHING && i < 10; i++)
        tick_at(w, kube_watch_deadline(w->watch));
    return w->now - from;
}

/* K2: a relist tells of each difference once. */
static void test_relist(void **state)
{
    struct world *w = *state;
    char items[20000] = "";
    listed(w);
    line(w, "ERROR", "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}");
    assert_true(w->u.cancel);
    assert_int_equal(w->u.ask, KUBE_ASK_LIST);
    strcat(strcat(items, pod(w, "a", "u-a", 5, "Running")), ",");
    strcat(items, pod(w, "c", "u-c", 19, "Pending"));
    page(w, 20, "", items);
    assert_int_equal(w->u.n_changes, 2);
    changes(w, 0, KUBE_ROW_ADDED, "c");
    changes(w, 1, KUBE_ROW_GONE, "b");
    assert_string_equal(w->u.version, "20");
}

/* K3: nothing vanishes before the last page is in; an expired page begins again. */
static void test_pages(void **state)
{
    struct world *w = *state;
    listed(w);
    end_with(w, 410, 0);
    page(w, 20, "t1", pod(w, "c", "u-c", 19, "Pending"));
    assert_int_equal(w->u.ask, KUBE_ASK_LIST);
    assert_string_equal(w->u.continue_token, "t1");
    assert_int_equal(w->u.n_changes, 1);
    end_with(w, 410, 0);
    assert_int_equal(w->u.n_changes, 0);
    assert_int_equal(kube_watch_count(w->watch), 3);
    assert_in_range(waited(w), 500, 1000); /* the second 410 in a row: not at once */
    assert_int_equal(w->u.ask, KUBE_ASK_LIST);
    assert_null(w->u.continue_token);
    page(w, 30, "t2", pod(w, "a", "u-a", 5, "Running"));
    assert_int_equal(w->u.n_changes, 0);
    page(w, 30, "", pod(w, "d", "u-d", 29, "Pending"));
    assert_int_equal(w->u.n_changes, 3);
    changes(w, 0, KUBE_ROW_ADDED, "d");
    assert_int_equal(kube_watch_count(w->watch), 2);
    assert_string_equal(w->u.version, "30");
}

/* Pages of two versions are no list. */
static void test_mixed_pages(void **state)
{
    struct world *w = *state;
    tick_at(w, 1000);
    page(w, 20, "t", pod(w, "a", "u-a", 5, "Running"));
    page(w, 21, "", pod(w, "b", "u-b", 5, "Running"));
    assert_int_equal(w->u.ask, KUBE_ASK_NOTHING);
    assert_int_equal(kube_watch_counts(w->watch).malformed, 1);
    assert_false(kube_watch_is_synced(w->watch));
}

/* K4: a watch that ends before anything came is taken again after longer and longer, one that told something
 * at once. */
static void test_back_off(void **state)
{
    struct world *w = *state;
    uint64_t longest = 0;
    listed(w);
    end_with(w, 0, 0);
    assert_int_equal(waited(w), 0);
    for (int i = 0; i < 12; i++) {
        end_with(w, 0, 0);
        uint64_t ms = waited(w), full = A_MIN(100u << i, 5000u);
        assert_in_range(ms, full / 2, full);
        longest = A_MAX(longest, ms);
        assert_int_equal(w->u.ask, KUBE_ASK_WATCH);
        assert_string_equal(w->u.version, "10");
    }
    assert_true(longest >= 2500);
    open_watch(w);
    line(w, "MODIFIED", pod(w, "b", "u-b", 11, "Running"));
    end_with(w, 200, 0);
    assert_int_equal(waited(w), 0);
}

static void test_statuses(void **state)
{
    struct world *w = *state;
    uint64_t since;
    listed(w);
    end_with(w, 429, 7000);
    assert_int_equal(waited(w), 7000);
    end_with(w, 503, 3600000);
    assert_int_equal(waited(w), 60000); /* nobody makes us wait for longer */
    end_with(w, 500, 0);
    assert_in_range(waited(w), 500, 1000);
    end_with(w, 502, 0);
    assert_in_range(waited(w), 1000, 2000);
    open_watch(w);
    w->now += 1000;
    tick_at(w, w->now);
    assert_true(kube_watch_is_synced(w->watch));
    end_with(w, 401, 0);
    assert_true(w->u.read_credentials && w->u.stale);
    assert_in_range(waited(w), 500, 1000);
    step(w, (struct kube_watch_event){
                .type = KUBE_WATCH_END, .status = 403, .reason = a_view_str("pods is forbidden")});
    assert_in_range(waited(w), 1000, 2000); /* a server that has just started refuses all for a moment */
    for (int i = 0; i < 5; i++) {
        end_with(w, 403, 0);
        (void)waited(w);
    }
    step(w, (struct kube_watch_event){
                .type = KUBE_WATCH_END, .status = 403, .reason = a_view_str("pods is forbidden")});
    assert_in_range(waited(w), 15000, 30000);
    assert_non_null(strstr(kube_watch_stale(w->watch, &since),
                           "403, the credentials may not do this: pods is forbidden"));
    assert_int_equal(kube_watch_count(w->watch), 2); /* K7 */
}

/* K5: what is no object changes nothing; twice in a row the list is asked for. */
static void test_malformed(void **state)
{
    static const char *const bad[] = {
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"9\"}}}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\",\"uid\":\"u\"}}}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a/"
        "b\",\"uid\":\"u\",\"resourceVersion\":\"9\"}}}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"resourceVersion\":"
        "\"9\"}}",
        "{\"type\":\"RENAMED\",\"object\":{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"resourceVersion\":"
        "\"9\"}}}",
        "{\"type\":\"ADDED\"}",
        "ADDED",
        "",
        "{\"type\":\"ADDED\",\"object\":[]}"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++) {
        struct world *w = *state;
        listed(w);
        step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = a_view_str(bad[i])});
        assert_true(w->u.cancel && w->u.n_changes == 0);
        assert_int_equal(kube_watch_counts(w->watch).malformed, 1);
        assert_int_equal(waited(w), 0);
        assert_string_equal(w->u.version, "10");
        step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = a_view_str(bad[i])});
        (void)waited(w);
        assert_int_equal(w->u.ask, KUBE_ASK_LIST);
        teardown(state);
        setup(state);
    }
}

/* The order of a line's two members is the server's affair. */
static void test_type_last(void **state)
{
    struct world *w = *state;
    char text[24000];
    listed(w);
    snprintf(text, sizeof text, "{\"object\":%s,\"type\":\"DELETED\"}", pod(w, "a", "u-a", 11, "Running"));
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = a_view_str(text)});
    changes(w, 0, KUBE_ROW_GONE, "a");
}

/* What comes of a request that was given up is not heard. */
static void test_late(void **state)
{
    struct world *w = *state;
    listed(w);
    uint64_t old = w->request;
    end_with(w, 200, 0);
    assert_int_not_equal(w->request, old);
    char text[24000];
    snprintf(text, sizeof text, "{\"type\":\"DELETED\",\"object\":%s}", pod(w, "a", "u-a", 11, "Running"));
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .request = old, .text = a_view_str(text)});
    assert_int_equal(w->u.n_changes, 0);
    step(w, (struct kube_watch_event){.type = KUBE_WATCH_END, .request = old, .status = 410});
    assert_int_equal(w->u.ask, KUBE_ASK_NOTHING);
}

/* K7, and when it is told: silence makes the cache stale, never empty. */
static void test_stale(void **state)
{
    struct world *w = *state;
    uint64_t since;
    listed(w);
    w->now = 200000; /* an idle watch is as good as a busy one */
    end_with(w, 0, 0);
    assert_false(w->u.stale);
    for (int i = 0; i < 20 && kube_watch_is_synced(w->watch); i++) {
        end_with(w, 0, 0);
        (void)waited(w);
    }
    assert_in_range(w->now, 205000, 211000);
    assert_non_null(kube_watch_stale(w->watch, &since));
    assert_int_equal(since, 200000);
    assert_int_equal(kube_watch_count(w->watch), 2);
    open_watch(w);
    assert_false(w->u.synced);
    tick_at(w, kube_watch_deadline(w->watch));
    assert_true(w->u.synced);
    assert_null(kube_watch_stale(w->watch, &since));
}

/* A watch of which nothing is heard past its time-out, and a list that does not come, are given up. */
static void test_silence(void **state)
{
    struct world *w = *state;
    listed(w);
    uint64_t at = kube_watch_deadline(w->watch);
    assert_in_range(at, 1000 + 300000, 1000 + 420000);
    tick_at(w, at - 1);
    assert_false(w->u.cancel);
    tick_at(w, at);
    assert_true(w->u.cancel);
    assert_int_equal(w->u.ask, KUBE_ASK_WATCH);
    tick_at(w, w->now + 30000); /* it is not even opened */
    assert_true(w->u.cancel);
    end_with(w, 410, 0);
    (void)waited(w);
    teardown(state);
    setup(state);
    w = *state;
    tick_at(w, 1000);
    tick_at(w, 6000);
    assert_true(w->u.stale);
    assert_int_equal(kube_watch_deadline(w->watch), 61000);
    tick_at(w, 61000);
    assert_true(w->u.cancel);
}

static void test_pod(void **state)
{
    struct world *w = *state;
    listed(w);
    line(w, "ADDED",
         "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u-p\","
         "\"resourceVersion\":\"77\","
         "\"creationTimestamp\":\"2026-08-01T00:00:10Z\",\"deletionTimestamp\":\"2024-02-29T12:34:56Z\","
         "\"labels\":{\"x\":\"y\",\"astra-ray.dev/pool\":\"gpu\",\"astra-ray.dev/installation\":\"i1\","
         "\"astra-ray.dev/"
         "template\":\"0123456789abcdef\"},\"managedFields\":[{\"fieldsV1\":{\"f:metadata\":{}}}]},"
         "\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"agent\"}]},"
         "\"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.2.3\",\"conditions\":["
         "{\"type\":\"Ready\",\"status\":\"True\"},"
         "{\"type\":\"PodScheduled\",\"status\":\"True\"},"
         "{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"EvictionByEvictionAPI\","
         "\"message\":\"a \\\"q\\\"\"}],"
         "\"containerStatuses\":[{\"restartCount\":2,\"state\":{\"running\":{}}},"
         "{\"restartCount\":1,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}");
    changes(w, 0, KUBE_ROW_ADDED, "p");
    const struct kube_row *row = w->u.changes[0].row;
    const struct kube_pod *p = kube_row_pod(row);
    assert_int_equal(p->created_s, 1785542410);
    assert_int_equal(p->deleted_s, 1709210096);
    assert_true(p->ready && p->scheduled && p->disrupted && !p->unschedulable);
    assert_int_equal(p->restarts, 3);
    assert_int_equal(p->phase, KUBE_PHASE_RUNNING);
    assert_true(a_view_is(kube_row_text(row, p->pool), "gpu"));
    assert_true(a_view_is(kube_row_text(row, p->installation), "i1"));
    assert_true(a_view_is(kube_row_text(row, p->template), "0123456789abcdef"));
    assert_true(a_view_is(kube_row_text(row, p->node), "n1"));
    assert_true(a_view_is(kube_row_text(row, p->ip), "10.1.2.3"));
    assert_true(a_view_is(kube_row_text(row, p->reason), "EvictionByEvictionAPI"));
    assert_true(a_view_is(kube_row_text(row, p->message), "a \"q\""));
    line(w, "MODIFIED",
         "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u-p\",\"resourceVersion\":\"78\"},"
         "\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
         "\"reason\":\"Unschedulable\",\"message\":\"0/5 nodes\"}]}}");
    row = w->u.changes[0].row;
    assert_true(kube_row_pod(row)->unschedulable && !kube_row_pod(row)->scheduled);
    assert_true(a_view_is(kube_row_text(row, kube_row_pod(row)->message), "0/5 nodes"));
}

/* Any cut of the bytes gives the same lines. */
static void test_lines(void **state)
{
    (void)state;
    static const char text[] = "one\n\ntwo\nthree and a half\nrest";
    for (size_t cut = 1; cut < sizeof text; cut++) {
        struct kube_lines l = {0};
        A_BUF_AUTO struct a_buf got = {0};
        struct a_view line_text;
        for (size_t at = 0; at < sizeof text - 1; at += cut) {
            kube_lines_put(&l, (struct a_view){text + at, A_MIN(cut, sizeof text - 1 - at)});
            while (kube_lines_next(&l, &line_text))
                a_buf_addf(&got, "<" A_VIEW_FMT ">", A_VIEW_ARG(line_text));
        }
        assert_true(a_view_is(a_buf_view(&got), "<one><two><three and a half>"));
        kube_lines_deinit(&l);
    }
}

static void test_long_line(void **state)
{
    (void)state;
    struct kube_lines l = {0};
    struct a_view line_text;
    char *chunk = calloc(1, 1u << 20);
    memset(chunk, 'x', 1u << 20);
    int empty = 0;
    for (int i = 0; i < 6; i++) {
        kube_lines_put(&l, (struct a_view){chunk, 1u << 20});
        while (kube_lines_next(&l, &line_text))
            empty += line_text.len == 0;
    }
    assert_int_equal(empty, 1); /* told once, as soon as it is known */
    kube_lines_put(&l, a_view_str("xxx\nnext\n"));
    assert_true(kube_lines_next(&l, &line_text) && a_view_is(line_text, "next"));
    assert_false(kube_lines_next(&l, &line_text));
    kube_lines_deinit(&l);
    free(chunk);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_follow),
        TEST(test_bookmark),
        TEST(test_relist),
        TEST(test_pages),
        TEST(test_mixed_pages),
        TEST(test_back_off),
        TEST(test_statuses),
        TEST(test_malformed),
        TEST(test_type_last),
        TEST(test_late),
        TEST(test_stale),
        TEST(test_silence),
        TEST(test_pod),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
