/* Bulk connections: a second connection that the agent dials, so that artifacts and logs never delay a
 * heartbeat. Without a ticket the agent asks for artifacts (BULK_GET) or brings the last words of a member
 * that failed (kept_logs.c); with one it brings what the server asked it for (OPEN_BULK). TCP's flow control
 * is the flow control: a file is read as the queue empties, and a reader that is slow stops the agent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

#define TICKET_LEN 32
#define TICKET_MS 15000
#define CHUNK_QUEUE (256u << 10) /* bytes kept in the link's queue while a file is sent */
#define REFILL_MS 2

struct d_ticket {
    struct a_list link; /* of server.tickets until the agent dials */
    struct server *server;
    char secret[TICKET_LEN + 1];
    struct a_node_id node; /* that may use it */
    struct sys_timer timer;
    struct d_ticket_ops ops;
    void *ctx;
    struct d_peer *peer; /* NULL until it dials */
};

/* What a bulk peer is doing. */
struct d_bulk {
    struct d_ticket *ticket; /* the agent brings something; NULL: it asks for artifacts */
    int fd;                  /* of the artifact being sent; -1 */
    const char *text;        /* of the revision being sent; NULL */
    char *text_copy;
    uint64_t size, offset;
    struct sys_timer refill;
    struct d_kept_push *push; /* the log that the agent brings unasked; NULL */
    struct d_peer *peer;
};

/* ---- tickets ---- */

static void ticket_free(struct d_ticket *t)
{
    a_list_remove(&t->link);
    sys_timer_clear(&t->timer);
    a_free(t);
}

static void ticket_end(struct d_ticket *t, const struct a_error *error)
{
    if (t->peer != NULL)
        t->peer->bulk->ticket = NULL;
    t->ops.end(t->ctx, error);
    ticket_free(t);
}

static void ticket_fail(struct d_ticket *t, enum a_code code, const char *why)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    a_error_set(&e, code, "%s", why);
    ticket_end(t, &e);
}

static void on_ticket_timeout(void *ctx)
{
    ticket_fail(ctx, A_CODE_TIMEOUT, "the node did not open a bulk connection within 15 s");
}

struct d_ticket *d_ticket_open(struct server *s, const struct a_node_id *node,
                               const struct wire_sl_open_bulk *ask, const struct d_ticket_ops *ops, void *ctx,
                               struct a_error *reterr)
{
    struct d_ticket *t = a_new(struct d_ticket);
    t->server = s;
    t->node = *node;
    t->ops = *ops;
    t->ctx = ctx;
    sys_random_hex(t->secret, TICKET_LEN / 2);
    struct wire_sl_message m = {.type = WIRE_SL_T_OPEN_BULK, .open_bulk = *ask};
    m.open_bulk.node = *node;
    m.open_bulk.ticket = a_view_str(t->secret);
    if (!d_agent_send(s, node, &m)) {
        a_free(t);
        a_error_set(reterr, A_CODE_UNAVAILABLE, "node %s is not connected", node->s);
        return NULL;
    }
    a_list_push_back(&s->tickets, &t->link);
    sys_timer_init(&t->timer, s->loop, on_ticket_timeout, t);
    sys_timer_set_in(&t->timer, TICKET_MS);
    return t;
}

void d_tickets_end(struct server *s)
{
    while (!a_list_empty(&s->tickets))
        ticket_fail(a_list_entry(s->tickets.next, struct d_ticket, link), A_CODE_UNAVAILABLE,
                    "the server stops");
}

void d_ticket_resume(struct d_ticket *t)
{
    if (t->peer != NULL)
        net_link_resume(t->peer->net);
}

void d_ticket_cancel(struct d_ticket *t)
{
    if (t == NULL)
        return;
    if (t->peer != NULL) {
        t->peer->bulk->ticket = NULL;
        d_peer_refuse(t->peer, NET_REFUSAL_NONE, A_CODE_NONE, "no longer wanted");
    }
    ticket_free(t);
}

