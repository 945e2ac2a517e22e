#include "daemon/agent/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "artifact/cache.h"
#include "base/alloc.h"
#include "base/text.h"
#include "sys/env.h"

struct text_option {
    const char *flag, *argument, *otherwise, *help;
    size_t offset;
};

static const struct text_option texts[] = {
#define X(field, flag, argument, otherwise, help)                                                            \
    {flag, argument, otherwise, help, offsetof(struct d_agent_options, field)},
    D_AGENT_TEXTS(X)
#undef X
};

static const char **text_field(struct d_agent_options *o, const struct text_option *t)
{
    return (const char **)(void *)((char *)o + t->offset);
}

/* ASTRA_CFG_AGENT_JOIN_TOKEN_FILE for --join-token-file */
static const char *variable_get(const char *flag)
{
    char name[64] = "ASTRA_CFG_AGENT_";
    size_t n = strlen(name);
    for (; *flag != '\0' && n < sizeof name - 1; flag++)
        name[n++] = *flag == '-' ? '_' : (char)(*flag >= 'a' && *flag <= 'z' ? *flag - 'a' + 'A' : *flag);
    name[n] = '\0';
    return sys_env_get(name);
}

static int flag_unknown(const char *word, struct a_error *reterr)
{
    const char *names[A_ARRAY_SIZE(texts) + 3] = {"label", "no-namespaces"};
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++)
        names[i + 2] = texts[i].flag;
    const char *near = strncmp(word, "--", 2) == 0 ? a_text_nearest(word + 2, names) : NULL;
    if (near != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s is not known; did you mean --%s?", word, near);
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s is not known", word);
}

static int label_add(struct d_agent_options *o, const char *text, struct a_error *reterr)
{
    struct a_view value, key = a_view_split(a_view_str(text), '=', &value);
    if (key.len == 0 || key.len == strlen(text))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--label %s: expected KEY=VALUE", text);
    if (o->n_labels == D_AGENT_LABELS_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--label: at most %d", D_AGENT_LABELS_MAX);
    o->labels[o->n_labels++] = (struct wire_sl_label){key, value};
    return 0;
}

/* "--flag VALUE" or "--flag=VALUE" of `name`: moves *i to the value's word; NULL when it is another flag. */
static const char *value_take(const char *name, int argc, char **argv, int *i)
{
    size_t n = strlen(name);
    const char *word = argv[*i];
    if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, name, n) != 0)
        return NULL;
    if (word[2 + n] == '=')
        return word + 3 + n;
    return word[2 + n] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static int word_parse(struct d_agent_options *o, int argc, char **argv, int *i, struct a_error *reterr)
{
    const char *word = argv[*i], *value;
    if (strcmp(word, "--help") == 0) {
        o->help = true;
        return 0;
    }
    if (strcmp(word, "--no-namespaces") == 0) {
        o->namespaces_off = true;
        return 0;
    }
    if ((value = value_take("label", argc, argv, i)) != NULL)
        return label_add(o, value, reterr);
    for (size_t k = 0; k < A_ARRAY_SIZE(texts); k++) {
        if ((value = value_take(texts[k].flag, argc, argv, i)) != NULL) {
            *text_field(o, &texts[k]) = value;
            return 0;
        }
    }
    return flag_unknown(word, reterr);
}

static int quantities_parse(struct d_agent_options *o, struct a_error *reterr)
{
    if (o->cpu != NULL && !a_text_mcpu(a_view_str(o->cpu), &o->capacity.mcpu))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--cpu %s: expected CPUs, for example 2 or 500m",
                      o->cpu);
    if (o->memory != NULL && !a_text_bytes(a_view_str(o->memory), &o->capacity.memory_bytes))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--memory %s: expected bytes, for example 4Gi",
                      o->memory);
    if (o->disk != NULL && !a_text_bytes(a_view_str(o->disk), &o->capacity.disk_bytes))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--disk %s: expected bytes, for example 20Gi", o->disk);
    if (!a_text_bytes(a_view_str(o->cache_max), &o->cache_max_bytes))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--cache-max %s: expected bytes, for example 40Gi",
                      o->cache_max);
    if (!a_text_bytes(a_view_str(o->logs_max), &o->logs_max_bytes))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--logs-max %s: expected bytes, for example 256Mi",
                      o->logs_max);
    return 0;
}

int d_agent_options_parse(int argc, char **argv, struct d_agent_options *ret, struct a_error *reterr)
{
    struct d_agent_options o = {0};
    int rc = 0;
    for (size_t k = 0; k < A_ARRAY_SIZE(texts); k++) {
        const char *variable = variable_get(texts[k].flag);
        *text_field(&o, &texts[k]) = variable != NULL ? variable : texts[k].otherwise;
    }
    for (int i = 1; rc == 0 && i < argc; i++)
        rc = word_parse(&o, argc, argv, &i, reterr);
    if (rc == 0)
        rc = quantities_parse(&o, reterr);
    if (rc == 0 && o.data == NULL && !o.help)
        rc = a_fail(reterr, -EINVAL, A_CODE_USAGE, "--data DIR is required");
    if (rc == 0)
        *ret = o;
    return rc;
}

void d_agent_options_help(void)
{
    printf("usage: astra agent --data DIR [flags]\n\nJoins this node to a server and runs members of units "
           "on it.\n\n");
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++) {
        printf("  --%-16s %-10s %s", texts[i].flag, texts[i].argument, texts[i].help);
        if (texts[i].otherwise != NULL)
            printf(" (%s)", texts[i].otherwise);
        printf("\n");
    }
    printf("  --%-16s %-10s %s\n", "label", "KEY=VALUE", "a label of the node; may be given several times");
    printf("  --%-16s %-10s %s\n", "no-namespaces", "", "run members without namespaces of their own");
    printf("\nEach flag may also come from a variable: ASTRA_CFG_AGENT_SERVER for --server.\n");
}
