"""Ray itself as a packed environment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def packed(folder):
    """Its path: the one that ASTRA_TEST_ENV_RAY names, else packed into this folder, mostly out of the packer's cache."""
    given = os.environ.get("ASTRA_TEST_ENV_RAY")
    if given:
        return Path(given)
    requirements, out = Path(folder) / "requirements.txt", Path(folder) / "env.tar.zst"
    requirements.write_text("ray[serve]==2.60.0\n")
    subprocess.run(
        [sys.executable, "-m", "astra.envpack", "pack", str(requirements), "-o", str(out)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
    )
    return out
