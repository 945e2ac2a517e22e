/* What the server keeps of a unit beside the fleet: nothing of it is left when the unit is over, nor when the
 * server ends. AddressSanitizer's build of this test finds what is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "sys/file.h"

#define UNITS 2

struct fixture {
    char dir[64];
    struct server server;
    struct d_app *app;
    struct a_unit_name names[UNITS];
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.dir = "/tmp/astra-units-XXXXXX"};
    assert_non_null(mkdtemp(f.dir));
    struct server *s = &f.server;
    A_AUTOFREE char *path = a_asprintf("%s/astra.db", f.dir);
    a_list_init(&s->actions);
    assert_int_equal(sys_loop_new(&s->loop, NULL), 0);
    assert_int_equal(store_open(s->loop, &(struct store_options){.path = path}, &s->store, NULL), 0);
    d_routes_init(s);
    f.app = d_app_new(&(struct a_app_ref){.namespace = {"default"}, .name = {"app"}},
                      &(struct a_uuid){"017f22e2-79b0-7fff-bfff-ffffffffffff"});
    a_map_put_str(&s->apps, &f.app->by_ref, f.app->key);
    *state = &f;
    return 0;
}

/* As the server's own end does it. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    struct server *s = &f->server;
    store_close(s->store);
    d_apps_free(s);
    assert_int_equal(s->units.len, 0);
    d_routes_free(s);
    sys_loop_free(s->loop);
    return sys_dir_remove(f->dir, NULL);
}

static void serve_all(struct fixture *f)
{
    for (size_t i = 0; i < UNITS; i++) {
        struct wire_sl_endpoint_report report = {.ok = 1};
        snprintf(f->names[i].s, sizeof f->names[i].s, "app-0000%zu", i);
        report.unit = f->names[i];
        d_unit_get(&f->server, f->app, &f->names[i]);
        d_counts_endpoint(&f->server, &report);
        assert_non_null(d_unit_find(&f->server, &f->names[i])->rate);
    }
}

/* One of the units that had requests is over; the other is there until the server ends. */
static void test_a_unit_that_is_over(void **state)
{
    struct fixture *f = *state;
    serve_all(f);
    d_action_queue(&f->server, f->app,
                   &(struct unit_action){.type = UNIT_ACTION_RECORD_DEL, .unit = f->names[0]});
    d_actions_run(&f->server);
    assert_null(d_unit_find(&f->server, &f->names[0]));
    assert_non_null(d_unit_find(&f->server, &f->names[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_unit_that_is_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
