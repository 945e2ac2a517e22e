/* The node's pod or machine ends: it drains, and tells the server when it ends, empty or not; so what serves
 * here is out of routing before anything of it is stopped. Who says so: the server, which has seen that the
 * pod is deleted, and `astra drain --self`, a pod's PreStop, by whoever may read the agent's folder. The
 * earliest end that was said counts until the node is taken back.
 *
 * DATA/local.json (0600) says where the agent listens and what opens it. The time is not kept: PreStop asks
 * again and again, also an agent that was started in between. */
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/random.h"
#include "wire/url.h"

#define TOKEN_BYTES 24

int d_leave_start(struct d_agent *a, const struct sys_addr *listens, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(a->data, "local.json");
    A_BUF_AUTO struct a_buf text = {0};
    char token[2 * TOKEN_BYTES + 1], host[SYS_ADDR_TEXT];
    sys_random_hex(token, TOKEN_BYTES);
    sys_secret_set(&a->local_token, a_view_str(token));
    sys_addr_print_host(listens, host);
    bool all = a_view_is(a_view_str(host), "0.0.0.0") || a_view_is(a_view_str(host), "::");
    bool v6 = !all && strchr(host, ':') != NULL;
    a_buf_addf(&text, "{\"address\": \"%s%s%s:%u\", \"token\": \"%s\"}\n", v6 ? "[" : "",
               all ? "127.0.0.1" : host, v6 ? "]" : "", a->http_port, token);
    int rc = sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
    sys_secret_wipe(token, sizeof token);
    sys_secret_wipe(text.ptr, text.len);
    return rc;
}

uint64_t d_leave_left_ms(const struct d_agent *a)
{
    uint64_t now = sys_loop_now_ms(a->loop);
    if (a->leaves_at_ms == 0 || !a->node.draining)
        return 0;
    return a->leaves_at_ms > now ? a->leaves_at_ms - now : 1;
}

void d_leave_by(struct d_agent *a, uint64_t within_ms)
{
    uint64_t at = within_ms != 0 ? sys_loop_now_ms(a->loop) + within_ms : A_NEVER;
    if (a->node.draining && a->leaves_at_ms != 0)
        at = A_MIN(at, a->leaves_at_ms);
    a->leaves_at_ms = at != A_NEVER ? at : 0;
    a->report_node = true;
}

static bool token_is_right(const struct d_agent *a, const struct net_http_request *r)
{
    struct a_view token, scheme = a_view_split(net_http_request_header(r, "authorization"), ' ', &token);
    return a_view_is_nocase(scheme, "bearer") && sys_secret_equal(&a->local_token, a_view_trim(token));
}

static void state_answer(struct d_agent *a, struct net_http_request *r)
{
    A_BUF_AUTO struct a_buf b = {0};
    uint64_t serving = 0, claims = 0;
    a_list_foreach (it, &a->node.claims) {
        int state = a_list_entry(it, struct sl_claim, link)->state.state;
        serving += state == A_CLAIM_BOUND || state == A_CLAIM_RESERVED;
        claims += state != A_CLAIM_RELEASED;
    }
    a_buf_addf(&b, "{\"state\": \"%s\", \"attached\": %s, \"claims\": %llu, \"serving\": %llu}\n",
               a_node_state_name(sl_node_state(&a->node)), a->attached ? "true" : "false",
               (unsigned long long)claims, (unsigned long long)serving);
    net_http_reply_text(r, 200, "application/json", a_buf_view(&b));
}

void d_leave_handle(struct d_agent *a, struct net_http_request *r)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct a_view text;
    uint64_t within_ms = 0;
    if (!token_is_right(a, r))
        a_error_set(&e, A_CODE_UNAUTHORIZED, "the token in the agent's folder (local.json) opens this");
    else if (wire_url_query_get(r->query, "within", r->arena, &text) && !a_text_duration(text, &within_ms))
        a_error_set(&e, A_CODE_INVALID, "within: \"" A_VIEW_FMT "\" is no duration such as 30s",
                    A_VIEW_ARG(text));
    if (e.code != A_CODE_NONE) {
        net_http_reply_error(r, &e, NULL);
        return;
    }
    d_leave_by(a, within_ms);
    if (!a->node.draining)
        d_claims_event(a, &(struct sl_node_event){.kind = SL_NODE_EV_DRAIN, .on = true});
    state_answer(a, r);
}
