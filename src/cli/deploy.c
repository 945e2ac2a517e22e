/* astra deploy, validate, render, diff: what begins with an app's file. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "artifact/pack.h"
#include "base/alloc.h"
#include "cli/app_file.h"
#include "cli/commands.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/sha256.h"

#define TIMEOUT_MS (30 * 60 * 1000)

static const char *app_path(struct cli *c, const struct cli_app *app)
{
    return a_arena_printf(&c->arena, "/v1/namespaces/%s/apps/%s", app->namespace.s, app->name.s);
}

/* ---- differences ---- */

/* NULL when there is none yet. */
static int server_app(struct cli *c, const struct cli_app *app, struct wire_value **ret)
{
    int rc = cli_call(c, "GET", app_path(c, app), NULL, ret);
    if (rc == -EREMOTEIO && c->error.code == A_CODE_NOT_FOUND) {
        a_error_deinit(&c->error);
        *ret = NULL;
        return 0;
    }
    return rc;
}

static int code_digest(struct cli *c, const struct cli_app *app, const char *path, const char **ret)
{
    const char *folder = path[0] == '/' ? path : a_arena_printf(&c->arena, "%s/%s", app->folder, path);
    struct artifact_packed packed;
    struct a_digest digest;
    uint64_t size;
    char *dir = NULL, hex[A_DIGEST_HEX + 1];
    int rc = sys_dir_make_temp("/tmp/astra-diff-", &dir, &c->error);
    if (rc != 0)
        return rc;
    const char *out = a_arena_printf(&c->arena, "%s/code.tar.zst", dir);
    rc = artifact_pack(folder, out, &packed, &c->error);
    if (rc == 0)
        rc = sys_sha256_file(out, &digest, &size, &c->error);
    (void)!sys_dir_remove(dir, NULL);
    a_free(dir);
    if (rc != 0)
        return rc;
    a_digest_hex(&digest, hex);
    *ret = a_arena_printf(&c->arena, "sha256:%s", hex);
    return 0;
}

/* The code is packed and compared by its digest; environments, which take minutes, are taken as they are on
 * the server. */
static int after_make(struct cli *c, const struct cli_app *app, const struct wire_value *before,
                      struct wire_value **ret, bool *ret_skipped)
{
    struct wire_value *after = wire_value_copy(&c->arena, app->full), *spec = wire_value_get(after, "spec");
    struct wire_value *code = wire_value_get(spec, "code");
    const char *path = wire_value_string(wire_value_get(code, "path"), NULL), *digest;
    const struct wire_value *old = wire_value_path(before, "spec.environment");
    int rc = path != NULL ? code_digest(c, app, path, &digest) : 0;
    if (rc != 0)
        return rc;
    if (path != NULL) {
        wire_value_set_null(&c->arena, code, "path");
        wire_value_set_string(&c->arena, code, "artifact", digest);
    }
    wire_value_foreach(e, wire_value_get(spec, "environment")) *ret_skipped =
        *ret_skipped || !wire_value_is_null(wire_value_get(e, "requirements"));
    if (*ret_skipped && old != NULL)
        wire_value_set(&c->arena, spec, "environment", wire_value_copy(&c->arena, old));
    *ret = after;
    return 0;
}

static void change_print(const struct unit_change *change, bool is_new)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%-8s %s: ", unit_class_name(change->class), change->field);
    if (change->before != NULL)
        wire_json_print(&b, change->before, 0);
    else if (!is_new)
        a_buf_add_str(&b, "(none)");
    a_buf_add_str(&b, change->before != NULL || !is_new ? " -> " : "");
    if (change->after != NULL)
        wire_json_print(&b, change->after, 0);
    else
        a_buf_add_str(&b, "(none)");
    printf("%s\n", b.ptr);
}

static void changes_json(struct cli *c, const struct unit_change *changes)
{
    struct wire_value *list = wire_value_new_array(&c->arena);
    for (const struct unit_change *u = changes; u != NULL; u = u->next) {
        struct wire_value *v = wire_value_new_object(&c->arena);
        wire_value_set_string(&c->arena, v, "field", u->field);
        wire_value_set_string(&c->arena, v, "class", unit_class_name(u->class));
        if (u->before != NULL)
            wire_value_set(&c->arena, v, "before", wire_value_copy(&c->arena, u->before));
        if (u->after != NULL)
            wire_value_set(&c->arena, v, "after", wire_value_copy(&c->arena, u->after));
        wire_value_append(list, v);
    }
    cli_print_json(list);
}

static int diff_print(struct cli *c, const struct cli_app *app)
{
    static const char *const costs[] = {"gateways only: no unit is touched",
                                        "a PUT into the running units, one by one",
                                        "new units; the old ones serve until they are READY"};
    struct wire_value *before = NULL, *after;
    bool skipped = false;
    int rc = server_app(c, app, &before);
    if (rc == 0)
        rc = after_make(c, app, before, &after, &skipped);
    if (rc != 0)
        return rc;
    const struct unit_change *changes = unit_app_diff(&c->arena, before, after);
    enum unit_class class = UNIT_CLASS_ROUTE;
    if (c->json) {
        changes_json(c, changes);
        return 0;
    }
    for (const struct unit_change *u = changes; u != NULL; u = u->next) {
        change_print(u, before == NULL);
        class = A_MAX(class, u->class);
    }
    if (before == NULL)
        printf("\n%s/%s is new\n", app->namespace.s, app->name.s);
    else if (changes == NULL)
        printf("no changes\n");
    else
        printf("\na deploy costs: %s\n", costs[class]);
    if (skipped)
        printf("environments are packed at a deploy and were not compared\n");
    return 0;
}

