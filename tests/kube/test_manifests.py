"""deploy/kubernetes: the chart, what is printed of it, and the agents; every object is accepted by a real API server with strict
validation, its pods by the restricted pod security standard, and all of it runs under the real kubelet."""

import copy
import json
import os
import re
import subprocess
import sys

import kubeapi
import pytest
import yaml
from kubelib import ROOT, wait_for

HERE = ROOT / "deploy" / "kubernetes"
NAMESPACE = "astra"
TOOL = [sys.executable, ROOT / "tools" / "kube-manifests"]
EVERYTHING = {
    "image": {"tag": "9", "pullSecrets": ["registry"]},
    "server": {
        "extraArgs": ["--lost-after", "20s"],
        "service": {"type": "LoadBalancer", "annotations": {"example.com/a": "true"}},
        "storage": {"className": "fast"}, "nodeSelector": {"a": "b"}, "tolerations": [{"key": "x", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]}},
    },
    "gateway": {"tls": {"secret": "certificate"}, "service": {"port": 443}, "extraArgs": ["--log-json=yes"], "drainSeconds": 30},
    "pools": [{"name": "small", "spec": {"cluster": "here", "min": 1, "max": 3, "resources": {"cpu": 2, "memory": "4Gi"}}}],
    "networkPolicy": {"apiFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "metricsFrom": [{"namespaceSelector": {}}]},
}  # fmt: skip
DRY = "dryRun=All&fieldValidation=Strict&fieldManager=test&force=true"
LITTLE = {"gateway": {"enabled": False}, "access": {"enabled": False}, "networkPolicy": {"enabled": False}}


def chart(values, status=0, **environment):
    words = [*TOOL, "--render", "-"]
    done = subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def kustomized(plane, folder):
    return list(yaml.safe_load_all(plane.kubectl("kustomize", HERE / folder)))


def named(documents, kind, name):
    return next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))


@pytest.fixture(scope="module")
def home(plane):
    """The namespace, in which only pods of the restricted standard may be; the cluster knows the chart's own kinds."""
    plane.kubectl("apply", "-f", HERE / "chart" / "crds")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", HERE / "chart" / "crds")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.api.create("namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    wait_for("its service account", lambda: plane.api.get("serviceaccounts", "default", NAMESPACE), 60)
    yield NAMESPACE
    plane.api.delete("namespaces", NAMESPACE)


def accepted(plane, documents):
    """Each object, and a pod of each template, as if it were applied; a field that is not known is an error."""
    pods = []
    for document in documents:
        if template := document.get("spec", {}).get("template"):
            pod = copy.deepcopy(template)
            volumes = pod["spec"].setdefault("volumes", [])
            volumes += [{"name": c["metadata"]["name"], "emptyDir": {}} for c in document["spec"].get("volumeClaimTemplates", ())]
            meta = {**pod["metadata"], "name": "of-" + document["metadata"]["name"], "namespace": NAMESPACE}
            pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod["spec"]})
    for document in [*documents, *pods]:
        group, name, namespace = document["apiVersion"], document["metadata"]["name"], document["metadata"].get("namespace")
        kinds = document["kind"].lower().removesuffix("y") + ("ies" if document["kind"].endswith("y") else "s")
        path = f"/{'apis' if '/' in group else 'api'}/{group}" + (f"/namespaces/{namespace}" if namespace else "")
        plane.api.request("PATCH", f"{path}/{kinds}/{name}?{DRY}", document, kubeapi.APPLY)


