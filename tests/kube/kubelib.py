"""Real Kubernetes for tests, benchmarks and the demo: etcd and control planes as processes on loopback, simulated nodes by kwok.

    with Etcd(folder) as etcd, ControlPlane("a", folder, etcd) as a:
        a.kwok_nodes(100)
        a.kubectl("get", "nodes")
        a.api.list("pods")                      # kubeapi.Api as cluster-admin
        path = a.kubeconfig("somebody")         # by certificate; token="service-account" for one of those
        a.apiserver.kill(); a.apiserver.start() # its port stays

Pods run on podrunner.PodRunner or kubeletlib.Kubelet. The programs are those of tools/kube-setup: why_not() says what is missing.
Everything ends with the block, in whatever way it is left; when this process is killed the kernel ends its children."""

import base64
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import kubeapi

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import proclib  # noqa: E402
from proclib import free_ports  # noqa: E402

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
CONTROLLER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
KWOK_MARK = {"kwok.x-k8s.io/node": "fake"}


def programs():
    """The folder of the programs, whether or not they are there."""
    return Path(subprocess.run([ROOT / "tools" / "kube-setup", "--where"], stdout=subprocess.PIPE, text=True).stdout.strip())


def why_not():
    """Why no control plane can be started here; None when one can."""
    return None if (programs() / ".complete").exists() else "Kubernetes was not built yet: tools/kube-setup does it, in minutes"


def is_away(error):
    """The API server does not answer, or not yet as it will."""
    return isinstance(error, OSError) or (isinstance(error, kubeapi.ApiError) and error.status not in (400, 401, 422))


def wait_for(what, condition, timeout_s=60.0, step_s=0.05):
    """The first true value of condition(); while the API server is away the condition is not true."""
    return proclib.wait_for(what, condition, timeout_s, step_s, is_away)


class _Keeper:
    """Forks children in one thread that lives as long as this process: their death signal is tied to the thread that forked."""

    def __init__(self):
        self.lock, self.wanted, self.thread = threading.Lock(), None, None

    def popen(self, words, **options):
        with self.lock:
            if self.thread is None:
                self.asked, self.answered = threading.Semaphore(0), threading.Semaphore(0)
                self.thread = threading.Thread(target=self._run, daemon=True, name="keeper")
                self.thread.start()
            self.wanted = words, options
            self.asked.release()
            self.answered.acquire()
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

    def _run(self):
        while True:
            self.asked.acquire()
            words, options = self.wanted
            try:
                self.result = subprocess.Popen(words, preexec_fn=die_with_parent, start_new_session=True, **options)
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                self.result = error
            self.answered.release()


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


KEEPER = _Keeper()


class Part:
    """One process of the rig, which may be stopped, killed, frozen and started again; its output goes to FOLDER/NAME.log."""

    def __init__(self, name, folder, words, ready=lambda: True, env=None, ready_s=60):
        self.name, self.words, self.ready, self.env, self.ready_s = name, words, ready, env, ready_s
        self.log_file, self.process = Path(folder) / f"{name}.log", None

    @property
    def pid(self):
        return self.process.pid if self.alive else None

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Returns when it is ready; a RuntimeError with the end of its log when it died."""
        assert not self.alive, f"{self.name} runs"
        with open(self.log_file, "ab") as log:
            words = [str(word) for word in self.words]
            self.process = KEEPER.popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        wait_for(f"{self.name} to be ready (see {self.log_file})", self._ready_or_dead, self.ready_s)
        return self

    def _ready_or_dead(self):
        if not self.alive:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.log()[-2000:]}")
        return self.ready()

    def stop(self, timeout_s=20):
        if self.alive:
            self.resume()
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        self.kill()

    def kill(self):
        if self.alive:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def is_bind_failure(error):
    return "address already in use" in str(error)


def start_on_free_ports(make, count, tries=5):
    """make(ports) -> Part, started; again with other ports when somebody was faster."""
    for left in reversed(range(tries)):
        part = make(free_ports(count))
        try:
            return part.start()
        except RuntimeError as error:
            part.kill()
            if not left or not is_bind_failure(error):
                raise
            part.log_file.unlink(missing_ok=True)
    raise AssertionError("not reached")


class Etcd:
    """One etcd for all control planes of a test, each under a prefix of its own. It does not sync to disk: a test's crash loses it."""

    def __init__(self, folder):
        self.folder = Path(folder) / "etcd"
        self.part, self.url = None, None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.part = start_on_free_ports(self._part, 2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.part:
            self.part.stop(5)

    def _part(self, ports):
        self.url, peer = (f"http://127.0.0.1:{port}" for port in ports)
        words = [programs() / "etcd", "--name=rig", f"--data-dir={self.folder / 'data'}", "--unsafe-no-fsync", "--log-level=warn"]
        words += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}", f"--listen-peer-urls={peer}"]
        words += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=rig={peer}", "--quota-backend-bytes=4294967296"]
        port = ports[0]

        def ready():
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(200)

        return Part("etcd", self.folder, words, ready)


