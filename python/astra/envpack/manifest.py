"""The manifest: what an archive holds and what it asks of a node. An agent reads it before it unpacks anything."""

from __future__ import annotations

import json
from typing import Any

NAME = "astra-env.json"
SCHEMA = 1


def build(
    machine: str, glibc: tuple[int, ...], python: str, packages: dict[str, str], unpacked_bytes: int
) -> dict[str, Any]:
    """The manifest as a value. glibc is the oldest that all files of the archive run on."""
    return {
        "schema": SCHEMA,
        "platform": f"linux-{machine}",
        "glibc": ".".join(map(str, glibc)),
        "python": python,
        "ray": packages.get("ray"),
        "packages": packages,
        "entry": "bin/python3",
        "unpacked_bytes": unpacked_bytes,
    }


def encode(manifest: dict[str, Any]) -> bytes:
    """Its text: the same value always gives the same bytes."""
    return (json.dumps(manifest, indent=2, sort_keys=False) + "\n").encode()
