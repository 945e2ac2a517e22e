/* Members that ended unasked, and where: the unit may be gone, or be placed elsewhere by now, while the log
 * is still on the node that it ended on. In memory only: after a restart the present places are asked. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"

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

void d_past_add(struct d_app *app, const struct a_claim_id *claim, const struct a_node_id *node)
{
    struct d_past *p = past_take(app, claim, node);
    a_list_remove(&p->link);
    p->unit = claim->unit;
    p->member = claim->member;
    p->node = *node;
    a_list_push_front(&app->past, &p->link);
}

void d_past_free(struct d_app *app)
{
    struct a_list *l;
    while ((l = a_list_pop_front(&app->past)) != NULL)
        a_free(a_list_entry(l, struct d_past, link));
}
