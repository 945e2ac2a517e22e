"""Attacks on the server's two doors, each with what must come of it: a reason that is counted and logged once, nobody
else disturbed, and nothing left behind. Reasons and invariants: docs/components/identity.md."""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import starlink
import tlslib
from paths import ASTRA
from playlib import Platform, wait_for
from starlink import Client, Message

HELLO = dict(protocol_min=1, protocol_max=1, peer="AGENT", cluster="c1", network="lo", address="127.0.0.9", incarnation=1)


class Field:
    """A platform with an honest node, and what an attacker may have got hold of."""

    def __init__(self, folder):
        self.platform = Platform(ASTRA, folder)
        self.context = ssl.create_default_context(cadata=self.platform.ca)
        self.token = (self.platform.data / "join.token").read_text().strip()
        self.honest = self.platform.node("honest", cluster="c1")
        self.thief = starlink.join(self.address, self.token, cluster="c1")  # the key of a node was stolen
        self.gateway = starlink.join(self.address, self.token, peer="GATEWAY")
        self.stranger = self.signed_by_a_stranger()
        self.attach = 0

    @property
    def address(self):
        return self.platform.starlink

    def signed_by_a_stranger(self):
        identity = tlslib.Identity()
        authority = tlslib.Authority.shared()
        identity.cert.write_bytes(authority.issue(identity.request, "node", "c1"))
        identity.trust.write_bytes(self.platform.ca.encode())
        return identity

    def api(self, method, path, body=None, token=None):
        request = urllib.request.Request(self.platform.api + path, method=method)
        request.add_header("Authorization", f"Bearer {token or self.platform.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
            return answer.read().decode()

    def metric(self, name):
        line = re.search(rf"^{re.escape(name)} (\d+)$", self.api("GET", "/metrics"), re.M)
        return int(line[1])

    def refused(self, reason):
        return self.metric(f'astra_server_refused_total{{reason="{reason}"}}')

    def logged(self, reason):
        return (self.platform.folder / "server.log").read_text().count(f"reason={reason}\n")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.platform.process.pid}/fd"))

    def memory_kib(self):
        status = Path(f"/proc/{self.platform.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def raw(self, data=b""):
        host, _, port = self.address.rpartition(":")
        sock = socket.create_connection((host, int(port)), timeout=10)
        sock.sendall(data)
        return sock

    def node(self, identity=None, **other):
        """A link over which HELLO of that identity was welcomed."""
        identity = identity or self.thief
        self.attach += 1
        link = Client(self.address, identity)
        link.send(Message("HELLO", **{**HELLO, "node": identity.id, "attach": self.attach, **other}))
        link.wait("WELCOME")
        return link

    def close(self):
        self.platform.close()


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    f = Field(tmp_path_factory.mktemp("attacks"))
    yield f
    f.close()


# ---- the attacks: each ends when the server has ended the connection, or answered as it should ----

ATTACKS = {}


def attack(reason):
    def keep(fn):
        ATTACKS[fn.__name__] = (reason, fn)
        return fn

    return keep


def ends(sock):
    """Reads to the end, whatever it is."""
    with contextlib.suppress(ConnectionError), sock:
        while sock.recv(65536):
            pass


def says(field, identity, *messages, close=True):
    """Sends frames over a connection of its own and waits until the server ends it; what REFUSED said."""
    with Client(field.address, identity) as link:
        with contextlib.suppress(ConnectionError):
            link.send(*messages)
        link.wait_closed()
        refusals = link.drain("REFUSED")
        return refusals[0] if refusals else None


@attack("plain")
def http_instead_of_tls(field):
    ends(field.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))


@attack("plain")
def starlink_without_tls(field):
    ends(field.raw(starlink.encode(Message("HELLO", node=field.honest.id, **HELLO))))


@attack("handshake")
def noise_after_a_good_beginning(field):
    ends(field.raw(b"\x16\x03\x01\x00\x40" + os.urandom(64)))


@attack("handshake")
def an_older_tls(field):
    context = tlslib.stranger()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tlslib.dial(field.address, context)


