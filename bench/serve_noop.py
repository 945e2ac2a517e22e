"""A Serve app that does nothing, through Astra's gateway, beside Ray's own ways in and straight at the replica.

One real Ray with direct ingress serves .proxy (Ray's Python proxy), .straight and .p50; a second one in HAProxy mode serves .haproxy.
The gateway, the proxy, HAProxy and wrk share core 1, the replica and the rest of Ray have core 0, so that each way in has the same
machine; both sides of a pair answer by the very same replica. Pairs are interleaved. All of it runs in namespaces of its own: no port
is taken from anybody, and nothing is left behind. --env DIR takes an unpacked environment instead of packing one under build/bench.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from _gateway import Gateway
from _peers import wrk
from _platform import CODE, unpacked
from _rows import ratio_rows, row

INSIDE = "ASTRA_BENCH_INSIDE"
RAY_CORE, HOP_CORE = "0", "1"
PEERS = {"proxy": "Ray's Python proxy", "haproxy": "Ray's HAProxy mode", "straight": "wrk at the replica's own port"}


def say(text):
    print(f"serve-noop: {text}", file=sys.stderr, flush=True)


# ---- the world around ----


def enter():
    """Run this script again in network and PID namespaces of its own; its end is the end of all processes in them."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    if os.geteuid() != 0:
        words[1:1] = ["--user", "--map-root-user"]
    return subprocess.run([*words, sys.executable, *sys.argv], env={**os.environ, INSIDE: "1"}).returncode


def fetch(url, body=None):
    request = urllib.request.Request(url, data=body, method="PUT" if body else "GET")
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def until(what, timeout_s, condition):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except (urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {timeout_s} s")


def processes(word):
    """PIDs of our namespace whose command line has `word`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return [pid for pid in found if pid != os.getpid()]


def pin(pids, core):
    for pid in pids:
        subprocess.run(["taskset", "-a", "-p", "-c", core, str(pid)], check=True, stdout=subprocess.DEVNULL)


class Ray:
    """One real Ray with the no-op app. `switch` is the environment variable that chooses the way in."""

    def __init__(self, env, folder, switch):
        (folder / "noop.py").write_text(CODE)
        settings = {
            "PATH": f"{env / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(folder), switch: "1",
            "RAY_AUTH_MODE": "disabled", "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # one core, one thread, as the gateway has
        }
        command = ["taskset", "-c", RAY_CORE, env / "bin" / "python3", "-m", "ray.scripts.scripts", "start", "--head", "--block",
                   "--node-ip-address=127.0.0.1", "--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats",
                   f"--temp-dir={folder}/r"]
        self.out = open(folder / "ray.log", "wb")
        self.process = subprocess.Popen([str(w) for w in command], env=settings, stdout=self.out, stderr=self.out, cwd=folder)
        self.api = "http://127.0.0.1:8265/api/serve/applications/"
        say(f"starting Ray with {switch}")
        until("Ray's dashboard", 120, lambda: fetch(self.api) is not None)
        body = {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": 8000},
                "logging_config": {"enable_access_log": False},
                "applications": [{"name": "noop", "route_prefix": "/", "import_path": "noop:app"}]}
        fetch(self.api, json.dumps(body).encode())
        until("the app", 180, self.running)
        self.replica = until("the replica's port", 60, self.replica_port)

    def running(self):
        return fetch(self.api)["applications"].get("noop", {}).get("status") == "RUNNING"

    def replica_port(self):
        """Ray tells it with direct ingress; in HAProxy mode it is found by its answer to a health check."""
        listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
        for port in sorted({int(p) for p in re.findall(r":(30\d\d\d)\s", listening)}):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/healthz", timeout=5) as answer:
                if answer.status == 200:
                    return port
        return None

    def stop(self):
        for pid in sorted(processes("ray"), reverse=True):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.process.wait()
        until("the ports", 30, lambda: not re.search(r":(8000|8265|6379)\s", subprocess.run(
            ["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout))
        self.out.close()


# ---- measuring ----


def rounds(ports, connections, o):
    """For each of `ports` its measurements, taken in turns."""
    out = {name: [] for name in ports}
    for name, port in ports.items():
        wrk(HOP_CORE, port, connections, 1)  # warm
    for number in range(o.pairs):
        for name in list(ports) if number % 2 == 0 else reversed(list(ports)):
            out[name].append(wrk(HOP_CORE, ports[name], connections, o.seconds)[1:])
        say(f"c{connections} {number + 1}/{o.pairs}: " + ", ".join(
            f"{name} {rates[-1][0]:.0f}/s p50 {rates[-1][1]:.0f} us" for name, rates in out.items()))
    return out


def rates_of(measured, name):
    return [rate for rate, _ in measured[name]]


def compare(part, measured, least):
    name = part.partition(".")[0]
    own, theirs = rates_of(measured, "astra"), rates_of(measured, name)
    ratio_rows(f"serve-noop.{part}", f"serve-noop.detail.{part}", "requests/s", own, PEERS[name], theirs, min=least)


def added_row(measured):
    """What the gateway adds to the median, in microseconds."""
    own, straight = ([median for _, median in measured[name]] for name in ("astra", "straight"))
    added = [a - b for a, b in zip(own, straight)]
    row("serve-noop.p50.c1", statistics.median(added), "us", added, peer=PEERS["straight"], peer_value=0,
        ratio=statistics.median(b / a for a, b in zip(own, straight)),
        note=f"p50 {statistics.median(own):.0f} us, straight {statistics.median(straight):.0f} us", max=250)


def measure_direct(env, folder, o):
    ray = Ray(env, folder, "RAY_SERVE_ENABLE_DIRECT_INGRESS")
    gateway = Gateway(folder, HOP_CORE, [ray.replica], folder / "access.log")
    pin(processes("ProxyActor"), HOP_CORE)
    ports = {"astra": gateway.port, "proxy": 8000, "straight": ray.replica}
    one, many = rounds(ports, 1, o), rounds(ports, 32, o)
    compare("proxy.c1", one, 3)
    compare("proxy.c32", many, 3)
    compare("straight.c32", many, 0.95)
    added_row(one)
    gateway.stop()
    ray.stop()


def measure_haproxy(env, folder, o):
    ray = Ray(env, folder, "RAY_SERVE_ENABLE_HA_PROXY")
    gateway = Gateway(folder, HOP_CORE, [ray.replica], folder / "access.log")
    pin(processes("haproxy"), HOP_CORE)
    ports = {"astra": gateway.port, "haproxy": 8000}
    for connections in (1, 32):
        compare(f"haproxy.c{connections}", rounds(ports, connections, o), 1.0)
    gateway.stop()
    ray.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", help="an unpacked environment with Ray")
    parser.add_argument("--only", choices=["direct", "haproxy"], help="one of the two Rays")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    o = parser.parse_args()
    env = Path(o.env).resolve() if o.env else unpacked()
    if INSIDE not in os.environ:
        return enter()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, measure in (("direct", measure_direct), ("haproxy", measure_haproxy)):
        if o.only not in (None, name):
            continue
        folder = Path(tempfile.mkdtemp(prefix="astra-bench-", dir="/tmp"))
        try:
            measure(env, folder, o)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
