/* Logs of an app's members: the server asks the nodes (each dials a bulk connection) and passes on what they
 * send, whole lines at a time, so that several members may speak at once. Of a member that failed there is
 * also what its node brought then (kept_logs.c): the last mebibyte, for when the node is away or has it no
 * more. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "sys/clock.h"
#include "sys/file.h"

#define LOG_SOURCES_MAX 64
#define LOG_LINE_MAX (64u << 10)
#define LOG_CHUNK (16u << 10)

struct log_stream;

/* One member. */
struct log_source {
    struct log_stream *stream;
    struct d_ticket *ticket;
    struct a_unit_name unit;
    struct a_name member;
    struct a_node_id node;
    char node_name[254];
    uint64_t gone_unix_ms; /* since when the node is away, if it is forgotten; 0 = not known */
    char file[257];
    struct a_buf line;   /* begun, not ended */
    bool ended, stopped; /* stopped: told to wait, until the client took some */
    int fd;              /* of what is kept here; -1 */
    uint64_t offset;
    struct sys_timer timer; /* reads on */
};

struct log_stream {
    struct server *s;
    struct net_http_request *r;
    struct a_uuid app_uid;
    bool prefix, follow, previous;
    uint64_t tail;
    const char *file;
    struct log_source sources[LOG_SOURCES_MAX];
    size_t n, next; /* without follow: one after the other */
    char *name;     /* file, owned */
};

static void logs_free(struct log_stream *st)
{
    for (size_t i = 0; i < st->n; i++) {
        d_ticket_cancel(st->sources[i].ticket);
        sys_timer_clear(&st->sources[i].timer);
        sys_fd_close(st->sources[i].fd);
        a_buf_deinit(&st->sources[i].line);
    }
    a_free(st->name);
    a_free(st);
}

static void on_logs_gone(void *ctx, struct net_http_request *r)
{
    (void)r;
    logs_free(ctx);
}

static void line_write(struct log_source *source, struct a_view line, bool end)
{
    struct log_stream *st = source->stream;
    A_BUF_AUTO struct a_buf b = {0};
    if (st->prefix)
        a_buf_addf(&b, "%s/%s%s%s | ", source->unit.s, source->member.s, source->file[0] != '\0' ? " " : "",
                   source->file);
    a_buf_add_view(&b, line);
    if (end)
        a_buf_add_char(&b, '\n');
    /* A client that is gone is told by on_gone; one that is full was waited for, and a line more is let go.
     */
    (void)!net_http_stream_write(st->r, a_buf_view(&b));
}

static void line_end(struct log_source *source)
{
    if (source->line.len > 0)
        line_write(source, a_buf_view(&source->line), true);
    a_buf_reset(&source->line);
}

static void lines_take(struct log_source *source, struct a_view bytes)
{
    while (bytes.len > 0) {
        const char *end = memchr(bytes.ptr, '\n', bytes.len);
        size_t n = end != NULL ? (size_t)(end - bytes.ptr) : bytes.len;
        a_buf_add(&source->line, bytes.ptr, n);
        if (end != NULL) {
            line_write(source, a_buf_view(&source->line), true);
            a_buf_reset(&source->line);
            n++;
        } else if (source->line.len >= LOG_LINE_MAX) {
            line_end(source);
        }
        bytes = (struct a_view){bytes.ptr + n, bytes.len - n};
    }
}

static void source_open(struct log_source *source);

/* The next one, or the end when none is left. */
static void logs_go_on(struct log_stream *st)
{
    while (!st->follow && st->next < st->n) {
        struct log_source *source = &st->sources[st->next++];
        source_open(source);
        if (!source->ended)
            return;
    }
    for (size_t i = 0; i < st->n; i++)
        if (!st->sources[i].ended)
            return;
    struct net_http_request *r = st->r;
    r->on_gone = NULL;
    logs_free(st);
    net_http_stream_end(r);
}

static void on_log(void *ctx, const struct wire_sl_bulk_log *log)
{
    struct log_source *source = ctx;
    line_end(source);
    snprintf(source->file, sizeof source->file, A_VIEW_FMT, A_VIEW_ARG(log->file));
}

