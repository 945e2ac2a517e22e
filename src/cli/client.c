/* The server and its answers. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/random.h"
#include "sys/terminal.h"
#include "wire/url.h"

#define CLIENT_FILE_MAX (64u << 10)

/* DATA/client.json, which `astra up` wrote: {"address", "token"}. */
static void client_file_read(struct cli *c, const char **ret_server, const char **ret_token)
{
    const char *data = sys_env_get("ASTRA_CFG_DATA"), *home = sys_env_get("HOME");
    const char *path = data != NULL ? a_arena_printf(&c->arena, "%s/client.json", data)
                                    : a_arena_printf(&c->arena, "%s/.local/share/astra/client.json",
                                                     home != NULL ? home : "");
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *v;
    if (sys_file_read(path, CLIENT_FILE_MAX, &text, NULL) != 0 ||
        wire_json_parse(&c->arena, a_buf_view(&text), path, NULL, &v, NULL) != 0)
        return;
    *ret_server = wire_value_string(wire_value_get(v, "address"), NULL);
    *ret_token = wire_value_string(wire_value_get(v, "token"), NULL);
}

int cli_connect(struct cli *c)
{
    const char *file_server = NULL, *file_token = NULL;
    const char *server = c->server != NULL ? c->server : sys_env_get("ASTRA_CFG_SERVER");
    const char *token = c->token != NULL ? c->token : sys_env_get("ASTRA_CFG_TOKEN");
    SYS_SECRET_AUTO struct sys_secret secret = {0};
    if (c->http != NULL)
        return 0;
    if (server == NULL || token == NULL)
        client_file_read(c, &file_server, &file_token);
    /* A token goes only to the server that it came with. */
    if (token == NULL && server == NULL)
        token = file_token;
    if (server == NULL)
        server = file_server != NULL ? file_server : CLI_DEFAULT_SERVER;
    if (strstr(server, "://") == NULL)
        server = a_arena_printf(&c->arena, "http://%s", server);
    if (token != NULL)
        sys_secret_set(&secret, a_view_trim(a_view_str(token)));
    c->address = server;
    const struct net_blocking_options options = {
        .base_url = server, .token = token != NULL ? &secret : NULL, .user_agent = "astra/" ASTRA_VERSION};
    return net_blocking_new(&options, &c->http, &c->error);
}

static int interrupt_check(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    (void)ctx;
    (void)done_bytes;
    (void)total_bytes;
    return sys_interrupted() ? -EINTR : 0;
}

static void hint_add(struct cli *c, int rc)
{
    if (rc == -ECONNREFUSED)
        a_error_set(
            &c->error, A_CODE_UNAVAILABLE,
            "no server answers at %s: is it running? (--server or ASTRA_CFG_SERVER name another one; astra "
            "doctor looks closer)",
            c->address);
    else if (c->error.code == A_CODE_UNAUTHORIZED)
        a_error_set(&c->error, A_CODE_UNAUTHORIZED,
                    "%s: %s (--token, ASTRA_CFG_TOKEN or client.json give it)", c->address,
                    "the server does not know this token");
}

int cli_call(struct cli *c, const char *method, const char *path, const struct wire_value *body,
             struct wire_value **ret)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    A_BUF_AUTO struct a_buf text = {0};
    struct a_uuid key;
    int rc = cli_connect(c);
    if (rc != 0)
        return rc;
    sys_random_uuid4(&key);
    const struct net_http_header header = {"Idempotency-Key", key.s};
    struct net_blocking_request request = {.method = method, .path = path, .progress = interrupt_check};
    if (body != NULL)
        wire_json_print(&text, body, 0);
    request.body = a_buf_view(&text);
    if (strcmp(method, "POST") == 0 || strcmp(method, "DELETE") == 0) {
        request.headers = &header;
        request.n_headers = 1;
    }
    rc = net_blocking_send(c->http, &request, &answer, &c->error);
    if (rc != 0) {
        hint_add(c, rc);
        return rc;
    }
    if (answer.body.len == 0) {
        *ret = wire_value_new(&c->arena, WIRE_VALUE_NULL);
        return 0;
    }
    rc = wire_json_parse(&c->arena, a_buf_view(&answer.body), "the server's answer", NULL, ret, &c->error);
    return rc;
}

const char *cli_escape(struct cli *c, const char *text)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_url_encode(&b, a_view_str(text), false);
    return a_arena_strdup(&c->arena, b.ptr != NULL ? b.ptr : "");
}

int cli_list(struct cli *c, const char *path, struct wire_value **ret_items)
{
    struct wire_value *all = wire_value_new_array(&c->arena), *page;
    const char *next = path, *mark = strchr(path, '?') != NULL ? "&" : "?";
    while (next != NULL) {
        int rc = cli_call(c, "GET", next, NULL, &page);
        if (rc != 0)
            return rc;
        wire_value_foreach(item, wire_value_get(page, "items"))
            wire_value_append(all, wire_value_copy(&c->arena, item));
        const char *more = wire_value_string(wire_value_get(page, "continue"), NULL);
        next = more != NULL ? a_arena_printf(&c->arena, "%s%scontinue=%s", path, mark, cli_escape(c, more))
                            : NULL;
    }
    *ret_items = all;
    return 0;
}

int cli_follow(struct cli *c, const char *path,
               int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data),
               int (*piece)(void *ctx, struct a_view bytes), void *ctx)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    int rc = cli_connect(c);
    if (rc != 0)
        return rc;
    sys_interrupt_catch();
    const struct net_blocking_request request = {.path = path,
                                                 .timeout_ms = 24ull * 3600 * 1000,
                                                 .progress = interrupt_check,
                                                 .event = event,
                                                 .piece = piece,
                                                 .ctx = ctx};
    rc = net_blocking_send(c->http, &request, &answer, &c->error);
    if (sys_interrupted())
        return 0;
    hint_add(c, rc);
    return rc;
}
