/* astra deploy: an app's file becomes a running app. Everything is checked before anything is packed,
 * everything is there before the app is put: a deploy that fails on the way has changed nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/appfile.h"
#include "cli/follow.h"
#include "cli/package.h"
#include "sys/clock.h"
#include "sys/terminal.h"

struct args {
    bool wait, dry_run;
    uint64_t timeout_ms;
};

static const struct cli_option options[] = {
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until all units are READY, or it failed",
     false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 30m)", false},
    {"dry-run", 0, CLI_FLAG, offsetof(struct args, dry_run), NULL,
     "check here and at the server; change nothing", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

struct deploy {
    struct cli_call *c;
    struct cli_appfile f;
    struct cli_progress progress;
    struct cli_packages packages;
    struct wire_value *answer; /* of the PUT */
    uint64_t start_ms, packing_ms, upload_ms, put_ms, ready_ms;
};

static void packages_free(struct deploy *d)
{
    cli_packages_deinit(&d->packages);
}

/* Local errors first, all of them; then what the server must have. */
static int check(struct deploy *d, const char *path, struct a_error *reterr)
{
    int rc = cli_appfile_read(d->c, path, &d->f, reterr);
    if (rc == 0 && d->f.problems.n_errors > 0)
        return cli_appfile_verdict(&d->f, reterr);
    if (rc == 0)
        rc = cli_sources_check(d->c, &d->f, reterr);
    return rc != 0 ? rc : cli_appfile_verdict(&d->f, reterr);
}

static int put(struct deploy *d, bool dry_run, struct a_error *reterr)
{
    const char *path =
        cli_path(d->c, dry_run ? "/v1/namespaces/{}/apps/{}?dryRun=1" : "/v1/namespaces/{}/apps/{}",
                 d->f.namespace, d->f.name, NULL);
    struct wire_value *doc = wire_value_copy(d->c->arena, d->f.app);
    wire_value_remove(doc, "status");
    int rc = cli_request(d->c, "PUT", path, doc, NULL, &d->answer, reterr);
    if (rc != 0)
        a_error_wrap(reterr, "%s: the server refused", d->f.path);
    return rc;
}

static int bring(struct deploy *d, struct a_error *reterr)
{
    uint64_t begin = sys_clock_mono_ms();
    int rc = cli_packages_make(d->c, &d->f, &d->progress, &d->packages, reterr);
    d->packing_ms = sys_clock_mono_ms() - begin;
    if (rc != 0 || sys_interrupted())
        return rc;
    begin = sys_clock_mono_ms();
    rc = cli_packages_upload(d->c, &d->f, &d->packages, &d->progress, reterr);
    d->upload_ms = sys_clock_mono_ms() - begin;
    packages_free(d);
    return rc;
}

static void put_tell(struct deploy *d)
{
    bool changed = wire_value_bool(wire_value_get(d->answer, "changed"), true);
    cli_progress_say(&d->progress, "app %s/%s: revision %s%s", d->f.namespace, d->f.name,
                     cli_cell(d->c->arena, wire_value_get(d->answer, "status"), "wantedRevision"),
                     changed ? "" : " (nothing changed)");
}

static void seconds_set(struct cli_call *c, struct wire_value *v, const char *key, uint64_t ms)
{
    wire_value_set_number(c->arena, v, key, (double)ms / 1000);
}

static void result_print(struct deploy *d, const char *outcome, const struct a_error *error)
{
    struct cli_call *c = d->c;
    struct wire_value *v = wire_value_new_object(c->arena), *times = wire_value_new_object(c->arena);
    const struct wire_value *status = wire_value_get(d->answer, "status");
    wire_value_set_string(c->arena, v, "namespace", d->f.namespace);
    wire_value_set_string(c->arena, v, "name", d->f.name);
    wire_value_set_int(c->arena, v, "revision", wire_value_int(wire_value_get(status, "wantedRevision"), 0));
    wire_value_set_bool(c->arena, v, "changed", wire_value_bool(wire_value_get(d->answer, "changed"), false));
    wire_value_set_string(c->arena, v, "outcome", outcome);
    wire_value_set_string(c->arena, v, "error",
                          error != NULL && error->code != A_CODE_NONE ? a_error_text(error) : NULL);
    seconds_set(c, times, "packing_s", d->packing_ms);
    seconds_set(c, times, "upload_s", d->upload_ms);
    seconds_set(c, times, "ready_s", d->ready_ms);
    seconds_set(c, times, "total_s", sys_clock_mono_ms() - d->start_ms);
    wire_value_set(c->arena, v, "times", times);
    cli_print_json(v);
}

