"""`agent report`, as users type it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from py_agent.cli.agent import main

from .conftest import BIN, LIMIT, Run, Start

CANARY = "<script>alert('canary')</script>"

APP = f"""
from py_agent import Agent, RetryPolicy

agent = Agent("agent.sqlite")

def job(handler):
    handler.publish("a", "1", {{"secret": "never shown"}})
    handler.publish({CANARY!r}, "right\\u202eleft" + "9" * 900)
    handler.publish("\\u05e9\\u05dc\\u05d5\\u05dd \\x1b[31m", "\\n")
    raise ValueError({CANARY!r})

def broken(event):
    raise ValueError({CANARY!r})

def fine(event):
    pass

agent.add_job(job, every="1 hour", name="job")
agent.add_listener(broken, {{"event_type": ("!=", "a")}}, name={CANARY!r},
                   retry=RetryPolicy(attempts=1))
agent.add_listener(fine, {{}}, name="fine")
"""


class Page(HTMLParser):
    """What a reader sees of a page, and what its browser would do."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.figures: dict[str, str] = {}
        self.text = ""
        self._within = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._within = tag
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._within == "dt":
            self._figure = data
        elif self._within == "dd":
            self.figures[self._figure] = data
        self.text += data


def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with events, a failed run and dead letters, all with hostile texts."""
    place = tmp_path_factory.mktemp("made")
    (place / "app.py").write_text(APP, encoding="utf-8")
    agent = [BIN / "agent", "go", "--once", "app.py"]
    done = subprocess.run(agent, cwd=place, capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 1, done.stderr
    return place / "agent.sqlite"


@pytest.fixture
def app(made: Path, folder: Path) -> Path:
    """That store in the working directory; where the page will be."""
    shutil.copy(made, folder / "agent.sqlite")
    return folder / "report.html"


def test_a_page_is_written(app: Path, run: Run) -> None:
    """Given a store, When reported, Then one line says where, and the page has it all."""
    done = run("agent", "report", "--since", "7d", "-o", "report.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"report.html is written \(\d+ kB\); open it in a browser\n",
                        done.stdout)  # fmt: skip
    page = read(app)
    assert page.figures["New events"] == "3"
    assert page.figures["Dead letters"] == "2"
    assert page.figures["Runs"] == "1"
    assert page.figures["Agent"] == "not running"
    for title in ("Events", "Runs", "Delivery time", "Owed", "Dead letters"):
        assert title in page.text
    assert "agent: none runs" not in page.text and "none runs on this store" in page.text


def test_the_page_stands_alone(app: Path, run: Run) -> None:
    """Given hostile texts, When reported, Then they are text, and nothing is fetched."""
    run("agent", "report")
    page, html = read(app), app.read_text(encoding="utf-8")
    assert {"script", "link", "img", "iframe", "a", "base"} & set(page.tags) == set()
    assert page.links == []
    assert CANARY in page.text
    assert "default-src &#x27;none&#x27;" in html
    assert "\u202e" not in html and "\x1b" not in html
    assert "never shown" not in html
    assert "9" * 500 not in html


def test_the_top_says_that_all_is_well(
    folder: Path, example: Path, start: Start, run: Run
) -> None:
    """Given a running agent, When reported beside it, Then all is well."""
    agent = start("agent", "go", str(example))
    agent.wait_for("hello world")
    assert run("agent", "report").returncode == 0
    page = read(folder / "report.html")
    assert "All is well" in page.text
    assert page.figures["Agent"] == "running"
    assert f"process {agent.process.pid}" in page.text
    assert agent.stop() == 0


def test_an_empty_store_has_a_page(folder: Path, run: Run) -> None:
    """Given a store without anything, When reported, Then the page says so."""
    make = "from pathlib import Path; from py_agent.store import schema; " \
           "schema.create(Path('agent.sqlite'))"  # fmt: skip
    assert run("python", "-c", make).returncode == 0
    assert run("agent", "report").returncode == 0
    page = read(folder / "report.html")
    assert "No event was published in this time." in page.text
    assert "No job ran in this time." in page.text


def test_the_page_goes_to_stdout(app: Path, run: Run) -> None:
    """Given `-`, When reported, Then stdout is the page, and no file is made."""
    done = run("agent", "report", "-o", "-", "--since", "2020-01-01")
    assert done.returncode == 0
    assert done.stdout.startswith("<!DOCTYPE html>") and done.stdout.endswith("</html>\n")
    assert not app.exists()


def test_a_page_is_replaced_at_once(app: Path, run: Run) -> None:
    """Given an old page, When reported, Then it is replaced, and no draft is left."""
    app.write_text("old", encoding="utf-8")
    app.chmod(0o640)
    assert run("agent", "report").returncode == 0
    assert read(app).tags
    assert app.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in app.parent.glob(".report*")] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "7x"], "--since: '7x' is neither a length of time"),
        (["--since", "2999-01-01"], "--since: 2999-01-01 is not past"),
        (["-o", "no/such/folder.html"], "--output: no/such/folder.html cannot be written"),
        (["-o", "."], "--output: . is a folder"),
        (["-o", "agent.sqlite"], "--output: agent.sqlite is the store"),
        (["-o", "./agent.sqlite-wal"], "is the store"),
        (["--db", "nothing.sqlite"], "there is no store at"),
        (["--db", ":memory:"], "a store in memory belongs to one process"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], told: str, app: Path) -> None:
    """Given a mistake, When reported, Then one line says what, and the code is 2."""
    before = Path("agent.sqlite").read_bytes()
    done = CliRunner().invoke(main, ["report", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr and done.stderr.count("\n") == 1
    assert Path("agent.sqlite").read_bytes() == before
    assert not app.exists()


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "UTC"])
def test_times_are_local(
    zone: str, app: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a time zone, When reported, Then the page says which one."""
    monkeypatch.setenv("TZ", zone)
    assert run("agent", "report").returncode == 0
    told = {"Asia/Kolkata": "IST (UTC+05:30)", "UTC": "UTC"}.get(zone, "(UTC-0")
    assert f"Times are local: {told}" in read(app).text.replace("NST ", "").replace(
        "NDT ", ""
    )


