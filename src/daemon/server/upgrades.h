/* Upgrading agents: what is wished for, as it is stored, and how far it is (upgrades.c; upgrade.md). */
#ifndef A_DAEMON_SERVER_UPGRADES_H
#define A_DAEMON_SERVER_UPGRADES_H

#include "daemon/server/server.h"
#include "starlink/upgrade/upgrade.h"

/* What an operator asked for last. It holds for nodes that come later, too. */
struct d_upgrade_wish {
    uint64_t number;          /* rises with each; 0 = nothing was ever asked for */
    char version[65];         /* that agents are to be of */
    struct a_digest artifact; /* that they are to run from; zero: any of the version */
    struct a_name cluster;    /* only there; empty = everywhere */
    uint32_t pace;            /* nodes at a time; 0 = a tenth of the cluster */
    bool downgrade;           /* newer agents, too */
    bool stopped;             /* by itself, or by somebody: `message` says why */
    char message[SL_UPGRADE_MESSAGE_MAX];
    uint64_t created_unix_ms;
};

struct d_upgrades {
    struct server *s;
    struct d_upgrade_wish wish;
    struct sl_upgrade core;
    struct a_map watched; /* struct watched: units that were served by nodes told */
    struct sys_timer timer;
    bool idle;            /* nothing was left to be done when it was looked at last */
    uint64_t last_number; /* of a wish, stored or about to be */
};

/* How a node stands to the wish. */
enum d_upgrade_stand {
    D_UPGRADE_OUTSIDE, /* not in the wish's cluster, or not connected */
    D_UPGRADE_THROUGH,
    D_UPGRADE_NEWER,   /* left as it is */
    D_UPGRADE_WITHOUT, /* no artifact is for its processor */
    D_UPGRADE_WAITING, /* it drains: its turn comes when that is over */
    D_UPGRADE_WANTED,
};
enum d_upgrade_stand d_upgrade_stand(const struct d_upgrades *u, const struct sl_resource_node *node);

/* Stores the wish, then acts on it; its number is made here, unless it is the present one, stopped.
 * done(ctx, NULL) once it is on disk. */
void d_upgrades_put(struct server *s, const struct d_upgrade_wish *wish,
                    void (*done)(void *ctx, const struct a_error *error), void *ctx);
/* agent-amd64 and agent-arm64 in namespace default: what agents may be upgraded to. */
bool d_upgrade_is_agent(const struct a_name *namespace, const char *artifact_name);

#endif
