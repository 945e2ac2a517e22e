"""A platform to be soaked, and what all courses over one share: clients, what is watched, the progress, the verdict."""

import contextlib
import json
import math
import os
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import disasterlib
import fakeraylib
import raylib
from agentlib import tar_zst
from paths import ROOT
from proclib import claims, members, stat_fields, wait_for

from . import chart
from .clients import CODE, Clients
from .watch import Sampler, Tracker, flatness, mean_of

OUT = Path(os.environ.get("ASTRA_SOAK_OUT") or ROOT / "build" / "soak")
PATIENCE_S = 300  # until what was deployed is READY
STEADY_S = 5  # of traffic before and after what is done to the platform
PROGRESS_S = 5
JUDGED_S = 300  # a shorter run says nothing about growth
SHOWN = 20  # bad requests that are printed


class World(disasterlib.World):
    """Two clusters of nodes; environments `ray@1` (Ray, or its stand-in) and `light@1` (always the stand-in), the code `echo@1`."""

    def __init__(self, folder, environment, nodes, cpu, memory):
        super().__init__(folder, environment, lost_after="10s", env={"ASTRA_CFG_GATEWAY_DEBUG_HEADERS": "yes"})
        for flag, value in (("--nodes", nodes), ("--node-cpu", cpu), ("--node-memory", memory)):
            self.flags[self.flags.index(flag) + 1] = str(value)

    def put_artifacts(self):
        self.put_artifact("ray@1", self.environment)
        self.put_artifact("light@1", fakeraylib.environment())
        self.put_artifact("echo@1", tar_zst({"echo.py": CODE}))

    def echo(self, name, units, environment="light@1", replicas=1, memory="512Mi", env=None):
        """Deploys the app of the clients."""
        spec = self.spec(name, units=units, replicas=replicas, env=env, code={"artifact": "echo@1"}, head={"memory": memory})
        spec["environment"] = [{"artifact": environment}]
        spec["serve"]["applications"][0].update(import_path="echo:app", deployments=[{"name": "Echo", "num_replicas": replicas}])
        self.put_app(name, spec)

    def metrics(self):
        """Of the gateway: name -> sum over the labels."""
        with urllib.request.urlopen(self.client()["admin"] + "/metrics", timeout=10) as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
        found = {}
        for name, value in lines:
            name = name.split("{")[0]
            found[name] = found.get(name, 0) + float(value)
        return found

    def zombies(self):
        """Children of the platform's processes that ended and were not waited for."""
        parents, found = set(self.pids().values()), []
        for folder in Path("/proc").glob("[0-9]*"):
            fields = stat_fields(folder.name)
            if fields and fields[0] == "Z" and int(fields[1]) in parents:
                found.append(int(folder.name))
        return found


def environment(stand_in):
    if stand_in:
        return fakeraylib.environment()
    OUT.mkdir(parents=True, exist_ok=True)
    return raylib.packed(OUT).read_bytes()


