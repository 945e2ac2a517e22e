"""A platform whose nodes are pods, for tests and benchmarks of the kube role: a server and a gateway, one node that has no room, and
what an operator does to add a cluster and a pool."""

import json
import ssl
import subprocess
import urllib.request
from collections import defaultdict

from kubelib import wait_for  # isort: skip - it finds what follows
import disasterlib
from uplib import ASTRA

IMAGE = "astra.local/astra:1"
NAMESPACE = "astra"
SOON_S = max(120, disasterlib.SOON_S)  # on a machine that may be busy
APPLY = {"mounts": {"/opt/astra/bin/astra": ASTRA}, "env": {"PATH": "/opt/astra/bin:/usr/bin:/bin"}}


class World(disasterlib.World):
    """A server, a gateway, and one node that is too small for anything."""

    def __init__(self, folder, environment):
        super().__init__(folder, environment, lost_after="10s")  # the product's own: what is only slow here is not lost
        for flag, value in (("--clusters", "1"), ("--nodes", "1"), ("--node-cpu", "100m"), ("--node-memory", "64Mi")):
            self.flags[self.flags.index(flag) + 1] = value

    @property
    def join_address(self):
        return f"127.0.0.1:{json.loads((self.data / 'run' / 'server.ready').read_text())['starlink']}"

    def astra(self, *words, status=0, stdin=None):
        done = subprocess.run([str(ASTRA), *map(str, words)], capture_output=True, text=True, timeout=60, env=self.env, input=stdin)
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
        """By type; of what is not known yet, as after a server's start, the cluster says nothing."""
        unknown = {"status": "Unknown", "reason": None, "message": ""}
        return defaultdict(lambda: unknown, {c["type"]: c for c in self.cluster(name)["kubernetes"]["conditions"]})

    def pool(self, name="small"):
        return self.api("GET", f"/pools/{name}")

    def deploy(self, name="app", **spec):
        """Pods may have to come first."""
        self.put_app(name, self.spec(name, **spec))
        return self.wait_ready(name, SOON_S)

    def wait_pool(self, what, check, name="small", timeout_s=SOON_S):
        def checked():
            status = self.pool(name)["status"]
            return check(status) and status

        try:
            return self.wait(f"pool {name}: {what}", checked, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{json.dumps(self.api('GET', f'/pools/{name}')['status'])}") from None


def is_stale(status):
    """Of a pool's status; None as long as that is not known."""
    return next((c["status"] == "True" for c in status["conditions"] if c["type"] == "Stale"), None)


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


def kubeconfig(plane, **options):
    """Of the service account that the manifests make, with its namespace."""
    token = plane.token("astra", NAMESPACE)
    path = plane.kubeconfig("astra", token=token, **options)
    document = json.loads(path.read_text())
    document["contexts"][0]["context"]["namespace"] = NAMESPACE
    path.write_text(json.dumps(document))
    return path


def manifests_apply(plane):
    """What `astra cluster manifests` prints: the namespace, a service account and its rights."""
    words = [str(ASTRA), "cluster", "manifests", "--kube-namespace", NAMESPACE]
    plane.kubectl("apply", "-f", "-", stdin=subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def cluster_add(world, plane, name, address=None):
    """`astra cluster add`; returns what it said once this server drives the cluster."""
    words = ("cluster", "add", name, "--kubeconfig", kubeconfig(plane), "--image", IMAGE, "--join-address", address or world.join_address)
    said = world.astra(*words)
    wait_for("the lease", lambda: world.conditions(name)["Owner"]["status"] == "True", SOON_S)
    return said
