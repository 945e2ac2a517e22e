"""Pods as processes of this machine, on a node that the real scheduler binds them to: a kubelet that is stricter than the real one.

    with PodRunner(control_plane, "node-a", images={"astra:1": {"mounts": {"/opt/astra": prefix}}}) as node: ...

What a pod may count on, it gets to the letter: preStop within the grace and never at grace 0, TERM to each container's first process,
KILL when the grace is over (2 s after a preStop that used it up), probes, restarts with the kubelet's back-off, volumes and tokens
(podvolumes.py), PID 1 in namespaces of its own with the capabilities that containerd grants (podentry.py), the whole container
killed when its processes together exceed its memory limit. Where the kubelet may be kind, this is not: a field it does not know
fails the pod by name, an unknown image is never found, a forced deletion kills at once. The node uses a node's own credentials.

The network is the host's; each pod has a loopback address of its own: what a pod binds it should bind there. Or it is `network`, a
X: (monotonic time, "namespace/pod", what happened). As root; why_not() says why it cannot run."""

import contextlib
import datetime
import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import kubeapi
import kubelib
from caretaker import Caretaker
from podcontainer import BACKOFF_S, Container, check_fields, now
from podvolumes import NotYet, Sources, Unsupported, Volume, quantity

LEASE_S, RENEW_S = 40, 10  # the kubelet's


def why_not():
    """Why pods cannot be run here; None when they can."""
    if os.geteuid() != 0:
        return "pods as processes need root: mounts and namespaces"
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return kubelib.why_not() if done.returncode == 0 else f"namespaces are not permitted here: {done.stderr.strip()}"


