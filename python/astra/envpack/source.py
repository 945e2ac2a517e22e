"""Finds the source interpreter and asks it what it is.

The interpreter answers for itself, by a small script that it runs isolated from its environment: guessing from
folder names goes wrong on Debian (modules in two places), Fedora (lib64) and pyenv (a shim in front).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import PackError, run

OLDEST = (3, 9)
OLDEST_PIP = (22, 2)
"""The first pip that reports what it installed."""
SMOKE_MODULES = ("ssl", "sqlite3", "ctypes", "zlib", "bz2", "lzma", "hashlib", "readline", "uuid")

PROBE = r"""
import glob, importlib.util, json, os, site, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
data_name = sysconfig._get_sysconfigdata_name()
pips = []
def add_pip(path, version):
    if version and version[0].isdigit():
        pips.append([path, version])
folders = [sysconfig.get_config_var("WHEEL_PKG_DIR") or ""]
ensurepip = importlib.util.find_spec("ensurepip")
if ensurepip and ensurepip.origin:
    folders.append(os.path.join(os.path.dirname(ensurepip.origin), "_bundled"))
folders.append("/usr/share/python-wheels")
for folder in filter(None, folders):
    for wheel in glob.glob(os.path.join(folder, "pip-*.whl")):
        add_pip(wheel, os.path.basename(wheel).split("-")[1])
pip = importlib.util.find_spec("pip")
if pip and pip.origin:
    text = open(pip.origin).read()
    add_pip(os.path.dirname(os.path.dirname(pip.origin)), text.partition('__version__ = "')[2].partition('"')[0])
