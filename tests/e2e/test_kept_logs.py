"""The last words of failed members: nodes bring them, the server keeps them for when the node is gone, and refuses, by a reason that
is counted, what is not as it was said. Nodes are played in Python; test_disasters_disk.py has it with agents."""

import contextlib
import re
import time

import pytest
from playlib import Platform, wait_for
from starlink import Message
from test_api import APP, ASTRA, Api, deploy, restart, wait_ready

MIB = 1 << 20


class World(Platform):
    def __init__(self, folder, *flags):
        super().__init__(ASTRA, folder, *flags)
        self.calls = Api(self, self.token)

    def failed(self, name="node-1"):
        """A node on which a member of the app ended, and that member's claim."""
        node, claims = self.node(name, cluster="c1"), []

        def behave(claim):
            claims.append(claim["claim"])
            return "EXITED", "RAY_START_FAILED", "ray start: no"

        node.behave = behave
        deploy(self.calls)
        wait_for(lambda: [u for u in self.calls.items("/v1/units") if u["reason"] == "RayStartFailed"])
        return node, claims[0]

    def metric(self, name):
        return int(re.search(rf"^{re.escape(name)} (\d+)$", self.calls.call("GET", "/metrics")[1].decode(), re.M)[1])

    def refused(self, reason):
        return self.metric(f'astra_server_logs_refused_total{{reason="{reason}"}}')

    def kept(self):
        return sorted(path.name for path in (self.data / "logs").rglob("*") if path.is_file())


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        yield world


def test_read_when_the_node_is_gone(world):
    """Over a restart of the server, too; it goes with the app. While the node is there, that has the whole log."""
    node, claim = world.failed()
    unit, text = claim["unit"], "".join(f"line {i}\n" for i in range(90000))
    node.logs[unit, "head", True] = "all of it\n"
    answer = node.bring(claim, text.encode())
    assert (answer.ok, answer.total_bytes) == (True, len(text))
    assert world.kept() == [f"{unit}.head.{claim['attempt']}.log"]
    assert world.astra("logs", "tiny", "--previous").stdout == "all of it\n"
    del node.logs[unit, "head", True]  # its time there was over
    said, _, rest = world.astra("logs", "tiny", "--previous").stdout.partition("\n")
    assert rest == text and "nothing of what was asked for" in said
    node.close()
    wait_for(lambda: not world.calls.ok("GET", f"/v1/nodes/{node.id}")["connected"])
    said, _, rest = world.astra("logs", "tiny", "--unit", unit, "--previous").stdout.partition("\n")
    assert rest == text and f"of {unit}/head" in said and "node node-1" in said and "has been away since" in said
    tail = world.astra("logs", "tiny", "--previous", "--tail", "100").stdout
    assert tail.partition("\n")[2] == text[-100:]
    restart(world)
    world.calls = Api(world, world.token)
    said, _, rest = world.astra("logs", "tiny", "--previous").stdout.partition("\n")
    assert rest == text and "does not know its node" in said
    world.calls.ok("DELETE", APP)
    wait_for(lambda: list((world.data / "logs").iterdir()) == [])


