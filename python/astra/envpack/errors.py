"""The one error that people see, and how the packer runs other programs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class PackError(Exception):
    """Something that stops a pack: what happened, where, and what to do about it."""

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


def from_os_error(error: OSError) -> PackError:
    """Turns an error of the operating system into words; a full disk gets advice of its own."""
    where = str(error.filename or "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(where)
    return PackError((error.strerror or str(error)).lower(), where)


def disk_full(where: str = "") -> PackError:
    """The error for a full disk; packing Ray takes about 1 GB for a short time."""
    return PackError("no space left on the disk", where, "free some space, or set TMPDIR to a folder on a larger disk")


def find_tool(name: str) -> str:
    """Path of a program that the packer needs, or an error that says how to get it."""
    path = shutil.which(name)
    if path is None:
        raise PackError(f"the program {name} is missing", hint=f"install it: apt-get install {name}")
    return path


def start(words: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own.

    So Ctrl-C reaches the packer alone, and it is the packer that ends the program with all that it started.
    """
    command = [os.fspath(word) for word in words]
    try:
        return subprocess.Popen(command, start_new_session=True, **options)
    except OSError as error:
        raise PackError(f"cannot be run: {(error.strerror or '').lower()}", command[0]) from error


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Runs a program to its end and returns its exit status and all that it printed."""
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    child = start(command, env=env, cwd=cwd, stdin=quiet, stdout=pipe, stderr=subprocess.STDOUT)
    lines: list[str] = []
    try:
        assert child.stdout is not None
        for data in child.stdout:
            lines.append(data.decode("utf-8", "replace"))
            if on_line is not None:
                on_line(lines[-1].rstrip("\n"))
        return child.wait(), "".join(lines)
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends a program that is still running, with its session, and reaps it; closes its pipes.

    It is waited for: it must not go on to write into folders that are being removed.
    """
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # a pipe whose reader is gone cannot be flushed
