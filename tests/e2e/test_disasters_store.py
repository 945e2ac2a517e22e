"""The server's store: locked, corrupt, lost, restored from yesterday, on a full disk; and a node's own file, put back from an old
copy. Whatever becomes of them, what runs runs on, and what an operator types brings the rest back."""

import json
import re
import sqlite3
import urllib.error
from pathlib import Path

import pytest
from disasterlib import SOON_S, some
from proclib import members, start_time, wait_for


@pytest.fixture(scope="module")
def world(disaster_world):
    with disaster_world() as world:
        world.deploy()
        yield world


@pytest.fixture(autouse=True)
def traffic(world):
    """No request fails, and no process of a unit ends, whatever happens to the store."""
    before = processes(world)
    with world.traffic() as traffic:
        some(traffic)
        yield traffic
        some(traffic)
    assert traffic.failed == []
    ended = {pid for unit in before.values() for pid, started in unit.items() if start_time(pid) != started}
    assert ended == world.__dict__.pop("may_end", set())


def processes(world):
    return {unit["name"]: members(unit["name"]) for unit in world.wait_ready("app", SOON_S)}


def store(world):
    return world.data / "server" / "astra.db"


def orphans(world):
    return {item["name"] for item in world.api("GET", "/orphans")["items"]}


def command(world, *words, status=0):
    done = world.run(*words)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def recover(world):
    return json.loads(command(world, "recover", "-o", "json"))["items"]


def test_a_nodes_file_of_yesterday(world):
    """Since the copy was made the server has opened its store again, and a claim was released. The node takes the new epoch once
    more, before anything of the old one could end its claim; what the node says of the claim is not believed: it ends again."""
    old = {unit["nodeName"]: unit["name"] for unit in world.wait_ready("app", SOON_S)}
    world.deploy("brief", units=1)
    brief, node = world.units("brief")[0], next(iter(old))
    copies = {name: node_file(world, name).read_bytes() for name in {node, brief["nodeName"]}}
    highest, (bound,) = epochs(world, node, "app")
    assert highest == bound
    world.api("POST", "/namespaces/default/apps/brief/scale", {"units": 0})
    world.wait("its end", lambda: epochs(world, brief["nodeName"], "brief")[1] == [], SOON_S)
    world.kill_and_see_again("server")
    world.wait("the new epoch", lambda: epochs(world, node, "app") == (bound + 1, [bound + 1]), SOON_S)
    for name in copies:
        world.hold(name)
    for name, copy in copies.items():
        node_file(world, name).write_bytes(copy)
    assert epochs(world, node, "app") == (bound, [bound])
    for name in copies:
        world.release(name)
    world.wait("the new epoch once more", lambda: epochs(world, node, "app") == (bound + 1, [bound + 1]), SOON_S)
    world.wait("the released claim's end", lambda: epochs(world, brief["nodeName"], "brief") == (bound + 1, []), SOON_S)
    world.wait("the end of its unit", lambda: world.units("brief") == [] and members(brief["name"]) == {}, SOON_S)
    assert {unit["nodeName"]: unit["name"] for unit in world.wait_ready("app", SOON_S)} == old
    world.delete("brief")


