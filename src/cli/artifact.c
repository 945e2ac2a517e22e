/* astra artifact put|ls|get: files by name, version and digest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/package.h"
#include "cli/table.h"
#include "sys/sha256.h"

struct args {
    const char *name;
};

static const struct cli_option put_options[] = {
    {"name", 0, CLI_TEXT, offsetof(struct args, name), "NAME@VERSION",
     "what it is called; a version never changes", true},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int put_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    const char *file = c->words.items[0];
    struct cli_progress progress;
    struct wire_value *v;
    struct a_digest digest;
    uint64_t size;
    char hex[A_DIGEST_HEX + 1];
    if (strchr(args->name, '@') == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE,
                      "--name: \"%s\" has no version: NAME@VERSION, such as det@4", args->name);
    cli_progress_init(&progress, c->json);
    int rc = sys_sha256_file(file, &digest, &size, reterr);
    if (rc != 0)
        return rc;
    a_digest_hex(&digest, hex);
    rc = cli_artifact_send(c, cli_namespace(c), args->name, file, a_arena_printf(c->arena, "sha256:%s", hex),
                           &progress, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s is %s, sha256:%s\n", args->name, cli_size(c->arena, size), hex);
    return rc;
}

static int ls_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *items;
    int rc =
        cli_list(c, cli_path(c, "/v1/namespaces/{}/artifacts", cli_namespace(c), NULL), NULL, &items, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set(c->arena, v, "items", items);
        cli_print_json(v);
        return 0;
    }
    cli_table_row(&t, "NAME", "SIZE", "AGE", "DIGEST", NULL);
    wire_value_foreach(f, items) cli_table_row(
        &t,
        a_arena_printf(c->arena, "%s@%s", cli_cell(c->arena, f, "name"), cli_cell(c->arena, f, "version")),
        cli_size(c->arena, (uint64_t)wire_value_int(wire_value_get(f, "bytes"), 0)),
        cli_age(c->arena, wire_value_get(f, "created")), cli_cell(c->arena, f, "digest"), NULL);
    if (wire_value_count(items) > 0)
        cli_print_table(&t);
    else
        printf("no artifacts in namespace %s\n", cli_namespace(c));
    return 0;
}

static int on_download(void *ctx, uint64_t done, uint64_t total)
{
    cli_progress_bytes(ctx, "downloading", done, total);
    return 0;
}

static int get_run(struct cli_call *c, struct a_error *reterr)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    const char *name = c->words.items[0], *file = c->words.items[1];
    struct cli_progress progress;
    struct wire_value *v = wire_value_new_object(c->arena);
    cli_progress_init(&progress, c->json);
    const struct net_blocking_request request = {
        .path = cli_path(c, "/v1/namespaces/{}/artifacts/{}", cli_namespace(c), name, NULL),
        .download_path = file,
        .progress = on_download,
        .ctx = &progress,
    };
    int rc = cli_client_open(c, reterr);
    if (rc == 0)
        rc = net_blocking_send(c->http, &request, &answer, reterr);
    cli_progress_clear(&progress);
    if (rc != 0)
        return rc;
    wire_value_set_string(c->arena, v, "file", file);
    wire_value_set_string(c->arena, v, "etag", answer.etag);
    if (c->json)
        cli_print_json(v);
    else
        printf("%s is in %s\n", name, file);
    return 0;
}

int cli_artifact(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "artifact put",
         .words = "FILE",
         .about = "Uploads a file under a name",
         .min_words = 1,
         .max_words = 1,
         .options = put_options,
         .args_size = sizeof(struct args),
         .run = put_run},
        {.name = "artifact ls", .about = "Lists the artifacts of a namespace", .run = ls_run},
        {.name = "artifact get",
         .words = "NAME[@VERSION] FILE",
         .about = "Downloads an artifact, by name or sha256:HEX",
         .min_words = 2,
         .max_words = 2,
         .run = get_run},
    };
    return cli_group_run("artifact", commands, A_ARRAY_SIZE(commands), argc, argv);
}
