"""Tells a person on stderr what is being done: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class Progress:
    """Steps are lasting lines; details only show on a terminal and overwrite one another."""

    def __init__(self, stream: TextIO = sys.stderr, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._tty = stream.isatty()
        self._started = time.monotonic()
        self._step = ""

    def step(self, text: str) -> None:
        """Begins a step."""
        self._step = text
        self._line(f"[{time.monotonic() - self._started:6.1f}s] {text}")

    def detail(self, text: str) -> None:
        """Shows how far the step is."""
        if self._quiet or not self._tty:
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\033[K{f'          {text}'[:width]}")
        self._stream.flush()

    def note(self, text: str) -> None:
        """Says something that the person should know but that stops nothing."""
        self._line(f"note: {text}")

    def close(self) -> None:
        """Leaves the terminal clean."""
        if self._tty and not self._quiet:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _line(self, text: str) -> None:
        if self._quiet:
            return
        self.close()
        self._stream.write(text + "\n")
        self._stream.flush()
