/* What there is, what there should be, and the few writes between the two. */
#include "kube/expose.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/macro.h"
#include "base/map.h"
#include "base/text.h"
#include "kube/expose_layout.h"
#include "kube/pod.h"

#define FIRST_BACK_OFF_MS 1000

/* A Service or a slice that is there, or should be. */
struct object {
    struct a_map_link link; /* of kube_expose.objects */
    char *key;              /* "s" or "e" and its name */
    char *app;              /* its Service's name */
    size_t at;              /* slices: which of the layout */
    bool is_slice, wanted, seen;
    bool there;    /* on the server, and ours */
    bool free;     /* a Service: nobody had the name when it was looked for */
    bool stranger; /* a Service: somebody else has the name */
    bool busy;     /* a request is under way */
    char *uid;     /* of what is there; NULL = not known */
    uint64_t have; /* hash of what was applied, or covers what is there; 0 = neither */
    uint64_t want; /* hash of what should be there */
    uint64_t due_ms, back_off_ms;
};

struct kube_expose {
    char *installation, *namespace;
    struct a_map objects;
    struct kube_layout layout;
    struct a_arena arena; /* of the update */
    struct kube_expose_action actions[KUBE_EXPOSE_FLIGHT];
    struct a_name *apps;
    struct kube_gateway *gateways;
    size_t n_apps, n_gateways;
    bool wants, listed, listing;
    uint64_t list_ms, list_back_off_ms, next_ms, now_ms;
    size_t flight;
    int status;
    char message[256];
};

struct kube_expose *kube_expose_new(const char *installation, const char *namespace)
{
    struct kube_expose *x = a_new(struct kube_expose);
    x->installation = a_strdup(installation);
    x->namespace = a_strdup(namespace);
    return x;
}

static void object_free(struct kube_expose *x, struct object *o)
{
    a_map_remove(&x->objects, &o->link);
    a_free(o->key);
    a_free(o->app);
    a_free(o->uid);
    a_free(o);
}

void kube_expose_free(struct kube_expose *x)
{
    if (x == NULL)
        return;
    a_map_foreach (l, &x->objects)
        object_free(x, a_map_entry(l, struct object, link));
    a_map_deinit(&x->objects);
    a_arena_deinit(&x->arena);
    a_free(x->apps);
    a_free(x->gateways);
    a_free(x->installation);
    a_free(x->namespace);
    a_free(x);
}

const char *kube_expose_selector(struct a_arena *arena, const char *installation)
{
    return a_arena_printf(arena, KUBE_LABEL_INSTALLATION "=%s", installation);
}

/* ---- objects ---- */

static struct object *object_find(const struct kube_expose *x, const char *key)
{
    struct a_map_link *l = a_map_get_str(&x->objects, key);
    return l != NULL ? a_map_entry(l, struct object, link) : NULL;
}

static struct object *object_get(struct kube_expose *x, bool is_slice, const char *name)
{
    A_AUTOFREE char *key = a_asprintf("%c%s", is_slice ? 'e' : 's', name);
    struct object *o = object_find(x, key);
    if (o != NULL)
        return o;
    o = a_new(struct object);
    o->is_slice = is_slice;
    o->key = a_steal(&key);
    a_map_put_str(&x->objects, &o->link, o->key);
    return o;
}

static const struct object *service_of(const struct kube_expose *x, const struct object *slice)
{
    char key[80]; /* a label's value has at most 63 characters */
    snprintf(key, sizeof key, "s%s", slice->app);
    return object_find(x, key);
}

static uint16_t service_port(const struct kube_expose *x)
{
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++)
        if (x->layout.slices[i].n > 0)
            return x->layout.slices[i].port;
    return 0;
}

static struct wire_value *object_make(const struct kube_expose *x, const struct object *o,
                                      struct a_arena *arena)
{
    if (o->is_slice)
        return kube_expose_slice_make(arena, x->installation, x->namespace, o->app, o->key + 1,
                                      &x->layout.slices[o->at]);
    return kube_expose_service_make(arena, x->installation, x->namespace, o->app, service_port(x));
}

static uint64_t object_hash(const struct kube_expose *x, const struct object *o)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    wire_json_print(&text, object_make(x, o, &arena), 0);
    return a_hash_bytes(0, text.ptr, text.len) | 1;
}

