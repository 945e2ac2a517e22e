"""One unit on one node: a test plays the server over Starlink and sees a real Ray head come, serve, survive its agent,
and go without a trace; and what is said when something is wrong with what it needs."""

import hashlib
import json
import os
import time
import uuid
from pathlib import Path

import pytest
import starlink
from agentlib import GIB, Agent, Artifacts, Claim, Server, http, listening, revision_document, tar_zst
from proclib import members, wait_for

NOOP = """
from ray import serve

@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1})
class Noop:
    def __init__(self, answer="hello"):
        self.answer = answer

    async def __call__(self, request):
        self.held = b"x" * (int(request.query_params.get("mb", 0)) << 20)
        return self.answer

    def reconfigure(self, config):
        self.answer = config.get("answer", self.answer)

app = Noop.bind()
"""

BROKEN = "raise ValueError('no such thing as an app here')\n"


@pytest.fixture
def world(tmp_path):
    """A server with artifacts, and an agent that joined it."""
    artifacts = Artifacts()
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path)
        try:
            yield server, agent, artifacts
        except BaseException:
            print(agent.log_text()[-6000:])
            raise
        finally:
            agent.close()


def fake_environment(**changes):
    manifest = {"schema": 1, "platform": "linux-x86_64", "glibc": "2.17", "python": "3.11.2", "ray": "2.60.0", **changes}
    return tar_zst({"astra-env.json": json.dumps(manifest), "bin/python3": "not a program"})


@pytest.fixture
def ray_free_environment():
    """Makes an environment of 64 MiB whose python3 is a shell script that says so and ends, after `seconds`."""

    def make(artifacts, seconds=0):
        manifest = {"schema": 1, "platform": "linux-x86_64", "glibc": "2.17", "python": "3.11.2", "ray": "2.60.0"}
        files = {"astra-env.json": json.dumps(manifest), "bin/python3": f"#!/bin/sh\necho no Ray in this one\nsleep {seconds}\nexit 3\n"}
        files |= {f"lib/{i}": os.urandom(2 << 20).hex() for i in range(16)}
        return artifacts.put(tar_zst(files, mode=0o755))

    return make


def nothing_left(agent, unit, ports):
    assert members(unit) == {}
    assert list((agent.data / "members").iterdir()) == []
    assert list(agent.temp_root.iterdir()) == []
    assert listening(ports, 100) == []


def shm_names():
    return {p.name for p in Path("/dev/shm").iterdir()}


def failed(server, agent, artifacts, environment, node=None, **document):
    """The EXITED status of a head with this environment; node is the agent's when its HELLO was taken before."""
    revision = artifacts.put(revision_document(environment, **document))
    claim = Claim(server, node or server.wait("HELLO").node, revision)
    assert claim.reserve().granted
    assert claim.bind().ok
    status = claim.status(where=lambda m: m.member_state == "EXITED")
    reply = claim.release()
    assert reply.ok
    claim.status(where=lambda m: m.claim_state == "RELEASED")
    nothing_left(agent, claim.id["unit"], status.port_base)
    return status


def test_joins_and_grants(world):
    server, agent, _ = world
    hello = server.wait("HELLO")
    assert (hello.peer, hello.name, hello.cluster) == ("AGENT", "n1", "c1")
    assert hello.address.startswith("127.")
    node = server.wait("NODE_STATUS")
    assert node.free == {"mcpu": 4000, "memory_bytes": 8 << 30, "disk_bytes": 50 << 30}
    server.wait("SNAPSHOT_END", claims=0)
    server.wait("BEAT")

    digest = "sha256:" + "11" * 32
    claims = [Claim(server, hello.node, digest, unit=f"noop-{i:05}") for i in range(5)]
    replies = [c.reserve() for c in claims]
    assert [r.granted for r in replies] == [True] * 4 + [False]
    assert replies[4].reason == "NO_CAPACITY" and "cpu" in replies[4].message
    assert len({r.port_base for r in replies[:4]}) == 4
    stale = Claim(server, hello.node, digest, uid=claims[0].id["app_uid"], epoch=4, unit="noop-stale").reserve()
    assert not stale.granted and stale.highest_epoch == 5
    assert claims[0].reserve().port_base == replies[0].port_base  # a repeat: the same answer
    for c in claims[:4]:
        assert c.release().ok
        c.status(where=lambda m: m.claim_state == "RELEASED")
    assert "astra_node_attached 1" in agent.get("/metrics")
    assert agent.get("/healthz") == "ok\n"

    server.send(starlink.Message("NODE_COMMAND", request=77, node=hello.node, action="CORDON"))
    assert server.wait("NODE_STATUS", request=77).cordoned
    agent.kill()
    server.forget_peer()
    agent.start()
    again = server.wait("HELLO")
    assert again.node == hello.node and again.incarnation == hello.incarnation + 1
    assert server.wait("NODE_STATUS").cordoned  # lives in the agent's file
    assert not Claim(server, hello.node, digest).reserve().granted


