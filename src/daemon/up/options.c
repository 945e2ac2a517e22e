#include "daemon/up/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"
#include "sys/env.h"

#define FLAGS_MAX 32

enum kind { TEXT, COUNT, SWITCH };

struct option {
    enum kind kind;
    size_t offset;
    const char *flag, *argument, *otherwise, *help;
};

struct table {
    const struct option *options;
    size_t n;
    const char *command, *about;
};

#define X(kind, field, flag, argument, otherwise, help)                                                      \
    {kind, offsetof(struct d_up_options, field), flag, argument, otherwise, help},
static const struct option up_options[] = {D_UP_OPTIONS(X)};
#undef X
#define X(kind, field, flag, argument, otherwise, help)                                                      \
    {kind, offsetof(struct d_down_options, field), flag, argument, otherwise, help},
static const struct option down_options[] = {D_DOWN_OPTIONS(X)};
#undef X

static const struct table up_table = {
    up_options, A_ARRAY_SIZE(up_options), "up",
    "Runs the whole platform on this machine: a server, a gateway, and nodes in pretend clusters.\n"
    "Ctrl-C ends it and removes what it made."};
static const struct table down_table = {
    down_options, A_ARRAY_SIZE(down_options), "down",
    "Ends what astra up started and removes what it made; apps and artifacts are kept."};

static void help_print(const struct table *t)
{
    printf("usage: astra %s [flags]\n\n%s\n\n", t->command, t->about);
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->options[i];
        printf("  --%-12s %-12s %s", o->flag, o->argument, o->help);
        if (o->otherwise != NULL && o->kind != SWITCH)
            printf(" (%s)", o->otherwise);
        printf("\n");
    }
    printf("\nEach flag may also come from a variable: ASTRA_CFG_UP_%s for --%s.\n", "DATA", "data");
}

static int value_set(const struct option *o, void *options, const char *text, struct a_error *reterr)
{
    void *field = (char *)options + o->offset;
    uint64_t n;
    if (o->kind == TEXT) {
        *(const char **)field = text;
    } else if (o->kind == COUNT) {
        if (!a_text_u64(a_view_str(text), &n) || n == 0)
            return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s %s: expected a number from 1", o->flag, text);
        *(uint64_t *)field = n;
    } else {
        bool yes = strcmp(text, "yes") == 0;
        if (!yes && strcmp(text, "no") != 0)
            return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s %s: expected yes or no", o->flag, text);
        *(bool *)field = yes;
    }
    return 0;
}

/* ASTRA_CFG_UP_NODE_CPU for --node-cpu */
static const char *variable_get(const char *flag)
{
    char name[64] = "ASTRA_CFG_UP_";
    size_t n = strlen(name);
    for (; *flag != '\0' && n < sizeof name - 1; flag++)
        name[n++] = *flag == '-' ? '_' : (char)(*flag >= 'a' && *flag <= 'z' ? *flag - 'a' + 'A' : *flag);
    name[n] = '\0';
    return sys_env_get(name);
}

static int defaults_set(const struct table *t, void *options, struct a_error *reterr)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->n; i++) {
        const char *variable = variable_get(t->options[i].flag);
        const char *text = variable != NULL ? variable : t->options[i].otherwise;
        if (text != NULL)
            rc = value_set(&t->options[i], options, text, reterr);
    }
    return rc;
}

static int flag_unknown(const struct table *t, const char *word, struct a_error *reterr)
{
    const char *names[FLAGS_MAX + 1] = {"help"}, *near = NULL;
    for (size_t i = 0; i < t->n && i + 2 < A_ARRAY_SIZE(names); i++)
        names[i + 1] = t->options[i].flag;
    if (strncmp(word, "--", 2) == 0)
        near = a_text_nearest(word + 2, names);
    if (near != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s is not known; did you mean --%s?", word, near);
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s is not known; astra %s --help lists the flags", word,
                  t->command);
}

/* "--flag VALUE", "--flag=VALUE", or a switch alone. Moves *i on. */
static int word_read(const struct table *t, int argc, char **argv, int *i, void *options,
                     struct a_error *reterr)
{
    const char *word = argv[*i];
    for (size_t k = 0; strncmp(word, "--", 2) == 0 && k < t->n; k++) {
        const struct option *o = &t->options[k];
        size_t n = strlen(o->flag);
        if (strncmp(word + 2, o->flag, n) != 0 || (word[2 + n] != '\0' && word[2 + n] != '='))
            continue;
        if (word[2 + n] == '=')
            return value_set(o, options, word + 3 + n, reterr);
        if (o->kind == SWITCH)
            return value_set(o, options, "yes", reterr);
        if (*i + 1 >= argc)
            return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s wants a value: %s", o->flag, o->argument);
        return value_set(o, options, argv[++*i], reterr);
    }
    return flag_unknown(t, word, reterr);
}

static int table_read(const struct table *t, int argc, char **argv, void *options, struct a_error *reterr)
{
    int rc = defaults_set(t, options, reterr);
    for (int i = 1; rc == 0 && i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help_print(t);
            return 1;
        }
        rc = word_read(t, argc, argv, &i, options, reterr);
    }
    return rc;
}

static int up_check(const struct d_up_options *o, struct a_error *reterr)
{
    uint64_t n;
    if (o->clusters > D_UP_CLUSTERS_MAX || o->nodes > D_UP_NODES_MAX ||
        o->clusters * o->nodes > D_UP_NODES_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "at most %d clusters and %d nodes in all",
                      D_UP_CLUSTERS_MAX, D_UP_NODES_MAX);
    if (!a_text_mcpu(a_view_str(o->node_cpu), &n))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--node-cpu %s: expected CPUs, for example 2",
                      o->node_cpu);
    if (!a_text_bytes(a_view_str(o->node_memory), &n))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--node-memory %s: expected bytes, for example 4Gi",
                      o->node_memory);
    return 0;
}

int d_up_options_read(int argc, char **argv, struct d_up_options *ret, struct a_error *reterr)
{
    struct d_up_options o = {0};
    int rc = table_read(&up_table, argc, argv, &o, reterr);
    if (rc == 0)
        rc = up_check(&o, reterr);
    if (rc == 0)
        *ret = o;
    return rc;
}

int d_down_options_read(int argc, char **argv, struct d_down_options *ret, struct a_error *reterr)
{
    struct d_down_options o = {0};
    int rc = table_read(&down_table, argc, argv, &o, reterr);
    if (rc == 0)
        *ret = o;
    return rc;
}
