"""`astra up` under test: starts one in a folder of its own and knows what it made."""

import json
import os
import signal
import subprocess
from pathlib import Path

from paths import ASTRA
from proclib import marked, start_time

ANY_PORTS = ["--api", "0", "--starlink", "0", "--gateway", "0", "--admin", "0"]


class Up:
    """One data folder, and `astra up` and `astra down` for it. Locks of ports lie in the folder, too: others run on this host."""

    def __init__(self, folder, clusters=2, nodes=2):
        self.data = Path(folder) / "data"
        self.flags = ["--data", self.data, "--clusters", str(clusters), "--nodes", str(nodes)]
        self.flags += ["--node-cpu", "1", "--node-memory", "1Gi", *ANY_PORTS]
        self.runtime = Path(folder) / "runtime"
        self.runtime.mkdir(parents=True)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("ASTRA_")}
        self.env.update(XDG_RUNTIME_DIR=str(self.runtime), ASTRA_CFG_DATA=str(self.data))
        self.temp = None
        self.marks = [f"ASTRA_UP={self.data}"]

    def run(self, *words, timeout_s=60):
        return subprocess.run(
            self.command([ASTRA, *words]), env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
        )

    def command(self, words):
        """How a command is run."""
        return words

    def up(self, *more):
        """Detached; returns what it printed. Fails when it does."""
        done = self.run("up", *self.flags, "--detach", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        self.temp = self.temp_root()
        return done.stdout

    def start(self, *more):
        """In the foreground: the process, in a group of its own as under a shell."""
        return subprocess.Popen(
            [ASTRA, "up", *self.flags, *more], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
        )  # fmt: skip

    def down(self, *more):
        done = self.run("down", "--data", self.data, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pid(self, name):
        """The pid of a child that runs, or None."""
        try:
            pid, start = map(int, (self.data / "run" / f"{name}.pid").read_text().split())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == start else None

    def pids(self):
        names = [path.stem for path in (self.data / "run").glob("*.pid")]
        return {name: pid for name in names if (pid := self.pid(name))}

    def client(self):
        return json.loads((self.data / "client.json").read_text())

    def temp_root(self):
        pid = next(pid for name, pid in self.pids().items() if "-node-" in name)
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        return Path(words[words.index("--temp-root") + 1])

    def log(self, name):
        return (self.data / "log" / f"{name}.log").read_text(errors="replace")

    def kill(self, *names):
        for name in names:
            os.kill(self.pid(name), signal.SIGKILL)

    def left(self):
        """What is left of it outside its data folder, for people; empty when nothing is."""
        found = [f"process {pid}: {Path(f'/proc/{pid}/cmdline').read_text()!r}" for pid in marked(*self.marks)]
        found += [f"{name} (pid {pid})" for name, pid in self.pids().items()]
        found += [str(path) for path in [self.temp] if path and path.exists()]
        found += [str(path) for path in self.runtime.iterdir()]
        found += [str(path) for path in [self.data / "client.json", self.data / "run"] if path.exists()]
        found += [str(path) for path in self.data.glob("nodes/*/members/*")]
        return found
