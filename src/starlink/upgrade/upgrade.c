#include "starlink/upgrade/upgrade.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum flight_step { TOLD, FETCHING, RESTARTING, BACK };

struct sl_upgrade_node {
    struct a_map_link by_id;
    struct a_list of_flights; /* alone: failed */
    struct a_node_id id;
    struct a_name cluster;
    enum flight_step step;
    unsigned tells;
    uint32_t conn; /* that it was told over */
    uint64_t deadline_ms, steady_ms;
    char failure[SL_UPGRADE_MESSAGE_MAX]; /* empty: under way */
};

void sl_upgrade_init(struct sl_upgrade *self, uint32_t pace)
{
    *self = (struct sl_upgrade){.pace = pace};
    a_list_init(&self->flights);
}

static void node_free(struct sl_upgrade *self, struct sl_upgrade_node *n)
{
    a_list_remove(&n->of_flights);
    a_map_remove(&self->nodes, &n->by_id);
    a_free(n);
}

void sl_upgrade_deinit(struct sl_upgrade *self)
{
    a_map_foreach (l, &self->nodes)
        node_free(self, a_map_entry(l, struct sl_upgrade_node, by_id));
    a_map_deinit(&self->nodes);
    *self = (struct sl_upgrade){.pace = 0};
}

static struct sl_upgrade_node *node_find(const struct sl_upgrade *self, const struct a_node_id *id)
{
    struct a_map_link *l = a_map_get_str(&self->nodes, id->s);
    return l != NULL ? a_map_entry(l, struct sl_upgrade_node, by_id) : NULL;
}

static struct sl_upgrade_node *node_new(struct sl_upgrade *self, const struct a_node_id *id)
{
    struct sl_upgrade_node *n = a_new(struct sl_upgrade_node);
    n->id = *id;
    a_list_init(&n->of_flights);
    a_map_put_str(&self->nodes, &n->by_id, n->id.s);
    return n;
}

static bool is_flying(const struct sl_upgrade_node *n)
{
    return n != NULL && n->failure[0] == '\0';
}

bool sl_upgrade_is_under_way(const struct sl_upgrade *self, const struct a_node_id *node)
{
    return is_flying(node_find(self, node));
}

const char *sl_upgrade_failure(const struct sl_upgrade *self, const struct a_node_id *node)
{
    const struct sl_upgrade_node *n = node_find(self, node);
    return n != NULL && n->failure[0] != '\0' ? n->failure : NULL;
}

static void stop(struct sl_upgrade *self, struct sl_upgrade_update *u, const char *why)
{
    if (self->stopped)
        return;
    self->stopped = u->stopped = true;
    snprintf(u->message, sizeof u->message, "%s", why);
}

static void node_fail(struct sl_upgrade *self, struct sl_upgrade_node *n, const char *why,
                      struct sl_upgrade_update *u)
{
    char text[SL_UPGRADE_MESSAGE_MAX];
    if (is_flying(n)) {
        a_list_remove(&n->of_flights);
        a_list_init(&n->of_flights);
        self->n_flights -= n->tells > 0;
        self->in_a_row += n->tells > 0;
        self->n_failed++;
    }
    snprintf(n->failure, sizeof n->failure, "%s", why[0] != '\0' ? why : "it did not say why");
    u->failed = n->id;
    u->why = n->failure;
    snprintf(text, sizeof text, "%u nodes failed in a row; the last one: %.400s", self->in_a_row, n->failure);
    if (self->in_a_row >= SL_UPGRADE_FAILURES_MAX)
        stop(self, u, text);
}

/* ---- looking at nodes under way ---- */

static void flight_tell(struct sl_upgrade_node *n, const struct sl_upgrade_row *row, uint64_t now_ms,
                        struct sl_upgrade_update *u)
{
    n->step = TOLD;
    n->tells++;
    n->conn = row->conn;
    n->deadline_ms = now_ms + SL_UPGRADE_ANSWER_MS;
    u->tell[u->n_tell++] = n->id;
}

static void through_look(struct sl_upgrade *self, struct sl_upgrade_node *n, const struct sl_upgrade_event *e)
{
    if (n->step != BACK || n->steady_ms == 0) {
        n->step = BACK;
        n->steady_ms = e->now_ms + SL_UPGRADE_STEADY_MS;
    }
    if (e->now_ms < n->steady_ms || e->unsettled)
        return;
    self->n_flights--;
    self->in_a_row = 0;
    node_free(self, n);
}

static const char *late_text(const struct sl_upgrade_node *n)
{
    switch (n->step) {
    case TOLD:
        return "the agent does not answer: it is older than upgrades in place, or hangs";
    case FETCHING:
        return "the artifact did not arrive within 15 minutes";
    case RESTARTING:
    case BACK:
        return "the upgraded agent did not come back within 90 s";
    }
    return "";
}

