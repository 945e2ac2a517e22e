"""Installs requirements with the source interpreter's pip and moves the result into the tree.

pip runs in an empty virtual environment of its own, so that nothing of the host is seen as installed already. What it
put there is then made independent of that place: scripts find the interpreter beside themselves, RECORD files are
written anew, and what names the packing host is removed.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import PackError, disk_full, run
from .source import Source

SOURCE_DATE = 315532800
"""1980-01-01, the oldest time that a zip file can hold: given to whatever builds a wheel."""
PIP_SETTINGS_REFUSED = ("TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "REQUIREMENT", "CONSTRAINT", "DRY_RUN", "REPORT")
DECIDING_SETTINGS = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_PRE",
    "PIP_ONLY_BINARY",
    "PIP_NO_BINARY",
)
"""Settings of pip that are honoured and decide what is installed."""
LAUNCHER = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python3" "$0" "$@"
' '''
"""
NOT_PACKAGES = re.compile(r"python[\d.]*|[Aa]ctivate(\.\w+)?|pyvenv\.cfg|lib64|\.gitignore")


@dataclass(frozen=True)
class Package:
    """One package that pip chose."""

    name: str
    version: str
    url: str | None
    """Where it came from, when the requirement itself named the place."""
    digest: str | None

    def pin(self) -> str:
        """The requirements line that gives exactly this package again."""
        if self.url is not None:
            return f"{self.name} @ {self.url}"
        pinned = f"{self.name}=={self.version}"
        return f"{pinned} --hash=sha256:{self.digest}" if self.digest else pinned


@dataclass(frozen=True)
class Installer:
    """Requirements, where to get them, and the interpreter that they are for."""

    source: Source
    requirements: Path
    index: str | None
    work: Path
    """A folder that belongs to this pack; whoever made it removes it."""
    on_line: Callable[[str], None]
    """Called with each line that pip prints."""

    def resolve(self) -> list[Package]:
        """Says what would be installed, without installing it."""
        return self._pip_install(self._make_venv(), "--dry-run")

    def install(self, tree: Path) -> list[Package]:
        """Installs into the tree, which holds the interpreter already; returns what was installed."""
        venv = self._make_venv()
        packages = self._pip_install(venv, "--no-compile")
        site_packages = venv / "lib" / self.source.folder / "site-packages"
        _refuse_links(site_packages, self.requirements)
        for script in sorted((venv / "bin").iterdir()):
            if not NOT_PACKAGES.fullmatch(script.name):
                _relocate_script(script, venv)
        _forget_the_way(site_packages)
        _merge(venv, tree)
        shutil.rmtree(venv)
        return packages

    def _make_venv(self) -> Path:
        venv = self.work / "venv"
        status, output = run([self.source.executable, "-I", "-m", "venv", "--without-pip", venv])
        if status != 0:
            raise PackError(f"cannot make a virtual environment\n{output.strip()}", os.fspath(self.source.executable))
        return venv

    def _pip_install(self, venv: Path, option: str) -> list[Package]:
        """Runs pip; relative paths in the requirements count from the folder of that file."""
        requirements = self.requirements.absolute()
        report = self.work / "report.json"
        command: list[str | Path] = [venv / "bin" / "python", self.source.pip / "pip", "install", option]
        command += ["--ignore-installed", "--no-warn-script-location", "--progress-bar", "off", "--report", report]
        if self.index is not None:
            command += ["--index-url", self.index]
        command += ["-r", requirements]
        environment = _pip_environment(os.environ, self.work)
        status, output = run(command, env=environment, cwd=requirements.parent, on_line=self.on_line)
        if status != 0:
            raise _pip_error(output, f"{self.requirements} (Python {self.source.version})")
        items = json.loads(report.read_text("utf-8"))["install"] if report.exists() else []
        return sorted((_package(item) for item in items), key=lambda package: package.name)


def installed_versions(tree: Path, source: Source) -> dict[str, str]:
    """Name -> version of all packages in the tree, names in their normal form."""
    found: dict[str, str] = {}
    for dist in importlib.metadata.distributions(path=[os.fspath(tree / "lib" / source.folder / "site-packages")]):
        found[normal_name(dist.metadata["Name"])] = dist.version
    return dict(sorted(found.items()))


def normal_name(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_records(tree: Path, source: Source) -> None:
    """Writes each RECORD anew from what is in the tree now: sorted, without what was removed, digests right."""
    site_packages = tree / "lib" / source.folder / "site-packages"
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        with open(record, newline="", encoding="utf-8") as file:
            names = sorted({row[0] for row in csv.reader(file) if row})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for name in names:
            path = site_packages / name
            if path == record:
                writer.writerow([name, "", ""])
            elif path.is_file() and not name.endswith(".pyc"):
                digest, size = _file_digest(path)
                writer.writerow([name, f"sha256={digest}", size])
        record.write_text(text.getvalue(), "utf-8")


def _file_digest(path: Path) -> tuple[str, int]:
    data = path.read_bytes()
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode(), len(data)


def _pip_environment(environ: Mapping[str, str], work: Path) -> dict[str, str]:
    """The user's environment (indexes, proxies, certificates), less what would send files elsewhere."""
    refused = {f"PIP_{name}" for name in PIP_SETTINGS_REFUSED}
    kept = {name: value for name, value in environ.items() if name not in refused and not name.startswith("PYTHON")}
    build = work / "build"
    build.mkdir(exist_ok=True)
    kept.update(
        TMPDIR=os.fspath(build),
        SOURCE_DATE_EPOCH=str(SOURCE_DATE),
        PYTHONHASHSEED="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_REQUIRE_VIRTUALENV="0",
        PIP_NO_INPUT="1",
    )
    return kept


def _package(item: dict[str, Any]) -> Package:
    place = item["download_info"]
    archive = place.get("archive_info", {})
    digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2] or None
    url: str | None = None
    if item.get("is_direct") and "dir_info" not in place:
        vcs = place.get("vcs_info")
        url = f"{vcs['vcs']}+{place['url']}@{vcs['commit_id']}" if vcs else place["url"]
        if digest:
            url += f"#sha256={digest}"
    metadata = item["metadata"]
    return Package(normal_name(metadata["name"]), metadata["version"], url, digest)


