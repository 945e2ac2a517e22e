"""One app with units in two Kubernetes clusters, and what happens to clusters under traffic: after each event no request has
failed, nothing was restarted that need not be, nothing is evicted in a loop, and there are as many units as wanted."""

import contextlib
import json
import os
import re
import threading
import time

import fakeraylib
import proxylib
import pytest
import raylib
from disasterlib import some
from proclib import members, start_time
from rolelib import NAMESPACE, SOON_S, World, is_stale, pool
from sitelib import starlink_port

WANTED = 2
UP = "True"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    real = os.environ.get("ASTRA_TEST_RAY") == "real"
    packed = raylib.packed(tmp_path_factory.mktemp("env")).read_bytes() if real else fakeraylib.environment()
    world = World(tmp_path_factory.mktemp("world"), packed)
    try:
        yield world.up()
    finally:
        world.end()
    world.check()


def apply_pool(world, folder, name, **spec):
    path = folder / f"{name}.yaml"
    resources = {"cpu": 1, "memory": "4Gi", "ephemeralStorage": "10Gi"}  # two such pods fit on a machine of two CPUs
    path.write_text(json.dumps(pool(name, name, resources=resources, **spec)))
    world.astra("pool", "apply", path)


@pytest.fixture(scope="module")
def app(world, sites, tmp_path_factory):
    """Two pods ahead of need in each cluster, those of east on the real kubelet where that can run, and an app of two units."""
    for site in sites.values():
        site.reach(starlink_port(world))
    for name, site in sites.items():
        words = ("cluster", "add", name, "--kubeconfig", site.kubeconfig(), "--image", "astra.local/astra:1")
        world.astra(*words, "--join-address", sites["west"].join_address)
    # the pods of east are to be on one node: the other one is for the time when that is drained
    sites["east"].kubectl("cordon", sites["east"].nodes[1].name)
    for name in sites:
        apply_pool(world, tmp_path_factory.mktemp("pools"), name, min=2)
    for name in sites:
        world.wait_pool("two pods have joined", lambda s: s["joined"] == 2, name)
    world.deploy(units=WANTED, head={"cpu": 1})
    return world


class Standing:
    """What runs, so that it can be said later what of it still does."""

    def __init__(self, world, without=()):
        self.world = world
        self.units = {u["name"]: members(u["name"]) for u in world.units("app") if u["name"] not in without}
        self.events = len(world.events("app"))

    def check(self):
        """The same units by the same processes."""
        now = {u["name"] for u in self.world.units("app", "READY")}
        assert set(self.units) <= now, (self.units, now)
        for name, pids in self.units.items():
            assert members(name) == pids, name

    def moves(self):
        return [event["message"] for event in self.world.events("app")[self.events :] if "->" in event["message"]]


@contextlib.contextmanager
def traffic_over(world):
    """No request fails from before the event until after it."""
    with world.traffic() as traffic:
        some(traffic)
        yield traffic
        some(traffic)
    assert traffic.failed == []


def is_still(world, wanted=WANTED, seconds=1.5):
    """As many units as wanted, and for a while none comes or goes."""
    units = world.wait_ready("app", SOON_S)
    assert len(units) == wanted
    standing = Standing(world)
    time.sleep(seconds)
    standing.check()
    assert standing.moves() == []


def clusters_of(world):
    return sorted(unit["cluster"] for unit in world.units("app"))


def unit_in(world, cluster):
    return next(unit for unit in world.wait_ready("app", SOON_S) if unit["cluster"] == cluster)


def pod_of(world, unit):
    return world.api("GET", f"/nodes/{unit['members'][0]['node']}")["name"]


def test_one_app_has_a_unit_in_each(app):
    assert clusters_of(app) == ["east", "west"]
    with traffic_over(app) as traffic:
        app.wait("answers of both", lambda: len({body.split()[0] for body in dict(traffic.answers)}) == 2, SOON_S)


def test_an_api_server_is_killed_and_started(app, sites):
    """Nobody notices, and the pods are those that were."""
    standing, pods, east = Standing(app), sites["east"].pod_uids(), sites["east"]
    with traffic_over(app):
        east.plane.apiserver.kill()
        app.wait("word of it", lambda: app.conditions("east")["Reachable"]["status"] != UP, SOON_S)
        assert app.conditions("west")["Reachable"]["status"] == UP
        app.wait_pool("stale", is_stale, "east")
        east.plane.apiserver.start()
        # it refuses all until it has read its roles: that is not the time to give up for long
        app.wait_pool("fresh", lambda s: is_stale(s) is False, "east", 30)
        app.wait("its return", lambda: app.conditions("east")["Owner"]["status"] == UP, SOON_S)
    standing.check()
    assert standing.moves() == [] and east.pod_uids() == pods


