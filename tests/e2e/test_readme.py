"""README tells a newcomer the truth: its commands run as they stand, in their order, and it stays short."""

import os
import re
import signal
import subprocess
from pathlib import Path

from proclib import free_ports

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
# these two run this test, or what it would repeat at length
LEFT_OUT = re.compile(r"^make (demo|test)\b")


def commands(text):
    """The lines of the ```sh blocks, in order, without those that are left out."""
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    return [line for line in lines if not LEFT_OUT.match(line)]


def environment_of(home):
    """What a newcomer has, but for the ports: a platform of somebody else may run on the usual ones."""
    ports = dict(zip(("API", "STARLINK", "GATEWAY", "ADMIN"), map(str, free_ports(4))))
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    own = {"HOME": str(home), "XDG_CACHE_HOME": cache, "PATH": f"{ROOT / 'build'}:{os.environ['PATH']}"}
    return {**os.environ, **own, **{f"ASTRA_CFG_UP_{name}": port for name, port in ports.items()}}


def run(script, environment, timeout_s):
    process = subprocess.Popen(
        ["bash", "-eux", "-o", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output


def test_commands_are_found():
    text = "a\n```sh\nmake    # builds\nmake test\n```\n```\nnot this\n```\n```sh\nls\n```\n"
    assert commands(text) == ["make    # builds", "ls"]


def test_every_command_of_the_readme_runs(tmp_path):
    lines = commands(README.read_text())
    assert lines
    environment = environment_of(tmp_path)
    script = "\n".join(lines).replace("127.0.0.1:8080", f"127.0.0.1:{environment['ASTRA_CFG_UP_GATEWAY']}")
    try:
        status, output = run(script, environment, 900)
    finally:
        subprocess.run([ROOT / "build" / "astra", "down", "--purge"], env=environment, check=False)
    assert status == 0, output[-4000:]


def test_the_example_of_the_page_on_apps_is_valid(tmp_path):
    (tmp_path / "app.yaml").write_text(re.search(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "app.md").read_text(), re.M | re.S)[1])
    (tmp_path / "requirements.txt").write_text("ray[serve]\n")
    astra = ROOT / "build" / "src" / "astra"
    for words in (["validate", "app.yaml"], ["render", "app.yaml"]):
        done = subprocess.run([astra, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
    (tmp_path / "long.yaml").write_text(done.stdout)
    done = subprocess.run([astra, "validate", "long.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, "what render prints cannot be deployed: " + done.stderr


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = README.read_text()
    assert len(text.split()) < 2000
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), target
