#include "kube/custom.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "kube/time.h"

#define ERRORS_MAX 20

/* ---- rows ---- */

static struct a_view word_read(struct kube_texts *t, struct wire_scan *s)
{
    a_buf_reset(&t->room);
    return wire_scan_string(s, &t->room);
}

static bool finalizers_read(struct kube_texts *t, struct wire_scan *s)
{
    bool found = false;
    if (!wire_scan_enter(s, WIRE_VALUE_ARRAY))
        return false;
    while (wire_scan_item(s))
        found = a_view_is(word_read(t, s), KUBE_FINALIZER) || found;
    return found;
}

static bool adopt_read(struct kube_texts *t, struct wire_scan *s)
{
    bool adopt = false;
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return false;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, KUBE_ANNOTATION_ADOPT))
            adopt = a_view_is(word_read(t, s), "true");
        else
            wire_scan_skip(s);
    }
    return adopt;
}

static void custom_read(void *fields, struct kube_texts *t, enum kube_part part, struct a_view key,
                        struct wire_scan *s)
{
    struct kube_custom *c = fields;
    if (part == KUBE_PART_OBJECT && a_view_is(key, "status")) {
        struct a_view text = wire_scan_raw(s);
        c->status = a_hash_bytes(0, text.ptr, text.len) | 1;
    } else if (part == KUBE_PART_OBJECT) {
        wire_scan_skip(s);
    } else if (a_view_is(key, "generation")) {
        c->generation = wire_scan_int(s);
    } else if (a_view_is(key, "deletionTimestamp")) {
        c->deleted_s = kube_time_read(s, t);
    } else if (a_view_is(key, "finalizers")) {
        c->finalizer = finalizers_read(t, s);
    } else if (a_view_is(key, "annotations")) {
        c->adopt = adopt_read(t, s);
    } else {
        wire_scan_skip(s);
    }
}

const struct kube_kind kube_kind_app_object = {
    .name = "apps", .n_fields = sizeof(struct kube_custom), .read = custom_read};
const struct kube_kind kube_kind_pool_object = {
    .name = "pools", .n_fields = sizeof(struct kube_custom), .read = custom_read};

const struct kube_custom *kube_row_custom(const struct kube_row *row)
{
    a_assert(row->n_fields == sizeof(struct kube_custom));
    return kube_row_fields(row);
}

int kube_custom_scan(struct a_view text, struct kube_custom *ret)
{
    struct kube_custom c = {0};
    struct kube_texts t = {0};
    struct wire_scan s;
    wire_scan_init(&s, text);
    (void)wire_scan_enter(&s, WIRE_VALUE_OBJECT);
    for (struct a_view key, inner; wire_scan_member(&s, &key);) {
        if (!a_view_is(key, "metadata"))
            custom_read(&c, &t, KUBE_PART_OBJECT, key, &s);
        else if (wire_scan_enter(&s, WIRE_VALUE_OBJECT))
            while (wire_scan_member(&s, &inner))
                custom_read(&c, &t, KUBE_PART_METADATA, inner, &s);
    }
    a_buf_deinit(&t.bytes);
    a_buf_deinit(&t.room);
    if (!wire_scan_end(&s))
        return -EINVAL;
    *ret = c;
    return 0;
}

/* ---- what is to be done ---- */

static enum kube_custom_act decide_deleted(const struct kube_custom_state *s)
{
    if (!s->object.finalizer)
        return KUBE_CUSTOM_KEEP;
    if (s->holder != KUBE_HOLDER_OURS)
        return KUBE_CUSTOM_RELEASE;
    return s->leaving ? KUBE_CUSTOM_WAIT : KUBE_CUSTOM_REMOVE;
}

