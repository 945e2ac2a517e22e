/* What the server is told: replies, the node's state, and each claim's at every change. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "daemon/agent/inside.h"

#define EPOCHS_MAX 128

/* ---- the node ---- */

static size_t epochs_fill(const struct d_agent *a, struct wire_sl_app_epoch *list, size_t max)
{
    size_t n = 0;
    a_list_foreach (it, &a->node.claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(list[i].app_uid.s, c->id.app_uid.s) == 0;
        if (!known && n < max)
            list[n++] = (struct wire_sl_app_epoch){c->id.app_uid, sl_node_epoch(&a->node, &c->id.app_uid)};
    }
    return n;
}

void d_report_node(struct d_agent *a, uint64_t request)
{
    struct wire_sl_app_epoch epochs[EPOCHS_MAX];
    struct wire_sl_message m = {.type = WIRE_SL_T_NODE_STATUS};
    struct wire_sl_node_status *s = &m.node_status;
    s->node = a->id;
    s->request = request;
    s->state = sl_node_state(&a->node);
    s->cordoned = a->node.cordoned;
    s->capacity = a->node.capacity;
    s->free = sl_node_free(&a->node);
    s->incarnation = a->node.incarnation;
    s->epochs = epochs;
    s->n_epochs = epochs_fill(a, epochs, EPOCHS_MAX);
    s->sequence = ++a->sequence;
    s->leaves_ms = d_leave_left_ms(a);
    d_link_send(a, &m);
}

/* ---- claims ---- */

static void member_fill(struct d_member *m, struct a_arena *arena, struct wire_sl_claim_status *s)
{
    s->member_state = (enum a_member_state)m->state.state;
    s->reason = m->reason;
    s->message = a_view_str(m->message);
    s->attempt = 1;
    s->exit_status = m->exit_status;
    if (m->shim_state.phase == D_SHIM_RUNNING) {
        s->pid = (uint64_t)m->shim_state.shim.pid;
        s->pid_start = m->shim_state.shim.start;
    }
    if (m->serve != NULL)
        d_serve_report(m->serve, arena, s);
}

static void claim_fill(struct d_agent *a, const struct sl_claim *c, struct a_arena *arena,
                       struct wire_sl_claim_status *s)
{
    struct d_member *m = d_member_find(a, c->number);
    static const enum a_member_state without[] = {
        [A_CLAIM_RESERVED] = A_MEMBER_RESERVED,
        [A_CLAIM_BOUND] = A_MEMBER_BOUND,
        [A_CLAIM_RELEASING] = A_MEMBER_STOPPING,
        [A_CLAIM_RELEASED] = A_MEMBER_EXITED,
    };
    s->node = a->id;
    s->claim = c->id;
    s->app = c->app;
    s->epoch = c->epoch;
    s->store_id = c->store_id;
    s->revision = (struct wire_sl_revision){c->revision, c->revision_digest};
    s->role = (enum wire_sl_role)c->role;
    s->claim_state = (enum a_claim_state)c->state.state;
    s->member_state = without[c->state.state];
    s->reason = c->release_reason;
    s->capacity = c->capacity;
    s->address = a_view_str(a->address);
    s->port_base = c->port_first;
    s->port_count = c->port_count;
    s->orphan = a->store_id.s[0] != '\0' && strcmp(a->store_id.s, c->store_id.s) != 0;
    if (m != NULL)
        member_fill(m, arena, s);
}

/* Sends when it differs from what was sent last, or when `always`. */
static void claim_send(struct d_agent *a, const struct sl_claim *c, bool always)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf frame = {0};
    struct wire_sl_message m = {.type = WIRE_SL_T_CLAIM_STATUS};
    struct d_member *member = d_member_find(a, c->number);
    if (!a->attached)
        return;
    claim_fill(a, c, &arena, &m.claim_status);
    if (wire_sl_encode(&frame, &m, NULL) != 0)
        a_buf_reset(&frame);
    uint64_t hash = a_hash_bytes(0, frame.ptr != NULL ? frame.ptr : "", frame.len);
    if (member != NULL && !always && hash == member->reported)
        return;
    if (member != NULL) {
        member->reported = hash;
        m.claim_status.since_ms = sys_loop_now_ms(a->loop) - member->since_ms;
    }
    m.claim_status.sequence = ++a->sequence;
    d_link_send(a, &m);
}

void d_report_claim(struct d_agent *a, const struct sl_claim *c)
{
    claim_send(a, c, false);
}

void d_report_member(struct d_member *m)
{
    const struct sl_claim *c = sl_node_find_number(&m->agent->node, m->number);
    if (c != NULL)
        claim_send(m->agent, c, false);
}

void d_report_all(struct d_agent *a)
{
    struct wire_sl_message end = {.type = WIRE_SL_T_SNAPSHOT_END};
    end.snapshot_end.node = a->id;
    d_report_node(a, 0);
    a_list_foreach (it, &a->node.claims) {
        claim_send(a, a_list_entry(it, struct sl_claim, link), true);
        end.snapshot_end.claims++;
    }
    d_link_send(a, &end);
}

/* ---- replies ---- */

