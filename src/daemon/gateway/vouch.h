/* Whether an address still belongs to the endpoint that the view has there, while no server says so.
 *
 * An address is a port of a block that its node gave to a unit. A block that was given back rests (150 s,
 * sys/portblock.h) before another unit can have it, and nobody listens on it meanwhile. So what listens at
 * two looks that lie less apart than that is the same unit's, and a connection that is refused is the end of
 * it. Each endpoint is looked at by a connection, six times in a rest. One that refuses, or was not seen for
 * half a rest, leaves the view and its file until a server tells of it again: its place may be another app's.
 *
 * The half that is left is for what is known late: a server's connection that broke silently (30 s), and a
 * look's interval. DATA/seen has the time (of this boot) at which all of the kept view had been seen, so that
 * a gateway which was away for no longer than that goes on by its file. */
#ifndef D_GATEWAY_VOUCH_H
#define D_GATEWAY_VOUCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sys/loop.h"
#include "sys/pool.h"

struct d_gateway;

struct d_gw_vouch {
    struct sys_timer look_timer, drop_timer;
    uint64_t round_ms, limit_ms; /* between two looks; unseen for longer = not vouched for */
    uint64_t looked_ms;          /* times are of CLOCK_BOOTTIME: a machine's sleep counts */
    struct a_list due;           /* d_gw_record.due: to be looked at */
    struct a_list probes;
    unsigned n_probes;
    char boot[40]; /* the machine's boot; "" = not known */
    char *path;    /* NULL: not kept */
    char stamp[80];
    struct sys_work work;
    bool writing;
};

/* After the view was opened, before it is loaded. */
void d_gw_vouch_start(struct d_gateway *g);
/* The view comes from the file: it was seen when DATA/seen says, or never. */
void d_gw_vouch_restored(struct d_gateway *g);
/* The view is in its file. */
void d_gw_vouch_kept(struct d_gateway *g);
/* A server stood behind the view until now. */
void d_gw_vouch_all(struct d_gateway *g);
/* Safe on a zeroed gateway; after the view was closed, whose pool writes the file. */
void d_gw_vouch_stop(struct d_gateway *g);

#endif