class Authority:
    """A CA of one cluster. Keys are elliptic: 20 ms instead of a second."""

    def __init__(self, folder, name):
        self.folder, self.name = Path(folder), name
        self.certificate, self.key = self.folder / "ca.crt", self.folder / "ca.key"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._openssl(
            "req", "-x509", *self._new_key(self.key), "-days", "30", "-subj", f"/CN={name}-ca", "-out", self.certificate
        )

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {words[0]}: {done.stderr}")

    @staticmethod
    def _new_key(path):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)

    def issue(self, name, user, groups=(), names="", days=30):
        """(certificate, key) for a client, or with `names` ("IP:127.0.0.1,DNS:x") for a server too."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        request, extra = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extra.write_text(f"subjectAltName={names}\n" if names else "extendedKeyUsage=clientAuth\n")
        self._openssl("req", *self._new_key(key), "-subj", subject, "-out", request)
        signer = ["-CA", self.certificate, "-CAkey", self.key, "-set_serial", f"0x{os.urandom(8).hex()}"]
        self._openssl("x509", "-req", "-in", request, *signer, "-days", str(days), "-extfile", extra, "-out", certificate)
        return certificate, key

    def signing_pair(self):
        """(public, private) key with which service accounts' tokens are signed."""
        public, private = self.folder / "sa.pub", self.folder / "sa.key"
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", private)
        self._openssl("pkey", "-in", private, "-pubout", "-out", public)
        return public, private


