"""Compiles the tree's modules, so that a start of Ray's many processes does not.

The .pyc files are of the unchecked-hash kind (PEP 552): no time stamp, so they are the same each time and valid
wherever and whenever the tree is unpacked. Marshal's output depends a little on what the compiling process has seen
before; the modules are therefore dealt to a fixed number of fresh processes in a fixed order, however many run at once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import PackError, run

SHARDS = 16
SKIPPED = {"tests", "test", "testing_data"}
"""Folders that an app does not import; if it does, Python compiles them as it always would."""

COMPILE = """
import py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
with open(sys.argv[1], encoding="utf-8", errors="surrogateescape") as names:
    for name in names.read().split("\\0"):
        py_compile.compile(name, dfile=name, quiet=2, invalidation_mode=mode)
"""


def compile_tree(tree: Path, program: Path, work: Path) -> None:
    """Compiles each module with the tree's own interpreter; a module with a wrong syntax is left as it is."""
    names = _modules(tree)
    with ThreadPoolExecutor(max_workers=min(SHARDS, os.cpu_count() or 1)) as pool:
        jobs = [
            pool.submit(_compile_shard, tree, program, work, number, names[number::SHARDS]) for number in range(SHARDS)
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise


def _modules(tree: Path) -> list[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(tree / "lib"):
        folders[:] = [name for name in folders if name not in SKIPPED]
        relative = os.path.relpath(folder, tree)
        found += [os.path.join(relative, name) for name in files if name.endswith(".py")]
    return sorted(found)


def _compile_shard(tree: Path, program: Path, work: Path, number: int, names: list[str]) -> None:
    if not names:
        return
    listing = work / f"modules.{number}"
    listing.write_text("\0".join(names), "utf-8", "surrogateescape")
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    command: list[str | Path] = [program, "-s", "-S", "-B", "-W", "ignore", "-c", COMPILE, listing]
    status, output = run(command, env=environment, cwd=tree)
    if status != 0:
        raise PackError(f"the packed interpreter cannot compile\n{output.strip()}", os.fspath(program))