static bool on_log_data(void *ctx, struct a_view bytes)
{
    struct log_source *source = ctx;
    if (source->stream->prefix) {
        lines_take(source, bytes);
    } else {
        (void)!net_http_stream_write(source->stream->r, bytes);
    }
    source->stopped = net_http_stream_is_full(source->stream->r);
    return !source->stopped;
}

static bool kept_open(struct log_source *source, struct a_view why);

static void on_log_end(void *ctx, const struct a_error *error)
{
    struct log_source *source = ctx;
    A_BUF_AUTO struct a_buf b = {0};
    source->ticket = NULL;
    if (error != NULL && source->file[0] == '\0' && kept_open(source, a_view_str(a_error_text(error))))
        return;
    source->ended = true;
    line_end(source);
    if (error != NULL && error->code != A_CODE_NONE) {
        a_buf_addf(&b, "astra: logs of %s/%s: %s", source->unit.s, source->member.s, a_error_text(error));
        line_write(source, a_buf_view(&b), true);
    }
    logs_go_on(source->stream);
}

/* ---- what is kept here ---- */

static const struct d_kept_log *kept_of(const struct log_source *source)
{
    const struct log_stream *st = source->stream;
    return st->previous && st->name[0] == '\0'
               ? d_kept_log_find(st->s, &st->app_uid, source->unit.s, source->member.s)
               : NULL;
}

static void kept_pump(void *ctx)
{
    struct log_source *source = ctx;
    char chunk[LOG_CHUNK];
    while (!source->stopped) {
        ssize_t n = sys_fd_read_at(source->fd, chunk, sizeof chunk, source->offset);
        if (n <= 0) {
            sys_fd_close(source->fd);
            source->fd = -1;
            on_log_end(source, NULL);
            return;
        }
        source->offset += (uint64_t)n;
        on_log_data(source, (struct a_view){chunk, (size_t)n});
    }
}

/* It follows after this returned. False: none of it is here. */
static bool kept_open(struct log_source *source, struct a_view why)
{
    struct log_stream *st = source->stream;
    const struct d_kept_log *log = kept_of(source);
    A_AUTOFREE char *path = log != NULL ? d_kept_log_path(st->s, &log->id) : NULL;
    A_BUF_AUTO struct a_buf b = {0};
    if (log == NULL || sys_file_open_read(path, &source->fd, NULL) != 0)
        return false;
    a_buf_addf(&b,
               "astra: the end of the log of %s/%s, as its node brought it (" A_VIEW_FMT "):", source->unit.s,
               source->member.s, A_VIEW_ARG(why));
    line_write(source, a_buf_view(&b), true);
    source->offset = st->tail > 0 && log->bytes > st->tail ? log->bytes - st->tail : 0;
    snprintf(source->file, sizeof source->file, "log");
    sys_timer_init(&source->timer, st->s->loop, kept_pump, source);
    sys_timer_set_in(&source->timer, 0);
    return true;
}

/* ---- asking ---- */

/* False, with why: its node cannot be asked for this one now. */
static bool node_is_there(const struct log_source *source, struct a_buf *ret_why)
{
    const struct server *s = source->stream->s;
    const struct sl_resource_node *node = sl_resource_node(&s->resource, &source->node);
    const char *name = source->node_name;
    char since[SYS_RFC3339_LEN + 1];
    if (node != NULL && node->conn != 0)
        return true;
    uint64_t at = node != NULL ? api_wall_ms(s->api, node->closed_ms) : source->gone_unix_ms;
    sys_clock_print(at != 0 ? at : api_wall_ms(s->api, s->started_ms), since);
    if (source->node.s[0] == '\0') {
        a_buf_add_str(ret_why, "this server does not know its node any more");
        return false;
    }
    a_buf_addf(ret_why, "the log of %s/%s is on node %s", source->unit.s, source->member.s, name);
    if (strcmp(name, source->node.s) != 0)
        a_buf_addf(ret_why, " (%s)", source->node.s);
    a_buf_addf(ret_why,
               at != 0 ? ", which has been away since %s"
                       : ", which has not come since this server's start at %s",
               since);
    return false;
}

