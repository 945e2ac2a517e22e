/* The server: where it is, what opens it, and calls of its API. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/cli.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/random.h"
#include "sys/terminal.h"
#include "wire/url.h"

#define CLIENT_FILE_MAX (64 << 10)
#define PAGES_MAX 10000
#define OWN_URL "https://127.0.0.1:7700" /* where `astra server` listens by default */

const char *cli_namespace(const struct cli_call *c)
{
    return c->common.namespace != NULL ? c->common.namespace : "default";
}

const char *cli_data_dir(struct cli_call *c)
{
    const char *home = sys_env_get("HOME"), *data = sys_env_get("ASTRA_CFG_DATA");
    if (c->common.data != NULL)
        return c->common.data;
    return data != NULL ? data : a_arena_printf(c->arena, "%s/.local/share/astra", home != NULL ? home : "");
}

/* What `astra up` wrote; *ret_v is NULL when there is no such file. */
static int client_file_parse(struct cli_call *c, const char **ret_path, struct wire_value **ret_v,
                             struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    const char *path = a_arena_printf(c->arena, "%s/client.json", cli_data_dir(c));
    *ret_path = path;
    *ret_v = NULL;
    if (!sys_file_exists(path))
        return 0;
    int rc = sys_file_read(path, CLIENT_FILE_MAX, &text, reterr);
    return rc == 0 ? wire_json_parse(c->arena, a_buf_view(&text), path, NULL, ret_v, reterr) : rc;
}

static int text_read(struct cli_call *c, const char *path, const char **ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    int rc = sys_file_read(path, CLIENT_FILE_MAX, &text, reterr);
    if (rc == 0)
        *ret = a_arena_strndup(c->arena, text.ptr, text.len);
    sys_secret_wipe(text.ptr, text.len);
    return rc;
}

/* The folder may be a server's own, on its machine or in its pod: its token, for whoever proves to be of its
 * CA, and its usual address. */
static int server_folder_read(struct cli_call *c, const char **url, const char **token, const char **ca,
                              struct a_error *reterr)
{
    const char *token_path = a_arena_printf(c->arena, "%s/api.token", cli_data_dir(c));
    const char *ca_path = a_arena_printf(c->arena, "%s/ca.pem", cli_data_dir(c));
    bool plain = *url != NULL && strncmp(*url, "http://", 7) == 0;
    if (*token != NULL || *ca != NULL || plain || !sys_file_exists(token_path) || !sys_file_exists(ca_path))
        return 0;
    const char *text;
    int rc = text_read(c, ca_path, ca, reterr);
    if (rc == 0)
        rc = text_read(c, token_path, &text, reterr);
    if (rc != 0)
        return rc;
    struct a_view rest, line = a_view_trim(a_view_split(a_view_str(text), '\n', &rest));
    *token = a_arena_strndup(c->arena, line.ptr, line.len);
    if (*url == NULL)
        *url = OWN_URL;
    return 0;
}

/* From the file, what was not said otherwise. No file is no error. */
static int client_file_read(struct cli_call *c, const char **url, const char **token, const char **ca,
                            struct a_error *reterr)
{
    struct wire_value *v;
    const char *path;
    int rc = client_file_parse(c, &path, &v, reterr);
    if (rc == 0 && v == NULL)
        return server_folder_read(c, url, token, ca, reterr);
    if (rc != 0)
        return rc;
    /* The file's token and CA are for the file's server only; of another one the CA is tried, too. */
    if (*token == NULL && *url == NULL)
        *token = wire_value_string(wire_value_get(v, "token"), NULL);
    if (*url == NULL)
        *url = wire_value_string(wire_value_get(v, "address"), NULL);
    if (*ca == NULL)
        *ca = wire_value_string(wire_value_get(v, "ca"), NULL);
    return 0;
}

/* --ca FILE or ASTRA_CFG_CA. */
static int ca_file_read(struct cli_call *c, const char **ret_ca, struct a_error *reterr)
{
    const char *path = c->common.ca != NULL ? c->common.ca : sys_env_get("ASTRA_CFG_CA");
    return path != NULL ? text_read(c, path, ret_ca, reterr) : 0;
}

