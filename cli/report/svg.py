"""Plots as SVG that stretches: no text in it, so nothing is ever too small to read.

Pure. Coordinates go from 0 to WIDE across, whatever the width on the screen is; lines keep
their width. Every text goes through `escape`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape as html_escape

from py_agent.cli.report.shapes import DRAWN_TOGETHER, LENGTHS, PER_DECADE, Strip

from py_agent.failures import printable

WIDE = 1_000

BARS, ALL, STRIP, AREA = 34, 60, 22, 42  # heights
FLAG, BAND = 8, 10  # where the flag of a strip ends, and its band begins
LEAST = 4.0  # the least width of what must be seen


def escape(value: object) -> str:
    """Return any text safe within HTML and SVG, attributes included.

    What is no visible character, as what turns the direction of writing, is spelled out.
    """
    return html_escape(printable(str(value)), quote=True)


def figure(
    key: str, height: int, title: str, about: str, body: str, grid: Iterable[float]
) -> str:
    """Return a plot.

    Args:
        key: an id that is unique on the page.
        height: its height in pixels.
        title: what it is.
        about: what it shows, for those who do not see it.
        body: its marks.
        grid: where the ticks of the axis are, as shares of the width.
    """
    lines = "".join(f"M{_n(WIDE * share)},0V{height}" for share in grid)
    return (
        f'<svg class="plot" role="img" aria-labelledby="{key}t {key}d" '
        f'viewBox="0 0 {WIDE} {height}" height="{height}" preserveAspectRatio="none">'
        f'<title id="{key}t">{escape(title)}</title>'
        f'<desc id="{key}d">{escape(about)}</desc>'
        f'<path class="grid" d="{lines}"/>{body}</svg>'
    )


def bars(values: Sequence[int], shares: Sequence[float], height: int = BARS) -> str:
    """Return bars, one for each bin; a count of one is still seen.

    Args:
        values: the counts.
        shares: the edges of the bins, as shares of the width.
        height: of the highest.
    """
    most = max(values, default=0)
    path = [
        _box(*_cell(shares, n), height - tall, tall)
        for n, value in enumerate(values)
        if value and (tall := max(1.5, height * value / most))
    ]
    return f'<path class="bar" d="{"".join(path)}"/>{_base(height)}'


def strip(row: Strip, shares: Sequence[float], spans: Iterable[tuple[float, float]]) -> str:
    """Return a job's runs: a band, with a flag above it wherever one went wrong.

    Args:
        row: the runs.
        shares: the edges of the bins, as shares of the width.
        spans: beginning and end of long runs, likewise.
    """
    marks: dict[str, list[str]] = {}
    for begin, end in spans:
        wide = max(LEAST, WIDE * (end - begin))
        marks.setdefault("span", []).append(_box(WIDE * begin, wide, BAND + 4, 3))
    for bin in range(len(shares) - 1):
        for name, box in _strip_cell(row.counts(bin), *_cell(shares, bin, gap=0)):
            marks.setdefault(name, []).append(box)
    return "".join(
        f'<path class="{name}" d="{"".join(marks[name])}"/>'
        for name in ("span", "ok", "skip", "fail", "crash")
        if name in marks
    )


def _strip_cell(
    counts: dict[str, int], left: float, wide: float
) -> Iterable[tuple[str, str]]:
    """Yield the class and shape of each mark of a cell."""
    failed, crashed = counts.get("failed", 0), counts.get("crashed", 0)
    good, tall = counts.get("completed", 0), STRIP - BAND
    if not (good or failed or crashed):
        if counts.get("skipped"):
            yield "skip", _box(left, wide, STRIP - 3, 3)
        return
    if good:
        yield "ok", _box(left, wide, BAND, tall)
    if failed or crashed:
        worst = "crash" if crashed else "fail"
        yield worst, _box(left, wide, 0, FLAG)
        # The share of the band that went wrong, from above.
        share = (failed + crashed) / (good + failed + crashed)
        yield worst, _box(left, wide, BAND, max(3.0, tall * share))


def area(values: Sequence[int], height: int = AREA) -> str:
    """Return a stepped area: how much there was at the end of each step.

    Args:
        values: the counts.
        height: of the highest.
    """
    most = max(values, default=0) or 1
    wide = WIDE / max(1, len(values))
    path, last = [], 0
    for n, value in enumerate(values):
        if value != last:
            path.append(f"H{_n(n * wide)}V{_n(height - (height - 2) * value / most)}")
            last = value
    line = f"M0,{height}{''.join(path)}H{WIDE}"
    return (
        f'<path class="area" d="{line}V{height}H0Z"/><path class="edge" d="{line}"/>'
        f"{_base(height)}"
    )


class Lengths:
    """An axis of lengths of time, equal steps for equal factors.

    Args:
        low: the number of the first drawn bar.
        high: the number after the last one.
    """

    TICKS = (
        (1_000, "1 ms"), (10_000, "10 ms"), (100_000, "0.1 s"), (1_000_000, "1 s"),
        (10_000_000, "10 s"), (60_000_000, "1 min"), (600_000_000, "10 min"),
        (3_600_000_000, "1 h"), (36_000_000_000, "10 h"), (86_400_000_000 * 3, "3 days"),
        (86_400_000_000 * 30, "30 days"),
    )  # fmt: skip

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    @classmethod
    def around(cls, rows: Sequence[Sequence[int]]) -> Lengths:
        """Return the axis that has room for all of the drawn bars."""
        used = [n for row in rows for n, value in enumerate(row) if value]
        low, high = min(used, default=0), max(used, default=0) + 1
        per_decade = PER_DECADE // DRAWN_TOGETHER
        return cls(max(0, low - 1), max(high + 1, low + 2 * per_decade))

    def shares(self) -> list[float]:
        """Return the edges of the drawn bars, as shares of the width."""
        count = self._high - self._low
        return [n / count for n in range(count + 1)]

    def drawn(self, bars: Sequence[int]) -> list[int]:
        """Return those bars that the axis has room for."""
        rest = [0] * max(0, self._high - len(bars))
        return [*bars, *rest][self._low : self._high]

    def place(self, micros: float) -> float:
        """Return where a length lies, as a share of the width."""
        per_decade = PER_DECADE / DRAWN_TOGETHER
        least = LENGTHS[1]
        # The first bar is all that is shorter than the shortest that is told apart.
        at = (
            1 + per_decade * math.log10(micros / least)
            if micros >= least
            else micros / least
        )
        return min(1.0, max(0.0, (at - self._low) / (self._high - self._low)))

    def ticks(self) -> list[tuple[float, str]]:
        """Return where each tick is, and what it is called."""
        count = self._high - self._low
        found = [(self.place(length), label) for length, label in self.TICKS]
        return [each for each in found if 0 < each[0] <= 1 - 0.5 / count]


def quantiles(places: Sequence[tuple[float, str]], height: int = BARS) -> str:
    """Return upright lines at shares of the width, each with its class."""
    return "".join(
        f'<path class="{name}" d="M{_n(WIDE * place)},0V{height}"/>'
        for place, name in places
    )


def hovers(texts: Iterable[tuple[float, float, str]], height: int) -> str:
    """Return invisible areas that tell a text when pointed at.

    Args:
        texts: where each begins and ends, as shares of the width, and what it tells.
        height: of each.
    """
    return "".join(
        f'<rect class="hover" x="{_n(WIDE * begin)}" width="{_n(WIDE * (end - begin))}" '
        f'height="{height}"><title>{escape(text)}</title></rect>'
        for begin, end, text in texts
    )


def _cell(shares: Sequence[float], number: int, gap: float = 1.5) -> tuple[float, float]:
    """Return the left edge and the width of what is drawn for a bin."""
    left, right = WIDE * shares[number], WIDE * shares[number + 1]
    gap = min(gap, (right - left) / 5)
    wide = max(LEAST, right - left - gap)
    return min(left, WIDE - wide), wide


def _box(left: float, wide: float, top: float, tall: float) -> str:
    return f"M{_n(left)},{_n(top)}h{_n(wide)}v{_n(tall)}h{_n(-wide)}z"


def _base(height: int) -> str:
    return f'<path class="base" d="M0,{height}H{WIDE}"/>'


def _n(value: float) -> str:
    """Return a number as short as it may be."""
    return f"{value:.1f}".removesuffix(".0")
