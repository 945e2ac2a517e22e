/* astra upgrade [push|status|stop]: agents go over to another build of Astra, in place. push packs an
 * installation (src/artifact/agent.h) and uploads it; without a word, nodes are upgraded. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "artifact/agent.h"
#include "artifact/pack.h"
#include "base/alloc.h"
#include "cli/package.h"
#include "cli/table.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/terminal.h"

#define POLL_MS 300
#define TIMEOUT_MS (60ull * 60 * 1000)
#define PATH "/v1/upgrade"

/* ---- push ---- */

struct copy {
    const char *from, *to;
    struct a_error *reterr;
};

static int tree_copy(const char *from, const char *to, struct a_error *reterr);

/* A link to an absolute path leads out of the installation: what is there is copied in its place. */
static int link_copy(const char *from, const char *to, struct a_error *reterr)
{
    A_AUTOFREE char *target = NULL;
    struct sys_stat st;
    int rc = sys_link_read(from, &target, reterr);
    if (rc == 0 && target[0] != '/')
        return sys_symlink_replace(target, to, reterr);
    A_AUTOFREE char *real = NULL;
    if (rc == 0)
        rc = sys_path_real(from, &real, reterr);
    if (rc == 0)
        rc = sys_file_stat(real, &st, reterr);
    if (rc != 0)
        return rc;
    return st.is_dir ? tree_copy(real, to, reterr) : sys_file_copy(real, to, st.mode & 0777, reterr);
}

static int entry_copy(void *ctx, const char *name, bool is_dir)
{
    const struct copy *k = ctx;
    A_AUTOFREE char *from = sys_path_join(k->from, name);
    A_AUTOFREE char *to = sys_path_join(k->to, name);
    struct sys_stat st;
    int rc = sys_file_stat(from, &st, k->reterr);
    if (rc != 0)
        return rc;
    if (st.is_link)
        return link_copy(from, to, k->reterr);
    return is_dir ? tree_copy(from, to, k->reterr) : sys_file_copy(from, to, st.mode & 0777, k->reterr);
}

static int tree_copy(const char *from, const char *to, struct a_error *reterr)
{
    struct copy k = {from, to, reterr};
    int rc = sys_dir_make(to, 0755, reterr);
    return rc == 0 ? sys_dir_list(from, entry_copy, &k, reterr) : rc;
}

/* An installation, as agents unpack it: the executable, what stands beside it, and what it is. */
static int stage_fill(const char *stage, const char *executable, const struct artifact_agent *agent,
                      struct a_error *reterr)
{
    A_AUTOFREE char *bin = sys_path_join(stage, "bin");
    A_AUTOFREE char *to = sys_path_join(stage, ARTIFACT_AGENT_EXECUTABLE);
    A_AUTOFREE char *manifest = sys_path_join(stage, ARTIFACT_AGENT_FILE);
    A_AUTOFREE char *beside =
        a_asprintf("%.*s/../lib/astra", (int)(strrchr(executable, '/') - executable), executable);
    A_AUTOFREE char *lib = sys_path_join(stage, "lib");
    A_AUTOFREE char *lib_astra = sys_path_join(lib, "astra");
    A_BUF_AUTO struct a_buf text = {0};
    artifact_agent_print(agent, &text);
    int rc = sys_file_write_atomic(manifest, text.ptr, text.len, 0644, reterr);
    if (rc == 0)
        rc = sys_dir_make(bin, 0755, reterr);
    if (rc == 0)
        rc = sys_file_copy(executable, to, 0755, reterr);
    if (rc != 0 || !sys_file_exists(beside))
        return rc;
    rc = sys_dir_make(lib, 0755, reterr);
    return rc == 0 ? tree_copy(beside, lib_astra, reterr) : rc;
}

static const char *artifact_name(struct cli_call *c, const struct artifact_agent *agent)
{
    bool arm = strcmp(agent->platform, "linux-aarch64") == 0;
    return a_arena_printf(c->arena, "agent-%s@%s", arm ? "arm64" : "amd64", agent->version);
}

static void pushed_print(struct cli_call *c, const char *name, const char *digest,
                         const struct artifact_agent *agent, uint64_t bytes)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, v, "name", name);
    wire_value_set_string(c->arena, v, "version", agent->version);
    wire_value_set_string(c->arena, v, "platform", agent->platform);
    wire_value_set_string(c->arena, v, "glibc", agent->glibc);
    wire_value_set_string(c->arena, v, "digest", digest);
    wire_value_set_int(c->arena, v, "bytes", (int64_t)bytes);
    if (c->json)
        cli_print_json(v);
    else
        printf("%s is %s, for %s with glibc %s, %s\n", name, cli_size(c->arena, bytes), agent->platform,
               agent->glibc, digest);
}

