"""Who finds an app's replicas without a gateway: the watch of its endpoints, and Envoy, which polls them (EDS)."""

import http.client
import json
import re
import subprocess
import threading
import time
import urllib.error
from pathlib import Path

import pytest
from playlib import Platform, wait_for
from test_api import APP, ASTRA, Api, app_doc, deploy, wait_ready

EDS = "/v3/discovery:endpoints"
TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
PATH = f"{APP}/endpoints"


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with Platform(ASTRA, tmp_path_factory.mktemp("endpoints")) as p:
        for i in range(2):
            p.node(f"node-{i}", cluster=f"c{i}").port = 20350 + i
        yield p


@pytest.fixture(scope="module")
def api(platform):
    api = Api(platform, platform.token)
    deploy(api, units=2, routes=[{"idempotent": True}])
    wait_ready(api, 2)
    wait_for(lambda: api.call("GET", PATH)[0] == 200)  # some seconds after the server's start
    wait_for(lambda: len(api.items(PATH)) == 2)
    return api


@pytest.fixture(scope="module")
def gateway(platform):
    """To the end: one that left is waited for in each withdrawal."""
    gateway = platform.gateway("beside")
    yield gateway
    gateway.close()


class Watch:
    """What a watch told, with when; the endpoints as they follow from it."""

    def __init__(self, api, since=None):
        listed = api.ok("GET", PATH)
        self.told, self.endpoints = [], {e["id"]: e for e in listed["items"]}
        self.stream = api.watch(f"{PATH}?watch&since={since or listed['revision']}", timeout_s=60)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for id_, event, data in self.stream:
            if event == "put":
                self.endpoints[data["id"]] = data
            else:
                self.endpoints.pop(data["name"], None)
            self.told.append((time.monotonic(), id_, event, data))

    def first(self, check):
        return wait_for(lambda: next((t for t in list(self.told) if check(t[2], t[3])), None))


def test_a_list_says_what_a_caller_needs(api):
    listed = api.ok("GET", PATH)
    assert listed["kind"] == "EndpointList" and listed["continue"] is None
    units = {u["name"]: u for u in api.items(f"{APP}/units")}
    for e in listed["items"]:
        unit = units[e["unit"]]
        (target,) = unit["endpoints"]
        assert e["address"] == f"127.0.0.1:{target['port']}" and e["node"] == unit["node"] and e["cluster"] == unit["cluster"]
        said = {key: e[key] for key in ("state", "weight", "maxOngoing", "application", "pathPrefix", "idempotent", "headers", "revision")}
        assert said == {
            "state": "ready", "weight": 100, "maxOngoing": 5, "application": "app", "pathPrefix": "/", "idempotent": True,
            "headers": {}, "revision": 1,
        }  # fmt: skip
    assert api.call("GET", PATH.replace("tiny", "nothing"))[0] == 404


def test_a_drain_reaches_who_watches_with_the_gateways(platform, api, gateway):
    """draining first, then gone; a gateway that is played over Starlink hears of the first at the same time."""
    watch = Watch(api)
    time.sleep(0.3)  # both stand
    gone = next(u for u in api.items(f"{APP}/units"))
    there = next(e for e in api.items(PATH) if e["unit"] == gone["name"])
    platform.node("node-2", cluster="c2").port = 20352
    heard = {}

    def listen():
        gateway.link.wait("ENDPOINT", unit=gone["name"], state="DRAINING", timeout_s=30)
        heard["at"] = time.monotonic()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    api.ok("POST", f"/v1/nodes/{gone['node']}/drain")
    at, cursor, _, told = watch.first(lambda event, e: event == "put" and e["state"] == "draining")
    thread.join(30)
    print(f"the watch heard {1000 * (at - heard['at']):+.1f} ms after the gateway")
    assert told["id"] == there["id"] and abs(at - heard["at"]) < 0.5
    watch.first(lambda event, e: event == "delete" and e["name"] == there["id"])
    wait_ready(api, 2)
    wait_for(lambda: watch.endpoints == {e["id"]: e for e in api.items(PATH)})
    numbers = [int(id_.split(".")[1]) for _, id_, _, _ in watch.told]
    assert numbers == sorted(set(numbers)), "ids only rise"
    again = Watch(api, cursor)
    assert again.first(lambda *_: True)[3] != told, "a cursor goes on behind what it is of"


