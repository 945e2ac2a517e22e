/* What is wrong with a text that a person wrote: all of it, in its order. */
#include <stdarg.h>
#include <stdio.h>

#include "wire/schema.h"

void wire_problem_add(struct wire_problems *p, enum a_code code, const char *field,
                      const struct wire_value *at, const char *hint, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct wire_problem *problem = a_arena_new(p->arena, struct wire_problem);
    *problem = (struct wire_problem){
        .code = code,
        .field = a_arena_strdup(p->arena, field),
        .line = at != NULL ? at->line : 0,
        .column = at != NULL ? at->column : 0,
        .message = a_arena_strdup(p->arena, text),
        .hint = hint != NULL ? a_arena_strdup(p->arena, hint) : NULL,
    };
    if (p->last != NULL)
        p->last->next = problem;
    else
        p->first = problem;
    p->last = problem;
    if (code == A_CODE_NONE)
        p->n_warnings++;
    else
        p->n_errors++;
}

static bool is_before(const struct wire_problem *a, const struct wire_problem *b)
{
    uint32_t x = a->line > 0 ? a->line : UINT32_MAX, y = b->line > 0 ? b->line : UINT32_MAX;
    return x < y || (x == y && a->column < b->column);
}

/* The first `n` of a list, sorted; stable. */
static struct wire_problem *list_sort(struct wire_problem *list, size_t n)
{
    struct wire_problem *second = list, *sorted = NULL, **end = &sorted;
    if (n < 2) {
        list->next = NULL;
        return list;
    }
    for (size_t i = 0; i < n / 2; i++)
        second = second->next;
    second = list_sort(second, n - n / 2);
    for (struct wire_problem *first = list_sort(list, n / 2); first != NULL || second != NULL;) {
        struct wire_problem **from =
            first == NULL || (second != NULL && is_before(second, first)) ? &second : &first;
        *end = *from;
        *from = (*from)->next;
        end = &(*end)->next;
    }
    return sorted;
}

void wire_problems_sort(struct wire_problems *p)
{
    size_t n = p->n_errors + p->n_warnings;
    if (n == 0)
        return;
    p->first = list_sort(p->first, n);
    for (p->last = p->first; p->last->next != NULL;)
        p->last = p->last->next;
}

void wire_problems_print(struct a_buf *b, const struct wire_problems *p, const char *file)
{
    for (const struct wire_problem *it = p->first; it != NULL; it = it->next) {
        a_buf_add_str(b, file);
        if (it->line > 0)
            a_buf_addf(b, ":%u:%u", it->line, it->column);
        a_buf_addf(b, ": %s%s: %s", it->code == A_CODE_NONE ? "warning: " : "", it->field, it->message);
        if (it->hint != NULL)
            a_buf_addf(b, " (%s)", it->hint);
        a_buf_add_char(b, '\n');
    }
}
