#!/usr/bin/python3
"""Check with nm that the archives of the pure layers ask for nothing outside but what tools/purity.txt allows.

Usage: check_purity.py [BUILD-FOLDER]. A layer is checked once its archive exists; none at all is an error."""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_layers  # noqa: E402


def parse_rules(text):
    """Return (pure layer names, layer or '*' -> allowed symbols)."""
    pure, allowed = [], {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if words[0] == "layers":
            pure += words[1:]
        elif words[0] == "allow" and len(words) > 2:
            allowed.setdefault(words[1], []).extend(words[2:])
        else:
            raise SystemExit(f"purity.txt:{number}: not understood: {line}")
    return pure, allowed


def symbols(archive):
    """Return (defined symbols, undefined symbol -> the object that asks for it) of an archive."""
    output = subprocess.run(["nm", "-A", str(archive)], capture_output=True, text=True, check=True).stdout
    defined, undefined = set(), {}
    for line in output.splitlines():
        where, _, rest = line.rpartition(":")
        fields = rest.split()
        if len(fields) < 2:
            continue
        kind, symbol = fields[-2], fields[-1]
        if kind in "Uw":
            undefined.setdefault(symbol, where.rsplit("/", 1)[-1].rsplit(":", 1)[-1])
        elif kind.isupper() or kind in "uvw":
            defined.add(symbol)
    return defined, undefined


def is_allowed(symbol, names):
    return any(symbol == name or (name.endswith("*") and symbol.startswith(name[:-1])) for name in names)


def archives(build, layer):
    return sorted((build / "src" / layer).rglob("*.a"))


def check(root, build):
    """Return (violations, the layers that were checked)."""
    pure, allowed = parse_rules((root / "tools" / "purity.txt").read_text())
    _, layers = check_layers.parse_table((root / "tools" / "layers.txt").read_text())
    table = {layer: [symbols(archive) for archive in archives(build, layer)] for layer in pure}
    found = []
    for layer in pure:
        names = allowed.get("*", []) + allowed.get(layer, [])
        below = set()
        for name in [layer, *layers[layer].arrows]:
            below.update(*(defined for defined, _ in table.get(name, [])))
        for _, undefined in table[layer]:
            for symbol, where in sorted(undefined.items()):
                if symbol not in below and not is_allowed(symbol, names):
                    found.append(f"src/{layer}: {where} calls {symbol}, which tools/purity.txt does not allow there")
    return found, [layer for layer in pure if table[layer]]


def main():
    root = Path(__file__).resolve().parent.parent
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "build"
    found, checked = check(root, build)
    if not checked:
        found.append(f"purity: no archive of a pure layer in {build}; build first")
    print("\n".join(found) if found else f"purity: clean ({' '.join(checked)})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
