"""A platform without Ray: a real `astra server`, and nodes played in Python whose members come up at once.

    with Platform(astra, folder) as p:
        node = p.node("node-1", cluster="cluster-1")
        node.behave = lambda claim: "UP"          # or ("EXITED", reason, message): how members end up
        p.astra("deploy", "app.yaml", "--wait")
"""

import contextlib
import json
import os
import subprocess
import threading
import time
import uuid
from pathlib import Path

import starlink
from starlink import Message

STEPS = ("FETCHING", "STARTING")


def wait_for(what, timeout_s=20, pause_s=0.02):
    """what() until it is true; its answer."""
    end = time.monotonic() + timeout_s
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(pause_s)


class Node:
    """An agent: grants every claim that fits, and brings its member up in three steps."""

    def __init__(self, address, token, name, cluster, cpu=4000, memory=8 << 30, exclusive=False, zone=None, arch="amd64"):
        self.name, self.cluster = name, cluster
        self.place = {"arch": arch, **({"zone": zone} if zone else {})}
        self.address, self.exclusive = address, exclusive
        self.identity = starlink.join(address, token, cluster=cluster)
        self.id = self.identity.id
        self.capacity = {"mcpu": cpu, "memory_bytes": memory, "disk_bytes": 100 << 30}
        self.claims, self.commands = {}, []
        self.logs = {}  # (unit, member, previous): what that member printed
        self.state, self.cordoned = "UP", False
        self.behave = lambda claim: "UP"
        self.texts = {}  # digest -> text of a revision, for a server that lost it
        self.tokens_refused = 0  # so many questions for a Ray token are refused first
        self.step_s = 0.05
        self.port = None  # at which members answer; None: at none, a port of theirs is told
        self._lock = threading.RLock()
        self._sequence, self._attach, self._ports = 0, 0, 20000
        self._closed = False
        self.attach()
        threading.Thread(target=self._beat, daemon=True).start()

    def attach(self):
        self._attach += 1
        self.link = starlink.Client(self.address, self.identity, on_message=self._take)
        self._send(
            "HELLO", protocol_min=1, protocol_max=1, peer="AGENT", name=self.name, cluster=self.cluster,
            network="lo", host=self.name, address="127.0.0.1", capacity=self.capacity, incarnation=1, attach=self._attach,
            boot_id=str(uuid.uuid4()), exclusive=self.exclusive, **self.place,
        )  # fmt: skip
        with self._lock:
            for claim in self.claims.values():
                self._status(claim)
            self._send("SNAPSHOT_END", claims=len(self.claims))

    def close(self):
        self._closed = True
        self.link.close()

    def _next(self):
        self._sequence += 1
        return self._sequence

    def _send(self, type_, **fields):
        self.link.send(Message(type_, node=self.id, **fields))

    def _beat(self):
        while not self._closed:
            time.sleep(0.2)
            try:
                if self.link.closed and not self._closed:
                    self.attach()
                with self._lock:
                    self._send("BEAT", sequence=self._next())
            except OSError:
                pass

    def free(self):
        free = dict(self.capacity)
        for claim in self.claims.values():
            for key in free:
                free[key] -= claim["capacity"].get(key, 0)
        return free

    def _status(self, claim, reason="NONE", message=""):
        fields = {key: claim[key] for key in ("claim", "app", "epoch", "store_id", "revision", "role", "capacity", "port_base")}
        fields.update(claim_state=claim["claim_state"], member_state=claim["member_state"], reason=reason, message=message)
        fields.update(address="127.0.0.1", port_count=100, sequence=self._next(), pid=os.getpid())
        if claim["member_state"] == "UP":
            target = {"name": "replica", "ip": "127.0.0.1", "port": self.port or claim["port_base"] + 50, "application": "app", "healthy": True}
            fields.update(apps=[{"name": "app", "route_prefix": "/", "status": "RUNNING"}], targets=[target])
            fields.update(deployed=claim["revision"]["digest"], warmed=True)
        self._send("CLAIM_STATUS", **fields)

    def _node_status(self, request=0):
        self._send(
            "NODE_STATUS", request=request, state=self.state, cordoned=self.cordoned, capacity=self.capacity,
            free=self.free(), sequence=self._next(),
        )  # fmt: skip

    def _take(self, _connection, m):
        with self._lock:
            key = json.dumps(m.get("claim"), sort_keys=True)
            handler = getattr(self, f"_on_{m.type.lower()}", None)
            if handler is not None:
                handler(m, key)
        return True

    def _on_reserve(self, m, key):
        self._ports += 100
        self.claims[key] = dict(
            claim=m.claim, app=m.app, epoch=m.epoch, store_id=m.store_id, revision=m.revision, role=m.role,
            capacity=m.capacity, port_base=self._ports, claim_state="RESERVED", member_state="RESERVED",
        )  # fmt: skip
        self._send(
            "RESERVE_REPLY", request=m.request, claim=m.claim, granted=True, free=self.free(), address="127.0.0.1",
            port_base=self._ports, port_count=100,
        )  # fmt: skip
        self._status(self.claims[key])

    def _on_bind(self, m, key):
        claim = self.claims[key]
        claim["epoch"] = m.epoch
        if claim["claim_state"] == "BOUND":  # who took the app over tells its epoch: nothing else changes
            self._send("BIND_REPLY", request=m.request, claim=m.claim, ok=True)
            self._status(claim)
            return
        claim.update(claim_state="BOUND", member_state="BOUND", ray_token=m.ray_token)
        threading.Thread(target=self._bring_up, args=(key,), daemon=True).start()  # whether or not the server hears it
        self._send("BIND_REPLY", request=m.request, claim=m.claim, ok=True)
        self._status(claim)

    def _bring_up(self, key):
        last = self.behave(self.claims[key])
        for state in (*STEPS, last):
            time.sleep(self.step_s)
            with self._lock:
                if key not in self.claims:
                    return
                state, reason, message = state if isinstance(state, tuple) else (state, "NONE", "")
                self.claims[key]["member_state"] = state
                try:
                    self._status(self.claims[key], reason, message)
                except OSError:
                    pass  # told again when the server is back

    def exits(self, unit, member, reason, message):
        """A member ends by itself."""
        with self._lock:
            for claim in self.claims.values():
                if (claim["claim"]["unit"], claim["claim"]["member"]) == (unit, member):
                    claim["member_state"] = "EXITED"
                    self._status(claim, reason, message)

    def _on_unit_token(self, m, key):
        ok, self.tokens_refused = self.tokens_refused <= 0, self.tokens_refused - 1
        told = {"ray_token": self.claims[key]["ray_token"]} if ok else {"reason": "SUPERSEDED", "message": "not now"}
        self._send("UNIT_TOKEN_REPLY", request=m.request, claim=m.claim, ok=ok, **told)

    def _on_open_bulk(self, m, _key):
        if m.purpose == "ARTIFACT" and m.digest in self.texts:
            threading.Thread(target=self._bulk, args=(m,), daemon=True).start()
        elif m.purpose == "LOGS":
            threading.Thread(target=self._send_log, args=(m,), daemon=True).start()

    def _bulk(self, m):
        with starlink.Client(self.address, self.identity) as bulk:
            bulk.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="BULK", node=self.id, ticket=m.ticket))
            bulk.wait("WELCOME")
            bulk.send(Message("BULK_DATA", bytes=self.texts[m.digest]))
            bulk.send(Message("BULK_END", ok=True))

    def fetch(self, digest):
        """What an agent fetches: an artifact, or a revision's text."""
        with starlink.Client(self.address, self.identity) as bulk:
            bulk.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="BULK", node=self.id))
            bulk.wait("WELCOME")
            bulk.send(Message("BULK_GET", digest=digest))
            bulk.wait("BULK_END")
            return b"".join(m.bytes for m in bulk.drain("BULK_DATA"))

    def _on_release(self, m, key):
        self._send("RELEASE_REPLY", request=m.request, claim=m.claim, ok=True)
        claim = self.claims.pop(key, None)
        if claim is not None:
            claim.update(claim_state="RELEASED", member_state="EXITED")
            self._status(claim)
        self._drained()

    def _on_node_command(self, m, _key):
        self.commands.append(m.action)
        if m.action in ("DRAIN", "UNDRAIN"):
            self.state = "DRAINING" if m.action == "DRAIN" else "UP"
        else:
            self.cordoned = m.action == "CORDON"
        self._node_status(m.request)
        self._drained()

    def _send_log(self, m):
        text = self.logs.get((m.unit, m.member, m.previous))
        with starlink.Client(self.address, self.identity) as bulk:
            bulk.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="BULK", node=self.id, ticket=m.ticket))
            if text is not None:
                bulk.send(Message("BULK_LOG", ticket=m.ticket, unit=m.unit, member=m.member, file="member.log"))
                bulk.send(Message("BULK_DATA", bytes=text.encode()))
            code = {} if text is not None else {"code": "not_found", "message": "nothing of what was asked for is here"}
            bulk.send(Message("BULK_END", ok=text is not None, **code))
            wait_for(lambda: bulk.closed, 5)

    def bulk(self):
        """A bulk connection that nobody asked for."""
        bulk = starlink.Client(self.address, self.identity)
        bulk.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="BULK", node=self.id))
        bulk.wait("WELCOME")
        return bulk

    def bring(self, claim, text, announced=None):
        """The last words of a member, as an agent brings them; the server's answer."""
        with self.bulk() as bulk:
            bulk.send(Message("BULK_LOG", claim=claim, bytes=len(text) if announced is None else announced))
            with contextlib.suppress(OSError):  # refused before the end
                bulk.send(*(Message("BULK_DATA", bytes=text[at : at + 16000]) for at in range(0, len(text), 16000)))
                bulk.send(Message("BULK_END", ok=True, total_bytes=len(text)))
            return bulk.wait("BULK_END")

    def _drained(self):
        if self.state == "DRAINING" and not self.claims:
            self.state = "DRAINED"
            self._node_status()


