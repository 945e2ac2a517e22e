"""Serve's controller: what was PUT becomes applications with replicas, and stays so. Times are Ray's as measured: a dead
replica stays listed for 1.7 s, a drained one takes requests for 30 s more, a start is tried three times."""

import asyncio
import os
import secrets
import string
import time

TICK_S = 0.05
DEAD_LISTED_S = 1.7
START_TRIES = 3
UNHEALTHY_AFTER = 3
DEFAULTS = {"num_replicas": 1, "max_ongoing_requests": 5, "max_queued_requests": -1, "user_config": None,
            "graceful_shutdown_wait_loop_s": 2, "graceful_shutdown_timeout_s": 20, "health_check_period_s": 10,
            "health_check_timeout_s": 30, "ray_actor_options": {}}  # fmt: skip
START_FAILED = (
    "The deployment failed to start {} times in a row. This may be due to a problem with its constructor or initial health "
    "check failing. See controller logs for details. Error:\n{}"
)
HEALTH_FAILED = (
    "A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers or a new deploy happens."
)


def drain_s():
    return float(os.environ.get("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", 30))


class Replica:
    def __init__(self, app, node):
        self.app, self.node = app, node
        self.id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        self.name = f"SERVE_REPLICA::{app.name}#{app.deployment}#{self.id}"
        self.import_path = app.config["import_path"]
        self.cpus = app.settings["ray_actor_options"].get("num_cpus", 1)
        self.state, self.port, self.pid, self.started = "STARTING", 0, 0, time.time()
        self.gone_at = self.asked_at = None
        self.misses = 0

    def entry(self):
        return {"node_id": self.node.id, "node_ip": self.node.ip, "node_instance_id": "", "actor_id": self.id * 4,
                "actor_name": self.name, "worker_id": self.id * 7, "replica_id": self.id, "state": self.state,
                "log_file_path": f"/serve/replica_{self.app.name}_{self.app.deployment}_{self.id}.log", "pid": self.pid,
                "start_time_s": self.started}  # fmt: skip


class App:
    def __init__(self, name):
        self.name, self.replicas, self.deployment, self.settings = name, [], None, None
        self.serial = self.failures = 0

    def take(self, config):
        self.config, self.status, self.message, self.unhealthy = config, "DEPLOYING", "", False
        self.deployed_s, self.build, self.failures = time.time(), None, 0
        self.configuring = set()

    def settle(self, deployment, settings):
        """What the code says and the config overrides."""
        overrides = next((d for d in self.config.get("deployments", []) if d["name"] == deployment), {})
        self.deployment = deployment
        self.settings = {**DEFAULTS, **settings, **{k: v for k, v in overrides.items() if k != "name"}}

    def running(self):
        return [r for r in self.replicas if r.state == "RUNNING"]

    def current(self):
        """Those that count as wanted."""
        wanted = self.config["import_path"]
        return [r for r in self.replicas if r.state in ("STARTING", "RUNNING") and r.import_path == wanted]

    def entry(self):
        deployments = {}
        if self.settings:
            healthy = self.status == "RUNNING"
            state = "HEALTHY" if healthy else "UNHEALTHY" if self.unhealthy else "UPDATING"
            config = {"name": self.deployment, **self.settings}
            deployments[self.deployment] = {
                "name": self.deployment, "status": "DEPLOY_FAILED" if self.status == "DEPLOY_FAILED" else state,
                "status_trigger": "CONFIG_UPDATE_COMPLETED" if healthy else "CONFIG_UPDATE_STARTED", "message": self.message,
                "deployment_config": config, "target_num_replicas": self.settings["num_replicas"],
                "required_resources": {"CPU": self.settings["ray_actor_options"].get("num_cpus", 1)},
                "replicas": [r.entry() for r in self.replicas if r.state != "DEAD" or time.monotonic() < r.gone_at],
                "recent_dead_replicas": [],
            }  # fmt: skip
        node = {"name": self.deployment, "app_name": self.name, "outbound_deployments": [], "is_ingress": True}
        topology = {"app_name": self.name, "nodes": {self.deployment: node}, "ingress_deployment": self.deployment}
        return {"name": self.name, "route_prefix": self.config["route_prefix"], "docs_path": None, "status": self.status,
                "message": self.message, "last_deployed_time_s": self.deployed_s, "deployed_app_config": self.config,
                "source": "declarative", "deployments": deployments, "external_scaler_enabled": False,
                "deployment_topology": topology if self.settings else None}  # fmt: skip


