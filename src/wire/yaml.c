/* YAML texts to value trees, by libfyaml's events: not by its documents, because here limits are held while
 * the text is read and nothing is expanded. Anchors and aliases are refused: an app's file needs none, and a
 * few lines of them can stand for a terabyte. */
#include <errno.h>
#include <libfyaml.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/text.h"
#include "wire/value.h"
#include "wire/value_reader.h"
#include "wire/yaml_scalar.h"

/* A key that was seen: its object's address and its text. */
struct seen {
    struct a_map_link link;
    char key[];
};

struct level {
    struct wire_value *parent;
    struct a_view key; /* of the member that comes next */
    uint32_t key_line, key_column;
    bool has_key;
};

struct yaml {
    struct wire_value_reader r;
    struct level *levels; /* limits.depth of them */
    unsigned depth;
    struct wire_value *root;
    unsigned documents;
    unsigned line, column;  /* of the event at hand */
    struct a_arena scratch; /* what `keys` links */
    struct a_map keys;
};

static int yaml_fail(struct yaml *y, int rc, const char *what)
{
    return wire_value_reader_fail(&y->r, rc, y->line, y->column, "%s", what);
}

static bool key_is_new(struct yaml *y, const struct wire_value *object, struct a_view key)
{
    size_t len = sizeof object + key.len;
    struct seen *s = a_arena_try(&y->scratch, sizeof *s + len);
    if (s == NULL)
        return true; /* the arena that holds the tree is the one with a limit */
    memcpy(s->key, &object, sizeof object);
    memcpy(s->key + sizeof object, key.ptr, key.len);
    if (a_map_get(&y->keys, s->key, len) != NULL)
        return false;
    a_map_put(&y->keys, &s->link, s->key, len);
    return true;
}

static int key_take(struct yaml *y, struct level *l, struct a_view text, bool plain)
{
    if (plain && text.len == 0)
        return yaml_fail(y, -EINVAL, "a name is missing before the colon");
    if (plain && a_view_is(text, "<<"))
        return yaml_fail(y, -EINVAL, "merge keys (<<) are not supported: write the members out");
    int rc = wire_value_reader_text(&y->r, text, y->line, y->column, &l->key);
    if (rc != 0)
        return rc;
    if (!key_is_new(y, l->parent, l->key))
        return wire_value_reader_fail(&y->r, -EINVAL, y->line, y->column, "\"" A_VIEW_FMT "\" is here twice",
                                      A_VIEW_ARG(l->key));
    l->key_line = y->line;
    l->key_column = y->column;
    l->has_key = true;
    return 0;
}

static void value_place(struct yaml *y, struct wire_value *v)
{
    if (y->depth == 0) {
        y->root = v;
        return;
    }
    struct level *l = &y->levels[y->depth - 1];
    if (l->parent->type == WIRE_VALUE_OBJECT) {
        a_assert(l->has_key);
        v->key = l->key;
        v->key_line = l->key_line;
        v->key_column = l->key_column;
        l->has_key = false;
    }
    wire_value_reader_add(l->parent, v);
}

static bool wants_key(const struct yaml *y)
{
    const struct level *l = y->depth > 0 ? &y->levels[y->depth - 1] : NULL;
    return l != NULL && l->parent->type == WIRE_VALUE_OBJECT && !l->has_key;
}

static void place_take(struct yaml *y, const struct fy_mark *mark)
{
    if (mark == NULL)
        return;
    y->line = (unsigned)mark->line + 1;
    y->column = (unsigned)mark->column + 1;
}

static int decoration_check(struct yaml *y, struct fy_token *anchor, struct fy_token *tag)
{
    if (anchor != NULL || tag != NULL)
        place_take(y, fy_token_start_mark(anchor != NULL ? anchor : tag));
    y->column -= anchor != NULL && y->column > 1; /* the token begins behind its '&' */
    if (anchor != NULL)
        return yaml_fail(y, -EINVAL, "anchors (&) and aliases (*) are not supported: write the value out");
    if (tag != NULL)
        return yaml_fail(y, -EINVAL, "tags (!) are not supported; quote a value to make it a text");
    return 0;
}

static int scalar_resolve(struct yaml *y, struct a_view text, bool plain, struct wire_value *v)
{
    if (plain) {
        switch (wire_yaml_scalar_resolve(text, v)) {
        case WIRE_YAML_SCALAR_OK:
            break;
        case WIRE_YAML_SCALAR_LARGE:
            return yaml_fail(y, -EINVAL, "a number beyond 64 bits; quote it to make it a text");
        case WIRE_YAML_SCALAR_INFINITE:
            return yaml_fail(y, -EINVAL, "infinities and .nan are not supported; quote it to make it a text");
        }
    }
    return v->type == WIRE_VALUE_STRING ? wire_value_reader_text(&y->r, text, y->line, y->column, &v->string)
                                        : 0;
}

static int scalar_take(struct yaml *y, struct fy_event *e)
{
    struct fy_token *token = e->scalar.value;
    struct wire_value *v;
    size_t len = 0;
    int rc = decoration_check(y, e->scalar.anchor, e->scalar.tag);
    if (rc != 0)
        return rc;
    const char *text = token != NULL ? fy_token_get_text(token, &len) : "";
    if (text == NULL)
        return yaml_fail(y, -ENOMEM, "no room");
    enum fy_scalar_style style = fy_token_scalar_style(token);
    bool plain = style == FYSS_PLAIN;
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && y->column > 1)
        y->column--; /* the token begins behind its quote */
    struct a_view view = {text, len};
    if (wants_key(y))
        return key_take(y, &y->levels[y->depth - 1], view, plain);
    rc = wire_value_reader_node(&y->r, WIRE_VALUE_STRING, y->line, y->column, &v);
    if (rc == 0)
        rc = scalar_resolve(y, view, plain, v);
    if (rc == 0)
        value_place(y, v);
    return rc;
}

