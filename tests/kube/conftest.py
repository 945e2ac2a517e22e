"""What all tests on real Kubernetes share: the control planes live as long as the run, each test's objects in a namespace of its own."""

import os
import re
import subprocess

import kubeletlib
import kubelib
import podrunner
import pytest
import sitelib

IMAGE = "astra.local/image:1"


@pytest.fixture(scope="session")
def etcd(tmp_path_factory):
    why = kubelib.why_not()
    if why:
        pytest.skip(why)
    with kubelib.Etcd(tmp_path_factory.mktemp("etcd")) as etcd:
        yield etcd


@pytest.fixture(scope="session")
def plane(etcd, tmp_path_factory):
    """The control plane that tests share who do it no harm."""
    with kubelib.ControlPlane("shared", tmp_path_factory.mktemp("plane"), etcd) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubelet(plane):
    """A node of the shared control plane with the real kubelet; it has busybox, and what tests load."""
    why = kubeletlib.why_not()
    if why:
        pytest.skip(why)
    node = kubeletlib.Kubelet(plane, images=[kubeletlib.busybox()])
    with node:
        yield node
    assert node.leftovers() == []


def make_image(path, **environment):
    words = [kubelib.ROOT / "tools" / "image", "-o", path, "--name", IMAGE]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """The image of this build, as tools/image makes it: its file."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    make_image(path)
    return path


@pytest.fixture(scope="session")
def loaded_image(kubelet, image):
    """Its name, on the node with the real kubelet."""
    kubelet.load([kubeletlib.Archive(IMAGE, image)])
    return IMAGE


@pytest.fixture
def namespace(plane, request):
    """A namespace of the shared control plane for one test, with its default service account."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    plane.api.create("namespaces", {"metadata": {"name": name}})
    kubelib.wait_for("its service account", lambda: plane.api.get("serviceaccounts", "default", name), 60)
    yield name
    plane.api.delete("namespaces", name)


@pytest.fixture(scope="session")
def sites(etcd, tmp_path_factory):
    """Two clusters for tests of one app in both. They leave them as they found them; only the last one, test_two_clusters.py, may
    take one away."""
    why = podrunner.why_not()
    if why:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("sites")
    with sitelib.Site("east", folder, etcd, 2, kubelet=True) as east, sitelib.Site("west", folder, etcd, apart=True) as west:
        yield {"east": east, "west": west}
        assert [refused for site in (east, west) for node in site.nodes for refused in getattr(node, "refused", ())] == []