@pytest.mark.parametrize(
    "changes, reason, words",
    [
        ({"platform": "linux-riscv64"}, "ENV_MISMATCH", "made for linux-riscv64"),
        ({"glibc": "2.99"}, "ENV_MISMATCH", "needs glibc 2.99"),
        ({"ray": "2.9.3"}, "ENV_MISMATCH", "has Ray 2.9.3"),
        ({"ray": None}, "ENV_MISMATCH", "no Ray"),
        ({}, "RAY_START_FAILED", "bin/python3"),
    ],
)
def test_environment_that_does_not_fit(world, changes, reason, words):
    server, agent, artifacts = world
    status = failed(server, agent, artifacts, artifacts.put(fake_environment(**changes)))
    assert status.reason == reason
    assert words in status.message


def test_artifacts_that_do_not_arrive(world):
    server, agent, artifacts = world
    wrong = "sha256:" + hashlib.sha256(b"what it should be").hexdigest()
    artifacts.items[wrong] = b"what it is" * 100000
    status = failed(server, agent, artifacts, wrong)
    assert status.reason == "FETCH_FAILED" and "arrived as" in status.message
    assert artifacts.gets.count(wrong) == 2  # once more, then it is an error


def test_artifact_unknown_to_the_server(world):
    server, agent, artifacts = world
    status = failed(server, agent, artifacts, "sha256:" + "ab" * 32)
    assert status.reason == "FETCH_FAILED" and "no artifact" in status.message


def test_no_archive_and_evil_code(world):
    server, agent, artifacts = world
    status = failed(server, agent, artifacts, artifacts.put(b"no archive"))
    assert status.reason == "ENV_MISMATCH"
    evil = artifacts.put(tar_zst({"../../evil.py": "x"}))
    server.forget_peer()
    agent.kill()
    agent.start()
    status = failed(server, agent, artifacts, artifacts.put(fake_environment()), code=evil)
    assert status.reason == "UNPACK_FAILED" and "leads outside" in status.message