ADVICE: tuple[tuple[str, str, str], ...] = (
    (r"No space left on device|Disk quota exceeded", "", ""),
    (
        r"(?P<what>.* is not a supported wheel on this platform)",
        "the wheel is for another platform or another Python",
        "name the package and its version instead of a file, or choose another Python by --python",
    ),
    (
        r"(?P<what>THESE PACKAGES DO NOT MATCH THE HASHES.*|Hashes are required.*|In --require-hashes mode.*)",
        "a hash in the requirements does not match or is missing",
        "make the pinned list anew: astra env resolve",
    ),
    (
        r"(?:Could not open requirements file|Invalid requirement|Invalid URL|Expected )(?P<what>.*)",
        "the requirements cannot be read",
        "see pip's requirements file format",
    ),
    (
        r"NewConnectionError|Temporary failure in name resolution|Max retries exceeded|ConnectTimeout|"
        r"ReadTimeout|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED",
        "the package index cannot be reached",
        "check the network, --index and PIP_INDEX_URL; a folder of wheels works offline: "
        "PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER",
    ),
    (
        r"No matching distribution found for (?P<what>.*)",
        "no package fits",
        "check its name and version, and that it has a release for this Python and platform; offline, set "
        "PIP_FIND_LINKS to a folder of wheels",
    ),
    (r"ResolutionImpossible|conflicting dependencies", "the requirements contradict each other", "loosen one of them"),
)


def _pip_error(output: str, where: str) -> PackError:
    """One error out of all that pip printed: the first kind that fits, with pip's own last words."""
    said = [line.strip() for line in output.splitlines() if line.startswith("ERROR") or "error:" in line]
    last = "\n  ".join(f"pip: {line}" for line in said[-6:]) or f"pip: {output.strip()[-400:]}"
    for pattern, what, hint in ADVICE:
        match = re.search(pattern, output)
        if match is None:
            continue
        if not what:
            return disk_full(os.environ.get("TMPDIR", "/tmp"))
        detail = (match.groupdict().get("what") or "").strip()
        return PackError(f"{what}: {detail}" if detail else what, where, f"{hint}\n  {last}")
    return PackError("pip failed", where, last)


def _refuse_links(site_packages: Path, requirements: Path) -> None:
    """An editable install is a link to this machine's folders and would be dead anywhere else."""
    for info in sorted(site_packages.glob("*.dist-info/direct_url.json")):
        facts = json.loads(info.read_text("utf-8"))
        if facts.get("dir_info", {}).get("editable"):
            name = info.parent.name.partition("-")[0]
            raise PackError(f"{name} is an editable install", os.fspath(requirements), "remove the -e")
    for link in site_packages.glob("*.egg-link"):
        raise PackError(f"{link.stem} is an editable install", os.fspath(requirements), "remove the -e")


def _relocate_script(script: Path, venv: Path) -> None:
    """Makes a script start the interpreter beside it, whichever of pip's two forms of first lines it has."""
    data = script.read_bytes()
    prefix = os.fsencode(venv)
    if not data.startswith(b"#!"):
        return
    first, _, rest = data.partition(b"\n")
    if first == b"#!/bin/sh" and rest.startswith(b"'''exec'"):
        second, _, rest = rest.partition(b"\n")
        _, _, rest = rest.partition(b"\n")
        first += second
    if prefix in first:
        script.write_bytes(LAUNCHER + rest)


def _forget_the_way(site_packages: Path) -> None:
    """Removes records of how a package came here: a folder of this machine, or that it was asked for by name.

    So a pinned list, which asks for every package, gives the same bytes as the requirements that it was made from.
    """
    for mark in site_packages.glob("*.dist-info/REQUESTED"):
        mark.unlink()
    for info in site_packages.glob("*.dist-info/direct_url.json"):
        if json.loads(info.read_text("utf-8"))["url"].startswith("file:"):
            info.unlink()


def _merge(venv: Path, tree: Path) -> None:
    """Moves everything that is not the virtual environment's own into the tree."""
    for folder, folders, files in os.walk(venv):
        relative = Path(folder).relative_to(venv)
        if relative in (Path("."), Path("bin")):
            folders[:] = [name for name in folders if not NOT_PACKAGES.fullmatch(name)]
            moved = [name for name in files if not NOT_PACKAGES.fullmatch(name)]
        else:
            moved = files
        target = tree / relative
        if moved:
            target.mkdir(parents=True, exist_ok=True)
        for name in moved:
            shutil.move(os.fspath(Path(folder) / name), os.fspath(target / name))
