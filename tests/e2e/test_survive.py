"""What a platform survives while clients go on asking: one `astra up`, an app of two units, and every part of it killed in
turn. The tests stand in their order; each leaves the app READY."""

import time

import pytest
from agentlib import tar_zst
from platformlib import Platform, Traffic, command
from proclib import kill, members, start_time, wait_for

pytestmark = pytest.mark.ray

CODE = """
from ray import serve

@serve.deployment(num_replicas=1, max_ongoing_requests=4, ray_actor_options={"num_cpus": 0.1})
class Noop:
    async def __call__(self, request):
        return len(await request.body())

app = Noop.bind()
"""

RAISES = CODE.replace(
    "    async def __call__", "    def __init__(self):\n        raise ValueError('this is no model')\n\n    async def __call__"
)
BROKEN = "raise ValueError('no such thing as an app here')\n"


def spec(name, code="noop@1", **more):
    return {
        "units": 2,
        "environment": [{"artifact": "ray@1"}],
        "code": {"artifact": code},
        "head": {"cpu": 1, "memory": "2Gi"},
        "rollout": {"bake": "2s"},
        "serve": {"applications": [{"name": name, "import_path": "noop:app", "route_prefix": f"/{name}"}]},
        "routes": [{"idempotent": True}],
        **more,
    }


def put_artifacts(platform, ray_environment):
    platform.put_artifact("ray@1", ray_environment.read_bytes())
    platform.put_artifact("noop@1", tar_zst({"noop.py": CODE}))
    platform.put_artifact("broken@1", tar_zst({"noop.py": BROKEN}))
    platform.put_artifact("nothing@1", b"no archive")


@pytest.fixture(scope="module")
def platform(tmp_path_factory, ray_environment):
    platform = Platform(tmp_path_factory.mktemp("survive"))
    try:
        platform.up()
        put_artifacts(platform, ray_environment)
        platform.put_app("noop", spec("noop"))
        platform.wait_ready("noop")
        yield platform
    finally:
        done = platform.run("down", "--data", platform.data)
        print(done.stdout, done.stderr)
    assert platform.left() == []


@pytest.fixture
def traffic(platform, request):
    """Clients from before the test's first step until after its last one; none of their requests may fail."""
    with Traffic(platform.client()["gateway"], "/noop/x") as traffic:
        wait_for("requests", lambda: traffic.sent >= 40, 60)
        yield traffic
        sent = traffic.sent
        wait_for("more requests", lambda: traffic.sent >= sent + 40, 60)
    allowed = request.node.get_closest_marker("may_fail_while_away")
    if not allowed:
        assert traffic.failed == []
    assert "OOMKilled" not in {event["reason"] for event in platform.api("GET", "/events")["items"]}


def processes(platform, name):
    """Of all units of an app: unit -> {pid: start time}."""
    return {unit["name"]: members(unit["name"]) for unit in platform.units(name)}


def same(before):
    """Every process of before is there, and is the one that it was."""
    return [(unit, pid) for unit, pids in before.items() for pid, started in pids.items() if start_time(pid) != started] == []


def claims(platform, node):
    """Units that have a claim on a node."""
    return [claim["unit"] for claim in platform.node(node)["claims"]]


def head_of(unit):
    return next(member for member in unit["members"] if member["role"] == "head")


def worker_of(unit):
    return next(member for member in unit["members"] if member["role"] == "worker")


TEAM = {
    "head": {"cpu": 0.5, "memory": "1500Mi", "serves": "never"},
    "workers": [{"name": "w", "count": 1, "cpu": 1, "memory": "1500Mi"}],
}
WORKER_S = 480  # Ray gives a worker 30 s to register; on a busy machine the platform may have to try again