/* "ocr-astra-3" is the third slice of "ocr". */
static bool slice_name_split(const char *name, const char *app, size_t *ret_at)
{
    size_t len = strlen(app);
    uint64_t at;
    static const char middle[] = "-astra-";
    if (strncmp(name, app, len) != 0 || strncmp(name + len, middle, sizeof middle - 1) != 0 ||
        !a_text_u64(a_view_str(name + len + sizeof middle - 1), &at) || at >= KUBE_SLICES_MAX)
        return false;
    *ret_at = (size_t)at;
    return true;
}

/* ---- what should be there ---- */

static void object_want(struct kube_expose *x, bool is_slice, const char *name, const char *app, size_t at)
{
    struct object *o = object_get(x, is_slice, name);
    if (o->app == NULL)
        o->app = a_strdup(app);
    o->at = at;
    o->wanted = true;
    o->want = object_hash(x, o);
}

static void app_want(struct kube_expose *x, const char *app)
{
    char name[A_NAME_MAX + 16];
    object_want(x, false, app, app, 0);
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++) {
        if (x->layout.slices[i].n == 0)
            continue;
        snprintf(name, sizeof name, "%s-astra-%zu", app, i);
        object_want(x, true, name, app, i);
    }
}

static void objects_plan(struct kube_expose *x)
{
    kube_layout_set(&x->layout, x->gateways, x->n_gateways);
    a_map_foreach (l, &x->objects)
        a_map_entry(l, struct object, link)->wanted = false;
    for (size_t i = 0; i < x->n_apps && service_port(x) != 0; i++)
        app_want(x, x->apps[i].s);
    a_map_foreach (l, &x->objects) {
        struct object *o = a_map_entry(l, struct object, link);
        if (!o->wanted && !o->there && !o->busy)
            object_free(x, o);
    }
}

static void on_want(struct kube_expose *x, const struct kube_expose_event *e)
{
    a_free(x->apps);
    x->n_apps = e->want.n_apps;
    x->apps = a_alloc_array(x->n_apps + 1, sizeof *x->apps);
    if (x->n_apps > 0)
        memcpy(x->apps, e->want.apps, x->n_apps * sizeof *x->apps);
    a_free(x->gateways);
    x->n_gateways = e->want.n_gateways;
    x->gateways = a_alloc_array(x->n_gateways + 1, sizeof *x->gateways);
    if (x->n_gateways > 0)
        memcpy(x->gateways, e->want.gateways, x->n_gateways * sizeof *x->gateways);
    x->wants = true;
    if (x->listed)
        objects_plan(x);
}

/* ---- what is there ---- */

static bool is_ours(const struct kube_expose *x, const struct wire_value *object)
{
    const struct wire_value *labels = wire_value_path(object, "metadata.labels");
    return strcmp(wire_value_string(wire_value_get(labels, KUBE_LABEL_INSTALLATION), ""), x->installation) ==
           0;
}

static void uid_take(struct object *o, const struct wire_value *object)
{
    const char *uid = wire_value_string(wire_value_path(object, "metadata.uid"), "");
    a_free(o->uid);
    o->uid = uid[0] != '\0' ? a_strdup(uid) : NULL;
}

static void object_seen(struct kube_expose *x, bool is_slice, const struct wire_value *v)
{
    const char *name = wire_value_string(wire_value_path(v, "metadata.name"), "");
    const struct wire_value *labels = wire_value_path(v, "metadata.labels");
    const char *app = is_slice ? wire_value_string(wire_value_get(labels, KUBE_LABEL_SERVICE), "") : name;
    if (name[0] == '\0' || !is_ours(x, v))
        return;
    struct object *o = object_get(x, is_slice, name);
    if (o->app == NULL)
        o->app = a_strdup(app);
    uid_take(o, v);
    o->there = o->seen = true;
    o->stranger = false;
    if (is_slice && !x->listed && slice_name_split(name, app, &o->at))
        kube_layout_recall(&x->layout, o->at, v);
}

/* After the plan: what is there already as it should be. */
static void object_compare(struct kube_expose *x, bool is_slice, const struct wire_value *v)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_AUTOFREE char *key =
        a_asprintf("%c%s", is_slice ? 'e' : 's', wire_value_string(wire_value_path(v, "metadata.name"), ""));
    struct object *o = object_find(x, key);
    if (o != NULL && !o->busy)
        o->have = o->wanted && kube_object_covers(v, object_make(x, o, &arena)) ? o->want : 0;
}

static void refusal_keep(struct kube_expose *x, const struct kube_expose_event *e)
{
    x->status = e->status == 0 ? -1 : e->status;
    snprintf(x->message, sizeof x->message, A_VIEW_FMT, A_VIEW_ARG(e->message));
}

