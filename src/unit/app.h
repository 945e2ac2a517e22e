/* The App object: what a user writes, checked and completed. docs/app.md has the fields; unit/app_schema.h
 * the table.
 *
 * An app passes three stages: the short form (command line only) is expanded to the long form; the long form
 * is checked, every error at once with its line, and completed with defaults; what the fleet needs is read
 * out of the completed form. Trees and texts live in the caller's arena. */
#ifndef UNIT_APP_H
#define UNIT_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "types/capacity.h"
#include "types/id.h"
#include "unit/app_schema.h"
#include "wire/value.h"

/* Short form to long form: `environment: FILE`, `code: DIR`, `models: {det: SOURCE}`, `route: {...}`. What is
 * not a short form is left alone. Positions are kept. */
struct wire_value *unit_app_expand(struct a_arena *arena, const struct wire_value *doc);

/* Checks the long form; *ret is a new tree with every default filled in, written only when no error was
 * found. */
void unit_app_check(struct wire_problems *p, const struct wire_value *doc, struct wire_value **ret);

/* ---- reading a completed app ---- */

#define UNIT_GROUPS_MAX 20
#define UNIT_ROUTES_MAX 100
#define UNIT_ARCHS_MAX 16

/* One route with its defaults resolved against the Serve applications. */
struct unit_route {
    const char *application, *host, *prefix;
    const char *rewrite; /* NULL = the path is sent unchanged */
    const char *policy;
    uint64_t timeout_ms, idle_ms, wait_ms, max_body, retry_body;
    uint32_t max_ongoing; /* of the ingress deployment when the config says so, else Ray's default of 5; a
                             head's word on it counts more */
    bool idempotent;
};

struct unit_group {
    struct a_name name;
    uint32_t count;
    struct a_capacity capacity;
};

/* A failure domain; the numbers are those of starlink/sched, to which the server hands them on. */
enum unit_domain { UNIT_DOMAIN_NONE, UNIT_DOMAIN_CLUSTER, UNIT_DOMAIN_ZONE, UNIT_DOMAIN_HOST };
#define UNIT_DOMAINS 3

struct unit_app {
    struct a_app_ref ref;
    uint32_t units;
    struct a_capacity head;
    bool head_serves;
    uint64_t head_timeout_ms;
    struct unit_group groups[UNIT_GROUPS_MAX];
    size_t n_groups;
    uint32_t max_surge, max_unavailable, history;
    uint64_t bake_ms, progress_deadline_ms;
    bool undo;
    uint64_t drain_requests_ms, drain_streams_ms;
    const char *archs[UNIT_ARCHS_MAX]; /* processors that an environment fits; n_archs 0 = any */
    size_t n_archs;
    enum unit_domain spread[UNIT_DOMAINS]; /* the one that counts most first; NONE ends it */
    struct unit_route *routes;             /* in the arena */
    size_t n_routes;
};

/* `app` is a tree that unit_app_check() completed; `ret` points into it and the arena. */
void unit_app_read(struct a_arena *arena, const struct wire_value *app, struct unit_app *ret);

/* ---- differences and revisions ---- */

struct unit_change {
    struct unit_change *next;
    const char *field;
    enum unit_class class;
    const struct wire_value *before, *after; /* NULL: the field was added or removed */
};

/* What changes from one completed app to another, in the order of the schema; NULL when nothing does.
 * `before` may be NULL (a new app): everything is added. metadata.uid, generation, resourceVersion and status
 * do not count. */
struct unit_change *unit_app_diff(struct a_arena *arena, const struct wire_value *before,
                                  const struct wire_value *after);

/* Whether Serve takes a change of this setting of a deployment by a PUT, without starting replicas anew. */
bool unit_serve_field_is_light(struct a_view name);

/* What an app refers to by name and a revision pins by digest. */
enum unit_source_kind {
    UNIT_SOURCE_ENVIRONMENT,
    UNIT_SOURCE_CODE,
    UNIT_SOURCE_MODEL,
};

struct unit_source {
    enum unit_source_kind kind;
    const char *field;  /* spec.models.det.source */
    const char *name;   /* model: its name in the app; environment: match.arch, "" = any; else "" */
    const char *source; /* name@version, name or sha256:... */
    char digest[72];    /* in: empty; filled by the caller: sha256:HEX */
};

/* The sources of a completed app, in a fixed order. An environment or code that is still a path (not packed
 * yet) is an error in `p`. */
void unit_app_sources(struct wire_problems *p, const struct wire_value *app, struct unit_source **ret,
                      size_t *ret_n);

/* The text of a revision, canonical JSON (members sorted), appended: what agents fetch: {app: {namespace,
 * name, uid}, revision, spec, serve, environment, code, models, env}. environment is a list of {arch,
 * digest}, of which a node takes the first that fits (arch null: all); models an object name -> digest.
 * `units` is left out of the spec: scaling makes no revision. */
void unit_revision_make(const struct wire_value *app, const struct a_uuid *uid, uint64_t number,
                        const struct unit_source *sources, size_t n_sources, struct a_buf *ret_text);
/* The keys of a revision's text, appended: two revisions with equal `replace` keys need no new units, with
 * equal `serve` keys no PUT either. */
void unit_revision_keys(const struct wire_value *text, struct a_buf *ret_replace, struct a_buf *ret_serve);

#endif
