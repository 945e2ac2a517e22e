#include "starlink/sched/sched.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/sched/private.h"

void sl_sched_init(struct sl_sched *self, const char *policy)
{
    *self = (struct sl_sched){.policy = policy == NULL ? sl_policies[0] : sl_policy_find(policy)};
    a_assert(self->policy != NULL);
    a_list_init(&self->gangs);
}

void sl_sched_deinit(struct sl_sched *self)
{
    if (self->gangs.next != NULL)
        a_list_foreach_safe (it, &self->gangs)
            gang_free(a_list_entry(it, struct gang, link));
    release_free_all(self);
    sl_view_deinit(&self->view);
    a_heap_deinit(&self->gang_timers);
    a_heap_deinit(&self->timers);
    a_arena_deinit(&self->arena);
    a_free(self->items);
    *self = (struct sl_sched){0};
}

struct sl_sched_update_item *sched_tell(struct sl_sched *self, enum sl_sched_update_type type, uint64_t gang)
{
    if (self->n_items == self->cap_items) {
        self->cap_items = self->cap_items == 0 ? 16 : self->cap_items * 2;
        self->items = a_realloc(self->items, self->cap_items * sizeof *self->items);
    }
    struct sl_sched_update_item *item = &self->items[self->n_items++];
    *item = (struct sl_sched_update_item){.type = type, .gang = gang};
    return item;
}

static void sched_dispatch(struct sl_sched *self, const struct sl_sched_event *e)
{
    switch (e->type) {
    case SL_SCHED_PLACE:
        gang_place(self, e->request);
        break;
    case SL_SCHED_CANCEL:
        gang_cancel(self, e->gang);
        break;
    case SL_SCHED_COMMIT:
        gang_commit(self, e->gang);
        break;
    case SL_SCHED_RELEASE:
        release_start(self, &e->node, e->order);
        break;
    case SL_SCHED_FENCE:
        fence_start(self, &e->node, e->order);
        break;
    case SL_SCHED_REPLY:
        if (!release_reply(self, e))
            gang_reply(self, e);
        break;
    case SL_SCHED_GONE:
        release_gone(self, &e->node, &e->gone);
        gang_claim_gone(self, &e->node, &e->gone);
        break;
    case SL_SCHED_VIEW:
        if (e->node.s[0] != '\0') {
            release_node_changed(self, &e->node);
            gang_node_changed(self, &e->node);
        }
        break;
    case SL_SCHED_TIME:
        break;
    }
}

int sl_sched_step(struct sl_sched *self, const struct sl_sched_event *event,
                  struct sl_sched_update *ret_update)
{
    a_assert(event->now_ms >= self->now_ms);
    self->now_ms = event->now_ms;
    self->n_items = 0;
    a_arena_reset(&self->arena);
    sched_dispatch(self, event);
    for (struct a_timer *t; (t = a_heap_pop(&self->timers, self->now_ms)) != NULL;)
        release_timer(a_list_entry(t, struct release, timer));
    for (struct a_timer *t; (t = a_heap_pop(&self->gang_timers, self->now_ms)) != NULL;)
        gang_timer(a_list_entry(t, struct gang, timer));
    gang_kick(self);
    *ret_update = (struct sl_sched_update){self->items, self->n_items};
    return 0;
}

uint64_t sl_sched_deadline(const struct sl_sched *self)
{
    return A_MIN(a_heap_deadline(&self->timers), a_heap_deadline(&self->gang_timers));
}

size_t sl_sched_gangs(const struct sl_sched *self)
{
    size_t n = 0;
    a_list_foreach (it, &self->gangs)
        n++;
    return n;
}

size_t sl_sched_releases(const struct sl_sched *self)
{
    return self->releases.len;
}
