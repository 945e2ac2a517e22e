"""Clients that check what they get. Each request carries a number that no other one has; its answer must come from the app that was
asked, carry this number, and bring back the whole body. Nothing is sent twice: what fails, fails."""

import http.client
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

# The app: its answer says who gave it, and to what.
CODE = """
import asyncio
import os

from ray import serve
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=8, ray_actor_options={"num_cpus": 0.1})
class Echo:
    async def __call__(self, request):
        query = request.query_params
        if "sleep" in query:
            await asyncio.sleep(float(query["sleep"]))
        body = await request.body()
        return Response(f"{os.environ['ASTRA_UNIT']} {query['n']}\\n".encode() + body, media_type="application/octet-stream")


app = Echo.bind()
"""
TIMEOUT_S = 30
LARGE_BYTES = 200_000


@dataclass
class Bad:
    """A request without its right answer; times are monotonic."""

    began: float
    ended: float
    app: str
    wrong: bool  # status 200, and yet not the answer to this request
    why: str


class Client:
    """One connection at a time, one request after the other."""

    def __init__(self, host, app, number, seed):
        self.host, self.app, self.number = host, app, number
        self.random = random.Random(f"{seed} {app} {number}")
        self.connection, self.uses, self.sent, self.tries = None, 0, 0, 0

    def connect(self):
        if self.uses <= 0:
            self.close()
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT_S)
            self.uses = self.random.randint(20, 400)
        self.uses -= 1

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def send(self):
        """(name, body) of the request that is on its way now."""
        draw, self.sent = self.random.random, self.sent + 1
        name = f"{self.number}-{self.sent}"
        target = f"/{self.app}/x?n={name}" + (f"&sleep={draw() / 5:.3f}" if draw() < 0.1 else "")
        body = self.random.randbytes(self.random.randrange(LARGE_BYTES if draw() < 0.01 else 2000))
        kind = draw()
        if kind < 0.3:
            self.connection.request("GET", target)
            return name, b""
        if kind < 0.4:
            pieces = (body[at : at + 4000] for at in range(0, len(body), 4000))
            self.connection.request("POST", target, pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        else:
            self.connection.request("POST", target, body)
        return name, body

    def leave(self):
        """Sends a request and goes away before the answer."""
        self.connect()
        self.send()
        self.close()

    def ask(self):
        """(whether a wrong answer came, why it is bad); None for a right one."""
        try:
            self.connect()
            name, body = self.send()
            answer = self.connection.getresponse()
            content = answer.read()
            self.tries = int(answer.headers.get("x-astra-tries") or 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return False, repr(error)
        if answer.status != 200:
            return False, f"{answer.status} {answer.headers.get('x-astra-cause')} {content[:200]!r}"
        line, _, back = content.partition(b"\n")
        unit, _, number = line.decode(errors="replace").partition(" ")
        if unit.rpartition("-")[0] != self.app or number != name or back != body:
            return True, f"asked {self.app} for {name} with {len(body)} bytes, answered {line[:80]!r} with {len(back)} bytes"
        return None


class Clients:
    """So many clients for each app, until the end of the block."""

    def __init__(self, gateway, apps, seed, per_app=3, pause_s=0.03, leave=0.005):
        host = gateway.split("//")[1]
        self.pause_s, self.leave = pause_s, leave
        self.lock, self.over = threading.Lock(), threading.Event()
        self.seconds = defaultdict(lambda: [0, 0])  # whole second -> right answers, bad ones
        self.latencies, self.bad, self.resent, self.left, self.answered = Counter(), [], 0, 0, Counter()
        clients = [Client(host, app, i, seed) for app in apps for i in range(per_app)]
        self.threads = [threading.Thread(target=self._run, args=(client,), daemon=True) for client in clients]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(2 * TIMEOUT_S)

    def _run(self, client):
        while not self.over.wait(self.pause_s):
            if client.random.random() < self.leave:
                self._leave(client)
                continue
            began = time.monotonic()
            bad = client.ask()
            self._count(client, began, time.monotonic(), bad)
        client.close()

    def _leave(self, client):
        try:
            client.leave()
        except (OSError, http.client.HTTPException):
            client.close()
        with self.lock:
            self.left += 1

    def _count(self, client, began, ended, bad):
        with self.lock:
            self.seconds[int(ended)][bad is not None] += 1
            self.latencies[round((ended - began) * 1000)] += 1
            if bad is None:
                self.answered[client.app] += 1
                self.resent += client.tries > 1
            else:
                self.bad.append(Bad(began, ended, client.app, *bad))

    def total(self):
        with self.lock:
            return sum(ok + bad for ok, bad in self.seconds.values())

    def rate(self, over_s=5):
        """Requests a second over the last whole seconds."""
        now = int(time.monotonic())
        with self.lock:
            return sum(sum(self.seconds.get(now - i, (0, 0))) for i in range(1, over_s + 1)) / over_s

    def latency_s(self, share):
        """The latency that this share of the requests stayed below."""
        with self.lock:
            counts = sorted(self.latencies.items())
        left = share * sum(n for _, n in counts)
        for ms, n in counts:
            left -= n
            if left <= 0:
                return ms / 1000
        return 0.0
