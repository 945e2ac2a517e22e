"""A unit's members into ready pods of a pool, against creating the same pods through kube-scheduler until they are Ready.

`kube-place` is the ratio of the two times, of one unit of eight members, each of which fills a pod. Astra: from the request that makes
the app until the server has the word of all eight agents that they hold their member (the unit's step to FETCHING): the app is
parsed, checked and stored, the unit planned, its record written, each member reserved and then bound by its agent. Kubernetes:
from the first of eight POSTs, sent at once over open connections, until a watch has said of the last pod that it is Ready; the
scheduler is not limited in its requests, and nodes are kwok's, which make a pod Ready without running anything: no image, sandbox or
process is in that time. Both stand on one machine, in turns. Neither waits for a disk: etcd does not sync, and what the server and the
agents write lies in /dev/shm.
"""

import argparse
import contextlib
import json
import ssl
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from _kube import Line, kubeapi, kubelib, needed, pod_like
from _rows import ratio_rows, row
from demolib.world import wall_seconds
from rolelib import APPLY, IMAGE, NAMESPACE, SOON_S, World, cluster_add, manifests_apply, pool

import fakeraylib
import podrunner

MEMBERS = 8


def say(text):
    print(f"kube-place: {text}", file=sys.stderr, flush=True)


class Scheduler:
    """Makes pods like `pod` on kwok's nodes, and knows when they are Ready."""

    def __init__(self, plane, pod):
        self.plane, self.pod = plane, pod
        self.lines = [Line.to_plane(plane) for _ in range(MEMBERS)]
        for line in self.lines:
            line.request("GET", "/version")
        self.ready, self.changed = {}, threading.Condition()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                for kind, pod in self.plane.api.watch("pods", NAMESPACE, labelSelector="bench=place"):
                    if kind != "DELETED" and kubeapi.condition(pod, "Ready") == "True":
                        with self.changed:
                            self.ready.setdefault(pod["metadata"]["name"], time.time())
                            self.changed.notify()

    def once(self, number):
        """Seconds from the first request until all are Ready."""
        documents = []
        for n in range(MEMBERS):
            document = pod_like(self.pod, f"bench-{number}-{n}", nodeSelector={"type": "kwok"})
            document["metadata"]["labels"] = {"bench": "place"}
            documents.append(document)
        names = {document["metadata"]["name"] for document in documents}
        path = self.plane.api.path("pods", NAMESPACE)
        threads = [threading.Thread(target=line.request, args=("POST", path, d)) for line, d in zip(self.lines, documents)]
        began = time.time()
        for thread in threads:
            thread.start()
        with self.changed:
            if not self.changed.wait_for(lambda: names <= self.ready.keys(), SOON_S):
                raise TimeoutError(f"not Ready: {names - self.ready.keys()}")
        took = max(self.ready[name] for name in names) - began
        for name in names:
            self.plane.api.delete("pods", name, NAMESPACE, grace_s=0)
        kubelib.wait_for("their end", lambda: not self.plane.api.list("pods", NAMESPACE, labelSelector="bench=place"))
        return took


class Astra:
    """Deploys apps of one unit."""

    def __init__(self, world):
        self.world, client = world, world.client()
        host, port = client["address"].removeprefix("https://").split(":")
        context = ssl.create_default_context(cadata=client["ca"])
        self.line = Line(host, int(port), context, {"Authorization": "Bearer " + client["token"]})
        self.line.request("GET", "/v1/nodes")

    def once(self, number):
        """Seconds from the request until the unit's members are held by their agents."""
        name = f"place-{number}"
        member = {"cpu": 2, "memory": "2Gi", "disk": "5Gi"}
        spec = self.world.spec(name, units=1, head=member, workers=[{"name": "w", "count": MEMBERS - 1, **member}])
        document = {"kind": "App", "metadata": {"name": name}, "spec": spec}
        began = time.time()
        self.line.request("PUT", f"/v1/namespaces/default/apps/{name}", document)

        def held():
            return next((e for e in self.world.events(name) if "CLAIMING -> FETCHING" in e["message"]), None)

        took = wall_seconds(self.world.wait("all agents to hold their member", held, SOON_S)["time"]) - began
        (unit,) = self.world.units(name)
        nodes = {member["node"] for member in unit["members"]}
        if len(nodes) != MEMBERS:
            raise RuntimeError(f"{len(nodes)} pods for {MEMBERS} members")
        self.world.delete(name)
        self.world.wait("the end of its claims", lambda: self.world.pool()["status"]["free"] == MEMBERS, SOON_S)
        return took


def pods_ready(world, plane, folder):
    """A pool of as many pods as the unit has members, all joined; returns one of them."""
    cluster_add(world, plane, "east")
    path = folder / "pool.yaml"
    path.write_text(json.dumps(pool(min=MEMBERS, max=MEMBERS)))
    world.astra("pool", "apply", path)
    world.wait_pool("all have joined", lambda s: s["joined"] == MEMBERS)
    return plane.api.list("pods", NAMESPACE)[0]


def measure(folder, o, stack):
    (plane,) = stack.enter_context(kubelib.clusters(folder, "place"))
    manifests_apply(plane)
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti"}
    stack.enter_context(podrunner.PodRunner(plane, "runner", {IMAGE: APPLY}, capacity=room))
    world = World(folder, fakeraylib.environment())
    stack.callback(world.end)
    world.up()
    pod = pods_ready(world, plane, folder)
    plane.kwok_nodes(3)
    astra, scheduler = Astra(world), Scheduler(plane, pod)
    own, theirs = [], []
    for number in range(o.pairs + 1):  # the first one warms what is cached
        turns = [(own, astra), (theirs, scheduler)]
        for times, side in turns if number % 2 == 0 else reversed(turns):
            times.append(side.once(number) * 1e3)
        say(f"{number}/{o.pairs}: astra {own[-1]:.1f} ms, kube-scheduler {theirs[-1]:.1f} ms")
    return own[1:], theirs[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    o = parser.parse_args()
    needed()
    tempfile.tempdir = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="astra-bench-") as name, contextlib.ExitStack() as stack:
        own, theirs = measure(Path(name), o, stack)
    peer, rates = "kube-scheduler, kwok", [[1e3 / t for t in side] for side in (own, theirs)]
    ratio_rows("kube-place", "kube-place.detail.per_second", "1/s", rates[0], peer, rates[1], min=20)
    row("kube-place.detail.ms", statistics.median(own), "ms", own, peer=peer, peer_value=statistics.median(theirs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
