"""Packs an environment: the order of the work, and that nothing is left behind when it fails."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import archive, bytecode, cache, install, interpreter, libraries, manifest, source
from .errors import PackError, find_tool, run
from .progress import Progress


@dataclass(frozen=True)
class Options:
    """What to pack and how."""

    requirements: Path
    output: Path
    python: str | None = None
    index: str | None = None
    cache: Path | None = None
    full: bool = False
    bytecode: bool = True
    level: int = archive.LEVEL


@dataclass(frozen=True)
class Result:
    """A packed environment."""

    path: Path
    digest: str
    size: int
    manifest: dict[str, Any]
    pinned: str
    """The requirements that give exactly these packages again."""
    cached: bool

    def sidecar(self) -> dict[str, Any]:
        """What is written beside the archive; the digest cannot be inside."""
        return {"digest": self.digest, "bytes": self.size, "manifest": self.manifest}


def resolve(options: Options, progress: Progress) -> str:
    """The pinned list of what would be packed now."""
    cache.read_requirements(options.requirements)
    chosen = source.find(options.python)
    progress.step(f"resolving {options.requirements} for Python {chosen.version} ({chosen.executable})")
    with _work_folder() as work:
        installer = install.Installer(chosen, options.requirements, options.index, work, progress.detail)
        return _pinned(installer.resolve())


def pack(options: Options, progress: Progress) -> Result:
    """Makes the archive at options.output and its sidecar, or takes them from the cache."""
    cache.read_requirements(options.requirements)
    _check_output(options.output)
    find_tool("patchelf")
    find_tool("zstd")
    chosen = source.find(options.python)
    progress.step(f"Python {chosen.version} from {chosen.executable}")
    store = cache.Cache(options.cache) if options.cache is not None else None
    key = _cache_key(options, chosen, progress) if store is not None else None
    with store.locked(key, progress) if store is not None and key is not None else nullcontext():
        kept = store.get(key) if store is not None and key is not None else None
        if kept is not None:
            progress.step("found in the cache")
            packed, sidecar, pinned = kept
            return _finish(options.output, packed, sidecar, pinned, cached=True)
        with _work_folder() as work:
            packed, sidecar, pinned = _build(options, chosen, work, progress)
            if store is not None and key is not None:
                store.put(key, packed, sidecar, pinned)
            return _finish(options.output, packed, sidecar, pinned, cached=False)


def _check_output(output: Path) -> None:
    """Fails before the work, not after it."""
    if output.is_dir():
        raise PackError("is a folder", os.fspath(output), "give -o the name of a file")
    if not output.parent.is_dir():
        raise PackError("no such folder", os.fspath(output.parent), "make it first")
    if not os.access(output.parent, os.W_OK):
        raise PackError("permission denied", os.fspath(output.parent))


def _cache_key(options: Options, chosen: source.Source, progress: Progress) -> str | None:
    parts = {
        "index": options.index,
        "full": options.full,
        "bytecode": options.bytecode,
        "level": options.level,
        "pip": {name: os.environ.get(name) for name in install.DECIDING_SETTINGS},
    }
    key = cache.key(options.requirements, chosen.identity(), os.uname().machine, parts)
    if key is None:
        progress.note("not cached: the requirements name a folder of this machine, whose content may change")
    return key


@contextmanager
def _work_folder() -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="astra-env-"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _build(options: Options, chosen: source.Source, work: Path, progress: Progress) -> tuple[Path, dict[str, Any], str]:
    """Makes the tree and packs it; returns archive, sidecar and pinned list."""
    tree = work / "tree"
    progress.step("copying interpreter and standard library")
    origins = interpreter.copy(chosen, tree, options.full)
    progress.step(f"installing {options.requirements}")
    installer = install.Installer(chosen, options.requirements, options.index, work, progress.detail)
    packages = installer.install(tree)
    progress.step(f"collecting shared libraries for {len(packages)} packages")
    program = tree / "bin" / f"python{chosen.short}"
    found = libraries.collect(tree, program, origins)
    _tell(found, progress)
    install.write_records(tree, chosen)
    _smoke_test(chosen, program, tree, found)
    if options.bytecode:
        progress.step("compiling modules")
        bytecode.compile_tree(tree, program, work)
    versions = install.installed_versions(tree, chosen)
    size = archive.tree_size(tree)
    facts = manifest.build(found.machine, found.glibc, chosen.version, versions, size)
    progress.step(f"packing {size / 1e6:.0f} MB")
    first = (manifest.NAME, manifest.encode(facts))
    packed = archive.write(tree, first, work / "env.tar.zst", options.level, _percent(size, progress))
    return packed.path, {"digest": packed.digest, "bytes": packed.size, "manifest": facts}, _pinned(packages)


def _tell(found: libraries.Report, progress: Progress) -> None:
    for name, user in sorted(found.missing.items()):
        progress.note(f"{user} needs {name}, which this machine does not have: nodes must bring it")
    for module in found.dropped:
        progress.note(f"module {module} is left out: this machine lacks a library that it needs")


def _smoke_test(chosen: source.Source, program: Path, tree: Path, found: libraries.Report) -> None:
    """Starts the packed interpreter with an empty environment, before anybody relies on it."""
    names = [name for name in chosen.modules if name not in found.dropped and f"_{name}" not in found.dropped]
    code = f"import os, {', '.join(['sys', *names])}\nprint(*map(os.path.realpath, [sys.prefix, *sys.path]), sep='\\n')"
    status, output = run([program, "-I", "-B", "-c", code], env={})
    places = output.strip().splitlines()
    home = os.path.realpath(tree)
    packages = os.path.join(home, "lib", chosen.folder, "site-packages")
    if status != 0 or packages not in places or not all(place.startswith(home) for place in places):
        raise PackError(f"the packed interpreter does not work:\n{output.strip()}", os.fspath(chosen.executable))


def _percent(size: int, progress: Progress) -> Callable[[int], None]:
    last = -1

    def on_bytes(written: int) -> None:
        nonlocal last
        percent = written * 100 // max(size, 1)
        if percent != last:
            last = percent
            progress.detail(f"{percent} %")

    return on_bytes


def _pinned(packages: list[install.Package]) -> str:
    return "".join(f"{package.pin()}\n" for package in packages)


def _finish(output: Path, packed: Path, sidecar: dict[str, Any], pinned: str, cached: bool) -> Result:
    """Puts archive and sidecar at their place. The old sidecar goes first: it must never describe another archive."""
    beside = Path(f"{output}.json")
    beside.unlink(missing_ok=True)
    cache.place(packed, output)
    cache.write_atomically(beside, json.dumps(sidecar, indent=2) + "\n")
    return Result(output, sidecar["digest"], sidecar["bytes"], sidecar["manifest"], pinned, cached)
