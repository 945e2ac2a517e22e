"""docs/operate/kubernetes.md as its reader walks it: every command of it, in its order, in two clusters of the rig.

    with Walk(folder, {"east": east, "west": west}, packed stand-in or None for Ray) as walk:
        for heading, script in walk.sections(): walk.run(script)

What a reader sets for himself (the block of exports) is the rig's here; the gateway has a free port; and with the stand-in the app
names its environment as an artifact, which is put before. All else runs as it stands."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import kubelib
from proclib import marked, wait_for
from rolelib import IMAGE
from uplib import ASTRA

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operate" / "kubernetes.md"
HEADING = re.compile(r"^## (.*)\n", re.M)
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
SETTINGS = re.compile(r"(?:^export [A-Z_]+=.*\n)+\Z", re.M)
OPERATOR = "operator"


def sections(text):
    """[(heading, its blocks of commands)], without headings that have none, and the names of what readers set for themselves."""
    parts, settings = HEADING.split(text)[1:], []
    found = []
    for heading, body in zip(parts[::2], parts[1::2]):
        blocks = []
        for block in FENCE.findall(body):
            if SETTINGS.fullmatch(block):
                settings += re.findall(r"^export ([A-Z_]+)=", block, re.M)
            else:
                blocks.append(block)
        if blocks:
            found.append((heading, "".join(blocks)))
    return found, settings


class Walk:
    def __init__(self, folder, sites, environment=None, lost_after="10s"):
        self.folder, self.sites, self.environment = Path(folder), sites, environment
        self.ports = dict(zip(("API", "STARLINK", "GATEWAY", "ADMIN"), kubelib.free_ports(4)))
        self.found, self.settings = sections(PAGE.read_text())
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("ASTRA_")}
        self.env.update({f"ASTRA_CFG_UP_{name}": str(port) for name, port in self.ports.items()})
        self.env.update(HOME=str(self.folder), PATH=f"{self.folder / 'bin'}:{self.env['PATH']}", ASTRA_CFG_SERVER_LOST_AFTER=lost_after)
        self.env.setdefault("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))

    def __enter__(self):
        bin = self.folder / "bin"
        bin.mkdir(parents=True)
        for name, program in (("astra", ASTRA), ("kubectl", kubelib.programs() / "kubectl")):
            (bin / name).symlink_to(program)
        (self.folder / ".kube").mkdir()
        for name, site in self.sites.items():
            site.reach(self.ports["STARLINK"])
            (self.folder / ".kube" / name).write_text(site.operator_kubeconfig(OPERATOR).read_text())
        join = next((site.join_address for site in self.sites.values() if site.apart), None)
        own = {"IMAGE": IMAGE, "JOIN": join or f"127.0.0.1:{self.ports['STARLINK']}", "ASTRA_CFG_UP_STARLINK": f"127.0.0.1:{self.ports['STARLINK']}"}
        assert sorted(own) == sorted(self.settings), "what a reader sets is what the rig sets"
        self.env.update(own)
        return self

    def __exit__(self, *_):
        """Nothing is left, in the clusters either."""
        print(self.astra("down", "--purge", check=False))
        for site in self.sites.values():
            if site.plane.apiserver.alive:
                site.kubectl("-n", "astra", "delete", "pod", "--all", "--force", "--grace-period=0")  # their server is away
                site.kubectl("delete", "namespace", "astra", "--ignore-not-found", "--timeout=60s")
        wait_for("the end of all", lambda: not marked(f"ASTRA_UP={self.folder}/.local/share/astra"), 60)

    @property
    def gateway(self):
        return f"http://127.0.0.1:{self.ports['GATEWAY']}"

    def sections(self):
        return self.found

    def as_here(self, script):
        script = script.replace("http://127.0.0.1:8080", self.gateway)
        if self.environment:
            (self.folder / "stand-in.tar.zst").write_bytes(self.environment)
            put = "astra artifact put stand-in.tar.zst --name ray@1\nastra deploy"
            script = script.replace("environment: requirements.txt", "environment: [{artifact: ray@1}]").replace("astra deploy", put)
        return script

    def run(self, script, timeout_s=600):
        """(what it printed, seconds); a RuntimeError with all of it when a command failed."""
        began = time.monotonic()
        words = ["bash", "-eu", "-o", "pipefail", "-c", self.as_here(script)]
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=timeout_s,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{script}\n{done.stdout}")
        return done.stdout, time.monotonic() - began

    def astra(self, *words, check=True):
        done = subprocess.run([ASTRA, *map(str, words)], env=self.env, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"astra {words}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def units(self, state=None):
        return [u for u in json.loads(self.astra("units", "hello", "-o", "json"))["items"] if state in (None, u["state"])]

    def clusters(self):
        """Of the units that are READY."""
        return sorted(unit["cluster"] for unit in self.units("READY"))
