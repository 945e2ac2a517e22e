"""The kube role following the pods of two clusters, against a Go program with client-go's informers that follows the same ones.

Two API servers on one etcd, 5,000 pods of one pool in each on nodes of kwok, made like the pool's own (no controller-manager, no
scheduler: pods are bound when they are made). A hundred of them are deleted or made each second, half of each, and kwok writes their
status; both sides follow the same pods at the same time, so a window of both is a pair. `kube-watch.cpu` is the ratio of CPU seconds of
the whole processes over windows of ten seconds: ours is the server with all that it does besides, its lease, its pools' plans and their
disruption budgets. `kube-watch.memory` is the ratio of what following takes: resident memory after each window, less that of the same
program that follows nothing yet (the server before it knows of a cluster, the peer with a selector of nothing); .detail.rss_mib has
the whole processes. `kube-watch.staleness`: from the moment a request that makes a pod is sent until the pod is known, under the same
churn: to us by asking the server for its metrics over and over, to the peer by its handler.

The peer (tests/kube/go/informer) is tuned first: protobuf, no compression, a scheme of pods alone, objects cut down to our fields before
they are stored, repeated texts kept once, memory of the first list given back.
"""

import argparse
import contextlib
import json
import queue
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from _kube import Line, Lines, kubelib, needed, pod_like
from _peers import ROOT, cpu_seconds
from _rows import ratio_rows, row
from rolelib import NAMESPACE, World, cluster_add, kubeconfig, manifests_apply, pool

import fakeraylib

PER_NODE = 110
CREATORS = 4  # connections to each API server
PERIOD_S = 10
KNOWN_S = 60
WITHOUT = {"disable-admission-plugins": "ServiceAccount"}  # no controller-manager makes the accounts


def say(text):
    print(f"kube-watch: {text}", file=sys.stderr, flush=True)


class Load:
    """The pods of one cluster: all made at first, then `rate` of them a second deleted and made anew, for as long as `running`."""

    def __init__(self, plane, pod, count, rate):
        self.plane, self.pod, self.rate, self.made = plane, pod, rate, 0
        self.path = plane.api.path("pods", NAMESPACE)
        self.nodes = plane.kwok_nodes(-(-count // PER_NODE) + 2, pods=str(2 * PER_NODE))
        self.lines, self.names, self.random = Lines(plane, CREATORS), [], random.Random(1)
        self.running, self.late_s = True, 0.0
        for _ in range(count):
            self.make()
        self.lines.wait()

    def make(self):
        name = f"load-{self.made}"
        self.made += 1
        self.lines.send("POST", self.path, pod_like(self.pod, name, nodeName=self.nodes[self.made % len(self.nodes)]))
        self.names.append(name)

    def churn(self):
        at = time.monotonic()
        while self.running:
            at += 2 / self.rate
            time.sleep(max(0.0, at - time.monotonic()))
            self.late_s = max(self.late_s, time.monotonic() - at)
            n = self.random.randrange(len(self.names))
            self.names[n], self.names[-1] = self.names[-1], self.names[n]
            self.lines.send("DELETE", f"{self.path}/{self.names.pop()}")
            self.make()

    def begin(self):
        self.thread = threading.Thread(target=self.churn, daemon=True)
        self.thread.start()

    def end(self):
        self.running = False
        self.thread.join()
        self.lines.wait()


class Process:
    def __init__(self, pid):
        self.pid = pid

    def cpu_s(self):
        return cpu_seconds(self.pid)

    def memory_mib(self, part="VmRSS"):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(part + ":")) / 1024


class Informer(Process):
    """The peer: its process, what it has counted, and when it heard of marked pods."""

    def __init__(self, namespace, installation, kubeconfigs, stack):
        built = subprocess.run([ROOT / "tools" / "kube-setup", "--informer"], check=True, stdout=subprocess.PIPE, text=True)
        program = built.stdout.split()[-1]
        selector = f"astra-ray.dev/installation={installation},astra-ray.dev/pool"
        words = [program, namespace, selector, "marks", *kubeconfigs]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        super().__init__(self.process.pid)
        self.heard, self.answers = {}, queue.Queue()
        self.rows = int(self.process.stdout.readline().split()[1])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "events":
                self.answers.put((int(words[1]), int(words[3])))
            else:
                self.heard[words[1]] = int(words[0]) / 1e9

    def counts(self):
        """(events of handlers, rows)"""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answers.get(timeout=30)


class Role(Process):
    """The server."""

    def __init__(self, world):
        super().__init__(world.pid("server"))
        client = world.client()
        host, port = client["address"].removeprefix("https://").split(":")
        self.line = Line(host, int(port), ssl.create_default_context(cadata=client["ca"]), {"Authorization": "Bearer " + client["token"]})

    def metric(self, start):
        """The sum of those lines of /metrics."""
        lines = self.line.text("GET", "/metrics").decode().splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def known(self, pool):
        return self.metric(f'astra_kube_pool_pods{{pool="{pool}",state="known"}}')

    def events(self):
        return sum(self.metric(f'astra_kube_watch_total{{cluster="{name}",what="events"}}') for name in ("east", "west"))


def pools_apply(world, folder, per_cluster):
    """Each makes one pod and, with one on the way, no other; it never has more than it wants, so that it deletes none."""
    for name, cluster, least in (("east", "east", per_cluster + 1), ("west", "west", per_cluster + 1), ("marks", "east", 2)):
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(pool(name, cluster, min=least, max=2 * per_cluster, surge=1)))
        world.astra("pool", "apply", path)


