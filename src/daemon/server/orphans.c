/* Orphans: claims that no app of this store owns, because the store was lost or restored from before. They
 * run on and keep their routes; nothing of theirs is touched until an operator adopts or releases them. Of
 * each such app the head's agent still has the revision's text: it is fetched, so that routes can be made
 * from it and the app can be adopted whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/sha256.h"

#define TEXT_MAX (8u << 20)

struct text_fetch {
    struct server *server;
    struct a_digest digest;
    struct a_buf text;
};

static bool fetch_data(void *ctx, struct a_view bytes)
{
    struct text_fetch *f = ctx;
    a_buf_add_view(&f->text, bytes);
    return true;
}

static void fetch_end(void *ctx, const struct a_error *error)
{
    struct text_fetch *f = ctx;
    struct a_digest digest;
    sys_sha256_bytes(f->text.ptr, f->text.len, &digest);
    if (error != NULL)
        sys_log(WARN, "server", "orphan.text", "a node did not send the text of a revision", SYS_ERR(error));
    else if (!a_digest_equal(&digest, &f->digest))
        sys_log(WARN, "server", "orphan.text", "a node sent a text of another digest");
    else
        d_orphan_text(f->server, &f->digest, a_buf_view(&f->text));
    a_buf_deinit(&f->text);
    a_free(f);
}

static const struct d_ticket_ops fetch_ops = {.data = fetch_data, .end = fetch_end};

static void text_ask(struct server *s, const struct a_node_id *node, const struct a_digest *digest)
{
    struct text_fetch *f = a_new(struct text_fetch);
    *f = (struct text_fetch){.server = s, .digest = *digest, .text = {.max = TEXT_MAX}};
    struct wire_sl_open_bulk ask = {.purpose = WIRE_SL_PURPOSE_ARTIFACT, .digest = *digest};
    if (d_ticket_open(s, node, &ask, &fetch_ops, f, NULL) == NULL)
        a_free(f);
}

void d_orphan_seen(struct server *s, const struct sl_resource_claim *claim)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_sl_claim_status *c = d_claim_status(claim, &arena);
    struct d_app *app = d_app_by_uid(s, &claim->facts.id.app_uid);
    if (c == NULL)
        return;
    if (app == NULL && d_app_find(s, &claim->facts.app) != NULL)
        return; /* another app has the name: the claims are listed (astra orphans ls), but lead nowhere */
    if (app == NULL) {
        app = d_app_new(&claim->facts.app, &claim->facts.id.app_uid);
        app->orphan = true;
        d_app_add(s, app);
        d_event_add(s, app, "server", app->key, claim->facts.revision, A_REASON_ORPHANED,
                    "claims of an app that this store does not know: they run on; `astra orphans adopt %s` "
                    "or release",
                    app->ref.name.s);
    }
    if (!app->orphan)
        return;
    if (c->role == WIRE_SL_ROLE_HEAD && d_revision_text(s, &claim->facts.digest) == NULL)
        text_ask(s, &claim->node->id, &claim->facts.digest);
    d_routes_touch(s);
}

void d_orphan_gone(struct server *s, struct d_app *app, const struct sl_resource_claim *claim)
{
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL)
        if (!a_claim_id_equal(&c->facts.id, &claim->facts.id) &&
            strcmp(c->facts.id.app_uid.s, app->uid.s) == 0)
            return;
    d_event_add(s, NULL, "server", app->key, 0, A_REASON_ORPHANED, "nothing of orphan %s is left", app->key);
    d_app_remove(s, app);
}

bool d_orphans_missing(struct server *s)
{
    bool missing = false;
    uint64_t now = sys_loop_now_ms(s->loop);
    bool ask = now - s->orphans_asked_ms >= D_SERVER_ORPHAN_ASK_MS;
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL) {
        const struct d_app *app = d_app_by_uid(s, &c->facts.id.app_uid);
        if (app == NULL || app->current != NULL || strcmp(c->facts.id.member.s, "head") != 0)
            continue;
        missing = true;
        if (ask)
            text_ask(s, &c->node->id, &c->facts.digest);
    }
    if (ask)
        s->orphans_asked_ms = now;
    return missing;
}

/* An app whose store is behind and that runs this revision. */
static struct d_app *behind_runner_of(struct server *s, const struct a_digest *digest, uint64_t *ret_number)
{
    for (const struct sl_resource_node *n = sl_resource_next(&s->resource, NULL); n != NULL;
         n = sl_resource_next(&s->resource, n))
        for (const struct sl_resource_claim *c = sl_resource_next_claim(n, NULL); c != NULL;
             c = sl_resource_next_claim(n, c)) {
            struct d_app *app = d_app_by_uid(s, &c->facts.id.app_uid);
            *ret_number = c->facts.revision;
            if (app != NULL && app->behind && a_digest_equal(&c->facts.digest, digest))
                return app;
        }
    return NULL;
}

/* The orphaned app that runs this revision. */
static struct d_app *runner_of(struct server *s, const struct a_digest *digest, uint64_t *ret_number)
{
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL) {
        if (a_digest_equal(&c->facts.digest, digest)) {
            *ret_number = c->facts.revision;
            return d_app_by_uid(s, &c->facts.id.app_uid);
        }
    }
    return behind_runner_of(s, digest, ret_number);
}

