"""The kube role against a real API server, controller-manager and scheduler; pods are run by the rig as real `astra init` and agents.
One platform has no room of its own: what is deployed goes into pods, or nowhere."""

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import disasterlib
import fakeraylib
import kubelib
import podrunner
import pytest
from kubelib import wait_for
from uplib import ASTRA

IMAGE = "astra.local/astra:1"
NAMESPACE = "astra"
SOON_S = 120  # on a machine that may be busy
APPLY = {"mounts": {"/opt/astra/bin/astra": ASTRA}, "env": {"PATH": "/opt/astra/bin:/usr/bin:/bin"}}


class World(disasterlib.World):
    """A server, a gateway, and one node that is too small for anything."""

    def __init__(self, folder, environment):
        super().__init__(folder, environment)
        for flag, value in (("--clusters", "1"), ("--nodes", "1"), ("--node-cpu", "100m"), ("--node-memory", "64Mi")):
            self.flags[self.flags.index(flag) + 1] = value

    @property
    def join_address(self):
        return f"127.0.0.1:{json.loads((self.data / 'run' / 'server.ready').read_text())['starlink']}"

    def astra(self, *words, status=0, stdin=None):
        done = subprocess.run(
            [str(ASTRA), *map(str, words)], capture_output=True, text=True, timeout=60, env={**self.env}, input=stdin
        )
        assert done.returncode == status, f"astra {words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def metrics(self):
        client = self.client()
        request = urllib.request.Request(client["address"] + "/metrics", headers={"Authorization": "Bearer " + client["token"]})
        with urllib.request.urlopen(request, context=ssl.create_default_context(cadata=client["ca"])) as answer:
            return answer.read().decode()

    def cluster(self, name="east"):
        return self.api("GET", f"/clusters/{name}")

    def conditions(self, name="east"):
        return {c["type"]: c for c in self.cluster(name)["kubernetes"]["conditions"]}

    def pool(self, name="small"):
        return self.api("GET", f"/pools/{name}")

    def wait_pool(self, what, check, name="small", timeout_s=SOON_S):
        def checked():
            status = self.pool(name)["status"]
            return check(status) and status

        try:
            return self.wait(f"pool {name}: {what}", checked, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{json.dumps(self.api('GET', f'/pools/{name}')['status'])}") from None


def pool(name="small", cluster="east", **spec):
    return {
        "apiVersion": "astra-ray.dev/v1alpha1",
        "kind": "Pool",
        "metadata": {"name": name},
        "spec": {
            "cluster": cluster,
            "namespace": NAMESPACE,
            "resources": {"cpu": 2, "memory": "4Gi", "ephemeralStorage": "10Gi"},
            "min": 1,
            "max": 4,
            "grace": "30s",
            **spec,
        },
    }


@pytest.fixture(scope="module")
def own(etcd, tmp_path_factory):
    """A control plane that these tests may kill, with what `astra cluster manifests` prints."""
    with kubelib.ControlPlane("role", tmp_path_factory.mktemp("role"), etcd) as plane:
        manifests = subprocess.run(
            [str(ASTRA), "cluster", "manifests", "--kube-namespace", NAMESPACE], capture_output=True, text=True, check=True
        )
        plane.kubectl("apply", "-f", "-", stdin=manifests.stdout)
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


def kubeconfig(plane, **options):
    """Of the service account that the manifests make, with its namespace."""
    token = plane.token("astra", NAMESPACE)
    path = plane.kubeconfig("astra", token=token, **options)
    document = json.loads(path.read_text())
    document["contexts"][0]["context"]["namespace"] = NAMESPACE
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def added(own, node, world):
    words = ("cluster", "add", "east", "--kubeconfig", kubeconfig(own), "--image", IMAGE, "--join-address", world.join_address)
    said = world.astra(*words)
    assert "east is known" in said
    wait_for("the lease", lambda: world.conditions()["Owner"]["status"] == "True", SOON_S)
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


def test_a_pod_joins_as_a_node(pooled, own):
    (pod,) = pods(own)
    labels = pod["metadata"]["labels"]
    assert labels["astra-ray.dev/pool"] == "small"
    wait_for("its readiness", lambda: pods(own)[0]["status"].get("containerStatuses", [{}])[0].get("ready"), SOON_S)
    (mine,) = [n for n in pooled.api("GET", "/nodes")["items"] if n["cluster"] == "east"]
    assert mine["state"] == "UP" and mine["name"] == pod["metadata"]["name"]


def test_pools_grow_before_units_need_them(pooled, own):
    """Two units of one CPU each and the head's memory want more pods than there are; they come, and traffic flows."""
    pooled.deploy(units=2, head={"cpu": 2})
    assert {unit["cluster"] for unit in pooled.units("app")} == {"east"}
    assert len(pods(own)) >= 2
    with pooled.traffic() as traffic:
        time.sleep(1)
    assert traffic.failed == [] and traffic.sent > 10


def test_guards_stand_beside_the_pods(pooled, own):
    """Who may reach members, and how many evictions may take at once: a number that follows the pool, for of pods without a
    controller the API server understands no other."""
    policy = own.api.get("networkpolicies", "astra-small", NAMESPACE)
    assert policy["spec"]["podSelector"]["matchLabels"]["astra-ray.dev/pool"] == "small"

    def budget():
        found = own.api.get("poddisruptionbudgets", "astra-small", NAMESPACE)
        return found["spec"]["minAvailable"] == len(pods(own)) - 1 and found["status"].get("disruptionsAllowed") == 1

    wait_for("a budget that lets one go", budget, SOON_S)


def test_a_deleted_pod_leaves_routing_first(pooled, own, node):
    """Out of routing before its first process stops, replaced, and no request fails."""
    units = {unit["name"]: unit for unit in pooled.units("app")}
    gone = next(iter(units.values()))
    name = pooled.api("GET", f"/nodes/{gone['members'][0]['node']}")["name"]
    with pooled.traffic() as traffic:
        time.sleep(0.5)
        own.api.delete("pods", name, NAMESPACE)
        pooled.wait_ready("app", SOON_S, without=[gone["name"]])
        wait_for("its end", lambda: own.api.get("pods", name, NAMESPACE) is None, SOON_S)
        time.sleep(0.5)
    assert traffic.failed == []
    pooled.wait_pool("as many as before", lambda s: s["joined"] >= 2)


def test_an_api_server_dies_and_nothing_stops(pooled, own):
    before = {unit["name"] for unit in pooled.units("app")}
    with pooled.traffic() as traffic:
        own.apiserver.kill()
        wait_for("to be told", lambda: pooled.conditions()["Reachable"]["status"] == "False", SOON_S)
        stale = pooled.wait_pool("stale", lambda s: next(c for c in s["conditions"] if c["type"] == "Stale")["status"] == "True")
        assert stale["joined"] >= 2  # K7: nobody went away by silence
        own.apiserver.start()
        wait_for("it to be back", lambda: pooled.conditions()["Owner"]["status"] == "True", SOON_S)
        pooled.wait_pool("fresh", lambda s: next(c for c in s["conditions"] if c["type"] == "Stale")["status"] == "False")
    assert traffic.failed == []
    assert {unit["name"] for unit in pooled.units("app")} == before


def test_a_server_that_starts_again_makes_nothing_twice(pooled, own):
    before = sorted(pod["metadata"]["uid"] for pod in pods(own))
    pooled.kill_and_see_again("server")
    pooled.wait_pool("all known again", lambda s: s["joined"] == len(before))
    assert sorted(pod["metadata"]["uid"] for pod in pods(own)) == before
    pooled.wait_ready("app", SOON_S)


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
    text = pooled.metrics()
    assert 'astra_kube_pool_pods{pool="small",state="joined"}' in text
    assert 'astra_kube_cluster_owned{cluster="east"} 1' in text


def test_a_pool_shrinks_when_idle_and_goes(pooled, own):
    pooled.delete("app")
    pooled.astra("pool", "rm", "small")

    def is_gone():
        return pooled.api("GET", "/pools")["items"] == []

    pooled.wait("the pool to be gone", is_gone, 2 * SOON_S)
    wait_for("its pods to be gone", lambda: own.api.list("pods", NAMESPACE) == [], SOON_S)
    for kind in ("networkpolicies", "poddisruptionbudgets"):
        assert own.api.get(kind, "astra-small", NAMESPACE) is None, kind
    pooled.astra("cluster", "rm", "east")