def test_what_is_printed_is_up_to_date():
    """`make manifests` would change nothing: one source for the pods, the rights and the chart's defaults."""
    done = subprocess.run([*TOOL, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("values", [{}, EVERYTHING, LITTLE], ids=["defaults", "everything", "little"])
def test_the_chart_is_accepted(plane, home, values):
    accepted(plane, chart(values))


@pytest.mark.parametrize("folder", ["base", "agents"])
def test_the_kustomizations_are_accepted(plane, home, folder):
    accepted(plane, kustomized(plane, folder))


def test_what_is_wrong_is_not_accepted(plane, home):
    documents = chart({})
    assert "no value gateway.replica" in chart({"gateway": {"replica": 3}}, status=1)
    named(documents, "Deployment", "astra-gateway")["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubeapi.ApiError, match="livenessprobe"):
        accepted(plane, documents)
    documents = chart({})
    named(documents, "StatefulSet", "astra-server")["spec"]["template"]["spec"]["securityContext"].pop("seccompProfile")
    with pytest.raises(kubeapi.ApiError, match="violates PodSecurity"):
        accepted(plane, documents)
    with pytest.raises(kubeapi.ApiError, match=r"spec\.maximum"):
        accepted(plane, chart({"pools": [{"name": "p", "spec": {"cluster": "here", "maximum": 3}}]}))


def test_another_release_is_elsewhere():
    """Another name and namespace: nothing stays behind in the first."""
    documents = chart({}, ASTRA_RELEASE="r", ASTRA_RELEASE_NAMESPACE="ml")
    assert {d["metadata"].get("namespace", d["kind"]) for d in documents} == {"ml", "ClusterRole", "ClusterRoleBinding"}
    assert not re.search(r"namespace\W+astra\b", json.dumps(documents))


def test_every_value_is_explained():
    """Each top-level value of the chart has a comment before it or before each of its own."""
    text = (HERE / "chart" / "values.yaml").read_text()
    for block in re.split(r"^(?=\w)", text, flags=re.M)[1:]:
        before = text[: text.index(block)].rstrip("\n").splitlines()
        assert "#" in block or (before and before[-1].startswith("#")), block


def small(container, cpu="100m", memory="256Mi"):
    container["resources"] = {"requests": {"cpu": cpu, "memory": memory}}


def test_it_runs(plane, kubelet, loaded_image, home):
    """The chart's server and gateways and the printed agents, under the real kubelet. What the rig lacks is played: addresses instead
    of names (no DNS), an emptyDir instead of a claim (no provisioner), little CPU."""
    name, tag = loaded_image.split(":")
    documents = chart({"image": {"repository": name, "tag": tag, "pullPolicy": "Never"}, "gateway": {"replicas": 1}})
    server, gateway = named(documents, "StatefulSet", "astra-server"), named(documents, "Deployment", "astra-gateway")
    agents = named(kustomized(plane, "agents"), "Deployment", "astra-agents")
    server["spec"].pop("volumeClaimTemplates")
    server["spec"]["template"]["spec"]["volumes"].append({"name": "data", "emptyDir": {}})
    for each in (server, gateway, agents):
        each["spec"]["template"]["spec"]["nodeSelector"] = {"type": "kubelet"}
        small(each["spec"]["template"]["spec"]["containers"][0])
    plane.apply([d for d in documents if d is not gateway])
    plane.wait_pod("astra-server-0", "Running", True, NAMESPACE, 180)
    inside = ("exec", "-n", NAMESPACE, "astra-server-0", "--", "astra")
    token = plane.kubectl(*inside, "token", "create", "--role", "join").strip()
    plane.api.create("secrets", {"metadata": {"name": "astra-join"}, "stringData": {"token": token}}, NAMESPACE)
    starlink = plane.pod("astra-server-0", NAMESPACE)["status"]["podIP"] + ":7701"
    agents["spec"]["replicas"] = 1
    for each in (gateway, agents):
        container = each["spec"]["template"]["spec"]["containers"][0]
        container["image"] = loaded_image
        container["args"] = [f"--server={starlink}" if a.startswith("--server=") else a for a in container["args"]]
    plane.apply([gateway, agents])

    def ready(kind):
        return plane.api.get("deployments", kind, NAMESPACE).get("status", {}).get("readyReplicas") == 1

    wait_for("the gateway and an agent", lambda: ready("astra-gateway") and ready("astra-agents"), 180)
    (node,) = json.loads(plane.kubectl(*inside, "nodes", "-o", "json"))["items"]
    assert (node["cluster"], node["state"]) == ("kubernetes", "UP") and node["labels"]["astra-ray.dev/pool"] == "agents"
    assert "is known" in plane.kubectl(*inside, "cluster", "add", "here", "--no-check", "--kubeconfig", "/var/run/astra/kube/config")
