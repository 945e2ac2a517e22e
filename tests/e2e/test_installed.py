"""The installed platform on a machine that has nothing else: no checkout, no Python, no network but its own loopback. What it needs
came with `make install` and with the artifacts that were put there; when it has gone down, nothing of it is left."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import ocr_local
import pytest
from barelib import GIVEN, HOME, PREFIX, Machine, why_not

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:8080/ocr"  # the machine is the platform's alone: it has the usual ports
DATA = f"{HOME}/.local/share/astra"
ENVIRONMENT = "ocr-env@1"
COUNTED = re.compile(r'^astra_tfcc_(inferences|inference_failures|model_load_failures)_total\{model="(\w+)".*\} (\d+)$', re.M)
# of the host, a replica may map glibc (which no environment holds), what glibc reads at start, and shared memory; by realpath
GLIBC = re.compile(
    r"/usr/lib/(\S+/)?(ld-linux\S*|lib(c|m|dl|rt|pthread|util|resolv|nss_\w+)\.so\.\d+|locale/\S+|\S+/gconv/\S+)$"
    r"|/dev/(shm/.*|zero.*)|/memfd:.*|/SYSV.*"
)


def install(machine):
    """`make install` into the machine, and what a user brings to it: the packed environment, models, an image."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "ASTRA_"))}
    subprocess.run(["make", "-s", "install", f"PREFIX={machine.prefix}"], cwd=ROOT, env=environ, check=True, timeout=300)
    example = machine.prefix / "share" / "doc" / "astra" / "examples" / "ocr"
    # packed here, where registries and a Python are; in the same cache that `astra deploy` uses
    cache = Path(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))) / "astra" / "env"
    words = ["env", "pack", example / "requirements.txt", "-o", machine.given / "env.tar.zst", "--cache", cache]
    subprocess.run([machine.prefix / "bin" / "astra", *words], env=environ, check=True, timeout=900)
    pages = ocr_local.prepare()
    for name in ("det", "cls", "rec"):
        shutil.copy(ocr_local.MODELS / name / f"{name}.onnx", machine.given)
    for path in [pages["imageTextN.png"], *(path for path, _ in crops()[:4])]:
        shutil.copy(path, machine.given)
    app = machine.root(HOME) / "ocr"
    shutil.copytree(example, app)
    shutil.copy(ROOT / "tests" / "e2e" / "ocr_witness.py", app)
    text = (app / "app.yaml").read_text()
    for old, new in (("environment: requirements.txt", f"environment: [{{artifact: {ENVIRONMENT}}}]"), ("ocr:app", "ocr_witness:app")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (app / "app.yaml").write_text(text)


def crops():
    import get_images

    return get_images.line_crops(ocr_local.PAGES)


def is_bare(machine):
    """Nothing of the host is there that could be borrowed."""
    for program in ("python3", "python3.11", "python", "pip3"):
        assert machine.run(program, "--version").returncode in (126, 127), program
    for path in (ROOT, os.path.expanduser("~/.cache"), os.path.expanduser("~/.pyenv"), os.environ.get("PYENV_ROOT", "/nowhere")):
        assert not machine.root(str(path)).exists(), path
    for pattern in ("bin/python3*", "lib/python3*/*", "local/*", "lib/*/libpython3*"):
        full = [path for path in machine.root("/usr").glob(pattern) if path.is_dir() or path.is_file() and path.stat().st_size]
        assert full == [], pattern
    links = json.loads(machine.run("ip", "-json", "link").stdout)
    assert [link["ifname"] for link in links] == ["lo"]
    assert machine.run("ip", "route", "show", "default").stdout == ""


def astra(machine, *words, timeout_s=60, **env):
    done = machine.run(f"{PREFIX}/bin/astra", *words, env=env, timeout_s=timeout_s)
    assert done.returncode == 0, f"astra {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def astra_json(machine, *words):
    return json.loads(astra(machine, *words, "-o", "json"))


def ask(machine, *words):
    """(unit, answer) of a request by curl; the unit's name is what the gateway says."""
    done = machine.run("curl", "-sS", "-w", "\n%{http_code} %header{x-astra-unit}", *words, URL)
    assert done.returncode == 0, done.stderr
    body, _, last = done.stdout.rpartition("\n")
    status, unit = last.split(" ")
    assert status == "200" and unit, done.stdout
    return unit, json.loads(body)


def read(machine, name):
    return ask(machine, "--data-binary", f"@{GIVEN}/{name}", "-H", "content-type: image/png")


def read_by_both(machine, units):
    """Reads the page and single lines, until each unit has read some. Returns unit -> inferences that its answers told of."""
    from score import score

    told, pages, lines, unit = defaultdict(Counter), set(), crops()[:4], None
    for turn in range(40):
        unit, answer = read(machine, "imageTextN.png" if turn < 2 or unit not in pages else lines[turn % 4][0].name)
        told[unit].update(answer["inferences"])
        texts = [line["text"] for line in answer["lines"]]
        if len(texts) > 1:
            pages.add(unit)
        truth = ocr_local.true_lines("imageTextN.png") if len(texts) > 1 else [lines[turn % 4][1]]
        assert score(truth, texts) >= (0.99 if len(texts) > 1 else 0.9), texts
        if turn >= 8 and set(told) == units:
            return told
    raise AssertionError(f"of {units}, only {set(told)} were asked")


def counted(machine, units):
    """unit -> {model: inferences} as the metrics of the agent of its node say; failures are none, and other nodes count nothing."""
    found = {}
    for path in machine.root(f"{DATA}/run").glob("cluster-*.ready"):
        port = json.loads(path.read_text())["agent"]
        text = machine.run("curl", "-sSf", f"http://127.0.0.1:{port}/metrics").stdout
        assert "astra_node_attached 1" in text
        rows = COUNTED.findall(text)
        assert [row for row in rows if row[0] != "inferences" and row[2] != "0"] == []
        found[path.stem] = Counter({model: int(n) for kind, model, n in rows if kind == "inferences"})
    told = {unit["name"]: found.pop(unit["nodeName"]) for unit in units}
    assert not any(found.values()), found
    return told


def is_made_of_its_own(replica):
    """The replica runs on its packed environment, the node's TFCC, its code: of the host's files it has glibc alone."""
    assert replica["onnxruntime"] == "ModuleNotFoundError"
    assert any(path.startswith(f"{PREFIX}/lib/astra/engine/libonnxruntime.so") for path in replica["mapped"])
    assert any(path.startswith(f"{PREFIX}/lib/astra/libastra-tfcc.so") for path in replica["mapped"])
    assert f"{PREFIX}/lib/astra/python/astra/tfcc/__init__.py" in replica["imported"]
    own = (f"{PREFIX}/lib/astra/", f"{DATA}/")
    strange = [path for path in replica["mapped"] if not path.startswith(own) and not GLIBC.match(path)]
    strange += [path for path in [*replica["imported"], *replica["path"], replica["executable"]] if not path.startswith(own)]
    assert strange == []


def logs(machine):
    """The last words of server, gateway and agents, for people."""
    files = sorted(machine.root(f"{DATA}/log").glob("*.log"))
    return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in files)


