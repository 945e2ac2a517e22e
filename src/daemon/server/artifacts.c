/* Artifacts: files named by the digest of their bytes, and names for them. A name@version is immutable. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "wire/value.h"

char *d_artifact_path(const struct server *s, const struct a_digest *digest)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(digest, hex);
    return a_asprintf("%s/artifacts/sha256/%s", s->options.data, hex);
}

static struct d_artifact *artifact_add(struct server *s, const struct a_name *namespace, struct a_view name,
                                       struct a_view version)
{
    struct d_artifact *a = a_new(struct d_artifact);
    a->namespace = *namespace;
    a->name = a_view_dup(name);
    a->version = a_view_dup(version);
    a->key = a_asprintf("%s/%s@%s", namespace->s, a->name, a->version);
    a_map_put_str(&s->artifacts, &a->by_name, a->key);
    return a;
}

static void artifact_free(struct server *s, struct d_artifact *a)
{
    a_map_remove(&s->artifacts, &a->by_name);
    a_free(a->key);
    a_free(a->name);
    a_free(a->version);
    a_free(a);
}

static struct d_artifact *artifact_find(const struct server *s, const char *key)
{
    struct a_map_link *l = a_map_get_str(&s->artifacts, key);
    return l != NULL ? a_map_entry(l, struct d_artifact, by_name) : NULL;
}

/* ---- start ---- */

struct load {
    struct server *server;
    struct a_error *reterr;
    int rc;
};

static bool each(void *ctx, const struct store_entry *entry)
{
    struct load *l = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_name namespace;
    struct a_view kind, rest, version;
    struct wire_value *doc;
    struct a_digest digest;
    if (!d_store_key_split(entry->key, &namespace, &kind, &rest) || !a_view_is(kind, "artifact"))
        return true;
    struct a_view name = a_view_split(rest, '@', &version);
    l->rc = wire_json_parse(&arena, entry->value, "artifact", NULL, &doc, l->reterr);
    if (l->rc == 0 && !a_digest_parse(wire_value_view(wire_value_get(doc, "digest")), &digest))
        l->rc = a_fail(l->reterr, -EINVAL, A_CODE_STORE_CORRUPT, "artifact " A_VIEW_FMT ": no digest",
                       A_VIEW_ARG(rest));
    if (l->rc != 0)
        return false;
    struct d_artifact *a = artifact_add(l->server, &namespace, name, version);
    a->digest = digest;
    a->bytes = (uint64_t)wire_value_int(wire_value_get(doc, "bytes"), 0);
    a->created_unix_ms = (uint64_t)wire_value_int(wire_value_get(doc, "created"), 0);
    a->store_revision = entry->revision;
    return true;
}

int d_artifacts_load(struct server *s, struct a_error *reterr)
{
    struct load l = {.server = s, .reterr = reterr};
    A_AUTOFREE char *files = a_asprintf("%s/artifacts/sha256", s->options.data);
    A_AUTOFREE char *uploads = a_asprintf("%s/artifacts/tmp", s->options.data);
    int rc = sys_dir_remove(uploads, reterr); /* what a process before this one did not finish */
    if (rc == 0)
        rc = sys_dir_make(uploads, 0700, reterr);
    if (rc == 0)
        rc = sys_dir_make(files, 0700, reterr);
    if (rc == 0)
        rc = store_scan(s->store, "/", each, &l, reterr);
    return rc != 0 ? rc : l.rc;
}

void d_artifacts_free(struct server *s)
{
    a_map_foreach (l, &s->artifacts) {
        artifact_free(s, a_map_entry(l, struct d_artifact, by_name));
    }
    a_map_deinit(&s->artifacts);
}

/* ---- names ---- */

static const struct d_artifact *newest(const struct server *s, const struct a_name *namespace,
                                       const char *name)
{
    const struct d_artifact *best = NULL;
    a_map_foreach (l, &s->artifacts) {
        const struct d_artifact *a = a_map_entry(l, struct d_artifact, by_name);
        if (strcmp(a->namespace.s, namespace->s) == 0 && strcmp(a->name, name) == 0 &&
            (best == NULL || a->created_unix_ms > best->created_unix_ms))
            best = a;
    }
    return best;
}