def kill_worker(platform, name):
    """Of one unit of an app whose heads serve nothing, under traffic of its own: only the worker is placed again."""
    before = {unit["name"]: unit for unit in platform.wait_ready(name)}
    killed = next(iter(before.values()))
    worker = worker_of(killed)
    heads = {unit: {pid: s for pid, s in members(unit, "head/").items() if "ray::IDLE" not in command(pid)} for unit in before}
    shims = {head_of(unit)["pid"] for unit in before.values()}
    assert shims <= {pid for pids in heads.values() for pid in pids}

    def replaced():
        units = {unit["name"]: unit for unit in platform.units(name)}
        now = worker_of(units[killed["name"]])
        ready = all(unit["state"] == "READY" for unit in units.values())
        return units.keys() == before.keys() and ready and now["attempt"] > worker["attempt"] and now["state"] == "UP" and units

    with Traffic(platform.client()["gateway"], f"/{name}/x") as own:
        wait_for("requests", lambda: own.sent >= 40, 60)
        kill(members(killed["name"], worker["name"] + "/"))
        units = platform.wait("another worker", replaced, WORKER_S)
        sent = own.sent
        wait_for("requests of both units", lambda: own.sent >= sent + 40, 60)
    assert own.failed == []
    assert same(heads)
    for unit in before:
        assert (head_of(units[unit])["pid"], head_of(units[unit])["attempt"]) == (
            head_of(before[unit])["pid"], head_of(before[unit])["attempt"],
        )  # fmt: skip
        assert unit == killed["name"] or worker_of(units[unit])["pid"] == worker_of(before[unit])["pid"]
    failed = [event["message"] for event in platform.events(name) if event["reason"] == "RayStartFailed"]
    told = [message for message in failed if "-> EXITED" in message]
    assert all("its last words" in message for message in told), told
    print(f"{len(told)} workers missed their start")


def test_unit_and_its_agent_are_killed(platform, traffic):
    unit = platform.units("noop", "READY")[0]
    agent = platform.pid(unit["nodeName"])
    kill([agent, *members(unit["name"])])
    again = []

    def replaced():
        again.extend(pid for pid in members(unit["name"]))
        units = platform.units("noop")
        return len(units) == 2 and all(u["state"] == "READY" and u["name"] != unit["name"] for u in units)

    platform.wait("another unit", replaced)
    wait_for("another agent", lambda: platform.pid(unit["nodeName"]) not in (None, agent), 20)
    platform.wait_ready("noop", without=[unit["name"]])
    platform.wait("the node", lambda: platform.is_up(unit["nodeName"]))
    platform.wait("the old claim's end", lambda: unit["name"] not in claims(platform, unit["nodeName"]))
    assert {command(pid) for pid in again if start_time(pid)} == set()
    assert members(unit["name"]) == {}


def test_head_alone_is_killed(platform, traffic):
    unit = platform.units("noop", "READY")[0]
    kill([pid for pid in members(unit["name"], "head/") if "gcs_server" in command(pid)])
    platform.wait_ready("noop", without=[unit["name"]])
    wait_for("its processes' end", lambda: members(unit["name"]) == {}, 60)
    reasons = [event["reason"] for event in platform.events("noop") if event["object"].endswith(unit["name"])]
    assert "HeadLost" in reasons


def test_agent_is_killed(platform, traffic):
    unit = platform.units("noop", "READY")[0]
    before = processes(platform, "noop")
    platform.kill_and_see_again(unit["nodeName"])
    platform.wait("the node", lambda: platform.is_up(unit["nodeName"]))
    platform.wait_ready("noop")
    assert same(before) and set(processes(platform, "noop")) == set(before)


def test_server_is_killed(platform, traffic):
    before = processes(platform, "noop")
    platform.kill_and_see_again("server")
    platform.wait_ready("noop")
    time.sleep(5)  # past the adopt phase
    assert {unit["name"] for unit in platform.wait_ready("noop")} == set(before)
    assert same(before)


def test_worker_is_killed(platform, traffic):
    platform.put_app("team", spec("team", **TEAM))
    kill_worker(platform, "team")


