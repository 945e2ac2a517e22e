/* astra env pack: the environment packer is a Python program beside the executable. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/app_file.h"
#include "cli/commands.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/process.h"

/* Where astra/envpack lies: LIBDIR/python, then lib/astra/python beside bin/, then the source tree's python/.
 */
static const char *python_path(struct cli *c, const char *libdir)
{
    char *self = NULL;
    if (libdir == NULL)
        libdir = sys_env_get("ASTRA_LIBDIR");
    if (libdir != NULL)
        return a_arena_printf(&c->arena, "%s/python", libdir);
    if (sys_path_self(&self, NULL) != 0)
        return NULL;
    const char *exe = a_arena_strdup(&c->arena, self);
    a_free(self);
    const char *slash = strrchr(exe, '/');
    const char *dir = a_arena_strndup(&c->arena, exe, slash != NULL ? (size_t)(slash - exe) : 0);
    const char *const places[] = {"../lib/astra/python", "../../python", "../python"};
    for (size_t i = 0; i < A_ARRAY_SIZE(places); i++) {
        const char *path = a_arena_printf(&c->arena, "%s/%s", dir, places[i]);
        if (sys_file_exists(a_arena_printf(&c->arena, "%s/astra/envpack/__main__.py", path)))
            return path;
    }
    return NULL;
}

/* Runs the packer with these words and our terminal; its exit status, or -errno. */
static int packer_run(struct cli *c, const char *libdir, const char *const *words, size_t n,
                      bool quiet_stdout)
{
    const char *argv[64] = {"python3", "-m", "astra.envpack"}, *env[512];
    const char *path = python_path(c, libdir), *old = sys_env_get("PYTHONPATH");
    struct sys_proc_id id;
    struct sys_exit end;
    int pidfd = -1;
    size_t n_env = 0;
    if (path == NULL)
        return a_fail(
            &c->error, -ENOENT, A_CODE_OS,
            "the environment packer is not beside this executable: --libdir or ASTRA_LIBDIR name lib/astra");
    for (size_t i = 0; i < n && i + 4 < A_ARRAY_SIZE(argv); i++)
        argv[i + 3] = words[i];
    for (const char *const *e = sys_env_all(); *e != NULL && n_env + 2 < A_ARRAY_SIZE(env); e++)
        if (strncmp(*e, "PYTHONPATH=", 11) != 0)
            env[n_env++] = *e;
    env[n_env++] =
        a_arena_printf(&c->arena, "PYTHONPATH=%s%s%s", path, old != NULL ? ":" : "", old != NULL ? old : "");
    env[n_env] = NULL;
    const struct sys_fd_map to_stderr = {2, 1};
    const struct sys_spawn_options options = {.argv = argv,
                                              .env = env,
                                              .inherit_stdio = true,
                                              .fds = quiet_stdout ? &to_stderr : NULL,
                                              .n_fds = quiet_stdout ? 1 : 0};
    int rc = sys_spawn(&options, &id, &pidfd, &c->error);
    if (rc != 0)
        return rc == -ENOENT
                   ? a_fail(&c->error, rc, A_CODE_OS, "python3 is not installed: it packs environments")
                   : rc;
    rc = sys_process_wait(pidfd, true, &end);
    sys_fd_close(pidfd);
    return rc != 0 ? rc : end.signal != 0 ? 130 : end.code;
}

int cli_env_pack(struct cli *c, const char *libdir, const char *requirements, const char *python,
                 const char *index, const char **ret_path)
{
    const char *cache = sys_env_get("XDG_CACHE_HOME"), *home = sys_env_get("HOME");
    const char *dir = cache != NULL
                          ? a_arena_printf(&c->arena, "%s/astra/env", cache)
                          : a_arena_printf(&c->arena, "%s/.cache/astra/env", home != NULL ? home : "/tmp");
    const char *words[16] = {"pack", requirements, "--cache", dir};
    size_t n = 4;
    int rc = sys_dir_make(dir, 0700, &c->error);
    if (rc != 0)
        return rc;
    /* One name per list of requirements: two deploys of one app at once must not write one file. */
    *ret_path = a_arena_printf(&c->arena, "%s/deploy-%" PRIu64 ".tar.zst", dir, sys_clock_mono_ns());
    words[n++] = "-o";
    words[n++] = *ret_path;
    if (python != NULL) {
        words[n++] = "--python";
        words[n++] = python;
    }
    if (index != NULL) {
        words[n++] = "--index";
        words[n++] = index;
    }
    rc = packer_run(c, libdir, words, n, true);
    if (rc > 0)
        return a_fail(&c->error, -EIO, A_CODE_INVALID, "the environment could not be packed (exit status %d)",
                      rc);
    return rc;
}

int cli_env(int argc, char **argv)
{
    struct cli c = {.command = &(const struct cli_command){.name = "env"}};
    const char *words[60];
    size_t n = 0;
    for (int i = 1; i < argc && n < A_ARRAY_SIZE(words); i++)
        words[n++] = argv[i];
    if (n == 0)
        words[n++] = "--help";
    int rc = packer_run(&c, NULL, words, n, false);
    if (rc < 0)
        return cli_end(&c, rc);
    (void)!cli_end(&c, 0);
    return rc;
}