print(json.dumps({
    "executable": os.path.realpath(base),
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "system": sys.platform,
    "prefix": sys.base_prefix,
    "platlibdir": getattr(sys, "platlibdir", "lib"),
    "stdlib": sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}),
    "dynload": sysconfig.get_config_var("DESTSHARED"),
    "data_name": data_name,
    "data": __import__(data_name).build_time_vars,
    "venv": importlib.util.find_spec("venv") is not None,
    "package_folders": [os.path.relpath(name, "/tree") for name in site.getsitepackages(["/tree"])],
    "pips": pips,
    "modules": [name for name in MODULES if importlib.util.find_spec(name) is not None],
}))
"""


@dataclass(frozen=True)
class Source:
    """An interpreter on this machine that an environment can be made of."""

    executable: Path
    version: str
    prefix: Path
    platlibdir: str
    stdlib: Path
    dynload: Path
    sysconfig_name: str
    sysconfig_data: dict[str, Any]
    package_folders: tuple[str, ...]
    """Where it looks for packages, below its prefix: not site-packages on Debian."""
    pip: Path
    """What the interpreter runs as pip: a wheel or a folder that holds the package."""
    modules: tuple[str, ...]
    """Which of SMOKE_MODULES it has."""

    @property
    def short(self) -> str:
        """3.11.2 -> 3.11"""
        return ".".join(self.version.split(".")[:2])

    @property
    def folder(self) -> str:
        """Name of its library folder, for example python3.11."""
        return self.stdlib.name

    def identity(self) -> str:
        """Digest of what makes this interpreter differ from another of the same version."""
        digest = hashlib.sha256(self.version.encode())
        digest.update(self.executable.read_bytes())
        digest.update(json.dumps(self.sysconfig_data, sort_keys=True, default=str).encode())
        return digest.hexdigest()


def find(wanted: str | None) -> Source:
    """The interpreter at a path, of a version ("3.11"), or the default one."""
    if wanted is None:
        return _find_default()
    if re.fullmatch(r"3\.\d+(\.\d+)?", wanted):
        return _find_version(wanted)
    path = shutil.which(wanted)
    if path is None:
        raise PackError("no such interpreter", wanted, "give --python the path of a python3, or a version such as 3.11")
    return probe(Path(path))


def _find_default() -> Source:
    for candidate in (Path("/usr/bin/python3"), Path(shutil.which("python3") or "")):
        if candidate.is_file():
            return probe(candidate)
    raise PackError("no python3 on this machine", "/usr/bin/python3 and PATH", "install one, or name it by --python")


def _find_version(wanted: str) -> Source:
    """Tries the usual places; a shim in PATH may fail for a version that is not chosen, so failures are passed over."""
    name = "python" + ".".join(wanted.split(".")[:2])
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    managed = sorted(pyenv.glob(f"{wanted}*/bin/{name}"), key=lambda path: _numbers(path.parts[-3]), reverse=True)
    candidates = [Path("/usr/bin") / name, Path("/usr/local/bin") / name, *managed, Path(shutil.which(name) or "")]
    failure: PackError | None = None
    for candidate in candidates:
        if not candidate.is_file():
            continue
        try:
            source = probe(candidate)
        except PackError as error:
            failure = error
            continue
        if source.version == wanted or source.version.startswith(wanted + "."):
            return source
    raise failure or PackError(
        f"no Python {wanted} on this machine",
        "/usr/bin, /usr/local/bin, PATH and pyenv",
        "install it, or give --python the path of its interpreter",
    )


def probe(path: Path) -> Source:
    """Asks one interpreter; refuses what cannot be packed, with the reason."""
    code = f"MODULES = {SMOKE_MODULES!r}\n{PROBE}"
    status, output = run([path, "-I", "-c", code])
    try:
        facts: dict[str, Any] = json.loads(output.strip().splitlines()[-1]) if status == 0 else {}
    except (ValueError, IndexError):
        facts = {}
    if not facts:
        last = (output.strip().splitlines() or ["it printed nothing"])[-1]
        raise PackError(f"is not a working Python 3 interpreter ({last})", str(path))
    _check(path, facts)
    pip = _newest_pip(path, facts["pips"])
    return Source(
        executable=Path(facts["executable"]),
        version=".".join(map(str, facts["version"])),
        prefix=Path(facts["prefix"]),
        platlibdir=facts["platlibdir"],
        stdlib=Path(facts["stdlib"]),
        dynload=Path(facts["dynload"]),
        sysconfig_name=facts["data_name"],
        sysconfig_data=facts["data"],
        package_folders=tuple(facts["package_folders"]),
        pip=pip,
        modules=tuple(facts["modules"]),
    )


def _check(path: Path, facts: dict[str, Any]) -> None:
    version = ".".join(map(str, facts["version"]))
    if facts["system"] != "linux" or facts["implementation"] != "cpython":
        raise PackError(f"is {facts['implementation']} on {facts['system']}; CPython on Linux is needed", str(path))
    if tuple(facts["version"]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise PackError(f"is Python {version}, too old: {oldest} or newer is needed", str(path), "choose by --python")
    if not facts["venv"]:
        raise PackError("has no venv module", str(path), f"on Debian: apt-get install python{version[:4]}-venv")
    for name in ("stdlib", "dynload"):
        if not facts[name] or not os.path.isdir(facts[name]):
            raise PackError(f"its {name} folder {facts[name]} does not exist", str(path), "reinstall this Python")


def _newest_pip(path: Path, pips: list[list[str]]) -> Path:
    hint = "on Debian: apt-get install python3-venv; elsewhere: PYTHON -m pip install --upgrade pip"
    if not pips:
        raise PackError("has neither ensurepip nor pip", str(path), hint)
    where, version = max(pips, key=lambda pip: _numbers(pip[1]))
    if _numbers(version) < OLDEST_PIP:
        raise PackError(f"its pip {version} is too old: 22.2 or newer is needed", str(path), hint)
    return Path(where)


def _numbers(text: str) -> tuple[int, ...]:
    """23.0.1 -> (23, 0, 1); what is not a number ends it."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = re.match(r"\d+", part)
        if digits is None:
            break
        numbers.append(int(digits.group()))
    return tuple(numbers)
