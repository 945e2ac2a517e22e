/* A deterministic world: a virtual clock, seeded streams, a network that loses, delays, repeats and reorders,
 * nodes that crash and come back with what they had written, a server that restarts, gateways that
 * acknowledge late. The cores in it are those of production: sl_node, sl_resource, sl_sched and unit_fleet;
 * this library only does what the daemons do around them.
 *
 *   sim.c     the clock and the events
 *   net.c     connections and frames
 *   node.c    an agent around sl_node, and the members that outlive it
 *   server.c  a server around sl_resource, sl_sched and the fleets, its store, and the gateways
 *   check.c   what must hold after each step, and at the end */
#ifndef TESTS_SIM_LIB_SIM_H
#define TESTS_SIM_LIB_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/random.h"
#include "starlink/node/node.h"
#include "starlink/resource/resource.h"
#include "starlink/sched/sched.h"
#include "unit/fleet.h"

#define SIM_NODES_MAX 12
#define SIM_APPS_MAX 2
#define SIM_GATEWAYS 2
#define SIM_MEMBERS_MAX 64 /* of one node, over all time alive at once */
#define SIM_REVISIONS 6
#define SIM_RECORDS_MAX 64
#define SIM_ROUTES_MAX 256

struct sim;

/* ---- frames ---- */

enum msg_type {
    MSG_HELLO,
    MSG_BEAT,
    MSG_BEAT_ACK,
    MSG_NODE_STATUS,
    MSG_CLAIM_STATUS,
    MSG_SNAPSHOT_END,
    MSG_RESERVE,
    MSG_BIND,
    MSG_RELEASE,
    MSG_CONFIG,
    MSG_REPLY,
    MSG_COMMAND, /* cordon, drain */
};

struct msg {
    enum msg_type type;
    enum msg_type answers; /* REPLY: what it answers */
    enum sl_node_result result;
    enum a_claim_state claim_state;
    enum a_member_state member_state;
    enum a_reason reason;
    enum unit_serve serve;
    int node;
    uint32_t conn;
    uint32_t n_claims, endpoints, flags;
    bool head, warmed, on, drain;
    uint64_t sequence, incarnation, attach;
    uint64_t epoch, revision, ttl_ms;
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id;
    struct a_digest deployed;
    struct a_capacity capacity, free;
};

struct conn {
    int node;
    bool at_server, at_node; /* who believes that it is open */
};

/* ---- the parts ---- */

/* A member's process tree: its shim keeps it alive without the agent. */
struct member {
    uint64_t number; /* of its claim; 0 = free slot */
    struct a_claim_id id;
    bool head;
    enum a_member_state state;
    enum a_reason reason;
    uint64_t revision;
    enum unit_serve serve;
    uint64_t deployed;   /* revision */
    uint32_t generation; /* of its pending progress event */
    uint64_t started_ms;
};

struct node {
    struct a_node_id id;
    struct a_capacity capacity;
    struct a_name cluster;
    char host[32];
    char *disk;    /* what the agent wrote last */
    char *writing; /* and what it is writing */
    struct sl_node core;
    bool agent_up, machine_up;
    uint32_t life; /* of the agent: events of an earlier one are void */
    uint32_t conn; /* 0 = none */
    uint64_t attach, sequence, acked_ms;
    uint64_t cut_until_ms; /* partition */
    uint64_t timer_ms;     /* of the TIMER event that is scheduled */
    struct member members[SIM_MEMBERS_MAX];
    uint64_t epoch_writing[SIM_APPS_MAX], epoch_disk[SIM_APPS_MAX];
    uint64_t row_incarnation, row_attach;
};

struct app {
    struct a_uuid uid;
    struct unit_member_spec specs[3];
    struct unit_revision_info revisions[SIM_REVISIONS];
    bool bad[SIM_REVISIONS + 1]; /* by number: cannot start, or Serve refuses it */
    struct unit_desired desired; /* what the store has */
    struct unit_fleet *fleet;
    uint64_t fleet_ms; /* of the TIME event that is scheduled */
};

struct stored_record {
    int app; /* -1 = free */
    struct unit_record record;
    struct unit_record_member members[16];
};

struct gang_owner {
    uint64_t gang;
    int app;
};

struct server {
    bool up;
    uint32_t life;
    struct sl_resource resource;
    struct sl_sched sched;
    uint64_t resource_ms, sched_ms;
    struct work *head, *tail; /* events for cores, in order */
    bool draining_work;
    /* the store */
    struct a_uuid store_id;
    struct stored_record records[SIM_RECORDS_MAX];
    uint64_t store_free_ms; /* writes are done in order */
    bool adopted;
    struct gang_owner owners[256]; /* which app a gang under way belongs to */
    size_t n_owners;
    uint64_t told_ms; /* when the gateways have all that was told */
};

struct route {
    int app;
    struct a_unit_name unit;
    enum unit_endpoints state;
};

struct gateway {
    struct route routes[SIM_ROUTES_MAX];
    size_t n_routes;
};

