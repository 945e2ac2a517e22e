/* The server: resource, scheduler and api roles in one process, on one loop.
 *
 * Agents and gateways come in by Starlink (peers.c), people by HTTP (api*.c). The resource table knows the
 * nodes, one claimer places for all apps, one fleet per app decides; this daemon feeds them events and
 * carries out what they ask for. Objects live in memory; the store's worker makes them durable. Nothing here
 * waits: what takes time calls back.
 *
 * Between the files of this folder; nothing outside includes it. docs/components/server.md tells the whole.
 */
#ifndef A_DAEMON_SERVER_SERVER_H
#define A_DAEMON_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "daemon/server/authority.h"
#include "daemon/server/event_ring.h"
#include "daemon/server/traffic.h"
#include "net/http_server.h"
#include "net/starlink.h"
#include "starlink/resource/resource.h"
#include "starlink/sched/sched.h"
#include "store/store.h"
#include "sys/loop.h"
#include "sys/pool.h"
#include "sys/secret.h"
#include "unit/app.h"
#include "unit/fleet.h"
#include "unit/withdraw.h"
#include "wire/starlink.h"

#define D_SERVER_PAST 64       /* members that ended, remembered per app: where to look for their logs */
#define D_SERVER_ADOPT_MS 3000 /* three beats: then the adopt phase ends without those who are not back */
/* A gateway with an old view keeps it until all known nodes are back, or so long; nothing is adopted before
 * ... */
#define D_SERVER_FIRST_VIEW_MS 8000
/* ... and until the texts of orphans have come, or so long. */
#define D_SERVER_ORPHAN_TEXT_MS 60000
/* A text that did not come is asked for again. */
#define D_SERVER_ORPHAN_ASK_MS 2000
#define D_SERVER_TOKEN_ASK_MS 2000 /* for a unit's Ray token, again */
#define D_SERVER_BEAT_MS 1000
#define D_SERVER_COUNTS_MS 60000 /* between two records of success counts: lost in a crash */
#define D_SERVER_CERT_LIFE_MS 86400000u
/* Lives of a certificate: so long after its end it is renewed without a join token, and so long a CA that was
 * rotated away is trusted. A fleet that was off for a week comes back by itself. */
#define D_SERVER_CERT_GRACE 7u

/* ---- apps ---- */

struct d_revision {
    struct a_list link;          /* of d_app.revisions, oldest first */
    struct a_map_link by_digest; /* of server.texts */
    uint64_t number;
    uint64_t created_unix_ms;
    struct a_digest digest, replace, serve;
    char *text;     /* canonical JSON: what agents fetch */
    char *app_json; /* the completed app that it was made from */
    char *cause;    /* who or what made it: "deploy", "undo of 3" */
    bool found;     /* on a node, and not in the store yet */
    struct a_arena arena;
    struct unit_app read; /* from app_json; in `arena` */
    struct unit_member_spec *members;
    size_t n_members;
};

/* What gateways reported of an app's requests. */
struct d_app_counts {
    struct d_tally total; /* since the server's start */
    uint64_t retried;
    struct d_rate rate;
    struct d_success success;
};

/* Where a member ran that ended unasked: its log is still there. */
struct d_past {
    struct a_list link; /* of d_app.past, newest first */
    struct a_unit_name unit;
    struct a_name member;
    struct a_node_id node;
    char *node_name;
    uint64_t gone_unix_ms; /* the node is forgotten, and was connected until then; 0 = it is known */
};

/* The object of a Kubernetes cluster that something came from. */
struct d_origin {
    struct a_name cluster; /* empty: none, it was made by the API */
    char uid[64];
    int64_t generation; /* of the object, that was taken over last */
};

