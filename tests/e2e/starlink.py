"""Starlink in Python: the codec, and both sides of a connection, for tests that play a server, an agent or a gateway.

A message is a Message: a dict with a type, whose fields are attributes, too. Nested structs are dicts, lists are lists,
enums are their names ("UP"), digests are "sha256:HEX" ("" = none), bytes are bytes. A decoded message has every field;
a message to be sent needs only those that are not zero:

    Message("BEAT", node=NODE, sequence=7)
    Message("RESERVE", node=NODE, claim={"app_uid": UID, "unit": "ocr-a1b2c", "member": "head"}, ...)

The tables come from src/wire/starlink_messages.h through tools/starlink_tables.py.

    with Server() as server:                # listens on a free port of 127.0.0.1, answers HELLO and BEAT
        start_agent(server.address)
        node = server.wait("HELLO").node
        server.send(Message("RESERVE", request=1, node=node, ...))
        reply = server.wait("RESERVE_REPLY", request=1)

    with Client(address) as agent:          # a connection that was dialled
        agent.send(Message("HELLO", ...))
        agent.wait("WELCOME")
"""

import json
import queue
import socket
import struct
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import starlink_tables  # noqa: E402
import tlslib  # noqa: E402

TABLES = starlink_tables.load()
ENUMS, STRUCTS, MESSAGES = TABLES["enums"], TABLES["structs"], TABLES["messages"]
BY_NUMBER = {m["number"]: name for name, m in MESSAGES.items()}
HEADER = struct.Struct(">IHBB")
FRAME_MAX = 16384
PROTOCOL = 1
TEXTS = ("STR", "NAME", "NODE", "UUID", "UNIT")


class Malformed(Exception):
    """Bytes that are no frame or no message."""


class Unsupported(Malformed):
    """A message with something in it that must not be skipped."""


class Message(dict):
    """A message: `type` and its fields. Fields that were not given read as zero."""

    def __init__(self, type_, /, **fields):
        known = {f["name"] for f in MESSAGES[type_]["fields"]}
        unknown = set(fields) - known
        if unknown:
            raise KeyError(f"{type_} has no {sorted(unknown)}")
        super().__init__(fields)
        self.type = type_

    def __getattr__(self, name):
        if name in self:
            return self[name]
        for field in MESSAGES[self.type]["fields"]:
            if field["name"] == name:
                return zero(field)
        raise AttributeError(f"{self.type} has no {name}")

    def __repr__(self):
        return to_text(self)


def zero(field):
    kind = field["kind"]
    if kind == "ENUM":
        return ENUMS[field["arg"]][0]
    if kind == "BYTES":
        return b""
    if kind == "LIST":
        return []
    if kind == "MSG":
        return {f["name"]: zero(f) for f in STRUCTS[field["arg"]]}
    return "" if kind in TEXTS or kind == "DIGEST" else False if kind == "BOOL" else 0


# ---- codec ----


def put_varint(x):
    out = bytearray()
    while x >= 0x80:
        out.append(x & 0x7F | 0x80)
        x >>= 7
    out.append(x)
    return bytes(out)


def take_varint(data, at):
    x = 0
    for i in range(10):
        if at + i >= len(data):
            raise Malformed("cut short")
        byte = data[at + i]
        x |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if (byte == 0 and i > 0) or x >= 2**64:
                break
            return x, at + i + 1
    raise Malformed("not a varint")


def encode_value(field, value):
    """The value's bytes; None = zero, not sent."""
    kind = field["kind"]
    if kind == "MSG":
        return encode_fields(STRUCTS[field["arg"]], value) or None
    if not value and kind != "ENUM":
        return None
    if kind == "ENUM":
        number = ENUMS[field["arg"]].index(value or ENUMS[field["arg"]][0])
        return put_varint(number) if number else None
    if kind == "DIGEST":
        return bytes.fromhex(value.removeprefix("sha256:"))
    if kind == "I64":
        return put_varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind in ("U64", "U32", "U16", "BOOL"):
        return put_varint(int(value))
    return value.encode() if isinstance(value, str) else bytes(value)


def encode_fields(fields, values):
    unknown = set(values) - {f["name"] for f in fields}
    if unknown:
        raise KeyError(f"no such field: {sorted(unknown)}")
    out = bytearray()
    for field in fields:
        key = put_varint(field["tag"] << 1 | (field["rule"] not in ("OPT", "TEXT")))
        if field["kind"] == "LIST":
            parts = [encode_fields(STRUCTS[field["arg"]], item) for item in values.get(field["name"], [])]
        else:
            value = encode_value(field, values.get(field["name"], zero(field)))
            parts = [] if value is None else [value]
        for part in parts:
            out += key + put_varint(len(part)) + part
    return bytes(out)


