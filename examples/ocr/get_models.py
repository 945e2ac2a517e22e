#!/usr/bin/env python3
"""Fetches the three PP-OCR models of this example: get_models.py [FOLDER] writes det.onnx, cls.onnx and rec.onnx there.

The weights are PaddleOCR's (Apache-2.0), converted to ONNX; they come out of the registry's package rapidocr-onnxruntime, whose
code is not used. Each file is checked against its SHA-256 and put in place whole, so a second call does nothing and an
interrupted one leaves nothing half done. FOLDER defaults to build/models of the checkout.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "rapidocr-onnxruntime==1.4.4"
INSIDE = "rapidocr_onnxruntime/models/"
MODELS = {  # name: (file in the package, SHA-256)
    "det": ("ch_PP-OCRv4_det_infer.onnx", "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    "rec": ("ch_PP-OCRv4_rec_infer.onnx", "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
}


def is_there(path, sha256):
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def put(path, content, sha256):
    """Writes a file whole or not at all; ends the program if it is not the expected one."""
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"get_models: error: {path.name} is not the file that is pinned here: nothing written")
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def fetch(folder):
    """Makes sure that the models lie in `folder`; returns name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: folder / f"{name}.onnx" for name in MODELS}
    if all(is_there(path, MODELS[name][1]) for name, path in wanted.items()):
        return wanted
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        command = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([sys.executable, "-m", *command, "--dest", scratch, PACKAGE], check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            for name, path in wanted.items():
                inside, sha256 = MODELS[name]
                put(path, wheel.read(INSIDE + inside), sha256)
    return wanted


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "build" / "models"
    try:
        for name, path in fetch(folder).items():
            print(f"{name} {path}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"get_models: error: pip could not download {PACKAGE} (status {error.returncode}): is the registry reachable?")


if __name__ == "__main__":
    main()
