/* The two ends that a proxy is measured between: `origin PORT` answers each HTTP request with a short fixed
 * body; `forward PORT TO_PORT` passes bytes on, a connection for a connection, and reads none of them: what a
 * proxy that did nothing at all would cost. One thread, epoll, loopback only. gcc -O2 -o http_peer
 * http_peer.c */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536
#define EVENTS 256

static const char answer[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world\n";

struct end {
    int fd;
    struct end *other; /* of a forwarded pair */
    size_t matched;    /* of the blank line that ends a head */
};

static char buffer[BUFFER];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static struct end *end_new(int epoll, int fd)
{
    struct end *e = calloc(1, sizeof *e);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};
    if (e == NULL || (e->fd = fd) < 0)
        die("connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    return e;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* How many heads end in these bytes; requests have no body. */
static int heads(struct end *e, const char *bytes, size_t len)
{
    static const char blank[] = "\r\n\r\n";
    int n = 0;
    for (size_t i = 0; i < len; i++) {
        e->matched = bytes[i] == blank[e->matched] ? e->matched + 1 : bytes[i] == '\r';
        if (e->matched == 4) {
            e->matched = 0;
            n++;
        }
    }
    return n;
}

static bool serve(struct end *e)
{
    ssize_t len = recv(e->fd, buffer, sizeof buffer, 0);
    if (len <= 0)
        return false;
    for (int n = heads(e, buffer, (size_t)len); n > 0; n--)
        if (!write_all(e->fd, answer, sizeof answer - 1))
            return false;
    return true;
}

static bool forward(struct end *e)
{
    ssize_t len = recv(e->fd, buffer, sizeof buffer, 0);
    return len > 0 && e->other->fd >= 0 && write_all(e->other->fd, buffer, (size_t)len);
}

static void pair(int epoll, int fd, const char *to)
{
    struct sockaddr_in a = loopback(to);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(other, (struct sockaddr *)&a, sizeof a) < 0)
        die("connect");
    struct end *one = end_new(epoll, fd), *two = end_new(epoll, other);
    one->other = two;
    two->other = one;
}

/* Closes one end and ends the other. They are left to the process's end: an event for one of them may still
 * be in the batch. */
static void drop(struct end *e)
{
    if (e->fd < 0)
        return;
    close(e->fd);
    e->fd = -1;
    if (e->other != NULL && e->other->fd >= 0)
        shutdown(e->other->fd, SHUT_RDWR);
}

int main(int argc, char **argv)
{
    bool forwards = argc == 4 && strcmp(argv[1], "forward") == 0;
    if (!forwards && (argc != 3 || strcmp(argv[1], "origin") != 0))
        return fprintf(stderr, "usage: http_peer origin PORT | forward PORT TO_PORT\n"), 2;
    struct sockaddr_in a = loopback(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1024) < 0)
        die("listen");
    struct end *door = end_new(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            if (e == door && forwards)
                pair(epoll, accept(listener, NULL, NULL), argv[3]);
            else if (e == door)
                end_new(epoll, accept(listener, NULL, NULL));
            else if (!(forwards ? forward(e) : serve(e)))
                drop(e);
        }
    }
}
