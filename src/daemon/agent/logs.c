/* What the server asks for by OPEN_BULK, over a bulk connection of its own: a member's logs (its output, and
 * what Ray and Serve wrote into the session's folder), or the text of the revision that a member runs, for a
 * server whose store was lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"

#define CHUNK_BYTES 16000
#define PASS_BYTES (256 << 10) /* of one file in one go; then the others on this loop have their turn */
#define FOLLOW_MS 500
#define FILES_MAX 256

struct log_file {
    char *name, *path;
    uint64_t offset; /* sent up to here */
    uint32_t owner;  /* the user whose it must be; 0 = anybody's */
};

struct d_logs {
    struct a_list link; /* d_agent.bulks */
    struct d_agent *agent;
    struct net_stream *stream;
    struct net_link *bulk;
    char *ticket, *only; /* only: one file's name, or NULL */
    size_t ticket_len;
    struct a_unit_name unit;
    struct a_name member;
    bool follow, previous;
    bool artifact; /* the text of a revision, and its digest */
    struct a_digest digest;
    uint64_t tail_bytes;
    struct log_file files[FILES_MAX];
    size_t n_files;
    struct sys_timer timer;
};

static void logs_free(struct d_logs *l)
{
    sys_timer_clear(&l->timer);
    net_stream_close(l->stream);
    net_link_close(l->bulk);
    for (size_t i = 0; i < l->n_files; i++) {
        a_free(l->files[i].name);
        a_free(l->files[i].path);
    }
    a_list_remove(&l->link);
    a_free(l->ticket);
    a_free(l->only);
    a_free(l);
}

/* ---- which files ---- */

struct listing {
    struct d_logs *logs;
    const char *dir, *prefix; /* of the names that people see */
    uint32_t owner;
};

static void file_add(struct d_logs *l, const char *name, const char *path, uint32_t owner)
{
    struct sys_stat st;
    if (l->n_files == FILES_MAX || (l->only != NULL && strcmp(l->only, name) != 0) ||
        sys_file_stat(path, &st, NULL) < 0 || !st.is_file)
        return;
    for (size_t i = 0; i < l->n_files; i++)
        if (strcmp(l->files[i].path, path) == 0)
            return;
    uint64_t from = l->tail_bytes > 0 && st.size > l->tail_bytes ? st.size - l->tail_bytes : 0;
    l->files[l->n_files++] = (struct log_file){a_strdup(name), a_strdup(path), from, owner};
}

static int name_each(void *ctx, const char *name, bool is_dir)
{
    const struct listing *list = ctx;
    A_AUTOFREE char *path = sys_path_join(list->dir, name);
    A_AUTOFREE char *shown = a_asprintf("%s%s", list->prefix, name);
    if (!is_dir)
        file_add(list->logs, shown, path, list->owner);
    return 0;
}

/* A folder that the member can write: a link in it may lead to what only the agent may read. */
static void folder_add(struct d_logs *l, const char *dir, const char *prefix, uint32_t owner)
{
    struct listing list = {l, dir, prefix, owner};
    int ignored A_UNUSED = sys_file_exists(dir) ? sys_dir_list(dir, name_each, &list, NULL) : 0;
}

static struct d_member *member_of(const struct d_logs *l)
{
    a_list_foreach (it, &l->agent->members) {
        struct d_member *m = a_list_entry(it, struct d_member, link);
        if (strcmp(m->id.unit.s, l->unit.s) == 0 && strcmp(m->id.member.s, l->member.s) == 0)
            return m;
    }
    return NULL;
}

static int ended_each(void *ctx, const char *name, bool is_dir)
{
    struct d_logs *l = ctx;
    A_AUTOFREE char *start = a_asprintf("%s.%s.", l->unit.s, l->member.s);
    A_AUTOFREE char *path = a_asprintf("%s/ended/%s", l->agent->data, name);
    if (!is_dir && strncmp(name, start, strlen(start)) == 0)
        file_add(l, name, path, 0);
    return 0;
}

static void revision_find(struct d_logs *l)
{
    a_list_foreach (it, &l->agent->members) {
        const struct d_member *m = a_list_entry(it, struct d_member, link);
        A_AUTOFREE char *path = sys_path_join(m->folder, "revision.json");
        if (l->n_files == 0 && a_digest_equal(&m->document_digest, &l->digest))
            file_add(l, "revision.json", path, 0);
    }
}

static void files_find(struct d_logs *l)
{
    if (l->artifact) {
        revision_find(l);
        return;
    }
    struct d_member *m = l->previous ? NULL : member_of(l);
    if (m == NULL) {
        A_AUTOFREE char *ended = sys_path_join(l->agent->data, "ended");
        int ignored A_UNUSED = sys_file_exists(ended) ? sys_dir_list(ended, ended_each, l, NULL) : 0;
        return;
    }
    A_AUTOFREE char *log = sys_path_join(m->folder, D_SHIM_LOG_FILE);
    A_AUTOFREE char *session = sys_path_join(m->temp, D_MEMBER_RAY_DIR "/session_latest/logs");
    A_AUTOFREE char *serve = sys_path_join(session, "serve");
    file_add(l, D_SHIM_LOG_FILE, log, 0);
    folder_add(l, serve, "serve/", m->uid);
    if (l->only != NULL)
        folder_add(l, session, "ray/", m->uid);
}

/* ---- sending ---- */

