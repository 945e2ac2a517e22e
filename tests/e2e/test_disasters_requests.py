"""What clients and back ends do to each other: everybody retries while the app is slow, connections close as requests are sent,
and what has been fetched once is needed again when its origin is dead. And clocks that jump."""

import http.client
import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from disasterlib import SOON_S, replicas, some
from proclib import kill, members, wait_for

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.fixture(scope="module")
def world(disaster_world):
    with disaster_world() as world:
        yield world


def executed(path):
    return path.read_bytes().split() if path.exists() else []


class Impatient(threading.Thread):
    """A client that gives up after a second and asks again at once, up to three times."""

    def __init__(self, traffic):
        super().__init__(daemon=True)
        self.traffic, self.over, self.asked, self.ok_at = traffic, threading.Event(), 0, 0.0

    def run(self):
        while not self.over.is_set():
            for _ in range(3):
                self.asked += 1
                try:
                    connection = http.client.HTTPConnection(self.traffic.host, timeout=1)
                    connection.request("POST", self.traffic.path, b"x")
                    if connection.getresponse().status == 200:
                        self.ok_at = time.monotonic()
                        break
                except (OSError, http.client.HTTPException):
                    continue
            time.sleep(0.05)


def test_retry_storm_does_not_multiply(world, tmp_path):
    """Clients ask an app that asks another one, and that becomes slow and loses replicas. Clients retry, the first app retries, and
    the gateway has what it may send again: it must hardly add to it, and all is well soon after the cause's end."""
    log = tmp_path / "executed"
    world.deploy(replicas=2, env={"APP_EXECUTED": log}, route={"timeout": "1s", "wait": "1s"})
    behind = world.client()["gateway"] + "/app/x"
    world.deploy("front", units=1, deployment={"max_ongoing_requests": 64}, env={"APP_ASKS": behind}, route={"timeout": "8s"})
    clients = [Impatient(world.traffic("front")) for _ in range(12)]
    for client in clients:
        client.start()
    wait_for("answers", lambda: all(client.ok_at for client in clients), 20)

    def counts():
        ended = world.metric("astra_gateway_requests_total", 'app="app"') + world.metric("astra_gateway_in_flight", 'app="app"')
        return ended + world.metric("astra_gateway_queued", 'app="app"'), len(executed(log)), world.metric("astra_gateway_resent_total")

    before = counts()
    world.state_file.write_text(json.dumps({"sleep": 20}))
    for unit in world.units("app", "READY"):
        time.sleep(3)
        os.kill(replicas(unit["name"])[0], 9)  # what is in flight there, four requests at most, may be sent again for free
    asked, done, resent = (now - then for now, then in zip(counts(), before))
    world.state_file.unlink()
    ended = time.monotonic()
    for client in clients:
        client.ok_at = 0.0
    print(f"asked {asked:.0f}, executed {done}, re-sent {resent:.0f}")
    budget = 10 + asked / 10 + 2 * 4
    assert 0 < resent <= budget and done <= asked + budget
    wait_for("recovery", lambda: all(client.ok_at for client in clients), 60)
    print(f"recovered after {time.monotonic() - ended:.1f} s")
    for client in clients:
        client.over.set()
    for client in clients:
        client.join(10)
    world.delete("front")


def test_keep_alive_races_never_execute_twice(world, tmp_path):
    """Replicas die while POSTs that may not be repeated are on their way. Each is executed once at most; what clients were told
    was done was done once, and what they were not told is counted by the gateway."""
    log = tmp_path / "executed"
    world.deploy(replicas=2, env={"APP_EXECUTED": log}, route={"idempotent": False, "wait": "20s"})
    answered, failed, lock = set(), [], threading.Lock()
    over = threading.Event()

    def client(number):
        connection, n = None, 0
        while not over.is_set():
            n += 1
            name = f"{number}-{n}"
            try:
                connection = connection or http.client.HTTPConnection(host, timeout=30)
                connection.request("POST", "/app/x?sleep=0.01", name.encode())
                answer = connection.getresponse()
                answer.read()
                with lock:
                    answered.add(name) if answer.status == 200 else failed.append((answer.status, answer.headers["x-astra-cause"]))
            except (OSError, http.client.HTTPException) as error:
                connection = None
                with lock:
                    failed.append(repr(error))

    host = world.client()["gateway"].split("//")[1]
    lost = ("astra_gateway_requests_total", 'app="app"', 'cause="node_lost"')
    counted = world.metric(*lost)
    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        wait_for("answers", lambda n=len(answered): len(answered) > n + 50, 20)
        unit = world.units("app", "READY")[0]["name"]
        os.kill(replicas(unit)[0], 9)
        wait_for("its return", lambda: len(replicas(unit)) == 2, 20)
    over.set()
    for thread in threads:
        thread.join(40)
    done = executed(log)
    assert len(done) == len(set(done)), "executed twice"
    assert {name.encode() for name in answered} <= set(done)
    assert failed and set(failed) == {(502, "node_lost")}, failed  # lost on the way: told, not repeated
    assert world.metric(*lost) - counted == len(failed)
    print(f"{len(answered)} answered, {len(failed)} lost with their replicas, none executed twice")