class Leaving:
    """When a unit answered last, when its first process went, and when another unit was planned."""

    def __init__(self, world, traffic, unit):
        self.world, self.traffic, self.unit = world, traffic, unit
        self.pids, self.known = members(unit), {u["name"] for u in world.units("app")}
        self.answered = self.stopped = self.planned = None
        self.threads = [threading.Thread(target=look, daemon=True) for look in (self._processes, self._units)]
        for thread in self.threads:
            thread.start()

    def _processes(self):
        count, deadline = 0, time.monotonic() + SOON_S
        while self.stopped is None and time.monotonic() < deadline:
            now = sum(n for body, n in dict(self.traffic.answers).items() if body.split()[0] == self.unit)
            if now != count:
                self.answered, count = time.monotonic(), now
            if any(start_time(pid) != began for pid, began in self.pids.items()):
                self.stopped = time.monotonic()
            time.sleep(0.002)

    def _units(self):
        while self.stopped is None and self.planned is None:
            if {u["name"] for u in self.world.units("app")} - self.known:
                self.planned = time.monotonic()
            time.sleep(0.02)

    def check(self):
        for thread in self.threads:
            thread.join(SOON_S)
        assert self.answered < self.stopped and self.planned and self.planned < self.stopped
        print(f"the last answer came {self.stopped - self.answered:.3f} s, another unit {self.stopped - self.planned:.3f} s before the end")


def test_a_pod_is_deleted(app, sites):
    """Its unit leaves routing before its first process stops, and is being replaced by then: the pod ahead of need takes the unit at
    once. The pool makes another one."""
    east = sites["east"]
    gone, pods = unit_in(app, "east"), east.pod_uids()
    standing = Standing(app, without=[gone["name"]])
    with traffic_over(app) as traffic:
        leaving = Leaving(app, traffic, gone["name"])
        some(traffic)
        east.api.delete("pods", pod_of(app, gone), NAMESPACE)
        leaving.check()
        app.wait_ready("app", SOON_S, without=[gone["name"]])
        app.wait_pool("as many as before", lambda s: s["joined"] == 2 and s["pods"] == 2 and s["terminating"] == 0, "east")
    standing.check()
    assert clusters_of(app) == ["east", "west"] and len(east.pod_uids() - pods) == 1
    is_still(app)


