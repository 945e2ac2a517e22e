#include "cli/python.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/process.h"

#define ARGS_MAX 64
#define ENV_MAX 4096

static bool folder_has_it(const char *folder)
{
    A_AUTOFREE char *file = sys_path_join(folder, "astra/envpack/__main__.py");
    return sys_file_exists(file);
}

int cli_python_find(struct a_arena *arena, const char **ret_folder, struct a_error *reterr)
{
    A_AUTOFREE char *self = NULL;
    const char *libdir = sys_env_get("ASTRA_LIBDIR");
    int rc = sys_path_self(&self, reterr);
    if (rc != 0)
        return rc;
    size_t bin = (size_t)(strrchr(self, '/') - self);
    const char *places[] = {
        libdir != NULL ? a_arena_printf(arena, "%s/python", libdir) : "",
        a_arena_printf(arena, "%.*s/../lib/astra/python", (int)bin, self), /* installed: PREFIX/bin */
        a_arena_printf(arena, "%.*s/../../python", (int)bin, self),        /* built: SOURCE/build/src */
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(places); i++) {
        if (places[i][0] == '\0' || !folder_has_it(places[i]))
            continue;
        *ret_folder = places[i];
        return 0;
    }
    return a_fail(
        reterr, -ENOENT, A_CODE_INTERNAL,
        "the Python package astra.envpack is not beside %s (%s); ASTRA_LIBDIR=DIR says where lib/astra is",
        self, places[1]);
}

/* Ours, with PYTHONPATH led by `folder`. */
static const char *const *environment_make(struct a_arena *arena, const char *folder)
{
    const char *const *ours = sys_env_all(), *old = sys_env_get("PYTHONPATH");
    const char **env = a_arena_alloc(arena, (ENV_MAX + 2) * sizeof *env);
    size_t n = 0;
    for (size_t i = 0; ours[i] != NULL && n < ENV_MAX; i++)
        if (strncmp(ours[i], "PYTHONPATH=", 11) != 0)
            env[n++] = ours[i];
    env[n++] = old != NULL ? a_arena_printf(arena, "PYTHONPATH=%s:%s", folder, old)
                           : a_arena_printf(arena, "PYTHONPATH=%s", folder);
    env[n] = NULL;
    return env;
}

static int child_wait(int pidfd, int *ret_status, struct a_error *reterr)
{
    struct sys_exit e;
    int rc = sys_process_wait(pidfd, true, &e);
    sys_fd_close(pidfd);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "wait for python3");
    *ret_status = e.signal != 0 ? 128 + e.signal : e.code;
    return 0;
}

int cli_python_envpack(struct cli_call *c, const char *const *args, const char *out, int *ret_status,
                       struct a_error *reterr)
{
    const char *argv[ARGS_MAX] = {"python3", "-m", "astra.envpack"}, *folder;
    size_t n = 3;
    int pidfd = -1;
    SYS_FD_AUTO int fd = -1;
    struct sys_proc_id id;
    while (args[n - 3] != NULL && n + 1 < ARGS_MAX) {
        argv[n] = args[n - 3];
        n++;
    }
    int rc = cli_python_find(c->arena, &folder, reterr);
    if (rc == 0 && out != NULL)
        rc = sys_file_append_open(out, 0600, &fd, reterr);
    if (rc != 0)
        return rc;
    const struct sys_fd_map fds[] = {{fd, 1}};
    const struct sys_spawn_options options = {.argv = argv,
                                              .env = environment_make(c->arena, folder),
                                              .fds = fds,
                                              .n_fds = out != NULL ? 1 : 0,
                                              .inherit_stdio = true,
                                              .parent_death_sig = SIGTERM};
    rc = sys_spawn(&options, &id, &pidfd, reterr);
    if (rc == -ENOENT)
        return a_fail(reterr, rc, A_CODE_INTERNAL, "python3 is not on PATH: environments are packed with it");
    return rc != 0 ? rc : child_wait(pidfd, ret_status, reterr);
}
