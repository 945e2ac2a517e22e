"""The two things that happen under traffic: a unit is killed with its agents, a node is drained."""

import collections
import subprocess
import threading
import time

import proclib

from . import traffic as traffic_part
from .world import DemoError, Killing, wall_seconds

KILLS = 3
KILL_AT_LEAST = 2  # requests in flight at the unit when it is killed
BEFORE = 4  # a quarter of the requests come before anything happens
READY_S = 300
MOMENT_S = 60


def wait_for(what, condition, timeout_s, step_s=0.1):
    try:
        return proclib.wait_for(what, condition, timeout_s, step_s)
    except TimeoutError as error:
        raise DemoError(str(error)) from error


class UnitLines(threading.Thread):
    """Prints a line whenever a unit moves."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.over = threading.Event()
        self.seen = {}

    def run(self):
        while not self.over.wait(0.25):
            try:
                units = self.world.units()
            except DemoError:
                continue  # a server that does not answer for a moment is told by those who need it
            for unit in units:
                self.look(unit)
            for name in self.seen.keys() - {unit["name"] for unit in units}:
                self.world.screen.say(f"  {name} is gone")
                del self.seen[name]

    def look(self, unit):
        now = unit["state"], unit["reason"], unit["message"]
        if self.seen.get(unit["name"]) == now:
            return
        self.seen[unit["name"]] = now
        reason = "" if unit["reason"] == "None" else f"  {unit['reason']}"
        message = f": {unit['message'].splitlines()[0][:110]}" if unit["message"] else ""
        node = unit.get("nodeName") or "-"
        self.world.screen.say(f"  {unit['name']:12} {node:18} {unit['state']:10}{reason}{message}")

    def stop(self):
        self.over.set()
        self.join(15)


class Kill:
    """Every process of a unit, its shims and the agents of its nodes, at a moment when requests are under way there."""

    def __init__(self, world, traffic, resend):
        self.world = world
        self.traffic = traffic
        self.resend = resend
        self.at = self.ready_at = None
        self.victim = self.replacement = None

    def run(self, requests):
        say = self.world.screen.say
        self.traffic.phase = "kill"
        wait_for("the first requests", lambda: len(self.traffic.of("kill")) >= requests // BEFORE, 600)
        for attempt in range(1, KILLS + 1):
            self.once()
            count = len(traffic_part.resent(self.traffic.of("kill")))
            say(f"{count} requests were sent again" if self.resend else "nothing may be sent again (RETRY=0)")
            if count > 0 or not self.resend:
                break
            if attempt < KILLS:
                say("an empty kill proves nothing: once more")
                self.wait_both(set())
        wait_for("enough requests", lambda: len(self.traffic.of("kill")) >= requests, 900)

    def once(self):
        before = self.wait_both(set())
        say = self.world.screen.say
        unit, killing, agents = self.aim(before)
        try:
            self.at = killing.fire()
        finally:
            say(f"unit {unit['name']} is killed, {len(killing.fds)} processes: every process of its members, their shims,")
            say(f"and the agents of {', '.join(agents)}")
            say(f"$ {killing.command()}")
            killing.close()
        self.victim = unit["name"]
        self.mop_up()
        self.wait_replaced(before)
        self.world.release()
        say(f"the killed agents may come back now: {', '.join(agents)}")

    def aim(self, units):
        """Waits for the moment: a unit with enough requests under way. All is prepared before, so that it is not missed."""
        aims = {}
        for unit in units.values():
            nodes = sorted({member["nodeName"] for member in unit["members"]})
            pids = [self.world.agent(node) for node in nodes] + self.world.unit_processes(unit["name"])
            aims[unit["name"]] = unit, Killing(pids), nodes
        deadline = time.monotonic() + MOMENT_S
        while time.monotonic() < deadline:
            counts = self.world.in_flight()
            name = max(aims, key=lambda name: counts.get(name, 0))
            if counts.get(name, 0) >= KILL_AT_LEAST:
                for node in aims[name][2]:
                    self.world.hold(node)
                for other in aims.keys() - {name}:
                    aims[other][1].close()
                self.world.screen.say(f"the gateway counts {counts[name]} requests under way at {name}")
                return aims[name]
        raise DemoError(f"no unit had {KILL_AT_LEAST} requests under way within {MOMENT_S} s")

    def mop_up(self):
        """What was born while the others were killed."""
        wait_for("the unit's end", lambda: self.none_left(), 20)

    def none_left(self):
        pids = self.world.unit_processes(self.victim)
        late = Killing(pids)
        late.fire()
        late.close()
        return not pids

    def wait_both(self, without):
        def both():
            ready = self.world.ready()
            return ready if len(ready) == 2 and not without & ready.keys() else None

        return wait_for("two READY units", both, READY_S)

    def wait_replaced(self, before):
        ready = self.wait_both({self.victim})
        new = sorted(ready.keys() - before.keys())
        if not new:
            raise DemoError(f"{self.victim} was killed, but no new unit is READY")
        self.replacement = new[0]
        self.ready_at = wall_seconds(ready[self.replacement]["readySince"])
        self.world.screen.say(f"{self.replacement} is READY {self.ready_at - self.at:.1f} s after the kill")

    # ---- measures ----

    def replace_s(self):
        return self.ready_at - self.at

    def replace_ray_s(self):
        """Of it: from the exec of `ray start` to all Serve applications RUNNING."""
        moments = self.world.moments(self.replacement)
        if "STARTING" not in moments or "running" not in moments:
            raise DemoError(f"the agents' logs do not say when {self.replacement} was started and when it ran")
        return moments["running"] - moments["STARTING"]

    def out_of_routing_ms(self):
        """From the first SIGKILL to the gateway's last pick of that unit, by its access log; 0: none came after the kill."""
        last = self.world.last_pick(self.victim)
        if last is None:
            raise DemoError(f"the gateway's access log does not know {self.victim}, which had requests under way")
        return max(0.0, (last - self.at) * 1000)


