"""Copies an interpreter and its standard library into a tree that works wherever it lies.

CPython finds its prefix by walking up from its executable to lib/pythonX.Y/os.py, so a tree of the right shape needs
no PYTHONHOME. What distributions or users would add to it is kept out. Changing site.py would not help, since newer
interpreters carry it inside their program; so the means are the ones that any site.py heeds:

    pyvenv.cfg        one line and no path: no folder in the user's home is searched for packages
    dist-packages     a link to site-packages, where the interpreter looks for packages there (Debian)
    sysconfig.py      Debian's default scheme (/usr/local) is turned back to the usual one
    _sysconfigdata_*  the source's prefix becomes that of the running tree
    _astra_env.py     started by a .pth file: OpenSSL is shown the certificates of the host it runs on
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .source import Source

TRIM_FOLDERS = {"config", "idlelib", "tkinter", "turtledemo", "ensurepip"}
TRIM_ANYWHERE = {"test", "tests", "idle_test"}
TRIM_FILES = {"turtle.py"}
NEVER = {"__pycache__", "site-packages", "dist-packages", "lib-dynload", "EXTERNALLY-MANAGED"}
NEVER_MODULES = {"sitecustomize.py", "usercustomize.py", "build-details.json"}
TRIM_EXTENSIONS = re.compile(r"(_tkinter|_test\w*|_ctypes_test|_xx\w*|xx\w*)\.")
DROPPED_EXTENSIONS = re.compile(r"nis\.")
"""nis alone would pull in libnsl2, libtirpc and all of Kerberos; it is gone from Python 3.13."""
SHARED_PREFIXES = {"/", "/usr", "/usr/local"}
"""Prefixes that also occur in values that have nothing to do with Python: only paths of Python's own are rewritten."""
PATH_NAMES = re.compile(
    r"(exec_)?prefix|\w*LIBDEST|DEST\w*|\w*DIR|\w*DIRS|\w*dir|LIBPL|LIBPC|(CONF)?INCLUDEPY|MACHDESTLIB"
)
BUILD_NAMES = {"CONFIG_ARGS", "srcdir", "abs_srcdir", "abs_builddir", "VPATH", "projectbase", "userbase"}

PYVENV = "include-system-site-packages = false\n"
START_HOOK = "import _astra_env\n"
START_MODULE = '''"""Put here by `astra env pack` and run when Python starts: shows OpenSSL this host's certificates.

OpenSSL's own default is a folder of the host that the environment was packed on. certifi's list, if the environment
has it, stands in where the host has none.
"""

import os
import sys

_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    os.path.join(os.path.dirname(__file__), "certifi", "cacert.pem"),
)

if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
    for _place in _PLACES:
        if os.path.exists(_place):
            os.environ["SSL_CERT_FILE"] = _place
            break
'''

SYSCONFIG_HOOK = re.compile(r"^def get_preferred_scheme\(", re.MULTILINE)
SYSCONFIG_PATCH = """
# Added by `astra env pack`: the usual scheme, not the one of the distribution that the tree was packed on.
def _get_preferred_schemes():
    return {'prefix': 'posix_prefix', 'home': 'posix_home', 'user': 'posix_user'}


"""

SYSCONFIG_DATA = '''"""Build-time facts about this Python, from `astra env pack`; @PREFIX@ is where the tree lies."""

import sys

build_time_vars = {facts}
for _name, _value in build_time_vars.items():
    if isinstance(_value, str) and "@PREFIX@" in _value:
        build_time_vars[_name] = _value.replace("@PREFIX@", sys.prefix)
'''


