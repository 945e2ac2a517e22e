"""astra import over all that KubeRay's own module carries: its samples, and every field that its definitions name."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from uplib import ASTRA

ROOT = Path(__file__).resolve().parents[2]

KUBERAY = Path(subprocess.run([ROOT / "tools" / "kube-setup", "--kuberay"], stdout=subprocess.PIPE, text=True).stdout.strip())
pytestmark = pytest.mark.skipif(not KUBERAY.exists(), reason="KubeRay's module was not fetched yet: tools/kube-setup does it")

SERVE = "applications: [{import_path: 'ocr:app', route_prefix: /ocr}]\n"
RAY = ".template.spec.containers[0]"
CONTAINER = {"head": "headGroupSpec" + RAY, "worker": "workerGroupSpecs[0]" + RAY}
TPU = [CONTAINER["worker"] + ".resources.limits.google.com/tpu"]
TPU += ["workerGroupSpecs[0].template.spec.nodeSelector.cloud.google.com/gke-tpu-" + what for what in ("accelerator", "topology")]
GPU = [CONTAINER["worker"] + ".resources.limits.nvidia.com/gpu"]
SCRIPTS = [CONTAINER["head"] + ".volumeMounts[0]"]  # a ConfigMap with a program that somebody runs by hand
WRITABLE = [f"{group}.template.spec.nodeSelector.node.gke.io/enable-writable-cgroups" for group in ("headGroupSpec", "workerGroupSpecs[0]")]
COMMAND = [CONTAINER["head"] + ".command", CONTAINER["head"] + ".args"]
HOST_IDS = ["workerGroupSpecs[0].numOfHosts", CONTAINER["worker"] + ".env[0].valueFrom"]
ACCOUNTS = ["headGroupSpec.template.spec.serviceAccountName", "workerGroupSpecs[0].template.spec.serviceAccountName"]
REDIS = ["gcsFaultToleranceOptions", CONTAINER["head"] + ".volumeMounts[1]"]

# What is lost of each sample, below spec (of a RayService: spec.rayClusterConfig) or, after a slash, from the top. Samples that are not
# here lose nothing. Astra's own code, environment and Serve config are given for all.
LOST = {
    "ray-cluster-label-selector.yaml": [
        "enableInTreeAutoscaling",
        *SCRIPTS,
        "workerGroupSpecs[1]",  # num-gpus without a device
        "workerGroupSpecs[0].template.spec.nodeSelector.cloud.google.com/machine-family",
        "workerGroupSpecs[1].template.spec.nodeSelector.cloud.google.com/gke-spot",
        "workerGroupSpecs[1].template.spec.nodeSelector.cloud.google.com/gke-accelerator",
        "workerGroupSpecs[2].template.spec.nodeSelector.cloud.google.com/gke-spot",
    ],
    "ray-cluster-resource-isolation-with-overrides.gke.yaml": WRITABLE,
    "ray-cluster-resource-isolation.gke.yaml": WRITABLE,
    "ray-cluster.auth.secret-ref.yaml": ["enableInTreeAutoscaling", "authOptions.secretName"],
    "ray-cluster.auth.yaml": ["enableInTreeAutoscaling"],
    "ray-cluster.autoscaler-v2.yaml": ["enableInTreeAutoscaling", *SCRIPTS],
    "ray-cluster.autoscaler.yaml": ["enableInTreeAutoscaling", *SCRIPTS],
    "ray-cluster.deprecate-gcs-ft.yaml": [
        "/metadata.annotations.ray.io/ft-enabled",
        "headGroupSpec.rayStartParams.redis-password",
        CONTAINER["head"] + ".env[0]",
        CONTAINER["head"] + ".env[1]",
        CONTAINER["head"] + ".volumeMounts[1]",
    ],
    "ray-cluster.external-redis-uri.yaml": REDIS,
    "ray-cluster.external-redis.yaml": REDIS,
    "ray-cluster.fluentbit.yaml": ["headGroupSpec.template.spec.containers[1]"],
    "ray-cluster.gke-bucket.yaml": [ACCOUNTS[0], "headGroupSpec.template.spec.nodeSelector.iam.gke.io/gke-metadata-server-enabled"],
    "ray-cluster.head-command.yaml": [*COMMAND, CONTAINER["head"] + ".lifecycle", *SCRIPTS],
    "ray-cluster.kai-gpu-sharing.yaml": ["/metadata.labels.kai.scheduler/queue", "workerGroupSpecs[0].template.metadata.annotations.gpu-fraction"],
    "ray-cluster.kai-scheduler.yaml": ["/metadata.labels.kai.scheduler/queue"],
    "ray-cluster.kubernetes.auth-manual.yaml": [
        *ACCOUNTS,
        *(CONTAINER[who] + what for who in CONTAINER for what in (".env[1]", ".volumeMounts[0]")),
    ],
    "ray-cluster.kubernetes.auth.yaml": ["authOptions.enableK8sTokenAuth", *ACCOUNTS],
    "ray-cluster.overwrite-command.yaml": [
        "/metadata.annotations.ray.io/overwrite-container-cmd",
        *(CONTAINER[who] + what for who in CONTAINER for what in (".command", ".args")),
    ],
    "ray-cluster.persistent-redis.yaml": ["gcsFaultToleranceOptions"],
    "ray-cluster.py-spy.yaml": [CONTAINER["head"] + ".securityContext", *SCRIPTS],
    "ray-cluster.tls.yaml": [
        *(f"{group}.template.spec.initContainers[0]" for group in ("headGroupSpec", "workerGroupSpecs[0]")),
        *(CONTAINER[who] + what for who in CONTAINER for what in (".volumeMounts[1]", ".volumeMounts[2]", ".env[0]")),
    ],
    "ray-cluster.tpu-v4-multihost.yaml": ["workerGroupSpecs[0].numOfHosts", *TPU],
    "ray-cluster.tpu-v4-singlehost.yaml": TPU,
    "ray-cluster.tpu-v6e-16-multihost.yaml": [*HOST_IDS, *TPU],
    "ray-cluster.tpu-v6e-256-multihost.yaml": [*HOST_IDS, *TPU],
    "ray-cluster.tpu-v6e-singlehost.yaml": TPU,
    "ray-cluster.uv.yaml": SCRIPTS,
    "ray-cluster.verl.yaml": ["rayVersion", CONTAINER["head"] + ".resources.limits.nvidia.com/gpu"],
    "ray-cluster.volcano-scheduler-queue.yaml": ["/metadata.labels.volcano.sh/queue-name"],
    "ray-cluster.yunikorn-scheduler.yaml": ["/metadata.labels.yunikorn.apache.org/" + what for what in ("app-id", "queue")],
    "ray-service.custom-serve-service.yaml": ["/spec.serveService"],
    "ray-service.deepseek.yaml": GPU,
    "ray-service.high-availability.yaml": ["gcsFaultToleranceOptions"],
    "ray-service.incremental-upgrade.yaml": [
        "/spec.upgradeStrategy.clusterUpgradeOptions.stepSizePercent",
        "enableInTreeAutoscaling",
        "rayVersion",
    ],
    "ray-service.llm-serve.yaml": [CONTAINER["worker"] + ".env[0].valueFrom", *GPU],
    "ray-service.mobilenet.yaml": ["rayVersion"],
    "ray-service.stable-diffusion.yaml": ["rayVersion", *GPU],
    "ray-service.text-summarizer.yaml": ["rayVersion", *GPU],
    "ray-service.tpu-single-host.yaml": TPU,
    "vllm/ray-service.vllm-tpu-v6e-singlehost.yaml": [
        *ACCOUNTS,
        CONTAINER["head"] + ".env[0].valueFrom",
        CONTAINER["worker"] + ".env[1].valueFrom",
        *(CONTAINER[who] + ".volumeMounts[0]" for who in CONTAINER),
        *TPU,
    ],
}
# What no App can be, whatever is given: told by the App's own checker.
IMPOSSIBLE = {"ray-cluster.tpu-v6e-256-multihost.yaml": ["/spec.workers"]}  # a unit of 65 members


def samples():
    found = []
    for path in sorted((KUBERAY / "samples").rglob("*.yaml")):
        if re.search(r"^kind: Ray(Service|Cluster)$", path.read_text(), re.M):
            found.append(str(path.relative_to(KUBERAY / "samples")))
    return found


def astra(*words):
    return subprocess.run([str(ASTRA), *map(str, words)], capture_output=True, text=True, timeout=60)


def import_words(path, folder):
    words = ["import", path, "--environment", "requirements.txt", "--code", "."]
    if "ray-cluster" in path.name:
        (folder / "serve.yaml").write_text(SERVE)
        words += ["--serve", folder / "serve.yaml"]
    return words


def full(name, field):
    """A field of LOST as the report has it."""
    if field.startswith("/"):
        return field[1:]
    return ("spec.rayClusterConfig." if "ray-service" in name else "spec.") + field


@pytest.mark.parametrize("name", samples())
def test_sample(name, tmp_path):
    path = KUBERAY / "samples" / name
    words = import_words(path, tmp_path)
    done = astra(*words, "-o", "json")
    answer = json.loads(done.stdout)
    errors = {p["field"] for p in answer["problems"] if p["severity"] == "error"}
    lost, impossible = LOST.get(name, []), IMPOSSIBLE.get(name, [])
    assert errors == {full(name, field) for field in [*lost, *impossible]}
    assert all(p["message"] and (p["line"] > 0 or p["field"].startswith(("spec.workers", "--serve"))) for p in answer["problems"])
    assert done.returncode == (1 if errors else 0)
    # what is printed is an app that the checker takes, and --force is content with it
    (tmp_path / "app.yaml").write_text(astra(*words, "-o", "yaml").stdout)
    assert answer["valid"] is not bool(impossible)
    assert astra("validate", tmp_path / "app.yaml").returncode == (1 if impossible else 0)
    assert astra(*words, "--force").returncode == (1 if impossible else 0)


def test_table_names_samples_that_are_there():
    assert set(LOST) | set(IMPOSSIBLE) <= set(samples())
    assert len(samples()) == 52


# ---- the definitions ----

# Objects of Kubernetes' own are taken or told of whole, but these.
ENTERED = ["", "spec", "spec.rayClusterConfig", "spec.upgradeStrategy", "spec.upgradeStrategy.clusterUpgradeOptions"]
ENTERED += ["spec.rayClusterConfig." + part for part in ("headGroupSpec", "workerGroupSpecs", "authOptions")]
ENTERED += [f"spec.rayClusterConfig.{group}GroupSpec{part}" for group in ("head", "worker") for part in ("", ".template", ".template.spec")]


def example(schema, path):
    """A value that the schema allows, with every member as far as the importer goes into it."""
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        return {name: example(member, f"{path}.{name}".strip(".")) for name, member in schema["properties"].items()} if goes_into(path) else {"x": 1}
    if kind == "object":
        return {"x": "1"}
    if kind == "array":
        return [example(schema["items"], path)]
    values = {"integer": 1, "boolean": True, "number": 1.0}
    return schema["enum"][-1] if "enum" in schema else values.get(kind, "1")


def goes_into(path):
    place = path.replace("workerGroupSpecs", "workerGroupSpec")
    return path in ENTERED or place in ENTERED or place.endswith("GroupSpec.template.spec.containers")


def test_every_field_of_the_definition_is_known(tmp_path):
    """R1: the definitions name no field that no table names."""
    definition = yaml.safe_load((KUBERAY / "crd" / "bases" / "ray.io_rayservices.yaml").read_text())
    schema = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")["schema"]["openAPIV3Schema"]
    service = example(schema, "")
    service |= {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "all"}}
    service["spec"]["serveConfigV2"] = SERVE
    service["spec"]["suspend"] = False
    worker = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    worker["suspend"] = False
    assert len(service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]) > 35
    assert len(worker["template"]["spec"]["containers"][0]) > 20
    (tmp_path / "all.json").write_text(json.dumps(service))
    answer = json.loads(astra("import", tmp_path / "all.json", "--env-artifact", "env@1", "-o", "json").stdout)
    unknown = [p["field"] for p in answer["problems"] if "that Astra knows" in p["message"] and not p["field"].endswith(".x")]
    assert unknown == []
