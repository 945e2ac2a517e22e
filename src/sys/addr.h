/* Socket addresses as values: IPv4, IPv6 and Unix paths, with their text. */
#ifndef A_SYS_ADDR_H
#define A_SYS_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/error.h"

#define SYS_ADDR_TEXT 128 /* room for any printed address and its zero */

/* Zero-initialised = no address. */
struct sys_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_storage storage;
    };
    socklen_t len;
};

/* "127.0.0.1:80", "[::1]:80", ":80" (all IPv4 addresses), "unix:/path". Numeric only: names are resolved by
 * sys_tcp_connect() or net. */
int sys_addr_parse(const char *text, struct sys_addr *ret_addr, struct a_error *reterr) A_MUST_CHECK;
/* A numeric host and a port. */
int sys_addr_make(const char *host, uint16_t port, struct sys_addr *ret_addr,
                  struct a_error *reterr) A_MUST_CHECK;
void sys_addr_print(const struct sys_addr *a, char out[SYS_ADDR_TEXT]);
/* The address without its port ("127.0.0.1", "::1"); "" for a Unix socket. */
void sys_addr_print_host(const struct sys_addr *a, char out[SYS_ADDR_TEXT]);
/* Whom a client is counted as: an IPv4 address, or the /64 of an IPv6 one ("2001:db8::/64"), for that is what
 * one subscriber gets (RFC 6177). IPv4 within IPv6 (::ffff:192.0.2.1) is IPv4. */
void sys_addr_print_network(const struct sys_addr *a, char out[SYS_ADDR_TEXT]);
/* 0 for a Unix socket. */
uint16_t sys_addr_port(const struct sys_addr *a);
/* 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104, or a Unix socket. */
bool sys_addr_is_loopback(const struct sys_addr *a);
bool sys_addr_equal(const struct sys_addr *a, const struct sys_addr *b);
/* Splits "host:port" or "[v6]:port" without looking at what the host is (a name may stand there). */
int sys_addr_split(const char *text, char *ret_host, size_t host_size, uint16_t *ret_port,
                   struct a_error *reterr) A_MUST_CHECK;
/* Blocking getaddrinfo(): for the dns pool and the command line. Numeric hosts do not block. First TCP
 * address, IPv4 before IPv6. */
int sys_addr_resolve(const char *host, uint16_t port, struct sys_addr *ret_addr,
                     struct a_error *reterr) A_MUST_CHECK;

#endif
