"""Kubernetes clusters as places apart, for tests and the walk of docs/operate/kubernetes.md: a control plane, its nodes, and the way
from us to both, which can be cut.

    with Site("west", folder, etcd, nodes=1, apart=True) as west:
        west.reach(platform's Starlink port)        # its pods find the server at west.join_address
        west.kubeconfig()                           # of Astra's service account; through west.proxy
        west.cut(); west.heal(); west.vanish()

A site that is apart has its pods in a network namespace behind a wire, whose packets nft drops inside; its API server answers
nothing while it is cut. Its own kubelets reach it all the while: a cluster that is cut off from us is whole in itself."""

import contextlib
import json
import os
import random
import socket
import subprocess
import threading
from pathlib import Path

import kubeletlib
import kubelib
import podcontainer
import podrunner
import proxylib
from rolelib import APPLY, IMAGE, NAMESPACE, kubeconfig, manifests_apply
from uplib import ASTRA

IP_FREEBIND = 15
CHUNK = 1 << 18
STORAGE = {"localStorageCapacityIsolation": True}  # else a node has no ephemeral storage for pods to ask for
PYTHON = Path("/usr/lib/python3.11")
LEFT_OUT = {"test", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "__pycache__"}


def sh(script):
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{script.strip()}: {done.stderr}")


def libraries(programs):
    """What the loader takes for them: the paths where it looks."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    return {word for line in said.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")}


def agent_image():
    """For the real kubelet: astra, a shell, and the interpreter that the stand-in for Ray wants; packed environments bring their own."""
    modules = [path for path in PYTHON.rglob("*.py") if not LEFT_OUT & set(path.relative_to(PYTHON).parts)]
    loaded = list((PYTHON / "lib-dynload").glob("*.so"))
    programs = {"/usr/bin/astra": ASTRA, "/usr/bin/python3": Path("/usr/bin/python3").resolve(), "/usr/bin/sh": Path("/bin/sh").resolve()}
    files = {path if path.startswith("/usr/") else f"/usr{path}": path for path in libraries([*programs.values(), *loaded])}
    files.update({str(path): path for path in [*modules, *loaded]}, **programs)
    files.update({f"/{name}": ("link", f"usr/{name}") for name in ("bin", "lib", "lib64")})
    return kubeletlib.Image(IMAGE, ["/usr/bin/astra"], files)


class Wire:
    """A network of pods' own and a wire to it; .network is its file, .pods the first three parts of its addresses, .here ours."""

    def __init__(self):
        number = random.randrange(1, 250)
        self.pods, self.here, self.there = f"10.86.{number}", f"10.87.{number}.1", f"10.87.{number}.2"
        self.name = f"ak{os.getpid()}-{number}"[:15]

    def __enter__(self):
        words = ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self.holder = kubelib.KEEPER.popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.network = f"/proc/{self.holder.pid}/ns/net"
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        sh(f"""
            ip link add {self.name} type veth peer name eth0 netns {self.network}
            ip addr add {self.here}/30 dev {self.name}
            ip link set {self.name} up""")
        self._inside(f"""
            ip link set lo up
            ip addr add {self.there}/30 dev eth0
            ip link set eth0 up
            ip route add default via {self.here}
            ip route add local {self.pods}.0/24 dev lo
            nft add table inet cut
            nft 'add chain inet cut in {{ type filter hook input priority 0; }}'
            nft 'add chain inet cut out {{ type filter hook output priority 0; }}'""")
        sh(f"ip route add {self.pods}.0/24 via {self.there}")

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        with contextlib.suppress(RuntimeError):  # it goes with the namespace, in a moment
            sh(f"ip link delete {self.name}")

    def _inside(self, script):
        with podcontainer.inside(self.network):
            sh(script)

    def cut(self):
        """Every packet is dropped, and nobody is told."""
        self._inside("nft add rule inet cut in iifname eth0 drop; nft add rule inet cut out oifname eth0 drop")

    def heal(self):
        self._inside("nft flush table inet cut")


