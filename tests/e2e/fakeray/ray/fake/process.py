"""Forking with a name, as Ray's processes have names in /proc/PID/comm."""

import ctypes
import os
import sys
import traceback

PR_SET_NAME, PR_SET_PDEATHSIG = 15, 1
libc = ctypes.CDLL(None)


def name_me(name):
    libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def log_to(path):
    with open(path, "ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def fork(name, main, *args):
    """The child's pid. The child runs main(*args) and ends; it dies with its parent."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        name_me(name)
        status = main(*args) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
