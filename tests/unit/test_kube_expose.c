/* What in-cluster callers find: few writes, stable slices, nothing of a stranger's. E1-E8 are the numbers of
 * docs/components/kube.md. A played API server answers at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macro.h"
#include "kube/expose.h"

#define OBJECTS 600

struct kept {
    bool there, slice;
    char name[80], uid[16];
    struct wire_value *object;
};

struct world {
    struct a_arena arena;
    struct kube_expose *x;
    struct kept kept[OBJECTS];
    size_t n;
    uint64_t now_ms;
    unsigned uids, lists, looks, applies, deletes;
    int refuse; /* status of every write; 0 = none */
    bool slow;  /* a LOOK is not answered yet */
    char order[4000];
    struct a_name apps[8];
    size_t n_apps;
    struct kube_gateway gateways[500];
    size_t n_gateways;
};

static struct kept *find(struct world *w, bool slice, const char *name)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->kept[i].there && w->kept[i].slice == slice && strcmp(w->kept[i].name, name) == 0)
            return &w->kept[i];
    return NULL;
}

static struct kept *put(struct world *w, bool slice, const char *name, const struct wire_value *object)
{
    struct kept *k = find(w, slice, name);
    if (k == NULL) {
        k = &w->kept[w->n++];
        assert_true(w->n < OBJECTS);
        *k = (struct kept){.there = true, .slice = slice};
        snprintf(k->name, sizeof k->name, "%s", name);
        snprintf(k->uid, sizeof k->uid, "u%u", ++w->uids);
    }
    k->object = wire_value_copy(&w->arena, object);
    wire_value_set_string(&w->arena, wire_value_get(k->object, "metadata"), "uid", k->uid);
    wire_value_set_string(&w->arena, k->object, "kind", slice ? "EndpointSlice" : "Service"); /* a default */
    return k;
}

static void step(struct world *w, struct kube_expose_event *e);

static struct wire_value *items(struct world *w, bool slice)
{
    struct wire_value *v = wire_value_new_object(&w->arena), *list = wire_value_new_array(&w->arena);
    wire_value_set(&w->arena, v, "items", list);
    for (size_t i = 0; i < w->n; i++)
        if (w->kept[i].there && w->kept[i].slice == slice &&
            wire_value_path(w->kept[i].object, "metadata.labels") != NULL) /* strangers' have none here */
            wire_value_append(list, wire_value_copy(&w->arena, w->kept[i].object));
    return v;
}

static void carry_out(struct world *w, const struct kube_expose_action *a)
{
    char key[100], name[80];
    struct kube_expose_event e = {.type = KUBE_EXPOSE_RESULT, .status = 200};
    if (a->verb == KUBE_EXPOSE_LIST) {
        w->lists++;
        e.type = KUBE_EXPOSE_LISTED;
        e.services = items(w, false);
        e.slices = items(w, true);
        step(w, &e);
        return;
    }
    snprintf(key, sizeof key, "%s", a->key);
    snprintf(name, sizeof name, "%s", a->name);
    e.key = key;
    struct kept *k = find(w, a->is_slice, name);
    size_t len = strlen(w->order);
    if (a->verb != KUBE_EXPOSE_LOOK)
        snprintf(w->order + len, sizeof w->order - len, "%c%c%s ", a->verb == KUBE_EXPOSE_APPLY ? 'a' : 'd',
                 a->is_slice ? 'e' : 's', name);
    if (a->verb == KUBE_EXPOSE_LOOK && w->slow)
        return;
    if (a->verb == KUBE_EXPOSE_LOOK) {
        w->looks++;
        e.status = k != NULL ? 200 : 404;
        e.object = k != NULL ? k->object : NULL;
    } else if (w->refuse != 0) {
        e.status = w->refuse;
        e.message = a_view_str("no");
    } else if (a->verb == KUBE_EXPOSE_APPLY) {
        w->applies++;
        e.object = put(w, a->is_slice, name, a->object)->object;
    } else {
        w->deletes++;
        assert_non_null(k);
        assert_string_equal(a->uid, k->uid); /* E7 */
        k->there = false;
    }
    step(w, &e);
}

static void step(struct world *w, struct kube_expose_event *e)
{
    struct kube_expose_update u;
    e->now_ms = w->now_ms;
    kube_expose_step(w->x, e, &u);
    assert_true(u.n_actions <= 1);
    if (u.n_actions == 1)
        carry_out(w, &u.actions[0]);
}

static void run(struct world *w, uint64_t for_ms)
{
    uint64_t end = w->now_ms + for_ms;
    for (uint64_t at; (at = kube_expose_deadline(w->x)) <= end;) {
        w->now_ms = A_MAX(w->now_ms, at);
        step(w, &(struct kube_expose_event){.type = KUBE_EXPOSE_TICK});
    }
    w->now_ms = end;
}

