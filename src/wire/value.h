/* Value trees: what JSON and YAML texts become. Each value knows the line and column it came from, so that
 * whoever checks it can say where it is wrong; values made by code have line 0.
 *
 * A tree lives in an arena, with all its texts: nothing is freed on its own. Members of objects keep their
 * order and their keys are unique. Numbers are int64 or double. Readers take NULL anywhere, so that
 * wire_value_string(wire_value_get(v, "name"), "") needs no check in between. */
#ifndef WIRE_VALUE_H
#define WIRE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum wire_value_type {
    WIRE_VALUE_NULL,
    WIRE_VALUE_BOOL,
    WIRE_VALUE_INT,
    WIRE_VALUE_DOUBLE,
    WIRE_VALUE_STRING,
    WIRE_VALUE_ARRAY,
    WIRE_VALUE_OBJECT,
};

struct wire_value {
    enum wire_value_type type;
    uint32_t line, column; /* of the value, from 1; 0 = not from a text */
    uint32_t key_line, key_column;
    struct wire_value *next; /* next element or member of the same parent */
    struct a_view key;       /* members of an object: zero-terminated */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct a_view string; /* zero-terminated, without inner zeros */
        struct {
            struct wire_value *first, *last;
            size_t count;
        } children; /* arrays and objects */
    };
};

#define wire_value_foreach(it, parent)                                                                       \
    for (const struct wire_value *it = wire_value_first(parent); it != NULL; it = it->next)

/* ---- reading texts ---- */

/* Zero = default. */
struct wire_value_limits {
    size_t bytes;   /* 8 MiB */
    size_t nodes;   /* 100,000 */
    unsigned depth; /* 64 */
};

/* Parses a JSON text (RFC 8259), without positions: for bodies that machines send. Any value may be on top.
 * `name` is how errors call the text ("body", a file's name); NULL = none. -EINVAL (A_CODE_INVALID,
 * "name:line:col:
 * ...") when it is not JSON, has two members of one name or a number that does not fit; -E2BIG past a limit;
 * -ENOMEM. */
int wire_json_parse(struct a_arena *arena, struct a_view text, const char *name,
                    const struct wire_value_limits *limits, struct wire_value **ret,
                    struct a_error *reterr) A_MUST_CHECK;
/* Parses one YAML 1.2 document by the core schema (so yes, no, on, off are texts), or JSON, with positions.
 * An empty document is null. Anchors, aliases, merge keys, tags of one's own, keys that are no plain scalars
 * and a second document are refused by name. Errors as above. */
int wire_yaml_parse(struct a_arena *arena, struct a_view text, const char *name,
                    const struct wire_value_limits *limits, struct wire_value **ret,
                    struct a_error *reterr) A_MUST_CHECK;
/* The same of a text of any number of documents (kubectl's files): *ret is the list of them, empty ones as
 * null. Positions and errors count through the whole text; the limits hold for all of them together. */
int wire_yaml_parse_all(struct a_arena *arena, struct a_view text, const char *name,
                        const struct wire_value_limits *limits, struct wire_value **ret,
                        struct a_error *reterr) A_MUST_CHECK;
/* YAML within YAML: `v` is a text value that was parsed out of `text`, and what it says is parsed. Positions
 * and errors are those in `text` when `v` is a literal block (|), else all of them are that of `v`. */
int wire_yaml_parse_inner(struct a_arena *arena, struct a_view text, const struct wire_value *v,
                          const char *name, const struct wire_value_limits *limits, struct wire_value **ret,
                          struct a_error *reterr) A_MUST_CHECK;

/* ---- printing ---- */

enum {
    WIRE_JSON_SORTED = 1, /* members by the bytes of their names: the canonical form, for digests */
    WIRE_JSON_PRETTY = 2, /* two spaces a level, and a line end */
};
/* Compact unless told otherwise. Doubles take the fewest digits that read back the same; NaN and infinities
 * become null. */
void wire_json_print(struct a_buf *b, const struct wire_value *v, unsigned flags);
/* Block style; texts are quoted where YAML would read something else; long ones with line ends as literals.
 */
void wire_yaml_print(struct a_buf *b, const struct wire_value *v);

/* ---- looking ---- */

const char *wire_value_type_name(enum wire_value_type t); /* "text", "whole number", ...: for people */
bool wire_value_is(const struct wire_value *v, enum wire_value_type t); /* false for NULL */
bool wire_value_is_null(const struct wire_value *v);                    /* true for NULL, too */
/* The member, or NULL. */
struct wire_value *wire_value_get(const struct wire_value *object, const char *key);
struct wire_value *wire_value_get_view(const struct wire_value *object, struct a_view key);
/* By a path of names and indices: "spec.workers.0.name"; NULL when any step is missing. */
struct wire_value *wire_value_path(const struct wire_value *v, const char *path);
struct wire_value *wire_value_at(const struct wire_value *array, size_t index);
const struct wire_value *wire_value_first(const struct wire_value *parent);
size_t wire_value_count(const struct wire_value *parent);
/* The value when it has that type, else the default. wire_value_number takes whole numbers, too. */
const char *wire_value_string(const struct wire_value *v, const char *otherwise);
struct a_view wire_value_view(const struct wire_value *v); /* empty when it is no text */
int64_t wire_value_int(const struct wire_value *v, int64_t otherwise);
double wire_value_number(const struct wire_value *v, double otherwise);
bool wire_value_bool(const struct wire_value *v, bool otherwise);
/* Same type and contents; members in any order; positions do not count. 1 and 1.0 differ. */
bool wire_value_equal(const struct wire_value *a, const struct wire_value *b);

/* ---- making ---- */

struct wire_value *wire_value_new(struct a_arena *arena, enum wire_value_type type);
struct wire_value *wire_value_new_object(struct a_arena *arena);
struct wire_value *wire_value_new_array(struct a_arena *arena);
struct wire_value *wire_value_new_string(struct a_arena *arena, const char *s); /* copied; NULL gives null */
struct wire_value *wire_value_new_view(struct a_arena *arena, struct a_view s); /* copied */
struct wire_value *wire_value_new_int(struct a_arena *arena, int64_t i);
struct wire_value *wire_value_new_number(struct a_arena *arena, double d);
struct wire_value *wire_value_new_bool(struct a_arena *arena, bool b);
/* A deep copy, positions included, in another arena. */
struct wire_value *wire_value_copy(struct a_arena *arena, const struct wire_value *v);

/* Sets a member (the key is copied), in the place of an older one of that name. `child` belongs to one parent
 * only. */
void wire_value_set(struct a_arena *arena, struct wire_value *object, const char *key,
                    struct wire_value *child);
void wire_value_set_string(struct a_arena *arena, struct wire_value *object, const char *key, const char *s);
void wire_value_set_view(struct a_arena *arena, struct wire_value *object, const char *key, struct a_view s);
void wire_value_set_int(struct a_arena *arena, struct wire_value *object, const char *key, int64_t i);
void wire_value_set_number(struct a_arena *arena, struct wire_value *object, const char *key, double d);
void wire_value_set_bool(struct a_arena *arena, struct wire_value *object, const char *key, bool b);
void wire_value_set_null(struct a_arena *arena, struct wire_value *object, const char *key);
/* Takes a member out; false when there is none. */
bool wire_value_remove(struct wire_value *object, const char *key);
/* Appends to an array. */
void wire_value_append(struct wire_value *array, struct wire_value *child);

#endif
