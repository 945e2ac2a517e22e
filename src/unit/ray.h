/* Ray's interfaces as Astra uses them, pure: the command line and environment of `ray start`, the body of the
 * PUT of a Serve config, and the reading of what Serve says of itself. Measured against Ray 2.60
 * (docs/components/agent.md); 2.52 and newer are meant.
 *
 * Every member has its own block of UNIT_RAY_PORTS ports, of which each has a fixed use (enum unit_ray_port),
 * so that several members live on one host side by side, and a head knows its workers' ports without asking.
 */
#ifndef UNIT_RAY_H
#define UNIT_RAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "wire/value.h"

#define UNIT_RAY_PORTS 100
#define UNIT_RAY_TEMP_MAX 41                 /* characters of --temp-dir: socket paths below it end at 107 */
#define UNIT_RAY_OBJECT_STORE_MIN (80 << 20) /* Ray refuses less than 75 MiB */

/* Offsets into a member's block. */
enum unit_ray_port {
    UNIT_RAY_PORT_GCS = 0,
    UNIT_RAY_PORT_NODE_MANAGER = 1,
    UNIT_RAY_PORT_OBJECT_MANAGER = 2,
    UNIT_RAY_PORT_CLIENT_SERVER = 3,
    UNIT_RAY_PORT_DASHBOARD = 4,
    UNIT_RAY_PORT_AGENT_HTTP = 5,
    UNIT_RAY_PORT_AGENT_GRPC = 6,
    UNIT_RAY_PORT_RUNTIME_ENV_AGENT = 7,
    UNIT_RAY_PORT_METRICS = 8,
    UNIT_RAY_PORT_AUTOSCALER_METRICS = 9,
    UNIT_RAY_PORT_DASHBOARD_METRICS = 10,
    UNIT_RAY_PORT_SERVE_HTTP = 11,
    UNIT_RAY_PORT_SERVE_GRPC = 12,
    UNIT_RAY_PORT_INGRESS_HTTP_FIRST = 20, /* replicas, direct ingress */
    UNIT_RAY_PORT_INGRESS_HTTP_LAST = 39,
    UNIT_RAY_PORT_INGRESS_GRPC_FIRST = 40,
    UNIT_RAY_PORT_INGRESS_GRPC_LAST = 49,
    UNIT_RAY_PORT_WORKER_FIRST = 50,
    UNIT_RAY_PORT_WORKER_LAST = 99,
};

enum unit_ray_role { UNIT_RAY_HEAD, UNIT_RAY_WORKER };

/* What starts one member. Strings are borrowed; NULL and 0 where it says so. */
struct unit_ray_start {
    enum unit_ray_role role;
    const char *environment_dir; /* the unpacked environment: bin/python3 is in it */
    const char *ip;              /* the node's numeric address */
    uint16_t port_first;         /* of the member's block */
    const char *head_ip;         /* WORKER: the head's address */
    uint16_t head_port_first;    /* WORKER: the head's block */
    const char *temp_dir;        /* at most UNIT_RAY_TEMP_MAX characters */
    const char *token_path;
    uint64_t mcpu;         /* the claim; Ray is told whole CPUs, rounded down, at least 1 when it serves */
    uint64_t memory_bytes; /* the claim */
    uint64_t object_store_bytes;  /* 0 = 20 % of memory, at least UNIT_RAY_OBJECT_STORE_MIN */
    bool serves;                  /* false: --num-cpus=0 */
    const struct wire_value *ray; /* the app's `ray: {}` (numCpus, resources, labels), or NULL */
    /* what the app's code may rely on (architecture.md section 6) */
    const char *claim; /* ASTRA_CLAIM: marks each process of the member, whatever becomes of its parents */
    const char *tfcc_page_dir; /* ASTRA_TFCC_PAGE_DIR, or NULL */
    const char *namespace, *app, *unit, *member, *models_dir, *tfcc_socket /* or NULL */,
        *code_dir /* or NULL */;
    const char *log_level;           /* debug, info, warning, error; NULL = Ray's default */
    const struct wire_value *models; /* an object whose keys are the models' names, or NULL */
    uint64_t revision;
    const char *extra_pythonpath; /* Astra's own Python folder, or NULL */
    const char *home_dir;         /* HOME */
    const char *tmp_dir;          /* TMPDIR; short, too: Python's multiprocessing makes sockets in it */
    const struct wire_value *env; /* the app's env: [{name, value}], or NULL; expanded */
};

/* NULL-terminated, in the arena. */
struct unit_ray_command {
    const char **argv;
    const char **envp;
    uint64_t object_store_bytes; /* what /dev/shm must hold */
};