class Drain:
    """The node of the head of the unit with most traffic."""

    def __init__(self, world, traffic):
        self.world = world
        self.traffic = traffic
        self.node = self.unit = None
        self.seconds = None
        self.left = []

    def run(self, requests):
        say = self.world.screen.say
        self.traffic.phase = "drain"
        wait_for("the first requests", lambda: len(self.traffic.of("drain")) >= requests // BEFORE, 600)
        ready = self.world.ready()
        counts = collections.Counter(r["unit"] for r in self.traffic.of("drain") if r["unit"] in ready)
        if not counts:
            raise DemoError("no unit answers")
        self.unit = counts.most_common(1)[0][0]
        self.node = ready[self.unit]["nodeName"]
        say(f"{self.unit} has most traffic ({dict(counts)}); its head is on {self.node}")
        say(f"$ astra drain {self.node} --wait")
        begun = time.monotonic()
        self.world.run("drain", self.node, "--wait", "--timeout", "10m", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.seconds = time.monotonic() - begun
        self.look()
        say(f"drained after {self.seconds:.1f} s; " + (", ".join(self.left) or "no claim and no process is left there"))
        wait_for("enough requests", lambda: len(self.traffic.of("drain")) >= requests, 900)

    def look(self):
        """What is left on the node: nothing must be."""
        node = next(node for node in self.world.api("/v1/nodes")["items"] if node["name"] == self.node)
        self.left = [f"claim {claim['unit']}/{claim['member']} is {claim['state']}" for claim in node["claims"]]
        self.left += [f"process {pid}" for pid in self.world.unit_processes(self.unit) if proclib.start_time(pid) is not None]
        members = self.world.data / "nodes" / self.node / "members"
        self.left += [f"folder {path.name}" for path in members.iterdir()]
