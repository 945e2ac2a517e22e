/* The claims that nodes report, and which of them no store knows (orphans). */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/resource/private.h"

struct known_app {
    struct a_map_link link;
    char key[2 * A_UUID_LEN + 2]; /* uid/store id */
};

static void app_key(char *out, size_t size, const struct a_uuid *uid, const struct a_uuid *store_id)
{
    size_t n = strlen(uid->s), m = strlen(store_id->s);
    a_assert(n + m + 2 <= size);
    memcpy(out, uid->s, n);
    out[n] = '/';
    memcpy(out + n + 1, store_id->s, m + 1);
}

static struct known_app *app_get(const struct sl_resource *self, const struct a_uuid *uid,
                                 const struct a_uuid *store_id)
{
    char key[2 * A_UUID_LEN + 2];
    app_key(key, sizeof key, uid, store_id);
    struct a_map_link *link = a_map_get_str(&self->apps, key);
    return link == NULL ? NULL : a_map_entry(link, struct known_app, link);
}

static void claim_tell(struct sl_resource *self, const struct sl_resource_claim *claim, bool gone)
{
    resource_tell(self, &(struct sl_resource_delta){
                            .type = gone ? SL_RESOURCE_DELTA_CLAIM_GONE : SL_RESOURCE_DELTA_CLAIM,
                            .node = claim->node,
                            .claim = claim,
                        });
}

static bool claim_is_live(const struct sl_resource_claim *claim)
{
    return claim->facts.state != A_CLAIM_RELEASED;
}

static void claim_set_orphan(struct sl_resource *self, struct sl_resource_claim *claim)
{
    bool orphan =
        claim_is_live(claim) && app_get(self, &claim->facts.id.app_uid, &claim->facts.store_id) == NULL;
    if (orphan && !claim->orphan)
        a_list_push_back(&self->orphans, &claim->of_orphans);
    else if (!orphan)
        a_list_remove(&claim->of_orphans);
    claim->orphan = orphan;
}

static struct sl_resource_claim *claim_find(const struct sl_resource_node *node, const struct a_claim_id *id)
{
    a_list_foreach (it, &node->claims) {
        struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        if (a_claim_id_equal(&claim->facts.id, id))
            return claim;
    }
    return NULL;
}

static void claim_take(struct sl_resource_claim *claim, const struct sl_resource_claim_facts *facts)
{
    char *text = a_alloc(facts->message.len + facts->detail.len + 1);
    if (facts->message.len > 0)
        memcpy(text, facts->message.ptr, facts->message.len);
    if (facts->detail.len > 0)
        memcpy(text + facts->message.len, facts->detail.ptr, facts->detail.len);
    a_free(claim->text);
    claim->text = text;
    claim->facts = *facts;
    claim->facts.message = (struct a_view){text, facts->message.len};
    claim->facts.detail = (struct a_view){text + facts->message.len, facts->detail.len};
}

static void claim_free(struct sl_resource_claim *claim)
{
    a_list_remove(&claim->of_node);
    a_list_remove(&claim->of_orphans);
    a_free(claim->text);
    a_free(claim);
}

/* Its row stays for a while, as RELEASED and unseen, so that a late frame does not bring it back. */
static void claim_end(struct sl_resource *self, struct sl_resource_claim *claim)
{
    claim->facts.state = A_CLAIM_RELEASED;
    claim->gone_ms = self->now_ms;
    claim_set_orphan(self, claim);
    claim_tell(self, claim, true);
}

static void claims_expire(struct sl_resource *self, struct sl_resource_node *node)
{
    a_list_foreach_safe (it, &node->claims) {
        struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        if (!claim_is_live(claim) && self->now_ms - claim->gone_ms >= SL_RESOURCE_LINGER_MS)
            claim_free(claim);
    }
}

int claims_status(struct sl_resource *self, struct sl_resource_node *node, const struct sl_resource_event *e)
{
    claims_expire(self, node);
    struct sl_resource_claim *claim = claim_find(node, &e->claim->id);
    if (claim != NULL && e->sequence <= claim->sequence)
        return SL_RESOURCE_E_STALE;
    bool was_live = claim != NULL && claim_is_live(claim);
    if (claim == NULL) {
        claim = a_new(struct sl_resource_claim);
        claim->node = node;
        a_list_push_back(&node->claims, &claim->of_node);
    }
    node->n_confirmed += claim->confirmed ? 0 : 1;
    claim->confirmed = true;
    claim->sequence = e->sequence;
    claim_take(claim, e->claim);
    claim_set_orphan(self, claim);
    if (claim_is_live(claim))
        claim_tell(self, claim, false);
    else if (was_live)
        claim_end(self, claim);
    else
        claim->gone_ms = self->now_ms;
    return 0;
}