def test_what_is_not_as_it_was_said(world):
    node, claim = world.failed()

    def ends(reason, text=b"x" * 10, lie=True, **other):
        """A log that ends the connection, and is counted once under its reason."""
        before, lies = world.refused(reason), world.metric('astra_server_refused_total{reason="lie"}')
        with pytest.raises(TimeoutError, match="closed"):
            node.bring(claim, text, **other)
        wait_for(lambda: world.refused(reason) == before + 1)
        assert world.metric('astra_server_refused_total{reason="lie"}') == lies + lie

    ends("size", announced=11)
    ends("size", announced=9)
    ends("size", b"")
    ends("size", announced=MIB + 1)
    assert node.bring({**claim, "unit": "tiny-other"}, b"lies").code == "forbidden" and world.refused("stranger") == 1
    other = world.node("node-2", cluster="c1")
    assert other.bring(claim, b"lies").code == "forbidden" and world.refused("stranger") == 2
    for cut in (lambda bulk: None, lambda bulk: bulk.sock.sendall(b"\0\0\0\x20\0\x32"), lambda bulk: bulk.send(Message("BULK_END"))):
        before = world.refused("cut")
        with node.bulk() as bulk:
            bulk.send(Message("BULK_LOG", claim=claim, bytes=100), Message("BULK_DATA", bytes=b"x" * 50))
            cut(bulk)
        wait_for(lambda: world.refused("cut") == before + 1)
    with node.bulk() as bulk:
        bulk.send(*[Message("BULK_LOG", claim=claim, bytes=100)] * 2)
        bulk.wait_closed()
    folder = world.data / "logs" / claim["app_uid"]
    folder.parent.mkdir()
    folder.write_text("in its way")
    assert node.bring(claim, b"words").code == "unavailable" and world.refused("disk") == 1
    folder.unlink()
    assert world.kept() == [] and world.metric("astra_server_logs_bytes") == 0
    with node.bulk() as bulk:  # more while what was said is being written
        bulk.send(Message("BULK_LOG", claim=claim, bytes=MIB), *[Message("BULK_DATA", bytes=b"x" * 16000)] * 65)
        bulk.send(Message("BULK_DATA", bytes=b"x" * (MIB - 65 * 16000)), *[Message("BULK_END", ok=True)] * 2)
        bulk.wait_closed()
    wait_for(lambda: world.metric("astra_server_logs_taken_total") == 1)
    assert (world.refused("size"), world.metric("astra_server_logs_bytes")) == (5, MIB)
    assert node.bring(claim, b"words\n").ok and world.kept() == [f"{claim['unit']}.head.1.log"]


def test_eight_at_a_time(world):
    """One of a node; who comes then is told to come again, and no member's heart misses a beat."""
    nodes = [world.node(f"node-{i}", cluster="c1", cpu=1000) for i in range(9)]
    deploy(world.calls, units=9)
    wait_ready(world.calls, 9)
    claims = [next(iter(node.claims.values()))["claim"] for node in nodes]
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(node.bulk()) for node in nodes[:8]]
        for bulk, claim in zip(begun, claims):
            bulk.send(Message("BULK_LOG", claim=claim, bytes=5), Message("BULK_DATA", bytes=b"wor"))
        time.sleep(0.2)
        assert nodes[8].bring(claims[8], b"words").code == "unavailable"
        assert nodes[0].bring(claims[0], b"words").code == "unavailable"
        begun[0].send(Message("BULK_DATA", bytes=b"ds"), Message("BULK_END", ok=True))
        assert begun[0].wait("BULK_END").ok
        assert nodes[8].bring(claims[8], b"words").ok
    wait_for(lambda: world.refused("cut") == 7)
    assert (world.refused("busy"), len(world.kept())) == (2, 2)


def test_the_oldest_go(tmp_path):
    """32 of an app, and --logs-max bytes of all; what is there is counted again at a start."""
    with World(tmp_path, "--logs-max", "100000") as world:
        node, claim = world.failed()

        def names(*attempts):
            return sorted(f"{claim['unit']}.head.{attempt}.log" for attempt in attempts)

        for attempt in range(1, 34):
            assert node.bring({**claim, "attempt": attempt}, b"words\n").ok
        assert world.kept() == names(*range(2, 34))
        assert node.bring({**claim, "attempt": 33}, b"others\n").ok, "once more"
        assert (world.metric("astra_server_logs"), world.metric("astra_server_logs_bytes")) == (32, 31 * 6 + 7)
        for attempt in (40, 41, 42):
            assert node.bring({**claim, "attempt": attempt}, b"y" * 45000).ok
        assert world.kept() == names(41, 42)
        restart(world)
        world.calls = Api(world, world.token)
        assert (world.metric("astra_server_logs"), world.metric("astra_server_logs_bytes")) == (2, 90000)