static struct d_ticket *ticket_take(struct server *s, const struct a_node_id *node, struct a_view secret)
{
    a_list_foreach (l, &s->tickets) {
        struct d_ticket *t = a_list_entry(l, struct d_ticket, link);
        if (a_view_is(secret, t->secret) && strcmp(node->s, t->node.s) == 0) {
            a_list_remove(&t->link); /* good once */
            sys_timer_clear(&t->timer);
            return t;
        }
    }
    return NULL;
}

/* ---- sending an artifact ---- */

static void bulk_send_end(struct d_peer *p, enum a_code code, const char *message, uint64_t total)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_BULK_END};
    m.bulk_end = (struct wire_sl_bulk_end){.ok = code == A_CODE_NONE,
                                           .code = a_view_str(code != A_CODE_NONE ? a_code_name(code) : NULL),
                                           .message = a_view_str(message),
                                           .total_bytes = total};
    (void)!net_link_send(p->net, &m, NULL);
}

static void bulk_source_close(struct d_bulk *b)
{
    sys_timer_clear(&b->refill);
    sys_fd_close(b->fd);
    b->fd = -1;
    a_free(a_steal(&b->text_copy));
    b->text = NULL;
}

/* The next piece of what is being sent, read in place: pieces are 16 KiB of a file in the page cache. */
static ssize_t bulk_read(struct d_bulk *b, char *chunk, size_t max)
{
    size_t n = (size_t)A_MIN((uint64_t)max, b->size - b->offset);
    if (b->text != NULL) {
        memcpy(chunk, b->text + b->offset, n);
        return (ssize_t)n;
    }
    return sys_fd_read_at(b->fd, chunk, n, b->offset);
}

static void bulk_pump(void *ctx)
{
    struct d_bulk *b = ctx;
    char chunk[WIRE_SL_BULK_CHUNK];
    while (b->offset < b->size && net_link_queued(b->peer->net) < CHUNK_QUEUE) {
        ssize_t n = bulk_read(b, chunk, sizeof chunk);
        struct wire_sl_message m = {.type = WIRE_SL_T_BULK_DATA};
        if (n <= 0) {
            bulk_send_end(b->peer, A_CODE_OS, "the artifact's file cannot be read", b->size);
            bulk_source_close(b);
            return;
        }
        m.bulk_data.bytes = (struct a_view){chunk, (size_t)n};
        if (net_link_send(b->peer->net, &m, NULL) != 0)
            break;
        b->offset += (uint64_t)n;
    }
    net_link_flush(b->peer->net);
    if (b->offset < b->size) {
        sys_timer_set_in(&b->refill, REFILL_MS);
        return;
    }
    bulk_send_end(b->peer, A_CODE_NONE, NULL, b->size);
    bulk_source_close(b);
}

static bool bulk_source_open(struct server *s, struct d_bulk *b, const struct a_digest *digest)
{
    const char *text = d_revision_text(s, digest);
    if (text != NULL) {
        b->text = b->text_copy = a_strdup(text);
        b->size = strlen(text);
        return true;
    }
    A_AUTOFREE char *path = d_artifact_path(s, digest);
    struct sys_stat st;
    if (sys_file_stat(path, &st, NULL) != 0 || sys_file_open_read(path, &b->fd, NULL) != 0)
        return false;
    b->size = st.size;
    return true;
}

static void on_get(struct d_peer *p, const struct wire_sl_bulk_get *m)
{
    struct d_bulk *b = p->bulk;
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&m->digest, hex);
    if (b->fd >= 0 || b->text != NULL) {
        d_peer_refuse(p, NET_REFUSAL_MALFORMED, A_CODE_WIRE_MALFORMED,
                      "a second BULK_GET before the end of the first");
        return;
    }
    if (!bulk_source_open(p->server, b, &m->digest)) {
        sys_log(WARN, "server", "artifact.missing", "a node asks for an artifact that is not here",
                SYS_STR("digest", hex));
        bulk_send_end(p, A_CODE_NOT_FOUND, "no such artifact on this server", 0);
        return;
    }
    b->offset = A_MIN(m->offset, b->size);
    bulk_pump(b);
}

/* ---- connections ---- */

