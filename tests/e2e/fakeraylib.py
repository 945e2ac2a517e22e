"""The stand-in for Ray as a packed environment, and apps that run on it and on Ray alike."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

FOLDER = Path(__file__).parent / "fakeray"
MANIFEST = {"schema": 1, "platform": "linux-x86_64", "glibc": "2.17", "python": "3.11.2", "ray": "2.60.0"}
# The host's own interpreter without its site packages: starting takes some 20 ms, the archive a few kilobytes.
PYTHON = """#!/bin/sh
PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}${0%/bin/python3}/lib exec /usr/bin/python3 -S "$@"
"""


def tree():
    files = {f"lib/{path.relative_to(FOLDER)}": path.read_text() for path in sorted(FOLDER.rglob("*.py"))}
    return {"astra-env.json": json.dumps(MANIFEST), "bin/python3": PYTHON, **files}


def environment():
    """The packed environment's bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, text in tree().items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return subprocess.run(["zstd", "-q", "-c"], input=raw.getvalue(), stdout=subprocess.PIPE, check=True).stdout
