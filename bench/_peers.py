"""Programs to compare with, from Debian's packages, unpacked under build/bench/peers and never installed: no service is started
and nothing of the machine is changed. And what benchmarks share: pinning, counting CPU time, wrk, and where the tests' and tools'
libraries are found."""

import hashlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
ASTRA = ROOT / "build" / "src" / "astra"
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tools")]
TICKS = os.sysconf("SC_CLK_TCK")


def debian(*packages):
    """A folder with these packages unpacked; fetched on first use."""
    folder = WORK / "peers" / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    if not (folder / ".done").exists():
        print(f"fetching {' '.join(packages)}", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o755)
        subprocess.run(["apt-get", "-q", "download", *packages], cwd=folder, check=True, stdout=sys.stderr)
        for archive in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
            archive.unlink()
        (folder / ".done").touch()
    return folder


def libraries(folder):
    """The environment in which a program of that folder finds its libraries."""
    return {**os.environ, "LD_LIBRARY_PATH": f"{folder}/usr/lib/x86_64-linux-gnu:{folder}/lib/x86_64-linux-gnu"}


def http_peer():
    """bench/http_peer.c, built."""
    source, binary = ROOT / "bench" / "http_peer.c", WORK / "http_peer"
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", binary, source], check=True)
    return binary


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of a process with all its threads; its resolution is that of the kernel's scheduler."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def wrk(core, port, connections, seconds, path="/"):
    """(requests, requests a second, median latency in microseconds); an answer that is not 2xx is an error."""
    command = ["taskset", "-c", core, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
               f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"wrk at port {port}:\n{text}")
    total, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    median = re.search(r"^\s+50%\s+(\S+)", text, re.M)
    return int(total[1]), float(rate[1]), microseconds(median[1])