static int stage_push(struct cli_call *c, const char *folder, const char *executable,
                      const struct artifact_agent *agent, struct a_error *reterr)
{
    A_AUTOFREE char *stage = sys_path_join(folder, "agent");
    A_AUTOFREE char *archive = sys_path_join(folder, "agent.tar.zst");
    const char *name = artifact_name(c, agent);
    struct artifact_packed packed = {.bytes = 0};
    struct cli_progress progress;
    char hex[A_DIGEST_HEX + 1];
    cli_progress_init(&progress, c->json);
    int rc = sys_dir_make(stage, 0755, reterr);
    if (rc == 0)
        rc = stage_fill(stage, executable, agent, reterr);
    if (rc == 0)
        rc = artifact_pack(stage, archive, NULL, &packed, reterr);
    if (rc != 0)
        return rc;
    a_digest_hex(&packed.digest, hex);
    const char *digest = a_arena_printf(c->arena, "sha256:%s", hex);
    rc = cli_artifact_send(c, "default", name, archive, digest, &progress, NULL, reterr);
    if (rc == 0)
        pushed_print(c, name, digest, agent, packed.bytes);
    return rc;
}

static int push_run(struct cli_call *c, struct a_error *reterr)
{
    const char *tmp = sys_env_get("TMPDIR");
    A_AUTOFREE char *prefix = a_asprintf("%s/astra-upgrade-", tmp != NULL ? tmp : "/tmp");
    A_AUTOFREE char *executable = NULL;
    A_AUTOFREE char *folder = NULL;
    struct artifact_agent agent;
    int rc = c->words.n > 0 ? sys_path_real(c->words.items[0], &executable, reterr)
                            : sys_path_self(&executable, reterr);
    if (rc == 0)
        rc = artifact_agent_read(executable, &agent, reterr);
    if (rc == 0)
        rc = sys_dir_make_temp(prefix, &folder, reterr);
    if (rc == 0)
        rc = stage_push(c, folder, executable, &agent, reterr);
    if (folder != NULL)
        (void)!sys_dir_remove(folder, NULL);
    return rc;
}

/* ---- how far it is ---- */

static int64_t count(const struct wire_value *upgrade, const char *key)
{
    return wire_value_int(wire_value_get(wire_value_get(upgrade, "nodes"), key), 0);
}

static bool state_is(const struct wire_value *upgrade, const char *state)
{
    return strcmp(wire_value_string(wire_value_get(upgrade, "state"), ""), state) == 0;
}

static const char *summary(struct a_arena *arena, const struct wire_value *u)
{
    const char *text =
        a_arena_printf(arena, "%" PRId64 " upgraded, %" PRId64 " under way, %" PRId64 " to go",
                       count(u, "upgraded"), count(u, "underWay"), count(u, "left") + count(u, "waiting"));
    static const struct {
        const char *key, *words;
    } more[] = {
        {"failed", "failed"}, {"newer", "newer"}, {"withoutArtifact", "without an artifact for them"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(more); i++)
        if (count(u, more[i].key) > 0)
            text = a_arena_printf(arena, "%s, %" PRId64 " %s", text, count(u, more[i].key), more[i].words);
    return text;
}

static void upgrade_print(struct cli_call *c, const struct wire_value *u)
{
    const char *cluster = cli_cell(c->arena, u, "cluster");
    struct cli_table t = {.arena = c->arena};
    if (c->json) {
        cli_print_json(u);
        return;
    }
    if (state_is(u, "NONE")) {
        printf("no upgrade was asked for yet\n");
        return;
    }
    printf("agents to %s%s%s: %s; %s\n", cli_cell(c->arena, u, "version"), cluster[0] != '\0' ? " in " : "",
           cluster, cli_cell(c->arena, u, "state"), summary(c->arena, u));
    if (state_is(u, "STOPPED"))
        printf("it stopped: %s\n", cli_cell(c->arena, u, "message"));
    if (wire_value_count(wire_value_get(u, "failed")) == 0)
        return;
    cli_table_row(&t, "NODE", "FAILED BECAUSE", NULL);
    wire_value_foreach(n, wire_value_get(u, "failed"))
        cli_table_row(&t, cli_node_name(c->arena, wire_value_get(n, "cluster"), wire_value_get(n, "name")),
                      cli_cell(c->arena, n, "message"), NULL);
    cli_print_table(&t);
}

static int status_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *u;
    int rc = cli_get(c, PATH, &u, reterr);
    if (rc == 0)
        upgrade_print(c, u);
    return rc;
}

static int stop_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *u;
    int rc = cli_request(c, "DELETE", PATH, NULL, NULL, &u, reterr);
    if (rc == 0)
        upgrade_print(c, u);
    return rc;
}

/* ---- upgrade ---- */

