"""The tests of disasters, each once on Ray itself; in CI they run on its stand-in (tests/e2e/fakeray)."""

import os
import subprocess
import time
import xml.etree.ElementTree as xml

from .world import OUT, ROOT

NAME = "disasters"


def command(options, results):
    python = ROOT / "build" / "venv" / "bin" / "python"
    files = sorted(str(path) for path in (ROOT / "tests" / "e2e").glob("test_disasters_*.py"))
    return [python, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-ra", f"--junitxml={results}", *(["-k", options.only] if options.only else []), *files]


def outcome(case):
    for word in ("failure", "error", "skipped"):
        found = case.find(word)
        if found is not None:
            return word, (found.get("message") or "").splitlines()[:1]
    return "passed", []


def run(options):
    """Whether all of them passed."""
    OUT.mkdir(parents=True, exist_ok=True)
    results, log = OUT / f"{NAME}.xml", OUT / f"{NAME}.log"
    results.unlink(missing_ok=True)
    env = {**os.environ, "ASTRA_TEST_RAY": "stand-in" if options.stand_in else "real"}
    began = time.monotonic()
    with open(log, "w") as copy, subprocess.Popen(
        command(options, results), cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            copy.write(line)
            copy.flush()
            if "::" in line:
                print(f"{NAME}: {(time.monotonic() - began) / 60:5.1f} min  {line.strip()}", flush=True)
    cases = list(xml.parse(results).getroot().iter("testcase")) if results.exists() else []
    counts = {"passed": 0, "skipped": 0, "failure": 0, "error": 0}
    print()
    for case in cases:
        how, why = outcome(case)
        counts[how] += 1
        name = f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}"
        print(f"{how:8} {float(case.get('time')):7.1f} s  {name} {''.join(why)[:150]}")
    bad = counts["failure"] + counts["error"] + (process.returncode not in (0, 1)) + (not cases)
    print(f"{NAME}: {counts['passed']} passed, {bad} failed, {counts['skipped']} skipped (build/soak/{NAME}.log)", flush=True)
    return bad == 0
