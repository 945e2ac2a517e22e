#include "daemon/shim/spec.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

static void words_free(char **words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a_free(words[i]);
    a_free(words);
}

void d_shim_spec_deinit(struct d_shim_spec *s)
{
    words_free(s->argv, s->n_argv);
    words_free(s->env, s->n_env);
    a_free(s->cwd);
    a_free(s->cgroup);
    a_free(s->shm_models);
    *s = (struct d_shim_spec){0};
}

/* Takes `word`. */
static void word_add(char ***words, size_t *n, char *word)
{
    *words = a_realloc(*words, (*n + 2) * sizeof **words);
    (*words)[(*n)++] = word;
    (*words)[*n] = NULL;
}

void d_shim_spec_add_arg(struct d_shim_spec *s, const char *arg)
{
    word_add(&s->argv, &s->n_argv, a_strdup(arg));
}

void d_shim_spec_add_env(struct d_shim_spec *s, const char *variable)
{
    word_add(&s->env, &s->n_env, a_strdup(variable));
}

/* The value with \n and \\ turned back; NULL when a backslash stands before anything else. */
static char *value_unescape(struct a_view v)
{
    char *out = a_alloc(v.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (c == '\\') {
            char next = ++i < v.len ? v.ptr[i] : '\0';
            if (next != 'n' && next != '\\') {
                a_free(out);
                return NULL;
            }
            c = next == 'n' ? '\n' : '\\';
        }
        out[n++] = c;
    }
    return out;
}

static void line_print(struct a_buf *b, const char *key, const char *value)
{
    a_buf_add_str(b, key);
    a_buf_add_char(b, ' ');
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n')
            a_buf_add_str(b, "\\n");
        else if (*p == '\\')
            a_buf_add_str(b, "\\\\");
        else
            a_buf_add_char(b, *p);
    }
    a_buf_add_char(b, '\n');
}

static bool u32_parse(struct a_view v, uint32_t *ret)
{
    uint64_t n;
    if (!a_text_u64(v, &n) || n > UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static bool spec_text(struct d_shim_spec *s, struct a_view key, struct a_view value)
{
    char *text = value_unescape(value);
    if (text == NULL)
        return false;
    if (a_view_is(key, "arg") && s->n_argv < D_SHIM_WORDS_MAX)
        word_add(&s->argv, &s->n_argv, text);
    else if (a_view_is(key, "env") && s->n_env < D_SHIM_WORDS_MAX && strchr(text, '=') != NULL)
        word_add(&s->env, &s->n_env, text);
    else if (a_view_is(key, "cwd") && s->cwd == NULL)
        s->cwd = text;
    else if (a_view_is(key, "cgroup") && s->cgroup == NULL)
        s->cgroup = text;
    else if (a_view_is(key, "shm_models") && s->shm_models == NULL)
        s->shm_models = text;
    else {
        a_free(text);
        return false;
    }
    return true;
}

static bool spec_line(struct d_shim_spec *s, struct a_view key, struct a_view value)
{
    const struct {
        const char *key;
        uint64_t *number;
    } numbers[] = {
        {"shm_bytes", &s->shm_bytes},
        {"open_files", &s->open_files},
        {"log_piece_bytes", &s->log_piece_bytes},
        {"log_pieces", &s->log_pieces},
        {"grace_ms", &s->grace_ms},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(numbers); i++)
        if (a_view_is(key, numbers[i].key))
            return a_text_u64(value, numbers[i].number);
    if (a_view_is(key, "arg") || a_view_is(key, "env") || a_view_is(key, "cwd") || a_view_is(key, "cgroup") ||
        a_view_is(key, "shm_models"))
        return spec_text(s, key, value);
    if (a_view_is(key, "namespaces")) {
        s->no_namespaces = a_view_is(value, "off");
        return s->no_namespaces || a_view_is(value, "auto");
    }
    if (a_view_is(key, "uid")) {
        s->set_ids = true;
        return u32_parse(value, &s->uid);
    }
    if (a_view_is(key, "gid"))
        return u32_parse(value, &s->gid);
    return true; /* a key of a later version */
}

/* Calls each line; checks that the first says `version 1`. 0, or the number of the line that is wrong. */
static size_t lines_parse(struct a_view text,
                          bool (*line_parse)(void *ctx, struct a_view key, struct a_view value), void *ctx)
{
    size_t number = 0;
    while (text.len > 0) {
        struct a_view value, line = a_view_split(text, '\n', &text);
        number++;
        if (line.len == 0)
            continue;
        struct a_view key = a_view_split(line, ' ', &value);
        bool ok = memchr(line.ptr, '\0', line.len) == NULL;
        if (number == 1)
            ok = ok && a_view_is(key, "version") && a_view_is(value, A_STRINGIFY(D_SHIM_VERSION));
        else
            ok = ok && line_parse(ctx, key, value);
        if (!ok)
            return number;
    }
    return number == 0 ? 1 : 0;
}

static bool spec_line_any(void *ctx, struct a_view key, struct a_view value)
{
    return spec_line(ctx, key, value);
}

int d_shim_spec_parse(struct a_view text, struct d_shim_spec *ret, struct a_error *reterr)
{
    A_CLEANUP(d_shim_spec_deinit)
    struct d_shim_spec s = {0};
    size_t bad = lines_parse(text, spec_line_any, &s);
    if (bad > 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "shim spec: line %zu is not understood", bad);
    if (s.n_argv == 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "shim spec: no arg: nothing to start");
    *ret = s;
    s = (struct d_shim_spec){0};
    return 0;
}

static void number_print(struct a_buf *b, const char *key, uint64_t n)
{
    if (n > 0)
        a_buf_addf(b, "%s %llu\n", key, (unsigned long long)n);
}

void d_shim_spec_print(const struct d_shim_spec *s, struct a_buf *b)
{
    a_buf_addf(b, "version %d\n", D_SHIM_VERSION);
    for (size_t i = 0; i < s->n_argv; i++)
        line_print(b, "arg", s->argv[i]);
    for (size_t i = 0; i < s->n_env; i++)
        line_print(b, "env", s->env[i]);
    if (s->cwd != NULL)
        line_print(b, "cwd", s->cwd);
    if (s->cgroup != NULL)
        line_print(b, "cgroup", s->cgroup);
    if (s->shm_models != NULL)
        line_print(b, "shm_models", s->shm_models);
    if (s->set_ids)
        a_buf_addf(b, "uid %u\ngid %u\n", s->uid, s->gid);
    a_buf_addf(b, "namespaces %s\n", s->no_namespaces ? "off" : "auto");
    number_print(b, "shm_bytes", s->shm_bytes);
    number_print(b, "open_files", s->open_files);
    number_print(b, "log_piece_bytes", s->log_piece_bytes);
    number_print(b, "log_pieces", s->log_pieces);
    number_print(b, "grace_ms", s->grace_ms);
}

static const char *const phases[] = {"starting", "running", "exited"};

static bool process_parse(struct a_view v, struct d_shim_process *ret)
{
    struct a_view start;
    struct d_shim_process p;
    struct a_view pid = a_view_split(v, ' ', &start);
    if (!a_text_i64(pid, &p.pid) || !a_text_u64(start, &p.start) || p.pid < 0)
        return false;
    *ret = p;
    return true;
}

static bool int_parse(struct a_view v, int *ret)
{
    int64_t n;
    if (!a_text_i64(v, &n) || n < -1 || n > 255)
        return false;
    *ret = (int)n;
    return true;
}

static bool phase_parse(struct a_view v, enum d_shim_phase *ret)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(phases); i++) {
        if (a_view_is(v, phases[i])) {
            *ret = (enum d_shim_phase)i;
            return true;
        }
    }
    return false;
}

