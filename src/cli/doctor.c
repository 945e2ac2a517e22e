/* astra doctor: what would keep Astra from working here, each with what to do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/probe.h"

#define NOFILE_WANTED 4096         /* a gateway holds two descriptors a request */
#define NOFILE_LEAST 1024          /* below, Ray itself does not start */
#define NPROC_WANTED 4096          /* Ray with Serve has some hundred threads a unit */
#define DISK_LEAST (1ull << 30)    /* an environment cannot be unpacked */
#define MEMORY_LEAST (1ull << 30)  /* not even one unit */
#define SHM_LEAST (64ull << 20)    /* the smallest object store is 80 MiB */
#define DISK_WANTED (10ull << 30)  /* an environment with Ray is half a GiB unpacked; models come on top */
#define SHM_WANTED (512ull << 20)  /* object stores of a few units */
#define MEMORY_WANTED (4ull << 30) /* Ray with Serve takes one GiB a unit */
#define CLOCK_WANTED_MS 5000
#define RAY_GLIBC_MINOR 28 /* of its manylinux packages */

enum verdict { OK, WARN, FAIL };

struct doctor {
    struct cli_call *c;
    struct wire_value *list;
    unsigned failed, warned;
};

static void say(struct doctor *d, enum verdict verdict, const char *check, const char *found,
                const char *advice)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    struct a_arena *a = d->c->arena;
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set_string(a, v, "check", check);
    wire_value_set_string(a, v, "verdict", words[verdict]);
    wire_value_set_string(a, v, "found", found);
    wire_value_set_string(a, v, "advice", verdict == OK ? NULL : advice);
    wire_value_append(d->list, v);
    d->failed += verdict == FAIL;
    d->warned += verdict == WARN;
    if (d->c->json)
        return;
    printf("%-5s %-14s %s\n", words[verdict], check, found);
    if (verdict != OK)
        printf("%-5s %-14s %s\n", "", "", advice);
}

static void check_machine(struct doctor *d)
{
    bool namespaces = sys_probe_namespaces(), python = sys_probe_program("python3");
    char platform[128], glibc[32];
    sys_env_platform(platform, sizeof platform);
    sys_env_glibc(glibc, sizeof glibc);
    say(d, OK, "platform", a_arena_printf(d->c->arena, "%s, glibc %s", platform, glibc), "");
    say(d, namespaces ? OK : WARN, "namespaces",
        namespaces ? "members get PID and mount namespaces of their own"
                   : "members get none of their own: not allowed here",
        "members then share this machine's processes; to allow them: sysctl "
        "kernel.unprivileged_userns_clone=1");
    say(d, python ? OK : WARN, "python3", python ? "there" : "not on PATH",
        "needed to pack environments only: apt install python3-venv");
}

static enum verdict enough(uint64_t have, uint64_t wanted, uint64_t least)
{
    return have >= wanted ? OK : have >= least ? WARN : FAIL;
}

static void check_limits(struct doctor *d)
{
    struct a_arena *a = d->c->arena;
    uint64_t files = sys_env_raise_nofile(), processes = sys_env_nproc(), memory = sys_env_memory_available();
    say(d, enough(files, NOFILE_WANTED, NOFILE_LEAST), "nofile",
        a_arena_printf(a, "at most %" PRIu64 " open files", files),
        "a gateway needs two a request, Ray 1024: ulimit -Hn, or LimitNOFILE= of the service");
    say(d, enough(processes, NPROC_WANTED, 0), "nproc",
        processes == UINT64_MAX ? "no limit of processes and threads"
                                : a_arena_printf(a, "at most %" PRIu64 " processes and threads", processes),
        "each unit has some hundred threads: ulimit -Hu, LimitNPROC= or TasksMax= of the service");
    say(d, enough(memory, MEMORY_WANTED, MEMORY_LEAST), "memory",
        a_arena_printf(a, "%s available", cli_size(a, memory)),
        "a unit takes about a GiB before its models: use a larger machine, or end what takes it");
}

/* Without a cgroup of its own a member is watched, and the offender killed, a little late. */
static void check_cgroup(struct doctor *d)
{
    static const char *const found[] = {[SYS_CGROUP_NONE] = "no cgroup v2 here",
                                        [SYS_CGROUP_SEEN] = "cgroup v2, not delegated to this user",
                                        [SYS_CGROUP_DELEGATED] = "cgroup v2, delegated"};
    enum sys_cgroup cgroup = sys_probe_cgroup();
    say(d, cgroup == SYS_CGROUP_DELEGATED ? OK : WARN, "cgroup", found[cgroup],
        "members' memory is then watched instead of limited by the kernel: Delegate=yes in the agent's "
        "service");
}

/* Ray comes with each app; what matters is what a Ray of somebody else holds, and whether Ray's wheels run
 * here. */
