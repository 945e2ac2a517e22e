#include "daemon/up/up.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/up/end.h"
#include "daemon/up/inside.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/ready.h"
#include "sys/secret.h"

#define ROTATE_MS 5000
#define TOKEN_MAX 512
#define CA_MAX 65536

/* ---- saying ---- */

void d_up_say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

void d_up_fail(struct d_up *up, const char *fmt, ...)
{
    va_list args;
    if (up->status == 0) { /* the first cause, not what follows from it */
        fprintf(stderr, "astra up: ");
        va_start(args, fmt);
        (void)vfprintf(stderr, fmt, args);
        va_end(args);
        fprintf(stderr, "\n");
    }
    up->status = 1;
    sys_loop_stop(up->loop);
}

/* ---- all is ready ---- */

static const struct d_up_child *server_of(const struct d_up *up)
{
    return &up->children[0];
}

static const struct d_up_child *gateway_of(const struct d_up *up)
{
    return &up->children[1];
}

/* It inherits our environment. */
static const char *gateway_scheme(void)
{
    const char *cert = sys_env_get("ASTRA_CFG_GATEWAY_TLS_CERT");
    return cert != NULL && cert[0] != '\0' ? "https" : "http";
}

static void url_add(struct a_buf *b, const char *key, const char *scheme, const char *text, uint16_t port)
{
    A_AUTOFREE char *address = d_up_address(text, port), *url = a_asprintf("%s://%s", scheme, address);
    a_text_print_json(b, a_view_str(key));
    a_buf_add_str(b, ": ");
    a_text_print_json(b, a_view_str(url));
    a_buf_add_str(b, ", ");
}

/* What the command line needs to find and enter this platform. */
static int client_write(const struct d_up *up, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(up->layout.server, "api.token");
    A_AUTOFREE char *ca_path = sys_path_join(up->layout.server, "ca.pem");
    A_BUF_AUTO struct a_buf token = {0};
    A_BUF_AUTO struct a_buf ca = {0};
    A_BUF_AUTO struct a_buf b = {0};
    int rc = sys_file_read(path, TOKEN_MAX, &token, reterr);
    if (rc == 0)
        rc = sys_file_read(ca_path, CA_MAX, &ca, reterr);
    if (rc < 0)
        return rc;
    a_buf_add_char(&b, '{');
    url_add(&b, "address", "https", up->options.api, server_of(up)->ports[0]);
    url_add(&b, "gateway", gateway_scheme(), up->options.gateway, gateway_of(up)->ports[0]);
    url_add(&b, "admin", "http", up->options.admin, gateway_of(up)->ports[1]);
    a_buf_add_str(&b, "\"ca\": ");
    a_text_print_json(&b, a_buf_view(&ca));
    a_buf_add_str(&b, ", \"token\": ");
    struct a_view end, word = a_view_split(a_buf_view(&token), '\n', &end);
    a_text_print_json(&b, a_view_trim(word));
    a_buf_add_str(&b, "}\n");
    rc = sys_file_write_atomic(up->layout.client, b.ptr, b.len, 0600, reterr);
    sys_secret_wipe(token.ptr, token.len);
    sys_secret_wipe(b.ptr, b.len);
    return rc;
}

static int ready_write(const struct d_up *up, const char *path, struct a_error *reterr)
{
    const struct sys_ready_port ports[] = {{"api", server_of(up)->ports[0]},
                                           {"starlink", server_of(up)->ports[1]},
                                           {"gateway", gateway_of(up)->ports[0]},
                                           {"admin", gateway_of(up)->ports[1]}};
    return sys_ready_write(path, ports, A_ARRAY_SIZE(ports), reterr);
}

static void summary_print(const struct d_up *up)
{
    const struct d_up_options *o = &up->options;
    A_AUTOFREE char *api = d_up_address(o->api, server_of(up)->ports[0]);
    A_AUTOFREE char *gateway = d_up_address(o->gateway, gateway_of(up)->ports[0]);
    A_AUTOFREE char *admin = d_up_address(o->admin, gateway_of(up)->ports[1]);
    d_up_say("\nAstra is up: %llu clusters of %llu nodes, each with %s CPU and %s of memory",
             (unsigned long long)o->clusters, (unsigned long long)o->nodes, o->node_cpu, o->node_memory);
    d_up_say("  API      https://%s    (its token and its CA are in %s)", api, up->layout.client);
    d_up_say("  gateway  %s://%s    (metrics: http://%s/metrics)", gateway_scheme(), gateway, admin);
    d_up_say("  logs     %s", up->layout.log);
    d_up_say("\nNow deploy something:");
    if (o->data != NULL)
        d_up_say("  export ASTRA_CFG_DATA=%s", up->layout.data);
    d_up_say("  astra deploy app.yaml --wait");
    d_up_say("To end it all:\n  astra down");
}

static void announce(struct d_up *up)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *own = d_up_run_path(&up->layout, D_UP_SELF, "ready");
    int rc = client_write(up, &e);
    if (rc == 0 && up->options.ready_file != NULL)
        rc = ready_write(up, up->options.ready_file, &e);
    if (rc < 0) {
        d_up_fail(up, "%s", a_error_text(&e));
        return;
    }
    up->announced = true;
    summary_print(up);
    rc = ready_write(up, own, &e); /* last: who waits for it has seen the summary */
    if (rc < 0)
        d_up_fail(up, "%s", a_error_text(&e));
}

