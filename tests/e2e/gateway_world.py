"""A gateway under test: the real binary, a server played over Starlink, and replicas that do as a test tells them."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from paths import ASTRA
from starlink import Message, Server

APP = {"namespace": "default", "name": "ocr"}
REFUSAL = b"Request dropped due to backpressure"


def until(condition, timeout_s=10, what="it"):
    """Wait for a condition; return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)
    return value


class Gone(Exception):
    """The other side closed."""


class Stream:
    """A socket read as HTTP/1.1, with what was read too far kept."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def more(self):
        try:
            piece = self.sock.recv(65536)
        except ConnectionError:
            piece = b""
        if not piece:
            raise Gone
        self.data += piece

    def until(self, mark):
        while mark not in self.data:
            self.more()
        out, _, self.data = self.data.partition(mark)
        return out

    def take(self, n):
        while len(self.data) < n:
            self.more()
        out, self.data = self.data[:n], self.data[n:]
        return out

    def skip(self, n):
        """Read n bytes and forget them; return how many of them there were."""
        left = n - len(self.data)
        self.data = b""
        while left > 0 and (piece := self.sock.recv(min(left, 1 << 20))):
            left -= len(piece)
        return n - left

    def head(self):
        """(first line, [(lower-case name, value)])"""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = [line.split(":", 1) for line in lines[1:]]
        return lines[0], [(k.lower(), v.strip()) for k, v in pairs]

    def chunk(self):
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            self.until(b"\r\n")
            return b""
        data = self.take(size)
        assert self.take(2) == b"\r\n"
        return data

    def body(self, headers, response_to=None):
        headers = dict(headers)
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self.chunk, b""))
        if "content-length" in headers:
            return b"" if response_to == "HEAD" else self.take(int(headers["content-length"]))
        if response_to in (None, "HEAD"):
            return b""
        out = b""
        try:
            while True:
                out += self.take(1)
        except Gone:
            return out


class Request:
    def __init__(self, stream, line, headers):
        self.stream, self.headers = stream, dict(headers)
        self.all_headers = headers
        self.method, self.target, self.version = line.split(" ")
        self.body = b""

    def send(self, data):
        self.stream.sock.sendall(data)

    def answer(self, body=b"", status=200, headers=(), reason="X"):
        head = f"HTTP/1.1 {status} {reason}\r\ncontent-length: {len(body)}\r\n"
        self.send((head + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n").encode() + body)

    def reset(self):
        """Die in the middle: RST."""
        self.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.sock.close()
        raise Gone


class Replica:
    """An upstream server: script(request) answers each request, whose body was read before unless `early`."""

    def __init__(self, script=None, early=False, port=0):
        self.script = script or (lambda r: r.answer(b"ok"))
        self.early = early
        self.requests = []
        self.connections = 0
        self.gone = 0
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        stream = Stream(sock)
        try:
            while True:
                line, headers = stream.head()
                request = Request(stream, line, headers)
                self.requests.append(request)
                if not self.early:
                    request.body = stream.body(headers)
                self.script(request)
        except (Gone, OSError, ValueError):
            self.gone += 1

    def kill(self):
        """As SIGKILL of the process: the listener is gone, connections are reset."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            except OSError:
                pass


class Answer:
    def __init__(self, line, headers, body):
        self.version, status, *_ = line.split(" ")
        self.status = int(status)
        self.headers = dict(headers)
        self.body = body

    @property
    def problem(self):
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