class Relay:
    """Connections to `address`, which may not be there yet, go to a port of loopback: servers of tests listen nowhere else."""

    def __init__(self, address, port):
        self.address, self.port = address, port

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        self.listener.bind((self.address, 0))
        self.listener.listen(128)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        return f"{self.address}:{self.listener.getsockname()[1]}"

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.port), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source, target):
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
    except OSError:
        pass
    for each in (source, target):  # both ends learn of it, whoever went
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class Site:
    """One cluster with so many nodes; with `kubelet` the first of them is the real kubelet's where that can run."""

    def __init__(self, name, folder, etcd, nodes=1, apart=False, kubelet=False):
        self.name, self.etcd, self.folder, self.count, self.apart = name, etcd, folder, nodes, apart
        self.has_kubelet = kubelet and kubeletlib.why_not() is None
        self.stack, self.nodes, self.wire, self.proxy, self.join_address = contextlib.ExitStack(), [], None, None, None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.plane = stack.enter_context(kubelib.ControlPlane(self.name, self.folder, self.etcd))
            if self.apart:
                self.wire = stack.enter_context(Wire())
                self.proxy = stack.enter_context(proxylib.Proxy(self.plane))
            for n in range(self.count):
                self.nodes.append(stack.enter_context(self._node(n)))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _node(self, n):
        if n == 0 and self.has_kubelet:
            return kubeletlib.Kubelet(self.plane, images=[agent_image()], kubelet_options=STORAGE, subnet=1)
        network = {"network": self.wire.network, "net": self.wire.pods} if self.wire else {}
        return podrunner.PodRunner(self.plane, f"{self.name}-{n + 1}", {IMAGE: APPLY}, backoff_s=1.0, sync_s=0.5, **network)

    @property
    def api(self):
        return self.plane.api

    def reach(self, port):
        """Its pods reach the server's Starlink, which is at this port of loopback; where it is apart, so do pods of other clusters."""
        address = self.wire.here if self.wire else "127.0.0.1"
        self.join_address = self.stack.enter_context(Relay(address, port)) if self.wire else f"{address}:{port}"

    def kubeconfig(self):
        """Of the service account that `astra cluster manifests` makes, which are applied."""
        manifests_apply(self.plane)
        return kubeconfig(self.plane, **({"server": self.proxy.url} if self.proxy else {}))

    def operator_kubeconfig(self, account):
        """Of somebody who may do everything, by a token: what a proxy stands before knows no certificates."""
        if not self.api.get("serviceaccounts", account):
            self.plane.kubectl("create", "serviceaccount", account)
            self.plane.kubectl("create", "clusterrolebinding", account, "--clusterrole=cluster-admin", f"--serviceaccount=default:{account}")
        server = {"server": self.proxy.url} if self.proxy else {}
        return self.plane.kubeconfig(account, token=self.plane.token(account, seconds=86400), inline=True, **server)

    def pods(self):
        """Of our namespace, without those that end."""
        return [pod for pod in self.api.list("pods", NAMESPACE) if "deletionTimestamp" not in pod["metadata"]]

    def pod_uids(self):
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def cut(self):
        self.wire.cut()
        self.proxy.swallow()

    def heal(self):
        self.wire.heal()
        self.proxy.heal()

    def vanish(self):
        """Its API server and its machines are no more."""
        for part in (self.plane.scheduler, self.plane.controllers, self.plane.apiserver):
            part.kill()
        for node in self.nodes:
            node.lose()  # of podrunner's

    def kubectl(self, *words, timeout_s=120):
        """(status, what it said) as cluster-admin."""
        self.plane.kubectl("version", "--client")  # its kubeconfig is made
        config = self.plane.folder / "kubectl.kubeconfig"
        done = subprocess.run(
            [self.plane.programs / "kubectl", "--kubeconfig", config, *map(str, words)],
            capture_output=True, text=True, timeout=timeout_s, env={**os.environ, "HOME": str(self.plane.folder)},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def starlink_port(world):
    return json.loads((world.data / "run" / "server.ready").read_text())["starlink"]
