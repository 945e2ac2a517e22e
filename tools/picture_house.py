#!/usr/bin/python3
"""Print docs/pictures/house.dot: the house as tools/layers.txt has it, so that the picture cannot lie.

An arrow A -> B says that A may include B and, through B, whatever B may include; arrows that follow from others are left
out. Storeys and notes are this file's own."""

import sys
from pathlib import Path

import check_layers

ROOT = Path(__file__).resolve().parent.parent

# storey, what it is, its rooms: (layer, what lives there). Every layer of layers.txt must have its place here.
STOREYS = (
    ("", "the only file that sees both", (("main.c", "the binary: the first word picks the command"),)),
    (
        "L4",
        "events in, updates carried out",
        (
            ("daemon", "server  agent  gateway  up"),
            ("daemon/shim", "a member's parent, frozen protocol"),
            ("cli", "one file per command"),
        ),
    ),
    (
        "L3",
        "components: they never include one another",
        (
            ("starlink", "node  resource  sched"),
            ("unit", "apps, revisions, fleets, Ray"),
            ("gateway", "routes, load, retry; policy/"),
            ("p2p", "swarm, punching"),
            ("kube", "pools, RayService"),
            ("tfcc", "models; engine/  device/"),
        ),
    ),
    ("L2", "what several components need", (("store", "SQLite, compare-and-swap"),)),
    ("", "", (("artifact", "unpack, digest, cache"), ("net", "HTTP, Starlink links"))),
    ("L1", "codecs; the operating system", (("wire", "frames, HTTP/1, JSON, YAML"), ("sys", "all calls of the OS"))),
    ("", "nouns that all share", (("types", "ids, states, capacities"), ("include/astra", "public C ABI of TFCC"))),
    ("L0", "the ground", (("base", "errors, memory, containers, text"),)),
)
PURE = ("base", "types", "wire", "starlink", "unit", "gateway", "p2p", "kube")


def reachable(layers, name):
    seen, todo = set(), list(layers[name].arrows)
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += layers[here].arrows
    return seen


def drawn_arrows(layers):
    """The arrows that do not follow from others, in the order of the table."""
    for layer in layers.values():
        for target in layer.arrows:
            if not any(target in reachable(layers, other) for other in layer.arrows if other != target):
                yield layer.name, target


def check_places(layers):
    """Every layer has one room, and every arrow leads down or stays on its storey."""
    places = {room: number for number, (_, _, rooms) in enumerate(STOREYS) for room, _ in rooms}
    if set(places) != set(layers):
        raise SystemExit(f"picture_house: rooms and layers differ: {sorted(set(places) ^ set(layers))}")
    for name, layer in layers.items():
        for target in layer.arrows:
            if places[target] < places[name]:
                raise SystemExit(f"picture_house: {name} -> {target} points up")


FONT = 'fontname="DejaVu Sans,Verdana,sans-serif"'


def room_line(room, note):
    folder = room if room.startswith("include") else f"src/{room}"
    style = ""
    if not (ROOT / folder).exists():
        note, style = f"{note} (not yet)", ', style="rounded,dashed", fontcolor="#777777"'
    elif room in PURE:
        style = ', fillcolor="#e6f2e6"'
    return f'    "{room}" [label=<<b>{folder}</b><br/><font point-size="9">{note}</font>>{style}]'


def dot(layers):
    check_places(layers)
    lines = [
        "// Made by tools/picture_house.py from tools/layers.txt; `make pictures` writes it and the SVG beside it.",
        "digraph house {",
        f"  graph [nodesep=0.25, ranksep=0.4, bgcolor=white, {FONT}]",
        f'  node [shape=box, style="filled,rounded", color="#4a6785", fillcolor="#eef3f8", fontsize=11, {FONT}]',
        '  edge [color="#4a6785", arrowsize=0.6]',
    ]
    for number, (level, what, rooms) in enumerate(STOREYS):
        label = f"{level}: {what}" if level else what
        lines += [f'  storey{number} [shape=plaintext, style="", fontcolor="#555555", label="{label}"]', "  {"]
        lines += ["    rank=same", f"    storey{number}", *(room_line(*room) for room in rooms), "  }"]
    chain = " -> ".join(f"storey{number}" for number in range(len(STOREYS)))
    lines.append(f"  {chain} [style=invis, weight=100]")
    lines += [f'  "{source}" -> "{target}"' for source, target in drawn_arrows(layers)]
    return "\n".join([*lines, "}", ""])


def main():
    _, layers = check_layers.parse_table((ROOT / "tools" / "layers.txt").read_text())
    sys.stdout.write(dot(layers))


if __name__ == "__main__":
    main()
