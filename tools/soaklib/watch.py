"""What is watched while a platform is soaked: which units could answer, which came and went, and what its processes take."""

import http.client
import json
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path

from proclib import start_time

LEAVING = ("DRAINING", "STOPPED")
SERVING = ("READY", "UPDATING")
WARM_UP = 0.25  # of the time; what a process takes then is not held against it
MOST_MIB, MOST_SHARE = 1.0, 0.05  # growth that is still flat: the larger of the two
MOST_DESCRIPTORS, MOST_DESCRIPTORS_SHARE = 4, 0.1


class Capacity:
    """Which units of each app can answer, as the one knows who kills them: from the first time that they were READY until they are
    killed, or leave because they were told to. What the platform believes of a unit that nobody killed is no excuse."""

    def __init__(self):
        self.lock = threading.Lock()
        self.able, self.killed = defaultdict(set), set()
        self.steps = defaultdict(lambda: [(0.0, 0)])  # app -> (time, how many from then on)
        self.unasked = {}  # unit -> what it became while nobody had touched it
        self.hurt = {}  # unit -> until when it may be what it likes

    def kill(self, unit, app, for_s=None):
        """To be told before it is done. for_s: not the unit, only what it answers with; it is believed in again after so long."""
        now = time.monotonic()
        with self.lock:
            if for_s is None:
                self.killed.add(unit)
            else:
                self.hurt[unit] = now + for_s
            self._set(app, self.able[app] - {unit}, now)

    def see(self, units, now):
        """The server's list of units at a moment."""
        with self.lock:
            listed = {u["name"]: u for u in units if u["name"] not in self.killed and now >= self.hurt.get(u["name"], 0)}
            apps = {unit["app"] for unit in units} | set(self.able)
            for app in apps:
                here = {name for name, unit in listed.items() if unit["app"] == app}
                ready = {name for name in here if listed[name]["state"] in SERVING}
                stay = {name for name in self.able[app] & here if listed[name]["state"] not in LEAVING}
                for name in stay - ready:
                    unit = listed[name]
                    self.unasked.setdefault(name, f"{unit['state']} {unit['reason']} {unit['message'] or ''}")
                self._set(app, ready | stay, now)

    def _set(self, app, able, now):
        if len(able) != len(self.able[app]):
            self.steps[app].append((now, len(able)))
        self.able[app] = able

    def count(self, app):
        with self.lock:
            return len(self.able[app])

    def least(self, app, began, ended):
        """The fewest units that could answer at any moment in between."""
        with self.lock:
            steps = self.steps[app]
        before = [n for at, n in steps if at <= began][-1:]
        return min(before + [n for at, n in steps if began < at <= ended])

    def none_s(self, app, began, ended):
        """For how long nobody could."""
        with self.lock:
            steps = [*self.steps[app], (ended, 0)]
        spans = zip(steps, steps[1:])
        return sum(max(0.0, min(end, ended) - max(at, began)) for (at, n), (end, _) in spans if n == 0)


class Tracker(threading.Thread):
    """Asks the server for its units and the gateway for its endpoints, again and again."""

    def __init__(self, world, interval_s):
        super().__init__(daemon=True)
        self.world, self.interval_s, self.over = world, interval_s, threading.Event()
        self.capacity, self.came, self.went = Capacity(), Counter(), Counter()
        self.units, self.endpoints, self.known = None, None, set()
        self.ready = []  # (time, how many units are READY)

    def __enter__(self):
        self.look()
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)

    def run(self):
        while not self.over.wait(self.interval_s):
            self.look()

    def look(self):
        try:
            units = self.world.api("GET", "/units")["items"]
            with urllib.request.urlopen(self.world.client()["admin"] + "/routes", timeout=10) as answer:
                endpoints = {one["id"] for one in json.loads(answer.read())["endpoints"] if one["state"] == "UP"}
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return
        now = time.monotonic()
        self.capacity.see(units, now)
        self.known |= {unit["name"] for unit in units}
        ready = {unit["name"] for unit in units if unit["state"] in SERVING}
        self.ready.append((now, len(ready)))
        self.units = self.moved("units", self.units, ready)
        self.endpoints = self.moved("endpoints", self.endpoints, endpoints)

    def moved(self, what, before, after):
        if before is not None:
            self.came[what] += len(after - before)
            self.went[what] += len(before - after)
        return after


# ---- what processes take ----


def usage(pid):
    """(resident MiB, open descriptors); None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, IndexError):
        return None


class Sampler(threading.Thread):
    """Resident memory and open descriptors of processes, every few seconds."""

    def __init__(self, processes, interval_s=5.0):
        """processes: {name: pid} of those to be watched; each for as long as it runs."""
        super().__init__(daemon=True)
        self.processes = {name: (pid, start_time(pid)) for name, pid in processes.items()}
        self.interval_s, self.over = interval_s, threading.Event()
        self.series = {name: [] for name in processes}  # (time, MiB, descriptors)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)

    def run(self):
        while not self.over.wait(self.interval_s):
            now = time.monotonic()
            for name, (pid, started) in self.processes.items():
                if start_time(pid) == started and (taken := usage(pid)):
                    self.series[name].append((now, *taken))

    def last(self, name):
        return self.series[name][-1][1:] if self.series.get(name) else (0.0, 0)

    def ended(self):
        """Those that do not run any more."""
        return [name for name, (pid, started) in self.processes.items() if start_time(pid) != started]


def growth(points):
    """By how much a series rose from its first moment to its last: its time by the median of the slopes between all its points
    (Theil and Sen), so that a peak, even at the end, is no growth."""
    slopes = [(y2 - y1) / (t2 - t1) for i, (t1, y1) in enumerate(points) for t2, y2 in points[i + 1 :] if t2 > t1]
    return statistics.median(slopes) * (points[-1][0] - points[0][0]) if slopes else 0.0


def mean_of(series):
    """One series for several of the same moments: what each takes in the mean."""
    return [(group[0][0], statistics.mean(one[1] for one in group), statistics.mean(one[2] for one in group)) for group in zip(*series)]


def flatness(series):
    """Rows (name, what, median, growth after the warm-up, whether that is flat) of {name: [(time, MiB, descriptors)]}."""
    rows = []
    for name, samples in series.items():
        warm = samples[int(len(samples) * WARM_UP) :]
        for at, what, most, share in ((1, "MiB", MOST_MIB, MOST_SHARE), (2, "descriptors", MOST_DESCRIPTORS, MOST_DESCRIPTORS_SHARE)):
            points = [(sample[0], sample[at]) for sample in warm]
            middle = statistics.median(y for _, y in points) if points else 0.0
            rose = growth(points)
            rows.append((name, what, middle, rose, rose <= max(most, share * middle)))
    return rows
