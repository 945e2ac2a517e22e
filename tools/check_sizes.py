#!/usr/bin/python3
"""Check the sizes of functions and files: a median of at most 20 lines, 8 % over 60, none over 120, files up to 1000 lines.

A function is counted from its opening brace to its closing one, both in the first column (clang-format sees to that).
Median and share are those of src/; the hard limits hold for tests too. tools/size-waivers.txt names the exceptions."""

import re
import statistics
import sys
from pathlib import Path

MEDIAN_MAX, LONG, LONG_SHARE_MAX, FUNCTION_MAX = 20, 60, 0.08, 120
WAIVED_MAX, WAIVERS_MAX = 200, 10
FILE_MAX, COLUMNS_MAX = 1000, 120
SHARE_FROM = 50  # a share of fewer functions says nothing
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
NOT_NAMES = {"__attribute__", "A_CLEANUP", "defined"}


def function_name(lines, brace):
    """The name of the function whose opening brace stands on line index `brace`."""
    start = brace
    while start > 0 and lines[start - 1].strip() and not lines[start - 1].startswith(("}", "#", "/*", " */")):
        start -= 1
    names = [name for name in NAME.findall(" ".join(lines[start:brace])) if name not in NOT_NAMES]
    return names[0] if names else "?"


def functions(text):
    """Yield (name, first line number, lines) of each function of a C file."""
    lines = text.splitlines()
    start = None
    for index, line in enumerate(lines):
        if line == "{":
            start = index
        elif line == "}" and start is not None:
            yield function_name(lines, start), start + 1, index - start + 1
            start = None


def read_waivers(text):
    waivers, wrong = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        match = re.match(r"(\S+:\w+) (\d+) (\S.*)", line)
        if match and int(match[2]) <= WAIVED_MAX:
            waivers[match[1]] = int(match[2])
        else:
            wrong.append(f"tools/size-waivers.txt:{number}: want 'FILE:FUNCTION LINES reason', at most {WAIVED_MAX} lines")
    if len(waivers) > WAIVERS_MAX:
        wrong.append(f"tools/size-waivers.txt: {len(waivers)} waivers, at most {WAIVERS_MAX}")
    return waivers, wrong


def check_file(path, name, waivers, used):
    """Return (violations, function lengths) of one file."""
    text = path.read_text()
    lines = text.splitlines()
    found, lengths = [], []
    if len(lines) > FILE_MAX:
        found.append(f"{name}:1: {len(lines)} lines, at most {FILE_MAX}")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            found.append(f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}")
    for function, number, length in functions(text):
        lengths.append(length)
        limit = FUNCTION_MAX
        if length > limit and f"{name}:{function}" in waivers:
            used.add(f"{name}:{function}")
            limit = waivers[f"{name}:{function}"]
        if length > limit:
            found.append(f"{name}:{number}: {function} has {length} lines, at most {limit}")
    return found, lengths


def check(root):
    """Return (violations, one line of figures) for the tree at `root`."""
    waivers_file = root / "tools" / "size-waivers.txt"
    waivers, found = read_waivers(waivers_file.read_text() if waivers_file.exists() else "")
    used, product = set(), []
    for top in ("src", "include", "tests", "examples"):
        for path in sorted((root / top).rglob("*.[ch]")):
            wrong, lengths = check_file(path, path.relative_to(root).as_posix(), waivers, used)
            found += wrong
            if top in ("src", "include"):
                product += lengths
    for name in sorted(set(waivers) - used):
        found.append(f"tools/size-waivers.txt: {name} needs no waiver any more")
    if not product:
        return found, "sizes: no functions"
    median = statistics.median(product)
    share = sum(length > LONG for length in product) / len(product)
    if median > MEDIAN_MAX:
        found.append(f"src: the median function has {median:g} lines, at most {MEDIAN_MAX}")
    if share > LONG_SHARE_MAX and len(product) >= SHARE_FROM:
        found.append(f"src: {share:.1%} of the functions have over {LONG} lines, at most {LONG_SHARE_MAX:.0%}")
    return found, f"sizes: {len(product)} functions, median {median:g} lines, {share:.1%} over {LONG}, longest {max(product)}"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found, figures = check(root)
    print("\n".join(found + [figures]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
