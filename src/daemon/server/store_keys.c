#include "daemon/server/store_keys.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "wire/value.h"

void d_store_key_app(char *out, const struct a_app_ref *ref)
{
    snprintf(out, STORE_KEY_MAX, "/%s/app/%s", ref->namespace.s, ref->name.s);
}

void d_store_key_revision(char *out, const struct a_app_ref *ref, uint64_t number)
{
    snprintf(out, STORE_KEY_MAX, "/%s/revision/%s/%010llu", ref->namespace.s, ref->name.s,
             (unsigned long long)number);
}

void d_store_key_unit(char *out, const struct d_app *app, const struct a_unit_name *unit)
{
    snprintf(out, STORE_KEY_MAX, "/%s/unit/%s/%s", app->ref.namespace.s, app->ref.name.s, unit->s);
}

void d_store_key_tombstone(char *out, const struct d_app *app)
{
    snprintf(out, STORE_KEY_MAX, "/%s/tombstone/%s", app->ref.namespace.s, app->uid.s);
}

void d_store_key_cluster(char *out, const struct a_name *name)
{
    snprintf(out, STORE_KEY_MAX, D_STORE_CLUSTERS "%s", name->s);
}

void d_store_key_pool(char *out, const struct a_name *name)
{
    snprintf(out, STORE_KEY_MAX, D_STORE_POOLS "%s", name->s);
}

void d_store_key_limits(char *out, const struct a_name *cluster)
{
    snprintf(out, STORE_KEY_MAX, D_STORE_LIMITS "%s", cluster->s);
}

void d_store_key_replay(char *out, const char *id)
{
    snprintf(out, STORE_KEY_MAX, D_STORE_REPLAYS "%s", id);
}

void d_store_key_success(char *out, const struct a_app_ref *ref, const char *which)
{
    snprintf(out, STORE_KEY_MAX, "/%s/success/%s/%s", ref->namespace.s, ref->name.s, which);
}

bool d_store_key_split(struct a_view key, struct a_name *ret_namespace, struct a_view *ret_kind,
                       struct a_view *ret_rest)
{
    struct a_view rest;
    if (!a_view_starts(key, "/"))
        return false;
    struct a_view namespace = a_view_split((struct a_view){key.ptr + 1, key.len - 1}, '/', &rest);
    *ret_kind = a_view_split(rest, '/', ret_rest);
    return a_name_parse(namespace, ret_namespace) && ret_kind->len > 0 && ret_rest->len > 0;
}

/* ---- units ---- */

static void capacity_put(struct a_arena *arena, struct wire_value *o, const struct a_capacity *c)
{
    wire_value_set_int(arena, o, "mcpu", (int64_t)c->mcpu);
    wire_value_set_int(arena, o, "memory", (int64_t)c->memory_bytes);
    wire_value_set_int(arena, o, "disk", (int64_t)c->disk_bytes);
}

static struct a_capacity capacity_get(const struct wire_value *o)
{
    return (struct a_capacity){(uint64_t)wire_value_int(wire_value_get(o, "mcpu"), 0),
                               (uint64_t)wire_value_int(wire_value_get(o, "memory"), 0),
                               (uint64_t)wire_value_int(wire_value_get(o, "disk"), 0)};
}

void d_unit_record_print(struct a_buf *b, const struct unit_record *record, const char *ray_token)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *doc = wire_value_new_object(&arena), *members = wire_value_new_array(&arena);
    wire_value_set_string(&arena, doc, "unit", record->unit.s);
    wire_value_set_int(&arena, doc, "revision", (int64_t)record->revision);
    wire_value_set_string(&arena, doc, "cluster", record->cluster.s);
    wire_value_set_string(&arena, doc, "rayToken", ray_token);
    for (size_t i = 0; i < record->n_members; i++) {
        const struct unit_record_member *m = &record->members[i];
        struct wire_value *o = wire_value_new_object(&arena);
        wire_value_set_string(&arena, o, "name", m->name.s);
        wire_value_set_bool(&arena, o, "head", m->head);
        wire_value_set_int(&arena, o, "attempt", m->attempt);
        wire_value_set_string(&arena, o, "node", m->node.s);
        wire_value_set_string(&arena, o, "cluster", m->cluster.s);
        wire_value_set_string(&arena, o, "zone", m->zone.s);
        wire_value_set_string(&arena, o, "host", m->host);
        capacity_put(&arena, o, &m->capacity);
        wire_value_append(members, o);
    }
    wire_value_set(&arena, doc, "members", members);
    wire_json_print(b, doc, 0);
}

