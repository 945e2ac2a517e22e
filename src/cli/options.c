#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"

#define OPTIONS_MAX 64 /* of all tables together */

struct parse {
    const struct cli_options *sets;
    size_t n_sets;
    int argc, at;
    char *const *argv;
    uint64_t seen; /* by the option's place in all tables */
    bool help;
    struct a_error *reterr;
};

struct found {
    const struct cli_option *option;
    void *target;
    unsigned index;
};

static bool option_find(const struct parse *p, struct a_view name, char letter, struct found *ret)
{
    unsigned index = 0;
    for (size_t i = 0; i < p->n_sets; i++) {
        for (const struct cli_option *o = p->sets[i].table; o != NULL && o->name != NULL; o++, index++) {
            if (letter != '\0' ? o->letter != letter : !a_view_is(name, o->name))
                continue;
            *ret = (struct found){o, p->sets[i].target, index};
            return true;
        }
    }
    return false;
}

static int unknown_fail(const struct parse *p, const char *word, struct a_view name)
{
    const char *names[OPTIONS_MAX + 1];
    char typed[64];
    size_t n = 0;
    for (size_t i = 0; i < p->n_sets; i++)
        for (const struct cli_option *o = p->sets[i].table; o != NULL && o->name != NULL && n < OPTIONS_MAX;
             o++)
            names[n++] = o->name;
    names[n] = NULL;
    size_t len = A_MIN(name.len, sizeof typed - 1);
    memcpy(typed, name.ptr, len);
    typed[len] = '\0';
    const char *nearest = len > 1 ? a_text_nearest(typed, names) : NULL;
    if (nearest != NULL)
        return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "no such option: %s; did you mean --%s?", word,
                      nearest);
    return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "no such option: %s", word);
}

static int value_set(const struct parse *p, const struct found *f, const char *value)
{
    void *place = (char *)f->target + f->option->offset;
    uint64_t n;
    switch (f->option->kind) {
    case CLI_FLAG:
        *(bool *)place = true;
        return 0;
    case CLI_TEXT:
        *(const char **)place = value;
        return 0;
    case CLI_NUMBER:
        if (!a_text_u64(a_view_str(value), &n))
            return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "--%s: \"%s\" is no whole number",
                          f->option->name, value);
        break;
    case CLI_DURATION:
        if (!a_text_duration(a_view_str(value), &n))
            return a_fail(p->reterr, -EINVAL, A_CODE_USAGE,
                          "--%s: \"%s\" is no duration such as 90s, 30m or 1h30m", f->option->name, value);
        break;
    }
    *(uint64_t *)place = n;
    return 0;
}

/* `value` NULL: it is the next word, when one is needed. */
static int option_take(struct parse *p, const struct found *f, const char *value)
{
    const struct cli_option *o = f->option;
    if (o->kind == CLI_FLAG && value != NULL)
        return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "--%s takes no value", o->name);
    if (o->kind != CLI_FLAG && value == NULL) {
        if (p->at + 1 >= p->argc)
            return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "--%s needs a value: %s", o->name, o->value);
        value = p->argv[++p->at];
    }
    p->seen |= UINT64_C(1) << f->index;
    p->help = p->help || strcmp(o->name, "help") == 0;
    return value_set(p, f, value);
}

static int long_parse(struct parse *p, const char *word)
{
    const char *equals = strchr(word, '=');
    struct a_view name = {word + 2, equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2};
    struct found f;
    if (!option_find(p, name, '\0', &f))
        return unknown_fail(p, word, name);
    return option_take(p, &f, equals != NULL ? equals + 1 : NULL);
}

/* -f, -n NAME, -nNAME. */
static int short_parse(struct parse *p, const char *word)
{
    struct found f;
    if (!option_find(p, (struct a_view){NULL, 0}, word[1], &f))
        return unknown_fail(p, word, a_view_str(word + 1));
    if (f.option->kind == CLI_FLAG && word[2] != '\0')
        return unknown_fail(p, word, a_view_str(word + 1));
    return option_take(p, &f, word[2] != '\0' ? word + 2 : NULL);
}

static int required_check(const struct parse *p)
{
    unsigned index = 0;
    for (size_t i = 0; i < p->n_sets; i++)
        for (const struct cli_option *o = p->sets[i].table; o != NULL && o->name != NULL; o++, index++)
            if (o->required && !p->help && (p->seen >> index & 1) == 0)
                return a_fail(p->reterr, -EINVAL, A_CODE_USAGE, "--%s %s is required", o->name,
                              o->value != NULL ? o->value : "");
    return 0;
}

int cli_options_parse(const struct cli_options *sets, size_t n_sets, struct a_arena *arena, int argc,
                      char *const *argv, struct cli_words *ret, struct a_error *reterr)
{
    struct parse p = {.sets = sets, .n_sets = n_sets, .argc = argc, .argv = argv, .reterr = reterr};
    const char **items = a_arena_alloc(arena, ((size_t)argc + 1) * sizeof *items);
    size_t n = 0;
    bool words_only = false;
    int rc = 0;
    for (; p.at < argc && rc == 0; p.at++) {
        const char *word = argv[p.at];
        if (words_only || word[0] != '-' || word[1] == '\0')
            items[n++] = word;
        else if (strcmp(word, "--") == 0)
            words_only = true;
        else
            rc = word[1] == '-' ? long_parse(&p, word) : short_parse(&p, word);
    }
    if (rc == 0)
        rc = required_check(&p);
    if (rc != 0)
        return rc;
    *ret = (struct cli_words){items, n};
    return 0;
}

static size_t option_head(struct a_buf *b, const struct cli_option *o)
{
    size_t start = b->len;
    if (o->letter != '\0')
        a_buf_addf(b, "  -%c, --%s", o->letter, o->name);
    else
        a_buf_addf(b, "  --%s", o->name);
    if (o->value != NULL)
        a_buf_addf(b, " %s", o->value);
    return b->len - start;
}

void cli_options_print(struct a_buf *b, const struct cli_option *table)
{
    for (const struct cli_option *o = table; o != NULL && o->name != NULL; o++) {
        size_t width = option_head(b, o);
        a_buf_addf(b, "%*s%s\n", width < 28 ? (int)(28 - width) : 2, "", o->help);
    }
}
