#include "net/problem.h"

#include "base/assert.h"
#include "base/text.h"
#include "wire/http1.h"
#include "wire/value.h"

#define PLAIN_TEXT_MAX 512 /* of an answer that is no problem document */

static void member_text(struct a_buf *b, const char *key, struct a_view value)
{
    a_buf_addf(b, ", \"%s\": ", key);
    a_text_print_json(b, value);
}

static void where_print(struct a_buf *b, const struct net_problem_where *where)
{
    if (where == NULL)
        return;
    if (where->field != NULL)
        member_text(b, "field", a_view_str(where->field));
    if (where->line != 0)
        a_buf_addf(b, ", \"line\": %u", where->line);
    if (where->column != 0)
        a_buf_addf(b, ", \"column\": %u", where->column);
    if (where->hint != NULL)
        member_text(b, "hint", a_view_str(where->hint));
}

static void problem_open(struct a_buf *b, const struct a_error *e, const struct net_problem_where *where)
{
    const char *code = a_code_name(e->code);
    unsigned status = (unsigned)a_code_http(e->code);
    a_buf_addf(b, "{\"type\": \"urn:astra:problem:%s\", \"code\": \"%s\"", code, code);
    member_text(b, "title", a_view_str(wire_http_status_text(status)));
    a_buf_addf(b, ", \"status\": %u", status);
    member_text(b, "detail", a_view_str(a_error_text(e)));
    where_print(b, where);
}

void net_problem_print(struct a_buf *b, const struct a_error *e, const struct net_problem_where *where)
{
    problem_open(b, e, where);
    a_buf_add_char(b, '}');
}

void net_problem_print_many(struct a_buf *b, const struct net_problem *problems, size_t n_problems)
{
    a_assert(n_problems >= 1);
    problem_open(b, &problems[0].error, &problems[0].where);
    a_buf_add_str(b, ", \"errors\": [");
    for (size_t i = 0; i < n_problems; i++) {
        a_buf_addf(b, "%s{\"code\": \"%s\"", i != 0 ? ", " : "", a_code_name(problems[i].error.code));
        member_text(b, "detail", a_view_str(a_error_text(&problems[i].error)));
        where_print(b, &problems[i].where);
        a_buf_add_char(b, '}');
    }
    a_buf_add_str(b, "]}");
}

/* "app.yaml:12: spec.units: must be at least 1 (hint)" as far as it was said. */
static void problem_say(struct a_buf *text, const struct wire_value *p)
{
    const char *field = wire_value_string(wire_value_get(p, "field"), NULL);
    const char *hint = wire_value_string(wire_value_get(p, "hint"), NULL);
    const char *detail = wire_value_string(wire_value_get(p, "detail"), "");
    int64_t line = wire_value_int(wire_value_get(p, "line"), 0);
    if (line > 0)
        a_buf_addf(text, "line %lld: ", (long long)line);
    if (field != NULL)
        a_buf_addf(text, "%s: ", field);
    a_buf_add_str(text, detail);
    if (hint != NULL)
        a_buf_addf(text, " (%s)", hint);
}

static bool document_read(struct a_view body, struct a_arena *arena, struct a_error *ret_error)
{
    struct wire_value *v;
    A_BUF_AUTO struct a_buf text = {0};
    if (wire_json_parse(arena, body, NULL, NULL, &v, NULL) != 0)
        return false;
    const char *code = wire_value_string(wire_value_get(v, "code"), NULL);
    if (code == NULL)
        return false;
    const struct wire_value *errors = wire_value_get(v, "errors");
    if (wire_value_count(errors) == 0)
        problem_say(&text, v);
    wire_value_foreach(e, errors)
    {
        if (text.len != 0)
            a_buf_add_char(&text, '\n');
        problem_say(&text, e);
    }
    a_error_set(ret_error, a_code_parse(code), "%s", text.ptr != NULL && text.len != 0 ? text.ptr : code);
    return true;
}

/* The code that fits a bare status best. */
static enum a_code code_of_status(unsigned status)
{
    for (int i = 0; i < A_CODE_COUNT_; i++)
        if (a_code_http((enum a_code)i) == (int)status && i != A_CODE_USAGE)
            return (enum a_code)i;
    return status >= 500 ? A_CODE_INTERNAL : A_CODE_INVALID;
}

void net_problem_read(unsigned status, struct a_view body, struct a_error *ret_error)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    if (document_read(body, &arena, ret_error))
        return;
    struct a_view text = {body.ptr, A_MIN(body.len, PLAIN_TEXT_MAX)};
    while (text.len > 0 && (unsigned char)text.ptr[text.len - 1] <= ' ')
        text.len--;
    a_error_set(ret_error, code_of_status(status), "%u %s%s" A_VIEW_FMT, status,
                wire_http_status_text(status), text.len != 0 ? ": " : "", A_VIEW_ARG(text));
}
