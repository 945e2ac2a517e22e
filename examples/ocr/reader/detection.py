"""Finds lines of text: differentiable binarisation (Liao et al., "Real-time scene text detection with DB", AAAI 2020).

The network gives for each pixel the probability that it lies in the *shrunken* kernel of a line. The map is cut at a threshold,
each connected kernel becomes its smallest rectangle, weak ones are dropped, and the rest is grown back by
area x ratio / perimeter, the inverse of the shrinking used in training. For a rectangle that growth is a shift of its sides.

Two things decide what is found in practice. Small print must be enlarged and large scans reduced to where the network was
trained: the working size has at most WORK_PIXELS pixels and at most twice the image's own scale, which bounds the time by the
content and not by a fixed side (an image of one line stays small). And text that touches the edge needs air around it.
"""

import math

import cv2
import numpy as np

from . import geometry

WORK_PIXELS = 1_600_000
MAX_SCALE = 2.0
STRIDE = 32  # the network halves its input five times
MARGIN = 16  # least air around the image, in working pixels

THRESHOLD = 0.2
MIN_SCORE = 0.4  # low: what is no text is dropped later by what the recogniser thinks of it
GROWTH = 1.8
MIN_KERNEL = 3  # shorter side in working pixels, before and after growing
MIN_LINE = 5
MAX_LINES = 1000


class Detector:
    """`model` answers run({input: 1 x 3 x h x w}) with a probability map 1 x 1 x h x w."""

    def __init__(self, model):
        self._model = model
        self._input = model.inputs[0].name
        self._output = model.outputs[0].name

    def find(self, image):
        """Quadrilaterals of the text lines in a BGR image, in no particular order."""
        height, width = image.shape[:2]
        work, scale, left, top = working_image(image)
        tensor = np.ascontiguousarray(work.transpose(2, 0, 1)[None], np.float32)
        tensor *= 2 / 255
        tensor -= 1
        probability = self._model.run({self._input: tensor})[self._output][0, 0]
        quads = lines_in_map(probability)
        edge = np.array([width - 1, height - 1], np.float32)
        return [np.clip((quad - (left, top)) / scale, 0, edge).astype(np.float32) for quad in quads]


def working_image(image):
    """The image scaled and padded for the network: (array, scale (x, y), left margin, top margin)."""
    height, width = image.shape[:2]
    scale = min(MAX_SCALE, math.sqrt(WORK_PIXELS / (width * height)))
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    work = cv2.resize(image, inner, interpolation=method)
    spare = [STRIDE * math.ceil((side + 2 * MARGIN) / STRIDE) - side for side in inner]
    left, top = spare[0] // 2, spare[1] // 2
    work = cv2.copyMakeBorder(work, top, spare[1] - top, left, spare[0] - left, cv2.BORDER_REPLICATE)
    return work, np.array([inner[0] / width, inner[1] / height], np.float32), left, top


def lines_in_map(probability):
    """Grown quadrilaterals of the kernels in a probability map, in its own pixels."""
    kernels = (probability > THRESHOLD).astype(np.uint8)
    contours, _ = cv2.findContours(kernels, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    contours = sorted(contours, key=len, reverse=True)[:MAX_LINES]
    quads = []
    for contour in contours:
        rectangle = cv2.minAreaRect(contour)
        width, height = rectangle[1]
        if min(width, height) < MIN_KERNEL or mean_inside(probability, cv2.boxPoints(rectangle)) < MIN_SCORE:
            continue
        grown = geometry.grow(rectangle, width * height * GROWTH / (2 * (width + height)))
        if min(grown[1]) >= MIN_LINE:
            quads.append(geometry.clockwise(cv2.boxPoints(grown)))
    return quads


def mean_inside(probability, corners):
    """Mean of the map inside a quadrilateral."""
    low = np.floor(corners.min(axis=0)).astype(int).clip(0)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    window = probability[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillPoly(mask, [np.round(corners - low).astype(np.int32)], 1)
    return cv2.mean(window, mask)[0]
