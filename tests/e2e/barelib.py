"""A bare machine on this one: a root of its own in mount, network, PID, IPC and UTS namespaces of their own. Of the host it has the
system's programs and libraries, less every Python, and what it is given; of the network nothing but its own loopback."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from proclib import wait_for

PREFIX, GIVEN, HOME = "/opt/astra", "/srv/given", "/home/stranger"
SPACES = [f"--{space}" for space in ("mount", "net", "pid", "ipc", "uts")]
FLAGS = [*SPACES, "--fork", "--propagation=private"]
# what is under /usr and must not be there: any Python, its libraries, and whatever somebody installed by hand
MASKED = ["/usr/local", "/usr/bin/python*", "/usr/bin/pip*", "/usr/lib/python*", "/usr/lib/*/libpython*", "/usr/share/python*"]

# As root in the new namespaces. Arguments: the new root's mount point, the folders that become PREFIX and GIVEN, what is masked. Says
# its pid as the host sees it when all is ready, then is the namespace's first process until its input ends: with it, the kernel ends
# the rest. HOME is in memory: what is unpacked there need not wait for a disk, neither when it is written nor when it is removed.
INIT = f"""
root=$1 prefix=$2 given=$3; shift 3
read -r pid _ </proc/self/stat
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc proc sys dev tmp run old .{PREFIX} .{GIVEN} .{HOME}
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L /$name ]; then cp -P /$name $name
    elif [ -d /$name ]; then mkdir $name; mount --bind -o ro /$name $name; fi
done
given_as() {{ mount --bind "$1" ".$2"; mount -o remount,bind,ro ".$2"; }}
given_as /usr /usr
given_as /etc /etc
given_as "$prefix" {PREFIX}
given_as "$given" {GIVEN}
mount -t tmpfs -o mode=755,size=8g tmpfs .{HOME}
for path in "$@"; do
    if [ -d "$path" ]; then mount -t tmpfs -o ro,mode=755 tmpfs ".$path"
    else mount --bind /dev/null ".$path"; fi
done
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for folder in dev/shm tmp; do mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs $folder; done
mount -o remount,ro dev
ip link set lo up
pivot_root . old
umount -l /old
cd /
mount -o remount,ro /
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run # the last one: mount itself leaves a folder there
echo "$pid"
exec 3<&0 </dev/null >/dev/null 2>&1
while read -r _ <&3; do :; done
"""

# Stays outside and outlives us by a moment: its first argument is the folder to be removed when the machine has ended.
CARETAKER = 'folder=$1; shift; unshare "$@"; rm -rf "$folder"'


def why_not():
    """Why such a machine cannot be made here; None when it can."""
    words = ["unshare", *FLAGS, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        return "util-linux is not installed"
    return None if done.returncode == 0 else f"namespaces are not permitted here: {done.stderr.strip()}"


def masked():
    """What exists of MASKED, links followed, without what lies below another of them or is not in the machine anyway."""
    found = {Path(path).resolve() for pattern in MASKED for path in glob.glob(pattern)}
    inside = [path for path in found if path.is_relative_to("/usr") and path.exists()]
    return sorted(path for path in inside if not found & set(path.parents))


class Machine:
    """`with Machine() as m`: it runs; m.prefix and m.given are the folders that it sees as PREFIX and GIVEN, read-only there. They and
    HOME are empty at first. When the block ends, or this process does, in whatever way, no process and no file of it is left."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="astra-bare-"))
        self.prefix, self.given = self.folder / "prefix", self.folder / "given"
        for path in (self.prefix, self.given, self.folder / "root"):
            path.mkdir()
        self.env = {"PATH": f"{PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME, "LANG": "C.UTF-8"}
        self.process = self.pid = None

    def __enter__(self):
        words = [*FLAGS, "--kill-child=KILL", "bash", "-eu", "-c", INIT, "init"]
        words += [self.folder / "root", self.prefix, self.given, *masked()]
        # in a session of its own: a Ctrl-C at the terminal is for us, who then end it
        self.process = subprocess.Popen(
            ["bash", "-c", CARETAKER, "caretaker", self.folder, *words], env=self.env, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = self.process.stdout.readline()
        if not said.strip().isdigit():
            raise RuntimeError(f"the machine did not start: {said}{self.process.communicate()[0]}")
        self.pid = int(said)
        return self

    def __exit__(self, *_):
        inside = self.processes()
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # the machine goes with it; what is left to remove is ours to do
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if inside:
            print("ended with the machine:", *(line[:200] for line in inside.values()), sep="\n  ")

    def root(self, path="/"):
        """A path inside, as this process can open it."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def run(self, *words, env=None, timeout_s=60):
        """A command inside to its end; output and status as of subprocess.run. It has the machine's environment and `env`, no more."""
        enter = ["nsenter", f"--target={self.pid}", *SPACES, "--root", f"--wd={self.root(HOME)}"]
        return subprocess.run(
            [*enter, *map(str, words)], env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=timeout_s,
        )  # fmt: skip

    def processes(self):
        """All that run inside but its first, members in namespaces of their own among them: pid inside -> command line."""
        found = {}
        for folder in self.root("/proc").glob("[0-9]*"):
            try:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip() or (folder / "comm").read_text()
            except OSError:
                continue
        found.pop(1, None)
        return found

    def files(self, *folders):
        """Everything below these folders, as the machine names it."""
        return [str(Path(folder) / path.relative_to(self.root(folder))) for folder in folders for path in self.root(folder).rglob("*")]

    def quiet(self, timeout_s=5):
        """The processes that are left when the last ones had their moment to be reaped."""
        try:
            wait_for("the last process", lambda: not self.processes(), timeout_s)
        except TimeoutError:
            pass
        return self.processes()
