"""Where what is tested lies. The environment's ASTRA is the program of another build, as of a sanitizer's."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASTRA = Path(os.environ.get("ASTRA") or ROOT / "build" / "src" / "astra")
