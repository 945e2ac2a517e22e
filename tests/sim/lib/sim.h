/* A deterministic world: a virtual clock, seeded streams, a network that loses, delays, repeats, reorders and
 * parts, disks that tear, processes that crash or are suspended and come back with what they had written, and
 * clients that ask all the while. The cores in it are those of production: sl_node, sl_resource, sl_sched,
 * unit_fleet and gw; this library only does what the daemons do around them.
 *
 *   sim.c       the clock and the events
 *   net.c       connections and frames
 *   disk.c      files that are whole only once they are synced
 *   node.c      an agent around sl_node
 *   member.c    what its claims run: members that outlive it, their replicas and ports
 *   server.c    a server around sl_resource, sl_sched and the fleets, and its store
 *   view.c      what the server tells gateways, and waits for
 *   gateway.c   a gateway around gw: its view, its link, its updates
 *   request.c   clients, their requests, and the attempts at replicas
 *   fault.c     what breaks, and how it heals
 *   check.c     what must hold of claims and units; check_request.c: of requests */
#ifndef TESTS_SIM_LIB_SIM_H
#define TESTS_SIM_LIB_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/random.h"
#include "gateway/gateway.h"
#include "starlink/node/node.h"
#include "starlink/resource/resource.h"
#include "starlink/sched/sched.h"
#include "unit/fleet.h"
#include "unit/withdraw.h"

#define SIM_NODES_MAX 12
#define SIM_APPS_MAX 2
#define SIM_GATEWAYS 2
#define SIM_MEMBERS_MAX 64 /* of one node, over all time alive at once */
#define SIM_REVISIONS 6
#define SIM_RECORDS_MAX 64
#define SIM_ROWS_MAX 256     /* of a view */
#define SIM_REQUESTS_MAX 256 /* under way at once */
#define SIM_REPLICAS 2       /* of a unit */
#define SIM_BLOCKS 100       /* of ports, on each node */
#define SIM_BLOCK_REST_MS 150000
#define SIM_DRAIN_MS 10000

/* Whose event it is: while a process is suspended its events wait. */
#define OWNER_NONE (-1)
#define OWNER_SERVER 0
#define OWNER_NODE(i) (1 + (i))
#define OWNER_GATEWAY(g) (1 + SIM_NODES_MAX + (g))
#define OWNERS (1 + SIM_NODES_MAX + SIM_GATEWAYS)

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
    uint64_t epoch, revision, ttl_ms, leaves_ms;
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id;
    struct a_digest deployed;
    struct a_capacity capacity, free;
    uint16_t ports[SIM_REPLICAS]; /* where replicas listen; 0 = none there */
    uint32_t server_life;         /* to nodes: of the server that sent it */
};

/* One row of the gateways' view: a route ('r') or an endpoint ('e'). */
struct view_row {
    char kind;
    bool gone, idempotent;
    int app, node;
    uint16_t port;
    enum wire_sl_endpoint_state state;
    struct a_unit_name unit;
    bool marked;
};

enum gmsg_type {
    GMSG_SUBSCRIBE, /* to the server */
    GMSG_ACK,
    GMSG_REPORT,
    GMSG_VIEW, /* from the server: rows follow */
};

struct gmsg {
    enum gmsg_type type;
    int gateway;
    uint32_t conn, life; /* of the server whose view it is */
    uint64_t sequence;
    bool snapshot;
    uint64_t in_flight, refused;
    size_t n_rows;
    struct view_row rows[]; /* REPORT: which endpoint */
};

struct conn {
    int node, gateway;       /* one of them is -1 */
    bool at_server, at_peer; /* who believes that it is open */
    bool broken;             /* a gateway's: nothing arrives any more */
    uint64_t up_ms, down_ms; /* the last of its frames arrives then; a gateway's arrive in order */
};

/* ---- the parts ---- */