static int level_push(struct yaml *y, enum wire_value_type type, struct fy_token *anchor,
                      struct fy_token *tag)
{
    struct wire_value *v;
    int rc = decoration_check(y, anchor, tag);
    if (rc != 0)
        return rc;
    if (wants_key(y))
        return yaml_fail(y, -EINVAL, "a name must be a text, not a list or mapping");
    if (y->depth == y->r.limits.depth)
        return wire_value_reader_fail(&y->r, -E2BIG, y->line, y->column, "more than %u levels deep",
                                      y->depth);
    rc = wire_value_reader_node(&y->r, type, y->line, y->column, &v);
    if (rc != 0)
        return rc;
    value_place(y, v);
    y->levels[y->depth++] = (struct level){.parent = v};
    return 0;
}

static int event_take(struct yaml *y, struct fy_event *e)
{
    /* Events without a token (an empty value, an implicit end) stay at the place of the one before. */
    place_take(y, fy_event_start_mark(e));
    switch (e->type) {
    case FYET_DOCUMENT_START:
        return ++y->documents > 1 ? yaml_fail(y, -EINVAL, "a second document: one is read") : 0;
    case FYET_ALIAS:
        return yaml_fail(y, -EINVAL, "anchors (&) and aliases (*) are not supported: write the value out");
    case FYET_SCALAR:
        return scalar_take(y, e);
    case FYET_SEQUENCE_START:
        return level_push(y, WIRE_VALUE_ARRAY, e->sequence_start.anchor, e->sequence_start.tag);
    case FYET_MAPPING_START:
        return level_push(y, WIRE_VALUE_OBJECT, e->mapping_start.anchor, e->mapping_start.tag);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        a_assert(y->depth > 0);
        y->depth--;
        return 0;
    default:
        return 0;
    }
}

/* The first error that libfyaml collected. */
static int parser_fail(struct yaml *y, struct fy_diag *diag)
{
    void *at = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);
    if (e == NULL)
        return yaml_fail(y, -EINVAL, "not YAML");
    return wire_value_reader_fail(&y->r, -EINVAL, e->line > 0 ? (unsigned)e->line : 1,
                                  e->column > 0 ? (unsigned)e->column : 1, "%s",
                                  e->msg != NULL ? e->msg : "not YAML");
}

static int events_take(struct yaml *y, struct fy_parser *parser, struct fy_diag *diag)
{
    struct fy_event *e;
    int rc = 0;
    while (rc == 0 && (e = fy_parser_parse(parser)) != NULL) {
        rc = event_take(y, e);
        fy_parser_event_free(parser, e);
    }
    return rc == 0 && fy_parser_get_stream_error(parser) ? parser_fail(y, diag) : rc;
}

static void diag_silence(struct fy_diag *diag A_UNUSED, void *user A_UNUSED, const char *text A_UNUSED,
                         size_t len A_UNUSED)
{
}

static int text_take(struct yaml *y, struct a_view text)
{
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = diag_silence;
    diag_cfg.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (diag == NULL)
        return yaml_fail(y, -ENOMEM, "no room");
    fy_diag_set_collect_errors(diag, true);
    const struct fy_parse_cfg cfg = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
        .diag = diag,
    };
    struct fy_parser *parser = fy_parser_create(&cfg);
    int rc = -ENOMEM;
    if (parser == NULL || fy_parser_set_string(parser, text.ptr, text.len) != 0)
        yaml_fail(y, -ENOMEM, "no room");
    else
        rc = events_take(y, parser, diag);
    if (parser != NULL)
        fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    return rc;
}

/* What libfyaml need not see. It trips over broken directives (0.7.12 never returns), and nobody writes any.
 */
static int text_check(struct yaml *y, struct a_view text)
{
    for (struct a_view rest = text; rest.len > 0;) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        y->line++;
        y->column = 1;
        if (line.len > 0 && line.ptr[0] == '%')
            return yaml_fail(y, -EINVAL, "directives (%) are not supported");
        if (!a_text_is_utf8(line))
            return yaml_fail(y, -EINVAL, "not UTF-8");
        for (size_t i = 0; i < line.len; i++) {
            unsigned char c = (unsigned char)line.ptr[i];
            y->column = (unsigned)i + 1;
            if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == line.len)) || c == 0x7f)
                return yaml_fail(y, -EINVAL, "a control byte");
        }
    }
    y->line = y->column = 1;
    return 0;
}

int wire_yaml_parse(struct a_arena *arena, struct a_view text, const char *name,
                    const struct wire_value_limits *limits, struct wire_value **ret, struct a_error *reterr)
{
    struct yaml y = {0};
    int rc = wire_value_reader_init(&y.r, arena, text, name, limits, reterr);
    if (rc != 0)
        return rc;
    rc = text_check(&y, text);
    if (rc != 0)
        return rc;
    y.levels = a_alloc_array(y.r.limits.depth, sizeof *y.levels);
    /* libfyaml takes a length of 0 for "measure it yourself" */
    rc = text_take(&y, text.len > 0 ? text : A_VIEW_LIT("\n"));
    if (rc == 0 && y.root == NULL)
        rc = wire_value_reader_node(&y.r, WIRE_VALUE_NULL, 1, 1, &y.root);
    if (rc == 0)
        *ret = y.root;
    a_map_deinit(&y.keys);
    a_arena_deinit(&y.scratch);
    a_free(y.levels);
    return rc;
}
