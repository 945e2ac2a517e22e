"""The head's GCS and dashboard: nodes join here with the unit's token, Serve's REST API answers here, and the proxy
forwards here."""

import asyncio
import hmac
import json
import secrets
import time

from ray import __version__
from ray.fake import http
from ray.fake.controller import Controller
from ray.fake.strict import complain
from starlette.responses import JSONResponse, Response

SERVE = "/api/serve/applications/"
OPEN = ("/", "/favicon.ico", "/api/authentication_mode", "/api/authenticate", "/api/healthz", "/api/gcs_healthz",
        "/api/local_raylet_healthz", "/-/healthz")  # fmt: skip
TOP = {"proxy_location", "http_options", "grpc_options", "logging_config", "applications", "target_capacity"}
APPLICATION = {"name", "route_prefix", "import_path", "runtime_env", "args", "deployments", "logging_config",
               "external_scaler_enabled", "autoscaling_policy"}  # fmt: skip
FORWARD_S = 60


class Sender:
    def __init__(self, writer):
        self.writer = writer

    def send(self, **message):
        self.writer.write(json.dumps(message).encode() + b"\n")


class Node:
    def __init__(self, join, writer):
        self.id, self.ip, self.free = secrets.token_hex(28), join["node_ip_address"], join["num_cpus"]
        self.ports, self.lines = join["replica_ports"], Sender(writer)

    def fork(self, controller, owner, **message):
        worker = message.setdefault("worker", secrets.token_hex(8))
        controller.workers[worker] = owner
        self.lines.send(kind="fork", ports=self.ports, **message)
        return worker


def problems(config, start):
    """What Ray's schema refuses, and what Astra's agent must never send."""
    apps = config.get("applications")
    if not isinstance(apps, list):
        return "applications\n  Field required"
    names, prefixes = [app.get("name", "default") for app in apps], [app.get("route_prefix", "/") for app in apps]
    routed = [prefix for prefix in prefixes if prefix is not None]
    if "" in names:
        return "applications\n  Value error, Application names must be nonempty."
    if len(set(names)) != len(names):
        return f"Value error, Found duplicate application names: {sorted(names)}."
    if len(set(routed)) != len(routed):
        return f"Value error, Found duplicate route prefixes: {sorted(routed)}."
    for app in apps:
        if ":" not in app.get("import_path", "") and "." not in app.get("import_path", ""):
            return f"import_path\n  Value error, Got invalid import path \"{app.get('import_path')}\"."
        if {"host", "port"} & set(app):
            return "Value error, host and port must not be set in an application of a multi-app config."
    ours = {"unknown fields": set(config) - TOP, "unknown application fields": set().union(*map(set, apps)) - APPLICATION}
    ours["another host or port"] = {} if http_fits(config, start) else config.get("http_options")
    for what, found in ours.items():
        if found:
            complain(f"PUT with {what}: {found}")
    return None


def http_fits(config, start):
    first = start["port"]
    options, grpc = config.get("http_options", {}), config.get("grpc_options", {})
    hosts = (start["node_ip_address"], "0.0.0.0")
    ports = options.get("port", 0), grpc.get("port", 0)
    return (
        config.get("proxy_location") == "HeadOnly"
        and options.get("host") in hosts
        and all(first <= port < first + 100 for port in ports)
    )


