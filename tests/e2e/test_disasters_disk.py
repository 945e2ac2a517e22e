"""Full disks: the server's and a node's, each a small file system in a mount namespace of the platform's own."""

import errno
import time
import urllib.error

import pytest
from disasterlib import REAL, SOON_S, some
from proclib import kill, members, wait_for

NODE = "cluster-1-node-1"


@pytest.fixture(scope="module")
def world(disaster_world):
    with disaster_world(disks={"server": "240m" if REAL else "12m", f"nodes/{NODE}": "4m"}) as world:  # Ray, packed, has 157 MB
        world.deploy()
        yield world


class Full:
    """A folder without a free byte inside the block."""

    def __init__(self, folder):
        self.path = folder / "fill"

    def __enter__(self):
        with open(self.path, "wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def __exit__(self, *_):
        self.path.unlink()


def test_server(world):
    with world.traffic() as traffic:
        some(traffic)
        with Full(world.disk("server")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                for i in range(200):
                    world.put_app("app", world.spec(env={"FILL": "x" * 60000, "I": i}))
            assert "store.full" in str(refused.value)
            assert world.api("GET", "/status")["readOnly"]
            unit = world.units("app")[0]["name"]
            some(traffic)
            assert unit in {u["name"] for u in world.units("app")}
        world.put_app("app", world.spec(env={"FILL": "gone"}))
        last = world.app("app")["wantedRevision"]
        world.wait("the rollout", lambda: world.app("app")["provenRevision"] == last, 4 * SOON_S)
        assert not world.api("GET", "/status")["readOnly"]
    assert traffic.failed == []


def test_node(world):
    """A node whose disk is full grants nothing, for it could not keep its word: units go elsewhere, what runs there runs on."""
    taken = {unit["nodeName"] for unit in world.units("app")} | {NODE}
    idle = next(node["name"] for node in world.api("GET", "/nodes")["items"] if node["name"] not in taken)  # has room for two
    others = [node["id"] for node in world.api("GET", "/nodes")["items"] if node["name"] not in (NODE, idle)]
    for node in others:
        world.api("POST", f"/nodes/{node}/cordon")
    world.deploy("there", units=3)
    there = [unit for unit in world.units("there") if unit["nodeName"] == NODE]
    assert there
    world.api("POST", "/namespaces/default/apps/there/scale", {"units": 0})
    world.wait("an empty app", lambda: world.units("there") == [], SOON_S)
    with world.traffic() as traffic:
        some(traffic)
        with Full(world.disk(f"nodes/{NODE}")):
            world.api("POST", "/namespaces/default/apps/there/scale", {"units": 2})
            began = time.monotonic()
            unit = world.wait_ready("there", 3 * SOON_S)[0]
            print(f"placed on {unit['nodeName']} after {time.monotonic() - began:.1f} s")
            assert all(unit["nodeName"] != NODE for unit in world.units("there"))
        wait_for("its return", lambda: world.is_up(NODE), 10)
        world.api("POST", "/namespaces/default/apps/there/scale", {"units": 3})
        world.wait_ready("there", SOON_S)
        assert NODE in {unit["nodeName"] for unit in world.units("there")}
    assert traffic.failed == []
    for node in others:
        world.api("POST", f"/nodes/{node}/uncordon")


def test_last_words(world):
    """A head is killed while the server has no room for what it said: its node brings that again, and then it may go, too."""
    unit = next(unit for unit in world.wait_ready("app", SOON_S) if unit["nodeName"] != NODE)
    kept = world.disk("server") / "logs"
    with Full(world.disk("server")):
        kill(members(unit["name"], "head/"))
        wait_for("a refusal", lambda: "reason=disk" in world.log("server"), SOON_S)
        assert list(kept.rglob("*.log")) == []
    wait_for("the log", lambda: [path for path in kept.rglob("*.log") if path.name.startswith(unit["name"])], SOON_S)
    world.wait_ready("app", SOON_S, without=[unit["name"]])
    world.hold(unit["nodeName"])
    world.wait("its absence", lambda: not world.is_up(unit["nodeName"]), 20)
    done = world.run("logs", "app", "--unit", unit["name"], "--previous")
    assert done.returncode == 0, done.stderr
    said, _, text = done.stdout.partition("\n")
    assert "as its node brought it" in said and unit["nodeName"] in said
    assert text and text in next(kept.rglob(f"{unit['name']}.*")).read_text()
    world.release(unit["nodeName"])
    world.wait("the node", lambda: world.is_up(unit["nodeName"]), SOON_S)
