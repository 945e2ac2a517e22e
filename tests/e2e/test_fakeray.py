"""The stand-in for Ray is strict: what it is asked for word by word, and what it answers."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import fakeraylib
import pytest
from proclib import wait_for

TOKEN = "0f" * 32
APP = """
from ray import serve

@serve.deployment(max_ongoing_requests=2, max_queued_requests=0)
class App:
    async def __call__(self, request):
        import asyncio
        await asyncio.sleep(float(request.query_params.get("sleep", 0)))
        return "hello"

app = App.bind()
"""


@pytest.fixture
def member(tmp_path):
    """The environment, unpacked, and the right command line and variables of a head."""
    for name, text in fakeraylib.tree().items():
        path = tmp_path / "env" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "env/bin/python3").chmod(0o755)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text(APP)
    base = 18000 + os.getpid() % 10 * 100
    temp = f"/tmp/fr{os.getpid()}"
    ports = ("port ray-client-server-port dashboard-port node-manager-port object-manager-port dashboard-agent-listen-port "
             "dashboard-agent-grpc-port runtime-env-agent-port metrics-export-port min-worker-port max-worker-port").split()  # fmt: skip
    words = {f"--{name}": base + i for i, name in enumerate(ports)}
    words |= {"--node-ip-address": "127.9.9.9", "--dashboard-host": "127.9.9.9", "--include-dashboard": "true", "--temp-dir": temp}
    words |= {"--object-store-memory": 80 << 20, "--memory": 1 << 30, "--num-cpus": 2, "--num-gpus": 0}
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": tmp_path / "token", "RAY_SERVE_ENABLE_DIRECT_INGRESS": 1}
    env |= {"RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": base + 20, "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": base + 39}
    env |= {name: "x" for name in ("HOME", "ASTRA_CLAIM", "ASTRA_UNIT", "ASTRA_MEMBER", "ASTRA_REVISION", "ASTRA_MODELS")}
    env |= {"TMPDIR": "/tmp", "PYTHONPATH": tmp_path / "code", "FAKERAY_STRICT": tmp_path / "strict", "PATH": os.environ["PATH"]}
    env |= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": 0}
    yield tmp_path, words, env, base
    subprocess.run(["rm", "-rf", temp], check=True)


def start(member, change=None, variables=None, **options):
    folder, words, env, _ = member
    words = {**words, **(change or {})}
    line = [f"{flag}={value}" for flag, value in words.items() if value is not None]
    env = {name: str(value) for name, value in {**env, **(variables or {})}.items() if value is not None}
    command = [folder / "env/bin/python3", "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats", *line]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"--no-such": 1}, "No such option: --no-such"),
        ({"--num-cpus": "0.5"}, "'0.5' is not a valid integer"),
        ({"--address": "127.1.1.1:1"}, "--address of a head"),
        ({"--metrics-export-port": None}, "metrics_export_port"),
        ({"--metrics-export-port": 29000}, "outside of one block"),
        ({"--node-ip-address": "127.0.0.1"}, "outer address"),
        ({"--temp-dir": "/tmp/" + "x" * 40}, "AF_UNIX path length"),
        ({"--object-store-memory": 1 << 20}, "the minimum allowed is 78643200 bytes"),
    ],
)
def test_refused_words(member, change, words):
    process = start(member, change)
    said = process.communicate(timeout=10)[0]
    assert process.returncode in (1, 2) and words in said


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"RAY_AUTH_MODE": "disabled"}, "anyone could run code here"),
        ({"RAY_AUTH_TOKEN": TOKEN}, "can be read by any process"),
        ({"RAY_AUTH_TOKEN_PATH": None}, "no authentication token was found"),
        ({"RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": 30000}, "outside of the member's block"),
        ({"ASTRA_CLAIM": None}, "no ASTRA_CLAIM"),
    ],
)
def test_refused_environment(member, variables, words):
    process = start(member, variables=variables)
    assert words in process.communicate(timeout=10)[0] and process.returncode == 1


def call(member, method, path, body=None, token=TOKEN, port=None):
    request = urllib.request.Request(f"http://127.9.9.9:{port or member[3] + 2}{path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None, ""


def test_a_head_from_start_to_end(member):
    began = time.monotonic()
    process = start(member)
    path = "/api/serve/applications/"
    try:
        wait_for("the dashboard", lambda: call(member, "GET", path)[0] == 200)
        assert time.monotonic() - began < 10  # half a second where nothing else runs
        assert call(member, "GET", path, token=None) == (401, "Unauthorized: Missing authentication token")
        assert call(member, "GET", path, token="x") == (403, "Forbidden: Invalid authentication token")
        config = {"proxy_location": "HeadOnly", "http_options": {"host": "127.9.9.9", "port": member[3] + 15},
                  "grpc_options": {"port": member[3] + 16}, "applications": [{"name": "a", "import_path": "app:app"}]}  # fmt: skip
        assert call(member, "PUT", path, {**config, "applications": config["applications"] * 2})[0] == 400
        assert call(member, "PUT", path, {**config, "warmUp": {}})[0] == 200
        assert "unknown fields: {'warmUp'}" in (member[0] / "strict").read_text()
        wait_for("RUNNING", lambda: json.loads(call(member, "GET", path)[1])["applications"]["a"]["status"] == "RUNNING")
        group = json.loads(call(member, "GET", path)[1])["target_groups"][0]
        target = group["targets"][0]
        assert target["name"].startswith("SERVE_REPLICA::a#App#") and member[3] + 20 <= target["port"] <= member[3] + 39
        assert call(member, "GET", "/x", port=target["port"])[1] == "hello"
        assert call(member, "GET", "/-/healthz", port=target["port"]) == (200, "success")
        pid = json.loads(call(member, "GET", path)[1])["applications"]["a"]["deployments"]["App"]["replicas"][0]["pid"]
        os.kill(pid, 9)
        time.sleep(0.3)
        assert json.loads(call(member, "GET", path)[1])["target_groups"][0]["targets"] == [target]  # listed for 1.7 s more
        fresh = wait_for("another", lambda: [t for t in json.loads(call(member, "GET", path)[1])["target_groups"][0]["targets"]
                                             if t != target and t["name"].startswith("SERVE_REPLICA")])  # fmt: skip
        assert fresh[0]["port"] != target["port"]
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert call(member, "GET", "/x", port=target["port"])[0] is None