def test_another_route_is_told_though_no_replica_changed(api):
    watch = Watch(api)
    api.ok("PUT", APP, app_doc(units=2, routes=[{"idempotent": False}]))
    watch.first(lambda event, e: event == "put" and not e["idempotent"])
    wait_for(lambda: [e["idempotent"] for e in watch.endpoints.values()] == [False, False])


def discover(api, *names, version="", hold="0s", **more):
    body = {"version_info": version, "node": {"id": "e1", "metadata": {"astra.hold": hold}}, "resource_names": names, "type_url": TYPE, **more}
    return api.call("POST", EDS, body)


# The fields of envoy/config/endpoint/v3/{endpoint,endpoint_components}.proto and config/core/v3 that are used, by their proto
# names: Envoy refuses a message with any other.
FIELDS = {
    "": {"@type": str, "cluster_name": str, "endpoints": list},
    "endpoints": {"locality": dict, "load_balancing_weight": int, "lb_endpoints": list},
    "locality": {"region": str, "zone": str},
    "lb_endpoints": {"endpoint": dict, "health_status": str, "load_balancing_weight": int},
    "endpoint": {"address": dict},
    "address": {"socket_address": dict},
    "socket_address": {"address": str, "port_value": int},
}


def check_fields(value, of=""):
    assert set(value) == set(FIELDS[of]), of
    for name, inner in value.items():
        assert type(inner) is FIELDS[of][name], (of, name)
        for v in inner if isinstance(inner, list) else [inner] if isinstance(inner, dict) else []:
            check_fields(v, name)


