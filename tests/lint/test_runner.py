"""tools/test counts what happened, and a suite that goes wrong in any way is a failure; bench/run refuses malformed rows."""

import contextlib
import importlib.machinery
import importlib.util
import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name, path):
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def runner(tmp_path, monkeypatch):
    module = load("runner", "tools/test")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "OUT", tmp_path)
    monkeypatch.setattr(module.sys, "argv", ["test"])
    module.kill_leftovers = lambda grace_s, real=module.kill_leftovers: real(min(grace_s, 0.2))

    def run(*commands):
        module.SUITES = [
            module.Suite(f"s{i}", 1, ["bash", "-c", command], module.count_last_line) for i, command in enumerate(commands)
        ]
        status = module.main()
        return status, json.loads((tmp_path / "summary.json").read_text())

    return run


def test_sums_what_suites_say(runner, capfd):
    status, summary = runner("echo 3 passed, 0 failed", "echo 4 passed, 0 failed")
    assert status == 0 and summary["passed"] == 7
    assert capfd.readouterr().out.splitlines()[-1] == "7 passed, 0 failed"


@pytest.mark.parametrize(
    "command, passed, failed",
    [
        ("echo 2 passed, 3 failed; exit 1", 2, 3),
        ("echo 2 passed, 0 failed; exit 1", 2, 1),
        ("echo 2 passed, 0 failed; kill -SEGV $$", 2, 1),
        ("true", 0, 1),
        ("echo 1 passed, 0 failed; sleep 60 >/dev/null 2>&1 &", 1, 1),
        ("echo 1 passed, 0 failed; setsid sleep 60 >/dev/null 2>&1 & exit 0", 1, 1),
    ],
)
def test_what_goes_wrong_fails_and_the_next_suite_runs(runner, capfd, command, passed, failed):
    status, summary = runner(command, "echo 5 passed, 0 failed")
    assert status == 1
    assert (summary["passed"], summary["failed"]) == (passed + 5, failed)
    assert capfd.readouterr().out.splitlines()[-1] == f"{passed + 5} passed, {failed} failed"


def test_a_suite_left_out_says_why(tmp_path, monkeypatch, capfd):
    """Kubernetes is built for whoever names kube-setup and where CI is set; nobody else waits for it."""
    module = load("runner", "tools/test")
    for name, value in (("OUT", tmp_path), ("no_kubernetes", lambda named: "not built")):
        monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("CI", raising=False)
    suite = module.Suite("kube-setup", 1, ["true"], lambda suite, log: (1, 0, 0), why_not=module.no_kubernetes_wanted)
    assert module.run_or_skip(suite, False) == (0, 0, 1, ["skipped: not built"])
    assert capfd.readouterr().out == "skipped: not built\n"
    assert module.run_or_skip(suite, True) == (1, 0, 0, [])
    monkeypatch.setenv("CI", "true")
    assert module.run_or_skip(suite, False) == (1, 0, 0, [])


SLEEPS = "import subprocess; subprocess.Popen(['sleep', '4711']); subprocess.run(['sleep', '4712'])\n"
REPORTS = """
import json, os, sys
from pathlib import Path
while os.sched_getscheduler(0) == os.SCHED_IDLE:
    pass
print("as urgent as any")
Path("behind.json").write_text(json.dumps({"suites": {"lint": [7, 1, 0, ["why"], 3]}}))
sys.exit(1)
"""


@pytest.fixture
def behind(tmp_path, monkeypatch):
    """Starts that program in place of this one."""
    module = load("runner", "tools/test")
    for name in ("OUT", "ROOT"):
        monkeypatch.setattr(module, name, tmp_path)
    program = tmp_path / "program.py"

    def start(text):
        program.write_text(text)
        monkeypatch.setattr(module, "BEHIND", module.Behind(str(program)))
        module.BEHIND.start(["lint", "sim"])
        return module

    return start


