"""One container of a pod on podrunner.PodRunner: its starts, restarts, probes and its end, as the kubelet does them."""

import contextlib
import datetime
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import kubelib
from podentry import LIBC, NEWNET, checked
from podvolumes import NotYet, Unsupported, expand, only

ENTRY = Path(__file__).with_name("podentry.py")
DEFAULT_CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
    "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
]  # fmt: skip
MIN_GRACE_S = 2.0  # for TERM, after a preStop that used the grace up
BACKOFF_S, BACKOFF_MAX_S, BACKOFF_RESET_S = 10.0, 300.0, 600.0  # the kubelet's
SHM_BYTES = 64 << 20  # containerd's /dev/shm
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POD_FIELDS = """restartPolicy terminationGracePeriodSeconds dnsPolicy securityContext schedulerName enableServiceLinks preemptionPolicy
    priority priorityClassName tolerations serviceAccount serviceAccountName automountServiceAccountToken nodeName nodeSelector affinity
    topologySpreadConstraints hostname hostNetwork readinessGates volumes containers initContainers""".split()
CONTAINER_FIELDS = """name image command args workingDir ports env envFrom resources volumeMounts livenessProbe readinessProbe
    startupProbe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext""".split()
POD_SECURITY = "runAsUser runAsGroup runAsNonRoot fsGroup supplementalGroups seccompProfile".split()
SECURITY = "runAsUser runAsGroup runAsNonRoot allowPrivilegeEscalation capabilities readOnlyRootFilesystem seccompProfile".split()


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_fields(pod):
    """Refuses by name what this runner would not honour."""
    spec = pod["spec"]
    only("pod", spec, *POD_FIELDS)
    only("pod securityContext", spec.get("securityContext") or {}, *POD_SECURITY)
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        where = f"container {container['name']}"
        only(where, container, *CONTAINER_FIELDS)
        only(f"{where}: securityContext", container.get("securityContext") or {}, *SECURITY)
        only(f"{where}: lifecycle", container.get("lifecycle") or {}, "preStop")
        for mount in container.get("volumeMounts", ()):
            only(f"{where}: volumeMount", mount, "name", "mountPath", "readOnly", "subPath")
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            known = "exec httpGet tcpSocket initialDelaySeconds periodSeconds timeoutSeconds successThreshold failureThreshold"
            only(f"{where}: {probe}", container.get(probe) or {}, *known.split())


