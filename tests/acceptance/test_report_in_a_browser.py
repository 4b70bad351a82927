"""The page of `agent report` in a real browser: nothing leaves it, and it fits a phone.

Where no Chromium is installed these tests are skipped, but not where PY_AGENT_TEST_BROWSER
is set, as .ci/run does.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from py_agent.cli.report.facts import read_facts
from py_agent.cli.report.page import page as page_of

from .browser import Page, browser, found
from .week import Week

PROGRAM = found()
WANTED = "PY_AGENT_TEST_BROWSER" in os.environ

pytestmark = pytest.mark.skipif(
    PROGRAM is None and not WANTED, reason="there is no Chromium on this machine"
)

END = datetime(2026, 3, 31, 15, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The report of a week, opened in a browser without a network."""
    assert PROGRAM is not None, "PY_AGENT_TEST_BROWSER is set, and there is no Chromium"
    folder = tmp_path_factory.mktemp("report")
    Week(folder / "agent.sqlite", END).fill()
    since = END.replace(day=24)
    html = page_of(read_facts(folder / "agent.sqlite", since, END, UTC))
    (folder / "report.html").write_text(html, encoding="utf-8")
    with browser(PROGRAM, folder / "profile") as opened:
        opened.open((folder / "report.html").as_uri())
        yield opened


def test_nothing_leaves_the_page(page: Page) -> None:
    """Given the page, When opened, Then it asks for nothing but itself, without errors."""
    page.look(1_280, 900)
    assert [url.rpartition("/")[2] for url in page.requested] == ["report.html"]
    assert page.told == []
    assert page.ask("document.scripts.length") == 0
    assert page.ask("document.querySelectorAll('svg.plot').length") > 20


@pytest.mark.parametrize("width", [320, 360, 768, 1_280])
def test_it_fits_every_screen(page: Page, width: int) -> None:
    """Given a screen, When the page is shown, all tables open, Then nothing is cut off."""
    page.look(width, 700)
    page.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    inside = "[...document.querySelectorAll('td,th,.name,.note,dd,li,p,h1,svg.plot')]"
    left = f"{inside}.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.ask(left) == 0
    page.ask("document.querySelectorAll('details').forEach(each => each.open = false)")


def test_light_and_dark_are_two_pictures(page: Page) -> None:
    """Given both schemes, When the page is drawn, Then each is of its own kind."""
    pictures = {}
    for scheme in ("light", "dark"):
        page.look(360, 700, scheme)
        pictures[scheme] = pixels(page.picture(0.25))
    light, dark = pictures["light"], pictures["dark"]
    assert sum(most_common(light)) > 3 * 240 and sum(most_common(dark)) < 3 * 40
    for each in (light, dark):
        assert len(set(each)) > 50  # not blank


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable(page: Page, scheme: str) -> None:
    """Given a scheme, When the contrast of all texts is measured, Then it is 4.5 at least;
    of marks, 3.
    """
    page.look(1_280, 900, scheme)
    contrasts = page.ask(CONTRAST)
    assert contrasts["text"] >= 4.5, contrasts
    assert contrasts["mark"] >= 3, contrasts


def test_every_plot_has_a_title_and_a_description(page: Page) -> None:
    """Given the plots, When their names are asked for, Then each has two, of its own."""
    code = (
        "[...document.querySelectorAll('svg.plot')].map(s => s.getAttribute("
        "'aria-labelledby').split(' ').map(i => document.getElementById(i).textContent))"
    )
    names = page.ask(code)
    assert all(title and about for title, about in names)
    assert len({title for title, _ in names}) == len(names)
    assert page.ask(
        "new Set([...document.querySelectorAll('[id]')].map(e=>e.id)).size"
    ) == (page.ask("document.querySelectorAll('[id]').length"))


CONTRAST = """(() => {
  const part = c => { c /= 255; return c <= .03928
    ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 };
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b) };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const contrast = c => { const l = light(c);
    return (Math.max(l, ground) + .05) / (Math.min(l, ground) + .05) };
  const texts = [...document.querySelectorAll('body *')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !e.closest('svg'));
  const marks = [...document.querySelectorAll('.bar,.ok,.fail,.crash,.skip,.span')];
  const least = list => Math.min(...list.map(contrast));
  return { text: least(texts.map(e => getComputedStyle(e).color)),
    mark: least(marks.map(e => getComputedStyle(e).fill)) };
})()"""


Pixel = tuple[int, int, int]


def most_common(picture: list[Pixel]) -> Pixel:
    return max(set(picture), key=picture.count)


def pixels(png: bytes) -> list[Pixel]:
    """Return some pixels of a picture, of every third row and column."""
    at, data, kind = 8, b"", 0
    wide = tall = 0
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if name == b"IHDR":
            wide, tall, _, kind = struct.unpack(">IIBB", body[:10])
        elif name == b"IDAT":
            data += body
        at += length + 12
    size = {2: 3, 6: 4}[kind]
    rows = unfiltered(zlib.decompress(data), wide * size, tall, size)
    return [
        (row[x], row[x + 1], row[x + 2])
        for row in rows[::3]
        for x in range(0, wide * size, size * 3)
    ]


def unfiltered(data: bytes, stride: int, tall: int, size: int) -> list[bytearray]:
    """Return the rows of a picture as they were before they were packed."""
    before, rows = bytearray(stride), []
    for number in range(tall):
        begin = number * (stride + 1)
        kind, row = data[begin], bytearray(data[begin + 1 : begin + 1 + stride])
        for n in range(stride):
            left = row[n - size] if n >= size else 0
            corner = before[n - size] if n >= size else 0
            row[n] = (row[n] + guess(kind, left, before[n], corner)) & 255
        rows.append(row)
        before = row
    return rows


def guess(kind: int, left: int, above: int, corner: int) -> int:
    """Return what a PNG filter adds to a byte."""
    if kind == 4:
        near = left + above - corner
        return min((left, above, corner), key=lambda each: abs(near - each))
    return (0, left, above, (left + above) // 2)[kind]
