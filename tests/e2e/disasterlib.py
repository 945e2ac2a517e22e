"""What the tests of disasters share: a platform whose apps run on the stand-in for Ray (or on Ray itself: ASTRA_TEST_RAY=real,
as `make soak` does it), apps that behave as asked, and what an operator sees."""

import json
import os
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path

from agentlib import tar_zst
from platformlib import Platform, Traffic
from proclib import members, wait_for

REAL = os.environ.get("ASTRA_TEST_RAY") == "real"
SOON_S = 240 if REAL else 45  # until a unit is READY, on a machine that may be busy
HEAD = ("gcs_server", "raylet")  # with the process that started them: what makes a head

# One module for all: what an app does follows from the request, and from the user_config and environment of the app.
CODE = """
import asyncio
import json
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from ray import serve
from starlette.responses import PlainTextResponse

held = []


@serve.deployment(max_ongoing_requests=4, ray_actor_options={"num_cpus": 0.1})
class App:
    def __init__(self):
        time.sleep(float(os.environ.get("APP_LOADS_S", 0)))
        self.begun, self.config = time.monotonic(), {}
        self.threads = ThreadPoolExecutor(64)

    def reconfigure(self, config):
        self.config = config

    def state(self):
        try:
            with open(os.environ["APP_STATE"]) as file:
                return json.load(file)
        except (KeyError, OSError, ValueError):
            return {}

    def behind(self):
        # what the app at APP_ASKS answers; asked up to three times
        for _ in range(3):
            try:
                with urllib.request.urlopen(os.environ["APP_ASKS"], data=b"x", timeout=2) as answer:
                    return answer.read().decode(), 200
            except OSError:
                continue
        return "it does not answer", 503

    async def __call__(self, request):
        query, state = request.query_params, self.state()
        warm = "warm" if time.monotonic() - self.begun >= float(os.environ.get("APP_WARMS_S", 0)) else "cold"
        if request.url.path.endswith("/warm"):
            return PlainTextResponse(warm, 200 if warm == "warm" else 503)
        if "APP_ASKS" in os.environ:
            return PlainTextResponse(*await asyncio.get_running_loop().run_in_executor(self.threads, self.behind))
        body = await request.body()
        if "APP_EXECUTED" in os.environ:
            with open(os.environ["APP_EXECUTED"], "ab") as log:
                log.write(body + b"\\n")
        if "exit" in query:
            os._exit(1)
        if "mb" in query:
            held.append(b"x" * (int(query["mb"]) << 20))
        if os.environ["ASTRA_UNIT"] in state.get("stalled", ()):
            await asyncio.sleep(3600)
        await asyncio.sleep(float(query.get("sleep", state.get("sleep", 0))))
        return PlainTextResponse(f"{os.environ['ASTRA_UNIT']} {os.getpid()} {warm}")


app = App.bind()
"""
BROKEN = "raise ValueError('no such thing as an app here')\n"


def signal_all(pids, signum):
    for pid in pids:
        os.kill(pid, signum)