class Gateway:
    """Tells a server what it made of requests."""

    def __init__(self, address, token, name="gateway-1"):
        self.endpoints = {}  # unit -> its endpoint's id
        self.link = starlink.Client(address, starlink.join(address, token, peer="GATEWAY"))
        self.link.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="GATEWAY", name=name, address="127.0.0.1", port=8080))
        self.link.wait("WELCOME")
        self.link.send(Message("SUBSCRIBE", sequence=0))
        threading.Thread(target=self._acknowledge, daemon=True).start()

    def _acknowledge(self):
        """Every view, at once: no unit waits for it."""
        with contextlib.suppress(TimeoutError, OSError):
            while True:
                self.link.send(Message("VIEW_ACK", sequence=self.link.wait("VIEW_END", timeout_s=600).sequence))

    def report(self, app, namespace="default", latency=(), **fields):
        """latency: {bucket: requests}"""
        rows = [{"index": i, "count": n} for i, n in dict(latency).items()]
        self.link.send(Message("APP_REPORT", app={"namespace": namespace, "name": app}, latency=rows, **fields))

    def report_endpoint(self, unit, latency=(), **fields):
        """Of the unit's endpoint, of which a view must tell first."""
        if unit not in self.endpoints:
            self.endpoints[unit] = self.link.wait("ENDPOINT", unit=unit).id
        rows = [{"index": i, "count": n} for i, n in dict(latency).items()]
        self.link.send(Message("ENDPOINT_REPORT", unit=unit, endpoint=self.endpoints[unit], latency=rows, **fields))

    def close(self):
        self.link.close()


