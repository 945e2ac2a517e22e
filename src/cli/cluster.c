/* astra cluster add|set|ls|rm|drain|undrain|manifests: Kubernetes clusters, and whole clusters of any kind.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cluster_set.h"
#include "cli/drain_wait.h"
#include "cli/table.h"
#include "kube/kubeconfig.h"
#include "kube/manifests.h"
#include "sys/file.h"
#include "unit/app_schema.h"

#define FILE_MAX (1u << 20)
#define TIMEOUT_MS (60ull * 60 * 1000)

/* ---- add ---- */

struct add_args {
    const char *kubeconfig, *context, *image, *join_address, *network, *service_account;
    bool no_check;
    struct cli_limits limits;
};

static const struct cli_option add_options[] = {
    {"kubeconfig", 0, CLI_TEXT, offsetof(struct add_args, kubeconfig), "FILE", "how to reach it", true},
    {"context", 0, CLI_TEXT, offsetof(struct add_args, context), "NAME",
     "of the kubeconfig (default: its current)", false},
    {"join-address", 0, CLI_TEXT, offsetof(struct add_args, join_address), "HOST:PORT",
     "where pods reach the server's Starlink (default " KUBE_JOIN_ADDRESS ")", false},
    {"image", 0, CLI_TEXT, offsetof(struct add_args, image), "IMAGE", "of the agents", false},
    {"network", 0, CLI_TEXT, offsetof(struct add_args, network), "NAME",
     "of the nodes (default: the cluster's name)", false},
    {"service-account", 0, CLI_TEXT, offsetof(struct add_args, service_account), "NAME", "of the pods",
     false},
    {"no-check", 0, CLI_FLAG, offsetof(struct add_args, no_check), NULL,
     "store it without asking its API server first", false},
    CLI_LIMITS_OPTIONS(struct add_args, limits),
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* Files that a kubeconfig names count from its own folder. */
static int text_inline(struct cli_call *c, const char *kubeconfig, struct kube_text *t,
                       struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    const char *slash = strrchr(kubeconfig, '/');
    if (t->file == NULL)
        return 0;
    const char *path = t->file;
    if (path[0] != '/' && slash != NULL)
        path = a_arena_printf(c->arena, "%.*s/%s", (int)(slash - kubeconfig), kubeconfig, t->file);
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc != 0) {
        a_error_wrap(reterr, "%s", kubeconfig);
        return rc;
    }
    struct a_view v = a_buf_view(&text);
    while (v.len > 0 && (unsigned char)v.ptr[v.len - 1] <= ' ')
        v.len--;
    *t = (struct kube_text){.value = a_arena_printf(c->arena, A_VIEW_FMT "\n", A_VIEW_ARG(v))};
    sys_secret_wipe(text.ptr, text.len);
    return 0;
}

static int access_read(struct cli_call *c, struct kube_access *ret, struct a_error *reterr)
{
    const struct add_args *args = c->args;
    A_BUF_AUTO struct a_buf text = {0};
    int rc = sys_file_read(args->kubeconfig, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = kube_kubeconfig_read(c->arena, a_buf_view(&text), args->kubeconfig, args->context, ret, reterr);
    sys_secret_wipe(text.ptr, text.len);
    struct kube_text *const texts[] = {&ret->ca, &ret->token, &ret->certificate, &ret->key};
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(texts); i++)
        rc = text_inline(c, args->kubeconfig, texts[i], reterr);
    if (rc == 0 && ret->token.value != NULL) { /* a header has no line ends */
        struct a_view rest, line = a_view_split(a_view_str(ret->token.value), '\n', &rest);
        ret->token.value = a_arena_strndup(c->arena, line.ptr, line.len);
    }
    return rc;
}

static int add_run(struct cli_call *c, struct a_error *reterr)
{
    const struct add_args *args = c->args;
    struct kube_access access;
    struct wire_value *v, *body = wire_value_new_object(c->arena);
    const struct {
        const char *key, *value;
    } texts[] = {{"image", args->image},
                 {"joinAddress", args->join_address},
                 {"network", args->network},
                 {"serviceAccount", args->service_account}};
    int rc = access_read(c, &access, reterr);
    if (rc != 0)
        return rc;
    wire_value_set(c->arena, body, "credentials", kube_access_print(c->arena, &access));
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++)
        if (texts[i].value != NULL)
            wire_value_set_string(c->arena, body, texts[i].key, texts[i].value);
    const char *path = cli_path(c, args->no_check ? "/v1/clusters/{}?check=false" : "/v1/clusters/{}",
                                c->words.items[0], NULL);
    rc = cli_request(c, "PUT", path, body, NULL, &v, reterr);
    if (rc == 0 && cli_limits_given(&args->limits)) {
        struct wire_value *limits;
        rc = cli_limits_put(c, &args->limits, &limits, reterr);
        if (rc == 0)
            wire_value_set(c->arena, v, "limits", limits);
    }
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s is known: %s, by %s; `astra pool apply` makes pods there\n", c->words.items[0],
               access.server, kube_credentials_name(access.credentials));
    return rc;
}

