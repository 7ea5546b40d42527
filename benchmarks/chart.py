"""The picture: a bar for each bot on each store, readable on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.contenders import Contender, on_store
from benchmarks.report import short
from benchmarks.results import Kind, Results
from benchmarks.suite import PLUS_ONES

__all__ = ["svg"]

GROUPS = {
    "In memory": ("memory",),
    "On disk": ("file", "sqlite"),
    "Redis": ("redis",),
    "PostgreSQL": ("postgres",),
}
# What is far from everything else would leave nothing of the others' bars.
LEFT_OUT = ("memory/floor",)

WIDTH = 850
LABELS = 290  # where bars begin
LONGEST = 340  # of a bar
ROW, BAR, GAP = 26, 9, 34

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.small { font-size: 11px; fill: #59636e }
.lost { font-size: 11px; fill: #bc4c00 }
.ours { fill: #0969da } .theirs { fill: #818b98 } .floor { fill: #d1d9e0 }
.one { opacity: .5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .lost { fill: #f0883e }
  .ours { fill: #4493f8 } .theirs { fill: #767e89 } .floor { fill: #3d444d }
}"""


def svg(results: Results) -> str:
    """The picture, with what was measured and nothing else."""
    parts = list(_parts(results))
    height = max((y for y, _ in parts), default=0) + ROW
    body = "\n".join(line for _, line in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {WIDTH + 8} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>Events a second of each bot on each store</title>\n"
        f"<style>\n{STYLE}\n</style>\n{body}\n</svg>\n"
    )


def _parts(results: Results) -> Iterator[tuple[int, str]]:
    """Each line of the picture, with how far down it is."""
    y = 20
    told = "events a second, 64 in flight; the paler bar: 1 in flight"
    yield y, _text(0, y, told, "small")
    y += 8
    for title, stores in GROUPS.items():
        rows = [
            (store, contender)
            for store in stores
            for contender in on_store(store)
            if f"{store}/{contender.name}" not in LEFT_OUT
            and results.of(Kind(f"{store}/{contender.name}", 64))
        ]
        if not rows:
            continue
        y += GAP
        yield y, _text(0, y, title, "title")
        rates = [_rate(results, *row, in_flight) for row in rows for in_flight in (1, 64)]
        for store, contender in rows:
            y += ROW
            for line in _row(results, store, contender, y, LONGEST / max(rates)):
                yield y, line


def _row(results: Results, store: str, contender: Contender, y: int, scale: float) -> Iterator[str]:
    kind = "theirs"
    label = contender.title
    if contender.name.startswith("barback"):
        kind = "ours"
        label += {"file": ", files", "sqlite": ", SQLite"}.get(store, "")
    elif contender.name.startswith(("floor", "redis-py")):
        kind = "floor"
    yield _text(LABELS - 10, y, label, "", end=True)
    many, alone = (_rate(results, store, contender, in_flight) for in_flight in (64, 1))
    yield _bar(y - 10, many * scale, kind)
    yield _bar(y - 10 + BAR, alone * scale, f"{kind} one")
    end = LABELS + max(many, alone) * scale + 8
    told = f"{short(many)} / {short(alone)}"
    yield _text(end, y, told, "")
    counted = results.spread(Kind(f"{store}/{contender.name}", variant="+1"), "value")
    if counted is not None and counted[0] < PLUS_ONES:
        yield _text(end + 7 * len(told) + 8, y, "loses updates", "lost")


def _rate(results: Results, store: str, contender: Contender, in_flight: int) -> float:
    return results.median(Kind(f"{store}/{contender.name}", in_flight)) or 0.0


def _bar(y: float, width: float, kind: str) -> str:
    width = max(width, 1.0)
    return f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" class="{kind}"/>'


def _text(x: float, y: float, words: str, kind: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    styled = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y}"{styled}{anchor}>{escape(words)}</text>'
