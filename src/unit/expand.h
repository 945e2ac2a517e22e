/* $(NAME) in texts, as Kubernetes expands it in a container's env and args: $(NAME) of a defined name becomes
 * its value, of an unknown one it stays, $$ becomes $ (so $$(NAME) escapes), and a $ before anything else
 * stays. What was put in is not looked at again. */
#ifndef UNIT_EXPAND_H
#define UNIT_EXPAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "wire/value.h"

/* Bytes that expansion may put in, all texts of one set of variables together: each may name the one before
 * twice, so a short list of them could grow without end. */
#define UNIT_EXPAND_MAX (256 << 10)

struct unit_variable {
    struct unit_variable *next;
    struct a_view name, value;
    bool local; /* names a path of the member: other members of the unit have another */
};

/* The defined names. Zero-initialise with the arena set; names and values are borrowed. */
struct unit_variables {
    struct a_arena *arena;
    struct unit_variable *first;
    size_t spent; /* bytes that were put in so far */
    bool local;   /* a local one was put in */
};

void unit_variable_add(struct unit_variables *vars, const char *name, const char *value);
/* ASTRA_MODELS and an ASTRA_MODEL_NAME for each model: its name in capitals, - as _; all local. `models` is
 * an object whose keys are the names; NULL = none. */
void unit_variables_models(struct unit_variables *vars, const char *models_dir,
                           const struct wire_value *models);
/* The app's env ([{name, value}]) in its order, each expanded by those before it; local when one of those
 * was. -E2BIG past UNIT_EXPAND_MAX. */
int unit_variables_env(struct unit_variables *vars, const struct wire_value *env, struct a_error *reterr);
/* The last one of that name, or NULL. */
const struct unit_variable *unit_variable_find(const struct unit_variables *vars, struct a_view name);

/* Appends the expanded text. -E2BIG (A_CODE_INVALID) past UNIT_EXPAND_MAX; ret is undefined then. */
int unit_expand(struct unit_variables *vars, struct a_view text, struct a_buf *ret, struct a_error *reterr);
/* Expands every text in the tree, in place; keys stay. */
int unit_expand_tree(struct unit_variables *vars, struct wire_value *v, struct a_error *reterr);

/* The name of each reference in the text, in its order, defined or not: false when there is none after
 * `*at`, which moves on. */
bool unit_expand_next(struct a_view text, size_t *at, struct a_view *ret_name);

#endif
