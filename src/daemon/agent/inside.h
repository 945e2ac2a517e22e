/* What the files of the agent share. One loop, one thread; what blocks runs in the pools `io` and `hash`. */
#ifndef D_AGENT_INSIDE_H
#define D_AGENT_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "artifact/agent.h"
#include "artifact/cache.h"
#include "artifact/manifest.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "daemon/agent/options.h"
#include "daemon/identity.h"
#include "daemon/shim/spec.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/starlink.h"
#include "starlink/node/node.h"
#include "sys/census.h"
#include "sys/loop.h"
#include "sys/pool.h"
#include "sys/portblock.h"
#include "sys/process.h"
#include "sys/secret.h"
#include "types/state.h"
#include "unit/ray.h"
#include "wire/starlink.h"
#include "wire/value.h"

/* Below a member's `temp`. Ray opens its folder to everybody (mode 0777): `temp` is what keeps others out. */
#define D_MEMBER_RAY_DIR "r"
#define D_AGENT_MESSAGE_MAX 4096 /* bytes of a member's message: Ray's last lines fit */

/* The installed executable's path, in the environment of an agent that runs from an artifact. */
#define D_AGENT_INSTALLED "ASTRA_AGENT_INSTALLED"

struct d_agent;
struct d_choice;
struct d_outbox;
struct d_serve;
struct d_tenants;
struct d_upgrade;

/* A piece of work in a pool, in its owner's object. */
struct d_job {
    struct sys_work work;
    bool running;
};

/* One member: what a BOUND claim runs. */
struct d_member {
    struct a_list link; /* d_agent.members */
    struct d_agent *agent;
    uint64_t number; /* of the claim */
    struct a_claim_id id;
    char *key;         /* UID/UNIT/MEMBER/ATTEMPT, in ASTRA_CLAIM of each process */
    char *folder;      /* DATA/members/NUMBER */
    char *temp;        /* for this member alone: Ray's --temp-dir and TMPDIR lie in it */
    struct a_sm state; /* a_member_states */
    enum a_reason reason;
    char *message; /* never NULL */
    uint64_t since_ms, started_ms;
    bool head;
    struct sys_portblock block;
    uint16_t port_first;
    struct a_capacity capacity;
    uint32_t uid; /* of its namespace; 0 = the agent's own */

    /* of BIND and the revision */
    struct sys_secret token;
    char *head_address, *group;
    uint16_t head_port;
    uint64_t revision;
    struct a_digest revision_digest;
    struct a_arena arena; /* the revision's tree */
    struct wire_value *document;
    struct a_digest document_digest;

    /* artifacts on their way */
    struct d_need *needs;
    size_t n_needs, next_need;
    struct d_fetch *fetch;

    /* work in a pool: preparing or cleaning */
    struct d_job job;
    struct a_error job_error;
    int job_rc;
    uint64_t shm_bytes;
    char *environment_dir, *code_dir;

    /* the shim */
    struct sys_process *shim;
    struct d_shim_state shim_state;
    struct sys_timer timer; /* looks at the state file, then at health, until UP; grace when stopping */
    struct net_http_call *health;

    bool shared_models;        /* the Serve config that it starts with names D_SHIM_SHM_MODELS */
    bool found;                /* it ran before this agent did */
    bool stopping;             /* the claim is RELEASING */
    bool term_again;           /* SIGINT was sent */
    uint64_t grace_ms;         /* of RELEASE; 0 = the default */
    enum a_reason kill_reason; /* why we ended it ourselves: OOMKilled, DiskFull */
    int64_t exit_status;
    bool exited;
    uint64_t used_memory_bytes, used_cpu_us, used_mcpu, sampled_ms;
    struct d_serve *serve; /* heads */
    uint64_t reported;     /* hash of the last CLAIM_STATUS */
};

/* An artifact that a member needs. */
struct d_need {
    struct a_digest digest;
    enum { D_NEED_ENVIRONMENT, D_NEED_CODE, D_NEED_MODEL } kind;
    const char *name; /* of the model */
};

struct d_agent {
    struct sys_loop *loop;
    struct d_agent_options options;
    char *data, *libdir, *self_path, *ports_dir, *address;
    struct a_node_id id;
    struct a_name cluster, network, zone;
    struct a_uuid boot_id;
    uint64_t started_ms;
    struct sys_pool *io, *hash, *dns;
    struct artifact_cache cache;
    int lock_fd; /* one agent for one data folder */
    struct sys_signal *sigterm, *sigint;
    int status;
    bool begun, closing;

    /* the node core */
    struct sl_node node;
    struct d_tenants *tenants;
    struct sys_timer node_timer;
    struct sl_node_event *events; /* that carrying out actions produced */
    size_t n_events, cap_events;
    bool stepping;
    struct d_job write;
    struct a_buf write_text;
    uint64_t write_token;
    int write_rc;
    bool persisted_once;
    struct sys_portblock *blocks; /* taken, not yet a member's */
    size_t n_blocks;

    struct a_list members;

