#include "net/network.h"

#include <string.h>

#include "base/alloc.h"
#include "sys/tcp.h"

static struct net_network *network_get(struct a_map *networks, const char text[SYS_ADDR_TEXT])
{
    struct a_map_link *known = a_map_get_str(networks, text);
    if (known != NULL)
        return a_map_entry(known, struct net_network, by_text);
    struct net_network *n = a_new(struct net_network);
    memcpy(n->text, text, sizeof n->text);
    a_list_init(&n->members);
    a_map_put_str(networks, &n->by_text, n->text);
    return n;
}

struct net_network *net_network_come(struct a_map *networks, const struct net_stream *s)
{
    struct sys_addr peer;
    char text[SYS_ADDR_TEXT] = {0};
    sys_stream_peer(net_stream_raw(s), &peer);
    sys_addr_print_network(&peer, text);
    struct net_network *n = network_get(networks, text);
    n->n++;
    return n;
}

void net_network_leave(struct a_map *networks, struct net_network *n)
{
    if (--n->n > 0)
        return;
    a_map_remove(networks, &n->by_text);
    a_free(n);
}

struct net_network *net_network_most(const struct a_map *networks)
{
    struct net_network *most = NULL;
    a_map_foreach (link, networks) {
        struct net_network *n = a_map_entry(link, struct net_network, by_text);
        if (most == NULL || n->n > most->n)
            most = n;
    }
    return most;
}
