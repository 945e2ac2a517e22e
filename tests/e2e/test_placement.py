"""Where units go: placement.spread, and environments by processor. A real server, played nodes, no Ray."""

import pytest
from playlib import Platform, wait_for
from test_api import ASTRA, Api, app_doc, put_env, wait_ready

GIB = 1 << 30


@pytest.fixture
def platform(tmp_path):
    with Platform(ASTRA, tmp_path) as p:
        yield p


@pytest.fixture
def api(platform):
    api = Api(platform, platform.token)
    put_env(api)
    return api


def put(api, name, units=1, **spec):
    """The nodes of the units, placed one after the other: a node takes one claim at a time."""
    path = f"/v1/namespaces/default/apps/{name}"
    for n in range(1, units + 1):
        api.ok("PUT", path, app_doc(name, units=n, **spec))
        wait_ready(api, n, path)
    return sorted(u["nodeName"] for u in api.items(f"{path}/units"))


def test_spread(platform, api):
    """Room alone leads to the big node always, each domain somewhere else with the second unit."""
    platform.node("big", cluster="c1", zone="z1", cpu=32000, memory=64 * GIB)
    platform.node("next", cluster="c1", zone="z2", memory=16 * GIB)
    platform.node("far", cluster="c2", zone="z1")
    assert put(api, "by-room", 2, placement={"spread": []}) == ["big", "big"]
    assert put(api, "by-default", 2) == ["big", "far"]
    assert put(api, "by-zone", 2, placement={"spread": ["zone"]}) == ["big", "next"]
    assert put(api, "by-host", 3, placement={"spread": ["host"]}) == ["big", "far", "next"]


def test_spread_of_an_app_that_runs(platform, api):
    """A change touches no unit, and counts for the next one."""
    platform.node("big", cluster="c1", cpu=32000, memory=64 * GIB)
    platform.node("far", cluster="c2")
    path = "/v1/namespaces/default/apps/tiny/units"
    assert put(api, "tiny", 1, placement={"spread": []}) == ["big"]
    before = [u["name"] for u in api.items(path)]
    assert put(api, "tiny", 1) == ["big"]
    assert [u["name"] for u in api.items(path)] == before
    assert put(api, "tiny", 2) == ["big", "far"]


def test_environments_by_processor(platform, api):
    """Units go only where an environment fits; with one for all nodes they go anywhere."""
    platform.node("roomy", cluster="c1", arch="amd64", memory=64 * GIB)
    platform.node("small", cluster="c1", arch="arm64")
    assert {n["name"]: n["arch"] for n in api.items("/v1/nodes")} == {"roomy": "amd64", "small": "arm64"}
    arm = {"match": {"arch": "arm64"}, "artifact": "env@1"}
    assert put(api, "arm", environment=[arm]) == ["small"]
    assert put(api, "both", environment=[arm, {"artifact": "env@1"}]) == ["roomy"]

    api.ok("PUT", path := "/v1/namespaces/default/apps/arm", app_doc("arm", units=3, head={"cpu": 2}, environment=[arm]))
    why = wait_for(lambda: [u["placement"] for u in api.ok("GET", f"{path}/explain")["units"] if u.get("placement")])[0]
    assert why["counts"]["ARCH"] == 1, why
    assert "1 have a processor for which the app has no environment" in "\n".join(api.ok("GET", f"{path}/explain")["lines"])


def test_limits_and_price_of_a_cluster(platform, api):
    """A limit stops placing and is named; the cheaper cluster comes first where spreading is indifferent."""
    platform.node("dear", cluster="c1", cpu=32000, memory=64 * GIB)
    platform.node("cheap", cluster="c2")
    for cluster, price in (("c1", 30), ("c2", 0.5)):
        assert f"price {price}" in platform.astra("cluster", "set", cluster, "--price", str(price)).stdout
    assert put(api, "thrifty", head={"cpu": 1}, placement={"spread": []}) == ["cheap"]
    platform.astra("cluster", "set", "c1", "--max-nodes", "1", "--max-cpu", "500m")
    platform.astra("cluster", "set", "c2", "--max-cpu", "1")
    assert api.ok("GET", "/v1/clusters/c1")["limits"] == {"maxNodes": 1, "maxCpu": "500m", "maxMemory": None, "maxDevices": None, "price": 30}
    assert "nodes 1, cpu 500m, price 30" in platform.astra("clusters").stdout
    path = "/v1/namespaces/default/apps/thrifty"
    api.ok("PUT", path, app_doc("thrifty", units=2, head={"cpu": 1}, placement={"spread": []}))
    why = wait_for(lambda: [u["placement"] for u in api.ok("GET", f"{path}/explain")["units"] if u.get("placement")])[0]
    assert why["counts"] == {"LIMIT": 2} and why["limit"]["limit"] == "max-cpu", why
    lines = "\n".join(api.ok("GET", f"{path}/explain")["lines"])
    assert "max-cpu of c1 is 0.5, 0 in use; `astra cluster set` changes limits" in lines, lines
    platform.astra("cluster", "set", "c1", "--max-cpu", "none")
    wait_ready(api, 2, path)
    assert "--max-nodes" in platform.astra("cluster", "set", "c1", "--max-nodes", "x", status=2).stderr
    assert api.call("PUT", "/v1/clusters/c1/limits", {"maxCpu": "0"})[0] == 400
