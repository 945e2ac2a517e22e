#include "daemon/gateway/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "sys/env.h"

enum kind { TEXT, COUNT, BYTES, TIME, SWITCH };

struct option {
    enum kind kind;
    size_t offset;
    const char *flag, *value, *help;
};

static const struct option options[] = {
#define X(kind, field, flag, value, help) {kind, offsetof(struct d_gw_options, field), flag, value, help},
    D_GW_OPTIONS(X)
#undef X
};

static const char *const kinds[] = {
    [TEXT] = "TEXT", [COUNT] = "NUMBER", [BYTES] = "BYTES", [TIME] = "TIME", [SWITCH] = "yes|no"};

static void help_print(void)
{
    printf(
        "usage: astra gateway [--SETTING VALUE ...]\n\nThe data plane: carries requests to the units.\n\n");
    for (size_t i = 0; i < A_ARRAY_SIZE(options); i++)
        printf("  --%-20s %s: %s (%s)\n", options[i].flag, kinds[options[i].kind], options[i].help,
               options[i].value[0] != '\0' ? options[i].value : "none");
}

static int switch_read(const char *text, bool *ret)
{
    *ret = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    return *ret || strcmp(text, "no") == 0 || strcmp(text, "false") == 0 ? 0 : -EINVAL;
}

static int value_set(struct d_gw_options *o, const struct option *option, const char *text,
                     struct a_error *reterr)
{
    void *field = (char *)o + option->offset;
    struct a_view v = a_view_str(text);
    bool ok = true;
    if (option->kind == TEXT)
        *(const char **)field = text;
    else if (option->kind == COUNT)
        ok = a_text_u64(v, field);
    else if (option->kind == BYTES)
        ok = a_text_bytes(v, field);
    else if (option->kind == TIME)
        ok = a_text_duration(v, field);
    else
        ok = switch_read(text, field) == 0;
    if (ok)
        return 0;
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s: '%s' is no %s (for example %s)", option->flag, text,
                  kinds[option->kind], option->value);
}

static const struct option *option_find(const char *flag, size_t len)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(options); i++)
        if (strlen(options[i].flag) == len && memcmp(options[i].flag, flag, len) == 0)
            return &options[i];
    return NULL;
}

static const char *from_environment(const struct option *option)
{
    char name[64] = "ASTRA_CFG_GATEWAY_";
    size_t n = strlen(name);
    for (const char *p = option->flag; *p != '\0'; p++)
        name[n++] = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
    name[n] = '\0';
    return sys_env_get(name);
}

static int defaults_set(struct d_gw_options *o, struct a_error *reterr)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(options); i++) {
        const char *text = from_environment(&options[i]);
        int rc = value_set(o, &options[i], text != NULL ? text : options[i].value, reterr);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --flag VALUE, --flag=VALUE; a switch alone means yes. Moves *i on. */
static int flag_read(int argc, char **argv, int *i, struct d_gw_options *o, struct a_error *reterr)
{
    const char *word = argv[*i];
    if (strncmp(word, "--", 2) != 0)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "astra gateway takes no '%s'", word);
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct option *option = option_find(word + 2, len);
    if (option == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "there is no flag %s; astra gateway --help lists them",
                      word);
    if (equals != NULL)
        return value_set(o, option, equals + 1, reterr);
    bool follows = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
    if (option->kind == SWITCH && !follows)
        return value_set(o, option, "yes", reterr);
    if (!follows)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s wants a value", option->flag);
    return value_set(o, option, argv[++*i], reterr);
}

int d_gw_options_read(int argc, char **argv, struct d_gw_options *ret, struct a_error *reterr)
{
    struct d_gw_options o = {0};
    int rc = defaults_set(&o, reterr);
    for (int i = 1; rc == 0 && i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help_print();
            return 1;
        }
        rc = flag_read(argc, argv, &i, &o, reterr);
    }
    if (rc != 0)
        return rc;
    if (o.threads < 1 || o.threads > 64)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--threads must be from 1 to 64");
    if (o.head_bytes < 1024 || o.head_bytes > 1024 * 1024)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--max-head must be from 1Ki to 1Mi");
    if ((o.tls_cert[0] != '\0') != (o.tls_key[0] != '\0'))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE,
                      "--tls-cert and --tls-key are given together or not at all");
    *ret = o;
    return 0;
}
