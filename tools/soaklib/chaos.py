"""30 % of the units are killed a minute. One app of four units, all on Ray; every process of a unit gets SIGKILL, every other time the
agent of its node, too, as when a machine is lost: it comes back after half a minute. Whom it hits is chance, so that at times no unit may
be left; what fails then is counted apart. All other requests must be answered."""

import random
import time

from proclib import kill, members

from .world import PATIENCE_S, Course

APP, UNITS, SHARE = "steady", 4, 0.3
AWAY_S = 30  # of a killed agent


class Chaos(Course):
    name, minutes = "chaos", 10
    nodes, cpu, memory = 4, 1, "2560Mi"  # one unit to a node
    poll_s, per_app, pause_s = 0.25, 8, 0.03
    steady = False

    def prepare(self):
        self.random = random.Random(self.options.seed)
        self.every_s = 60 / (SHARE * UNITS)
        self.due_s, self.kills, self.away = self.every_s / 2, [], {}
        self.world.echo(APP, UNITS, "ray@1", replicas=1, memory="2Gi")
        self.say(f"waiting for {UNITS} units")
        self.world.wait_ready(APP, PATIENCE_S)
        return [APP]

    def processes(self):
        return {name: pid for name, pid in super().processes().items() if "-node-" not in name}

    def tick(self, n):
        now = time.monotonic()
        for node, until in list(self.away.items()):
            if now >= until:
                (self.world.data / f"hold.{node}").unlink()
                del self.away[node]
        if n >= self.due_s:
            self.due_s += self.every_s
            self.kill()
        if self.tracker.capacity.count(APP) == UNITS:
            for one in self.kills:
                one.setdefault("whole_again_s", round(now - one["at"], 1))

    def kill(self):
        units = self.world.units(APP)
        running = [unit for unit in units if unit.get("nodeName") and members(unit["name"])]
        if not running:
            self.say("nothing runs that could be killed")
            return
        unit = self.random.choice(running)
        node, state = unit["nodeName"], unit["state"]
        machine = len(self.kills) % 2 == 1 and node not in self.away
        pids = list(members(unit["name"]))
        if machine:
            (self.world.data / f"hold.{node}").touch()
            self.away[node] = time.monotonic() + AWAY_S
            pids.insert(0, self.world.pid(node))
        self.tracker.capacity.kill(unit["name"], APP)
        kill([pid for pid in pids if pid])
        self.kills.append({"at": time.monotonic(), "unit": unit["name"], "state": state, "machine": machine,
                           "left": self.tracker.capacity.count(APP)})  # fmt: skip
        self.mark("killed")
        self.say(f"killed {unit['name']} ({state}) {'with its agent ' if machine else ''}on {node}; {self.kills[-1]['left']} left")

    def calm(self):
        for node in self.away:
            (self.world.data / f"hold.{node}").unlink()
        self.away = {}
        self.at_the_end = self.world.wait_ready(APP, PATIENCE_S)
        self.world.wait("all agents", lambda: all(node["state"] == "UP" for node in self.world.api("GET", "/nodes")["items"]), 30)

    def judge(self):
        minutes = (self.ended - self.began) / 60
        share = len(self.kills) / minutes / UNITS
        self.facts["kills"] = [{**one, "at": round(one["at"] - self.began, 1)} for one in self.kills]
        took = sorted(one["whole_again_s"] for one in self.kills if "whole_again_s" in one)
        if took:
            self.say(f"all {UNITS} units READY again after {took[0]} to {took[-1]} s, median {took[len(took) // 2]} s")
        self.say(f"no unit could answer for {sum(self.none_s.values()):.1f} s; re-sent by the gateway: {self.clients.resent} requests")
        asked = self.tracker.capacity.unasked
        self.say(f"{len(asked)} units fell out by themselves {asked or ''}")
        self.bound(f"{len(self.kills)} units killed, {share:.0%} of {UNITS} a minute", share >= 0.95 * SHARE)
        self.bound(f"{len(self.at_the_end)} units are READY at the end", len(self.at_the_end) == UNITS)
        self.flat()