def test_store_is_lost(platform, traffic, ray_environment):
    """An app of heads alone, and one with workers: of that, the new store must learn the units' Ray tokens, too."""
    platform.put_app("team", spec("team", **TEAM))
    platform.wait_ready("team")
    before = {**processes(platform, "noop"), **processes(platform, "team")}
    platform.hold("server")
    store = platform.data / "server"
    for path in list(store.glob("astra.db*")):
        path.rename(platform.data.parent / path.name)
    platform.release("server")

    def orphans():
        return {item["name"] for item in platform.api("GET", "/orphans")["items"] if item["adoptable"]} == {"noop", "team"}

    platform.wait("the orphans", orphans, 90)
    assert platform.app("noop")["state"] == platform.app("team")["state"] == "ORPHAN"
    assert same(before)
    for name in ("noop", "team"):
        platform.api("POST", f"/orphans/default/{name}/adopt")
    units = platform.wait_ready("noop", 90) + platform.wait_ready("team", 90)
    assert {unit["name"] for unit in units} == set(before)
    assert same(before)
    put_artifacts(platform, ray_environment)  # their names were in the store, too
    kill_worker(platform, "team")
    platform.delete("team")


@pytest.mark.may_fail_while_away
def test_gateway_is_killed_without_a_server(platform, traffic):
    before = processes(platform, "noop")
    platform.hold("server")
    gone = time.monotonic()
    platform.kill_and_see_again("gateway")
    back = time.monotonic()
    sent = traffic.sent
    wait_for("requests from the snapshot", lambda: traffic.sent >= sent + 100, 60)
    time.sleep(2)
    assert [failure for failure in traffic.failed if not gone <= failure[0] <= back + 2] == []
    platform.release("server")
    platform.wait_ready("noop", 60)
    assert [failure for failure in traffic.failed if failure[0] > back + 2] == []
    assert same(before)


def test_node_is_drained(platform, traffic):
    unit = platform.units("noop", "READY")[0]
    node = unit["nodeName"]
    platform.api("POST", f"/nodes/{node}/drain")
    platform.wait_ready("noop", without=[unit["name"]])
    platform.wait("an empty node", lambda: claims(platform, node) == [])
    assert members(unit["name"]) == {}
    assert list((platform.data / "nodes" / node / "members").iterdir()) == []
    platform.api("POST", f"/nodes/{node}/undrain")


def failed(platform, name):
    """The first unit of an app that is told as failed."""
    return platform.wait(f"{name} to fail", lambda: next(iter(platform.units(name, "FAILED")), None))


def test_app_that_cannot_be_imported(platform, traffic):
    platform.put_app("bad", spec("bad", "broken@1", units=1))
    unit = failed(platform, "bad")
    assert unit["reason"] == "ImportFailed" and "no such thing as an app here" in unit["message"]
    told = [event for event in platform.events("bad") if event["reason"] == "ImportFailed"]
    assert "no such thing as an app here" in told[0]["message"]
    platform.delete("bad")


def test_app_whose_constructor_raises(platform, traffic):
    platform.put_artifact("raises@1", tar_zst({"noop.py": RAISES}))
    platform.put_app("raises", spec("raises", "raises@1", units=1))
    unit = failed(platform, "raises")
    assert unit["reason"] == "ImportFailed" and "this is no model" in unit["message"], unit
    platform.delete("raises")


def test_environment_that_is_no_archive(platform, traffic):
    platform.put_app("bare", spec("bare", units=1, environment=[{"artifact": "nothing@1"}]))
    unit = failed(platform, "bare")
    assert unit["reason"] in ("EnvMismatch", "UnpackFailed") and unit["message"]
    platform.delete("bare")


def test_bad_revision_is_undone(platform, traffic):
    before = processes(platform, "noop")
    proven = platform.app("noop")["provenRevision"]
    platform.put_app("noop", spec("noop", "broken@1"))
    platform.wait("the revision to be given up", lambda: platform.app("noop")["failedRevision"] > proven)
    units = platform.wait_ready("noop")
    assert {unit["name"] for unit in units} == set(before) and {unit["revision"] for unit in units} == {proven}
    assert same(before)
    assert "Undone" in [event["reason"] for event in platform.events("noop")]