static int end_send(struct d_logs *l)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_BULK_END};
    m.bulk_end.ok = l->n_files > 0;
    m.bulk_end.code = l->n_files > 0 ? (struct a_view){0} : a_view_str(a_code_name(A_CODE_NOT_FOUND));
    m.bulk_end.message =
        l->n_files > 0 ? (struct a_view){0}
        : l->previous
            ? A_VIEW_LIT("no log of a start that failed is here: there was none, or its time was over "
                         "(logs.keepFailed, --logs-max)")
            : A_VIEW_LIT("nothing of what was asked for is here");
    return net_link_send(l->bulk, &m, NULL);
}

static int head_send(struct d_logs *l, const struct log_file *f)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_BULK_LOG};
    m.bulk_log.ticket = (struct a_view){l->ticket, l->ticket_len};
    m.bulk_log.unit = l->unit;
    m.bulk_log.member = l->member;
    m.bulk_log.file = a_view_str(f->name);
    m.bulk_log.offset = f->offset;
    return net_link_send(l->bulk, &m, NULL);
}

/* At most PASS_BYTES of what is new in the file; true when there may be more. */
static bool file_send(struct d_logs *l, struct log_file *f)
{
    A_BUF_AUTO struct a_buf bytes = {0};
    struct sys_file_facts facts;
    if (sys_file_read_part(f->path, f->offset, PASS_BYTES, &bytes, &facts, NULL) < 0 ||
        (f->owner != 0 && facts.owner != f->owner))
        return false;
    if (facts.size < f->offset) {
        f->offset = 0; /* rotated */
        return facts.size > 0;
    }
    int rc = bytes.len > 0 && !l->artifact ? head_send(l, f) : 0;
    for (struct a_view rest = a_buf_view(&bytes); rc == 0 && rest.len > 0;) {
        struct wire_sl_message m = {.type = WIRE_SL_T_BULK_DATA};
        m.bulk_data.bytes = (struct a_view){rest.ptr, A_MIN(rest.len, (size_t)CHUNK_BYTES)};
        rc = net_link_send(l->bulk, &m, NULL);
        if (rc == 0) {
            f->offset += m.bulk_data.bytes.len;
            rest.ptr += m.bulk_data.bytes.len;
            rest.len -= m.bulk_data.bytes.len;
        }
    }
    return f->offset < facts.size;
}

static void pass(void *ctx)
{
    struct d_logs *l = ctx;
    bool more = false;
    if (net_link_queued(l->bulk) > PASS_BYTES) {
        sys_timer_set_in(&l->timer, 10);
        return;
    }
    if (l->follow)
        files_find(l);
    for (size_t i = 0; i < l->n_files && !more; i++)
        more = file_send(l, &l->files[i]);
    if (more || l->follow) {
        sys_timer_set_in(&l->timer, more ? 0 : FOLLOW_MS);
        return;
    }
    int ignored A_UNUSED = end_send(l);
    logs_free(l);
}

static void message_take(void *ctx, struct net_link *link, const struct wire_sl_message *m)
{
    (void)ctx;
    (void)link;
    (void)m;
}

static void bulk_closed(void *ctx, struct net_link *link, int rc, const char *why)
{
    struct d_logs *l = ctx;
    (void)link;
    (void)rc;
    (void)why;
    l->bulk = NULL;
    logs_free(l);
}

static const struct net_link_ops bulk_ops = {.message = message_take, .closed = bulk_closed};

static void connected(void *ctx, int rc, const char *why)
{
    struct d_logs *l = ctx;
    struct wire_sl_message hello = {.type = WIRE_SL_T_HELLO};
    (void)why;
    if (rc == 0)
        l->bulk = net_link_new(a_steal(&l->stream), &bulk_ops, l);
    hello.hello.protocol_min = WIRE_SL_PROTOCOL_MIN;
    hello.hello.protocol_max = WIRE_SL_PROTOCOL;
    hello.hello.peer = WIRE_SL_PEER_BULK;
    hello.hello.node = l->agent->id;
    hello.hello.ticket = (struct a_view){l->ticket, l->ticket_len};
    if (rc < 0 || net_link_send(l->bulk, &hello, NULL) < 0) {
        logs_free(l);
        return;
    }
    files_find(l);
    sys_timer_set_in(&l->timer, 0);
}

void d_logs_open(struct d_agent *a, const struct wire_sl_open_bulk *m)
{
    struct d_logs *l;
    const struct net_connect_options options = {
        .host = a->server_host, .port = a->server_port, .dns = a->dns, .tls = a->identity.tls};
    l = a_new(struct d_logs);
    l->agent = a;
    l->ticket = a_view_dup(m->ticket);
    l->ticket_len = m->ticket.len;
    l->only = m->file.len > 0 ? a_view_dup(m->file) : NULL;
    l->unit = m->unit;
    l->member = m->member;
    l->artifact = m->purpose == WIRE_SL_PURPOSE_ARTIFACT;
    l->digest = m->digest;
    l->follow = m->follow && !l->artifact;
    l->previous = m->previous;
    l->tail_bytes = m->tail_bytes;
    sys_timer_init(&l->timer, a->loop, pass, l);
    a_list_push_back(&a->bulks, &l->link);
    if (net_stream_connect(a->loop, &options, connected, l, &l->stream, NULL) < 0)
        logs_free(l);
}

void d_logs_stop(struct d_agent *a)
{
    a_list_foreach_safe (it, &a->bulks) {
        logs_free(a_list_entry(it, struct d_logs, link));
    }
}