class Head:
    def __init__(self, start):
        self.start, self.nodes, self.head, self.options = start, {}, None, {}
        self.controller, self.proxy = Controller(self), None

    # ---- GCS ----

    async def joined(self, reader, writer):
        node = None
        try:
            join = json.loads(await reader.readline())
            if join.get("token") != self.start["token"]:
                writer.close()
                return
            node = Node(join, writer)
            self.nodes[node.id] = node
            self.head = self.head or node
            while line := await reader.readline():
                message = json.loads(line)
                self.controller.heard(message.pop("worker"), message)
        except (OSError, ValueError):
            pass
        finally:
            self.nodes.pop(node.id if node else None, None)
            for worker, owner in list(self.controller.workers.items()):
                if getattr(owner, "node", None) is node:
                    self.controller.heard(worker, {"kind": "ended"})

    # ---- dashboard ----

    def refusal(self, request):
        if request.path in OPEN or request.path.startswith("/static/"):
            return None
        given = request.headers.get("authorization") or request.headers.get("x-ray-authorization")
        if not given:
            return http.text(401, "Unauthorized: Missing authentication token")
        if not hmac.compare_digest(given, "Bearer " + self.start["token"]):
            return http.text(403, "Forbidden: Invalid authentication token")
        return None

    async def dashboard(self, request):
        if refused := self.refusal(request):
            return refused
        if request.path == "/api/gcs_healthz":
            return http.text(200, "success")
        if request.path in ("/api/version", "/api/ray/version"):
            return JSONResponse({"version": "4", "ray_version": __version__, "ray_commit": "stand-in"})
        if request.path != SERVE:
            complain(f"{request.method} {request.path} at the dashboard")
            return http.text(404, "404: Not Found")
        if request.method == "PUT":
            return await self.put(request)
        if request.method != "GET":
            complain(f"{request.method} {request.path}")
            return http.text(405, "405: Method Not Allowed")
        return JSONResponse(self.status())

    async def put(self, request):
        if request.headers.get("content-type") != "application/json":
            complain("PUT without content-type application/json")
        config = json.loads(await request.body())
        problem = problems(config, self.start)
        if problem:
            return http.text(400, f"1 validation error for ServeDeploySchema\n{problem}")
        for app in config["applications"]:
            app.setdefault("name", "default")
            app.setdefault("route_prefix", "/")
        if not self.proxy:
            self.options = {key: config.get(key, {}) for key in ("http_options", "grpc_options")}
            self.proxy = await http.serve(self.forward, self.start["node_ip_address"], config["http_options"]["port"])
        self.controller.deploy(config)
        return Response()

    def status(self):
        if not self.proxy:
            return {"controller_info": {}, "proxy_location": None, "http_options": None, "grpc_options": None, "proxies": {},
                    "applications": {}, "target_groups": [], "deploy_mode": "MULTI_APP", "target_capacity": None}  # fmt: skip
        head = self.head
        proxy = {"node_id": head.id, "node_ip": head.ip, "actor_name": f"SERVE_PROXY_ACTOR-{head.id}", "status": "HEALTHY"}
        return {"controller_info": {"node_id": head.id, "node_ip": head.ip, "actor_name": "SERVE_CONTROLLER_ACTOR"},
                "proxy_location": "HeadOnly", **self.options, "proxies": {head.id: proxy}, "deploy_mode": "MULTI_APP",
                "target_capacity": None, **self.controller.entries()}  # fmt: skip

    # ---- proxy ----

    def app_of(self, path):
        fits = [app for app in self.controller.apps.values() if app.config["route_prefix"] is not None]
        fits = [app for app in fits if (path + "/").startswith(app.config["route_prefix"].rstrip("/") + "/")]
        return max(fits, key=lambda app: len(app.config["route_prefix"]), default=None)

    async def forward(self, request):
        if request.path == "/-/healthz":
            return http.text(200, "success")
        if request.path == "/-/routes":
            return JSONResponse({app.config["route_prefix"]: name for name, app in self.controller.apps.items()})
        end = time.monotonic() + FORWARD_S
        while time.monotonic() < end:
            app = self.app_of(request.path)
            if app is None:
                return http.text(404, f"Path '{request.path}' not found. Ping http://.../-/routes for available routes.")
            if replicas := app.running():
                return await ask(secrets.choice(replicas), request)
            await asyncio.sleep(0.05)
        return http.text(503, "No replicas are available yet.")


async def ask(replica, request):
    reader, writer = await asyncio.open_connection(replica.node.ip, replica.port)
    try:
        body = await request.body()
        writer.write(f"{request.method} {request.target} HTTP/1.1\r\nhost: x\r\nx-fakeray-proxy: 1\r\n".encode())
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        status = int((await reader.readline()).split(b" ")[1])
        headers = {}
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Response(await http.read_body(reader, headers), status, {"content-type": headers.get("content-type", "")})
    finally:
        writer.close()


def main(start):
    async def run():
        head = Head(start)
        host = start["node_ip_address"]
        gcs = await asyncio.start_server(head.joined, host, start["port"], limit=1 << 24)
        while head.head is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(start["delay_s"])
        dashboard = await http.serve(head.dashboard, start["dashboard_host"], start["dashboard_port"])
        await head.controller.run()
        gcs.close()
        dashboard.close()

    asyncio.run(run())
