#!/usr/bin/python3
"""Check that the pages say what the tree says: generated pages and pictures are current, every reason and every path of the
API is told, links lead somewhere, and folders that pictures name exist. Usage: check_docs.py [BUILD]"""

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
STAMP = re.compile(r"with sha256 ([0-9a-f]{64})")
FOLDER = re.compile(r"\b(?:src|include)/[a-z0-9_/]+")


def pages(root):
    return [root / "README.md", root / "NEWS.md", *sorted((root / "docs").rglob("*.md")), root / "bench" / "README.md"]


def check_links(root):
    for page in pages(root):
        text = page.read_text() if page.exists() else ""
        for target in LINK.findall(text):
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
    found = [*check_links(ROOT), *check_reasons(ROOT), *check_routes(ROOT), *check_pictures(ROOT), *check_fields(ROOT, build)]
    print("\n".join(found) if found else "docs: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