static bool source_is_there(const struct log_source *source, struct a_buf *ret_why)
{
    if (node_is_there(source, ret_why) || kept_of(source) != NULL)
        return true;
    a_buf_add_str(ret_why,
                  "; it can be read when the node is back, while it is kept there (logs.keepFailed)");
    return false;
}

static void source_open(struct log_source *source)
{
    static const struct d_ticket_ops ops = {.log = on_log, .data = on_log_data, .end = on_log_end};
    struct log_stream *st = source->stream;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf why = {0};
    A_BUF_AUTO struct a_buf line = {0};
    const struct wire_sl_open_bulk ask = {.purpose = WIRE_SL_PURPOSE_LOGS,
                                          .unit = source->unit,
                                          .member = source->member,
                                          .previous = st->previous,
                                          .follow = st->follow,
                                          .tail_bytes = st->tail,
                                          .file = a_view_str(st->name)};
    bool there = node_is_there(source, &why);
    if (there)
        source->ticket = d_ticket_open(st->s, &source->node, &ask, &ops, source, &e);
    if (source->ticket != NULL || kept_open(source, there ? a_view_str(a_error_text(&e)) : a_buf_view(&why)))
        return;
    source->ended = true;
    a_buf_addf(&line, "astra: logs of %s/%s: %s", source->unit.s, source->member.s,
               why.len > 0 ? why.ptr : a_error_text(&e));
    line_write(source, a_buf_view(&line), true);
}

static void on_logs_drain(void *ctx, struct net_http_request *r)
{
    struct log_stream *st = ctx;
    (void)r;
    for (size_t i = 0; i < st->n; i++) {
        struct log_source *source = &st->sources[i];
        if (!source->stopped || (source->ticket == NULL && source->fd < 0))
            continue;
        source->stopped = false;
        if (source->fd >= 0)
            sys_timer_set_in(&source->timer, 0);
        else
            d_ticket_resume(source->ticket);
    }
}

/* ---- which members ---- */

static struct log_source *source_add(struct log_stream *st, const struct a_unit_name *unit,
                                     const struct a_name *member, const struct a_node_id *node)
{
    if (node->s[0] == '\0' || st->n == LOG_SOURCES_MAX)
        return NULL;
    struct log_source *source = &st->sources[st->n++];
    *source = (struct log_source){.stream = st, .unit = *unit, .member = *member, .node = *node, .fd = -1};
    snprintf(source->node_name, sizeof source->node_name, "%s", d_node_name(st->s, node));
    return source;
}

static void source_of_past(struct log_stream *st, const struct d_past *p)
{
    struct log_source *source = source_add(st, &p->unit, &p->member, &p->node);
    if (source == NULL)
        return;
    snprintf(source->node_name, sizeof source->node_name, "%s", p->node_name);
    source->gone_unix_ms = p->gone_unix_ms;
}

static void sources_of_fleet(struct log_stream *st, const struct d_app *app, const char *unit,
                             const char *member)
{
    struct unit_info u;
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &u); i++) {
        if (unit[0] != '\0' && strcmp(unit, u.name.s) != 0)
            continue;
        for (size_t k = 0; unit_fleet_member(app->fleet, &u.name, k, &m); k++)
            if (member[0] == '\0' || strcmp(member, m.name.s) == 0)
                source_add(st, &u.name, &m.name, &m.node);
    }
}

/* It is asked for, and no newer one of the same member is there already. */
static bool is_new(const struct log_stream *st, const char *unit, const char *member,
                   const struct a_unit_name *its_unit, const struct a_name *its_member)
{
    if ((unit[0] != '\0' && strcmp(unit, its_unit->s) != 0) ||
        (member[0] != '\0' && strcmp(member, its_member->s) != 0))
        return false;
    for (size_t i = 0; i < st->n; i++)
        if (strcmp(st->sources[i].unit.s, its_unit->s) == 0 &&
            strcmp(st->sources[i].member.s, its_member->s) == 0)
            return false;
    return true;
}

