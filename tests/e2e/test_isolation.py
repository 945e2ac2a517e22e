"""Two namespaces on one node: each its own user where the agent may switch, else one namespace at a time. No Ray: the
members' python3 is a script that looks for what is not its own."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from agentlib import Agent, Artifacts, Claim, Server, revision_document, tar_zst
from paths import ASTRA
from playlib import Platform
from proclib import wait_for

MANIFEST = {"schema": 1, "platform": "linux-x86_64", "glibc": "2.17", "python": "3.11.2", "ray": "2.60.0"}
# Says who it is, leaves a secret, and tries all that members of this node have.
SNOOP = """#!/bin/sh
echo "user $(id -u) group $(id -g)"
echo secret > "$HOME/secret" && chmod 600 "$HOME/secret"
echo secret > "$TMPDIR/secret"
touch "$ASTRA_TFCC_PAGE_DIR/page.$ASTRA_UNIT" && echo "may leave counters"
members=${HOME%/*/home}
ls "$members" > /dev/null 2>&1 && echo "listed $members"
while :; do
    for n in 1 2 3; do
        for f in token spec revision.json log home/secret; do
            cat "$members/$n/$f" > /dev/null 2>&1 && echo "read $n/$f"
        done
    done
    cat ${TMPDIR%/*/tmp}/*/tmp/secret 2> /dev/null | wc -l | sed 's/^/secrets in temporary folders: /'
    (cat /proc/$PPID/environ) > /dev/null 2>&1 && echo "read the environment of my parent"
    echo looked
    sleep 0.3
done
"""


@pytest.fixture
def folder():
    """One that every user may pass through."""
    path = Path(tempfile.mkdtemp(prefix="astra-iso-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Snoopers:
    """A node, and members of it that look around."""

    def __init__(self, folder, *flags):
        self.artifacts = Artifacts()
        self.server = Server(self.artifacts)
        self.agent = Agent(self.server, folder, *flags)
        self.hello = self.server.wait("HELLO")
        self.environment = self.artifacts.put(
            tar_zst({"astra-env.json": json.dumps(MANIFEST), "bin/python3": SNOOP}, mode=0o755)
        )

    def claim(self, namespace, unit):
        document = json.loads(revision_document(self.environment))
        document["app"]["namespace"] = namespace
        revision = self.artifacts.put(json.dumps(document).encode())
        claim = Claim(self.server, self.hello.node, revision, unit=unit, mcpu=500, memory_bytes=1 << 30)
        reply = claim.reserve(app={"namespace": namespace, "name": "noop"})
        if reply.granted:
            assert claim.bind().ok
        return claim, reply

    def log(self, number):
        path = self.agent.data / "members" / str(number) / "log"
        return path.read_text() if path.exists() else ""

    def close(self):
        self.agent.close()
        self.server.close()


@pytest.fixture
def snoopers(request, folder, tmp_path):
    passable, flags = request.param
    s = Snoopers(folder if passable else tmp_path, *flags)
    yield s
    s.close()


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may switch users")


@needs_root
@pytest.mark.parametrize("snoopers", [(True, ()), (True, ("--isolation", "user", "--no-namespaces"))], indirect=True, ids=["by default", "no other namespaces"])
def test_each_namespace_has_its_user(snoopers):
    assert not snoopers.hello.exclusive
    for namespace, unit in (("red", "noop-aaaaa"), ("blue", "noop-bbbbb"), ("red", "noop-ccccc")):
        assert snoopers.claim(namespace, unit)[1].granted
    logs = wait_for("members that looked around", lambda: all((t := snoopers.log(n)).count("looked") > 3 for n in (1, 2, 3)) and t)
    assert logs
    users = [snoopers.log(n).splitlines()[0] for n in (1, 2, 3)]
    assert users[0] == users[2] != users[1], "a user for each namespace"
    assert users[0] == "user 1879048192 group 1879048192" and users[1] == "user 1879048193 group 1879048193"
    blue = set(snoopers.log(2).splitlines()[1:])
    assert blue == {
        "may leave counters", "read 2/token", "read 2/home/secret", "secrets in temporary folders: 0", "looked",
    }  # fmt: skip
    red = set(snoopers.log(1).splitlines())
    assert {"read 1/token", "read 3/token"} <= red and "read 2/token" not in red
    assert (snoopers.agent.data / "tenants").read_text() == "red\nblue\n"
    lines = (snoopers.agent.data / "members" / "2" / "state").read_text().splitlines()
    shim, member = (int(dict(line.split(" ", 1) for line in lines)[who].split()[0]) for who in ("shim", "member"))
    os.kill(shim, 9)
    wait_for("the end of a member whose shim was killed", lambda: not cmdline(member), 5)


@pytest.mark.parametrize(
    "snoopers", [(True, ("--isolation", "node")), (False, ())], indirect=True, ids=["as asked", "closed folder"]
)
def test_or_one_namespace_at_a_time(snoopers):
    assert snoopers.hello.exclusive
    red, reply = snoopers.claim("red", "noop-aaaaa")
    assert reply.granted
    _, reply = snoopers.claim("blue", "noop-bbbbb")
    assert not reply.granted and reply.reason == "NO_CAPACITY" and "another namespace" in reply.message
    assert snoopers.claim("red", "noop-ccccc")[1].granted


@needs_root
@pytest.mark.parametrize("snoopers", [(True, ("--isolation", "node"))], indirect=True)
def test_members_of_before_are_not_joined_by_users(snoopers):
    """An agent that would give each namespace a user finds members that run as itself: one namespace at a time, until they are gone."""
    red, reply = snoopers.claim("red", "noop-aaaaa")
    assert reply.granted
    for exclusive in (True, False):
        snoopers.server.forget_peer()
        snoopers.agent.kill(signal.SIGTERM)
        snoopers.agent.flags = ()
        snoopers.agent.start()
        assert snoopers.server.wait("HELLO").exclusive == exclusive
        if exclusive:
            assert red.release().ok
            red.status(where=lambda m: m.claim_state == "RELEASED")


def test_isolation_that_cannot_be_had(tmp_path):
    with Server(Artifacts()) as server, pytest.raises(RuntimeError, match="closed to other users|may not become"):
        Agent(server, tmp_path, "--isolation", "user")


def test_the_scheduler_knows(tmp_path):
    """One exclusive node and two namespaces: the second waits, is told why, and comes when the first has left."""
    with Platform(ASTRA, tmp_path) as p:
        p.node("only", exclusive=True)
        assert p.json("nodes")["items"][0]["exclusive"]
        (tmp_path / "env").write_bytes(b"an environment")
        for namespace in ("red", "blue"):
            p.astra("artifact", "put", tmp_path / "env", "--name", "env@1", "-n", namespace)
        app = tmp_path / "app.yaml"
        app.write_text(
            "apiVersion: astra-ray.dev/v1alpha1\nkind: App\nmetadata: {name: tiny}\nspec:\n  units: 1\n"
            "  environment: [{artifact: env@1}]\n"
            "  serve: {applications: [{name: app, import_path: 'app:app', route_prefix: /}]}\n"
        )
        p.astra("deploy", app, "--wait", "-n", "red")
        p.astra("deploy", app, "-n", "blue")
        wait_for("an explanation", lambda: "another namespace has it" in p.astra("explain", "tiny", "-n", "blue").stdout)
        p.astra("delete", "tiny", "-n", "red", "--wait")
        wait_for("blue's turn", lambda: [u["state"] for u in p.json("units", "tiny", "-n", "blue")["items"]] == ["READY"])
