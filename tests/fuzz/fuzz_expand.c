/* $(NAME) in texts: lines of NAME=value are variables, each expanded by those before it; the last line is a
 * text. Beside the code runs another reading of Kubernetes' rule, character by character; the two must agree,
 * and no more may be put in than the limit says. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "unit/expand.h"

/* The rule as Kubernetes' own code goes about it: operator, then what follows it. */
static void expected(const struct unit_variables *vars, struct a_view text, struct a_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        const char *close = NULL;
        if (text.ptr[i] != '$' || i + 1 == text.len) {
            a_buf_add(out, text.ptr + i, 1);
            continue;
        }
        char next = text.ptr[++i];
        if (next == '(')
            close = memchr(text.ptr + i, ')', text.len - i);
        if (next == '$') {
            a_buf_add_char(out, '$');
        } else if (close == NULL) {
            a_buf_add_char(out, '$');
            a_buf_add_char(out, next);
        } else {
            struct a_view name = {text.ptr + i + 1, (size_t)(close - text.ptr) - i - 1};
            const struct unit_variable *v = unit_variable_find(vars, name);
            a_buf_add_str(out, v == NULL ? "$(" : "");
            a_buf_add_view(out, v == NULL ? name : v->value);
            a_buf_add_str(out, v == NULL ? ")" : "");
            i = (size_t)(close - text.ptr);
        }
    }
}

/* The same text as an app may have it: models, env and a config in which every text is expanded. */
static void tree_check(struct a_view text)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value_limits limits = {.bytes = 65536, .nodes = 1000, .depth = 32};
    struct unit_variables vars = {.arena = &arena};
    struct wire_value *doc;
    if (wire_yaml_parse(&arena, text, "f", &limits, &doc, NULL) != 0)
        return;
    unit_variables_models(&vars, "/m", wire_value_get(doc, "models"));
    if (unit_variables_env(&vars, wire_value_get(doc, "env"), NULL) == 0)
        (void)!unit_expand_tree(&vars, doc, NULL);
    a_assert(vars.spent <= UNIT_EXPAND_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct unit_variables vars = {.arena = &arena};
    tree_check((struct a_view){(const char *)data, size});
    for (struct a_view rest = {(const char *)data, size}; rest.len > 0;) {
        A_BUF_AUTO struct a_buf out = {0}, again = {0};
        struct a_view value, line = a_view_split(rest, '\n', &rest), name = a_view_split(line, '=', &value);
        if (name.len == line.len)
            value = line;
        size_t spent = vars.spent, references = 0;
        struct a_view reference;
        for (size_t at = 0; unit_expand_next(value, &at, &reference);)
            references++;
        int rc = unit_expand(&vars, value, &out, NULL);
        a_assert(vars.spent <= UNIT_EXPAND_MAX && (references > 0 || (rc == 0 && vars.spent == spent)));
        if (rc < 0)
            break;
        expected(&vars, value, &again);
        a_assert(a_view_equal(a_buf_view(&out), a_buf_view(&again)));
        a_assert(out.len <= value.len + vars.spent - spent);
        unit_variable_add(&vars, a_arena_strndup(&arena, name.ptr, name.len),
                          a_arena_strndup(&arena, a_buf_view(&out).ptr, out.len));
    }
    return 0;
}