@pytest.mark.ray
def test_one_unit(world, ray_environment):
    server, agent, artifacts = world
    hello = server.wait("HELLO")
    shm_before = shm_names()
    environment = artifacts.put_file(ray_environment)
    code = artifacts.put(tar_zst({"noop.py": NOOP}))
    revision = artifacts.put(revision_document(environment, code))
    claim = Claim(server, hello.node, revision)
    ports = claim.reserve().port_base
    assert claim.bind().ok

    ready = claim.status(timeout_s=300, where=lambda m: m.deployed == revision and m.warmed)
    assert ready.member_state == "UP" and ready.reason == "NONE", ready
    assert [(a["name"], a["status"]) for a in ready.apps] == [("a", "RUNNING")]
    target = ready.targets[0]
    assert target["healthy"] and not target["proxy"] and ports <= target["port"] < ports + 100
    url = f"http://{target['ip']}:{target['port']}/a"
    assert http("GET", url) == (200, "hello")

    # the dashboard asks for the unit's own token
    dashboard = f"http://{hello.address}:{ports + 4}/api/serve/applications/"
    assert http("GET", dashboard)[0] in (401, 403)

    logs = server.logs(hello.node, claim.id["unit"], "head")
    assert b"Ray runtime started" in logs["log"]
    assert any(name.startswith("serve/replica_a_Noop") for name in logs)
    assert server.logs(hello.node, "other-aaaaa", "head") == "not_found"
    assert 'astra_member_up{unit="noop-aaaaa",member="head"} 1' in agent.get("/metrics")

    # the agent dies and comes back: the same processes, still serving, endpoints at once
    before = members(claim.id["unit"])
    names = {pid: cmdline(pid).replace(b"\0", b" ").decode() for pid in before}
    assert len(before) > 5
    agent.kill()
    assert http("GET", url) == (200, "hello")
    server.forget_peer()
    agent.start()
    again = claim.status(timeout_s=30, where=lambda m: m.member_state == "UP")
    assert again.deployed == revision and again.warmed and again.targets == ready.targets
    assert again.pid == ready.pid and again.pid_start == ready.pid_start
    after = members(claim.id["unit"])
    lost = {pid: name for pid, name in names.items() if after.get(pid) != before[pid] and "ray::IDLE" not in name}
    assert lost == {}  # idle workers come and go

    # a new config under the running head
    config = [{"name": "a", "route_prefix": "/a", "import_path": "noop:app",
               "deployments": [{"name": "Noop", "user_config": {"answer": "$$(X) $(ASTRA_UNIT)"}}]}]  # fmt: skip
    second = artifacts.put(revision_document(environment, code, config, number=2))
    assert claim.config(second, 2).ok
    claim.status(timeout_s=60, where=lambda m: m.deployed == second and m.warmed)
    assert http("GET", url) == (200, "$(X) noop-aaaaa")

    # a replica dies: told at once, replaced by Ray
    victim = next(pid for pid in members(claim.id["unit"]) if b"ServeReplica:a:Noop" in cmdline(pid))
    start = time.monotonic()
    os.kill(victim, 9)
    claim.status(timeout_s=10, where=lambda m: not any(t["name"] == target["name"] for t in m.targets))
    assert time.monotonic() - start < 0.5
    fresh = claim.status(timeout_s=60, where=lambda m: any(t["healthy"] and not t["proxy"] for t in m.targets))
    new = next(t for t in fresh.targets if not t["proxy"])
    assert http("GET", f"http://{new['ip']}:{new['port']}/a") == (200, "$(X) noop-aaaaa")

    # a replica takes more than the claim: it alone is killed, and Ray replaces it
    with pytest.raises(OSError):
        http("GET", f"http://{new['ip']}:{new['port']}/a?mb=3000", timeout_s=30)
        time.sleep(10)  # it answered before it was looked at
        http("GET", f"http://{new['ip']}:{new['port']}/a")
    event = server.wait("EVENT", timeout_s=20, where=lambda m: m.reason == "OOM_KILLED")
    assert "of its 2048 MiB" in event.message and "ray::ServeRepli" in event.message
    claim.status(timeout_s=60, where=lambda m: any(t["healthy"] and t["name"] not in (target["name"], new["name"])
                                                   for t in m.targets))  # fmt: skip

    # released: nothing is left
    assert claim.release(grace_ms=15000).ok
    claim.status(timeout_s=60, where=lambda m: m.claim_state == "RELEASED")
    wait_for("the last socket", lambda: listening(ports, 100) == [], 5)
    nothing_left(agent, claim.id["unit"], ports)
    assert shm_names() <= shm_before


def shell_environment(script):
    """An environment whose python3 is a shell script."""
    manifest = {"schema": 1, "platform": "linux-x86_64", "glibc": "2.17", "python": "3.11.2", "ray": "2.60.0"}
    return tar_zst({"astra-env.json": json.dumps(manifest), "bin/python3": f"#!/bin/sh\n{script}\n"}, mode=0o755)


WORKERS = [{"name": "cpu", "count": 1, "cpu": 1, "memory": "2Gi"}]
SAYS = 'echo "W=$W same=$(cat $W) shared=$(cat /dev/shm/astra-models/det-v4)"; exit 3'


def test_references_in_env(world):
    """$(ASTRA_MODEL_X) leads to the model, in each member's own namespace also by a path that is the same on all."""
    server, agent, artifacts = world
    model = artifacts.put(b"weights")
    document = {
        "models": {"det-v4": model},
        "env": [{"name": "W", "value": "$(ASTRA_MODEL_DET_V4)"}],
        "workers": WORKERS,
        "applications": [{"name": "a", "import_path": "a:b", "args": {"w": "$(W)"}}],
    }
    status = failed(server, agent, artifacts, artifacts.put(shell_environment(SAYS)), **document)
    assert status.reason == "RAY_START_FAILED"
    assert "models/det-v4 same=weights shared=weights" in status.message


