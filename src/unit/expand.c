#include "unit/expand.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define MODEL_PREFIX "ASTRA_MODEL_"

static void variable_add(struct unit_variables *vars, const char *name, const char *value, bool local)
{
    struct unit_variable *v = a_arena_new(vars->arena, struct unit_variable);
    *v = (struct unit_variable){vars->first, a_view_str(name), a_view_str(value), local};
    vars->first = v;
}

void unit_variable_add(struct unit_variables *vars, const char *name, const char *value)
{
    variable_add(vars, name, value, false);
}

void unit_variables_models(struct unit_variables *vars, const char *models_dir,
                           const struct wire_value *models)
{
    variable_add(vars, "ASTRA_MODELS", models_dir, true);
    wire_value_foreach(model, models)
    {
        char *name = a_arena_printf(vars->arena, MODEL_PREFIX A_VIEW_FMT, A_VIEW_ARG(model->key));
        for (char *c = name + strlen(MODEL_PREFIX); *c != '\0'; c++)
            *c = *c == '-' ? '_' : (*c >= 'a' && *c <= 'z') ? (char)(*c - 'a' + 'A') : *c;
        variable_add(vars, name,
                     a_arena_printf(vars->arena, "%s/" A_VIEW_FMT, models_dir, A_VIEW_ARG(model->key)), true);
    }
}

int unit_variables_env(struct unit_variables *vars, const struct wire_value *env, struct a_error *reterr)
{
    bool before = vars->local;
    wire_value_foreach(item, env)
    {
        A_BUF_AUTO struct a_buf value = {0};
        const char *name = wire_value_string(wire_value_get(item, "name"), "");
        vars->local = false;
        int rc = unit_expand(vars, wire_value_view(wire_value_get(item, "value")), &value, reterr);
        if (rc < 0) {
            a_error_wrap(reterr, "env: %s", name);
            return rc;
        }
        variable_add(vars, name, a_arena_strndup(vars->arena, a_buf_view(&value).ptr, value.len),
                     vars->local);
    }
    vars->local = before;
    return 0;
}

const struct unit_variable *unit_variable_find(const struct unit_variables *vars, struct a_view name)
{
    for (const struct unit_variable *v = vars->first; v != NULL; v = v->next)
        if (a_view_equal(v->name, name))
            return v;
    return NULL;
}

/* What stands at a '$': "$$", "$(NAME)", or the '$' alone. */
struct piece {
    size_t len;         /* of it in the text */
    bool reference;     /* $(NAME) */
    struct a_view name; /* of a reference */
};

static struct piece piece_at(struct a_view rest)
{
    a_assert(rest.len > 0 && rest.ptr[0] == '$');
    if (rest.len > 1 && rest.ptr[1] == '$')
        return (struct piece){.len = 2};
    const char *end = rest.len > 1 && rest.ptr[1] == '(' ? memchr(rest.ptr, ')', rest.len) : NULL;
    if (end == NULL)
        return (struct piece){.len = 1};
    size_t len = (size_t)(end - rest.ptr) + 1;
    return (struct piece){.len = len, .reference = true, .name = {rest.ptr + 2, len - 3}};
}

static const char *dollar_find(struct a_view text, size_t at)
{
    return at < text.len ? memchr(text.ptr + at, '$', text.len - at) : NULL;
}

static int value_put(struct unit_variables *vars, const struct unit_variable *v, struct a_buf *ret,
                     struct a_error *reterr)
{
    if (v->value.len > UNIT_EXPAND_MAX - vars->spent)
        return a_fail(reterr, -E2BIG, A_CODE_INVALID, "$(" A_VIEW_FMT "): references add more than %d KiB",
                      A_VIEW_ARG(v->name), UNIT_EXPAND_MAX >> 10);
    vars->spent += v->value.len;
    vars->local = vars->local || v->local;
    a_buf_add_view(ret, v->value);
    return 0;
}

int unit_expand(struct unit_variables *vars, struct a_view text, struct a_buf *ret, struct a_error *reterr)
{
    size_t at = 0;
    for (const char *dollar; (dollar = dollar_find(text, at)) != NULL;) {
        size_t here = (size_t)(dollar - text.ptr);
        const struct piece p = piece_at((struct a_view){dollar, text.len - here});
        const struct unit_variable *v = p.reference ? unit_variable_find(vars, p.name) : NULL;
        a_buf_add_view(ret, (struct a_view){text.ptr + at, here - at});
        if (v == NULL)
            a_buf_add_view(ret, (struct a_view){dollar, p.reference ? p.len : 1});
        int rc = v != NULL ? value_put(vars, v, ret, reterr) : 0;
        if (rc < 0)
            return rc;
        at = here + p.len;
    }
    a_buf_add_view(ret, (struct a_view){text.ptr + at, text.len - at});
    return 0;
}

int unit_expand_tree(struct unit_variables *vars, struct wire_value *v, struct a_error *reterr)
{
    if (wire_value_is(v, WIRE_VALUE_STRING) && dollar_find(v->string, 0) != NULL) {
        A_BUF_AUTO struct a_buf text = {0};
        int rc = unit_expand(vars, v->string, &text, reterr);
        if (rc < 0)
            return rc;
        v->string = a_view_str(a_arena_strndup(vars->arena, a_buf_view(&text).ptr, text.len));
        return 0;
    }
    if (!wire_value_is(v, WIRE_VALUE_OBJECT) && !wire_value_is(v, WIRE_VALUE_ARRAY))
        return 0;
    int rc = 0;
    for (struct wire_value *child = v->children.first; rc == 0 && child != NULL; child = child->next)
        rc = unit_expand_tree(vars, child, reterr);
    return rc;
}

bool unit_expand_next(struct a_view text, size_t *at, struct a_view *ret_name)
{
    for (const char *dollar; (dollar = dollar_find(text, *at)) != NULL;) {
        size_t here = (size_t)(dollar - text.ptr);
        const struct piece p = piece_at((struct a_view){dollar, text.len - here});
        *at = here + p.len;
        if (p.reference) {
            *ret_name = p.name;
            return true;
        }
    }
    return false;
}
