"""The rig itself: what tests of Astra on Kubernetes believe of it."""

import os
import re
import signal
import time
from pathlib import Path

import kubeapi
import kubelib
import podcontainer
import podrunner
import pytest
from kubelib import wait_for

IMAGE = "astra.local/system:1"
BUSYBOX = "astra.local/busybox:1"


def pod(name, script, image=IMAGE, node=None, **spec):
    container = {"name": "c", "image": image, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", script]}
    container.update({key: spec.pop(key) for key in list(spec) if key in podcontainer.CONTAINER_FIELDS})
    selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **selector, **spec}}


def hook(script):
    return {"preStop": {"exec": {"command": ["/bin/sh", "-c", script]}}}


@pytest.fixture(scope="session")
def runner(plane):
    why = podrunner.why_not()
    if why:
        pytest.skip(why)
    with podrunner.PodRunner(plane, "node-a", {IMAGE: {}}, backoff_s=3.0, sync_s=0.2) as node:
        yield node
        assert {key for key, _ in node.refused} <= {"test-refuses-a-stranger/p"}


def gone_after(plane, name, namespace, grace_s=None):
    began = time.monotonic()
    plane.api.delete("pods", name, namespace, grace_s)
    plane.wait_pod(name, None, namespace=namespace)
    return time.monotonic() - began


# the control plane


def test_users_may_what_their_roles_say(plane, namespace):
    """RBAC is in force: a service account's token and a certificate are told apart and may nothing by themselves."""
    with pytest.raises(kubeapi.ApiError) as refused:
        plane.api_as(plane.token("default", namespace)).list("pods", namespace)
    assert refused.value.status == 403
    with pytest.raises(kubeapi.ApiError) as unknown:
        plane.api_as("nobody").list("pods", namespace)
    assert unknown.value.status == 401
    plane.kubectl("create", "rolebinding", "v", "--clusterrole=view", f"--serviceaccount={namespace}:default", "-n", namespace)
    mine = plane.api_as(plane.token("default", namespace))
    wait_for("the role", lambda: mine.list("pods", namespace) == [])


def test_the_version_is_stamped(plane):
    assert plane.api.request("GET", "/version")["gitVersion"] == "v1.37.2"


def test_an_api_server_dies_and_comes_back(etcd, tmp_path):
    """Its port, its objects and tokens stay; a watch ends when it is killed."""
    with kubelib.ControlPlane("mortal", tmp_path, etcd, controllers=False, scheduler=False) as plane:
        port, made = plane.port, plane.api.create("configmaps", {"metadata": {"name": "kept"}})
        watch = plane.api.watch("configmaps")
        assert next(watch)[0] == "ADDED"
        plane.apiserver.kill()
        assert [kind for kind, _ in _until_it_fails(watch) if kind != "BOOKMARK"] == []
        with pytest.raises(OSError):
            plane.api.list("configmaps")
        plane.apiserver.start()
        assert plane.port == port and plane.api.get("configmaps", "kept")["metadata"]["uid"] == made["metadata"]["uid"]


def _until_it_fails(watch):
    try:
        yield from watch
    except OSError:
        return


def test_a_watch_ends_by_itself(plane, namespace):
    """With its time-out, cleanly, and can be taken up from where it was."""
    began = time.monotonic()
    listed = plane.api.request("GET", plane.api.path("configmaps", namespace))["metadata"]["resourceVersion"]
    assert [
        kind for kind, _ in plane.api.watch("configmaps", namespace, timeout_s=2, resourceVersion=listed) if kind != "BOOKMARK"
    ] == []
    assert 1 <= time.monotonic() - began < 60
    plane.api.create("configmaps", {"metadata": {"name": "later"}}, namespace)
    assert next(plane.api.watch("configmaps", namespace, resourceVersion=listed))[1]["metadata"]["name"] == "later"


def test_two_control_planes_share_an_etcd_and_nothing_else(etcd, plane, tmp_path):
    with kubelib.ControlPlane("other", tmp_path, etcd, controllers=False, scheduler=False) as other:
        other.api.create("configmaps", {"metadata": {"name": "only-here"}})
        assert plane.api.get("configmaps", "only-here") is None
        with pytest.raises(OSError):  # another CA
            kubeapi.Api("127.0.0.1", other.port, plane.authority.certificate, certificate=plane.admin).list("nodes")


