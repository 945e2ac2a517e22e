"""Reads one line: a convolutional and attention network over columns, decoded by connectionist temporal classification.

Each line runs alone, at its own width. The network's answer depends a little on the padding to the right, so padding lines to a
common width would make one line's text depend on its neighbours; and one core gains nothing from batches of lines this wide.
"""

import cv2
import numpy as np

HEIGHT = 48
STEP = 8  # columns of input to one step of output; widths are rounded up to it
MIN_WIDTH = 16
MAX_WIDTH = 3200  # attention costs the square of the width: longer lines are read in pieces


class Recogniser:
    """`model` answers run({input: 1 x 3 x 48 x w}) with 1 x w/8 x classes; its metadata has the characters, one a line."""

    def __init__(self, model):
        characters = model.metadata.get("character")
        if not characters:
            raise ValueError("the recognition model has no metadata key 'character': it cannot be decoded")
        self._alphabet = ["", *characters.splitlines(), " "]  # class 0 is the blank, the last one a space
        classes = model.outputs[0].shape[-1]
        if classes is not None and classes != len(self._alphabet):
            raise ValueError(f"the recognition model has {classes} classes but names {len(self._alphabet)} characters")
        self._model = model
        self._input = model.inputs[0].name
        self._output = model.outputs[0].name

    def read(self, piece):
        """(text, score 0..1, runs of the model) of one upright line image."""
        texts, scores, runs = [], [], 0
        for part in parts(scaled(piece)):
            steps = self._model.run({self._input: tensor(part)})[self._output][0]
            text, score = self.decode(steps)
            texts.append(text)
            scores.extend(score)
            runs += 1
        return "".join(texts), float(np.mean(scores)) if scores else 0.0, runs

    def decode(self, steps):
        """Greedy: the likeliest class of each step, repetitions merged, blanks dropped. Returns the text and each score."""
        best = steps.argmax(axis=1)
        keep = best != 0
        keep[1:] &= best[1:] != best[:-1]
        return "".join(self._alphabet[i] for i in best[keep]), steps.max(axis=1)[keep].tolist()


def scaled(piece):
    """The line image at the network's height, its proportions kept."""
    height, width = piece.shape[:2]
    wide = max(MIN_WIDTH, int(np.ceil(width * HEIGHT / height)))
    return cv2.resize(piece, (wide, HEIGHT), interpolation=cv2.INTER_LINEAR)


def parts(piece):
    """Cuts a line longer than MAX_WIDTH where its columns vary least: between words."""
    while piece.shape[1] > MAX_WIDTH:
        start = MAX_WIDTH // 2
        change = piece[:, start:MAX_WIDTH].astype(np.float32).std(axis=(0, 2))
        quiet = cv2.blur(change[None], (HEIGHT // 4, 1))[0]
        at = start + int(quiet.argmin())
        yield piece[:, :at]
        piece = piece[:, at:]
    yield piece


def tensor(piece):
    width = piece.shape[1]
    out = np.zeros((1, 3, HEIGHT, -(-max(width, MIN_WIDTH) // STEP) * STEP), np.float32)
    out[0, :, :, :width] = piece.transpose(2, 0, 1) * np.float32(2 / 255) - 1
    return out