def own_pods(plane, name):
    """Those that the pool made itself: what others are made like."""
    return kubelib.wait_for(f"a pod of {name}", lambda: plane.api.list("pods", NAMESPACE, labelSelector=f"astra-ray.dev/pool={name}"))


def staleness(role, informer, plane, like, count):
    """Milliseconds from the request until the pod was known: (ours, the peer's)."""
    line, path, own, theirs = Line.to_plane(plane), plane.api.path("pods", NAMESPACE), [], []
    base = role.known("marks")
    for number in range(count):
        name = f"mark-{number}"
        sender = threading.Thread(target=line.text, args=("POST", path, pod_like(like, name)))
        began = time.time()
        sender.start()
        while role.known("marks") == base:
            if time.time() > began + KNOWN_S:
                raise TimeoutError(f"{name} is not known: {base} pods are; the peer heard of it: {name in informer.heard}")
        own.append((time.time() - began) * 1e3)
        sender.join()
        theirs.append((kubelib.wait_for("the peer to hear of it", lambda: informer.heard.get(name)) - began) * 1e3)
        line.text("DELETE", f"{path}/{name}?gracePeriodSeconds=0")
        kubelib.wait_for("its end to be known", lambda: role.known("marks") == base, step_s=0.01)
    return own, theirs


def p99(values):
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def windows(role, informer, count, period_s):
    """[(CPU seconds, MiB, MiB without files, events)] of each side over the same windows."""
    own, theirs = [], []
    for number in range(count):
        sides = [(own, role, role.events), (theirs, informer, lambda: informer.counts()[0])]
        before = [(side.cpu_s(), events()) for _, side, events in sides]
        time.sleep(period_s)
        for (found, side, events), (cpu_s, seen) in zip(sides, before):
            cpu_s = side.cpu_s() - cpu_s
            found.append((cpu_s, side.memory_mib(), side.memory_mib("RssAnon"), events() - seen))
        (a, mib, *_), (b, theirs_mib, *_) = own[-1], theirs[-1]
        say(f"{number + 1}/{count}: astra {a:.3f} s, {mib:.1f} MiB; client-go {b:.3f} s, {theirs_mib:.1f} MiB")
    return own, theirs


