"""App and Pool as objects of real API servers, followed by Astra: units run on the platform's own nodes, so that no pod is needed."""

import json
import subprocess
import time

import fakeraylib
import kubelib
import pytest
from disasterlib import some
from kubelib import wait_for
from rolelib import NAMESPACE, SOON_S, World, kubeconfig
from uplib import ASTRA

GROUP = "astra-ray.dev/v1alpha1"
TEAM = "default"


class Wide(World):
    """With room on nodes of its own."""

    def __init__(self, folder, environment):
        super().__init__(folder, environment)
        for flag, value in (("--nodes", "2"), ("--node-cpu", "4"), ("--node-memory", "16Gi")):
            self.flags[self.flags.index(flag) + 1] = value

    def names(self):
        return {a["metadata"]["name"] for a in self.api("GET", "/apps")["items"]}


def manifests(plane):
    words = [str(ASTRA), "cluster", "manifests", "--crds", "--kube-namespace", NAMESPACE]
    plane.kubectl("apply", "-f", "-", stdin=subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    for name in ("apps", "pools"):
        plane.kubectl("wait", "--for=condition=Established", f"crd/{name}.astra-ray.dev", "--timeout=60s")


@pytest.fixture(scope="module")
def world(tmp_path_factory, etcd):
    world = Wide(tmp_path_factory.mktemp("custom"), fakeraylib.environment())
    try:
        yield world.up()
    finally:
        world.end()


def added(world, plane, name):
    manifests(plane)
    world.astra("cluster", "add", name, "--kubeconfig", kubeconfig(plane))
    wait_for("the lease", lambda: world.conditions(name)["Owner"]["status"] == "True", SOON_S)
    return plane


@pytest.fixture(scope="module")
def east(world, etcd, tmp_path_factory):
    """A control plane without anybody else's objects: all of them would be followed."""
    with kubelib.ControlPlane("custom", tmp_path_factory.mktemp("custom-east"), etcd) as plane:
        yield added(world, plane, "east")


def document(world, name="app", **spec):
    metadata = {"name": name, "namespace": TEAM}
    return {"apiVersion": GROUP, "kind": "App", "metadata": metadata, "spec": world.spec(name, **{"units": 1, **spec})}


def apply(plane, *documents):
    return plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))


def accepted(plane, name, reason, kind="apps", namespace=TEAM):
    """The condition, once it says so of the newest generation."""

    def found():
        thing = plane.api.get(kind, name, namespace)
        conditions = {c["type"]: c for c in thing.get("status", {}).get("conditions", ())}
        is_new = conditions.get("Accepted", {}).get("observedGeneration") == thing["metadata"]["generation"]
        return is_new and conditions["Accepted"]["reason"] == reason and conditions["Accepted"]

    return wait_for(f"{name} to be {reason}", found, SOON_S)


def settled(plane, name="app"):
    """Its version once nothing is written any more."""
    seen = [None, time.monotonic()]

    def still():
        version = plane.api.get("apps", name, TEAM)["metadata"]["resourceVersion"]
        if version != seen[0]:
            seen[:] = version, time.monotonic()
        return time.monotonic() - seen[1] > 2 and version

    return wait_for("silence", still, SOON_S)


@pytest.fixture(scope="module")
def applied(world, east):
    apply(east, document(world))
    east.kubectl("wait", "--for=condition=Available", "apps.astra-ray.dev/app", f"--timeout={SOON_S}s", timeout_s=2 * SOON_S)
    return east


def test_an_app_is_applied_and_serves(applied, world):
    with world.traffic() as traffic:
        some(traffic)
    assert traffic.failed == []
    assert applied.api.get("apps", "app", TEAM)["metadata"]["finalizers"] == ["astra-ray.dev/in-use"]
    world.wait_ready("app", SOON_S)
    wait_for("READY", lambda: applied.api.get("apps", "app", TEAM)["status"].get("state") == "READY", SOON_S)
    version = settled(applied)
    row = applied.kubectl("get", "apps.astra-ray.dev", "app", "-n", TEAM).splitlines()[1].split()
    assert row[:5] == ["app", "1", "1", "True", "READY"]
    apply(applied, document(world))
    assert settled(applied) == version and world.app("app")["revision"] == 1
    assert [e["actor"] for e in world.events("app") if "deployed" in e["message"]] == ["kubernetes"]


