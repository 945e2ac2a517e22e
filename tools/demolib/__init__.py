"""The parts of tools/demo; standard library only, but for the line crops, which Pillow cuts. It stands on what the end-to-end tests
share of processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "e2e"))