static bool member_parse(const struct wire_value *o, struct unit_record_member *m)
{
    m->head = wire_value_bool(wire_value_get(o, "head"), false);
    m->attempt = (uint32_t)wire_value_int(wire_value_get(o, "attempt"), 0);
    m->capacity = capacity_get(o);
    snprintf(m->host, sizeof m->host, "%s", wire_value_string(wire_value_get(o, "host"), ""));
    if (!a_name_parse(wire_value_view(wire_value_get(o, "zone")), &m->zone))
        m->zone = (struct a_name){{0}};
    return a_name_parse(wire_value_view(wire_value_get(o, "name")), &m->name) &&
           a_name_parse(wire_value_view(wire_value_get(o, "cluster")), &m->cluster) &&
           a_node_id_parse(wire_value_view(wire_value_get(o, "node")), &m->node);
}

int d_unit_record_parse(struct a_arena *arena, struct a_view text, struct unit_record *ret,
                        const char **ret_token, struct a_error *reterr)
{
    struct wire_value *doc;
    struct unit_record r = {0};
    int rc = wire_json_parse(arena, text, "unit record", NULL, &doc, reterr);
    if (rc != 0)
        return rc;
    const struct wire_value *list = wire_value_get(doc, "members");
    size_t n = wire_value_count(list), i = 0;
    struct unit_record_member *members = a_arena_alloc(arena, (n + 1) * sizeof *members);
    bool ok = n > 0 && n <= UNIT_MEMBERS_MAX &&
              a_unit_name_parse(wire_value_view(wire_value_get(doc, "unit")), &r.unit) &&
              a_name_parse(wire_value_view(wire_value_get(doc, "cluster")), &r.cluster);
    wire_value_foreach(o, list)
    {
        ok = ok && member_parse(o, &members[i++]);
    }
    if (!ok)
        return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "unit record: a field is missing or malformed");
    r.revision = (uint64_t)wire_value_int(wire_value_get(doc, "revision"), 0);
    r.members = members;
    r.n_members = n;
    *ret_token = wire_value_string(wire_value_get(doc, "rayToken"), "");
    *ret = r;
    return 0;
}

/* ---- apps and revisions ---- */

static void digest_put(struct a_arena *arena, struct wire_value *o, const char *key, const struct a_digest *d)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(d, hex);
    wire_value_set_string(arena, o, key, hex);
}

void d_origin_print(struct a_arena *arena, struct wire_value *record, const struct d_origin *origin)
{
    struct wire_value *v = wire_value_new_object(arena);
    if (origin->cluster.s[0] == '\0')
        return;
    wire_value_set_string(arena, v, "cluster", origin->cluster.s);
    wire_value_set_string(arena, v, "uid", origin->uid);
    wire_value_set_int(arena, v, "generation", origin->generation);
    wire_value_set(arena, record, "origin", v);
}

struct d_origin d_origin_parse(const struct wire_value *record)
{
    const struct wire_value *v = wire_value_get(record, "origin");
    struct d_origin o = {.generation = wire_value_int(wire_value_get(v, "generation"), 0)};
    if (!a_name_parse(wire_value_view(wire_value_get(v, "cluster")), &o.cluster))
        return (struct d_origin){.generation = 0};
    snprintf(o.uid, sizeof o.uid, "%s", wire_value_string(wire_value_get(v, "uid"), ""));
    return o;
}

