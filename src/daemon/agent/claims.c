/* Carries the node core's actions out: writes its file, takes port blocks, starts and stops members. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/log.h"

#define FILE_MAX (64 << 20)

int d_claims_load(struct d_agent *a, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(a->data, "node");
    A_BUF_AUTO struct a_buf text = {0};
    sl_node_init(&a->node, &a->options.capacity);
    if (!sys_file_exists(path))
        return 0;
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = sl_node_decode(&a->node, a_buf_view(&text), sys_loop_now_ms(a->loop), reterr);
    if (rc < 0)
        a_error_wrap(reterr, "%s (it is never made anew: a node that forgot its claims would grant twice)",
                     path);
    return rc;
}

void d_claims_free(struct d_agent *a)
{
    sys_timer_clear(&a->node_timer);
    sl_node_deinit(&a->node);
    a_buf_deinit(&a->write_text);
    a_free(a->events);
    a->events = NULL;
}

/* ---- PERSIST ---- */

static void write_run(void *ctx)
{
    struct d_agent *a = ctx;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *path = sys_path_join(a->data, "node");
    a->write_rc = sys_file_write_atomic(path, a->write_text.ptr, a->write_text.len, 0600, &e);
    if (a->write_rc < 0)
        sys_log(ERROR, "agent", "claims.write_failed", "the node's file cannot be written", SYS_ERR(&e));
}

static void write_done(void *ctx, bool cancelled)
{
    struct d_agent *a = ctx;
    a->write.running = false;
    if (cancelled)
        return;
    a->persisted_once = a->persisted_once || a->write_rc == 0;
    d_claims_event(a, &(struct sl_node_event){
                          .kind = SL_NODE_EV_PERSISTED, .token = a->write_token, .ok = a->write_rc == 0});
}

static void write_begin(struct d_agent *a, uint64_t token)
{
    a_assert(!a->write.running);
    a_buf_reset(&a->write_text);
    sl_node_encode(&a->node, &a->write_text);
    a->write_token = token;
    a->write.running = true;
    if (sys_pool_submit(a->io, a->loop, &a->write.work, write_run, write_done, a) == 0)
        return;
    a->write.running = false;
    d_claims_event(a, &(struct sl_node_event){.kind = SL_NODE_EV_PERSISTED, .token = token, .ok = false});
}

/* ---- ASSIGN ---- */

static void block_keep(struct d_agent *a, const struct sys_portblock *block)
{
    a->blocks = a_realloc(a->blocks, (a->n_blocks + 1) * sizeof *a->blocks);
    a->blocks[a->n_blocks++] = *block;
}

/* About a millisecond a block; the descriptor is the member's from here on. */
static void ports_take(struct d_agent *a, const struct sl_claim *c)
{
    struct sys_portblock block = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct sl_node_event event = {.kind = SL_NODE_EV_ASSIGNED, .claim_number = c->number};
    int rc = sys_portblock_take(a->ports_dir, a_hash_str(c->number, a->id.s), &block, &e);
    if (rc == 0) {
        event.port_first = block.base;
        event.port_count = SYS_PORTBLOCK_SIZE;
        block_keep(a, &block);
    } else {
        sys_log(WARN, "agent", "claims.no_ports", "no free block of ports", SYS_ERR(&e));
    }
    d_claims_event(a, &event);
}

bool d_claims_block(struct d_agent *a, uint16_t base, struct sys_portblock *ret)
{
    for (size_t i = 0; i < a->n_blocks; i++) {
        if (a->blocks[i].base != base)
            continue;
        *ret = a->blocks[i];
        a->blocks[i] = a->blocks[--a->n_blocks];
        return true;
    }
    /* after a restart: ours again, unless the member's shim holds it, which is as good */
    return sys_portblock_retake(a->ports_dir, base, ret, NULL) == 0;
}

static void ports_give_back(struct d_agent *a, const struct sl_claim *c)
{
    struct sys_portblock block = {0};
    if (d_claims_block(a, c->port_first, &block))
        sys_portblock_release(&block);
}

/* ---- actions ---- */

static void changed(struct d_agent *a, const struct sl_claim *c)
{
    a->report_node = true;
    if (c == NULL)
        return;
    struct d_member *m = d_member_find(a, c->number);
    if (m != NULL && c->state.state == A_CLAIM_BOUND &&
        !a_digest_equal(&m->revision_digest, &c->revision_digest))
        d_member_revise(m, c);
    d_report_claim(a, c);
}

static void action_carry_out(struct d_agent *a, const struct sl_node_action *action)
{
    switch (action->kind) {
    case SL_NODE_REPLY:
        d_report_reply(a, action);
        break;
    case SL_NODE_PERSIST:
        write_begin(a, action->token);
        break;
    case SL_NODE_ASSIGN:
        ports_take(a, action->claim);
        break;
    case SL_NODE_UNASSIGN:
        ports_give_back(a, action->claim);
        break;
    case SL_NODE_START:
        d_member_start(a, action->claim);
        break;
    case SL_NODE_STOP:
        d_member_stop(a, action->claim);
        break;
    case SL_NODE_CHANGED:
        changed(a, action->claim);
        break;
    }
}

static void update_carry_out(struct d_agent *a, const struct sl_node_update *u)
{
    for (size_t i = 0; i < u->n_actions; i++)
        action_carry_out(a, &u->actions[i]);
}

static void events_run(struct d_agent *a)
{
    struct sl_node_update update;
    for (size_t i = 0; i < a->n_events; i++) { /* the list grows while it is walked */
        struct sl_node_event event = a->events[i];
        sl_node_step(&a->node, &event, &update);
        update_carry_out(a, &update);
    }
    a->n_events = 0;
    a->stepping = false;
    sys_timer_set_at(&a->node_timer, sl_node_deadline(&a->node));
}

static void event_add(struct d_agent *a, const struct sl_node_event *event)
{
    if (a->n_events == a->cap_events) {
        a->cap_events = A_MAX(a->cap_events * 2, (size_t)16);
        a->events = a_realloc(a->events, a->cap_events * sizeof *a->events);
    }
    a->events[a->n_events] = *event;
    a->events[a->n_events++].now_ms = sys_loop_now_ms(a->loop);
}

void d_claims_event(struct d_agent *a, const struct sl_node_event *event)
{
    event_add(a, event);
    if (a->stepping)
        return; /* an action's own outcome: its turn comes */
    a->stepping = true;
    events_run(a);
}

static void node_timer_fire(void *ctx)
{
    d_claims_event(ctx, &(struct sl_node_event){.kind = SL_NODE_EV_TIMER});
}

/* What was promised by the agent before must not go to somebody else meanwhile. */
static void blocks_retake(struct d_agent *a)
{
    a_list_foreach (it, &a->node.claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        struct sys_portblock block;
        if (c->state.state == A_CLAIM_RESERVED &&
            sys_portblock_retake(a->ports_dir, c->port_first, &block, NULL) == 0)
            block_keep(a, &block);
    }
}

void d_claims_begin(struct d_agent *a)
{
    struct sl_node_update update;
    blocks_retake(a);
    sys_timer_init(&a->node_timer, a->loop, node_timer_fire, a);
    a->stepping = true;
    sl_node_begin(&a->node, sys_loop_now_ms(a->loop), &update);
    update_carry_out(a, &update);
    events_run(a);
}
