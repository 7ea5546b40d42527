"""The picture: every panel at its place, readable on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.dashboard.panels import Panel, Series, told

__all__ = ["svg"]

WIDTH = 960
COLUMN = WIDTH / 24  # the dashboard's grid is 24 wide
UNIT = 25  # how high a unit of the grid is
TOP = 44
GAP = 4  # on each side of a panel
LEFT, RIGHT, HEAD, FOOT = 68, 18, 32, 18  # between a panel's edge and its plot
LEGEND = 15  # a line of it
LETTER = 6.1  # how wide one is, at the most
AFTER_A_GAP = 1.5  # steps without a number end a line

# Lines differ by colour, which is seen on light and on dark, and by how they are dashed.
COLOURS = 8
STYLE = """\
.dashboard { --ink: #1c2733; --dim: #4d5b69; --line: #8a97a5; }
.dashboard { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  .dashboard { --ink: #e6ebf0; --dim: #b1bdc9; --line: #71808f; }
}
.dashboard text { fill: var(--dim); font-size: 11px; }
.dashboard .title { fill: var(--ink); font-size: 13px; font-weight: 600; }
.dashboard .row { fill: var(--ink); font-size: 14px; }
.dashboard .number { fill: #8b6fe8; font-size: 44px; font-weight: 600; }
.dashboard .panel, .dashboard .grid { fill: none; stroke: var(--line); opacity: .5; }
.dashboard .grid { stroke-width: .5; }
.dashboard .s { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.dashboard .s0 { stroke: #2f81f7; }
.dashboard .s1 { stroke: #cc6a1c; stroke-dasharray: 7 3; }
.dashboard .s2 { stroke: #1f9a5b; stroke-dasharray: 1.5 3.5; }
.dashboard .s3 { stroke: #c2509b; stroke-dasharray: 8 3 1.5 3; }
.dashboard .s4 { stroke: #8b6fe8; stroke-dasharray: 4 3; }
.dashboard .s5 { stroke: #e0524a; }
.dashboard .s6 { stroke: #12919c; stroke-dasharray: 12 3; }
.dashboard .s7 { stroke: #a08207; stroke-dasharray: 3 5; }"""


def svg(
    panels: Sequence[Panel], rows: Sequence[dict[str, Any]], seconds: float, channels: Sequence[str]
) -> str:
    """The whole dashboard."""
    height = TOP + UNIT * max(panel.place["y"] + panel.place["h"] for panel in panels) + GAP
    title = "The dashboard of a bot, with Telegram and LINE"
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing dashboard" '
            f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
            f'aria-labelledby="dashboard-title dashboard-desc">'
        ),
        f'<title id="dashboard-title">{title}</title>',
        f'<desc id="dashboard-desc">{escape(_described(panels, seconds))}</desc>',
        f"<style>\n{STYLE}\n</style>",
        _text(GAP, 22, "barback", "title"),
        _text(GAP + 70, 22, f"Channel: All ({', '.join(channels)})"),
        _text(WIDTH - GAP, 22, f"{round(seconds)} seconds", anchor="end"),
        *(_row(row) for row in rows),
        *(line for panel in panels for line in _panel(panel)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _described(panels: Sequence[Panel], seconds: float) -> str:
    """The picture in words: what each panel shows, and how far its lines go."""
    shown = [
        f"{panel.title}: {', '.join(one.summary(panel.unit) for one in panel.series) or 'nothing'}."
        for panel in panels
    ]
    return f"{len(panels)} panels, over {round(seconds)} seconds. {' '.join(shown)}"


def _row(row: dict[str, Any]) -> str:
    return _text(GAP, TOP + row["gridPos"]["y"] * UNIT + 19, row["title"], "row")


def _panel(panel: Panel) -> Iterator[str]:
    place = panel.place
    width, height = place["w"] * COLUMN - 2 * GAP, place["h"] * UNIT - 2 * GAP
    x, y = place["x"] * COLUMN + GAP, TOP + place["y"] * UNIT + GAP
    yield f'<g transform="translate({x:g} {y:g})">'
    yield f'<rect class="panel" width="{width:g}" height="{height:g}" rx="4"/>'
    yield _text(10, 19, panel.title, "title")
    if panel.kind == "stat":
        number = panel.series[0].points[-1][1] if panel.series else 0
        yield (
            f'<text class="number" x="{width / 2:g}" y="{height / 2 + 16:g}" '
            f'text-anchor="middle">{told(number, panel.unit)}</text>'
        )
    else:
        legend = list(_legend(panel.series, width))
        bottom = height - FOOT - LEGEND * (legend[-1][1] + 1 if legend else 0) - 2
        yield from _plot(panel, width, bottom)
        for (across, down, name), number in zip(legend, range(len(legend)), strict=True):
            at = bottom + FOOT + 10 + down * LEGEND
            yield f'<path class="s s{number % COLOURS}" d="M{across:g} {at - 4:g}h18"/>'
            yield _text(across + 23, at, name)
    yield "</g>"


def _plot(panel: Panel, width: float, bottom: float) -> Iterator[str]:
    """Lines over time, with a scale that ends at a round number."""
    step = _step(panel.most)
    top = step * max(1, math.ceil(panel.most / step))
    right = width - RIGHT

    def across(moment: float) -> float:
        return LEFT + (right - LEFT) * moment / panel.seconds

    def up(value: float) -> float:
        return bottom - (bottom - HEAD) * value / top

    for mark in range(round(top / step) + 1):
        at = up(mark * step)
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right:g}"/>'
        yield _text(LEFT - 5, at + 4, told(mark * step, panel.unit) if mark else "0", anchor="end")
    for moment in range(0, int(panel.seconds) + 1, 30):
        yield _text(
            across(moment), bottom + 14, f"{moment // 60}:{moment % 60:02}", anchor="middle"
        )
    for number, series in enumerate(panel.series):
        drawn = "".join(_strokes(series, across, up))
        yield f'<path class="s s{number % COLOURS}" d="{drawn}"/>'


def _strokes(series: Series, across: Any, up: Any) -> Iterator[str]:
    """The line of a series; it begins anew after a gap."""
    moments = [moment for moment, _ in series.points]
    usual = min((later - one for one, later in pairwise(moments)), default=1.0)
    before = -math.inf
    for moment, value in series.points:
        goes_on = moment - before <= usual * AFTER_A_GAP
        yield f"{'L' if goes_on else 'M'}{across(moment):.1f} {up(value):.1f}"
        before = moment
    if len(moments) == 1:
        yield "h1"


def _step(most: float) -> float:
    """A round number, of which two to four reach the top."""
    if most <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(most / 3))
    return next(size * by for by in (1, 2, 2.5, 5, 10) if most / (size * by) <= 4)


def _legend(series: Sequence[Series], width: float) -> Iterator[tuple[float, int, str]]:
    """Where each name stands: how far to the right, in which line."""
    across, down = 10.0, 0
    for one in series:
        room = int((width - 43) / LETTER)
        name = one.name if len(one.name) <= room else f"{one.name[: room - 1]}…"
        wide = 23 + len(name) * LETTER + 12
        if across > 10 and across + wide - 12 > width:
            across, down = 10.0, down + 1
        yield across, down, name
        across += wide


def _text(x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> str:
    styled = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{styled} text-anchor="{anchor}">{escape(words)}</text>'
