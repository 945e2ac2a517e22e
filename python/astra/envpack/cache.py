"""Ready archives, kept by what they were made of.

A key is the digest of everything that decides the result: the requirements with all files that they include, the
interpreter, the platform, the options and the packer itself. It does not follow new releases of packages that the
requirements leave open: the kept archive is used until it is removed. Entries appear by rename and are made under a
lock, so packers neither collide nor see half an archive.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import PACKER_VERSION
from .archive import file_digest
from .errors import PackError, from_os_error
from .progress import Progress

INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=|\s*)(?P<path>\S+)")


class Cache:
    """A folder of archives (KEY.tar.zst), their sidecars (KEY.json) and pinned lists (KEY.txt)."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error) from error
        self._folder = folder

    @contextmanager
    def locked(self, key: str, progress: Progress) -> Iterator[None]:
        """Holds the key's lock: a second packer of the same environment waits and then finds the first one's."""
        descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.step("waiting for another packer of the same environment")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def get(self, key: str) -> tuple[Path, dict[str, Any], str] | None:
        """Archive, sidecar and pinned list; None if absent, or if the archive is not the one that was put there."""
        archive = self._folder / f"{key}.tar.zst"
        try:
            sidecar: dict[str, Any] = json.loads((self._folder / f"{key}.json").read_text("utf-8"))
            pinned = (self._folder / f"{key}.txt").read_text("utf-8")
            if file_digest(archive) != sidecar["digest"]:
                return None
        except (OSError, ValueError, KeyError):
            return None
        return archive, sidecar, pinned

    def put(self, key: str, archive: Path, sidecar: dict[str, Any], pinned: str) -> None:
        """Keeps an archive; the sidecar comes last, since it is what makes the entry valid."""
        place(archive, self._folder / f"{key}.tar.zst")
        write_atomically(self._folder / f"{key}.txt", pinned)
        write_atomically(self._folder / f"{key}.json", json.dumps(sidecar, indent=2) + "\n")


def key(requirements: Path, identity: str, machine: str, options: dict[str, Any]) -> str | None:
    """The key, or None where a result cannot be kept because the requirements name folders of this machine."""
    texts: dict[str, str] = {}
    if not _collect(requirements.absolute(), texts):
        return None
    parts = [PACKER_VERSION, _packer_digest(), machine, identity, json.dumps(options, sort_keys=True), *texts.values()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _collect(path: Path, texts: dict[str, str]) -> bool:
    """Gathers a requirements file and all that it includes; False if it names a local folder."""
    if os.fspath(path) in texts:
        return True
    text = read_requirements(path)
    texts[os.fspath(path)] = text
    for line in text.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).strip()
        include = INCLUDE.fullmatch(words)
        if include is None:
            known = all(_collect_local(path.parent, word, texts) for word in words.split())
        else:
            known = "://" in include["path"] or _collect(path.parent / include["path"], texts)
        if not known:
            return False
    return True


def _collect_local(folder: Path, word: str, texts: dict[str, str]) -> bool:
    """Adds the digest of a file that a requirement names; False for a folder."""
    name = word.removeprefix("file://").partition("[")[0]
    local = folder / name
    if "://" in name or not ("/" in name or name.startswith(".")):
        return True
    if local.is_file():
        texts[os.fspath(local)] = file_digest(local)
    return not local.is_dir()


def read_requirements(path: Path) -> str:
    """The text of a requirements file, or an error that names it."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise PackError("is not a text file in UTF-8", os.fspath(path)) from error
    except OSError as error:
        raise from_os_error(error) from error


def _packer_digest() -> str:
    """Digest of the packer's own text: another packer may pack differently."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def place(archive: Path, target: Path) -> None:
    """Puts a finished file at its place by rename: a link where that is possible, else a copy beside it first."""
    folder = Path(tempfile.mkdtemp(prefix=".astra-env-", dir=target.parent))
    try:
        try:
            os.link(archive, folder / target.name)
        except OSError:
            shutil.copyfile(archive, folder / target.name)
        os.replace(folder / target.name, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(target: Path, text: str) -> None:
    """Writes a small file so that nobody sees half of it."""
    descriptor, name = tempfile.mkstemp(prefix=".astra-env-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
