"""Two namespaces with the real Ray on one node, each its own user: apps try, from inside their replicas, what each of them
should not be able to do to the other one."""

import json
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest
from agentlib import Agent, Artifacts, Claim, Server, http, listening, revision_document, tar_zst
from proclib import members, start_time

pytestmark = [pytest.mark.ray, pytest.mark.skipif(os.geteuid() != 0, reason="only root may switch users")]

# Tries what it is told, and says what came of it: what it got, or the error's name.
PROBE = """
import asyncio
import errno
import os
import socket

import grpc
from ray import serve


def read(path):
    with open(path, "rb") as file:
        return len(file.read(100))


def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


def leave(path):
    with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write("secret")


def call(ip, port, method, token):
    with grpc.insecure_channel(f"{ip}:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5, metadata=[("authorization", "Bearer " + token)] if token else [])
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


ACTS = {
    "read": read, "list": lambda path: len(os.listdir(path)), "leave": leave, "connect": connect, "call": call,
    "signal": lambda pid: os.kill(pid, 0), "link": os.symlink,
}


def tried(act, args):
    try:
        return ACTS[act](*args)
    except OSError as error:
        return errno.errorcode.get(error.errno, repr(error))
    except Exception as error:
        return repr(error)


def seen():
    users = {os.stat(f"/proc/{p}").st_uid for p in os.listdir("/proc") if p.isdigit()}
    return {"env": dict(os.environ), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "users": sorted(users)}


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Probe:
    async def __call__(self, request):
        wanted = await request.json()
        return await asyncio.to_thread(lambda: [tried(act, args) for act, *args in wanted] if wanted else seen())


app = Probe.bind()
"""
REFUSED = {"EACCES", "EPERM"}
# Ports of Ray that ask for the unit's token, by their place in the member's block, and what is asked there.
GRPC = {0: "NodeInfoGcsService/GetAllNodeInfo", 1: "NodeManagerService/GetNodeStats"}
WORKER = "CoreWorkerService/GetCoreWorkerStats"  # 50 to 99
HTTP = {4: "/api/serve/applications/", 5: "/api/job_agent/jobs/x/logs"}


class Tenant:
    """A namespace's member, whose app tries things."""

    def __init__(self, world, namespace, unit):
        self.world, self.unit = world, unit
        document = json.loads(
            revision_document(
                world.environment, world.code, models={"det": world.artifacts.put(b"weights of " + namespace.encode())},
                applications=[{"name": "a", "route_prefix": "/a", "import_path": "probe:app"}], env=[{"name": "KEY", "value": unit}],
            )
        )  # fmt: skip
        document["app"]["namespace"] = namespace
        self.revision = world.artifacts.put(json.dumps(document).encode())
        self.claim = Claim(world.server, world.hello.node, self.revision, unit=unit)
        reply = self.claim.reserve(app={"namespace": namespace, "name": "noop"})
        self.ports = reply.port_base
        assert reply.granted and self.claim.bind().ok

    def ready(self):
        up = self.claim.status(timeout_s=240, where=lambda m: m.deployed == self.revision and m.warmed)
        target = next(t for t in up.targets if not t["proxy"])
        self.ip, self.url = target["ip"], f"http://{target['ip']}:{target['port']}/a"
        self.seen = self.ask([])
        self.folder = Path(self.seen["env"]["HOME"]).parent
        self.temp = Path(self.seen["env"]["TMPDIR"]).parent

    def ask(self, wanted):
        with urllib.request.urlopen(urllib.request.Request(self.url, json.dumps(wanted).encode()), timeout=120) as answer:
            return json.loads(answer.read())

    def files(self):
        """Acts on everything that this member has on disk, as root sees it."""
        yield from (["read", f"{self.world.agent.data}/{name}"] for name in ("node", "key.pem", "tenants"))
        yield ["read", str(self.world.agent.data / "cache" / "blob" / self.revision.removeprefix("sha256:"))]
        for top in (self.folder, self.temp):
            yield from (["list", str(top)], ["leave", f"{top}/by-another"])
            for path in top.rglob("*"):
                if path.is_dir():
                    yield from (["list", str(path)], ["leave", f"{path}/by-another"])
                elif path.is_socket() or path.exists():
                    yield ["connect" if path.is_socket() else "read", str(path)]

    def processes(self):
        for pid in members(self.unit):
            yield ["signal", pid]
            yield from (["read", f"/proc/{pid}/{name}"] for name in ("environ", "maps", "mem"))
            yield from (["list", f"/proc/{pid}/{name}"] for name in ("fd", "cwd/", "root/"))


class World:
    """One node on which namespaces have users."""

    def __init__(self, folder, ray_environment, *flags):
        self.artifacts = Artifacts()
        self.server = Server(self.artifacts)
        self.agent = Agent(self.server, folder, "--isolation", "user", *flags)
        self.hello = self.server.wait("HELLO")
        self.environment = self.artifacts.put_file(ray_environment)
        self.code = self.artifacts.put(tar_zst({"probe.py": PROBE}, mode=0o600))  # as a careful packer left it

    def close(self):
        self.agent.close()
        self.server.close()


