"""tools/demo, interrupted: whatever it was doing, nothing of it runs on. (The whole demo is a suite of its own.)"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from proclib import marked, wait_for
from uplib import Up

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


def test_out_of_routing(tmp_path):
    """From the kill to the gateway's last pick of that unit, whether the request was answered there or elsewhere."""
    from demolib.phases import Kill
    from demolib.world import DemoError, Screen, World, wall_seconds

    def line(second, unit, picked_us, *earlier):
        tries = [{"unit": name, "endpoint": "127.0.0.1:1", "picked_us": us} for name, us in earlier]
        whole = {"time": f"2026-01-01T00:00:{second:06.3f}Z", "unit": unit, "picked_us": picked_us, "status": 200}
        return json.dumps({**whole, "earlier": tries} if tries else whole) + "\n"

    world = World(Screen())
    world.access_log = tmp_path / "access.log"
    kill = Kill(world, None, True)
    kill.at, kill.victim = wall_seconds("2026-01-01T00:00:10Z"), "ocr-a"
    before = line(9.9, "ocr-a", 50_000) + line(9.95, "ocr-b", 300_000, ("ocr-a", 20_000))
    others = line(10.4, "ocr-b", 90_000, ("ocr-b", 100), ("ocr-c", 200)) + line(20, "ocr-b", 10) + '{"time":"x","status":404}\n'
    world.access_log.write_text(before + others)
    assert kill.out_of_routing_ms() == 0
    world.access_log.write_text(before + line(10.1, "ocr-b", 900_000, ("ocr-a", 100_000), ("ocr-b", 500_000)) + others)
    assert round(kill.out_of_routing_ms()) == 200
    world.access_log.write_text(others)
    with pytest.raises(DemoError, match="does not know ocr-a"):
        kill.out_of_routing_ms()
