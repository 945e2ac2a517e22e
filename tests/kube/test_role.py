"""The kube role against a real API server, controller-manager and scheduler; pods are run by the rig as real `astra init` and agents.
One platform has no room of its own: what is deployed goes into pods, or nowhere."""

import json
import subprocess
import time
import urllib.error

import fakeraylib
import kubelib
import podrunner
import pytest
from demolib.world import wall_seconds
from disasterlib import some
from kubelib import wait_for
from rolelib import APPLY, IMAGE, NAMESPACE, SOON_S, World, cluster_add, is_stale, manifests_apply, pool
from uplib import ASTRA


@pytest.fixture(scope="module")
def own(etcd, tmp_path_factory):
    """A control plane that these tests may kill, with what `astra cluster manifests` prints."""
    with kubelib.ControlPlane("role", tmp_path_factory.mktemp("role"), etcd) as plane:
        manifests_apply(plane)
        yield plane


@pytest.fixture(scope="module")
def node(own):
    why = podrunner.why_not()
    if why:
        pytest.skip(why)
    with podrunner.PodRunner(own, "node-a", {IMAGE: APPLY}, backoff_s=1.0, sync_s=0.5) as node:
        yield node
        assert node.refused == []


@pytest.fixture(scope="module")
def world(own, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), fakeraylib.environment())
    try:
        yield world.up()
    finally:
        world.end()


@pytest.fixture(scope="module")
def added(own, node, world):
    assert "east is known" in cluster_add(world, own, "east")
    return world


def pods(plane):
    return [pod for pod in plane.api.list("pods", NAMESPACE) if "deletionTimestamp" not in pod["metadata"]]


# what an operator says


def test_rights_that_are_missing_are_named(own, world):
    """Nothing is stored, and what is to be done is said; check=false stores all the same."""
    own.api.create("serviceaccounts", {"metadata": {"name": "poor"}}, "default")
    path = own.kubeconfig("poor", token=own.token("poor", "default"))
    said = world.astra("cluster", "add", "poor", "--kubeconfig", path, status=1)
    assert "may not list pods" in said and "delete pods" in said and "astra cluster manifests" in said
    with pytest.raises(urllib.error.HTTPError) as gone:
        world.cluster("poor")
    assert gone.value.code == 404
    world.astra("cluster", "add", "poor", "--kubeconfig", path, "--no-check")
    assert world.cluster("poor")["kubernetes"]["credentials"] == "token"
    world.astra("cluster", "rm", "poor")


def test_a_server_of_another_ca_is_not_told_the_token(own, world, etcd, tmp_path):
    stranger = kubelib.Authority(tmp_path / "pki", "stranger")
    path = own.kubeconfig("strange", token="secret", ca_file=stranger.certificate)
    said = world.astra("cluster", "add", "strange", "--kubeconfig", path, status=1)
    assert "does not vouch for" in said and "127.0.0.1" in said


def test_wrong_credentials_and_nobody_there(own, world):
    path = own.kubeconfig("wrong", token="wrong")
    assert "refuses the credentials" in world.astra("cluster", "add", "wrong", "--kubeconfig", path, status=1)
    path = own.kubeconfig("nobody", token="x", server="https://127.0.0.1:1")
    assert "https://127.0.0.1:1" in world.astra("cluster", "add", "nobody", "--kubeconfig", path, status=1)


def test_credentials_are_never_told_and_lie_encrypted(added, own):
    token = json.loads((own.folder / "astra.kubeconfig").read_text())["users"][0]["user"]["token"]
    answer = json.dumps(added.cluster())
    assert token not in answer and "sealed" not in answer
    for path in (added.data / "server").glob("astra.db*"):
        assert token.encode() not in path.read_bytes()
    assert (added.data / "server" / "store.key").stat().st_mode & 0o777 == 0o600
    assert added.cluster()["kubernetes"]["expires"] is not None


