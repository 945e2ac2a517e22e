"""Endpoints and units come and go, each second, under load.

Two units on Ray serve all the while (app `still`; replicas of theirs are killed now and then), and beside them, on the stand-in for Ray,
apps whose units come, go, are killed, rolled out and drained, and whose replicas are killed, added and taken away. No client may get a
wrong answer, and no request may fail: each app has a unit that can answer at any moment. What server, gateway, agents and long-lived
shims take must be flat."""

import os
import random
import urllib.error

from disasterlib import replicas
from proclib import kill, members

from .clients import Client
from .world import PATIENCE_S, Course

APPS = [f"churn-{i}" for i in range(1, 5)]
LEAST, MOST = 2, 4  # units of an app
REPLICAS = 3
# A host has 100 blocks of ports, and one that was used rests for 150 s: one unit may come every 1.5 s, in the mean. So one comes and one
# goes in turn, a second each, and what else makes units come (kill, rollout, drain) takes the place of as many.
KILL_EVERY_S, ROLL_EVERY_S, DRAIN_EVERY_S, BRIEF_EVERY_S, STILL_EVERY_S = 30, 60, 60, 30, 20
DRAINED_S, BRIEF_S = 15, 20
HURT_S = 10  # a unit whose only replica was killed may be without one for so long