struct d_app {
    struct a_map_link by_ref, by_uid; /* of server.apps, server.uids */
    char key[2 * A_NAME_MAX + 2];     /* namespace/name */
    struct a_app_ref ref;
    struct a_uuid uid;
    uint64_t generation;
    uint64_t store_revision; /* of its entry: resourceVersion, for If-Match */
    uint64_t created_unix_ms;
    uint64_t epoch_base;       /* what another store's claims of it had at most; stored */
    uint64_t epoch;            /* in each claim: epoch_base + the store's own, which rises at each opening */
    struct a_uuid *old_stores; /* under whose ids claims of it were made before it was adopted; stored */
    size_t n_old_stores;
    struct d_origin origin; /* stored */
    uint32_t units;         /* wanted; the only part of the spec that a revision does not fix */
    struct a_list revisions;
    uint64_t wanted_revision;   /* while reading the store: number of `current` */
    struct d_revision *current; /* NULL: orphan without its text yet */
    uint64_t proven;
    uint64_t seen_epoch; /* the highest that a node told */
    bool behind; /* nodes know a later epoch: the store is older than what runs. Held until it is recovered */
    bool deleted;
    bool orphan;              /* known from what agents report alone: no fleet, no entry in the store */
    struct unit_fleet *fleet; /* NULL for orphans */
    struct d_event_ring *events;
    struct d_app_counts counts;
    struct a_list past; /* at most D_SERVER_PAST */
};

/* What the server keeps of a unit beside the fleet. */
struct d_unit {
    struct a_map_link link; /* of server.units, by name */
    struct a_unit_name name;
    struct d_app *app;
    char ray_token[65]; /* 64 hex digits; in the unit's record. Empty: lost with a store, its head's node
                           knows */
    uint64_t token_asked_ms;
    bool token_refused_told;
    enum unit_endpoints endpoints;
    struct d_rate *rate; /* NULL before its first request */
};

/* ---- peers ---- */

struct d_agent {
    struct a_map_link by_node; /* of server.agents */
    struct a_node_id node;
    struct d_peer *peer;
    char name[254], version[65];
    struct a_digest artifact; /* that it runs from; zero: what was installed */
    struct a_name network;
    struct {
        struct a_view key, value;
    } * labels;
    size_t n_labels;
    struct a_arena arena;
    uint32_t slot;
    uint64_t used_mcpu, used_memory; /* of the last beat */
    uint64_t sequence;               /* of the last frame that has one */
};

enum d_peer_kind { D_PEER_NEW, D_PEER_AGENT, D_PEER_GATEWAY, D_PEER_BULK };

struct d_gateway {
    struct a_list link; /* of server.gateways */
    struct d_peer *peer;
    char name[254], address[254], version[65];
    uint16_t port;
    bool subscribed;
    bool holds_view; /* it has routes from before: they are not replaced until this server knows as much */
    uint64_t sent, acked; /* view sequences */
    struct a_map apps;    /* by app: counts.c */
};

struct d_peer {
    uint32_t magic;
    struct a_list link; /* of server.peers */
    struct server *server;
    struct net_link *net;
    struct net_peer identity; /* of its certificate; follows renewals */
    uint32_t conn;            /* number, for the resource table; never 0 */
    enum d_peer_kind kind;
    struct d_agent *agent;
    struct d_gateway *gateway;
    struct d_bulk *bulk;
    struct sys_timer hello_timer;
    struct sys_timer cert_timer; /* looks at the certificate's end */
};

/* ---- artifacts ---- */

struct d_artifact {
    struct a_map_link by_name; /* of server.artifacts: namespace/name@version */
    char *key;
    struct a_name namespace;
    char *name, *version;
    struct a_digest digest;
    uint64_t bytes, created_unix_ms;
    uint64_t store_revision;
};

/* ---- the server ---- */

struct server_options {
    const char *data;           /* folder */
    const char *api, *starlink; /* addresses to listen on */
    const char *ready_file;
    const char *api_host; /* another name of the API, for its certificate; NULL = none */
    uint64_t certificate_life_ms;
    const char *roles;                                /* NULL = all */
    const char *lost_after, *counts_every, *logs_max; /* as they were said */
    uint64_t lost_ms, counts_ms, logs_max_bytes;
};

