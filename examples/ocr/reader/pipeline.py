"""From an image to its lines: the one object that a server, a test or a command line needs."""

import os
import threading
import time

import cv2
from astra import tfcc

from . import geometry
from .detection import Detector
from .direction import Direction
from .image import decode
from .order import reading_order
from .recognition import HEIGHT, Recogniser

MIN_SCORE = 0.5  # what the recogniser doubts more than this is no text
SURE = 0.9


class Turns:
    """A model whose runs take turns with those of the other models.

    One run uses all cores of the claim already. Several at once would gain nothing, and a run on a full page takes 300 MB while
    it lasts. Turns are as short as one line, so a small image is not held up by a full page.
    """

    def __init__(self, model, turn):
        self.inputs, self.outputs, self.metadata = model.inputs, model.outputs, model.metadata
        self._run = model.run
        self._turn = turn

    def run(self, feeds):
        with self._turn:
            return self._run(feeds)


class Reader:
    """Holds the three models. `read` may be called from several threads at once, and gives the same image the same lines."""

    def __init__(self, threads=None):
        """`threads` for each model and for image work; without it OMP_NUM_THREADS, which Astra sets to the claim's cores."""
        threads = threads or claimed_threads()
        cv2.setNumThreads(threads)
        self._models = [tfcc.Model(name, threads=threads) for name in ("det", "cls", "rec")]
        turn = threading.Lock()
        det, cls, rec = (Turns(model, turn) for model in self._models)
        self._detector = Detector(det)
        self._direction = Direction(cls)
        self._recogniser = Recogniser(rec)

    def close(self):
        for model in self._models:
            model.close()

    def read_bytes(self, data):
        """Reads a PNG or JPEG file's bytes; see `read`. Raises BadRequest."""
        started = time.perf_counter()
        image = decode(data)
        result = self.read(image)
        total = milliseconds(started)
        spent = result["time_ms"]
        result["time_ms"] = {"decode": round(total - spent["total"], 1), **spent, "total": total}
        return result

    def read(self, image):
        """Reads a BGR array: lines in reading order, the image's size, how often each model ran, milliseconds spent."""
        started = time.perf_counter()
        quads = self._detector.find(image)
        detected = time.perf_counter()
        pieces, turns = [], []
        for quad in quads:
            piece, turn = upright(image, quad)
            pieces.append(piece)
            turns.append(turn)
        chances, directed = self._direction.turned(pieces)
        classified = time.perf_counter()
        lines, runs = self._recognise(quads, pieces, turns, chances)
        ordered = reading_order([line["quad"] for line in lines], page_turns(lines))
        return {
            "lines": [public(lines[i]) for i in ordered],
            "width": image.shape[1],
            "height": image.shape[0],
            "inferences": {"det": 1, "cls": directed, "rec": runs},
            "time_ms": {
                "detect": milliseconds(started, detected),
                "direct": milliseconds(detected, classified),
                "recognise": milliseconds(classified),
                "total": milliseconds(started),
            },
        }

    def _recognise(self, quads, pieces, turns, chances):
        lines, runs = [], 0
        for quad, piece, turn, chance in zip(quads, pieces, turns, chances):
            text, score, half, ran = self._read_line(piece, chance)
            runs += ran
            if score >= MIN_SCORE and text.strip():
                lines.append({"text": text.strip(), "score": score, "quad": quad, "turn": (turn + 2 * half) % 4})
        return lines, runs

    def _read_line(self, piece, chance):
        """The classifier proposes a direction, and where it sees a turned line the recogniser has the last word."""
        first = chance > SURE
        text, score, runs = self._recogniser.read(half_turn(piece) if first else piece)
        if chance > 0.5 and score < SURE:
            other_text, other_score, more = self._recogniser.read(piece if first else half_turn(piece))
            runs += more
            if other_score > score:
                return other_text, other_score, not first, runs
        return text, score, first, runs


def upright(image, quad):
    """A line cut out with its text lying, and the clockwise quarter turns that took."""
    piece = geometry.cut(image, quad, HEIGHT)
    if geometry.stands(quad):
        return cv2.rotate(piece, cv2.ROTATE_90_CLOCKWISE), 1
    return piece, 0


def half_turn(piece):
    return cv2.rotate(piece, cv2.ROTATE_180)


def page_turns(lines):
    """The quarter turns that most of the page's text needs, by characters."""
    votes = [0, 0, 0, 0]
    for line in lines:
        votes[line["turn"]] += len(line["text"])
    return votes.index(max(votes))


def public(line):
    return {
        "text": line["text"],
        "score": round(line["score"], 4),
        "box": [[round(float(x)), round(float(y))] for x, y in line["quad"]],
    }


def milliseconds(since, until=None):
    return round(((until or time.perf_counter()) - since) * 1000, 1)


def claimed_threads():
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() and int(value) > 0 else 1