int cli_diff(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "diff",
        .args = "app.yaml",
        .summary = "Shows what a deploy of the file would change, and what that costs.",
        .more = "Each line begins with the change's class: route (gateways only), serve (a PUT into running "
                "units),\n"
                "replace (new units).",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct cli_app app;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_app_read(&c, c.words.at[0], &app);
    if (rc == 0)
        rc = diff_print(&c, &app);
    return cli_end(&c, rc);
}

/* ---- validate, render ---- */

int cli_validate(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "validate",
        .args = "app.yaml",
        .summary = "Checks an app's file: every error at once, with its line.",
        .more = "Nothing is asked of a server: whether artifacts exist is "
                "checked by deploy.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct cli_app app;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_app_read(&c, c.words.at[0], &app);
    if (rc == 0 && c.json)
        printf("{\"valid\": true, \"warnings\": %zu}\n", app.problems.n_warnings);
    else if (rc == 0)
        printf("%s: %s/%s is well-formed\n", app.path, app.namespace.s, app.name.s);
    return cli_end(&c, rc);
}

int cli_render(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "render",
        .args = "app.yaml",
        .summary = "Prints the long form of an app's file, with every default.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct cli_app app;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_app_read(&c, c.words.at[0], &app);
    if (rc == 0 && c.json) {
        cli_print_json(app.full);
    } else if (rc == 0) {
        A_BUF_AUTO struct a_buf b = {0};
        wire_yaml_print(&b, app.full);
        fputs(b.ptr, stdout);
    }
    return cli_end(&c, rc);
}

/* ---- deploy ---- */

struct deploy {
    bool wait, dry_run;
    uint64_t timeout_ms;
    struct cli_pack pack;
};

static int deploy_wait(struct cli *c, const struct cli_app *app, const struct deploy *d,
                       struct wire_value **result, uint64_t begun_ms)
{
    int64_t generation = wire_value_int(wire_value_path(*result, "metadata.generation"), 0);
    int64_t revision = wire_value_int(wire_value_path(*result, "status.wantedRevision"), 0);
    int rc = cli_wait_ready(c, app_path(c, app), generation, revision, d->timeout_ms);
    if (rc == 0)
        rc = cli_call(c, "GET", app_path(c, app), NULL, result);
    if (rc == 0 && !c->json)
        printf("%s/%s: revision %" PRId64 " is READY after %.1f s (packing %.1f s)\n", app->namespace.s,
               app->name.s, revision, (double)(sys_clock_mono_ms() - begun_ms) / 1000,
               (double)d->pack.packed_ms / 1000);
    return rc;
}

static void deploy_say(const struct cli_app *app, const struct wire_value *result)
{
    int64_t revision = wire_value_int(wire_value_path(result, "status.wantedRevision"), 0);
    if (wire_value_bool(wire_value_get(result, "newRevision"), false))
        fprintf(stderr, "%s/%s: revision %" PRId64 " accepted\n", app->namespace.s, app->name.s, revision);
    else if (wire_value_bool(wire_value_get(result, "changed"), false))
        fprintf(stderr, "%s/%s: revision %" PRId64 " stays; the number of units changed\n", app->namespace.s,
                app->name.s, revision);
    else
        fprintf(stderr, "%s/%s: nothing changed; revision %" PRId64 "\n", app->namespace.s, app->name.s,
                revision);
}

static int deploy_run(struct cli *c, struct deploy *d)
{
    struct cli_app app;
    struct wire_value *result;
    uint64_t begun_ms = sys_clock_mono_ms();
    int rc = cli_app_read(c, c->words.at[0], &app);
    if (rc != 0)
        return rc;
    if (d->dry_run)
        return diff_print(c, &app);
    rc = cli_connect(c);
    /* A server that is away, or a wrong token, is told before minutes of packing. */
    if (rc == 0)
        rc = cli_call(c, "GET", "/v1/version", NULL, &result);
    if (rc == 0)
        rc = cli_app_pack(c, &app, &d->pack);
    if (rc == 0)
        rc = cli_call(c, "PUT", app_path(c, &app), app.doc, &result);
    if (rc != 0)
        return rc;
    deploy_say(&app, result);
    if (d->wait)
        rc = deploy_wait(c, &app, d, &result, begun_ms);
    if (rc == 0 && c->json)
        cli_print_json(result);
    return rc;
}

int cli_deploy(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "deploy",
        .args = "app.yaml [--wait]",
        .summary = "Packs an app's code and environment, brings them to the server, and makes a revision.",
        .more = "With --wait it shows the units until all run the new revision. It ends with status 0 then, "
                "1 when the\n"
                "revision failed (with Ray's own words), 3 when the time is over. Ctrl-C ends the waiting, "
                "not the deploy.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct deploy d = {.timeout_ms = TIMEOUT_MS};
    const struct cli_option options[] = {
        {"wait", 'w', CLI_FLAG, NULL, "show the units until they are READY", &d.wait},
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 30m)", &d.timeout_ms},
        {"dry-run", 0, CLI_FLAG, NULL, "check, and show what would change", &d.dry_run},
        {"libdir", 0, CLI_TEXT, "DIR", "lib/astra, where the environment packer is", &d.pack.libdir},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    return cli_end(&c, deploy_run(&c, &d));
}