struct server {
    struct sys_loop *loop;
    struct server_options options;
    struct sys_pool *io, *hash;
    struct store *store;
    struct a_uuid boot_id;
    uint64_t started_ms;
    struct sys_secret join_token, api_token;
    struct d_authority authority;
    uint64_t refused[NET_REFUSAL_COUNT];
    struct a_random random;

    struct net_link_listener *listener;
    struct a_list peers;
    uint32_t last_conn;
    struct a_map agents; /* by node id */
    struct a_map away;   /* struct d_away: names of known nodes that are not connected */
    struct a_list gateways;

    struct sl_resource resource;
    struct sl_sched sched;
    uint64_t last_gang;
    struct a_map gangs; /* struct d_gang, by number */
    struct a_map apps, uids, units, texts, artifacts;
    struct a_node_id *record_nodes; /* nodes that the store's unit records name, at start */
    size_t n_record_nodes;
    uint64_t orphans_asked_ms;
    bool adopted;             /* the adopt phase is over */
    bool nodes_are_back;      /* all of record_nodes have reported since */
    uint64_t request;         /* numbers of Starlink requests */
    struct a_list operations; /* struct operation.link: writes of apps, one after the other */
    struct a_list actions;    /* struct d_action.link: what fleets asked for, not carried out yet */
    unsigned depth;           /* of core events under way: actions are carried out at 0 */

    struct d_routes *routes;
    struct unit_withdraw withdraw; /* what gateways acknowledged, and have in flight */
    struct d_event_ring *events;   /* of no app */
    uint64_t event_sequence;
    uint64_t event_counts[A_REASON_COUNT];
    struct a_list event_watchers; /* struct d_event_watcher.link */
    struct a_list tickets;        /* struct d_ticket.link: bulk connections asked for */
    struct d_kept_logs *kept_logs;
    struct a_list commands; /* struct d_command.link: to nodes, unanswered */

    struct a_map cluster_limits;  /* struct d_cluster_limits, by name */
    struct d_kube *kube;          /* NULL: this server does not have the role */
    struct a_list cluster_drains; /* struct cluster_drain.link */
    struct d_upgrades *upgrades;

    struct net_http_server *http;
    struct api *api; /* api.c */
    struct d_replays *replays;
    struct sys_round round;
    struct sys_timer wake, counts_timer;
    bool stopping;
};

/* ---- events.c ---- */

struct d_event_watcher {
    struct a_list link;
    void (*event)(void *ctx, const struct d_event *e);
    void *ctx;
};

void d_event_add(struct server *s, const struct d_app *app, const char *actor, const char *object,
                 uint64_t revision, enum a_reason reason, const char *fmt, ...) A_PRINTF(7, 8);

/* ---- counts.c: what gateways report of requests ---- */

/* Reads what was kept, before the loop runs; then saves now and then. */
int d_counts_start(struct server *s, struct a_error *reterr) A_MUST_CHECK;
/* Before the store is closed. */
void d_counts_stop(struct server *s);
void d_counts_app(struct server *s, struct d_gateway *g, const struct wire_sl_app_report *m);
void d_counts_endpoint(struct server *s, const struct wire_sl_endpoint_report *m);
/* Under way and waiting, over all gateways. */
void d_counts_load(const struct server *s, const struct d_app *app, uint64_t *ret_in_flight,
                   uint64_t *ret_queued);
void d_counts_gateway_free(struct d_gateway *g);

/* ---- past.c ---- */

/* A member of the app ended unasked. */
void d_past_add(const struct server *s, struct d_app *app, const struct a_claim_id *claim,
                const struct a_node_id *node);
/* The node's row is about to be forgotten. */
void d_past_node_gone(struct server *s, const struct sl_resource_node *node);
void d_past_free(struct d_app *app);

/* ---- kept_logs.c: the last words of failed members, brought by their nodes ---- */

