"""Reads what the dynamic linker would read of an ELF file: what it needs, where it looks, which versions it asks for.

Only headers and the dynamic section are touched and nothing of the file is run, so that foreign files are safe to
look at. A file that is damaged, or not ELF at all, reads as None: packages carry such files as test data.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 14, 15, 29
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
MACHINES = {3: "i686", 21: "ppc64le", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
MAX_ENTRIES = 65536


@dataclass(frozen=True)
class Elf:
    """A dynamically linked ELF file."""

    path: Path
    machine: str
    interp: str | None
    """The dynamic linker that it names: set for programs, None for libraries."""
    soname: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    versions: frozenset[str]
    """Symbol versions that it needs of others, for example GLIBC_2.34."""

    @property
    def glibc(self) -> tuple[int, ...]:
        """The newest glibc that it asks for, () if it asks for none."""
        found = [glibc_version(version) for version in self.versions]
        return max(found, default=())


def glibc_version(version: str) -> tuple[int, ...]:
    """GLIBC_2.34 -> (2, 34); anything else, GLIBC_PRIVATE among it, -> ()."""
    name, _, number = version.partition("_")
    parts = number.split(".")
    if name != "GLIBC" or not all(part.isdigit() for part in parts):
        return ()
    return tuple(int(part) for part in parts)


def read(path: Path) -> Elf | None:
    """Reads a file; None if it is not a dynamically linked ELF file that can be understood."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(path, data).read()
            except (struct.error, IndexError, ValueError):
                return None


class _Reader:
    """One pass over one file. Offsets come from the file: a wrong one raises and the file counts as unreadable."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._wide = data[4] == 2
        self._order = "<" if data[5] == 1 else ">"
        self._loads: list[tuple[int, int, int]] = []
        self._strings = 0

    def read(self) -> Elf | None:
        machine = self._unpack("H", 18)[0]
        interp, dynamic = self._program_headers()
        if dynamic is None:
            return None
        entries = self._dynamic_entries(*dynamic)
        table = dict(entries)
        if DT_STRTAB not in table:
            return None
        self._strings = self._file_offset(table[DT_STRTAB])
        return Elf(
            path=self._path,
            machine=MACHINES.get(machine, f"machine{machine}"),
            interp=interp,
            soname=self._string(table[DT_SONAME]) if DT_SONAME in table else None,
            needed=tuple(self._string(value) for tag, value in entries if tag == DT_NEEDED),
            rpath=self._search_path(table.get(DT_RPATH)),
            runpath=self._search_path(table.get(DT_RUNPATH)),
            versions=self._version_needs(table),
        )

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._data, offset)

    def _program_headers(self) -> tuple[str | None, tuple[int, int] | None]:
        """Fills the load map; returns the interpreter and (offset, size) of the dynamic section."""
        table = self._unpack("Q", 32)[0] if self._wide else self._unpack("I", 28)[0]
        size, count = self._unpack("HH", 54 if self._wide else 42)
        interp: str | None = None
        dynamic: tuple[int, int] | None = None
        for index in range(count):
            at = table + index * size
            if self._wide:
                kind, _, offset, address, _, in_file = self._unpack("IIQQQQ", at)
            else:
                kind, offset, address, _, in_file = self._unpack("IIIII", at)
            if kind == PT_LOAD:
                self._loads.append((address, in_file, offset))
            elif kind == PT_DYNAMIC:
                dynamic = (offset, in_file)
            elif kind == PT_INTERP:
                interp = self._bytes_to_nul(offset).decode()
        return interp, dynamic

    def _dynamic_entries(self, offset: int, size: int) -> list[tuple[int, int]]:
        layout, width = ("QQ", 16) if self._wide else ("II", 8)
        entries: list[tuple[int, int]] = []
        for at in range(offset, offset + min(size, MAX_ENTRIES * width), width):
            tag, value = self._unpack(layout, at)
            if tag == 0:
                break
            entries.append((tag, value))
        return entries

    def _file_offset(self, address: int) -> int:
        for start, size, offset in self._loads:
            if start <= address < start + size:
                return address - start + offset
        raise ValueError("address outside every segment")

    def _bytes_to_nul(self, offset: int) -> bytes:
        end = self._data.find(b"\0", offset)
        if end < 0:
            raise ValueError("unterminated string")
        return self._data[offset:end]

    def _string(self, offset: int) -> str:
        return self._bytes_to_nul(self._strings + offset).decode("utf-8", "surrogateescape")

    def _search_path(self, offset: int | None) -> tuple[str, ...]:
        if offset is None:
            return ()
        return tuple(part for part in self._string(offset).split(":") if part)

    def _version_needs(self, table: dict[int, int]) -> frozenset[str]:
        """Walks Verneed and its Vernaux lists (gABI symbol versioning)."""
        found: set[str] = set()
        if DT_VERNEED not in table:
            return frozenset()
        at = self._file_offset(table[DT_VERNEED])
        for _ in range(min(table.get(DT_VERNEEDNUM, 0), MAX_ENTRIES)):
            _, count, _, first, following = self._unpack("HHIII", at)
            entry = at + first
            for _ in range(count):
                _, _, _, name, step = self._unpack("IHHII", entry)
                found.add(self._string(name))
                entry += step
            at += following
        return frozenset(found)
