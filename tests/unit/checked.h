/* The fixture of tests that check what people write: an arena, and the problems found in it. */
#ifndef A_TESTS_UNIT_CHECKED_H
#define A_TESTS_UNIT_CHECKED_H

#include "base/error.h"
#include "wire/schema.h"

struct fixture {
    struct a_arena arena;
    struct wire_problems problems;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    f.problems.arena = &f.arena;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    a_arena_deinit(&f->arena);
    return 0;
}

static struct wire_value *yaml(struct fixture *f, const char *text)
{
    struct wire_value *doc;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = wire_yaml_parse(&f->arena, a_view_str(text), "input.yaml", NULL, &doc, &e);
    if (rc != 0)
        fail_msg("%s", a_error_text(&e));
    return doc;
}

#endif