    /* the link */
    struct net_dialer *dialer;
    struct net_link *link;
    char *server_host;
    uint16_t server_port;
    struct d_identity identity;
    bool attached, report_node;
    bool joined;           /* a server answered, at least once: losing it later makes no node unready */
    uint64_t leaves_at_ms; /* while it drains: when it ends, empty or not; 0 = nobody said */
    struct sys_secret local_token;
    uint64_t attach, sequence, beat_interval_ms;
    struct sys_timer beat, settle;
    struct a_uuid store_id;
    struct sys_round round;

    struct a_list fetches; /* struct d_fetch */
    struct a_list bulks;   /* struct d_logs: connections that send logs */
    struct net_http_client *http;
    struct net_http_server *http_server;
    uint16_t http_port;
    unsigned scrapes; /* of metrics, in the pool */

    /* usage */
    struct sys_timer sample;
    struct sys_census census;
    uint64_t cpu_busy_us, cpu_total_us, used_mcpu, used_memory_bytes;
    uint64_t samples;
    uint64_t oom_kills, members_started, members_failed, beats;
    struct d_job collect;

    struct d_upgrade *upgrade;
    struct d_outbox *outbox;
    uint64_t logs_sent, logs_dropped;

    /* logs of members that ended */
    struct sys_timer ended_timer;
    struct d_job ended_look;
    uint64_t ended_next_ms; /* from the last look until one goes; A_NEVER = none is kept */
};

/* claims.c: the node core and its actions */
int d_claims_load(struct d_agent *a, struct a_error *reterr);
void d_claims_begin(struct d_agent *a);
void d_claims_event(struct d_agent *a, const struct sl_node_event *event);
void d_claims_free(struct d_agent *a);
/* The claim's block of ports becomes the caller's. False when somebody else (its own shim) holds it. */
bool d_claims_block(struct d_agent *a, uint16_t base, struct sys_portblock *ret);

/* link.c */
int d_link_start(struct d_agent *a, struct a_error *reterr);
void d_link_stop(struct d_agent *a);
void d_link_send(struct d_agent *a, const struct wire_sl_message *m);
void d_link_event(struct d_agent *a, const struct d_member *m, enum a_reason reason, const char *message);

/* report.c */
void d_report_claim(struct d_agent *a, const struct sl_claim *c);
void d_report_member(struct d_member *m); /* sends when something changed */
void d_report_node(struct d_agent *a, uint64_t request);
void d_report_all(struct d_agent *a); /* after WELCOME */
/* Answers who may know it: the store and the epoch that the claim obeys. */
void d_report_token(struct d_agent *a, const struct wire_sl_unit_token *asked);
void d_report_reply(struct d_agent *a, const struct sl_node_action *action);

/* fetch.c: done(ctx, rc, error) once, on the loop; cancel before that. `error` is gone when it returns. */
struct d_fetch *d_fetch_start(struct d_agent *a, const struct a_digest *digest,
                              void (*done)(void *ctx, int rc, const struct a_error *error), void *ctx);
void d_fetch_cancel(struct d_fetch *f); /* takes NULL */

/* member.c */
struct d_member *d_member_find(struct d_agent *a, uint64_t number);
void d_member_start(struct d_agent *a, const struct sl_claim *claim); /* or finds it running */
void d_member_revise(struct d_member *m, const struct sl_claim *claim);
void d_member_stop(struct d_agent *a, const struct sl_claim *claim);
void d_member_kill(struct d_member *m, enum a_reason reason, const char *message);
void d_member_free(struct d_member *m);
void d_member_leave(struct d_member *m); /* the agent ends: no artifact is wanted any more */
void d_member_clean(struct d_member *m); /* its processes are gone: the rest, then STOPPED */
void d_member_set(struct d_member *m, enum a_member_state state, enum a_reason reason, const char *fmt, ...)
    A_PRINTF(4, 5);
void d_member_say(struct d_member *m, enum a_reason reason, const char *fmt, ...) A_PRINTF(3, 4);
void d_member_fail(struct d_member *m, enum a_reason reason, const struct a_error *error);

/* tenants.c: namespaces apart */
int d_tenants_open(struct d_agent *a, struct a_error *reterr);
void d_tenants_close(struct d_agent *a);
/* The user of a namespace; 0: users are not switched. */
int d_tenant_user(struct d_agent *a, const struct a_name *namespace, uint32_t *ret_uid,
                  struct a_error *reterr);
/* What the member needs becomes its user's, or readable. In the pool. */
int d_tenant_give(const struct d_member *m, struct a_error *reterr);

/* prepare.c */
int d_prepare_document(struct d_member *m, struct a_error *reterr); /* reads the revision, fills `needs` */
bool d_prepare_has_workers(const struct d_member *m); /* its unit has more members than the head */
/* The body of the PUT. *ret_shared: it names D_SHIM_SHM_MODELS, which is there in namespaces only. */
int d_prepare_serve(const struct d_member *m, struct a_buf *ret_body, bool *ret_shared,
                    struct a_error *reterr);