enum kube_custom_act kube_custom_decide(const struct kube_custom_state *s)
{
    if (s->object.deleted_s != 0)
        return decide_deleted(s);
    if (s->holder == KUBE_HOLDER_OTHER || (s->holder == KUBE_HOLDER_API && !s->object.adopt))
        return KUBE_CUSTOM_REFUSE;
    if (s->holder != KUBE_HOLDER_NONE && s->leaving)
        return KUBE_CUSTOM_WAIT;
    if (!s->object.finalizer)
        return KUBE_CUSTOM_FINALIZE;
    return s->holder == KUBE_HOLDER_OURS && !s->news ? KUBE_CUSTOM_KEEP : KUBE_CUSTOM_PUT;
}

/* ---- what the checker is given ---- */

static struct wire_value *document_make(struct a_arena *arena, const struct wire_value *object)
{
    static const char *const kept[] = {"name", "namespace", "labels"};
    static const char *const parts[] = {"apiVersion", "kind"};
    struct wire_value *doc = wire_value_new_object(arena), *metadata = wire_value_new_object(arena);
    const struct wire_value *spec = wire_value_get(object, "spec");
    for (size_t i = 0; i < A_ARRAY_SIZE(parts); i++) {
        const struct wire_value *v = wire_value_get(object, parts[i]);
        if (v != NULL)
            wire_value_set(arena, doc, parts[i], wire_value_copy(arena, v));
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(kept); i++) {
        const struct wire_value *v = wire_value_get(wire_value_get(object, "metadata"), kept[i]);
        if (v != NULL)
            wire_value_set(arena, metadata, kept[i], wire_value_copy(arena, v));
    }
    wire_value_set(arena, doc, "metadata", metadata);
    if (spec != NULL)
        wire_value_set(arena, doc, "spec", wire_value_copy(arena, spec));
    return doc;
}

struct wire_value *kube_custom_app(struct a_arena *arena, const struct wire_value *object)
{
    return document_make(arena, object);
}

static void place_set(struct wire_problems *p, struct wire_value *spec, const char *key, const char *here)
{
    const struct wire_value *said = wire_value_get(spec, key);
    if (!wire_value_is(spec, WIRE_VALUE_OBJECT))
        return;
    if (said != NULL && !a_view_is(wire_value_view(said), here))
        wire_problem_add(p, A_CODE_POOL_INVALID, a_arena_printf(p->arena, "spec.%s", key), said,
                         "leave it out", "a Pool is where its object is: %s", here);
    wire_value_set_string(p->arena, spec, key, here);
}

struct wire_value *kube_custom_pool(struct wire_problems *p, const struct wire_value *object,
                                    const char *cluster)
{
    struct wire_value *doc = document_make(p->arena, object), *spec = wire_value_get(doc, "spec");
    place_set(p, spec, "cluster", cluster);
    place_set(p, spec, "namespace", wire_value_string(wire_value_path(doc, "metadata.namespace"), ""));
    return doc;
}

const char *kube_custom_errors(struct a_arena *arena, const struct wire_problems *p)
{
    A_BUF_AUTO struct a_buf b = {0};
    size_t n = 0;
    for (const struct wire_problem *u = p->first; u != NULL && n < ERRORS_MAX; u = u->next) {
        if (u->code == A_CODE_NONE)
            continue;
        a_buf_addf(&b, "%s%s: %s%s%s", n++ > 0 ? "\n" : "", u->field, u->message, u->hint != NULL ? "; " : "",
                   u->hint != NULL ? u->hint : "");
    }
    if (n < p->n_errors)
        a_buf_addf(&b, "\nand %zu more", p->n_errors - n);
    return a_arena_strdup(arena, b.len > 0 ? b.ptr : "");
}

/* ---- what is told ---- */

static const char *time_of(struct a_arena *arena, const struct kube_custom_told *told, const char *type,
                           const char *status)
{
    char text[KUBE_TIME_LEN + 1];
    wire_value_foreach(c, wire_value_get(told->before, "conditions"))
    {
        const char *since = wire_value_string(wire_value_get(c, "lastTransitionTime"), NULL);
        if (a_view_is(wire_value_view(wire_value_get(c, "type")), type) &&
            a_view_is(wire_value_view(wire_value_get(c, "status")), status) && since != NULL)
            return since;
    }
    kube_time_print(told->now_us - told->now_us % 1000000, text);
    const char *dot = strchr(text, '.'); /* metav1.Time has whole seconds */
    return a_arena_printf(arena, "%.*sZ", dot != NULL ? (int)(dot - text) : 0, text);
}

