"""The HTTP API of a real server, with nodes played in Python: no Ray."""

import contextlib
import hashlib
import http.client
import json
import re
import socket
import sqlite3
import ssl
import threading
import time

import pytest
from paths import ASTRA
from playlib import Platform, wait_for
from starlink import Client, Message

ENV = b"an environment"


class Api:
    """Calls with one token."""

    def __init__(self, platform, token):
        self.host, self.token = platform.api.removeprefix("https://"), token
        self.context = ssl.create_default_context(cadata=platform.ca)

    def open(self, method, path, body=None, timeout_s=20, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPSConnection(self.host, timeout=timeout_s, context=self.context)
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def call(self, method, path, body=None, **headers):
        """(status, JSON or bytes, headers)"""
        answer = self.open(method, path, body, **headers)
        if answer.headers["Content-Type"] == "text/event-stream":
            return answer.status, b"", answer.headers  # it never ends
        data = answer.read()
        is_json = "json" in (answer.headers["Content-Type"] or "")
        return answer.status, json.loads(data) if is_json and data else data, answer.headers

    def ok(self, method, path, body=None, **headers):
        status, value, _ = self.call(method, path, body, **headers)
        assert status in (200, 201), (method, path, status, value)
        return value

    def items(self, path):
        return self.ok("GET", path)["items"]

    def watch(self, path, timeout_s=20):
        """Server-sent events as (id, event, data)."""
        answer = self.open("GET", path, timeout_s=timeout_s)
        assert answer.status == 200, answer.read()
        event = {}
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if line == b"\n" and event:
                yield event.get("id"), event.get("event"), json.loads(event["data"])
                event = {}
            elif name and name[0] != ":":
                event[name] = value


def restart(platform):
    platform.stop()
    platform.start_again()


@pytest.fixture
def platform(tmp_path):
    with Platform(ASTRA, tmp_path) as p:
        yield p


@pytest.fixture
def api(platform):
    return Api(platform, platform.token)


def put_env(api, namespace="default", name="env@1", data=ENV):
    return api.ok("PUT", f"/v1/namespaces/{namespace}/artifacts/{name}", data)


def app_doc(name="tiny", units=1, **spec):
    return {
        "apiVersion": "astra-ray.dev/v1alpha1",
        "kind": "App",
        "metadata": {"name": name},
        "spec": {
            "units": units,
            "environment": [{"artifact": "env@1"}],
            "rollout": {"bake": "0s"},
            "serve": {"applications": [{"name": "app", "import_path": "app:app", "route_prefix": "/"}]},
            **spec,
        },
    }


APP = "/v1/namespaces/default/apps/tiny"


def deploy(api, units=1, **spec):
    put_env(api)
    return api.ok("PUT", APP, app_doc(units=units, **spec))


def wait_ready(api, units, path=APP):
    def is_ready():
        status = api.ok("GET", path)["status"]
        return status["units"]["updated"] == units == status["units"]["total"] and not status["rolling"] and status

    return wait_for(is_ready)


def leftovers(platform):
    return [p for p in (platform.data / "artifacts").rglob("*") if p.is_file()]


# ---- who may ----


def test_token(platform):
    stranger = Api(platform, None)
    assert stranger.call("GET", "/healthz")[0] == 200
    for path in ("/v1/apps", "/v1/version", "/metrics", "/v1/no/such/path"):
        status, problem, headers = stranger.call("GET", path)
        assert (status, problem["code"], headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer"), path
    assert Api(platform, platform.token[:-1] + "x").call("GET", "/v1/apps")[0] == 401
    assert Api(platform, "").call("GET", "/v1/apps")[0] == 401


def test_roles(platform, api):
    made = {
        role: Api(platform, api.ok("POST", "/v1/tokens", {"role": role, "namespace": "ns1"})["token"])
        for role in ("view", "deploy", "admin")
    }
    view, deployer, admin = made["view"], made["deploy"], made["admin"]
    assert view.call("GET", "/v1/namespaces/ns1/apps")[0] == 200
    assert view.call("GET", "/v1/namespaces/default/apps")[0] == 403
    assert view.call("PUT", "/v1/namespaces/ns1/artifacts/env@1", ENV)[0] == 403
    assert put_env(deployer, "ns1")["bytes"] == len(ENV)
    assert deployer.call("PUT", "/v1/namespaces/default/artifacts/env@1", ENV)[0] == 403
    assert deployer.call("GET", "/v1/tokens")[0] == 403
    assert admin.call("GET", "/v1/tokens")[0] == 403, "a namespace's administrator does not make tokens for all"
    assert admin.call("POST", "/v1/nodes/x/cordon")[0] == 403
    deploy(api)
    assert view.items("/v1/apps") == [] and len(api.items("/v1/apps")) == 1
    assert view.items("/v1/events") == []


def test_tokens_live_and_end(platform, api):
    forever = api.ok("POST", "/v1/tokens", {"role": "view", "name": "a dashboard"})
    short = api.ok("POST", "/v1/tokens", {"role": "view", "expires": "300ms"})
    assert forever["token"] not in json.dumps(api.items("/v1/tokens")), "the secret is told once"
    wait_for(lambda: Api(platform, short["token"]).call("GET", "/v1/apps")[0] == 401)
    restart(platform)
    assert Api(platform, forever["token"]).call("GET", "/v1/apps")[0] == 200
    assert b"astra-" not in b"".join(p.read_bytes() for p in platform.data.glob("astra.db*"))
    Api(platform, platform.token).ok("DELETE", f"/v1/tokens/{forever['id']}")
    assert Api(platform, forever["token"]).call("GET", "/v1/apps")[0] == 401
    restart(platform)
    assert Api(platform, forever["token"]).call("GET", "/v1/apps")[0] == 401


# ---- bad input ----


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/v1/nothing", None, {}, 404, "not_found"),
        ("GET", APP, None, {}, 404, "not_found"),
        ("GET", "/v1/nodes/nobody", None, {}, 404, "not_found"),
        ("PATCH", APP, None, {}, 405, "method_not_allowed"),
        ("POST", "/v1/apps", {}, {}, 405, "method_not_allowed"),
        ("PUT", APP, b"{", {"Content_Type": "application/json"}, 400, "invalid"),
        ("PUT", APP, b"[]", {"Content_Type": "application/json"}, 400, "invalid"),
        ("PUT", APP, b"kind: App", {"Content_Type": "application/yaml"}, 415, "unsupported_media_type"),
        pytest.param("PUT", APP, b" " * (8 << 20) + b"{}", {"Content_Type": "application/json"}, 413, "too_large", id="body-too-large"),
        pytest.param("GET", APP, None, {"X_Long": "x" * 70000}, 431, "headers_too_large", id="headers-too-large"),
        ("GET", "/v1/namespaces/Not_A_Name/apps", None, {}, 400, "invalid"),
        ("GET", "/v1/apps?limit=0", None, {}, 400, "invalid"),
        ("GET", "/v1/apps?watch&since=other.1", None, {}, 410, "gone"),
        ("GET", "/v1/events?since=other.1", None, {}, 410, "gone"),
        ("PUT", "/v1/namespaces/default/artifacts/noversion", b"x", {}, 400, "invalid"),
        ("PUT", "/v1/namespaces/default/artifacts/a@..%2Fb", b"x", {}, 400, "invalid"),
        ("GET", "/v1/namespaces/default/artifacts/none@1", None, {}, 404, "not_found"),
        ("POST", "/v1/tokens", {"role": "king"}, {}, 400, "invalid"),
    ],
)
def test_bad_input(api, method, path, body, headers, status, code):
    found, problem, answer = api.call(method, path, body, **headers)
    assert (found, problem["code"], problem["status"]) == (status, code, status), problem
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["type"] == f"urn:astra:problem:{code}" and problem["detail"]
    if status == 405:
        assert "GET" in answer["Allow"]


