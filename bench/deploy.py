"""`astra deploy` on a warm node until READY, by `ray start` and `serve deploy` by hand until the app answers.

`deploy` is the ratio of the two times. Both start the same no-op app from the same environment, the files of which are in the page cache,
on the same machine, taken in turns. By hand: `ray start --head`, then `serve deploy`, both waited for, then requests to Serve's own
proxy until one is answered. Astra: `astra deploy --wait` of an app of one unit, its environment unpacked on the node, until the command
returns; a request through the gateway must then be answered at once.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from _platform import CODE, platform, spec, unpacked
from _rows import row
from proclib import members

READY_S = 180


def say(text):
    print(f"deploy: {text}", file=sys.stderr, flush=True)


def answered(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read() == b"ok"
    except OSError:
        return False


def by_hand(env, folder):
    """Seconds from the first command to the first answer, in namespaces of its own: Ray's fixed ports may be taken out here."""
    (folder / "noop.py").write_text(CODE)
    config = {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": 8000},
              "applications": [{"name": "noop", "route_prefix": "/noop", "import_path": "noop:app"}]}  # fmt: skip
    (folder / "serve.yaml").write_text(json.dumps(config))
    python = f"{env}/bin/python3"
    script = f"""
set -e
ip link set lo up
{python} -m ray.scripts.scripts start --head --node-ip-address=127.0.0.1 --num-cpus=1 --object-store-memory=100000000 \
    --disable-usage-stats --temp-dir={folder}/r >{folder}/start.log 2>&1
{python} -m ray.serve.scripts deploy -a http://127.0.0.1:8265 {folder}/serve.yaml >{folder}/deploy.log 2>&1
until curl -sf -o {folder}/answer http://127.0.0.1:8000/noop; do sleep 0.05; done
date +%s.%N
"""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "bash", "-c", script]
    settings = {"PATH": f"{env}/bin:/usr/sbin:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(folder)}
    began = time.time()
    done = subprocess.run(words, env=settings, stdout=subprocess.PIPE, text=True, timeout=READY_S, cwd=folder)
    if done.returncode != 0 or (folder / "answer").read_text() != "ok":
        raise RuntimeError("by hand: " + "".join(p.read_text()[-2000:] for p in folder.glob("*.log")))
    return float(done.stdout) - began


def hand_once(env):
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))  # short: Ray's sockets lie below it
    try:
        return by_hand(env, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def by_astra(world, folder):
    """Seconds of `astra deploy --wait`; the app is gone again afterwards."""
    app = folder / "app.yaml"
    app.write_text(json.dumps({"apiVersion": "astra-ray.dev/v1alpha1", "kind": "App", "metadata": {"name": "noop"}, "spec": spec(1)}))
    began = time.time()
    done = world.run("deploy", app, "--wait", timeout_s=READY_S)
    took = time.time() - began
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    if not answered(world.client()["gateway"] + "/noop/"):
        raise RuntimeError("READY, and yet the gateway does not answer")
    unit = world.units("noop")[0]["name"]
    world.delete("noop")
    world.wait("the unit's end", lambda: not members(unit))
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    o = parser.parse_args()
    env = unpacked()
    own, hand = [], []
    with tempfile.TemporaryDirectory(prefix="astra-bench-", dir="/tmp") as name:
        folder = Path(name)
        world = platform(folder)
        try:
            by_astra(world, folder)  # every node's cache and the page cache are warm from here on
            for number in range(o.pairs):
                turns = [(own, lambda: by_astra(world, folder)), (hand, lambda: hand_once(env))]
                for times, run in turns if number % 2 == 0 else reversed(turns):
                    times.append(run())
                say(f"{number + 1}/{o.pairs}: astra {own[-1]:.2f} s, by hand {hand[-1]:.2f} s")
        finally:
            world.run("down", "--data", world.data)
    ratios = [a / b for a, b in zip(own, hand)]
    value = statistics.median(ratios)
    note = f"lowest {min(ratios):.3g}, highest {max(ratios):.3g}"
    row("deploy", value, "ratio", ratios, peer="by hand", peer_value=1, ratio=1 / value, note=note, max=1.1)
    row("deploy.detail.seconds", statistics.median(own), "s", own, peer="by hand", peer_value=statistics.median(hand), ratio=1 / value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