def test_drain_after_a_replica_left_with_a_request(world):
    """Gateways forget the replica and what was in flight there; the unit's drain must not wait for their word on it."""
    world.deploy(replicas=2)
    ends = []

    def ask():
        connection = http.client.HTTPConnection(world.client()["gateway"].split("//")[1], timeout=60)
        connection.request("POST", "/app/x?sleep=5", b"x")
        ends.append(connection.getresponse().status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(2.5)  # what is in flight has been reported
    world.deploy(replicas=1)
    for thread in threads:
        thread.join()
    assert ends == [200] * 8
    unit = world.wait_ready("app", SOON_S)[0]
    world.api("POST", f"/nodes/{unit['nodeName']}/drain", {})
    began = time.monotonic()
    world.wait("its end", lambda: unit["name"] not in {u["name"] for u in world.units("app")}, SOON_S)
    print(f"gone after {time.monotonic() - began:.1f} s")
    world.api("POST", f"/nodes/{unit['nodeName']}/undrain", {})
    world.wait_ready("app", SOON_S)


def test_origin_and_package_index_are_dead(world):
    """Nothing that is on a node is asked for again: units run on and start again there, under agents that start again, too, while
    the server has no artifact and nothing answers where packages come from."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.setblocking(False)
        address = f"http://127.0.0.1:{index.getsockname()[1]}"
        units = world.deploy(env={"ORIGIN": "dead", "PIP_INDEX_URL": address, "UV_INDEX_URL": address})
        dead_origin(world, units)
        with pytest.raises(BlockingIOError):
            index.accept()


def dead_origin(world, units):
    artifacts = world.data / "server" / "artifacts"
    artifacts.rename(world.folder / "elsewhere")
    artifacts.mkdir()
    try:
        with world.traffic() as traffic:
            some(traffic)
            unit = units[0]["name"]
            kill([world.pid(units[0]["nodeName"]), *members(unit)])
            world.wait_ready("app", SOON_S, without=[unit])
            world.kill_and_see_again("server")
            world.wait_ready("app", SOON_S)
        assert traffic.failed == []
    finally:
        shutil.rmtree(artifacts)
        (world.folder / "elsewhere").rename(artifacts)


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
def test_clock_jumps_an_hour(disaster_world, tmp_path):
    """Both ways, under server, gateway and agents. Wall clocks are for people: nobody is called dead for one, nothing ends."""
    wall = tmp_path / "faketime"
    wall.write_text("+0")
    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(wall), "FAKETIME_NO_CACHE": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    with disaster_world(env=faked) as world:
        world.deploy()
        before = {unit["name"]: members(unit["name"]) for unit in world.units("app")}
        with world.traffic() as traffic:
            for jump in ("+3600", "-3600", "+0"):
                wall.write_text(jump)
                some(traffic, 100)
                time.sleep(2)
                assert {unit["name"]: members(unit["name"]) for unit in world.wait_ready("app", SOON_S)} == before
                hour = world.api("GET", "/status")["time"][11:13]
                assert hour == time.strftime("%H", time.gmtime(time.time() + int(jump)))
            node = world.units("app")[0]["nodeName"]
            wall.write_text("+3600")
            world.kill_and_see_again("server")
            world.wait("the node", lambda: world.is_up(node), 20)
            wall.write_text("-3600")
            world.kill_and_see_again(node)  # certificates of the later hour are not valid yet
            world.wait("the node", lambda: world.is_up(node), 20)
            assert {unit["name"]: members(unit["name"]) for unit in world.wait_ready("app", SOON_S)} == before
            world.api("POST", "/namespaces/default/apps/app/scale", {"units": 3})
            world.wait_ready("app", SOON_S)
        assert traffic.failed == []
        reasons = {event["reason"] for event in world.events("app")}
        assert not reasons & {"NodeLost", "DeadlineExceeded", "HealthCheckFailed"}