class Controller:
    def __init__(self, gcs):
        self.gcs, self.apps, self.workers, self.changed = gcs, {}, {}, asyncio.Event()
        self.host = None

    def deploy(self, config):
        self.host, self.proxy_port = config["http_options"]["host"], config["http_options"]["port"]
        named = {app["name"]: app for app in config["applications"]}
        for name, app in self.apps.items():
            if name not in named:
                app.status = "DELETING"
        for name, wanted in named.items():
            app = self.apps.setdefault(name, App(name))
            app.take(wanted)
            app.build = self.gcs.head.fork(self, app, what="build", name="ray::build_serve_application",
                                           import_path=wanted["import_path"])  # fmt: skip

    # ---- what workers say ----

    def heard(self, worker, message):
        owner = self.workers.get(worker)
        if isinstance(owner, App):
            self.built(owner, worker, message)
        elif owner is not None:
            getattr(self, "on_" + message["kind"])(owner, message)
        if message["kind"] == "ended":
            self.workers.pop(worker, None)
        self.changed.set()

    def built(self, app, worker, message):
        if app.build != worker:
            return
        if message["kind"] == "built":
            app.build = None
            app.settle(message["deployment"], message["settings"])
            for replica in app.current():
                app.configuring.add(replica.id)
                self.tell(replica, kind="configure", settings=app.settings)
        else:
            error = message.get("error", "The build task died.")
            app.build, app.status = None, "DEPLOY_FAILED"
            app.message = f"Deploying app '{app.name}' failed with exception:\n{error}"

    def on_started(self, replica, message):
        replica.state, replica.port, replica.pid = "RUNNING", message["port"], message["pid"]
        replica.asked_at = time.monotonic()
        replica.app.unhealthy = False

    def on_start_failed(self, replica, message):
        replica.error = message["error"]

    def on_configured(self, replica, _):
        replica.app.configuring.discard(replica.id)

    def on_pong(self, replica, message):
        replica.asked_at, replica.pinged = time.monotonic(), False
        replica.misses = 0 if message["healthy"] else replica.misses + 1

    def on_ended(self, replica, _):
        app = replica.app
        app.configuring.discard(replica.id)
        replica.node.free += replica.cpus
        if replica.state == "STARTING":
            app.failures += 1
            app.error = getattr(replica, "error", "The replica's process died.")
        elif replica.state == "RUNNING":
            app.unhealthy, app.message = True, HEALTH_FAILED
        if replica.state == "STOPPING":
            app.replicas.remove(replica)
        replica.state, replica.gone_at = "DEAD", time.monotonic() + (DEAD_LISTED_S if replica.port else 0)

    def tell(self, replica, **message):
        replica.node.lines.send(worker=replica.name, **message)

    # ---- keeping it so ----

    async def run(self):
        while True:
            for app in list(self.apps.values()):
                self.look(app)
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), TICK_S)
            except asyncio.TimeoutError:
                pass

    def look(self, app):
        now = time.monotonic()
        app.replicas = [r for r in app.replicas if r.state != "DEAD" or now < r.gone_at]
        for replica in list(app.replicas):
            self.look_at(replica, now)
        if app.status == "DELETING":
            for replica in app.running():
                self.drain(replica, now)
            if not app.replicas:
                del self.apps[app.name]
        elif app.settings and not app.build and app.status != "DEPLOY_FAILED":
            self.scale(app, now)

    def look_at(self, replica, now):
        settings = replica.app.settings
        if replica.state == "STOPPING" and now > replica.gone_at:
            self.kill(replica)
        if replica.state != "RUNNING":
            return
        if getattr(replica, "pinged", False) and now > replica.asked_at + settings["health_check_timeout_s"]:
            replica.misses, replica.pinged, replica.asked_at = replica.misses + 1, False, now
        if not getattr(replica, "pinged", False) and now > replica.asked_at + settings["health_check_period_s"]:
            replica.pinged, replica.asked_at = True, now
            self.tell(replica, kind="ping")
        if replica.misses >= UNHEALTHY_AFTER:
            self.kill(replica)

    def kill(self, replica):
        replica.node.lines.send(kind="kill", worker=replica.name)

    def drain(self, replica, now):
        replica.state, replica.gone_at = "STOPPING", now + drain_s()
        self.tell(replica, kind="drain")

    def scale(self, app, now):
        target, current = app.settings["num_replicas"], app.current()
        listed_dead = [r for r in app.replicas if r.state == "DEAD"]
        if app.failures >= START_TRIES:
            app.status, app.message = "DEPLOY_FAILED", START_FAILED.format(app.failures, app.error)
            return
        for _ in range(target - len(current) - len(listed_dead)):
            self.start(app)
        ready = [r for r in current if r.state == "RUNNING"]
        for replica in ready[target:]:
            self.drain(replica, now)
        if len(ready) >= target and not app.configuring:
            for replica in app.running():
                if replica.import_path != app.config["import_path"]:
                    self.drain(replica, now)
            app.status, app.message = "RUNNING", ""
        elif app.unhealthy:
            app.status = "UNHEALTHY"

    def start(self, app):
        fits = [n for n in self.gcs.nodes.values() if n.free >= app.settings["ray_actor_options"].get("num_cpus", 1)]
        if not fits:
            return
        replica = Replica(app, max(fits, key=lambda n: n.free))
        app.serial += 1
        replica.node.free -= replica.cpus
        app.replicas.append(replica)
        replica.node.fork(
            self, replica, what="replica", name=f"ray::ServeReplica:{app.name}:{app.deployment}", worker=replica.name,
            replica=replica.name, application=app.name, import_path=replica.import_path, settings=app.settings, host=self.host,
            route_prefix=app.config["route_prefix"], serial=app.serial,
            log=f"serve/replica_{app.name}_{app.deployment}_{replica.id}.log",
        )  # fmt: skip

    # ---- what is seen ----

    def targets(self, app):
        listed = [r for r in app.replicas if r.state == "RUNNING" or (r.state == "DEAD" and r.port)]
        found = [{"ip": r.node.ip, "port": r.port, "instance_id": "", "name": r.name} for r in listed]
        head = self.gcs.head
        proxy = {"ip": head.ip, "port": self.proxy_port, "instance_id": "", "name": f"SERVE_PROXY_ACTOR-{head.id}"}
        return {"targets": found or [proxy], "route_prefix": app.config["route_prefix"], "protocol": "HTTP", "app_name": app.name}

    def entries(self):
        groups = [self.targets(a) for a in self.apps.values() if a.config["route_prefix"] is not None and a.status != "DELETING"]
        return {"applications": {name: app.entry() for name, app in self.apps.items()}, "target_groups": groups}
