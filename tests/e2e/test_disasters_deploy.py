"""Deploys that meet bad luck: what starts slowly, what never becomes READY, what is deployed twice, drained or deleted
meanwhile, what kills its nodes, what takes more memory than it may."""

import http.client
import threading
import time
import urllib.error

import pytest
from disasterlib import REAL, SOON_S, replicas, some
from proclib import members, wait_for

WARMS_S = 60 if REAL else 4


@pytest.fixture(scope="module")
def world(disaster_world):
    with disaster_world(lost_after="6s") as world:
        world.deploy()
        yield world


@pytest.fixture
def traffic(world):
    with world.traffic() as traffic:
        some(traffic)
        yield traffic
        some(traffic)
    assert traffic.failed == []


def put(world, **spec):
    world.put_app("app", world.spec(**spec))
    return world.app("app")["wantedRevision"]


def revisions(world):
    return {unit["revision"] for unit in world.wait_ready("app", SOON_S)}


def test_no_request_before_the_warm_up_is_answered(world, traffic):
    """Each answer says whether who gave it was warm; the deadline of the rollout is longer than the warm-up, that of READY is not."""
    old = {unit["name"] for unit in world.units("app")}
    number = put(world, env={"APP_WARMS_S": WARMS_S}, serve={"warmUp": {"path": "/app/warm", "deadline": f"{WARMS_S - 2}s"}})
    world.wait("word of it", lambda: world.said("the warm-up of app was not answered in time"), SOON_S + WARMS_S)
    world.wait("the rollout", lambda: world.app("app")["provenRevision"] == number, 3 * SOON_S + 2 * WARMS_S)
    assert revisions(world) == {number}
    answered = {tuple(body.split()) for body in traffic.answers}
    assert {unit for unit, _, _ in answered} > old and {warmth for _, _, warmth in answered} == {"warm"}


def test_what_warms_up_for_too_long_is_undone(world, traffic):
    proven = world.app("app")["provenRevision"]
    old = {unit["name"] for unit in world.units("app")}
    number = put(
        world, env={"APP_WARMS_S": 600 if REAL else 60}, serve={"warmUp": {"path": "/app/warm", "deadline": "2s"}},
        rollout={"progressDeadline": "90s" if REAL else "5s"},
    )  # fmt: skip
    world.wait("the undo", lambda: world.app("app")["failedRevision"] == number, 2 * SOON_S)
    assert revisions(world) == {proven} and {unit["name"] for unit in world.units("app")} == old
    assert world.said(f"revision {number} is bad, going back to {proven}")["reason"] == "DeadlineExceeded"
    assert {body.split()[0] for body in traffic.answers} <= old


def test_bad_revision_goes_back_by_itself(world, traffic):
    proven = world.app("app")["provenRevision"]
    number = put(world, code={"artifact": "broken@1"})
    world.wait("the undo", lambda: world.app("app")["failedRevision"] == number, 2 * SOON_S)
    assert revisions(world) == {proven}
    told = world.said(f"revision {number} is bad")
    assert told["reason"] == "ImportFailed" and "no such thing as an app here" in told["message"]


