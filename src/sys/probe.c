#include "sys/probe.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/process.h"

static bool runs(const struct sys_spawn_options *options)
{
    struct sys_proc_id id;
    struct sys_exit end;
    int pidfd = -1;
    if (sys_spawn(options, &id, &pidfd, NULL) != 0)
        return false;
    int rc = sys_process_wait(pidfd, true, &end);
    sys_fd_close(pidfd);
    return rc == 0 && end.signal == 0 && end.code == 0;
}

bool sys_probe_namespaces(void)
{
    const char *const argv[] = {"true", NULL};
    int flags = CLONE_NEWPID | CLONE_NEWNS;
    const struct sys_spawn_options options = {.argv = argv,
                                              .clone_flags = geteuid() == 0 ? flags : flags | CLONE_NEWUSER};
    return runs(&options);
}

bool sys_probe_program(const char *name)
{
    const char *const argv[] = {name, "--version", NULL};
    return runs(&(const struct sys_spawn_options){.argv = argv});
}

bool sys_probe_port(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SYS_FD_AUTO int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return false;
    return bind(fd, (const struct sockaddr *)&addr, sizeof addr) == 0;
}

enum sys_cgroup sys_probe_cgroup(void)
{
    A_BUF_AUTO struct a_buf text = {0};
    char path[512];
    if (access("/sys/fs/cgroup/cgroup.controllers", R_OK) != 0 ||
        sys_file_read("/proc/self/cgroup", 1 << 16, &text, NULL) != 0)
        return SYS_CGROUP_NONE;
    const char *own = strstr(text.ptr, "0::");
    if (own == NULL)
        return SYS_CGROUP_NONE;
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cgroup.procs", (int)strcspn(own + 3, "\n"), own + 3);
    return access(path, W_OK) == 0 ? SYS_CGROUP_DELEGATED : SYS_CGROUP_SEEN;
}

bool sys_probe_clock_kept(void)
{
    struct timex t = {0};
    return adjtimex(&t) >= 0 && (t.status & STA_UNSYNC) == 0;
}

/* The word after "Kernel Module" of /proc/driver/nvidia/version, or the first line of Ascend's. */
static void driver_read(const char *path, const char *after, char *out, size_t size)
{
    A_BUF_AUTO struct a_buf text = {0};
    out[0] = '\0';
    if (sys_file_read(path, 1 << 16, &text, NULL) != 0 || text.len == 0)
        return;
    const char *at = strstr(text.ptr, after);
    if (at == NULL)
        return;
    at += strlen(after);
    at += strspn(at, " \t:=");
    snprintf(out, size, "%.*s", (int)strcspn(at, " \t\n"), at);
}

enum sys_accelerator sys_probe_accelerator(char *ret_driver, size_t size)
{
    ret_driver[0] = '\0';
    if (access("/dev/nvidiactl", F_OK) == 0 || access("/proc/driver/nvidia/version", F_OK) == 0) {
        driver_read("/proc/driver/nvidia/version", "Kernel Module", ret_driver, size);
        return SYS_ACCELERATOR_NVIDIA;
    }
    if (access("/dev/davinci_manager", F_OK) == 0) {
        driver_read("/usr/local/Ascend/driver/version.info", "Version", ret_driver, size);
        return SYS_ACCELERATOR_ASCEND;
    }
    return SYS_ACCELERATOR_NONE;
}
