"""What a pod needs of the agent: an init that keeps it, and a PreStop after which nobody sends requests there."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from proclib import wait_for
from uplib import ASTRA


def run_init(folder, *flags):
    words = [ASTRA, "init", "agent", "--server", "127.0.0.1:1", "--data", folder, "--http", "127.0.0.1:0", "--cpu", "1", "--memory",
             "1Gi", "--disk", "1Gi", "--cluster", "c1", "--join-token-file", "/dev/null", "--ready-file", folder.parent / "ready",
             *flags]  # fmt: skip
    return subprocess.Popen([str(w) for w in words], stderr=open(folder.parent / "log", "a"))


def agent_pid(folder):
    try:
        return json.loads((folder.parent / "ready").read_text())["pid"]
    except (OSError, ValueError):
        return None


@pytest.fixture
def pod(tmp_path):
    token = tmp_path / "token"
    token.write_text(f"astra-12345678-{'a' * 48}-{'b' * 64}\n")
    process = run_init(tmp_path / "data", "--join-token-file", token)
    process.folder = tmp_path / "data"
    try:
        wait_for("the agent", lambda: agent_pid(process.folder), 20)
        yield process
    finally:
        process.kill()
        process.wait()
        if (pid := agent_pid(process.folder)) and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def is_gone(pid):
    return not Path(f"/proc/{pid}").exists()


def test_the_agent_is_started_again(pod):
    first = agent_pid(pod.folder)
    os.kill(first, signal.SIGKILL)
    second = wait_for("another agent", lambda: agent_pid(pod.folder) not in (None, first) and agent_pid(pod.folder), 20)
    assert is_gone(first)  # reaped: no zombie is left
    assert pod.poll() is None
    assert not is_gone(second)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both(pod, signum):
    agent = agent_pid(pod.folder)
    pod.send_signal(signum)
    assert pod.wait(10) == 0
    assert is_gone(agent)


def test_hup_goes_to_the_agent_alone(pod):
    first = agent_pid(pod.folder)
    pod.send_signal(signal.SIGHUP)
    wait_for("the end of the agent, which knows no HUP", lambda: agent_pid(pod.folder) not in (None, first), 20)
    assert pod.poll() is None


def test_wrong_words_are_not_tried_again(tmp_path):
    done = subprocess.run([str(ASTRA), "init", "agent", "--no-such-flag"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert done.stderr.count("--no-such-flag") == 1


def drain_self(folder, *flags):
    return subprocess.run([str(ASTRA), "drain", "--self", "--data", str(folder), *flags], capture_output=True, text=True, timeout=60)


def test_an_empty_node_leaves_at_once(pod):
    begun = time.monotonic()
    done = drain_self(pod.folder, "--grace", "20s", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"state": "DRAINED", "attached": False, "claims": 0, "serving": 0}
    assert time.monotonic() - begun < 10


def test_strangers_cannot_empty_a_node(pod):
    local = pod.folder / "local.json"
    assert local.stat().st_mode & 0o777 == 0o600
    document = json.loads(local.read_text())
    local.write_text(json.dumps({**document, "token": "guessed"}))
    done = drain_self(pod.folder, "--grace", "3s")
    assert done.returncode == 1
    assert "local.json" in done.stderr
    local.write_text(json.dumps(document))


def test_without_its_folder(tmp_path):
    done = drain_self(tmp_path, "--grace", "2s")
    assert done.returncode == 1
    assert "local.json" in done.stderr


@pytest.mark.parametrize("loads_s", [0, 15])
def test_prestop_under_traffic(disaster_world, loads_s):
    """A pod's PreStop: the replacement is asked for at once, and when it cannot be there within the grace, what serves leaves
    routing before the command returns: nothing is lost when the pod then dies, though only one unit is left."""
    with disaster_world() as world:
        units = world.deploy(units=2, env={"APP_LOADS_S": loads_s}, drain={"requests": "2s"})
        node = world.api("GET", f"/nodes/{units[0]['members'][0]['node']}")["name"]
        folder = world.data / "nodes" / node
        with world.traffic() as traffic:
            time.sleep(0.5)
            done = drain_self(folder, "--grace", "12s")
            assert done.returncode == 0, done.stderr
            gone = units[0]["name"]
            assert world.picked(traffic, 1)[gone] == 0
        assert traffic.failed == []
        world.wait_ready("app", 60, without=[gone])