static enum a_reason result_reason(enum sl_node_result r)
{
    static const enum a_reason reasons[] = {
        [SL_NODE_OK] = A_REASON_NONE,
        [SL_NODE_NO_CAPACITY] = A_REASON_NO_CAPACITY,
        [SL_NODE_STALE_EPOCH] = A_REASON_SUPERSEDED,
        [SL_NODE_WRONG_STORE] = A_REASON_ORPHANED,
        [SL_NODE_CORDONED] = A_REASON_DRAINED,
        [SL_NODE_UNKNOWN_CLAIM] = A_REASON_DEADLINE_EXCEEDED,
        [SL_NODE_WRONG_STATE] = A_REASON_SUPERSEDED,
        [SL_NODE_NO_PORTS] = A_REASON_PORT_TAKEN,
        [SL_NODE_BUSY] = A_REASON_NO_CAPACITY,
        [SL_NODE_INVALID] = A_REASON_UNSUPPORTED,
    };
    _Static_assert(sizeof reasons / sizeof *reasons == SL_NODE_RESULT_COUNT_, "a reason for each result");
    return reasons[r];
}

static void refusal_print(const struct sl_node_action *r, struct a_buf *b)
{
    switch (r->result) {
    case SL_NODE_OK:
        return;
    case SL_NODE_NO_CAPACITY:
        a_buf_addf(b, "not enough %s; free: ", r->short_of);
        a_capacity_print(b, &r->free);
        return;
    case SL_NODE_STALE_EPOCH:
        a_buf_addf(b, "epoch %llu of this app was seen here", (unsigned long long)r->epoch);
        return;
    case SL_NODE_WRONG_STORE:
        a_buf_add_str(b, "the claim belongs to another store");
        return;
    case SL_NODE_CORDONED:
        a_buf_add_str(b, "the node is cordoned or draining");
        return;
    case SL_NODE_UNKNOWN_CLAIM:
        a_buf_add_str(b, "no such claim here, or its reservation ran out");
        return;
    case SL_NODE_WRONG_STATE:
        a_buf_addf(b, "the claim is %s", r->claim != NULL ? a_sm_name(&r->claim->state) : "gone");
        return;
    case SL_NODE_NO_PORTS:
        a_buf_add_str(b, "the host has no free block of ports");
        return;
    case SL_NODE_BUSY:
        a_buf_add_str(b, "too many changes wait: try again");
        return;
    default:
        a_buf_add_str(b, "a number of the request is out of bounds");
    }
}

static void reserve_reply(const struct d_agent *a, const struct sl_node_action *r, struct a_view text,
                          struct wire_sl_message *m)
{
    m->type = WIRE_SL_T_RESERVE_REPLY;
    m->reserve_reply = (struct wire_sl_reserve_reply){
        .request = r->seq,
        .node = a->id,
        .claim = r->id,
        .granted = r->result == SL_NODE_OK,
        .reason = result_reason(r->result),
        .message = text,
        .free = r->free,
        .highest_epoch = r->epoch,
    };
    if (r->result == SL_NODE_OK && r->claim != NULL) {
        m->reserve_reply.address = a_view_str(a->address);
        m->reserve_reply.port_base = r->claim->port_first;
        m->reserve_reply.port_count = r->claim->port_count;
    }
}

void d_report_token(struct d_agent *a, const struct wire_sl_unit_token *asked)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_sl_message m = {.type = WIRE_SL_T_UNIT_TOKEN_REPLY};
    const struct sl_claim *c = sl_node_find(&a->node, &asked->claim);
    const struct d_member *member = c != NULL ? d_member_find(a, c->number) : NULL;
    struct sl_node_action refusal = {.claim = (struct sl_claim *)(uintptr_t)c,
                                     .epoch = sl_node_epoch(&a->node, &asked->claim.app_uid)};
    refusal.result = sl_node_authority(&a->node, &asked->claim, &asked->store_id, asked->epoch);
    if (refusal.result == SL_NODE_OK && (member == NULL || !member->head))
        refusal.result = SL_NODE_WRONG_STATE;
    refusal_print(&refusal, &text);
    m.unit_token_reply = (struct wire_sl_unit_token_reply){
        .request = asked->request,
        .node = a->id,
        .claim = asked->claim,
        .ok = refusal.result == SL_NODE_OK,
        .reason = result_reason(refusal.result),
        .message = a_buf_view(&text),
    };
    if (m.unit_token_reply.ok)
        m.unit_token_reply.ray_token = sys_secret_view(&member->token);
    d_link_send(a, &m);
}

#define REPLY_FILL(field, upper)                                                                             \
    do {                                                                                                     \
        m.type = WIRE_SL_T_##upper##_REPLY;                                                                  \
        m.field##_reply = (struct wire_sl_##field##_reply){                                                  \
            r->seq, a->id, r->id, r->result == SL_NODE_OK, result_reason(r->result), a_buf_view(&text)};     \
    } while (0)

void d_report_reply(struct d_agent *a, const struct sl_node_action *r)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_sl_message m = {0};
    if (r->link != a->attach || !a->attached)
        return; /* who asked is gone; whoever comes next asks again */
    refusal_print(r, &text);
    switch (r->asked) {
    case SL_NODE_EV_RESERVE:
        reserve_reply(a, r, a_buf_view(&text), &m);
        break;
    case SL_NODE_EV_BIND:
        REPLY_FILL(bind, BIND);
        break;
    case SL_NODE_EV_RELEASE:
        REPLY_FILL(release, RELEASE);
        break;
    case SL_NODE_EV_REVISE:
        REPLY_FILL(unit_config, UNIT_CONFIG);
        break;
    default:
        d_report_node(a, r->seq);
        return;
    }
    d_link_send(a, &m);
}