def a_file_that_is_no_model(machine, names):
    """A revision with it fails with the engine's own words, `deploy --wait` says them, and the older revision serves on."""
    path = machine.root(f"{HOME}/ocr/app.yaml")
    path.write_text(path.read_text().replace("ppocr-det@4", "noise@1"))
    (machine.given / "noise").write_bytes(b"no model at all")
    astra(machine, "artifact", "put", f"{GIVEN}/noise", "--name", "noise@1")
    done = machine.run(f"{PREFIX}/bin/astra", "deploy", f"{HOME}/ocr/app.yaml", "--wait", timeout_s=200)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ModelLoadFailed" in done.stdout + done.stderr and "astra.tfcc" in done.stdout + done.stderr, done.stdout + done.stderr
    assert {unit["name"] for unit in astra_json(machine, "units", "ocr")["items"] if unit["state"] == "READY"} == names
    assert read(machine, "imageTextN.png")[0] in names


def use(machine):
    """From the first command to the last; returns when the platform is down."""
    astra(machine, "up", "--detach", ASTRA_CFG_GATEWAY_DEBUG_HEADERS="yes")
    files = {ENVIRONMENT: "env.tar.zst", "ppocr-det@4": "det.onnx", "ppocr-cls@4": "cls.onnx", "ppocr-rec@4": "rec.onnx"}
    for name, file in files.items():
        astra(machine, "artifact", "put", f"{GIVEN}/{file}", "--name", name)
    astra(machine, "deploy", f"{HOME}/ocr/app.yaml", "--wait", "--timeout", "4m", timeout_s=300)
    units = astra_json(machine, "units", "ocr")["items"]
    names = {unit["name"] for unit in units}
    assert len(names) == 2 and {unit["state"] for unit in units} == {"READY"}

    told = read_by_both(machine, names)
    assert counted(machine, units) == told
    replicas = {}
    while set(replicas) != names:
        replicas.update([ask(machine)])
    for replica in replicas.values():
        is_made_of_its_own(replica)
    a_file_that_is_no_model(machine, names)
    astra(machine, "down")


@pytest.mark.ray
@pytest.mark.timeout(420)
def test_on_a_machine_without_anything():
    reason = "needs root" if os.geteuid() != 0 else why_not()
    if reason:
        pytest.skip(reason)
    with Machine() as machine:
        is_bare(machine)
        install(machine)
        before = machine.files("/tmp", "/run", "/dev/shm", HOME)
        try:
            use(machine)
        except BaseException:
            print(logs(machine))
            raise
        assert machine.quiet() == {}
        assert machine.files("/tmp", "/run", "/dev/shm") == []
        assert not machine.root(f"{DATA}/client.json").exists() and not machine.root(f"{DATA}/run").exists()
        astra(machine, "down", "--purge")
        left = set(machine.files("/tmp", "/run", "/dev/shm", HOME)) - set(before)
        assert {path for path in left if not f"{DATA}/".startswith(f"{path}/")} == set()
