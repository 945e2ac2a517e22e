/* astra import: KubeRay's RayService or RayCluster to an App, with a report of what was not taken over. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/appfile.h"
#include "kube/rayservice.h"
#include "sys/file.h"

#define FILE_MAX (8 << 20)

struct args {
    const char *name, *object, *environment, *artifact, *code, *serve;
    bool force;
};

static const struct cli_option import_options[] = {
    {"name", 0, CLI_TEXT, offsetof(struct args, name), "NAME", "of the app (default: the object's own)",
     false},
    {"object", 0, CLI_TEXT, offsetof(struct args, object), "NAME", "which one, when the file holds several",
     false},
    {"environment", 0, CLI_TEXT, offsetof(struct args, environment), "FILE",
     "requirements file, in the place of the image", false},
    {"env-artifact", 0, CLI_TEXT, offsetof(struct args, artifact), "NAME@VERSION",
     "packed environment, in the place of the image", false},
    {"code", 0, CLI_TEXT, offsetof(struct args, code), "DIR", "the app's code, in the place of working_dir",
     false},
    {"serve", 0, CLI_TEXT, offsetof(struct args, serve), "FILE",
     "Serve config, for a RayCluster that serve deploy was run on", false},
    {"force", 0, CLI_FLAG, offsetof(struct args, force), NULL, "ends with 0 although something is lost",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int options_check(const struct args *args, struct a_error *reterr)
{
    if (args->environment != NULL && args->artifact != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--environment and --env-artifact: give one of them");
    return 0;
}

static int yaml_read(struct cli_call *c, const char *path, const struct wire_value **ret,
                     struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *v = NULL;
    int rc = sys_file_read(path, FILE_MAX, &text, reterr);
    if (rc == 0)
        rc = wire_yaml_parse(c->arena, a_buf_view(&text), path, NULL, &v, reterr);
    *ret = v;
    return rc;
}

static int file_import(struct cli_call *c, struct cli_appfile *f, struct a_error *reterr)
{
    const struct args *args = c->args;
    A_BUF_AUTO struct a_buf text = {0};
    struct kube_import_options options = {
        .name = args->name,
        .namespace = c->common.namespace,
        .object = args->object,
        .requirements = args->environment,
        .artifact = args->artifact,
        .code = args->code,
        .schema = &unit_app_schema,
    };
    int rc = sys_file_read(f->path, FILE_MAX, &text, reterr);
    if (rc == 0 && args->serve != NULL)
        rc = yaml_read(c, args->serve, &options.serve, reterr);
    if (rc == 0)
        rc = kube_rayservice_import(c->arena, a_buf_view(&text), f->path, &options, &f->problems, &f->doc,
                                    reterr);
    return rc;
}

/* The App to stdout, all else to stderr. */
static void words_print(const struct cli_appfile *f, size_t n_lost, bool force)
{
    A_BUF_AUTO struct a_buf app = {0}, report = {0};
    wire_yaml_print(&app, f->doc);
    cli_print(a_buf_view(&app));
    fflush(stdout);
    wire_problems_print(&report, &f->problems, f->path);
    if (report.len > 0)
        fwrite(report.ptr, 1, report.len, stderr);
    if (f->app == NULL)
        fprintf(stderr, "astra import: the app is not complete: astra deploy would refuse it\n");
    else if (n_lost > 0 && !force)
        fprintf(stderr,
                "astra import: the app could be deployed, without what was left out (%zu); --force says so\n",
                n_lost);
}

static int import_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_appfile f = {.path = c->words.items[0], .problems.arena = c->arena};
    int rc = options_check(args, reterr);
    if (rc == 0)
        rc = file_import(c, &f, reterr);
    if (rc != 0)
        return rc;
    size_t n_lost = f.problems.n_errors;
    unit_app_check(&f.problems, f.doc, &f.app);
    if (c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set(c->arena, v, "app", f.doc);
        wire_value_set_bool(c->arena, v, "valid", f.app != NULL);
        wire_value_set(c->arena, v, "problems", cli_appfile_problems(c, &f));
        cli_print_json(v);
    } else {
        words_print(&f, n_lost, args->force);
    }
    return f.app != NULL && (n_lost == 0 || args->force) ? 0 : 1;
}

int cli_import(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "import",
        .words = "FILE",
        .about = "Makes an app of KubeRay's RayService or RayCluster; needs no server",
        .min_words = 1,
        .max_words = 1,
        .options = import_options,
        .args_size = sizeof(struct args),
        .more =
            "The app goes to stdout. To stderr goes each field that was not taken over, by its line: a "
            "warning where\n"
            "nothing is lost by it, else the exit status is 1. With -o json both are one value on stdout.\n",
        .yaml = true,
        .run = import_run};
    return cli_command_run(&command, argc, argv);
}