void d_prepare_run(void *member); /* in the pool; sets job_rc, job_error */
void d_clean_run(void *member);   /* in the pool: nothing of it is left */

/* run.c: from the shim's start to its end */
#define D_RUN_NO_SHARED_MODELS                                                                               \
    "the Serve config names $(ASTRA_MODEL_...) in a unit with workers, and this node has no mount "          \
    "namespaces that would give all members one path; read ASTRA_MODELS in the code instead"
void d_run_start(struct d_member *m);
bool d_run_adopt(struct d_member *m); /* false: there is nothing to adopt */
void d_run_up(struct d_member *m);    /* STARTING -> UP, and the folder remembers it */
void d_run_term(struct d_member *m);
void d_run_digest(const struct d_member *m, struct a_buf *ret_text); /* the log's last words */

/* serve.c: heads */
struct d_serve *d_serve_new(struct d_member *m);
void d_serve_free(struct d_serve *s);          /* takes NULL */
void d_serve_deploy(struct d_serve *s);        /* the member's document is to be PUT */
bool d_serve_settled(const struct d_serve *s); /* an answer came since the agent started */
void d_serve_report(struct d_serve *s, struct a_arena *arena, struct wire_sl_claim_status *status);
void d_serve_forget(struct d_serve *s); /* the head is gone: no endpoint is left */

/* ended.c: logs of members that ended by themselves */
uint64_t d_ended_keep_s(const struct d_member *m); /* logs.keepFailed of its app */
void d_ended_keep(const struct d_member *m);       /* in the pool, before the member's folder goes */
void d_ended_start(struct d_agent *a);
void d_ended_look(struct d_agent *a); /* another one was kept: is it too much now? */
void d_ended_stop(struct d_agent *a);

/* usage.c */
void d_usage_start(struct d_agent *a);
void d_usage_stop(struct d_agent *a);

/* http.c */
int d_http_start(struct d_agent *a, struct a_error *reterr);

/* leave.c: the node is to become empty because its machine or pod ends */
/* Writes DATA/local.json. */
int d_leave_start(struct d_agent *a, const struct sys_addr *listens, struct a_error *reterr) A_MUST_CHECK;
/* It ends within so many ms (0 = nothing is known of that): before the DRAIN that this belongs to. */
void d_leave_by(struct d_agent *a, uint64_t within_ms);
/* POST /leave?within=30s, with local.json's token: drains, and answers how far that is. */
void d_leave_handle(struct d_agent *a, struct net_http_request *r);
/* Until the node ends, empty or not; 0 = once it is empty. */
uint64_t d_leave_left_ms(const struct d_agent *a);

/* enter.c: from which artifact the agent runs. DATA/agent/HEX is an artifact's folder, owned by the caller.
 */
char *d_agent_tree(const char *data, const struct a_digest *artifact);
/* Whether the executable is of an artifact's folder below `data` (a real path): of which. */
bool d_agent_tree_of(const char *data, const char *executable, struct a_digest *ret);
/* No file: nothing was chosen yet. */
int d_choice_load(const char *data, struct d_choice *ret, struct a_error *reterr) A_MUST_CHECK;
int d_choice_save(const char *data, const struct d_choice *c, struct a_error *reterr) A_MUST_CHECK;
/* Before anything else of the agent: becomes the artifact that was chosen, or returns. `argv` as d_agent_main
 * has it. */
void d_enter(const struct d_agent_options *o, int argc, char **argv);
/* After everything else: the installed executable starts in our place. Returns only when it failed. */
void d_enter_again(const char *installed, int argc, char **argv);

/* upgrade.c: going over to another artifact */
int d_upgrade_start(struct d_agent *a, struct a_error *reterr) A_MUST_CHECK;
void d_upgrade_take(struct d_agent *a, const struct wire_sl_upgrade *m);
/* The artifact that we run from; zero: what was installed. */
const struct a_digest *d_upgrade_own(const struct d_agent *a);
void d_upgrade_attached(struct d_agent *a); /* tells what the last one came to */
void d_upgrade_acked(struct d_agent *a);    /* the server took a beat, and so all that was said before it */
bool d_upgrade_is_working(const struct d_agent *a);
void d_upgrade_stop(struct d_agent *a);
/* The path of the executable to start in our place, owned by the caller; NULL: the agent just ends. */
char *d_upgrade_free(struct d_agent *a);

/* outbox.c: the last words of members that failed, on their way to the server */
void d_outbox_start(struct d_agent *a);
/* The member failed: the end of its log, if it has one, is put aside and sent. */
void d_outbox_add(struct d_member *m);
void d_outbox_attached(struct d_agent *a); /* a server said WELCOME */
bool d_outbox_is_working(const struct d_agent *a);
void d_outbox_stop(struct d_agent *a);
void d_outbox_free(struct d_agent *a);

/* logs.c */
void d_logs_open(struct d_agent *a, const struct wire_sl_open_bulk *m);
void d_logs_stop(struct d_agent *a);

#endif
