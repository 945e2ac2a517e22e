"""Waiting, ports and processes of this machine: what the tests, the rig of Kubernetes, the soak, the demo and the benchmarks share.
Standard library only."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path


def wait_for(what, condition, timeout_s=30.0, step_s=0.02, is_not_yet=lambda error: False):
    """The first true value of condition(); an error that is_not_yet() says yes to counts as not true."""
    deadline, last = time.monotonic() + timeout_s, None
    while True:
        try:
            if value := condition():
                return value
        except Exception as error:  # noqa: BLE001 - the caller says which
            if not is_not_yet(error):
                raise
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {timeout_s} s" + (f"; last: {last}" if last else ""))
        time.sleep(step_s)


def free_ports(count):
    """Ports that are free on 127.0.0.1 now. Somebody may be faster: whoever takes them tries again with others."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def stat_fields(pid):
    """What stands in /proc/PID/stat behind the name; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def start_time(pid):
    """Clock ticks since boot, None when it is gone or a zombie."""
    fields = stat_fields(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def environments():
    """(pid, its variables as bytes "K=V") of every process that runs and may be looked at."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if start_time(folder.name) is not None:
            yield int(folder.name), variables


def marked(*marks):
    """Pids whose environment holds one of the marks ("K=V")."""
    wanted = {mark.encode() for mark in marks}
    return [pid for pid, variables in environments() if wanted & set(variables)]


def claims():
    """(pid, APP/UNIT/MEMBER/ATTEMPT) of the processes of members; the shims are among them."""
    for pid, variables in environments():
        for variable in variables:
            if variable.startswith(b"ASTRA_CLAIM="):
                yield pid, variable.decode().partition("=")[2]


def members(unit, member=""):
    """Processes of a unit, or of one member of it: pid -> start time."""
    found = {pid: start_time(pid) for pid, claim in claims() if f"/{unit}/{member}" in claim}
    return {pid: started for pid, started in found.items() if started is not None}


def with_descendants(pids):
    """These processes and all below them: a daemon may have cleaned its environment."""
    children = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := stat_fields(folder.name):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, todo = set(), list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return sorted(found)


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
