/* How each child is called. What is not said here comes to it through ASTRA_CFG_*, which it inherits. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "daemon/up/inside.h"
#include "sys/file.h"

static void add(struct d_up_words *w, const char *word)
{
    a_assert(w->n < D_UP_WORDS_MAX);
    w->words[w->n++] = a_strdup(word);
}

static void add_flag(struct d_up_words *w, const char *flag, const char *value)
{
    add(w, flag);
    add(w, value);
}

static void add_address(struct d_up_words *w, const char *flag, const char *text, uint16_t port)
{
    A_AUTOFREE char *address = d_up_address(text, port);
    add_flag(w, flag, address);
}

char *d_up_address(const char *text, uint16_t port)
{
    const char *colon = strrchr(text, ':');
    A_AUTOFREE char *host = colon != NULL ? a_strndup(text, (size_t)(colon - text)) : a_strdup("127.0.0.1");
    if (port != 0)
        return a_asprintf("%s:%u", host, port);
    return a_asprintf("%s:%s", host, colon != NULL ? colon + 1 : text);
}

/* Where agents and the gateway reach the server: it may listen on all addresses. */
static void add_server(struct d_up_words *w, const struct d_up *up)
{
    A_AUTOFREE char *server = a_asprintf("127.0.0.1:%u", up->children[0].ports[1]);
    add_flag(w, "--server", server);
}

static void server_build(const struct d_up_child *c, struct d_up_words *w)
{
    const struct d_up *up = c->up;
    add(w, "server");
    add_flag(w, "--data", up->layout.server);
    add_address(w, "--api", up->options.api, c->ports[0]);
    add_address(w, "--starlink", up->options.starlink, c->ports[1]);
}

static void gateway_build(const struct d_up_child *c, struct d_up_words *w)
{
    const struct d_up *up = c->up;
    A_AUTOFREE char *token = sys_path_join(up->layout.server, "join.token");
    add(w, "gateway");
    add_server(w, up);
    add_flag(w, "--token-file", token);
    add_flag(w, "--name", c->name);
    add_flag(w, "--data", up->layout.gateway);
    add_address(w, "--listen", up->options.gateway, c->ports[0]);
    add_address(w, "--admin", up->options.admin, c->ports[1]);
}

static void agent_build(const struct d_up_child *c, struct d_up_words *w)
{
    const struct d_up *up = c->up;
    A_AUTOFREE char *token = sys_path_join(up->layout.server, "join.token");
    A_AUTOFREE char *data = sys_path_join(up->layout.nodes, c->name);
    A_AUTOFREE char *cluster = a_asprintf("cluster-%u", c->cluster);
    add(w, "agent");
    add_server(w, up);
    add_flag(w, "--join-token-file", token);
    add_flag(w, "--data", data);
    add_flag(w, "--name", c->name);
    add_flag(w, "--cluster", cluster);
    add_flag(w, "--cpu", up->options.node_cpu);
    add_flag(w, "--memory", up->options.node_memory);
    add_flag(w, "--http", "127.0.0.1:0");
    add_flag(w, "--temp-root", up->layout.temp);
    add_flag(w, "--cache", up->layout.cache);
    if (up->options.libdir != NULL)
        add_flag(w, "--libdir", up->options.libdir);
}

void d_up_command_build(const struct d_up_child *c, struct d_up_words *ret_words)
{
    static void (*const build[])(const struct d_up_child *, struct d_up_words *) = {
        [D_UP_SERVER] = server_build, [D_UP_GATEWAY] = gateway_build, [D_UP_AGENT] = agent_build};
    A_AUTOFREE char *ready = d_up_run_path(&c->up->layout, c->name, "ready");
    *ret_words = (struct d_up_words){0};
    add(ret_words, "astra");
    build[c->kind](c, ret_words);
    add_flag(ret_words, "--ready-file", ready);
}

void d_up_words_deinit(struct d_up_words *w)
{
    for (size_t i = 0; i < w->n; i++)
        a_free(w->words[i]);
    *w = (struct d_up_words){0};
}