/* ---- set ---- */

struct set_args {
    struct cli_limits limits;
};

static const struct cli_option set_options[] = {
    CLI_LIMITS_OPTIONS(struct set_args, limits),
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* ---- ls ---- */

static const char *condition_text(struct a_arena *arena, const struct wire_value *kube)
{
    wire_value_foreach(
        k, wire_value_get(kube, "conditions")) if (strcmp(cli_cell(arena, k, "status"), "True") !=
                                                   0) return a_arena_printf(arena, "%s: %s",
                                                                            cli_cell(arena, k, "reason"),
                                                                            cli_cell(arena, k, "message"));
    return "";
}

static const char *pools_text(struct a_arena *arena, const struct wire_value *kube)
{
    const char *text = "";
    wire_value_foreach(p, wire_value_get(kube, "pools")) text =
        a_arena_printf(arena, "%s%s%s", text, text[0] != '\0' ? "," : "", wire_value_string(p, ""));
    return text;
}

static int ls_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *list, *items = wire_value_new_array(c->arena);
    int rc = cli_get(c, "/v1/clusters", &list, reterr);
    if (rc != 0)
        return rc;
    cli_table_row(&t, "NAME", "SERVER", "CREDENTIALS", "EXPIRES", "POOLS", "NODES", "STATE", NULL);
    wire_value_foreach(v, wire_value_get(list, "items"))
    {
        const struct wire_value *kube = wire_value_get(v, "kubernetes");
        if (kube == NULL)
            continue;
        wire_value_append(items, wire_value_copy(c->arena, v));
        cli_table_row(&t, cli_cell(c->arena, v, "name"), cli_cell(c->arena, kube, "server"),
                      cli_cell(c->arena, kube, "credentials"), cli_cell(c->arena, kube, "expires"),
                      pools_text(c->arena, kube), cli_cell(c->arena, v, "nodes"),
                      wire_value_bool(wire_value_get(v, "draining"), false) ? "draining"
                                                                            : condition_text(c->arena, kube),
                      NULL);
    }
    if (c->json) {
        struct wire_value *out = wire_value_new_object(c->arena);
        wire_value_set(c->arena, out, "items", items);
        cli_print_json(out);
    } else if (wire_value_count(items) > 0) {
        cli_print_table(&t);
    } else {
        printf("no Kubernetes clusters: `astra cluster add NAME --kubeconfig FILE` adds one; `astra "
               "clusters` lists "
               "all that have nodes\n");
    }
    return 0;
}

/* ---- rm ---- */

struct rm_args {
    bool force;
};