def test_locked_by_another_process(world):
    world.hold("server")
    other = sqlite3.connect(store(world), isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    (world.data / "hold.server").unlink()
    wait_for("its word", lambda: "another server uses it" in world.log("server"), 20)
    other.close()
    world.wait_ready("app", SOON_S)


def test_backup_corrupt_restore(world, tmp_path):
    copy = tmp_path / "copy.db"
    command(world, "store", "backup", copy)
    command(world, "store", "backup", copy, status=1)  # overwrites nothing
    command(world, "store", "restore", copy, status=1)  # the server has it
    world.hold("server")
    damaged = bytearray(store(world).read_bytes())
    damaged[4096:] = b"\x5a" * (len(damaged) - 4096)
    store(world).write_bytes(damaged)
    for part in ("-wal", "-shm"):
        Path(f"{store(world)}{part}").unlink(missing_ok=True)
    (world.data / "hold.server").unlink()
    wait_for("its word", lambda: "astra store restore" in world.log("server"), 20)
    assert store(world).read_bytes() == damaged  # never made anew
    (world.data / "hold.server").touch()
    told = command(world, "store", "restore", copy)
    assert "before-restore-1" in told
    assert Path(f"{store(world)}.before-restore-1").read_bytes() == damaged
    (world.data / "hold.server").unlink()
    world.wait("the server", lambda: world.app("app"), 20)
    assert [(item["name"], item["recovered"]) for item in recover(world)] in ([], [("app", True)])
    world.wait_ready("app", SOON_S)


def test_restore_refuses_what_is_no_store(world, tmp_path):
    (tmp_path / "text").write_text("no store" * 1000)
    world.hold("server")
    assert "store" in world.run("store", "restore", tmp_path / "text").stderr
    world.release("server")
    world.wait_ready("app", SOON_S)


def test_restored_from_yesterday(world, tmp_path):
    """Since the copy was made the app has a new revision, with new units, and a second app was deployed."""
    copy = tmp_path / "yesterday.db"
    command(world, "store", "backup", copy)
    old = processes(world)
    world.may_end = {pid for unit in old.values() for pid in unit}
    world.put_app("app", world.spec(env={"DAY": "today"}))
    today = world.app("app")["wantedRevision"]
    world.wait("today's revision", lambda: world.app("app")["provenRevision"] == today, 3 * SOON_S)
    world.deploy("second", units=1)
    world.kill_and_see_again("server")  # claims of today carry a later epoch than the copy's next one
    world.put_app("app", world.spec(env={"DAY": "this evening"}))
    tonight = world.app("app")["wantedRevision"]
    world.wait("tonight's revision", lambda: world.app("app")["provenRevision"] == tonight, 3 * SOON_S)
    before = {**processes(world), "second": members(world.units("second")[0]["name"])}
    world.hold("server")
    command(world, "store", "restore", copy)
    world.release("server")
    world.wait("the hold", lambda: world.app("app")["state"] == "HELD", 20)
    assert world.said("the store is older than what runs")
    assert any("astra recover" in line for line in world.api("GET", "/namespaces/default/apps/app/explain")["lines"])
    with pytest.raises(urllib.error.HTTPError, match="astra recover"):
        world.put_app("app", world.spec(env={"DAY": "another"}))
    world.wait("the other one", lambda: orphans(world) == {"second"}, 20)
    done = recover(world)
    assert {item["name"]: item["recovered"] for item in done} == {"app": True, "second": True}, done
    world.wait_ready("app", SOON_S)
    world.wait_ready("second", SOON_S)
    assert world.app("app")["revision"] == tonight
    after = {**processes(world), "second": members(world.units("second")[0]["name"])}
    assert after == before
    world.api("POST", "/namespaces/default/apps/app/scale", {"units": 3})  # the new epoch is one that nodes accept
    world.wait_ready("app", SOON_S)
    world.api("POST", "/namespaces/default/apps/app/scale", {"units": 2})
    world.wait_ready("app", SOON_S)
    world.delete("second")


def test_lost(world):
    before = processes(world)
    world.hold("server")
    for path in store(world).parent.glob("astra.db*"):
        path.unlink()
    world.release("server")
    world.wait("the orphan", lambda: orphans(world) == {"app"}, 20)
    assert world.app("app")["state"] == "ORPHAN"
    assert "app" in command(world, "orphans", "ls")
    done = recover(world)
    assert [(item["name"], item["recovered"]) for item in done] == [("app", True)], done
    assert processes(world) == before
    assert recover(world) == []


def test_orphans_released(world):
    world.put_artifacts()  # their names were in the store, too
    world.deploy("brief", units=1)
    unit = world.units("brief")[0]["name"]
    world.hold("server")
    for path in store(world).parent.glob("astra.db*"):
        path.unlink()
    world.release("server")
    world.wait("the orphans", lambda: orphans(world) == {"app", "brief"}, 20)
    command(world, "orphans", "release", "brief")
    wait_for("its end", lambda: members(unit) == {}, 20)
    assert [(item["name"], item["recovered"]) for item in recover(world)] == [("app", True)]


def node_file(world, node):
    return world.data / "nodes" / node / "node"


def epochs(world, node, name):
    """Of an app, in a node's file: the highest that the node remembers, and those of its claims that are bound."""
    uid = world.api("GET", f"/namespaces/default/apps/{name}")["metadata"]["uid"]
    text = node_file(world, node).read_text()
    highest = max(map(int, re.findall(rf"^epoch {uid} (\d+)$", text, re.M)), default=0)
    return highest, [int(epoch) for epoch in re.findall(rf"^claim {uid}/\S+ BOUND \S+ \S+ \S+ (\d+) ", text, re.M)]
