"""Brings the host's shared libraries into the tree, so that only glibc comes from the node.

Every ELF file of the tree is asked what it needs. A library that the tree has already stays where it is; one that the
host has is copied to lib/ and asked in turn; glibc and drivers of devices are left to the node, because both must fit
its kernel. Then each file that needs a copied library is given a search path to it, relative to itself ($ORIGIN). It
is the old form (DT_RPATH) for what came from the host, since that one is not overruled by LD_LIBRARY_PATH and also
counts for what the file loads later.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import elf
from .errors import PackError, find_tool, run

GLIBC = re.compile(
    r"(libc|libm|libpthread|libdl|librt|libutil|libresolv|libanl|libmvec|libBrokenLocale|libthread_db|libnss_\w+)"
    r"\.so\.\d+|libnsl\.so\.1|ld-linux.*|ld64\.so.*|linux-vdso.*"
)
DRIVERS = re.compile(r"(libcuda|libnvidia-\S+|libnvcuvid|libascend\S*|libdrvdsmi\S*|libdcmi|libcnrt|libcndrv)\.so.*")
"""Libraries that come with a device's driver and must match it."""
RUNTIMES = re.compile(r"(libstdc\+\+|libgcc_s)\.so.*")
"""Shared by everything in a process: a package's private copy does not serve the others."""


@dataclass
class Report:
    """What the walk found."""

    machine: str
    glibc: tuple[int, ...] = ()
    copied: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Library that neither tree nor host has -> the first file that needs it."""
    dropped: list[str] = field(default_factory=list)
    """Modules of the standard library left out, because the host lacks their library."""


def collect(tree: Path, program: Path, origins: Mapping[Path, Path]) -> Report:
    """Copies what is needed and sets all search paths; origins tells where copies of host files came from."""
    main = elf.read(program)
    if main is None:
        raise PackError("is not a dynamically linked program", os.fspath(origins[program]))
    if main.interp is None or "musl" in main.interp:
        raise PackError("is not built for glibc", os.fspath(origins[program]), "choose another Python by --python")
    walk = _Walk(tree, main, dict(origins))
    walk.run()
    walk.set_search_paths()
    return walk.report


def elf_files(tree: Path, machine: str) -> Iterator[elf.Elf]:
    """All dynamically linked files of one machine in a tree, in a fixed order."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_symlink() or path.stat().st_size < 64:
                continue
            found = elf.read(path)
            if found is not None and found.machine == machine:
                yield found