def test_scale(applied, world):
    """Units follow, no revision is made, and the scale subresource tells how many there are."""
    applied.kubectl("scale", "apps.astra-ray.dev/app", "-n", TEAM, "--replicas=2")
    applied.kubectl("wait", "--for=jsonpath={.status.units.ready}=2", "apps.astra-ray.dev/app", "-n", TEAM, f"--timeout={SOON_S}s",
                    timeout_s=2 * SOON_S)  # fmt: skip
    scale = applied.api.request("GET", applied.api.path("apps", TEAM, "app", "scale"))
    assert scale["status"]["replicas"] == 2 and scale["status"]["selector"]
    assert world.app("app")["revision"] == 1


def test_a_horizontal_pod_autoscaler(applied, world):
    """Kubernetes' own finds the scale subresource good, and brings the app to its minimum."""
    metric = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "5"}}}
    target = {"apiVersion": GROUP, "kind": "App", "name": "app"}
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "app", "namespace": TEAM}}
    applied.kubectl("scale", "apps.astra-ray.dev/app", "-n", TEAM, "--replicas=1")
    apply(applied, {**hpa, "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}})
    applied.kubectl("wait", "--for=jsonpath={.status.units.ready}=2", "apps.astra-ray.dev/app", "-n", TEAM, f"--timeout={SOON_S}s",
                    timeout_s=2 * SOON_S)  # fmt: skip
    applied.kubectl("delete", "hpa", "app", "-n", TEAM)


def test_definitions_of_before(applied, world):
    """What they do not know of a status is dropped by the API server, and not written for ever."""
    plain = subprocess.run([str(ASTRA), "cluster", "manifests", "--crds", "-o", "json"], capture_output=True, text=True, check=True)
    now = [d for d in json.loads(plain.stdout)["items"] if d["metadata"]["name"] == "apps.astra-ray.dev"]
    older = json.loads(json.dumps(now))
    del older[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["state"]
    applied.apply(older)
    applied.kubectl("scale", "apps.astra-ray.dev/app", "-n", TEAM, "--replicas=3")
    wait_for("no state", lambda: "state" not in applied.api.get("apps", "app", TEAM)["status"], SOON_S)
    settled(applied)
    applied.apply(now)
    applied.kubectl("scale", "apps.astra-ray.dev/app", "-n", TEAM, "--replicas=2")
    wait_for("a state", lambda: applied.api.get("apps", "app", TEAM)["status"].get("state") == "READY", SOON_S)


def test_what_is_wrong_is_told_and_nothing_changes(applied, world):
    units = 2
    world.wait("what was scaled", lambda: world.app("app")["units"]["wanted"] == units and world.wait_ready("app", SOON_S), SOON_S)
    apply(applied, document(world, units=units, code={"artifact": "none@1"}))
    told = accepted(applied, "app", "Invalid")
    assert 'no artifact "none@1"' in told["message"] and told["status"] == "False"
    assert world.app("app")["revision"] == 1 and world.app("app")["units"]["ready"] == units
    waited = "wait", "--for=condition=Available", "apps.astra-ray.dev/app", "-n", TEAM, "--timeout=2s"
    with pytest.raises(RuntimeError) as over:  # what serves is of the generation before
        applied.kubectl(*waited)
    assert "timed out" in str(over.value) or "deadline" in str(over.value)
    apply(applied, document(world, units=units))
    accepted(applied, "app", "Accepted")
    applied.kubectl(*waited[:-1], f"--timeout={SOON_S}s", timeout_s=2 * SOON_S)
    assert world.app("app")["revision"] == 1


def test_nobody_else_changes_it(applied, world):
    """Not the command line, and not a stranger in its status."""
    for words in (("scale", "app", "--units", "1"), ("delete", "app")):
        assert "comes from the Kubernetes cluster east" in world.astra(*words, status=1)
    settled(applied)
    ready = applied.api.get("apps", "app", TEAM)["status"]["units"]["ready"]
    applied.api.patch("apps", "app", {"status": {"units": {"ready": 99}}}, TEAM, sub="status")
    wait_for("the truth", lambda: applied.api.get("apps", "app", TEAM)["status"]["units"]["ready"] == ready, SOON_S)


def test_a_server_that_starts_again_writes_nothing(applied, world):
    version = settled(applied)
    world.kill_and_see_again("server")
    wait_for("the lease", lambda: world.conditions("east")["Owner"]["status"] == "True", SOON_S)
    world.wait_ready("app", SOON_S)
    assert world.app("app")["revision"] == 1
    apply(applied, document(world, units=1))
    accepted(applied, "app", "Accepted")
    world.wait_ready("app", SOON_S)
    assert int(settled(applied)) > int(version)


def test_what_the_api_made_is_not_taken_unasked(applied, world):
    world.deploy("mine", units=1)
    uid = world.api("GET", "/namespaces/default/apps/mine")["metadata"]["uid"]
    apply(applied, document(world, "mine", units=2))
    assert "adopt" in accepted(applied, "mine", "MadeByApi")["message"]
    assert len(world.units("mine")) == 1
    applied.kubectl("annotate", "apps.astra-ray.dev/mine", "-n", TEAM, "astra-ray.dev/adopt=true")
    accepted(applied, "mine", "Accepted")
    world.wait("two units", lambda: len(world.units("mine", "READY")) == 2, SOON_S)
    assert world.api("GET", "/namespaces/default/apps/mine")["metadata"]["uid"] == uid


def test_the_second_cluster_is_told(applied, world, etcd, tmp_path_factory):
    with kubelib.ControlPlane("west", tmp_path_factory.mktemp("west"), etcd, controllers=False, scheduler=False) as west:
        added(world, west, "west")
        apply(west, document(world, units=3))
        assert "another place" in accepted(west, "app", "MadeElsewhere")["message"]
        assert world.app("app")["units"]["wanted"] == 1
        west.kubectl("delete", "apps.astra-ray.dev/app", "-n", TEAM, f"--timeout={SOON_S}s", timeout_s=2 * SOON_S)
        assert "app" in world.names()
        world.astra("cluster", "rm", "west")


def test_deletion(applied, world):
    """kubectl delete waits until Astra has nothing of it left; what did not come from the object stays."""
    world.deploy("stays", units=1)
    apply(applied, document(world, "stays"))
    accepted(applied, "stays", "MadeByApi")
    applied.kubectl("delete", "apps.astra-ray.dev", "app", "mine", "stays", "-n", TEAM, f"--timeout={SOON_S}s", timeout_s=2 * SOON_S)
    assert world.names() == {"stays"}
    world.delete("stays")


def test_a_pool(applied, world):
    """It is where its object is, and nowhere else; kubectl delete empties it first."""
    namespace = NAMESPACE
    pool = {"apiVersion": GROUP, "kind": "Pool", "metadata": {"name": "small", "namespace": namespace}}
    spec = {"resources": {"cpu": 2, "memory": "4Gi"}, "max": 4}
    apply(applied, {**pool, "spec": {**spec, "namespace": "kube-system"}})
    assert "spec.namespace" in accepted(applied, "small", "Invalid", "pools", namespace)["message"]
    apply(applied, {**pool, "spec": spec})
    accepted(applied, "small", "Accepted", "pools", namespace)
    assert world.pool()["spec"]["cluster"] == "east" and world.pool()["spec"]["namespace"] == namespace
    assert "comes from the Kubernetes cluster east" in world.astra("pool", "rm", "small", status=1)
    applied.kubectl("delete", "pools.astra-ray.dev", "small", "-n", namespace, f"--timeout={SOON_S}s", timeout_s=2 * SOON_S)
    assert world.api("GET", "/pools")["items"] == []