def copy(source: Source, tree: Path, full: bool) -> dict[Path, Path]:
    """Makes the tree's interpreter and standard library.

    Returns where each ELF candidate came from (copy -> original): search paths relative to the file hold only there.
    """
    bin_dir, lib_dir = tree / "bin", tree / "lib" / source.folder
    bin_dir.mkdir(parents=True)
    lib_dir.mkdir(parents=True)
    if source.platlibdir != "lib":
        (tree / source.platlibdir).symlink_to("lib")
    program = bin_dir / f"python{source.short}"
    shutil.copyfile(source.executable, program)
    program.chmod(0o755)
    for link in ("python3", "python"):
        (bin_dir / link).symlink_to(program.name)
    _copy_folder(source.stdlib, lib_dir, full, top=True)
    (lib_dir / "site-packages").mkdir()
    origins = {program: source.executable}
    for original in _extensions(source, full):
        target = lib_dir / "lib-dynload" / original.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(original, target)
        target.chmod(0o755)
        origins[target] = original
    (tree / "pyvenv.cfg").write_text(PYVENV, "utf-8")
    _link_packages(source, tree, lib_dir / "site-packages")
    _patch_sysconfig(lib_dir)
    _write_sysconfig_data(source, lib_dir)
    return origins


def _copy_folder(source: Path, target: Path, full: bool, top: bool = False) -> None:
    """Copies modules and data; links are followed, since distributions link out of the folder."""
    for entry in sorted(source.iterdir()):
        if _is_trimmed(entry, full, top):
            continue
        if entry.is_dir():
            (target / entry.name).mkdir(exist_ok=True)
            _copy_folder(entry, target / entry.name, full)
        elif entry.is_file():
            shutil.copyfile(entry, target / entry.name)


def _is_trimmed(entry: Path, full: bool, top: bool) -> bool:
    name = entry.name
    if name in NEVER or name.endswith((".pyc", ".pyo", ".a")):
        return True
    if top and (name in NEVER_MODULES or name.startswith(("config-", "_sysconfigdata_", "_sysconfig_vars_"))):
        return True
    if full:
        return False
    return name in TRIM_ANYWHERE or (top and (name in TRIM_FOLDERS or name in TRIM_FILES))


def _extensions(source: Source, full: bool) -> Iterator[Path]:
    for entry in sorted(source.dynload.iterdir()):
        if ".so" not in entry.suffixes or DROPPED_EXTENSIONS.match(entry.name):
            continue
        if full or not TRIM_EXTENSIONS.match(entry.name):
            yield entry


def _link_packages(source: Source, tree: Path, packages: Path) -> None:
    """Makes site-packages known to the interpreter, under the name by which it looks for packages."""
    (packages / "astra-env.pth").write_text(START_HOOK, "utf-8")
    (packages / "_astra_env.py").write_text(START_MODULE, "utf-8")
    searched = [tree / name for name in source.package_folders]
    if not searched or packages in searched:
        return
    link = searched[-1]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(packages, link.parent))


def _patch_sysconfig(lib_dir: Path) -> None:
    path = lib_dir / "sysconfig.py"
    if not path.exists():
        path = lib_dir / "sysconfig" / "__init__.py"
    text = path.read_text("utf-8")
    if "posix_local" not in text:
        return
    path.write_text(SYSCONFIG_HOOK.sub(lambda match: SYSCONFIG_PATCH + match.group(), text, count=1), "utf-8")


def _write_sysconfig_data(source: Source, lib_dir: Path) -> None:
    prefix = os.fspath(source.prefix)
    facts = {name: _relocate(name, value, prefix) for name, value in sorted(source.sysconfig_data.items())}
    literal = "".join(f"    {name!r}: {value!r},\n" for name, value in facts.items())
    text = SYSCONFIG_DATA.replace("{facts}", "{\n" + literal + "}")
    (lib_dir / f"{source.sysconfig_name}.py").write_text(text, "utf-8")


def _relocate(name: str, value: Any, prefix: str) -> Any:
    if not isinstance(value, str):
        return value
    if name in BUILD_NAMES:
        return ""
    if prefix not in SHARED_PREFIXES:
        return value.replace(prefix, "@PREFIX@")
    if PATH_NAMES.fullmatch(name) and (value == prefix or value.startswith(prefix + "/")):
        return "@PREFIX@" + value[len(prefix) :]
    return value
