"""deploy/observability: rules that fire, a dashboard whose every query has data, metrics that exist; by a real Prometheus that
scrapes a real server, gateway and agent."""

import http.client
import http.server
import json
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from playlib import Platform, wait_for
from test_api import ASTRA, Api, app_doc, put_env, wait_ready

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "observability"
sys.path.insert(0, str(ROOT / "bench"))
from _peers import debian, free_port  # noqa: E402

RULES = sorted((HERE / "rules").glob("*.yml"))
METRIC = re.compile(r"\b(?:astra_\w+|up)\b(?=[\s{\[)]|$)")


@pytest.fixture(scope="module")
def programs():
    return debian("prometheus") / "usr" / "bin"


def alerts_of(path):
    return [r for g in yaml.safe_load(path.read_text())["groups"] for r in g["rules"]]


def alert_names():
    return [r["alert"] for path in RULES for r in alerts_of(path)]


def panel_queries():
    dashboard = json.loads((HERE / "grafana" / "astra.json").read_text())
    return [(p["title"], t["expr"]) for p in dashboard["panels"] for t in p["targets"]]


# ---- without a platform ----


def test_rules_are_right_and_each_fires(programs):
    subprocess.run([programs / "promtool", "check", "rules", *RULES], check=True, capture_output=True)
    tests = sorted((HERE / "tests").glob("*.yml"))
    done = subprocess.run([programs / "promtool", "test", "rules", *tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = [t["name"] for path in tests for t in yaml.safe_load(path.read_text())["tests"]]
    assert sorted(tested) == sorted(alert_names()), "each alert has a test, each test an alert"


def test_each_alert_is_in_the_page():
    page = (ROOT / "docs" / "operations.md").read_text()
    told = re.findall(r"^\| `(Astra\w+)` \| \S", page, re.M)
    assert sorted(told) == sorted(alert_names())
    for path in RULES:
        for rule in alerts_of(path):
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"] and rule["annotations"]["runbook"] == "docs/operations.md#alerts"


# ---- with one ----


class Replica(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"hello\n"
        self.send_response(500 if self.path.endswith("bad") else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class World:
    """A platform with traffic, and a Prometheus that looks at it each second."""

    def __init__(self, folder, programs):
        self.folder, self.processes = folder, []
        self.replica = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replica)
        threading.Thread(target=self.replica.serve_forever, daemon=True).start()
        (folder / "platform").mkdir()
        self.platform = Platform(ASTRA, folder / "platform")
        self.api = Api(self.platform, self.platform.token)
        self.node = self.platform.node("node-1", cluster="c1")
        self.node.port = self.replica.server_port
        self.spare = self.platform.node("node-2", cluster="c2", cpu=100)
        self.gateway = self.start("gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "off", "--data", folder / "gateway-data",
                                  "--server", self.platform.starlink, "--token-file", self.platform.data / "join.token")  # fmt: skip
        self.agent = self.start("agent", "--server", self.platform.starlink, "--join-token-file", self.platform.data / "join.token",
                                "--data", folder / "agent-data", "--http", "127.0.0.1:0", "--cpu", "1", "--memory", "1Gi",
                                "--name", "real", "--cluster", "c3")  # fmt: skip
        self.prometheus_start(programs)

    def start(self, role, *words):
        ready = self.folder / f"{role}.json"
        log = (self.folder / f"{role}.log").open("wb")
        process = subprocess.Popen([str(ASTRA), role, *map(str, words), "--ready-file", str(ready)], stderr=log)
        self.processes.append(process)
        wait_for(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, (self.folder / f"{role}.log").read_text()
        return process, json.loads(ready.read_text())

    def prometheus_start(self, programs):
        """The configuration and rules that are delivered; but each second, at these addresses, and without waiting."""
        config = yaml.safe_load((HERE / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (self.folder / "rules").mkdir()
        for path in RULES:
            text = re.sub(r"^( +for:) .*$", r"\1 0s", path.read_text(), flags=re.M)
            (self.folder / "rules" / path.name).write_text(text)
        targets = {"astra-server": self.platform.api.removeprefix("https://"),
                   "astra-gateway": f"127.0.0.1:{self.gateway[1]['admin']}", "astra-agent": f"127.0.0.1:{self.agent[1]['agent']}"}  # fmt: skip
        token = self.folder / "token"
        token.write_text(self.api.ok("POST", "/v1/tokens", {"role": "view"})["token"])
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
            if "authorization" in job:
                job["authorization"]["credentials_file"] = str(token)
                job["tls_config"]["ca_file"] = str(self.platform.data / "ca.pem")
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.port = free_port()
        self.processes.append(
            subprocess.Popen(
                [programs / "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/tsdb",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"],
                stderr=(self.folder / "prometheus.log").open("wb"),
            )
        )  # fmt: skip
        wait_for(lambda: self.ask("targets?state=active") is not None, 90, 0.2)

    def ask(self, what):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expr):
        return (self.ask("query?" + urllib.parse.urlencode({"query": expr})) or {}).get("result", [])

    def firing(self):
        return {a["labels"]["alertname"] for a in (self.ask("alerts") or {}).get("alerts", []) if a["state"] == "firing"}

    def traffic(self, path, n):
        for _ in range(n):
            connection = http.client.HTTPConnection("127.0.0.1", self.gateway[1]["gateway"], timeout=10)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)
        self.platform.close()
        self.replica.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory, programs):
    w = World(tmp_path_factory.mktemp("observability"), programs)
    yield w
    w.close()


def test_what_a_platform_tells(world):
    """In one go, because causes add up: at rest nothing fires; then each cause fires its alert; then every query has data."""
    put_env(world.api)
    world.api.ok("PUT", "/v1/namespaces/default/apps/tiny", app_doc())
    wait_ready(world.api, 1)
    wait_for(lambda: all(t["health"] == "up" for t in world.ask("targets?state=active")["activeTargets"]), 90, 0.3)
    world.traffic("/good", 30)
    wait_for(lambda: world.query('astra_server_app_requests_total{outcome="ok"} == 30'), 90, 0.3)
    wait_for(lambda: world.firing() == set(), 90, 0.5)

    world.traffic("/bad", 20)
    wait_for(lambda: {"AstraGatewayErrors", "AstraSuccessLow"} <= world.firing(), 90, 0.5)
    world.api.ok("PUT", "/v1/namespaces/default/apps/huge", app_doc("huge", head={"cpu": 64, "memory": "2Gi"}))
    wait_for(lambda: {"AstraNoCapacity", "AstraAppDown", "AstraAppBelowUnits"} <= world.firing(), 90, 0.5)
    world.spare.close()
    wait_for(lambda: "AstraAgentSilent" in world.firing(), 90, 0.5)

    known = set(world.ask("label/__name__/values"))
    exprs = panel_queries() + [(r["alert"], r["expr"]) for path in RULES for r in alerts_of(path)]
    for name, expr in exprs:
        used = set(METRIC.findall(expr))
        assert used and used <= known, f"{name}: no such metric: {used - known}"
    empty = [t for t, e in panel_queries() if not world.query(e.replace("$__rate_interval", "1m").replace("$app", ".*"))]
    assert empty == [], "panels without data"

    world.agent[0].terminate()
    world.agent[0].wait(20)
    wait_for(lambda: "AstraTargetDown" in world.firing(), 90, 0.5)
    world.gateway[0].terminate()
    world.gateway[0].wait(20)
    wait_for(lambda: "AstraNoGateway" in world.firing(), 90, 0.5)