@attack("cut")
def half_a_handshake(field):
    field.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01").close()


@attack("handshake")
def a_forged_record(field):
    link = Client(field.address, field.thief)
    link.sock.sock.sendall(b"\x17\x03\x03\x00\x40" + os.urandom(64))
    link.wait_closed()
    link.close()


@attack("certificate")
def a_certificate_of_another_authority(field):
    says(field, field.stranger, Message("HELLO", node=field.honest.id, **HELLO))


@attack("no_certificate")
def hello_without_a_certificate(field):
    assert says(field, None, Message("HELLO", node=field.honest.id, token=field.token, **HELLO)).code == "unauthorized"


@attack("token")
def a_wrong_join_token(field):
    request = Message("CERT_REQUEST", request=field.thief.request, token="f" * 64, cluster="c1")
    assert says(field, None, request).code == "unauthorized"


@attack("token")
def an_api_token_as_a_join_token(field):
    says(field, None, Message("CERT_REQUEST", request=field.thief.request, token=field.platform.token, cluster="c1"))


@attack("token")
def no_join_token(field):
    says(field, None, Message("CERT_REQUEST", request=field.thief.request, cluster="c1"))


@attack("request")
def a_request_that_its_key_did_not_sign(field):
    other = bytearray(tlslib.der(field.thief.request))
    other[-1] ^= 1
    body = tlslib.base64.encodebytes(bytes(other))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    token = field.token.partition("-")[0]
    says(field, None, Message("CERT_REQUEST", request=pem, token=token, cluster="c1"))


@attack("request")
def a_request_to_be_a_server(field):
    token = field.token.partition("-")[0]
    says(field, None, Message("CERT_REQUEST", request=field.thief.request, token=token, peer="SERVER", cluster="c1"))


@attack("node")
def another_nodes_name(field):
    assert says(field, field.thief, Message("HELLO", node=field.honest.id, **HELLO)).code == "forbidden"


@attack("node")
def another_cluster(field):
    says(field, field.thief, Message("HELLO", node=field.thief.id, **{**HELLO, "cluster": "c2"}))


@attack("node")
def another_nodes_bulk(field):
    says(field, field.thief, Message("HELLO", node=field.honest.id, **{**HELLO, "peer": "BULK"}))


@attack("node")
def another_nodes_beat(field):
    with field.node() as link:
        link.send(Message("BEAT", node=field.honest.id, sequence=10**9))
        link.wait_closed()


@attack("node")
def another_nodes_event(field):
    with field.node() as link:
        link.send(Message("EVENT", node=field.honest.id, message="it burns"))
        link.wait_closed()


@attack("node")
def a_certificate_for_another_key(field):
    with field.node() as link:
        link.send(Message("CERT_REQUEST", request=field.honest.identity.request, cluster="c1"))
        link.wait_closed()
        assert not link.drain("CERTIFICATE")


@attack("node")
def a_certificate_for_another_cluster(field):
    with field.node() as link:
        link.send(Message("CERT_REQUEST", request=field.thief.request, cluster="c2"))
        link.wait_closed()
        assert not link.drain("CERTIFICATE")


@attack("kind")
def a_node_as_a_gateway(field):
    assert says(field, field.thief, Message("HELLO", **{**HELLO, "peer": "GATEWAY"})).code == "forbidden"


@attack("kind")
def a_gateway_as_a_node(field):
    says(field, field.gateway, Message("HELLO", node=field.gateway.id, **HELLO))


@attack("first_frame")
def a_beat_before_hello(field):
    says(field, field.thief, Message("BEAT", node=field.thief.id, sequence=1))


@attack("unsupported")
def a_protocol_of_the_future(field):
    future = {**HELLO, "protocol_min": 99, "protocol_max": 99}
    assert says(field, field.thief, Message("HELLO", node=field.thief.id, **future)).code == "wire.unsupported"