/* Builds both. -EINVAL with a message when a field cannot be used (temp_dir too long, a name in env that is
 * Astra's, a flag in `ray` that Astra owns). */
int unit_ray_command_build(const struct unit_ray_start *start, struct a_arena *arena,
                           struct unit_ray_command *ret_command, struct a_error *reterr);

/* What the config of a PUT is made from. Strings are borrowed. */
struct unit_ray_serve {
    const struct wire_value *document; /* the revision: app, env, models, serve (Ray's deploy schema) */
    const char *unit;
    const char *models_dir; /* where every member of the unit finds its models */
    const char *host; /* that replicas listen on, on every member: the head's address where it is alone, else
                       * 0.0.0.0 (each replica advertises its own member's address) */
    uint16_t port_first; /* of the head's block */
};

/* The body of PUT /api/serve/applications/: the document's `serve` with the fields that Astra owns set
 * (proxy_location HeadOnly, http_options {host, port}, grpc_options.port), and $(NAME) expanded
 * (unit/expand.h) in args, user_config and env_vars. Names defined here: ASTRA_NAMESPACE, ASTRA_APP,
 * ASTRA_UNIT, ASTRA_MODELS, ASTRA_MODEL_*, and the app's env. Everything else is passed on. *ret_local:
 * `models_dir` stands in it. -EINVAL without an application, -E2BIG past UNIT_EXPAND_MAX. */
int unit_ray_serve_body(const struct unit_ray_serve *s, struct a_buf *ret_body, bool *ret_local,
                        struct a_error *reterr);

/* What GET /api/serve/applications/ said. Lives in the arena that it was read into. */
enum unit_ray_app_status {
    UNIT_RAY_APP_NOT_STARTED,
    UNIT_RAY_APP_DEPLOYING,
    UNIT_RAY_APP_DEPLOY_FAILED,
    UNIT_RAY_APP_RUNNING,
    UNIT_RAY_APP_UNHEALTHY,
    UNIT_RAY_APP_DELETING,
    UNIT_RAY_APP_UNKNOWN, /* a word of a newer Ray */
};

struct unit_ray_replica {
    const char *id;    /* "8p9i6utn" */
    const char *state; /* "RUNNING", "STARTING", ... as Ray says */
    const char *name;  /* "SERVE_REPLICA::a1#Noop#8p9i6utn" */
    const char *node_ip;
    int64_t pid; /* in the member's own PID namespace; 0 = not yet known */
};

struct unit_ray_deployment {
    const char *name, *status, *message;
    uint32_t max_ongoing; /* 5 where Ray does not say: Serve's own default */
    uint32_t target_replicas;
    bool is_ingress;
    const struct unit_ray_replica *replicas;
    size_t n_replicas;
};

struct unit_ray_endpoint {
    const char *name; /* the actor's */
    const char *ip;
    uint16_t port;
    bool is_proxy;        /* the group names Serve's proxy: no replica of its own is running */
    uint32_t max_ongoing; /* of the ingress deployment */
    int64_t pid;          /* of the replica, as above; 0 = not known */
};

struct unit_ray_app {
    const char *name, *route_prefix /* NULL = none */, *message;
    enum unit_ray_app_status status;
    double last_deployed_s; /* Ray's wall clock at the last PUT that named it; 0 = not said */
    const struct unit_ray_deployment *deployments;
    size_t n_deployments;
    const struct unit_ray_endpoint *endpoints; /* HTTP */
    size_t n_endpoints;
    const struct unit_ray_endpoint *grpc; /* gRPC */
    size_t n_grpc;
};

struct unit_ray_status {
    const struct unit_ray_app *apps;
    size_t n_apps;
};

/* Reads the reply. Fields that are missing or of another type count as absent; unknown ones are skipped: what
 * is refused (-EINVAL) is text that is not JSON or not an object. */
int unit_ray_status_parse(struct a_view text, struct a_arena *arena, struct unit_ray_status *ret_status,
                          struct a_error *reterr);
const char *unit_ray_app_status_name(enum unit_ray_app_status s);

/* The last lines of a log that a person needs: cuts Ray's colours and its own chatter, keeps the end of the
 * last traceback or error, at most `max` bytes. */
void unit_ray_log_digest(struct a_view log, size_t max, struct a_buf *ret_text);
/* The line of a digest that names the last exception ("ImportError: no module ..."); empty when there is no
 * traceback. It lies within `digest`. */
struct a_view unit_ray_log_cause(struct a_view digest);

#endif