static bool state_line(void *ctx, struct a_view key, struct a_view value)
{
    struct d_shim_state *s = ctx;
    if (a_view_is(key, "state"))
        return phase_parse(value, &s->phase);
    if (a_view_is(key, "shim"))
        return process_parse(value, &s->shim);
    if (a_view_is(key, "member"))
        return process_parse(value, &s->member);
    if (a_view_is(key, "exit"))
        return int_parse(value, &s->exit_code);
    if (a_view_is(key, "signal"))
        return int_parse(value, &s->exit_signal);
    if (a_view_is(key, "namespaces"))
        s->namespaces = a_view_is(value, "yes");
    if (a_view_is(key, "oom"))
        s->oom = a_view_is(value, "yes");
    if (a_view_is(key, "message")) {
        A_AUTOFREE char *text = value_unescape(value);
        if (text == NULL)
            return false;
        size_t n = A_MIN(strlen(text), sizeof s->message - 1);
        memcpy(s->message, text, n);
    }
    return true;
}

int d_shim_state_parse(struct a_view text, struct d_shim_state *ret, struct a_error *reterr)
{
    struct d_shim_state s = {.exit_code = -1};
    size_t bad = lines_parse(text, state_line, &s);
    if (bad > 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "shim state: line %zu is not understood", bad);
    *ret = s;
    return 0;
}

void d_shim_state_print(const struct d_shim_state *s, struct a_buf *b)
{
    a_buf_addf(b, "version %d\nstate %s\n", D_SHIM_VERSION, phases[s->phase]);
    a_buf_addf(b, "shim %lld %llu\n", (long long)s->shim.pid, (unsigned long long)s->shim.start);
    a_buf_addf(b, "member %lld %llu\n", (long long)s->member.pid, (unsigned long long)s->member.start);
    a_buf_addf(b, "namespaces %s\n", s->namespaces ? "yes" : "no");
    if (s->phase == D_SHIM_EXITED)
        a_buf_addf(b, "exit %d\nsignal %d\noom %s\n", s->exit_code, s->exit_signal, s->oom ? "yes" : "no");
    if (s->message[0] != '\0')
        line_print(b, "message", s->message);
}