int cli_client_trust(struct cli_call *c, const char *ca, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *v;
    const char *path;
    int rc = client_file_parse(c, &path, &v, reterr);
    if (rc != 0 || v == NULL || strcmp(wire_value_string(wire_value_get(v, "address"), ""), c->server) != 0)
        return rc;
    wire_value_set_string(c->arena, v, "ca", ca);
    wire_json_print(&text, v, 0);
    a_buf_add_char(&text, '\n');
    return sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
}

int cli_client_open(struct cli_call *c, struct a_error *reterr)
{
    const char *url = c->common.server != NULL ? c->common.server : sys_env_get("ASTRA_CFG_SERVER");
    const char *token = c->common.token != NULL ? c->common.token : sys_env_get("ASTRA_CFG_TOKEN");
    const char *ca = NULL;
    SYS_SECRET_AUTO struct sys_secret secret = {0};
    if (c->http != NULL)
        return 0;
    int rc = ca_file_read(c, &ca, reterr);
    if (rc == 0 && (url == NULL || token == NULL || ca == NULL))
        rc = client_file_read(c, &url, &token, &ca, reterr);
    if (rc != 0)
        return rc;
    if (url == NULL)
        return a_fail(
            reterr, -ENOENT, A_CODE_UNAVAILABLE,
            "no server is known: `astra up` starts one here (%s/client.json is not there); else say --server "
            "URL --token TOKEN",
            cli_data_dir(c));
    if (strstr(url, "://") == NULL)
        url = a_arena_printf(c->arena, "https://%s", url);
    c->server = url;
    sys_secret_set(&secret, a_view_str(token));
    return net_blocking_new(
        &(struct net_blocking_options){.base_url = url, .token = &secret, .ca = a_view_str(ca)}, &c->http,
        reterr);
}

const char *cli_path(struct cli_call *c, const char *pattern, ...)
{
    A_BUF_AUTO struct a_buf b = {0};
    va_list args;
    va_start(args, pattern);
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '{' && p[1] == '}') {
            wire_url_encode(&b, a_view_str(va_arg(args, const char *)), false);
            p++;
        } else {
            a_buf_add_char(&b, *p);
        }
    }
    va_end(args);
    return a_arena_strndup(c->arena, b.ptr, b.len);
}

/* ---- calls ---- */

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    return sys_interrupted() ? -EINTR : 0;
}

static int answer_parse(const struct net_blocking_answer *answer, const char *path, struct a_arena *arena,
                        struct wire_value **ret, struct a_error *reterr)
{
    struct wire_value *v = NULL;
    if (ret == NULL)
        return 0;
    int rc = wire_json_parse(arena, a_buf_view(&answer->body), NULL, NULL, &v, reterr);
    if (rc != 0) {
        a_error_wrap(reterr, "the answer to %s is no JSON; is it Astra's server?", path);
        return rc;
    }
    *ret = v;
    return 0;
}

/* A connection that broke before an answer came: reads may be repeated, and writes that carry a key. */
static bool may_repeat(int rc)
{
    return rc == -ECONNRESET;
}

int cli_request(struct cli_call *c, const char *method, const char *path, const struct wire_value *body,
                struct a_arena *arena, struct wire_value **ret, struct a_error *reterr)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    A_BUF_AUTO struct a_buf text = {0};
    struct a_uuid key;
    sys_random_uuid4(&key);
    const struct net_http_header headers[] = {{"Idempotency-Key", key.s}};
    bool keyed = strcmp(method, "POST") == 0 || strcmp(method, "DELETE") == 0;
    struct net_blocking_request request = {.method = method,
                                           .path = path,
                                           .headers = headers,
                                           .n_headers = keyed ? 1 : 0,
                                           .progress = on_progress};
    int rc = cli_client_open(c, reterr);
    if (rc != 0)
        return rc;
    if (body != NULL)
        wire_json_print(&text, body, 0);
    request.body = a_buf_view(&text);
    rc = net_blocking_send(c->http, &request, &answer, reterr);
    if (may_repeat(rc)) {
        net_blocking_answer_deinit(&answer);
        answer = (struct net_blocking_answer){0};
        rc = net_blocking_send(c->http, &request, &answer, reterr);
    }
    return rc != 0 ? rc : answer_parse(&answer, path, arena != NULL ? arena : c->arena, ret, reterr);
}

