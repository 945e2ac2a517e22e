"""What stops without dying: a head, an agent, the server, a replica. Clients go on asking all the while."""

import json
import time
from collections import Counter
from datetime import datetime

import pytest
from disasterlib import SOON_S, Stopped, head_processes, replicas, some
from proclib import members, wait_for


@pytest.fixture(scope="module")
def world(disaster_world, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "access.log"
    with disaster_world(env={"ASTRA_CFG_GATEWAY_ACCESS_LOG": str(log)}) as world:
        world.access_log = log
        world.deploy(head={"timeout": "8s"})
        yield world


@pytest.fixture
def traffic(world):
    """No request may fail while things stop and go on."""
    world.state_file.unlink(missing_ok=True)
    with world.traffic() as traffic:
        some(traffic)
        yield traffic
        some(traffic)
    assert traffic.failed == []


def units(world):
    return {unit["name"] for unit in world.wait_ready("app", SOON_S)}


def picks(world, since):
    """How many requests the gateway has given to each unit since then, by its access log: a request is there when it has ended."""
    found = Counter()
    for line in world.access_log.read_text().splitlines():
        request = json.loads(line)
        begun = datetime.fromisoformat(request["time"]).timestamp()
        tries = [one for one in [request, *request.get("earlier", [])] if "picked_us" in one]
        found.update(one["unit"] for one in tries if begun + one["picked_us"] / 1e6 >= since)
    return found


def test_head_goes_on_in_time(world, traffic):
    before = units(world)
    unit = min(before)
    with Stopped(head_processes(unit)):
        world.wait("Degraded", world.degraded, 10)
        assert unit in world.degraded() and "serves on" in world.degraded()
        assert world.units("app", "READY")  # nothing was taken out of routing for that
        some(traffic, 100)
    world.wait("the end of it", lambda: world.degraded() is None, 15)
    assert units(world) == before
    assert world.said("its head answers again")


def test_head_stays_stopped(world, traffic):
    unit = min(units(world))
    with Stopped(head_processes(unit)):
        world.wait("its replacement", lambda: unit not in {u["name"] for u in world.units("app", "READY")}, SOON_S + 10)
        world.wait_ready("app", SOON_S + 10, without=[unit])
    assert "HeadLost" in world.reasons()
    assert world.said("head.timeout")
    wait_for("the end of its processes", lambda: members(unit) == {}, 30)


def test_head_and_its_replicas_are_stopped(world):
    """Requests that wait at a stopped replica leave it; with no replica left the unit is replaced long before head.timeout."""
    world.deploy("frozen", head={"timeout": "60s"})
    unit = min(u["name"] for u in world.units("frozen"))
    with world.traffic("frozen") as traffic:
        some(traffic)
        with Stopped([*head_processes(unit), *replicas(unit)]) as stopped:
            world.wait("its end", lambda: unit not in {u["name"] for u in world.units("frozen", "READY")}, 30)
            assert time.monotonic() - stopped.at < 30
            assert world.said("its head does not answer, and no replica does", "frozen")["object"].endswith(unit)
            world.wait_ready("frozen", SOON_S + 20, without=[unit])
        some(traffic)
    assert traffic.failed == [] and traffic.worst_s < 5
    world.delete("frozen")


def test_agent(world, traffic):
    unit = min(units(world))
    node = next(u for u in world.units("app") if u["name"] == unit)["nodeName"]
    before = members(unit)
    with Stopped([world.pid(node)]) as stopped:
        world.wait("SUSPECT", lambda: any(n["state"] == "SUSPECT" for n in world.api("GET", "/nodes")["items"]), 6)
        assert unit in {u["name"] for u in world.units("app", "READY")}
        world.wait("LOST", lambda: unit in {u["name"] for u in world.units("app", "LOST")}, 12)
        assert time.monotonic() - stopped.at > 3.9  # 5 s after its last beat, not for a moment's silence
        world.wait("its replacement", lambda: len(world.units("app", "READY")) == 2, SOON_S)
        assert members(unit) == before  # nothing that runs was stopped for it
    world.wait_ready("app", SOON_S, without=[unit])
    world.wait("the node", lambda: world.is_up(node), 10)
    wait_for("the end of what came back too late", lambda: members(unit) == {}, 20)


def test_server(world, traffic):
    before = units(world)
    processes = {unit: members(unit) for unit in before}
    with Stopped([world.pid("server")]):
        time.sleep(8)  # longer than a node may be silent
    assert units(world) == before
    time.sleep(2)
    assert units(world) == before and {unit: members(unit) for unit in before} == processes


def test_replica_that_answers_only_its_health_check(world, traffic):
    """Out by outcome within 2 s, though the other one has more to do; idempotent requests that were stuck there are answered elsewhere."""
    unit = min(units(world))
    with world.traffic(connections=3) as more:
        world.state_file.write_text(json.dumps({"sleep": 0.1}))
        some(more)
        world.state_file.write_text(json.dumps({"sleep": 0.1, "stalled": [unit]}))
        time.sleep(2)
        out = time.time()
        wait_for("an event of it", lambda: world.said("no answer for"), 2)
        time.sleep(3)
        world.state_file.unlink()
        some(more)
    found = picks(world, out)
    print(f"given to it: {found[unit]} of {found.total()}")
    assert found[unit] <= 4 and found.total() > 50, found  # a probe now and then
    assert more.failed == [] and max(traffic.worst_s, more.worst_s) < 4
    wait_for("its return", lambda: world.picked(traffic, 1)[unit] > 5, 40)
