#!/usr/bin/python3
"""Read Starlink's message tables out of the X-macros of src/wire/starlink_messages.h.

The C codec is made from that header by the preprocessor; this makes the same tables for Python (tests/e2e/starlink.py), so
that the two cannot drift apart. As a program it prints them as JSON."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"U64": 2**64 - 1, "U32": 2**32 - 1, "U16": 2**16 - 1, "I64": 0, "BOOL": 1, "STR": 0, "BYTES": 0, "DIGEST": 0}
KINDS |= {"NAME": 40, "NODE": 26, "UUID": 36, "UNIT": 46, "ENUM": 0, "MSG": 0, "LIST": 0}
RULES = {"OPT", "CRIT", "REQ", "TEXT", "SECRET"}


def macros(text):
    """Return macro name -> body, comments and line continuations taken out."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S).replace("\\\n", " ")
    return {m[1]: m[2] for m in re.finditer(r"^#define (\w+)\(\w+\)(.*)$", text, re.M)}


def calls(body, name):
    """Return the argument lists of the calls NAME(a, b, ...) in a macro's body."""
    return [[a.strip() for a in m[1].split(",")] for m in re.finditer(rf"\b{name}\(([^()]*)\)", body)]


def defines(text):
    """Return the plain numbers among the object-like macros."""
    return {m[1]: int(m[2]) for m in re.finditer(r"^#define (\w+) +(\d+)\b", text, re.M)}


def fields(table, numbers):
    result = []
    for kind, tag, name, rule, arg, bound in table:
        if kind not in KINDS or rule not in RULES:
            raise SystemExit(f"starlink_messages.h: {name}: {kind} {rule}: not understood")
        limit = int(bound) if bound.isdigit() else numbers[bound]
        result.append({
            "kind": kind, "tag": int(tag), "name": name, "rule": rule, "arg": arg, "bound": limit or KINDS[kind],
        })
    return result


def load(root=ROOT):
    """Return {"enums": tag -> names, "structs": tag -> fields, "messages": NAME -> {number, fields}}."""
    header = (root / "src/wire/starlink_messages.h").read_text()
    numbers = defines((root / "src/wire/starlink.h").read_text())
    table = macros(header) | macros((root / "src/types/state.h").read_text())
    enums = {
        tag: [call[0] for call in calls(table[names], "X")]
        for group in ("WIRE_SL_OWN_ENUMS", "WIRE_SL_TYPES_ENUMS")
        for tag, names in calls(table[group], "E")
    }
    structs = {
        tag: fields(calls(table[name], "F"), numbers)
        for group in ("WIRE_SL_TYPES_STRUCTS", "WIRE_SL_OWN_STRUCTS")
        for tag, name in calls(table[group], "S")
    }
    messages = {
        upper: {"number": int(number), "fields": fields(calls(table[name], "F"), numbers)}
        for upper, _, number, name in calls(table["WIRE_SL_MESSAGES"], "M")
    }
    return {"enums": enums, "structs": structs, "messages": messages}


if __name__ == "__main__":
    json.dump(load(), sys.stdout, indent=1)
    print()