def encode(message, version=PROTOCOL):
    """The whole frame. Nothing is checked that a test might want to send wrongly, but its length."""
    payload = encode_fields(MESSAGES[message.type]["fields"], message)
    if len(payload) + HEADER.size > FRAME_MAX:
        raise ValueError(f"{message.type}: {len(payload)} bytes do not fit a frame")
    return HEADER.pack(len(payload), MESSAGES[message.type]["number"], version, 0) + payload


def decode_value(field, data):
    kind = field["kind"]
    if kind in ("MSG", "LIST"):
        return decode_fields(field["arg"], STRUCTS[field["arg"]], data)
    if kind == "BYTES":
        return bytes(data)
    if kind == "DIGEST":
        return "sha256:" + data.hex()
    if kind in TEXTS:
        return data.decode(errors="replace")
    x, end = take_varint(data, 0)
    if end != len(data):
        raise Malformed(f"{field['name']}: bytes left over")
    if kind == "ENUM":
        names = ENUMS[field["arg"]]
        if x >= len(names):
            raise Malformed(f"{field['name']}: {x} is no {field['arg']}")
        return names[x]
    return x >> 1 ^ -(x & 1) if kind == "I64" else bool(x) if kind == "BOOL" else x


def decode_fields(where, fields, data):
    by_tag = {f["tag"]: f for f in fields}
    values = {f["name"]: zero(f) for f in fields}
    seen = set()
    at = 0
    while at < len(data):
        key, at = take_varint(data, at)
        length, at = take_varint(data, at)
        if at + length > len(data):
            raise Malformed(f"{where}: cut short")
        value, at = data[at : at + length], at + length
        field = by_tag.get(key >> 1)
        if field is None:
            if key & 1:
                raise Unsupported(f"{where}: field {key >> 1} is unknown")
            continue
        name = field["name"]
        if field["kind"] == "LIST":
            values[name].append(decode_value(field, value))
        elif name in seen:
            raise Malformed(f"{where}.{name}: sent twice")
        else:
            values[name] = decode_value(field, value)
        seen.add(name)
    for field in fields:
        if field["rule"] == "REQ" and field["name"] not in seen:
            raise Malformed(f"{where}.{field['name']}: missing")
    return values


def decode(data):
    """Return (message or None for an unknown type, bytes taken), or (None, 0) when the frame is not whole yet."""
    if len(data) < HEADER.size:
        return None, 0
    length, number, version, _ = HEADER.unpack_from(data)
    size = HEADER.size + length
    if size > FRAME_MAX or version == 0:
        raise Malformed(f"a frame of {size} bytes, version {version}")
    if len(data) < size:
        return None, 0
    name = BY_NUMBER.get(number)
    if name is None:
        return None, size
    return Message(name, **decode_fields(name, MESSAGES[name]["fields"], bytes(data[HEADER.size : size]))), size


# ---- text, as wire_sl_print writes it ----


def word(text):
    plain = text and all(" " < c < "\x7f" and c not in '"\\=[]{}' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def value_text(field, value):
    kind = field["kind"]
    if field["rule"] == "SECRET":
        return "***"
    if kind == "LIST":
        return "[" + " ".join("{" + fields_text(STRUCTS[field["arg"]], item) + "}" for item in value) + "]"
    if kind == "MSG":
        return "{" + fields_text(STRUCTS[field["arg"]], value) + "}"
    if kind == "BYTES":
        return value[:32].hex() + (f"...({len(value)})" if len(value) > 32 else "")
    if kind == "BOOL":
        return "true"
    return word(value) if kind == "STR" else str(value)


def fields_text(fields, values):
    parts = []
    for field in fields:
        value = values.get(field["name"], zero(field))
        sent = encode_value(field, value) is not None if field["kind"] != "LIST" else bool(value)
        if sent or field["kind"] == "ENUM":
            parts.append(f"{field['name']}={value_text(field, value)}")
    return " ".join(parts)


def to_text(message):
    return f"{message.type} {fields_text(MESSAGES[message.type]['fields'], message)}"


# ---- connections ----


class Connection:
    """One connection, TLS over TCP: a thread reads it, messages wait until somebody asks for them."""

    def __init__(self, sock, on_message=None):
        self.sock = sock
        self.unknown = 0
        self.error = None
        self._on_message = on_message
        self._messages = []
        self._changed = threading.Condition()
        self._closed = False
        self._write = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="starlink", daemon=True)
        self._thread.start()

    def _read(self):
        data = bytearray()
        try:
            while piece := self.sock.recv(65536):
                data += piece
                while data:
                    message, size = decode(data)
                    if size == 0:
                        break
                    del data[:size]
                    self._take(message)
        except (OSError, Malformed) as error:
            self.error = error
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, message):
        if message is None:
            self.unknown += 1
            return
        if self._on_message is not None and self._on_message(self, message):
            return
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def send(self, *messages):
        with self._write:
            self.sock.sendall(b"".join(encode(m) for m in messages))

    def wait(self, type_, timeout_s=10, where=None, **fields):
        """Take out and return the first message of that type (or of one of a tuple) with those fields for which where(message)
        holds; others stay. Raises TimeoutError with what did come."""

        def fits(m):
            return (m.type == type_ or m.type in type_ and isinstance(type_, tuple)) and all(m[k] == v for k, v in fields.items()) and (where is None or where(m))

        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for i, message in enumerate(self._messages):
                    if fits(message):
                        return self._messages.pop(i)
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    state = f"closed ({self.error})" if self._closed else "open"
                    got = "".join(f"\n  {m}" for m in self._messages)
                    raise TimeoutError(f"no {type_} {fields or ''} in {timeout_s} s; {state}; waiting:{got or ' none'}")
                self._changed.wait(left)

    def drain(self, type_=None):
        """Take out and return all messages (of a type) that are there now."""
        with self._changed:
            out = [m for m in self._messages if type_ in (None, m.type)]
            self._messages = [m for m in self._messages if m not in out]
            return out

    def wait_closed(self, timeout_s=10):
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed, timeout_s):
                raise TimeoutError("still open")

    @property
    def closed(self):
        return self._closed

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client(Connection):
    """Dials "host:port" with an identity (see join()); None: shows no certificate and trusts anybody."""

    def __init__(self, address, identity=None, on_message=None):
        super().__init__(tlslib.dial(address, identity.client() if identity else tlslib.stranger()), on_message)