void d_up_child_ready(struct d_up_child *c)
{
    struct d_up *up = c->up;
    if (up->announced) {
        d_up_say("%s runs again (pid %ld)", c->name, (long)sys_process_id(c->process)->pid);
        return;
    }
    if (c == server_of(up)) /* all others want its port */
        for (size_t i = 1; i < up->n_children; i++)
            d_up_child_start(&up->children[i]);
    for (size_t i = 0; i < up->n_children; i++)
        if (!up->children[i].ready)
            return;
    announce(up);
}

/* ---- beginning and end ---- */

static void signalled(void *ctx, int signum)
{
    struct d_up *up = ctx;
    if (signum == SIGUSR1)
        up->leave = true; /* `astra down` does the rest itself */
    else if (!up->ending)
        d_up_say("\nending; once more for less patience");
    up->hurry = up->ending;
    up->ending = true;
    sys_loop_stop(up->loop);
}

static void rotate(void *ctx)
{
    struct d_up *up = ctx;
    d_up_log_rotate(&up->layout);
    sys_timer_set_in(&up->rotate, ROTATE_MS);
}

static void children_make(struct d_up *up)
{
    size_t nodes = (size_t)(up->options.clusters * up->options.nodes), k = 2;
    up->n_children = nodes + 2;
    up->children = a_alloc_array(up->n_children, sizeof *up->children);
    up->children[0] = (struct d_up_child){.kind = D_UP_SERVER, .name = a_strdup("server")};
    up->children[1] = (struct d_up_child){.kind = D_UP_GATEWAY, .name = a_strdup("gateway")};
    for (unsigned c = 1; c <= up->options.clusters; c++)
        for (unsigned n = 1; n <= up->options.nodes; n++)
            up->children[k++] = (struct d_up_child){
                .kind = D_UP_AGENT, .cluster = c, .name = a_asprintf("cluster-%u-node-%u", c, n)};
    for (size_t i = 0; i < up->n_children; i++)
        up->children[i].up = up;
}

/* One `astra up` for one DATA, and none on top of what an earlier one left. */
static int claim_data(struct d_up *up, struct a_error *reterr)
{
    const struct d_up_layout *l = &up->layout;
    const struct sys_proc_id self = sys_proc_self();
    int rc = sys_lock_take(l->lock, &up->lock_fd, reterr);
    if (rc == -EWOULDBLOCK)
        return a_fail(reterr, rc, A_CODE_CONFLICT, "another astra up runs with %s", l->data);
    if (rc < 0)
        return rc;
    size_t n = d_up_end_count(l);
    if (n > 0)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT,
                      "%zu processes of an earlier astra up still run in %s: end them by\n"
                      "    astra down --data %s",
                      n, l->data, l->data);
    return d_up_pid_write(l, D_UP_SELF, &self, reterr);
}

static int up_open(struct d_up *up, struct a_error *reterr)
{
    static const int signums[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    int rc = d_up_layout_open(up->options.data, true, &up->layout, reterr);
    if (rc == 0)
        rc = sys_path_self(&up->self_path, reterr);
    if (rc == 0)
        rc = sys_loop_new(&up->loop, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(signums); i++)
        rc = sys_signal_open(up->loop, signums[i], signalled, up, &up->signals[i], reterr);
    return rc < 0 ? rc : claim_data(up, reterr);
}

static void up_run(struct d_up *up)
{
    d_up_say("starting a server, a gateway and %llu nodes in %s",
             (unsigned long long)up->options.clusters * up->options.nodes, up->layout.data);
    children_make(up);
    sys_timer_init(&up->rotate, up->loop, rotate, up);
    sys_timer_set_in(&up->rotate, ROTATE_MS);
    d_up_child_start(&up->children[0]);
    if (up->status == 0)
        sys_loop_run(up->loop);
    sys_timer_clear(&up->rotate);
    up->ending = true;
}

static int up_end(struct d_up *up, struct a_error *reterr)
{
    struct d_up_end end = {.loop = up->loop, .layout = &up->layout, .hurry = &up->hurry};
    if (up->leave)
        return 0;
    int rc = d_up_end_run(&end, reterr);
    if (rc == 0)
        d_up_say("nothing of it runs any more");
    return rc;
}

static void up_close(struct d_up *up)
{
    for (size_t i = 0; i < up->n_children; i++)
        d_up_child_close(&up->children[i]);
    a_free(up->children);
    for (size_t i = 0; i < A_ARRAY_SIZE(up->signals); i++)
        sys_signal_close(up->signals[i]);
    sys_loop_free(up->loop);
    d_up_layout_deinit(&up->layout);
    a_free(up->self_path);
    sys_fd_close(up->lock_fd);
}

int d_up_main(int argc, char **argv)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct d_up up = {.lock_fd = -1};
    int rc = d_up_options_read(argc, argv, &up.options, &e);
    if (rc == 1)
        return 0;
    if (rc < 0) {
        fprintf(stderr, "astra up: %s\n", a_error_text(&e));
        return 2;
    }
    if (up.options.detach)
        return d_up_detach(argc, argv, &up.options);
    rc = up_open(&up, &e);
    if (rc == 0) {
        up_run(&up);
        rc = up_end(&up, &e);
    }
    if (rc < 0)
        fprintf(stderr, "astra up: %s\n", a_error_text(&e));
    up_close(&up);
    return rc < 0 ? a_code_exit(e.code) : up.status;
}