class Churn(Course):
    name = "churn"
    cpu, memory = 3, "8Gi"  # so that units are on every node

    def prepare(self):
        self.random = random.Random(self.options.seed)
        self.wanted, self.replicas, self.version = {app: LEAST for app in APPS}, dict.fromkeys(APPS, 1), dict.fromkeys(APPS, 0)
        self.owed, self.drained, self.brief, self.counts = 0, None, None, {}
        self.refused = []
        self.world.echo("still", 2, "ray@1", replicas=2, memory="2Gi")
        for app in APPS:
            self.put(app)
        self.say("waiting for the units on Ray, and on its stand-in")
        for app in ("still", *APPS):
            self.world.wait_ready(app, PATIENCE_S)
        return ["still", *APPS]

    def processes(self):
        shims = {f"shim of {unit['name']}": unit["members"][0]["pid"] for unit in self.world.units("still")}
        return {**super().processes(), **shims}

    def put(self, app):
        self.world.echo(app, self.wanted[app], replicas=self.replicas[app], env={"ECHO_VERSION": self.version[app]})

    def did(self, what, shown=False):
        self.counts[what] = self.counts.get(what, 0) + 1
        if shown:
            self.mark(what)

    def able(self, app):
        return self.tracker.capacity.count(app)

    # ---- each second ----

    def tick(self, n):
        for step in (self.move_unit, self.move_endpoint, self.move_brief, self.move_still):
            try:
                step(n)
            except urllib.error.HTTPError as error:
                self.refused.append(f"{step.__name__} in second {n}: {error}")

    def move_unit(self, n):
        if n % ROLL_EVERY_S == 45:
            self.roll(self.random.choice(APPS))
        elif n % DRAIN_EVERY_S == 15 or (self.drained and n % DRAIN_EVERY_S == 15 + DRAINED_S):
            self.drain()
        elif n % KILL_EVERY_S == 0:
            self.kill_unit()
        elif n % 2:
            self.scale([app for app in APPS if self.wanted[app] > LEAST and self.able(app) > LEAST], -1)
        elif self.owed > 0:
            self.owed -= 1
        else:
            self.scale([app for app in APPS if self.wanted[app] < MOST], +1)

    def scale(self, apps, by):
        if apps:
            app = self.random.choice(apps)
            self.wanted[app] += by
            self.world.api("POST", f"/namespaces/default/apps/{app}/scale", {"units": self.wanted[app]})
            self.did("units added" if by > 0 else "units taken away")

    def roll(self, app):
        """A new environment variable: every unit is replaced."""
        self.version[app] += 1
        self.owed += self.wanted[app]
        self.put(app)
        self.did("rollouts", shown=True)

    def drain(self):
        if self.drained:
            self.world.api("POST", f"/nodes/{self.drained}/undrain", {})
            self.drained = None
            return
        nodes = {unit.get("nodeName") for app in APPS for unit in self.world.units(app, "READY")}
        nodes -= {None} | {unit.get("nodeName") for unit in self.world.units("still")}
        if nodes:
            self.drained = self.random.choice(sorted(nodes))
            self.owed += sum(unit.get("nodeName") == self.drained for unit in self.world.api("GET", "/units")["items"])
            self.world.api("POST", f"/nodes/{self.drained}/drain", {})
            self.did("nodes drained", shown=True)

    def victim(self):
        """A unit that can answer, of an app that has another one."""
        able = {unit for app in APPS if self.able(app) > 1 for unit in self.tracker.capacity.able[app]}
        return self.random.choice([unit for app in APPS for unit in self.world.units(app, "READY") if unit["name"] in able] or [None])

    def kill_unit(self):
        unit = self.victim()
        if unit:
            self.tracker.capacity.kill(unit["name"], unit["app"])
            kill(members(unit["name"]))
            self.owed += 1
            self.did("units killed", shown=True)

    def move_endpoint(self, n):
        """A replica's process is killed and started again by its Ray, or the app gets more of them, or fewer."""
        if n % 5:
            unit = self.victim()
            pids = replicas(unit["name"]) if unit else []
            if unit and len(unit["endpoints"]) < 2:  # what drains is a process, too, and answers nothing
                self.tracker.capacity.kill(unit["name"], unit["app"], HURT_S)
            if pids:
                kill(pids[:1])
                self.did("replicas killed")
        else:
            app = self.random.choice(APPS)
            self.replicas[app] = self.random.choice([i for i in range(1, REPLICAS + 1) if i != self.replicas[app]])
            self.put(app)
            self.did("replicas added or taken away")

    def move_brief(self, n):
        """An app, and with it a route, comes, is asked, and goes."""
        if n % BRIEF_EVERY_S == 2:
            self.brief = f"brief-{n // BRIEF_EVERY_S}"
            self.world.echo(self.brief, 1)
            self.owed += 1
        elif self.brief and n % BRIEF_EVERY_S == 2 + BRIEF_S:
            if self.world.app(self.brief)["state"] == "READY":
                client = Client(self.world.client()["gateway"].split("//")[1], self.brief, 0, n)
                bad = client.ask()
                client.close()
                if bad:
                    self.refused.append(f"{self.brief}: {bad[1]}")
                self.did("apps added, asked and deleted")
            self.world.api("DELETE", f"/namespaces/default/apps/{self.brief}")
            self.brief = None

    def move_still(self, n):
        if n % STILL_EVERY_S == 7:
            unit = self.random.choice(self.world.units("still"))
            pids = replicas(unit["name"])
            if len(pids) > 1:
                os.kill(pids[0], 9)
                self.did("replicas of Ray killed", shown=True)

    # ---- the end ----

    def calm(self):
        """Nothing comes or goes any more."""
        if self.drained:
            self.drain()
        if self.brief:
            self.world.api("DELETE", f"/namespaces/default/apps/{self.brief}")
        for app in ("still", *APPS):
            self.world.wait_ready(app, PATIENCE_S)

    def judge(self):
        self.facts["done"] = self.counts
        for what, n in self.counts.items():
            self.say(f"{n:5} {what}")
        for text in self.refused:
            self.say(text)
        self.bound(f"{len(self.refused)} calls of the API were refused, or brief apps answered wrongly", not self.refused)
        asked, moves = self.tracker.capacity.unasked, self.tracker
        self.bound(f"{len(asked)} units fell out by themselves {asked or ''}", not asked)
        seconds = self.ended - self.began
        self.bound(f"{moves.came['units']} units came and {moves.went['units']} went: more than one move every two seconds",
                   moves.came["units"] + moves.went["units"] > seconds / 2)  # fmt: skip
        self.bound(f"{moves.came['endpoints']} endpoints came and {moves.went['endpoints']} went: more than one move a second",
                   moves.came["endpoints"] + moves.went["endpoints"] > seconds)  # fmt: skip
        self.flat()
