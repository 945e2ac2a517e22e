"""The image that tools/image makes: a valid OCI layout, the same bytes each time, and containers of it run under the real kubelet."""

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest
from conftest import IMAGE as NAME
from conftest import make_image
from kubelib import wait_for

USER = 65532
MOST_MIB = 48  # 38 today


@pytest.fixture(scope="module")
def files(image):
    with tarfile.open(image) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def blob(files, descriptor):
    """What a descriptor means, checked as a registry would."""
    data = files[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
    assert len(data) == descriptor["size"]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    return data


def test_the_layout_is_valid(files):
    """Every descriptor finds its blob with its size and digest, no blob is left over, and docker's manifest says the same."""
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == NAME
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    layers = [blob(files, layer) for layer in manifest["layers"]]
    assert [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers] == config["rootfs"]["diff_ids"]
    named = {entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert {f"sha256:{name.rpartition('/')[2]}" for name in files if name.startswith("blobs/")} == named
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == [NAME] and docker["Config"].endswith(manifest["config"]["digest"][7:])
    assert [path.rpartition("/")[2] for path in docker["Layers"]] == [layer["digest"][7:] for layer in manifest["layers"]]
    assert config["config"]["User"] == f"{USER}:{USER}" and config["config"]["Entrypoint"] == ["/usr/local/bin/astra"]


def test_the_layers_are_plain(files, image):
    """Sorted, of one time, root's but for the data folder, nothing that is more than its permissions, and small."""
    (docker,) = json.loads(files["manifest.json"])
    for path in docker["Layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(files[path]))) as tar:
            members = tar.getmembers()
        assert [m.name for m in members] == sorted({m.name for m in members})
        assert len({m.mtime for m in members}) == 1
        assert {m.name for m in members if (m.uid, m.gid) != (0, 0)} <= {"var/lib/astra"}
        assert all(m.isfile() or m.isdir() or m.issym() for m in members)
        assert not [m.name for m in members if m.mode & 0o6000 or (m.mode & 0o022 and m.isfile())]
    assert image.stat().st_size < MOST_MIB << 20


def test_two_builds_are_equal(image, tmp_path):
    """Elsewhere, in another zone, with another umask; another time of the commit is another image."""
    (tmp_path / "tmp").mkdir()
    before = os.umask(0o077)
    try:
        make_image(tmp_path / "again.tar", TZ="Asia/Kathmandu", TMPDIR=str(tmp_path / "tmp"), LC_ALL="C")
    finally:
        os.umask(before)
    assert (tmp_path / "again.tar").read_bytes() == image.read_bytes()


def container(name, *args, **more):
    return {"name": name, "image": NAME, "imagePullPolicy": "Never", "args": list(args), **more}


def test_its_containers_run(plane, kubelet, namespace, loaded_image):
    """The server becomes ready as nobody in particular, on a root that it may not write; Ray's bash is there; PID 1 is init."""
    data = {"name": "data", "mountPath": "/var/lib/astra"}
    server = container(
        "server", "server", "--data", "/var/lib/astra/server", "--api", "0.0.0.0:7700", "--starlink", "0.0.0.0:7701",
        readinessProbe={"httpGet": {"path": "/healthz", "port": 7700, "scheme": "HTTPS"}, "periodSeconds": 1}, volumeMounts=[data],
        securityContext={
            "readOnlyRootFilesystem": True, "runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        },
    )  # fmt: skip
    volumes = [{"name": "data", "emptyDir": {}}]
    node = {"nodeSelector": {"type": "kubelet"}}
    pod = {"metadata": {"name": "server"}, "spec": {"containers": [server], "volumes": volumes, **node}}
    plane.api.create("pods", pod, namespace)
    plane.wait_pod("server", "Running", True, namespace)
    inside = ["exec", "-n", namespace, "server", "--"]
    assert plane.kubectl(*inside, "bash", "-c", "echo $UID $HOME $PATH").split() == [
        str(USER), "/var/lib/astra", "/usr/local/bin:/usr/bin:/bin",
    ]  # fmt: skip
    assert "astra 0." in plane.kubectl(*inside, "astra", "version")
    again = {"metadata": {"name": "once"}, "spec": {"containers": [container("c", "init", "--help")], "restartPolicy": "Never", **node}}
    plane.api.create("pods", again, namespace)
    plane.wait_pod("once", "Succeeded", namespace=namespace)
    said = wait_for("its log", lambda: plane.kubectl("logs", "-n", namespace, "once"))
    assert "PID 1 of a pod" in said
