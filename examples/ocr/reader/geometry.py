"""Quadrilaterals: float32 arrays of shape 4 x 2, corners clockwise from the top left, in pixels of the image."""

import cv2
import numpy as np

MAX_CUT = 16_000  # longest side of a line cut out: no line of text is 300 times as long as high


def clockwise(corners):
    """The same four corners, clockwise, beginning with the upper one of the two leftmost."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    left = left[np.argsort(left[:, 1], kind="stable")]
    right = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def size(quad):
    """Width and height of a quadrilateral: of two opposite sides the longer."""
    side = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return max(side[0], side[2]), max(side[1], side[3])


def grow(rectangle, distance):
    """A minAreaRect moved outwards by `distance` on all four sides."""
    centre, (width, height), angle = rectangle
    return centre, (width + 2 * distance, height + 2 * distance), angle


def cut(image, quad, text_height):
    """The quadrilateral's content as an image of its own, enlarged at once where its text is lower than `text_height`.

    Small print is interpolated only once that way: twice costs letters.
    """
    width, height = size(quad)
    factor = max(1.0, text_height / max(1.0, width if stands(quad) else height))
    width, height = (min(MAX_CUT, max(1, round(float(side * factor)))) for side in (width, height))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(quad, target)
    return cv2.warpPerspective(
        image, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def stands(quad):
    """True for a line that runs up or down the page."""
    width, height = size(quad)
    return height >= 1.5 * width


def levelled(quads, quarter_turns):
    """Quadrilaterals (n x 4 x 2) turned clockwise by quarters, and then by their common skew, so that most lines lie level."""
    x, y = quads[:, :, 0], quads[:, :, 1]
    for _ in range(quarter_turns % 4):
        x, y = -y, x
    along = np.where(
        np.hypot(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]) > np.hypot(x[:, 2] - x[:, 1], y[:, 2] - y[:, 1]),
        np.arctan2(y[:, 1] - y[:, 0], x[:, 1] - x[:, 0]),
        np.arctan2(y[:, 2] - y[:, 1], x[:, 2] - x[:, 1]),
    )
    slope = np.arctan(np.tan(along))
    lying = np.abs(slope) < np.pi / 6
    skew = float(np.median(slope[lying])) if lying.any() else 0.0
    cos, sin = np.cos(-skew), np.sin(-skew)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=2)