/* A file that is replaced whole: written beside it, synced, renamed, and the folder synced. */
struct disk {
    char *text;    /* what a reader finds */
    char *writing; /* what is on its way */
    bool renamed;  /* ... and has its name already, but not for certain */
};

struct replica {
    uint16_t port; /* 0 = none */
    bool dead;     /* its process is gone; Serve starts another */
    uint32_t life;
    uint64_t good_ms; /* since when nothing happened to it */
};

struct block {
    bool taken;
    uint64_t rest_until_ms;
};

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
    uint32_t seen_life; /* of the agent that started it or found it again */
    uint16_t port_first;
    uint16_t next_port;
    struct replica replicas[SIM_REPLICAS]; /* of a head */
};

struct node {
    struct a_node_id id;
    struct a_capacity capacity;
    struct a_name cluster;
    char host[32];
    struct disk disk;
    uint64_t disk_full_until_ms;
    struct sl_node core;
    bool agent_up, machine_up;
    bool known;    /* the incarnation of this life is on disk */
    uint32_t life; /* of the agent: events of an earlier one are void */
    uint32_t conn; /* 0 = none */
    uint64_t attach, sequence, acked_ms;
    uint64_t clock_ms;       /* its clock is so much ahead of the world's */
    uint64_t jumped_ms;      /* when it jumped last */
    uint64_t leaves_ms;      /* while it drains: it has said that it ends then; 0 = not */
    uint64_t cut_until_ms;   /* from the server */
    uint64_t apart_until_ms; /* from the gateways */
    struct block blocks[SIM_BLOCKS];
    uint64_t timer_ms; /* of the TIMER event that is scheduled */
    struct member members[SIM_MEMBERS_MAX];
    uint64_t epoch_acked[SIM_APPS_MAX]; /* the highest that it ever answered Ok to */
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

enum store_write_kind { STORE_PUT, STORE_DEL, STORE_PROVEN, STORE_UNDO };

struct store_write {
    struct store_write *next;
    enum store_write_kind kind;
    int app;
    struct a_unit_name unit;
    uint64_t revision, to;
    struct stored_record record;
};

struct gang_owner {
    uint64_t gang;
    int app;
};

/* What the server knows of a gateway. */
struct server_gateway {
    uint32_t conn; /* 0 = none */
    bool subscribed, holds_view;
    bool late; /* it was away for longer than anybody waits for it */
    uint64_t sent, since_ms;
};

struct view {
    struct view_row rows[SIM_ROWS_MAX];
    size_t n_rows;
    uint64_t sequence;
    bool touched, armed;
    struct server_gateway gateways[SIM_GATEWAYS];
    uint64_t left_ms[SIM_GATEWAYS]; /* when it was there last; the start at first */
};

#define SIM_SENT 16

struct server {
    bool up;
    struct msg sent[SIM_SENT]; /* the last frames to nodes: some are still under way when it dies */
    size_t n_sent;
    uint32_t life;
    uint64_t started_ms;
    struct sl_resource resource;
    struct sl_sched sched;
    uint64_t resource_ms, sched_ms;
    struct work *head, *tail; /* events for cores, in order */
    bool draining_work;
    struct view view;
    struct unit_withdraw withdraw;
    uint64_t withdraw_ms;
    /* the store */
    struct a_uuid store_id;
    struct stored_record records[SIM_RECORDS_MAX];
    struct store_write *writes; /* under way, in order */
    uint64_t store_free_ms;
    bool adopted, nodes_are_back;
    struct gang_owner owners[256]; /* which app a gang under way belongs to */
    size_t n_owners;
};

/* One client's request, from its head to its last byte. */
struct request {
    struct gw_request core;
    uint64_t number; /* 0 = free */
    int gateway, app;
    uint32_t life; /* of the gateway */
    bool idempotent, safe;
    bool answered, committed, ended, excused, held, paid;
    uint64_t begun_ms, sent_ms, held_ms;
    uint32_t attempt; /* of the attempt under way; rises with each */
    bool under_way;
    bool lost; /* an attempt may have reached a replica, and then failed */
    uint32_t n_sent, executed;
    struct view_row at; /* where it was sent last */
    uint64_t member;    /* claim number of the member that took it; 0 = none yet */
    uint32_t replica_life;
    char end[64];
};

struct gateway_view {
    struct view_row rows[SIM_ROWS_MAX];
    size_t n_rows;
    uint64_t sequence;
    uint32_t life; /* of its server */
};

struct gateway {
    bool up;
    uint32_t life;
    struct gw core;
    uint32_t conn;
    bool subscribed, carrying;
    uint64_t cut_until_ms; /* from the server */
    uint64_t told_ms; /* when a server told it a view first in this life; until then it goes by its file */
    struct gateway_view view, kept, writing;
    uint64_t up_since_ms[SIM_ROWS_MAX]; /* of view.rows: in the state UP */
    bool saving, save_again;
    struct gw_update *queue;
    size_t n_queue, cap_queue, next;
    uint64_t wake_ms;
    uint64_t resent_ms[64]; /* the last re-sends */
    size_t n_resent;
};

enum sim_count {
    COUNT_FRAMES,
    COUNT_DROPPED,
    COUNT_REPEATED,
    COUNT_LATE,
    COUNT_AGENT_CRASHES,
    COUNT_MACHINE_CRASHES,
    COUNT_OVERTAKEN,
    COUNT_PARTITIONS,
    COUNT_LINKS_RESET,
    COUNT_CLOCK_JUMPS,
    COUNT_SERVER_CRASHES,
    COUNT_STORES_LOST,
    COUNT_MEMBER_DEATHS,
    COUNT_REPLICA_DEATHS,
    COUNT_GATEWAY_CRASHES,
    COUNT_SUSPENDED,
    COUNT_DISKS_FULL,
    COUNT_TORN,
    COUNT_UNTOLD,
    COUNT_STALE,
    COUNT_DRAINS,
    COUNT_DEPLOYS,
    COUNT_SCALES,
    COUNT_PLACED,
    COUNT_RELEASED,
    COUNT_REQUESTS,
    COUNT_RESENT,
    COUNT_FAILED,
    COUNT_N
};

struct sim {
    uint64_t seed, now;
    struct a_random net_random, fault_random, life_random, client_random;
    struct sim_event **events; /* binary heap by (at, serial) */
    size_t n_events, cap_events;
    uint64_t serial;
    uint64_t suspended_ms[OWNERS], suspended_since_ms[OWNERS];
    uint64_t calm_ms;          /* no fault begins any more */
    double drop, repeat, late; /* per frame */
    double broken;             /* per request: its connection breaks */
    double fragile;            /* per write: its process dies over it */
    double shaky;              /* per view that withdraws a unit: the gateway's link breaks soon after */
    double slow;               /* per request: it takes seconds */
    uint64_t ask_ms;           /* clients ask every 1 to 9 times so often */
    uint32_t max_ongoing;      /* of each endpoint */
    struct conn *conns;        /* [0] unused */
    size_t n_conns, cap_conns;
    struct node nodes[SIM_NODES_MAX];
    int n_nodes;
    struct app apps[SIM_APPS_MAX];
    int n_apps;
    struct server server;
    struct gateway gateways[SIM_GATEWAYS];
    struct request requests[SIM_REQUESTS_MAX];
    uint64_t n_requests;
    bool asking;  /* clients ask */
    bool settled; /* healed, whole and quiet: no request may fail any more */
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
    uint64_t at, due, serial; /* due: when it would have come to a process that was not suspended */
    sim_run_fn *run;
    int owner;
    max_align_t data[];
};

void sim_init(struct sim *sim, uint64_t seed);
void sim_deinit(struct sim *sim);
/* `data` (copied) is handed to `run` at now + delay_ms. */
void sim_after(struct sim *sim, int owner, uint64_t delay_ms, sim_run_fn *run, const void *data, size_t size);
/* The process that owns these events does nothing for so long. */
void sim_suspend(struct sim *sim, int owner, uint64_t ms);
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
/* Its last frames arrive when it is dead. */
void net_linger(struct sim *sim);
/* Gateways: frames arrive in order or not at all. */
void net_gateway_connect(struct sim *sim, int gateway);
void net_gateway_send(struct sim *sim, const struct gmsg *m); /* either way, by its type */
void net_close_gateway(struct sim *sim, int gateway, bool silent);
void net_reset_gateway(struct sim *sim, int gateway);
void net_cut_gateway(struct sim *sim, int gateway, uint64_t ms);

/* ---- disk.c ---- */

/* Takes `text`. When it is safe, `done` runs with `data`. */
void disk_write(struct sim *sim, struct disk *disk, int owner, char *text, sim_run_fn *renamed,
                sim_run_fn *done, const void *data, size_t size);
void disk_renamed(struct disk *disk);
void disk_synced(struct disk *disk);
/* The writer is gone, alone or with its machine: what was under way is there or is not. */
void disk_crash(struct sim *sim, struct disk *disk, bool machine);
void disk_deinit(struct disk *disk);

/* ---- node.c ---- */

struct node *sim_node(struct sim *sim, const struct a_node_id *id);
int node_index(const struct sim *sim, const struct node *n);
void node_boot(struct sim *sim, int i);
void node_receive(struct sim *sim, const struct msg *m);
/* `astra drain` or `cordon` at the agent itself: nothing between to lose it. */
void node_command(struct sim *sim, int node, bool drain, bool on);
/* It drains, and says that it ends then, empty or not. */
void node_end(struct sim *sim, int node, uint64_t leaves_ms);
void node_disconnected(struct sim *sim, int i);
void node_connected(struct sim *sim, int i, uint32_t conn);
void node_crash_agent(struct sim *sim, int i, uint64_t down_ms);
void node_crash_machine(struct sim *sim, int i, uint64_t down_ms);
void node_step(struct sim *sim, struct node *n, struct sl_node_event *e);
uint64_t node_now(const struct sim *sim, const struct node *n);
/* Its machine slept for so long: that is what its own clock says. */
void node_clock_jump(struct sim *sim, int i, uint64_t ms);
/* Tells of the claim under that number, where the agent runs and has it. */
void node_report(struct sim *sim, struct node *n, uint64_t number);

/* ---- member.c ---- */

struct member *member_find(struct node *n, uint64_t number);
void member_start(struct sim *sim, struct node *n, const struct sl_claim *c);
/* Ends it in its own time; STOPPED follows. */
void member_stop(struct sim *sim, struct node *n, const struct sl_claim *c);
/* A new Serve config is taken in. */
void member_configure(struct sim *sim, struct node *n, struct member *m, uint64_t revision);
void member_kill(struct sim *sim, int node);
void member_kill_replica(struct sim *sim, int node);
void members_vanish(struct sim *sim, struct node *n); /* with their machine */
/* Who listens there; NULL = nobody. */
struct replica *member_listens(struct node *n, uint16_t port, struct member **ret_member);
uint16_t ports_take(struct sim *sim, struct node *n, uint64_t number); /* 0 = no block is free */
void ports_keep(struct node *n, uint16_t first);
void ports_give_back(struct sim *sim, struct node *n, uint16_t first);

/* ---- server.c ---- */

void server_boot(struct sim *sim);
void server_crash(struct sim *sim, uint64_t down_ms, bool lose_store);
/* After a lost store: makes the apps anew and takes their claims over. */
void server_adopt(struct sim *sim);
void server_receive(struct sim *sim, const struct msg *m);
void server_closed(struct sim *sim, uint32_t conn);
void server_desire(struct sim *sim, int app);
void server_retry(struct sim *sim);
void server_wake(struct sim *sim); /* something was queued from outside */
void server_withdrawn(struct sim *sim, int app, uint64_t sequence);
void server_idle(struct sim *sim, int app, const struct a_unit_name *unit);
void server_refused(struct sim *sim, int node);
struct app *server_app(struct sim *sim, const struct a_uuid *uid);
void claim_text(const struct a_node_id *node, const struct a_claim_id *id, char *out, size_t size);

/* ---- view.c ---- */

void view_reset(struct sim *sim);
void view_touch(struct sim *sim);
void view_endpoints(struct sim *sim, const struct unit_action *a);
void view_forget(struct sim *sim, const struct a_unit_name *unit);
/* Makes the view and sends what changed; at the end of the server's round. */
void view_round(struct sim *sim);
void view_receive(struct sim *sim, const struct gmsg *m);
void view_gateway_closed(struct sim *sim, int gateway, uint32_t conn);
void view_time(struct sim *sim); /* the core's deadline passed */
void view_row_id(const struct view_row *row, char *out, size_t size);
bool view_row_same(const struct view_row *a, const struct view_row *b);

/* ---- gateway.c ---- */

void gateway_boot(struct sim *sim, int g);
void gateway_crash(struct sim *sim, int g, uint64_t down_ms);
void gateway_stop(struct sim *sim, int g); /* at the end of the world */
void gateway_connected(struct sim *sim, int g, uint32_t conn);
void gateway_disconnected(struct sim *sim, int g);
void gateway_receive(struct sim *sim, const struct gmsg *m);
void gateway_step(struct sim *sim, int g, struct gw_event *e);
void gateway_report(struct sim *sim, int g); /* what changed since the last time */
struct gw_endpoint *gateway_endpoint(struct sim *sim, int g, const struct view_row *row);

/* ---- request.c ---- */

void requests_begin(struct sim *sim); /* clients ask from now on */
void request_update(struct sim *sim, struct request *r, const struct gw_update *u);
/* All that were sent to it lose their connection. */
void requests_lose(struct sim *sim, const struct node *n, uint64_t member, uint16_t port);
void requests_drop(struct sim *sim, int gateway); /* with their gateway */

/* ---- fault.c ---- */

extern const char *const sim_count_names[COUNT_N];
void world_build(struct sim *sim);
void faults_begin(struct sim *sim, uint64_t until_ms);
void world_heal(struct sim *sim);

/* ---- check.c ---- */

void check_step(struct sim *sim);
void check_reply(struct sim *sim, const struct node *node, const struct a_capacity *before,
                 enum sl_node_result result);
void check_durable(struct sim *sim, struct node *node, const struct sl_node_action *action);
void check_stop(struct sim *sim, struct node *node, const struct sl_claim *claim);
void check_release(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node);
void check_granted(struct sim *sim, const struct sl_sched_update_item *item);
void check_reserve(struct sim *sim, const struct a_claim_id *id);
void check_bind(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node);
void check_place(struct sim *sim, struct app *app);
void check_withdraw(struct sim *sim, struct app *app, const struct unit_action *a);
void check_notices(struct sim *sim);
/* A number that changes when any member is started or stopped. */
uint64_t check_members(const struct sim *sim);
void check_deinit(struct sim *sim);
/* Healed and quiet: everything wanted is there and nothing else. */
bool check_quiet(struct sim *sim);
void check_end(struct sim *sim);

/* ---- check_request.c ---- */

void check_send(struct sim *sim, struct request *r, const struct gw_endpoint *e);
void check_held(struct sim *sim, struct request *r);
void check_answer(struct sim *sim, struct request *r, const struct gw_update *u);
void check_executed(struct sim *sim, struct request *r, const struct member *m);
void check_ended(struct sim *sim, struct request *r, bool ok);
/* Before a member that serves is stopped: no gateway that is there sends to it. */
void check_stop_requests(struct sim *sim, struct node *n, const struct member *m);
/* Nobody asks any more: nothing is counted any more. */
void check_gateways_idle(struct sim *sim);

#endif
