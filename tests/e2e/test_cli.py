"""The command line against a real server, with nodes played in Python: no Ray."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess

import pytest
from playlib import Platform, wait_for
from uplib import ASTRA

RAY_WORDS = """Traceback (most recent call last):
  File "ocr.py", line 3, in <module>
    import cv3
ModuleNotFoundError: No module named 'cv3'"""

APP = """kind: App
metadata: {name: ocr}
spec:
  units: 2
  environment: [{artifact: env@1}]
  code: code
  models: {det: det@4}
  head: {cpu: 1, memory: 2Gi}
  rollout: {bake: 200ms}
  drain: {requests: 1s}
  serve: {applications: [{name: app, import_path: "ocr:app", route_prefix: /}]}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    with Platform(ASTRA, folder) as p:
        for name in ("node-1", "node-2"):
            for cluster in ("cluster-1", "cluster-2"):
                p.node(name, cluster)
        for name in ("env@1", "det@4"):
            (folder / "file").write_text(f"bytes of {name}")
            p.astra("artifact", "put", folder / "file", "--name", name)
        yield p


@pytest.fixture
def app(platform, tmp_path):
    """app.yaml with its code, not deployed; afterwards nothing of it is left and every node is as it was."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "ocr.py").write_text(f"# {tmp_path}\n")
    path = tmp_path / "app.yaml"
    path.write_text(APP)
    yield path
    for node in platform.nodes:
        node.behave = lambda claim: "UP"
        if node.state != "UP" or node.cordoned:
            platform.astra("uncordon", node.id)
    if platform.json("apps")["items"]:
        platform.astra("delete", "ocr", "--wait", "--timeout", "30s")


def deploy(platform, app, *words, **options):
    return platform.astra("deploy", app, "--wait", "--timeout", "40s", *words, **options)


def fail_from_now(platform):
    for node in platform.nodes:
        node.behave = lambda claim: ("EXITED", "IMPORT_FAILED", RAY_WORDS)


# ---- deploy ----


def test_deploy(platform, app):
    done = deploy(platform, app)
    moves = re.findall(r"^\d\d:\d\d:\d\d (ocr-\w{5}) +(cluster-\d/node-\d) +(\w+)$", done.stdout, re.M)
    ready = {(unit, place) for unit, place, state in moves if state == "READY"}
    assert len(ready) == 2, done.stdout
    assert {place.split("/")[0] for _, place in ready} == {"cluster-1", "cluster-2"}
    assert "ocr is READY after" in done.stdout
    assert done.stderr == ""


def test_deploy_json_has_times(platform, app):
    result = json.loads(deploy(platform, app, "-o", "json").stdout)
    assert result["outcome"] == "ready" and result["revision"] == 1 and result["error"] is None
    assert set(result["times"]) == {"packing_s", "upload_s", "ready_s", "total_s"}
    assert 0 < result["times"]["ready_s"] <= result["times"]["total_s"]


def test_deploy_again_changes_and_sends_nothing(platform, app):
    deploy(platform, app)
    again = deploy(platform, app)
    assert "nothing changed" in again.stdout and "uploaded" not in again.stdout
    os.utime(app.parent / "code" / "ocr.py", (1, 1))
    assert "nothing changed" in deploy(platform, app).stdout  # the digest is of what is in it, not of when


def test_every_error_at_once_with_its_place(platform, app):
    app.write_text(APP.replace("units: 2", "units: two").replace("memory: 2Gi", "memroy: 2Gi"))
    done = platform.astra("deploy", app, status=1)
    assert f"{app}:4:10: spec.units:" in done.stderr
    assert re.search(rf"{app}:8:\d+: spec.head.memroy: .*memory", done.stderr)
    assert "has 2 errors; nothing was changed" in done.stderr
    assert done.stdout == ""


def test_yaml_that_is_none(platform, app):
    app.write_text("a: [1\n")
    assert re.search(rf"{app}:\d+:\d+: ", platform.astra("deploy", app, status=1).stderr)


def test_missing_artifacts_are_told_before_anything_is_packed(platform, app):
    app.write_text(APP.replace("det@4", "det@5").replace("env@1", "env@9"))
    done = platform.astra("deploy", app, status=1)
    assert f'{app}:5:28: spec.environment[0].artifact: the server has no artifact "env@9"' in done.stderr
    assert f'{app}:7:17: spec.models.det.source: the server has no artifact "det@5"' in done.stderr
    assert "astra artifact put FILE --name det@5" in done.stderr
    assert "packed" not in done.stdout


def test_missing_requirements_file(platform, app):
    app.write_text(APP.replace("[{artifact: env@1}]", "nowhere.txt"))
    assert "nowhere.txt" in platform.astra("deploy", app, status=1).stderr


def test_dry_run_changes_nothing(platform, app):
    platform.astra("deploy", app, "--dry-run")
    assert platform.json("apps")["items"] == []


def test_namespaces_that_differ(platform, app):
    app.write_text(APP.replace("name: ocr", "name: ocr, namespace: a"))
    assert "the file says a, --namespace says b" in platform.astra("deploy", app, "-n", "b", status=1).stderr


def test_first_deploy_fails_with_rays_words(platform, app):
    fail_from_now(platform)
    done = deploy(platform, app, status=1)
    assert "ImportFailed" in done.stdout + done.stderr
    assert RAY_WORDS in done.stderr


def test_bad_revision_is_undone_and_the_old_one_serves_on(platform, app):
    deploy(platform, app)
    wait_for(lambda: platform.json("apps")["items"][0]["status"]["provenRevision"] == 1)
    fail_from_now(platform)
    (app.parent / "code" / "ocr.py").write_text("import cv3\n")
    done = deploy(platform, app, "-o", "json", status=1)
    assert RAY_WORDS in done.stderr
    assert "revision 2 failed and was undone; revision 1 serves on" in done.stderr
    assert json.loads(done.stdout)["outcome"] == "failed"
    (found,) = platform.json("apps")["items"]
    assert found["status"]["revision"] == 1


def test_time_out_is_status_3_and_tells_what_is_missing(platform, app):
    for node in platform.nodes:
        node.behave = lambda claim: "STARTING"
    done = platform.astra("deploy", app, "--wait", "--timeout", "2s", status=3)
    assert re.search(r"not there after 2 s; it goes on\n  ocr-\w{5} .*STARTING", done.stderr)


def test_interrupt_leaves_the_deploy(platform, app):
    for node in platform.nodes:
        node.behave = lambda claim: "STARTING"
    process = platform.start("deploy", app, "--wait")
    wait_for(lambda: platform.json("units")["items"])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "it goes on: `astra rollout status ocr` follows it" in err
    assert len(platform.json("apps")["items"]) == 1


def test_a_server_that_restarts_is_waited_for(platform, app):
    for node in platform.nodes:
        node.step_s = 1.0
    try:
        process = platform.start("deploy", app, "--wait", "--timeout", "60s")
        wait_for(lambda: len(platform.json("units")["items"]) == 2)
        platform.stop()
        while "the server does not answer; trying on" not in (line := process.stdout.readline()):
            assert line, process.communicate()
        platform.start_again()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    finally:
        for node in platform.nodes:
            node.step_s = 0.05


def test_a_terminal_is_redrawn(platform, app):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [str(ASTRA), "deploy", str(app), "--wait"], env=platform.environment(), stdout=slave, stderr=slave, stdin=slave
    )
    os.close(slave)
    seen = b""
    while process.poll() is None or select.select([master], [], [], 0)[0]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
    os.close(master)
    assert process.wait() == 0
    assert re.search(rb"\x1b\[\dA", seen) and b"of 2 units ready" in seen
    assert b"ocr is READY after" in seen


# ---- after the deploy ----


def test_lists(platform, app):
    deploy(platform, app)
    assert re.search(r"NAMESPACE +NAME +READY +STATE +REASON", platform.astra("apps").stdout)
    assert re.search(r"^default +ocr +2/2 +READY +- ", platform.astra("apps").stdout, re.M)
    assert platform.astra("apps", "-n", "other").stdout.startswith("no apps")
    assert len(re.findall(r"^ocr-\w{5} +READY ", platform.astra("units", "ocr").stdout, re.M)) == 2
    nodes = platform.astra("nodes").stdout
    assert [line.split()[0] for line in nodes.splitlines()[1:]] == [
        "cluster-1/node-1", "cluster-1/node-2", "cluster-2/node-1", "cluster-2/node-2",
    ]  # fmt: skip
    assert re.search(r"^cluster-1 +2 UP +1 ", platform.astra("clusters").stdout, re.M)
    status = platform.astra("status").stdout
    assert "4 UP" in status and "2 READY" in status and "default" in status
    for words in (["status"], ["apps"], ["units"], ["units", "ocr"], ["nodes"], ["clusters"], ["events"], ["events", "ocr"]):
        platform.json(*words)


def test_events_and_explain(platform, app):
    deploy(platform, app)
    assert "revision 1 deployed" in platform.astra("events", "ocr").stdout
    assert "2 ready" in platform.astra("explain", "ocr").stdout
    (first, _) = platform.json("units")["items"]
    unit = platform.astra("explain", first["name"]).stdout
    assert f"unit {first['name']} is READY" in unit
    assert "no such app" in platform.astra("explain", "nothing", status=1).stderr


def test_events_follow(platform, app):
    deploy(platform, app)
    process = platform.start("events", "ocr", "-f")
    try:
        platform.astra("scale", "ocr", "--units", "1")
        seen = ""
        while "scaled" not in seen and "units" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_scale(platform, app):
    deploy(platform, app)
    assert "3 units are READY" in platform.astra("scale", "ocr", "--units", "3", "--wait").stdout
    assert len(platform.json("units", "ocr")["items"]) == 3
    platform.astra("scale", "ocr", "--units", "1", "--wait")
    wait_for(lambda: len(platform.json("units", "ocr")["items"]) == 1)
    assert "--units N is required" in platform.astra("scale", "ocr", status=2).stderr


def test_delete(platform, app):
    deploy(platform, app)
    assert "ocr is gone" in platform.astra("delete", "ocr", "--wait").stdout
    assert "no such app" in platform.astra("delete", "ocr", status=1).stderr


def test_drain(platform, app):
    deploy(platform, app)
    unit = platform.json("units", "ocr")["items"][0]
    node = f"{unit['cluster']}/{unit['nodeName']}"
    done = platform.astra("drain", node, "--wait", "--timeout", "30s")
    assert f"{node} is drained" in done.stdout and unit["name"] in done.stdout
    (there,) = [n for n in platform.json("nodes")["items"] if n["id"] == unit["node"]]
    assert there["state"] == "DRAINED" and there["claims"] == []
    assert wait_for(lambda: platform.json("apps")["items"][0]["status"]["units"]["ready"] == 2)
    platform.astra("uncordon", node)
    (there,) = [n for n in platform.json("nodes")["items"] if n["id"] == unit["node"]]
    assert there["state"] == "UP"


def test_nodes_by_name_id_and_beginning(platform, app):
    node = platform.nodes[0]
    for word in (f"{node.cluster}/{node.name}", node.id, node.id[:8]):
        assert platform.json("cordon", word)["cordoned"]
        assert not platform.json("uncordon", word)["cordoned"]
    many = platform.astra("cordon", "node-1", status=1).stderr
    assert "may be any of" in many and node.id in many
    assert "no such node: nobody" in platform.astra("cordon", "nobody", status=1).stderr


def test_rollout(platform, app):
    deploy(platform, app)
    (app.parent / "code" / "ocr.py").write_text("x = 2\n")
    deploy(platform, app)
    history = platform.astra("rollout", "history", "ocr").stdout
    assert re.search(r"^2 +current", history, re.M) and re.search(r"^1 ", history, re.M)
    assert "revision 2 is READY" in platform.astra("rollout", "status", "ocr").stdout
    assert "going back" in platform.astra("rollout", "undo", "ocr", "--to", "1", "--wait").stdout
    first, _ = platform.json("rollout", "history", "ocr")["items"]
    assert first["number"] == 1 and first["current"]


def test_artifacts(platform, app, tmp_path):
    (tmp_path / "m").write_bytes(b"model" * 1000)
    assert platform.json("artifact", "put", tmp_path / "m", "--name", "m@1")["bytes"] == 5000
    assert re.search(r"^m@1 +5\.0 kB ", platform.astra("artifact", "ls").stdout, re.M)
    platform.astra("artifact", "get", "m@1", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"model" * 1000
    (tmp_path / "m").write_bytes(b"other")
    assert "m@1" in platform.astra("artifact", "put", tmp_path / "m", "--name", "m@1", status=1).stderr
    assert "has no version" in platform.astra("artifact", "put", tmp_path / "m", "--name", "m", status=2).stderr
    assert "no artifact" in platform.astra("artifact", "get", "none@1", tmp_path / "x", status=1).stderr
    assert not (tmp_path / "x").exists()


def test_tokens(platform):
    view = platform.astra("token", "create", "--role", "view", "--name", "ann").stdout.strip()
    assert view.startswith("astra-")
    platform.astra("apps", "--token", view)
    refused = platform.astra("token", "ls", "--token", view, status=1).stderr
    assert "needs the role admin" in refused and view not in refused
    assert "ann" in platform.astra("token", "ls").stdout
    platform.astra("token", "revoke", view.split("-")[1])
    assert "wrong, revoked or over" in platform.astra("apps", env={"ASTRA_CFG_TOKEN": view}, status=1).stderr


# ---- without a running app ----


def test_validate_and_render(platform, app):
    assert "is good" in platform.astra("validate", app).stdout
    rendered = platform.astra("render", app).stdout
    app.write_text(rendered)
    assert platform.astra("render", app).stdout == rendered
    app.write_text(APP.replace("units: 2", "units: -1"))
    result = json.loads(platform.astra("validate", app, "-o", "json", status=1).stdout)
    assert not result["valid"]
    (problem,) = result["problems"]
    assert problem["field"] == "spec.units" and problem["line"] == 4


def test_diff(platform, app):
    assert "is new" in platform.astra("diff", app).stdout
    deploy(platform, app)
    assert "would change nothing" in platform.astra("diff", app).stdout
    app.write_text(APP.replace("units: 2", "units: 3"))
    assert re.search(r"^route +spec.units: 2 -> 3$", platform.astra("diff", app).stdout, re.M)
    (app.parent / "code" / "ocr.py").write_text("x = 3\n")
    assert "a deploy costs: new units" in platform.astra("diff", app).stdout


def test_no_server(platform, tmp_path):
    nowhere = {"ASTRA_CFG_DATA": str(tmp_path)}
    assert "`astra up` starts one" in platform.astra("apps", env=nowhere, status=1).stderr
    gone = {"ASTRA_CFG_SERVER": "http://127.0.0.1:1", "ASTRA_CFG_TOKEN": "x"}
    assert "cannot reach the server at http://127.0.0.1:1" in platform.astra("apps", env=gone, status=1).stderr
    assert "no server" in platform.astra("version", env=nowhere).stdout


def test_usage(platform):
    assert "did you mean --wait?" in platform.astra("deploy", "x", "--wiat", status=2).stderr
    assert "missing: APP" in platform.astra("delete", status=2).stderr
    assert "one word too many" in platform.astra("apps", "x", status=2).stderr
    assert "knows json" in platform.astra("apps", "-o", "yaml", status=2).stderr
    assert "is no duration" in platform.astra("deploy", "x", "--timeout", "soon", status=2).stderr
    assert "usage: astra artifact put" in platform.astra("artifact", status=2).stderr
    assert platform.astra("deploy", "--help").stdout.startswith("usage: astra deploy app.yaml")


def test_every_command_has_help(platform):
    listed = re.findall(r"^  (\w+) ", platform.astra("--help").stdout, re.M)
    assert "deploy" in listed and "doctor" in listed
    for name in listed:
        assert f"astra {name}" in platform.astra(name, "--help").stdout


DOCTOR_CHECKS = {
    "platform", "namespaces", "python3", "nofile", "nproc", "memory", "cgroup", "disk", "/dev/shm", "clock", "ray", "driver",
    "server", "versions", "server clock", "certificates", "ports",
}  # fmt: skip


def test_doctor(platform):
    found = platform.json("doctor")
    checks = {c["check"]: c for c in found["checks"]}
    assert set(checks) == DOCTOR_CHECKS
    assert checks["server"]["verdict"] == checks["versions"]["verdict"] == checks["nproc"]["verdict"] == "ok"
    for check in checks.values():
        assert check["verdict"] in ("ok", "warn", "fail") and check["found"]
        assert (check["advice"] is None) == (check["verdict"] == "ok"), "what is not ok says what to do"
    assert found["warned"] == sum(c["verdict"] == "warn" for c in checks.values()) and found["failed"] == 0
    text = platform.astra("doctor").stdout
    assert re.search(r"^ok +server +answers at http", text, re.M)


def test_doctor_fails_where_nothing_can_run(platform):
    """Under a limit of 500 files and of 300 threads: both are told, and the exit status says it."""
    words = f"ulimit -n 500 && ulimit -u 300 && exec {platform.program} doctor -o json"
    done = subprocess.run(["bash", "-c", words], env=platform.environment(), capture_output=True, text=True, timeout=60)
    checks = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1 and json.loads(done.stdout)["failed"] == 1
    assert (checks["nofile"]["verdict"], checks["nproc"]["verdict"]) == ("fail", "warn")
    assert "LimitNOFILE" in checks["nofile"]["advice"] and "500" in checks["nofile"]["found"]


def test_doctor_sees_a_ray_of_somebody_else(platform):
    with socket.socket() as ray:
        ray.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ray.bind(("127.0.0.1", 8265))
            ray.listen()
        except OSError:
            pass  # somebody has it already
        checks = {c["check"]: c for c in platform.json("doctor")["checks"]}
    assert checks["ray"]["verdict"] == "warn" and "8265" in checks["ray"]["found"]


def test_env_passes_on(platform, tmp_path):
    assert "requirements" in platform.astra("env", "pack", "--help").stdout
    missing = platform.astra("env", "pack", tmp_path / "none.txt", "-o", tmp_path / "x", status=1)
    assert "none.txt" in missing.stderr


def test_logs_of_nobody(platform, app):
    assert "no such app" in platform.astra("logs", "ocr", status=1).stderr


def test_orphans(platform, app):
    assert platform.astra("orphans", "ls").stdout == "no orphans\n"
    deploy(platform, app)
    platform.stop()
    platform.start_again(forget=True)
    for name in ("env@1", "det@4"):
        (app.parent / "file").write_text(f"bytes of {name}")
        platform.astra("artifact", "put", app.parent / "file", "--name", name)
    wait_for(lambda: re.search(r"^default +ocr +2 ", platform.astra("orphans", "ls").stdout, re.M))
    assert "ORPHAN" in platform.astra("apps").stdout
    platform.astra("orphans", "release", "ocr")
    wait_for(lambda: not platform.json("apps")["items"])
    assert not any(node.claims for node in platform.nodes)


def test_adopted_units_are_whole_again(platform, app):
    """The new store never had the units' Ray tokens: the heads' nodes tell them, and a lost worker is replaced."""
    app.write_text(APP + "  workers: [{name: w, count: 1, cpu: 1, memory: 2Gi}]\n")
    deploy(platform, app)
    claims = {(c["claim"]["unit"], c["claim"]["member"]): (node, c) for node in platform.nodes for c in node.claims.values()}
    assert {member for _, member in claims} == {"head", "w-0"} and len(claims) == 4
    tokens = {unit: claim["ray_token"] for (unit, _), (_, claim) in claims.items()}
    assert len(set(tokens.values())) == 2
    for node, claim in claims.values():
        node.texts[claim["revision"]["digest"]] = node.fetch(claim["revision"]["digest"])
        node.tokens_refused = 1
    platform.stop()
    platform.start_again(forget=True)
    for name in ("env@1", "det@4"):
        (app.parent / "file").write_text(f"bytes of {name}")
        platform.astra("artifact", "put", app.parent / "file", "--name", name)
    wait_for(lambda: all(o["adoptable"] for o in platform.json("orphans", "ls")["items"] or [{"adoptable": False}]))
    platform.astra("orphans", "adopt", "ocr")
    wait_for(lambda: [u["state"] for u in platform.json("units")["items"]] == ["READY"] * 2)
    unit = min(tokens)
    node, old = claims[unit, "w-0"]
    node.exits(unit, "w-0", "HEALTH_CHECK_FAILED", "the worker's Ray ended")

    def worker():
        found = [c for n in platform.nodes for c in n.claims.values() if c["claim"]["unit"] == unit and c["role"] == "WORKER"]
        return found[0] if len(found) == 1 and found[0]["member_state"] == "UP" and found[0] is not old else None

    new = wait_for(worker, 40)
    assert new["claim"]["attempt"] > old["claim"]["attempt"] and new["ray_token"] == tokens[unit]
    assert claims[unit, "head"][1] in claims[unit, "head"][0].claims.values()
    messages = [event["message"] for event in platform.json("events", "ocr")["items"]]
    assert any("its Ray token is lost" in message and "not now" in message for message in messages)
    said = (platform.folder / "server.log").read_text() + "".join(messages)
    assert not any(token in said for token in tokens.values())
