"""Curves over time as an SVG: panels one below the other, with one axis of minutes."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, GAP, RIGHT = 900, 150, 60, 50, 50, 150
COLOURS = ("#0b5fa5", "#c05a00", "#2c7a2c", "#7a3d99", "#6b6b6b", "#a0791f")
BAD, MARK = "#c00020", "#bbbbbb"
POINTS = 600  # of a curve: the largest value of each piece


@dataclass
class Panel:
    title: str
    series: dict  # name -> [(second, value)]
    bars: list = field(default_factory=list)  # (second, value), drawn in red
    bars_name: str = ""
    marks: list = field(default_factory=list)  # (second, what)


def thin(points):
    """At most POINTS of them; a piece is shown by its largest value, so that no peak is lost."""
    piece = max(1, -(-len(points) // POINTS))
    return [max(points[at : at + piece], key=lambda point: point[1]) for at in range(0, len(points), piece)]


def nice(value):
    """The axis' end: 1, 2 or 5 times a power of ten, at least the value."""
    step = 1.0
    while step < value:
        step *= 10
    return next(step * part for part in (0.1, 0.2, 0.5, 1.0) if step * part >= value)


def text(x, y, words, colour="#333333", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def panel_lines(panel, top, span_s):
    most = nice(max([1, *(y for points in panel.series.values() for _, y in points), *(y for _, y in panel.bars)]))
    bottom = top + HEIGHT

    def x(second):
        return LEFT + WIDTH * min(max(second, 0), span_s) / span_s

    def y(value):
        return bottom - HEIGHT * value / most

    yield text(LEFT, top - 8, panel.title)
    yield f'<path d="M{LEFT} {top}V{bottom}H{LEFT + WIDTH}" fill="none" stroke="#888888"/>'
    for value in (0, most / 2, most):
        yield text(LEFT - 6, y(value) + 4, f"{value:g}", anchor="end")
    for second, what in panel.marks:
        yield f'<path d="M{x(second):.1f} {top}V{bottom}" stroke="{MARK}"><title>{escape(what)}</title></path>'
    legend = []
    for i, (name, points) in enumerate(panel.series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in thin(points))
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        legend.append((name, colour))
    for second, value in panel.bars:
        yield f'<path d="M{x(second):.1f} {bottom}V{min(y(value), bottom - 3):.1f}" stroke="{BAD}" stroke-width="2"/>'
    if panel.bars_name:
        legend.append((f"{panel.bars_name}: {sum(value for _, value in panel.bars):g}", BAD))
    for i, (name, colour) in enumerate(legend):
        yield text(LEFT + WIDTH + 10, top + 14 + 18 * i, name, colour)


def draw(title, panels):
    span_s = max([1, *(second for panel in panels for points in panel.series.values() for second, _ in points)])
    whole = TOP + len(panels) * (HEIGHT + GAP)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {whole}" font-family="sans-serif" font-size="12">',
             f'<rect width="{LEFT + WIDTH + RIGHT}" height="{whole}" fill="#ffffff"/>', text(LEFT, 22, title, "#000000")]  # fmt: skip
    for i, panel in enumerate(panels):
        lines += panel_lines(panel, TOP + 10 + i * (HEIGHT + GAP), span_s)
    bottom, minutes = TOP + 10 + (len(panels) - 1) * (HEIGHT + GAP) + HEIGHT, span_s / 60
    for part in range(6):
        lines.append(text(LEFT + WIDTH * part / 5, bottom + 18, f"{minutes * part / 5:.1f} min", anchor="middle"))
    return "\n".join([*lines, "</svg>"]) + "\n"