class Course:
    """One soak of one platform. A course says what stands there (prepare), what is done to it every second (tick), and what must
    have become of it (judge)."""

    name, minutes = "", 20
    nodes, cpu, memory = 4, 8, "16Gi"  # of each of the two clusters
    poll_s, per_app, pause_s = 0.5, 3, 0.03
    steady = True  # nobody kills the platform's own processes, so that none may end

    def __init__(self, options):
        self.options, self.seconds = options, (options.minutes or self.minutes) * 60
        self.bounds, self.marks, self.facts = [], [], {}

    def say(self, text):
        print(f"{self.name}: {text}", flush=True)

    def bound(self, text, holds):
        self.bounds.append((text, bool(holds)))

    def run(self):
        """Whether every bound holds."""
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.say("packing the environment, starting the platform")
            self.world = World(folder, environment(self.options.stand_in), self.nodes, self.cpu, self.memory)
            stack.callback(self.keep_logs)
            try:
                self.world.up()
                self.soak()
            finally:
                self.world.end()
            left = self.world.left()
            strict = self.world.strict.read_text().splitlines() if self.world.strict.exists() else []
        self.bound(f"{len(left)} things are left after `astra down` {left[:3] or ''}", not left)
        self.bound(f"the stand-in for Ray was asked for {len(strict)} things that it must not be asked for {strict[:3] or ''}", not strict)
        return self.report()

    def keep_logs(self):
        shutil.rmtree(OUT / f"{self.name}-logs", ignore_errors=True)
        with contextlib.suppress(OSError):
            shutil.copytree(self.world.data / "log", OUT / f"{self.name}-logs")

    def soak(self):
        apps = self.prepare()
        gateway = self.world.client()["gateway"]
        with Tracker(self.world, self.poll_s) as self.tracker, Sampler(self.processes()) as self.sampler:
            with Clients(gateway, apps, self.options.seed, self.per_app, self.pause_s) as self.clients:
                time.sleep(STEADY_S)
                self.began = time.monotonic()
                self.drive()
                self.ended = time.monotonic()
                self.calm()
                time.sleep(STEADY_S)
            self.still()
        self.judge_all()

    def drive(self):
        """One tick a second; those that could not be in time are left out, not made up for."""
        shown, n = 0, 0
        while (now := time.monotonic()) < self.began + self.seconds:
            n = math.ceil(now - self.began)
            time.sleep(max(0.0, self.began + n - now))
            self.tick(n)
            if n - shown >= PROGRESS_S:
                shown = n
                self.say(self.progress(n))

    def processes(self):
        """{name: pid} of what is watched."""
        return self.world.pids()

    def mark(self, what):
        self.marks.append((time.monotonic(), what))

    def progress(self, n):
        c, t = self.clients, self.tracker
        wrong = sum(bad.wrong for bad in c.bad)
        server, gateway = (self.sampler.last(name) for name in ("server", "gateway"))
        agents = [self.sampler.last(name) for name in self.sampler.processes if "-node-" in name]
        agent = max(agents, default=(0, 0))
        return (
            f"{n // 60:02}:{n % 60:02} of {self.seconds / 60:g} min  {c.rate():4.0f} req/s  {wrong} wrong  {len(c.bad) - wrong} failed  "
            f"{c.resent} re-sent | {len(t.units or ())} units ready, {t.came['units']} came, {t.went['units']} went; endpoints "
            f"{t.came['endpoints']}, {t.went['endpoints']} | server {server[0]:.1f} MiB {server[1]} fd, gateway {gateway[0]:.1f} MiB "
            f"{gateway[1]} fd, agents up to {agent[0]:.1f} MiB {agent[1]} fd"
        )

    def still(self):
        """No client is there any more: nothing may be left of any request, and of no unit that is gone."""
        idle = ("astra_gateway_in_flight", "astra_gateway_queued", "astra_gateway_replay_bytes")

        def left():
            return {name: found[name] for found in [self.world.metrics()] for name in idle if found.get(name)}

        with contextlib.suppress(TimeoutError):
            wait_for("an idle gateway", lambda: not left(), 20)
        self.bound(f"the gateway has nothing in hand without clients {left() or ''}", not left())
        names = {unit["name"] for unit in self.world.api("GET", "/units")["items"]}

        def strange():
            held = {claim["unit"] for node in self.world.api("GET", "/nodes")["items"] for claim in node["claims"]}
            running = {word.split("/")[1] for _, word in claims()} & self.tracker.known  # others run on this host
            return sorted((held | running) - names), [unit for unit in names if not members(unit)], self.world.zombies()

        with contextlib.suppress(TimeoutError):
            wait_for("units that are gone to be gone", lambda: not any(strange()), 30, 1)
        gone, missing, zombies = strange()
        self.bound(f"{len(gone)} claims and processes of units that are gone {gone[:5] or ''}", not gone)
        self.bound(f"{len(missing)} units without processes {missing[:5] or ''}", not missing)
        self.bound(f"{len(zombies)} children were not waited for", not zombies)

    # ---- the end ----

    def judge_all(self):
        c, capacity = self.clients, self.tracker.capacity
        excused = [bad for bad in c.bad if not bad.wrong and capacity.least(bad.app, bad.began, bad.ended) == 0]
        wrong = [bad for bad in c.bad if bad.wrong]
        failed = [bad for bad in c.bad if not bad.wrong and bad not in excused]
        self.none_s = {app: capacity.none_s(app, self.began, self.ended) for app in c.answered}
        for bad in [*wrong, *failed, *excused][:SHOWN]:
            self.say(f"{bad.ended - self.began:7.1f} s after {bad.ended - bad.began:.3f} s {bad.app}: {bad.why}"
                     + (" (no unit could answer)" if bad in excused else ""))  # fmt: skip
        self.facts.update(
            requests=c.total(), wrong=len(wrong), failed=len(failed), failed_without_capacity=len(excused), resent=c.resent,
            left_by_clients=c.left, p50_s=c.latency_s(0.5), p99_s=c.latency_s(0.99), p9999_s=c.latency_s(0.9999),
            slowest_s=c.latency_s(1), without_capacity_s=round(sum(self.none_s.values()), 1), came=dict(self.tracker.came),
            went=dict(self.tracker.went), unasked=self.tracker.capacity.unasked, minutes=round((self.ended - self.began) / 60, 1),
            stand_in=self.options.stand_in, seed=self.options.seed,
        )  # fmt: skip
        self.bound(f"{len(wrong)} wrong answers of {c.total()}", not wrong)
        self.bound(f"{len(failed)} requests failed while a unit could answer", not failed)
        self.bound(f"{c.total()} requests, at least one a second of each app", all(n > self.seconds for n in c.answered.values()))
        gone = self.sampler.ended() if self.steady else []
        self.bound(f"{len(gone)} processes of the platform ended {gone or ''}", not gone)
        self.judge()

    def flat(self):
        """The table of what processes take, each row a bound."""
        series = {name: samples for name, samples in self.sampler.series.items() if "-node-" not in name}
        agents = [samples for name, samples in self.sampler.series.items() if "-node-" in name]
        if agents:  # a unit goes from one to another, so that one alone tells nothing
            series[f"agent, mean of {len(agents)}"] = mean_of(agents)
        rows = flatness(series)
        self.facts["flatness"] = [row[:4] for row in rows]
        self.facts["samples"] = {name: [(round(t - self.began, 1), round(m, 2), d) for t, m, d in s] for name, s in self.sampler.series.items()}
        print(f"\n{self.name + ': after the warm-up':34}{'median':>10}{'growth':>10}")
        for name, what, middle, rose, is_flat in rows:
            print(f"{name:34}{middle:10.1f}{rose:10.2f} {what}{'' if is_flat else '   NOT FLAT'}")
        if self.seconds < JUDGED_S:
            self.say(f"less than {JUDGED_S / 60:g} minutes: growth is not judged")
            return
        for what in ("MiB", "descriptors"):
            bent = [name for name, kind, _, _, is_flat in rows if kind == what and not is_flat]
            self.bound(f"{what} of {len(series)} kinds of processes: {len(bent)} grew {bent or ''}", not bent)

    def report(self):
        OUT.mkdir(parents=True, exist_ok=True)
        facts = {**self.facts, "bounds": self.bounds}
        (OUT / f"{self.name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        with open(OUT / f"{self.name}.csv", "w") as file:
            file.write("second,right,bad\n")
            for second, (right, bad) in sorted(self.clients.seconds.items()):
                file.write(f"{second - int(self.began)},{right},{bad}\n")
        (OUT / f"{self.name}.svg").write_text(self.picture())
        print()
        for text, holds in self.bounds:
            print(f"{'ok  ' if holds else 'FAIL'}  {text}")
        broken = sum(not holds for _, holds in self.bounds)
        self.say(f"{'it holds' if not broken else f'{broken} bounds do not hold'} (build/soak/{self.name}.svg, .json, .csv)")
        return not broken

    def picture(self):
        def shifted(points):
            return [(t - self.began, y) for t, y in points if t >= self.began]

        seconds = sorted(self.clients.seconds.items())[:-1]
        series = {name: ([(t, m) for t, m, _ in s], [(t, d) for t, _, d in s]) for name, s in self.sampler.series.items() if s}
        kinds = {}
        for name, (memory, descriptors) in series.items():
            kind = "agent" if "-node-" in name else name.split(" ")[0]
            if kind not in kinds or memory[-1][1] > kinds[kind][0][-1][1]:
                kinds[kind] = (memory, descriptors)
        panels = [
            chart.Panel("requests a second", {"answered": shifted((s, r + b) for s, (r, b) in seconds)},
                        bars=shifted((s, b) for s, (_, b) in seconds if b), bars_name="failed or wrong"),
            chart.Panel("units READY", {"units": shifted(self.tracker.ready)}, marks=shifted(self.marks)),
            chart.Panel("resident MiB, the largest of each kind", {k: shifted(m) for k, (m, _) in kinds.items()}),
            chart.Panel("open descriptors of the same", {k: shifted(d) for k, (_, d) in kinds.items()}),
        ]  # fmt: skip
        return chart.draw(f"{self.name}, {self.facts['minutes']} minutes", panels)
