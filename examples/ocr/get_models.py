#!/usr/bin/python3
"""Fetches the three PP-OCR models of this example: get_models.py [FOLDER] writes det/det.onnx, cls/cls.onnx, rec/rec.onnx there.

The weights are PaddleOCR's (Apache-2.0), converted to ONNX; they come out of the registry's package rapidocr-onnxruntime, whose
code is not used. Each file is checked against its SHA-256 and put in place whole, so a second call does nothing and an
interrupted one leaves nothing half done. FOLDER defaults to build/models of the checkout; TFCC finds the models by name when
ASTRA_MODELS names it.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "rapidocr-onnxruntime==1.4.4"
INSIDE = "rapidocr_onnxruntime/models/"
MODELS = {  # name: (file in the package, SHA-256)
    "det": ("ch_PP-OCRv4_det_infer.onnx", "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    "rec": ("ch_PP-OCRv4_rec_infer.onnx", "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
}


class FetchError(Exception):
    """Something could not be fetched, or is not what is pinned."""


def is_there(path, sha256):
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def put(path, content, sha256):
    """Writes a file whole or not at all, and only if it is the expected one."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FetchError(f"what was fetched as {path.name} is not the file that is pinned here; nothing written")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def pip_download(folder, *arguments):
    """`pip download --no-deps` into a folder, with this Python's pip or else build/venv's. Returns the only file fetched."""
    python = sys.executable if importlib.util.find_spec("pip") else str(ROOT / "build" / "venv" / "bin" / "python")
    if not Path(python).exists():
        raise FetchError("this Python has no pip, and build/venv is missing: run tools/setup first")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    done = subprocess.run([python, "-m", "pip", "download", *quiet, "--dest", folder, *arguments], stdout=sys.stderr)
    if done.returncode:
        raise FetchError(f"pip download {arguments[-1]} ended with status {done.returncode}: is the registry reachable?")
    return next(path for path in Path(folder).iterdir() if path.is_file())


def fetch(folder):
    """Makes sure that the models lie in `folder`; returns name -> path. Raises FetchError."""
    wanted = {name: folder / name / f"{name}.onnx" for name in MODELS}
    if all(is_there(path, MODELS[name][1]) for name, path in wanted.items()):
        return wanted
    with tempfile.TemporaryDirectory(prefix="get-models-") as scratch:
        with zipfile.ZipFile(pip_download(scratch, "--only-binary", ":all:", PACKAGE)) as wheel:
            for name, path in wanted.items():
                inside, sha256 = MODELS[name]
                put(path, wheel.read(INSIDE + inside), sha256)
    return wanted


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "models"
    try:
        for name, path in fetch(folder).items():
            print(f"{name} {path}")
    except FetchError as error:
        sys.exit(f"get_models: error: {error}")


if __name__ == "__main__":
    main()
