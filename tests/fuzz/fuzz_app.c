/* The App checker, on what users write: any YAML. What it passes is complete: checked again it is passed
 * unchanged, it is read, differs from itself in nothing, and makes a revision whose keys are the same twice.
 * What it refuses names a field or a line. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "unit/app.h"

static void problems_check(const struct wire_problems *p)
{
    A_BUF_AUTO struct a_buf text = {0};
    size_t errors = 0;
    for (const struct wire_problem *it = p->first; it != NULL; it = it->next) {
        a_assert(it->message != NULL && it->message[0] != '\0' && it->field != NULL);
        errors += it->code != A_CODE_NONE;
    }
    a_assert(errors == p->n_errors);
    wire_problems_print(&text, p, "f");
}

static void revision_check(struct a_arena *arena, const struct wire_value *app)
{
    struct a_uuid uid = {.s = "017f22e2-79b0-4fff-bfff-000000000000"};
    A_BUF_AUTO struct a_buf text = {0}, replace = {0}, serve = {0}, replace2 = {0}, serve2 = {0};
    struct wire_problems p = {.arena = arena};
    struct unit_source *sources = NULL;
    struct wire_value *back;
    size_t n = 0;
    unit_app_sources(&p, app, &sources, &n);
    for (size_t i = 0; i < n; i++)
        memset(sources[i].digest, 'a', 8);
    unit_revision_make(app, &uid, 1, sources, n, &text);
    a_assert(wire_json_parse(arena, a_buf_view(&text), NULL, NULL, &back, NULL) == 0);
    unit_revision_keys(back, &replace, &serve);
    unit_revision_keys(back, &replace2, &serve2);
    a_assert(a_view_equal(a_buf_view(&replace), a_buf_view(&replace2)));
    a_assert(a_view_equal(a_buf_view(&serve), a_buf_view(&serve2)));
}

static void complete_check(struct a_arena *arena, const struct wire_value *app)
{
    struct wire_problems p = {.arena = arena};
    struct wire_value *again = NULL;
    struct unit_app read;
    unit_app_check(&p, app, &again);
    a_assert(p.n_errors == 0 && again != NULL && wire_value_equal(app, again));
    unit_app_read(arena, app, &read);
    a_assert(read.n_groups <= UNIT_GROUPS_MAX && read.n_routes <= UNIT_ROUTES_MAX);
    a_assert(unit_app_diff(arena, app, again) == NULL);
    (void)unit_app_diff(arena, NULL, app);
    revision_check(arena, app);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value_limits limits = {.bytes = 65536, .nodes = 1000, .depth = 32};
    struct wire_problems p = {.arena = &arena};
    struct wire_value *doc, *app = NULL;
    if (wire_yaml_parse(&arena, (struct a_view){(const char *)data, size}, "f", &limits, &doc, NULL) != 0)
        return 0;
    unit_app_check(&p, unit_app_expand(&arena, doc), &app);
    problems_check(&p);
    a_assert((app != NULL) == (p.n_errors == 0));
    if (app != NULL)
        complete_check(&arena, app);
    return 0;
}