def test_eds_is_what_envoy_reads(platform, api):
    status, answer, _ = discover(api, "default/tiny", "default/tiny/app", "default/later")
    assert status == 200 and set(answer) == {"version_info", "type_url", "resources"} and answer["type_url"] == TYPE
    whole, one, later = answer["resources"]
    for resource in answer["resources"]:
        check_fields(resource)
    assert later == {"@type": TYPE, "cluster_name": "default/later", "endpoints": []}
    assert one["endpoints"] == whole["endpoints"] and len(whole["endpoints"]) == 2
    told = {e["address"]: e for e in api.items(PATH)}
    for locality in whole["endpoints"]:
        (e,) = locality["lb_endpoints"]
        address = "{address}:{port_value}".format(**e["endpoint"]["address"]["socket_address"])
        assert locality["locality"] == {"region": "lo", "zone": told[address]["cluster"]}
        assert (e["health_status"], e["load_balancing_weight"], locality["load_balancing_weight"]) == ("HEALTHY", 100, 100)
    # the same in camel case, as other clients print it; nothing of other namespaces; no other type
    camel = api.ok("POST", EDS, {"resourceNames": ["default/tiny", "default/tiny/app", "default/later"], "typeUrl": TYPE})
    assert camel == answer
    stranger = Api(platform, api.ok("POST", "/v1/tokens", {"role": "view", "namespace": "ns1"})["token"])
    assert discover(stranger, "default/tiny")[1]["resources"][0]["endpoints"] == []
    assert discover(api, type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")[0] == 400
    assert discover(api, "x" * 500)[0] == 400


def test_eds_waits_for_a_change(platform, api):
    version = discover(api, "default/tiny")[1]["version_info"]
    began = time.monotonic()
    assert discover(api, "default/tiny", version=version, hold="400ms")[:2] == (304, b"")
    assert 0.35 < time.monotonic() - began < 5
    assert discover(api, "default/tiny", version="another")[0] == 200
    threading.Timer(0.3, lambda: api.ok("POST", f"{APP}/scale", {"units": 1})).start()
    status, answer, _ = discover(api, "default/tiny", version=version, hold="20s")
    states = [e["health_status"] for place in answer["resources"][0]["endpoints"] for e in place["lb_endpoints"]]
    assert status == 200 and sorted(states) == ["DRAINING", "HEALTHY"]
    assert api.call("POST", EDS, {"resource_names": []}, Idempotency_Key="k")[0] == 400


def test_a_server_that_has_just_begun_takes_nothing_away(platform, api):
    """Until its nodes are back it says so, instead of that nothing serves: who asks keeps what it has."""
    wait_ready(api, 1)
    platform.stop()
    links = [(node, node.attach) for node in platform.nodes]
    for node in platform.nodes:
        node.attach = lambda: time.sleep(0.05)  # they stay away
    platform.start_again()
    try:
        for _ in range(10):
            assert discover(api, "default/tiny")[0] == 503 and api.call("GET", PATH)[0] == 503
            time.sleep(0.1)
    finally:
        for node, attach in links:
            node.attach = attach
    wait_for(lambda: discover(api, "default/tiny")[0] == 200)
    assert len(discover(api, "default/tiny")[1]["resources"][0]["endpoints"]) == 1


# ---- Envoy itself ----


def envoy_program():
    try:
        import envoy
    except ImportError:
        return None
    return Path(envoy.__file__).parent / "_bin" / "envoy"


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def envoy_config(page, source, **values):
    """The page's file, with the names that it has in capitals filled in; for a server its last entry is another."""
    text, of_a_server = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    if source == "server":
        text = text.split("    - name: astra\n")[0] + of_a_server
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


class Envoy:
    def __init__(self, folder, config):
        path = folder / "envoy.yaml"
        path.write_text(config)
        self.log = (folder / "envoy.log").open("wb")
        self.process = subprocess.Popen(
            [envoy_program(), "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"], stdout=self.log, stderr=self.log
        )

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.mark.skipif(envoy_program() is None, reason="no Envoy for this machine among Python's packages")
@pytest.mark.parametrize("source", ["gateway", "server"])
def test_envoy_serves_an_app(disaster_world, tmp_path, source):
    """An Envoy with the configuration of the page sends requests to replicas, while the node of one is drained."""
    page = (ASTRA.parents[2] / "docs/discovery.md").read_text()
    with disaster_world() as world:
        world.deploy(units=2)
        port, client = free_port(), world.client()
        ready = json.loads((world.data / "run" / "gateway.ready").read_text())
        values = {"LISTEN_PORT": port, "ADMIN_PORT": ready["admin"], "NAMESPACE/APP": "default/app"}
        if source == "server":
            ca = tmp_path / "ca.pem"
            ca.write_text(client["ca"])
            values |= {"API_PORT": client["address"].rsplit(":", 1)[1], "CA_FILE": ca, "TOKEN": client["token"]}
        envoy = Envoy(tmp_path, envoy_config(page, source, **values))
        try:
            answered, failed = {}, []

            def ask():
                try:
                    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                    c.request("GET", "/app/x")
                    r = c.getresponse()
                    body = r.read().decode()
                    return r.status, body
                except OSError as error:
                    return 0, str(error)
                finally:
                    c.close()

            def told():
                """Whose endpoints the server has; None in its first seconds, in which it does not say."""
                try:
                    return {e["unit"] for e in world.api("GET", "/namespaces/default/apps/app/endpoints")["items"]}
                except urllib.error.HTTPError as error:
                    assert error.code == 503
                    return None

            wait_for(told)
            wait_for(lambda: envoy.process.poll() is not None or ask()[0] == 200, 30)
            assert envoy.process.poll() is None, (tmp_path / "envoy.log").read_text()
            units = {u["name"]: u for u in world.units("app", "READY")}
            until, drained, gone = time.monotonic() + 30, None, None
            while time.monotonic() < until:
                status, body = ask()
                if status != 200:
                    failed.append((status, body))
                answered[body.split()[0] if status == 200 else status] = time.monotonic()
                if drained is None and set(units) <= set(answered):
                    drained = next(iter(units.values()))
                    world.api("POST", f"/nodes/{drained['node']}/drain")
                if drained and not gone and drained["name"] not in told():
                    gone = time.monotonic()
                    until = gone + 1
                time.sleep(0.01)
            assert gone is not None and failed == [], (answered, failed)
            assert len(answered) >= 3 and answered[drained["name"]] < gone, "its replacement serves, it itself does not"
        finally:
            envoy.end()
            print((tmp_path / "envoy.log").read_text()[-2000:])
