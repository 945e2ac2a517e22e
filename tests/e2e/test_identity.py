"""Identities over time: renewal, rotation under load, certificates that have ended. docs/components/identity.md."""

import http.client
import http.server
import json
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import starlink
from paths import ASTRA
from playlib import Platform, wait_for
from starlink import Client, Message

APP = {
    "apiVersion": "astra-ray.dev/v1alpha1",
    "kind": "App",
    "metadata": {"name": "tiny"},
    "spec": {
        "units": 1,
        "environment": [{"artifact": "env@1"}],
        "serve": {"applications": [{"name": "app", "import_path": "app:app", "route_prefix": "/"}]},
        "routes": [{"prefix": "/"}],
    },
}


def api(platform, method, path, body=None, token=None):
    request = urllib.request.Request(platform.api + path, method=method)
    request.add_header("Authorization", f"Bearer {token or platform.token}")
    if body is not None:
        as_bytes = isinstance(body, bytes)
        request.data = body if as_bytes else json.dumps(body).encode()
        request.add_header("Content-Type", "application/octet-stream" if as_bytes else "application/json")
    with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cadata=platform.ca)) as answer:
        return json.loads(answer.read())


def metrics(platform):
    request = urllib.request.Request(platform.api + "/metrics", headers={"Authorization": f"Bearer {platform.token}"})
    with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cadata=platform.ca)) as answer:
        return answer.read().decode()


def metric(text, name):
    return int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)[1])


