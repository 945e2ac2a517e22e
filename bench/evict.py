"""From a drain's notice to the last request that any gateway sends to the drained unit; from a kill to the last failed try.

`evict` is the 99th percentile in milliseconds over rounds and gateways, evict.kill that of killed units. The notice is the server's
decision that the unit drains, by its event: a drained node's unit serves on until another is READY in its place. Four gateways carry traffic for an
app of two units on the stand-in for Ray; the fourth hears the server through a relay that passes 8 KiB/s in pieces of 64 bytes.
The picks are those of the gateways' own access logs. .detail.*.fast leaves the slow one out.
"""

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from _peers import ASTRA
from _rows import row
from demolib.world import wall_seconds
from disasterlib import World
from fakeraylib import environment
from platformlib import Traffic
from proclib import kill, members, wait_for

GATEWAYS = 4
KILLS = 4  # each is answered with a longer pause before the next start: more would wait for minutes
SLOW_BYTES, SLOW_STEP_S = 64, 64 / 8192


def say(text):
    print(f"evict: {text}", file=sys.stderr, flush=True)


class SlowRelay:
    """Passes bytes on at once towards `port`, slowly back."""

    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.to))
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for source, sink, step_s in ((here, there, 0), (there, here, SLOW_STEP_S)):
                threading.Thread(target=self._pass, args=(source, sink, step_s), daemon=True).start()

    @staticmethod
    def _pass(source, sink, step_s):
        with contextlib.suppress(OSError):
            while data := source.recv(SLOW_BYTES if step_s else 65536):
                sink.sendall(data)
                time.sleep(step_s)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Gateway:
    """One more gateway of the platform, with an access log of its own."""

    def __init__(self, world, folder, number, starlink_port):
        self.log, ready = folder / f"access-{number}.log", folder / f"gateway-{number}.json"
        self.log.touch()
        flags = {"server": f"127.0.0.1:{starlink_port}", "token-file": world.data / "server" / "join.token", "listen": "127.0.0.1:0",
                 "admin": "127.0.0.1:0", "access-log": self.log, "ready-file": ready, "data": folder / f"gateway-{number}",
                 "name": f"bench-{number}"}  # fmt: skip
        words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
        self.process = subprocess.Popen([ASTRA, "gateway", *words], stdout=sys.stderr, stderr=sys.stderr)
        wait_for("a gateway", ready.exists, 20)
        self.address = f"http://127.0.0.1:{json.loads(ready.read_text())['gateway']}"
        self.seen = 0

    def tries(self):
        """(moment, unit, whether it failed) of each try since the last call."""
        found = []
        with open(self.log) as log:
            log.seek(self.seen)
            lines = log.readlines()
            self.seen = log.tell()
        for line in lines:
            request = json.loads(line)
            began, earlier = wall_seconds(request["time"]), request.get("earlier", [])
            for one, failed in [*((e, True) for e in earlier), (request, request["status"] >= 500)]:
                if "unit" in one and "picked_us" in one:
                    found.append((began + one["picked_us"] / 1e6, one["unit"], failed))
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def settle(world, gateways, without):
    world.wait_ready("app", without=without)
    time.sleep(1.0)
    for gateway in gateways:
        gateway.tries()


def lateness(gateways, unit, since, failed_only):
    """Milliseconds from `since` to each gateway's last try at the unit; 0 where none came later."""
    out = []
    for gateway in gateways:
        moments = [at for at, name, failed in gateway.tries() if name == unit and (failed or not failed_only)]
        out.append(max([0.0, *((at - since) * 1e3 for at in moments)]))
    return out


def drained_at(world, unit):
    """When the server decided it (seconds since 1970)."""
    moves = [event for event in world.events("app") if event["object"].endswith(unit) and "-> DRAINING" in event["message"]]
    return wall_seconds(moves[-1]["time"])


def drain_once(world, gateways):
    unit = world.units("app", "READY")[0]
    world.api("POST", f"/nodes/{unit['nodeName']}/drain", {})
    world.wait("the unit's end", lambda: unit["name"] not in {u["name"] for u in world.units("app")})
    time.sleep(0.5)
    late = lateness(gateways, unit["name"], drained_at(world, unit["name"]), failed_only=False)
    world.api("POST", f"/nodes/{unit['nodeName']}/undrain", {})
    settle(world, gateways, [unit["name"]])
    return late


def kill_once(world, gateways):
    unit = world.units("app", "READY")[0]
    pids = members(unit["name"])
    since = time.time()
    kill(pids)
    world.wait("the unit's end", lambda: unit["name"] not in {u["name"] for u in world.units("app", "READY")})
    time.sleep(0.5)
    late = lateness(gateways, unit["name"], since, failed_only=True)
    settle(world, gateways, [unit["name"]])
    return late


def p99(values):
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def rows(name, rounds, most):
    every, fast = [late for r in rounds for late in r], [late for r in rounds for late in r[:-1]]
    note = f"p50 {statistics.median(every):.1f}, {len(rounds)} rounds, {GATEWAYS} gateways"
    row(name, p99(every), "ms", [max(r) for r in rounds], note=note, max=most)
    part = "detail" if name == "evict" else "detail.kill"
    row(f"evict.{part}.fast", p99(fast), "ms", [max(r[:-1]) for r in rounds], note=f"p50 {statistics.median(fast):.1f}")


def measure(folder, o):
    with contextlib.ExitStack() as stack:
        world = World(folder, environment())
        stack.callback(world.end)
        world.up()
        world.deploy(units=2, deployment={"max_ongoing_requests": 100})
        port = int(json.loads((world.data / "run" / "server.ready").read_text())["starlink"])
        relay = SlowRelay(port)
        stack.callback(relay.listener.close)
        gateways = []
        for number in range(GATEWAYS):
            gateways.append(Gateway(world, folder, number, relay.port if number == GATEWAYS - 1 else port))
            stack.callback(gateways[-1].stop)
        time.sleep(5)  # the slow one has its view
        traffic = [stack.enter_context(Traffic(g.address, "/app/x", connections=2, pause_s=0.001)) for g in gateways]
        settle(world, gateways, [])
        for name, once, rounds in (("evict", drain_once, o.rounds), ("evict.kill", kill_once, min(o.rounds, KILLS))):
            found = []
            for number in range(rounds):
                found.append(once(world, gateways))
                say(f"{name} {number + 1}/{rounds}: " + ", ".join(f"{late:.0f}" for late in found[-1]) + " ms")
            rows(name, found, 400)
        failed = sum(len(t.failed) for t in traffic)
        sent = sum(t.sent for t in traffic)
    row("evict.detail.failed_requests", failed, "requests", [failed], note=f"of {sent}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astra-bench-", dir="/tmp") as folder:
        measure(Path(folder), o)
    return 0


if __name__ == "__main__":
    sys.exit(main())
