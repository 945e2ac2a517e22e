"""What the rig leaves behind on the machine: nothing, in whatever way it ends."""

import glob
import os
import subprocess
import sys
from pathlib import Path

import kubeletlib
import podrunner
import pytest
from caretaker import mounts_below, networks, processes
from kubelib import wait_for

OWNER = """
import sys, time
import kubeapi, kubeletlib, kubelib, podrunner, test_rig
from pathlib import Path

with kubelib.clusters(Path(sys.argv[1]), "a") as [plane]:
    with podrunner.PodRunner(plane, "n", {test_rig.IMAGE: {}}) as node, kubeletlib.Kubelet(plane, images=[kubeletlib.busybox()], subnet=1) as real:
        shm = {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}], "volumeMounts": [{"name": "v", "mountPath": "/dev/shm"}]}
        plane.api.create("pods", test_rig.pod("p", "sleep 1001 & exec sleep 1002", node="n", **shm))
        plane.api.create("pods", test_rig.pod("q", "sleep 1003 & exec sleep 1004", test_rig.BUSYBOX, "localhost", **shm))
        for name in "pq":
            plane.wait_pod(name, "Running", True, timeout_s=120)
        print(node.folder, real.folder, flush=True)
        sys.stdin.read()
"""


def settings_and_links():
    return kubeletlib.read_settings(), sorted(os.listdir("/sys/class/net")), sorted(glob.glob("/run/netns/*"))


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_nothing_is_left(tmp_path, how):
    """Neither when the block ends nor when the test is killed: processes, mounts, networks, cgroups, kernel settings, folders."""
    why = kubeletlib.why_not() or podrunner.why_not()
    if why:
        pytest.skip(why)
    before = settings_and_links()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folders = owner.stdout.readline().split()
    assert len(folders) == 2 and all(mounts_below(folder) and processes(folder) for folder in folders)
    assert settings_and_links() != before
    if how == "killed":
        owner.kill()
    owner.stdin.close()
    owner.wait(120)

    def left():
        lines = [line for folder in [*folders, str(tmp_path)] for line in (*processes(folder), *mounts_below(folder))]
        return [*lines, *(folder for folder in folders if os.path.exists(folder)), *networks(f"astra-{Path(folders[1]).name}")]

    wait_for("the caretakers", lambda: not left(), 60)
    settings, links, networks_left = settings_and_links()
    # what pods of tests before had may go meanwhile
    assert settings == before[0] and set(links) <= set(before[1]) and set(networks_left) <= set(before[2]) and not sleepers()


def sleepers():
    """Processes of the pods above, wherever they are."""
    words = [f"sleep\0{n}\0".encode() for n in range(1001, 1005)]
    return [path for path in glob.glob("/proc/[0-9]*/cmdline") if read_or_empty(path) in words]


def read_or_empty(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
