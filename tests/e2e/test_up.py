"""`astra up` and `astra down`: what one makes, the other finds and removes, whatever happened in between. No app, no Ray."""

import json
import os
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from proclib import marked, start_time, wait_for
from uplib import ASTRA, Up

NODES = [f"cluster-{c}-node-{n}" for c in (1, 2) for n in (1, 2)]


@pytest.fixture
def up(tmp_path):
    platform = Up(tmp_path)
    yield platform
    platform.run("down", "--data", platform.data)
    assert platform.left() == []


@pytest.fixture(autouse=True)
def shared_memory():
    """Nothing stays in /dev/shm."""
    before = set(os.listdir("/dev/shm"))
    yield
    assert {name for name in os.listdir("/dev/shm") if "astra" in name} <= before


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def nodes_up(up):
    done = up.run("nodes", "-o", "json")
    assert done.returncode == 0, done.stderr
    return {node["name"] for node in json.loads(done.stdout)["items"] if node["state"] == "UP"}


def port_of(url):
    return int(url.rsplit(":", 1)[1])


def test_up_and_down(up):
    ready = up.data.parent / "ready.json"
    said = up.up("--ready-file", ready)
    assert "2 clusters of 2 nodes" in said and "astra deploy" in said
    client = up.client()
    assert set(client) == {"address", "token", "ca", "gateway", "admin"} and len(client["token"]) >= 32
    assert stat.S_IMODE((up.data / "client.json").stat().st_mode) == 0o600
    assert str(port_of(client["gateway"])) in ready.read_text()
    assert set(up.pids()) == {"up", "server", "gateway", *NODES}
    assert status_of(client["admin"] + "/metrics") == 200
    assert wait_for("all nodes", lambda: nodes_up(up) == set(NODES))  # the command line finds its way by client.json
    pids = up.pids()
    said = up.down()
    for name in ["astra up", "gateway", "server", *NODES]:
        assert f"ended {name} (pid" in said
    assert not any(start_time(pid) for pid in pids.values())
    assert up.left() == []
    assert (up.data / "log" / "server.log").stat().st_size > 0


def test_down_twice_and_where_nothing_was(up):
    up.up()
    up.down()
    assert "nothing ran" in up.down()
    done = up.run("down", "--data", up.data / "never")
    assert done.returncode == 0 and not (up.data / "never").exists()


def test_up_again_keeps_tokens_and_keys(up):
    up.up()
    first, key = up.client(), (up.data / "nodes" / NODES[0] / "key.pem").read_bytes()
    up.down()
    up.up()
    assert up.client()["token"] == first["token"]
    assert (up.data / "nodes" / NODES[0] / "key.pem").read_bytes() == key


def test_purge_leaves_what_is_not_ours(up):
    up.up()
    (up.data / "mine").write_text("x")
    up.down("--purge")
    assert [path.name for path in up.data.iterdir()] == ["mine"]


@pytest.mark.parametrize("patience", [1, 2])
def test_interrupt_in_the_foreground(up, patience):
    process = up.start()
    wait_for("client.json", (up.data / "client.json").exists)
    up.temp = up.temp_root()
    for _ in range(patience):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.01)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "nothing of it runs any more" in said
    assert up.left() == []