static const struct cli_option rm_options[] = {
    {"force", 0, CLI_FLAG, offsetof(struct rm_args, force), NULL,
     "with its pools, whose pods are left as they are: for a cluster that is no more", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int rm_run(struct cli_call *c, struct a_error *reterr)
{
    const struct rm_args *args = c->args;
    struct wire_value *v;
    const char *path =
        cli_path(c, args->force ? "/v1/clusters/{}?force=true" : "/v1/clusters/{}", c->words.items[0], NULL);
    int rc = cli_request(c, "DELETE", path, NULL, NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s is forgotten; nothing in it was touched\n", c->words.items[0]);
    return rc;
}

/* ---- drain ---- */

struct drain_args {
    bool wait;
    uint64_t timeout_ms;
};

static const struct cli_option drain_options[] = {
    {"wait", 0, CLI_FLAG, offsetof(struct drain_args, wait), NULL, "until nothing is left in it", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct drain_args, timeout_ms), "TIME", "of --wait (default 1h)",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int64_t claims_of(const struct wire_value *cluster)
{
    return wire_value_int(wire_value_get(cluster, "claims"), 0);
}

static bool is_empty(struct a_arena *arena, const struct wire_value *cluster, const char **ret_left)
{
    *ret_left = a_arena_printf(arena, "%" PRId64 " members", claims_of(cluster));
    return claims_of(cluster) == 0;
}

static int drain_run(struct cli_call *c, struct a_error *reterr)
{
    const struct drain_args *args = c->args;
    const struct cli_drain drain = {.path = cli_path(c, "/v1/clusters/{}", c->words.items[0], NULL),
                                    .name = c->words.items[0],
                                    .timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : TIMEOUT_MS,
                                    .is_empty = is_empty};
    struct wire_value *v;
    const char *path = cli_path(c, "/v1/clusters/{}/drain", c->words.items[0], NULL);
    int rc = cli_request(c, "POST", path, NULL, NULL, &v, reterr);
    if (rc == 0 && args->wait)
        rc = cli_drain_wait(c, &drain, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s %s; `astra cluster undrain` takes it into use again\n", c->words.items[0],
               claims_of(v) == 0 ? "is empty" : "is being emptied");
    return rc;
}

static int undrain_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *v;
    const char *path = cli_path(c, "/v1/clusters/{}/undrain", c->words.items[0], NULL);
    int rc = cli_request(c, "POST", path, NULL, NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s is in use again\n", c->words.items[0]);
    return rc;
}

/* ---- manifests ---- */

struct manifests_args {
    const char *kube_namespace, *service_account;
    bool crds;
};

static const struct cli_option manifests_options[] = {
    {"kube-namespace", 0, CLI_TEXT, offsetof(struct manifests_args, kube_namespace), "NAME",
     "where the pools are (default astra)", false},
    {"service-account", 0, CLI_TEXT, offsetof(struct manifests_args, service_account), "NAME",
     "that Astra uses (default astra)", false},
    {"crds", 0, CLI_FLAG, offsetof(struct manifests_args, crds), NULL,
     "also the custom resources App and Pool, and the rights to follow them in all namespaces", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int manifests_run(struct cli_call *c, struct a_error *reterr)
{
    const struct manifests_args *args = c->args;
    const struct kube_manifest_options options = {
        .namespace = args->kube_namespace != NULL ? args->kube_namespace : "astra",
        .service_account = args->service_account,
        .app = args->crds ? &unit_app_schema : NULL};
    struct wire_value *list = kube_manifests_make(c->arena, &options);
    (void)reterr;
    cli_print_manifests(c, list);
    return 0;
}

int cli_cluster(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "cluster add",
         .words = "NAME",
         .about = "Adds a Kubernetes cluster, or tells other credentials of one",
         .min_words = 1,
         .max_words = 1,
         .options = add_options,
         .args_size = sizeof(struct add_args),
         .more = "The kubeconfig's files are read here; the server keeps the credentials encrypted and never "
                 "tells "
                 "them.\nIt asks the API server whether they suffice: `astra cluster manifests` prints what "
                 "does.\n",
         .run = add_run},
        {.name = "cluster set",
         .words = "NAME",
         .about = "Sets limits and price of a cluster of any kind; none takes one away",
         .min_words = 1,
         .max_words = 1,
         .options = set_options,
         .args_size = sizeof(struct set_args),
         .run = cli_cluster_set_run},
        {.name = "cluster ls", .about = "Lists the Kubernetes clusters that were added", .run = ls_run},
        {.name = "cluster rm",
         .words = "NAME",
         .about = "Forgets a Kubernetes cluster that has no pools, or with them",
         .min_words = 1,
         .max_words = 1,
         .options = rm_options,
         .args_size = sizeof(struct rm_args),
         .run = rm_run},
        {.name = "cluster drain",
         .words = "NAME",
         .about = "Empties a whole cluster without a failed request, a tenth of its nodes at a time",
         .min_words = 1,
         .max_words = 1,
         .options = drain_options,
         .args_size = sizeof(struct drain_args),
         .run = drain_run},
        {.name = "cluster undrain",
         .words = "NAME",
         .about = "Takes all nodes of a cluster into use again",
         .min_words = 1,
         .max_words = 1,
         .run = undrain_run},
        {.name = "cluster manifests",
         .about = "Prints what Astra needs in a Kubernetes cluster, for kubectl apply -f -",
         .options = manifests_options,
         .args_size = sizeof(struct manifests_args),
         .run = manifests_run},
    };
    return cli_group_run("cluster", commands, A_ARRAY_SIZE(commands), argc, argv);
}
