/* Revisions in memory. A revision is its text: everything else is read from it, so that one that came back
 * from the store, or from an agent after the store was lost, is the same as on the day it was made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/clock.h"
#include "sys/sha256.h"

static const char *const app_kind = "App";
static const char *const app_version = "astra-ray.dev/v1alpha1";

static void member_add(struct d_revision *r, const char *name, bool head, const struct a_capacity *capacity)
{
    struct unit_member_spec *m = &r->members[r->n_members++];
    bool ok = a_name_parse(a_view_str(name), &m->name);
    a_assert(ok && r->n_members <= UNIT_MEMBERS_MAX);
    m->head = head;
    m->capacity = *capacity;
}

/* The head, then GROUP-INDEX of each group. */
static void members_make(struct d_revision *r)
{
    r->members = a_arena_alloc(&r->arena, UNIT_MEMBERS_MAX * sizeof *r->members);
    member_add(r, "head", true, &r->read.head);
    for (size_t i = 0; i < r->read.n_groups; i++) {
        const struct unit_group *g = &r->read.groups[i];
        for (uint32_t k = 0; k < g->count; k++) {
            char name[A_NAME_MAX + 12];
            snprintf(name, sizeof name, "%s-%u", g->name.s, k);
            member_add(r, name, false, &g->capacity);
        }
    }
}

/* The completed app inside a revision's text: {app: {namespace, name}, spec} in the form that unit_app_read()
 * takes. */
static struct wire_value *app_of(struct a_arena *arena, const struct wire_value *doc)
{
    struct wire_value *app = wire_value_new_object(arena), *metadata = wire_value_new_object(arena);
    wire_value_set_string(arena, app, "apiVersion", app_version);
    wire_value_set_string(arena, app, "kind", app_kind);
    wire_value_set_view(arena, metadata, "name", wire_value_view(wire_value_path(doc, "app.name")));
    wire_value_set_view(arena, metadata, "namespace", wire_value_view(wire_value_path(doc, "app.namespace")));
    wire_value_set(arena, app, "metadata", metadata);
    wire_value_set(arena, app, "spec", wire_value_copy(arena, wire_value_get(doc, "spec")));
    return app;
}

static void keys_make(struct d_revision *r, const struct wire_value *doc)
{
    A_BUF_AUTO struct a_buf replace = {0}, serve = {0};
    unit_revision_keys(doc, &replace, &serve);
    sys_sha256_bytes(replace.ptr, replace.len, &r->replace);
    sys_sha256_bytes(serve.ptr, serve.len, &r->serve);
    sys_sha256_bytes(r->text, strlen(r->text), &r->digest);
}

struct d_revision *d_revision_read(struct a_view text, uint64_t number, struct a_error *reterr)
{
    struct d_revision *r = a_new(struct d_revision);
    struct wire_value *doc, *app = NULL;
    struct wire_problems problems = {.arena = &r->arena};
    if (wire_json_parse(&r->arena, text, "revision", NULL, &doc, reterr) != 0) {
        d_revision_free(r);
        return NULL;
    }
    unit_app_check(&problems, app_of(&r->arena, doc), &app);
    if (app == NULL) {
        a_error_set(reterr, A_CODE_STORE_CORRUPT, "revision %llu: %s: %s", (unsigned long long)number,
                    problems.first->field, problems.first->message);
        d_revision_free(r);
        return NULL;
    }
    A_BUF_AUTO struct a_buf json = {0};
    wire_json_print(&json, app, 0);
    r->number = number;
    r->text = a_view_dup(text);
    r->app_json = a_buf_steal(&json);
    unit_app_read(&r->arena, app, &r->read);
    keys_make(r, doc);
    members_make(r);
    return r;
}

struct d_revision *d_revision_new(const struct wire_value *app, const struct a_uuid *uid, uint64_t number,
                                  const struct unit_source *sources, size_t n_sources, const char *cause)
{
    A_BUF_AUTO struct a_buf text = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    unit_revision_make(app, uid, number, sources, n_sources, &text);
    struct d_revision *r = d_revision_read(a_buf_view(&text), number, &e);
    a_assert(r != NULL); /* made from an app that was checked a moment ago */
    r->created_unix_ms = sys_clock_wall_ms();
    r->cause = a_strdup(cause);
    return r;
}

void d_revision_free(struct d_revision *r)
{
    if (r == NULL)
        return;
    a_list_remove(&r->link);
    a_arena_deinit(&r->arena);
    a_free(r->text);
    a_free(r->app_json);
    a_free(r->cause);
    a_free(r);
}

struct d_revision *d_app_revision(const struct d_app *app, uint64_t number)
{
    a_list_foreach (l, (struct a_list *)(uintptr_t)&app->revisions) {
        struct d_revision *r = a_list_entry(l, struct d_revision, link);
        if (r->number == number)
            return r;
    }
    return NULL;
}

const char *d_revision_text(const struct server *s, const struct a_digest *digest)
{
    struct a_map_link *l = a_map_get(&s->texts, digest->bytes, sizeof digest->bytes);
    return l != NULL ? a_map_entry(l, struct d_revision, by_digest)->text : NULL;
}
