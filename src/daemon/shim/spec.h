/* The shim's two files, both lines of "KEY VALUE": the spec that the agent writes before it starts a shim,
 * and the state that the shim writes for whoever comes after. The format is frozen (docs/components/shim.md):
 * an agent of any later version finds the shims of an earlier one. Unknown keys are skipped. In values \n and
 * \\ stand for a line end and a backslash. */
#ifndef D_SHIM_SPEC_H
#define D_SHIM_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define D_SHIM_VERSION 1
#define D_SHIM_SPEC_FILE "spec" /* names within the member's folder */
#define D_SHIM_STATE_FILE "state"
#define D_SHIM_CONTROL_SOCKET "control"
#define D_SHIM_LOG_FILE "log" /* older pieces: log.1, log.2, ... */
#define D_SHIM_OWN_LOG_FILE "shim.log"
#define D_SHIM_SPEC_MAX (1 << 20) /* bytes of a spec file */
#define D_SHIM_WORDS_MAX 4096     /* arguments, and variables */
#define D_SHIM_LOG_PIECE_BYTES (UINT64_C(50) << 20)
#define D_SHIM_LOG_PIECES 10
#define D_SHIM_GRACE_MS 10000
#define D_SHIM_SHM_MODELS "/dev/shm/astra-models" /* the same path in every member */

/* What to start. Zero-initialised = empty; arrays are NULL-terminated and owned. */
struct d_shim_spec {
    char **argv, **env;
    size_t n_argv, n_env;
    char *cwd;    /* NULL = the member's folder */
    char *cgroup; /* a cgroup v2 folder that the member joins; NULL = none */
    bool set_ids; /* uid and gid were given */
    uint32_t uid, gid;
    bool no_namespaces;                   /* `namespaces off`: do not try */
    uint64_t shm_bytes;                   /* size of the member's own /dev/shm; 0 = the host's */
    char *shm_models;                     /* what /dev/shm/astra-models leads to; NULL = no such link */
    uint64_t open_files;                  /* RLIMIT_NOFILE; 0 = as inherited */
    uint64_t log_piece_bytes, log_pieces; /* 0 = the defaults above */
    uint64_t grace_ms;                    /* between TERM and KILL; 0 = the default above */
};

void d_shim_spec_deinit(struct d_shim_spec *s);
void d_shim_spec_add_arg(struct d_shim_spec *s, const char *arg);
/* "NAME=value" */
void d_shim_spec_add_env(struct d_shim_spec *s, const char *variable);
/* -EINVAL with the line's number in the message. `ret` is written only on success. */
int d_shim_spec_parse(struct a_view text, struct d_shim_spec *ret, struct a_error *reterr);
void d_shim_spec_print(const struct d_shim_spec *s, struct a_buf *b);

enum d_shim_phase { D_SHIM_STARTING, D_SHIM_RUNNING, D_SHIM_EXITED };

/* A process is its pid and the time it started at (field 22 of /proc/PID/stat): a pid alone comes back. */
struct d_shim_process {
    int64_t pid; /* 0 = none */
    uint64_t start;
};

struct d_shim_state {
    enum d_shim_phase phase;
    struct d_shim_process shim;
    struct d_shim_process
        member; /* the first process of its PID namespace where it has one, else Ray's own */
    bool namespaces;
    int exit_code; /* EXITED: the status, or -1 when a signal ended it */
    int exit_signal;
    bool oom;          /* the kernel killed in the member's cgroup for memory */
    char message[256]; /* why it could not be started; empty when it could */
};

/* -EINVAL when it is no state file. */
int d_shim_state_parse(struct a_view text, struct d_shim_state *ret, struct a_error *reterr);
void d_shim_state_print(const struct d_shim_state *s, struct a_buf *b);

#endif
