/* The states that people and machines see, as tables: architecture.md's section on units. Each state of a
 * unit or member carries a reason from the closed list below. Numbers travel on the wire and in files: never
 * renumber, append only. */
#ifndef A_TYPES_STATE_H
#define A_TYPES_STATE_H

#include "base/buf.h"
#include "base/sm.h"

/* X(NAME, number) */
#define A_NODE_STATES(X)                                                                                     \
    X(JOINING, 0)                                                                                            \
    X(UP, 1)                                                                                                 \
    X(SUSPECT, 2)                                                                                            \
    X(DRAINING, 3)                                                                                           \
    X(DRAINED, 4)                                                                                            \
    X(DEAD, 5)

#define A_CLAIM_STATES(X)                                                                                    \
    X(RESERVED, 0)                                                                                           \
    X(BOUND, 1)                                                                                              \
    X(RELEASING, 2)                                                                                          \
    X(RELEASED, 3)

#define A_MEMBER_STATES(X)                                                                                   \
    X(PLANNED, 0)                                                                                            \
    X(RESERVED, 1)                                                                                           \
    X(BOUND, 2)                                                                                              \
    X(FETCHING, 3)                                                                                           \
    X(STARTING, 4)                                                                                           \
    X(UP, 5)                                                                                                 \
    X(STOPPING, 6)                                                                                           \
    X(EXITED, 7)                                                                                             \
    X(LOST, 8)

#define A_UNIT_STATES(X)                                                                                     \
    X(PLANNED, 0)                                                                                            \
    X(CLAIMING, 1)                                                                                           \
    X(FETCHING, 2)                                                                                           \
    X(STARTING, 3)                                                                                           \
    X(DEPLOYING, 4)                                                                                          \
    X(READY, 5)                                                                                              \
    X(UPDATING, 6)                                                                                           \
    X(UNHEALTHY, 7)                                                                                          \
    X(DRAINING, 8)                                                                                           \
    X(STOPPED, 9)                                                                                            \
    X(LOST, 10)                                                                                              \
    X(FAILED, 11)                                                                                            \
    X(COMPLETED, 12)

/* X(NAME, "Text", number) */
#define A_REASONS(X)                                                                                         \
    X(NONE, "None", 0)                                                                                       \
    X(REQUESTED, "Requested", 1)                                                                             \
    X(SUPERSEDED, "Superseded", 2)                                                                           \
    X(UNDONE, "Undone", 3)                                                                                   \
    X(ORPHANED, "Orphaned", 4)                                                                               \
    X(HEALTH_CHECK_FAILED, "HealthCheckFailed", 5)                                                           \
    X(PORT_TAKEN, "PortTaken", 6)                                                                            \
    X(NO_CAPACITY, "NoCapacity", 7)                                                                          \
    X(QUOTA_EXCEEDED, "QuotaExceeded", 8)                                                                    \
    X(UNSUPPORTED, "Unsupported", 9)                                                                         \
    X(FETCH_FAILED, "FetchFailed", 10)                                                                       \
    X(ENV_MISMATCH, "EnvMismatch", 11)                                                                       \
    X(UNPACK_FAILED, "UnpackFailed", 12)                                                                     \
    X(RAY_START_FAILED, "RayStartFailed", 13)                                                                \
    X(IMPORT_FAILED, "ImportFailed", 14)                                                                     \
    X(SERVE_REJECTED, "ServeRejected", 15)                                                                   \
    X(MODEL_LOAD_FAILED, "ModelLoadFailed", 16)                                                              \
    X(OOM_KILLED, "OOMKilled", 17)                                                                           \
    X(DISK_FULL, "DiskFull", 18)                                                                             \
    X(DEVICE_FAULT, "DeviceFault", 19)                                                                       \
    X(HEAD_LOST, "HeadLost", 20)                                                                             \
    X(NODE_LOST, "NodeLost", 21)                                                                             \
    X(PREEMPTED, "Preempted", 22)                                                                            \
    X(DRAINED, "Drained", 23)                                                                                \
    X(DEADLINE_EXCEEDED, "DeadlineExceeded", 24)                                                             \
    X(DUPLICATE_IDENTITY, "DuplicateIdentity", 25)                                                           \
    X(POISON_SUSPECTED, "PoisonSuspected", 26)                                                               \
    X(UPGRADE_FAILED, "UpgradeFailed", 27)

#define X(name, number) A_NODE_##name = number,
enum a_node_state { A_NODE_STATES(X) A_NODE_STATE_COUNT };
#undef X
#define X(name, number) A_CLAIM_##name = number,
enum a_claim_state { A_CLAIM_STATES(X) A_CLAIM_STATE_COUNT };
#undef X
#define X(name, number) A_MEMBER_##name = number,
enum a_member_state { A_MEMBER_STATES(X) A_MEMBER_STATE_COUNT };
#undef X
#define X(name, number) A_UNIT_##name = number,
enum a_unit_state { A_UNIT_STATES(X) A_UNIT_STATE_COUNT };
#undef X
#define X(name, text, number) A_REASON_##name = number,
enum a_reason { A_REASONS(X) A_REASON_COUNT };
#undef X

/* Allowed successors; the state numbers are the enums above. */
extern const struct a_sm_table a_node_states;
extern const struct a_sm_table a_claim_states;
extern const struct a_sm_table a_member_states;
extern const struct a_sm_table a_unit_states;

/* "READY"; asserts that the number is in the table. */
const char *a_node_state_name(enum a_node_state s);
const char *a_claim_state_name(enum a_claim_state s);
const char *a_member_state_name(enum a_member_state s);
const char *a_unit_state_name(enum a_unit_state s);
const char *a_reason_name(enum a_reason r); /* "HeadLost" */
/* False for a word that is in no table: what came from outside may be newer than we are. */
bool a_unit_state_parse(struct a_view v, enum a_unit_state *ret) A_MUST_CHECK;
bool a_reason_parse(struct a_view v, enum a_reason *ret) A_MUST_CHECK;

#endif
