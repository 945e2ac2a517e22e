"""Writes a tree as .tar.zst: the same tree gives the same bytes, on any machine and in any folder.

Entries are sorted, owners are 0, times are one constant, modes are 0644 or 0755. The format is POSIX pax, which is
plain ustar except for names that ustar cannot hold. zstd's level and threads are fixed, since its output depends on
both.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import PackError, disk_full, end, find_tool, start

LEVEL = 6
THREADS = 2
FIXED_TIME = 315532800
"""1980-01-01: Ray zips folders of the tree, and a zip file knows no earlier time."""


@dataclass(frozen=True)
class Packed:
    """A finished archive."""

    path: Path
    digest: str
    size: int


def tree_size(tree: Path) -> int:
    """Bytes in all regular files of a tree."""
    return sum(path.lstat().st_size for path in _entries(tree) if path.is_file() and not path.is_symlink())


def write(tree: Path, first: tuple[str, bytes], target: Path, level: int, on_bytes: Callable[[int], None]) -> Packed:
    """Packs a tree into target; `first` (name, content) is put before everything else."""
    command = [find_tool("zstd"), "-q", "-f", f"-{level}", f"-T{THREADS}", "-o", os.fspath(target)]
    child = start(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None and child.stderr is not None
    failure: BrokenPipeError | None = None
    try:
        try:
            _write_tar(tree, first, child.stdin, on_bytes)
            child.stdin.close()
        except BrokenPipeError as error:
            failure = error
        said = child.stderr.read().decode("utf-8", "replace").strip()
        if child.wait() != 0 or failure is not None:
            raise disk_full(os.fspath(target.parent)) if "No space" in said else PackError(f"zstd failed: {said}")
    finally:
        end(child)
    return Packed(target, file_digest(target), target.stat().st_size)


def file_digest(path: Path) -> str:
    """sha256:HEX of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _write_tar(tree: Path, first: tuple[str, bytes], pipe: IO[bytes], on_bytes: Callable[[int], None]) -> None:
    with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        entry = _entry(first[0], 0o644)
        entry.size = len(first[1])
        tar.addfile(entry, io.BytesIO(first[1]))
        written = 0
        for path in _entries(tree):
            written += _add(tar, tree, path)
            on_bytes(written)


def _entries(tree: Path) -> list[Path]:
    """Everything below a tree, folders before what they hold."""
    found: list[Path] = []
    for folder, folders, files in os.walk(tree):
        found += [Path(folder) / name for name in (*folders, *files)]
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(tree)).split(b"/"))


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mtime = FIXED_TIME
    entry.mode = mode
    return entry


def _add(tar: tarfile.TarFile, tree: Path, path: Path) -> int:
    name = path.relative_to(tree).as_posix()
    if path.is_symlink():
        entry = _entry(name, 0o777)
        entry.type = tarfile.SYMTYPE
        entry.linkname = os.readlink(path)
        tar.addfile(entry)
        return 0
    if path.is_dir():
        entry = _entry(name, 0o755)
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
        return 0
    facts = path.stat()
    entry = _entry(name, 0o755 if facts.st_mode & 0o111 else 0o644)
    entry.size = facts.st_size
    with open(path, "rb") as file:
        tar.addfile(entry, file)
    return entry.size