class Child:
    """An agent or a gateway."""

    def __init__(self, platform, folder, kind, *flags):
        self.folder = Path(folder) / kind
        self.folder.mkdir()
        self.words = [
            str(ASTRA), kind, "--server", platform.starlink, "--data", str(self.folder / "data"),
            "--ready-file", str(self.folder / "ready.json"), *flags,
        ]  # fmt: skip
        self.start()

    def start(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.text()
        self.ports = json.loads(ready.read_text())

    def text(self):
        return (self.folder / "log").read_text()

    def page(self, port, path="/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return answer.read().decode()

    def stop(self, signum=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signum)
            self.process.wait(20)
        self.log.close()


def agent(platform, folder, *flags):
    token = platform.data / "join.token"
    return Child(
        platform, folder, "agent", "--join-token-file", str(token), "--name", "real", "--cluster", "c1", "--http",
        "127.0.0.1:0", "--cpu", "1", "--memory", "1Gi", "--disk", "1Gi", "--ports-dir", str(folder), *flags,
    )  # fmt: skip


def node_of(platform, name):
    return next((n for n in api(platform, "GET", "/v1/nodes")["items"] if n["name"] == name), None)


def is_up(platform, name):
    node = node_of(platform, name)
    return node is not None and node["state"] == "UP" and node["connected"]


class Replicas:
    """What answers for every member of the played nodes."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # head and body in one piece

            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Load:
    """Steady requests; every answer but 200 is a failure."""

    def __init__(self, port, threads=3):
        self.port, self.done, self.failures, self._stop = port, 0, [], False
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stop:
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failures.append((round(time.monotonic(), 3), answer.status, body.decode(errors="replace")))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            self.done += 1
            time.sleep(0.002)

    def stop(self):
        self._stop = True
        for thread in self.threads:
            thread.join()


def test_certificates_are_renewed_over_the_link(tmp_path):
    with Platform(ASTRA, tmp_path, "--certificate-life", "3s") as p:
        a = agent(p, tmp_path)
        try:
            wait_for(lambda: is_up(p, "real"))
            attached = a.text().count("link.attached")
            wait_for(lambda: metric(a.page("agent"), "astra_agent_renewals_total") >= 3)
            assert metric(a.page("agent"), "astra_node_certificate_expired") == 0
            assert a.text().count("link.attached") == attached == 1, "never a new link for it"
            assert is_up(p, "real") and not node_of(p, "real")["identity"]["expired"]
            a.stop()
            a.start()  # with the certificate of its folder: it does not join again
            wait_for(lambda: is_up(p, "real"))
            assert a.text().count("identity.joined") == 1
        finally:
            a.stop()


def test_requests_do_not_pile_up(tmp_path):
    """A server that is away without being gone: a certificate of 3 s is asked for again after 1, 2 and 4 s, and no more."""
    with Platform(ASTRA, tmp_path, "--certificate-life", "3s") as p:
        a = agent(p, tmp_path)
        try:
            wait_for(lambda: is_up(p, "real"))
            issued = f"cert.issued msg=\"a certificate was issued\" id={node_of(p, 'real')['id']} "
            p.process.send_signal(signal.SIGSTOP)
            before = (tmp_path / "server.log").read_text().count(issued)
            time.sleep(8)
            p.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            assert 1 <= (tmp_path / "server.log").read_text().count(issued) - before <= 5
            wait_for(lambda: metric(a.page("agent"), "astra_node_certificate_expired") == 0)
        finally:
            p.process.send_signal(signal.SIGCONT)
            a.stop()


def test_an_ended_certificate_serves_on(tmp_path):
    """A node that does not renew: its link, its members, and a link that it opens later; it is shown and warned of."""
    with Platform(ASTRA, tmp_path, "--certificate-life", "1s") as p:
        node = p.node("late", cluster="c1")
        wait_for(lambda: node_of(p, "late")["identity"]["expired"])
        assert is_up(p, "late") and not node.link.closed
        assert metric(metrics(p), "astra_server_certificates_expired") == 1
        node.link.close()  # it attaches again by itself, with what it has
        wait_for(lambda: is_up(p, "late") and not node.link.closed)
        assert "code=cert.expired" in (tmp_path / "server.log").read_text()
        assert "have ended: late" in p.astra("doctor", status=None).stdout
        renew = Message("CERT_REQUEST", request=node.identity.request, cluster="c1")
        node.link.send(renew)  # within 7 lives of its end
        wait_for(lambda: metric(metrics(p), "astra_server_certificates_expired") == 0)
        time.sleep(9)  # and now it is later
        refused = metric(metrics(p), 'astra_server_refused_total{reason="token"}')
        node.link.send(renew)
        wait_for(lambda: metric(metrics(p), 'astra_server_refused_total{reason="token"}') == refused + 1)
        assert not node.link.closed and is_up(p, "late"), "what runs there runs on"
        secret = (p.data / "join.token").read_text().partition("-")[0]
        node.link.send(Message("CERT_REQUEST", request=node.identity.request, cluster="c1", token=secret))
        wait_for(lambda: metric(metrics(p), "astra_server_certificates_expired") == 0)


def test_an_agent_warns_of_its_end(tmp_path):
    """The server's authority is away for longer than a certificate lives; everything goes on by itself afterwards."""
    with Platform(ASTRA, tmp_path, "--certificate-life", "2s") as p:
        a = agent(p, tmp_path)
        try:
            wait_for(lambda: is_up(p, "real"))
            p.stop()
            wait_for(lambda: metric(a.page("agent"), "astra_node_certificate_expired") == 1)
            wait_for(lambda: "code=identity.expired" in a.text())
            time.sleep(1)
            assert a.text().count("code=identity.expired") == 1, "told once"
            p.start_again()
            wait_for(lambda: is_up(p, "real"))
            wait_for(lambda: metric(a.page("agent"), "astra_node_certificate_expired") == 0)
        finally:
            a.stop()


def test_rotation_under_load(tmp_path):
    """Two new CAs, renewals each second, tokens made and revoked, and a new join token: no request fails."""
    replicas = Replicas()
    with Platform(ASTRA, tmp_path, "--certificate-life", "3s") as p:
        token = p.data / "join.token"
        g = Child(p, tmp_path, "gateway", "--token-file", str(token), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                  "--access-log", "off")  # fmt: skip
        a = agent(p, tmp_path)
        load = None
        try:
            node = p.node("played", cluster="c1")
            node.port = replicas.port
            api(p, "PUT", "/v1/namespaces/default/artifacts/env@1", b"an environment")
            api(p, "PUT", "/v1/namespaces/default/apps/tiny", APP)
            wait_for(lambda: "200 OK" in probe(g.ports["gateway"]))
            load = Load(g.ports["gateway"])
            old_ca, old_token = p.ca, token.read_text()
            for _ in range(2):
                certificates = (a.folder / "data/cert.pem").read_text()
                p.astra("ca", "rotate")
                wait_for(lambda: (a.folder / "data/cert.pem").read_text() != certificates)  # noqa: B023
            p.ca = (p.data / "ca.pem").read_text()
            assert p.ca != old_ca and old_ca in p.ca, "the old one is trusted for a while"
            assert p.ca == json.loads((tmp_path / "client.json").read_text())["ca"]
            made = api(p, "POST", "/v1/tokens", {"role": "view"})
            api(p, "GET", "/v1/apps", token=made["token"])
            api(p, "DELETE", f"/v1/tokens/{made['id']}")
            # who knows only the first CA still finds the server, and who has the old pin may join
            context = ssl.create_default_context(cadata=old_ca)
            request = urllib.request.Request(p.api + "/healthz")
            assert urllib.request.urlopen(request, timeout=10, context=context).status == 200
            assert token.read_text() != old_token
            assert token.read_text().partition("-")[0] == old_token.partition("-")[0]
            # a new join token, and a server that starts with it: nobody who has joined needs it
            p.stop()
            token.unlink()
            p.start_again()
            wait_for(lambda: is_up(p, "real"))
            wait_for(lambda: metric(g.page("admin"), "astra_gateway_server_connected") == 1)
            with pytest.raises(TimeoutError):
                starlink.join(p.starlink, old_token.strip(), cluster="c1")
            time.sleep(2)
            load.stop()
            assert load.failures == [], (g.text(), g.page("admin", "/metrics"))
            assert load.done > 100
            assert metric(a.page("agent"), "astra_node_certificate_expired") == 0
        finally:
            if load:
                load.stop()
            a.stop()
            g.stop()
            replicas.close()


def probe(port):
    """The first line of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return f"{answer.status} {answer.reason}"


def test_a_platform_that_lost_its_folder(tmp_path):
    """Another CA in the same place: the agent knows it by the pin of the new join token, and joins again with its key."""
    with Platform(ASTRA, tmp_path) as p:
        a = agent(p, tmp_path)
        try:
            wait_for(lambda: is_up(p, "real"))
            id_ = node_of(p, "real")["id"]
            p.stop()
            for file in p.data.iterdir():
                if file.is_file():
                    file.unlink()
            p.start_again()
            wait_for(lambda: is_up(p, "real"))
            assert node_of(p, "real")["id"] == id_
        finally:
            a.stop()


def test_the_keys_are_ours_alone(tmp_path):
    with Platform(ASTRA, tmp_path) as p:
        a = agent(p, tmp_path)
        try:
            wait_for(lambda: is_up(p, "real"))
            secrets = [p.data / name for name in ("ca.key", "join.token", "api.token")] + [a.folder / "data/key.pem"]
            assert [oct(path.stat().st_mode & 0o777) for path in secrets] == ["0o600"] * 4
            with Client(p.starlink, None) as link:  # a stranger learns nothing but the chain
                link.send(Message("HELLO", node=node_of(p, "real")["id"], protocol_min=1, protocol_max=1))
                link.wait_closed()
        finally:
            a.stop()
