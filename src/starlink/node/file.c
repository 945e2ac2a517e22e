/* The node's file: one line for each mark, epoch and claim. What is read back is checked as if a stranger had
 * written it: a file that is not understood stops the agent from starting, for a node that forgot its claims
 * would grant the same capacity twice. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "starlink/node/inside.h"

#define FIRST_LINE "astra-node 1"

static void hex_print(struct a_buf *b, const char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    if (n == 0)
        a_buf_add_char(b, '-');
    for (size_t i = 0; i < n; i++) {
        a_buf_add_char(b, digits[(uint8_t)bytes[i] >> 4]);
        a_buf_add_char(b, digits[(uint8_t)bytes[i] & 15]);
    }
}

static void claim_print(struct a_buf *b, const struct sl_claim *c)
{
    char digest[A_DIGEST_HEX + 1];
    a_digest_hex(&c->revision_digest, digest);
    a_buf_add_str(b, "claim ");
    a_claim_id_print(b, &c->id);
    a_buf_addf(b, " %s %s %s/%s %s %llu %llu %s %d", a_sm_name(&c->state), a_reason_name(c->release_reason),
               c->app.namespace.s, c->app.name.s, c->store_id.s, (unsigned long long)c->epoch,
               (unsigned long long)c->revision, digest, c->role);
    a_buf_addf(b, " %llu %llu %llu %llu %u %u %llu ", (unsigned long long)c->capacity.mcpu,
               (unsigned long long)c->capacity.memory_bytes, (unsigned long long)c->capacity.disk_bytes,
               (unsigned long long)c->ttl_ms, c->port_first, c->port_count, (unsigned long long)c->number);
    hex_print(b, c->payload, c->payload_len);
    a_buf_add_char(b, '\n');
}

void sl_node_encode(const struct sl_node *self, struct a_buf *ret_text)
{
    a_buf_addf(ret_text, FIRST_LINE "\nincarnation %llu\nnext %llu\ncordoned %d\ndraining %d\n",
               (unsigned long long)self->incarnation, (unsigned long long)self->next_number, self->cordoned,
               self->draining);
    a_map_foreach (it, &self->epochs) {
        const struct sl_node_epoch *e = a_map_entry(it, struct sl_node_epoch, by_uid);
        a_buf_addf(ret_text, "epoch %s %llu\n", e->app_uid.s, (unsigned long long)e->epoch);
    }
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state != A_CLAIM_RELEASED && (c->port_count > 0 || c->state.state != A_CLAIM_RESERVED))
            claim_print(ret_text, c);
    }
    a_buf_add_str(ret_text, "end\n");
}

/* The words of one line, taken one after another; `ok` falls and stays down at the first that does not fit.
 */
struct words {
    struct a_view rest;
    bool ok;
};

static struct a_view word(struct words *w)
{
    struct a_view v = a_view_split(w->rest, ' ', &w->rest);
    w->ok = w->ok && v.len > 0;
    return v;
}

static uint64_t number(struct words *w, uint64_t max)
{
    uint64_t n = 0;
    w->ok = a_text_u64(word(w), &n) && n <= max && w->ok;
    return n;
}

static enum a_claim_state state_word(struct words *w)
{
    struct a_view v = word(w);
    for (int i = 0; i < A_CLAIM_STATE_COUNT; i++)
        if (a_view_is(v, a_claim_state_name((enum a_claim_state)i)))
            return (enum a_claim_state)i;
    w->ok = false;
    return A_CLAIM_RELEASED;
}

static void payload_word(struct words *w, struct sl_claim *c)
{
    struct a_view v = word(w);
    if (!w->ok || a_view_is(v, "-"))
        return;
    if (v.len % 2 != 0 || v.len / 2 > SL_NODE_PAYLOAD_MAX) {
        w->ok = false;
        return;
    }
    c->payload_len = v.len / 2;
    c->payload = a_alloc(c->payload_len + 1);
    for (size_t i = 0; i < c->payload_len; i++) {
        uint64_t byte = 0;
        w->ok = a_text_hex64((struct a_view){v.ptr + 2 * i, 2}, &byte) && w->ok;
        c->payload[i] = (char)byte;
    }
}

