"""The proxy that stands between a client and an API server does what its script says, and nothing else."""

import json
import threading
import time

import kubeapi
import kubelib
import proxylib
import pytest
from kubelib import wait_for

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def api_server(etcd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxied")
    with kubelib.ControlPlane("proxied", folder, etcd, controllers=False, scheduler=False) as plane:
        wait_for("the namespace", lambda: plane.api.get("namespaces", "default"))
        yield plane


@pytest.fixture
def proxy(api_server):
    with proxylib.Proxy(api_server, certificate=api_server.admin) as proxy:
        proxy.api = kubeapi.Api("127.0.0.1", proxy.port, api_server.authority.certificate)
        proxy.names = iter(f"{time.monotonic_ns()}-{n}" for n in range(1000))
        yield proxy


class Watcher:
    """A watch through the proxy in a thread: what it was told, and how it ended."""

    def __init__(self, proxy):
        self.told, self.end = [], None
        at = proxy.api.request("GET", MAPS)["metadata"]["resourceVersion"]
        self.thread = threading.Thread(target=self._run, args=(proxy, at), daemon=True)
        self.thread.start()
        wait_for("the watch", lambda: proxy.watching("watch .*configmaps"))

    def _run(self, proxy, at):
        try:
            for event in proxy.api.watch("configmaps", resourceVersion=at):
                self.told.append(event)
            self.end = "clean"
        except (OSError, kubeapi.ApiError) as error:
            self.end = error

    def names(self):
        return [(kind, document["metadata"]["name"]) for kind, document in self.told if kind != "BOOKMARK"]

    def wait_end(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), "the watch has not ended"
        return self.end


def create(proxy, count=1):
    made = [next(proxy.names) for _ in range(count)]
    for name in made:
        proxy.plane.api.create("configmaps", {"metadata": {"name": name}})
    return made


def test_passes_what_it_is_given(api_server, proxy):
    """Documents, refusals, watches; and the client's own credentials where it has none of its own."""
    watcher, [name] = Watcher(proxy), create(proxy)
    wait_for("the event", lambda: ("ADDED", name) in watcher.names())
    assert proxy.api.get("configmaps", name)["metadata"]["name"] == name and proxy.api.get("configmaps", "none") is None
    proxy.api.patch("configmaps", name, {"data": {"k": "v"}})
    proxy.api.apply("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "w"}})
    assert api_server.api.get("configmaps", name)["data"] == {"k": "w"}
    with proxylib.Proxy(api_server) as plain, pytest.raises(kubeapi.ApiError) as refused:
        kubeapi.Api("127.0.0.1", plain.port, api_server.authority.certificate, token="nobody").list("configmaps")
    assert refused.value.status == 401


def test_kubectl_works_through_it(api_server, proxy):
    create(proxy)
    path = api_server.kubeconfig("through", token="any", server=proxy.url, file="through.kubeconfig")
    assert api_server.kubectl("--kubeconfig", path, "get", "configmaps", "-o", "name").count("configmap/") >= 1
    assert proxy.asked("GET .*configmaps")


@pytest.mark.parametrize("status, header", [(429, "3"), (503, "1"), (500, None), (401, None), (410, None)])
def test_answers_by_script(proxy, status, header):
    proxy.answer(status, "GET .*configmaps", times=2, retry_after=header)
    for _ in range(2):
        with pytest.raises(kubeapi.ApiError) as refused:
            proxy.api.list("configmaps")
        assert refused.value.status == status and refused.value.headers.get("Retry-After") == header
    proxy.api.list("configmaps")
    assert [entry[2] for entry in proxy.asked("GET .*configmaps")] == [status, status, 200]


def test_slow(proxy):
    """It waits, and then is passed on; what was written is kept."""
    proxy.slow(0.3, "POST .*configmaps", times=1)
    began = time.monotonic()
    proxy.api.create("configmaps", {"metadata": {"name": next(proxy.names)}})
    assert time.monotonic() - began >= 0.3
    asked, body = proxy.writes[-1]
    assert asked == f"POST {MAPS}" and body["metadata"]["name"]


def test_ends_cuts_and_cuts_in_a_line(proxy):
    for act, clean in ((proxy.end, True), (proxy.cut, False), (proxy.cut_in_line, False)):
        watcher = Watcher(proxy)
        assert act("watch .*configmaps") == 1
        create(proxy)
        end = watcher.wait_end()
        assert (end == "clean") == clean and isinstance(end, str if clean else OSError), (act, end)


def test_stalls_and_resumes(proxy):
    watcher = Watcher(proxy)
    assert proxy.stall("watch .*configmaps") == 1
    [name] = create(proxy)
    time.sleep(0.5)
    assert watcher.names() == []
    proxy.resume()
    wait_for("the event", lambda: watcher.names() == [("ADDED", name)])


def test_repeats_reorders_garbles_and_expires(proxy):
    proxy.lines("watch .*configmaps", proxylib.repeat, times=1)
    watcher, [a, b] = Watcher(proxy), create(proxy, 2)
    wait_for("each twice", lambda: watcher.names() == [("ADDED", name) for name in (a, a, b, b)])
    proxy.lines("watch .*configmaps", proxylib.reorder, times=1)
    watcher, [c, d] = Watcher(proxy), create(proxy, 2)
    wait_for("the other order", lambda: watcher.names() == [("ADDED", d), ("ADDED", c)])
    proxy.lines("watch .*configmaps", proxylib.garble, times=1)
    watcher, _ = Watcher(proxy), create(proxy, 2)
    assert isinstance(watcher.wait_end(), OSError) and len(watcher.told) == 1
    proxy.lines("watch .*configmaps", proxylib.expired(1), times=1)
    watcher, _ = Watcher(proxy), create(proxy)
    assert watcher.wait_end() == "clean" and [kind for kind, _ in watcher.told] == ["ADDED", "ERROR"]
    assert watcher.told[1][1]["code"] == 410


def test_refuses_swallows_and_heals(proxy):
    watcher = Watcher(proxy)
    proxy.refuse()
    assert isinstance(watcher.wait_end(), OSError)
    with pytest.raises(OSError):
        proxy.api.list("configmaps")
    proxy.heal()
    proxy.api.list("configmaps")
    proxy.swallow()
    with pytest.raises(TimeoutError):
        proxy.api.request("GET", MAPS, timeout_s=1)
    proxy.heal()
    assert json.dumps(proxy.api.list("configmaps"))


def test_an_api_server_that_is_away(api_server, proxy):
    """Neither an answer nor a clean end: as at its own port."""
    watcher = Watcher(proxy)
    api_server.apiserver.kill()
    try:
        assert isinstance(watcher.wait_end(), OSError)
        with pytest.raises(OSError):
            proxy.api.list("configmaps")
    finally:
        api_server.apiserver.start()
    proxy.api.list("configmaps")
