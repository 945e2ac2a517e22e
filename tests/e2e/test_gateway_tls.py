"""TLS on the gateway's port for clients: real clients, certificates that change under traffic, and pairs that are of no use."""

import http.client
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest
from gateway_world import ASTRA, Client, Replica, World, until
from tlslib import openssl

NAME = "astra.test"


def make_pair(folder, subject=NAME, key="ec", days=30):
    """A certificate that signs itself, and its key: (cert, key)."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key_file, request = folder / "cert.pem", folder / "key.pem", folder / "request.pem"
    kind = {"ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",), "ed25519": ("ed25519",)}[key]
    openssl("req", "-new", "-newkey", *kind, "-nodes", "-keyout", key_file, "-out", request, "-subj", f"/CN={subject}",
            "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1")  # fmt: skip
    openssl("x509", "-req", "-in", request, "-signkey", key_file, "-days", days, "-copy_extensions", "copy", "-out", cert)
    return cert, key_file


def world_of(folder, **flags):
    cert, key = make_pair(folder / "tls", "first")
    w = World(folder, tls_cert=cert, tls_key=key, **flags)
    w.cert, w.key = cert, key
    return w


@pytest.fixture
def world(tmp_path):
    w = world_of(tmp_path, threads=2)
    yield w
    if w.process.poll() is None:
        assert w.metric("astra_check_failures_total") == 0
    w.close()


def context(world, newest=None, protocols=("http/1.1",)):
    made = ssl.create_default_context(cafile=world.cert)
    if newest:
        made.maximum_version = newest
    made.set_alpn_protocols(list(protocols))
    return made


class Secure(Client):
    """The raw client, through TLS."""

    def __init__(self, port, tls, **options):
        super().__init__(port, **options)
        self.sock = self.stream.sock = tls.wrap_socket(self.sock, server_hostname=NAME)

    @property
    def shown(self):
        """Who the certificate says it is."""
        return dict(x[0] for x in self.sock.getpeercert()["subject"])["commonName"]


def test_real_clients(world):
    replica = Replica(lambda r: r.answer(r.body or b"ok"))
    world.serve(replica)
    for newest, wanted in ((None, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")):
        with Secure(world.port, context(world, newest)) as c:
            assert (c.sock.version(), c.sock.selected_alpn_protocol()) == (wanted, "http/1.1")
            for size in (1, 70_000, 3_000_000):  # one connection, bodies of many records
                body = b"x" * size
                assert c.ask("/ocr", "POST", body).body == body
    assert replica.requests[0].headers["x-forwarded-proto"] == "https"
    web = http.client.HTTPSConnection("127.0.0.1", world.port, context=context(world), timeout=10)
    for _ in range(3):
        web.request("GET", "/ocr")
        assert web.getresponse().read() == b"ok"
    web.close()
    url = f"https://127.0.0.1:{world.port}/ocr"
    for words in (["--http2"], ["--http1.1"], ["--tlsv1.2", "--tls-max", "1.2"], ["-H", "expect: 100-continue", "-d", "@" + str(world.cert)]):
        done = subprocess.run(["curl", "-sS", "--fail", "--cacert", world.cert, *words, url], capture_output=True, timeout=20)
        assert done.returncode == 0, done.stderr
    assert done.stdout == world.cert.read_bytes().replace(b"\n", b"")
    assert 0 < world.metric("astra_gateway_tls_certificate_seconds") <= 30 * 86400


def test_who_is_refused(world):
    world.serve(Replica())
    with Client(world.port) as plain:
        answer = plain.ask("/ocr")
        assert answer.status == 400 and b"https://" in answer.body
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        Secure(world.port, context(world, protocols=("h2",)))
    old = ["openssl", "s_client", "-connect", f"127.0.0.1:{world.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(old, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and "alert protocol version" in done.stderr, done.stderr
    until(lambda: world.metric("astra_gateway_tls_handshakes_failed_total") == 3, what="refusals are counted")
    silent = socket.create_connection(("127.0.0.1", world.port))  # says nothing: holds nobody up
    with Secure(world.port, context(world)) as c:
        assert c.ask("/ocr").status == 200
    silent.close()


@pytest.mark.parametrize("told", ["by a signal", "by looking"])
def test_certificate_changes_under_traffic(world, told):
    gate = threading.Event()

    def script(request):
        if request.target.startswith("/ocr/slow"):
            gate.wait(20)
        request.answer(b"ok")

    world.serve(Replica(script))
    first = context(world)
    lasting, slow = Secure(world.port, first), Secure(world.port, first)
    assert lasting.shown == "first" and lasting.ask("/ocr").status == 200
    slow.send("GET /ocr/slow HTTP/1.1\r\nhost: astra.test\r\n\r\n")
    make_pair(world.cert.parent, "second", key="rsa")
    if told == "by a signal":
        world.process.send_signal(signal.SIGHUP)

    def is_second():
        try:
            with Secure(world.port, context(world)) as c:
                return c.shown == "second" and c.ask("/ocr").status == 200
        except ssl.SSLError:
            return False  # still the first one: it is not trusted any more

    until(is_second, 15, "the new certificate is shown")
    until(lambda: all(is_second() for _ in range(8)), 5, "by each thread")
    gate.set()
    assert slow.answer().body == b"ok", "a request under way is not touched"
    assert lasting.ask("/ocr").status == 200, "nor is a connection"
    lasting.close(), slow.close()


def test_a_new_pair_of_no_use(world):
    world.serve(Replica())
    kept = context(world)
    world.key.write_bytes(make_pair(world.folder / "other")[1].read_bytes())
    world.process.send_signal(signal.SIGHUP)
    log = world.folder / "stderr.log"
    until(lambda: "is not the key of the certificate in" in log.read_text(), what="it is told")
    with Secure(world.port, kept) as c:
        assert c.shown == "first" and c.ask("/ocr").status == 200
    make_pair(world.folder / "tls", "mended")
    until(lambda: log.read_text().count("clients are shown a certificate") == 2, 15, "taken when it is whole")
    assert log.read_text().count("is of no use") in (1, 2)


def broken(folder, what):
    cert, key = make_pair(folder / "good")
    other, _ = make_pair(folder / "other")
    locked, ended = folder / "locked.pem", folder / "ended"
    openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret", "-out", locked)
    return {
        "missing": ([folder / "none.pem", key], "none.pem: no such file"),
        "no certificate": ([key, key], "key.pem: no certificate in it"),
        "no key": ([cert, cert], "cert.pem: no private key in it"),
        "another's key": ([other, key], "is not the key of the certificate in"),
        "a passphrase": ([cert, locked], "locked.pem: the key has a passphrase"),
        "ended": (make_pair(ended, days=-1), "cert.pem: the certificate ended at 20"),
        "cut": ([cut(cert, folder / "cut.pem"), key], "cut.pem: "),
        "alone": ([cert, ""], "--tls-cert and --tls-key are given together"),
    }[what]


def cut(path, to):
    to.write_bytes(path.read_bytes()[:200])
    return to


@pytest.mark.parametrize("what", ["missing", "no certificate", "no key", "another's key", "a passphrase", "ended", "cut", "alone"])
def test_pairs_of_no_use_end_the_start(tmp_path, what):
    (cert, key), words = broken(tmp_path, what)
    flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tls-cert", cert]
    done = subprocess.run(
        [ASTRA, "gateway", *flags, *(["--tls-key", key] if key else [])], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == (2 if what == "alone" else 1) and words in done.stderr, done.stderr


def test_kinds_of_keys(tmp_path):
    for key in ("rsa", "ed25519"):
        cert, key_file = make_pair(tmp_path / key / "tls", key=key)
        world = World(tmp_path / key, tls_cert=cert, tls_key=key_file)
        world.cert = cert
        world.serve(Replica())
        with Secure(world.port, context(world)) as c:
            assert c.ask("/ocr").status == 200
        assert world.stop() == 0
        world.close()


def test_handshakes_of_many_end_their_own(tmp_path):
    """One address that begins 1,100 handshakes ends its own, not that of another, though that is the oldest."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)
    if room[1] < 2048:
        pytest.skip("fewer than 2,048 descriptors are allowed")
    world = world_of(tmp_path)
    with ExitStack() as stack:
        stack.callback(world.close)
        world.serve(Replica())
        resource.setrlimit(resource.RLIMIT_NOFILE, (room[1], room[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, room)
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", world.port)))
        for _ in range(1100):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.port), source_address=("127.0.0.2", 0)))
        until(lambda: world.metric("astra_gateway_tls_handshakes_failed_total") >= 70, what="handshakes end")
        with context(world).wrap_socket(slow, server_hostname=NAME) as tls:
            tls.sendall(b"GET /ocr HTTP/1.1\r\nhost: x\r\n\r\n")
            assert tls.recv(12) == b"HTTP/1.1 200"


def test_stopping_says_goodbye(world):
    world.serve(Replica())
    with Secure(world.port, context(world)) as c:
        assert c.ask("/ocr").status == 200
        world.process.send_signal(signal.SIGTERM)
        c.sock.settimeout(10)
        assert c.sock.recv(1) == b"", "TLS's own end, not a cut"
    began = time.monotonic()
    assert world.process.wait(10) == 0 and time.monotonic() - began < 5


def test_asked_twice_at_once_it_ends_well(tmp_path):
    """What the workers posted last finds the process as it ends."""
    for i in range(10):
        (tmp_path / str(i)).mkdir()
        world = World(tmp_path / str(i), server=False, threads=4)
        for _ in range(2):
            world.process.send_signal(signal.SIGTERM)
            time.sleep(0.0005 * i)
        assert world.process.wait(10) in (0, -signal.SIGTERM)  # the signal's own end, where it came when all was over
        world.close()
