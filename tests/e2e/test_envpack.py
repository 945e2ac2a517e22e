"""`astra env pack`: the archive runs anywhere, is the same each time, says what it is, and failures say why.

Most packs here are of a wheel made on the spot, from a folder, without an index. The two that need an index are
marked: numpy (a package with shared libraries of its own) and `ray`.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_PYTHON = "/usr/bin/python3"
CACHE = Path(os.environ.get("ASTRA_TEST_CACHE", Path.home() / ".cache" / "astra-test"))
# What of the host's libraries a packed Python may load: glibc's, which belong to its kernel.
GLIBC = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "libresolv.so", "ld-linux")
PROBE = """
import bz2, ctypes, hashlib, json, lzma, os, site, sqlite3, ssl, sys, sysconfig, uuid, zlib
for name in sys.argv[1:]:
    __import__(name)
assert len(ssl.create_default_context().get_ca_certs()) >= 0
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps({"prefix": sys.prefix, "path": sys.path, "libraries": sorted(libraries), "user": site.ENABLE_USER_SITE,
    "purelib": sysconfig.get_path("purelib"), "libdir": sysconfig.get_config_var("LIBDIR")}))
"""
# Hides every Python of the host, then runs the rest of the command line.
MASK = """
set -e
mkdir "$0"
: > "$0/nothing"
for name in /usr/bin/python3*; do mount --bind "$0/nothing" "$name"; done
for name in /usr/lib/python3* /usr/local "$HOME/.pyenv" "$HOME/.cache" "$HOME/.local"; do
    if [ -d "$name" ]; then mount -t tmpfs tmpfs "$name"; fi
done
exec env -i "$@"
"""


def packer(*words, cwd=None, env=None, status=0):
    """Runs the packer; returns its stdout, or its stderr where failure is expected."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), **(env or {})}
    command = [DEBIAN_PYTHON, "-m", "astra.envpack", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def pack(requirements, output, *options, env=None):
    """Packs and returns the JSON that the packer ends with."""
    return json.loads(packer("pack", requirements, "-o", output, "--json", *options, env=env).splitlines()[-1])


def unpack(archive, target):
    target.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", archive, "-C", target], check=True)
    return target


def make_wheel(folder, name, version="1.0", tag="py3-none-any", requires=()):
    """A wheel with one module and one command."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n\ndef main():\n    print('{name}', VERSION)\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {other}\n" for other in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-command = {name}:main\n",
    }
    rows = [f"{path},sha256={record_digest(text.encode())},{len(text)}\n" for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def record_digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write(path, text):
    path.write_text(text)
    return path


def working_pythons():
    """One interpreter of each other version that the packer can use, newest last."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in [Path(name) for name in map(shutil.which, ["python3.13", "python3.12", "python3.10"]) if name] + sorted(
        pyenv.glob("3.*/bin/python3")
    ):
        done = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        version = tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()
        if (3, 10) <= version <= (3, 13) and version != (3, 11):
            found[version] = path
    return [str(found[version]) for version in sorted(found)]


def namespace_prefix():
    """How a mount namespace is made here, None where that is not allowed."""
    for prefix in (["unshare", "-m"], ["unshare", "-U", "-r", "-m"]):
        trial = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return prefix
    return None


def run_masked(tmp_path, *command):
    """Runs a command with an empty environment where the host has no Python."""
    prefix = namespace_prefix()
    if prefix is None:
        pytest.skip("mount namespaces are not allowed here")
    words = [*prefix, "sh", "-c", MASK, tmp_path / "mask", *command]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)


def assert_self_contained(tmp_path, tree, *modules):
    """The tree runs where the host has no Python, and everything that it loads is its own or glibc."""
    done = run_masked(tmp_path, tree / "bin" / "python3", "-c", PROBE, *modules)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["prefix"] == str(tree)
    assert not facts["user"]
    for place in filter(None, facts["path"]):
        assert place.startswith(f"{tree}/"), facts["path"]
    for library in facts["libraries"]:
        name = os.path.basename(library)
        assert library.startswith(f"{tree}/") or name.startswith(GLIBC), f"{name} came from the host"
    assert facts["purelib"].startswith(f"{tree}/")
    assert facts["libdir"].startswith(f"{tree}/")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder of wheels that pip finds, and the environment that makes it look nowhere else."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", requires=["beta>=1"])
    make_wheel(folder, "beta", "1.2")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


