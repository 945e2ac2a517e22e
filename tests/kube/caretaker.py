"""Outlives the test that started it by a moment, and takes away what a node made on this machine: processes, containers, networks,
mounts, kernel settings, its folder. It is told by the end of its input, which comes also when the test is killed.

Run as a program it reads one line, {"folder": ..., "settings": {path: value}, "network": name}, and then waits."""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CNI_RESULTS = "/var/lib/cni/results"
TASKS = "state/io.containerd.runtime.v2.task"
CGROUPS = "/sys/fs/cgroup"


class Caretaker:
    """`with Caretaker(folder) as care`: leaving the block waits until everything is gone; care.leftovers() names what is not."""

    def __init__(self, folder, settings=None, network=None):
        self.told = {"folder": str(folder), "settings": settings or {}, "network": network}

    def __enter__(self):
        # a session of its own: a Ctrl-C at the terminal is for the test, which then ends it
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        self.process.stdin.write(json.dumps(self.told) + "\n")
        self.process.stdin.flush()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)

    def leftovers(self):
        """What is still there, as lines for people."""
        told, folder = self.told, self.told["folder"]
        found = [f"process {pid}" for pid in processes(folder)] + [f"mount {point}" for point in mounts_below(folder)]
        found += [f"network {path}" for path in networks(told["network"])] + ([folder] if os.path.exists(folder) else [])
        return found + [
            f"{path} is not {value.strip()}" for path, value in told["settings"].items() if Path(path).read_text() != value
        ]


def processes(folder):
    """Those whose command line names the folder, and the first process of each container that containerd keeps there."""
    mark, found = folder.encode() + b"/", set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.add(int(entry.name))
    for path in Path(folder).glob(f"{TASKS}/*/*/init.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.read_text())
            if Path(f"/proc/{pid}/root").exists() and path.parent.name in Path(f"/proc/{pid}/cgroup").read_text():
                found.add(pid)
    return found


def mounts_below(folder):
    """Deepest first."""
    with open("/proc/self/mounts") as file:
        points = [line.split()[1].replace("\\040", " ") for line in file]
    return sorted((point for point in points if point.startswith(folder + "/")), key=len, reverse=True)


def networks(name):
    """What CNI noted of each pod's network: its notes lie outside of the node's folder."""
    return glob.glob(f"{CNI_RESULTS}/{glob.escape(name)}-*") if name else []


def end_processes(folder):
    end = time.monotonic() + 20
    while (found := processes(folder)) and time.monotonic() < end:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove_networks(name):
    """The interface on the host's side goes with the namespace. Of the pod's own loopback there is a note, too."""
    for path in networks(name):
        with contextlib.suppress(OSError, ValueError, KeyError):
            note = json.loads(Path(path).read_text())
            spaces = {Path(each["sandbox"]).name for each in note["result"]["interfaces"] if each.get("sandbox")}
            for space in spaces:
                subprocess.run(["ip", "netns", "delete", space], stderr=subprocess.DEVNULL)
            Path(CNI_RESULTS, f"cni-loopback-{note['containerId']}-lo").unlink(missing_ok=True)
        os.unlink(path)


def remove_cgroups(containers):
    """One of each container, in every hierarchy; then the folder around them when nobody else's are in it."""
    for parent in glob.glob(f"{CGROUPS}/**/k8s.io", recursive=True):
        for path in [*(f"{parent}/{name}" for name in containers), parent]:
            for inner, _, _ in os.walk(path, topdown=False) if path != parent else [(parent, [], [])]:
                with contextlib.suppress(OSError):
                    os.rmdir(inner)


def clean_up(told):
    folder = told["folder"]
    containers = [path.name for path in Path(folder).glob(f"{TASKS}/*/*")]
    end_processes(folder)
    remove_networks(told["network"])
    for point in mounts_below(folder):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)
    for path, value in told["settings"].items():
        if Path(path).read_text() != value:
            Path(path).write_text(value)
    remove_cgroups(containers)
    for _ in range(0 if mounts_below(folder) else 10):
        shutil.rmtree(folder, ignore_errors=True)  # a thread of the test may still write: then once more
        if not os.path.exists(folder):
            break
        time.sleep(0.2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    sys.stdin.read()
    if line:
        clean_up(json.loads(line))