void claims_unconfirm(struct sl_resource_node *node)
{
    a_list_foreach_safe (it, &node->claims) {
        struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        claim->confirmed = false;
        claim->sequence = 0;
    }
}

void claims_settle(struct sl_resource *self, struct sl_resource_node *node)
{
    a_list_foreach_safe (it, &node->claims) {
        struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        if (!claim->confirmed && claim_is_live(claim))
            claim_end(self, claim);
    }
    claims_expire(self, node);
}

void claims_forget(struct sl_resource *self, struct sl_resource_node *node)
{
    a_list_foreach_safe (it, &node->claims) {
        struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        a_list_remove(&claim->of_node);
        a_list_remove(&claim->of_orphans);
        a_list_push_back(&self->graveyard, &claim->of_node);
    }
}

void claims_free_graveyard(struct sl_resource *self)
{
    if (self->graveyard.next == NULL)
        return;
    a_list_foreach_safe (it, &self->graveyard)
        claim_free(a_list_entry(it, struct sl_resource_claim, of_node));
}

static void claims_reconsider(struct sl_resource *self, const struct a_uuid *uid)
{
    a_map_foreach (link, &self->nodes) {
        struct sl_resource_node *node = a_map_entry(link, struct sl_resource_node, link);
        a_list_foreach (it, &node->claims) {
            struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
            bool was = claim->orphan;
            if (strcmp(claim->facts.id.app_uid.s, uid->s) != 0 || !claim_is_live(claim))
                continue;
            claim_set_orphan(self, claim);
            if (claim->orphan != was)
                claim_tell(self, claim, false);
        }
    }
}

int claims_know_app(struct sl_resource *self, const struct sl_resource_event *e)
{
    if (app_get(self, &e->app.uid, &e->app.store_id) != NULL)
        return 0;
    struct known_app *app = a_new(struct known_app);
    app_key(app->key, sizeof app->key, &e->app.uid, &e->app.store_id);
    a_map_put_str(&self->apps, &app->link, app->key);
    claims_reconsider(self, &e->app.uid);
    return 0;
}

int claims_forget_app(struct sl_resource *self, const struct sl_resource_event *e)
{
    struct known_app *app = app_get(self, &e->app.uid, &e->app.store_id);
    if (app == NULL)
        return SL_RESOURCE_E_UNKNOWN;
    a_map_remove(&self->apps, &app->link);
    a_free(app);
    claims_reconsider(self, &e->app.uid);
    return 0;
}

void claims_deinit(struct sl_resource *self)
{
    claims_free_graveyard(self);
    a_map_foreach (link, &self->apps) {
        a_map_remove(&self->apps, link);
        a_free(a_map_entry(link, struct known_app, link));
    }
    a_map_deinit(&self->apps);
}

const struct sl_resource_claim *sl_resource_claim(const struct sl_resource *self,
                                                  const struct a_node_id *node, const struct a_claim_id *id)
{
    const struct sl_resource_node *n = sl_resource_node(self, node);
    const struct sl_resource_claim *claim = n == NULL ? NULL : claim_find(n, id);
    return claim != NULL && claim_is_live(claim) ? claim : NULL;
}

const struct sl_resource_claim *sl_resource_next_claim(const struct sl_resource_node *node,
                                                       const struct sl_resource_claim *prev)
{
    const struct a_list *it = prev == NULL ? node->claims.next : prev->of_node.next;
    for (; it != &node->claims; it = it->next) {
        const struct sl_resource_claim *claim = a_list_entry(it, struct sl_resource_claim, of_node);
        if (claim_is_live(claim))
            return claim;
    }
    return NULL;
}

const struct sl_resource_claim *sl_resource_next_orphan(const struct sl_resource *self,
                                                        const struct sl_resource_claim *prev)
{
    const struct a_list *it = prev == NULL ? self->orphans.next : prev->of_orphans.next;
    return it == &self->orphans ? NULL : a_list_entry(it, struct sl_resource_claim, of_orphans);
}
