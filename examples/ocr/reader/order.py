"""Puts lines in reading order, columns first (after Breuel, "High performance document layout analysis", 2003).

Two facts order most pages: (1) of two lines that share columns of the page, the upper one comes first; (2) of two that do not,
the left one comes first, unless some line lies between them in height and spans both: a heading over the next pair of columns.
The lines are then sorted topologically, and the uppermost one goes first wherever the facts leave a choice or contradict each other.

A line counts as wide as the paragraph it belongs to: a short heading of a wide section is thereby below all columns above it. Lines
form a paragraph where each is the only near neighbour of the other; a wide line over two columns has two, so it joins neither.
"""

import numpy as np

from . import geometry

SHARED = 0.1  # part of the narrower line's width by which two must overlap to share columns
NEAR = 0.4  # gap between lines of one paragraph at most, in heights of the lower line


def reading_order(quads, quarter_turns=0):
    """Indexes of the quadrilaterals in reading order, for text that stands upright after so many clockwise quarter turns."""
    if not quads:
        return []
    corners = geometry.levelled(np.stack(quads), quarter_turns)
    left, right = corners[:, :, 0].min(axis=1), corners[:, :, 0].max(axis=1)
    top, bottom = corners[:, :, 1].min(axis=1), corners[:, :, 1].max(axis=1)
    rank = np.lexsort((left, top + bottom))
    left, right, top, bottom = left[rank], right[rank], top[rank], bottom[rank]
    members = paragraphs(share_columns(left, right), top, bottom)
    for group in members:
        left[group], right[group] = left[group].min(), right[group].max()
    return [int(rank[i]) for i in topological(precedence(left, right))]


def share_columns(left, right):
    """shared[a, b]: the lines overlap from left to right."""
    common = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    return common > SHARED * np.minimum((right - left)[:, None], right - left)


def paragraphs(shared, top, bottom):
    """Lists of indexes of lines, sorted from top to bottom, that form paragraphs."""
    height = bottom - top
    place = np.arange(len(top))
    gap = top[None, :] - bottom[:, None]
    near = shared & (place[:, None] < place) & (gap < NEAR * height) & (gap > -height)
    alone = near & (near.sum(axis=1) == 1)[:, None] & (near.sum(axis=0) == 1)
    groups = []
    group_of = {}
    for lower in place:
        upper = np.flatnonzero(alone[:, lower])
        group = group_of[int(upper[0])] if len(upper) else []
        if not group:
            groups.append(group)
        group.append(int(lower))
        group_of[int(lower)] = group
    return groups


def precedence(left, right):
    """before[a, b]: a is read before b. Lines come sorted from top to bottom."""
    shared = share_columns(left, right)
    leftward = (left + right)[:, None] < (left + right)
    place = np.arange(len(left))
    before = shared & (place[:, None] < place)
    for a in place:
        between = (np.minimum(a, place) < place[:, None]) & (place[:, None] < np.maximum(a, place))
        blocked = (shared[a][:, None] & shared & between).any(axis=0)  # [c, b]: c lies between and spans a and b
        before[a] |= leftward[a] & ~shared[a] & ~blocked
    return before


def topological(before):
    """Indexes so that predecessors come first; in a cycle, the first line of those left."""
    waiting = before.sum(axis=0)
    left = np.ones(len(before), bool)
    out = []
    for _ in range(len(before)):
        free = np.flatnonzero(left & (waiting == 0))
        nearest = free[0] if len(free) else np.flatnonzero(left)[0]
        out.append(int(nearest))
        left[nearest] = False
        waiting = waiting - before[nearest]
    return out