enum sim_count {
    COUNT_FRAMES,
    COUNT_DROPPED,
    COUNT_REPEATED,
    COUNT_LATE,
    COUNT_AGENT_CRASHES,
    COUNT_MACHINE_CRASHES,
    COUNT_PARTITIONS,
    COUNT_SERVER_CRASHES,
    COUNT_STORES_LOST,
    COUNT_MEMBER_DEATHS,
    COUNT_DRAINS,
    COUNT_DEPLOYS,
    COUNT_SCALES,
    COUNT_PLACED,
    COUNT_RELEASED,
    COUNT_N
};

struct sim {
    uint64_t seed, now;
    struct a_random net_random, fault_random, life_random;
    struct sim_event **events; /* binary heap by (at, serial) */
    size_t n_events, cap_events;
    uint64_t serial;
    double drop, repeat, late; /* per frame */
    struct conn *conns;        /* [0] unused */
    size_t n_conns, cap_conns;
    struct node nodes[SIM_NODES_MAX];
    int n_nodes;
    struct app apps[SIM_APPS_MAX];
    int n_apps;
    struct server server;
    struct gateway gateways[SIM_GATEWAYS];
    /* claims for which a server ever sent a release: nothing else may be stopped */
    struct a_map released;
    struct a_map reserved; /* claims that were asked for, with the life of the server that did */
    uint64_t counts[COUNT_N];
    struct a_buf trace;
    bool tracing;
    bool failed;
    char failure[512];
};

/* ---- sim.c ---- */

typedef void sim_run_fn(struct sim *sim, void *data);

struct sim_event {
    uint64_t at, serial;
    sim_run_fn *run;
    max_align_t data[];
};

void sim_init(struct sim *sim, uint64_t seed);
void sim_deinit(struct sim *sim);
/* `data` (copied) is handed to `run` at now + delay_ms. */
void sim_after(struct sim *sim, uint64_t delay_ms, sim_run_fn *run, const void *data, size_t size);
/* Runs until `until`, a failure, or `done` (may be NULL) answers true, which is asked each second. */
void sim_run(struct sim *sim, uint64_t until, bool (*done)(struct sim *sim));
uint64_t sim_between(struct a_random *r, uint64_t low, uint64_t high); /* both included */
bool sim_chance(struct a_random *r, double p);
void sim_fail(struct sim *sim, const char *fmt, ...) A_PRINTF(2, 3);
void sim_trace(struct sim *sim, const char *fmt, ...) A_PRINTF(2, 3);

int sim_add_node(struct sim *sim, const char *cluster, int host, uint64_t cpus);
/* `workers` besides the head; revisions 1.. differ in everything, 5 and 6 only in their Serve config. */
int sim_add_app(struct sim *sim, uint32_t units, int workers);
void sim_start(struct sim *sim);

/* ---- net.c ---- */

void net_to_server(struct sim *sim, struct msg *m);
void net_to_node(struct sim *sim, struct msg *m);
void net_connect(struct sim *sim, int node);
/* Closes a side now; the other notices later, or never (silent). */
void net_close_node(struct sim *sim, int node, bool silent);
void net_close_server(struct sim *sim, uint32_t conn);

/* ---- node.c ---- */

struct node *sim_node(struct sim *sim, const struct a_node_id *id);
void node_boot(struct sim *sim, int i);
void node_receive(struct sim *sim, const struct msg *m);
void node_disconnected(struct sim *sim, int i);
void node_connected(struct sim *sim, int i, uint32_t conn);
void node_crash_agent(struct sim *sim, int i, uint64_t down_ms);
void node_crash_machine(struct sim *sim, int i, uint64_t down_ms);
void node_kill_member(struct sim *sim, int i);

/* ---- server.c ---- */

void server_boot(struct sim *sim);
void server_crash(struct sim *sim, uint64_t down_ms, bool lose_store);
/* After a lost store: makes the apps anew and takes their claims over. */
void server_adopt(struct sim *sim);
void server_receive(struct sim *sim, const struct msg *m);
void server_closed(struct sim *sim, uint32_t conn);
void server_desire(struct sim *sim, int app);
void server_retry(struct sim *sim);
struct app *server_app(struct sim *sim, const struct a_uuid *uid);
void claim_text(const struct a_node_id *node, const struct a_claim_id *id, char *out, size_t size);

/* ---- check.c ---- */

void check_step(struct sim *sim);
void check_reply(struct sim *sim, const struct node *node, const struct a_capacity *before,
                 enum sl_node_result result);
void check_stop(struct sim *sim, const struct node *node, const struct sl_claim *claim);
void check_release(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node);
void check_granted(struct sim *sim, const struct sl_sched_update_item *item);
void check_reserve(struct sim *sim, const struct a_claim_id *id);
void check_place(struct sim *sim, struct app *app);
/* A number that changes when any member is started or stopped. */
uint64_t check_members(const struct sim *sim);
void check_deinit(struct sim *sim);
/* Healed and quiet: everything wanted is there and nothing else. */
bool check_quiet(struct sim *sim);
void check_end(struct sim *sim);

#endif