class Client:
    """A raw client."""

    def __init__(self, port, timeout_s=10):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = Stream(self.sock)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def answer(self, method="GET"):
        line, headers = self.stream.head()
        bodiless = line.split(" ")[1] in ("204", "304")
        return Answer(line, headers, self.stream.body(headers, "HEAD" if bodiless else method))

    def ask(self, path="/ocr", method="GET", body=None, headers=()):
        extra = "".join(f"{k}: {v}\r\n" for k, v in headers)
        if body is not None:
            extra += f"content-length: {len(body)}\r\n"
        self.send(f"{method} {path} HTTP/1.1\r\nhost: astra.test\r\n{extra}\r\n".encode() + (body or b""))
        return self.answer(method)

    def is_closed(self, timeout_s=5):
        """Whether the gateway closes, without a byte before."""
        self.sock.settimeout(timeout_s)
        try:
            return self.stream.data == b"" and self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class World:
    """A gateway, its server and its routes."""

    def __init__(self, folder, server=True, **flags):
        self.folder = Path(folder)
        self.server = Server() if server else None
        self.sequence = 0
        self.flags = {"data": self.folder / "data", "debug-headers": "yes", **flags}
        self.log_path = self.folder / "access.log"
        self.process = None
        self.start()
        if self.server:
            self.server.wait("SUBSCRIBE")

    def start(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        flags = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "ready-file": ready, "access-log": self.log_path}
        flags.update({k.replace("_", "-"): v for k, v in self.flags.items()})
        if self.server:
            flags["server"] = self.server.address
            flags["token-file"] = self.server.token_file
        words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
        self.stderr = open(self.folder / "stderr.log", "ab")
        self.process = subprocess.Popen([str(ASTRA), "gateway", *words], stderr=self.stderr)
        until(lambda: ready.exists() or self.process.poll() is not None, what="the gateway starts")
        assert self.process.poll() is None, (self.folder / "stderr.log").read_text()
        ports = json.loads(ready.read_text())
        self.port, self.admin_port = ports["gateway"], ports["admin"]

    def stop(self, signum=signal.SIGTERM, timeout_s=10):
        """Return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        status = self.process.wait(timeout_s)
        self.stderr.close()
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.server:
            self.server.close()

    def view(self, *messages, snapshot=False, wait=True):
        """Send one change of the view and wait until it is applied."""
        self.sequence += 1
        begin = Message("VIEW_BEGIN", sequence=self.sequence, snapshot=snapshot)
        self.server.send(begin, *messages, Message("VIEW_END", sequence=self.sequence))
        if wait:
            return self.server.wait("VIEW_ACK", sequence=self.sequence)

    def route(self, id_="r", **fields):
        fields = {
            "app": APP, "host": "*", "prefix": "/ocr", "application": "a", "timeout_ms": 10000, "idle_ms": 10000,
            "wait_ms": 5000, "max_body_bytes": 1 << 26, "retry_body_bytes": 1 << 20, "idempotent": False,
            "policy": "least", "max_ongoing": 0, "units_wanted": 1, **fields,
        }
        return Message("ROUTE", id=id_, **fields)

    def endpoint(self, replica, id_=None, unit="ocr-aaaaa", state="UP", **fields):
        port = replica if isinstance(replica, int) else replica.port
        return Message("ENDPOINT", id=id_ or f"e{port}", app=APP, unit=unit, application="a", ip="127.0.0.1", port=port,
                       state=state, **fields)

    def serve(self, *replicas, **fields):
        """One route, and an endpoint in a unit of its own for each replica."""
        units = ["ocr-aaaaa", "ocr-bbbbb", "ocr-ccccc"]
        self.view(self.route(**fields), *(self.endpoint(r, unit=u) for r, u in zip(replicas, units)), snapshot=True)

    def client(self, **options):
        return Client(self.port, **options)

    def ask(self, *args, **kwargs):
        with self.client() as c:
            return c.ask(*args, **kwargs)

    def admin(self, path):
        with Client(self.admin_port) as c:
            c.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
            return c.answer()

    def metric(self, name, **labels):
        """The sum of a metric's rows that have these labels."""
        total = 0.0
        for line in self.admin("/metrics").body.decode().splitlines():
            found = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
            if found and all(f'{k}="{v}"' in (found[1] or "") for k, v in labels.items()):
                total += float(found[2])
        return total

    def routes(self):
        return json.loads(self.admin("/routes").body)

    def log(self, n):
        """The first n lines of the access log, once they are there; and no more than n."""

        def lines():
            return [json.loads(line) for line in self.log_path.read_text().splitlines()]

        until(lambda: len(lines()) >= n, what=f"{n} lines in the access log")
        time.sleep(0.6)  # longer than the log's delay: a second line of one request would be there
        assert len(lines()) == n, lines()
        return lines()

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def grown(self, before):
        """KiB of memory since rss() said `before`; a sanitizer keeps what was freed."""
        return 0 if any(word in str(ASTRA) for word in ("-asan", "-tsan")) else self.rss() - before

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1])
