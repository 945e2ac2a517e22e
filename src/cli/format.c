/* Words for people: ages, sizes, colours. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/terminal.h"

uint64_t cli_since_ms(const char *time)
{
    uint64_t then, now = sys_clock_wall_ms();
    if (time == NULL || !sys_clock_parse(a_view_str(time), &then) || then > now)
        return 0;
    return now - then;
}

const char *cli_age(struct cli *c, const char *time)
{
    uint64_t then, s = cli_since_ms(time) / 1000;
    if (time == NULL || !sys_clock_parse(a_view_str(time), &then))
        return "-";
    if (s < 120)
        return a_arena_printf(&c->arena, "%" PRIu64 "s", s);
    if (s < 2 * 3600)
        return a_arena_printf(&c->arena, "%" PRIu64 "m", s / 60);
    if (s < 48 * 3600)
        return a_arena_printf(&c->arena, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s / 60 % 60);
    return a_arena_printf(&c->arena, "%" PRIu64 "d", s / 86400);
}

const char *cli_bytes(struct cli *c, uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    double n = (double)bytes;
    for (; n >= 999.5 && unit + 1 < A_ARRAY_SIZE(units); unit++)
        n /= 1000;
    return a_arena_printf(&c->arena, n < 9.95 && unit > 0 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

const char *cli_text(const struct wire_value *object, const char *key)
{
    const char *s = wire_value_string(wire_value_get(object, key), NULL);
    return s != NULL && s[0] != '\0' && strcmp(s, "None") != 0 ? s : "-";
}

const char *cli_int(struct cli *c, const struct wire_value *object, const char *key)
{
    const struct wire_value *v = wire_value_get(object, key);
    return wire_value_is(v, WIRE_VALUE_INT) ? a_arena_printf(&c->arena, "%" PRId64, v->integer) : "-";
}

bool cli_has_colour(FILE *f)
{
    return sys_env_get("NO_COLOR") == NULL && sys_terminal_is(f == stdout ? 1 : 2);
}

const char *cli_colour(const char *word)
{
    static const char *const good[] = {"READY", "UP", "COMPLETED", "yes", NULL};
    static const char *const bad[] = {"FAILED", "LOST", "DEAD", "UNHEALTHY", "DEGRADED", "ORPHAN", NULL};
    static const char *const busy[] = {"PLANNED",     "CLAIMING", "FETCHING", "STARTING",   "DEPLOYING",
                                       "UPDATING",    "ROLLING",  "JOINING",  "SUSPECT",    "DRAINING",
                                       "DRAINED",     "cordoned", "STOPPED",  "RECOVERING", "DELETING",
                                       "UP,cordoned", NULL};
    const struct {
        const char *const *words;
        const char *code;
    } sets[] = {{good, "\033[32m"}, {bad, "\033[31m"}, {busy, "\033[33m"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(sets); i++)
        for (const char *const *w = sets[i].words; *w != NULL; w++)
            if (strcmp(*w, word) == 0)
                return sets[i].code;
    return "";
}