@pytest.mark.parametrize("after_ms", [0, 5, 20, 50, 100, 150])
def test_interrupt_while_starting(up, after_ms):
    process = up.start()
    wait_for("its folder", (up.data / "run").exists)
    time.sleep(after_ms / 1000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    up.down()
    assert up.left() == []


def test_interrupt_while_detaching(up):
    process = up.start("--detach")
    wait_for("its server", lambda: up.pid("server"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    wait_for("all to end", lambda: not up.pids() or process.returncode == 0)
    up.down()
    assert up.left() == []


def test_dead_children_are_started_again(up):
    up.up()
    client, before = up.client(), up.pids()
    for name in ["gateway", "server", NODES[1]]:
        up.kill(name)
        wait_for(f"another {name}", lambda: up.pid(name) not in (None, before[name]), 10)
        wait_for("it to be told", lambda: f"{name} runs again" in up.log("up"), 10)
        assert f"{name} ended (killed by signal 9 (Killed)); it is started again in 1 s" in up.log("up")
    after = up.pids()
    assert set(after) == set(before) and {n for n in after if after[n] != before[n]} == {"gateway", "server", NODES[1]}
    assert status_of(client["admin"] + "/metrics") == 200  # at the same port


def test_held_children_stay_away(up):
    up.up()
    hold, before = up.data / f"hold.{NODES[0]}", up.pid(NODES[0])
    hold.touch()
    up.kill(NODES[0])
    wait_for("it to be told", lambda: f"{NODES[0]} is not started while {hold} is there" in up.log("up"), 10)
    time.sleep(1.5)
    assert up.pid(NODES[0]) is None
    hold.unlink()
    assert wait_for("it to come back", lambda: up.pid(NODES[0]), 10) != before


def test_one_data_folder_has_one_platform(up):
    up.up()
    before = up.pids()
    for more in ([], ["--detach"]):
        done = up.run("up", *up.flags, *more)
        assert done.returncode == 1 and "another astra up runs" in done.stdout + done.stderr
    assert up.pids() == before


def test_two_side_by_side(tmp_path):
    one, two = Up(tmp_path / "one"), Up(tmp_path / "two")
    try:
        one.up()
        two.up()
        before = one.pids()
        assert not set(before.values()) & set(two.pids().values())
        two.down()
        assert two.left() == []
        assert one.pids() == before and status_of(one.client()["admin"] + "/metrics") == 200
    finally:
        one.run("down")
        two.run("down")
    assert one.left() == []


class Member:
    """A member as an agent makes it: a folder, a shim, processes that carry its mark; one of them in a session of its own."""

    def __init__(self, up, node, namespaces):
        self.folder = up.data / "nodes" / node / "members" / "1"
        self.folder.mkdir(parents=True)
        self.mark = f"ASTRA_CLAIM={os.urandom(8).hex()}/ocr-x1y2z/head/1"
        up.marks.append(self.mark)
        lines = [
            "version 1", "arg /bin/sh", "arg -c", "arg setsid sleep 1000 & trap '' TERM; sleep 1000 & wait; wait",
            f"env {self.mark}", "env ASTRA_UNIT=ocr-x1y2z", "env ASTRA_MEMBER=head", "env PATH=/usr/bin:/bin",
            f"namespaces {namespaces}",
        ]  # fmt: skip
        (self.folder / "spec").write_text("\n".join(lines) + "\n")
        subprocess.Popen(
            [ASTRA, "shim", self.folder], env={"ASTRA_CLAIM": self.mark.split("=")[1]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for("it to run", lambda: (self.folder / "state").exists() and "state running" in self.state())
        wait_for("all of it", lambda: len(marked(self.mark)) >= 4)

    def state(self):
        return (self.folder / "state").read_text()

    def shim(self):
        return next(int(line.split()[1]) for line in self.state().splitlines() if line.startswith("shim "))


@pytest.mark.parametrize("namespaces", ["auto", "off"])
@pytest.mark.parametrize("shim_too", [False, True])
def test_down_after_everything_was_killed(up, namespaces, shim_too):
    up.up()
    member = Member(up, NODES[0], namespaces)
    (up.temp / "astra-00000000").mkdir()
    up.kill("up", *NODES, "server", "gateway")
    if shim_too:
        os.kill(member.shim(), signal.SIGKILL)
        wait_for("its shim's end", lambda: start_time(member.shim()) is None)
        if namespaces == "auto":
            wait_for("its namespace's end", lambda: not marked(member.mark))
    survivors = marked(member.mark)
    if survivors:
        done = up.run("up", *up.flags, "--detach")
        assert done.returncode == 1 and f"astra down --data {up.data}" in done.stdout
        assert marked(member.mark) == survivors
    said = up.down()
    if survivors:
        assert f"ending ocr-x1y2z/head on {NODES[0]} ({len(survivors)} processes)" in said
    assert up.left() == []


def test_members_end_with_the_foreground(up):
    process = up.start()
    wait_for("client.json", (up.data / "client.json").exists)
    up.temp = up.temp_root()
    Member(up, NODES[0], "auto")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "ending ocr-x1y2z/head" in said
    assert up.left() == []


def test_a_taken_port_is_told_and_nothing_is_left(tmp_path):
    one, two = Up(tmp_path / "one"), Up(tmp_path / "two")
    try:
        one.up()
        done = two.run("up", *two.flags, "--gateway", str(port_of(one.client()["gateway"])))
        assert done.returncode == 1 and "gateway ended before it was ready" in done.stderr
        assert "in use" in done.stderr
        assert two.left() == []
    finally:
        one.run("down")
        two.run("down")
    assert one.left() == []


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--nodez", "1"], "did you mean --nodes?"),
        (["--nodes", "none"], "--nodes none: expected a number"),
        (["--nodes", "65"], "at most"),
        (["--node-cpu", "two"], "--node-cpu two: expected CPUs"),
        (["--node-memory", "4Gib"], "--node-memory 4Gib: expected bytes"),
        (["--data"], "--data wants a value"),
        (["extra"], "extra is not known"),
    ],
)
def test_usage(up, flags, told):
    done = up.run("up", *flags)
    assert done.returncode == 2 and told in done.stderr
    assert not up.data.exists()
