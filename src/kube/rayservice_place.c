/* nodeSelector and affinity to placement of the App. An App asks for nodes once, for all members of a unit:
 * what every group asks for alike is taken, what one group asks for alone is lost. */
#include <string.h>

#include "kube/rayservice_core.h"

#define ONE_GROUP_HINT "make a pool of such nodes and let devices or labels of it choose"
#define SPREAD_HINT "set spec.placement.spread"

/* Notes what the group's pods ask of their nodes. */
static void selector_add(struct importer *im, struct import_place at, const char *label, const char *value)
{
    const struct wire_value *other = wire_value_get(at.group->selectors, label);
    struct wire_value *v = wire_value_new_string(im->arena, value);
    if (other != NULL && strcmp(wire_value_string(other, ""), value) != 0) {
        import_lost(im, at, NULL, "%.100s is asked for twice", label);
        return;
    }
    v->line = v->key_line = at.value->key_line > 0 ? at.value->key_line : at.value->line;
    v->column = v->key_column = at.value->key_line > 0 ? at.value->key_column : at.value->column;
    wire_value_set(im->arena, at.group->selectors, label, v);
    wire_value_set_string(im->arena, at.group->selector_paths, label, at.path);
}

static void label_map(struct importer *im, struct import_place at)
{
    const char *text = import_text(im, at.value);
    if (text != NULL)
        selector_add(im, at, at.value->key.ptr, text);
    else
        import_lost(im, at, NULL, "expected a text");
}

void import_node_selector(struct importer *im, struct import_place at)
{
    static const struct import_row rows[] = {
        {"*", IMPORT_MAP, NULL, NULL, label_map},
        {NULL, IMPORT_SILENT, NULL, NULL, NULL},
    };
    import_walk(im, at, rows, "nodeSelector");
}

/* ---- affinity ---- */

/* {key, operator: In, values: [one]} is a label; NULL for all else. */
static const char *expression_value(const struct wire_value *e)
{
    const struct wire_value *values = wire_value_get(e, "values");
    if (!a_view_is(wire_value_view(wire_value_get(e, "operator")), "In") ||
        !wire_value_is(wire_value_get(e, "key"), WIRE_VALUE_STRING) ||
        !wire_value_is(values, WIRE_VALUE_ARRAY) || wire_value_count(values) != 1)
        return NULL;
    return wire_value_string(wire_value_first(values), NULL);
}

/* One term, whose expressions are all such labels. */
static void required_map(struct importer *im, struct import_place at)
{
    const struct wire_value *terms = wire_value_get(at.value, "nodeSelectorTerms"),
                            *term = wire_value_first(wire_value_is(terms, WIRE_VALUE_ARRAY) ? terms : NULL),
                            *list = wire_value_get(term, "matchExpressions");
    bool plain = wire_value_count(terms) == 1 && wire_value_count(term) == 1 &&
                 wire_value_is(list, WIRE_VALUE_ARRAY) && wire_value_count(at.value) == 1;
    wire_value_foreach(e, plain ? list : NULL)
    {
        plain = plain && expression_value(e) != NULL;
    }
    if (!plain) {
        import_lost(im, at, "give the nodes that are meant one label and name it in spec.placement.require",
                    "only one term of labels with one value each can be asked for");
        return;
    }
    size_t i = 0;
    struct import_place here = {
        a_arena_printf(im->arena, "%s.nodeSelectorTerms[0].matchExpressions", at.path), list, at.group};
    wire_value_foreach(e, list)
    {
        selector_add(im, import_item(im, here, e, i++), wire_value_string(wire_value_get(e, "key"), ""),
                     expression_value(e));
    }
}

static const struct import_row node_rows[] = {
    {"requiredDuringSchedulingIgnoredDuringExecution", IMPORT_MAP, NULL, NULL, required_map},
    {"preferredDuringSchedulingIgnoredDuringExecution", IMPORT_LOST, "preferences have no weights here",
     "set spec.placement.prefer", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void node_affinity_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, node_rows, "nodeAffinity");
}

static const struct import_row affinity_rows[] = {
    {"nodeAffinity", IMPORT_MAP, NULL, NULL, node_affinity_map},
    {"podAffinity", IMPORT_LOST, "members are placed by units", "a unit is always inside one cluster", NULL},
    {"podAntiAffinity", IMPORT_LOST, "members are placed by units", SPREAD_HINT, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_affinity(struct importer *im, struct import_place at)
{
    import_walk(im, at, affinity_rows, "affinity");
}

/* ---- all groups together ---- */

static bool is_common(const struct importer *im, const struct wire_value *label)
{
    for (size_t i = 0; i < im->n_groups; i++)
        if (!im->groups[i].none &&
            !wire_value_equal(wire_value_get_view(im->groups[i].selectors, label->key), label))
            return false;
    return true;
}

static void selector_settle(struct importer *im, const struct import_group *g, const struct wire_value *label)
{
    const char *path = wire_value_string(wire_value_get_view(g->selector_paths, label->key), "");
    struct import_place at = {path, label, NULL};
    if (!is_common(im, label))
        import_lost(im, at, ONE_GROUP_HINT, "%.100s: an app asks for nodes for all its members alike",
                    label->string.ptr);
    else if (wire_value_get_view(wire_value_path(im->spec, "placement.require"), label->key) == NULL &&
             import_lives_or_lost(im, at, "spec.placement.require", "let pools have only such nodes"))
        import_set_text(im, at, import_object(im, import_object(im, im->spec, "placement"), "require"),
                        label->key.ptr, label->string.ptr);
}

void import_selectors_end(struct importer *im)
{
    for (size_t i = 0; i < im->n_groups; i++)
        wire_value_foreach(label, im->groups[i].selectors)
        {
            selector_settle(im, &im->groups[i], label);
        }
}
