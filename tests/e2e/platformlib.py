"""A whole platform under test: `astra up` (uplib) with its API, apps that run on it, their processes, and steady traffic."""

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from proclib import wait_for
from uplib import Up

SLOW_S = 240  # until a unit is READY: a Ray start takes 10 to 25 s of CPU, and the machine may be busy


class Platform(Up):
    """2 clusters of 3 nodes, each with 2 CPUs and 4 GiB."""

    def __init__(self, folder):
        super().__init__(folder, clusters=2, nodes=3)
        for flag, value in (("--node-cpu", "2"), ("--node-memory", "4Gi")):
            self.flags[self.flags.index(flag) + 1] = value

    def api(self, method, path, body=None, timeout_s=30):
        """The answer's document; an HTTPError that says why where it is refused. Path: below /v1."""
        client = self.client()
        request = urllib.request.Request(client["address"] + "/v1" + path, method=method)
        request.add_header("Authorization", "Bearer " + client["token"])
        if body is not None:
            as_bytes = isinstance(body, bytes)
            request.data = body if as_bytes else json.dumps(body).encode()
            request.add_header("Content-Type", "application/octet-stream" if as_bytes else "application/json")
        try:
            context = ssl.create_default_context(cadata=client["ca"])
            with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            error.msg = f"{error.msg}: {error.read().decode(errors='replace')}"
            raise

    def put_artifact(self, name, data):
        return self.api("PUT", f"/namespaces/default/artifacts/{name}", data, timeout_s=120)

    def put_app(self, name, spec):
        return self.api("PUT", f"/namespaces/default/apps/{name}", {"kind": "App", "metadata": {"name": name}, "spec": spec})

    def app(self, name):
        return self.api("GET", f"/namespaces/default/apps/{name}")["status"]

    def units(self, name, state=None):
        items = self.api("GET", f"/namespaces/default/apps/{name}/units")["items"]
        return [unit for unit in items if state in (None, unit["state"])]

    def events(self, name):
        return self.api("GET", f"/namespaces/default/apps/{name}/events")["items"]

    def node(self, name):
        """A node by its name; None while its agent is away: then the server has only its id."""
        return next((node for node in self.api("GET", "/nodes")["items"] if node["name"] == name), None)

    def is_up(self, name):
        node = self.node(name)
        return bool(node) and node["state"] == "UP" and node["connected"]

    def wait(self, what, condition, timeout_s=SLOW_S):
        """As wait_for(); while the server is away the condition is not true."""

        def checked():
            try:
                return condition()
            except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
                if getattr(error, "code", 503) != 503:
                    raise
                return None

        try:
            return wait_for(what, checked, timeout_s, 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.say()}") from None

    def wait_ready(self, name, timeout_s=SLOW_S, without=()):
        """Its units when all that are wanted are READY, nothing else is there, and none of them is one of `without`."""

        def ready():
            units, status = self.units(name), self.app(name)
            settled = status["state"] == "READY" and len(units) == status["units"]["wanted"]
            return settled and all(u["state"] == "READY" and u["name"] not in without for u in units) and units

        return self.wait(f"{name} to be READY", ready, timeout_s)

    def delete(self, name):
        self.api("DELETE", f"/namespaces/default/apps/{name}")
        self.wait(f"{name} to be gone", lambda: name not in [a["metadata"]["name"] for a in self.api("GET", "/apps")["items"]])

    def say(self):
        """Where it stands, for people."""
        try:
            units = [(u["name"], u["state"], u["reason"], u["message"], u.get("nodeName")) for u in self.api("GET", "/units")["items"]]
            events = [(e["time"], e["object"], e["reason"], e["message"]) for e in self.api("GET", "/events")["items"]]
            return "\n".join(map(str, units + events[-30:]))
        except OSError as error:
            return f"no answer from the server: {error}\n{self.log('server')[-2000:]}"

    def kill_and_see_again(self, name):
        """A child of `astra up` dies; returns when another one is ready."""
        before = self.pid(name)
        self.kill(name)
        wait_for(f"another {name}", lambda: self.pid(name) not in (None, before), 60)
        wait_for(f"{name} to be ready", (self.data / "run" / f"{name}.ready").exists, 60)

    def hold(self, name):
        """A child of `astra up` dies and stays away until release()."""
        (self.data / f"hold.{name}").touch()
        self.kill(name)
        wait_for(f"the end of {name}", lambda: self.pid(name) is None, 60)

    def release(self, name):
        (self.data / f"hold.{name}").unlink()
        wait_for(f"{name} to come back", lambda: self.pid(name), 60)


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class Traffic:
    """Steady requests over keep-alive connections, each one sent once; what failed, and when; how often each answer came."""

    def __init__(self, gateway, path, connections=4, pause_s=0.02):
        self.host, self.path, self.pause_s = gateway.split("//")[1], path, pause_s
        self.sent, self.worst_s, self.failed, self.over = 0, 0.0, [], threading.Event()
        self.answers = Counter()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        print(f"traffic to {self.path}: {self.sent} sent, {len(self.failed)} failed, worst {self.worst_s:.3f} s")

    def _run(self):
        connection = None
        while not self.over.is_set():
            began, why = time.monotonic(), None
            try:
                connection = connection or http.client.HTTPConnection(self.host, timeout=30)
                connection.request("POST", self.path, b"hello")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    why = f"{answer.status} {answer.headers.get('x-astra-cause')} {body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                connection, why = None, repr(error)
            took = time.monotonic() - began
            with self.lock:
                self.sent += 1
                self.worst_s = max(self.worst_s, took)
                if why is None:
                    self.answers[body.decode()] += 1
                else:
                    self.failed.append((time.monotonic(), time.strftime("%T"), why))
            time.sleep(self.pause_s)