class ControlPlane:
    """kube-apiserver, kube-controller-manager and kube-scheduler: the parts .apiserver, .controllers, .scheduler. Options add or
    replace flags of the API server ({"event-ttl": "1m"}); with controllers=False or scheduler=False that part is not started."""

    def __init__(self, name, folder, etcd, options=None, controllers=True, scheduler=True):
        self.name, self.etcd, self.folder = name, etcd, Path(folder) / name
        self.options, self.wanted = options or {}, (controllers, scheduler)
        self.apiserver = self.controllers = self.scheduler = self.kwok = self.api = self.port = None
        self.programs = programs()

    def __enter__(self):
        self.folder.mkdir(parents=True)
        try:
            self._make_credentials()
            self.apiserver = start_on_free_ports(self._apiserver, 1)
            self.controllers = self._controllers() if self.wanted[0] else None
            self.scheduler = self._scheduler() if self.wanted[1] else None
            for part in (self.controllers, self.scheduler):
                if part:
                    part.start()
            if self.controllers:
                wait_for("the default service account", lambda: self.api.get("serviceaccounts", "default"), 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for part in (self.kwok, self.scheduler, self.controllers, self.apiserver):
            if part:
                part.kill()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def _make_credentials(self):
        self.authority = Authority(self.folder / "pki", self.name)
        names = "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
        self.serving = self.authority.issue("apiserver", "kube-apiserver", names=names)
        self.account_keys = self.authority.signing_pair()
        self.admin = self.authority.issue("admin", "admin", ["system:masters"])

    def _apiserver(self, ports):
        self.port = ports[0]
        self.api = kubeapi.Api("127.0.0.1", self.port, self.authority.certificate, certificate=self.admin)
        flags = {
            "etcd-servers": self.etcd.url, "etcd-prefix": f"/{self.name}",
            "bind-address": "127.0.0.1", "advertise-address": "127.0.0.1", "secure-port": self.port,
            "endpoint-reconciler-type": "none", "service-cluster-ip-range": "10.0.0.0/16",
            "tls-cert-file": self.serving[0], "tls-private-key-file": self.serving[1], "cert-dir": self.folder,
            "client-ca-file": self.authority.certificate, "anonymous-auth": "false",
            "authorization-mode": "Node,RBAC", "enable-admission-plugins": "NodeRestriction",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self.account_keys[0], "service-account-signing-key-file": self.account_keys[1],
            "kubelet-certificate-authority": self.authority.certificate, "kubelet-client-certificate": self.admin[0],
            "kubelet-client-key": self.admin[1], "kubelet-preferred-address-types": "Hostname",
            "allow-privileged": "true", "profiling": "false", **self.options,
        }  # fmt: skip
        words = [self.programs / "kube-apiserver", *(f"--{flag}={value}" for flag, value in flags.items())]
        return Part("apiserver", self.folder, words, lambda: self.api.request("GET", "/readyz", timeout_s=5) == "ok", ready_s=120)

    def _client_flags(self, name, user):
        # secure-port 0: these two serve nothing here
        path = self.kubeconfig(user, file=f"{name}.kubeconfig")
        return [f"--kubeconfig={path}", "--leader-elect=false", "--secure-port=0", "--profiling=false"]

    def _controllers(self):
        words = [self.programs / "kube-controller-manager", *self._client_flags("controllers", CONTROLLER)]
        words += [f"--service-account-private-key-file={self.account_keys[1]}", f"--root-ca-file={self.authority.certificate}"]
        words += [f"--cluster-signing-cert-file={self.authority.certificate}", f"--cluster-signing-key-file={self.authority.key}"]
        words += ["--use-service-account-credentials=true", "--kube-api-qps=200", "--kube-api-burst=400"]
        return Part("controllers", self.folder, words)

    def _scheduler(self):
        # without its own limits, at which it would bind 50 pods a second
        words = [self.programs / "kube-scheduler", *self._client_flags("scheduler", SCHEDULER)]
        return Part("scheduler", self.folder, [*words, "--kube-api-qps=5000", "--kube-api-burst=5000"])

    def kubeconfig(self, user, groups=(), token=None, server=None, ca_file=None, file=None, inline=False):
        """The path of a kubeconfig. Credentials: a certificate for user and groups, or `token`. `server`: another URL, as a proxy's
        (with its `ca_file`). inline: no file is named in it."""
        credentials = {"token": token}
        if token is None:
            pair = self.authority.issue(user.replace(":", "-").replace("/", "-"), user, groups)
            keys = ("client-certificate", "client-key")
            credentials = {
                key + ("-data" if inline else ""): as_data(path) if inline else str(path) for key, path in zip(keys, pair)
            }
        ca_file = ca_file or self.authority.certificate
        ca = {"certificate-authority-data": as_data(ca_file)} if inline else {"certificate-authority": str(ca_file)}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": self.name,
            "clusters": [{"name": self.name, "cluster": {"server": server or self.url, **ca}}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": user}}],
        }  # fmt: skip
        path = self.folder / (file or f"{user.replace(':', '-').replace('/', '-')}.kubeconfig")
        path.write_text(json.dumps(document, indent=1))
        path.chmod(0o600)
        return path

    def token(self, account="default", namespace="default", seconds=3600):
        """A bound token of a service account, as a pod or a kubeconfig carries it; at least 600 s long."""
        path = self.api.path("serviceaccounts", namespace, account, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        return self.api.request("POST", path, body)["status"]["token"]

    def api_as(self, token):
        return kubeapi.Api("127.0.0.1", self.port, self.authority.certificate, token=token)

    def kubectl(self, *words, stdin=None, check=True, timeout_s=60):
        """Its standard output, as cluster-admin; a RuntimeError with what it said when it failed and check is true."""
        config = self.folder / "kubectl.kubeconfig"
        if not config.exists():
            self.kubeconfig("kubectl", ["system:masters"], file=config.name)
        env = {**os.environ, "KUBECONFIG": str(config), "HOME": str(self.folder)}
        words = [self.programs / "kubectl", f"--cache-dir={self.folder / 'kubectl-cache'}", *words]
        done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, env=env, timeout=timeout_s)
        if check and done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(map(str, words[2:]))}: {done.stderr or done.stdout}")
        return done.stdout

    def apply(self, text):
        """kubectl apply of YAML or of a list of documents."""
        return self.kubectl(
            "apply",
            "-f",
            "-",
            stdin=text if isinstance(text, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": text}),
        )

    def kwok_nodes(self, count, prefix="kwok", cpu="32", memory="256Gi", pods="110", labels=None):
        """Nodes that kwok keeps Ready, whose pods become Running at once and vanish when deleted, their grace ignored."""
        if self.kwok is None:
            words = [
                self.programs / "kwok",
                f"--kubeconfig={self.kubeconfig('kwok', ['system:masters'])}",
                "--manage-all-nodes=false",
            ]
            words += ["--manage-nodes-with-annotation-selector=" + ",".join(f"{k}={v}" for k, v in KWOK_MARK.items())]
            words += [f"--config={self.programs / 'stages.yaml'}", "--node-lease-duration-seconds=40", "--server-address="]
            self.kwok = Part("kwok", self.folder, words, env={**os.environ, "HOME": str(self.folder)}).start()
        names = [f"{prefix}-{n}" for n in range(count)]
        room = {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "1Ti"}
        for name in names:
            meta = {
                "name": name,
                "annotations": KWOK_MARK,
                "labels": {"kubernetes.io/hostname": name, "type": "kwok", **(labels or {})},
            }
            self.api.create("nodes", {"metadata": meta, "status": {"capacity": room, "allocatable": room}})
        wanted = set(names)

        def ready():
            return wanted <= {n["metadata"]["name"] for n in self.api.list("nodes") if kubeapi.condition(n, "Ready") == "True"}

        wait_for(f"{count} nodes of kwok to be Ready", ready, 30 + count / 20, 0.2)
        return names

    def pod(self, name, namespace="default"):
        return self.api.get("pods", name, namespace)

    def wait_pod(self, name, phase="Running", ready=None, namespace="default", timeout_s=120):
        """The pod once it is in that phase, and Ready if asked. phase=None: gone."""

        def reached():
            pod = self.pod(name, namespace)
            if phase is None:
                return pod is None
            is_ready = pod and kubeapi.condition(pod, "Ready") == "True"
            return pod and pod["status"].get("phase") == phase and (ready is None or is_ready == ready) and pod

        try:
            return wait_for(f"pod {name} to be {phase or 'gone'}", reached, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{json.dumps((self.pod(name, namespace) or {}).get('status'), indent=1)}") from None


def as_data(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


@contextlib.contextmanager
def clusters(folder, *names, **options):
    """One etcd and a control plane for each name, started one after the other: two cores start them no faster at once."""
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(Etcd(folder))
        yield [stack.enter_context(ControlPlane(name, folder, etcd, **options)) for name in names]