class World(Platform):
    """A platform with what its apps need, in two clusters of three nodes; small times where only their length would be tested."""

    def __init__(self, folder, environment, lost_after="5s", disks=None, env=None):
        """disks: folders of DATA that are file systems of so many bytes, seen by the platform alone (disk())."""
        super().__init__(folder)
        self.disks = disks or {}
        if disks:
            self.env["ASTRA_CFG_AGENT_DISK"] = "20Gi"  # what a node says it has, not what the small one has
        self.env.update(ASTRA_CFG_SERVER_LOST_AFTER=lost_after, **(env or {}))
        self.folder = Path(folder)
        self.strict, self.state_file = self.folder / "strict", self.folder / "state.json"
        self.environment = environment

    def command(self, words):
        if not self.disks:
            return words
        if words[1] != "up":
            # its root, too: a mount namespace has its own, which is not ours where we are in a chroot
            up = f"/proc/{self.pid('up')}"
            return ["nsenter", f"--mount={up}/ns/mnt", f"--root={up}/root", *words]
        mounts = [f"mkdir -p {self.data}/{d} && mount -t tmpfs -o size={n} tmpfs {self.data}/{d}" for d, n in self.disks.items()]
        return ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh", *words]

    def disk(self, name):
        """A folder with a file system of its own, as the platform sees it."""
        return Path(f"/proc/{self.pid('up')}/root{self.data}/{name}")

    def up(self, *more):
        super().up(*more)
        self.put_artifacts()
        return self

    def put_artifacts(self):
        self.put_artifact("ray@1", self.environment)
        self.put_artifact("app@1", tar_zst({"app.py": CODE}))
        self.put_artifact("broken@1", tar_zst({"app.py": BROKEN}))

    def end(self):
        done = self.run("down", "--data", self.data)
        print(done.stdout, done.stderr)

    def spec(self, name="app", replicas=1, env=None, units=2, **more):
        deployment = {"name": "App", "num_replicas": replicas, **more.pop("deployment", {})}
        application = {"name": name, "import_path": "app:app", "route_prefix": f"/{name}", "deployments": [deployment]}
        variables = {"FAKERAY_STRICT": self.strict, "APP_STATE": self.state_file, **(env or {})}
        return {
            "units": units,
            "environment": [{"artifact": "ray@1"}],
            "code": {"artifact": "app@1"},
            "env": [{"name": key, "value": str(value)} for key, value in variables.items()],
            "head": {"cpu": 1, "memory": "2Gi", **more.pop("head", {})},
            "rollout": {"bake": "1s", **more.pop("rollout", {})},
            "serve": {"applications": [application], **more.pop("serve", {})},
            "routes": [{"idempotent": True, **more.pop("route", {})}],
            **more,
        }

    def deploy(self, name="app", **spec):
        self.put_app(name, self.spec(name, **spec))
        return self.wait_ready(name, SOON_S)

    def traffic(self, name="app", **options):
        return Traffic(self.client()["gateway"], f"/{name}/x", **options)

    def picked(self, traffic, seconds):
        """Which unit answered how many requests in the time to come."""
        before = dict(traffic.answers)
        time.sleep(seconds)
        found = Counter()
        for body, n in dict(traffic.answers).items():
            found[body.split()[0]] += n - before.get(body, 0)
        return found

    def gateway_admin(self, path):
        """What the gateway's admin port answers."""
        port = json.loads((self.data / "run" / "gateway.ready").read_text())["admin"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def endpoints(self, unit):
        """Of one unit, as the gateway has them."""
        return [e for e in json.loads(self.gateway_admin("/routes"))["endpoints"] if e["unit"] == unit]

    def metric(self, name, *labels):
        """The gateway's: the sum over all rows that have these labels (`app="x"`)."""
        rows = [line for line in self.gateway_admin("/metrics").splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows if all(label in row for label in labels))

    def condition(self, name, kind):
        return next(c for c in self.app(name)["conditions"] if c["type"] == kind)

    def degraded(self, name="app"):
        """The message of the condition Degraded, None when it is not."""
        condition = self.condition(name, "Degraded")
        return condition["message"] if condition["status"] in (True, "True") else None

    def reasons(self, name="app", since=0):
        return [event["reason"] for event in self.events(name)[since:]]

    def said(self, words, name="app"):
        """The first event with these words."""
        return next((event for event in self.events(name) if words in event["message"]), None)

    def check(self):
        """After the end: nothing is left, and Ray was never asked for what it must not be asked for."""
        assert self.left() == []
        assert not self.strict.exists() or self.strict.read_text() == ""


def named(unit, *names):
    """Processes of a unit by their names: a head's own, or its replicas."""
    found = []
    for pid in members(unit):
        try:
            comm = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if any(comm.startswith(name) for name in names):
            found.append(pid)
    return found


def head_processes(unit):
    return named(unit, *HEAD)


def replicas(unit):
    return named(unit, "ray::ServeRepli")


class Stopped:
    """Processes that are stopped inside the block."""

    def __init__(self, pids):
        self.pids = list(pids)

    def __enter__(self):
        signal_all(self.pids, signal.SIGSTOP)
        self.at = time.monotonic()
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue


def some(traffic, n=40):
    """Waits for so many more requests."""
    sent = traffic.sent
    wait_for(f"{n} more requests", lambda: traffic.sent >= sent + n, 60)
