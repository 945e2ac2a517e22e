/* Connections and frames. A lost frame breaks its connection, as it would with TCP: both sides notice, each
 * in its own time. Late frames of agents overtake each other and repeated ones arrive twice, and what a
 * server sent before it died may arrive long after it, as it would through a relay. A gateway's frames stay
 * in order: its view is told by differences. */
#include <string.h>

#include "base/alloc.h"
#include "lib/sim.h"

#define LATE_MS 8000
#define FIRST_MS 15000
#define STALE_MS 30000 /* how long a dead server's frames are under way at most */

static bool node_is_cut(const struct sim *sim, int node)
{
    return sim->now < sim->nodes[node].cut_until_ms;
}

static bool conn_is_cut(const struct sim *sim, const struct conn *c)
{
    return sim->now <
           (c->node >= 0 ? sim->nodes[c->node].cut_until_ms : sim->gateways[c->gateway].cut_until_ms);
}

static int peer_owner(const struct conn *c)
{
    return c->node >= 0 ? OWNER_NODE(c->node) : OWNER_GATEWAY(c->gateway);
}

static uint32_t conn_new(struct sim *sim, int node, int gateway)
{
    if (sim->n_conns == sim->cap_conns) {
        sim->cap_conns *= 2;
        sim->conns = a_realloc(sim->conns, sim->cap_conns * sizeof *sim->conns);
    }
    sim->conns[sim->n_conns] =
        (struct conn){.node = node, .gateway = gateway, .at_server = true, .at_peer = true};
    return (uint32_t)sim->n_conns++;
}

static void run_close_server(struct sim *sim, void *data)
{
    uint32_t conn;
    memcpy(&conn, data, sizeof conn);
    if (!sim->conns[conn].at_server)
        return;
    sim->conns[conn].at_server = false;
    if (sim->server.up)
        server_closed(sim, conn);
}

static void run_close_peer(struct sim *sim, void *data)
{
    uint32_t conn;
    memcpy(&conn, data, sizeof conn);
    struct conn *c = &sim->conns[conn];
    if (!c->at_peer)
        return;
    c->at_peer = false;
    if (c->node >= 0 && sim->nodes[c->node].conn == conn)
        node_disconnected(sim, c->node);
    if (c->gateway >= 0 && sim->gateways[c->gateway].conn == conn)
        gateway_disconnected(sim, c->gateway);
}

static void close_server_in(struct sim *sim, uint32_t conn, uint64_t low, uint64_t high)
{
    sim_after(sim, OWNER_SERVER, sim_between(&sim->net_random, low, high), run_close_server, &conn,
              sizeof conn);
}

static void close_peer_in(struct sim *sim, uint32_t conn, uint64_t low, uint64_t high)
{
    sim_after(sim, peer_owner(&sim->conns[conn]), sim_between(&sim->net_random, low, high), run_close_peer,
              &conn, sizeof conn);
}

static void conn_break(struct sim *sim, uint32_t conn)
{
    sim->conns[conn].broken = true;
    close_server_in(sim, conn, 0, 4000);
    close_peer_in(sim, conn, 0, 4000);
}

void net_close_node(struct sim *sim, int node, bool silent)
{
    uint32_t conn = sim->nodes[node].conn;
    if (conn == 0)
        return;
    sim->conns[conn].at_peer = false;
    sim->nodes[node].conn = 0;
    if (!silent && !node_is_cut(sim, node))
        close_server_in(sim, conn, 1, sim_chance(&sim->net_random, 4 * sim->late) ? LATE_MS : 50);
}

void net_close_server(struct sim *sim, uint32_t conn)
{
    if (!sim->conns[conn].at_server)
        return;
    sim->conns[conn].at_server = false;
    if (!conn_is_cut(sim, &sim->conns[conn]))
        close_peer_in(sim, conn, 1, 50);
    else if (sim->conns[conn].gateway >= 0)
        close_peer_in(sim, conn, 10000, 10000); /* it hears nothing any more */
}