# Without namespaces the user is all that stands between two members: the harder case, and enough for each run.
WAYS = {"none": ("--no-namespaces",), **({"namespaces": ()} if os.environ.get("ASTRA_TEST_RAY") == "real" else {})}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def world(request, ray_environment):
    folder = Path(tempfile.mkdtemp(prefix="astra-iso-", dir="/tmp"))
    folder.chmod(0o755)
    world = World(folder, ray_environment, *request.param)
    world.namespaces = not request.param
    yield world
    world.close()
    shutil.rmtree(folder)


def shm_of(user):
    return [str(p) for p in Path("/dev/shm").iterdir() if p.lstat().st_uid == user]


def left_of(user):
    """Processes, less those that are dead and wait for whoever is process 1 here, and shared memory."""
    owners = {p.name: p.stat().st_uid for p in Path("/proc").glob("[0-9]*") if start_time(p.name) is not None and p.exists()}
    return [pid for pid, owner in owners.items() if owner == user] + shm_of(user)


def got(tenant, acts):
    """What a tenant got that should have been refused."""
    acts = list(acts)
    return [(act, answer) for act, answer in zip(acts, tenant.ask(acts), strict=True) if answer not in REFUSED]


def test_two_namespaces_on_one_node(world):
    red, blue = Tenant(world, "red", "noop-aaaaa"), Tenant(world, "blue", "noop-bbbbb")
    try:
        for tenant in (red, blue):
            tenant.ready()
        attacks(world, red, blue)
        users = [tenant.seen["uid"] for tenant in (red, blue)]
        for tenant in (red, blue):
            assert tenant.claim.release(grace_ms=5000).ok
        for tenant in (red, blue):
            tenant.claim.status(where=lambda m: m.claim_state == "RELEASED")
            assert not tenant.folder.exists() and not tenant.temp.exists()
        assert [left_of(user) for user in users] == [[], []]
    except BaseException:
        print(world.agent.log_text()[-4000:])
        raise


def attacks(world, red, blue):
    assert red.seen["uid"] != blue.seen["uid"] and all(t.seen["uid"] == t.seen["gid"] >= 1879048192 for t in (red, blue))
    assert red.seen["groups"] == [] and blue.seen["env"]["KEY"] == "noop-bbbbb"

    for one, other in ((red, blue), (blue, red)):
        acts = list(other.files())
        assert len(acts) > 50 and any(act[1].endswith("/token") for act in acts) and any("/logs/serve/" in act[1] for act in acts)
        assert got(one, acts) == []
        own = [act for act in other.files() if act[0] == "read" and "/logs/" in act[1]]
        assert own and all(isinstance(answer, int) for answer in other.ask(own)), "to its owner all of that is open"

    # Processes and shared memory: in namespaces the other ones are not even there.
    name = f"/dev/shm/astra-iso-{os.urandom(4).hex()}"
    assert blue.ask([["leave", name]]) == [None]
    if world.namespaces:
        assert red.seen["users"] == [0, red.seen["uid"]], "its own processes, and the first one of its namespace"
        assert red.ask([["read", name]]) == ["ENOENT"]
        assert shm_of(blue.seen["uid"]) == []
    else:
        assert got(red, blue.processes()) == []
        assert got(red, (["read", path] for path in shm_of(blue.seen["uid"]))) == []
        os.unlink(name)  # without namespaces nobody else does

    # Ray's own ports: nobody gets on without a token, nor with another unit's.
    for token, answers in ((None, {401}), (red.claim.token, {401, 403})):
        for offset, path in HTTP.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert http("GET", f"http://{blue.ip}:{blue.ports + offset}{path}", headers=headers)[0] in answers, path
        ports = {blue.ports + offset: method for offset, method in GRPC.items()}
        workers = listening(blue.ports + 50, 50)
        assert workers
        calls = [["call", blue.ip, port, f"/ray.rpc.{method}", token] for port, method in (ports | dict.fromkeys(workers, WORKER)).items()]
        answers = list(zip(calls, red.ask(calls), strict=True))
        assert {answer for _, answer in answers} == {"UNAUTHENTICATED"}, answers
    own = [["call", blue.ip, blue.ports, "/ray.rpc." + GRPC[0], blue.claim.token]]
    assert blue.ask(own) == ["OK"]

    # The agent reads logs for people: a link among them leads nowhere.
    logs = red.temp / "r" / "session_latest" / "logs" / "serve"
    assert red.ask([["link", str(blue.folder / "token"), f"{logs}/token"], ["link", str(world.agent.data / "node"), f"{logs}/node"]]) == [None, None]
    told = world.server.logs(world.hello.node, red.unit, "head")
    assert any(name.startswith("serve/replica_a_Probe") for name in told)
    assert "serve/token" not in told and "serve/node" not in told and blue.claim.token.encode() not in b"".join(told.values())