static void want(struct world *w)
{
    struct kube_expose_event e = {.type = KUBE_EXPOSE_WANT};
    e.want.apps = w->apps;
    e.want.n_apps = w->n_apps;
    e.want.gateways = w->gateways;
    e.want.n_gateways = w->n_gateways;
    step(w, &e);
}

static void app(struct world *w, const char *name)
{
    snprintf(w->apps[w->n_apps++].s, sizeof w->apps->s, "%s", name);
}

static void gateways(struct world *w, size_t from, size_t n)
{
    w->n_gateways = n;
    for (size_t i = 0; i < n; i++) {
        w->gateways[i].port = 8080;
        snprintf(w->gateways[i].ip, sizeof w->gateways->ip, "10.0.%zu.%zu", (from + i) / 200,
                 (from + i) % 200 + 1);
    }
}

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.now_ms = 1000};
    w.x = kube_expose_new("i1", "astra");
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kube_expose_free(w->x);
    a_arena_deinit(&w->arena);
    return 0;
}

static unsigned writes(const struct world *w)
{
    return w->applies + w->deletes;
}

static const char *text_at(const struct wire_value *v, const char *path)
{
    return wire_value_string(wire_value_path(v, path), "(none)");
}

static void test_an_app_has_a_service_and_its_slices(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    gateways(w, 0, 2);
    run(w, 60000);
    assert_int_equal(w->lists, 0); /* nothing is asked before it is known what for */
    want(w);
    run(w, 60000);
    assert_string_equal(w->order, "asocr aeocr-astra-0 "); /* E5 */
    const struct wire_value *s = find(w, false, "ocr")->object, *e = find(w, true, "ocr-astra-0")->object;
    assert_string_equal(text_at(s, "spec.clusterIP"), "None");
    assert_null(wire_value_path(s, "spec.selector"));
    assert_string_equal(text_at(e, "addressType"), "IPv4");
    assert_string_equal(text_at(e, "endpoints.1.addresses.0"), "10.0.0.2");
    assert_true(wire_value_bool(wire_value_path(e, "endpoints.1.conditions.ready"), false));
    assert_int_equal(wire_value_int(wire_value_path(e, "ports.0.port"), 0), 8080);
    const struct wire_value *labels = wire_value_path(e, "metadata.labels");
    assert_string_equal(wire_value_string(wire_value_get(labels, KUBE_LABEL_SERVICE), ""), "ocr");
    assert_string_equal(wire_value_string(wire_value_get(labels, KUBE_LABEL_MANAGED_BY), ""),
                        KUBE_MANAGED_BY);
    assert_true(kube_expose_status(w->x).settled);
    assert_int_equal(kube_expose_status(w->x).objects, 2);
}

/* E2, E3: of 250 gateways in three slices one goes and one comes: one slice is written. */
static void test_slices_are_stable(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    gateways(w, 0, 250);
    want(w);
    run(w, 60000);
    assert_int_equal(writes(w), 4);
    want(w);
    run(w, 60000);
    assert_int_equal(writes(w), 4);
    snprintf(w->gateways[120].ip, sizeof w->gateways->ip, "10.9.9.9");
    want(w);
    run(w, 60000);
    assert_int_equal(writes(w), 5);
    assert_int_equal(wire_value_count(wire_value_get(find(w, true, "ocr-astra-1")->object, "endpoints")),
                     100);
    gateways(w, 200, 50); /* those of the third slice alone are left */
    want(w);
    run(w, 60000);
    assert_null(find(w, true, "ocr-astra-0"));
    assert_null(find(w, true, "ocr-astra-1"));
    assert_int_equal(writes(w), 7);
}

/* E3: the next process finds the slices as they are, and writes nothing. */
static void test_another_process_goes_on(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    gateways(w, 0, 150);
    want(w);
    run(w, 60000);
    gateways(w, 50, 100); /* half of the first slice is gone, the second whole */
    want(w);
    run(w, 60000);
    unsigned before = writes(w);
    kube_expose_free(w->x);
    w->x = kube_expose_new("i1", "astra");
    want(w);
    run(w, 60000);
    assert_int_equal(writes(w), before);
    assert_true(kube_expose_status(w->x).settled);
}

/* E4 */
static void test_no_gateways_empty_nothing(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    want(w); /* there was none yet: nothing to name */
    run(w, 60000);
    assert_int_equal(writes(w), 0);
    gateways(w, 0, 2);
    want(w);
    run(w, 60000);
    w->n_gateways = 0;
    want(w);
    run(w, 60000);
    assert_int_equal(writes(w), 2);
    assert_int_equal(wire_value_count(wire_value_get(find(w, true, "ocr-astra-0")->object, "endpoints")), 2);
}