@attack("unsupported")
def a_critical_field_that_nobody_knows(field):
    frame = starlink.encode(Message("BEAT", node=field.thief.id, sequence=1))
    payload = frame[8:] + bytes.fromhex("c91f00")
    with Client(field.address, field.thief) as link:
        link.sock.sendall(starlink.HEADER.pack(len(payload), 16, 1, 0) + payload)
        link.wait_closed()


@attack("oversized")
def a_frame_of_a_gibibyte(field):
    with Client(field.address, field.thief) as link:
        link.sock.sendall(struct.pack(">IHBB", 1 << 30, 16, 1, 0))
        link.wait_closed()


@attack("malformed")
def a_length_past_the_end(field):
    frame = bytearray(starlink.encode(Message("BEAT", node=field.thief.id, sequence=1)))
    frame[9] = 0x7F
    with Client(field.address, field.thief) as link:
        link.sock.sendall(bytes(frame))
        link.wait_closed()


@attack("malformed")
def a_frame_of_version_0(field):
    with Client(field.address, field.thief) as link:
        link.sock.sendall(starlink.encode(Message("BEAT", node=field.thief.id, sequence=1), version=0))
        link.wait_closed()


@attack("cut")
def half_a_frame(field):
    link = field.node()
    link.sock.sendall(starlink.encode(Message("BEAT", node=field.thief.id, sequence=1))[:-3])
    link.close()


@attack("ticket")
def a_made_up_ticket(field):
    hello = {**HELLO, "peer": "BULK", "ticket": b"x" * 32}
    assert says(field, field.thief, Message("HELLO", node=field.thief.id, **hello)).code == "unauthorized"


@attack("replayed")
def a_beat_once_more(field):
    with field.node() as link:
        link.send(*[Message("BEAT", node=field.thief.id, sequence=n) for n in (5, 5, 6)])
        link.wait("BEAT_ACK", sequence=5)
        link.wait("BEAT_ACK", sequence=6)  # the link stays
        assert not link.drain("BEAT_ACK")


@attack("lie")
def an_event_of_a_unit_elsewhere(field):
    with field.node() as link:
        link.send(Message("EVENT", node=field.thief.id, unit="ocr-abcde", member="head", message="it burns"))
        link.send(Message("BEAT", node=field.thief.id, sequence=1))
        link.wait("BEAT_ACK")
    assert "it burns" not in field.api("GET", "/v1/events")


@attack("lie")
def an_answer_for_a_unit_elsewhere(field):
    claim = {"app_uid": "017f22e2-79b0-7fff-bfff-ffffffffffff", "unit": "ocr-abcde", "member": "head", "attempt": 1}
    with field.node() as link:
        link.send(Message("UNIT_CONFIG_REPLY", node=field.thief.id, claim=claim, request=1))
        link.send(Message("BEAT", node=field.thief.id, sequence=1))
        link.wait("BEAT_ACK")


@attack("lie")
def a_log_of_a_member_elsewhere(field):
    claim = {"app_uid": "017f22e2-79b0-7fff-bfff-ffffffffffff", "unit": "ocr-abcde", "member": "head", "attempt": 1}
    with Client(field.address, field.thief) as link:
        link.send(Message("HELLO", node=field.thief.id, **{**HELLO, "peer": "BULK"}))
        link.send(Message("BULK_LOG", claim=claim, bytes=9), Message("BULK_DATA", bytes=b"it burns\n"), Message("BULK_END", ok=True))
        assert link.wait("BULK_END").code == "forbidden"


# ---- what must come of each ----


def honest_is_well(field):
    assert not field.honest.link.closed
    nodes = json.loads(field.api("GET", "/v1/nodes"))["items"]
    assert next(n for n in nodes if n["id"] == field.honest.id)["state"] == "UP"


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(field, name):
    reason, run = ATTACKS[name]
    time.sleep(0.1)  # the log takes 10 lines a second
    counted, logged = field.refused(reason), field.logged(reason)
    run(field)
    wait_for(lambda: field.refused(reason) == counted + 1)
    wait_for(lambda: field.logged(reason) == logged + 1)
    assert field.refused(reason) == counted + 1, "counted once"
    honest_is_well(field)