int cli_get(struct cli_call *c, const char *path, struct wire_value **ret, struct a_error *reterr)
{
    return cli_request(c, "GET", path, NULL, NULL, ret, reterr);
}

int cli_list(struct cli_call *c, const char *path, struct a_arena *arena, struct wire_value **ret_items,
             struct a_error *reterr)
{
    struct a_arena *a = arena != NULL ? arena : c->arena;
    struct wire_value *items = wire_value_new_array(a), *page;
    const char *from = NULL;
    for (unsigned i = 0; i < PAGES_MAX; i++) {
        const char *at = path;
        if (from != NULL)
            at = a_arena_printf(a, "%s%c%s", path, strchr(path, '?') != NULL ? '&' : '?',
                                cli_path(c, "continue={}", from, NULL));
        int rc = cli_request(c, "GET", at, NULL, a, &page, reterr);
        if (rc != 0)
            return rc;
        wire_value_foreach(item, wire_value_get(page, "items"))
            wire_value_append(items, wire_value_copy(a, item));
        from = wire_value_string(wire_value_get(page, "continue"), NULL);
        if (from == NULL)
            break;
    }
    *ret_items = items;
    return 0;
}

const char *cli_list_path(struct cli_call *c, const char *name)
{
    if (c->common.namespace != NULL)
        return cli_path(c, "/v1/namespaces/{}/{}", c->common.namespace, name, NULL);
    return cli_path(c, "/v1/{}", name, NULL);
}

/* ---- nodes ---- */

const char *cli_node_name(struct a_arena *arena, const struct wire_value *cluster,
                          const struct wire_value *name)
{
    const char *k = wire_value_string(cluster, ""), *n = wire_value_string(name, "");
    size_t len = strlen(k);
    if (n[0] == '\0')
        return "";
    if (len == 0 || (strncmp(n, k, len) == 0 && n[len] == '/'))
        return n;
    return a_arena_printf(arena, "%s/%s", k, n);
}

static bool node_is(struct a_arena *arena, const struct wire_value *node, const char *word)
{
    const char *id = wire_value_string(wire_value_get(node, "id"), "");
    const struct wire_value *name = wire_value_get(node, "name");
    return strncmp(id, word, strlen(word)) == 0 || strcmp(wire_value_string(name, ""), word) == 0 ||
           strcmp(cli_node_name(arena, wire_value_get(node, "cluster"), name), word) == 0;
}

static int nodes_many(struct cli_call *c, const char *word, const struct wire_value *nodes,
                      struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_value_foreach(node, nodes)
    {
        if (node_is(c->arena, node, word))
            a_buf_addf(&b, "%s%s (%s)", b.len > 0 ? ", " : "",
                       cli_node_name(c->arena, wire_value_get(node, "cluster"), wire_value_get(node, "name")),
                       wire_value_string(wire_value_get(node, "id"), ""));
    }
    return a_fail(reterr, -EINVAL, A_CODE_CONFLICT, "\"%s\" may be any of: %s", word, b.ptr);
}

int cli_node_find(struct cli_call *c, const char *word, struct wire_value **ret, struct a_error *reterr)
{
    struct wire_value *nodes, *found = NULL;
    size_t n = 0;
    int rc = cli_list(c, "/v1/nodes", NULL, &nodes, reterr);
    if (rc != 0)
        return rc;
    wire_value_foreach(node, nodes)
    {
        if (word[0] == '\0' || !node_is(c->arena, node, word))
            continue;
        found = wire_value_copy(c->arena, node);
        n++;
    }
    if (n > 1)
        return nodes_many(c, word, nodes, reterr);
    if (n == 0)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND, "no such node: %s; `astra nodes` lists them", word);
    *ret = found;
    return 0;
}