void d_app_entry_print(struct a_buf *b, const struct d_app_entry *e)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *doc = wire_value_new_object(&arena), *stores = wire_value_new_array(&arena);
    wire_value_set_string(&arena, doc, "uid", e->uid.s);
    wire_value_set_int(&arena, doc, "generation", (int64_t)e->generation);
    wire_value_set_int(&arena, doc, "created", (int64_t)e->created_unix_ms);
    wire_value_set_int(&arena, doc, "units", e->units);
    wire_value_set_int(&arena, doc, "revision", (int64_t)e->revision);
    wire_value_set_int(&arena, doc, "proven", (int64_t)e->proven);
    wire_value_set_int(&arena, doc, "epochBase", (int64_t)e->epoch_base);
    wire_value_set_bool(&arena, doc, "deleted", e->deleted);
    for (size_t i = 0; i < e->n_old_stores; i++)
        wire_value_append(stores, wire_value_new_string(&arena, e->old_stores[i].s));
    wire_value_set(&arena, doc, "oldStores", stores);
    d_origin_print(&arena, doc, &e->origin);
    wire_json_print(b, doc, 0);
}

static uint64_t number_of(const struct wire_value *doc, const char *key)
{
    int64_t n = wire_value_int(wire_value_get(doc, key), 0);
    return n > 0 ? (uint64_t)n : 0;
}

int d_app_entry_parse(struct a_arena *arena, struct a_view text, struct d_app_entry *ret,
                      struct a_error *reterr)
{
    struct wire_value *doc;
    int rc = wire_json_parse(arena, text, "app entry", NULL, &doc, reterr);
    if (rc != 0)
        return rc;
    struct d_app_entry e = {.generation = number_of(doc, "generation"),
                            .created_unix_ms = number_of(doc, "created"),
                            .units = (uint32_t)number_of(doc, "units"),
                            .revision = number_of(doc, "revision"),
                            .proven = number_of(doc, "proven"),
                            .epoch_base = number_of(doc, "epochBase"),
                            .deleted = wire_value_bool(wire_value_get(doc, "deleted"), false),
                            .origin = d_origin_parse(doc)};
    const struct wire_value *stores = wire_value_get(doc, "oldStores");
    struct a_uuid *old = a_arena_alloc(arena, (wire_value_count(stores) + 1) * sizeof *old);
    bool ok = a_uuid_parse(wire_value_view(wire_value_get(doc, "uid")), &e.uid);
    wire_value_foreach(v, stores)
    {
        ok = ok && a_uuid_parse(wire_value_view(v), &old[e.n_old_stores++]);
    }
    if (!ok)
        return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "app entry: a field is missing or malformed");
    e.old_stores = old;
    *ret = e;
    return 0;
}

void d_revision_print(struct a_buf *b, const struct d_revision *r)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *doc = wire_value_new_object(&arena);
    wire_value_set_int(&arena, doc, "number", (int64_t)r->number);
    wire_value_set_int(&arena, doc, "created", (int64_t)r->created_unix_ms);
    wire_value_set_string(&arena, doc, "cause", r->cause);
    wire_value_set_string(&arena, doc, "text", r->text);
    digest_put(&arena, doc, "digest", &r->digest);
    wire_json_print(b, doc, 0);
}

int d_revision_parse(struct a_view text, struct d_revision **ret, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *doc;
    int rc = wire_json_parse(&arena, text, "revision", NULL, &doc, reterr);
    if (rc != 0)
        return rc;
    struct d_revision *r =
        d_revision_read(wire_value_view(wire_value_get(doc, "text")), number_of(doc, "number"), reterr);
    if (r == NULL)
        return -EINVAL;
    r->created_unix_ms = number_of(doc, "created");
    r->cause = a_strdup(wire_value_string(wire_value_get(doc, "cause"), ""));
    *ret = r;
    return 0;
}