class _Walk:
    """The walk over what needs what."""

    def __init__(self, tree: Path, main: elf.Elf, origins: dict[Path, Path]) -> None:
        self._tree = tree
        self._lib = tree / "lib"
        self._main = main
        self._origins = origins
        self._system = list(_system_folders(main.machine))
        self._users: dict[Path, elf.Elf] = {}
        self._providers: dict[str, list[Path]] = {}
        self.report = Report(machine=main.machine)

    def run(self) -> None:
        work = list(elf_files(self._tree, self._main.machine))
        for file in work:
            for name in {file.path.name, file.soname or file.path.name}:
                self._providers.setdefault(name, []).append(file.path)
        work.sort(key=lambda file: file.path not in self._origins)
        while work:
            file = work.pop(0)
            if not self._resolve_all(file, work):
                file.path.unlink()
                self.report.dropped.append(file.path.name.partition(".")[0])
                continue
            self.report.glibc = max(self.report.glibc, file.glibc)

    def _resolve_all(self, file: elf.Elf, work: list[elf.Elf]) -> bool:
        """Finds all that a file needs; False if it is a standard module that cannot work here."""
        uses_copies = file.path in self._origins
        for name in file.needed:
            if GLIBC.fullmatch(name) or DRIVERS.fullmatch(name) or self._has_private_copy(name, file):
                continue
            if (self._lib / name).exists():
                uses_copies = True
                continue
            if self._is_loaded_before(name, file):
                continue
            found = self._find_on_host(name, file)
            if found is not None:
                work.append(self._copy(name, found))
                uses_copies = True
            elif file.path.parent.name == "lib-dynload":
                return False
            elif file.path in self._origins:
                raise PackError(f"needs {name}, which is not on this machine", os.fspath(self._origins[file.path]))
            else:
                self.report.missing.setdefault(name, os.fspath(file.path.relative_to(self._tree)))
        if uses_copies:
            self._users[file.path] = file
        return True

    def _has_private_copy(self, name: str, file: elf.Elf) -> bool:
        """A package brings this library itself, for its own use."""
        if file.path in self._origins:
            return False
        if any((folder / name).exists() for folder in _expand(file.rpath + file.runpath, file.path)):
            return True
        return any(self._package(path) == self._package(file.path) for path in self._providers.get(name, ()))

    def _package(self, path: Path) -> str:
        """The package's folder below site-packages; NAME.libs belongs to NAME."""
        parts = path.relative_to(self._tree).parts
        below = parts.index("site-packages") + 1 if "site-packages" in parts else 0
        return parts[below].removesuffix(".libs")

    def _is_loaded_before(self, name: str, file: elf.Elf) -> bool:
        """Another package brings it: such packages (torch, nvidia-*) load one another's libraries by name first."""
        return file.path not in self._origins and name in self._providers and not RUNTIMES.fullmatch(name)

    def _find_on_host(self, name: str, file: elf.Elf) -> Path | None:
        origin = self._origins.get(file.path, file.path)
        own = _expand(file.rpath + file.runpath, origin) if file.path in self._origins else []
        main = _expand(self._main.rpath + self._main.runpath, self._origins[self._main.path])
        loader = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part.startswith("/")]
        for folder in [*own, *main, *loader, *self._system]:
            candidate = folder / name
            if not candidate.is_file():
                continue
            found = elf.read(candidate)
            if found is not None and found.machine == self._main.machine:
                return candidate.resolve()
        return None

    def _copy(self, name: str, original: Path) -> elf.Elf:
        target = self._lib / name
        shutil.copyfile(original, target)
        target.chmod(0o755)
        self._origins[target] = original
        self.report.copied.append(name)
        copied = elf.read(target)
        assert copied is not None
        return copied

    def set_search_paths(self) -> None:
        """Points each user of a copied library to lib/, after the places that it names itself inside the tree."""
        patchelf = find_tool("patchelf")
        for path, file in sorted(self._users.items()):
            to_lib = "$ORIGIN/" + os.path.relpath(self._lib, path.parent)
            if path in self._origins:
                options, places = ["--force-rpath"], [to_lib.removesuffix("/.")]
            else:
                options = [] if file.runpath else ["--force-rpath"]
                places = [*dict.fromkeys([*(file.runpath or file.rpath), to_lib])]
            status, output = run([patchelf, *options, "--set-rpath", ":".join(places), path])
            if status != 0:
                where = os.fspath(path.relative_to(self._tree))
                raise PackError(f"patchelf cannot set its search path: {output.strip()}", where)


def _expand(places: Iterable[str], path: Path) -> list[Path]:
    """Search places with $ORIGIN replaced; ones that are not absolute then are ignored, as ld.so does for safety."""
    origin = os.fspath(path.parent)
    expanded = (place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for place in places)
    return [Path(place) for place in expanded if place.startswith("/")]


def _system_folders(machine: str) -> Iterator[Path]:
    """Where ld.so looks on this host: ld.so.conf with its includes, then the built-in folders."""
    seen: set[str] = set()
    multiarch = f"{machine}-linux-gnu"
    defaults = [f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    for name in [*_ld_so_conf(Path("/etc/ld.so.conf")), *defaults]:
        if name not in seen and os.path.isdir(name):
            seen.add(name)
            yield Path(name)


def _ld_so_conf(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                for included in sorted(glob.glob(os.path.join(path.parent, pattern))):
                    yield from _ld_so_conf(Path(included))
        elif words and words[0].startswith("/"):
            yield words[0]