def test_kwok_runs_pods_on_many_nodes(plane, namespace):
    nodes = plane.kwok_nodes(20)
    for n in range(40):
        plane.api.create("pods", pod(f"p{n}", "true", nodeSelector={"type": "kwok"}), namespace)
    running = wait_for(
        "40 pods",
        lambda: (found := plane.api.list("pods", namespace, fieldSelector="status.phase=Running")) and len(found) == 40 and found,
        120,
    )
    assert {p["spec"]["nodeName"] for p in running} <= set(nodes)
    assert gone_after(plane, "p0", namespace) < 30
    for name in nodes:
        plane.api.delete("nodes", name)


# pods as processes


def test_a_pod_is_scheduled_and_runs(plane, runner, namespace):
    plane.api.create("pods", pod("p", "echo hello; exec sleep 1000", node=runner.name), namespace)
    seen = plane.wait_pod("p", "Running", True, namespace)
    assert seen["spec"]["nodeName"] == runner.name and seen["status"]["podIP"].startswith("127.")
    assert runner.log("p", namespace=namespace) == "hello\n"
    assert kubeapi.condition(seen, "PodScheduled") == "True"  # the scheduler's own is left alone


def test_it_is_the_first_process_and_has_few_rights(plane, runner, namespace):
    script = "echo $$$$; grep CapEff /proc/self/status; hostname; ls /proc | grep -c '^[0-9]'; exec sleep 1000"
    plane.api.create("pods", pod("p", script, node=runner.name), namespace)
    plane.wait_pod("p", namespace=namespace)
    log = wait_for("its log", lambda: (text := runner.log("p", namespace=namespace)).count("\n") >= 4 and text)
    pid, rights, hostname, processes = log.splitlines()[:4]
    assert pid == "1" and rights.endswith("00000000a80425fb") and hostname == "p" and int(processes) <= 4
    assert runner.exec("p", ["/bin/sh", "-c", "exit 3"], namespace=namespace)[0] == 3


def ending_pod(name, image, node):
    """preStop takes 3 s, TERM 4 s; the grace is 30 s."""
    script = 'trap "echo TERM; sleep 4; echo bye; exit 0" TERM; echo start; while :; do sleep 0.1; done'
    more = {"lifecycle": hook("echo preStop >/proc/1/fd/1; sleep 3"), "terminationGracePeriodSeconds": 30}
    return pod(name, script, image, node, **more)


def deaf_pod(name, image, node, grace_s=2, **more):
    return pod(name, 'trap "" TERM; while :; do sleep 0.1; done', image, node, terminationGracePeriodSeconds=grace_s, **more)


