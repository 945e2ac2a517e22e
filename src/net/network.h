/* Where connections come from: limits count them by network, so that one that opens many meets the limit and
 * the others do not. Of one thread. */
#ifndef ASTRA_NET_NETWORK_H
#define ASTRA_NET_NETWORK_H

#include "base/list.h"
#include "base/map.h"
#include "net/stream.h"
#include "sys/addr.h"

struct net_network {
    struct a_map_link by_text;
    struct a_list members;    /* the owner's to fill */
    unsigned n;               /* of those who have come and not left */
    char text[SYS_ADDR_TEXT]; /* sys_addr_print_network() */
};

/* The network of the stream's peer, one more of which has come. `networks` needs a seed and nothing else. */
struct net_network *net_network_come(struct a_map *networks, const struct net_stream *s);
/* One has left; with the last the network is gone. */
void net_network_leave(struct a_map *networks, struct net_network *n);
/* The one of which most are there; NULL when nobody is. */
struct net_network *net_network_most(const struct a_map *networks);

#endif