def test_the_first_environment_that_fits(world):
    server, agent, artifacts = world
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    other = "arm64" if arch == "amd64" else "amd64"
    first, second = (artifacts.put(shell_environment(f"echo {word}; exit 3")) for word in ("first", "second"))
    missing = "sha256:" + "11" * 32  # never asked for
    hello = server.wait("HELLO")
    assert hello.arch == arch
    chosen = [{"arch": other, "digest": missing}, {"arch": arch, "digest": first}, {"arch": None, "digest": second}]
    status = failed(server, agent, artifacts, chosen, hello.node)
    assert "first" in status.message
    status = failed(server, agent, artifacts, [chosen[0], chosen[2]], hello.node)
    assert "second" in status.message
    status = failed(server, agent, artifacts, [chosen[0]], hello.node)
    assert (status.reason, status.message) == ("ENV_MISMATCH", f"the app has no environment for {arch} nodes")


def ended_logs(agent):
    folder = agent.data / "ended"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_failed_members_logs(tmp_path):
    """They stay for logs.keepFailed, over a restart of the agent, and never more of them than --logs-max."""
    artifacts = Artifacts()
    environment = artifacts.put(shell_environment("head -c 40000 /dev/zero | tr '\\0' x; exit 3"))
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path, "--logs-max", "100000")
        try:
            node = server.wait("HELLO").node
            failed(server, agent, artifacts, environment, node, logs={"keepFailed": "0s"})
            assert ended_logs(agent) == []
            failed(server, agent, artifacts, environment, node, logs={"keepFailed": "3s"})
            [short] = ended_logs(agent)
            assert short.startswith("noop-aaaaa.head.1.") and short.endswith(".log")
            until = int(short.split(".")[3])
            assert 0 < until - time.time() <= 4
            wait_for("the end of its time", lambda: ended_logs(agent) == [], 8)
            assert time.time() >= until
        finally:
            agent.close()
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path / "many", "--logs-max", "100000")
        folder = agent.data / "ended"
        folder.mkdir()
        now = int(time.time())
        for name, age in (("old", 100), ("older", 50), ("young", 3000)):
            (folder / f"{name}-aaaaa.head.1.{now + age}.log").write_bytes(b"y" * 45000)
        try:
            failed(server, agent, artifacts, environment, logs={"keepFailed": "1h"})
            wait_for("the bound", lambda: len(ended_logs(agent)) == 2, 5)
            assert [n.split(".")[0] for n in ended_logs(agent)] == ["noop-aaaaa", "young-aaaaa"]
        finally:
            agent.close()


def test_last_words_are_brought(tmp_path):
    """The last mebibyte, from the beginning of a line; again until the server has it, over a restart of the agent; three times at
    most when it is refused; nothing of an app that keeps no logs."""
    artifacts = Artifacts()
    environment = artifacts.put(shell_environment("seq -f 'line %.0f of what was printed' 1 60000; exit 3"))
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path)
        waiting = agent.data / "outbox"
        try:
            node = server.wait("HELLO").node
            failed(server, agent, artifacts, environment, node, logs={"keepFailed": "0s"})
            assert not waiting.exists()
            failed(server, agent, artifacts, environment, node)  # and this server knows nothing of it
            [name] = os.listdir(waiting)
            agent.kill()
            server.forget_peer()
            (waiting / (name + ".abc123")).write_text("a write that broke off")
            os.utime(waiting / (name + ".abc123"), (0, 0))
            busy = iter([{"code": "unavailable"}])
            server.answer_logs = lambda claim: next(busy, {"ok": True})
            agent.start()
            wait_for("the log, twice", lambda: len(server.brought) == 2, 30)
            (claim, announced, text), again = server.brought
            assert again == server.brought[0] and announced == len(text) <= 1 << 20
            assert name == f"{claim['app_uid']}.noop-aaaaa.head.1.log"
            lines = text.decode().splitlines()
            assert len(text) > (1 << 20) - 40 and lines[-1] == "line 60000 of what was printed"
            assert lines == [f"line {i} of what was printed" for i in range(60001 - len(lines), 60001)]
            wait_for("an empty outbox", lambda: os.listdir(waiting) == [], 10)
            assert "astra_agent_logs_sent_total 1" in agent.get("/metrics")
            stays = Claim(server, node, artifacts.put(revision_document(environment)), unit="noop-stays")
            assert stays.reserve().granted and stays.bind().ok
            wait_for("its log", lambda: len(server.brought) == 3, 30)
            wait_for("an empty outbox", lambda: os.listdir(waiting) == [], 10)
            agent.kill()
            server.forget_peer()
            agent.start()
            stays.status(where=lambda m: m.member_state == "EXITED")  # found as it was: nothing is brought again
            assert stays.release().ok
            stays.status(where=lambda m: m.claim_state == "RELEASED")
            server.answer_logs = lambda claim: {"code": "forbidden"}
            failed(server, agent, artifacts, environment, node)
            wait_for("the end of it", lambda: os.listdir(waiting) == [] and len(server.brought) == 6, 30)
            assert [claim["unit"] for claim, _, _ in server.brought[2:]] == ["noop-stays"] + ["noop-aaaaa"] * 3
            assert "astra_agent_logs_dropped_total 1" in agent.get("/metrics")
        finally:
            agent.close()


