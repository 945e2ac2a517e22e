"""Resident memory and CPU of server, gateway, agent and shim, at rest and with 100 units on the stand-in for Ray.

`footprint` is the resident memory in MiB of the largest of the four with 100 units of one app, on one `astra up` of eight nodes; .detail.* are
each program's, the largest of its processes, and its CPU time in percent of a core over half a minute without requests.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from _peers import cpu_seconds
from _rows import row
from disasterlib import World
from fakeraylib import environment
from proclib import members

REST_S = 30


def say(text):
    print(f"footprint: {text}", file=sys.stderr, flush=True)


def mebibytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def programs(world, units):
    """program -> pids"""
    found = {"server": [], "gateway": [], "agent": [], "shim": []}
    for name, pid in world.pids().items():
        kind = "agent" if "-node-" in name else name
        if kind in found:
            found[kind].append(pid)
    for unit in units:
        for pid in members(unit["name"]):
            if b"shim" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:2]:
                found["shim"].append(pid)
    return found


def measure(world, units, when):
    """program -> MiB of its largest process; prints the rows."""
    found = programs(world, units)
    before = {pid: cpu_seconds(pid) for pids in found.values() for pid in pids}
    time.sleep(REST_S)
    largest = {}
    for name, pids in found.items():
        if pids:
            used = [100 * (cpu_seconds(pid) - before[pid]) / REST_S for pid in pids]
            sizes = [mebibytes(pid) for pid in pids]
            largest[name] = max(sizes)
            row(f"footprint.detail.{when}.{name}.memory", max(sizes), "MiB", sizes, note=f"{len(pids)} processes, the largest")
            row(f"footprint.detail.{when}.{name}.cpu", max(used), "% of a core", used, note=f"over {REST_S} s, the largest",
                **({"max": 1.0} if when == "rest" else {}))  # fmt: skip
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=100)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astra-bench-", dir="/tmp") as folder:
        world = World(Path(folder), environment())
        for flag, value in (("--nodes", "4"), ("--node-cpu", "40"), ("--node-memory", "100Gi")):
            world.flags[world.flags.index(flag) + 1] = value
        try:
            world.up()
            time.sleep(5)
            measure(world, [], "rest")
            world.put_app("app", world.spec(units=o.units))
            began = time.monotonic()
            units = world.wait_ready("app", 600)
            say(f"{len(units)} units READY after {time.monotonic() - began:.0f} s")
            largest = measure(world, units, f"units{o.units}")
        finally:
            world.end()
    name = max(largest, key=largest.get)
    row("footprint", largest[name], "MiB", list(largest.values()), note=f"{name} is the largest, with {o.units} units", max=64)
    return 0


if __name__ == "__main__":
    sys.exit(main())
