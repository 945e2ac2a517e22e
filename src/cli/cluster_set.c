/* astra cluster set: limits and price of a cluster, of any kind. `cluster add` takes them, too. */
#include "cli/cluster_set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    size_t offset;
    const char *key, *option, *word;
    bool number; /* else a quantity: passed on as it is */
} settings[] = {
    {offsetof(struct cli_limits, max_nodes), "maxNodes", "max-nodes", "nodes", true},
    {offsetof(struct cli_limits, max_cpu), "maxCpu", "max-cpu", "cpu", false},
    {offsetof(struct cli_limits, max_memory), "maxMemory", "max-memory", "memory", false},
    {offsetof(struct cli_limits, max_devices), "maxDevices", "max-devices", "devices", true},
    {offsetof(struct cli_limits, price), "price", "price", "price", true},
};

static const char *given(const struct cli_limits *limits, size_t i)
{
    const char *text;
    memcpy(&text, (const char *)limits + settings[i].offset, sizeof text);
    return text;
}

bool cli_limits_given(const struct cli_limits *limits)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(settings); i++)
        if (given(limits, i) != NULL)
            return true;
    return false;
}

static int setting_put(struct cli_call *c, struct wire_value *body, size_t i, const char *text,
                       struct a_error *reterr)
{
    struct wire_value *v = NULL;
    if (strcmp(text, "none") == 0) {
        wire_value_set_null(c->arena, body, settings[i].key);
        return 0;
    }
    if (!settings[i].number) {
        wire_value_set_string(c->arena, body, settings[i].key, text);
        return 0;
    }
    if (wire_json_parse(c->arena, a_view_str(text), NULL, NULL, &v, NULL) != 0 ||
        (!wire_value_is(v, WIRE_VALUE_INT) && !wire_value_is(v, WIRE_VALUE_DOUBLE)))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s %s: expected a number, or none",
                      settings[i].option, text);
    wire_value_set(c->arena, body, settings[i].key, v);
    return 0;
}

int cli_limits_put(struct cli_call *c, const struct cli_limits *limits, struct wire_value **ret,
                   struct a_error *reterr)
{
    struct wire_value *now;
    const char *path = cli_path(c, "/v1/clusters/{}/limits", c->words.items[0], NULL);
    int rc = cli_get(c, path, &now, reterr);
    if (rc != 0)
        return rc;
    struct wire_value *body = wire_value_copy(c->arena, now);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(settings); i++)
        if (given(limits, i) != NULL)
            rc = setting_put(c, body, i, given(limits, i), reterr);
    return rc == 0 ? cli_request(c, "PUT", path, body, NULL, ret, reterr) : rc;
}

const char *cli_limits_text(struct a_arena *arena, const struct wire_value *limits)
{
    const char *text = "";
    for (size_t i = 0; i < A_ARRAY_SIZE(settings); i++) {
        A_BUF_AUTO struct a_buf number = {0};
        const struct wire_value *v = wire_value_get(limits, settings[i].key);
        if (wire_value_is_null(v))
            continue;
        if (settings[i].number)
            wire_json_print(&number, v, 0);
        text = a_arena_printf(arena, "%s%s%s %s", text, text[0] != '\0' ? ", " : "", settings[i].word,
                              settings[i].number ? number.ptr : wire_value_string(v, ""));
    }
    return text;
}

int cli_cluster_set_run(struct cli_call *c, struct a_error *reterr)
{
    const struct cli_limits *limits = c->args;
    struct wire_value *v;
    if (!cli_limits_given(limits))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "what is to be set? `astra cluster set --help`");
    int rc = cli_limits_put(c, limits, &v, reterr);
    if (rc != 0)
        return rc;
    if (c->json)
        cli_print_json(v);
    else {
        const char *text = cli_limits_text(c->arena, v);
        printf("%s: %s\n", c->words.items[0], text[0] != '\0' ? text : "no limits, no price");
    }
    return 0;
}
