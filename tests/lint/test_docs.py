"""What tools/check_docs.py must find: a broken link, a reason that is not explained, a picture of another text."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check_docs  # noqa: E402
import check_layers  # noqa: E402
import picture_house  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    """A small tree with the real tables and pictures."""
    for name in ("src/types/state.h", "tools/layers.txt", "docs/reasons.md", "docs/pictures/house.dot", "docs/pictures/house.svg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "README.md").write_text("[reasons](docs/reasons.md#none)\n")
    page = tmp_path / "docs" / "reasons.md"
    page.write_text(page.read_text().replace("](", "] ("))
    return tmp_path


def test_links(tree):
    assert list(check_docs.check_links(tree)) == []
    (tree / "README.md").write_text("[one](docs/none.md), [two](https://example.org/x)\n")
    assert list(check_docs.check_links(tree)) == ["README.md: links to docs/none.md, which does not exist"]


def test_reasons(tree):
    page = tree / "docs" / "reasons.md"
    assert list(check_docs.check_reasons(tree)) == []
    page.write_text(page.read_text().replace("| `NoCapacity` |", "| `NoPlace` |"))
    assert list(check_docs.check_reasons(tree)) == [
        "docs/reasons.md: explains NoCapacity 0 times, not once",
        "docs/reasons.md: NoPlace is no reason of src/types/state.h",
    ]


def test_routes(tree):
    (tree / "src" / "daemon" / "server").mkdir(parents=True)
    (tree / "docs" / "components").mkdir()
    (tree / "src" / "daemon" / "server" / "api_route.h").write_text('    X(NODES, GET, "/v1/nodes", VIEW, NONE) \\\n')
    page = tree / "docs" / "components" / "api.md"
    page.write_text("| `/v1/nodes` |\n")
    assert list(check_docs.check_routes(tree)) == []
    page.write_text("| `/v1/node` |\n")
    assert list(check_docs.check_routes(tree)) == [
        "docs/components/api.md: tells of an unknown path, /v1/node",
        "docs/components/api.md: does not tell of /v1/nodes",
    ]


def test_the_house_follows_the_table(tree):
    assert list(check_docs.check_pictures(tree)) == []
    table = tree / "tools" / "layers.txt"
    text = table.read_text()
    table.write_text(text.replace("layer cli            : base types wire sys net store unit", "layer cli            : base types wire sys net unit"))
    assert table.read_text() != text
    assert "run `make pictures`" in "".join(check_docs.check_pictures(tree))


def test_a_picture_is_drawn_from_its_text(tree):
    folder = tree / "docs" / "pictures"
    text = 'digraph x { a [label="src/nowhere"] }\n'
    (folder / "x.dot").write_text(text)
    assert len(list(check_docs.check_pictures(tree))) == 2
    (folder / "x.svg").write_text(f"<!-- with sha256 {hashlib.sha256(text.encode()).hexdigest()} -->")
    assert list(check_docs.check_pictures(tree)) == ["docs/pictures/x.dot: names src/nowhere, which does not exist"]


def test_an_arrow_that_points_up_is_not_drawn():
    _, layers = check_layers.parse_table((ROOT / "tools" / "layers.txt").read_text())
    layers["base"].arrows.append("daemon")
    with pytest.raises(SystemExit, match="base -> daemon points up"):
        picture_house.dot(layers)


def test_citations(tree):
    (tree / "src" / "a.h").write_text("/* docs/reasons.md has them. */\n")
    assert list(check_docs.check_citations(tree)) == []
    (tree / "src" / "a.h").write_text("/* docs/nowhere.md has them. */\n")
    assert list(check_docs.check_citations(tree)) == ["src/a.h: cites docs/nowhere.md, which does not exist"]


def test_commands(tree):
    for name, text in {
        "src/main.c": '    {"up", d_up_main, "run it"},\n',
        "src/cli/commands.h": '    X("status", status, "see it")\n    X("logs", logs, "read it")\n',
        "docs/components/cli.md": "`astra status`\n",
        "README.md": "Astra is up.\n\nastra up\nType `astra top`.\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "docs" / "reasons.md").write_text("")
    assert list(check_docs.check_commands(tree)) == [
        "README.md: tells of astra top, which is no command",
        "docs/components/cli.md: does not tell of astra logs",
    ]
