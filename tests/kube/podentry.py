"""Start one process as a container runtime would: podrunner.py runs this file as a program with the path of a JSON document.

With "root": a new container: mount, PID, UTS and IPC namespaces of its own, a fresh root of the host's system (read-only) and what
is mounted into it, the capabilities that containerd grants. The process is PID 1 there: signals that it did not ask for do not
reach it, and all dies with it. With "join": another process in the container whose first process has that pid (exec).

Says {"pid": N} or {"error": "..."} on its standard output and ends as the process did, 128 + N for signal N. It dies with its
parent, and its container with it."""

import ctypes
import json
import os
import signal
import sys
import warnings  # noqa: F401 - os.execvpe imports it, and in a container there may be no Python to import from

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
OWN = NEWNS | NEWUTS | NEWIPC | NEWPID
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PDEATHSIG, CAPBSET_DROP, NO_NEW_PRIVS = 1, 24, 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
FROM_ETC = ("ssl", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "services")
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def checked(value, what):
    if value != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    checked(LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {source or kind} on {target}")


def bind(source, target, read_only=False):
    """The target is made where it does not exist, as a file or a folder like the source."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mount(source, target, flags=BIND | REC)
    if read_only:
        mount(None, target, flags=BIND | REMOUNT | RDONLY)


def tmpfs(target, mode, size=None, flags=NOSUID | NODEV):
    os.makedirs(target, exist_ok=True)
    mount("tmpfs", target, "tmpfs", flags, f"mode={mode}" + (f",size={size}" if size else ""))


def make_dev(root, shm_bytes):
    tmpfs(f"{root}/dev", "755", "64k", NOSUID)
    for device in DEVICES:
        bind(f"/dev/{device}", f"{root}/dev/{device}")
    os.makedirs(f"{root}/dev/pts")
    mount("devpts", f"{root}/dev/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    for name, target in LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    tmpfs(f"{root}/dev/shm", "1777", shm_bytes)


def make_etc(root, spec):
    etc = f"{root}/etc"
    os.makedirs(etc)
    for name in FROM_ETC:
        if os.path.exists(f"/etc/{name}"):
            bind(f"/etc/{name}", f"{etc}/{name}", read_only=True)
    texts = {
        "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "group": "root:x:0:\nnogroup:x:65534:\n", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "hostname": spec["hostname"] + "\n", "hosts": f"127.0.0.1 localhost\n::1 localhost\n{spec['ip']} {spec['hostname']}\n",
        "resolv.conf": "",
    }  # fmt: skip
    for name, text in texts.items():
        with open(f"{etc}/{name}", "w") as file:
            file.write(text)


def make_root(spec):
    """The image is the host's /usr without what is masked, and what the runner's table says; all else is new and empty."""
    root = spec["root"]
    tmpfs(root, "755", flags=NODEV)
    for name in SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            bind(f"/{name}", f"{root}/{name}", read_only=True)
    bind("/usr", f"{root}/usr", read_only=True)
    for path in spec["masked"]:
        if os.path.isdir(path):
            mount("tmpfs", root + path, "tmpfs", RDONLY, "mode=755")
        else:
            mount("/dev/null", root + path, flags=BIND)
    for name in ("proc", "sys", "root", "home", "run", "opt", "srv", "var", "mnt"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        os.chmod(f"{root}/{name}", 0o1777)
    make_etc(root, spec)
    make_dev(root, spec["shm_bytes"])
    mount("/sys", f"{root}/sys", flags=BIND)
    mount(None, f"{root}/sys", flags=BIND | REMOUNT | RDONLY)
    for each in spec["mounts"]:
        bind(each["source"], root + each["target"], each["read_only"])


def enter_root(spec):
    root = spec["root"]
    mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    for path in ("sys", "sysrq-trigger", "irq", "bus"):
        if os.path.exists(f"{root}/proc/{path}"):
            bind(f"{root}/proc/{path}", f"{root}/proc/{path}", read_only=True)
    os.makedirs(f"{root}/.old")
    os.chdir(root)
    checked(LIBC.syscall(PIVOT_ROOT, b".", b".old"), "pivot_root")
    os.chdir("/")
    checked(LIBC.umount2(b"/.old", DETACH), "umount of the old root")
    os.rmdir("/.old")
    if spec["read_only_root"]:
        mount(None, "/", flags=BIND | REMOUNT | RDONLY)


def become(spec):
    """The user, the capabilities, the folder and the output that the container's processes have."""
    kept = {CAPABILITIES[name] for name in spec["capabilities"]}
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in kept:
            checked(LIBC.prctl(CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")
    if spec["no_new_privileges"]:
        checked(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    os.setgroups(spec["groups"])
    os.setgid(spec["gid"])
    os.setuid(spec["uid"])
    checked(LIBC.prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")  # another user's process has lost it
    os.umask(0o022)
    os.makedirs(spec["folder"], exist_ok=True)
    os.chdir(spec["folder"])
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)  # Python ignores SIGPIPE; programs do not expect that


def child(spec, log, report):
    os.setsid()
    if "root" in spec:
        name = spec["hostname"].encode()
        checked(LIBC.sethostname(name, len(name)), "sethostname")
        make_root(spec)
        enter_root(spec)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    become(spec)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.set_inheritable(report, False)
    try:
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        raise OSError(error.errno, f"exec {spec['argv'][0]}: {error.strerror}") from None


def enter_spaces(spec):
    if "join" in spec:
        target = os.pidfd_open(spec["join"])
        checked(LIBC.setns(target, OWN | NEWNET), "join the container")
        return
    if spec["network"]:
        space = os.open(spec["network"], os.O_RDONLY | os.O_CLOEXEC)
        checked(LIBC.setns(space, NEWNET), "join the network")
    checked(LIBC.unshare(OWN), "unshare")
    mount(None, "/", flags=REC | PRIVATE)


def main():
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        enter_spaces(spec)
    except OSError as error:
        print(json.dumps({"error": error.strerror or str(error)}), flush=True)
        return 128
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(spec, log, write)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side is to read it
            os.write(write, (getattr(error, "strerror", None) or repr(error)).encode())
        finally:
            os._exit(128)
    os.close(write)
    problem = os.read(read, 4096).decode(errors="replace")
    print(json.dumps({"error": problem} if problem else {"pid": pid}), flush=True)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
