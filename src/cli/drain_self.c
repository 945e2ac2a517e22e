/* astra drain --self: a pod's PreStop. No server is asked: the agent is, which tells it, and which is found
 * by its folder. Kubernetes kills what is left when the pod's grace is over, so this ends before that. */
#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/terminal.h"

#define GRACE_MS 30000
#define MARGIN_MS 2000 /* for TERM, and for the machine's own slowness */
#define POLL_MS 100
#define FILE_MAX 4096

/* Where the agent listens, by its folder; it may have been started again a moment ago. */
static int agent_open(struct cli_call *c, struct net_blocking **ret, struct a_error *reterr)
{
    const char *data = c->common.data != NULL ? c->common.data : sys_env_get("ASTRA_CFG_AGENT_DATA");
    A_BUF_AUTO struct a_buf text = {0};
    struct sys_secret token = {0};
    struct wire_value *v;
    if (data == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--self needs the agent's folder: --data DIR");
    A_AUTOFREE char *path = sys_path_join(data, "local.json");
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = wire_json_parse(c->arena, a_buf_view(&text), path, NULL, &v, reterr);
    if (rc != 0)
        return rc;
    A_AUTOFREE char *url = a_asprintf("http://%s", wire_value_string(wire_value_get(v, "address"), ""));
    sys_secret_set(&token, wire_value_view(wire_value_get(v, "token")));
    rc = net_blocking_new(&(struct net_blocking_options){.base_url = url, .token = &token}, ret, reterr);
    sys_secret_deinit(&token);
    return rc;
}

static int leave_ask(struct cli_call *c, uint64_t left_ms, struct wire_value **ret, struct a_error *reterr)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    struct net_blocking *http = NULL;
    int rc = agent_open(c, &http, reterr);
    if (rc != 0)
        return rc;
    const struct net_blocking_request request = {
        .method = "POST",
        .path = a_arena_printf(c->arena, "/leave?within=%" PRIu64 "ms", left_ms),
        .timeout_ms = 1000};
    rc = net_blocking_send(http, &request, &answer, reterr);
    if (rc == 0)
        rc = wire_json_parse(c->arena, a_buf_view(&answer.body), "the agent's answer", NULL, ret, reterr);
    net_blocking_free(http);
    return rc;
}

/* Nothing is left; or, when the time is over, nothing that serves: what is being stopped ends with the pod.
 */
static bool is_gone(const struct wire_value *state, bool late)
{
    return wire_value_int(wire_value_get(state, late ? "serving" : "claims"), 1) == 0;
}

int cli_drain_self(struct cli_call *c, uint64_t grace_ms, struct a_error *reterr)
{
    uint64_t now = sys_clock_mono_ms(), ends = now + (grace_ms != 0 ? grace_ms : GRACE_MS);
    struct wire_value *state = NULL;
    sys_interrupt_catch();
    for (;;) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        int rc = leave_ask(c, ends > now ? ends - now : 1, &state, &e);
        now = sys_clock_mono_ms();
        if (rc == 0 && is_gone(state, now + MARGIN_MS >= ends)) {
            if (c->json)
                cli_print_json(state);
            return 0;
        }
        if (rc != 0 && (e.code == A_CODE_USAGE || now + MARGIN_MS >= ends)) {
            a_error_move(reterr, &e);
            return rc;
        }
        if (now + MARGIN_MS >= ends)
            return a_fail(reterr, -ETIMEDOUT, A_CODE_TIMEOUT, "%" PRId64 " claims still serve here%s",
                          wire_value_int(wire_value_get(state, "serving"), 0),
                          wire_value_bool(wire_value_get(state, "attached"), false)
                              ? ""
                              : ", and the server is away: nobody takes them out of routing");
        if (!cli_sleep_ms(POLL_MS))
            return CLI_EXIT_INTERRUPTED;
    }
}
