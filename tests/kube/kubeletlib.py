"""A node with the real kubelet, containerd and runc, all in one folder of its own: preStop, TERM and grace are the real ones.

    with Kubelet(control_plane, images=[Image("astra.local/x:1", ["/bin/x"], {"/bin/x": path}), busybox()]) as node: ...

containerd, runc, the CNI plug-ins and busybox are Debian's, unpacked by tools/kube-setup and not installed. Needs root. The kubelet
and CNI change global settings of the kernel: they are noted before and put back after. Images come as archives made here, so a pod
says imagePullPolicy: Never. A caretaker removes what is left when it ends, or is killed: processes, mounts, cgroups, networks."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import kubelib
from caretaker import Caretaker

SYSCTLS = ("kernel.panic", "kernel.panic_on_oops", "vm.overcommit_memory", "vm.panic_on_oom", "net.ipv4.ip_forward")
SYSCTLS += ("net.ipv4.conf.all.route_localnet", "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes")
PAUSE, SPACE = "astra.local/pause:1", "k8s.io"
PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }
"""
SUBNET = "10.85.{}.0/24"


def tools():
    return kubelib.programs() / "debian" / "usr"


def why_not():
    """Why no real kubelet can run here; None when it can."""
    if os.geteuid() != 0:
        return "the real kubelet needs root"
    if not os.access("/proc/sys/kernel/panic", os.W_OK):
        return "the real kubelet needs to write kernel settings, and /proc/sys is read-only"
    if not os.path.ismount("/sys/fs/cgroup"):
        return "the real kubelet needs cgroups, and /sys/fs/cgroup is not mounted"
    if not shutil.which("ip"):
        return "iproute2 is not installed"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{folder}/{name}")
        layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        words = [
            "unshare",
            "--mount",
            "--pid",
            "--net",
            "--fork",
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            layers,
            f"{folder}/merged",
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            return f"containers are not permitted here: {done.stderr.strip()}"
    return kubelib.why_not()


class Image:
    """An image as `docker save` writes it, made by hand. files: path in it -> a host's file, bytes, or a link (("link", target))."""

    def __init__(self, name, entrypoint, files, env=("PATH=/usr/bin:/bin",), folder="/"):
        layer = self._layer(files)
        digest = hashlib.sha256(layer).hexdigest()
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        settings = {"Entrypoint": entrypoint, "Env": list(env), "WorkingDir": folder}
        parts = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
        config = {
            "architecture": machine,
            "os": "linux",
            "config": settings,
            "rootfs": parts,
            "history": [{"created_by": "hand"}],
        }
        text = json.dumps(config).encode()
        manifest = [{"Config": f"{hashlib.sha256(text).hexdigest()}.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
        self.name, self.parts = name, {manifest[0]["Config"]: text, manifest[0]["Layers"][0]: layer}
        self.parts["manifest.json"] = json.dumps(manifest).encode()

    @staticmethod
    def _layer(files):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            folders = {str(parent) for path in files for parent in Path(path).parents} | {
                "/tmp",
                "/etc",
                "/dev",
                "/proc",
                "/sys",
                "/run",
            }
            for path in sorted(folders - {"/"}):
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "/tmp" else 0o755
                tar.addfile(entry)
            for path, source in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                if isinstance(source, tuple):
                    entry.type, entry.linkname = tarfile.SYMTYPE, source[1]
                    tar.addfile(entry)
                    continue
                data = source if isinstance(source, bytes) else Path(source).read_bytes()
                entry.size, entry.mode = len(data), 0o755
                tar.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()

    def write(self, path):
        with tarfile.open(path, "w") as tar:
            for name, data in self.parts.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


class Archive:
    """An image that lies in a file already, such as that of tools/image."""

    def __init__(self, name, path):
        self.name, self.path = name, Path(path)

    def write(self, path):
        shutil.copyfile(self.path, path)


def busybox(name="astra.local/busybox:1"):
    links = {
        f"/bin/{word}": ("link", "/bin/busybox")
        for word in "sh true false sleep cat echo date kill touch ls wget nc httpd".split()
    }
    return Image(name, ["/bin/sh"], {"/bin/busybox": kubelib.programs() / "debian" / "bin" / "busybox", **links})


def pause(folder):
    source, program = Path(folder) / "pause.c", Path(folder) / "pause"
    source.write_text(PAUSE_SOURCE)
    subprocess.run(["cc", "-static", "-Os", "-s", "-o", program, source], check=True)
    return Image(PAUSE, ["/pause"], {"/pause": program})


def read_settings():
    paths = [Path("/proc/sys") / name.replace(".", "/") for name in SYSCTLS]
    return {str(path): path.read_text() for path in paths if path.exists()}


class Kubelet:
    """One node. Each has its own root folder, sockets, ports; two at a time on one machine need two values of `subnet`. Its name is how
    the API server reaches it on loopback: under another one than localhost, kubectl logs and exec fail and all else works."""

    def __init__(self, plane, name="localhost", images=(), labels=None, kubelet_options=None, subnet=0):
        self.plane, self.name, self.images, self.labels = plane, name, images, labels or {}
        self.options, self.subnet = kubelet_options or {}, SUBNET.format(subnet)
        self.containerd = self.kubelet = self.folder = None

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="astra-k-"))
        self.network = f"astra-{self.folder.name}"
        self.caretaker = Caretaker(self.folder, read_settings(), self.network)
        self.caretaker.__enter__()
        try:
            self._start_containerd()
            self.load([pause(self.folder), *self.images])
            self._start_kubelet()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Pods' processes are killed, as when a machine is switched off; then everything that the node made is taken away."""
        for part in (self.kubelet, self.containerd):
            if part:
                part.kill()
        self.caretaker.__exit__()

    def leftovers(self):
        return self.caretaker.leftovers()

    @property
    def socket(self):
        return self.folder / "containerd.sock"

    def environment(self):
        home = tools()
        return {
            **os.environ,
            "PATH": f"{home / 'bin'}:{home / 'sbin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
        }

    def ctr(self, *words):
        words = [tools() / "bin" / "ctr", "-a", self.socket, "-n", SPACE, *words]
        return subprocess.run(
            [str(w) for w in words], check=True, capture_output=True, text=True, env=self.environment(), timeout=60
        ).stdout

    def _start_containerd(self):
        network = {"cniVersion": "0.4.0", "name": self.network, "plugins": [{
            "type": "ptp", "ipMasq": False, "ipam": {
                "type": "host-local", "subnet": self.subnet, "dataDir": str(self.folder / "ipam"), "routes": [{"dst": "0.0.0.0/0"}],
            },
        }]}  # fmt: skip
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "10-astra.conflist").write_text(json.dumps(network))
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        config = self.folder / "containerd.toml"
        # restrict_oom_score_adj: where a process may not lower it, runc fails with "can't get final child's PID from pipe: EOF"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n[grpc]\n  address = "{self.socket}"\n'
            f'[{cri}]\n  restrict_oom_score_adj = true\n  sandbox_image = "{PAUSE}"\n'
            f'[{cri}.cni]\n  bin_dir = "{tools()}/lib/cni"\n  conf_dir = "{self.folder}/cni"\n'
            f'[{cri}.containerd]\n  snapshotter = "overlayfs"\n[{cri}.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
        )
        words = [tools() / "bin" / "containerd", "--config", config]
        self.containerd = kubelib.Part("containerd", self.folder, words, self._containerd_answers, env=self.environment())
        self.containerd.start()

    def _containerd_answers(self):
        try:
            return bool(self.ctr("version"))
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False

    def load(self, images):
        """More images; those of the start are loaded already."""
        for image in images:
            archive = self.folder / "image.tar"
            image.write(archive)
            self.ctr("images", "import", archive)
            archive.unlink()

    def _configuration(self, port):
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": "127.0.0.1", "port": port, "readOnlyPort": 0, "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(self.plane.authority.certificate)},
            },
            "authorization": {"mode": "Webhook"}, "containerRuntimeEndpoint": f"unix://{self.socket}",
            "tlsCertFile": str(self.serving[0]), "tlsPrivateKeyFile": str(self.serving[1]),
            "cgroupDriver": "cgroupfs", "failCgroupV1": False, "cgroupRoot": "/", "cgroupsPerQOS": False, "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": False, "failSwapOn": False, "resolvConf": "/etc/resolv.conf",
            "imageMinimumGCAge": "24h", "imageGCHighThresholdPercent": 100, "makeIPTablesUtilChains": False,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
            "registerNode": True, "shutdownGracePeriod": "0s", "podLogsDir": str(self.folder / "podlogs"),
            "volumePluginDir": str(self.folder / "plugins"), "syncFrequency": "10s", **self.options,
        }  # fmt: skip

    def _start_kubelet(self):
        authority = self.plane.authority
        # the API server reaches it by the host name localhost: its listener is on loopback, a node's address may not be
        self.serving = authority.issue(
            f"kubelet-{self.name}", f"system:node:{self.name}", ["system:nodes"], "IP:127.0.0.1,DNS:localhost"
        )
        client = self.plane.kubeconfig(f"system:node:{self.name}", ["system:nodes"])

        def make(ports):
            config = self.folder / "kubelet.json"
            config.write_text(json.dumps(self._configuration(ports[0])))
            words = [
                self.plane.programs / "kubelet",
                f"--kubeconfig={client}",
                f"--config={config}",
                f"--root-dir={self.folder / 'kubelet'}",
            ]
            words += [f"--hostname-override={self.name}", f"--node-ip={host_address()}", f"--cert-dir={self.folder}"]
            words += ["--node-labels=" + ",".join(f"{key}={value}" for key, value in {"type": "kubelet", **self.labels}.items())]
            return kubelib.Part("kubelet", self.folder, words, self.is_ready, env=self.environment(), ready_s=120)

        self.kubelet = kubelib.start_on_free_ports(make, 1)

    def is_ready(self):
        """Ready, and no taint keeps pods away."""
        node = self.plane.api.get("nodes", self.name)
        return bool(node) and kubelib.kubeapi.condition(node, "Ready") == "True" and not node["spec"].get("taints")


def host_address():
    """A node's address may not be loopback: the host's own, or one for documentation where it has none."""
    words = subprocess.run(
        ["ip", "-4", "-o", "address", "show", "scope", "global"], capture_output=True, text=True
    ).stdout.split()
    return next((words[n + 1].split("/")[0] for n, word in enumerate(words) if word == "inet"), "192.0.2.1")