static void revision_insert(struct d_app *app, struct d_revision *r)
{
    struct a_list *at = &app->revisions;
    while (at->prev != &app->revisions && a_list_entry(at->prev, struct d_revision, link)->number > r->number)
        at = at->prev;
    a_list_push_back(at, &r->link); /* in front of `at`: oldest first */
}

void d_orphan_text(struct server *s, const struct a_digest *digest, struct a_view text)
{
    uint64_t number;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct d_app *app = runner_of(s, digest, &number);
    if (app == NULL || !(app->orphan || app->behind) || d_revision_text(s, digest) != NULL ||
        d_app_revision(app, number) != NULL)
        return;
    struct d_revision *r = d_revision_read(text, number, &e);
    if (r == NULL) {
        sys_log(WARN, "server", "orphan.text", "the text of an orphan's revision cannot be read",
                SYS_STR("app", app->key), SYS_ERR(&e));
        return;
    }
    r->created_unix_ms = sys_clock_wall_ms();
    r->cause = a_strdup("found on a node");
    revision_insert(app, r);
    a_map_put(&s->texts, &r->by_digest, r->digest.bytes, sizeof r->digest.bytes);
    r->found = true;
    if (app->orphan && (app->current == NULL || app->current->number < number))
        app->current = r;
    d_api_app_changed(s, app);
    d_routes_touch(s);
}

/* ---- a store that is older than what runs ---- */

static void behind_tell(struct server *s, struct d_app *app, const char *why)
{
    if (app->behind)
        return;
    app->behind = true;
    d_api_app_changed(s, app);
    d_event_add(s, app, "server", app->key, 0, A_REASON_ORPHANED,
                "%s: the store is older than what runs. All runs on, nothing is placed or stopped until "
                "`astra recover`",
                why);
}

void d_app_told(struct server *s, struct d_app *app, uint64_t epoch)
{
    if (epoch <= app->epoch)
        return;
    app->seen_epoch = A_MAX(app->seen_epoch, epoch);
    behind_tell(s, app, "a node knows a later epoch of this app");
}

/* A record is written before anything of its unit is bound, and removed after its last claim: what is bound
 * without one was written down after this copy of the store was made. */
void d_app_told_claim(struct server *s, struct d_app *app, const struct sl_resource_claim *claim)
{
    struct unit_info unit;
    if (!s->adopted && claim->facts.state == A_CLAIM_BOUND &&
        strcmp(claim->facts.store_id.s, store_id(s->store)->s) == 0 &&
        !unit_fleet_find(app->fleet, &claim->facts.id.unit, &unit))
        behind_tell(s, app, "a unit runs that has no record");
    app->seen_epoch = A_MAX(app->seen_epoch, claim->facts.epoch);
    d_app_told(s, app, claim->facts.epoch);
    if (app->behind && strcmp(claim->facts.id.member.s, "head") == 0 &&
        d_revision_text(s, &claim->facts.digest) == NULL &&
        d_app_revision(app, claim->facts.revision) == NULL)
        text_ask(s, &claim->node->id, &claim->facts.digest);
}

/* ---- adopting ---- */

struct adoption {
    struct server *server;
    struct store_txn txn;
    struct store_write writes[1 + 100];
    char keys[1 + 100][STORE_KEY_MAX];
    struct a_buf values[1 + 100];
    size_t n;
    struct a_uuid uid;
    struct d_app_entry entry;
    struct a_uuid *old_stores;
    d_app_done *done;
    void *ctx;
};

static void adoption_free(struct adoption *a)
{
    for (size_t i = 0; i < a->n; i++)
        a_buf_deinit(&a->values[i]);
    a_free(a->old_stores);
    a_free(a);
}

/* What the claims say: the highest epoch, the stores that granted them, how many units there are. */
static void claims_read(struct server *s, struct adoption *a)
{
    size_t n = 0;
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL) {
        if (strcmp(c->facts.id.app_uid.s, a->uid.s) != 0)
            continue;
        a->entry.epoch_base = A_MAX(a->entry.epoch_base, c->facts.epoch);
        a->entry.units += strcmp(c->facts.id.member.s, "head") == 0;
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(a->old_stores[i].s, c->facts.store_id.s) == 0;
        if (known)
            continue;
        a->old_stores = a_realloc(a->old_stores, (n + 1) * sizeof *a->old_stores);
        a->old_stores[n++] = c->facts.store_id;
    }
    a->entry.old_stores = a->old_stores;
    a->entry.n_old_stores = n;
}

/* The table now takes the claims for the app's own and tells of each again: the fleet learns of its units
 * before it may place. */
