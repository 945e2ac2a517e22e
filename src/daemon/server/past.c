/* Members that ended unasked or were lost with their node, and where: the unit may be gone, or be placed
 * elsewhere by now, while the log is still on the node that it ended on. In memory only: after a restart the
 * present places are asked. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "sys/clock.h"

static void past_free(struct d_past *p)
{
    a_list_remove(&p->link);
    a_free(p->node_name);
    a_free(p);
}

static struct d_past *past_take(struct d_app *app, const struct a_claim_id *claim,
                                const struct a_node_id *node)
{
    struct d_past *last = NULL;
    size_t n = 0;
    a_list_foreach (l, &app->past) {
        struct d_past *p = a_list_entry(l, struct d_past, link);
        last = p;
        n++;
        if (strcmp(p->unit.s, claim->unit.s) == 0 && strcmp(p->member.s, claim->member.s) == 0 &&
            strcmp(p->node.s, node->s) == 0)
            return p;
    }
    return n < D_SERVER_PAST ? a_new(struct d_past) : last;
}

void d_past_add(const struct server *s, struct d_app *app, const struct a_claim_id *claim,
                const struct a_node_id *node)
{
    struct d_past *p = past_take(app, claim, node);
    a_list_remove(&p->link);
    p->unit = claim->unit;
    p->member = claim->member;
    p->node = *node;
    p->gone_unix_ms = 0;
    char *name = a_strdup(d_node_name(s, node));
    a_free(p->node_name);
    p->node_name = name;
    a_list_push_front(&app->past, &p->link);
}

void d_past_node_gone(struct server *s, const struct sl_resource_node *node)
{
    uint64_t ago_ms = sys_loop_now_ms(s->loop) - A_MIN(node->closed_ms, sys_loop_now_ms(s->loop));
    a_map_foreach (l, &s->apps) {
        a_list_foreach (it, &a_map_entry(l, struct d_app, by_ref)->past) {
            struct d_past *p = a_list_entry(it, struct d_past, link);
            if (strcmp(p->node.s, node->id.s) == 0)
                p->gone_unix_ms = sys_clock_wall_ms() - ago_ms;
        }
    }
}

void d_past_free(struct d_app *app)
{
    while (!a_list_empty(&app->past))
        past_free(a_list_entry(app->past.next, struct d_past, link));
}
