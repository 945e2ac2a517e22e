/* astra doctor: what would keep Astra from working here, each with what to do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/probe.h"

#define NOFILE_WANTED 4096         /* a gateway holds two descriptors a request */
#define DISK_WANTED (10ull << 30)  /* an environment with Ray is half a GiB unpacked; models come on top */
#define SHM_WANTED (512ull << 20)  /* object stores of a few units */
#define MEMORY_WANTED (4ull << 30) /* Ray with Serve takes one GiB a unit */
#define CLOCK_WANTED_MS 5000

enum verdict { GOOD, WARNING, PROBLEM };

struct doctor {
    struct cli_call *c;
    struct wire_value *list;
    unsigned problems;
};

static void say(struct doctor *d, enum verdict verdict, const char *check, const char *found,
                const char *advice)
{
    static const char *const words[] = {"ok", "warning", "problem"};
    struct a_arena *a = d->c->arena;
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set_string(a, v, "check", check);
    wire_value_set_string(a, v, "verdict", words[verdict]);
    wire_value_set_string(a, v, "found", found);
    wire_value_set_string(a, v, "advice", verdict == GOOD ? NULL : advice);
    wire_value_append(d->list, v);
    d->problems += verdict == PROBLEM;
    if (d->c->json)
        return;
    printf("%-8s %-11s %s\n", words[verdict], check, found);
    if (verdict != GOOD)
        printf("%-8s %-11s %s\n", "", "", advice);
}

static void check_machine(struct doctor *d)
{
    bool namespaces = sys_probe_namespaces(), python = sys_probe_program("python3");
    char platform[128], glibc[32];
    sys_env_platform(platform, sizeof platform);
    sys_env_glibc(glibc, sizeof glibc);
    say(d, GOOD, "platform", a_arena_printf(d->c->arena, "%s, glibc %s", platform, glibc), "");
    say(d, namespaces ? GOOD : WARNING, "namespaces",
        namespaces ? "members get PID and mount namespaces of their own"
                   : "members get none of their own: not allowed here",
        "members then share this machine's processes; to allow them: sysctl "
        "kernel.unprivileged_userns_clone=1");
    say(d, python ? GOOD : WARNING, "python3", python ? "there" : "not on PATH",
        "needed to pack environments only: apt install python3-venv");
}

static void check_limits(struct doctor *d)
{
    struct a_arena *a = d->c->arena;
    uint64_t files = sys_env_raise_nofile(), memory = sys_env_memory_available();
    say(d, files >= NOFILE_WANTED ? GOOD : WARNING, "open files",
        a_arena_printf(a, "at most %" PRIu64, files),
        "a gateway needs two a request: ulimit -Hn, or LimitNOFILE= of the service");
    say(d, memory >= MEMORY_WANTED ? GOOD : WARNING, "memory",
        a_arena_printf(a, "%s available", cli_size(a, memory)), "a unit takes about a GiB before its models");
}

/* The folder, or the nearest one above it that is there. */
static const char *existing(struct a_arena *arena, const char *path)
{
    char *p = a_arena_strdup(arena, path), *slash;
    while (!sys_file_exists(p) && (slash = strrchr(p, '/')) != NULL && slash != p)
        *slash = '\0';
    return sys_file_exists(p) ? p : "/";
}

static void check_disk(struct doctor *d)
{
    struct a_arena *a = d->c->arena;
    const char *place = existing(a, cli_data_dir(d->c));
    uint64_t free_bytes, total;
    if (sys_disk_free(place, &free_bytes, &total, NULL) == 0)
        say(d, free_bytes >= DISK_WANTED ? GOOD : WARNING, "disk",
            a_arena_printf(a, "%s free at %s", cli_size(a, free_bytes), place),
            "environments and models need room: free some, or put the data folder elsewhere (--data)");
    bool there = sys_disk_free("/dev/shm", &free_bytes, &total, NULL) == 0;
    say(d,
        !there                     ? PROBLEM
        : free_bytes >= SHM_WANTED ? GOOD
                                   : WARNING,
        "/dev/shm", there ? a_arena_printf(a, "%s free", cli_size(a, free_bytes)) : "not there",
        "Ray's object stores lie there: mount a tmpfs, or a larger one (containers: --shm-size)");
}