class Container:
    """One container of a pod over all its restarts. Runs in a thread of its own; .lock of the pod guards what others read."""

    def __init__(self, pod, spec, is_init=False):
        self.pod, self.spec, self.name, self.is_init = pod, spec, spec["name"], is_init
        self.state, self.last, self.restarts, self.ready, self.started = (
            {"waiting": {"reason": "PodInitializing" if is_init else "ContainerCreating"}},
            {},
            0,
            False,
            False,
        )
        self.process = self.pid = self.finished = None
        self.killing, self.oom, self.backoff_s, self.runs = None, False, 0.0, 0
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"{pod.name}/{self.name}")

    # what the kubelet writes of it

    def status(self):
        status = {
            "name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.ready, "started": self.started,
            "restartCount": self.restarts, "state": self.state, "lastState": self.last,
        }  # fmt: skip
        if self.runs:
            status["containerID"] = f"astra-rig://{self.pod.uid}-{self.name}-{self.runs}"
        return status

    def _set(self, **changes):
        with self.pod.lock:
            for key, value in changes.items():
                setattr(self, key, value)
        self.pod.changed()

    def wait_s(self, seconds):
        """False when the pod ends meanwhile."""
        return not self.pod.ending.wait(seconds)

    # its life

    def _run(self):
        try:
            while self._once() and self._again():
                self._set(restarts=self.restarts + 1)
        except Unsupported as error:
            self.pod.refuse(str(error))
        except Exception as error:  # noqa: BLE001 - a bug of the rig must be seen as one
            self.pod.refuse(f"the runner failed: {error!r}")
            raise
        finally:
            self._set(finished=True, ready=False)

    def _once(self):
        """One start until its end; False when the pod was ended before it began."""
        words = None
        while words is None:
            if self.pod.ending.is_set():
                return False
            try:
                words = self._words()
            except NotYet as error:
                self._set(state={"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
                self.wait_s(0.5)
        self.runs += 1
        self.killing, self.oom, began = None, False, time.monotonic()
        started_at = now()
        problem = self._spawn(words)
        if problem:
            return self._ended(128, "StartError", problem, started_at, began)
        self.pod.note(f"{self.name} started")
        self._set(state={"running": {"startedAt": started_at}}, started="startupProbe" not in self.spec)
        over = threading.Event()
        probes = [Probe(self, kind, over) for kind in ("startupProbe", "livenessProbe", "readinessProbe") if self.spec.get(kind)]
        if "readinessProbe" not in self.spec and self.started:
            self._set(ready=not self.is_init)
        for probe in probes:
            probe.start()
        code = self.process.wait()
        over.set()
        reason = "OOMKilled" if self.oom else "Completed" if code == 0 else "Error"
        return self._ended(code, reason, self._last_words(code), started_at, began)

    def _ended(self, code, reason, message, started_at, began):
        self.pod.note(f"{self.name} ended {code}")
        ended = {"exitCode": code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
        if message:
            ended["message"] = message
        if time.monotonic() - began > BACKOFF_RESET_S:
            self.backoff_s = 0.0
        with self.pod.lock:
            self.pid = None
        self._set(state={"terminated": ended}, ready=False, started=False)
        return True

    def _again(self):
        """Whether it is to be started again, after the back-off."""
        policy, code = self.pod.spec["restartPolicy"], self.state["terminated"]["exitCode"]
        wanted = policy != "Never" and code != 0 if self.is_init else policy == "Always" or (policy == "OnFailure" and code != 0)
        if not wanted or self.pod.ending.is_set():
            return False
        last, wait_s = self.state, self.backoff_s
        self.backoff_s = min(max(2 * wait_s, self.pod.node.backoff_s), BACKOFF_MAX_S)
        if wait_s:
            message = f"back-off {wait_s:g}s restarting failed container={self.name} pod={self.pod.name}"
            self._set(state={"waiting": {"reason": "CrashLoopBackOff", "message": message}}, last=last)
        else:
            self._set(last=last)
        return self.wait_s(wait_s)

    def _words(self):
        """The command's words; NotYet with the reason why it cannot be known now."""
        node = self.pod.node
        if self.spec["image"] not in node.images:
            raise NotYet(f"ErrImageNeverPull: image {self.spec['image']!r} is not present")
        image = node.images[self.spec["image"]]
        base = {
            "PATH": image.get("path", PATH),
            "HOSTNAME": self.pod.hostname,
            "HOME": "/root",
            **image.get("env", {}),
            **node.environment(),
        }
        self.env = self.pod.sources.environment(self.spec, base)
        argv = self.spec.get("command") or image.get("entrypoint", [])
        argv = [expand(word, self.env) for word in [*argv, *self.spec.get("args", ())]]
        if not argv:
            raise Unsupported(f"container {self.name}: no command, and its image has none")
        return argv

    def _spec(self, argv, log):
        """What podentry.py is told."""
        pod, own, image = (
            self.pod.spec.get("securityContext") or {},
            self.spec.get("securityContext") or {},
            self.pod.node.images[self.spec["image"]],
        )
        uid = own.get("runAsUser", pod.get("runAsUser", 0))
        if uid == 0 and own.get("runAsNonRoot", pod.get("runAsNonRoot")):
            raise Unsupported(f"container {self.name} has runAsNonRoot and image will run as root")
        change = own.get("capabilities") or {}
        kept = set() if "ALL" in change.get("drop", ()) else set(DEFAULT_CAPABILITIES) - set(change.get("drop", ()))
        unknown = set(change.get("add", ())) - set(DEFAULT_CAPABILITIES)
        if unknown:
            raise Unsupported(f"container {self.name}: capabilities {sorted(unknown)}")
        groups = [*pod.get("supplementalGroups", ()), *([pod["fsGroup"]] if "fsGroup" in pod else ())]
        return {
            "argv": argv, "env": self.env, "log": str(log), "folder": self.spec.get("workingDir") or image.get("folder", "/"),
            "uid": uid, "gid": own.get("runAsGroup", pod.get("runAsGroup", 0)), "groups": groups,
            "capabilities": sorted(kept | set(change.get("add", ()))), "no_new_privileges": own.get("allowPrivilegeEscalation") is False,
        }  # fmt: skip

    def _spawn(self, argv):
        """Starts it; what went wrong, or None."""
        image, node = self.pod.node.images[self.spec["image"]], self.pod.node
        folder = self.pod.folder / "containers" / f"{self.name}.{self.runs}"
        (folder / "root").mkdir(parents=True)
        (folder / "message").touch()
        mounts = [
            {"source": str(source), "target": target, "read_only": True} for target, source in image.get("mounts", {}).items()
        ]
        mounts += self.pod.mounts(self.spec)
        message = self.spec.get("terminationMessagePath", "/dev/termination-log")
        mounts.append({"source": str(folder / "message"), "target": message, "read_only": False})
        spec = {
            **self._spec(argv, folder / "log"), "root": str(folder / "root"), "mounts": mounts, "masked": image.get("masked", []),
            "hostname": self.pod.hostname, "ip": self.pod.ip, "network": node.network, "shm_bytes": SHM_BYTES,
            "read_only_root": bool((self.spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        }  # fmt: skip
        self.process, said = start_entry(spec, folder / "spec.json")
        if "error" in said:
            self.process.wait()
            return said["error"]
        with self.pod.lock:
            self.pid = said["pid"]
        return None

    @property
    def folder(self):
        return self.pod.folder / "containers" / f"{self.name}.{self.runs}"

    def _last_words(self, code):
        text = (self.folder / "message").read_text(errors="replace")[:4096]
        if not text and code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = self.log()[-2048:]
        return text

    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def exec(self, argv, timeout_s):
        """(status, output) of a command in it; a TimeoutError when it takes longer: it is killed then."""
        with self.pod.lock:
            pid = self.pid
        if pid is None:
            raise ConnectionError(f"container {self.name} does not run")
        folder = Path(tempfile.mkdtemp(prefix="exec-", dir=self.pod.folder))
        log = folder / "log"
        process, said = start_entry({**self._spec(argv, log), "join": pid}, folder / "spec.json")
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{argv[0]}: not within {timeout_s:g} s") from None
        finally:
            process.kill()
            process.wait()
            output = log.read_text(errors="replace") if log.exists() else ""
            shutil.rmtree(folder)
        return code, said.get("error", output)

    # its end

    def signal(self, number):
        with self.pod.lock:
            if self.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def terminate(self, deadline):
        """preStop, TERM, KILL. deadline(): when the grace is over, on the monotonic clock; it may move to an earlier time."""
        if self.pid is None:
            return
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if deadline() > time.monotonic():  # without any grace there is neither preStop nor TERM
            end = 0.0
            if hook:
                self._pre_stop(hook, deadline)
                end = time.monotonic() + MIN_GRACE_S
            self.pod.note(f"{self.name} TERM")
            self.signal(15)
            while self.pid is not None and time.monotonic() < max(deadline(), end) and not self.pod.forced.is_set():
                time.sleep(0.01)
        if self.pid is not None:
            self.pod.note(f"{self.name} KILL")
            self.signal(9)
        self.process.wait()

    def _pre_stop(self, hook, deadline):
        self.pod.note(f"{self.name} preStop")
        over = threading.Thread(target=self._hook, args=(hook, deadline), daemon=True)
        over.start()
        while over.is_alive() and self.pid is not None and time.monotonic() < deadline() and not self.pod.forced.is_set():
            over.join(0.01)
        self.pod.note(f"{self.name} preStop {'not completed in grace period' if over.is_alive() else 'over'}")

    def _hook(self, hook, deadline):
        """What a hook answers changes nothing but what is noted."""
        try:
            only("preStop", hook, "exec", "httpGet", "sleep")
            if "sleep" in hook:
                time.sleep(hook["sleep"]["seconds"])
            elif "exec" in hook:
                code, output = self.exec(hook["exec"]["command"], MIN_GRACE_S + max(0.0, deadline() - time.monotonic()))
                if code != 0:
                    self.pod.note(f"{self.name} FailedPreStopHook {code} {output[-300:]}")
            else:
                with inside(self.pod.node.network):
                    http_get(self, hook["httpGet"], 30)
        except Unsupported as error:
            self.pod.refuse(str(error))
        except (OSError, http.client.HTTPException) as error:
            self.pod.note(f"{self.name} FailedPreStopHook {error}")


def start_entry(spec, path):
    """(process, what it said): the process under podentry.py; it is gone when the other is."""
    path.write_text(json.dumps(spec))
    process = kubelib.KEEPER.popen(
        [sys.executable, "-I", "-S", str(ENTRY), str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=open(path.with_name("entry.log"), "ab"),
    )
    with process.stdout:
        line = process.stdout.readline()
    if not line:
        process.wait()
        return process, {"error": path.with_name("entry.log").read_text(errors="replace") or "the starter died"}
    return process, json.loads(line)


def port_of(container, port):
    if isinstance(port, int):
        return port
    return next(p["containerPort"] for p in container.spec.get("ports", ()) if p.get("name") == port)


@contextlib.contextmanager
def inside(network):
    """This thread in the pods' network: the kubelet asks from within the node."""
    if network is None:
        yield
        return
    with open("/proc/thread-self/ns/net") as before, open(network) as pods:
        checked(LIBC.setns(pods.fileno(), NEWNET), "join the pods' network")
        try:
            yield
        finally:
            checked(LIBC.setns(before.fileno(), NEWNET), "leave the pods' network")


def http_get(container, spec, timeout_s):
    """The status. Certificates are not looked at: the kubelet does not either."""
    address = spec.get("host") or container.pod.ip, port_of(container, spec["port"])
    if spec.get("scheme", "HTTP") == "HTTPS":
        connection = http.client.HTTPSConnection(*address, timeout=timeout_s, context=ssl._create_unverified_context())
    else:
        connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request("GET", spec.get("path", "/"), headers={h["name"]: h["value"] for h in spec.get("httpHeaders", ())})
        return connection.getresponse().status


class Probe:
    """One probe of one run of a container, until `over`. Liveness and start-up are not asked while the pod ends; readiness is."""

    def __init__(self, container, kind, over):
        self.container, self.kind, self.over, self.spec = container, kind, over, container.spec[kind]
        self.good = self.bad = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()

    def _run(self):
        container, pod = self.container, self.container.pod
        if self.over.wait(self.spec.get("initialDelaySeconds", 0)):
            return
        while not self.over.is_set():
            waits_for_start = self.kind != "startupProbe" and not container.started
            if not waits_for_start and not (self.kind != "readinessProbe" and pod.ending.is_set()):
                if self._count(self._ask()):
                    return
            if self.over.wait(0.1 if waits_for_start else self.spec.get("periodSeconds", 10)):
                return

    def _ask(self):
        timeout_s = self.spec.get("timeoutSeconds", 1)
        try:
            if "exec" in self.spec:
                return self.container.exec(self.spec["exec"]["command"], timeout_s)[0] == 0
            with inside(self.container.pod.node.network):
                return self._connect(timeout_s)
        except (OSError, http.client.HTTPException):
            return False

    def _connect(self, timeout_s):
        if "httpGet" in self.spec:
            return 200 <= http_get(self.container, self.spec["httpGet"], timeout_s) < 400
        given = self.spec["tcpSocket"]
        address = given.get("host") or self.container.pod.ip, port_of(self.container, given["port"])
        kubelib.socket.create_connection(address, timeout_s).close()
        return True

    def _count(self, good):
        """Counts one answer and draws the consequence; True when this probe has no more to ask."""
        self.good, self.bad = (self.good + 1, 0) if good else (0, self.bad + 1)
        container = self.container
        if self.kind == "readinessProbe":
            if self.good >= self.spec.get("successThreshold", 1) and not container.ready:
                container._set(ready=not self.over.is_set())
            elif self.bad >= self.spec.get("failureThreshold", 3) and container.ready:
                container._set(ready=False)
            return False
        if good and self.kind == "startupProbe":
            container._set(started=True, ready="readinessProbe" not in container.spec)
            return True
        if self.bad >= self.spec.get("failureThreshold", 3):
            container.pod.note(f"{container.name} failed its {self.kind}")
            end = time.monotonic() + container.pod.grace_s()
            container.terminate(lambda: min(end, container.pod.deadline()))
            return True
        return False