def join(address, token, peer="AGENT", cluster="", identity=None):
    """An identity with a certificate of the server at that address; `token` is SECRET-PIN or SECRET."""
    identity = identity or tlslib.Identity()
    with Client(address) as link:
        secret = token.rpartition("-")[0] or token
        link.send(Message("CERT_REQUEST", request=identity.request, token=secret, peer=peer, cluster=cluster))
        identity.take(link.wait("CERTIFICATE"))
    return identity


class Server:
    """Listens on a free port of 127.0.0.1. Whoever asks for a certificate gets one of the tests' authority; its join
    token is in `token_file`. With `welcome` each HELLO is answered by WELCOME and each BEAT by BEAT_ACK; both can still
    be waited for. Messages of the newest connection of an agent or gateway: send() and wait()."""

    def __init__(self, welcome=True, store_id=None, beat_interval_ms=1000):
        self.store_id = store_id or str(uuid.uuid4())
        self.boot_id = str(uuid.uuid4())
        self.beat_interval_ms = beat_interval_ms
        self.welcome = welcome
        self.authority = tlslib.Authority.shared()
        self.token_file = self.authority.token_file
        self.certify = True
        self._context = self.authority.context()
        self.connections = queue.Queue()  # every connection, in the order of arrival
        self.bulk = queue.Queue()  # (HELLO, connection) of those that said BULK
        self.current = None
        self._all = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, name="starlink-accept", daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                tls = tlslib.Socket(sock, self._context, server_side=True)
            except OSError:  # ssl.SSLError is one
                sock.close()
                continue
            connection = Connection(tls, self._answer)
            self._all.append(connection)
            self.connections.put(connection)

    def _answer(self, connection, message):
        if message.type == "CERT_REQUEST" and self.certify:
            role = "gateway" if message.peer == "GATEWAY" else "node"
            certificate = self.authority.issue(message.request, role, message.cluster or "-")
            connection.send(Message("CERTIFICATE", certificate=certificate, trust=self.authority.cert.read_bytes()))
            return True
        if message.type == "HELLO":
            if message.peer == "BULK":
                self.bulk.put((message, connection))
                return False
            with self._changed:
                self.current = connection
                self._changed.notify_all()
            if self.welcome:
                connection.send(self.welcome_for(message))
        elif message.type == "BEAT" and self.welcome:
            connection.send(Message("BEAT_ACK", node=message.node, sequence=message.sequence))
        return False

    def welcome_for(self, hello):
        return Message(
            "WELCOME",
            protocol=PROTOCOL,
            store_id=self.store_id,
            server_boot_id=self.boot_id,
            attach=hello.attach,
            beat_interval_ms=self.beat_interval_ms,
            node=hello.node,
        )

    def peer(self, timeout_s=10):
        """The newest connection that said HELLO."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.current is not None, timeout_s):
                raise TimeoutError(f"nobody said HELLO in {timeout_s} s")
            return self.current

    def send(self, *messages):
        self.peer().send(*messages)

    def wait(self, type_, timeout_s=10, where=None, **fields):
        start = time.monotonic()
        peer = self.peer(timeout_s)
        return peer.wait(type_, max(0.0, timeout_s - (time.monotonic() - start)), where, **fields)

    def forget_peer(self):
        """The next send() and wait() are for whoever says HELLO from now on."""
        with self._changed:
            self.current = None

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self._all:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
