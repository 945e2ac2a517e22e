/* astra validate, render, diff: what can be known of an app's file before it is deployed. */
#include <errno.h>
#include <stdio.h>

#include "cli/package.h"

/* ---- validate and render: no server ---- */

static int validate_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_appfile f;
    int rc = cli_appfile_read(c, c->words.items[0], &f, reterr);
    if (rc != 0)
        return rc;
    if (!c->json) {
        rc = cli_appfile_verdict(&f, reterr);
        if (rc == 0)
            printf("%s: app %s/%s is good\n", f.path, f.namespace, f.name);
        return rc;
    }
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_bool(c->arena, v, "valid", f.problems.n_errors == 0);
    wire_value_set(c->arena, v, "problems", cli_appfile_problems(c, &f));
    cli_print_json(v);
    return f.problems.n_errors == 0 ? 0 : 1;
}

static int render_run(struct cli_call *c, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct cli_appfile f;
    int rc = cli_appfile_read(c, c->words.items[0], &f, reterr);
    if (rc == 0)
        rc = cli_appfile_verdict(&f, reterr);
    if (rc == 0 && c->json) {
        cli_print_json(f.app);
    } else if (rc == 0) {
        wire_yaml_print(&b, f.app);
        cli_print(a_buf_view(&b));
    }
    return rc;
}

/* ---- diff ---- */

struct diff {
    struct cli_call *c;
    struct cli_appfile f;
    struct cli_progress progress;
    struct cli_packages packages;
};

static void packages_free(struct diff *d)
{
    cli_packages_deinit(&d->packages);
}

/* The app as the server has it; NULL when it has none of that name. */
static int before_get(struct diff *d, struct wire_value **ret, struct a_error *reterr)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc =
        cli_get(d->c, cli_path(d->c, "/v1/namespaces/{}/apps/{}", d->f.namespace, d->f.name, NULL), ret, &e);
    if (rc == -EREMOTEIO && e.code == A_CODE_NOT_FOUND) {
        *ret = NULL;
        return 0;
    }
    if (rc != 0)
        a_error_move(reterr, &e);
    return rc;
}

static const char *value_text(struct a_arena *arena, const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (v == NULL)
        return "nothing";
    wire_json_print(&b, v, 0);
    return a_arena_strndup(arena, b.ptr, b.len);
}

static void changes_print(struct diff *d, const struct unit_change *changes)
{
    static const char *const costs[] = {[UNIT_CLASS_ROUTE] = "gateways only, no unit is touched",
                                        [UNIT_CLASS_SERVE] = "a new config for running units, one by one",
                                        [UNIT_CLASS_REPLACE] =
                                            "new units; the old ones serve until they are READY"};
    enum unit_class class = UNIT_CLASS_ROUTE;
    struct a_arena *a = d->c->arena;
    for (const struct unit_change *u = changes; u != NULL; u = u->next) {
        printf("%-7s  %s: %s -> %s\n", unit_class_name(u->class), u->field, value_text(a, u->before),
               value_text(a, u->after));
        class = A_MAX(class, u->class);
    }
    if (changes == NULL)
        printf("a deploy would change nothing\n");
    else
        printf("a deploy costs: %s\n", costs[class]);
}

static void changes_json(struct cli_call *c, const struct wire_value *before,
                         const struct unit_change *changes)
{
    struct wire_value *v = wire_value_new_object(c->arena), *list = wire_value_new_array(c->arena);
    for (const struct unit_change *u = changes; u != NULL; u = u->next) {
        struct wire_value *item = wire_value_new_object(c->arena);
        wire_value_set_string(c->arena, item, "field", u->field);
        wire_value_set_string(c->arena, item, "class", unit_class_name(u->class));
        if (u->before != NULL)
            wire_value_set(c->arena, item, "before", wire_value_copy(c->arena, u->before));
        if (u->after != NULL)
            wire_value_set(c->arena, item, "after", wire_value_copy(c->arena, u->after));
        wire_value_append(list, item);
    }
    wire_value_set_bool(c->arena, v, "new", before == NULL);
    wire_value_set(c->arena, v, "changes", list);
    cli_print_json(v);
}

/* What is given by a path is packed, as a deploy would: only digests can be compared. */
static int diff_make(struct diff *d, struct a_error *reterr)
{
    struct cli_call *c = d->c;
    struct wire_value *before = NULL;
    int rc = before_get(d, &before, reterr);
    if (rc == 0 && before != NULL)
        rc = cli_packages_make(c, &d->f, &d->progress, &d->packages, reterr);
    if (rc != 0)
        return rc;
    const struct unit_change *changes = before != NULL ? unit_app_diff(c->arena, before, d->f.app) : NULL;
    if (c->json)
        changes_json(c, before, changes);
    else if (before == NULL)
        printf("app %s/%s is new\n", d->f.namespace, d->f.name);
    else
        changes_print(d, changes);
    return 0;
}

static int diff_run(struct cli_call *c, struct a_error *reterr)
{
    A_CLEANUP(packages_free)
    struct diff d = {.c = c};
    cli_progress_init(&d.progress, true); /* stdout is for the differences */
    int rc = cli_appfile_read(c, c->words.items[0], &d.f, reterr);
    if (rc == 0)
        rc = cli_appfile_verdict(&d.f, reterr);
    return rc != 0 ? rc : diff_make(&d, reterr);
}

int cli_validate(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "validate",
        .words = "app.yaml",
        .about = "Checks an app's file, every error at once with its line; needs no server",
        .min_words = 1,
        .max_words = 1,
        .run = validate_run};
    return cli_command_run(&command, argc, argv);
}

int cli_render(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "render",
        .words = "app.yaml",
        .about = "Prints an app's long form with every default filled in; needs no server",
        .yaml = true,
        .min_words = 1,
        .max_words = 1,
        .run = render_run};
    return cli_command_run(&command, argc, argv);
}

int cli_diff(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "diff",
        .words = "app.yaml",
        .about = "Shows what a deploy of the file would change, and what that costs",
        .min_words = 1,
        .max_words = 1,
        .more = "Each line begins with the change's class: route (gateways only), serve (a new config for "
                "running units),\n"
                "replace (new units). Code and environments are packed as for a deploy, and compared by "
                "digest.\n",
        .run = diff_run};
    return cli_command_run(&command, argc, argv);
}
