#include "sys/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/assert.h"
#include "base/text.h"

static struct sockaddr_in *in4(struct sys_addr *a)
{
    return (struct sockaddr_in *)&a->storage;
}

static struct sockaddr_in6 *in6(struct sys_addr *a)
{
    return (struct sockaddr_in6 *)&a->storage;
}

static const struct sockaddr_un *path_of(const struct sys_addr *a)
{
    return (const struct sockaddr_un *)&a->storage;
}

static bool host_parse(const char *host, uint16_t port, struct sys_addr *ret)
{
    struct sys_addr a = {.len = 0};
    if (inet_pton(AF_INET, host, &in4(&a)->sin_addr) == 1) {
        in4(&a)->sin_family = AF_INET;
        in4(&a)->sin_port = htons(port);
        a.len = sizeof(struct sockaddr_in);
    } else if (inet_pton(AF_INET6, host, &in6(&a)->sin6_addr) == 1) {
        in6(&a)->sin6_family = AF_INET6;
        in6(&a)->sin6_port = htons(port);
        a.len = sizeof(struct sockaddr_in6);
    } else {
        return false;
    }
    *ret = a;
    return true;
}

int sys_addr_make(const char *host, uint16_t port, struct sys_addr *ret_addr, struct a_error *reterr)
{
    if (!host_parse(host, port, ret_addr))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "\"%s\" is not a numeric IP address", host);
    return 0;
}

int sys_addr_split(const char *text, char *ret_host, size_t host_size, uint16_t *ret_port,
                   struct a_error *reterr)
{
    const char *colon = strrchr(text, ':');
    const char *begin = text, *end = colon;
    uint64_t port;
    if (colon != NULL && text[0] == '[') {
        begin = text + 1;
        end = colon > begin && colon[-1] == ']' ? colon - 1 : NULL;
    } else if (colon != NULL && memchr(text, ':', (size_t)(colon - text)) != NULL) {
        end = NULL; /* an IPv6 address without brackets: which colon begins the port? */
    }
    if (colon == NULL || end == NULL || !a_text_u64(a_view_str(colon + 1), &port) || port > UINT16_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "\"%s\" is not an address: HOST:PORT or [V6]:PORT is expected", text);
    size_t len = (size_t)(end - begin);
    if (len >= host_size)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "the host of \"%s\" is too long", text);
    memcpy(ret_host, begin, len);
    ret_host[len] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static int unix_parse(const char *path, struct sys_addr *ret_addr, struct a_error *reterr)
{
    struct sys_addr a = {.len = 0};
    struct sockaddr_un *un = (struct sockaddr_un *)&a.storage;
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof un->sun_path)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "a Unix socket's path has 1 to %zu characters: \"%s\"",
                      sizeof un->sun_path - 1, path);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    *ret_addr = a;
    return 0;
}

int sys_addr_parse(const char *text, struct sys_addr *ret_addr, struct a_error *reterr)
{
    char host[SYS_ADDR_TEXT];
    uint16_t port;
    if (strncmp(text, "unix:", 5) == 0)
        return unix_parse(text + 5, ret_addr, reterr);
    int rc = sys_addr_split(text, host, sizeof host, &port, reterr);
    if (rc != 0)
        return rc;
    return sys_addr_make(host[0] != '\0' ? host : "0.0.0.0", port, ret_addr, reterr);
}

void sys_addr_print_host(const struct sys_addr *a, char out[SYS_ADDR_TEXT])
{
    struct sys_addr copy = *a;
    out[0] = '\0';
    if (a->len != 0 && a->sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &in4(&copy)->sin_addr, out, SYS_ADDR_TEXT);
    else if (a->len != 0 && a->sa.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &in6(&copy)->sin6_addr, out, SYS_ADDR_TEXT);
}

void sys_addr_print_network(const struct sys_addr *a, char out[SYS_ADDR_TEXT])
{
    char host[INET6_ADDRSTRLEN];
    struct sys_addr copy = *a;
    if (a->len == 0 || a->sa.sa_family != AF_INET6) {
        sys_addr_print_host(a, out);
        return;
    }
    struct in6_addr *ip = &in6(&copy)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        inet_ntop(AF_INET, &ip->s6_addr[12], out, SYS_ADDR_TEXT);
        return;
    }
    memset(&ip->s6_addr[8], 0, 8);
    inet_ntop(AF_INET6, ip, host, sizeof host);
    snprintf(out, SYS_ADDR_TEXT, "%s/64", host);
}

void sys_addr_print(const struct sys_addr *a, char out[SYS_ADDR_TEXT])
{
    char host[SYS_ADDR_TEXT];
    sys_addr_print_host(a, host);
    if (a->len == 0)
        snprintf(out, SYS_ADDR_TEXT, "-");
    else if (a->sa.sa_family == AF_UNIX) /* the peer of a Unix socket mostly has no path */
        snprintf(out, SYS_ADDR_TEXT, "unix:%s",
                 a->len > offsetof(struct sockaddr_un, sun_path) ? path_of(a)->sun_path : "");
    else
        snprintf(out, SYS_ADDR_TEXT, a->sa.sa_family == AF_INET6 ? "[%.64s]:%u" : "%.64s:%u", host,
                 sys_addr_port(a));
}

uint16_t sys_addr_port(const struct sys_addr *a)
{
    struct sys_addr copy = *a;
    if (a->len == 0)
        return 0;
    if (a->sa.sa_family == AF_INET)
        return ntohs(in4(&copy)->sin_port);
    return a->sa.sa_family == AF_INET6 ? ntohs(in6(&copy)->sin6_port) : 0;
}

bool sys_addr_is_loopback(const struct sys_addr *a)
{
    struct sys_addr copy = *a;
    if (a->len == 0)
        return false;
    if (a->sa.sa_family == AF_INET)
        return ntohl(in4(&copy)->sin_addr.s_addr) >> 24 == 127;
    if (a->sa.sa_family == AF_INET6) {
        const struct in6_addr *ip = &in6(&copy)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
    }
    return a->sa.sa_family == AF_UNIX;
}

bool sys_addr_equal(const struct sys_addr *a, const struct sys_addr *b)
{
    char x[SYS_ADDR_TEXT], y[SYS_ADDR_TEXT];
    sys_addr_print(a, x);
    sys_addr_print(b, y);
    return strcmp(x, y) == 0;
}

int sys_addr_resolve(const char *host, uint16_t port, struct sys_addr *ret_addr, struct a_error *reterr)
{
    if (host_parse(host, port, ret_addr))
        return 0;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0 || found == NULL)
        return a_fail(reterr, -ENXIO, A_CODE_UNAVAILABLE, "cannot resolve \"%s\": %s", host,
                      gai_strerror(rc));
    const struct addrinfo *pick = found;
    for (const struct addrinfo *i = found; i != NULL; i = i->ai_next)
        if (i->ai_family == AF_INET) {
            pick = i;
            break;
        }
    struct sys_addr a = {.len = pick->ai_addrlen};
    memcpy(&a.storage, pick->ai_addr, pick->ai_addrlen);
    if (pick->ai_family == AF_INET)
        in4(&a)->sin_port = htons(port);
    else
        in6(&a)->sin6_port = htons(port);
    freeaddrinfo(found);
    *ret_addr = a;
    return 0;
}