def sleepers(count):
    """Waits until there are so many."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True).stdout.splitlines()
        found = [line for line in lines if line in ("sleep 4711", "sleep 4712")]
        if len(found) == count:
            return True
        time.sleep(0.05)
    return False


def test_what_runs_behind_is_no_leftover(behind):
    """Neither it nor what it starts is ended after a suite; it is asked to end when the run is interrupted."""
    module = behind(SLEEPS)
    pids = []
    try:
        assert sleepers(2)
        pids = list(module.descendants(module.BEHIND.process.pid))
        subprocess.Popen(["sleep", "4713"])
        assert module.kill_leftovers(0.1) == ["sleep 4713"]
        assert sleepers(2) and len(pids) == 2
        process = module.BEHIND.process
        module.BEHIND.stop()
        assert process.returncode == -signal.SIGTERM
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert sleepers(0)


def test_results_from_behind_are_taken_in(behind, capfd):
    """At the join it is as urgent as any; what it printed is seen, its failures count, and so does an end without a report."""
    module = behind(REPORTS)
    assert module.BEHIND.join() == {"lint": [7, 1, 0, ["why"], 3]}
    assert capfd.readouterr().out == "as urgent as any\n"
    assert module.BEHIND.join() == {}
    module = behind("raise SystemExit(0)")
    lost = (0, 1, 0, ["its run ended without a report"], 0)
    assert module.BEHIND.join() == {"lint": lost, "sim": lost}


def test_order_of_suites(monkeypatch, tmp_path):
    """What only computes runs behind e2e and the demo, and alone where neither is wanted."""
    module = load("runner", "tools/test")
    ran = []
    monkeypatch.setattr(module, "no_kubernetes", lambda named: "not built")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(module, "run_or_skip", lambda suite, named: ran.append(suite.name) or (1, 0, 0, []))
    monkeypatch.setattr(module.BEHIND, "start", lambda names: ran.append(names))
    monkeypatch.setattr(module.BEHIND, "join", lambda: ran.append("join") or {})
    module.run_wanted([suite.name for suite in module.SUITES], [], {})
    start = ran.index(["build-sanitized", "lint", "sim"])
    assert ran[start + 1 : start + 4] == ["e2e", "demo", "join"] and set(ran[ran.index("demo") :]) > {"address", "thread", "fuzz", "kube"}
    ran.clear()
    module.run_wanted(["build", "lint", "sim", "address"], [], {})
    assert [name for name in ran if name != "join"] == ["build", "lint", "sim", "address"]


def test_counts_cases_of_cmocka_and_crashed_programs(tmp_path):
    module = load("runner", "tools/test")
    tests = [
        {"result": "OK", "stderr": "[  PASSED  ] 7 test(s).\n"},
        {"result": "OK", "stdout": "no cmocka\n"},
        {"result": "FAIL", "stderr": "[  PASSED  ] 2 test(s).\n[  FAILED  ] 3 test(s), listed below:\n[  FAILED  ] x\n"},
        {"result": "FAIL", "stderr": "Segmentation fault\n"},
        {"result": "TIMEOUT"},
        {"result": "SKIP"},
    ]
    results = tmp_path / "log.json"
    results.write_text("".join(json.dumps(test) + "\n" for test in tests))
    suite = module.Suite("unit", 1, [], module.count_meson)
    suite.results = results
    assert module.count_meson(suite, None) == (7 + 1 + 2, 3 + 1 + 1, 1)


def test_counts_pytest(tmp_path):
    module = load("runner", "tools/test")
    suite = module.Suite("e2e", 1, [], module.count_pytest)
    suite.results = tmp_path / "x.xml"
    suite.results.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>')
    assert module.count_pytest(suite, None) == (3, 3, 3)


ROW = {"name": "x.a", "value": 3, "unit": "ratio", "peer": "y", "peer_value": 1, "ratio": 3, "runs": [3], "note": ""}


@pytest.mark.parametrize(
    "changes, wrong",
    [
        ({"value": "3"}, "'value'"),
        ({"value": math.nan}, "'value'"),
        ({"value": True}, "'value'"),
        ({"name": "y.a"}, "does not begin"),
        ({"unit": None}, "'unit'"),
        ({"min": "1"}, "'min'"),
        ({"mni": 1}, "unknown field 'mni'"),
    ],
)
def test_bench_refuses_malformed_rows(changes, wrong):
    bench = load("bench", "bench/run")
    assert wrong in bench.row_errors("x", json.dumps(ROW | changes))[1]
    assert "'note'" in bench.row_errors("x", json.dumps({k: v for k, v in ROW.items() if k != "note"}))[1]
    assert bench.row_errors("x", "hello")[1] == "not a line of JSON"
    assert bench.row_errors("x", json.dumps(ROW | {"peer": None, "peer_value": None, "ratio": None}))[1] is None


def test_bench_judges_bounds():
    bench = load("bench", "bench/run")
    row, error = bench.row_errors("x", json.dumps(ROW | {"value": 2.9, "min": 3}))
    assert error is None and bench.row_verdict(row)[1] is False and "MISS" in bench.row_verdict(row)[0]
    assert bench.row_verdict(ROW | {"min": 3, "max": 4})[1] is True
    assert bench.row_verdict(ROW) == (None, True)