/* ---- agents ---- */

static void run_to_server(struct sim *sim, void *data)
{
    struct msg m;
    memcpy(&m, data, sizeof m);
    if (sim->server.up && sim->conns[m.conn].at_server)
        server_receive(sim, &m);
}

static void run_to_node(struct sim *sim, void *data)
{
    struct msg m;
    memcpy(&m, data, sizeof m);
    bool stale = m.server_life != sim->server.life && sim->nodes[m.node].agent_up;
    if (stale)
        sim->counts[COUNT_STALE]++;
    if (stale || (sim->conns[m.conn].at_peer && sim->nodes[m.node].conn == m.conn))
        node_receive(sim, &m);
}

/* A connection's first frame waits for its handshake, at times for longer than its agent has patience. */
static uint64_t latency(struct sim *sim, bool first)
{
    if (first && sim_chance(&sim->net_random, 4 * sim->late)) {
        sim->counts[COUNT_LATE]++;
        return sim_between(&sim->net_random, 20, FIRST_MS);
    }
    if (sim_chance(&sim->net_random, sim->late)) {
        sim->counts[COUNT_LATE]++;
        return sim_between(&sim->net_random, 20, sim_chance(&sim->net_random, 0.1) ? LATE_MS : 2500);
    }
    return 2;
}

static void frame_send(struct sim *sim, const struct msg *m, int owner, sim_run_fn *deliver)
{
    sim->counts[COUNT_FRAMES]++;
    if (node_is_cut(sim, m->node))
        return;
    if (sim_chance(&sim->net_random, sim->drop)) {
        sim->counts[COUNT_DROPPED]++;
        conn_break(sim, m->conn);
        return;
    }
    struct conn *c = &sim->conns[m->conn];
    uint64_t at = sim->now + latency(sim, m->type == MSG_HELLO);
    uint64_t *last = owner == OWNER_SERVER ? &c->up_ms : &c->down_ms;
    sim->counts[COUNT_OVERTAKEN] += at < *last;
    *last = A_MAX(*last, at);
    sim_after(sim, owner, at - sim->now, deliver, m, sizeof *m);
    if (sim_chance(&sim->net_random, sim->repeat)) {
        sim->counts[COUNT_REPEATED]++;
        sim_after(sim, owner, latency(sim, false) + 1, deliver, m, sizeof *m);
    }
}

void net_to_server(struct sim *sim, struct msg *m)
{
    m->conn = sim->nodes[m->node].conn;
    if (m->conn != 0)
        frame_send(sim, m, OWNER_SERVER, run_to_server);
}

void net_to_node(struct sim *sim, struct msg *m)
{
    m->server_life = sim->server.life;
    if (m->conn == 0 || !sim->conns[m->conn].at_server)
        return;
    frame_send(sim, m, OWNER_NODE(m->node), run_to_node);
    if (m->type != MSG_BEAT_ACK)
        sim->server.sent[sim->server.n_sent++ % SIM_SENT] = *m;
}

void net_linger(struct sim *sim)
{
    struct server *s = &sim->server;
    for (size_t i = 0; i < A_MIN(s->n_sent, (size_t)SIM_SENT) && sim->late > 0; i++)
        if (sim_chance(&sim->net_random, 0.3))
            sim_after(sim, OWNER_NODE(s->sent[i].node), sim_between(&sim->net_random, 1000, STALE_MS),
                      run_to_node, &s->sent[i], sizeof s->sent[i]);
    s->n_sent = 0;
}

struct dial {
    int peer;
    uint32_t life;
};

static void run_dial(struct sim *sim, void *data)
{
    struct dial d;
    memcpy(&d, data, sizeof d);
    struct node *n = &sim->nodes[d.peer];
    if (!n->agent_up || n->life != d.life || n->conn != 0)
        return;
    if (!sim->server.up || node_is_cut(sim, d.peer)) {
        sim_after(sim, OWNER_NODE(d.peer), sim_between(&sim->net_random, 500, 1500), run_dial, &d, sizeof d);
        return;
    }
    node_connected(sim, d.peer, conn_new(sim, d.peer, -1));
}

