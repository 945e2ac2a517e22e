"""A platform on a network of its own: server and gateway in one network namespace, where the test is, too, and each node in
another, on a wire whose packets nft can drop. The addresses are of 127.0.0.0/8, which the kernel is told to route here."""

import contextlib
import ctypes
import json
import os
import subprocess
import tempfile
from pathlib import Path

from disasterlib import World
from platformlib import command
from proclib import kill, marked, wait_for
from uplib import ASTRA

CLONE_NEWNET = 0x40000000
SERVER = "127.1.0.1"
libc = ctypes.CDLL(None, use_errno=True)
LOOPBACK = """
ip link set lo up
ip route del local 127.0.0.0/8 dev lo table local
ip route replace local 127.0.0.1 dev lo table local
"""
RULES = """
table inet cut {
  set wires { type ifname; }
  chain in { type filter hook input priority 0; iifname @wires drop; }
  chain out { type filter hook output priority 0; oifname @wires drop; }
  chain forward { type filter hook forward priority 0; iifname @wires drop; oifname @wires drop; }
}
"""


def sh(script):
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def own_network():
    """This thread, and what it starts, in a network namespace of its own."""
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            yield
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


class Node:
    """An agent behind a wire; its network lives as long as a process that holds it."""

    def __init__(self, lan, number, cluster, name):
        self.lan, self.number, self.cluster, self.name = lan, number, cluster, name
        self.wire, self.address = f"wire{number}", f"127.1.{number}.2"
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_for("its network", self.is_apart)
        inside = f"nsenter --net=/proc/{self.holder.pid}/ns/net"
        sh(f"""
            ip link add {self.wire} type veth peer name eth0 netns /proc/{self.holder.pid}/ns/net
            ip link set {self.wire} up
            echo 1 > /proc/sys/net/ipv4/conf/{self.wire}/route_localnet
            ip route add {self.address} dev {self.wire} src {SERVER}
            {inside} sh -ec '{LOOPBACK}
                ip link set eth0 up
                ip addr add {self.address}/32 dev eth0
                ip route add 127.1.0.0/16 dev eth0 src {self.address}'
            nsenter --net=/proc/{self.holder.pid}/ns/net sh -c 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet'
        """)
        self.process = None
        self.start()

    def is_apart(self):
        own = os.stat("/proc/thread-self/ns/net").st_ino
        return os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino != own

    def start(self):
        lan, folder = self.lan, self.lan.data / "nodes" / self.name
        words = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", ASTRA, "agent", "--server", f"{SERVER}:{lan.starlink}"]
        words += ["--join-token-file", lan.data / "server" / "join.token", "--data", folder, "--name", self.name]
        words += ["--cluster", self.cluster, "--cpu", "2", "--memory", "4Gi", "--http", "127.0.0.1:0", "--disk", "20Gi"]
        words += ["--temp-root", lan.temp, "--cache", lan.data / "cache", "--address", self.address]
        words += ["--ports-dir", lan.data / "ports"]
        self.process = lan.child(self.name, words)


class Lan(World):
    """Two clusters of `nodes` nodes. Inside own_network()."""

    def __init__(self, folder, environment, nodes=2, lost_after="5s"):
        super().__init__(folder, environment, lost_after)
        self.temp = Path(tempfile.mkdtemp(prefix="al", dir="/tmp"))  # short: Ray allows 41 characters
        for path in (self.data / "log", self.data / "run"):
            path.mkdir(parents=True)
        self.children = {}
        sh(LOOPBACK + f"ip addr add {SERVER}/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward")
        subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
        self.nodes = nodes

    def child(self, name, words, **env):
        ready = self.data / "run" / f"{name}.ready"
        ready.unlink(missing_ok=True)
        log = open(self.data / "log" / f"{name}.log", "ab")
        words = [*map(str, words), "--ready-file", str(ready)]
        marks = {"ASTRA_UP": str(self.data), **env}
        process = subprocess.Popen(words, env={**self.env, **marks}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"{name} to be ready", lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, self.log(name)
        self.children[name] = process
        self.ports = json.loads(ready.read_text())
        return process

    def up(self):
        data = self.data
        self.child("server", [ASTRA, "server", "--data", data / "server", "--api", "127.0.0.1:0", "--starlink", f"{SERVER}:0"])
        self.api_port, self.starlink = self.ports["api"], self.ports["starlink"]
        gateway = [ASTRA, "gateway", "--server", f"{SERVER}:{self.starlink}", "--token-file", data / "server" / "join.token"]
        gateway += ["--name", "gateway", "--data", data / "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        (data / "gateway").mkdir()
        self.child("gateway", gateway)
        self.gateway_port = self.ports["gateway"]
        names = [(c, n) for c in (1, 2) for n in range(1, self.nodes + 1)]
        self.lan = {f"c{c}-n{n}": Node(self, i + 1, f"cluster-{c}", f"c{c}-n{n}") for i, (c, n) in enumerate(names)}
        self.wait("the nodes", lambda: all(self.is_up(name) for name in self.lan), 20)
        self.put_artifacts()
        return self

    def client(self):
        token = (self.data / "server" / "api.token").read_text().strip()
        address = f"https://127.0.0.1:{self.api_port}"
        ca = (self.data / "server" / "ca.pem").read_text()
        return {"address": address, "token": token, "gateway": f"http://127.0.0.1:{self.gateway_port}", "ca": ca}

    def end(self):
        for process in reversed(self.children.values()):
            process.kill()
            process.wait()
        holders = [node.holder for node in getattr(self, "lan", {}).values()]
        for holder in holders:
            holder.kill()
            holder.wait()
        kill([*marked(*self.marks), *self.shims()])  # a shim takes its members along
        wait_for("the end of all", lambda: self.left() == [], 20)
        subprocess.run(["rm", "-rf", self.temp], check=True)

    def shims(self):
        """Processes whose command line names a folder of this platform."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if f"{self.data}/" in command(path.name)]

    def left(self):
        return [*marked(*self.marks), *self.shims()]

    def of(self, cluster):
        return [node for node in self.lan.values() if node.cluster == cluster]

    @contextlib.contextmanager
    def cut(self, nodes):
        """Every packet to and from these nodes is dropped inside the block."""
        wires = ", ".join(f'"{node.wire}"' for node in nodes)
        sh(f"nft add element inet cut wires '{{ {wires} }}'")
        try:
            yield
        finally:
            sh(f"nft delete element inet cut wires '{{ {wires} }}'")