class Platform:
    """`astra server` with its folder; astra() runs the command line against it."""

    def __init__(self, astra, folder, *flags):
        self.program, self.folder, self.flags = str(astra), Path(folder), flags
        self.data = self.folder / "server"
        self.nodes = []
        self._start("127.0.0.1:0", "127.0.0.1:0")

    def _start(self, api, address):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [self.program, "server", "--data", str(self.data), "--api", api, "--starlink", address, "--ready-file", str(ready), *self.flags],
            stderr=self.log,
        )  # fmt: skip
        wait_for(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        ports = json.loads(ready.read_text())
        self.api, self.starlink = f"https://127.0.0.1:{ports['api']}", f"127.0.0.1:{ports['starlink']}"
        self.token = (self.data / "api.token").read_text().strip()
        self.ca = (self.data / "ca.pem").read_text()
        client = {"address": self.api, "token": self.token, "ca": self.ca}
        (self.folder / "client.json").write_text(json.dumps(client))

    def node(self, name, cluster="cluster-1", **options):
        token = (self.data / "join.token").read_text().strip()
        node = Node(self.starlink, token, name, cluster, **options)
        self.nodes.append(node)
        wait_for(lambda: any(n["id"] == node.id and n["state"] == "UP" for n in self.json("nodes")["items"]))
        return node

    def gateway(self, name="gateway-1"):
        return Gateway(self.starlink, (self.data / "join.token").read_text().strip(), name)

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ASTRA_")}
        return {**env, "ASTRA_CFG_DATA": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"), **more}

    def start(self, *words, **options):
        return subprocess.Popen(
            [self.program, *map(str, words)], env=self.environment(), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def astra(self, *words, status=0, timeout=60, env=None, **options):
        """Runs one command; asserts its exit status; the finished process."""
        done = subprocess.run(
            [self.program, *map(str, words)], env=self.environment(**(env or {})), text=True, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=timeout, **options,
        )  # fmt: skip
        told = f"astra {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert status is None or done.returncode == status, told + self._why_ended()
        return done

    def _why_ended(self):
        """For a failed assertion: nothing while the server runs, else its end and its last words."""
        if self.process.poll() is None:
            return ""
        last = (self.folder / "server.log").read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"the server ended with {self.process.returncode}; its log ends:", *last])

    def json(self, *words, **options):
        return json.loads(self.astra(*words, "-o", "json", **options).stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def crash(self):
        """Instead of stop()."""
        self.process.kill()
        self.process.wait(20)
        self.log.close()

    def start_again(self, forget=False):
        """After stop(): at the same addresses; `forget`: with an empty store."""
        if forget:
            for file in self.data.glob("astra.db*"):
                file.unlink()
        self._start(self.api.removeprefix("https://"), self.starlink)

    def close(self):
        for node in self.nodes:
            node.close()
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