static void check_ray(struct doctor *d)
{
    static const uint16_t ports[] = {6379, 8265, 8000};
    A_BUF_AUTO struct a_buf taken = {0};
    char glibc[32];
    sys_env_glibc(glibc, sizeof glibc);
    for (size_t i = 0; i < A_ARRAY_SIZE(ports); i++)
        if (!sys_probe_port(ports[i]))
            a_buf_addf(&taken, "%s%u", taken.len > 0 ? ", " : "", ports[i]);
    uint64_t minor = 0;
    bool old =
        strncmp(glibc, "2.", 2) == 0 && a_text_u64(a_view_str(glibc + 2), &minor) && minor < RAY_GLIBC_MINOR;
    say(d,
        old             ? FAIL
        : taken.len > 0 ? WARN
                        : OK,
        "ray",
        old             ? a_arena_printf(d->c->arena, "glibc %s is too old for Ray's packages", glibc)
        : taken.len > 0 ? a_arena_printf(d->c->arena, "something has Ray's own ports: %s", taken.ptr)
                        : "comes with each app's environment; its own ports are free",
        old ? "Ray needs glibc 2.28 or newer"
            : "members use others, but a Ray that somebody started here takes memory and CPUs that Astra "
              "counts as free");
}

static void check_driver(struct doctor *d)
{
    struct a_arena *a = d->c->arena;
    char driver[128];
    enum sys_accelerator kind = sys_probe_accelerator(driver, sizeof driver);
    static const char *const names[] = {[SYS_ACCELERATOR_NONE] = "no accelerator",
                                        [SYS_ACCELERATOR_NVIDIA] = "NVIDIA",
                                        [SYS_ACCELERATOR_ASCEND] = "Ascend"};
    bool bare = kind != SYS_ACCELERATOR_NONE && driver[0] == '\0';
    say(d, bare ? WARN : OK, "driver",
        kind == SYS_ACCELERATOR_NONE
            ? "no accelerator here: models run on the CPU"
            : a_arena_printf(a, "%s%s%s", names[kind], bare ? ", no driver loaded" : ", driver ", driver),
        "devices without their driver are not used: install it and load its module");
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
        say(d, enough(free_bytes, DISK_WANTED, DISK_LEAST), "disk",
            a_arena_printf(a, "%s free at %s", cli_size(a, free_bytes), place),
            "environments and models need room: free some, or put the data folder elsewhere (--data)");
    bool there = sys_disk_free("/dev/shm", &free_bytes, &total, NULL) == 0;
    say(d, there ? enough(free_bytes, SHM_WANTED, SHM_LEAST) : FAIL, "/dev/shm",
        there ? a_arena_printf(a, "%s free", cli_size(a, free_bytes)) : "not there",
        "Ray's object stores lie there: mount a tmpfs, or a larger one (containers: --shm-size)");
}

static void check_ports(struct doctor *d, bool server)
{
    static const uint16_t ports[] = {7700, 7701, 8080, 8081};
    A_BUF_AUTO struct a_buf taken = {0};
    for (size_t i = 0; i < A_ARRAY_SIZE(ports); i++)
        if (!sys_probe_port(ports[i]))
            a_buf_addf(&taken, "%s%u", taken.len > 0 ? ", " : "", ports[i]);
    say(d, taken.len == 0 || server ? OK : WARN, "ports",
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
    say(d, off <= CLOCK_WANTED_MS ? OK : WARN, "server clock",
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
    say(d, over.len == 0 ? OK : WARN, "certificates",
        over.len == 0 ? "of all connected nodes are valid"
                      : a_arena_printf(d->c->arena, "have ended: %s", over.ptr),
        "these nodes run on; look at their clocks and logs (identity.*), and give them a join token again");
}

/* Whether something keeps this machine's clock. */
static void check_own_clock(struct doctor *d)
{
    bool kept = sys_probe_clock_kept();
    say(d, kept ? OK : WARN, "clock", kept ? "kept by an NTP client" : "nothing keeps it",
        "ages and times that people read drift, certificates seem over or not begun: run an NTP client");
}

/* True when it answers. */
static bool check_server(struct doctor *d)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct a_arena *a = d->c->arena;
    struct wire_value *version;
    if (cli_get(d->c, "/v1/version", &version, &e) != 0) {
        say(d, WARN, "server", a_arena_strdup(a, a_error_text(&e)), "`astra up` starts one on this machine");
        return false;
    }
    const char *theirs = cli_cell(a, version, "version");
    say(d, OK, "server", a_arena_printf(a, "answers at %s", d->c->server), "");
    say(d, strcmp(theirs, ASTRA_VERSION) == 0 ? OK : WARN, "versions",
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
    check_cgroup(&d);
    check_disk(&d);
    check_own_clock(&d);
    check_ray(&d);
    check_driver(&d);
    bool server = check_server(&d);
    check_ports(&d, server);
    if (c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set(c->arena, v, "checks", d.list);
        wire_value_set_int(c->arena, v, "failed", d.failed);
        wire_value_set_int(c->arena, v, "warned", d.warned);
        cli_print_json(v);
    }
    return d.failed == 0 ? 0 : 1;
}

int cli_doctor(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "doctor",
        .about = "Looks for what would keep Astra from working on this machine, and says what to do",
        .more = "Exit status 1 when a check fails; warnings alone are 0.\n",
        .run = run};
    return cli_command_run(&command, argc, argv);
}