class Pod:
    """One pod on the node, from its binding until the API server has forgotten it."""

    def __init__(self, node, document):
        meta = document["metadata"]
        self.node, self.document, self.spec, self.uid, self.name = node, document, document["spec"], meta["uid"], meta["name"]
        self.namespace, self.key = meta["namespace"], f"{meta['namespace']}/{meta['name']}"
        self.hostname = (self.spec.get("hostname") or self.name)[:63]
        self.folder = node.folder / "pods" / f"{self.namespace}_{self.name}_{self.uid}"
        self.lock, self.ending, self.forced, self.gone = (
            threading.RLock(),
            threading.Event(),
            threading.Event(),
            threading.Event(),
        )
        self.containers, self.inits, self.volumes, self.problem, self.end_s = [], [], {}, None, None
        self.began, self.phase, self.reported, self.over = now(), "Pending", None, False
        self.ip = node.ip if self.spec.get("hostNetwork") else node.next_ip()
        facts = {"status.podIP": self.ip, "status.podIPs": self.ip, "status.hostIP": node.ip, "status.hostIPs": node.ip}
        self.sources = Sources(node.api, document, facts, node.capacity)
        self.thread = threading.Thread(target=self._run, daemon=True, name=self.key)

    def note(self, what):
        self.node.note(self.key, what)

    def changed(self):
        self.node.dirty(self)

    def refuse(self, why):
        self.note(f"refused: {why}")
        self.node.refused.append((self.key, why))
        self.problem = why
        self.changed()

    def grace_s(self):
        return float(self.spec.get("terminationGracePeriodSeconds", 30))

    def deadline(self):
        """When the grace is over; infinitely late while nobody deletes it."""
        with self.lock:
            return float("inf") if self.end_s is None else self.end_s

    def update(self, document):
        """What the watch says; a deletion begins or is made shorter, never longer."""
        meta = document["metadata"]
        with self.lock:
            self.document["metadata"] = meta
            self.sources.pod = document
        if "deletionTimestamp" in meta:
            self.end_within(float(meta.get("deletionGracePeriodSeconds", self.grace_s())))
        else:
            self.node.wants_refresh.set()

    def end_within(self, grace_s):
        with self.lock:
            end = time.monotonic() + grace_s
            if self.end_s is None:
                self.note(f"ends within {grace_s:g} s")
            self.end_s = end if self.end_s is None else min(self.end_s, end)
        self.ending.set()
        self.changed()

    def force(self):
        """It is no more in the API: nothing is asked and nothing is told."""
        self.forced.set()
        self.end_within(0.0)

    def mounts(self, container):
        found = []
        for mount in container.get("volumeMounts", ()):
            volume = self.volumes[mount["name"]]
            source = volume.path / mount["subPath"] if "subPath" in mount else volume.path
            if "subPath" in mount and volume.kind in ("emptyDir", "hostPath"):
                source.mkdir(parents=True, exist_ok=True)
            found.append(
                {
                    "source": str(source),
                    "target": mount["mountPath"],
                    "read_only": bool(mount.get("readOnly")) or volume.read_only,
                }
            )
        return found

    def _run(self):
        try:
            check_fields(self.document)
            self._make_volumes()
            if self._run_inits():
                self.containers = [Container(self, spec) for spec in self.spec["containers"]]
                for container in self.containers:
                    container.thread.start()
                self.phase = "Running"
                self.changed()
        except Unsupported as error:
            self.refuse(str(error))
        except Exception as error:  # noqa: BLE001 - a bug of the rig must be seen as one, and the pod must end all the same
            self.refuse(f"the runner failed: {error!r}")
        self._wait_for_end()
        self._finish()

    def _make_volumes(self):
        for spec in self.spec.get("volumes", ()):
            volume = Volume(spec, self.folder / "volumes", self.sources)
            while not self.ending.is_set():
                try:
                    volume.make((self.spec.get("securityContext") or {}).get("fsGroup"))
                    break
                except NotYet as error:
                    self.note(f"FailedMount {error}")
                    self.ending.wait(0.5)
            if volume.is_memory:
                size = [f"-osize={volume.size}"] if volume.size else []
                subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", volume.path], check=True)
                volume.path.chmod(0o1777)
            self.volumes[spec["name"]] = volume

    def _run_inits(self):
        """One after the other; False when the pod does not get past them."""
        for spec in self.spec.get("initContainers", ()):
            container = Container(self, spec, is_init=True)
            self.inits.append(container)
            container.thread.start()
            ender = threading.Thread(target=self._end_when_told, args=(container,), daemon=True)
            ender.start()
            container.thread.join()
            if self.ending.is_set() or container.state.get("terminated", {}).get("exitCode") != 0:
                return False
        return not self.ending.is_set()

    def _end_when_told(self, container):
        while not container.finished:
            if self.ending.wait(0.2):
                container.terminate(self.deadline)
                return

    def _wait_for_end(self):
        """Until somebody deletes it or, with all containers done for good, until nothing is left to run."""
        while not self.ending.wait(0.05 if self.containers else 0.2):
            done = self.problem or not self.containers or all(c.finished for c in self.containers)
            if done:
                self.phase = self._last_phase()
                self.changed()
                self.ending.wait()
        enders = [threading.Thread(target=c.terminate, args=(self.deadline,), daemon=True) for c in self.containers]
        for thread in enders:
            thread.start()
        for thread in enders + [c.thread for c in [*self.containers, *self.inits]]:
            thread.join()

    def _last_phase(self):
        codes = [c.state.get("terminated", {}).get("exitCode", 1) for c in self.containers]
        return "Succeeded" if codes and not any(codes) and not self.problem else "Failed"

    def _finish(self):
        """All its processes are gone: tell, then let the API server forget it; then nothing of it is left here."""
        self.phase = self._last_phase()
        self.over = True
        for volume in self.volumes.values():
            if volume.is_memory:
                subprocess.run(["umount", "-l", volume.path], check=False)
        self.note("all containers ended")
        self.changed()
        if self.forced.is_set():
            self.node.forget(self)

    def conditions(self):
        ready = bool(self.containers) and all(c.ready for c in self.containers) and self.phase == "Running"
        gates = [g["conditionType"] for g in self.spec.get("readinessGates", ())]
        open_gates = all(kubeapi.condition(self.document, gate) == "True" for gate in gates)
        inits = bool(self.containers)
        values = {
            "PodReadyToStartContainers": bool(self.inits or self.containers) and not self.over, "Initialized": inits,
            "ContainersReady": ready, "Ready": ready and open_gates,
        }  # fmt: skip
        return {kind: "True" if value else "False" for kind, value in values.items()}

    def _phase_now(self):
        """As the kubelet counts: Pending until each container has been started once."""
        never = any("waiting" in c.state and not c.last for c in self.containers)
        return "Pending" if self.phase == "Running" and never else self.phase

    def status(self):
        with self.lock:
            status = {
                "phase": self._phase_now(), "hostIP": self.node.ip, "hostIPs": [{"ip": self.node.ip}], "podIP": self.ip, "podIPs": [{"ip": self.ip}],
                "startTime": self.began, "containerStatuses": [c.status() for c in self.containers],
            }  # fmt: skip
            if self.inits:
                status["initContainerStatuses"] = [c.status() for c in self.inits]
            if self.problem:
                status.update(reason="Unsupported", message=self.problem)
            return status, self.conditions()


