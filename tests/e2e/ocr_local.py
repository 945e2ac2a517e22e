"""The OCR example without Ray: its reader, run by the TFCC of this build on the models and pages that it fetches."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "build" / "models"
PAGES = ROOT / "build" / "data" / "ocr"
TRUTH = ROOT / "tests" / "data" / "ocr"
PATHS = [ROOT / "examples" / "ocr", ROOT / "python", TRUTH]


def environment(base=os.environ):
    """The environment of a Python that runs examples/ocr on this build, one thread."""
    return {
        **base,
        "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
        "ASTRA_MODELS": str(MODELS),
        "ASTRA_TFCC_LIBRARY": str(ROOT / "build" / "src" / "tfcc" / "libastra-tfcc.so"),
        "ASTRA_TFCC_ENGINE_DIR": str(ROOT / "build" / "engine"),
        "OMP_NUM_THREADS": "1",
    }


def prepare():
    """Makes this process able to import `reader` and `astra.tfcc`, fetches what is missing; returns page name -> path."""
    os.environ.update(environment())
    sys.path[:0] = [str(path) for path in PATHS if str(path) not in sys.path]
    import get_images
    import get_models

    get_models.fetch(MODELS)
    return get_images.fetch(PAGES)


def true_lines(page):
    return (TRUTH / f"{Path(page).stem}.txt").read_text(encoding="utf-8").splitlines()
