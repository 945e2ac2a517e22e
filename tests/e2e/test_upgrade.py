"""`astra upgrade`: agents go over to another build under traffic; what does not work rolls back and stops the rollout."""

import json
import os
import signal
import subprocess

import pytest
from agentlib import tar_zst
from proclib import members, wait_for
from uplib import ASTRA

VERSION = subprocess.run([ASTRA, "version", "--client"], capture_output=True, text=True, check=True).stdout.split()[1]
OLD = VERSION.rsplit(".", 2)[0] + ".0.9"  # of the minor release before


def rebuilt(path, version):
    """This build, saying another version of the same length."""
    code = ASTRA.read_bytes()
    assert b"@(#)astra " + VERSION.encode() + b"\0" in code and len(version) == len(VERSION)
    path.write_bytes(code.replace(VERSION.encode() + b"\0", version.encode() + b"\0"))
    path.chmod(0o755)
    return path


def artifact(version, script, platform="linux-x86_64"):
    """An agent that passes `astra version`, and then does what the script says."""
    manifest = json.dumps({"schema": 1, "version": version, "platform": platform, "glibc": "2.17"})
    text = f'#!/bin/sh\n[ "$1" = version ] && echo "astra {version}" && exit 0\n{script}\n'
    return tar_zst({"astra-agent.json": manifest, "bin/astra": text}, mode=0o755)


def processes(world):
    """All processes of all members, with their start times: nothing of them was restarted while this stays."""
    return {unit["name"]: members(unit["name"]) for unit in world.units("app")}


def versions(world):
    return sorted(node["version"] for node in world.api("GET", "/nodes")["items"] if node["connected"] and "version" in node)


def upgrade(world, *words, status=0):
    done = world.run("upgrade", *words, "-o", "json", timeout_s=200)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_agents_are_upgraded_in_place(disaster_world, tmp_path):
    if os.uname().machine != "x86_64":
        pytest.skip("the artifacts made here are for x86_64")
    with disaster_world(lost_after="10s") as world:
        world.deploy(units=4)
        before = processes(world)
        # an upgrade that no server of this version can talk to
        world.run("upgrade", "push", rebuilt(tmp_path / "new", "9.9.9"))
        assert "servers first" in upgrade(world, "--version", "9.9.9", status=1)
        with world.traffic() as traffic:
            pushed = json.loads(world.run("upgrade", "push", rebuilt(tmp_path / "old", OLD), "-o", "json").stdout)
            assert pushed["version"] == OLD and pushed["platform"] == "linux-x86_64"
            assert "--downgrade" in upgrade(world, "--version", OLD, status=1)
            done = upgrade(world, "--version", OLD, "--downgrade", "--wait", "--timeout", "180s")
            assert done["state"] == "DONE" and done["nodes"]["upgraded"] == 6
        assert traffic.failed == [] and traffic.sent > 100
        assert versions(world) == [OLD] * 6 and processes(world) == before
        assert OLD in world.run("nodes").stdout
        assert {node["artifact"] for node in world.api("GET", "/nodes")["items"]} == {pushed["digest"]}
        # a tenth of three nodes is one at a time: each is back before the next is told
        told = [e["object"] for e in world.api("GET", "/events")["items"] if e["message"].startswith("its agent is upgraded")]
        assert len(told) == len(set(told)) == 6

        fails(world, "0.0.8", artifact("0.0.8", "exit 1"), "UpgradeFailed")
        fails(world, "0.0.7", artifact("0.0.7", "exit 1", platform="linux-aarch64"), "made for linux-aarch64")
        wrong = artifact("0.0.6", "exit 1")
        fails(world, "0.0.6", wrong, "FetchFailed", damage=True)
        assert versions(world) == [OLD] * 6 and processes(world) == before

        with world.traffic() as traffic:
            comes_through_kills(world)
        assert traffic.failed == [] and processes(world) == before


def fails(world, version, data, words, damage=False):
    """The rollout of an artifact that does not work: two nodes in a row, and no more."""
    digest = world.put_artifact(f"agent-amd64@{version}", data)["digest"]
    if damage:
        path = world.data / "server/artifacts/sha256" / digest.removeprefix("sha256:")
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = upgrade(world, "--artifact", digest, "--cluster", "cluster-2", "--downgrade", "--wait", "--timeout", "90s", status=1)
    assert done["state"] == "STOPPED" and "2 nodes failed in a row" in done["message"], done
    assert len(done["failed"]) == 2 and all(words in node["message"] for node in done["failed"]), done
    assert all(node["cluster"] == "cluster-2" for node in done["failed"])


def comes_through_kills(world):
    """Forward again, while an agent is killed in its trial, one before it, and the server in the middle."""
    assert world.run("upgrade", "push").returncode == 0
    state = world.data / "nodes/cluster-1-node-1/agent/state"
    upgrade(world, "--version", VERSION)
    wait_for("the trial of the first node", lambda: "\ntrial " in state.read_text(), 20, 0.001)
    os.kill(world.pid("cluster-1-node-1"), signal.SIGKILL)
    wait_for("the next node", lambda: flying(world) and flying(world) != ["cluster-1-node-1"], 30)
    world.kill_and_see_again("server")
    wait_for("the end", lambda: (now := status(world)) and now["state"] == "DONE" and now["nodes"]["upgraded"] == 6, 60)
    assert versions(world) == [VERSION] * 6 and status(world)["failed"] == []


def status(world):
    done = world.run("upgrade", "status", "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def flying(world):
    return [node["name"] for node in status(world)["underWay"]]
