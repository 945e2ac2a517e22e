"""docs/operate/kubernetes.md tells the truth: its commands run as they stand, in their order, and from the first answer on no
request fails."""

import contextlib
import os

import fakeraylib
import pagelib
import raylib
from platformlib import Traffic


def test_commands_and_settings_are_told_apart():
    text = "# t\n## A\n```sh\nexport X=1\nexport YZ=2\n```\nand\n```sh\nls\n```\n## B\n```\nnot this\n```\n"
    assert pagelib.sections(text) == ([("A", "ls\n")], ["X", "YZ"])


def test_every_command_of_the_page_runs(sites, tmp_path):
    real = os.environ.get("ASTRA_TEST_RAY") == "real"
    if real:
        raylib.packed(tmp_path)  # into the packer's cache
    with pagelib.Walk(tmp_path / "home", sites, None if real else fakeraylib.environment()) as walk, contextlib.ExitStack() as stack:
        traffic = None
        for heading, script in walk.sections():
            said, seconds = walk.run(script)
            print(f"{seconds:6.1f} s  {heading}")
            if heading == "Deploy":
                assert "hello from hello-" in said and walk.clusters() == ["east", "west"]
                traffic = stack.enter_context(Traffic(walk.gateway, "/hello"))
        assert walk.clusters() == ["east", "east"]
        assert "west" not in walk.astra("cluster", "ls") and sites["west"].api.get("secrets", "astra-join", "astra") is None
        assert traffic.failed == [] and traffic.sent > 100