bool d_artifact_resolve(const struct server *s, const struct a_name *namespace, const char *source,
                        struct a_digest *ret)
{
    if (a_view_starts(a_view_str(source), "sha256:")) {
        struct a_digest digest;
        if (!a_digest_parse(a_view_str(source), &digest))
            return false;
        A_AUTOFREE char *path = d_artifact_path(s, &digest);
        if (!sys_file_exists(path))
            return false;
        *ret = digest;
        return true;
    }
    A_AUTOFREE char *key = a_asprintf("%s/%s", namespace->s, source);
    const struct d_artifact *a =
        strchr(source, '@') != NULL ? artifact_find(s, key) : newest(s, namespace, source);
    if (a == NULL)
        return false;
    *ret = a->digest;
    return true;
}

struct wire_value *d_app_check(const struct server *s, struct wire_problems *p, const struct wire_value *doc,
                               struct unit_source **ret, size_t *ret_n)
{
    struct wire_value *app = NULL;
    struct a_name namespace;
    unit_app_check(p, doc, &app);
    if (app == NULL || !a_name_parse(wire_value_view(wire_value_path(app, "metadata.namespace")), &namespace))
        return NULL;
    unit_app_sources(p, app, ret, ret_n);
    for (size_t i = 0; i < *ret_n; i++) {
        struct unit_source *source = &(*ret)[i];
        struct a_digest digest;
        char hex[A_DIGEST_HEX + 1];
        if (!d_artifact_resolve(s, &namespace, source->source, &digest)) {
            wire_problem_add(p, A_CODE_APP_INVALID, source->field, NULL,
                             "astra artifact put FILE --name NAME@VERSION puts it there",
                             "no artifact \"%s\" in namespace %s", source->source, namespace.s);
            continue;
        }
        a_digest_hex(&digest, hex);
        snprintf(source->digest, sizeof source->digest, "sha256:%s", hex);
    }
    return p->n_errors == 0 ? app : NULL;
}

/* ---- putting ---- */

struct put {
    struct server *server;
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    struct a_buf value;
    struct a_name namespace;
    char *name, *version;
    struct a_digest digest;
    uint64_t bytes, created_unix_ms;
    void (*done)(void *ctx, const struct a_error *error);
    void *ctx;
};

static void put_free(struct put *p)
{
    a_buf_deinit(&p->value);
    a_free(p->name);
    a_free(p->version);
    a_free(p);
}

static void put_done(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct put *p = ctx;
    A_AUTOFREE char *key = a_asprintf("%s/%s@%s", p->namespace.s, p->name, p->version);
    if (rc == 0 && artifact_find(p->server, key) == NULL) {
        struct d_artifact *a =
            artifact_add(p->server, &p->namespace, a_view_str(p->name), a_view_str(p->version));
        a->digest = p->digest;
        a->bytes = p->bytes;
        a->created_unix_ms = p->created_unix_ms;
        a->store_revision = revision;
    }
    p->done(p->ctx, rc == 0 ? NULL : error);
    put_free(p);
}

void d_artifact_put(struct server *s, const struct a_name *namespace, const char *name, const char *version,
                    const struct a_digest *digest, uint64_t bytes,
                    void (*done)(void *ctx, const struct a_error *error), void *ctx)
{
    A_AUTOFREE char *key = a_asprintf("%s/%s@%s", namespace->s, name, version);
    const struct d_artifact *known = artifact_find(s, key);
    char hex[A_DIGEST_HEX + 1];
    if (known != NULL) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        bool same = a_digest_equal(&known->digest, digest);
        if (!same)
            a_error_set(&e, A_CODE_CONFLICT,
                        "artifact %s@%s exists with other contents: versions are immutable, use a new one",
                        name, version);
        done(ctx, same ? NULL : &e);
        return;
    }
    struct put *p = a_new(struct put);
    *p = (struct put){.server = s,
                      .namespace = *namespace,
                      .name = a_strdup(name),
                      .version = a_strdup(version),
                      .digest = *digest,
                      .bytes = bytes,
                      .created_unix_ms = sys_clock_wall_ms(),
                      .done = done,
                      .ctx = ctx};
    a_digest_hex(digest, hex);
    snprintf(p->key, sizeof p->key, "/%s/artifact/%s@%s", namespace->s, name, version);
    a_buf_addf(&p->value, "{\"digest\":\"%s\",\"bytes\":%llu,\"created\":%llu}", hex,
               (unsigned long long)bytes, (unsigned long long)p->created_unix_ms);
    p->write = (struct store_write){a_view_str(p->key), a_buf_view(&p->value), STORE_ABSENT};
    p->txn = (struct store_txn){.writes = &p->write, .n_writes = 1, .done = put_done, .ctx = p};
    store_submit(s->store, &p->txn);
}
