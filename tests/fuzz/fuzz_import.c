/* RayServices: any text is taken or refused with a word for it; what is taken becomes an App that prints and
 * reads back, with every position inside the text, and that the checker of Apps takes or refuses. */
#include <errno.h>
#include <stdint.h>

#include "base/assert.h"
#include "kube/rayservice.h"
#include "unit/app.h"

static void app_check(struct a_arena *arena, const struct wire_value *app)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_problems p = {.arena = arena};
    struct wire_value *back, *completed = NULL;
    wire_yaml_print(&b, app);
    a_assert(wire_yaml_parse(arena, a_buf_view(&b), NULL, NULL, &back, NULL) == 0);
    a_assert(wire_value_equal(app, back));
    unit_app_check(&p, app, &completed);
    a_assert((completed != NULL) == (p.n_errors == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct a_view text = {(const char *)data, size};
    unsigned lines = 2;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r';
    for (int whole = 0; whole < 2; whole++) {
        A_ARENA_AUTO struct a_arena arena = {0};
        A_ERROR_AUTO struct a_error error = {0};
        struct wire_problems report = {.arena = &arena};
        const struct kube_import_options options = {.schema = whole ? NULL : &unit_app_schema,
                                                    .artifact = whole ? "env@1" : NULL};
        struct wire_value *app = NULL;
        int rc = kube_rayservice_import(&arena, text, "f", &options, &report, &app, &error);
        a_assert(rc == 0 || rc == -EINVAL || rc == -ENOENT || rc == -E2BIG || rc == -ENOMEM);
        a_assert((rc == 0) == (error.message == NULL) && (rc == 0) == (app != NULL));
        for (const struct wire_problem *p = report.first; p != NULL; p = p->next)
            a_assert(p->line <= lines && p->message[0] != '\0');
        if (rc == 0)
            app_check(&arena, app);
    }
    return 0;
}
