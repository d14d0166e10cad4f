"""Bars as an SVG image, for the README: text in, text out, no package."""
from typing import List, NamedTuple, Sequence
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 800, 230, 90  # pixels: all, for the labels, for the values
BAR, GAP, TITLE, LEGEND = 13, 12, 34, 30
COLOURS = ("#2563eb", "#9ca3af", "#16a34a", "#d97706")
FONT = "font-family='system-ui,sans-serif'"


class Panel(NamedTuple):
    """One scale: a title, and for each label a value of each series."""
    title: str
    labels: Sequence[str]
    values: Sequence[Sequence[float]]  # [label][series]
    form: str  # of a value, e.g. "%.1f GB/s"


def chart(series: Sequence[str], panels: Sequence[Panel]) -> str:
    """The panels one below the other, under a legend of the series."""
    parts: List[str] = []
    x = LEFT
    for name, colour in zip(series, COLOURS):
        parts.append("<rect x='%d' y='10' width='12' height='12' fill='%s'/>" % (x, colour))
        parts.append(text(x + 18, 21, name))
        x += 40 + 8 * len(name)
    y = LEGEND
    for panel in panels:
        y += TITLE
        parts.append(text(LEFT, y - 10, panel.title, weight="600"))
        largest = max(value for row in panel.values for value in row) or 1
        for label, row in zip(panel.labels, panel.values):
            parts.append(text(LEFT - 10, y + BAR * len(row) / 2 + 4, label, anchor="end"))
            for value, colour in zip(row, COLOURS):
                width = (WIDTH - LEFT - RIGHT) * value / largest
                parts.append("<rect x='%d' y='%d' width='%.1f' height='%d' fill='%s'/>"
                             % (LEFT, y, width, BAR - 2, colour))
                parts.append(text(LEFT + width + 6, y + BAR - 4, panel.form % value, size=11))
                y += BAR
            y += GAP
    return ("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d'>\n"
            "<rect width='100%%' height='100%%' fill='#ffffff'/>\n%s\n</svg>\n"
            % (WIDTH, y + GAP, WIDTH, y + GAP, "\n".join(parts)))


def text(x: float, y: float, words: str, anchor: str = "start", weight: str = "400", size: int = 13) -> str:
    return "<text x='%.1f' y='%.1f' %s font-size='%d' font-weight='%s' text-anchor='%s' fill='#111827'>%s</text>" % (
        x, y, FONT, size, weight, anchor, escape(words))
