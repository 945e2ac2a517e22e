#!/usr/bin/python3
"""Check that the pages say what the tree says: generated pages and pictures are current; every reason, path of the API and
command is told, and none that there is not; links, citations and the folders that pictures name lead somewhere. Usage: check_docs.py [BUILD]"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import check_layers
import picture_house

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
REASON = re.compile(r'^\s*X\([A-Z_]+, "(\w+)", \d+\)', re.M)
ROUTE = re.compile(r'^\s*X\(\w+, [A-Z]+, "([^"]+)"', re.M)
CITED = re.compile(r"\bdocs/[a-z_/-]+\.md")
COMMAND = re.compile(r"(?:^|`|\$ )astra ([a-z]+)", re.M)
STAMP = re.compile(r"with sha256 ([0-9a-f]{64})")
FOLDER = re.compile(r"\b(?:src|include)/[a-z0-9_/]+")


def pages(root):
    named = [root / "README.md", root / "NEWS.md", *sorted((root / "docs").rglob("*.md")), root / "bench" / "README.md"]
    return [page for page in named if page.exists()]


def check_links(root):
    for page in pages(root):
        for target in LINK.findall(page.read_text()):
            if not (page.parent / target).exists():
                yield f"{page.relative_to(root)}: links to {target}, which does not exist"


def check_reasons(root):
    text = (root / "src" / "types" / "state.h").read_text()
    page = (root / "docs" / "reasons.md").read_text()
    told = re.findall(r"^\| `(\w+)` \|", page, re.M)
    known = REASON.findall(text)
    for name in known:
        if told.count(name) != 1:
            yield f"docs/reasons.md: explains {name} {told.count(name)} times, not once"
    for name in told:
        if name not in known:
            yield f"docs/reasons.md: {name} is no reason of src/types/state.h"


def check_routes(root):
    """Every path of the API stands in its page, and no other."""
    known = set(ROUTE.findall((root / "src" / "daemon" / "server" / "api_route.h").read_text()))
    told = set(re.findall(r"`(/[^`\s]*)`", (root / "docs" / "components" / "api.md").read_text()))
    for path in sorted(known ^ told):
        yield f"docs/components/api.md: {'does not tell of' if path in known else 'tells of an unknown path,'} {path}"


def check_citations(root):
    """Pages that comments of the sources point to."""
    for top in ("src", "include", "python"):
        for path in sorted((root / top).rglob("*.[chp]*")):
            for page in CITED.findall(path.read_text(errors="replace")) if path.suffix in (".c", ".h", ".py") else []:
                if not (root / page).exists():
                    yield f"{path.relative_to(root)}: cites {page}, which does not exist"


def check_commands(root):
    """Every `astra WORD` of the pages is a command, and cli.md names each that src/cli has."""
    ours = re.findall(r'X\("(\w+)"', (root / "src" / "cli" / "commands.h").read_text())
    known = {*ours, *re.findall(r'\{"(\w+)", ', (root / "src" / "main.c").read_text())}
    for page in pages(root):
        for word in sorted(set(COMMAND.findall(page.read_text())) - known):
            yield f"{page.relative_to(root)}: tells of astra {word}, which is no command"
    told = COMMAND.findall((root / "docs" / "components" / "cli.md").read_text())
    for word in ours:
        if word not in told:
            yield f"docs/components/cli.md: does not tell of astra {word}"


def check_pictures(root):
    _, layers = check_layers.parse_table((root / "tools" / "layers.txt").read_text())
    folder = root / "docs" / "pictures"
    if (folder / "house.dot").read_text() != picture_house.dot(layers):
        yield "docs/pictures/house.dot: is not what tools/layers.txt says; run `make pictures`"
    for source in sorted(folder.glob("*.dot")):
        text, svg = source.read_text(), source.with_suffix(".svg")
        match = STAMP.search(svg.read_text()) if svg.exists() else None
        if match is None or match[1] != hashlib.sha256(text.encode()).hexdigest():
            yield f"{svg.relative_to(root)}: was not drawn from the text beside it; run `make pictures`"
        for name in FOLDER.findall(text) if source.name != "house.dot" else []:
            if not (root / name).exists():
                yield f"{source.relative_to(root)}: names {name}, which does not exist"


def check_fields(root, build):
    program = build / "tools" / "app-fields"
    made = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    if (root / "docs" / "app-fields.md").read_text() != made:
        yield "docs/app-fields.md: is not what src/unit/app_schema.c says; run `make docs`"


def main():
    build = (ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build")).resolve()
    checks = (check_links, check_reasons, check_routes, check_citations, check_commands, check_pictures)
    found = [line for check in checks for line in check(ROOT)] + list(check_fields(ROOT, build))
    print("\n".join(found) if found else "docs: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