def test_a_node_of_kubernetes_is_drained(app, sites):
    """kubectl drain evicts both pods of the node; their budget lets one go at a time."""
    east = sites["east"]
    node, other = (node.name for node in east.nodes)
    gone = unit_in(app, "east")
    assert {pod["spec"]["nodeName"] for pod in east.pods()} == {node}
    east.kubectl("uncordon", other)
    standing = Standing(app, without=[gone["name"]])
    with traffic_over(app):
        status, said = east.kubectl("drain", node, "--force", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=240s", timeout_s=300)
        assert status == 0, said
        app.wait_ready("app", SOON_S, without=[gone["name"]])
    assert "violate the pod's disruption budget" in said
    app.wait_pool("as many as before", lambda s: s["joined"] == 2 and s["pods"] == 2, "east")
    after = east.pods()
    assert {pod["spec"]["nodeName"] for pod in after} == {other} and len(after) == 2
    standing.check()
    east.kubectl("uncordon", node)
    is_still(app)
    assert clusters_of(app) == ["east", "west"]


PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OURS = [  # all that we may write in west, as the proxy sees it
    rf"PATCH {PODS}/west-[a-z0-9]+\?fieldManager=astra-kube&force=true",
    rf"DELETE {PODS}/west-[a-z0-9]+",
    rf"PATCH /api/v1/namespaces/{NAMESPACE}/secrets/astra-join\?fieldManager=astra-kube&force=true",
    rf"PUT /apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/astra-[0-9a-f-]+",
    rf"PATCH /apis/(networking|policy)[a-z0-9./]*/namespaces/{NAMESPACE}/[a-z]+/astra-west\?fieldManager=astra-kube&force=true",
]


def misbehave_watching(proxy):
    """Watches are cut in a line, then say what is no JSON, then that their version is gone, also to who lists."""
    proxy.cut_in_line("watch .*/pods")
    proxy.lines("watch .*/pods", proxylib.garble, times=2)
    proxy.lines("watch .*/pods", proxylib.expired(1), times=1)
    proxy.answer(410, "(watch|GET) .*/pods", times=2)


def misbehave_repeating(proxy):
    """All is told twice, and in another order; then a watch ends as watches do."""
    proxy.lines("watch .*/pods", lambda lines: proxylib.reorder(proxylib.repeat(lines)))
    proxy.end("watch .*/pods")


def misbehave_refusing(proxy):
    """Too much to do, failures and slowness, of what is written as of what is read; connections are reset."""
    proxy.answer(429, f"(PATCH|DELETE) {PODS}/", times=2, retry_after=1)
    proxy.answer(500, f"(PATCH|DELETE) {PODS}/", times=1)
    proxy.answer(503, "(watch|GET) .*/pods", times=2, retry_after=1)
    proxy.slow(0.3)
    proxy.cut("watch .*/pods")


def misbehave_stalling(proxy):
    """A watch says nothing and does not end: until it does what happened cannot be known."""
    proxy.stall("watch .*/pods")
    threading.Timer(2, proxy.cut, ["watch .*/pods"]).start()


@pytest.mark.parametrize(
    "misbehave, wanted", [(misbehave_watching, 3), (misbehave_repeating, 2), (misbehave_refusing, 3), (misbehave_stalling, 2)]
)
def test_an_api_server_misbehaves(app, sites, tmp_path, misbehave, wanted):
    """The pool comes to what it should be by so many pods more or less and none besides; nothing is written that is not ours, and
    nothing deleted but with its uid."""
    west = sites["west"]
    standing, pods, seen = Standing(app), west.pods(), len(west.proxy.writes)
    with traffic_over(app):
        misbehave(west.proxy)
        apply_pool(app, tmp_path, "west", min=wanted)
        app.wait_pool("what is wanted", lambda s: s["joined"] == s["pods"] == wanted and s["terminating"] == s["coming"] == 0, "west")
        west.proxy.heal()
    app.wait_pool("fresh", lambda s: is_stale(s) is False, "west")
    standing.check()
    writes, before, after = west.proxy.writes[seen:], {pod["metadata"]["name"]: pod for pod in pods}, west.pods()
    assert [asked for asked, _ in writes if not any(re.fullmatch(ours, asked) for ours in OURS)] == []
    made = {body["metadata"]["name"] for asked, body in writes if asked.startswith(f"PATCH {PODS}/")}
    deleted = {(asked.split("/")[-1], body["preconditions"]["uid"]) for asked, body in writes if asked.startswith("DELETE ")}
    assert len(after) == wanted and len(made) == max(0, wanted - len(pods)) and len(deleted) == max(0, len(pods) - wanted)
    assert {pod["metadata"]["name"] for pod in after} == (set(before) | made) - {name for name, _ in deleted}
    assert all(before[name]["metadata"]["uid"] == uid for name, uid in deleted)


def test_a_cluster_is_cut_off_for_a_moment(app, sites):
    """Shorter than what counts as lost: requests go elsewhere, and all goes on as it was."""
    standing, west = Standing(app), sites["west"]
    with traffic_over(app) as traffic:
        west.cut()
        time.sleep(2.5)
        west.heal()
        there = unit_in(app, "west")["name"]
        app.wait("requests there", lambda: app.picked(traffic, 0.5)[there] > 0, SOON_S)
    standing.check()
    assert standing.moves() == []


def test_a_cluster_is_cut_off_and_comes_back(app, sites):
    """Its unit is replaced elsewhere, once; what comes back is drained, once; its pods are those that were."""
    west = sites["west"]
    gone, pods = unit_in(app, "west"), west.pod_uids()
    ran = members(gone["name"])
    standing = Standing(app, without=[gone["name"]])
    with traffic_over(app):
        west.cut()
        app.wait("LOST", lambda: gone["name"] in {u["name"] for u in app.units("app", "LOST")}, SOON_S)
        app.wait("its replacement", lambda: len(app.units("app", "READY")) == WANTED, SOON_S)
        assert members(gone["name"]) == ran  # nobody there has heard of it
        app.wait("word of it", lambda: app.conditions("west")["Reachable"]["status"] != UP, SOON_S)
        assert west.pod_uids() == pods
        west.heal()
        app.wait_ready("app", SOON_S, without=[gone["name"]])
        app.wait("the end of what was replaced", lambda: members(gone["name"]) == {}, SOON_S)
        app.wait_pool("its pods are here", lambda s: s["joined"] == 2 and s["pods"] == 2, "west")
    standing.check()
    assert west.pod_uids() == pods
    is_still(app)


def test_a_cluster_is_removed(app, sites):
    """It is no more, API server and machines: its units are elsewhere, and it can be forgotten."""
    west = sites["west"]
    app.api("POST", "/namespaces/default/apps/app/scale", {"units": 3})
    app.wait_ready("app", SOON_S)
    gone = unit_in(app, "west")
    standing = Standing(app, without=[gone["name"]])
    with traffic_over(app):
        west.vanish()
        app.wait("LOST", lambda: gone["name"] in {u["name"] for u in app.units("app", "LOST")}, SOON_S)
        app.wait("its replacement", lambda: len(app.units("app", "READY")) == 3, SOON_S)
        assert "--force" in app.astra("cluster", "rm", "west", status=1)
        app.astra("cluster", "rm", "west", "--force")
        app.wait_ready("app", SOON_S, without=[gone["name"]])
    assert set(clusters_of(app)) == {"east"}
    standing.check()
    is_still(app, wanted=3)
    assert [p["metadata"]["name"] for p in app.api("GET", "/pools")["items"]] == ["east"]
    assert app.run("cluster", "ls").stdout.count("west") == 0