/* The newest of each unit and member: where they ended, and, of those that nobody remembers, what is kept. */
static void sources_of_past(struct log_stream *st, const struct d_app *app, const char *unit,
                            const char *member)
{
    a_list_foreach (l, (struct a_list *)(uintptr_t)&app->past) {
        const struct d_past *p = a_list_entry(l, struct d_past, link);
        if (is_new(st, unit, member, &p->unit, &p->member))
            source_of_past(st, p);
    }
    for (const struct d_kept_log *log = NULL; (log = d_kept_log_before(st->s, log)) != NULL;)
        if (strcmp(log->id.app_uid.s, app->uid.s) == 0 && st->n < LOG_SOURCES_MAX &&
            is_new(st, unit, member, &log->id.unit, &log->id.member))
            st->sources[st->n++] =
                (struct log_source){.stream = st, .unit = log->id.unit, .member = log->id.member, .fd = -1};
}

static void sources_of_orphan(struct log_stream *st, const struct d_app *app, const char *unit,
                              const char *member)
{
    for (const struct sl_resource_claim *l = sl_resource_next_orphan(&st->s->resource, NULL); l != NULL;
         l = sl_resource_next_orphan(&st->s->resource, l)) {
        const struct a_claim_id *id = &l->facts.id;
        if (strcmp(id->app_uid.s, app->uid.s) == 0 && (unit[0] == '\0' || strcmp(unit, id->unit.s) == 0) &&
            (member[0] == '\0' || strcmp(member, id->member.s) == 0))
            source_add(st, &id->unit, &id->member, &l->node->id);
    }
}

/* All are where nobody can be asked: then that is the answer. */
static bool logs_refuse(struct api_call *c, struct log_stream *st)
{
    A_BUF_AUTO struct a_buf why = {0};
    for (size_t i = 0; i < st->n; i++) {
        if (i > 0)
            a_buf_add_str(&why, "\n");
        if (source_is_there(&st->sources[i], &why))
            return false;
    }
    api_reply_problem(c, A_CODE_UNAVAILABLE, "%s", why.ptr);
    logs_free(st);
    return true;
}

static void logs_begin(struct api_call *c, struct log_stream *st)
{
    c->r->on_gone = on_logs_gone;
    c->r->on_gone_ctx = st;
    net_http_stream_begin(c->r, &(struct net_http_response){.content_type = "text/plain; charset=utf-8"});
    net_http_stream_on_drain(c->r, on_logs_drain, st);
    for (size_t i = 0; st->follow && i < st->n; i++)
        source_open(&st->sources[i]);
    logs_go_on(st);
}

void api_handle_APP_LOGS(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    const char *unit = api_query(c, "unit"), *member = api_query(c, "member"), *tail = api_query(c, "tail");
    uint64_t tail_bytes = 0;
    if (app == NULL)
        return;
    if (tail[0] != '\0' && !a_text_bytes(a_view_str(tail), &tail_bytes)) {
        api_reply_problem(c, A_CODE_INVALID, "tail: \"%s\" is no size such as 64Ki", tail);
        return;
    }
    struct log_stream *st = a_new(struct log_stream);
    *st =
        (struct log_stream){.s = c->s, .r = c->r, .tail = tail_bytes, .name = a_strdup(api_query(c, "file"))};
    st->app_uid = app->uid;
    st->follow = api_query_flag(c, "follow");
    st->previous = api_query_flag(c, "previous");
    if (st->previous)
        sources_of_past(st, app, unit, member);
    if (app->fleet != NULL && st->n == 0)
        sources_of_fleet(st, app, unit, member);
    else if (app->fleet == NULL)
        sources_of_orphan(st, app, unit, member);
    st->prefix = st->n > 1 || api_query_flag(c, "prefix");
    if (st->n == 0) {
        logs_free(st);
        api_reply_problem(c, A_CODE_NOT_FOUND, "no member of %s with that name is on a node", app->key);
        return;
    }
    if (!logs_refuse(c, st))
        logs_begin(c, st);
}
