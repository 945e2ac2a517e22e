"""A killed unit's replacement: the whole time from the first SIGKILL to READY, by Ray's own part of it.

`replace` is that ratio (1.0: Astra adds nothing), .detail.* are the steps in seconds. Two units of a no-op app on real Ray stand on one
`astra up`; every process of one unit is killed, its agent lives; the environment lies in the nodes' cache. Each kill is of an app that is
deployed anew, for the second of one app within ten minutes is answered with a pause, which is not what is measured. Ray's part is from the exec of
`ray start` to all Serve applications RUNNING, by the agent's log.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _platform import platform, spec
from _rows import row
from demolib.world import moments, wall_seconds
from proclib import kill, members


def say(text):
    print(f"replace: {text}", file=sys.stderr, flush=True)


def once(world):
    """One kill, of an app of its own: step -> seconds."""
    world.put_app("noop", spec(2))
    before = world.wait_ready("noop")
    victim = before[0]["name"]
    known = {unit["name"] for unit in before}
    pids = members(victim)
    killed = time.time()
    kill(pids)
    world.wait("the loss to be seen", lambda: victim not in {u["name"] for u in world.units("noop", "READY")})
    after = world.wait_ready("noop", without=[victim])
    new = next(unit for unit in after if unit["name"] not in known)
    at, ready = moments(world.data, new["name"]), wall_seconds(new["readySince"])
    world.delete("noop")
    world.wait("the units' ends", lambda: not any(members(unit["name"]) for unit in after))
    return {"whole": ready - killed, "noticed and placed": at["FETCHING"] - killed, "fetch from cache": at["STARTING"] - at["FETCHING"],
            "ray start": at["UP"] - at["STARTING"], "deploy": at["running"] - at["UP"], "ready": ready - at["running"],
            "ray": at["running"] - at["STARTING"]}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astra-bench-", dir="/tmp") as folder:
        world = platform(Path(folder))
        try:
            runs = []
            for number in range(o.runs + 1):  # the first one warms caches
                runs.append(once(world))
                say(f"{number}/{o.runs}: " + ", ".join(f"{step} {took:.2f} s" for step, took in runs[-1].items()))
        finally:
            world.run("down", "--data", world.data)
    runs = runs[1:]
    ratios = [run["whole"] / run["ray"] for run in runs]
    note = f"lowest {min(ratios):.3g}, highest {max(ratios):.3g}"
    row("replace", statistics.median(ratios), "ratio", ratios, peer="Ray's own part", peer_value=1, note=note,
        ratio=statistics.median(1 / ratio for ratio in ratios), max=1.15)
    for step in runs[0]:
        took = [run[step] for run in runs]
        row(f"replace.detail.{step.replace(' ', '_')}", statistics.median(took), "s", took)
    return 0


if __name__ == "__main__":
    sys.exit(main())
