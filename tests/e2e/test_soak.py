"""tools/soak on the stand-in for Ray, as short as can be: that it runs, and that nobody gets a wrong answer meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_churn(tmp_path):
    env = {**os.environ, "ASTRA_SOAK_OUT": str(tmp_path)}
    words = [sys.executable, ROOT / "tools" / "soak", "--stand-in", "--minutes", "0.25", "churn"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
    print(done.stdout[-6000:], done.stderr[-2000:])
    facts = json.loads((tmp_path / "churn.json").read_text())
    assert facts["requests"] > 200 and facts["wrong"] == 0 and facts["failed"] == 0
    assert facts["came"]["units"] > 0 and facts["went"]["units"] > 0
    left = [text for text, holds in facts["bounds"] if not holds and ("left" in text or "in hand" in text or "gone" in text)]
    assert left == []
    assert "<polyline" in (tmp_path / "churn.svg").read_text()
