"""Plots: marks within their frame, and no text that is more than text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from py_agent.cli.report.shapes import LENGTHS, Strip
from py_agent.cli.report.svg import (
    BARS,
    STRIP,
    WIDE,
    Lengths,
    area,
    bars,
    escape,
    figure,
    hovers,
    strip,
)
from py_agent.cli.report.words import name, shortened, table

BOX = re.compile(r"M([\d.]+),([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z")
SHARES = [0.0, 0.25, 0.5, 0.75, 0.999, 1.0]


class Seen(HTMLParser):
    """Remembers what a browser would see of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text() | st.text("<>&\"'/scriptimg= \u202e\x00\x1b", max_size=40))
def test_no_text_is_markup(text: str) -> None:
    """Given any text, When escaped, Then a browser sees one line of visible text."""
    for html in (escape(text), f'<i title="{escape(text)}">{escape(text)}</i>'):
        seen = Seen(html)
        assert set(seen.tags) <= {"i"}
        assert seen.text.isprintable()
    if text.isprintable():
        assert Seen(escape(text)).text == text


@given(st.text(max_size=2_000))
def test_a_name_is_never_long(text: str) -> None:
    """Given any name, When shown, Then it is short, and its whole is its title."""
    assert len(shortened(text, 48)) <= 48
    seen = Seen(name(text))
    assert seen.tags[0] == "bdi" and set(seen.tags[1:]) <= {"wbr"}
    assert len(name(text)) < 8_000


def boxes(svg: str) -> list[list[float]]:
    return [[float(each) for each in found] for found in BOX.findall(svg)]


@given(st.lists(st.integers(0, 10**12), min_size=5, max_size=5))
def test_each_count_has_a_bar_within_the_frame(values: list[int]) -> None:
    """Given counts, When drawn, Then one bar for each that is not zero, none outside."""
    found = boxes(bars(values, SHARES))
    assert len(found) == sum(1 for value in values if value)
    for left, top, wide, tall in found:
        assert 0 <= left and left + wide <= WIDE + 0.2
        assert 0 <= top and top + tall <= BARS + 0.2 and tall >= 1.5


def test_bars_are_in_proportion() -> None:
    """Given one count twice another, When drawn, Then it is twice as high."""
    heights = [box[3] for box in boxes(bars([10, 20, 0, 0, 0], SHARES))]
    assert heights == [BARS / 2, BARS]


def test_one_failure_of_many_has_a_flag() -> None:
    """Given a failed run among a thousand, When drawn, Then it stands above the band."""
    row = Strip("a", {"completed": [999, 1, 0, 0, 0], "failed": [1, 0, 0, 0, 0]})
    svg = strip(row, SHARES, [])
    (flagged,) = re.findall(r'class="fail" d="([^"]+)"', svg)
    flag, share = boxes(flagged)
    assert flag[1] == 0 and share[3] >= 3
    assert len(boxes(re.findall(r'class="ok" d="([^"]+)"', svg)[0])) == 2
    assert all(top + tall <= STRIP for _, top, _, tall in boxes(svg))


def test_a_crash_is_not_a_failure_and_a_skip_is_neither() -> None:
    """Given a crash and a skip, When drawn, Then each has a mark of its own."""
    row = Strip("a", {"crashed": [1, 0, 0, 0, 0], "skipped": [0, 0, 1, 0, 0]})
    svg = strip(row, SHARES, [(0.5, 1.0)])
    assert [kind for kind in ("ok", "skip", "fail", "crash", "span") if kind in svg] == [
        "skip", "crash", "span",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_an_area_stays_in_its_frame(values: list[int]) -> None:
    """Given a backlog, When drawn, Then no point is outside."""
    svg = area(values)
    for number in re.findall(r"[HV]([\d.]+)", svg):
        assert 0 <= float(number) <= WIDE


@given(st.lists(st.integers(0, 200), min_size=1))
def test_an_axis_of_lengths_has_room_for_all(used: list[int]) -> None:
    """Given lengths, When the axis is made, Then every one is on it."""
    row = [0] * (len(LENGTHS) // 4 + 1)
    for each in used:
        row[min(each // 4, len(row) - 1)] += 1
    lengths = Lengths.around([row])
    assert sum(lengths.drawn(row)) == sum(row)
    assert lengths.shares()[0] == 0 and lengths.shares()[-1] == 1
    places = [place for place, _ in lengths.ticks()]
    assert places == sorted(places)


def test_a_figure_is_told_to_those_who_do_not_see_it() -> None:
    """Given a plot, When made, Then it is well-formed and has a title and a description."""
    hover = hovers([(0, 0.5, "<b>")], 34)
    body = bars([1, 2, 3, 4, 5], SHARES) + hover
    tree = ElementTree.fromstring(figure("k", 34, "a & b", "<c>", body, [0.5]))
    assert tree.get("role") == "img"
    title, about = tree[0], tree[1]
    assert (title.tag, title.text, about.tag, about.text) == (
        "title",
        "a & b",
        "desc",
        "<c>",
    )
    assert tree.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"


def test_a_table_has_its_columns() -> None:
    """Given rows, When made a table, Then each cell is there, with its column's name."""
    seen = Seen(table(("A", "B"), [("1", "<i>2</i>"), ("3", "4")], (1,), wide=True))
    assert seen.tags.count("td") == 4 and seen.tags.count("th") == 2
    assert seen.text == "AB1234"