def test_every_error_of_an_app_at_once(api):
    doc = app_doc(unitz=2, head={"cpu": "many"})
    doc["spec"]["models"] = {"det": {"source": "none@1"}}
    status, problem, _ = api.call("PUT", APP, doc)
    fields = {e["field"] for e in problem["errors"]}
    assert status == 422 and {"spec.unitz", "spec.head.cpu"} <= fields, problem
    assert any("units" in e.get("hint", "") + e["detail"] for e in problem["errors"] if e["field"] == "spec.unitz")
    doc = app_doc()
    doc["spec"]["models"] = {"det": {"source": "none@1"}}
    status, problem, _ = api.call("PUT", APP, doc)
    assert status == 422 and {e["field"] for e in problem["errors"]} == {"spec.environment[0]", "spec.models.det.source"}
    assert api.items("/v1/apps") == []


def test_the_path_names_the_app(api):
    put_env(api)
    status, problem, _ = api.call("PUT", APP, app_doc("other"))
    assert status == 422 and problem["field"] == "metadata.name"


# ---- artifacts ----


def test_artifact(platform, api):
    data = bytes(range(256)) * 40000
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    base = "/v1/namespaces/default/artifacts"
    assert api.call("HEAD", f"{base}/{digest}")[0] == 404
    made = api.ok("PUT", f"{base}/det@4", data, X_Astra_Digest=digest)
    assert (made["digest"], made["bytes"]) == (digest, len(data))
    assert api.ok("PUT", f"{base}/det@4", data)["digest"] == digest, "the same again is no conflict"
    status, problem, _ = api.call("PUT", f"{base}/det@4", b"others")
    assert (status, problem["code"]) == (409, "conflict")
    for name in ("det@4", "det", digest):
        status, got, headers = api.call("GET", f"{base}/{name}")
        assert status == 200 and got == data and headers["X-Astra-Digest"] == digest, name
    status, got, headers = api.call("HEAD", f"{base}/{digest}")
    assert (status, got, headers["Content-Length"]) == (200, b"", str(len(data)))
    assert [(a["name"], a["version"]) for a in api.items(base)] == [("det", "4")]
    restart(platform)
    assert Api(platform, platform.token).call("GET", f"{base}/det@4")[1] == data


