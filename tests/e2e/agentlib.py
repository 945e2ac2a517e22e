"""An agent under test, and the server that the test plays: artifacts by digest, bulk connections, claims."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import starlink
from paths import ASTRA
from proclib import wait_for
from starlink import Message

GIB = 1 << 30
CHUNK = 16000


def tar_zst(files, mode=0o644):
    """A tar.zst of {name: text}."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            info.mode = mode
            tar.addfile(info, io.BytesIO(text.encode()))
    return subprocess.run(["zstd", "-q", "-c"], input=raw.getvalue(), stdout=subprocess.PIPE, check=True).stdout


class Artifacts:
    """Bytes and files by digest."""

    def __init__(self):
        self.items = {}
        self.gets = []

    def put(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.items[digest] = data
        return digest

    def put_file(self, path):
        sha = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                sha.update(piece)
        digest = "sha256:" + sha.hexdigest()
        self.items[digest] = Path(path)
        return digest

    def pieces(self, digest, offset):
        item = self.items[digest]
        with io.BytesIO(item) if isinstance(item, bytes) else open(item, "rb") as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                yield piece


class Server(starlink.Server):
    """A resource server that also answers BULK_GET; and BULK_LOG without a ticket when `answer_logs` says how: until then it is
    as one that is too old to know it."""

    def __init__(self, artifacts, **options):
        super().__init__(**options)
        self.artifacts = artifacts
        self.requests = 0
        self.logs_connection = None
        self.brought = []  # (claim, announced bytes, text) of logs that nobody asked for
        self.answer_logs = None  # fn(claim): fields of BULK_END
        self._bulk_thread = threading.Thread(target=self._serve_bulk, name="bulk", daemon=True)
        self._bulk_thread.start()

    def _serve_bulk(self):
        while True:
            hello, connection = self.bulk.get()
            if hello.ticket:
                self.logs_connection = connection
                continue
            threading.Thread(target=self._serve_untold, args=(connection,), daemon=True).start()

    def logs(self, node, unit, member, timeout_s=10, **options):
        """What OPEN_BULK brings: {file: bytes}."""
        self.logs_connection = None
        ticket = os.urandom(16)
        self.send(Message("OPEN_BULK", ticket=ticket, node=node, purpose="LOGS", unit=unit, member=member, **options))
        connection = wait_for("a bulk connection", lambda: self.logs_connection, timeout_s)
        connection.wait_closed(timeout_s)
        files, name = {}, None
        for message in connection.drain():
            if message.type == "BULK_LOG":
                assert message.ticket == ticket
                name = message.file
            elif message.type == "BULK_DATA":
                files[name] = files.get(name, b"") + message.bytes
            elif message.type == "BULK_END":
                return files if message.ok else message.code
        raise AssertionError("no BULK_END came")

    def _serve_untold(self, connection):
        with contextlib.suppress(OSError, TimeoutError):
            first = connection.wait(("BULK_GET", "BULK_LOG"), timeout_s=30)
            if first.type == "BULK_GET":
                self._serve_get(connection, first)
            elif self.answer_logs:
                connection.wait("BULK_END", timeout_s=30)
                text = b"".join(m.bytes for m in connection.drain("BULK_DATA"))
                self.brought.append((first.claim, first.bytes, text))
                connection.send(Message("BULK_END", **self.answer_logs(first.claim)))

    def _serve_get(self, connection, get):
        self.artifacts.gets.append(get.digest)
        if get.digest not in self.artifacts.items:
            connection.send(Message("BULK_END", code="not_found", message=f"no artifact {get.digest} in this store"))
            return
        for piece in self.artifacts.pieces(get.digest, get.offset):
            connection.send(Message("BULK_DATA", bytes=piece))
        connection.send(Message("BULK_END", ok=True))

    def ask(self, type_, timeout_s=10, **fields):
        """Sends a request and returns its reply."""
        self.requests += 1
        self.send(Message(type_, request=self.requests, **fields))
        return self.wait(type_ + "_REPLY", timeout_s=timeout_s, request=self.requests)


class Agent:
    """`astra agent` with a data folder of its own."""

    def __init__(self, server, folder, *flags):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.temp_root = Path(tempfile.mkdtemp(prefix="at", dir="/tmp"))
        self.temp_root.chmod(0o711)  # as /tmp: members of other users get through
        self.server = server
        self.flags = flags
        self.process = None
        try:
            self.start()
        except BaseException:
            self.remove()
            raise

    def start(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.log = open(self.folder / "agent.log", "ab")
        self.process = subprocess.Popen(
            [
                ASTRA, "agent", "--server", self.server.address, "--data", self.data, "--http", "127.0.0.1:0",
                "--join-token-file", self.server.token_file, "--ready-file", ready, "--temp-root", self.temp_root, "--name", "n1", "--cluster", "c1",
                "--cpu", "4", "--memory", "8Gi", "--disk", "50Gi", *self.flags,
            ],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        wait_for("the agent's ready file", lambda: ready.exists() or self._died())
        self.http_port = json.loads(ready.read_text())["agent"]

    def _died(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the agent ended with {self.process.returncode}:\n{self.log_text()}")

    def log_text(self):
        return (self.folder / "agent.log").read_text(errors="replace")

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)
        self.process.wait(20)
        self.log.close()
        if signum == signal.SIGTERM and self.process.returncode != 0:
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.log_text()[-6000:]}")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def close(self):
        try:
            if self.process.poll() is None:
                self.kill(signal.SIGTERM)
        finally:
            self.remove()

    def remove(self):
        for line in processes():
            if str(self.folder) in line[1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(line[0], signal.SIGKILL)
        subprocess.run(["rm", "-rf", self.temp_root], check=True)


def processes():
    """(pid, command line) of every process."""
    out = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            out.append((int(entry), Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            pass
    return out


def listening(first, count):
    """Ports of the block on which something listens."""
    out = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            out.add(int(fields[1].rsplit(":", 1)[1], 16))
    return sorted(p for p in out if first <= p < first + count)


def http(method, url, body=None, timeout_s=10, headers=None):
    """(status, text); an HTTP error is an answer, too."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def claim_id(app_uid, unit="noop-aaaaa", member="head", attempt=1):
    return {"app_uid": app_uid, "unit": unit, "member": member, "attempt": attempt}


def revision_document(environment, code=None, applications=None, number=1, models=None, env=None, workers=None, head=None,
                      logs=None):  # fmt: skip
    """What a server stores of a revision and agents fetch."""
    document = {
        "app": {"namespace": "default", "name": "noop", "uid": str(uuid.uuid4())},
        "revision": number,
        "spec": {
            "head": {"cpu": 1, "memory": "2Gi", "serves": "auto", "ray": {}, **(head or {})},
            "workers": workers or [],
            "logs": {"level": "info", "keepFailed": "24h", **(logs or {})},
            "serve": {"warmUp": {"path": None, "deadline": "120s"}},
        },
        "serve": {"applications": applications or [{"name": "a", "route_prefix": "/a", "import_path": "noop:app"}]},
        "environment": [{"arch": None, "digest": environment}] if isinstance(environment, str) else environment,
        "code": code,
        "models": models or {},
        "env": env or [],
    }
    return json.dumps(document, sort_keys=True).encode()


class Claim:
    """One claim as the server sees it."""

    def __init__(self, server, node, revision, unit="noop-aaaaa", member="head", role="HEAD", epoch=5, attempt=1,
                 mcpu=1000, memory_bytes=2 * GIB, uid=None, number=1):  # fmt: skip
        self.server = server
        self.node = node
        self.id = claim_id(uid or str(uuid.uuid4()), unit, member, attempt)
        self.common = {"node": node, "claim": self.id, "epoch": epoch, "store_id": server.store_id}
        self.revision = {"number": number, "digest": revision}
        self.role = role
        self.capacity = {"mcpu": mcpu, "memory_bytes": memory_bytes, "disk_bytes": 4 * GIB}
        self.token = os.urandom(32).hex()

    def reserve(self, ttl_ms=30000, **other):
        fields = {
            **self.common, "app": {"namespace": "default", "name": "noop"}, "revision": self.revision,
            "capacity": self.capacity, "ttl_ms": ttl_ms, "ports": 100, "role": self.role, **other,
        }  # fmt: skip
        return self.server.ask("RESERVE", **fields)

    def bind(self, **other):
        return self.server.ask(
            "BIND", **self.common, revision=self.revision, role=self.role, ray_token=self.token, **other
        )

    def release(self, **other):
        return self.server.ask("RELEASE", **{**self.common, "reason": "REQUESTED", **other})

    def config(self, digest, number):
        self.revision = {"number": number, "digest": digest}
        return self.server.ask("UNIT_CONFIG", **self.common, revision=self.revision)

    def status(self, timeout_s=60, where=None):
        """The next CLAIM_STATUS of this claim for which where(status) holds; those before it are gone."""
        deadline = time.monotonic() + timeout_s
        last = None
        while True:
            try:
                left = max(0.0, deadline - time.monotonic())
                last = self.server.wait("CLAIM_STATUS", timeout_s=left, where=lambda m: m.claim == self.id)
            except TimeoutError as error:
                raise TimeoutError(f"no such status in {timeout_s} s; the last was {last}") from error
            if where is None or where(last):
                return last
            if last.member_state == "EXITED" and last.claim_state == "BOUND":
                raise AssertionError(f"the member ended: {last}")