def test_many_events_make_no_large_page(app: Path, run: Run) -> None:
    """Given 100,000 events of 1,000 types, When reported, Then the page stays small."""
    micros = time.time_ns() // 1_000
    database = sqlite3.connect("agent.sqlite")
    database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
        "INSERT INTO events (event_type, identifier, created, depth) "
        "SELECT 't' || (i % 1000) || ?, i, ? - i * 5000000, 0 FROM n",
        ("x" * 200, micros),
    )
    database.commit()
    database.close()
    assert run("agent", "report", "--since", "7d").returncode == 0
    page = read(app)
    assert page.figures["New events"] == "100,003"
    assert "and 995 others" in page.text
    assert app.stat().st_size < 100_000


def test_events_from_the_future_are_said(app: Path, run: Run) -> None:
    """Given an event dated after now, When reported, Then it is told, and not drawn."""
    database = sqlite3.connect("agent.sqlite")
    database.execute("UPDATE events SET created = created + 864000000000 WHERE id = 1")
    database.commit()
    database.close()
    assert run("agent", "report").returncode == 0
    page = read(app)
    assert page.figures["New events"] == "2"
    assert "1 event is dated after now" in page.text


def test_a_damaged_store_is_one_line(app: Path) -> None:
    """Given a moment that is none, When reported, Then one line says so, with code 3."""
    database = sqlite3.connect("agent.sqlite")
    database.execute("UPDATE runs SET started = 'never', outcome = 'running'")
    database.commit()
    database.close()
    done = CliRunner().invoke(main, ["report"])
    assert done.exit_code == 3
    assert "holds a damaged value" in done.stderr and done.stderr.count("\n") == 1
    assert not app.exists()


def test_a_reader_that_goes_away_is_no_error(app: Path) -> None:
    """Given a pipe that is closed, When the page goes there, Then there is no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        ["agent", "report", "-o", "-"], stdout=writer, stderr=subprocess.PIPE,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    os.close(writer)
    assert b"Traceback" not in done.stderr