def test_nothing_is_left_behind(field):
    """All of them, many times: as many descriptors as before, and memory that does not grow."""
    for _, run in ATTACKS.values():
        run(field)

    def settled():
        """Connections that linger after a refusal are over within seconds."""
        before = field.descriptors()
        time.sleep(0.5)
        return field.descriptors() == before and before

    descriptors, memory = wait_for(settled), field.memory_kib()
    for _ in range(8):
        for _, run in ATTACKS.values():
            run(field)
    wait_for(lambda: field.descriptors() <= descriptors, timeout_s=15)
    assert field.memory_kib() - memory < 4096
    honest_is_well(field)


def test_logs_do_not_drown(field):
    """10 lines a second and code, the rest is counted in one line."""
    before, lines = field.refused("plain"), field.logged("plain")
    for _ in range(200):
        starlink_without_tls(field)
    wait_for(lambda: field.refused("plain") == before + 200)
    assert field.logged("plain") - lines < 100


def test_silence_is_ended(field):
    """No handshake, and a handshake without a frame behind it: 10 s."""
    before = field.refused("slow")
    begun = time.monotonic()
    silent = field.raw()
    shaken = Client(field.address, field.thief)
    ends(silent)
    shaken.wait_closed(15)
    shaken.close()
    assert 8 < time.monotonic() - begun < 14
    wait_for(lambda: field.refused("slow") == before + 2)


def test_join_tokens_end(field):
    def make(**more):
        return json.loads(field.api("POST", "/v1/tokens", {"role": "join", **more}))["token"]

    once, short = make(once=True), make(expires="200ms")
    assert once.rpartition("-")[2] == field.token.rpartition("-")[2], "the pin of the CA"
    starlink.join(field.address, once, cluster="c1")
    time.sleep(0.25)
    before = field.refused("token")
    for token in (once, short):
        with pytest.raises(TimeoutError):
            starlink.join(field.address, token, cluster="c1")
    assert field.refused("token") == before + 2
    with pytest.raises(urllib.error.HTTPError) as refused:  # and it opens nothing of the API
        field.api("GET", "/v1/apps", token=make().rpartition("-")[0])
    assert refused.value.code == 401


def test_denied(field):
    """A stolen key is denied: its link is cut, neither certificate nor token opens, others are not touched."""
    before = field.refused("denied")
    with field.node() as link:
        field.api("POST", f"/v1/identities/{field.thief.id}/deny")
        link.wait_closed()
    assert says(field, field.thief, Message("HELLO", node=field.thief.id, **HELLO)).code == "forbidden"
    with pytest.raises(TimeoutError):
        starlink.join(field.address, field.token, cluster="c1", identity=field.thief)
    assert field.refused("denied") == before + 3
    honest_is_well(field)
    field.api("POST", f"/v1/identities/{field.thief.id}/allow")
    field.node().close()


def test_denials_outlive_the_server(tmp_path):
    f = Field(tmp_path)
    try:
        f.api("POST", f"/v1/identities/{f.thief.id}/deny")
        f.platform.stop()
        f.platform.start_again()
        wait_for(lambda: says(f, f.thief, Message("HELLO", node=f.thief.id, **HELLO)).code == "forbidden")
        assert f.refused("denied") >= 1
    finally:
        f.close()


def test_the_api_is_closed_to_plain_http(field):
    host, _, port = field.platform.api.removeprefix("https://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/v1/apps", headers={"Authorization": f"Bearer {field.platform.token}"})
    answer = connection.getresponse()
    assert answer.status == 400 and b"https" in answer.read()
    connection.close()


def test_another_server_is_not_believed(field, tmp_path):
    """The command line stops at a server of another CA, before it says its token."""
    with starlink.Server() as impostor:
        (tmp_path / "client.json").write_text(
            json.dumps({"address": f"https://{impostor.address}", "token": "secret", "ca": field.platform.ca})
        )
        done = field.platform.astra("apps", env={"ASTRA_CFG_DATA": str(tmp_path)}, status=1)
        assert "not to be trusted" in done.stderr
