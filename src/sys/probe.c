#include "sys/probe.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
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
