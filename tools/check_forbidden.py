#!/usr/bin/python3
"""Find what the house does not use: unbounded or locale-bound libc calls, typedef'd structs, left-over marks, open without
O_CLOEXEC. Comments and strings are looked at for marks only."""

import re
import sys
from pathlib import Path

# The marks are spelled apart so that this file does not find itself.
MARKS = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK")) + r")\b")
CALLS = {
    "strtod": "it follows the locale; use a_text_parse_double of base/text.h",
    "strtof": "it follows the locale; use a_text_parse_double of base/text.h",
    "atof": "it follows the locale and hides errors",
    "atoi": "it hides errors",
    "atol": "it hides errors",
    "alloca": "the stack is not for sizes from outside",
    "strcpy": "unbounded",
    "strcat": "unbounded",
    "sprintf": "unbounded; snprintf",
    "vsprintf": "unbounded; vsnprintf",
    "gets": "unbounded",
    "strtok": "hidden state",
    "system": "no shell; sys/process.h",
    "popen": "no shell; sys/process.h",
    "sscanf": "it follows the locale and hides errors",
    "setlocale": "there is no locale here",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(CALLS) + r")\s*\(")
RULES = [
    (re.compile(r"^typedef\s+(struct|union)\b", re.M), "typedef of a struct: write the tag"),
    (re.compile(r"#\s*include\s*<(ctype|wctype|locale)\.h>"), "this header follows the locale"),
    (re.compile(r"\bisalpha\s*\(|\bisdigit\s*\(|\bisspace\s*\(|\btolower\s*\(|\btoupper\s*\("), "ctype follows the locale"),
]
OPENERS = {
    "open": "O_CLOEXEC", "openat": "O_CLOEXEC", "open64": "O_CLOEXEC", "socket": "SOCK_CLOEXEC", "socketpair": "SOCK_CLOEXEC",
    "accept4": "SOCK_CLOEXEC", "pipe2": "O_CLOEXEC", "dup3": "O_CLOEXEC", "epoll_create1": "EPOLL_CLOEXEC",
    "memfd_create": "MFD_CLOEXEC", "inotify_init1": "IN_CLOEXEC", "eventfd": "EFD_CLOEXEC", "timerfd_create": "TFD_CLOEXEC",
    "signalfd": "SFD_CLOEXEC", "mkostemp": "O_CLOEXEC",
}
OPENER = re.compile(r"(?<![\w.>])(" + "|".join(OPENERS) + r")\s*\(")
LEAKY = re.compile(r"(?<![\w.>])(accept|pipe|dup|creat|epoll_create|inotify_init|mkstemp)\s*\(")
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def blank(match):
    """Spaces for a comment or a literal, with its line ends kept."""
    return re.sub(r"[^\n]", " ", match[0])


def arguments(code, start):
    """The text of a call's arguments; `start` is just behind the opening bracket."""
    depth = 1
    for index in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[index], 0)
        if depth == 0:
            return code[start:index]
    return code[start:]


def is_definition(code, match):
    """Whether the name is being declared (int open(...)) rather than called."""
    before = code[code.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
    return bool(re.fullmatch(r"[\w\s*]+", before)) and before.split()[-1].rstrip("*") not in ("return", "else", "")


def check_code(text):
    """Yield (line, what) for one C file."""
    for match in MARKS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, f"left-over mark {match[1]}"
    includes = text
    code = NOISE.sub(blank, text)
    for match in CALL.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, f"{match[1]}(): {CALLS[match[1]]}"
    for rule, why in RULES:
        for match in rule.finditer(includes if "include" in rule.pattern else code):
            yield code.count("\n", 0, match.start()) + 1, why
    for match in OPENER.finditer(code):
        if not is_definition(code, match) and OPENERS[match[1]] not in arguments(code, match.end()):
            yield code.count("\n", 0, match.start()) + 1, f"{match[1]}() without {OPENERS[match[1]]}"
    for match in LEAKY.finditer(code):
        if not is_definition(code, match):
            yield code.count("\n", 0, match.start()) + 1, f"{match[1]}() cannot set close-on-exec; use the call that can"


def check(root):
    found = []
    for top in ("src", "include"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".inc"):
                for line, what in check_code(path.read_text()):
                    found.append(f"{path.relative_to(root)}:{line}: {what}")
    for top in ("tests", "tools", "bench", "python", "examples"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".py", ".sh") and "__pycache__" not in path.parts:
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    if MARKS.search(line):
                        found.append(f"{path.relative_to(root)}:{number}: left-over mark {MARKS.search(line)[1]}")
    return found


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = check(root)
    print("\n".join(found) if found else "forbidden: none")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