def test_two_deploys_at_once(world, traffic):
    specs = [world.spec(env={"DEPLOY": i}) for i in range(2)]
    threads = [threading.Thread(target=world.put_app, args=("app", spec)) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = world.app("app")["wantedRevision"]
    world.wait("the rollout", lambda: world.app("app")["provenRevision"] == last, 3 * SOON_S)
    assert revisions(world) == {last} and len(world.units("app")) == 2


def test_deploy_during_a_drain(world, traffic):
    node = world.units("app", "READY")[0]["nodeName"]
    world.api("POST", f"/nodes/{node}/drain")
    last = put(world, env={"DEPLOY": "drain"})
    world.wait("the rollout", lambda: world.app("app")["provenRevision"] == last, 3 * SOON_S)
    assert revisions(world) == {last}
    world.wait("an empty node", lambda: world.node(node)["state"] == "DRAINED", SOON_S)
    world.api("POST", f"/nodes/{node}/undrain")


def test_scale_to_0_and_back(world):
    put(world, env={"DEPLOY": "drain"}, route={"wait": "60s" if REAL else "10s"})
    world.api("POST", "/namespaces/default/apps/app/scale", {"units": 0})
    world.wait("its end", lambda: world.units("app") == [], SOON_S)
    connection = http.client.HTTPConnection(world.client()["gateway"].split("//")[1], timeout=90)
    connection.request("GET", "/app/x")
    answer = connection.getresponse()
    assert answer.status == 503 and answer.headers["x-astra-cause"] == "no_capacity"
    assert b"scaled to 0" in answer.read()
    threading.Timer(0.5, world.api, ("POST", "/namespaces/default/apps/app/scale", {"units": 2})).start()
    connection.request("GET", "/app/x")  # waits for the first unit, up to the route's `wait`
    assert connection.getresponse().status == 200
    world.wait_ready("app", SOON_S)


def test_delete_during_a_rollout(world, traffic):
    """What is under way is answered, what comes later is told that there is no such app, and of both revisions nothing is left."""
    world.deploy("leaving", units=1)
    world.put_app("leaving", world.spec("leaving", units=1, env={"APP_LOADS_S": 30}))
    world.wait("its start", lambda: world.units("leaving", "DEPLOYING"), SOON_S)
    both = [unit["name"] for unit in world.units("leaving")]
    assert len(both) == 2
    ends = []
    late = threading.Thread(target=lambda: ends.append(ask(world, "/leaving/x?sleep=2")))
    late.start()
    time.sleep(0.5)
    world.delete("leaving")
    late.join()
    assert ends[0][0] == 200, ends
    wait_for("the end of its processes", lambda: all(members(unit) == {} for unit in both), 20)
    assert ask(world, "/leaving/x")[0] == 404
    assert all(claim["unit"] not in both for node in world.api("GET", "/nodes")["items"] for claim in node["claims"])


def test_delete_during_a_deploy(world):
    world.put_app("brief", world.spec("brief", units=1, env={"APP_LOADS_S": 30}))
    unit = world.wait("its start", lambda: next(iter(world.units("brief", "DEPLOYING")), None), SOON_S)
    world.delete("brief")
    wait_for("the end of its processes", lambda: members(unit["name"]) == {}, 20)
    assert all(claim["unit"] != unit["name"] for node in world.api("GET", "/nodes")["items"] for claim in node["claims"])
    with pytest.raises(urllib.error.HTTPError):
        world.app("brief")


def test_out_of_memory_in_one_replica(world, traffic):
    """Only the offender dies; its siblings lose no request, and the unit stays in routing. The request that did it has too large
    a body to be kept, so that it is not tried on another one."""
    world.deploy("hungry", replicas=2, units=1, head={"memory": "2Gi" if REAL else "512Mi"}, route={"retryBody": "1Ki"})
    unit = world.units("hungry")[0]["name"]
    before = set(replicas(unit))
    with world.traffic("hungry") as siblings:
        some(siblings)
        try:
            ask(world, "/hungry/x?mb=3000" if REAL else "/hungry/x?mb=700", b"x" * 2048)
        except (OSError, http.client.HTTPException):
            pass  # it died with its replica
        event = world.wait("OOMKilled", lambda: find(world, "hungry", "OOMKilled"), 15)
        assert "MiB of its" in event["message"] and "ray::ServeRepli" in event["message"]
        world.wait("the replica's return", lambda: len(replicas(unit)) == 2 and set(replicas(unit)) != before, SOON_S)
        assert [u["state"] for u in world.units("hungry")] == ["READY"]
    assert siblings.failed == []
    assert len(before & set(replicas(unit))) == 1
    world.delete("hungry")


def test_request_that_kills_what_answers_it(world):
    """Idempotent, so it is sent again; but not to every replica there is."""
    world.deploy("fragile", replicas=5, units=1, head={"memory": "2Gi"})
    unit = world.units("fragile")[0]["name"]
    before = set(replicas(unit))
    status, body = ask(world, "/fragile/x?exit=1")
    assert status == 502 and b"may be what kills them" in body
    assert len(before & set(replicas(unit))) == 2
    assert ask(world, "/fragile/x")[0] == 200
    world.delete("fragile")


def find(world, app, reason):
    return next((event for event in world.events(app) if event["reason"] == reason), None)


def ask(world, path, body=b"x"):
    connection = http.client.HTTPConnection(world.client()["gateway"].split("//")[1], timeout=30)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_poison(world, traffic):
    """Whatever node it is started on dies. After the third it is placed no more; everybody else serves on."""
    world.put_app("poison", world.spec("poison", units=1, env={"APP_LOADS_S": 60}))
    killed = []
    healthy = {unit["nodeName"] for unit in world.units("app")}
    try:
        while len(killed) < 3:
            unit = world.wait("its next try", lambda: next(iter(world.units("poison", "DEPLOYING")), None), 40)
            node = unit["nodeName"]
            assert node not in killed
            killed.append(node)
            world.hold(node)
            world.wait("its end", lambda: unit["name"] not in {u["name"] for u in world.units("poison", "DEPLOYING")}, 15)
        assert world.condition("poison", "Placed")["reason"] == "PoisonSuspected"
        time.sleep(2)
        assert all(unit["state"] == "LOST" for unit in world.units("poison"))
    finally:
        for node in killed:
            world.release(node)
    world.wait("the nodes", lambda: all(world.is_up(node) for node in killed), 15)
    world.delete("poison")
    assert {unit["nodeName"] for unit in world.wait_ready("app", SOON_S)} and healthy