static int wait_ready(struct deploy *d, struct a_error *reterr)
{
    const struct args *args = d->c->args;
    struct cli_goal goal = cli_goal_of(d->answer);
    goal.timeout_ms = args->timeout_ms;
    int rc = cli_follow(d->c, &goal, &d->progress, reterr);
    d->ready_ms = sys_clock_mono_ms() - d->put_ms;
    if (d->c->json)
        result_print(d,
                     rc == 0            ? "ready"
                     : rc == -ETIMEDOUT ? "timeout"
                     : rc == -EINTR     ? "interrupted"
                                        : "failed",
                     reterr);
    else if (rc == 0)
        cli_progress_say(&d->progress, "%s is READY after %.1f s (packing %.1f s, upload %.1f s)", d->f.name,
                         (double)d->ready_ms / 1000, (double)d->packing_ms / 1000,
                         (double)d->upload_ms / 1000);
    return cli_follow_end(d->c, &goal, rc);
}

static int dry_run(struct deploy *d, struct a_error *reterr)
{
    bool paths = !wire_value_is_null(wire_value_path(d->f.app, "spec.code.path"));
    wire_value_foreach(env, wire_value_path(d->f.app, "spec.environment")) paths =
        paths || !wire_value_is_null(wire_value_get(env, "requirements"));
    int rc = paths ? 0 : put(d, true, reterr); /* what is not packed yet, the server cannot know */
    if (rc != 0)
        return rc;
    if (d->c->json)
        cli_print_json(d->f.app);
    else
        printf("%s: app %s/%s can be deployed; nothing was changed\n", d->f.path, d->f.namespace, d->f.name);
    return 0;
}

static int interrupted(const struct deploy *d)
{
    fprintf(stderr, "\nastra deploy: interrupted; %s/%s was not changed\n", d->f.namespace, d->f.name);
    return CLI_EXIT_INTERRUPTED;
}

static int run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    A_CLEANUP(packages_free)
    struct deploy d = {.c = c, .start_ms = sys_clock_mono_ms()};
    cli_progress_init(&d.progress, c->json);
    sys_interrupt_catch(); /* temporary files are removed, whatever happens */
    int rc = check(&d, c->words.items[0], reterr);
    if (rc == 0 && args->dry_run)
        return dry_run(&d, reterr);
    if (rc == 0)
        rc = bring(&d, reterr);
    if (sys_interrupted())
        return interrupted(&d);
    d.put_ms = sys_clock_mono_ms();
    if (rc == 0)
        rc = put(&d, false, reterr);
    if (rc != 0)
        return rc;
    put_tell(&d);
    if (args->wait)
        return wait_ready(&d, reterr);
    if (c->json)
        result_print(&d, "accepted", NULL);
    else
        cli_progress_say(&d.progress, "`astra rollout status %s` follows it", d.f.name);
    return 0;
}

int cli_deploy(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "deploy",
        .words = "app.yaml",
        .about = "Checks an app's file, packs its code and environment, uploads what the server lacks, and "
                 "runs it",
        .min_words = 1,
        .max_words = 1,
        .options = options,
        .args_size = sizeof(struct args),
        .more = "Paths in the file count from its folder. Environments are kept in ~/.cache/astra/env. Exit "
                "status: 0 the\n"
                "app is there (with --wait: READY), 1 failed (with --wait: or undone; Ray's own words are "
                "printed), 3 not\n"
                "READY in time. Ctrl-C while waiting does not stop the deploy.\n",
        .run = run,
    };
    return cli_command_run(&command, argc, argv);
}
