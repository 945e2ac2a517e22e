/* astra pool apply|ls|get|rm|manifests: pods that are created ahead of need. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/drain_wait.h"
#include "cli/table.h"
#include "kube/workload.h"
#include "sys/file.h"

#define FILE_MAX (1u << 20)
#define TIMEOUT_MS (60ull * 60 * 1000)

/* Checked here, where its lines are known; the server checks again. */
static int pool_read(struct cli_call *c, const char *path, struct wire_value **ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0}, said = {0};
    struct wire_problems problems = {.arena = c->arena};
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = wire_yaml_parse(c->arena, a_buf_view(&text), path, NULL, ret, reterr);
    if (rc != 0)
        return rc;
    (void)kube_pool_check(&problems, *ret);
    wire_problems_print(&said, &problems, path);
    if (said.len > 0)
        fwrite(said.ptr, 1, said.len, stderr);
    if (problems.n_errors == 0)
        return 0;
    return a_fail(reterr, -EINVAL, A_CODE_POOL_INVALID, "%s has %zu error%s; nothing was changed", path,
                  problems.n_errors, problems.n_errors == 1 ? "" : "s");
}

static int apply_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *doc, *v;
    int rc = pool_read(c, c->words.items[0], &doc, reterr);
    if (rc != 0)
        return rc;
    const char *name = wire_value_string(wire_value_path(doc, "metadata.name"), "");
    rc = cli_request(c, "PUT", cli_path(c, "/v1/pools/{}", name, NULL), doc, NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("pool %s: %s to %s pods in %s; `astra pool get %s` says how it stands\n", name,
               cli_cell(c->arena, wire_value_get(v, "spec"), "min"),
               cli_cell(c->arena, wire_value_get(v, "spec"), "max"),
               cli_cell(c->arena, wire_value_get(v, "spec"), "cluster"), name);
    return rc;
}

/* Ready is good when it is true, the others when they are false. */
static const char *trouble(struct a_arena *arena, const struct wire_value *status)
{
    wire_value_foreach(k, wire_value_get(status, "conditions"))
    {
        bool is_true = strcmp(cli_cell(arena, k, "status"), "True") == 0;
        bool ready = strcmp(cli_cell(arena, k, "type"), "Ready") == 0;
        if (!ready && is_true)
            return a_arena_printf(arena, "%s: %s", cli_cell(arena, k, "type"), cli_cell(arena, k, "message"));
    }
    return wire_value_bool(wire_value_get(status, "deleting"), false) ? "is being removed" : "";
}

static void pool_row(struct cli_table *t, const struct wire_value *v)
{
    struct a_arena *a = t->arena;
    const struct wire_value *spec = wire_value_get(v, "spec"), *status = wire_value_get(v, "status");
    cli_table_row(t, cli_cell(a, wire_value_get(v, "metadata"), "name"), cli_cell(a, spec, "cluster"),
                  cli_cell(a, spec, "namespace"),
                  a_arena_printf(a, "%s-%s", cli_cell(a, spec, "min"), cli_cell(a, spec, "max")),
                  cli_cell(a, status, "pods"), cli_cell(a, status, "joined"), cli_cell(a, status, "free"),
                  cli_cell(a, status, "demand"), trouble(a, status), NULL);
}

static int ls_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *list;
    int rc = cli_get(c, "/v1/pools", &list, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(list);
        return 0;
    }
    cli_table_row(&t, "NAME", "CLUSTER", "NAMESPACE", "MIN-MAX", "PODS", "JOINED", "FREE", "DEMAND", "STATE",
                  NULL);
    wire_value_foreach(v, wire_value_get(list, "items")) pool_row(&t, v);
    if (wire_value_count(wire_value_get(list, "items")) > 0)
        cli_print_table(&t);
    else
        printf("no pools: `astra pool apply FILE` makes one\n");
    return 0;
}

static int get_run(struct cli_call *c, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v;
    int rc = cli_get(c, cli_path(c, "/v1/pools/{}", c->words.items[0], NULL), &v, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(v);
        return 0;
    }
    wire_yaml_print(&b, v);
    cli_print(a_buf_view(&b));
    return 0;
}

/* ---- rm ---- */

struct rm_args {
    bool wait;
    uint64_t timeout_ms;
};