static void check_ports(struct doctor *d, bool server)
{
    static const uint16_t ports[] = {7700, 7701, 8080, 8081};
    A_BUF_AUTO struct a_buf taken = {0};
    for (size_t i = 0; i < A_ARRAY_SIZE(ports); i++)
        if (!sys_probe_port(ports[i]))
            a_buf_addf(&taken, "%s%u", taken.len > 0 ? ", " : "", ports[i]);
    say(d, taken.len == 0 || server ? GOOD : WARNING, "ports",
        taken.len == 0 ? "7700, 7701, 8080 and 8081 are free"
                       : a_arena_printf(d->c->arena, "in use: %s", taken.ptr),
        "astra up takes these: end what holds them, or name others (astra up --help)");
}

static void check_clock(struct doctor *d, const struct wire_value *version)
{
    uint64_t theirs, ours = sys_clock_wall_ms();
    if (!sys_clock_parse(wire_value_view(wire_value_get(version, "time")), &theirs))
        return;
    uint64_t off = ours > theirs ? ours - theirs : theirs - ours;
    say(d, off <= CLOCK_WANTED_MS ? GOOD : WARNING, "clock",
        a_arena_printf(d->c->arena, "%" PRIu64 " ms from the server's", off),
        "ages and times that people read are off by that: run an NTP client");
}

/* Certificates are renewed by themselves: one that has ended tells of a node that cannot, or of a wrong
 * clock. */
static void check_identities(struct doctor *d)
{
    A_BUF_AUTO struct a_buf over = {0};
    struct wire_value *nodes;
    if (cli_list(d->c, "/v1/nodes", NULL, &nodes, NULL) != 0)
        return;
    wire_value_foreach(node, nodes)
    {
        if (wire_value_bool(wire_value_path(node, "identity.expired"), false))
            a_buf_addf(&over, "%s%s", over.len > 0 ? ", " : "", cli_cell(d->c->arena, node, "name"));
    }
    say(d, over.len == 0 ? GOOD : WARNING, "certificates",
        over.len == 0 ? "of all connected nodes are valid"
                      : a_arena_printf(d->c->arena, "have ended: %s", over.ptr),
        "these nodes run on; look at their clocks and logs (identity.*), and give them a join token again");
}

/* True when it answers. */
static bool check_server(struct doctor *d)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct a_arena *a = d->c->arena;
    struct wire_value *version;
    if (cli_get(d->c, "/v1/version", &version, &e) != 0) {
        say(d, WARNING, "server", a_arena_strdup(a, a_error_text(&e)),
            "`astra up` starts one on this machine");
        return false;
    }
    const char *theirs = cli_cell(a, version, "version");
    say(d, GOOD, "server", a_arena_printf(a, "answers at %s", d->c->server), "");
    say(d, strcmp(theirs, ASTRA_VERSION) == 0 ? GOOD : WARNING, "versions",
        a_arena_printf(a, "this program %s, the server %s", ASTRA_VERSION, theirs),
        "upgrade servers first, then gateways, then agents and this program");
    check_clock(d, version);
    check_identities(d);
    return true;
}

static int run(struct cli_call *c, struct a_error *reterr)
{
    struct doctor d = {.c = c, .list = wire_value_new_array(c->arena)};
    (void)reterr;
    check_machine(&d);
    check_limits(&d);
    check_disk(&d);
    bool server = check_server(&d);
    check_ports(&d, server);
    if (c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set(c->arena, v, "checks", d.list);
        cli_print_json(v);
    }
    return d.problems == 0 ? 0 : 1;
}

int cli_doctor(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "doctor",
        .about = "Looks for what would keep Astra from working on this machine, and says what to do",
        .more = "Exit status 1 when there is a problem; warnings alone are 0.\n",
        .run = run};
    return cli_command_run(&command, argc, argv);
}
