/* The very start of an agent: what is installed looks which artifact it is to run from, and becomes it.
 *
 * What is installed is started first, always: by whoever starts agents (astra init, systemd, astra up), and
 * by an agent that is to be upgraded. So the way back from an artifact that does not work is that it ends:
 * then the installed executable is started again, and knows from DATA/agent/state what was tried. One that
 * neither works nor ends is ended by the kernel: the deadline is set here, passes over exec, and is cleared
 * by an agent that joined. No process stands by for that. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/choice.h"
#include "daemon/agent/inside.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/sha256.h"

#define TRIAL_S 30 /* of each try: an agent joins within 4 s */
#define STATE_MAX 65536
#define WORDS_MAX 256

char *d_agent_tree(const char *data, const struct a_digest *artifact)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(artifact, hex);
    return a_asprintf("%s/agent/%s", data, hex);
}

bool d_agent_tree_of(const char *data, const char *executable, struct a_digest *ret)
{
    A_AUTOFREE char *prefix = sys_path_join(data, "agent/");
    struct a_view rest, v = a_view_str(executable);
    if (!a_view_starts(v, prefix))
        return false;
    size_t skip = strlen(prefix);
    v = (struct a_view){v.ptr + skip, v.len - skip};
    return a_digest_parse(a_view_split(v, '/', &rest), ret);
}

int d_choice_load(const char *data, struct d_choice *ret, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(data, "agent/state");
    A_BUF_AUTO struct a_buf text = {0};
    *ret = (struct d_choice){.tries = 0};
    if (!sys_file_exists(path))
        return 0;
    int rc = sys_file_read(path, STATE_MAX, &text, reterr);
    return rc == 0 ? d_choice_parse(a_buf_view(&text), ret, reterr) : rc;
}

int d_choice_save(const char *data, const struct d_choice *c, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(data, "agent/state");
    A_BUF_AUTO struct a_buf text = {0};
    d_choice_print(c, &text);
    return sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
}

/* Returns only when it failed. */
static int become(const char *file, const char *installed, unsigned deadline_s, int argc, char **argv,
                  struct a_error *reterr)
{
    A_AUTOFREE char *mark = a_asprintf("%s=%s", D_AGENT_INSTALLED, installed);
    const char *words[WORDS_MAX] = {"astra"};
    const char *const *ours = sys_env_all();
    size_t n = 0, kept = 0;
    for (int i = 0; i < argc && i < WORDS_MAX - 2; i++)
        words[i + 1] = argv[i];
    while (ours[n] != NULL)
        n++;
    A_AUTOFREE const char **env = a_alloc_array(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (strncmp(ours[i], D_AGENT_INSTALLED "=", sizeof D_AGENT_INSTALLED) != 0)
            env[kept++] = ours[i];
    env[kept++] = mark;
    env[kept] = NULL;
    return sys_process_replace(file, words, env, deadline_s, reterr);
}

/* The artifact could not even be started. */
static void start_failed(const char *data, struct d_choice *c, bool trial, const struct a_error *why)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct d_choice_artifact what = trial ? c->trial : c->current;
    if (!trial)
        c->current = (struct d_choice_artifact){.number = 0};
    d_choice_fail(c, &what, A_REASON_UPGRADE_FAILED, a_error_text(why));
    sys_log(ERROR, "agent", "enter.failed", "an agent's artifact cannot be started",
            SYS_STR("version", what.version), SYS_ERR(why));
    if (d_choice_save(data, c, &e) < 0)
        sys_log(ERROR, "agent", "enter.save", "the state of upgrades cannot be written", SYS_ERR(&e));
}

/* One look at the state: false when the installed executable goes on as the agent. */
static bool step(const char *data, const char *self, const struct a_digest *own, int argc, char **argv)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct d_choice c;
    bool changed = false;
    if (d_choice_load(data, &c, &e) < 0) {
        sys_log(ERROR, "agent", "enter.state", "the state of upgrades cannot be read: what is installed runs",
                SYS_ERR(&e));
        return false;
    }
    enum d_choice_next next = d_choice_start(&c, own, &changed);
    /* a try that is not counted on disk might be tried for ever */
    if (changed && d_choice_save(data, &c, &e) < 0) {
        sys_log(ERROR, "agent", "enter.save", "the state of upgrades cannot be written", SYS_ERR(&e));
        next = a_digest_is_zero(&c.current.digest) ? D_CHOICE_INSTALLED : D_CHOICE_CURRENT;
        a_error_deinit(&e);
    }
    if (next == D_CHOICE_INSTALLED)
        return false;
    bool trial = next == D_CHOICE_TRIAL;
    A_AUTOFREE char *tree = d_agent_tree(data, trial ? &c.trial.digest : &c.current.digest);
    A_AUTOFREE char *file = sys_path_join(tree, ARTIFACT_AGENT_EXECUTABLE);
    sys_log_flush();
    int rc = become(file, self, trial ? TRIAL_S : 0, argc, argv, &e);
    if (rc < 0)
        start_failed(data, &c, trial, &e);
    return true;
}

void d_enter(const struct d_agent_options *o, int argc, char **argv)
{
    A_AUTOFREE char *state = a_asprintf("%s/agent/state", o->data != NULL ? o->data : ".");
    A_AUTOFREE char *lock = a_asprintf("%s/lock", o->data != NULL ? o->data : ".");
    A_AUTOFREE char *data = NULL;
    A_AUTOFREE char *self = NULL;
    struct a_digest own;
    uint64_t size;
    int lock_fd = -1;
    if (!sys_file_exists(state) || sys_path_real(o->data, &data, NULL) < 0 ||
        sys_path_self(&self, NULL) < 0 || d_agent_tree_of(data, self, &own) ||
        sys_sha256_file(self, &own, &size, NULL) < 0)
        return;
    /* another agent runs: what it tries is not ours to judge */
    if (sys_lock_take(lock, &lock_fd, NULL) < 0)
        return;
    while (step(data, self, &own, argc, argv)) {
    }
    sys_fd_close(lock_fd);
}

void d_enter_again(const char *installed, int argc, char **argv)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int ignored A_UNUSED = become(installed, installed, 0, argc, argv, &e);
    sys_log(ERROR, "agent", "enter.again", "the agent cannot start again by itself: it ends", SYS_ERR(&e));
}
