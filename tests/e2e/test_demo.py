"""tools/demo, interrupted: whatever it was doing, nothing of it runs on. (The whole demo is a suite of its own.)"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from uplib import Up, marked, wait_for

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "build" / "demo" / "data"
sys.path.insert(0, str(ROOT / "tools"))


@pytest.mark.parametrize("when, more_s", [("== The platform", 0.0), ("Astra is up", 0.5), ("$ astra deploy", 2.0)])
def test_interrupted(tmp_path, when, more_s):
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, ROOT / "tools" / "demo"], stdout=out, stderr=out, process_group=0, env={**os.environ, "RETRY": ""}
        )
    try:
        wait_for(when, lambda: when in log.read_text(errors="replace") or process.poll() is not None, 120)
        time.sleep(more_s)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    said = log.read_text(errors="replace")
    assert process.returncode == 1 and "demo: interrupted" in said, said
    assert marked(f"ASTRA_UP={DATA}") == []
    left = Up.__new__(Up)
    left.data = DATA
    assert left.pids() == {}
    assert not (DATA / "client.json").exists()


def test_what_is_marked():
    from demolib import reading

    reading.RED, reading.GREEN, reading.PLAIN = "<", "[", ">"
    assert reading.marked("The LinnSequencer", "The LinSequencer!") == "The Li<n>nSequencer[!>"
    assert reading.nearest("abc def", ["xyz", "abd def", ""]) == "abd def"


def test_out_of_routing():
    """From the kill to the last request that still went to the killed unit at first; others that fail do not count."""
    from demolib.phases import Kill
    from demolib.traffic import Traffic

    flow = Traffic("http://127.0.0.1:1", {"page.png": None, "imageTextN.png": None}, [None])
    kill = Kill(None, flow, True)
    kill.at, kill.victim = 100.0, "ocr-a"
    records = [(99.9, "ocr-b", 2), (100.2, "ocr-b", 2), (100.1, "ocr-a", 1), (130.0, "", 0), (120.0, "ocr-b", 1)]
    flow.records = [{"phase": "kill", "time": at, "unit": unit, "tries": tries} for at, unit, tries in records]
    assert round(kill.out_of_routing_ms()) == 200
    flow.records = flow.records[:1]
    assert kill.out_of_routing_ms() == 0
