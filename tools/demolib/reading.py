"""The images, their true texts, and how well they are read."""

import difflib
import json
import sys
from pathlib import Path

from .world import ROOT, DemoError

sys.path[:0] = [str(ROOT / "examples" / "ocr"), str(ROOT / "tests" / "data" / "ocr")]
import get_images  # noqa: E402
import get_models  # noqa: E402
from score import norm, score  # noqa: E402

TRUTH = ROOT / "tests" / "data" / "ocr"
MODELS = ROOT / "build" / "models"
PAGES = ROOT / "build" / "data" / "ocr"
# At least this, and at most 0.005 below rapidocr 1.4.4 with its defaults (0.9745, 1.0, 0.7075: `bench/run ocr-accuracy`).
LEAST = {"linn.png": 0.99, "imageTextN.png": 0.995, "page.png": 0.7025}
LEAST_LINES = 0.9
RED, GREEN, PLAIN = ("\033[31m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("[-", "[+", "]")


def fetch_models():
    return get_models.fetch(MODELS)


class Image:
    """Bytes to send, their true lines, and the lines of the first answer, which all later ones must equal."""

    def __init__(self, name, path, truth):
        self.name = name
        self.data = Path(path).read_bytes()
        self.truth = truth
        self.expected = None


def load():
    """name -> Image for the three pages, and a list of single lines."""
    paths = get_images.fetch(PAGES)
    pages = {
        name: Image(name, path, (TRUTH / f"{Path(name).stem}.txt").read_text(encoding="utf-8").splitlines())
        for name, path in paths.items()
    }
    lines = [Image(path.name, path, [text]) for path, text in get_images.line_crops(PAGES)]
    return pages, lines


def texts_of(body):
    """The lines of an answer, in its order."""
    try:
        return [line["text"] for line in json.loads(body)["lines"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DemoError(f"not the answer of this app: {body[:200]!r}") from error


def accuracy(truth, found):
    return score(truth, found)


def lines_accuracy(images):
    """Of many single lines together, each compared with its own true text."""
    wrong = sum((1 - score(image.truth, image.expected)) * len(norm(image.truth[0])) for image in images)
    return 1 - wrong / sum(len(norm(image.truth[0])) for image in images)


def marked(truth, found):
    """The line that was read, with what is missing and what is too much marked; '' for white space."""
    pieces = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, truth, found, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(found[c:d])
            continue
        if truth[a:b].strip():
            pieces.append(f"{RED}{truth[a:b]}{PLAIN}")
        if found[c:d].strip():
            pieces.append(f"{GREEN}{found[c:d]}{PLAIN}")
    return "".join(pieces)


def nearest(line, candidates):
    return max(candidates, key=lambda other: difflib.SequenceMatcher(None, line, other).ratio(), default="")


def print_beside(truth, found, width=78):
    """Each true line, and beside it what was read of it."""
    print(f"{'true text':{width}}   what was read ({RED}missing{PLAIN}, {GREEN}too much{PLAIN})")
    for line in filter(None, map(str.strip, truth)):
        read = nearest(line, found)
        same = norm(line) == norm(read)
        print(f"{line[:width]:{width}} {'=' if same else '!'} {read if same else marked(line, read)}")
