#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/alloc.h"
#include "daemon/up/end.h"
#include "daemon/up/options.h"
#include "daemon/up/up.h"
#include "sys/file.h"

#define LEAVE_MS 5000 /* for the supervisor to let go */

struct down {
    struct d_down_options options;
    struct d_up_layout layout;
    struct sys_loop *loop;
    struct sys_signal *sigint, *sigterm;
    int lock_fd;
    bool hurry;
};

static void signalled(void *ctx, int signum)
{
    (void)signum;
    ((struct down *)ctx)->hurry = true;
}

/* The supervisor goes first, or it would start again what is ended; it is told to leave its children. */
static int supervisor_end(struct down *d, struct d_up_end *end, struct a_error *reterr)
{
    struct sys_proc_id id;
    if (d_up_pid_read(&d->layout, D_UP_SELF, &id)) {
        int ignored A_UNUSED = sys_proc_kill(&id, SIGUSR1);
        if (!d_up_end_wait(end, &id, LEAVE_MS))
            ignored = sys_proc_kill(&id, SIGKILL);
        printf("ended astra up (pid %ld)\n", (long)id.pid);
        end->ended++;
        d->hurry = false;
        if (!d_up_end_wait(end, &id, LEAVE_MS))
            return a_fail(reterr, -EBUSY, A_CODE_OS, "astra up (pid %ld) does not end", (long)id.pid);
    }
    int rc = sys_lock_take(d->layout.lock, &d->lock_fd, reterr);
    return rc == -EWOULDBLOCK ? a_fail(reterr, rc, A_CODE_CONFLICT,
                                       "another astra up begins or ends with %s just now", d->layout.data)
                              : rc;
}

static int down_open(struct down *d, struct a_error *reterr)
{
    int rc = d_up_layout_open(d->options.data, false, &d->layout, reterr);
    if (rc == 0)
        rc = sys_loop_new(&d->loop, reterr);
    if (rc == 0)
        rc = sys_signal_open(d->loop, SIGINT, signalled, d, &d->sigint, reterr);
    if (rc == 0)
        rc = sys_signal_open(d->loop, SIGTERM, signalled, d, &d->sigterm, reterr);
    return rc;
}

static int down_run(struct down *d, struct a_error *reterr)
{
    struct d_up_end end = {.loop = d->loop, .layout = &d->layout, .hurry = &d->hurry};
    int rc = supervisor_end(d, &end, reterr);
    if (rc == 0)
        rc = d_up_end_run(&end, reterr);
    if (rc < 0)
        return rc;
    if (d->options.purge)
        rc = d_up_end_purge(&d->layout, reterr);
    if (rc < 0)
        return rc;
    if (d->options.purge)
        printf("removed the data in %s\n", d->layout.data);
    else
        printf("%s; apps, artifacts and logs are kept in %s\n",
               end.ended > 0 ? "nothing of it runs any more" : "nothing ran", d->layout.data);
    return 0;
}

static void down_close(struct down *d)
{
    sys_signal_close(d->sigint);
    sys_signal_close(d->sigterm);
    sys_loop_free(d->loop);
    d_up_layout_deinit(&d->layout);
    sys_fd_close(d->lock_fd);
}

int d_down_main(int argc, char **argv)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct down d = {.lock_fd = -1};
    int rc = d_down_options_read(argc, argv, &d.options, &e);
    if (rc == 1)
        return 0;
    if (rc < 0) {
        fprintf(stderr, "astra down: %s\n", a_error_text(&e));
        return 2;
    }
    rc = down_open(&d, &e);
    if (rc == -ENOENT) { /* nothing was ever made there */
        printf("nothing ran\n");
        rc = 0;
    } else if (rc == 0) {
        rc = down_run(&d, &e);
    }
    if (rc < 0)
        fprintf(stderr, "astra down: %s\n", a_error_text(&e));
    down_close(&d);
    return rc < 0 ? a_code_exit(e.code) : 0;
}
