/* Copies of the store, and bringing it up to what runs after an older copy was put back or it was lost. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "sys/file.h"

/* ---- backup ---- */

struct backup {
    struct store_copy copy;
    char *path;
    void *later;
};

static void backup_reply(struct api_call *c, const char *path)
{
    struct sys_stat st;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int fd = -1;
    if (sys_file_stat(path, &st, &e) != 0 || sys_file_open_read(path, &fd, &e) != 0) {
        api_reply_error(c, &e);
        return;
    }
    net_http_reply_file(c->r, &(struct net_http_response){.content_type = "application/octet-stream"}, fd, 0,
                        st.size);
}

static void backup_done(void *ctx, int rc, const struct a_error *error)
{
    struct backup *b = ctx;
    struct api_call *c = api_now(b->later);
    if (c != NULL && rc < 0)
        api_reply_error(c, error);
    else if (c != NULL)
        backup_reply(c, b->path);
    int ignored A_UNUSED = sys_file_remove(b->path, NULL); /* an open descriptor sends it on */
    a_free(b->path);
    a_free(b);
}

void api_handle_STORE_BACKUP(struct api_call *c)
{
    if (store_copy_is_under_way(c->s->store)) {
        api_reply_problem(c, A_CODE_CONFLICT, "%s", "another copy of the store is being made: try again");
        return;
    }
    struct backup *b = a_new(struct backup);
    b->path = a_asprintf("%s/backup.%s.db", c->s->options.data, c->s->boot_id.s);
    int ignored A_UNUSED = sys_file_remove(b->path, NULL); /* of one that was cut short */
    b->later = api_later(c);
    b->copy = (struct store_copy){.path = b->path, .done = backup_done, .ctx = b};
    store_copy_submit(c->s->store, &b->copy);
}

/* ---- recover ---- */

struct recovery {
    struct server *server;
    void *later;
    size_t pending;
    struct a_arena arena;
    struct wire_value *items;
};

struct recovery_step {
    struct recovery *of;
    struct a_app_ref ref;
    const char *done; /* what was done */
};

static void recovery_end(struct recovery *r)
{
    if (--r->pending > 0)
        return;
    struct api_call *c = api_now(r->later);
    if (c != NULL) {
        struct wire_value *v = wire_value_new_object(&r->arena);
        wire_value_set_string(&r->arena, v, "kind", "Recovery");
        wire_value_set(&r->arena, v, "items", r->items);
        api_reply_value(c, 200, v);
    }
    a_arena_deinit(&r->arena);
    a_free(r);
}

static void step_done(void *ctx, const struct d_app_result *result, const struct a_error *error)
{
    struct recovery_step *step = ctx;
    struct recovery *r = step->of;
    bool failed = error != NULL && error->code != A_CODE_NONE;
    struct wire_value *v = wire_value_new_object(&r->arena);
    (void)result;
    wire_value_set_string(&r->arena, v, "namespace", step->ref.namespace.s);
    wire_value_set_string(&r->arena, v, "name", step->ref.name.s);
    wire_value_set_bool(&r->arena, v, "recovered", !failed);
    wire_value_set_bool(&r->arena, v, "later", failed && error->code == A_CODE_UNAVAILABLE);
    wire_value_set_string(&r->arena, v, "message", failed ? a_error_text(error) : step->done);
    wire_value_append(r->items, v);
    a_free(step);
    recovery_end(r);
}

static struct recovery_step *step_new(struct recovery *r, const struct d_app *app, const char *done)
{
    struct recovery_step *step = a_new(struct recovery_step);
    *step = (struct recovery_step){r, app->ref, done};
    r->pending++;
    return step;
}

void api_handle_RECOVER(struct api_call *c)
{
    struct recovery *r = a_new(struct recovery);
    struct server *s = c->s;
    r->server = s;
    r->items = wire_value_new_array(&r->arena);
    r->later = api_later(c);
    r->pending = 1; /* ours, until all are asked */
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->orphan)
            d_app_adopt(s, app, step_done, step_new(r, app, "adopted: it is an app of this store again"));
        else if (app->behind)
            d_app_recover(s, app, step_done,
                          step_new(r, app, "its epoch and revision are those of what runs"));
    }
    recovery_end(r);
}
