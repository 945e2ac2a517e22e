"""TFCC on real models: the Python binding, `astra tfcc`, and the counters that outlive their process.

The models are the OCR example's; the engine is the one that tools/setup fetched. Nothing here imports onnxruntime.
"""

import gc
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
from paths import ASTRA, ROOT

LIBRARY = ROOT / "build" / "src" / "tfcc" / "libastra-tfcc.so"
ENGINE = ROOT / "build" / "engine"
PYTHON = ROOT / "python"
# include/astra/tfcc_page.h: where the counters start, and their order
PAGE_COUNTERS = 1024
COUNTERS = "loads load_failures load_ns inferences failures cancelled items run_ns in_flight".split()

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder as $ASTRA_MODELS is: det and cls are links to files, rec a folder with one file in it."""
    script = ROOT / "examples" / "ocr" / "get_models.py"
    done = subprocess.run([sys.executable, script, ROOT / "build" / "models"], check=True, capture_output=True, text=True)
    paths = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    folder = tmp_path_factory.mktemp("models")
    for name in ("det", "cls"):
        (folder / name).symlink_to((ROOT / paths[name]).resolve())
    (folder / "rec").mkdir()
    (folder / "rec" / "any-name.onnx").symlink_to((ROOT / paths["rec"]).resolve())
    return folder


def environment(models, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASTRA_", "OMP_"))}
    return {
        **kept,
        "ASTRA_MODELS": str(models),
        "ASTRA_TFCC_LIBRARY": str(LIBRARY),
        "ASTRA_TFCC_ENGINE_DIR": str(ENGINE),
        "PYTHONPATH": str(PYTHON),
        **more,
    }


@pytest.fixture(scope="session")
def tfcc(models):
    for name, value in environment(models).items():
        os.environ[name] = value
    os.environ.pop("OMP_NUM_THREADS", None)
    sys.path.insert(0, str(PYTHON))
    from astra import tfcc

    return tfcc


@pytest.fixture()
def cls(tfcc):
    with tfcc.Model("cls") as model:
        yield model


def image(*shape):
    return numpy.random.default_rng(7).random(shape, dtype=numpy.float32)


def run_python(models, script, *arguments, **more):
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment(models, **more), capture_output=True, text=True, timeout=120
    )


def run_astra(models, *arguments):
    return subprocess.run([ASTRA, "tfcc", *arguments], env=environment(models), capture_output=True, text=True, timeout=120)


# ---- the binding ----


def test_three_models(tfcc):
    shapes = {"det": (1, 3, 320, 320), "rec": (2, 3, 48, 320), "cls": (6, 3, 48, 192)}
    results = {"det": (1, 1, 320, 320), "rec": (2, 40, 6625), "cls": (6, 2)}
    for name, shape in shapes.items():
        with tfcc.Model(name) as model:
            (info,) = model.inputs
            assert info.dtype == numpy.float32 and len(info.shape) == 4 and info.shape[0] is None and info.shape[1] == 3
            assert model.device == "cpu" and model.threads == 1
            (output,) = model.run({info.name: image(*shape)}).values()
            assert output.shape == results[name] and output.dtype == numpy.float32
            assert numpy.isfinite(output).all()
            (again,) = model.run({info.name: image(*shape)}).values()
            assert numpy.array_equal(output, again)
            assert model.stats["inferences"] >= 2 and model.stats["items"] >= 2 * shape[0]
            if name == "rec":
                # the characters that the classes of its last dimension stand for, less blank and space
                assert len(model.metadata["character"].splitlines()) + 2 == 6625
    assert "onnxruntime" not in sys.modules
    assert tfcc.engine().startswith("onnxruntime 1.")


def test_arrays_of_every_layout(cls):
    plain = image(2, 3, 48, 192)
    (expected,) = cls.run({"x": plain}).values()
    read_only = plain.copy()
    read_only.flags.writeable = False
    offset = numpy.empty(plain.nbytes + 1, dtype=numpy.uint8)[1:].view(numpy.float32).reshape(plain.shape)
    offset[...] = plain
    for array in (read_only, numpy.asfortranarray(plain), plain[::-1][::-1], offset, plain.tolist()):
        (output,) = cls.run({"x": array}).values()
        assert numpy.array_equal(output, expected)


def test_outputs_outlive_the_model(tfcc):
    model = tfcc.Model("cls")
    (output,) = model.run({"x": image(4, 3, 48, 192)}).values()
    copy = output.copy()
    part = output[1:]
    assert not output.flags.owndata and output.flags.writeable
    del output
    model.close()
    del model
    gc.collect()
    with tfcc.Model("cls") as other:  # whatever was freed is used by somebody else now
        other.run({"x": image(4, 3, 48, 192) * 0})
    assert numpy.array_equal(part, copy[1:])
    part += 1


# y = -x over FP32 of any one dimension: a ModelProto, byte by byte
NEG = (
    b"\x08\x08\x3a\x34\x0a\x0b\x0a\x01x\x12\x01y\x22\x03Neg\x12\x01t"
    b"\x5a\x10\x0a\x01x\x12\x0b\x0a\x09\x08\x01\x12\x05\x0a\x03\x12\x01n"
    b"\x62\x10\x0a\x01y\x12\x0b\x0a\x09\x08\x01\x12\x05\x0a\x03\x12\x01n\x42\x02\x10\x0d"
)


def test_no_elements(tfcc, tmp_path):
    (tmp_path / "neg.onnx").write_bytes(NEG)
    with tfcc.Model(tmp_path / "neg.onnx") as model:
        assert model.inputs == (("x", numpy.dtype("float32"), (None,)),)
        for size in (3, 0, 1):
            output = model.run({"x": numpy.ones(size, dtype=numpy.float32)})["y"]
            assert output.shape == (size,) and output.dtype == numpy.float32 and (output == -1).all()


def test_chosen_outputs(cls):
    name = cls.outputs[0].name
    assert list(cls.run({"x": image(1, 3, 48, 192)}, outputs=[name])) == [name]
    with pytest.raises(Exception, match="no output"):
        cls.run({"x": image(1, 3, 48, 192)}, outputs=["nothing"])


def test_what_is_refused(tfcc, cls, tmp_path):
    good = image(1, 3, 48, 192)
    for inputs, words in (
        ({}, 'input "x" is missing'),
        ({"y": good}, 'no input "y"; the model has x FP32'),
        ({"x": good.astype(numpy.float64)}, r"is FP64 \[1,3,48,192\]; the model takes FP32"),
        ({"x": good.astype(">f4")}, "unknown"),
        ({"x": numpy.array(["a"])}, "unknown"),
        ({"x": good[0]}, "FP32 .3,48,192."),
        ({"x": good[:, :2]}, "FP32 .1,2,48,192."),
    ):
        with pytest.raises(tfcc.Error, match=words) as caught:
            cls.run(inputs)
        assert caught.value.code == "invalid"
    cls.close()
    with pytest.raises(tfcc.Error, match="closed"):
        cls.run({"x": good})


def test_files_that_are_no_models(tfcc, models, tmp_path):
    whole = (models / "det").read_bytes()
    empty, text, cut = (tmp_path / name for name in ("empty.onnx", "text.onnx", "cut.onnx"))
    empty.write_bytes(b"")
    text.write_text("hello\n" * 1000)
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (empty, text, cut):
        with pytest.raises(tfcc.Error) as caught:
            tfcc.Model(str(path))
        assert caught.value.code == "model_invalid" and str(path) in caught.value.message
    for name, words in (("dett", 'did you mean "det"'), ("/no/such.onnx", "No such file"), (str(tmp_path), "3 .*onnx files")):
        with pytest.raises(tfcc.Error, match=words) as caught:
            tfcc.Model(name)
        assert caught.value.code == "not_found"
    with pytest.raises(tfcc.Error) as caught:
        tfcc.Model("det", device="nvidia0")
    assert caught.value.code == "device"
    with pytest.raises(tfcc.Error):
        tfcc.Model("det", threads=0)


def test_other_threads_go_on_while_a_model_runs(tfcc):
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    with tfcc.Model("det") as model:
        big = image(1, 3, 960, 960)
        ticker = threading.Thread(target=tick)
        ticker.start()
        started = time.monotonic()
        model.run({"x": big})
        ended = time.monotonic()
        done.set()
        ticker.join()
    inside = [at for at in ticks if started < at < ended]
    assert ended - started > 0.05
    assert len(inside) > 10  # with the interpreter locked there would be one or none


def test_eight_threads_on_one_model(tfcc):
    inputs = [image(1, 3, 48, 192) * scale for scale in range(8)]
    with tfcc.Model("cls") as model:
        before = model.stats["inferences"]
        (name,) = (info.name for info in model.outputs)
        expected = [model.run({"x": array})[name].copy() for array in inputs]
        with ThreadPoolExecutor(8) as pool:
            outputs = list(pool.map(lambda i: (i % 8, model.run({"x": inputs[i % 8]})[name]), range(200)))
        assert all(numpy.array_equal(output, expected[i]) for i, output in outputs)
        assert model.stats["inferences"] - before == 208
        assert model.stats["in_flight"] == 0


def test_closing_while_it_runs(tfcc):
    model = tfcc.Model("det")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(model.run, {"x": image(1, 3, 640, 640)})
        while model.stats["in_flight"] == 0 and not running.done():
            time.sleep(0.001)
        model.close()
        (output,) = running.result().values()
    assert output.shape == (1, 1, 640, 640)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_stable(tfcc, cls):
    array = image(1, 3, 48, 192)
    for i in range(2000):
        cls.run({"x": array})
        if i == 200:
            before = resident()
    assert resident() - before < 8 << 20
    for i in range(12):
        with tfcc.Model("det") as model:
            model.run({"x": image(1, 3, 320, 320)})
        if i == 4:
            before = resident()
    assert resident() - before < 24 << 20


FORK = """
import os, sys, numpy
from astra import tfcc
array = numpy.zeros((1, 3, 48, 192), dtype=numpy.float32)
mine = tfcc.Model("cls")
mine.run({"x": array})
child = os.fork()
if child == 0:
    with tfcc.Model("cls") as model:
        model.run({"x": array})
        os._exit(0 if model.stats["inferences"] == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
mine.run({"x": array})
assert mine.stats["inferences"] == 2
assert "onnxruntime" not in sys.modules
"""


def test_fork(models):
    done = run_python(models, FORK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_as_installed(models, tmp_path):
    """lib/astra as `make install` lays it out finds its parts by itself."""
    lib = tmp_path / "lib" / "astra"
    (lib / "python").mkdir(parents=True)
    (lib / "libastra-tfcc.so").write_bytes(LIBRARY.read_bytes())
    (lib / "engine").symlink_to(ENGINE)
    subprocess.run(["cp", "-r", PYTHON / "astra", lib / "python"], check=True)
    variables = {"PYTHONPATH": str(lib / "python"), "ASTRA_MODELS": str(models), "PATH": "/nonexistent"}
    script = "from astra import tfcc; print(tfcc.engine(), tfcc.Model('cls').path)"
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("onnxruntime 1.")
    (lib / "engine").unlink()
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True)
    assert done.returncode == 1 and "no engine: neither" in done.stderr
    (lib / "libastra-tfcc.so").unlink()
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True)
    assert done.returncode == 1 and "cannot load libastra-tfcc" in done.stderr


# ---- the counters ----

WORK = """
import os, signal, sys, numpy
from astra import tfcc
model = tfcc.Model("cls")
for _ in range(int(sys.argv[1])):
    model.run({"x": numpy.zeros((2, 3, 48, 192), dtype=numpy.float32)})
try:
    model.run({"x": 1})
except tfcc.Error:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counters_outlive_a_killed_process(models, tmp_path):
    done = run_python(models, WORK, "5", ASTRA_TFCC_PAGE_DIR=str(tmp_path), ASTRA_NAMESPACE="default", ASTRA_APP="ocr")
    assert done.returncode == -signal.SIGKILL, done.stderr
    (page,) = tmp_path.glob("*.page")
    content = page.read_bytes()
    assert content[:8] == b"atfccpg1" and len(content) == 4096
    counters = dict(zip(COUNTERS, struct.unpack_from(f"<{len(COUNTERS)}Q", content, PAGE_COUNTERS)))
    assert counters["inferences"] == 5 and counters["items"] == 10 and counters["failures"] == 1
    assert counters["loads"] == 1 and counters["load_ns"] > 0 and counters["in_flight"] == 0
    assert b"default/ocr\0" in content and b"cls\0" in content
    assert page.name.endswith(".page") and "-cls-" in page.name


# ---- the command line ----


def test_inspect(models):
    done = run_astra(models, "inspect", "rec", "-o", "json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["inputs"] == [{"name": "x", "dtype": "FP32", "shape": [None, 3, None, None]}]
    assert facts["outputs"][0]["shape"][2] == 6625
    assert facts["opsets"]["ai.onnx"] >= 10 and facts["irVersion"] >= 3
    assert facts["bytes"] == (models / "rec" / "any-name.onnx").stat().st_size
    assert facts["digest"].startswith("sha256:") and len(facts["digest"]) == 71
    assert "character" in facts["metadata"] and facts["engine"].startswith("onnxruntime 1.") and facts["device"] == "cpu"
    text = run_astra(models, "inspect", "rec")
    assert text.returncode == 0 and "FP32 [?,3,?,?]" in text.stdout and facts["digest"] in text.stdout


def test_run_files(models, tfcc, tmp_path):
    array = image(3, 3, 48, 192)
    numpy.save(tmp_path / "x.npy", array)
    with tfcc.Model("cls") as model:
        ((name, expected),) = model.run({"x": array}).items()
    arguments = ["--input", f"x={tmp_path / 'x.npy'}", "--output", f"{name}={tmp_path / 'y.npy'}", "--repeat", "5", "-o", "json"]
    done = run_astra(models, "run", "cls", *arguments)
    assert done.returncode == 0, done.stderr
    assert numpy.array_equal(numpy.load(tmp_path / "y.npy"), expected)
    summary = json.loads(done.stdout)
    assert summary["runs"] == 5 and summary["outputs"] == [{"name": name, "dtype": "FP32", "shape": [3, 2]}]
    assert 0 < summary["ms"]["min"] <= summary["ms"]["p50"] <= summary["ms"]["p99"] <= summary["ms"]["max"]


def test_run_made_up_inputs(models, tmp_path):
    name = json.loads(run_astra(models, "inspect", "cls", "-o", "json").stdout)["outputs"][0]["name"]
    outputs = []
    for words in ("random:1x3x48x192:4", "random:1x3x48x192:4", "random:1x3x48x192:5", "zeros:1x3x48x192"):
        done = run_astra(models, "run", "cls", "--input", f"x={words}", "--output", f"{name}={tmp_path}/y.npy")
        assert done.returncode == 0, done.stderr
        outputs.append(numpy.load(tmp_path / "y.npy"))
    assert numpy.array_equal(outputs[0], outputs[1])
    assert not numpy.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        ([], 2, "usage: astra tfcc"),
        (["run"], 2, "which model"),
        (["run", "cls", "--inputs", "x=zeros"], 2, "no such option: --inputs"),
        (["run", "cls", "--repeat", "none", "--input", "x=zeros"], 2, "is no number"),
        (["run", "cls", "--input", "x"], 2, "is not NAME=VALUE"),
        (["run", "cls", "--input", "x=random:1xx"], 2, "not understood"),
        (["run", "cls", "--input", "x=zeros:9999999x9999999x99x99"], 2, "too"),
        (["run", "cls"], 1, 'input "x" is missing'),
        (["run", "cls", "--input", "y=zeros"], 1, 'no input "y"'),
        (["run", "cls", "--input", "x=/etc/passwd"], 1, "not a usable .npy file"),
        (["run", "cls", "--input", "x=/no/such.npy"], 1, "/no/such.npy"),
        (["run", "cls", "--input", "x=zeros:1x3x48x192", "--output", "z=/tmp/z.npy"], 1, 'no output "z"'),
        (["inspect", "/etc/passwd"], 1, "is no model"),
        (["inspect", "dett"], 1, 'did you mean "det"'),
    ],
)
def test_command_line_refuses(models, arguments, status, words):
    done = run_astra(models, *arguments)
    assert done.returncode == status
    assert words in done.stderr and done.stdout == ""