static const struct cli_option rm_options[] = {
    {"wait", 0, CLI_FLAG, offsetof(struct rm_args, wait), NULL, "until its pods are gone and it is forgotten",
     false},
    {"timeout", 0, CLI_DURATION, offsetof(struct rm_args, timeout_ms), "TIME", "of --wait (default 1h)",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* It is gone when it is not found any more. */
static bool is_gone(struct a_arena *arena, const struct wire_value *pool, const char **ret_left)
{
    *ret_left = a_arena_printf(arena, "%s pods", cli_cell(arena, wire_value_get(pool, "status"), "pods"));
    return false;
}

static int rm_wait(struct cli_call *c, const char *path, struct wire_value **v, struct a_error *reterr)
{
    const struct rm_args *args = c->args;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct cli_drain drain = {.path = path,
                                    .name = c->words.items[0],
                                    .timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : TIMEOUT_MS,
                                    .is_empty = is_gone};
    int rc = cli_drain_wait(c, &drain, v, &e);
    if (rc != 0 && e.code == A_CODE_NOT_FOUND)
        return 0;
    a_error_move(reterr, &e);
    return rc;
}

static int rm_run(struct cli_call *c, struct a_error *reterr)
{
    const struct rm_args *args = c->args;
    const char *name = c->words.items[0], *path = cli_path(c, "/v1/pools/{}", name, NULL);
    struct wire_value *v;
    int rc = cli_request(c, "DELETE", path, NULL, NULL, &v, reterr);
    if (rc == 0 && args->wait)
        rc = rm_wait(c, path, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf(args->wait ? "pool %s is gone\n"
                          : "pool %s is emptied, then its pods are deleted, then it is forgotten\n",
               name);
    return rc;
}

/* ---- manifests ---- */

struct manifests_args {
    const char *image, *join_address, *network, *service_account;
};

static const struct cli_option manifests_options[] = {
    {"join-address", 0, CLI_TEXT, offsetof(struct manifests_args, join_address), "HOST:PORT",
     "where pods reach the server's Starlink (default " KUBE_JOIN_ADDRESS ")", false},
    {"image", 0, CLI_TEXT, offsetof(struct manifests_args, image), "IMAGE",
     "of the agents (default " KUBE_IMAGE ")", false},
    {"network", 0, CLI_TEXT, offsetof(struct manifests_args, network), "NAME",
     "of the nodes (default: the cluster's name)", false},
    {"service-account", 0, CLI_TEXT, offsetof(struct manifests_args, service_account), "NAME", "of the pods",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int manifests_run(struct cli_call *c, struct a_error *reterr)
{
    const struct manifests_args *args = c->args;
    const struct kube_agent_options agent = {.image = args->image != NULL ? args->image : KUBE_IMAGE,
                                             .server = args->join_address != NULL ? args->join_address
                                                                                  : KUBE_JOIN_ADDRESS,
                                             .network = args->network,
                                             .service_account = args->service_account};
    struct wire_problems problems = {.arena = c->arena};
    struct kube_pool_spec spec;
    struct wire_value *doc;
    int rc = pool_read(c, c->words.items[0], &doc, reterr);
    if (rc != 0)
        return rc;
    kube_pool_read(kube_pool_check(&problems, doc), &spec);
    cli_print_manifests(c, kube_workload_make(c->arena, &agent, &spec));
    return 0;
}

int cli_pool(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "pool apply",
         .words = "FILE",
         .about = "Makes a pool, or changes it, to be like the file",
         .min_words = 1,
         .max_words = 1,
         .run = apply_run},
        {.name = "pool ls", .about = "Lists the pools and how they stand", .run = ls_run},
        {.name = "pool get",
         .words = "NAME",
         .about = "Prints one pool with its status",
         .min_words = 1,
         .max_words = 1,
         .run = get_run},
        {.name = "pool rm",
         .words = "NAME",
         .about = "Empties a pool, deletes its pods, forgets it",
         .min_words = 1,
         .max_words = 1,
         .options = rm_options,
         .args_size = sizeof(struct rm_args),
         .run = rm_run},
        {.name = "pool manifests",
         .words = "FILE",
         .about = "Prints a pool's pods as a Deployment, for kubectl apply -f -",
         .min_words = 1,
         .max_words = 1,
         .options = manifests_options,
         .args_size = sizeof(struct manifests_args),
         .more =
             "For a Kubernetes cluster of which the server has no credentials: Kubernetes keeps `min` pods "
             "there, and\nnothing follows demand. The pods wait for the Secret " KUBE_JOIN_SECRET
             " with the join token as `token`.\n",
         .run = manifests_run},
    };
    return cli_group_run("pool", commands, A_ARRAY_SIZE(commands), argc, argv);
}