/* At most one failure a look: the next look finds the next. */
static void flight_look(struct sl_upgrade *self, struct sl_upgrade_node *n, const struct sl_upgrade_row *row,
                        const struct sl_upgrade_event *e, struct sl_upgrade_update *u)
{
    bool connected = row != NULL && row->conn != 0;
    if (connected && row->through) {
        through_look(self, n, e);
        return;
    }
    n->steady_ms = 0;
    bool cut = n->step <= FETCHING && connected && row->conn != n->conn;
    if (cut && n->tells < SL_UPGRADE_TELLS_MAX && u->n_tell < SL_UPGRADE_TELL_MAX && !self->stopped)
        flight_tell(n, row, e->now_ms, u);
    else if (cut && n->tells >= SL_UPGRADE_TELLS_MAX)
        node_fail(self, n, "its connection broke twice before it had the artifact", u);
    else if (e->now_ms >= n->deadline_ms)
        node_fail(self, n, late_text(n), u);
}

static const struct sl_upgrade_row *row_find(const struct sl_upgrade_event *e, const struct a_node_id *id)
{
    for (size_t i = 0; i < e->n_rows; i++)
        if (strcmp(e->rows[i].id.s, id->s) == 0)
            return &e->rows[i];
    return NULL;
}

/* ---- telling more of them ---- */

static bool is_left(const struct sl_upgrade *self, const struct sl_upgrade_row *row)
{
    return row->wants && !row->through && row->conn != 0 && node_find(self, &row->id) == NULL;
}

static bool may_be_told(const struct sl_upgrade *self, const struct sl_upgrade_row *row)
{
    return row->ready && is_left(self, row);
}

/* The cluster whose turn it is: where nodes are under way, else the first by name with nodes to be told. */
static const struct a_name *cluster_pick(const struct sl_upgrade *self, const struct sl_upgrade_event *e)
{
    const struct a_name *first = NULL;
    if (!a_list_empty(&self->flights))
        return &a_list_entry(self->flights.next, struct sl_upgrade_node, of_flights)->cluster;
    for (size_t i = 0; i < e->n_rows; i++)
        if (may_be_told(self, &e->rows[i]) && (first == NULL || strcmp(e->rows[i].cluster.s, first->s) < 0))
            first = &e->rows[i].cluster;
    return first;
}

static void more_tell(struct sl_upgrade *self, const struct sl_upgrade_event *e, struct sl_upgrade_update *u)
{
    const struct a_name *cluster = cluster_pick(self, e);
    size_t nodes = 0;
    if (cluster == NULL)
        return;
    const struct a_name in = *cluster;
    for (size_t i = 0; i < e->n_rows; i++)
        nodes += strcmp(e->rows[i].cluster.s, in.s) == 0 && e->rows[i].conn != 0;
    size_t may = self->pace != 0 ? self->pace : A_MAX(nodes / SL_UPGRADE_SHARE, (size_t)1);
    for (size_t i = 0; i < e->n_rows && self->n_flights < may && u->n_tell < SL_UPGRADE_TELL_MAX; i++) {
        const struct sl_upgrade_row *row = &e->rows[i];
        if (strcmp(row->cluster.s, in.s) != 0 || !may_be_told(self, row))
            continue;
        struct sl_upgrade_node *n = node_new(self, &row->id);
        n->cluster = row->cluster;
        a_list_push_back(&self->flights, &n->of_flights);
        self->n_flights++;
        flight_tell(n, row, e->now_ms, u);
    }
}

static void look(struct sl_upgrade *self, const struct sl_upgrade_event *e, struct sl_upgrade_update *u)
{
    a_list_foreach_safe (l, &self->flights) {
        struct sl_upgrade_node *n = a_list_entry(l, struct sl_upgrade_node, of_flights);
        if (u->failed.s[0] == '\0')
            flight_look(self, n, row_find(e, &n->id), e, u);
    }
    if (e->worse != NULL)
        stop(self, u, e->worse);
    bool left = false;
    for (size_t i = 0; i < e->n_rows; i++)
        left = left || is_left(self, &e->rows[i]);
    u->idle = !left && self->n_flights == 0;
    if (!self->stopped && !e->unsettled)
        more_tell(self, e, u);
}

int sl_upgrade_step(struct sl_upgrade *self, const struct sl_upgrade_event *event,
                    struct sl_upgrade_update *ret_update)
{
    struct sl_upgrade_node *n = event->type != SL_UPGRADE_LOOK ? node_find(self, &event->node) : NULL;
    *ret_update = (struct sl_upgrade_update){.n_tell = 0};
    switch (event->type) {
    case SL_UPGRADE_LOOK:
        look(self, event, ret_update);
        break;
    case SL_UPGRADE_FETCHING:
        if (is_flying(n) && n->step == TOLD) {
            n->step = FETCHING;
            n->deadline_ms = event->now_ms + SL_UPGRADE_FETCH_MS;
        }
        break;
    case SL_UPGRADE_RESTARTING:
        if (is_flying(n) && n->step <= FETCHING) {
            n->step = RESTARTING;
            n->deadline_ms = event->now_ms + SL_UPGRADE_BACK_MS;
        }
        break;
    case SL_UPGRADE_FAILED:
        if (n == NULL)
            n = node_new(self, &event->node); /* told by a server before us */
        if (is_flying(n))
            node_fail(self, n, event->message, ret_update);
        break;
    }
    return 0;
}