/* E1: a Service of that name that is not ours stays as it is, and is looked at again. */
static void test_a_strangers_service_is_left_alone(void **state)
{
    struct world *w = *state;
    struct wire_value *theirs = wire_value_new_object(&w->arena);
    wire_value_set(&w->arena, theirs, "metadata", wire_value_new_object(&w->arena));
    wire_value_set_string(&w->arena, wire_value_get(theirs, "metadata"), "name", "ocr");
    put(w, false, "ocr", theirs);
    app(w, "ocr");
    app(w, "llm");
    gateways(w, 0, 1);
    want(w);
    run(w, 60000);
    assert_string_equal(w->order, "asllm aellm-astra-0 ");
    assert_int_equal(kube_expose_status(w->x).strangers, 1);
    assert_string_equal(kube_expose_status(w->x).stranger, "ocr");
    assert_true(kube_expose_status(w->x).settled);
    find(w, false, "ocr")->there = false;
    run(w, 2 * KUBE_EXPOSE_STRANGER_MS);
    assert_non_null(find(w, true, "ocr-astra-0"));
    assert_int_equal(kube_expose_status(w->x).strangers, 0);
}

/* E5: slices before their Service; nothing is left of an app that went, also when it went while we were away.
 */
static void test_what_is_gone_goes(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    app(w, "llm");
    gateways(w, 0, 101);
    want(w);
    run(w, 60000);
    w->order[0] = '\0';
    w->n_apps = 1;
    want(w);
    run(w, 60000);
    assert_null(find(w, false, "llm"));
    assert_int_equal(w->deletes, 3);
    assert_string_equal(w->order + strlen(w->order) - strlen("dsllm "), "dsllm ");
    kube_expose_free(w->x);
    w->x = kube_expose_new("i1", "astra");
    w->n_apps = 0;
    want(w);
    run(w, 60000);
    assert_int_equal(kube_expose_status(w->x).objects, 0);
    assert_null(find(w, false, "ocr"));
    assert_null(find(w, true, "ocr-astra-1"));
}

/* E6: a gateway that is gone leaves its slices though the Service that somebody took away is not back yet;
 * all is settled with the Service alone. */
static void test_who_is_gone_waits_for_no_service(void **state)
{
    struct world *w = *state;
    app(w, "app");
    gateways(w, 0, 2);
    w->gateways[1].port = 8081; /* a slice of its own */
    want(w);
    run(w, 60000);
    kube_expose_free(w->x);
    w->x = kube_expose_new("i1", "astra");
    find(w, false, "app")->there = false;
    w->order[0] = '\0';
    w->n_gateways = 1;
    w->slow = true;
    want(w);
    run(w, 60000);
    assert_string_equal(w->order, "deapp-astra-1 ");
    assert_false(kube_expose_status(w->x).settled);
    w->slow = false;
    step(w, &(struct kube_expose_event){.type = KUBE_EXPOSE_RESULT, .key = "1sapp", .status = 404});
    run(w, 60000);
    assert_string_equal(w->order, "deapp-astra-1 asapp ");
    assert_true(kube_expose_status(w->x).settled);
}

/* E8 */
static void test_what_a_stranger_changed_is_put_right(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    gateways(w, 0, 1);
    want(w);
    run(w, 60000);
    struct kept *k = find(w, true, "ocr-astra-0");
    wire_value_remove(k->object, "endpoints");
    find(w, false, "ocr")->there = false;
    run(w, KUBE_EXPOSE_LIST_MS + 60000);
    assert_int_equal(writes(w), 4);
    assert_int_equal(wire_value_count(wire_value_get(k->object, "endpoints")), 1);
    run(w, KUBE_EXPOSE_LIST_MS);
    assert_int_equal(writes(w), 4);
}

/* E6: refusals are told, and tried again ever more rarely. */
static void test_refusals_back_off(void **state)
{
    struct world *w = *state;
    app(w, "ocr");
    gateways(w, 0, 1);
    w->refuse = 403;
    want(w);
    run(w, 300000);
    assert_int_equal(kube_expose_status(w->x).status, 403);
    assert_string_equal(kube_expose_status(w->x).message, "no");
    size_t tries = strlen(w->order) / strlen("asocr ");
    assert_in_range(tries, 7, 12);
    w->refuse = 0;
    run(w, 120000);
    assert_int_equal(kube_expose_status(w->x).status, 0);
    assert_true(kube_expose_status(w->x).settled);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.1", "192.168.1.255", "2001:db8::1"};
    static const char *const bad[] = {"127.0.0.1",
                                      "0.0.0.0",
                                      "::1",
                                      "::",
                                      "169.254.1.1",
                                      "fe80::1",
                                      "224.0.0.1",
                                      "ff02::1",
                                      "gateway",
                                      "gateway.example",
                                      "",
                                      "10.0.0",
                                      "10.0.0.1.2",
                                      "10.0.0.1:8080",
                                      "::ffff:10.0.0.1"};
    for (size_t i = 0; i < A_ARRAY_SIZE(good); i++)
        assert_true(kube_gateway_is_nameable(good[i]));
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        assert_false(kube_gateway_is_nameable(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_app_has_a_service_and_its_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slices_are_stable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_process_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_gateways_empty_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_strangers_service_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_gone_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_gone_waits_for_no_service, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_stranger_changed_is_put_right, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals_back_off, setup, teardown),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