@pytest.fixture(scope="module")
def small(tmp_path_factory, wheels):
    """A small archive and what the packer said of it."""
    folder = tmp_path_factory.mktemp("small")
    requirements = write(folder / "requirements.txt", "alpha\n")
    return pack(requirements, folder / "env.tar.zst", "--lock", folder / "lock.txt", env=wheels)


def test_the_manifest_is_first_and_tells_what_is_inside(small):
    path = Path(small["path"])
    assert small["digest"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert small["bytes"] == path.stat().st_size
    sidecar = json.loads(Path(f"{path}.json").read_text())
    assert sidecar == {name: small[name] for name in ("digest", "bytes", "manifest")}
    plain = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    (path.parent / "env.tar").write_bytes(plain)
    with tarfile.open(path.parent / "env.tar") as tar:
        entries = tar.getmembers()
        assert entries[0].name == "astra-env.json"
        manifest = json.load(tar.extractfile(entries[0]))
    assert manifest == small["manifest"]
    assert manifest["schema"] == 1
    assert manifest["platform"] == f"linux-{os.uname().machine}"
    assert manifest["packages"] == {"alpha": "1.0", "beta": "1.2"}
    assert manifest["ray"] is None
    assert manifest["entry"] == "bin/python3"
    assert manifest["python"].startswith("3.")
    assert manifest["unpacked_bytes"] == sum(entry.size for entry in entries[1:])
    names = [entry.name.split("/") for entry in entries[1:]]
    assert names == sorted(names)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, 315532800)}


def test_glibc_is_the_newest_that_any_file_asks_for(small, tmp_path):
    tree = unpack(small["path"], tmp_path / "env")
    newest = (0,)
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF":
            words = subprocess.run(["readelf", "-V", path], capture_output=True, text=True, check=True).stdout.split()
            for word in words:
                number = word.removeprefix("GLIBC_").split(".")
                if word.startswith("GLIBC_") and all(part.isdigit() for part in number):
                    newest = max(newest, tuple(map(int, number)))
    assert small["manifest"]["glibc"] == ".".join(map(str, newest))