def test_pools_with_errors_change_nothing(added, tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text(json.dumps(pool(cluster="nowhere")))
    assert "no Kubernetes cluster" in added.astra("pool", "apply", path, status=1)
    path.write_text("kind: Pool\nmetadata: {name: p}\nspec:\n  cluster: east\n  mni: 3\n")
    assert f"{path}:5" in added.astra("pool", "apply", path, status=1)
    assert added.api("GET", "/pools")["items"] == []


# pods


@pytest.fixture(scope="module")
def pooled(added, tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.yaml"
    path.write_text(json.dumps(pool()))
    added.astra("pool", "apply", path)
    added.wait_pool("one pod has joined", lambda s: s["joined"] == 1)
    return added


@pytest.fixture(scope="module")
def deployed(pooled):
    """Two units of one CPU each and the head's memory want more pods than there are."""
    pooled.deploy(units=2, head={"cpu": 2})
    return pooled


def test_a_pod_joins_as_a_node(pooled, own):
    (pod,) = pods(own)
    labels = pod["metadata"]["labels"]
    assert labels["astra-ray.dev/pool"] == "small"
    wait_for("its readiness", lambda: pods(own)[0]["status"].get("containerStatuses", [{}])[0].get("ready"), SOON_S)
    pooled.wait("its node", lambda: pooled.is_up(pod["metadata"]["name"]), SOON_S)
    (mine,) = [n for n in pooled.api("GET", "/nodes")["items"] if n["cluster"] == "east"]
    assert mine["name"] == pod["metadata"]["name"]


def test_pools_grow_before_units_need_them(deployed, own):
    """The pods come, and traffic flows."""
    assert {unit["cluster"] for unit in deployed.units("app")} == {"east"}
    assert len(pods(own)) >= 2
    with deployed.traffic() as traffic:
        some(traffic)
    assert traffic.failed == []


def test_guards_stand_beside_the_pods(pooled, own):
    """Who may reach members, and how many evictions may take at once: a number that follows the pool, for of pods without a
    controller the API server understands no other."""
    policy = wait_for("the policy", lambda: own.api.get("networkpolicies", "astra-small", NAMESPACE), SOON_S)
    assert policy["spec"]["podSelector"]["matchLabels"]["astra-ray.dev/pool"] == "small"

    def budget():
        found = own.api.get("poddisruptionbudgets", "astra-small", NAMESPACE)
        return found and found["spec"]["minAvailable"] == len(pods(own)) - 1 and found["status"].get("disruptionsAllowed") == 1

    wait_for("a budget that lets one go", budget, SOON_S)


def slices(plane, name="app"):
    return plane.api.list("endpointslices", NAMESPACE, labelSelector=f"kubernetes.io/service-name={name}")


def addresses(plane, name="app"):
    return sorted(a for s in slices(plane, name) for e in s["endpoints"] or [] for a in e["addresses"])


@pytest.fixture(scope="module")
def exposed(deployed):
    """Two gateways more, with addresses that a slice may name."""
    data = deployed.data
    processes = []
    for i in (1, 2):
        words = ["gateway", "--server", deployed.join_address, "--token-file", data / "server" / "join.token", "--listen", "127.0.0.1:0"]
        words += ["--admin", "127.0.0.1:0", "--address", f"10.77.0.{i}{(':8080', '')[i - 1]}", "--access-log", "off", "--name", f"beside-{i}"]
        processes.append(subprocess.Popen([str(ASTRA), *map(str, words)], env=deployed.env))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_an_app_is_found_by_its_name(pooled, own, exposed):
    """A Service without a selector, slices that name the gateways; a stranger's Service is left alone; a server that starts again
    puts back what somebody took away, and takes out who is gone."""
    theirs = own.api.create("services", {"metadata": {"name": "taken"}, "spec": {"ports": [{"port": 80}]}}, NAMESPACE)
    pooled.put_app("taken", pooled.spec("taken", units=0))
    wait_for("the gateways", lambda: addresses(own) == ["10.77.0.1", "10.77.0.2"], SOON_S)
    service = own.api.get("services", "app", NAMESPACE)
    assert service["spec"]["clusterIP"] == "None" and "selector" not in service["spec"]
    found = slices(own)
    assert {s["ports"][0]["port"] for s in found if s["endpoints"][0]["addresses"] == ["10.77.0.1"]} == {8080}
    for s in found:
        assert s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "astra-ray.dev"
        assert s["endpoints"][0]["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert s["ports"][0]["name"] == "http"
    wait_for("to be told", lambda: pooled.conditions()["Exposed"]["reason"] == "NameTaken", SOON_S)
    assert own.api.get("services", "taken", NAMESPACE)["metadata"]["uid"] == theirs["metadata"]["uid"] and slices(own, "taken") == []
    assert "astra-ray.dev/installation" not in own.api.get("services", "taken", NAMESPACE)["metadata"].get("labels", {})
    pooled.delete("taken")
    before = slices(own)
    own.api.delete("services", "app", NAMESPACE)
    exposed[1].kill()
    pooled.kill_and_see_again("server")
    wait_for("the one that is left", lambda: addresses(own) == ["10.77.0.1"], SOON_S)
    wait_for("no more writes", lambda: pooled.conditions()["Exposed"]["reason"] == "UpToDate", SOON_S)
    assert own.api.get("services", "app", NAMESPACE)
    (kept,) = slices(own)
    assert kept["metadata"]["uid"] in {s["metadata"]["uid"] for s in before}  # its place is kept


def moved_at(world, unit, state):
    """Seconds since 1970; None while it has not."""
    moves = [e["time"] for e in world.events("app") if e["object"].endswith(unit) and e["message"].partition(":")[0].endswith(f"-> {state}")]
    return wall_seconds(moves[-1]) if moves else None


def test_a_deleted_pod_leaves_routing_first(deployed, own, node):
    """At the notice, for another unit serves; before its first process stops; and no request fails."""
    units = {unit["name"]: unit for unit in deployed.units("app")}
    gone = next(iter(units.values()))
    name = deployed.api("GET", f"/nodes/{gone['members'][0]['node']}")["name"]
    with deployed.traffic() as traffic:
        some(traffic)
        deleted_at = time.time()
        own.api.delete("pods", name, NAMESPACE)
        left_at = deployed.wait("its way out", lambda: moved_at(deployed, gone["name"], "DRAINING"), SOON_S)
        assert left_at - deleted_at < 1
        time.sleep(max(0, deleted_at + 1 - time.time()))  # the bound
        assert deployed.picked(traffic, 0.5)[gone["name"]] == 0
        after = deployed.wait_ready("app", SOON_S, without=[gone["name"]])
        (new,) = {unit["name"] for unit in after} - units.keys()
        assert left_at < moved_at(deployed, new, "READY")  # nobody waited for it
        wait_for("its end", lambda: own.api.get("pods", name, NAMESPACE) is None, SOON_S)
        some(traffic)
    assert traffic.failed == []
    deployed.wait_pool("as many as before", lambda s: s["joined"] >= 2)


def test_an_api_server_dies_and_nothing_stops(pooled, own):
    before = {unit["name"] for unit in pooled.units("app")}
    with pooled.traffic() as traffic:
        own.apiserver.kill()
        wait_for("to be told", lambda: pooled.conditions()["Reachable"]["status"] == "False", SOON_S)
        stale = pooled.wait_pool("stale", is_stale)
        assert stale["joined"] >= 2  # K7: nobody went away by silence
        own.apiserver.start()
        wait_for("it to be back", lambda: pooled.conditions()["Owner"]["status"] == "True", SOON_S)
        pooled.wait_pool("fresh", lambda s: is_stale(s) is False)
    assert traffic.failed == []
    assert {unit["name"] for unit in pooled.units("app")} == before


def test_a_server_that_starts_again_makes_nothing_twice(pooled, own):
    before, units = {pod["metadata"]["uid"] for pod in pods(own)}, {unit["name"] for unit in pooled.units("app")}
    pooled.kill_and_see_again("server")
    pooled.wait_pool("all known again", lambda s: s["joined"] == s["pods"] == len(pods(own)))
    assert {pod["metadata"]["uid"] for pod in pods(own)} <= before  # one that is idle may go meanwhile
    assert {unit["name"] for unit in pooled.wait_ready("app", SOON_S)} == units


def test_a_lost_key_is_told_and_nothing_is_lost(pooled, own):
    key = pooled.data / "server" / "store.key"
    kept = key.read_bytes()
    key.unlink()
    pooled.kill_and_see_again("server")
    found = pooled.wait("the condition", lambda: pooled.conditions().get("Unlocked"))
    assert found["status"] == "False" and "store.key is missing" in found["message"]
    assert not key.exists()  # nothing is sealed with another one unasked
    key.write_bytes(kept)
    pooled.kill_and_see_again("server")
    pooled.wait("the lease", lambda: pooled.conditions()["Owner"]["status"] == "True", SOON_S)
    pooled.wait_pool("joined", lambda s: s["joined"] >= 2)


def test_metrics(pooled):
    pooled.wait("the lease", lambda: 'astra_kube_cluster_owned{cluster="east"} 1' in pooled.metrics(), SOON_S)
    text = pooled.metrics()
    assert 'astra_kube_pool_pods{pool="small",state="joined"}' in text
    assert 'astra_kube_pool_pods{pool="small",state="known"}' in text


def test_a_pool_shrinks_when_idle_and_goes(pooled, own):
    pooled.delete("app")
    pooled.astra("pool", "rm", "small")

    def is_gone():
        return pooled.api("GET", "/pools")["items"] == []

    pooled.wait("the pool to be gone", is_gone, 2 * SOON_S)
    wait_for("its pods to be gone", lambda: own.api.list("pods", NAMESPACE) == [], SOON_S)
    for kind in ("networkpolicies", "poddisruptionbudgets"):
        assert own.api.get(kind, "astra-small", NAMESPACE) is None, kind
    assert own.api.get("services", "app", NAMESPACE) is None and slices(own) == []
    pooled.astra("cluster", "rm", "east")
