"""astra gateway: the real binary between scripted clients, scripted replicas, and a server played over Starlink."""

import signal
import socket
import threading
import time

import pytest
from gateway_world import REFUSAL, Gone, Replica, World, until
from starlink import Message, Server, decode


@pytest.fixture
def make(tmp_path):
    worlds = []

    def build(**flags):
        folder = tmp_path / str(len(worlds))
        folder.mkdir()
        worlds.append(World(folder, **flags))
        return worlds[-1]

    yield build
    for world in worlds:
        if world.process.poll() is None:
            assert world.metric("astra_check_failures_total") == 0
        world.close()


def in_threads(n, work):
    """Run work(i) in n threads at once; return the results in order."""
    out = [None] * n

    def run(i):
        out[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    return out


# ---- routing and heads ----


def test_routing(make):
    world = make()
    a, b = Replica(lambda r: r.answer(b"a" + r.target.encode())), Replica(lambda r: r.answer(b"b" + r.target.encode()))
    other = {"namespace": "lab", "name": "other"}
    world.view(
        world.route("r1", prefix="/"),
        world.route("r2", prefix="/ocr/v2/", app=other, application="b", rewrite="/x", has_rewrite=True),
        world.route("r3", prefix="/", host="b.test", app=other, application="b"),
        world.endpoint(a),
        Message("ENDPOINT", id="b", app=other, unit="other-aaaaa", application="b", ip="127.0.0.1", port=b.port),
        snapshot=True,
    )
    with world.client() as c:
        assert c.ask("/").body == b"a/"
        assert c.ask("/ocr/v2x?q=/ocr/v2").body == b"a/ocr/v2x?q=/ocr/v2"
        assert c.ask("/ocr/v2/y?q=1").body == b"b/x/y?q=1"
        assert c.ask("/ocr/v2?q=1").body == b"b/x/?q=1"
        c.send("GET /z HTTP/1.1\r\nHost: B.Test:8080\r\n\r\n")
        assert c.answer().body == b"b/z"
        c.send("GET http://b.test/abs HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        assert c.answer().body == b"b/abs"
        assert b.requests[-1].headers["host"] == "b.test"
    world.view(Message("ROUTE_GONE", id="r1"))
    answer = world.ask("/nothing")
    assert (answer.status, answer.problem["code"]) == (404, "not_found")


def test_headers_of_a_request(make):
    world, replica = make(), Replica()
    world.serve(replica)
    sent = [("X-Request-Id", "abc"), ("traceparent", "00-1-2-01"), ("Connection", "close, X-Hop"), ("X-Hop", "1"),
            ("TE", "trailers"), ("Proxy-Authorization", "p"), ("Cookie", "a=1"), ("Cookie", "b=2"),
            ("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=9.9.9.9")]
    with world.client() as c:
        answer = c.ask(headers=sent)
        assert answer.headers["connection"] == "close" and c.is_closed()
    got = replica.requests[0]
    names = [k for k, _ in got.all_headers]
    assert got.headers["x-request-id"] == "abc" and got.headers["traceparent"] == "00-1-2-01"
    assert [v for k, v in got.all_headers if k == "cookie"] == ["a=1", "b=2"]
    assert not {"x-hop", "te", "connection", "proxy-authorization", "forwarded"} & set(names)
    assert got.headers["x-forwarded-for"] == "127.0.0.1" and got.headers["x-forwarded-proto"] == "http"
    assert got.headers["x-forwarded-host"] == "astra.test" and got.headers["host"] == "astra.test"
    assert got.version == "HTTP/1.1" and len(names) == len(set(names)) + 1
    world.ask()
    assert len(replica.requests[1].headers["x-request-id"]) == 36


def test_forwarded_is_kept_when_trusted(make):
    world, replica = make(trust_forwarded="yes"), Replica()
    world.serve(replica)
    world.ask(headers=[("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=9.9.9.9")])
    got = replica.requests[0].headers
    assert got["x-forwarded-for"] == "9.9.9.9, 127.0.0.1" and got["x-forwarded-proto"] == "https" and "forwarded" in got


def test_headers_of_an_answer(make):
    def script(r):
        r.answer(b"x", headers=[("connection", "x-hop"), ("x-hop", "1"), ("set-cookie", "a=1"), ("server", "uvicorn")])

    world, replica = make(), Replica(script)
    world.serve(replica)
    answer = world.ask()
    assert answer.headers["set-cookie"] == "a=1" and answer.headers["server"] == "uvicorn"
    assert "x-hop" not in answer.headers and "connection" not in answer.headers
    assert answer.headers["x-astra-unit"] == "ocr-aaaaa" and answer.headers["x-astra-tries"] == "1"


def test_methods_without_a_body(make):
    def script(r):
        if r.method == "HEAD":
            r.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        elif r.target.endswith("304"):
            r.send(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: x\r\n\r\n")
        else:
            r.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    world, replica = make(), Replica(script)
    world.serve(replica, idempotent=True)
    with world.client() as c:
        assert c.ask(method="HEAD").headers["content-length"] == "5"
        c.send("GET /ocr/304 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert "304" in c.stream.head()[0]
        assert c.ask(method="DELETE").status == 204
    assert replica.connections == 1


def test_keep_alive_and_pipelining(make):
    world, replica = make(), Replica(lambda r: r.answer(r.target.encode()))
    world.serve(replica)
    with world.client() as c:
        for i in range(20):
            assert c.ask(f"/ocr/{i}").body == f"/ocr/{i}".encode()
        c.send("".join(f"GET /ocr/p{i} HTTP/1.1\r\nhost: x\r\n\r\n" for i in range(50)))
        for i in range(50):
            assert c.answer().body == f"/ocr/p{i}".encode()
    assert replica.connections == 1
    world.log(70)


def test_http_1_0(make):
    def script(r):
        r.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    world, replica = make(), Replica(script)
    world.serve(replica)
    with world.client() as c:
        c.send("GET /ocr HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = c.answer()
        assert answer.body == b"abc" and "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close" and c.is_closed()


def test_interim_answers(make):
    def script(r):
        r.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        r.answer(b"ok")

    world, replica = make(), Replica(script)
    world.serve(replica, idempotent=True)
    with world.client() as c:
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        line, headers = c.stream.head()
        assert "103" in line and ("link", "</a>") in headers
        assert c.answer().body == b"ok"


# ---- bodies ----


def test_bodies_both_ways(make):
    def script(r):
        if r.target.endswith("chunked"):
            r.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n")
            for at in range(0, len(r.body), 7000):
                piece = r.body[at : at + 7000]
                r.send(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
            r.send(b"0\r\nx: y\r\n\r\n")
        elif r.target.endswith("close"):
            r.send(b"HTTP/1.1 200 OK\r\n\r\n" + r.body)
            r.stream.sock.shutdown(socket.SHUT_RDWR)
        else:
            r.answer(r.body)

    world, replica = make(), Replica(script)
    data = bytes(range(256)) * 12000  # 3 MiB: more than is kept for replay
    for idempotent in (False, True):
        world.serve(replica, idempotent=idempotent)
        for path in ("/ocr/length", "/ocr/chunked", "/ocr/close"):
            for size in (0, 1, 65535, 65536, 70000, len(data)):
                assert world.ask(path, method="POST", body=data[:size]).body == data[:size]
            with world.client() as c:
                c.send(f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                for at in range(0, 300000, 50000):
                    c.send(b"%x\r\n%s\r\n" % (50000, data[at : at + 50000]))
                c.send("0\r\n\r\n")
                assert c.answer("POST").body == data[:300000]
    assert "content-length" not in replica.requests[-1].headers
    assert world.metric("astra_gateway_replay_bytes") == 0


def test_expect_continue(make):
    world, replica = make(), Replica(lambda r: r.answer(r.body))
    world.serve(replica, max_body_bytes=1000)
    with world.client() as c:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert "100" in c.stream.head()[0]
        c.send("hello")
        assert c.answer("POST").body == b"hello"
    assert "expect" not in replica.requests[0].headers
    with world.client() as c:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n")
        assert c.answer("POST").status == 413


def test_events_are_not_buffered(make):
    go = threading.Event()

    def script(r):
        r.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
        r.send(b"9\r\ndata: 1\n\n\r\n")
        assert go.wait(5)
        r.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    world, replica = make(), Replica(script)
    world.serve(replica, idempotent=True, timeout_ms=300, idle_ms=5000)
    with world.client() as c:
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        c.stream.head()
        assert c.stream.chunk() == b"data: 1\n\n"
        time.sleep(0.5)  # a stream may last longer than the route's timeout
        go.set()
        assert c.stream.chunk() == b"data: 2\n\n" and c.stream.chunk() == b""


def test_back_pressure(make):
    """A client that does not read stops the replica, and one that does gets all of it; memory stays small."""
    sent = [0]

    def script(r):
        piece = b"x" * 65536
        r.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1024 * len(piece)))
        for _ in range(1024):
            r.send(piece)
            sent[0] += len(piece)

    world, replica = make(), Replica(script)
    world.serve(replica)
    with world.client() as c:
        before = world.rss()
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        c.stream.head()
        time.sleep(0.5)
        stuck = sent[0]
        assert stuck < 32 << 20 and world.grown(before) < 8192
        assert c.stream.skip(64 << 20) == 64 << 20
        assert sent[0] == 64 << 20
    go = threading.Event()

    def slow(r):
        go.wait(5)
        r.answer(b"%d" % r.stream.skip(48 << 20))

    reader = Replica(slow, early=True)
    world.serve(reader)
    with world.client() as c:
        before = world.rss()
        c.send(f"POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: {48 << 20}\r\n\r\n")
        threading.Timer(0.5, go.set).start()
        c.send(b"y" * (48 << 20))
        assert world.grown(before) < 8192
        assert c.answer("POST").body == b"%d" % (48 << 20)


def test_early_answer(make):
    """A replica that answers before it has read the body: the answer arrives, the connection ends."""
    world, replica = make(), Replica(lambda r: r.answer(b"no", status=403), early=True)
    world.serve(replica)
    with world.client() as c:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
        answer = c.answer("POST")
        assert answer.status == 403 and answer.headers["connection"] == "close" and c.is_closed()


# ---- replay ----


def test_a_killed_replica_fails_no_request(make):
    world = make()

    def script(r):
        time.sleep(0.02)
        r.answer(r.body)

    a, b = Replica(script), Replica(script)
    world.serve(a, b, idempotent=True)
    threading.Timer(0.4, a.kill).start()

    def traffic(i):
        bad = []
        with world.client() as c:
            for n in range(60):
                body = f"{i}/{n}".encode() * 1000
                answer = c.ask(method="POST", body=body)
                if answer.status != 200 or answer.body != body:
                    bad.append(answer)
        return bad

    assert not any(in_threads(4, traffic))
    assert world.metric("astra_gateway_resent_total", app="ocr") >= 1
    report = world.server.wait("ENDPOINT_REPORT", where=lambda m: m.failed + m.refused > 0)
    assert report.endpoint == f"e{a.port}" and report.error
    tries = [line["tries"] for line in world.log(240)]
    assert max(tries) >= 2 and len(b.requests) > len(a.requests)


def test_many_lost_at_once(make):
    """More than the budget pays for: they wait until the replica is known to be dead, here because it refuses."""
    world, a, b = make(), Replica(lambda r: r.stream.more()), Replica(lambda r: r.answer(r.body))
    world.serve(a, idempotent=True)
    clients = [world.client() for _ in range(40)]
    for i, c in enumerate(clients):
        c.send(f"POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{i:02}")
    until(lambda: len(a.requests) == 40)
    world.view(world.endpoint(b, unit="ocr-bbbbb"))
    a.kill()
    until(lambda: world.metric("astra_gateway_queued") == 30)
    time.sleep(0.3)  # it is set aside for so long; then somebody tries it
    assert [world.ask().status for _ in range(2)] == [200] * 2
    assert [c.answer("POST").body for c in clients] == [f"{i:02}".encode() for i in range(40)]
    for c in clients:
        c.close()


def test_a_lost_answer_is_sent_again_until_it_is_committed(make):
    """Held: a content-length answer that breaks in the middle. Committed: the same, longer than is held."""
    size = [1000]

    def half(r):
        r.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size[0] + b"x" * (size[0] // 2))
        time.sleep(0.1)  # what was sent must arrive before the reset
        r.reset()

    world, bad, good = make(), Replica(half), Replica(lambda r: r.answer(b"good"))
    world.serve(bad, idempotent=True)
    world.view(world.endpoint(good, unit="ocr-bbbbb"))
    answers = [world.ask() for _ in range(2)]
    assert [a.body for a in answers] == [b"good", b"good"]
    assert len(bad.requests) >= 1
    size[0] = 200000
    world.serve(bad, idempotent=True)
    with world.client() as c, pytest.raises(Gone):
        c.ask()
    assert world.log(3)[2]["cause"] == "node_lost"


def test_a_chunked_answer_is_committed_by_its_first_byte(make):
    """As Serve sends them: a head, and its body a little later. Cut in between, the request goes elsewhere; cut later, it fails."""
    begun = [b""]

    def cut(r):
        r.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + begun[0])
        time.sleep(0.1)
        r.reset()

    world, bad, good = make(), Replica(cut), Replica(lambda r: r.answer(b"good"))
    world.serve(bad, idempotent=True)
    world.view(world.endpoint(good, unit="ocr-bbbbb"))
    assert [world.ask().body for _ in range(2)] == [b"good", b"good"]
    assert len(bad.requests) >= 1
    begun[0] = b"4\r\nhalf\r\n"
    world.serve(bad, idempotent=True)
    with world.client() as c, pytest.raises(Gone):
        c.ask()


def test_what_is_not_idempotent_is_sent_once(make):
    world, bad, good = make(), Replica(lambda r: r.reset()), Replica()
    world.serve(bad, good)
    answers = [world.ask(method="POST", body=b"x") for _ in range(2)]  # they take turns
    assert sorted(a.status for a in answers) == [200, 502]
    answer = max(answers, key=lambda a: a.status)
    assert answer.headers["x-astra-cause"] == "node_lost" and "may have been executed" in answer.problem["detail"]
    assert len(bad.requests) == len(good.requests) == 1
    time.sleep(0.3)  # it is set aside for so long
    assert [world.ask().status for _ in range(4)] == [200] * 4  # GET goes elsewhere
    assert len(bad.requests) >= 2


def test_a_refused_connection_is_free_for_every_method(make):
    world, dead, good = make(), Replica(), Replica(lambda r: r.answer(r.body))
    dead.kill()
    world.serve(dead)
    world.view(world.endpoint(good, unit="ocr-bbbbb"))
    for _ in range(3):
        assert world.ask(method="POST", body=b"p" * 70000).body == b"p" * 70000
    assert len(good.requests) == 3


@pytest.mark.parametrize("flags, fields", [({}, {"retry_body_bytes": 1000}), ({"replay_memory": "64Ki"}, {})])
def test_a_body_that_was_not_kept_is_not_sent_again(make, flags, fields):
    world, bad, good = make(**flags), Replica(lambda r: r.reset()), Replica()
    world.serve(bad, good, idempotent=True, **fields)
    assert sorted(world.ask(method="POST", body=b"x" * 300000).status for _ in range(2)) == [200, 502]
    assert len(bad.requests) == len(good.requests) == 1


def test_the_budget_ends(make):
    """A replica that breaks every connection: no more than ten are sent again in ten seconds."""
    world, a, b = make(), Replica(lambda r: r.reset()), Replica(lambda r: r.reset())
    world.serve(a, b, idempotent=True)
    answers = in_threads(16, lambda i: [world.ask(method="POST", body=b"x").status for _ in range(2)])
    assert {s for statuses in answers for s in statuses} == {502}
    assert 32 < len(a.requests) + len(b.requests) <= 32 + 10
    assert world.metric("astra_gateway_resent_total", app="ocr") == 10


def test_refusals_by_ray(make):
    def refuse(r):
        head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
        r.send(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(REFUSAL), REFUSAL))

    def own(r):
        r.answer(b"my model is loading", status=503, headers=[("content-type", "text/plain; charset=utf-8")])

    world, busy, good = make(), Replica(refuse), Replica(lambda r: r.answer(r.body))
    world.serve(busy)
    assert world.ask(method="POST", body=b"x").status == 503
    world.view(world.endpoint(good, unit="ocr-bbbbb"))
    time.sleep(0.3)
    for _ in range(3):
        assert world.ask(method="POST", body=b"y").body == b"y"  # it never ran: any method may go elsewhere
    replica = Replica(own)
    world.serve(replica)
    answer = world.ask(method="POST", body=b"x")
    assert answer.status == 503 and answer.body == b"my model is loading" and "x-astra-cause" not in answer.headers
    assert len(replica.requests) == 1


def test_stale_connections(make):
    """A replica that closes idle connections: what was written into a closing one is sent on a fresh one."""

    def script(r):
        r.answer(b"x")
        if r.target.endswith("last"):
            r.stream.sock.shutdown(socket.SHUT_RDWR)

    world, replica = make(), Replica(script)
    world.serve(replica)
    with world.client() as c:
        for _ in range(20):
            assert c.ask("/ocr/last", method="POST", body=b"1").status == 200
            time.sleep(0.01)
            assert c.ask("/ocr", method="POST", body=b"2").status == 200


# ---- capacity ----


def test_queue_at_the_cap(make):
    now, most = [0], [0]
    lock = threading.Lock()

    def script(r):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        r.answer(b"x")

    world, replica = make(), Replica(script)
    world.serve(replica, max_ongoing=2)
    assert in_threads(10, lambda i: world.ask().status) == [200] * 10
    assert most[0] == 2
    world.serve(replica, max_ongoing=1, wait_ms=20)
    answers = in_threads(4, lambda i: world.ask())
    refused = [a for a in answers if a.status == 503]
    assert refused and refused[0].headers["retry-after"] == "1" and refused[0].headers["x-astra-cause"] == "no_capacity"
    assert world.metric("astra_gateway_requests_total", code="503", cause="no_capacity") == len(refused)
    world.serve(wait_ms=0, units_wanted=0)
    assert "scaled to 0" in world.ask().problem["detail"]


def test_waiting_for_a_unit(make):
    world, replica = make(), Replica(lambda r: r.answer(r.body))
    world.serve()
    with world.client() as c:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
        until(lambda: world.metric("astra_gateway_queued") == 1)
        world.view(world.endpoint(replica))
        assert c.answer("POST").body == b"hello"


def test_a_client_that_leaves_frees_its_place(make):
    world, replica = make(), Replica(lambda r: (time.sleep(0.2), r.stream.more()))
    world.serve(replica, max_ongoing=1)
    with world.client() as c:
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: replica.requests)
    until(lambda: replica.gone == 1, what="the replica's connection ends")
    replica.script = lambda r: r.answer(b"next")
    assert world.ask().body == b"next"
    assert [line["status"] for line in world.log(2)] == [499, 200]
    assert "earlier" not in world.log(2)[1]
    assert world.metric("astra_gateway_in_flight") == 0


# ---- time ----


def test_timeouts(make):
    world = make(head_timeout="300ms", body_timeout="300ms", idle_timeout="300ms", connect_timeout="300ms")
    go = threading.Event()
    replica = Replica(lambda r: (go.wait(5), r.answer(b"late")))
    world.serve(replica, timeout_ms=200, idempotent=True)
    answer = world.ask()
    assert (answer.status, answer.headers["x-astra-cause"]) == (504, "timeout") and len(replica.requests) == 1
    go.set()
    with world.client() as c:  # no byte at all
        assert c.is_closed()
    with world.client() as c:  # a head that never ends, byte by byte
        c.send("GET /ocr HTTP/1.1\r\n")
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < 3:
                c.send("x: y\r\n")
                time.sleep(0.05)
                c.sock.settimeout(0.001)
                try:
                    c.stream.more()
                    break
                except TimeoutError:
                    c.sock.settimeout(5)
        except (Gone, ConnectionError):
            pass
        c.sock.settimeout(5)
        assert time.monotonic() - begin < 2 and c.answer().status == 408
    with world.client() as c:  # a body that stops
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        assert c.answer("POST").status == 408 and c.is_closed()
    with world.client() as c:  # nothing more after an answer
        assert c.ask().status == 200 and c.is_closed()


def test_idle_streams_end(make):
    def script(r):
        r.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        r.stream.more()

    world, replica = make(), Replica(script)
    world.serve(replica, idle_ms=200)
    with world.client() as c, pytest.raises(Gone):
        c.ask()
    until(lambda: replica.gone == 1)


def test_connect_timeout(make):
    """An address that answers nothing: a full backlog."""
    world, good = make(connect_timeout="200ms"), Replica(lambda r: r.answer(b"good"))
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    fill = [socket.socket() for _ in range(3)]
    for s in fill:
        s.setblocking(False)
        s.connect_ex(deaf.getsockname())
    world.serve(idempotent=True)
    world.view(world.endpoint(deaf.getsockname()[1], unit="ocr-aaaaa"), world.endpoint(good, unit="ocr-bbbbb"))
    assert [world.ask(method="POST", body=b"x").body for _ in range(2)] == [b"good"] * 2
    for s in [deaf, *fill]:
        s.close()


# ---- bad input ----

OK = "GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n"
BAD = {
    "no_version": ("GET /ocr\r\n\r\n", 400),
    "http_2": ("GET /ocr HTTP/2.0\r\nhost: x\r\n\r\n", 505),
    "garbage": ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    "bare_lf": ("GET /ocr HTTP/1.1\nhost: x\n\n", 400),
    "no_host": ("GET /ocr HTTP/1.1\r\n\r\n", 400),
    "two_hosts": ("GET /ocr HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "bad_host": ("GET /ocr HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    "space_before_colon": ("GET /ocr HTTP/1.1\r\nhost : x\r\n\r\n", 400),
    "folded": ("GET /ocr HTTP/1.1\r\nhost: x\r\n y\r\n\r\n", 400),
    "nul": ("GET /ocr HTTP/1.1\r\nhost: x\r\na: \0\r\n\r\n", 400),
    "two_lengths": ("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
    "length_list": ("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 3, 3\r\n\r\nabc", 400),
    "length_sign": ("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc", 400),
    "length_huge": ("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\nabc", 400),
    "cl_te": (f"POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: {len(OK)}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + OK, 400),
    "te_cl": (f"POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5c\r\n{OK}", 400),
    "te_twice": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", (400, 501)),
    "te_unknown": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "te_vt": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "te_1_0": ("POST /ocr HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk_sign": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk_hex": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk_huge": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", 400),
    "chunk_end": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n", 400),
    "chunk_lf": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
    "upgrade": ("GET /ocr HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 501),
    "connect": ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 501),
    "expect": ("GET /ocr HTTP/1.1\r\nhost: x\r\nexpect: 200-maybe\r\n\r\n", 417),
    "long_line": (f"GET /{'a' * 70000} HTTP/1.1\r\nhost: x\r\n\r\n", 414),
    "long_header": (f"GET /ocr HTTP/1.1\r\nhost: x\r\na: {'a' * 70000}\r\n\r\n", 431),
    "many_headers": ("GET /ocr HTTP/1.1\r\nhost: x\r\n" + "a: b\r\n" * 101 + "\r\n", 431),
    "body_length": ("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n", 413),
    "body_chunked": ("POST /ocr HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + ("1f4\r\n" + "x" * 500 + "\r\n") * 3, 413),
}


def test_bad_input(make):
    """A clear 4xx or 5xx as a problem document, the connection ends, and no replica sees a second request in it."""
    world, replica = make(), Replica()
    world.serve(replica, max_body_bytes=1000)
    for name, (text, status) in BAD.items():
        with world.client() as c:
            c.send(text.encode("latin-1"))
            answer = c.answer()
            assert answer.status in (status if isinstance(status, tuple) else (status,)), name
            assert answer.problem["status"] == answer.status and answer.headers["connection"] == "close", name
            assert c.is_closed(), name
    assert len(world.log(len(BAD))) == len(BAD)  # each once
    assert not [r for r in replica.requests if r.target != "/ocr" or r.method != "POST"]
    assert world.ask().status == 200


def test_truncated_upload(make):
    world, replica = make(), Replica()
    world.serve(replica, idempotent=True)
    with world.client() as c:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
        until(lambda: replica.connections)
        c.sock.shutdown(socket.SHUT_WR)
        answer = c.answer("POST")
        assert answer.status == 400 and "inside the body" in answer.problem["detail"]
    until(lambda: replica.gone == 1)
    assert [line["status"] for line in world.log(1)] == [400]


def test_a_broken_replica(make):
    answers = [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
               b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"HTTP/1.1 200 OK\r\na: " + b"b" * 70000]
    world, replica = make(), Replica(lambda r: (r.send(answers[0]), r.stream.more()))
    while answers:
        world.serve(replica)
        assert world.ask(method="POST", body=b"x").status == 502
        answers.pop(0)
    replica.script = lambda r: r.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n")
    assert world.ask(method="POST", body=b"x").body == b"ab"
    replica.script = lambda r: r.answer(b"clean")
    assert world.ask(method="POST", body=b"x").body == b"clean"


def test_connection_limits(make):
    world, replica = make(address_connections=3), Replica()
    world.serve(replica)
    clients = [world.client() for _ in range(3)]
    assert [c.ask().status for c in clients] == [200] * 3
    with world.client() as c:
        assert c.answer().status == 429 and c.is_closed()
    clients.pop().close()
    until(lambda: world.metric("astra_gateway_connections") == 2)
    assert world.ask().status == 200
    for c in clients:
        c.close()


# ---- the server ----


def test_drain(make):
    world = make()
    go = threading.Event()
    a, b = Replica(lambda r: (go.wait(5), r.answer(b"a"))), Replica(lambda r: r.answer(b"b"))
    world.serve(a)
    with world.client() as c:
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: a.requests)
        world.server.peer().drain("ENDPOINT_REPORT")
        world.view(world.endpoint(a, state="DRAINING"), world.endpoint(b, unit="ocr-bbbbb"), wait=False)
        report = world.server.wait("ENDPOINT_REPORT")
        world.server.wait("VIEW_ACK", sequence=world.sequence)
        assert (report.endpoint, report.in_flight) == (f"e{a.port}", 1)  # told before the acknowledgement
        assert world.ask().body == b"b"
        begin = time.monotonic()
        go.set()
        report = world.server.wait("ENDPOINT_REPORT", endpoint=f"e{a.port}")
        assert report.in_flight == 0 and time.monotonic() - begin < 0.5
        assert c.answer().body == b"a"
    assert len(a.requests) == 1


def test_a_drain_ends_what_is_under_way(make):
    """Requests get drain.requests, answers without a length drain.streams; then each ends so that its client knows."""
    hang = threading.Event()

    def script(r):
        if r.target == "/ocr/events":
            r.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        elif r.target in ("/ocr/chunked", "/ocr/old"):
            r.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        elif r.target == "/ocr/length":
            r.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        hang.wait(20)

    world, a, b = make(), Replica(script), Replica(lambda r: r.answer(b"b"))
    world.serve(a)
    clients = {}
    for path in ("events", "chunked", "old", "length", "post", "get"):
        clients[path] = c = world.client()
        method = "GET" if path == "get" else "POST"
        version = "1.0" if path == "old" else "1.1"
        c.send(f"{method} /ocr/{path} HTTP/{version}\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        until(lambda n=len(clients): len(a.requests) == n)
    for path, first in (("events", b"data: 1\n\n"), ("chunked", b"abc")):
        clients[path].stream.head()
        assert clients[path].stream.chunk() == first
    for path in ("length", "old"):
        clients[path].stream.head()
        assert clients[path].stream.take(3) == b"abc"
    begin = time.monotonic()
    world.view(world.endpoint(a, state="DRAINING", drain_requests_ms=500, drain_streams_ms=1500),
               world.endpoint(b, unit="ocr-bbbbb"))  # fmt: skip
    answer = clients["post"].answer("POST")
    assert (answer.status, answer.headers["x-astra-cause"]) == (503, "drain")
    assert 0.4 < time.monotonic() - begin < 1.3
    assert clients["get"].answer().body == b"b"  # safe: sent again
    with pytest.raises(Gone):
        clients["length"].stream.take(1)
    assert time.monotonic() - begin < 1.4  # the streams still run
    for path in ("events", "chunked"):
        with pytest.raises(Gone):
            clients[path].stream.chunk()  # cut: a part must not be taken for the whole
    with pytest.raises(ConnectionResetError):
        clients["old"].stream.sock.recv(1)  # HTTP/1.0: a mere end would pass for the whole
    assert 1.4 < time.monotonic() - begin < 3
    report = world.server.wait("ENDPOINT_REPORT", where=lambda m: m.endpoint == f"e{a.port}" and m.in_flight == 0)
    assert report.in_flight == 0
    hang.set()


def test_a_dead_endpoint_gives_its_requests_back(make):
    world, a, b = make(), Replica(lambda r: r.stream.more()), Replica(lambda r: r.answer(b"b"))
    world.serve(a, idempotent=True)
    clients = [world.client() for _ in range(20)]  # more than the budget: these are free
    for c in clients:
        c.send("POST /ocr HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    until(lambda: len(a.requests) == 20)
    world.view(world.endpoint(b, unit="ocr-bbbbb"), world.endpoint(a, state="DEAD"))
    for c in clients:
        answer = c.answer("POST")
        assert (answer.body, answer.headers["x-astra-tries"], answer.headers["x-astra-unit"]) == (b"b", "2", "ocr-bbbbb")
        c.close()
    until(lambda: a.gone == 20)
    for line in world.log(20):
        earlier = line["earlier"]
        assert [(try_["unit"], try_["endpoint"]) for try_ in earlier] == [("ocr-aaaaa", f"127.0.0.1:{a.port}")]
        assert (line["unit"], line["endpoint"], line["tries"]) == ("ocr-bbbbb", f"127.0.0.1:{b.port}", 2)
        assert 0 <= earlier[0]["picked_us"] < line["picked_us"] <= line["latency_us"]


def test_hello(make):
    world = make(name="edge")
    hello = world.server.wait("HELLO")
    assert (hello.peer, hello.name, hello.address, hello.port) == ("GATEWAY", "edge", "127.0.0.1", world.port)


def test_half_a_view_is_nothing(make):
    world, a = make(), Replica()
    world.serve(a)
    world.server.send(Message("VIEW_BEGIN", sequence=9, snapshot=True))
    world.server.peer().close()
    assert world.ask().status == 200
    world.server.forget_peer()
    subscribe = world.server.wait("SUBSCRIBE", timeout_s=10)
    assert subscribe.sequence == 1 and subscribe.server_boot_id == world.server.boot_id
    until(lambda: world.routes()["connected"])


def test_restart_without_a_server(make):
    world, a = make(), Replica()
    world.serve(a, idempotent=True)
    until(lambda: (world.folder / "data" / "view").exists(), what="the view is kept")
    boot = world.server.boot_id
    world.server.close()
    until(lambda: world.routes()["stale"])
    assert world.ask().status == 200
    world.stop(signal.SIGKILL)
    world.start()
    assert world.ask().status == 200
    routes = world.routes()
    assert routes["stale"] and not routes["connected"] and len(routes["routes"]) == 1
    assert world.admin("/ready").status == 200
    world.stop()
    world.server = Server()  # another server: it learns that we hold a view, and from whom
    world.start()
    subscribe = world.server.wait("SUBSCRIBE")
    assert (subscribe.sequence, subscribe.server_boot_id) == (1, boot)
    assert world.routes()["stale"] and world.ask().status == 200
    world.view(snapshot=True)
    assert not world.routes()["stale"] and world.ask().status == 404


def kept(world):
    """{id: state} of the endpoints in the gateway's file."""
    data, states = (world.folder / "data" / "view").read_bytes().partition(b"\n")[2], {}
    while data:
        message, size = decode(data)
        data = data[size:]
        if message.type == "ENDPOINT":
            states[message.id] = message.state
    return states


def test_what_is_withdrawn_stays_withdrawn(make):
    """After the acknowledgement the server stops the unit: a restart must not bring it back, however soon it comes."""
    world, a, b = make(), Replica(lambda r: r.answer(b"a")), Replica(lambda r: r.answer(b"b"))
    world.serve(a, b)
    until(lambda: (world.folder / "data" / "view").exists(), what="the view is kept")
    world.view(world.endpoint(a, state="DRAINING"))
    assert kept(world) == {f"e{a.port}": "DRAINING", f"e{b.port}": "UP"}
    world.view(Message("ENDPOINT_GONE", id=f"e{a.port}"))
    assert kept(world) == {f"e{b.port}": "UP"}
    world.stop(signal.SIGKILL)
    world.server.close()
    world.server = None
    world.start()
    assert [world.ask().body for _ in range(4)] == [b"b"] * 4


def test_no_acknowledgement_while_the_view_cannot_be_kept(make):
    world, a = make(), Replica()
    world.serve(a)
    data, away = world.folder / "data", world.folder / "away"
    until(lambda: (data / "view").exists(), what="the view is kept")
    data.rename(away)  # as a disk that is full: no new file can be made
    world.view(world.route("r2", prefix="/more"))  # adds only
    world.view(world.endpoint(a, state="DRAINING"), wait=False)
    withdrawn = world.sequence
    world.view(world.route("r3", prefix="/most"), wait=False)
    until(lambda: "view.not_saved" in (world.folder / "stderr.log").read_text(), what="the write fails")
    assert world.routes()["endpoints"][0]["state"] == "DRAINING"  # applied all the same
    assert not world.server.current.drain("VIEW_ACK")
    away.rename(data)
    world.server.wait("VIEW_ACK", sequence=withdrawn)
    world.server.wait("VIEW_ACK", sequence=withdrawn + 1)
    assert kept(world) == {f"e{a.port}": "DRAINING"}


def endpoints(world):
    return {e["id"] for e in world.routes()["endpoints"]}


def test_a_port_that_was_given_back_is_not_used_without_a_server(make):
    """It may be another app's by then: who was seen refusing is given up, who went on answering is not."""
    world, a, b = make(port_rest="6s"), Replica(lambda r: r.answer(b"a")), Replica(lambda r: r.answer(b"b"))
    world.serve(a, b, idempotent=True)
    world.server.close()
    until(lambda: world.routes()["stale"])
    port = a.port
    a.kill()
    until(lambda: endpoints(world) == {f"e{b.port}"}, what="it is given up")
    other = Replica(lambda r: r.answer(b"another app"), port=port)
    time.sleep(6.5)  # the rest, and more: nothing to wait for, b stays
    assert endpoints(world) == {f"e{b.port}"}
    assert {world.ask().body for _ in range(8)} == {b"b"} and not other.requests
    world.stop(signal.SIGKILL)
    world.server = None
    world.start()  # at once: what was seen a moment ago is served
    assert {world.ask().body for _ in range(4)} == {b"b"} and not other.requests


def test_a_view_that_nobody_saw_for_long_is_not_used(make):
    world, a = make(port_rest="6s"), Replica()
    world.serve(a)
    view, seen = (world.folder / "data" / name for name in ("view", "seen"))
    until(view.exists, what="the view is kept")
    until(lambda: seen.exists() and seen.stat().st_mtime_ns > view.stat().st_mtime_ns, what="its time is kept")
    world.server.close()
    world.server = None
    world.stop(signal.SIGKILL)
    time.sleep(3.5)  # more than half of the rest
    world.start()
    assert world.ask().status == 503 and endpoints(world) == set() and not a.requests
    assert len(world.routes()["routes"]) == 1
    world.stop()
    world.server = Server()
    world.start()
    assert world.server.wait("SUBSCRIBE").sequence == 0  # tell what you know: there is nothing to lose here


def test_asleep_for_longer_than_ports_rest(make):
    world, a = make(port_rest="6s"), Replica(lambda r: r.answer(b"a"))
    world.serve(a)
    port = a.port
    world.process.send_signal(signal.SIGSTOP)
    a.kill()
    time.sleep(3.5)
    other = Replica(lambda r: r.answer(b"another app"), port=port)
    client = world.client()
    client.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
    world.server.forget_peer()
    world.process.send_signal(signal.SIGCONT)
    world.server.wait("SUBSCRIBE")  # it does not trust the connection it had
    assert client.answer().status == 503 and not other.requests
    world.view(world.route(), world.endpoint(other, unit="ocr-bbbbb"), snapshot=True)
    assert world.ask().body == b"another app"


def test_a_spoilt_file_does_not_stop_it(make, tmp_path):
    world = make()
    world.serve(Replica())
    view = world.folder / "data" / "view"
    until(view.exists)
    world.stop()
    view.write_bytes(view.read_bytes()[:-3])
    world.server.forget_peer()
    world.start()
    world.server.wait("SUBSCRIBE")
    assert world.admin("/ready").status == 503 and world.routes()["routes"] == []


def test_reports(make):
    world, a = make(), Replica(lambda r: r.answer(b"x", status=500 if r.target.endswith("bad") else 200))
    world.serve(a)
    with world.client() as c:
        for path in ("/ocr", "/ocr", "/ocr/bad"):
            c.ask(path)
    deadline = time.monotonic() + 10
    sums, buckets = {"requests": 0, "ok": 0, "failed": 0, "failed_app": 0}, 0
    while sums["requests"] < 3 and time.monotonic() < deadline:
        report = world.server.wait("APP_REPORT")
        assert report.app == {"namespace": "default", "name": "ocr"}
        sums = {k: v + report[k] for k, v in sums.items()}
        buckets += sum(row["count"] for row in report.latency)
    assert sums == {"requests": 3, "ok": 2, "failed": 1, "failed_app": 1} and buckets == 3
    report = world.server.wait("ENDPOINT_REPORT", where=lambda m: m.latency)
    assert sum(row["count"] for row in report.latency) <= 3
    assert world.metric("astra_gateway_requests_total", app="ocr", code="500", cause="app") == 1
    assert world.metric("astra_gateway_request_seconds_count", app="ocr") == 3
    assert world.metric("astra_gateway_endpoint_ok_total") == 3


def test_threads(make):
    """Four loops: a change is acknowledged when all have it, what they count is added up, the cap is divided."""
    world = make(threads=4)
    a = Replica(lambda r: r.answer(b"a"))
    world.serve(a, max_ongoing=8)
    clients = [world.client() for _ in range(40)]
    for _ in range(5):
        assert [c.ask().status for c in clients] == [200] * 40
    assert world.metric("astra_gateway_requests_total", app="ocr", code="200") == 200
    assert world.metric("astra_gateway_connections") == 40
    b = Replica(lambda r: r.answer(b"b"))
    world.serve(b)
    assert [c.ask().body for c in clients] == [b"b"] * 40
    for c in clients:
        c.close()
    assert world.stop() == 0
    world.log(240)


# ---- life ----


def test_sigterm_finishes_what_is_under_way(make):
    world = make()
    go = threading.Event()
    a = Replica(lambda r: (go.wait(5), r.answer(b"done")))
    world.serve(a)
    idle = world.client()
    with world.client() as c:
        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: a.requests)
        world.process.terminate()
        assert idle.is_closed()
        assert world.admin("/ready").status == 503 and world.admin("/healthz").status == 200
        with pytest.raises(ConnectionError):
            world.client()
        go.set()
        answer = c.answer()
        assert answer.body == b"done" and answer.headers["connection"] == "close"
    assert world.process.wait(5) == 0


def test_log_is_opened_again(make):
    world, a = make(), Replica()
    world.serve(a)
    world.ask()
    world.log(1)
    world.log_path.rename(world.folder / "old.log")
    world.process.send_signal(signal.SIGHUP)
    until(world.log_path.exists)
    world.ask()
    line = world.log(1)[0]
    assert line["app"] == "default/ocr" and line["path"] == "/ocr" and line["endpoint"] == f"127.0.0.1:{a.port}"
    assert line["client"] == "127.0.0.1" and line["method"] == "GET" and line["sent"] == 2 and line["latency_us"] > 0


def test_usage(make):
    world = make()
    import subprocess

    from gateway_world import ASTRA

    for words, text in ((["--nope"], "no flag --nope"), (["--threads", "x"], "no NUMBER"), (["--threads", "0"], "from 1")):
        done = subprocess.run([ASTRA, "gateway", *words], capture_output=True, text=True)
        assert done.returncode == 2 and text in done.stderr
    taken = subprocess.run([ASTRA, "gateway", "--listen", "127.0.0.1:0", "--admin", f"127.0.0.1:{world.admin_port}"],
                           capture_output=True, text=True)
    assert taken.returncode == 1 and "cannot listen" in taken.stderr


def test_nothing_leaks(make):
    world = make()

    def script(r):
        if r.target.endswith("bad"):
            r.reset()
        r.answer(b"x" * 2000)

    a = Replica(script)
    world.serve(a, idempotent=True)

    def round_of(n):
        def work(i):
            for k in range(n // 100):
                with world.client() as c:
                    for j in range(10):
                        c.send("GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n" if j < 9 else "GET / HTTP/1.0\r\n\r\n")
                        c.answer()
                if k % 5 == 0:
                    with world.client() as c:
                        c.send("POST /ocr/bad HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n" + "x" * 500)

        in_threads(10, work)

    round_of(2000)
    until(lambda: world.metric("astra_gateway_connections") == 0)
    fds, rss = world.fds(), world.rss()
    round_of(10000)
    until(lambda: world.metric("astra_gateway_connections") == 0)
    assert world.fds() <= fds + 4 and world.grown(rss) < 2048
    assert world.metric("astra_gateway_in_flight") == 0 and world.metric("astra_gateway_replay_bytes") == 0
    world.view(snapshot=True)
    until(lambda: world.metric("astra_gateway_upstream_connections") == 0)
    assert world.stop() == 0