def test_references_where_paths_differ(tmp_path):
    """Without namespaces the members of a unit have no path in common: refused by name, unless the head is alone."""
    artifacts = Artifacts()
    model = artifacts.put(b"weights")
    environment = artifacts.put(shell_environment(SAYS))
    document = {
        "models": {"det": model},
        "applications": [{"name": "a", "import_path": "a:b", "args": {"w": "$(ASTRA_MODEL_DET)"}}],
    }
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path, "--no-namespaces")
        try:
            refused = failed(server, agent, artifacts, environment, workers=WORKERS, **document)
            assert refused.reason == "UNSUPPORTED"
            assert "$(ASTRA_MODEL_...)" in refused.message and "namespaces" in refused.message
        finally:
            agent.close()
    with Server(artifacts) as server:
        agent = Agent(server, tmp_path / "alone", "--no-namespaces")
        try:
            alone = failed(server, agent, artifacts, environment, **document)
            assert alone.reason == "RAY_START_FAILED"
        finally:
            agent.close()


@pytest.mark.ray
def test_head_and_worker_without_namespaces(tmp_path, ray_environment):
    """A unit of two members on two nodes; the way of hosts that allow no namespaces."""
    artifacts = Artifacts()
    environment = artifacts.put_file(ray_environment)
    code = artifacts.put(tar_zst({"noop.py": NOOP.replace('"num_cpus": 0.1', '"num_cpus": 1')}))
    workers = [{"name": "cpu", "count": 1, "cpu": 1, "memory": "2Gi", "ray": {"resources": {"spare": 1}}}]
    revision = artifacts.put(revision_document(environment, code, workers=workers))
    cache = ("--no-namespaces", "--cache", tmp_path / "cache")
    with Server(artifacts) as s1, Server(artifacts, store_id=s1.store_id) as s2:
        a1, a2 = Agent(s1, tmp_path / "1", *cache), Agent(s2, tmp_path / "2", *cache)
        try:
            h1, h2 = s1.wait("HELLO"), s2.wait("HELLO")
            head = Claim(s1, h1.node, revision)
            worker = Claim(s2, h2.node, revision, member="cpu-0", role="WORKER", uid=head.id["app_uid"])
            worker.token = head.token
            ports = (head.reserve().port_base, worker.reserve(ttl_ms=300000).port_base)  # the head comes first
            assert head.bind(workers=1).ok
            head.status(timeout_s=200, where=lambda m: m.member_state == "UP")
            assert worker.bind(head_address=h1.address, head_port=ports[0], group="cpu").ok
            worker.status(timeout_s=200, where=lambda m: m.member_state == "UP")
            ready = head.status(timeout_s=200, where=lambda m: m.deployed == revision and m.warmed)
            target = next(t for t in ready.targets if not t["proxy"])
            assert target["ip"] == h2.address  # the head serves nothing: replicas are on the worker
            assert http("GET", f"http://{target['ip']}:{target['port']}/a") == (200, "hello")
            assert artifacts.gets.count(environment) == 1  # two agents, one cache

            for server, claim in ((s2, worker), (s1, head)):
                assert claim.release(grace_ms=15000).ok
                claim.status(timeout_s=60, where=lambda m: m.claim_state == "RELEASED")
            for agent, port in ((a1, ports[0]), (a2, ports[1])):
                nothing_left(agent, claim.id["unit"], port)
        except BaseException:
            print(a1.log_text()[-4000:], a2.log_text()[-4000:])
            raise
        finally:
            a1.close()
            a2.close()


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.ray
def test_app_that_raises_and_head_killed(world, ray_environment):
    server, agent, artifacts = world
    hello = server.wait("HELLO")
    environment = artifacts.put_file(ray_environment)
    code = artifacts.put(tar_zst({"noop.py": BROKEN}))
    revision = artifacts.put(revision_document(environment, code))
    claim = Claim(server, hello.node, revision)
    ports = claim.reserve().port_base
    assert claim.bind().ok
    bad = claim.status(timeout_s=300, where=lambda m: m.reason == "IMPORT_FAILED")
    assert "no such thing as an app here" in bad.message
    assert bad.apps[0]["status"] == "DEPLOY_FAILED"

    os.kill(bad.pid, 9)  # the shim: with it the whole namespace
    lost = claim.status(timeout_s=30, where=lambda m: m.member_state == "EXITED")
    assert lost.reason == "HEAD_LOST" and lost.targets == []
    wait_for("the namespace's end", lambda: members(claim.id["unit"]) == {}, 10)
    assert claim.release().ok
    claim.status(where=lambda m: m.claim_state == "RELEASED")
    nothing_left(agent, claim.id["unit"], ports)