static uint64_t back_off(uint64_t *back_off_ms, const struct kube_expose_event *e)
{
    *back_off_ms =
        A_MIN(A_MAX(*back_off_ms * 2, (uint64_t)FIRST_BACK_OFF_MS), (uint64_t)KUBE_EXPOSE_BACK_OFF_MS);
    return A_MAX(*back_off_ms, A_MIN(e->retry_after_ms, (uint64_t)KUBE_EXPOSE_BACK_OFF_MS));
}

static void forget(struct object *o)
{
    o->there = o->free = false;
    o->have = 0;
}

/* What was there and is not in the list is not there: but for what we are writing at the moment. */
static void on_listed(struct kube_expose *x, const struct kube_expose_event *e)
{
    x->listing = false;
    x->flight--;
    if (e->status != 200) {
        refusal_keep(x, e);
        x->list_ms = x->now_ms + back_off(&x->list_back_off_ms, e);
        return;
    }
    a_map_foreach (l, &x->objects)
        a_map_entry(l, struct object, link)->seen = false;
    wire_value_foreach(v, wire_value_get(e->services, "items")) object_seen(x, false, v);
    wire_value_foreach(v, wire_value_get(e->slices, "items")) object_seen(x, true, v);
    a_map_foreach (l, &x->objects) {
        struct object *o = a_map_entry(l, struct object, link);
        if (!o->seen && !o->busy)
            forget(o);
    }
    x->listed = true;
    x->status = 0;
    x->list_back_off_ms = 0;
    x->list_ms = x->now_ms + KUBE_EXPOSE_LIST_MS;
    objects_plan(x);
    wire_value_foreach(v, wire_value_get(e->services, "items")) object_compare(x, false, v);
    wire_value_foreach(v, wire_value_get(e->slices, "items")) object_compare(x, true, v);
}

/* ---- results ---- */

static void on_looked(struct kube_expose *x, struct object *o, const struct kube_expose_event *e)
{
    o->free = e->status == 404;
    o->stranger = e->status == 200 && !is_ours(x, e->object);
    if (o->stranger)
        o->due_ms = x->now_ms + KUBE_EXPOSE_STRANGER_MS;
    if (e->status == 200 && !o->stranger) { /* made since the list */
        o->there = true;
        uid_take(o, e->object);
    }
}

static void object_done(struct object *o, bool applied, const struct wire_value *object)
{
    o->back_off_ms = 0;
    o->there = applied;
    o->free = false;
    if (!applied)
        o->have = 0;
    uid_take(o, object);
}

/* What was under way carries its verb in what it was: a LOOK is of a Service that is neither there nor free,
 * a DELETE of what is not wanted when it was sent. */
static void on_result(struct kube_expose *x, const struct kube_expose_event *e)
{
    struct object *o = object_find(x, e->key + 1);
    enum kube_expose_verb verb = (enum kube_expose_verb)(e->key[0] - '0');
    bool good = e->status / 100 == 2 || (e->status == 404 && verb != KUBE_EXPOSE_APPLY);
    x->flight--;
    a_assert(o != NULL && o->busy);
    o->busy = false;
    if (!good) {
        refusal_keep(x, e);
        o->due_ms = x->now_ms + back_off(&o->back_off_ms, e);
        o->have = 0; /* whether it was done is not known */
        if (verb == KUBE_EXPOSE_DELETE && e->status == 409)
            x->list_ms = x->now_ms; /* another object of that name: whose is it? */
    } else if (verb == KUBE_EXPOSE_LOOK) {
        on_looked(x, o, e);
    } else {
        x->status = 0;
        object_done(o, verb == KUBE_EXPOSE_APPLY, e->object);
    }
    if (!o->wanted && !o->there)
        object_free(x, o);
}

/* ---- actions ---- */

static bool slices_are_gone(const struct kube_expose *x, const struct object *service)
{
    char key[A_NAME_MAX + 16];
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++) {
        snprintf(key, sizeof key, "e%s-astra-%zu", service->app, i);
        const struct object *o = object_find(x, key);
        if (o != NULL && o->there)
            return false;
    }
    return true;
}

