"""The one error that people see, and how the packer runs other programs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


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
    """The error for a full disk; packing Ray takes about 1.5 GB for a short time."""
    return PackError("no space left on the disk", where, "free some space, or set TMPDIR to a folder on a larger disk")


def find_tool(name: str) -> str:
    """Path of a program that the packer needs, or an error that says how to get it."""
    path = shutil.which(name)
    if path is None:
        raise PackError(f"the program {name} is missing", hint=f"install it: apt-get install {name}")
    return path


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Runs a program to its end and returns its exit status and all that it printed.

    If the packer is interrupted meanwhile, the program is ended and waited for, so that it cannot write into folders
    that are being removed.
    """
    words = [os.fspath(word) for word in command]
    try:
        child = subprocess.Popen(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise PackError(f"cannot be run: {(error.strerror or '').lower()}", words[0]) from error
    lines: list[str] = []
    try:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))
        return child.wait(), "".join(lines)
    finally:
        end_child(child)


def end_child(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Ends a child that is still running and reaps it; closes its pipes."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # a pipe whose reader is gone cannot be flushed
