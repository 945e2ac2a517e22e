/* Prints docs/app-fields.md: every field of an App, from the table that the checker itself uses. `make docs`
 * runs it, and `tools/lint docs` fails when the page differs from what this prints. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/macro.h"
#include "unit/app_schema.h"

static void words_print(const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        printf("%s`%s`", i > 0 ? ", " : "", words[i]);
}

static void range_print(const struct wire_field *f)
{
    if (f->max >= INT32_MAX)
        printf(", at least %" PRId64, f->min);
    else
        printf(", %" PRId64 " to %" PRId64, f->min, f->max);
}

static void kind_print(const struct wire_field *f)
{
    if (f->kind == WIRE_WORD)
        words_print(f->words);
    else if (f->kind == WIRE_LIST && f->item == WIRE_WORD) {
        printf("a list of ");
        words_print(f->words);
    } else if (f->kind == WIRE_MAP && f->fields == NULL)
        printf("a mapping of names to %s", f->item == WIRE_INT ? "whole numbers" : "strings");
    else
        printf("%s", wire_kind_name(f->kind));
    if (f->kind == WIRE_INT)
        range_print(f);
    if (f->kind == WIRE_LIST && f->max > 0)
        printf(" of %" PRId64 " to %" PRId64, f->min, f->max);
    if (f->nullable)
        printf(", or null");
}

static void default_print(const struct wire_field *f)
{
    if (f->fallback == NULL)
        printf("**required**");
    else if (f->fallback[0] == '"' && strlen(f->fallback) > 2)
        printf("`%.*s`", (int)strlen(f->fallback) - 2, f->fallback + 1);
    else
        printf("`%s`", f->fallback);
}

static void field_print(const struct wire_field *f, const char *path, bool alive)
{
    printf("| `%s` | ", path);
    kind_print(f);
    printf(" | ");
    default_print(f);
    printf(" | %s | %s%s |\n", unit_class_name(f->class), f->doc, alive ? "" : "; *not yet*");
}

static void fields_print(const struct wire_field *fields, const char *above, bool alive)
{
    for (const struct wire_field *f = fields; f->name != NULL; f++) {
        A_BUF_AUTO struct a_buf path = {0};
        bool here = alive && f->waits_for == NULL;
        a_buf_addf(&path, "%s%s%s%s", above, above[0] != '\0' ? "." : "", f->name,
                   f->fields == NULL      ? ""
                   : f->kind == WIRE_LIST ? "[]"
                   : f->kind == WIRE_MAP  ? ".NAME"
                                          : "");
        field_print(f, path.ptr, here);
        if (f->fields != NULL)
            fields_print(f->fields, path.ptr, here);
    }
}

int main(void)
{
    printf(
        "# Every field of an App\n\n"
        "Made by `make docs` from the table in `src/unit/app_schema.c`, which the checker reads, too. "
        "[app.md](app.md) explains what belongs together.\n\n"
        "*Changed* says what a change costs: `route`, gateways and plans only; `serve`, a PUT into running "
        "units; "
        "`replace`, new units. *Not yet*: only the default is taken; any other value is refused by name.\n\n"
        "| field | type | default | changed | what it is |\n|---|---|---|---|---|\n");
    fields_print(unit_app_schema.object.fields, "", true);
    return 0;
}
