"""A proxy in front of an API server that does, by script, what networks and busy API servers do to their clients.

    with Proxy(control_plane) as proxy:
        config = control_plane.kubeconfig("somebody", token=control_plane.token("somebody"), server=proxy.url)
        proxy.answer(429, "GET .*/pods", retry_after=2, times=3)       # the next three answers
        proxy.answer(410, "watch /api/v1/.*pods")
        proxy.slow(0.5, "PATCH .*/pods")                               # each of them waits so long before it is passed on
        proxy.lines("watch .*pods", repeat)                            # what its watches tell from now on
        proxy.cut("watch .*"); proxy.cut_in_line("watch .*"); proxy.stall("watch .*"); proxy.resume()
        proxy.refuse(); proxy.swallow(); proxy.heal()

What is matched is a regular expression over "METHOD path?query"; of a watch the method reads "watch". It speaks HTTP/1.1 and TLS
with a certificate of the cluster's own CA, and passes the client's Authorization on: clients present tokens, or `certificate` is
used for all of them. proxy.requests: (monotonic time, what was asked, status, how it ended); proxy.writes: (what was asked, its body)
of all that were not merely to read."""

import contextlib
import http.client
import http.server
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from urllib.parse import parse_qs, urlsplit

import kubeapi

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "accept-encoding"}
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests"}
POLL_S = 0.05


# What may become of a watch's lines: each of these gets an iterator of lines and yields lines.


def repeat(lines):
    """Each event twice."""
    for line in lines:
        yield line
        yield line


def reorder(lines):
    """Neighbours change places; a last one alone is held back."""
    for line in lines:
        second = next(lines, None)
        if second is not None:
            yield second
        yield line


def without_bookmarks(lines):
    return (line for line in lines if json.loads(line)["type"] != "BOOKMARK")


def only_first(count):
    """A clean end after so many events."""

    def transform(lines):
        for _, line in zip(range(count), lines):
            yield line

    return transform


def garble(lines):
    """Each second line is no JSON."""
    for number, line in enumerate(lines):
        yield b'{"type":"ADDED","object":{"kind":\n' if number % 2 else line


def expired(after=0):
    """So many events, then an ERROR event that says 410, then a clean end."""

    def transform(lines):
        yield from only_first(after)(lines)
        yield json.dumps({"type": "ERROR", "object": status_document(410, "too old resource version")}).encode() + b"\n"

    return transform


def status_document(code, message):
    reason = REASONS.get(code, "InternalError" if code == 500 else "ServiceUnavailable")
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}


class _Rule:
    def __init__(self, pattern, times=None, **what):
        self.pattern, self.times, self.what = re.compile(pattern), times, what

    def takes(self, asked):
        if self.times == 0 or not self.pattern.search(asked):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _Stream:
    """One answer on its way: what a script may do to it meanwhile."""

    def __init__(self, asked):
        self.asked, self.end, self.stalled, self.is_broken = asked, None, False, False