def test_artifact_of_another_digest_leaves_nothing(platform, api):
    status, problem, _ = api.call(
        "PUT", "/v1/namespaces/default/artifacts/det@1", b"bytes", X_Astra_Digest="sha256:" + "0" * 64
    )
    assert (status, problem["code"]) == (422, "artifact.digest_mismatch")
    wait_for(lambda: leftovers(platform) == [])


def test_cut_upload_leaves_nothing(platform, api):
    host, port = api.host.split(":")
    with socket.create_connection((host, int(port))) as tcp, api.context.wrap_socket(tcp, server_hostname=host) as s:
        s.sendall(
            f"PUT /v1/namespaces/default/artifacts/det@1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n"
            "Content-Length: 20000000\r\n\r\n".encode()
        )
        s.sendall(b"x" * 9000000)
        wait_for(lambda: leftovers(platform) != [])
    wait_for(lambda: leftovers(platform) == [])
    assert api.items("/v1/namespaces/default/artifacts") == []


# ---- apps ----


def test_deleted_as_it_becomes_ready(platform, api):
    """A revision that proves itself while its app is being deleted changes nothing any more."""
    platform.node("n", cpu=100_000, memory=256 << 30)
    put_env(api)

    paths = [f"/v1/namespaces/default/apps/brief-{i}" for i in range(30)]

    def at_once(method):
        body = {path: app_doc(path.rsplit("/", 1)[1]) if method == "PUT" else None for path in paths}
        threads = [threading.Thread(target=api.ok, args=(method, path, body[path])) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for pause_s in (0.02, 0.04, 0.06, 0.08):
        at_once("PUT")
        time.sleep(pause_s)  # a unit takes three steps of 50 ms
        at_once("DELETE")
        wait_for(lambda: not api.items("/v1/apps"))
    assert platform.process.poll() is None


def test_deploy_scale_undo_delete(platform, api):
    platform.node("node-1", cluster="c1")
    platform.node("node-2", cluster="c2")
    first = deploy(api, units=1)
    assert first["newRevision"] and first["metadata"]["namespace"] == "default"
    assert wait_ready(api, 1)["state"] == "READY"
    unit = api.items(f"{APP}/units")[0]
    assert (unit["state"], unit["revision"], unit["routing"]) == ("READY", 1, "UP") and unit["endpoints"][0]["port"]
    assert unit["members"][0]["nodeName"] == unit["nodeName"] in ("node-1", "node-2")
    assert api.ok("GET", f"{APP}/units/{unit['name']}")["inFlight"] == 0

    again = api.ok("PUT", APP, app_doc(units=1))
    assert not again["newRevision"] and not again["changed"]

    api.ok("POST", f"{APP}/scale", {"units": 2})
    wait_ready(api, 2)
    assert {u["cluster"] for u in api.items(f"{APP}/units")} == {"c1", "c2"}
    assert api.call("POST", f"{APP}/scale", {"units": -1})[0] == 400
    assert api.call("POST", f"{APP}/scale", {})[0] == 400

    second = deploy(api, units=2, env=[{"name": "A", "value": "1"}])
    assert second["newRevision"] and second["status"]["wantedRevision"] == 2
    wait_ready(api, 2)
    assert {u["revision"] for u in api.items(f"{APP}/units")} == {2}

    api.ok("POST", f"{APP}/rollout/undo", {})
    wait_for(lambda: {u["revision"] for u in api.items(f"{APP}/units")}.isdisjoint({2}))
    history = api.items(f"{APP}/revisions")
    assert [r["number"] for r in history][:2] == [1, 2] and sum(r["current"] for r in history) == 1
    assert any("READY" in (e["message"] or "") or e["object"].startswith("unit") for e in api.items(f"{APP}/events"))

    api.ok("DELETE", APP)
    wait_for(lambda: api.call("GET", APP)[0] == 404)
    wait_for(lambda: all(n["claims"] == [] for n in api.items("/v1/nodes")))


def test_if_match(api):
    put_env(api)
    status, app, headers = api.call("PUT", APP, app_doc())
    tag = headers["ETag"]
    assert status == 201 and tag == f'"{app["metadata"]["resourceVersion"]}"'
    assert api.call("GET", APP)[2]["ETag"] == tag
    changed = api.call("PUT", APP, app_doc(units=2), If_Match=tag)
    assert changed[0] == 200 and changed[2]["ETag"] != tag
    for call in (("PUT", APP, app_doc(units=3)), ("POST", f"{APP}/scale", {"units": 3}), ("DELETE", APP, None)):
        status, problem, _ = api.call(*call, If_Match=tag)
        assert (status, problem["code"]) == (412, "precondition_failed"), call
    assert api.ok("GET", APP)["spec"]["units"] == 2


def test_a_repeated_write_counts_once(api):
    deploy(api)
    first = api.call("POST", f"{APP}/scale", {"units": 2}, Idempotency_Key="k1")
    api.ok("POST", f"{APP}/scale", {"units": 3})
    again = api.call("POST", f"{APP}/scale", {"units": 2}, Idempotency_Key="k1")
    assert again[0] == first[0] and again[1] == first[1] and again[2]["Idempotent-Replayed"] == "true"
    assert api.ok("GET", APP)["spec"]["units"] == 3


def scale(api, units, key, **headers):
    return api.call("POST", f"{APP}/scale", {"units": units}, Idempotency_Key=key, **headers)


def units_of(api):
    return api.ok("GET", APP)["spec"]["units"]


def replays_of(store, change=None):
    """The records of keys in a store that no server has; change: SQL first."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        if change:
            db.execute(change)
            db.commit()
        rows = db.execute("SELECT value FROM entry WHERE key LIKE '/default/replay/%'").fetchall()
    return [json.loads(value) for (value,) in rows]


def test_a_write_is_repeated_over_a_crash(platform, api):
    """The first answer comes again from the next server; another request with the key is refused, and another caller has
    keys of his own."""
    deploy(api)
    other = Api(platform, api.ok("POST", "/v1/tokens", {"role": "admin"})["token"])
    token = {"role": "view", "name": "ci"}
    made = api.call("POST", "/v1/tokens", token, Idempotency_Key="k")
    first, missing = scale(api, 2, "k"), api.call("DELETE", "/v1/namespaces/default/apps/none", Idempotency_Key="k")
    assert (made[0], first[0], missing[0]) == (201, 200, 404)
    scale(api, 3, "k3")
    platform.crash()
    platform.start_again()
    again = scale(api, 2, "k")
    assert again[:2] == first[:2] and again[2]["ETag"] == first[2]["ETag"] and again[2]["Idempotent-Replayed"] == "true"
    assert units_of(api) == 3
    assert api.call("POST", "/v1/tokens", token, Idempotency_Key="k")[1] == made[1]
    assert api.call("DELETE", "/v1/namespaces/default/apps/none", Idempotency_Key="k")[:2] == missing[:2]
    assert [t["name"] for t in api.items("/v1/tokens")].count("ci") == 1
    assert Api(platform, made[1]["token"]).call("GET", "/v1/apps")[0] == 200
    status, problem, _ = scale(api, 4, "k")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert scale(other, 5, "k")[0] == 200 and units_of(api) == 5
    platform.crash()
    store = platform.data / "astra.db"
    assert len(replays_of(store)) == 5
    assert made[1]["token"].encode() not in b"".join(p.read_bytes() for p in platform.data.glob("astra.db*"))
    # Some end, the others have a mark alone, as if the server had died before it answered.
    over = "UPDATE entry SET value = json_set(value, '$.until', 1) WHERE key LIKE '/default/replay/%' AND "
    replays_of(store, over + "revision = (SELECT max(revision) FROM entry WHERE key LIKE '/default/replay/%')")
    replays_of(store, "UPDATE entry SET value = json_remove(value, '$.sealed') WHERE key LIKE '/default/replay/%'")
    platform.start_again()
    now = scale(api, 2, "k")
    assert now[0] == 200 and now[1]["spec"]["units"] == 5 == units_of(api), "carried out before, so told as it is now"
    wait_for(lambda: b"astra_server_idempotency_keys 4\n" in api.call("GET", "/metrics")[1])
    assert scale(other, 6, "k")[0] == 200 and units_of(api) == 6, "that key was over"
    platform.stop()
    assert len(replays_of(store)) == 5
    platform.start_again()


def wal_commits(wal):
    """The lengths of a write-ahead log at which a transaction is whole (https://sqlite.org/fileformat2.html#walformat)."""
    page = int.from_bytes(wal[8:12], "big")
    ends = range(32 + 24 + page, len(wal) + 1, 24 + page)
    salt = wal[16:24]
    frames = [(end, wal[end - page - 24 : end - page]) for end in ends]
    return [end for end, head in frames if head[8:16] == salt and int.from_bytes(head[4:8], "big") != 0]


def test_a_write_and_its_key_are_one_transaction(platform, api, tmp_path):
    """P7. In whatever state a crash leaves the store: the write is there if and only if its key is."""
    deploy(api)
    platform.stop()
    platform.start_again()
    assert scale(api, 7, "scale")[0] == 200
    api.ok("PUT", APP, app_doc(units=8, head={"cpu": 2}), Idempotency_Key="put")
    api.ok("POST", f"{APP}/rollout/undo", {}, Idempotency_Key="undo")
    api.ok("POST", "/v1/tokens", {"role": "view"}, Idempotency_Key="token")
    api.ok("DELETE", APP, Idempotency_Key="delete")
    platform.crash()
    store, wal = platform.data / "astra.db", (platform.data / "astra.db-wal").read_bytes()
    seen = []
    for end in wal_commits(wal):
        (tmp_path / "crash.db").write_bytes(store.read_bytes())
        (tmp_path / "crash.db-wal").write_bytes(wal[:end])
        with contextlib.closing(sqlite3.connect(tmp_path / "crash.db")) as db:
            rows = {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM entry")}
        app = next((value for key, value in rows.items() if "/app/" in key), {"generation": 5})
        writes = app["generation"] - 1 + sum("/token/" in key for key in rows)
        assert writes == sum("/replay/" in key for key in rows), rows.keys()
        seen.append(writes)
    assert sorted(set(seen)) == [0, 1, 2, 3, 4, 5]
    platform.start_again()


def test_dry_run(api):
    put_env(api)
    answer = api.ok("PUT", f"{APP}?dryRun=1", app_doc())
    assert answer["dryRun"] and answer["app"]["spec"]["head"]["memory"]
    assert api.items("/v1/apps") == []


def test_a_failure_is_told(platform, api):
    node = platform.node("node-1", cluster="c1")
    text = "ImportError: no module named 'page'\n  in app.py, line 3"
    node.behave = lambda claim: ("EXITED", "IMPORT_FAILED", text)
    deploy(api)
    status = wait_for(lambda: (s := api.ok("GET", APP)["status"])["units"]["failed"] and s)
    assert text in status["lastFailure"]
    lines = "\n".join(api.ok("GET", f"{APP}/explain")["lines"])
    assert "FAILED" in lines and "ImportFailed" in lines and "no module named 'page'" in lines


def test_no_room_is_explained(platform, api):
    platform.node("node-1", cluster="c1", cpu=500)
    platform.node("node-2", cluster="c1", memory=1 << 30)
    deploy(api, head={"cpu": 2, "memory": "2Gi"})

    def explained():
        answer = api.ok("GET", f"{APP}/explain")
        return "NoCapacity" in "\n".join(answer["lines"]) and answer

    answer = wait_for(explained)
    (unit,) = answer["units"]
    assert unit["reason"] == "NoCapacity" and unit["retryAt"]
    place = unit["placement"]
    assert (place["member"], place["fits"], place["nodesLookedAt"]) == ("head", False, 2)
    assert place["wants"]["cpu"] == "2" and place["counts"] == {"CPU": 1, "MEMORY": 1}
    near, far = place["nodes"]
    assert (near["name"], near["why"], near["lacking"]["memory"]) == ("c1/node-2", "MEMORY", "1Gi")
    assert (far["name"], far["why"], far["lacking"]["cpu"]) == ("c1/node-1", "CPU", "1.5")
    lines = "\n".join(answer["lines"])
    assert "next try in" in lines and lines.index("c1/node-2  lacks memory 1Gi") < lines.index("c1/node-1  lacks cpu 1.5")
    assert api.ok("GET", f"{APP}/explain?unit={unit['name']}")["units"][0]["placement"]["nodes"] == place["nodes"]
    platform.node("node-3", cluster="c1")
    wait_ready(api, 1)
    assert api.ok("GET", f"{APP}/explain")["units"] == []


def test_what_is_said_again_is_folded(platform, api):
    platform.node("node-1", cluster="c1", cpu=500)
    since = api.ok("GET", "/v1/events")["revision"]
    deploy(api, head={"cpu": 2, "memory": "2Gi"})
    for n in range(4):  # each newcomer makes the unit look for room again
        refused = wait_for(lambda: [e for e in api.items(f"{APP}/events") if e["reason"] == "NoCapacity"])
        wait_for(lambda: sum(e["count"] for e in api.items(f"{APP}/events") if e["reason"] == "NoCapacity") > n)
        platform.node(f"small-{n}", cluster="c1", cpu=500)
    (refused,) = wait_for(lambda: [e for e in api.items(f"{APP}/events") if e["count"] > 3 and e["reason"] == "NoCapacity"])
    assert refused["firstTime"] < refused["time"] and "no node has room for head" in refused["message"]
    events = api.items(f"{APP}/events")
    assert [e["count"] for e in events if "revision 1 deployed" in e["message"]] == [1]
    assert len([e for e in events if e["object"] == refused["object"]]) <= 3, "planned, a try, its refusal"
    assert re.search(r"no node has room .* \(\d+ times since \d{4}-", platform.astra("events", "tiny").stdout)
    watch = api.watch(f"/v1/events?watch&since={since}")
    told = next(d for _, _, d in watch if d["reason"] == "NoCapacity")
    assert told["count"] > 3, "who comes later hears it once, with its count"


# ---- lists and watches ----


def test_pages(api):
    put_env(api)
    for i in range(5):
        api.ok("PUT", f"/v1/namespaces/default/apps/app-{i}", app_doc(f"app-{i}", units=0))
    names, path = [], "/v1/apps?limit=2"
    while path:
        page = api.ok("GET", path)
        assert len(page["items"]) <= 2
        names += [a["metadata"]["name"] for a in page["items"]]
        path = f"/v1/apps?limit=2&continue={page['continue']}" if page["continue"] else None
    assert names == [f"app-{i}" for i in range(5)]


def test_watch(platform, api):
    since = api.ok("GET", f"{'/v1/units'}")["revision"]
    seen = []

    def follow():
        for id_, event, data in api.watch(f"/v1/units?watch&since={since}"):
            seen.append((id_, event, data))

    threading.Thread(target=follow, daemon=True).start()
    platform.node("node-1", cluster="c1")
    deploy(api)
    wait_for(lambda: any(e == "put" and d["state"] == "READY" for _, e, d in seen))
    middle = seen[-1][0]
    api.ok("POST", f"{APP}/scale", {"units": 0})
    wait_for(lambda: any(e == "delete" for _, e, d in seen))
    numbers = [int(id_.split(".")[1]) for id_, _, _ in seen]
    assert numbers == sorted(set(numbers)), "ids only rise"
    rest = next(api.watch(f"/v1/units?watch&since={middle}"))
    assert rest[1] in ("put", "delete"), "a cursor goes on where it was"


def test_watch_goes_on_from_last_event_id(platform, api):
    deploy(api, units=0)
    first = next(api.watch("/v1/apps?watch=1"))
    api.ok("POST", f"{APP}/scale", {"units": 1})
    answer = api.open("GET", "/v1/apps?watch=1", Accept="text/event-stream", Last_Event_ID=first[0])
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    lines = [answer.readline().decode().strip() for _ in range(3)]
    assert lines[0].startswith("id: ") and lines[0] != f"id: {first[0]}" and '"units":1' in lines[2]


def looked(api):
    (line,) = [x for x in api.ok("GET", "/metrics").decode().splitlines() if x.startswith("astra_server_api_looked_total ")]
    return int(line.split()[1])


def test_a_fleet_at_rest_is_not_looked_at(platform, api):
    """P8: what is looked at follows from what changes, not from how much there is or how long somebody watches."""
    for i in range(3):
        platform.node(f"node-{i}", cluster="c1")
    deploy(api, units=3)
    wait_ready(api, 3)
    seen = []
    threading.Thread(target=lambda: seen.extend(iter_until(api.watch("/v1/nodes?watch"), "far")), daemon=True).start()
    wait_for(lambda: len(seen) == 3)

    def at_rest():  # seven beats of each node: nothing of them is seen in a list
        before = looked(api)
        time.sleep(1.5)
        return looked(api) == before and before

    before = wait_for(at_rest)
    platform.astra("cordon", platform.nodes[0].id)
    wait_for(lambda: len(seen) == 4)
    assert seen[-1][2]["cordoned"] and 0 < looked(api) - before < 10


def iter_until(events, last):
    for event in events:
        yield event
        if event[2].get("name") == last:
            return


def test_what_watches_tell_is_what_is_there(platform, api):
    """P8: no change is forgotten. What a watch told last of each object is what the object itself answers."""
    mirror, cursors = {}, set()

    def follow(path, key):
        for id_, event, data in api.watch(path, timeout_s=60):
            assert id_ not in cursors
            cursors.add(id_)
            if event == "delete":
                mirror.pop(data["key"].rsplit("/", 1)[-1], None)
            else:
                mirror[key(data)] = data

    for path, key in (("units", lambda d: d["name"]), ("nodes", lambda d: d["id"]), ("apps", lambda d: d["metadata"]["name"])):
        threading.Thread(target=follow, args=(f"/v1/{path}?watch", key), daemon=True).start()
    for i in range(4):
        platform.node(f"node-{i}", cluster=f"c{i % 2}")
    deploy(api, units=2)
    wait_ready(api, 2)
    free = [node for node in platform.nodes if not node.claims]  # where the next ones go
    for node in free:
        node.behave = lambda claim: ("EXITED", "IMPORT_FAILED", "no")
    api.ok("POST", f"{APP}/scale", {"units": 4})
    platform.astra("cordon", platform.nodes[1].id)
    wait_for(lambda: any(u["reason"] == "ImportFailed" for u in api.items("/v1/units")))
    for node in free:
        node.behave = lambda claim: "UP"
    deploy(api, units=3, env=[{"name": "A", "value": "1"}])
    platform.astra("uncordon", platform.nodes[1].id)
    wait_ready(api, 3)
    platform.nodes[2].close()
    wait_for(lambda: api.ok("GET", f"/v1/nodes/{platform.nodes[2].id}")["state"] == "DEAD", 30)
    wait_for(lambda: api.ok("GET", APP)["status"]["units"]["ready"] == 3)

    def differs():
        there = {u["name"]: api.ok("GET", f"{APP}/units/{u['name']}") for u in api.items("/v1/units")}
        there |= {n["id"]: api.ok("GET", f"/v1/nodes/{n['id']}") for n in api.items("/v1/nodes")}
        there["tiny"] = api.ok("GET", APP)
        for object_ in there.values():  # what only the object's own answer has
            for field in ("inFlight", "used", "load"):
                object_.pop(field, None)
            for field in ("requests", "success"):
                object_.get("status", {}).pop(field, None)
        return {name: (there.get(name), mirror.get(name)) for name in there.keys() | mirror.keys() if there.get(name) != mirror.get(name)}

    end = time.monotonic() + 10
    while differs() and time.monotonic() < end:
        time.sleep(0.1)
    assert differs() == {}


def test_a_cursor_from_before_forgotten_deletions_is_gone(api):
    put_env(api)
    wait_for(lambda: api.ok("GET", "/v1/status")["adopted"])  # from then on a delete is carried out at once
    old = api.ok("GET", "/v1/apps")["revision"]
    for i in range(1003):
        api.ok("PUT", f"/v1/namespaces/default/apps/a{i}", app_doc(f"a{i}", units=0))
        api.ok("GET", "/v1/apps?limit=1")
        api.ok("DELETE", f"/v1/namespaces/default/apps/a{i}")
        if i == 500:
            kept = api.ok("GET", "/v1/apps")["revision"]
    status, problem, _ = api.call("GET", f"/v1/apps?watch&since={old}")
    assert (status, problem["code"]) == (410, "gone") and "list again" in problem["detail"]
    assert next(api.watch(f"/v1/apps?watch&since={kept}"))[1] == "delete"


def test_logs_of_the_start_before_are_asked_where_it_was(platform, api):
    first = platform.node("node-1", cluster="c1")
    first.behave = lambda claim: ("EXITED", "RAY_START_FAILED", "ray start: no")
    deploy(api)
    unit = wait_for(lambda: [u for u in api.items("/v1/units") if u["reason"] == "RayStartFailed"])[0]["name"]
    first.logs[unit, "head", True] = "ray start: no\nGcsServer died\n"
    platform.astra("cordon", first.id)
    platform.node("node-2", cluster="c1")
    wait_ready(api, 1)
    assert api.items("/v1/units")[0]["nodeName"] == "node-2"
    text = platform.astra("logs", "tiny", "--previous").stdout
    assert text == "ray start: no\nGcsServer died\n"
    assert platform.astra("logs", "tiny", "--unit", unit, "--previous").stdout == text
    assert "nothing of what was asked for" in platform.astra("logs", "tiny").stdout, "the new one has printed nothing"


def test_logs_on_a_node_that_is_away(platform, api):
    node = platform.node("node-1", cluster="c1")
    node.behave = lambda claim: ("EXITED", "RAY_START_FAILED", "ray start: no")
    deploy(api)
    wait_for(lambda: [u for u in api.items("/v1/units") if u["reason"] == "RayStartFailed"])
    node.close()
    wait_for(lambda: not api.ok("GET", f"/v1/nodes/{node.id}")["connected"])
    assert api.ok("GET", f"/v1/nodes/{node.id}")["name"] == "node-1", "a node that is away keeps its name"
    done = platform.astra("logs", "tiny", "--previous", status=1)
    assert done.stdout == ""
    words = rf"the log of tiny-\w+/head is on node node-1 \({node.id}\), which has been away since \d{{4}}-\d\d-\d\dT[\d:.]+Z;"
    assert re.search(words, done.stderr), done.stderr


def test_logs_of_a_unit_that_was_lost(platform, api):
    lost = platform.node("node-1", cluster="c1")
    deploy(api)
    wait_ready(api, 1)
    unit = api.items("/v1/units")[0]["name"]
    platform.node("node-2", cluster="c1")
    lost.close()
    wait_for(lambda: [u for u in api.items("/v1/units") if u["state"] == "READY" and u["nodeName"] == "node-2"], 30)
    done = platform.astra("logs", "tiny", "--unit", unit, "--previous", status=1)
    assert f"{unit}/head is on node node-1 ({lost.id}), which has been away since" in done.stderr, done.stderr
    status, problem, _ = api.call("GET", f"{APP}/logs?previous&unit={unit}")
    assert (status, problem["code"]) == (503, "unavailable") and "while it is kept there" in problem["detail"]


def test_watch_of_another_server_begins_anew(platform, api):
    deploy(api)
    old = api.ok("GET", "/v1/apps")["revision"]
    restart(platform)
    api = Api(platform, platform.token)
    assert api.call("GET", f"/v1/apps?watch&since={old}")[0] == 410
    assert next(api.watch("/v1/apps?watch"))[2]["metadata"]["name"] == "tiny"


def test_events_are_followed(api):
    put_env(api)
    listed = api.ok("GET", "/v1/events")
    watch = api.watch(f"/v1/events?watch&since={listed['revision']}")
    api.ok("PUT", APP, app_doc())
    event = next(d for _, e, d in watch if e == "event" and d["app"] == "tiny")
    assert event["namespace"] == "default" and event["time"].endswith("Z")


def test_quiet_streams_are_kept_alive(api):
    answer = api.open("GET", "/v1/events?watch&since=" + api.ok("GET", "/v1/events")["revision"], timeout_s=25)
    begun = time.monotonic()
    assert answer.readline().startswith(b":") and 10 < time.monotonic() - begun < 20


# ---- nodes ----


def test_cordon_and_drain(platform, api):
    platform.node("node-1", cluster="c1")
    deploy(api)
    wait_ready(api, 1)
    platform.node("node-2", cluster="c2")
    wait_for(lambda: len(api.items("/v1/nodes")) == 2)
    clusters = {c["name"]: c for c in api.items("/v1/clusters")}
    assert clusters["c1"]["units"] == 1 and clusters["c2"]["units"] == 0
    assert api.ok("POST", "/v1/nodes/node-2/cordon")["cordoned"]
    assert not api.ok("POST", "/v1/nodes/node-2/uncordon")["cordoned"]
    api.ok("POST", "/v1/nodes/node-1/drain")
    node = wait_for(lambda: (n := api.ok("GET", "/v1/nodes/node-1"))["state"] == "DRAINED" and n)
    assert node["claims"] == [] and api.ok("GET", f"/v1/nodes/{node['id'][:8]}")["name"] == "node-1"
    assert [u["nodeName"] for u in api.items("/v1/units") if u["state"] == "READY"] == ["node-2"]


def test_logs(platform, api):
    node = platform.node("node-1", cluster="c1")
    deploy(api)
    wait_ready(api, 1)
    unit = api.items("/v1/units")[0]["name"]

    def bulk(ticket, lines):
        with Client(platform.starlink, node.identity) as c:
            hello = dict(protocol_min=1, protocol_max=1, peer="BULK", node=node.id, ticket=ticket.ticket)
            c.send(Message("HELLO", **hello))
            c.wait("WELCOME")
            c.send(Message("BULK_LOG", ticket=ticket.ticket, unit=ticket.unit, member=ticket.member, file="serve.log"))
            for line in lines:
                c.send(Message("BULK_DATA", bytes=line))
            c.send(Message("BULK_END", ok=True))
            c.wait_closed()

    asked = []

    def on_open_bulk(m, _key):
        asked.append(m)
        threading.Thread(target=bulk, args=(m, [b"one\ntw", b"o\n"]), daemon=True).start()

    node._on_open_bulk = on_open_bulk
    assert api.call("GET", f"{APP}/logs?unit={unit}&member=head&tail=64Ki")[1] == b"one\ntwo\n"
    assert (asked[0].unit, asked[0].member, asked[0].tail_bytes) == (unit, "head", 65536)
    assert api.call("GET", f"{APP}/logs?prefix")[1].startswith(f"{unit}/head serve.log | one\n".encode())
    assert api.call("GET", f"{APP}/logs?member=nobody")[0] == 404


# ---- the server itself ----


def test_status_and_metrics(platform, api):
    platform.node("node-1", cluster="c1")
    deploy(api)
    wait_ready(api, 1)
    status = api.ok("GET", "/v1/status")
    assert status["nodes"] == {"UP": 1} and status["units"] == {"READY": 1} and status["apps"] == 1
    text = api.call("GET", "/metrics")[1].decode()
    for line in (
        'astra_server_nodes{state="UP"} 1',
        'astra_server_units{state="READY"} 1',
        'astra_server_app_units{namespace="default",app="tiny",which="ready"} 1',
        "astra_server_claims 1",
    ):
        assert line in text.splitlines(), line
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_stopping_with_calls_under_way(platform, api):
    put_env(api)
    threads = [
        threading.Thread(target=lambda i=i: swallow(api, f"/v1/namespaces/default/apps/app-{i}", app_doc(f"app-{i}")))
        for i in range(20)
    ]
    for t in threads:
        t.start()
    platform.process.terminate()
    assert platform.process.wait(20) == 0
    for t in threads:
        t.join(20)


def swallow(api, path, doc):
    try:
        api.call("PUT", path, doc)
    except (OSError, http.client.HTTPException):
        pass
