"""The platform under demonstration: `astra up` in a folder of its own, its command line, its API, its processes."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import time
import urllib.parse
from datetime import datetime
from pathlib import Path

from proclib import members, start_time, with_descendants

ROOT = Path(__file__).resolve().parents[2]
ASTRA = ROOT / "build" / "astra"
FOLDER = ROOT / "build" / "demo"
APP = "/v1/namespaces/default/apps/ocr"


class DemoError(Exception):
    """What went wrong, for people."""


class Screen:
    """Lines with the seconds since the start, one at a time."""

    def __init__(self):
        self.begun = time.monotonic()

    def say(self, text=""):
        print(f"[{time.monotonic() - self.begun:6.1f} s] {text}" if text else "", flush=True)

    def head(self, text):
        print(f"\n== {text}", flush=True)


def wall_seconds(text):
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def moments(data, unit):
    """step -> seconds since 1970 when the unit's head came to it first, by the agents' logs: the states of a member (STARTING is
    `ray start`), and "running", when every Serve application ran."""
    found = {}
    for path in (Path(data) / "log").glob("cluster-*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if f"unit={unit} " not in line + " ":
                continue
            at = wall_seconds(line.split("ts=", 1)[1].split(" ", 1)[0])
            if state := re.search(r"code=member\.state .*state=(\w+)", line):
                found.setdefault(state[1], at)
            elif "code=serve.running" in line:
                found.setdefault("running", at)
    return found


class World:
    def __init__(self, screen, resend=True):
        self.screen = screen
        self.data = FOLDER / "data"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("ASTRA_CFG_")}
        self.env["ASTRA_CFG_DATA"] = str(self.data)
        self.env["ASTRA_CFG_GATEWAY_DEBUG_HEADERS"] = "yes"
        self.access_log = FOLDER / "access.log"
        self.env["ASTRA_CFG_GATEWAY_ACCESS_LOG"] = str(self.access_log)
        self.env["ASTRA_CFG_GATEWAY_RESEND"] = "yes" if resend else "no"
        self.client = {}
        self.holds = []

    # ---- the command line ----

    def command(self, *words, shielded=False, **options):
        """Starts `astra WORDS`; shielded: a Ctrl-C at the terminal is not for it."""
        words = [ASTRA, *words]
        return subprocess.Popen(words, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, start_new_session=shielded, **options)

    def run(self, *words, **options):
        """Runs it to its end; its output goes to the terminal. Raises DemoError when it fails."""
        status = self.command(*words, **options).wait()
        if status != 0:
            raise DemoError(f"astra {' '.join(map(str, words))} ended with status {status}")

    def run_json(self, *words):
        """The same; returns what it printed on stdout as JSON. What it says on stderr is shown."""
        process = self.command(*words, "-o", "json", stdout=subprocess.PIPE)
        output = process.communicate()[0]
        if process.returncode != 0:
            raise DemoError(f"astra {' '.join(map(str, words))} ended with status {process.returncode}")
        return json.loads(output)

    def up(self):
        self.access_log.unlink(missing_ok=True)
        self.run("up", "--clusters", "2", "--nodes", "3", "--node-cpu", "2", "--node-memory", "4Gi", "--detach",
                 "--api", "0", "--starlink", "0", "--gateway", "0", "--admin", "0")  # fmt: skip
        self.client = json.loads((self.data / "client.json").read_text())

    def down(self, *flags):
        self.run("down", *flags, shielded=True)

    # ---- HTTP ----

    def get(self, url, headers=None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https":
            context = ssl.create_default_context(cadata=self.client["ca"])
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        try:
            connection.request("GET", parts.path, headers=headers or {})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"GET {url}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise DemoError(f"GET {url}: {answer.status} {body.decode(errors='replace')[:300]}")
        return json.loads(body)

    def api(self, path):
        return self.get(self.client["address"] + path, {"Authorization": f"Bearer {self.client['token']}"})

    def units(self):
        return self.api(APP + "/units")["items"]

    def ready(self):
        return {unit["name"]: unit for unit in self.units() if unit["state"] == "READY"}

    def in_flight(self):
        """Requests sent to each unit and not answered, as the gateway counts them."""
        counts = {}
        for endpoint in self.get(self.client["admin"] + "/routes")["endpoints"]:
            counts[endpoint["unit"]] = counts.get(endpoint["unit"], 0) + endpoint["in_flight"]
        return counts

    def last_pick(self, unit):
        """When the gateway chose this unit for the last time, first attempt or not (seconds since 1970; None: never)."""
        picks = []
        for line in self.access_log.read_text(encoding="utf-8").split("\n")[:-1]:
            request = json.loads(line)
            tries = request.get("earlier", []) + [request]
            times = [one["picked_us"] for one in tries if one.get("unit") == unit]
            picks += [wall_seconds(request["time"]) + us / 1e6 for us in times]
        return max(picks, default=None)

    # ---- what agents said ----

    def moments(self, unit):
        return moments(self.data, unit)

    # ---- processes ----

    def unit_processes(self, unit):
        """Every process of the unit's members, their shims among them: all carry ASTRA_CLAIM=APP/UNIT/MEMBER/ATTEMPT."""
        return [pid for pid in with_descendants(members(unit)) if start_time(pid) is not None]

    def agent(self, node):
        pid = int((self.data / "run" / f"{node}.pid").read_text().split()[0])
        if start_time(pid) is None:
            raise DemoError(f"the agent of {node} does not run")
        return pid

    def hold(self, node):
        """From now on `astra up` does not start this agent again."""
        path = self.data / f"hold.{node}"
        path.touch()
        self.holds.append(path)

    def release(self):
        for path in self.holds:
            path.unlink(missing_ok=True)
        self.holds = []


class Killing:
    """Processes to be killed together, each bound by a pidfd so that no other process of that number is hit."""

    def __init__(self, pids):
        self.fds = {}
        for pid in pids:
            try:
                self.fds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue

    def fire(self):
        """SIGKILL to all; returns the time of the first (seconds since 1970)."""
        first = time.time()
        for fd in self.fds.values():
            try:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return first

    def close(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}

    def command(self):
        return "kill -KILL " + " ".join(map(str, self.fds))
