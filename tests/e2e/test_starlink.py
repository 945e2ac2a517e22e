"""The Python codec of the tests says what the C codec says: both are held against the same frozen frames."""

import re

import pytest
import starlink
from starlink import Client, Malformed, Message, Server, Unsupported

ROOT = starlink.starlink_tables.ROOT
NODE = "mzxw6ytbaaaaaaaaaaaaaaaaaa"


def golden():
    text = (ROOT / "tests/unit/starlink_golden.h").read_text()
    for call in re.findall(r"^GOLDEN\((.*?)\)$", text, re.S | re.M):
        whole = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call))
        start = re.search(r"[A-Z]", whole).start()
        yield bytes.fromhex(whole[:start]), whole[start:].replace('\\"', '"')


@pytest.mark.parametrize("frame, text", list(golden()), ids=lambda v: v.split()[0] if isinstance(v, str) else "")
def test_golden(frame, text):
    message, size = starlink.decode(frame)
    assert size == len(frame)
    assert starlink.to_text(message) == text
    assert starlink.encode(message) == frame
    assert starlink.decode(frame[:-1]) == (None, 0)


def test_every_message_has_a_golden_frame():
    assert {text.split()[0] for _, text in golden()} == set(starlink.MESSAGES)


def test_refusals():
    beat = starlink.encode(Message("BEAT", node=NODE))
    with pytest.raises(Unsupported):
        starlink.decode(starlink.HEADER.pack(len(beat) - 8 + 3, 16, 1, 0) + beat[8:] + bytes.fromhex("c91f00"))
    with pytest.raises(Malformed):
        starlink.decode(starlink.HEADER.pack(3, 16, 1, 0) + bytes.fromhex("050107"))
    with pytest.raises(KeyError):
        Message("BEAT", nod=NODE)
    assert starlink.decode(starlink.HEADER.pack(0, 4095, 1, 0)) == (None, 8)


def test_numbers():
    for x in (0, 1, -1, 2**63 - 1, -(2**63)):
        frame = starlink.encode(Message("CLAIM_STATUS", exit_status=x))
        fields = [f for f in starlink.MESSAGES["CLAIM_STATUS"]["fields"] if f["name"] == "exit_status"]
        value = starlink.decode_value(fields[0], frame[10:]) if x else 0
        assert value == x


def test_server_and_client():
    with Server() as server, Client(server.address) as agent:
        agent.send(Message("HELLO", protocol_min=1, protocol_max=1, peer="AGENT", node=NODE, attach=5))
        welcome = agent.wait("WELCOME")
        assert (welcome.node, welcome.attach, welcome.store_id) == (NODE, 5, server.store_id)
        agent.send(Message("BEAT", node=NODE, sequence=1), Message("BEAT", node=NODE, sequence=2))
        assert agent.wait("BEAT_ACK", sequence=2).node == NODE
        assert server.wait("HELLO").peer == "AGENT"
        server.send(Message("NODE_COMMAND", request=3, node=NODE, action="DRAIN"))
        assert agent.wait("NODE_COMMAND").action == "DRAIN"
        with pytest.raises(TimeoutError, match="no RESERVE"):
            agent.wait("RESERVE", timeout_s=0.05)
        server.peer().close()
        agent.wait_closed()
