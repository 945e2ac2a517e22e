"""A worker: a build of an application (imports its module), or one replica that serves."""

import asyncio
import importlib
import json
import os
import sys
import time
import traceback

from ray.serve import Application
from ray.fake import http
from ray.fake.channel import Lines
from ray.fake.strict import complain
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

LATE_S = 0.2
NOT_FOUND = "Path '{}' not found. Ping http://.../-/routes for available routes."


def load(import_path):
    module, _, attribute = import_path.partition(":")
    application = getattr(importlib.import_module(module), attribute)
    if not isinstance(application, Application):
        raise TypeError(f"Expected '{import_path}' to be an Application but got {type(application)}.")
    return application


def build(sock, message):
    """Says which deployment the application has, or how its import failed."""
    lines = Lines(sock)
    try:
        deployment = load(message["import_path"]).deployment
        lines.send(kind="built", deployment=deployment.name, settings=deployment.settings)
    except BaseException:
        lines.send(kind="build_failed", error=traceback.format_exc())


class Replica:
    def __init__(self, sock, message):
        self.lines, self.message, self.settings = Lines(sock), message, message["settings"]
        self.prefix = message["route_prefix"].rstrip("/")
        self.ongoing = self.queued = 0
        self.direct = set()  # those that did not come through Ray's proxy: Astra holds them to the limit
        self.draining, self.unhealthy = False, False
        self.writers = set()

    async def start(self):
        application = load(self.message["import_path"])
        self.places = asyncio.Semaphore(self.settings["max_ongoing_requests"])
        self.user = await asyncio.to_thread(application.deployment.body, *application.args, **application.kwargs)
        await self.configure(self.settings.get("user_config"))
        self.server = await self.listen()
        self.lines.send(kind="started", port=self.port, pid=os.getpid())

    async def configure(self, config):
        if config is not None:
            done = self.user.reconfigure(config)
            if asyncio.iscoroutine(done):
                await done

    async def listen(self):
        """The next free port of the range; the one of a replica before is not used again."""
        first, last = self.message["ports"]
        for i in range(last - first + 1):
            self.port = first + (self.message["serial"] + i) % (last - first + 1)
            try:
                return await http.serve(self.handle, self.message["host"], self.port, self.connected)
            except OSError:
                continue
        raise RuntimeError(f"No available port in range {first}-{last}")

    def connected(self, writer):
        self.writers.add(writer)

    async def handle(self, request):
        if request.path == "/-/healthz":
            word = "DRAINING" if self.draining else "UNHEALTHY" if self.unhealthy else "success"
            return http.text(200 if word == "success" else 503, word)
        if request.path == "/-/routes":
            return JSONResponse({self.prefix or "/": self.message["application"]})
        if not (request.path + "/").startswith(self.prefix + "/"):
            return http.text(404, NOT_FOUND.format(request.path))
        limit = self.settings["max_queued_requests"]
        if limit >= 0 and self.queued >= limit and self.places.locked():
            return http.text(503, "Request dropped due to backpressure")
        if "x-fakeray-proxy" in request.headers:
            return await self.call(request)
        self.direct.add(request)
        if len(self.direct) > self.settings["max_ongoing_requests"]:
            asyncio.get_running_loop().call_later(LATE_S, self.count, list(self.direct))
        try:
            return await self.call(request)
        finally:
            self.direct.discard(request)

    def count(self, requests):
        """Whether there were too many at once; not those that had been given up already, which is seen a moment later."""
        limit = self.settings["max_ongoing_requests"]
        if sum(not request.abandoned for request in requests) > limit:
            complain(f"{self.message['replica']}: more than max_ongoing_requests {limit}")

    async def call(self, request):
        self.queued += 1
        async with self.places:
            self.queued -= 1
            self.ongoing += 1
            try:
                return answer_of(await self.user(request))
            except Exception:
                traceback.print_exc()
                return http.text(500, "Internal Server Error")
            finally:
                self.ongoing -= 1

    async def told(self):
        """Orders of the controller."""
        loop = asyncio.get_running_loop()
        self.lines.sock.setblocking(False)
        while True:
            data = await loop.sock_recv(self.lines.sock, 65536)
            if not data:
                return
            *whole, self.lines.rest = (self.lines.rest + data).split(b"\n")
            for line in whole:
                await self.order(json.loads(line))

    async def order(self, message):
        if message["kind"] == "ping":
            await self.ping()
        elif message["kind"] == "configure":
            self.settings.update(message["settings"])
            await self.configure(self.settings.get("user_config"))
            self.lines.send(kind="configured")
        elif message["kind"] == "drain":
            self.draining = True

    async def ping(self):
        try:
            if hasattr(self.user, "check_health"):
                self.user.check_health()
            self.unhealthy = False
        except Exception:
            self.unhealthy = True
        self.lines.send(kind="pong", healthy=not self.unhealthy)


def answer_of(value):
    if isinstance(value, (Response, StreamingResponse)):
        return value
    if isinstance(value, bytes):
        return Response(value, media_type="application/octet-stream")
    return PlainTextResponse(value) if isinstance(value, str) else JSONResponse(value)


def main(sock, message):
    async def run():
        replica = Replica(sock, message)
        began = time.monotonic()
        try:
            await replica.start()
        except BaseException:
            replica.lines.send(kind="start_failed", error=traceback.format_exc())
            return
        print(f"replica {message['replica']} on port {replica.port} after {time.monotonic() - began:.2f} s", flush=True)
        await replica.told()

    sys.argv = [message["name"]]
    asyncio.run(run())