void net_connect(struct sim *sim, int node)
{
    struct dial d = {node, sim->nodes[node].life};
    sim_after(sim, OWNER_NODE(node), sim_between(&sim->net_random, 5, 300), run_dial, &d, sizeof d);
}

/* ---- gateways ---- */

static void run_gateway_dial(struct sim *sim, void *data)
{
    struct dial d;
    memcpy(&d, data, sizeof d);
    struct gateway *g = &sim->gateways[d.peer];
    if (!g->up || g->life != d.life || g->conn != 0)
        return;
    if (!sim->server.up || sim->now < g->cut_until_ms) {
        sim_after(sim, OWNER_GATEWAY(d.peer), sim_between(&sim->net_random, 500, 5000), run_gateway_dial, &d,
                  sizeof d);
        return;
    }
    gateway_connected(sim, d.peer, conn_new(sim, -1, d.peer));
}

void net_gateway_connect(struct sim *sim, int gateway)
{
    struct dial d = {gateway, sim->gateways[gateway].life};
    sim_after(sim, OWNER_GATEWAY(gateway), sim_between(&sim->net_random, 5, 1000), run_gateway_dial, &d,
              sizeof d);
}

static void run_to_gateway(struct sim *sim, void *data)
{
    const struct gmsg *m = data;
    if (sim->conns[m->conn].at_peer && sim->gateways[m->gateway].conn == m->conn)
        gateway_receive(sim, m);
}

static void run_from_gateway(struct sim *sim, void *data)
{
    const struct gmsg *m = data;
    if (sim->server.up && sim->conns[m->conn].at_server)
        view_receive(sim, m);
}

void net_gateway_send(struct sim *sim, const struct gmsg *m)
{
    struct conn *c = &sim->conns[m->conn];
    bool down = m->type == GMSG_VIEW;
    if (m->conn == 0 || c->broken || conn_is_cut(sim, c) || !(down ? c->at_server : c->at_peer))
        return;
    sim->counts[COUNT_FRAMES]++;
    if (sim_chance(&sim->net_random, sim->drop)) {
        sim->counts[COUNT_DROPPED]++;
        conn_break(sim, m->conn);
        return;
    }
    uint64_t *last = down ? &c->down_ms : &c->up_ms, at = sim->now + latency(sim, false);
    *last = A_MAX(*last, at);
    sim_after(sim, down ? OWNER_GATEWAY(m->gateway) : OWNER_SERVER, *last - sim->now,
              down ? run_to_gateway : run_from_gateway, m, sizeof *m + m->n_rows * sizeof m->rows[0]);
}

void net_close_gateway(struct sim *sim, int gateway, bool silent)
{
    uint32_t conn = sim->gateways[gateway].conn;
    if (conn == 0)
        return;
    sim->conns[conn].at_peer = false;
    sim->gateways[gateway].conn = 0;
    close_server_in(sim, conn, silent ? 10000 : 1, silent ? 10000 : 50);
}

void net_reset_gateway(struct sim *sim, int gateway)
{
    uint32_t conn = sim->gateways[gateway].conn;
    if (conn == 0)
        return;
    sim->counts[COUNT_LINKS_RESET]++;
    sim->conns[conn].broken = true;
    close_server_in(sim, conn, 0, 50);
    close_peer_in(sim, conn, 0, 50);
}

/* Neither side hears of the other: both give up after a while. */
void net_cut_gateway(struct sim *sim, int gateway, uint64_t ms)
{
    struct gateway *g = &sim->gateways[gateway];
    g->cut_until_ms = sim->now + ms;
    if (g->conn == 0)
        return;
    sim->conns[g->conn].broken = true;
    close_server_in(sim, g->conn, 4000, 12000);
    close_peer_in(sim, g->conn, 4000, 12000);
}