static void adopted(struct adoption *a, uint64_t revision)
{
    struct server *s = a->server;
    struct d_app *app = d_app_by_uid(s, &a->uid);
    if (app == NULL || !app->orphan)
        return;
    d_cores_enter(s);
    a_map_remove(&s->apps, &app->by_ref);
    a_map_remove(&s->uids, &app->by_uid);
    a_list_foreach (l, &app->revisions) {
        a_map_remove(&s->texts, &a_list_entry(l, struct d_revision, link)->by_digest);
    }
    app->orphan = false;
    app->generation = a->entry.generation;
    app->units = a->entry.units;
    app->epoch_base = a->entry.epoch_base;
    app->created_unix_ms = a->entry.created_unix_ms;
    app->store_revision = revision;
    app->old_stores = a_steal(&a->old_stores);
    app->n_old_stores = a->entry.n_old_stores;
    d_app_add(s, app);
    if (s->adopted)
        d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_ADOPTED});
    d_event_add(s, app, "user", app->key, app->current->number, A_REASON_REQUESTED, "adopted with %u units",
                app->units);
    d_cores_leave(s);
}

static void adoption_done(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct adoption *a = ctx;
    if (rc == 0)
        adopted(a, revision);
    struct d_app_result result = {.app = rc == 0 ? d_app_by_uid(a->server, &a->uid) : NULL,
                                  .changed = rc == 0};
    a->done(a->ctx, &result, rc == 0 ? NULL : error);
    adoption_free(a);
}

static void refuse(d_app_done *done, void *ctx, enum a_code code, const char *fmt, const char *name)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf text = {0};
    a_buf_add_str(&text, "app ");
    a_buf_add_str(&text, name);
    a_buf_add_str(&text, fmt);
    a_error_set(&e, code, "%s", text.ptr);
    done(ctx, &(struct d_app_result){0}, &e);
}

/* Agents dial at most 5 s apart. Who is counted too early loses the units whose nodes come a little later:
 * they would be more than are wanted. */
bool d_nodes_may_come(const struct server *s)
{
    return sys_loop_now_ms(s->loop) - s->started_ms < D_SERVER_FIRST_VIEW_MS;
}

bool d_app_adoptable(const struct server *s, const struct d_app *app)
{
    return app->orphan && app->current != NULL && !d_nodes_may_come(s);
}

void d_app_adopt(struct server *s, struct d_app *app, d_app_done *done, void *ctx)
{
    if (!app->orphan) {
        refuse(done, ctx, A_CODE_CONFLICT, " is not orphaned", app->key);
        return;
    }
    if (app->current == NULL) {
        refuse(done, ctx, A_CODE_UNAVAILABLE,
               ": no node has sent its revision's text yet; try again, or deploy it anew after `astra "
               "orphans release`",
               app->key);
        return;
    }
    if (d_nodes_may_come(s)) {
        refuse(
            done, ctx, A_CODE_UNAVAILABLE,
            ": the server started a moment ago, and nodes with units of it may still come; try again in 8 s",
            app->key);
        return;
    }
    struct adoption *a = a_new(struct adoption);
    a->server = s;
    a->uid = app->uid;
    a->done = done;
    a->ctx = ctx;
    a->entry = (struct d_app_entry){.uid = app->uid,
                                    .generation = 1,
                                    .created_unix_ms = sys_clock_wall_ms(),
                                    .revision = app->current->number};
    claims_read(s, a);
    d_app_entry_print(&a->values[0], &a->entry);
    d_store_key_app(a->keys[0], &app->ref);
    a->n = 1;
    a_list_foreach (l, &app->revisions) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        if (a->n == A_ARRAY_SIZE(a->keys))
            break;
        d_revision_print(&a->values[a->n], r);
        d_store_key_revision(a->keys[a->n++], &app->ref, r->number);
    }
    for (size_t i = 0; i < a->n; i++)
        a->writes[i] = (struct store_write){a_view_str(a->keys[i]), a_buf_view(&a->values[i]),
                                            i == 0 ? STORE_ABSENT : STORE_ANY};
    a->txn = (struct store_txn){.writes = a->writes, .n_writes = a->n, .done = adoption_done, .ctx = a};
    store_submit(s->store, &a->txn);
}

void d_app_release_orphans(struct server *s, struct d_app *app, d_app_done *done, void *ctx)
{
    if (!app->orphan) {
        refuse(done, ctx, A_CODE_CONFLICT, " is not orphaned: `astra delete` ends it", app->key);
        return;
    }
    d_cores_enter(s);
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL) {
        if (strcmp(c->facts.id.app_uid.s, app->uid.s) != 0)
            continue;
        struct sl_claim_order order = {.id = c->facts.id,
                                       .app = c->facts.app,
                                       .store_id =
                                           c->facts.store_id, /* the claim's own: an operator speaks for it */
                                       .epoch = c->facts.epoch,
                                       .revision = c->facts.revision,
                                       .reason = A_REASON_ORPHANED,
                                       .grace_ms = UNIT_RELEASE_GRACE_MS};
        d_sched_event(
            s, &(struct sl_sched_event){.type = SL_SCHED_RELEASE, .node = c->node->id, .order = &order});
    }
    d_event_add(s, app, "user", app->key, 0, A_REASON_REQUESTED, "orphaned claims released");
    d_cores_leave(s);
    done(ctx, &(struct d_app_result){.app = app, .changed = true}, NULL);
}
