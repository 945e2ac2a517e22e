"""Says which lines stand on their heads.

The classifier looks at 192 x 48 pixels. A long line is not squeezed into that: its beginning, four times as wide as high, is
what the classifier sees, which keeps the letters' shape and is right far more often.
"""

import cv2
import numpy as np

WIDTH, HEIGHT = 192, 48
BATCH = 16


class Direction:
    """`model` answers run({input: n x 3 x 48 x 192}) with n x 2: the chance of being upright and of being turned by half."""

    def __init__(self, model):
        self._model = model
        self._input = model.inputs[0].name
        self._output = model.outputs[0].name

    def turned(self, pieces):
        """For each line image its probability of standing upside down, and the number of runs it took."""
        chances, runs = [], 0
        for first in range(0, len(pieces), BATCH):
            batch = np.stack([tensor(piece) for piece in pieces[first : first + BATCH]])
            chances.extend(float(row[1]) for row in self._model.run({self._input: batch})[self._output])
            runs += 1
        return chances, runs


def tensor(piece):
    height, width = piece.shape[:2]
    head = piece[:, : max(1, height * WIDTH // HEIGHT)]
    wide = min(WIDTH, max(1, round(head.shape[1] * HEIGHT / height)))
    out = np.zeros((3, HEIGHT, WIDTH), np.float32)
    scaled = cv2.resize(head, (wide, HEIGHT), interpolation=cv2.INTER_LINEAR)
    out[:, :, :wide] = scaled.transpose(2, 0, 1) * np.float32(2 / 255) - 1
    return out