static void condition_add(struct a_arena *arena, struct wire_value *list, const struct kube_custom_told *told,
                          const struct kube_custom_condition *c, int64_t generation)
{
    struct wire_value *v = wire_value_new_object(arena);
    const char *status = c->status ? "True" : "False";
    wire_value_set_string(arena, v, "type", c->type);
    wire_value_set_string(arena, v, "status", status);
    wire_value_set_int(arena, v, "observedGeneration", generation);
    wire_value_set_string(arena, v, "lastTransitionTime", time_of(arena, told, c->type, status));
    wire_value_set_string(arena, v, "reason", c->reason != NULL ? c->reason : "None");
    wire_value_set_string(arena, v, "message", c->message != NULL ? c->message : "");
    wire_value_append(list, v);
}

struct wire_value *kube_custom_status(struct a_arena *arena, const struct kube_custom_told *told)
{
    struct wire_value *v = wire_value_new_object(arena), *list = wire_value_new_array(arena);
    wire_value_set_int(arena, v, "observedGeneration", told->generation);
    wire_value_foreach(f, told->facts)
    {
        wire_value_set(arena, v, f->key.ptr, wire_value_copy(arena, f));
    }
    condition_add(arena, list, told, &told->accepted, told->generation);
    for (size_t i = 0; i < told->n_conditions; i++)
        condition_add(arena, list, told, &told->conditions[i], told->applied);
    wire_value_set(arena, v, "conditions", list);
    return v;
}

static void copy_into(struct a_arena *arena, struct wire_value *to, const struct wire_value *from,
                      const char *key)
{
    const struct wire_value *v = wire_value_get(from, key);
    if (v != NULL)
        wire_value_set(arena, to, key, wire_value_copy(arena, v));
}

struct wire_value *kube_custom_status_apply(struct a_arena *arena, const struct wire_value *object,
                                            struct wire_value *status)
{
    static const char *const names[] = {"name", "namespace", "uid"}; /* of another uid: 409 */
    struct wire_value *v = wire_value_new_object(arena), *metadata = wire_value_new_object(arena);
    copy_into(arena, v, object, "apiVersion");
    copy_into(arena, v, object, "kind");
    for (size_t i = 0; i < A_ARRAY_SIZE(names); i++)
        copy_into(arena, metadata, wire_value_get(object, "metadata"), names[i]);
    wire_value_set(arena, v, "metadata", metadata);
    wire_value_set(arena, v, "status", status);
    return v;
}

struct wire_value *kube_custom_finalizer(struct a_arena *arena, const struct wire_value *object, bool on)
{
    struct wire_value *v = wire_value_new_object(arena), *metadata = wire_value_new_object(arena),
                      *list = wire_value_new_array(arena);
    const struct wire_value *is = wire_value_get(object, "metadata");
    wire_value_foreach(f, wire_value_get(is, "finalizers"))
    {
        if (!a_view_is(wire_value_view(f), KUBE_FINALIZER))
            wire_value_append(list, wire_value_copy(arena, f));
    }
    if (on)
        wire_value_append(list, wire_value_new_string(arena, KUBE_FINALIZER));
    copy_into(arena, metadata, is, "uid");
    copy_into(arena, metadata, is, "resourceVersion");
    wire_value_set(arena, metadata, "finalizers", list);
    wire_value_set(arena, v, "metadata", metadata);
    return v;
}

_Static_assert(sizeof(struct kube_custom) <= KUBE_FIELDS_MAX && sizeof(struct kube_custom) % 8 == 0,
               "a row's fields are compared byte by byte");