#define D_KEPT_LOG_BYTES (1u << 20) /* of one */
#define D_KEPT_LOGS_OF_APP 32       /* the oldest goes */
#define D_KEPT_LOGS 4096            /* of all */
#define D_KEPT_LOGS_MAX "256Mi"     /* of all: --logs-max */
#define D_KEPT_LOGS_TAKEN 8         /* at a time; who comes then is told to come again */
#define D_KEPT_LOG_MS 30000         /* from BULK_LOG to BULK_END: a mebibyte at the slowest of links */

/* Why one was not taken. X(NAME, "word") */
#define D_KEPT_LOG_REFUSALS(X)                                                                               \
    X(BUSY, "busy")         /* so many are on their way already, or one of this node; no memory */           \
    X(STRANGER, "stranger") /* the node has, and had, no such claim */                                       \
    X(SIZE, "size")         /* more or fewer bytes than it said, or none, or too many */                     \
    X(CUT, "cut")           /* the connection broke, or the node gave up, before the end */                  \
    X(SLOW, "slow")                                                                                          \
    X(DISK, "disk") /* it could not be written */

enum d_kept_log_refusal {
#define X(name, word) D_KEPT_LOG_##name,
    D_KEPT_LOG_REFUSALS(X)
#undef X
        D_KEPT_LOG_REFUSAL_COUNT
};

struct d_kept_log {
    struct a_list link; /* oldest first */
    struct a_claim_id id;
    uint64_t bytes;
    uint64_t unix_ms; /* when it came, for the order after a restart */
};

struct d_kept_push; /* one on its way */

/* Finds what is in DATA/logs. Before the loop runs. */
void d_kept_logs_load(struct server *s);
/* After the peers are gone, while the pool is there. */
void d_kept_logs_free(struct server *s);
/* The newest of a member; empty names are any. NULL: none is here. */
const struct d_kept_log *d_kept_log_find(const struct server *s, const struct a_uuid *app, const char *unit,
                                         const char *member);
/* All of them, the newest first: `log` NULL begins. */
const struct d_kept_log *d_kept_log_before(const struct server *s, const struct d_kept_log *log);
/* Owned by the caller. */
char *d_kept_log_path(const struct server *s, const struct a_claim_id *id);
/* The app is gone, and so are its logs. */
void d_kept_logs_forget(struct server *s, const struct a_uuid *app);
/* Prometheus text. */
void d_kept_logs_metrics(const struct server *s, struct a_buf *b);

/* A node begins to bring one. NULL: it was refused, and answered; the peer may be gone. */
struct d_kept_push *d_kept_push_begin(struct d_peer *p, const struct wire_sl_bulk_log *m);
/* These may end the push (d_bulk_push_over() is told), and the peer with it. */
void d_kept_push_data(struct d_kept_push *push, struct a_view bytes);
void d_kept_push_end(struct d_kept_push *push, const struct wire_sl_bulk_end *m);
/* The connection is gone. What is being written is written. NULL allowed. */
void d_kept_push_drop(struct d_kept_push *push);

/* ---- peers.c: connections ---- */

