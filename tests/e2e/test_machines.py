"""deploy/install.sh and deploy/systemd: a tree of `make install` becomes services of a machine. No systemd runs here: its own checker
reads the units, and the commands that they would run are run by the test, with their settings."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from paths import ASTRA, ROOT
from proclib import start_time, wait_for

sys.path.insert(0, str(ROOT / "bench"))
from _peers import debian  # noqa: E402

TOKEN = "f" * 64 + "-" + "0" * 64
ROLES = ("server", "gateway", "agent")
EXPOSURE = {"server": 2.0, "gateway": 2.0, "agent": 7.0}  # of systemd-analyze security, at most
SETTINGS = {
    "server": ["--api-host", "astra.example.org", "--flag", "lost-after=20s"],
    "gateway": ["--server", "astra.example.org:7701", "--name", "g1", "--flag", "listen=:443", "--flag", "log-json"],
    "agent": ["--server", "astra.example.org:7701", "--name", "n1", "--cluster", "vms", "--label", "rack=r1", "--flag", "cpu=2"],
}


class Machine:
    """A machine's root, with the installed tree in /opt/astra."""

    def __init__(self, root):
        self.root, self.script = root, root / "opt" / "astra" / "share" / "astra" / "install.sh"
        self.said = ""

    def run(self, *words, status=0):
        words = [str(self.script), *words, "--root", str(self.root)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        self.said += done.stdout + done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(self, role, *more):
        token = [] if role == "server" else ["--token-file", str(self.token())]
        return self.run(role, *token, *SETTINGS[role], *more)

    def token(self):
        path = self.root.with_name("token")
        path.write_text(TOKEN + "\n")
        path.chmod(0o600)
        return path

    def files(self):
        found = [p for name in ("etc", "usr", "var") for p in (self.root / name).rglob("*") if p.is_file()]
        return {str(p.relative_to(self.root)): (p.read_text(), p.stat().st_mode & 0o777, p.stat().st_mtime_ns) for p in found}

    def command(self, role, key="ExecStart", unit=None):
        """The words that systemd would run, and their settings."""
        unit = (self.root / "etc/systemd/system" / f"{unit or f'astra-{role}'}.service").read_text()
        text = (self.root / "etc/astra" / f"{role}.env").read_text()
        settings = {k: v.strip('"') for k, v in (line.split("=", 1) for line in text.splitlines())}
        words = []
        for word in shlex.split(re.search(rf"^{key}=(.*)$", unit, re.M)[1]):
            words += settings[word[1:]].split() if word in (f"${name}" for name in settings) else [word]
        return words, settings


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What `make install` puts down."""
    folder = tmp_path_factory.mktemp("tree")
    options = subprocess.run(["meson", "introspect", "--buildoptions", ROOT / "build"], capture_output=True, check=True).stdout
    prefix = next(o["value"] for o in json.loads(options) if o["name"] == "prefix")
    words = ["meson", "install", "-C", ROOT / "build", "--no-rebuild", "--quiet"]
    subprocess.run(words, env={**os.environ, "DESTDIR": str(folder)}, check=True, capture_output=True)
    return folder / prefix.strip("/")


@pytest.fixture
def machine(tree, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(tree / "share" / "astra", root / "opt" / "astra" / "share" / "astra")
    (root / "opt" / "astra" / "bin").mkdir()
    (root / "opt" / "astra" / "bin" / "astra").symlink_to(tree / "bin" / "astra")
    machine = Machine(root)
    yield machine
    assert TOKEN[:64] not in machine.said


def test_the_script_is_plain_sh():
    done = subprocess.run(
        [debian("shellcheck") / "usr" / "bin" / "shellcheck", ROOT / "deploy" / "install.sh"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_what_is_written_and_how_often(machine):
    """A second time changes nothing; another word changes its file alone. The token is for root, and nothing says it."""
    for role in ROLES:
        machine.install(role)
    first = machine.files()
    assert first["etc/astra/join.token"][:2] == (TOKEN + "\n", 0o600)
    assert [name for name, (text, _, _) in first.items() if TOKEN[:64] in text] == ["etc/astra/join.token"]
    for role in ROLES:
        assert "everything is as it should be" in machine.install(role)
    assert machine.files() == first
    machine.install("agent", "--label", "rack=r2")
    assert {name for name, what in machine.files().items() if what != first[name]} == {"etc/astra/agent.env"}


def test_the_way_back(machine):
    before = machine.files()
    for role in ROLES:
        machine.install(role)
    for role in ROLES:
        machine.run("uninstall", role)
    assert set(machine.files()) - set(before) == {"etc/astra/join.token", "usr/lib/sysusers.d/astra.conf"}
    machine.run("uninstall", "agent", "--purge")
    assert not (machine.root / "etc" / "astra").exists()


def test_members_are_not_lost_by_accident(machine, tmp_path):
    """An agent with members is taken away only when that is meant; then they end, and their folders go."""
    machine.install("agent")
    member, temporary = machine.root / "var/lib/astra/agent/members/1", tmp_path / "astra-Ab3dEf9h"
    (temporary / "tmp").mkdir(parents=True)
    member.mkdir(parents=True, mode=0o700)
    (member / "spec").write_text(
        f"version 1\narg /bin/sleep\narg 1000\nenv TMPDIR={temporary}/tmp\nnamespaces off\ncwd {temporary}\n"
    )
    shim = subprocess.Popen([ASTRA, "shim", member], start_new_session=True)
    try:
        state = wait_for("the member", lambda: re.search(r"^member ([1-9]\d*) ", (member / "state").read_text(), re.M)
                         if (member / "state").exists() else None)  # fmt: skip
        pid = int(state[1])
        assert "members run here" in machine.run("uninstall", "agent", status=1)
        assert start_time(pid) is not None and (machine.root / "etc/astra/agent.env").exists()
        machine.run("uninstall", "agent", "--purge")
        assert start_time(pid) is None
        assert not member.exists() and not temporary.exists()
    finally:
        shim.kill()
        shim.wait()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["janitor"], 2, "ROLE is server, gateway or agent"),
        (["agent"], 2, "needs --server"),
        (["agent", "--server", "h"], 2, "expected HOST:PORT"),
        (["agent", "--server", "h:1"], 2, "needs --token-file"),
        (["agent", "--server", "h:1", "--token-file", "/dev/null"], 1, "holds no join token"),
        (["agent", "--server", "h:1", "--label", "rack"], 2, "expected KEY=VALUE"),
        (["agent", "--server", "h:1", "--label", "a=$(id)"], 2, "letters, digits"),
        (["gateway", "--cluster", "c"], 2, "takes no --cluster"),
        (["server", "--purge"], 2, "for uninstall"),
    ],
)
def test_wrong_words(machine, words, status, said):
    before = machine.files()
    assert said in machine.run(*words, status=status)
    assert machine.files() == before


def test_systemd_understands_the_units(machine, tmp_path):
    """Nothing to complain of, and no wider open than they were: `systemd-analyze security` counts what a service may."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = tmp_path / "units"
    units.mkdir()
    for role in ROLES:
        machine.install(role)
    for unit in (machine.root / "etc/systemd/system").iterdir():
        text = unit.read_text()
        assert "/usr/local/" not in text
        (units / unit.name).write_text(text.replace("/opt/astra/", f"{machine.root}/opt/astra/"))
    done = subprocess.run(["systemd-analyze", "verify", *sorted(units.iterdir())], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for role, most in EXPOSURE.items():
        words = ["systemd-analyze", "security", "--offline=true", f"--threshold={int(most * 10)}", units / f"astra-{role}.service"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-300:]


def test_an_agent_restarts_beside_its_members(machine):
    """What keeps them: only the main process is ended, and a member's end by memory is not the service's."""
    machine.install("agent")
    unit = (machine.root / "etc/systemd/system/astra-agent.service").read_text().splitlines()
    assert {"KillMode=process", "OOMPolicy=continue", "Restart=always"} <= set(unit)
    assert not [line for line in unit if line.startswith(("PrivateTmp=", "ExecStop=", "ProtectProc=", "ProtectKernelTunables="))]


def test_the_commands_of_the_units_make_a_platform(machine, tmp_path):
    """The server's, the gateway's and the agent's own words, folders and ports apart, find each other; and the drain of a
    shutdown finds the agent."""
    data, processes = tmp_path / "data", []

    def start(role, *flags):
        machine.run(role, *flags)
        words, settings = machine.command(role)
        words = [word.replace("/var/lib/astra", str(data)).replace("/etc/astra", str(machine.root / "etc/astra")) for word in words]
        words = [word.replace("${CREDENTIALS_DIRECTORY}", str(machine.root / "etc/astra")) for word in words]
        assert words[0] == "/opt/astra/bin/astra"
        env = {**os.environ, **settings}
        log = open(tmp_path / f"{role}.log", "wb")
        processes.append(subprocess.Popen([str(ASTRA), *words[1:]], env=env, stdout=log, stderr=log))
        return wait_for(f"the {role}", lambda: (data / f"{role}.ready").exists() and json.loads((data / f"{role}.ready").read_text()))

    def flags(role, **more):
        return [word for key, value in {"ready-file": data / f"{role}.ready", **more}.items() for word in ("--flag", f"{key}={value}")]

    data.mkdir(mode=0o755)
    try:
        ports = start("server", *flags("server", api="127.0.0.1:0", starlink="127.0.0.1:0"))
        joins = ["--server", f"127.0.0.1:{ports['starlink']}", "--token-file", str(data / "server" / "join.token")]
        start("gateway", *joins, *flags("gateway", listen="127.0.0.1:0", admin="127.0.0.1:0"))
        node = ["--name", "n1", "--cluster", "vms", "--label", "rack=r1"]
        start("agent", *joins, *node, *flags("agent", http="127.0.0.1:0", cpu=2))
        # the server's own folder opens it; the port is ours alone
        words = [ASTRA, "nodes", "-o", "json", "--data", data / "server", "--server", f"https://127.0.0.1:{ports['api']}"]

        def nodes():
            done = subprocess.run(words, capture_output=True, text=True)
            return done.returncode == 0 and json.loads(done.stdout)["items"]

        (found,) = wait_for("the node", nodes)
        assert subprocess.run([*words, "--token", "x" * 40], capture_output=True).returncode == 1
        assert (found["name"], found["cluster"], found["labels"]["rack"]) == ("n1", "vms", "r1")
        stop, _ = machine.command("agent", "ExecStop", "astra-agent-drain")
        assert stop[:2] == ["/bin/sh", "-c"] and "drain --self --data /var/lib/astra/agent" in stop[2]
        drain = [ASTRA, "drain", "--self", "--data", data / "agent", "--grace", "10s"]
        began = time.monotonic()
        assert subprocess.run(drain, capture_output=True).returncode == 0 and time.monotonic() - began < 8
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