def test_pre_stop_then_term_then_gone(plane, runner, namespace):
    plane.api.create("pods", ending_pod("p", IMAGE, runner.name), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    took = gone_after(plane, "p", namespace)
    said = runner.times("p", namespace)
    when = {what: at for at, what in said}
    assert 7.0 <= took < 30, said
    assert 2.9 <= when["c TERM"] - when["c preStop"] and 3.9 <= when["c ended 0"] - when["c TERM"]


def test_term_ignored_is_killed_at_the_grace(plane, runner, namespace):
    plane.api.create("pods", deaf_pod("p", IMAGE, runner.name), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    assert 2.0 <= gone_after(plane, "p", namespace) < 20  # 30 s are the default
    assert [what for _, what in runner.times("p", namespace)][-4:] == ["c KILL", "c ended 137", "all containers ended", "gone"]


def test_a_pre_stop_too_long_leaves_two_seconds(plane, runner, namespace):
    more = {"lifecycle": hook("sleep 60"), "terminationGracePeriodSeconds": 2}
    script = 'trap "echo TERM; exit 0" TERM; while :; do sleep 0.1; done'
    plane.api.create("pods", pod("p", script, node=runner.name, **more), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    assert 2.0 <= gone_after(plane, "p", namespace) < 30
    words = [what for _, what in runner.times("p", namespace)]
    assert "c preStop not completed in grace period" in words and "c TERM" in words and "c ended 0" in words


def test_no_grace_no_pre_stop(plane, runner, namespace):
    more = {"lifecycle": hook("touch /kept/hook"), "volumes": [{"name": "v", "emptyDir": {}}]}
    mounts = [{"name": "v", "mountPath": "/kept"}]
    plane.api.create("pods", deaf_pod("p", IMAGE, runner.name, 30, volumeMounts=mounts, **more), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    assert gone_after(plane, "p", namespace, grace_s=0) < 20
    wait_for("its end", lambda: any(what == "all containers ended" for _, what in runner.times("p", namespace)))
    words = [what for _, what in runner.times("p", namespace)]
    assert "c KILL" in words and not any("preStop" in what or "TERM" in what for what in words)


def test_a_second_delete_shortens(plane, runner, namespace):
    plane.api.create("pods", deaf_pod("p", IMAGE, runner.name, 60), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    plane.api.delete("pods", "p", namespace)
    time.sleep(0.5)
    assert gone_after(plane, "p", namespace, grace_s=1) < 30


def test_readiness_liveness_and_back_off(plane, runner, namespace):
    """Readiness follows its probe; a failed liveness probe ends the container in grace; then back-off."""
    probes = {
        "readinessProbe": {
            "exec": {"command": ["/bin/sh", "-c", "test -e /tmp/ready"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 1,
        },
        "livenessProbe": {
            "exec": {"command": ["/bin/sh", "-c", "test ! -e /tmp/sick"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 2,
        },
    }
    more = {"terminationGracePeriodSeconds": 1, **probes}
    plane.api.create("pods", pod("p", 'trap "exit 7" TERM; while :; do sleep 0.1; done', node=runner.name, **more), namespace)
    plane.wait_pod("p", "Running", False, namespace)
    runner.exec("p", ["touch", "/tmp/ready"], namespace=namespace)
    plane.wait_pod("p", "Running", True, namespace)
    for n in (1, 2):
        runner.exec("p", ["touch", "/tmp/sick"], namespace=namespace)
        again = wait_for(
            f"restart {n}",
            lambda: (
                (s := plane.pod("p", namespace)["status"]["containerStatuses"][0])["restartCount"] == n
                and s["state"].get("running")
                and s
            ),
            60,
        )
        assert again["lastState"]["terminated"]["exitCode"] == 7 and not again["ready"]  # a new container has a new root
    marks = [at for at, what in runner.times("p", namespace) if re.match(r"c (started|ended)", what)]
    assert marks[4] - marks[3] >= 3.0 and marks[2] - marks[1] < marks[4] - marks[3]  # the first at once, the second after 3 s


def test_restart_policies_end_pods(plane, runner, namespace):
    plane.api.create("pods", pod("good", "exit 0", node=runner.name, restartPolicy="Never"), namespace)
    plane.api.create(
        "pods", pod("bad", "echo why >/dev/termination-log; exit 3", node=runner.name, restartPolicy="Never"), namespace
    )
    plane.api.create("pods", pod("twice", "test -e /v/x || { touch /v/x; exit 1; }", node=runner.name, restartPolicy="OnFailure",
                                 volumes=[{"name": "v", "emptyDir": {}}], volumeMounts=[{"name": "v", "mountPath": "/v"}]), namespace)  # fmt: skip
    plane.wait_pod("good", "Succeeded", namespace=namespace)
    ended = plane.wait_pod("bad", "Failed", namespace=namespace)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 3 and ended["message"] == "why\n"
    assert plane.wait_pod("twice", "Succeeded", namespace=namespace)["status"]["containerStatuses"][0]["restartCount"] == 1
    assert gone_after(plane, "bad", namespace) < 20


def test_init_containers_come_first(plane, runner, namespace):
    document = pod("p", "cat /v/order; exec sleep 1000", node=runner.name, volumes=[{"name": "v", "emptyDir": {}}],
                   volumeMounts=[{"name": "v", "mountPath": "/v"}])  # fmt: skip
    inits = [
        {**document["spec"]["containers"][0], "name": f"i{n}", "command": ["/bin/sh", "-c", f"sleep 0.3; echo {n} >>/v/order"]}
        for n in (1, 2)
    ]
    document["spec"]["initContainers"] = inits
    plane.api.create("pods", document, namespace)
    plane.wait_pod("p", "Running", True, namespace)
    assert wait_for("its log", lambda: runner.log("p", "c", namespace)) == "1\n2\n"


def test_what_a_pod_learns_of_itself(plane, runner, namespace):
    """Downward API as variables and files, secrets, a projected token that the API server accepts as this pod's."""
    plane.api.create("secrets", {"metadata": {"name": "s"}, "stringData": {"key": "one"}}, namespace)
    env = [
        {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "ALL", "value": "$(IP)/$(SECRET)/$(NOT)"},
    ]
    sources = [
        {"secret": {"name": "s"}}, {"serviceAccountToken": {"path": "token", "audience": "astra", "expirationSeconds": 600}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]  # fmt: skip
    more = {
        "env": env,
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
        "volumes": [{"name": "v", "projected": {"sources": sources}}],
    }
    document = pod(
        "p",
        'echo "$UID $IP $CPU $ALL"; exec sleep 1000',
        node=runner.name,
        volumeMounts=[{"name": "v", "mountPath": "/etc/astra"}],
        **more,
    )
    document["metadata"]["labels"] = {"pool": "x"}
    plane.api.create("pods", document, namespace)
    seen = plane.wait_pod("p", "Running", True, namespace)
    ip = seen["status"]["podIP"]
    assert wait_for("its log", lambda: runner.log("p", namespace=namespace)).split() == [
        seen["metadata"]["uid"],
        ip,
        "2",
        f"{ip}/one/$(NOT)",
    ]

    def read(name):
        return runner.exec("p", ["cat", f"/etc/astra/{name}"], namespace=namespace)[1]

    assert read("labels") == 'pool="x"' and read("key") == "one"
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": read("token"), "audiences": ["astra"]},
    }
    status = plane.api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    assert status["authenticated"] and status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    own = runner.exec("p", ["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"], namespace=namespace)[1]
    with pytest.raises(kubeapi.ApiError) as refused:
        plane.api_as(own).list("pods", namespace)
    assert refused.value.status == 403  # known, and may nothing
    plane.api.patch("secrets", "s", {"stringData": {"key": "two"}}, namespace)
    plane.api.patch("pods", "p", {"metadata": {"labels": {"pool": "y"}}}, namespace)
    wait_for("the new secret and label", lambda: read("key") == "two" and read("labels") == 'pool="y"')


def test_a_missing_secret_is_waited_for(plane, runner, namespace):
    more = {"volumes": [{"name": "v", "secret": {"secretName": "late"}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    plane.api.create("pods", pod("p", "cat /v/k; exec sleep 1000", node=runner.name, **more), namespace)
    wait_for(
        "FailedMount",
        lambda: (
            any("FailedMount" in what for _, what in runner.times("p", namespace) or ()) if runner.pod("p", namespace) else False
        ),
    )
    assert plane.pod("p", namespace)["status"]["phase"] == "Pending"
    plane.api.create("secrets", {"metadata": {"name": "late"}, "stringData": {"k": "v"}}, namespace)
    plane.wait_pod("p", "Running", True, namespace)


def test_a_container_over_its_memory_dies_whole(plane, runner, namespace):
    script = "sleep 1000 & exec /usr/bin/perl -e '$x = \"x\" x (96 << 20); sleep 1000'"
    limits = {"limits": {"memory": "32Mi"}}
    plane.api.create("pods", pod("p", script, node=runner.name, resources=limits, restartPolicy="Never"), namespace)
    ended = plane.wait_pod("p", "Failed", namespace=namespace)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "OOMKilled" and ended["exitCode"] == 137


def test_shared_memory_is_of_the_size_asked(plane, runner, namespace):
    more = {
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "128Mi"}}],
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    plane.api.create("pods", pod("p", "exec sleep 1000", node=runner.name, **more), namespace)
    plane.api.create("pods", pod("q", "exec sleep 1000", node=runner.name), namespace)
    for name, blocks in (("p", 131072), ("q", 65536)):
        plane.wait_pod(name, "Running", True, namespace)
        assert f" {blocks} " in runner.exec(name, ["df", "-k", "/dev/shm"], namespace=namespace)[1]


def test_refuses_a_stranger(plane, runner, namespace):
    """A field that it would not honour fails the pod by name."""
    document = pod("p", "exec sleep 1000", node=runner.name, lifecycle={"postStart": {"exec": {"command": ["true"]}}})
    plane.api.create("pods", document, namespace)
    assert "postStart" in plane.wait_pod("p", "Failed", namespace=namespace)["status"]["message"]


def test_a_cut_off_node_runs_on(plane, runner, namespace):
    """Its pods do; what happened meanwhile is told when it is back."""
    plane.api.create("pods", pod("p", 'trap "exit 0" TERM; while :; do sleep 0.1; done', node=runner.name), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    pid = runner.pod("p", namespace).containers[0].pid
    runner.disconnect()
    try:
        plane.api.delete("pods", "p", namespace)
        time.sleep(1.5)
        assert plane.pod("p", namespace) and Path(f"/proc/{pid}").exists()
    finally:
        runner.connect()
    plane.wait_pod("p", None, namespace=namespace)
    assert not Path(f"/proc/{pid}").exists()


def test_pods_outlive_the_api_server(etcd, tmp_path):
    """They run on while it is away; what ends meanwhile is told later; a lost node says nothing."""
    if podrunner.why_not():
        pytest.skip(podrunner.why_not())
    with kubelib.ControlPlane("killed", tmp_path, etcd) as plane:
        with podrunner.PodRunner(plane, "n", {IMAGE: {}}) as node:
            for name in ("p", "q"):
                plane.api.create("pods", pod(name, "exec sleep 1000", restartPolicy="Never"))
                plane.wait_pod(name, "Running", True)
            pids = {name: node.pod(name).containers[0].pid for name in ("p", "q")}
            plane.apiserver.kill()
            os.kill(pids["q"], signal.SIGKILL)
            time.sleep(1)
            assert Path(f"/proc/{pids['p']}").exists()
            plane.apiserver.start()
            plane.wait_pod("q", "Failed")
            assert plane.wait_pod("p", "Running", True)["status"]["containerStatuses"][0]["restartCount"] == 0
            folder = node.folder
        assert not Path(f"/proc/{pids['p']}").exists() and not folder.exists()
        assert str(folder) not in Path("/proc/self/mounts").read_text()
        assert plane.pod("p")["status"]["phase"] == "Running"  # nobody said otherwise


# pods on the real kubelet


def test_the_real_kubelet_runs_a_pod(plane, kubelet, namespace):
    began = time.monotonic()
    plane.api.create("pods", pod("p", "echo hello; exec sleep 1000", BUSYBOX, kubelet.name), namespace)
    plane.wait_pod("p", "Running", True, namespace)
    print(f"created to Ready in {time.monotonic() - began:.2f} s")
    assert plane.kubectl("logs", "p", "-n", namespace) == "hello\n"
    assert plane.kubectl("exec", "p", "-n", namespace, "--", "cat", "/proc/1/comm").strip() == "sleep"


def test_both_tiers_end_pods_alike(plane, kubelet, runner, namespace):
    """The recipe's times: preStop 3 s and TERM 4 s within 30 s gone after 8.8 s; TERM ignored with a grace of 2 s, 3.0 s. The
    runner is not kinder: what it grants is no more than what the kubelet grants."""
    for image, node in ((IMAGE, runner.name), (BUSYBOX, kubelet.name)):
        plane.api.create("pods", ending_pod(f"e-{node}", image, node), namespace)
        plane.api.create("pods", deaf_pod(f"d-{node}", image, node), namespace)
    took = {}
    for name in (f"{kind}-{node}" for kind in "ed" for node in (runner.name, kubelet.name)):
        plane.wait_pod(name, "Running", True, namespace)
        took[name] = gone_after(plane, name, namespace)
    print({name: round(value, 2) for name, value in took.items()})
    for node in (runner.name, kubelet.name):
        assert 7.0 <= took[f"e-{node}"] < 30 and 2.0 <= took[f"d-{node}"] < 20, took
    assert all(took[f"{kind}-{runner.name}"] <= took[f"{kind}-{kubelet.name}"] + 5 for kind in "ed"), took