def test_packages_commands_and_records_survive_a_move(small, tmp_path):
    tree = unpack(small["path"], tmp_path / "first")
    tree = tree.rename(tmp_path / "second place")
    done = subprocess.run([tree / "bin" / "alpha-command"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "alpha 1.0\n"
    (tmp_path / "link").symlink_to(tree / "bin" / "python3")
    code = "import alpha, sys; print(sys.prefix)"
    done = subprocess.run([tmp_path / "link", "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tree)
    packages = next(tree.glob("lib/python3*/site-packages"))
    rows = [line.split(",") for line in next(packages.glob("alpha*.dist-info/RECORD")).read_text().splitlines()]
    assert any("alpha-command" in row[0] for row in rows)
    for name, digest, size in rows:
        if digest:
            data = (packages / name).read_bytes()
            assert (digest, int(size)) == (f"sha256={record_digest(data)}", len(data)), name


def test_nothing_names_the_place_where_it_was_packed(small, tmp_path):
    tree = unpack(small["path"], tmp_path / "env")
    for path in tree.rglob("*"):
        if path.is_file():
            assert b"astra-env-" not in path.read_bytes().replace(b"astra-env-pth", b""), path
    assert (tree / "pyvenv.cfg").read_text() == "include-system-site-packages = false\n"


def test_modules_come_compiled_and_are_not_checked_against_times(small, tmp_path):
    tree = unpack(small["path"], tmp_path / "env")
    compiled = next(tree.glob("lib/python3*/site-packages/alpha/__pycache__/*.pyc"))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1, "an unchecked hash (PEP 552)"
    assert not list(tree.glob("lib/python3*/test"))
    assert not list(tree.glob("lib/python3*/idlelib"))


def test_the_users_own_packages_are_not_seen(small, tmp_path):
    tree = unpack(small["path"], tmp_path / "env")
    short = ".".join(small["manifest"]["python"].split(".")[:2])
    own = tmp_path / "home" / ".local" / "lib" / f"python{short}" / "site-packages"
    own.mkdir(parents=True)
    write(own / "intruder.py", "")
    code = "import importlib.util; print(importlib.util.find_spec('intruder'))"
    home = {"HOME": str(tmp_path / "home")}
    done = subprocess.run([tree / "bin" / "python3", "-c", code], env=home, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_a_second_pack_elsewhere_gives_the_same_bytes(small, wheels, tmp_path):
    requirements = write(tmp_path / "other-name.txt", "# a comment\nalpha\n")
    (tmp_path / "elsewhere").mkdir()
    again = pack(requirements, tmp_path / "again.tar.zst", env={**wheels, "TMPDIR": str(tmp_path / "elsewhere")})
    assert again["digest"] == small["digest"]
    assert os.listdir(tmp_path / "elsewhere") == []


def test_the_pinned_list_gives_the_same_packages(small, wheels, tmp_path):
    pinned = (Path(small["path"]).parent / "lock.txt").read_text()
    folder = Path(wheels["PIP_FIND_LINKS"])
    digests = {
        wheel.name.partition("-")[0]: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in folder.iterdir()
    }
    assert pinned == (f"alpha==1.0 --hash=sha256:{digests['alpha']}\nbeta==1.2 --hash=sha256:{digests['beta']}\n")
    assert packer("resolve", write(tmp_path / "r.txt", "alpha\n"), env=wheels) == pinned
    again = pack(write(tmp_path / "pinned.txt", pinned), tmp_path / "env.tar.zst", env=wheels)
    assert again["digest"] == small["digest"]


def test_debian_python_with_shared_libraries_runs_where_the_host_has_no_python(tmp_path):
    requirements = write(tmp_path / "requirements.txt", "numpy==2.2.6\n")
    pack(requirements, tmp_path / "env.tar.zst", "--python", DEBIAN_PYTHON)
    tree = unpack(tmp_path / "env.tar.zst", tmp_path / "unpacked").rename(tmp_path / "moved")
    assert_self_contained(tmp_path, tree, "numpy")


@pytest.mark.parametrize("python", working_pythons()[-1:] or [None])
def test_another_python_runs_where_the_host_has_none(python, wheels, tmp_path):
    if python is None:
        pytest.skip("this machine has no other Python 3.10 to 3.13")
    requirements = write(tmp_path / "requirements.txt", "alpha\n")
    first = pack(requirements, tmp_path / "env.tar.zst", "--python", python, env=wheels)
    again = pack(requirements, tmp_path / "again.tar.zst", "--python", python, env=wheels)
    assert first["digest"] == again["digest"]
    tree = unpack(tmp_path / "env.tar.zst", tmp_path / "unpacked").rename(tmp_path / "moved")
    assert_self_contained(tmp_path, tree, "alpha")


def test_the_cache_answers_without_work_and_notices_damage(wheels, tmp_path):
    requirements = write(tmp_path / "requirements.txt", "-r more.txt\n")
    write(tmp_path / "more.txt", "beta\n")
    options = ["--cache", tmp_path / "cache"]
    first = pack(requirements, tmp_path / "1.tar.zst", *options, env=wheels)
    began = time.monotonic()
    second = pack(requirements, tmp_path / "2.tar.zst", *options, env=wheels)
    assert time.monotonic() - began < 3
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["digest"] == second["digest"]
    assert Path(f"{second['path']}.json").exists()
    archive = next((tmp_path / "cache").glob("*.tar.zst"))
    archive.unlink()
    archive.write_bytes(b"damaged")
    assert not pack(requirements, tmp_path / "3.tar.zst", *options, env=wheels)["cached"]
    write(tmp_path / "more.txt", "beta\nalpha\n")
    changed = pack(requirements, tmp_path / "4.tar.zst", *options, env=wheels)
    assert not changed["cached"], "an included file changed"
    assert changed["digest"] != first["digest"]


def test_two_packers_of_one_environment_do_the_work_once(wheels, tmp_path):
    requirements = write(tmp_path / "requirements.txt", "beta\n")
    environment = {**os.environ, **wheels, "PYTHONPATH": str(ROOT / "python")}
    running = []
    for number in range(2):
        command = [DEBIAN_PYTHON, "-m", "astra.envpack", "pack", requirements, "-o", tmp_path / f"{number}.tar.zst"]
        command += ["--cache", tmp_path / "cache", "--json"]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    results = [json.loads(child.communicate(timeout=300)[0]) for child in running]
    assert sorted(result["cached"] for result in results) == [False, True]
    assert results[0]["digest"] == results[1]["digest"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no-such-package==9\n", ["no package fits", "no-such-package==9", "PIP_FIND_LINKS"]),
        ("alpha==7\n", ["no package fits", "alpha==7"]),
        ("./gamma-1.0-cp27-cp27m-win_amd64.whl\n", ["another platform", "gamma-1.0-cp27-cp27m-win_amd64.whl"]),
        ("-r absent.txt\n", ["absent.txt", "no such file"]),
        ("alpha === === 1\n", ["requirements cannot be read"]),
        ("alpha --hash=sha256:" + "0" * 64 + "\nbeta --hash=sha256:" + "0" * 64 + "\n", ["hash"]),
        ("-e ./project\n", ["editable", "remove the -e"]),
    ],
)
def test_bad_requirements_are_named(text, expected, wheels, tmp_path):
    make_wheel(tmp_path, "gamma", tag="cp27-cp27m-win_amd64")
    (tmp_path / "project").mkdir()
    write(tmp_path / "project" / "backend.py", EDITABLE_BACKEND)
    write(
        tmp_path / "project" / "pyproject.toml",
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    )
    (tmp_path / "temp").mkdir()
    requirements = write(tmp_path / "requirements.txt", text)
    environment = {**wheels, "TMPDIR": str(tmp_path / "temp")}
    said = packer("pack", requirements, "-o", tmp_path / "env.tar.zst", "--cache", tmp_path, env=environment, status=1)
    error = said[said.index("astra env pack:") :].lower()
    for words in expected:
        assert words.lower() in error
    assert "traceback" not in said.lower()
    assert os.listdir(tmp_path / "temp") == []
    assert not list(tmp_path.glob("*.tar.zst*"))


EDITABLE_BACKEND = """
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "project-1.0-py3-none-any.whl"
    files = {
        "project.pth": "/somewhere\\n",
        "project-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n",
        "project-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "project-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name

build_wheel = build_editable
"""


def test_bad_interpreters_and_places_are_named(wheels, tmp_path):
    requirements = write(tmp_path / "requirements.txt", "beta\n")
    old = write(
        tmp_path / "old",
        '#!/bin/sh\necho \'{"executable":"/x","version":[3,6,1],"implementation":"cpython",'
        '"system":"linux","venv":true,"stdlib":"/","dynload":"/","pips":[]}\'\n',
    )
    old.chmod(0o755)
    no_pip = write(tmp_path / "no-pip", old.read_text().replace("[3,6,1]", "[3,12,1]"))
    no_pip.chmod(0o755)
    cases = [
        (["--python", "/nowhere/python3"], "/nowhere/python3: no such interpreter"),
        (["--python", "/bin/true"], "is not a working Python 3 interpreter"),
        (["--python", "3.4"], "no Python 3.4 on this machine"),
        (["--python", old], "is Python 3.6.1, too old: 3.9"),
        (["--python", no_pip], "has neither ensurepip nor pip"),
        (["-o", tmp_path / "absent" / "env.tar.zst"], "no such folder"),
        (["-o", tmp_path], "is a folder"),
    ]
    for options, expected in cases:
        said = packer("pack", requirements, "-o", tmp_path / "env.tar.zst", *options, env=wheels, status=1)
        assert expected in said
    absent = tmp_path / "absent.txt"
    assert f"{absent}: no such file" in packer("pack", absent, "-o", tmp_path / "env.tar.zst", status=1)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\0")
    assert "UTF-8" in packer("pack", tmp_path / "binary.txt", "-o", tmp_path / "env.tar.zst", status=1)
    assert "usage:" in packer("pack", requirements, status=2)
    assert not list(tmp_path.glob("*.tar.zst*"))


def test_an_index_out_of_reach_is_said_so(tmp_path):
    requirements = write(tmp_path / "requirements.txt", "beta\n")
    env = {"PIP_RETRIES": "1", "PIP_FIND_LINKS": ""}
    index = ["--index", "http://127.0.0.1:1/simple"]
    said = packer("pack", requirements, "-o", tmp_path / "env.tar.zst", *index, env=env, status=1)
    assert "the package index cannot be reached" in said


def test_a_full_disk_is_said_so(wheels, tmp_path):
    prefix = namespace_prefix()
    if prefix is None:
        pytest.skip("mount namespaces are not allowed here")
    requirements = write(tmp_path / "requirements.txt", "beta\n")
    (tmp_path / "small").mkdir()
    script = 'mount -t tmpfs -o size=12m tmpfs "$TMPDIR" && "$@"; status=$?; ls "$TMPDIR"; exit $status'
    command = [*prefix, "sh", "-c", script, "sh", DEBIAN_PYTHON, "-m", "astra.envpack", "pack", requirements]
    env = {**os.environ, **wheels, "TMPDIR": str(tmp_path / "small"), "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run([*command, "-o", tmp_path / "env.tar.zst"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no space left on the disk" in done.stderr
    assert done.stdout == "", "the temporary folder is empty again"


@pytest.mark.parametrize("step", ["installing", "compiling", "packing"])
def test_an_interrupt_leaves_nothing(step, wheels, tmp_path):
    requirements = write(tmp_path / "requirements.txt", "alpha\n")
    (tmp_path / "temp").mkdir()
    (tmp_path / "out").mkdir()
    env = {**os.environ, **wheels, "TMPDIR": str(tmp_path / "temp"), "PYTHONPATH": str(ROOT / "python")}
    command = [DEBIAN_PYTHON, "-m", "astra.envpack", "pack", requirements, "-o", tmp_path / "out" / "env.tar.zst"]
    command += ["--cache", tmp_path / "cache"]
    child = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in child.stderr:
        if step in line:
            break
    time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)
    rest = child.stderr.read()
    assert child.wait(timeout=30) == 1
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert os.listdir(tmp_path / "temp") == []
    assert os.listdir(tmp_path / "out") == []
    assert [name for name in os.listdir(tmp_path / "cache") if not name.endswith(".lock")] == []


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_ray_runs_from_a_moved_tree(tmp_path):
    requirements = write(tmp_path / "requirements.txt", "ray[serve]==2.60.0\n")
    facts = pack(requirements, tmp_path / "env.tar.zst", "--cache", CACHE / "env")
    assert facts["manifest"]["ray"] == "2.60.0"
    tree = unpack(tmp_path / "env.tar.zst", tmp_path / "unpacked").rename(tmp_path / "moved")
    assert_self_contained(tmp_path, tree, "ray", "ray.serve", "grpc")
    shutil.rmtree(tmp_path / "mask")
    done = run_masked(tmp_path, tree / "bin" / "python3", "-m", "ray.scripts.scripts", "--version")
    assert "version 2.60.0" in done.stdout, done.stderr


def test_full_keeps_what_is_trimmed_otherwise(wheels, tmp_path):
    requirements = write(tmp_path / "requirements.txt", "beta\n")
    pack(requirements, tmp_path / "env.tar.zst", "--full", "--no-bytecode", env=wheels)
    tree = unpack(tmp_path / "env.tar.zst", tmp_path / "env")
    assert list(tree.glob("lib/python3*/ensurepip")) or list(tree.glob("lib/python3*/test"))
    assert not list(tree.rglob("__pycache__"))
    subprocess.run([tree / "bin" / "python3", "-c", "import beta, unittest.mock"], env={}, check=True)
