"""README tells a newcomer the truth: its commands run as they stand, in their order, and it stays short."""

import os
import re
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
# these two run this test, or what it would repeat at length
LEFT_OUT = re.compile(r"^make (demo|test)\b")


def commands(text):
    """The lines of the ```sh blocks, in order, without those that are left out."""
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    return [line for line in lines if not LEFT_OUT.match(line)]


def run(script, home, timeout_s):
    environment = {**os.environ, "HOME": str(home), "PATH": f"{ROOT / 'build'}:{os.environ['PATH']}"}
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
    status, output = run("\n".join(lines), tmp_path, 900)
    assert status == 0, output[-4000:]


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = README.read_text()
    assert len(text.split()) < 2000
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), target