struct args {
    const char *version, *artifact, *cluster;
    uint64_t pace, timeout_ms;
    bool downgrade, wait;
};

static const struct cli_option options[] = {
    {"version", 0, CLI_TEXT, offsetof(struct args, version), "V",
     "of those that were pushed (default: the last one)", false},
    {"artifact", 0, CLI_TEXT, offsetof(struct args, artifact), "DIGEST", "this very build, sha256:HEX",
     false},
    {"cluster", 0, CLI_TEXT, offsetof(struct args, cluster), "C", "only the nodes of this one", false},
    {"pace", 0, CLI_NUMBER, offsetof(struct args, pace), "N",
     "nodes at a time (default: a tenth of a cluster)", false},
    {"downgrade", 0, CLI_FLAG, offsetof(struct args, downgrade), NULL, "newer agents go back to it, too",
     false},
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until no node is left, or it stops", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 1h)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static struct wire_value *wish_make(const struct cli_call *c)
{
    const struct args *args = c->args;
    struct wire_value *v = wire_value_new_object(c->arena);
    const struct {
        const char *key, *value;
    } texts[] = {{"version", args->version}, {"artifact", args->artifact}, {"cluster", args->cluster}};
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++)
        if (texts[i].value != NULL)
            wire_value_set_string(c->arena, v, texts[i].key, texts[i].value);
    wire_value_set_int(c->arena, v, "pace", (int64_t)A_MIN(args->pace, (uint64_t)INT32_MAX));
    wire_value_set_bool(c->arena, v, "downgrade", args->downgrade);
    return v;
}

/* *ret: as it is at the end. */
static int upgrade_wait(struct cli_call *c, struct wire_value **ret, struct a_error *reterr)
{
    const struct args *args = c->args;
    uint64_t start = sys_clock_mono_ms(), timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : TIMEOUT_MS;
    int64_t number = wire_value_int(wire_value_get(*ret, "number"), 0);
    const char *said = "";
    struct cli_progress progress;
    cli_progress_init(&progress, c->json);
    sys_interrupt_catch();
    for (;;) {
        const char *text = summary(c->arena, *ret);
        if (strcmp(text, said) != 0)
            cli_progress_say(&progress, "%s %s", cli_clock(c->arena, NULL), text);
        said = text;
        if (!state_is(*ret, "RUNNING") && count(*ret, "underWay") == 0)
            return 0;
        if (sys_clock_mono_ms() - start >= timeout_ms)
            return a_fail(reterr, -ETIMEDOUT, A_CODE_TIMEOUT, "not done after %" PRIu64 " s; it goes on",
                          timeout_ms / 1000);
        if (!cli_sleep_ms(POLL_MS))
            return -EINTR;
        int rc = cli_get(c, PATH, ret, reterr);
        if (rc != 0 && rc != -ECONNREFUSED && rc != -ECONNRESET && rc != -ETIMEDOUT)
            return rc;
        if (rc == 0 && wire_value_int(wire_value_get(*ret, "number"), 0) != number)
            return a_fail(reterr, -EBUSY, A_CODE_CONFLICT, "another upgrade was asked for meanwhile");
    }
}

static int upgrade_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct wire_value *u;
    int rc = cli_request(c, "PUT", PATH, wish_make(c), NULL, &u, reterr);
    if (rc == 0 && args->wait)
        rc = upgrade_wait(c, &u, reterr);
    if (rc == -EINTR) {
        fprintf(stderr,
                "\nastra upgrade: not waiting any longer; it goes on (`astra upgrade stop` ends it)\n");
        return CLI_EXIT_INTERRUPTED;
    }
    if (rc != 0)
        return rc;
    upgrade_print(c, u);
    return args->wait && (!state_is(u, "DONE") || count(u, "failed") > 0) ? 1 : 0;
}

int cli_upgrade(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "upgrade",
        .about = "Agents go over to another build, in place: a tenth of a cluster's nodes at a time",
        .options = options,
        .args_size = sizeof(struct args),
        .more = "astra upgrade push [FILE]   packs and uploads this program, or the astra that is FILE\n"
                "astra upgrade status        how far it is\n"
                "astra upgrade stop          no more nodes are upgraded\n",
        .run = upgrade_run};
    static const struct cli_command commands[] = {
        {.name = "upgrade push",
         .words = "[FILE]",
         .about = "Packs an installation of Astra and uploads it for agents",
         .max_words = 1,
         .run = push_run},
        {.name = "upgrade status", .about = "Shows how far the upgrade of agents is", .run = status_run},
        {.name = "upgrade stop", .about = "Upgrades no more nodes", .run = stop_run},
    };
    if (argc < 2 || argv[1][0] == '-')
        return cli_command_run(&command, argc, argv);
    return cli_group_run("upgrade", commands, A_ARRAY_SIZE(commands), argc, argv);
}
