"""Counts, names and tables of a report, as text or HTML. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from py_agent.cli.report.svg import escape
from py_agent.cli.report.window import Window

# Where a long name may go on in the next line; none of these is within an entity.
_BREAKS = re.compile(r"([._/@:-])(?=\w)")

MOST_ROWS = 12  # jobs or listeners with a row of their own
MOST_CAUSE = 240  # characters of an error
MOST_NAME = 48
MOST_TITLE = 400


def count(value: int) -> str:
    """Return a number as it is read, as "1,204"."""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """Return a number with its word, as "1 event" or "2 events"."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at most; its end is kept, too."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


def name(text: object, most: int = MOST_NAME) -> str:
    """Return a name as HTML: escaped, shortened, and in its own direction of writing."""
    whole = str(text)
    short = shortened(whole, most)
    title = "" if short == whole else f' title="{escape(shortened(whole, MOST_TITLE))}"'
    shown = _BREAKS.sub(r"\1<wbr>", escape(short))
    return f"<bdi{title}>{shown}</bdi>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (),
    wide: bool = False,
) -> str:  # fmt: skip
    """Return a table.

    Args:
        head: the columns' names.
        rows: the cells, as HTML.
        numbers: the columns that hold numbers.
        wide: whether a phone shows each row as lines below each other.
    """
    kinds = [' class="n"' if n in numbers else "" for n in range(len(head))]
    titles = "".join(
        f'<th scope="col"{kind}>{escape(each)}</th>'
        for kind, each in zip(kinds, head, strict=True)
    )
    labels = [f' data-label="{escape(each)}"' if wide else "" for each in head]
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}{label}>{cell}</td>"
            for kind, label, cell in zip(kinds, labels, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    what = "wide" if wide else "slim"
    head_row = f"<thead><tr>{titles}</tr></thead>"
    return f'<table class="{what}">{head_row}<tbody>{body}</tbody></table>'


def as_table(table: str) -> str:
    """Return a table that is there for who asks for it."""
    return f"<details><summary>As a table</summary>{table}</details>"


def panel(title: str, lead: str, *parts: str) -> str:
    """Return a section; the lead is HTML, and says what is to be seen."""
    return (
        f'<section><h2>{escape(title)}</h2><p class="soft">{lead}</p>'
        f"{''.join(parts)}</section>"
    )


def row(label: str, plot: str, note: str, kind: str = "") -> str:
    """Return one row of small multiples; label and note are HTML."""
    return (
        f'<div class="row {kind}"><div class="name">{label}</div>{plot}'
        f'<div class="note">{note}</div></div>'
    )


def rows(parts: Iterable[str], axis: str, kind: str = "") -> str:
    """Return rows of small multiples above their axis."""
    return f'<div class="rows {kind}">{"".join(parts)}{axis}</div>'


def axis(ticks: Sequence[tuple[float, str]]) -> str:
    """Return an axis: where each tick is, as a share of the width, and its label."""
    spans = [
        f'<span class="{_when_narrow(n, share, len(ticks))}" '
        f'style="left:{100 * share:.2f}%">{escape(label)}</span>'
        for n, (share, label) in enumerate(ticks)
        if share < 0.95
    ]
    inner = f'<div class="axis" aria-hidden="true">{"".join(spans)}</div>'
    return f'<div class="row foot">{inner}</div>'


def _when_narrow(number: int, share: float, ticks: int) -> str:
    """Return the class of a label: those that a phone has no room for are left out."""
    if share > 0.84:
        return "late"
    return "odd" if number % 2 and ticks > 4 else ""


def article(width: str) -> str:
    """Return a length of time with its article, where it has one."""
    if width[0].isdigit():
        return width
    return f"an {width}" if width == "hour" else f"a {width}"


def shares_of(window: Window) -> list[float]:
    """Return the edges of the bins as shares of the width."""
    return [window.share(edge) for edge in window.edges]


def time_axis(window: Window) -> tuple[list[float], str]:
    """Return where the grid's lines are, and the axis."""
    ticks = [(window.share(tick.at), tick.label) for tick in window.ticks]
    return [share for share, _ in ticks], axis(ticks)