/* What is to be done with the object, if anything: E1, E2, E5. */
static bool object_next(const struct kube_expose *x, const struct object *o, enum kube_expose_verb *ret)
{
    const struct object *service = o->is_slice ? service_of(x, o) : NULL;
    bool barred = o->is_slice && (service == NULL || service->stranger);
    if (o->busy)
        return false;
    if (o->there && (!o->wanted || barred)) {
        *ret = KUBE_EXPOSE_DELETE;
        return o->uid != NULL && (o->is_slice || slices_are_gone(x, o));
    }
    if (!o->wanted || barred || o->have == o->want)
        return false;
    *ret = !o->is_slice && !o->there && !o->free ? KUBE_EXPOSE_LOOK : KUBE_EXPOSE_APPLY;
    return !o->is_slice || (service->there && service->have == service->want);
}

static void action_add(struct kube_expose *x, struct object *o, enum kube_expose_verb verb,
                       struct kube_expose_update *ret)
{
    struct kube_expose_action *a = &x->actions[ret->n_actions++];
    *a = (struct kube_expose_action){.verb = verb};
    x->flight++;
    x->next_ms = x->now_ms + KUBE_EXPOSE_APART_MS;
    if (verb == KUBE_EXPOSE_LIST) {
        x->listing = true;
        return;
    }
    o->busy = true;
    a->key = a_arena_printf(&x->arena, "%d%s", (int)verb, o->key);
    a->is_slice = o->is_slice;
    a->name = a_arena_strdup(&x->arena, o->key + 1);
    a->uid = o->uid != NULL ? a_arena_strdup(&x->arena, o->uid) : NULL;
    if (verb == KUBE_EXPOSE_APPLY) {
        a->object = object_make(x, o, &x->arena);
        o->have = o->want; /* a want that changes meanwhile differs from it */
    }
}

/* One a step: the pace is one in KUBE_EXPOSE_APART_MS. */
static void on_tick(struct kube_expose *x, struct kube_expose_update *ret)
{
    enum kube_expose_verb verb;
    if (!x->wants || x->flight >= KUBE_EXPOSE_FLIGHT || x->now_ms < x->next_ms)
        return;
    if (!x->listing && x->now_ms >= x->list_ms) {
        action_add(x, NULL, KUBE_EXPOSE_LIST, ret);
        return;
    }
    if (!x->listed)
        return;
    a_map_foreach (l, &x->objects) {
        struct object *o = a_map_entry(l, struct object, link);
        if (o->due_ms <= x->now_ms && object_next(x, o, &verb)) {
            action_add(x, o, verb, ret);
            return;
        }
    }
}

void kube_expose_step(struct kube_expose *x, const struct kube_expose_event *e,
                      struct kube_expose_update *ret)
{
    *ret = (struct kube_expose_update){.actions = x->actions};
    a_arena_reset(&x->arena);
    x->now_ms = e->now_ms;
    switch (e->type) {
    case KUBE_EXPOSE_TICK:
        on_tick(x, ret);
        break;
    case KUBE_EXPOSE_WANT:
        on_want(x, e);
        break;
    case KUBE_EXPOSE_LISTED:
        on_listed(x, e);
        break;
    case KUBE_EXPOSE_RESULT:
        on_result(x, e);
        break;
    }
}

uint64_t kube_expose_deadline(const struct kube_expose *x)
{
    uint64_t at = x->listing ? A_NEVER : x->list_ms;
    enum kube_expose_verb verb;
    if (!x->wants || x->flight >= KUBE_EXPOSE_FLIGHT)
        return A_NEVER;
    for (struct a_map_link *l = x->listed ? a_map_next(&x->objects, NULL) : NULL;
         l != NULL && at > x->next_ms; l = a_map_next(&x->objects, l)) {
        const struct object *o = a_map_entry(l, struct object, link);
        if (object_next(x, o, &verb))
            at = A_MIN(at, o->due_ms);
    }
    return at == A_NEVER ? A_NEVER : A_MAX(at, x->next_ms);
}

struct kube_expose_status kube_expose_status(const struct kube_expose *x)
{
    struct kube_expose_status s = {
        .listed = x->listed, .settled = x->listed, .status = x->status, .message = x->message};
    a_map_foreach (l, &x->objects) {
        const struct object *o = a_map_entry(l, struct object, link);
        s.objects += o->there;
        s.strangers += o->stranger;
        if (o->stranger)
            s.stranger = o->key + 1;
        const struct object *service = o->is_slice ? service_of(x, o) : o;
        bool barred = service == NULL || service->stranger;
        s.settled =
            s.settled && ((barred && !o->there) || (o->there == o->wanted && o->have == o->want && !o->busy));
    }
    return s;
}