def measure(folder, o, stack):
    planes = stack.enter_context(kubelib.clusters(folder, "east", "west", controllers=False, scheduler=False, options=WITHOUT))
    world = World(folder, fakeraylib.environment())
    stack.callback(world.end)
    world.up()
    role = Role(world)
    role.metric("astra_")
    empty = [role.memory_mib()]
    for plane in planes:
        manifests_apply(plane)
        cluster_add(world, plane, plane.name)
    pools_apply(world, folder, o.pods)
    likes = [own_pods(plane, plane.name)[0] for plane in planes]
    mark = own_pods(planes[0], "marks")[0]
    loads = [Load(plane, like, o.pods, o.churn / len(planes)) for plane, like in zip(planes, likes)]
    say(f"{len(planes)} clusters of {o.pods} pods, of {len(json.dumps(likes[0]))} bytes each")
    for plane in planes:
        kubelib.wait_for("all to be known", lambda: role.known(plane.name) >= o.pods, 120)
    installation = mark["metadata"]["labels"]["astra-ray.dev/installation"]
    kubeconfigs = [kubeconfig(plane) for plane in planes]
    with contextlib.ExitStack() as short:
        empty.append(Informer(NAMESPACE, "none", kubeconfigs, short).memory_mib())
    informer = Informer(NAMESPACE, installation, kubeconfigs, stack)
    if informer.rows < len(planes) * o.pods:
        raise RuntimeError(f"the peer knows {informer.rows} pods")
    for load in loads:
        load.begin()
    time.sleep(PERIOD_S)
    own, theirs = windows(role, informer, o.windows, PERIOD_S)
    late = staleness(role, informer, planes[0], mark, o.marks)
    for load in loads:
        load.end()
    say(f"the churn was late by {max(load.late_s for load in loads) * 1e3:.0f} ms at most")
    return empty, own, theirs, late


def rows(o, empty, own, theirs, late):
    peer, rate = "client-go informer", statistics.median(w[3] for w in own) / PERIOD_S
    events = f"{rate:.0f} events/s, of the peer {statistics.median(w[3] for w in theirs) / PERIOD_S:.0f}"
    # of cost less is better: the peer's by ours
    per_s = [[1 / w[0] for w in side] for side in (own, theirs)]
    ratio_rows("kube-watch.cpu", "kube-watch.detail.per_cpu_second", "1/s", per_s[0], peer, per_s[1], min=2)
    per_gib = [[1024 / (w[1] - at_rest) for w in side] for at_rest, side in zip(empty, (own, theirs))]
    ratio_rows("kube-watch.memory", "kube-watch.detail.per_gib", "1/GiB", per_gib[0], peer, per_gib[1], min=2)
    row("kube-watch.detail.empty_mib", empty[0], "MiB", peer=peer, peer_value=empty[1], ratio=empty[1] / empty[0], note="following nothing")
    for place, name, unit in ((0, "cpu_s", "s"), (1, "rss_mib", "MiB"), (2, "anonymous_mib", "MiB")):
        a, b = [w[place] for w in own], [w[place] for w in theirs]
        row(f"kube-watch.detail.{name}", statistics.median(a), unit, a, peer=peer, peer_value=statistics.median(b),
            ratio=statistics.median(b) / statistics.median(a), note=f"windows of {PERIOD_S} s, {events}")  # fmt: skip
    note = f"p50 {statistics.median(late[0]):.1f}, of the peer {statistics.median(late[1]):.1f}; {o.marks} pods"
    a, b = p99(late[0]), p99(late[1])
    row("kube-watch.staleness", a, "ms", [a], peer=peer, peer_value=b, ratio=b / a, note=note, max=200)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=5000, help="of each cluster")
    parser.add_argument("--churn", type=float, default=100, help="pods deleted or made a second, in both together")
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--marks", type=int, default=300)
    o = parser.parse_args()
    needed()
    with tempfile.TemporaryDirectory(prefix="astra-bench-", dir="/dev/shm") as name, contextlib.ExitStack() as stack:
        found = measure(Path(name), o, stack)
    rows(o, *found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