int d_peers_listen(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_peers_close(struct server *s);
/* Closes after saying why. */
void d_peer_refuse(struct d_peer *p, enum net_refusal refusal, enum a_code code, const char *message);
/* Counts and logs a refusal; `peer` is an address or an id. */
void d_refused(struct server *s, enum net_refusal refusal, const char *peer, const char *why);
/* Its certificate has ended; it is served as before. */
bool d_peer_is_expired(const struct d_peer *p);
/* How many of those who are connected. */
size_t d_peers_expired(const struct server *s);
/* Every peer learns whom to trust now, and asks for a new certificate. */
void d_peers_tell_trust(struct server *s);
/* Ends the connections of an identity that was denied. */
void d_peers_cut(struct server *s, const struct a_node_id *id);
struct d_agent *d_agent_find(const struct server *s, const struct a_node_id *node);
/* What people call it: the last name that it told, while its row is known; else its id. */
const char *d_node_name(const struct server *s, const struct a_node_id *id);
void d_away_forget(struct server *s, const struct a_node_id *id);
void d_away_free(struct server *s);
/* False when the node is not connected or its queue is full: whoever sends, sends again on a view change or a
 * time-out. */
bool d_agent_send(struct server *s, const struct a_node_id *node, const struct wire_sl_message *m);

/* ---- agents.c: what agents say ---- */

void d_agent_attach(struct d_peer *p, const struct wire_sl_hello *hello);
void d_agent_message(struct d_peer *p, const struct wire_sl_message *m);
void d_agent_detach(struct d_peer *p);
/* Cordon, uncordon, drain, undrain: done(ctx, NULL) when the node has it on disk, else why not. */
void d_node_command(struct server *s, const struct a_node_id *node, enum wire_sl_node_action action,
                    uint64_t deadline_ms, void (*done)(void *ctx, const struct a_error *error), void *ctx);

/* ---- cores.c: feeding the cores and carrying out what they ask for ---- */

void d_resource_event(struct server *s, struct sl_resource_event *e);
void d_sched_event(struct server *s, struct sl_sched_event *e);
void d_fleet_event(struct server *s, struct d_app *app, struct unit_fleet_event *e);
/* The claimer's number for a fleet's gang: fleets number their own. */
uint64_t d_gang_new(struct server *s, struct d_app *app, const struct unit_action *place);
uint64_t d_gang_number(const struct server *s, const struct d_app *app, uint64_t fleet_number); /* 0 = none */
void d_gang_forget(struct server *s, uint64_t number);
void d_gangs_drop(struct server *s, const struct d_app *app);
/* Limits or prices of the cluster may be others: its nodes are looked at again, and who waits tries again. */
void d_cluster_look(struct server *s, const struct a_name *cluster);
/* Begin and end of whatever enters a core: at the outermost end queued actions are carried out. */
void d_cores_enter(struct server *s);
void d_cores_leave(struct server *s);
/* Deadlines of all cores; once per round. */
void d_cores_round(struct server *s);
uint64_t d_cores_deadline(struct server *s);
/* The last CLAIM_STATUS of a claim, decoded into `arena`; NULL when there is none. */
const struct wire_sl_claim_status *d_claim_status(const struct sl_resource_claim *claim,
                                                  struct a_arena *arena);
struct d_unit *d_unit_find(const struct server *s, const struct a_unit_name *name);
struct d_unit *d_unit_get(struct server *s, struct d_app *app,
                          const struct a_unit_name *name); /* made when absent */
void d_unit_free(struct server *s, struct d_unit *u);      /* nobody waits for its withdrawal any more */

/* ---- ray_tokens.c: tokens that were lost with a store ---- */

/* Asks the head's node for the unit's token when it is not known, now and then. */
void d_ray_token_ask(struct server *s, struct d_unit *unit, const struct sl_resource_claim *head);
void d_ray_token_take(struct server *s, const struct wire_sl_unit_token_reply *reply);

/* ---- actions.c: what fleets ask for ---- */

void d_action_queue(struct server *s, struct d_app *app, const struct unit_action *action);
/* Carries out all that is queued. */
void d_actions_run(struct server *s);
/* What was queued for an app that is going away. */
void d_actions_drop(struct server *s, const struct d_app *app);

/* ---- placing.c ---- */

/* Asks the claimer for a place. */
void d_place(struct server *s, struct d_app *app, const struct unit_action *place);

#define D_PLACE_NODES 20 /* that an explanation names */

struct d_place_why {
    bool fits;                 /* it would be placed now; nothing below */
    struct sl_explain explain; /* what is looked for, and how many nodes fail for which reason */
    struct sl_explain_node nodes[D_PLACE_NODES];
    size_t n_nodes;
};

/* The members that are looked for now; `ret` has room for UNIT_MEMBERS_MAX. */
size_t d_place_wanted(const struct d_app *app, const struct unit_info *u, struct sl_gang_member *ret);
/* What the unit, or a member that it lacks, would find now. False: nothing is looked for. */
bool d_place_explain(const struct server *s, const struct d_app *app, const struct unit_info *u,
                     struct d_place_why *ret);

/* ---- apps.c: apps and revisions ---- */

/* Reads all from the store. Before the loop runs. */
int d_apps_load(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_apps_free(struct server *s);
struct d_app *d_app_find(const struct server *s, const struct a_app_ref *ref);
struct d_app *d_app_by_uid(const struct server *s, const struct a_uuid *uid);

struct d_app_result {
    struct d_app *app; /* NULL on failure */
    bool changed;      /* false: the same as before */
    bool new_revision;
};
typedef void d_app_done(void *ctx, const struct d_app_result *result, const struct a_error *error);

/* The App's checker, and what only the server knows: are the artifacts there? NULL when there is an error in
 * `p`; else the completed app with its sources resolved, in the arena of `p`. */
struct wire_value *d_app_check(const struct server *s, struct wire_problems *p, const struct wire_value *doc,
                               struct unit_source **ret, size_t *ret_n);

/* A write of an app: what d_app_check() passed. */
struct d_app_write {
    const struct wire_value *app;
    const struct unit_source *sources;
    size_t n_sources;
    uint64_t if_match;             /* 0 = any, else the store revision that it must still have */
    const struct d_origin *origin; /* NULL = the API */
    bool adopt;                    /* an app that was made by the API may be taken over */
    const struct store_write *also;
};

/* Makes a revision when more than `units` differs, stores, tells the fleet, then done. A_CODE_CONFLICT when
 * the app came from elsewhere, and its origin still speaks for it (d_kube_speaks_for_app()). Here and below
 * `also` is written in the same transaction, if there is one; NULL = nothing. It stays until done. */
void d_app_put(struct server *s, const struct d_app_write *write, d_app_done *done, void *ctx);
void d_app_scale(struct server *s, struct d_app *app, uint32_t units, const struct store_write *also,
                 d_app_done *done, void *ctx);
/* The fleet's own verdicts: stored, without a new generation. */
void d_app_proven(struct server *s, struct d_app *app, uint64_t revision);
void d_app_undone(struct server *s, struct d_app *app, uint64_t from, uint64_t to);
/* Nothing of a deleted app is left: its entries become a tombstone, the object goes. */
void d_app_gone(struct server *s, struct d_app *app);
/* Back to revision `to`; 0 = the newest one before the current one that was proven, else just the one before.
 */
void d_app_undo(struct server *s, struct d_app *app, uint64_t to, const struct store_write *also,
                d_app_done *done, void *ctx);
/* `origin` NULL: by the API, refused like d_app_put(). */
void d_app_delete(struct server *s, struct d_app *app, const struct d_origin *origin,
                  const struct store_write *also, d_app_done *done, void *ctx);
/* Orphans: make it an app of this store again, or release all its claims. Adopting wants its text, and a
 * server to which its nodes had time to come back. */
bool d_app_adoptable(const struct server *s, const struct d_app *app);
void d_app_adopt(struct server *s, struct d_app *app, d_app_done *done, void *ctx);
/* Makes the store as new as what runs: an epoch above all that nodes know, the newest revision that runs. */
void d_app_recover(struct server *s, struct d_app *app, d_app_done *done, void *ctx);
/* A node told of this epoch, of this claim: is the store as new as they are? */
void d_app_told(struct server *s, struct d_app *app, uint64_t epoch);
void d_app_told_claim(struct server *s, struct d_app *app, const struct sl_resource_claim *claim);
/* Agents dial at most 5 s apart: who comes later is not known yet. */
bool d_nodes_may_come(const struct server *s);
void d_app_release_orphans(struct server *s, struct d_app *app, d_app_done *done, void *ctx);
/* The completed app with its present units, status left out; in `arena`. */
struct wire_value *d_app_tree(const struct d_app *app, struct a_arena *arena);
/* Known from now on: in the tables, with a fleet unless it is an orphan. */
void d_app_add(struct server *s, struct d_app *app);
/* Out of every table, and freed. */
void d_app_remove(struct server *s, struct d_app *app);
/* Tells the fleet what is wanted now. */
void d_app_desire(struct server *s, struct d_app *app);
struct d_app *d_app_new(const struct a_app_ref *ref, const struct a_uuid *uid);
/* NULL (reterr) when the text is none of ours. `text` NULL: it is made from the app and its sources. */
struct d_revision *d_revision_new(const struct wire_value *app, const struct a_uuid *uid, uint64_t number,
                                  const struct unit_source *sources, size_t n_sources, const char *cause);
struct d_revision *d_revision_read(struct a_view text, uint64_t number, struct a_error *reterr);
void d_revision_free(struct d_revision *r); /* NULL allowed */
/* The adopt phase is over: fleets may place from here on. */
void d_apps_adopted(struct server *s);

/* ---- orphans.c ---- */

/* A claim of an app that no store knows: the app is listed, its routes stay. */
void d_orphan_seen(struct server *s, const struct sl_resource_claim *claim);
/* A claim of an orphan ended. With the last one the app is forgotten (`app` is gone then): its name is free
 * again. */
void d_orphan_gone(struct server *s, struct d_app *app, const struct sl_resource_claim *claim);
/* True while the text of some orphan's revision is missing; asks for it again now and then. */
bool d_orphans_missing(struct server *s);
/* The text of a revision arrived from a node. */
void d_orphan_text(struct server *s, const struct a_digest *digest, struct a_view text);
/* Texts of revisions that agents ask for; NULL = none. */
const char *d_revision_text(const struct server *s, const struct a_digest *digest);
struct d_revision *d_app_revision(const struct d_app *app, uint64_t number);

/* ---- routes.c: what gateways see ---- */

void d_routes_init(struct server *s);
void d_routes_free(struct server *s);
/* An app's routes or a unit's endpoints may have changed: the view is brought up to date at the end of the
 * round. */
/* Targets of the present view that were left out: at no address of their unit. */
size_t d_routes_foreign(const struct server *s);
void d_routes_touch(struct server *s);
/* Enough is known to say who serves: not for a few seconds after a start, when units that run have not all
 * reported. Who asks then must keep what it has. */
bool d_routes_are_known(struct server *s);
/* Calls take(ctx, endpoint) for all of the view; what it is given lives during the call. */
void d_routes_endpoints(const struct server *s, void (*take)(void *ctx, const struct wire_sl_endpoint *e),
                        void *ctx);
/* An endpoint of the view by its id, which lives in `arena`; false when it has none of it. */
bool d_routes_endpoint(const struct server *s, const char *id, struct a_arena *arena,
                       struct wire_sl_endpoint *ret);
void d_routes_round(struct server *s);
/* An event for the core that knows who must still hear of a withdrawal; the fleets get its answers. */
void d_withdraw_event(struct server *s, struct unit_withdraw_event *e);
void d_gateway_attach(struct d_peer *p, const struct wire_sl_hello *hello);
void d_gateway_message(struct d_peer *p, const struct wire_sl_message *m);
void d_gateway_detach(struct d_peer *p);

/* ---- artifacts.c, bulk.c ---- */

int d_artifacts_load(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_artifacts_free(struct server *s);
/* DATA/artifacts/sha256/HEX; owned by the caller. */
char *d_artifact_path(const struct server *s, const struct a_digest *digest);
/* "name@version", "name" (the newest) or "sha256:HEX": its digest; false when it is not here. */
bool d_artifact_resolve(const struct server *s, const struct a_name *namespace, const char *source,
                        struct a_digest *ret);
/* The file is in place already (written by the upload): makes the name known, durable, then done. The same
 * name@version with another digest is A_CODE_CONFLICT: versions are immutable. */
void d_artifact_put(struct server *s, const struct a_name *namespace, const char *name, const char *version,
                    const struct a_digest *digest, uint64_t bytes,
                    void (*done)(void *ctx, const struct a_error *error), void *ctx);

void d_bulk_attach(struct d_peer *p, const struct wire_sl_hello *hello);
void d_bulk_message(struct d_peer *p, const struct wire_sl_message *m);
void d_bulk_detach(struct d_peer *p);
/* What the node brought unasked is over; `code` NONE: it is on disk. */
void d_bulk_push_over(struct d_peer *p, enum a_code code, const char *message, uint64_t bytes);
/* ... and what it said of it is not true: its connection ends. */
void d_bulk_push_lied(struct d_peer *p, const char *message);

/* What is asked of a node over a bulk connection that it dials: logs, or an artifact. */
struct d_ticket_ops {
    void (*log)(void *ctx, const struct wire_sl_bulk_log *log); /* optional: before a file's bytes */
    /* Return false to stop reading for now; d_ticket_resume() goes on. */
    bool (*data)(void *ctx, struct a_view bytes);
    void (*end)(void *ctx,
                const struct a_error *error); /* exactly once, unless cancelled; error NULL = complete */
};
struct d_ticket;
/* Fails (NULL, reterr) when the node is not connected. `ask` without its ticket and node. */
struct d_ticket *d_ticket_open(struct server *s, const struct a_node_id *node,
                               const struct wire_sl_open_bulk *ask, const struct d_ticket_ops *ops, void *ctx,
                               struct a_error *reterr);
/* Those that wait for their node end, for the server does. */
void d_tickets_end(struct server *s);
void d_ticket_resume(struct d_ticket *t);
void d_ticket_cancel(struct d_ticket *t); /* NULL allowed; no call afterwards */

/* ---- cluster_drain.c: emptying a whole cluster ---- */

/* Nothing new is placed there; its nodes drain, a tenth of them at a time. False takes all of them back. */
void d_cluster_drain(struct server *s, const struct a_name *cluster, bool drain);
bool d_cluster_is_draining(const struct server *s, const struct a_name *cluster);
void d_cluster_drains_stop(struct server *s);

/* ---- cluster_limits.c ---- */

int d_cluster_limits_load(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_cluster_limits_deinit(struct server *s);
/* Of the whole node and hour: its pool's price, else its cluster's; 0 = none is known. */
double d_node_price(const struct server *s, const struct sl_resource_node *node);

/* ---- upgrades.c: agents go over to another artifact; upgrades.h has the rest ---- */

int d_upgrades_load(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_upgrades_stop(struct server *s);
void d_upgrades_told(struct server *s, const struct wire_sl_upgrade_status *m);

/* ---- kube.c: the kube role ---- */

int d_kube_start(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_kube_stop(struct server *s);
/* A node's state, claims or agent may be others now. */
void d_kube_node_changed(struct server *s, const struct a_node_id *node);
/* Prometheus text. */
void d_kube_metrics(const struct server *s, struct a_buf *b);
/* The price of the pool that the node is of; 0: it is of none, or that has none. */
double d_kube_node_price(const struct server *s, const struct a_node_id *node);
/* Which pools cannot grow for a limit: "; pool gpu-a cannot grow: max-cpu of east is ..." */
void d_kube_limits_say(const struct server *s, struct a_buf *b);
/* All pools of the cluster look at it again. */
void d_kube_cluster_changed(struct server *s, const struct a_name *cluster);

/* ---- api.c ---- */

int d_api_start(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_api_stop(struct server *s);
uint16_t d_api_port(const struct server *s); /* the real one */
/* What is remembered of Idempotency-Keys: transactions may point at it, so it goes after the store. */
void d_replays_free(struct server *s);

/* ---- api_table.c: what people see may read differently now; cheap, and one too many does no harm ---- */

void d_api_app_changed(struct server *s, const struct d_app *app); /* with its units */
void d_api_node_changed(struct server *s, const struct a_node_id *node);
void d_api_endpoint_changed(struct server *s, const struct a_app_ref *app, const char *id);
/* The view that gateways get was made: who watches endpoints gets it, too. */
void d_api_endpoints_tell(struct server *s);
void d_api_eds_tell(struct server *s);

#endif
