"""The custom resources App and Pool on a real API server, without Astra: what it takes, refuses, fills in, explains and merges."""

import json
import subprocess

import kubeapi
import pytest
import yaml
from uplib import ASTRA

GROUP = "astra-ray.dev/v1alpha1"


def manifests():
    words = [str(ASTRA), "cluster", "manifests", "--crds"]
    return list(yaml.safe_load_all(subprocess.run(words, capture_output=True, text=True, check=True).stdout))


def definitions():
    return [document for document in manifests() if document["kind"] == "CustomResourceDefinition"]


@pytest.fixture(scope="module")
def served(plane):
    plane.apply(definitions())
    for name in ("apps", "pools"):
        plane.kubectl("wait", "--for=condition=Established", f"crd/{name}.astra-ray.dev", "--timeout=60s")
    crd = plane.api.get("customresourcedefinitions", "apps.astra-ray.dev")
    conditions = {c["type"]: c for c in crd["status"]["conditions"]}
    assert "NonStructuralSchema" not in conditions, conditions
    return plane


def app(name="ocr", **spec):
    serve = {"applications": [{"name": "a", "import_path": "a:a", "route_prefix": "/", "deployments": [{"name": "D", "num_replicas": 2}]}]}
    return {
        "apiVersion": GROUP,
        "kind": "App",
        "metadata": {"name": name},
        "spec": {"environment": [{"artifact": "e@1"}], "serve": serve, **spec},
    }


def pool(**spec):
    resources = {"cpu": 2, "memory": "4Gi"}
    return {"apiVersion": GROUP, "kind": "Pool", "metadata": {"name": "small"}, "spec": {"resources": resources, "max": 4, **spec}}


def apply(plane, document, namespace, *words, check=True):
    return plane.kubectl("apply", "-n", namespace, "-f", "-", *words, stdin=json.dumps(document), check=check)


def test_taken_completed_and_applied_twice(served, namespace):
    """The defaults are the checker's; what has no schema of ours passes whole; the same again is no change."""
    assert "created" in apply(served, app(head={"cpu": "0.5"}), namespace)
    stored = served.api.get("apps", "ocr", namespace)
    assert stored["spec"]["units"] == 1 and stored["spec"]["head"] == {
        "cpu": "0.5", "memory": "2Gi", "disk": "4Gi", "devices": [], "serves": "auto", "stability": "stable", "timeout": "30s",
        "ray": {"resources": {}, "labels": {}},
    }  # fmt: skip
    assert stored["spec"]["serve"]["applications"][0]["deployments"] == [{"name": "D", "num_replicas": 2}]
    assert "unchanged" in apply(served, app(head={"cpu": "0.5"}), namespace)
    apply(served, pool(template={"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}}), namespace)
    assert served.api.get("pools", "small", namespace)["spec"]["template"]["spec"]["tolerations"][0]["key"] == "gpu"


@pytest.mark.parametrize(
    "spec, word",
    [
        ({"unitz": 2}, 'unknown field "spec.unitz"'),
        ({"units": -1}, "spec.units"),
        ({"head": {"serves": "maybe"}}, "spec.head.serves"),
        ({"head": {"memory": "2gb"}}, "spec.head.memory"),
        ({"drain": {"requests": "soon"}}, "spec.drain.requests"),
        ({"environment": []}, "spec.environment"),
        ({"workers": [{"name": "w"}, {"name": "w"}]}, "Duplicate value"),
        ({"workers": [{"count": 2}]}, "spec.workers[0].name"),
    ],
)
def test_refused_by_the_api_server(served, namespace, spec, word):
    """kubectl apply asks for strict fields; nothing is stored, and the field is named."""
    with pytest.raises(RuntimeError) as refused:
        apply(served, app(**spec), namespace, "--dry-run=server")
    assert word in str(refused.value)


def test_explain(served):
    said = served.kubectl("explain", "apps.spec.rollout.maxSurge", "--api-version", GROUP)
    assert "units above the wanted number" in said and "integer" in said
    assert "auto" in served.kubectl("explain", "apps.spec.head.serves", "--api-version", GROUP)
    assert "not supported yet" in served.kubectl("explain", "apps.spec.suspend", "--api-version", GROUP)


def test_scale_and_columns(served, namespace):
    apply(served, app(), namespace)
    served.kubectl("scale", "apps.astra-ray.dev/ocr", "--replicas=3", "-n", namespace)
    assert served.api.get("apps", "ocr", namespace)["spec"]["units"] == 3
    status = {"units": {"ready": 2, "total": 3}, "selector": "astra-ray.dev/app=ocr", "state": "ROLLING"}
    served.api.patch("apps", "ocr", {"status": status, "spec": {"units": 9}}, namespace, sub="status")
    scale = served.api.request("GET", served.api.path("apps", namespace, "ocr", "scale"))
    assert scale["spec"]["replicas"] == 3 and scale["status"] == {"replicas": 3, "selector": "astra-ray.dev/app=ocr"}
    head, row = served.kubectl("get", "apps.astra-ray.dev", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "UNITS", "READY", "AVAILABLE", "STATE", "REVISION", "AGE"]
    assert row.split()[:3] == ["ocr", "3", "2"]


def test_who_applies_parts_owns_parts(served, namespace):
    """Two managers share a list with keys, item by item; a field of another's is a conflict; a list without keys is one value."""

    def of(manager, document, force=False):
        path = served.api.path("apps", namespace, "ocr", fieldManager=manager, force=str(force).lower())
        return served.api.request("PATCH", path, document, kubeapi.APPLY)

    of("team", app(env=[{"name": "A", "value": "1"}], units=2))
    part = {"apiVersion": GROUP, "kind": "App", "metadata": {"name": "ocr"}, "spec": {"env": [{"name": "B", "value": "2"}]}}
    assert [e["name"] for e in of("platform", part)["spec"]["env"]] == ["A", "B"]
    with pytest.raises(kubeapi.ApiError) as conflict:
        of("platform", {**part, "spec": {"units": 5}})
    assert conflict.value.status == 409 and "spec.units" in str(conflict.value)
    assert of("platform", {**part, "spec": {}})["spec"]["env"] == [{"name": "A", "value": "1"}]


def test_definitions_of_before(served, namespace):
    """Objects of an older definition stay when it is replaced, and read with what is new."""
    apply(served, app(), namespace)
    older = next(d for d in definitions() if d["metadata"]["name"] == "apps.astra-ray.dev")
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["logs"]
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["state"]
    served.apply([older])
    served.apply(definitions())
    assert served.kubectl("get", "apps.astra-ray.dev", "ocr", "-n", namespace, "-o", "jsonpath={.spec.units}") == "1"
