/* Connections and frames. A lost frame breaks its connection, as it would with TCP: both sides notice, each
 * in its own time. Late frames overtake each other; repeated ones arrive twice. */
#include <string.h>

#include "base/alloc.h"
#include "lib/sim.h"

static bool is_cut(const struct sim *sim, int node)
{
    return sim->now < sim->nodes[node].cut_until_ms;
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

static void run_close_node(struct sim *sim, void *data)
{
    uint32_t conn;
    memcpy(&conn, data, sizeof conn);
    if (!sim->conns[conn].at_node)
        return;
    sim->conns[conn].at_node = false;
    if (sim->nodes[sim->conns[conn].node].conn == conn)
        node_disconnected(sim, sim->conns[conn].node);
}

static void conn_break(struct sim *sim, uint32_t conn)
{
    sim_after(sim, sim_between(&sim->net_random, 0, 4000), run_close_server, &conn, sizeof conn);
    sim_after(sim, sim_between(&sim->net_random, 0, 4000), run_close_node, &conn, sizeof conn);
}

void net_close_node(struct sim *sim, int node, bool silent)
{
    uint32_t conn = sim->nodes[node].conn;
    if (conn == 0)
        return;
    sim->conns[conn].at_node = false;
    sim->nodes[node].conn = 0;
    if (!silent && !is_cut(sim, node))
        sim_after(sim, sim_between(&sim->net_random, 1, 50), run_close_server, &conn, sizeof conn);
}

void net_close_server(struct sim *sim, uint32_t conn)
{
    if (!sim->conns[conn].at_server)
        return;
    sim->conns[conn].at_server = false;
    if (!is_cut(sim, sim->conns[conn].node))
        sim_after(sim, sim_between(&sim->net_random, 1, 50), run_close_node, &conn, sizeof conn);
}

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
    if (sim->conns[m.conn].at_node && sim->nodes[m.node].conn == m.conn)
        node_receive(sim, &m);
}

static uint64_t latency(struct sim *sim)
{
    if (sim_chance(&sim->net_random, sim->late)) {
        sim->counts[COUNT_LATE]++;
        return sim_between(&sim->net_random, 20, 2500);
    }
    return 2;
}

static void frame_send(struct sim *sim, const struct msg *m, sim_run_fn *deliver)
{
    sim->counts[COUNT_FRAMES]++;
    if (is_cut(sim, m->node))
        return;
    if (sim_chance(&sim->net_random, sim->drop)) {
        sim->counts[COUNT_DROPPED]++;
        conn_break(sim, m->conn);
        return;
    }
    sim_after(sim, latency(sim), deliver, m, sizeof *m);
    if (sim_chance(&sim->net_random, sim->repeat)) {
        sim->counts[COUNT_REPEATED]++;
        sim_after(sim, latency(sim) + 1, deliver, m, sizeof *m);
    }
}

void net_to_server(struct sim *sim, struct msg *m)
{
    m->conn = sim->nodes[m->node].conn;
    if (m->conn != 0)
        frame_send(sim, m, run_to_server);
}

void net_to_node(struct sim *sim, struct msg *m)
{
    if (m->conn != 0 && sim->conns[m->conn].at_server)
        frame_send(sim, m, run_to_node);
}

struct dial {
    int node;
    uint32_t life;
};

static void run_dial(struct sim *sim, void *data)
{
    struct dial d;
    memcpy(&d, data, sizeof d);
    struct node *n = &sim->nodes[d.node];
    if (!n->agent_up || n->life != d.life || n->conn != 0)
        return;
    if (!sim->server.up || is_cut(sim, d.node)) {
        sim_after(sim, sim_between(&sim->net_random, 500, 1500), run_dial, &d, sizeof d);
        return;
    }
    if (sim->n_conns == sim->cap_conns) {
        sim->cap_conns *= 2;
        sim->conns = a_realloc(sim->conns, sim->cap_conns * sizeof *sim->conns);
    }
    sim->conns[sim->n_conns] = (struct conn){d.node, true, true};
    node_connected(sim, d.node, (uint32_t)sim->n_conns++);
}

void net_connect(struct sim *sim, int node)
{
    struct dial d = {node, sim->nodes[node].life};
    sim_after(sim, sim_between(&sim->net_random, 5, 300), run_dial, &d, sizeof d);
}
