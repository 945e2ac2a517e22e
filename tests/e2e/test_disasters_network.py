"""What a network does: a node cut off, a cluster cut off and back, a machine suspended and back. Packets are dropped, not
refused, so nobody is told that the other side is away."""

import os
import struct
import subprocess
import sys
import time

import pytest
from disasterlib import SOON_S, Stopped, some
from lanlib import Lan, own_network
from proclib import members, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces with wires are root's to make")
REST_S = 150


@pytest.fixture(scope="module")
def world(disaster_world):
    with own_network(), disaster_world(kind=Lan) as world:
        world.deploy()
        yield world


@pytest.fixture
def traffic(world):
    with world.traffic(connections=8) as traffic:
        some(traffic)
        yield traffic
        some(traffic)
    assert traffic.failed == []


def unit_in(world, cluster):
    return next(u for u in world.wait_ready("app", SOON_S) if u["cluster"] == cluster)


def settled(world, names):
    """Nothing but these units, for a while: nothing is evicted in a loop."""
    before = len(world.events("app"))
    for _ in range(20):
        assert {u["name"] for u in world.units("app")} == names
        time.sleep(0.1)
    moved = [event["message"] for event in world.events("app")[before:] if "->" in event["message"]]
    assert moved == []


def test_node_is_cut_off(world, traffic):
    unit = unit_in(world, "cluster-1")
    with world.cut([world.lan[unit["nodeName"]]]):
        began = time.monotonic()
        wait_for("routes to move", lambda: world.picked(traffic, 0.5)[unit["name"]] == 0, 5)
        assert time.monotonic() - began < 4
        world.wait("LOST", lambda: unit["name"] in {u["name"] for u in world.units("app", "LOST")}, 10)
        world.wait("its replacement", lambda: len(world.units("app", "READY")) == 2, SOON_S)
        assert members(unit["name"])  # it runs on: nobody could tell it otherwise
    units = world.wait_ready("app", SOON_S, without=[unit["name"]])
    wait_for("the end of what came back too late", lambda: members(unit["name"]) == {}, 20)
    settled(world, {u["name"] for u in units})
    assert traffic.worst_s < 5


def test_cluster_is_cut_off_for_long_and_comes_back(world, traffic):
    world.api("POST", "/namespaces/default/apps/app/scale", {"units": 3})
    world.wait_ready("app", SOON_S)
    gone = {u["name"] for u in world.units("app") if u["cluster"] == "cluster-1"}
    ran = {unit: members(unit) for unit in gone}
    assert gone
    with world.cut(world.of("cluster-1")):
        wait_for("routes to move", lambda: sum(world.picked(traffic, 0.5)[u] for u in gone) == 0, 5)
        world.wait("LOST", lambda: gone <= {u["name"] for u in world.units("app", "LOST")}, 12)
        world.wait("replacements", lambda: len(world.units("app", "READY")) == 3, 2 * SOON_S)
        assert {unit: members(unit) for unit in gone} == ran
    units = world.wait_ready("app", SOON_S)
    assert len(units) == 3 and not {u["name"] for u in units} & gone  # replaced already: drained, once
    wait_for("the end of what came back", lambda: all(members(unit) == {} for unit in gone), 20)
    settled(world, {u["name"] for u in units})
    world.api("POST", "/namespaces/default/apps/app/scale", {"units": 2})
    world.wait_ready("app", SOON_S)


def test_machine_is_suspended(world, traffic):
    """All of a node stops, as in a suspended VM: it comes back with claims that others have taken over."""
    unit = unit_in(world, "cluster-2")
    node = world.lan[unit["nodeName"]]
    block = world.data / "ports" / str(port_of(world, unit["name"]) // 100 * 100)
    assert rest_s(block) <= 0  # it is in use
    with Stopped([node.process.pid, *members(unit["name"])]):
        world.wait("LOST", lambda: unit["name"] in {u["name"] for u in world.units("app", "LOST")}, 12)
        world.wait("its replacement", lambda: len(world.units("app", "READY")) == 2, SOON_S + 15)
    units = world.wait_ready("app", SOON_S, without=[unit["name"]])
    wait_for("the end of its old claim", lambda: members(unit["name"]) == {}, 20)
    settled(world, {u["name"] for u in units})
    assert REST_S - 30 < rest_s(block) <= REST_S  # gateways may still have its ports


# What a member has already it need not take.
STRANGER = """
import contextlib, socket, time
held = []
for port in range(20000, 30000, 100):
    with contextlib.suppress(OSError):
        held.append(socket.create_server(("127.0.0.1", port)))
print(len(held), flush=True)
time.sleep(600)
"""


def test_ports_are_taken(world, traffic):
    """Somebody listens in every block of a host: nothing is granted there, and it is said why; with the strangers gone it is."""
    node = world.lan["c1-n1"]
    others = [n["id"] for n in world.api("GET", "/nodes")["items"] if n["name"] != node.name]
    world.put_app("late", world.spec("late", units=0))
    for other in others:
        world.api("POST", f"/nodes/{other}/cordon")
    words = ["nsenter", f"--net=/proc/{node.holder.pid}/ns/net", sys.executable, "-c", STRANGER]
    stranger = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert int(stranger.stdout.readline()) >= 95
        world.api("POST", "/namespaces/default/apps/late/scale", {"units": 1})
        world.wait("word of it", lambda: "PortTaken" in str(world.api("GET", "/namespaces/default/apps/late/explain")), 15)
        assert world.units("late", "READY") == []
    finally:
        stranger.kill()
        stranger.wait()
    world.wait_ready("late", SOON_S + 10)
    world.delete("late")
    for other in others:
        world.api("POST", f"/nodes/{other}/uncordon")


def port_of(world, unit):
    return int(world.endpoints(unit)[0]["address"].rsplit(":", 1)[1])


def rest_s(path):
    """How long a block of ports is not used again, from its lock file; 0 for one that is not at rest."""
    data = path.read_bytes()
    return struct.unpack("<Q", data[40:48])[0] / 1000 - time.clock_gettime(time.CLOCK_BOOTTIME) if len(data) >= 48 else 0