def test_agent_ends_in_the_middle(world, ray_free_environment):
    """SIGTERM and SIGKILL while artifacts arrive and are unpacked: the next agent goes on from there."""
    server, agent, artifacts = world
    hello = server.wait("HELLO")
    revision = artifacts.put(revision_document(ray_free_environment(artifacts)))
    claim = Claim(server, hello.node, revision)
    ports = claim.reserve().port_base
    assert claim.bind().ok
    for pause, signum in ((0.0, 15), (0.02, 9), (0.05, 15), (0.1, 9), (0.2, 15)):
        time.sleep(pause)
        agent.kill(signum)
        server.forget_peer()
        agent.start()
        server.wait("SNAPSHOT_END", claims=1)
    status = claim.status(timeout_s=60, where=lambda m: m.member_state == "EXITED")
    assert status.reason == "RAY_START_FAILED" and "ended with status 3" in status.message, status
    assert "no Ray in this one" in status.message
    assert claim.release().ok
    claim.status(where=lambda m: m.claim_state == "RELEASED")
    nothing_left(agent, claim.id["unit"], ports)


def test_ray_ends_before_it_is_up_while_the_agent_is_away(world, ray_free_environment):
    """The next agent tells a head that never was up from one that was lost."""
    server, agent, artifacts = world
    hello = server.wait("HELLO")
    revision = artifacts.put(revision_document(ray_free_environment(artifacts, seconds=2)))
    claim = Claim(server, hello.node, revision)
    claim.reserve()
    assert claim.bind().ok
    wait_for("Ray's start", lambda: any(b"sleep" in cmdline(pid) for pid in members(claim.id["unit"])), 30)
    agent.kill(9)
    wait_for("the shim's end", lambda: not members(claim.id["unit"]), 20)
    server.forget_peer()
    agent.start()
    status = claim.status(timeout_s=30, where=lambda m: m.member_state == "EXITED")
    assert status.reason == "RAY_START_FAILED" and "no Ray in this one" in status.message, status
    assert claim.release().ok
    claim.status(where=lambda m: m.claim_state == "RELEASED")


def test_a_head_tells_its_token_to_whom_it_obeys(world, ray_free_environment):
    """A server that lost its store learns the unit's Ray token again; another store or a lower epoch does not."""
    server, agent, artifacts = world
    hello = server.wait("HELLO")
    revision = artifacts.put(revision_document(ray_free_environment(artifacts, seconds=60)))
    claim = Claim(server, hello.node, revision)
    worker = Claim(server, hello.node, revision, member="w-0", role="WORKER", uid=claim.id["app_uid"], mcpu=100, memory_bytes=GIB)

    def told(claim=claim, **other):
        reply = server.ask("UNIT_TOKEN", **{**claim.common, **other})
        assert reply.claim == claim.id and bool(reply.get("ray_token")) == bool(reply.get("ok"))
        return reply.get("ray_token") or reply.message

    for one in (claim, worker):
        one.reserve()
        assert "RESERVED" in told(one)
        assert one.bind().ok
    assert told() == claim.token
    assert "another store" in told(store_id=str(uuid.uuid4()))
    assert "epoch 5" in told(epoch=4)
    assert "BOUND" in told(worker)  # only heads are asked
    agent.kill(9)
    server.forget_peer()
    agent.start()
    server.wait("SNAPSHOT_END", claims=2)
    assert told(epoch=6) == claim.token
    assert claim.token not in agent.log_text()
    for one in (worker, claim):
        assert one.release().ok
        one.status(where=lambda m: m.claim_state == "RELEASED")
