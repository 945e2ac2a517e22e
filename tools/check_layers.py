#!/usr/bin/python3
"""Check every #include of src/ and include/ against the arrows and header groups of tools/layers.txt."""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')
PUBLIC = "include/astra"


class Layer:
    def __init__(self, name, arrows, groups):
        self.name = name
        self.arrows = arrows
        self.groups = groups


def parse_table(text):
    """Return (headers: group -> [name], layers: name -> Layer) of a layers.txt text."""
    headers, layers = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        kind, _, rest = line.partition(" ")
        if kind == "headers":
            group, *names = rest.split()
            headers.setdefault(group, []).extend(names)
        elif kind == "layer" and rest.count(":") == 2:
            name, arrows, groups = (part.split() for part in rest.split(":"))
            layers[name[0]] = Layer(name[0], arrows, groups)
        else:
            raise SystemExit(f"layers.txt:{number}: not understood: {line}")
    for layer in layers.values():
        for arrow in layer.arrows:
            if arrow not in layers:
                raise SystemExit(f"layers.txt: layer {layer.name}: no layer is called '{arrow}'")
        for group in layer.groups:
            if group not in headers:
                raise SystemExit(f"layers.txt: layer {layer.name}: no header group is called '{group}'")
    return headers, layers


def layer_of(path, layers):
    """The layer with the longest name that `path` (relative to src/, or include/astra/...) equals or lies below."""
    fitting = [name for name in layers if path == name or path.startswith(name + "/")]
    return layers[max(fitting, key=len)] if fitting else None


def header_allowed(header, layer, headers):
    names = [name for group in layer.groups for name in headers[group]]
    return any(header == name or (name.endswith("/") and header.startswith(name)) for name in names)


def check_include(system, local, layer, layers, headers):
    """Return what is wrong with one include, or None."""
    if system is not None:
        if header_allowed(system, layer, headers):
            return None
        return f"<{system}> is not allowed in layer '{layer.name}' (header groups: {' '.join(layer.groups)})"
    path = "include/" + local if local.startswith("astra/") else local
    target = layer_of(path, layers)
    if target is None:
        return f'"{local}": write the path from src/; it names no layer'
    if target.name != layer.name and target.name not in layer.arrows:
        return f'"{local}": no arrow from \'{layer.name}\' to \'{target.name}\' (allowed: {" ".join(layer.arrows) or "none"})'
    return None


def sources(root):
    for top in ("src", PUBLIC):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".inc"):
                yield path, path.relative_to(root / "src" if top == "src" else root).as_posix()


def check(root):
    """Return the list of violations under `root`, each 'file:line: what'."""
    headers, layers = parse_table((root / "tools" / "layers.txt").read_text())
    found = []
    for path, name in sources(root):
        where = path.relative_to(root)
        layer = layer_of(name, layers)
        if layer is None:
            found.append(f"{where}:1: lies in no layer of tools/layers.txt")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                wrong = check_include(match[1], match[2], layer, layers, headers)
                if wrong:
                    found.append(f"{where}:{number}: {wrong}")
    return found


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = check(root)
    print("\n".join(found) if found else "layers: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