class PodRunner:
    """A node. `images`: name -> {"mounts": {target: source}, "masked": [paths under /usr], "entrypoint", "env", "path"}."""

    def __init__(
        self, plane, name, images, capacity=None, labels=None, network=None, backoff_s=BACKOFF_S, taints=None, sync_s=60, net=None
    ):
        self.plane, self.name, self.images, self.network, self.backoff_s, self.sync_s = (
            plane,
            name,
            images,
            network,
            backoff_s,
            sync_s,
        )
        self.capacity = {"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi", **(capacity or {})}
        self.labels, self.taints = (
            {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "rig", **(labels or {})},
            taints,
        )
        self.folder = self.api = None
        self.done = set()  # uids of pods that ended here: a late word of the watch must not start them again
        self.lock, self.pods, self.dirty_pods, self.work = threading.RLock(), {}, [], threading.Semaphore(0)
        self.history, self.refused, self.over, self.cut, self.wants_refresh = (
            [],
            [],
            threading.Event(),
            threading.Event(),
            threading.Event(),
        )
        self.net, self.used = net or f"127.{random.randrange(64, 250)}.{random.randrange(1, 250)}", 0
        self.ip = "127.0.0.1"

    def note(self, key, what):
        self.history.append((time.monotonic(), key, what))

    def next_ip(self):
        with self.lock:
            self.used = self.used % 250 + 1
            return f"{self.net}.{self.used}"

    def environment(self):
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.plane.port)}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="astra-node-"))
        self.caretaker = Caretaker(self.folder)
        self.caretaker.__enter__()
        credentials = self.plane.authority.issue(f"node-{self.name}", f"system:node:{self.name}", ["system:nodes"])
        self.api = _CutApi(self.cut, "127.0.0.1", self.plane.port, self.plane.authority.certificate, certificate=credentials)
        try:
            self._register()
        except BaseException:
            self.caretaker.__exit__()
            raise
        loops = (self._heartbeats, self._watch, self._report, self._refresh, self._watch_memory)
        self.threads = [threading.Thread(target=loop, daemon=True, name=f"{self.name} {loop.__name__}") for loop in loops]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        """The node is gone: every process of it is killed; its pods stay in the API as those of a lost machine do."""
        self.lose()
        self.over.set()
        self.work.release()
        for thread in self.threads:
            thread.join(0.1 if "_watch" == thread.name.split()[-1] else 10)
        self.caretaker.__exit__()

    def lose(self):
        """The machine dies: all pods' processes at once, and no word about it to anybody."""
        self.cut.set()
        with self.lock:
            pods = list(self.pods.values())
        for pod in pods:
            pod.force()
        for pod in pods:
            pod.thread.join(30)

    def disconnect(self):
        """The node does not reach the API server any more; its pods run on."""
        self.cut.set()

    def connect(self):
        self.cut.clear()

    def pod(self, name, namespace="default"):
        with self.lock:
            return next((pod for pod in self.pods.values() if pod.key == f"{namespace}/{name}"), None)

    def log(self, name, container=None, namespace="default"):
        pod = self.pod(name, namespace)
        return next(c for c in [*pod.containers, *pod.inits] if container in (None, c.name)).log()

    def exec(self, name, argv, container=None, namespace="default", timeout_s=30):
        """(status, output) of a command in a container, as `kubectl exec`."""
        pod = self.pod(name, namespace)
        return next(c for c in pod.containers if container in (None, c.name)).exec(argv, timeout_s)

    def times(self, name, namespace="default"):
        """What happened to a pod: [(seconds since its first entry, what)]."""
        mine = [(when, what) for when, key, what in self.history if key == f"{namespace}/{name}"]
        return [(when - mine[0][0], what) for when, what in mine]

    # towards the API

    def _register(self):
        conditions = [
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "",
                "lastHeartbeatTime": now(),
                "lastTransitionTime": now(),
            }
        ]
        addresses = [{"type": "InternalIP", "address": self.ip}, {"type": "Hostname", "address": self.name}]
        info = dict.fromkeys(
            ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeProxyVersion"), ""
        )
        info.update(operatingSystem="linux", architecture="amd64", kubeletVersion="v1.37.2")
        status = {
            "capacity": self.capacity,
            "allocatable": self.capacity,
            "conditions": conditions,
            "addresses": addresses,
            "nodeInfo": info,
        }
        node = {"metadata": {"name": self.name, "labels": self.labels}, "status": status}
        if self.taints:
            node["spec"] = {"taints": self.taints}
        if self.api.get("nodes", self.name):
            self.api.patch("nodes", self.name, {"status": status}, sub="status", content=kubeapi.STRATEGIC)
        else:
            self.api.create("nodes", node)
        kubelib.wait_for("the node's lease", self._renew, 30)

        def schedulable():
            taints = self.api.get("nodes", self.name)["spec"].get("taints", ())
            return not any(taint["key"] == "node.kubernetes.io/not-ready" for taint in taints)

        if self.plane.controllers:
            kubelib.wait_for("the node to be schedulable", schedulable, 60)

    def _renew(self):
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_S, "renewTime": stamp}
        found = self.api.get("leases", self.name, "kube-node-lease")
        if found:
            self.api.patch("leases", self.name, {"spec": spec}, "kube-node-lease")
        else:
            self.api.create("leases", {"metadata": {"name": self.name}, "spec": spec}, "kube-node-lease")
        return True

    def _heartbeats(self):
        """The lease, and after an outage the condition that the node controller has set to Unknown."""
        while not self.over.wait(RENEW_S):
            try:
                self._renew()
                if kubeapi.condition(self.api.get("nodes", self.name), "Ready") != "True":
                    ready = {
                        "type": "Ready",
                        "status": "True",
                        "reason": "KubeletReady",
                        "lastHeartbeatTime": now(),
                        "lastTransitionTime": now(),
                    }
                    self.api.patch(
                        "nodes", self.name, {"status": {"conditions": [ready]}}, sub="status", content=kubeapi.STRATEGIC
                    )
            except (OSError, kubeapi.ApiError):
                self.over.wait(1)

    def _watch(self):
        mine = {"fieldSelector": f"spec.nodeName={self.name}"}
        while not self.over.is_set():
            try:
                listed = self.api.request("GET", self.api.path("pods", None, **mine))
                self._relist(listed["items"])
                for kind, document in self.api.watch("pods", None, resourceVersion=listed["metadata"]["resourceVersion"], **mine):
                    if self.over.is_set() or self.cut.is_set() or kind == "ERROR":
                        break
                    if kind == "DELETED":
                        self._deleted(document["metadata"]["uid"])
                        self.done.discard(document["metadata"]["uid"])
                    elif kind != "BOOKMARK":
                        self._seen(document)
            except (OSError, kubeapi.ApiError):
                pass
            self.over.wait(0.2)

    def _relist(self, documents):
        known = {document["metadata"]["uid"] for document in documents}
        with self.lock:
            lost = [uid for uid in self.pods if uid not in known]
            self.done &= known
        for uid in lost:
            self._deleted(uid)
        for document in documents:
            self._seen(document)

    def _seen(self, document):
        uid = document["metadata"]["uid"]
        with self.lock:
            if uid in self.done:
                return
            pod = self.pods.get(uid)
            if pod is None and document.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                if "deletionTimestamp" not in document["metadata"]:
                    return
            if pod is None:
                pod = self.pods[uid] = Pod(self, document)
                pod.note("bound")
                pod.thread.start()
        pod.update(document)

    def _deleted(self, uid):
        with self.lock:
            pod = self.pods.get(uid)
        if pod and not pod.gone.is_set():
            pod.force()
            if pod.over:
                self.forget(pod)

    def dirty(self, pod):
        with self.lock:
            if pod not in self.dirty_pods:
                self.dirty_pods.append(pod)
        self.work.release()

    def _report(self):
        """Status to the API server; a pod whose processes are all gone is deleted there with grace 0. Tries until it is heard."""
        while not self.over.is_set():
            self.work.acquire(timeout=1)
            with self.lock:
                pods, self.dirty_pods = self.dirty_pods, []
            for pod in pods:
                try:
                    self._tell(pod)
                except (OSError, kubeapi.ApiError) as error:
                    if getattr(error, "status", 0) in (404, 409):
                        self._deleted(pod.uid)
                    else:
                        self.dirty(pod)
                        self.over.wait(0.1)

    def _tell(self, pod):
        if pod.forced.is_set():
            return
        is_over, (status, conditions) = pod.over, pod.status()
        stamped = json.dumps([status, conditions], sort_keys=True)
        if stamped != pod.reported:
            old = {c["type"]: c for c in getattr(pod, "told", ())}
            told = []
            for kind, value in conditions.items():
                same = old.get(kind, {}).get("status") == value
                told.append(
                    {"type": kind, "status": value, "lastTransitionTime": old[kind]["lastTransitionTime"] if same else now()}
                )
            change = {"metadata": {"uid": pod.uid}, "status": {**status, "conditions": told}}
            self.api.patch("pods", pod.name, change, pod.namespace, "status", kubeapi.STRATEGIC)
            pod.reported, pod.told = stamped, told
        if is_over and pod.ending.is_set() and not pod.gone.is_set():
            pod.gone.set()
            try:
                self.api.delete("pods", pod.name, pod.namespace, grace_s=0, uid=pod.uid)
            except BaseException:
                pod.gone.clear()
                raise
            pod.note("gone")
            self.forget(pod)

    def forget(self, pod):
        with self.lock:
            self.pods.pop(pod.uid, None)
            self.done.add(pod.uid)
        shutil.rmtree(pod.folder, ignore_errors=True)

    def _refresh(self):
        """Volumes follow their sources: each sync_s, and when a pod's own labels or annotations change."""
        while not self.over.is_set():
            self.wants_refresh.wait(min(self.sync_s, 1.0) if self.sync_s < 1 else self.sync_s)
            self.wants_refresh.clear()
            with self.lock:
                pods = list(self.pods.values())
            for pod in pods:
                for volume in list(pod.volumes.values()) if not pod.over else ():
                    with contextlib.suppress(NotYet, OSError):
                        volume.refresh()

    def _watch_memory(self):
        """As cgroup v2 with memory.oom.group: past the limit of the container, the whole container."""
        while not self.over.wait(0.25):
            with self.lock:
                limited = [
                    c
                    for pod in self.pods.values()
                    for c in pod.containers
                    if c.pid and "memory" in (c.spec.get("resources") or {}).get("limits", {})
                ]
            used = memory_of_spaces([c.pid for c in limited]) if limited else {}
            for container in limited:
                if used.get(container.pid, 0) > quantity(container.spec["resources"]["limits"]["memory"]):
                    container.oom = True
                    container.pod.note(f"{container.name} OOMKilled")
                    container.signal(9)


def memory_of_spaces(firsts):
    """pid -> anonymous and shared memory of all processes in the PID namespace whose first process it is, in bytes."""
    spaces = {}
    for pid in firsts:
        with contextlib.suppress(OSError):
            spaces[os.readlink(f"/proc/{pid}/ns/pid")] = pid
    used = dict.fromkeys(firsts, 0)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            first = spaces.get(os.readlink(folder / "ns" / "pid"))
            if first is not None:
                words = (folder / "status").read_text().split()
                used[first] += sum(int(words[words.index(key) + 1]) << 10 for key in ("RssAnon:", "RssShmem:"))
    return used


class _CutApi(kubeapi.Api):
    """Reaches nobody while the cable is cut."""

    def __init__(self, cut, *words, **options):
        super().__init__(*words, **options)
        self.cut = cut

    def open(self, *words, **options):
        if self.cut.is_set():
            raise ConnectionError("the node is disconnected")
        return super().open(*words, **options)