void d_bulk_attach(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct server *s = p->server;
    struct d_bulk *b = a_new(struct d_bulk);
    b->fd = -1;
    b->peer = p;
    p->bulk = b;
    sys_timer_init(&b->refill, s->loop, bulk_pump, b);
    if (h->ticket.len > 0) {
        b->ticket = ticket_take(s, &h->node, h->ticket);
        if (b->ticket == NULL) {
            d_peer_refuse(p, NET_REFUSAL_TICKET, A_CODE_UNAUTHORIZED,
                          "this ticket was used before, is too old, or another node's");
            return;
        }
        b->ticket->peer = p;
    }
    struct wire_sl_message m = {.type = WIRE_SL_T_WELCOME};
    m.welcome = (struct wire_sl_welcome){.protocol = A_MIN(h->protocol_max, (uint32_t)WIRE_SL_PROTOCOL),
                                         .store_id = *store_id(s->store),
                                         .server_boot_id = s->boot_id,
                                         .node = h->node};
    (void)!net_link_send(p->net, &m, NULL);
}

void d_bulk_detach(struct d_peer *p)
{
    struct d_bulk *b = p->bulk;
    p->bulk = NULL;
    if (b == NULL)
        return;
    struct d_ticket *t = b->ticket;
    bulk_source_close(b);
    d_kept_push_drop(b->push);
    a_free(b);
    if (t != NULL) {
        t->peer = NULL;
        ticket_fail(t, A_CODE_UNAVAILABLE, "the node's bulk connection broke");
    }
}

static void on_bulk_end(struct d_ticket *t, const struct wire_sl_bulk_end *m)
{
    if (m->ok) {
        ticket_end(t, NULL);
        return;
    }
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *code = a_view_dup(m->code);
    a_error_set(&e, a_code_parse(code), A_VIEW_FMT, A_VIEW_ARG(m->message));
    ticket_end(t, &e);
}

void d_bulk_push_over(struct d_peer *p, enum a_code code, const char *message, uint64_t bytes)
{
    p->bulk->push = NULL;
    bulk_send_end(p, code, message, bytes);
}

void d_bulk_push_lied(struct d_peer *p, const char *message)
{
    p->bulk->push = NULL;
    d_peer_refuse(p, NET_REFUSAL_LIE, A_CODE_INVALID, message);
}

/* Nobody asked for it: a member failed. One after the other on one connection. */
static void on_push(struct d_peer *p, const struct wire_sl_bulk_log *m)
{
    if (p->bulk->push != NULL) {
        d_peer_refuse(p, NET_REFUSAL_MALFORMED, A_CODE_WIRE_MALFORMED,
                      "a second BULK_LOG before the end of the first");
        return;
    }
    struct d_kept_push *push = d_kept_push_begin(p, m);
    if (push != NULL)
        p->bulk->push = push;
}

static void on_untold(struct d_peer *p, const struct wire_sl_message *m)
{
    if (m->type == WIRE_SL_T_BULK_GET)
        on_get(p, &m->bulk_get);
    else if (m->type == WIRE_SL_T_BULK_LOG)
        on_push(p, &m->bulk_log);
    else if (m->type == WIRE_SL_T_BULK_DATA && p->bulk->push != NULL)
        d_kept_push_data(p->bulk->push, m->bulk_data.bytes);
    else if (m->type == WIRE_SL_T_BULK_END && p->bulk->push != NULL)
        d_kept_push_end(p->bulk->push, &m->bulk_end);
}

void d_bulk_message(struct d_peer *p, const struct wire_sl_message *m)
{
    struct d_ticket *t = p->bulk->ticket;
    if (t == NULL)
        on_untold(p, m);
    else if (m->type == WIRE_SL_T_BULK_LOG && t != NULL && t->ops.log != NULL)
        t->ops.log(t->ctx, &m->bulk_log);
    else if (m->type == WIRE_SL_T_BULK_DATA && t != NULL) {
        if (!t->ops.data(t->ctx, m->bulk_data.bytes) && p->bulk != NULL && p->bulk->ticket == t)
            net_link_pause(p->net);
    } else if (m->type == WIRE_SL_T_BULK_END && t != NULL)
        on_bulk_end(t, &m->bulk_end);
}