static bool claim_line(struct sl_node *self, struct words *w)
{
    struct a_claim_id id;
    w->ok = a_claim_id_parse(word(w), &id) && w->ok;
    enum a_claim_state state = state_word(w);
    if (!w->ok || state == A_CLAIM_RELEASED || self->n_claims >= SL_NODE_CLAIMS_MAX ||
        sl_node_claim_get(self, &id) != NULL)
        return false;
    struct sl_claim *c = sl_node_claim_new(self, &id, state);
    w->ok = a_reason_parse(word(w), &c->release_reason) && w->ok;
    w->ok = a_app_ref_parse(word(w), &c->app) && w->ok;
    w->ok = a_uuid_parse(word(w), &c->store_id) && w->ok;
    c->epoch = number(w, UINT64_MAX);
    c->revision = number(w, UINT64_MAX);
    w->ok = a_digest_parse(word(w), &c->revision_digest) && w->ok;
    c->role = (int)number(w, 255);
    c->capacity.mcpu = number(w, UINT64_MAX);
    c->capacity.memory_bytes = number(w, UINT64_MAX);
    c->capacity.disk_bytes = number(w, UINT64_MAX);
    c->ttl_ms = number(w, SL_NODE_TTL_MAX_MS);
    c->port_first = (uint16_t)number(w, UINT16_MAX);
    c->port_count = (uint16_t)number(w, UINT16_MAX);
    c->number = number(w, UINT64_MAX - 1);
    payload_word(w, c);
    return w->ok && c->epoch <= sl_node_epoch(self, &id.app_uid);
}

static bool epoch_line(struct sl_node *self, struct words *w)
{
    struct a_uuid uid;
    w->ok = a_uuid_parse(word(w), &uid) && w->ok;
    uint64_t epoch = number(w, UINT64_MAX);
    return w->ok && sl_node_epoch_raise(self, &uid, epoch);
}

static bool line_read(struct sl_node *self, struct a_view line, uint64_t *next, bool *end)
{
    struct words w = {line, true};
    struct a_view key = word(&w);
    if (a_view_is(key, "end"))
        *end = true;
    else if (a_view_is(key, "incarnation"))
        self->incarnation = number(&w, UINT64_MAX - 1);
    else if (a_view_is(key, "next"))
        *next = number(&w, UINT64_MAX - 1);
    else if (a_view_is(key, "cordoned"))
        self->cordoned = number(&w, 1) == 1;
    else if (a_view_is(key, "draining"))
        self->draining = number(&w, 1) == 1;
    else if (a_view_is(key, "epoch"))
        return epoch_line(self, &w);
    else if (a_view_is(key, "claim"))
        return claim_line(self, &w);
    else
        return false;
    return w.ok;
}

static bool claims_exclude(const struct sl_claim *a, const struct sl_claim *b)
{
    bool apart =
        a->port_first + a->port_count <= b->port_first || b->port_first + b->port_count <= a->port_first;
    return a->number != b->number && (apart || a->port_count == 0 || b->port_count == 0);
}

/* No two claims have one number, which names their folders, or share a port. */
static bool claims_are_apart(const struct sl_node *self)
{
    a_list_foreach (it, &self->claims) {
        for (const struct a_list *o = it->next; o != &self->claims; o = o->next)
            if (!claims_exclude(a_list_entry(it, struct sl_claim, link),
                                a_list_entry(o, struct sl_claim, link)))
                return false;
    }
    return true;
}

static void claims_settle(struct sl_node *self, uint64_t next, uint64_t now_ms)
{
    struct a_capacity taken = {0};
    self->next_number = A_MAX(next, (uint64_t)1);
    a_list_foreach (it, &self->claims) {
        struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        self->next_number = A_MAX(self->next_number, c->number + 1);
        a_capacity_add(&taken, &c->capacity);
        if (c->state.state == A_CLAIM_RESERVED)
            a_heap_set(&self->timers, &c->timer, now_ms + c->ttl_ms);
    }
    self->shrunk = !a_capacity_fits(&self->capacity, &taken); /* the flags may say less than last time */
}

int sl_node_decode(struct sl_node *self, struct a_view text, uint64_t now_ms, struct a_error *reterr)
{
    uint64_t next = 1;
    bool end = false;
    struct a_view line = a_view_split(text, '\n', &text);
    if (!a_view_is(line, FIRST_LINE))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "node file: line 1 is not \"" FIRST_LINE "\"");
    for (size_t n = 2; !end; n++) {
        line = a_view_split(text, '\n', &text);
        if (!line_read(self, line, &next, &end))
            return a_fail(reterr, -EINVAL, A_CODE_INVALID, "node file: line %zu is not understood", n);
    }
    if (!claims_are_apart(self))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "node file: two claims have the same number or ports");
    claims_settle(self, next, now_ms);
    return 0;
}
