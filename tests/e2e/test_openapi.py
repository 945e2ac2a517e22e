"""/openapi.json: a valid document, and each route answers as it says."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from playlib import Platform, wait_for
from test_api import ASTRA, ENV, Api, app_doc, put_env

METHODS = ("get", "put", "post", "delete")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with Platform(ASTRA, tmp_path_factory.mktemp("openapi")) as p:
        for i in range(2):
            p.node(f"node-{i}", cluster="c1", cpu=1000 if i else 4000)
        yield p


@pytest.fixture(scope="module")
def api(platform):
    return Api(platform, platform.token)


@pytest.fixture(scope="module")
def document(api):
    return api.ok("GET", "/openapi.json")


@pytest.fixture(scope="module")
def values(platform, api):
    """What path parameters stand for, with something of every kind there: a unit that serves, one that finds no place, one
    that failed, an artifact, a token."""
    put_env(api)
    api.ok("PUT", "/v1/namespaces/default/artifacts/agent-amd64@0.1.0", ENV)
    api.ok("PUT", "/v1/namespaces/default/apps/tiny", app_doc())
    api.ok("PUT", "/v1/namespaces/default/apps/huge", app_doc("huge", head={"cpu": 100, "memory": "2Gi"}))
    wait_for(lambda: api.ok("GET", "/v1/namespaces/default/apps/tiny")["status"]["state"] == "READY")
    wait_for(lambda: [u for u in api.items("/v1/units") if u["reason"] == "NoCapacity"])
    wait_for(lambda: api.call("POST", "/v3/discovery:endpoints", BODIES["DiscoveryRequest"])[0] == 200)  # some seconds after the start
    api.ok("PUT", "/v1/clusters/east?check=false", BODIES["ClusterInput"])
    api.ok("PUT", "/v1/pools/small", BODIES["PoolInput"])
    unit = [u for u in api.items("/v1/units") if u["app"] == "tiny"][0]
    platform.nodes[0].logs[unit["name"], "head", False] = "hello\n"
    return {
        "namespace": "default", "app": "tiny", "unit": unit["name"], "node": platform.nodes[0].id, "artifact": "env@1",
        "identity": "a" * 26, "cluster": "east", "pool": "small",
        "token": lambda: api.ok("POST", "/v1/tokens", {"role": "view"})["id"],
    }  # fmt: skip


def operations(document):
    return {op["operationId"]: (path, method, op) for path, ops in document["paths"].items() for method, op in ops.items()}


def validator(document, schema):
    return Draft202012Validator({**schema, "components": document["components"]})


BODIES = {
    "AppInput": app_doc(), "Scale": {"units": 1}, "Undo": {"to": 1}, "TokenRequest": {"role": "view", "name": "x", "expires": "1h"},
    "ClusterLimits": {"price": 1.5},
    "DiscoveryRequest": {"resource_names": ["default/tiny"], "node": {"id": "e1"}},
    "ClusterInput": {"credentials": {"server": "https://127.0.0.1:1", "token": "t", "namespace": "astra"}, "joinAddress": "127.0.0.1:7701"},
    "UpgradeInput": {"version": "0.1.0", "pace": 1},
    "PoolInput": {
        "apiVersion": "astra-ray.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "small"},
        "spec": {"cluster": "east", "namespace": "astra", "resources": {"cpu": 1, "memory": "2Gi", "ephemeralStorage": "10Gi"}, "max": 2},
    },
}  # fmt: skip

# What needs something else than the common values, in the order in which it is asked.
LATER = ("orphanAdopt", "orphanRelease", "appDelete", "clusterPut", "clusterDelete", "poolDelete")


def body_of(document, op):
    content = op.get("requestBody", {}).get("content", {})
    if "application/octet-stream" in content:
        return ENV, None
    if "application/json" in content:
        schema = content["application/json"]["schema"]
        body = BODIES[schema["$ref"].rsplit("/", 1)[1]]
        assert list(validator(document, schema).iter_errors(body)) == []
        return body, None
    return None, None


def ask(document, api, values, name, query="", **other):
    path, method, op = operations(document)[name]
    known = {**values, **other}
    path = re.sub(r"\{(\w+)\}", lambda m: known[m[1]]() if callable(known[m[1]]) else known[m[1]], path) + query
    body, _ = body_of(document, op)
    status, answer, headers = api.call(method.upper(), path, body)
    response = op["responses"].get(str(status), op["responses"]["default"])
    kind = headers["Content-Type"].split(";")[0]
    assert kind in response["content"], (name, status, kind, answer)
    if "json" in kind:
        errors = [f"{name}: {e.json_path}: {e.message}"[:300] for e in validator(document, response["content"][kind]["schema"]).iter_errors(answer)]
        assert errors == [], (status, answer)
    return status


def test_the_document_is_valid(document):
    assert document["openapi"] == "3.1.0"
    assert [str(e) for e in OpenAPIV31SpecValidator(document).iter_errors()] == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for name, (path, _, op) in operations(document).items():
        told = {p["name"] for p in op["parameters"] if p["in"] == "path"}
        assert told == set(re.findall(r"\{(\w+)\}", path)), name


def test_the_document_has_every_route_of_the_page(document):
    page = (ASTRA.parents[2] / "docs/components/api.md").read_text()
    assert set(document["paths"]) == set(re.findall(r"`(/[^`\s]*)`", page))


def test_every_route_answers_as_documented(document, platform, api, values):
    for name in operations(document):
        if name not in LATER:
            status = ask(document, api, values, name)
            assert status in (200, 201), name
    for name, query in (("appsAll", "?limit=1"), ("appPut", "?dryRun=1"), ("eventsAll", "?limit=3"), ("appExplain", f"?unit={values['unit']}")):
        assert ask(document, api, values, name, query) == 200
    assert ask(document, api, {**values, "app": "huge"}, "appExplain") == 200


def test_problems_are_as_documented(document, api, values):
    for name, (path, method, _) in operations(document).items():
        if "{" in path:
            nobody = {k: "no-such-thing" for k in ("app", "unit", "node", "artifact", "token", "cluster", "pool")}
            if (name, method) not in (("appPut", "put"), ("artifactPut", "put"), ("clusterPut", "put"), ("poolPut", "put")) and "{namespace}/" not in path[-25:]:
                assert ask(document, api, values, name, **nobody) in (200, 404), name
    bad = {"spec": {"units": "many", "head": {"cpu": "x"}}}
    status, problem, _ = api.call("PUT", "/v1/namespaces/default/apps/tiny", bad)
    assert status == 422
    schema = {"$ref": "#/components/schemas/Problem"}
    assert [e.message for e in validator(document, schema).iter_errors({**problem})] == []


def test_streams_are_documented_where_they_are(document, api, values):
    for name, (path, _, op) in operations(document).items():
        watched = any(p["name"] == "watch" for p in op["parameters"])
        assert watched == ("text/event-stream" in op["responses"]["200"]["content"]), name
        if watched:
            assert ask(document, api, values, name, "?watch=1") == 200


def test_roles_are_as_documented(document, platform, api, values):
    rank = ["nobody", "view", "deploy", "admin"]
    for role in ("view", "deploy"):
        weak = Api(platform, api.ok("POST", "/v1/tokens", {"role": role})["token"])
        for name, (path, method, op) in operations(document).items():
            if rank.index(op["x-astra-role"]) > rank.index(role):
                assert ask(document, weak, values, name) == 403, name
    stranger = Api(platform, None)
    for name, (_, _, op) in operations(document).items():
        assert (ask(document, stranger, values, name) == 401) == (op["security"] != []), name


def test_clusters_answer_as_documented(document, api, values):
    """Nobody listens at this one's address: with the question it is refused, without it is stored; with a pool it stays."""
    assert ask(document, api, {**values, "cluster": "west"}, "clusterPut") == 503
    assert ask(document, api, {**values, "cluster": "west"}, "clusterPut", "?check=false") == 201
    assert ask(document, api, {**values, "cluster": "west"}, "clusterDelete") == 200
    assert ask(document, api, values, "clusterDelete") == 409
    assert ask(document, api, values, "poolDelete") == 200


def test_orphans_and_deletion_answer_as_documented(document, platform, api, values):
    platform.stop()
    platform.start_again(forget=True)
    api.token = platform.token
    put_env(api)
    wait_for(lambda: api.items("/v1/orphans"))
    assert ask(document, api, values, "orphans") == 200
    assert ask(document, api, values, "orphanAdopt") in (200, 409, 503)
    assert ask(document, api, values, "orphanRelease") == 200
    wait_for(lambda: api.items("/v1/orphans") == [])
    api.ok("PUT", "/v1/namespaces/default/apps/tiny", app_doc(units=0))
    assert ask(document, api, values, "appDelete") == 200
    assert json.dumps(document) == json.dumps(api.ok("GET", "/openapi.json"))