class Proxy:
    def __init__(self, plane, certificate=None):
        self.plane, self.requests, self.writes = plane, [], []
        self.lock, self.rules, self.transforms, self.streams = threading.RLock(), [], [], []
        self.mode, self.sockets = "pass", set()
        self.upstream = ssl.create_default_context(cafile=plane.authority.certificate)
        if certificate:
            self.upstream.load_cert_chain(*certificate)

    def __enter__(self):
        pair = self.plane.authority.issue(f"proxy-{id(self):x}", "kube-apiserver", names="IP:127.0.0.1,DNS:localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        context.set_alpn_protocols(["http/1.1"])
        self.server = _Server(("127.0.0.1", 0), _Handler, self, context)
        self.port = self.server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(POLL_S,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.heal()
        self.server.shutdown()
        self.server.server_close()
        self._reset_all()
        self.thread.join()

    # the script

    def answer(self, status, pattern=".", times=1, retry_after=None, message="by script"):
        """The next `times` requests of this kind (None: all until heal()) are answered here."""
        with self.lock:
            self.rules.append(_Rule(pattern, times, status=status, retry_after=retry_after, message=message))

    def slow(self, seconds, pattern=".", times=None):
        """The next `times` requests of this kind (None: all until heal()) wait before they are passed on."""
        with self.lock:
            self.rules.append(_Rule(pattern, times, delay_s=seconds))

    def lines(self, pattern, transform, times=None):
        """Watches of this kind that begin from now on."""
        with self.lock:
            self.transforms.append(_Rule(pattern, times, transform=transform))

    def _each(self, pattern, **change):
        with self.lock:
            found = [stream for stream in self.streams if re.search(pattern, stream.asked)]
            for stream in found:
                for key, value in change.items():
                    setattr(stream, key, value)
        return len(found)

    def end(self, pattern):
        """Answers under way end cleanly, as the API server itself ends watches. How many there were."""
        return self._each(pattern, end="clean")

    def cut(self, pattern):
        """Answers under way end with a reset of the connection. How many there were."""
        return self._each(pattern, end="reset")

    def cut_in_line(self, pattern):
        """The next line of those under way is cut in its middle, and the connection reset."""
        return self._each(pattern, end="in line")

    def stall(self, pattern):
        """Nothing more comes of answers under way, and nobody says so."""
        return self._each(pattern, stalled=True)

    def resume(self, pattern="."):
        return self._each(pattern, stalled=False)

    def refuse(self):
        """Connections are reset, those under way and new ones, until heal()."""
        self.mode = "refuse"
        self._reset_all()

    def swallow(self):
        """New requests are read and never answered until heal()."""
        self.mode = "swallow"

    def heal(self):
        self.mode = "pass"
        with self.lock:
            self.rules, self.transforms = [], []
        self.resume()

    def asked(self, pattern):
        """Requests so far that match."""
        with self.lock:
            return [entry for entry in self.requests if re.search(pattern, entry[1])]

    def watching(self, pattern="watch"):
        """How many answers of this kind are under way."""
        with self.lock:
            return sum(1 for stream in self.streams if re.search(pattern, stream.asked))

    def _reset_all(self):
        self.cut(".")
        with self.lock:
            sockets = list(self.sockets)
        for each in sockets:
            reset(each)

    def _rule(self, rules, asked):
        with self.lock:
            return next((rule.what for rule in rules if rule.takes(asked)), None)

    @contextlib.contextmanager
    def _noted(self, asked):
        stream, entry = _Stream(asked), [time.monotonic(), asked, None, "under way"]
        with self.lock:
            self.streams.append(stream)
            self.requests.append(entry)
        try:
            yield stream, entry
        finally:
            with self.lock:
                self.streams.remove(stream)


def reset(connection):
    """Closed with RST: the other side does not take it for a clean end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)  # not SSLSocket's own: its other users would go on without TLS
    with contextlib.suppress(OSError):
        connection.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def __init__(self, address, handler, proxy, context):
        self.proxy, self.context = proxy, context
        super().__init__(address, handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.proxy.mode == "refuse":
            reset(connection)
            raise OSError("refused by script")
        # the handshake belongs into the connection's own thread: it waits for the client
        wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self.proxy.lock:
            self.proxy.sockets.add(wrapped)
        return wrapped, address

    def shutdown_request(self, request):
        with self.proxy.lock:
            self.proxy.sockets.discard(request)
        self.close_request(request)  # without a shutdown before: it would tell a clean end where a reset is wanted

    def handle_error(self, *_):
        pass  # a client that goes away is no news


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.request.settimeout(30)
        self.request.do_handshake()
        self.request.settimeout(None)
        super().setup()

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def _any(self):
        query = parse_qs(urlsplit(self.path).query)
        is_watch = query.get("watch", ["false"])[0] in ("1", "true")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy = self.server.proxy
        if self.command != "GET":
            with proxy.lock:
                proxy.writes.append((f"{self.command} {self.path}", json.loads(body or b"null")))
        with proxy._noted(f"{'watch' if is_watch else self.command} {self.path}") as (stream, entry):
            try:
                self._carry(proxy, stream, entry, body, is_watch)
            except (OSError, http.client.HTTPException) as error:
                entry[3] = repr(error)
                self.close_connection = True
                reset(self.connection)

    def _carry(self, proxy, stream, entry, body, is_watch):
        while proxy.mode == "swallow" and stream.end is None:
            time.sleep(POLL_S)
        rule = proxy._rule(proxy.rules, stream.asked)
        if rule and "delay_s" in rule:
            time.sleep(rule["delay_s"])
        elif rule:
            entry[2:] = [rule["status"], "by script"]
            return self._scripted(rule)
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.plane.port, timeout=600, context=proxy.upstream)
        with contextlib.closing(connection):
            headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP_BY_HOP}
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
            except OSError as error:
                entry[3] = f"no answer: {error!r}"
                self.close_connection = True
                return reset(self.connection)  # as the API server's own port would be
            entry[2] = answer.status
            self._stream(proxy, stream, answer, is_watch and answer.status == 200, connection)
            entry[3] = stream.end or "complete"

    def _scripted(self, rule):
        data = json.dumps(status_document(rule["status"], rule["message"])).encode()
        self.send_response(rule["status"])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if rule["retry_after"] is not None:
            self.send_header("Retry-After", str(rule["retry_after"]))
        self.end_headers()
        self.wfile.write(data)

    def _head(self, answer, length):
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in HOP_BY_HOP:
                self.send_header(key, value)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        self.end_headers()

    def _stream(self, proxy, stream, answer, is_watch, connection):
        if not is_watch:
            data = answer.read()
            self._head(answer, len(data))
            self.wfile.write(data)
            return
        self._head(answer, None)
        lines = _lines(answer, stream, connection)
        rule = proxy._rule(proxy.transforms, stream.asked)
        for line in rule["transform"](lines) if rule else lines:
            if stream.end == "in line":
                line = line[: len(line) // 2]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            if stream.end == "in line":
                break
        if stream.end in ("reset", "in line"):
            self.close_connection = True
            reset(self.connection)
        else:
            self.wfile.write(b"0\r\n\r\n")


def _lines(answer, stream, connection):
    """The upstream's lines until its end or the script's. A thread reads, so that a script is heard while nothing comes."""
    waiting, over, more = deque(), threading.Event(), threading.Semaphore(0)

    def read():
        try:
            for line in kubeapi.lines(answer):
                waiting.append(line)
                more.release()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            stream.is_broken = True
        over.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        while stream.end in (None, "in line"):
            if stream.stalled:
                time.sleep(POLL_S)
            elif more.acquire(timeout=POLL_S):
                while stream.stalled and stream.end is None:  # it may have been stalled while we waited
                    time.sleep(POLL_S)
                yield waiting.popleft()
            elif over.is_set() and not waiting:
                stream.end = stream.end or ("reset" if stream.is_broken else None)
                return
    finally:
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)
