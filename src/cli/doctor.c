/* astra doctor: what would keep Astra from working here, each with what to do. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/probe.h"

#define NOFILE_WANTED 4096         /* a gateway holds two descriptors a request */
#define DISK_WANTED (10ull << 30)  /* an environment with Ray is half a GiB unpacked, models come on top */
#define SHM_WANTED (512ull << 20)  /* object stores of a few units */
#define MEMORY_WANTED (4ull << 30) /* Ray with Serve takes one GiB a unit */
#define CLOCK_WANTED_MS 5000

enum verdict { GOOD, WARNING, BAD };

struct doctor {
    struct cli *c;
    struct wire_value *list;
    bool colour;
    unsigned bad;
};

static void say(struct doctor *d, enum verdict v, const char *what, const char *found, const char *todo)
{
    static const char *const words[] = {"ok", "warning", "problem"};
    static const char *const codes[] = {"\033[32m", "\033[33m", "\033[31m"};
    struct wire_value *item = wire_value_new_object(&d->c->arena);
    wire_value_set_string(&d->c->arena, item, "check", what);
    wire_value_set_string(&d->c->arena, item, "verdict", words[v]);
    wire_value_set_string(&d->c->arena, item, "found", found);
    wire_value_set_string(&d->c->arena, item, "todo", v == GOOD ? NULL : todo);
    wire_value_append(d->list, item);
    d->bad += v == BAD;
    if (d->c->json)
        return;
    printf("%s%-8s%s %-12s %s\n", d->colour ? codes[v] : "", words[v], d->colour ? CLI_COLOUR_OFF : "", what,
           found);
    if (v != GOOD)
        printf("%-8s %-12s -> %s\n", "", "", todo);
}

static const char *bytes_text(struct doctor *d, uint64_t bytes)
{
    return cli_bytes(d->c, bytes);
}

static void check_limits(struct doctor *d)
{
    uint64_t n = sys_env_raise_nofile();
    say(d, n >= NOFILE_WANTED ? GOOD : WARNING, "open files",
        a_arena_printf(&d->c->arena, "at most %" PRIu64, n),
        "raise it: ulimit -Hn, or LimitNOFILE of the service");
    uint64_t memory = sys_env_memory_available();
    say(d, memory >= MEMORY_WANTED ? GOOD : WARNING, "memory",
        a_arena_printf(&d->c->arena, "%s free", bytes_text(d, memory)),
        "a unit takes a GiB before its models: use a larger machine or fewer units");
}

static void check_disk(struct doctor *d)
{
    const char *data = sys_env_get("ASTRA_CFG_DATA"), *home = sys_env_get("HOME");
    const char *place = data != NULL ? data : home != NULL ? home : "/tmp";
    uint64_t free_bytes = 0, total = 0;
    if (sys_disk_free(place, &free_bytes, &total, NULL) == 0)
        say(d, free_bytes >= DISK_WANTED ? GOOD : WARNING, "disk",
            a_arena_printf(&d->c->arena, "%s free at %s", bytes_text(d, free_bytes), place),
            "environments and models need room: free some, or put --data elsewhere");
    if (sys_disk_free("/dev/shm", &free_bytes, &total, NULL) == 0)
        say(d, free_bytes >= SHM_WANTED ? GOOD : WARNING, "/dev/shm",
            a_arena_printf(&d->c->arena, "%s free", bytes_text(d, free_bytes)),
            "Ray's object stores lie there: mount it larger (a container: --shm-size)");
    else
        say(d, BAD, "/dev/shm", "not there", "Ray's object stores lie there: mount a tmpfs");
}

static void check_machine(struct doctor *d)
{
    bool spaces = sys_probe_namespaces(), python = sys_probe_program("python3");
    char platform[128];
    sys_env_platform(platform, sizeof platform);
    say(d, GOOD, "platform", platform, "");
    say(d, spaces ? GOOD : WARNING, "namespaces",
        spaces ? "members get PID and mount namespaces" : "not allowed here",
        "members are then watched by a subreaper; to allow them: sysctl kernel.unprivileged_userns_clone=1");
    say(d, python ? GOOD : WARNING, "python3", python ? "there" : "not found",
        "only astra env pack and deploys with requirements need it: apt install python3-venv");
}

static void check_ports(struct doctor *d)
{
    static const uint16_t ports[] = {7700, 7701, 8080, 8081};
    A_BUF_AUTO struct a_buf taken = {0};
    for (size_t i = 0; i < A_ARRAY_SIZE(ports); i++)
        if (!sys_probe_port(ports[i]))
            a_buf_addf(&taken, "%s%u", taken.len > 0 ? ", " : "", ports[i]);
    say(d, taken.len == 0 ? GOOD : WARNING, "ports",
        taken.len == 0 ? "7700, 7701, 8080 and 8081 are free"
                       : a_arena_printf(&d->c->arena, "taken: %s", taken.ptr),
        "fine if Astra itself runs here; else astra up --api, --gateway, ... name others");
}

static void check_server(struct doctor *d)
{
    struct wire_value *v;
    uint64_t then, now;
    int rc = cli_call(d->c, "GET", "/v1/version", NULL, &v);
    if (rc != 0) {
        say(d, WARNING, "server", a_arena_strdup(&d->c->arena, a_error_text(&d->c->error)),
            "astra up starts one on this machine");
        a_error_deinit(&d->c->error);
        return;
    }
    const char *version = cli_text(v, "version");
    say(d, GOOD, "server", a_arena_printf(&d->c->arena, "answers at %s", d->c->address), "");
    say(d, strcmp(version, ASTRA_VERSION) == 0 ? GOOD : WARNING, "versions",
        a_arena_printf(&d->c->arena, "astra %s, server %s", ASTRA_VERSION, version),
        "upgrade: servers first, then gateways, then agents and this program");
    if (!sys_clock_parse(wire_value_view(wire_value_get(v, "time")), &then))
        return;
    now = sys_clock_wall_ms();
    uint64_t off = now > then ? now - then : then - now;
    say(d, off <= CLOCK_WANTED_MS ? GOOD : WARNING, "clock",
        a_arena_printf(&d->c->arena, "%" PRIu64 " ms from the server's", off),
        "only ages and times that people read are wrong: run an NTP client");
}

int cli_doctor(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "doctor",
        .args = "",
        .summary = "Looks for what would keep Astra from working on this machine, and says what to do.",
        .more = "Status 1 when something must be done; warnings alone are status 0."};
    struct cli c = {0};
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    struct doctor d = {.c = &c, .list = wire_value_new_array(&c.arena), .colour = cli_has_colour(stdout)};
    check_machine(&d);
    check_limits(&d);
    check_disk(&d);
    check_ports(&d);
    check_server(&d);
    if (c.json)
        cli_print_json(d.list);
    (void)!cli_end(&c, 0);
    return d.bad > 0 ? 1 : 0;
}
