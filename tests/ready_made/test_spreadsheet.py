"""listeners.spreadsheet: whole rows, none twice, no formulas; CSV and xlsx alike."""

from __future__ import annotations

import csv
import fcntl
import logging
import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font
from openpyxl.worksheet.table import Table

from listeners import whole_file
from listeners.spreadsheet import row_key, spreadsheet
from listeners.spreadsheet_csv import text_of
from py_agent import Event, Pause
from py_agent.errors import ConfigError, RegistrationError
from py_agent.loading import agent_of_config
from py_agent.registry import make_listener
from py_agent.testing import AgentUnderTest

MOMENT = datetime(2026, 1, 5, 12, tzinfo=UTC)
COLUMNS = {"Title": "data.title", "Score": "data.score", "When": "created"}
HEADINGS = ["Title", "Score", "When", "delivery"]

both = pytest.mark.parametrize("name", ["tasks.csv", "tasks.xlsx"])


def event(
    identifier: str = "1", key: str = "1.1", created: datetime = MOMENT, **data: Any
) -> Event:
    data = {"title": "Tea", "score": 7} | data
    return Event("task", identifier, data, created=created, delivery_key=key)


def rows(file: Path, sheet: int = 0) -> list[list[Any]]:
    """Return the values of a file, row by row."""
    if file.suffix == ".xlsx":
        found = load_workbook(file).worksheets[sheet].iter_rows(values_only=True)
        return [list(row) for row in found]
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def titles(file: Path) -> list[Any]:
    return [row[0] for row in rows(file)[1:]]


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let no file become larger than so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


# Rows


def test_values_keep_their_kind(tmp_path: Path) -> None:
    """Given numbers, texts and more, Then CSV shows and xlsx knows what they are."""
    columns = {
        "n": "data.n", "f": "data.f", "b": "data.b", "t": "data.t", "none": "data.x",
        "l": "data.l", "first": "data.l.0", "long": "data.long", "type": "event_type",
        "all": "data", "when": "created",
    }  # fmt: skip
    one = event(n=-5, f=0.5, b=True, t="a\nb", l=[1, "ü"], long=12345678901234567890)
    for name in ("a.csv", "a.xlsx"):
        spreadsheet(one, tmp_path / name, columns)
    data = (
        '{"title": "Tea", "score": 7, "n": -5, "f": 0.5, "b": true, "t": "a\\nb", '
        '"l": [1, "ü"], "long": 12345678901234567890}'
    )
    assert rows(tmp_path / "a.csv")[1][:-1] == [
        "-5", "0.5", "TRUE", "a\\nb", "", '[1, "ü"]', "1", "12345678901234567890", "task",
        data, "2026-01-05T12:00:00+00:00",
    ]  # fmt: skip
    assert rows(tmp_path / "a.xlsx")[1][:-1] == [
        -5, 0.5, True, "a\nb", None, '[1, "ü"]', 1, "12345678901234567890", "task",
        data, MOMENT.replace(tzinfo=None),
    ]  # fmt: skip


@both
def test_without_columns_there_are_those_of_every_event(tmp_path: Path, name: str) -> None:
    """Given no columns, in a folder that is not there, Then a row says what is known."""
    file = tmp_path / "new" / name
    spreadsheet(event(), file)
    assert rows(file)[0] == [
        "created", "event_type", "identifier", "source", "data", "delivery"
    ]  # fmt: skip
    assert rows(file)[1][1:3] == ["task", "1"]


@both
def test_a_repeated_delivery_adds_nothing(tmp_path: Path, name: str) -> None:
    """Given rows of two stores, When deliveries come again later, Then none is twice."""
    file = tmp_path / name
    here, there = event("1"), event("1", created=MOMENT.replace(month=2))
    for one in (here, there, event("2"), here, there, event("2")):
        spreadsheet(one, file, COLUMNS)
    assert [row[-1] for row in rows(file)] == [
        "delivery", row_key(here), row_key(there), row_key(event("2"))
    ]  # fmt: skip


def test_two_listeners_may_share_a_file() -> None:
    """Given one event for two listeners, Then each has its row; the same for attempts."""
    assert row_key(event(key="7.1")) != row_key(event(key="7.2"))
    assert row_key(event(key="7.1")) == row_key(event(key="8.1"))


@both
def test_users_may_move_and_add_columns(tmp_path: Path, name: str) -> None:
    """Given other columns in another order, Then each value is under its heading."""
    file = tmp_path / name
    headings = ["delivery", "Mine", "When", "Score", "Title"]
    write(file, [headings, ["", "a note", "", "", ""]])
    spreadsheet(event(), file, COLUMNS)
    spreadsheet(event(), file, COLUMNS)
    assert rows(file)[0] == headings
    assert rows(file)[1][1] == "a note"
    assert [row[4] for row in rows(file)[2:]] == ["Tea"]
    assert rows(file)[2][0] == row_key(event())


def write(file: Path, content: list[list[Any]]) -> None:
    if file.suffix == ".csv":
        with file.open("w", newline="") as out:
            csv.writer(out).writerows(content)
        return
    book = Workbook()
    for row in content:
        book.worksheets[0].append(row)
    book.save(file)


@both
def test_other_headings_are_one_clear_line(tmp_path: Path, name: str) -> None:
    """Given a file with other columns, Then it waits with what is missing, untouched."""
    file = tmp_path / name
    write(file, [["Title", "Points"], ["a", 1]])
    before = file.read_bytes()
    missing = f"{name} has no column 'Score', 'When', 'delivery'"
    with pytest.raises(Pause, match=missing) as caught:
        spreadsheet(event(), file, COLUMNS)
    assert "Points" in str(caught.value) and "\n" not in str(caught.value)
    assert (caught.value.after, file.read_bytes()) == (60, before)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@both
@pytest.mark.parametrize("lock", ["~${name}", ".~lock.{name}#"])
def test_a_file_that_is_open_elsewhere_is_waited_for(
    running: AgentUnderTest, tmp_path: Path, name: str, lock: str
) -> None:
    """Given a program has it open, When that is closed, Then rows come in order."""
    mark = tmp_path / lock.format(name=name)
    mark.write_text("somebody")
    running.add_listener(
        spreadsheet, {"event_type": ("==", "task")}, path=tmp_path / name, columns=COLUMNS
    )
    for number in range(3):
        running.handler.publish("task", str(number), {"title": f"t{number}"})
    running.drain()
    assert not (tmp_path / name).exists()
    mark.unlink()
    running.advance(minutes=2)
    assert titles(tmp_path / name) == ["t0", "t1", "t2"]


# Formulas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('=HYPERLINK("http://e.org")', '\'=HYPERLINK("http://e.org")'),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\\n=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ("a; b", "a; b"),
        ("a,=1", "a,'=1"),
        ('x;"=1;y', "x;\"'=1;y"),
        ('x\t"=1\ty', "x\t\"'=1\ty"),
        ("x|@y", "x|'@y"),
        ("x;\uff1d1", "x;'\uff1d1"),
        ("x;\u00a0=1", "x;\u00a0'=1"),
        ("\u3000=1", "'\u3000=1"),
        ('"=1', "'\"=1"),
        ("well; so, 5 - 3; ok", "well; so, 5 - 3; ok"),
        ("a=1", "a=1"),
        ("x\0y", "xy"),
        (-5, "-5"),
        (-0.5, "-0.5"),
        (False, "FALSE"),
        (None, ""),
    ],
)
def test_csv_has_no_formulas(text: Any, expected: str) -> None:
    """Given what a spreadsheet would compute, Then it is a text; numbers are numbers."""
    assert text_of(text) == expected


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "  =1", "#N/A", "\t=1"])
def test_xlsx_has_texts_and_no_formulas(tmp_path: Path, text: str) -> None:
    """Given what looks like a formula, Then the cell is a text, and stays one if edited."""
    file = tmp_path / "a.xlsx"
    spreadsheet(event(title=text), file, COLUMNS)
    cell = load_workbook(file).worksheets[0]["A2"]
    assert (cell.value, cell.data_type) == (text, "s")
    assert cell.quotePrefix == (text != "#N/A")


def test_what_a_cell_cannot_hold_is_left_out(tmp_path: Path) -> None:
    """Given control characters, half an emoji and a very long text, Then it is a cell."""
    file = tmp_path / "a.xlsx"
    spreadsheet(event(title="a\x00\x1b\ud800" + "x" * 40_000), file, COLUMNS)
    assert len(titles(file)[0]) == 32_767


# Files of CSV that others wrote


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_other_programs_write_it(tmp_path: Path, delimiter: str) -> None:
    """Given a mark, other line ends and another delimiter, Then rows go on like that."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbf" + delimiter.join(HEADINGS).encode() + b"\r\n")
    spreadsheet(event(title="a;b,c\td"), file, COLUMNS)
    line = file.read_bytes().split(b"\n")[1].decode()
    assert next(csv.reader([line], delimiter=delimiter))[0] == "a;b,c\td"


def test_a_whole_last_row_without_an_end_is_kept(tmp_path: Path) -> None:
    """Given an editor that leaves out the last line break, Then that row stays."""
    file = tmp_path / "a.csv"
    spreadsheet(event("1"), file, COLUMNS)
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert titles(file) == ["Tea", "Milk"]
    file.write_text(",".join(HEADINGS))
    spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert titles(file) == ["Milk"]


@pytest.mark.parametrize("left", [1, 5, 20, 40, 60, 75])
@pytest.mark.parametrize("unfilled", [b"", b"\0" * 9])
def test_half_a_row_is_removed_and_told(
    tmp_path: Path, left: int, unfilled: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a power cut in the middle of a row, When it comes again, Then it is whole."""
    file = tmp_path / "a.csv"
    spreadsheet(event("1"), file, COLUMNS)
    whole = file.read_bytes()
    header = whole.index(b"\n") + 1
    half = whole[: header + min(left, len(whole) - header - 2)]
    file.write_bytes(half + unfilled)
    spreadsheet(event("1"), file, COLUMNS)
    assert file.read_bytes() == whole
    assert "half a row at its end is removed: b'T" in caplog.text


@pytest.mark.parametrize(
    "last",
    ["mine,by hand", '"mine, ""quoted', 'mine,5" of rain', "x" * 200_000, '"', "m,,,,"],
)
def test_a_last_row_that_may_be_the_users_is_kept(tmp_path: Path, last: str) -> None:
    """Given any other row without a line end, Then it stays, and rows go on below it."""
    file = tmp_path / "a.csv"
    spreadsheet(event("1"), file, COLUMNS)
    with file.open("a") as out:
        out.write(last)
    before = file.read_bytes()
    spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert file.read_bytes().startswith(before)
    csv.field_size_limit(300_000)
    try:
        assert [titles(file)[0], titles(file)[2]] == ["Tea", "Milk"]
    finally:
        csv.field_size_limit(131_072)


def test_half_a_row_is_known_where_the_key_comes_first(tmp_path: Path) -> None:
    """Given half a row with its whole key, When it comes again, Then it is whole."""
    file = tmp_path / "a.csv"
    file.write_text("delivery,Title,Score,When\n")
    spreadsheet(event("1"), file, COLUMNS)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    spreadsheet(event("1"), file, COLUMNS)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("title", ["Tea", "x" * 200_000])
def test_a_row_that_an_editor_trimmed_is_kept(tmp_path: Path, title: str) -> None:
    """Given a user's empty last column, cut off with the line end, Then the row stays."""
    file = tmp_path / "a.csv"
    file.write_text(",".join([*HEADINGS, "Mine"]) + "\n")
    spreadsheet(event("1", title=title), file, COLUMNS)
    trimmed = file.read_bytes().rstrip(b",\n")
    file.write_bytes(trimmed)
    spreadsheet(event("1", title=title), file, COLUMNS)
    assert file.read_bytes() == trimmed
    spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert file.read_bytes().startswith(trimmed + b"\nMilk,")


def test_a_text_stays_one_whatever_the_delimiter(tmp_path: Path) -> None:
    """Given a file that is opened with another delimiter, Then no cell is a formula."""
    for own in ",;\t":
        file = tmp_path / f"{ord(own)}.csv"
        file.write_text(own.join(["Type", "Title", "delivery"]) + "\n")
        for number, text in enumerate(('x;"=1;y', 'x\t"=1\ty', 'x,"=1,y', "a, =1; @b|+c")):
            columns = {"Type": "event_type", "Title": "data.title"}
            spreadsheet(event(str(number), title=text), file, columns)
        for line in file.read_text().splitlines():
            for other in ",;\t|":
                cells = next(csv.reader([line], delimiter=other))
                assert not [each for each in cells if each.strip(' "')[:1] in tuple("=+-@")]


def test_a_large_file_is_searched_to_its_beginning(tmp_path: Path) -> None:
    """Given three megabytes of rows, When the first delivery comes again, Then nothing."""
    file = tmp_path / "a.csv"
    spreadsheet(event("1"), file, COLUMNS)
    with file.open("a") as out:
        out.write(f"{'x' * 999},1,2,\n" * 3_000)
    size = file.stat().st_size
    spreadsheet(event("1"), file, COLUMNS)
    assert file.stat().st_size == size


# Workbooks that others made


def test_what_users_have_in_a_workbook_stays(tmp_path: Path) -> None:
    """Given sheets, formulas, formats and a table, Then they are there after a row."""
    file = tmp_path / "a.xlsx"
    book = Workbook()
    first = book.worksheets[0]
    first.append(HEADINGS)
    first.append(["old", 1, None, None])
    first["B2"].font = Font(bold=True)
    first.column_dimensions["A"].width = 44
    first["A9"].font = Font(bold=True)  # a format below the rows is no row
    first.add_table(Table(displayName="tasks", ref="A1:D2"))
    book.create_sheet("Sums")["A1"] = "=SUM(Sheet!B:B)"
    book.save(file)
    file.chmod(0o640)
    spreadsheet(event(), file, COLUMNS)
    found = load_workbook(file)
    assert found["Sums"]["A1"].value == "=SUM(Sheet!B:B)"
    assert (found["Sheet"]["B2"].font.b, found["Sheet"]["A3"].value) == (True, "Tea")
    assert found["Sheet"].column_dimensions["A"].width == 44
    assert found["Sheet"].tables["tasks"].ref == "A1:D3"
    assert file.stat().st_mode & 0o777 == 0o640


def test_formats_far_below_cost_nothing(tmp_path: Path) -> None:
    """Given a format in the last row and the last column, Then no cell is made of it."""
    file = tmp_path / "a.xlsx"
    book = Workbook()
    book.worksheets[0].append(HEADINGS)
    book.worksheets[0]["XFD1048576"].font = Font(bold=True)
    book.save(file)
    size = file.stat().st_size
    for number in "12":
        spreadsheet(event(number), file, COLUMNS)
    assert file.stat().st_size < size + 500
    assert load_workbook(file).worksheets[0]["A3"].value == "Tea"


def test_a_sheet_without_room_is_one_clear_line(tmp_path: Path) -> None:
    """Given a value in the last row of a sheet, Then it waits, and says which is full."""
    file = tmp_path / "a.xlsx"
    book = Workbook()
    book.worksheets[0].append(HEADINGS)
    book.worksheets[0]["A1048576"] = "mine"
    book.save(file)
    with pytest.raises(
        Pause, match="a.xlsx is full: sheet 'Sheet' has a value in its last"
    ):
        spreadsheet(event(), file, COLUMNS)


def test_the_name_of_a_sheet_in_another_case(tmp_path: Path) -> None:
    """Given a sheet that is called nearly so, Then it is that one, as for Excel."""
    file = tmp_path / "a.xlsx"
    for number, name in enumerate(("Tasks", "tasks", "TASKS")):
        spreadsheet(event(str(number)), file, COLUMNS, sheet=name)
    assert load_workbook(file).sheetnames == ["Tasks"]
    assert titles(file) == ["Tea"] * 3


def test_a_sheet_of_its_own(tmp_path: Path) -> None:
    """Given the name of a sheet, Then it is made beside the others, and used again."""
    file = tmp_path / "a.xlsx"
    write(file, [["mine"]])
    for number in "12":
        spreadsheet(event(number), file, COLUMNS, sheet="Tasks")
    assert load_workbook(file).sheetnames == ["Sheet", "Tasks"]
    assert [row[0] for row in rows(file, 1)] == ["Title", "Tea", "Tea"]
    assert rows(file) == [["mine"]]


def test_what_would_be_lost_is_named_and_kept(tmp_path: Path) -> None:
    """Given parts that openpyxl leaves out, Then no row is added unless that is allowed."""
    file = tmp_path / "a.xlsx"
    write(file, [HEADINGS])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("xl/media/image1.png", b"x")
        archive.writestr("xl/slicers/slicer1.xml", b"<x/>")
    before = file.read_bytes()
    with pytest.raises(Pause, match="has pictures, slicers, which would be lost"):
        spreadsheet(event(), file, COLUMNS)
    assert file.read_bytes() == before
    spreadsheet(event(), file, COLUMNS, allow_loss=True)
    assert titles(file) == ["Tea"]


@pytest.mark.parametrize("content", [b"no workbook", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_what_is_no_workbook_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Given garbage or a password, Then it waits, and the file is as it was."""
    file = tmp_path / "a.xlsx"
    file.write_bytes(content)
    with pytest.raises(Pause, match="cannot be read as a workbook"):
        spreadsheet(event(), file, COLUMNS)
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


# Crashes, disks and mistakes


LIFE = """
import os, signal, sys, threading
from functools import partial
from pathlib import Path
from listeners.spreadsheet import spreadsheet
from py_agent import Agent

store, folder, die_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
company = threading.Barrier(2)

def listener(name, event):
    spreadsheet(event, folder / name, {"Title": "data.title"})
    if die_at == event.identifier:
        company.wait(20)
        os.kill(os.getpid(), signal.SIGKILL)

agent = Agent(store, durability="fast")
for name in ("a.csv", "a.xlsx"):
    agent.add_listener(partial(listener, name), {"event_type": ("==", "t")}, name=name)
if not store.exists():
    agent.handler.publish_many([("t", each, {"title": each}) for each in "123"])
agent.start()
assert agent.drain(20)
agent.stop()
"""


def test_a_process_killed_before_it_says_done_adds_no_row_twice(tmp_path: Path) -> None:
    """Given kill -9 between row and acknowledgement, When started again, Then 3 rows."""
    for die_at, code in (("2", -signal.SIGKILL), ("", 0)):
        command = [sys.executable, "-c", LIFE, tmp_path / "agent.sqlite", tmp_path, die_at]
        done = subprocess.run(command, timeout=60, check=False, capture_output=True)
        assert done.returncode == code, done.stderr
        for name in ("a.csv", "a.xlsx"):
            expected = ["1", "2"] if die_at else ["1", "2", "3"]
            assert titles(tmp_path / name) == expected


@both
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, name: str) -> None:
    """Given no room, Then it waits, the file is whole, and the row comes later, once."""
    file = tmp_path / name
    spreadsheet(event("1"), file, COLUMNS)
    before = file.read_bytes()
    with full_disk(len(before) + 9 if name.endswith("csv") else 1_000):
        for _ in range(2):
            with pytest.raises(Pause, match=f"{name} cannot be written"):
                spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert file.read_bytes() == before
    spreadsheet(event("2", title="Milk"), file, COLUMNS)
    assert titles(file) == ["Tea", "Milk"]
    assert list(tmp_path.iterdir()) == [file]


def test_processes_do_not_lose_rows_of_each_other(tmp_path: Path) -> None:
    """Given two processes that write into one workbook, Then all rows are there."""
    file = tmp_path / "a.xlsx"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from listeners.spreadsheet import spreadsheet\n"
        "from py_agent import Event\n"
        "for n in range(5):\n"
        "    spreadsheet(Event('a', f'{sys.argv[1]}.{n}'), Path(sys.argv[2]))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(n), str(file)])
        for n in range(2)
    ]
    assert [each.wait(60) for each in running] == [0] * 2
    assert len({row[2] for row in rows(file)[1:]}) == 10
    assert list(tmp_path.iterdir()) == [file]


@both
def test_what_is_no_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    """Given a folder, a pipe or a circle of links in its place, Then rows wait."""
    (tmp_path / "folder" / name).mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / name)
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / name).symlink_to(name)
    for place in ("folder", "pipe", "circle"):
        with pytest.raises(Pause, match=f"{name} cannot be written"):
            spreadsheet(event(), tmp_path / place / name, COLUMNS)
        assert os.listdir(tmp_path / place) == [name]


@both
def test_a_file_that_another_has_locked_is_waited_for_a_while(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a lock that is never let go, Then that is one line; and rows come after it."""
    monkeypatch.setattr(whole_file, "PATIENCE", 0.05)
    file = tmp_path / name
    locked = file if name.endswith(".csv") else tmp_path / f".{name}.part"
    spreadsheet(event("1"), file, COLUMNS)
    with locked.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Pause, match=f"{name} cannot be written: another program has"):
            spreadsheet(event("2"), file, COLUMNS)
    spreadsheet(event("2"), file, COLUMNS)
    assert titles(file) == ["Tea", "Tea"]
    assert list(tmp_path.iterdir()) == [file]


def test_a_csv_file_that_is_replaced_meanwhile_is_opened_again(tmp_path: Path) -> None:
    """Given an editor that puts a new file in its place, Then the row is in the new one."""
    file = tmp_path / "a.csv"
    file.write_text("old")
    other = file.open("rb")
    fcntl.flock(other, fcntl.LOCK_EX)

    def replaced(seconds: float) -> None:
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").rename(file)
        other.close()

    with whole_file.locked(file, replaced) as descriptor:
        assert os.pread(descriptor, 9, 0) == b"new"


def test_without_its_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no openpyxl, Then one line says how to get it, and CSV works."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "listeners.spreadsheet_xlsx", raising=False)
    monkeypatch.delattr("listeners.spreadsheet_xlsx", raising=False)
    with pytest.raises(Pause, match=r"needs: pip install 'py-agent\[spreadsheet\]'"):
        spreadsheet(event(), tmp_path / "a.xlsx", COLUMNS)
    spreadsheet(event(), tmp_path / "a.csv", COLUMNS)
    assert titles(tmp_path / "a.csv") == ["Tea"]


def test_a_missing_library_is_told_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no openpyxl and an .xlsx file in agent.toml, Then the agent does not start."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "listeners.spreadsheet_xlsx", raising=False)
    monkeypatch.delattr("listeners.spreadsheet_xlsx", raising=False)
    with pytest.raises(RegistrationError, match=r"needs: pip install 'py-agent\[spread"):
        make_listener(
            spreadsheet, {"event_type": ("==", "task")}, {"path": tmp_path / "a.xlsx"}
        )
    make_listener(spreadsheet, {"event_type": ("==", "task")}, {"path": Path("a.csv")})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16"])
def test_a_csv_file_in_another_encoding_is_left_alone(
    tmp_path: Path, encoding: str
) -> None:
    """Given headings that are no UTF-8, When a row comes, Then a line says what to do, and
    the file is as it was.
    """
    file = tmp_path / "a.csv"
    file.write_bytes("Title,Größe,delivery\nTee,5,\n".encode(encoding))
    before = file.read_bytes()
    with pytest.raises(Pause, match=r"a.csv is not in UTF-8: .* save it as CSV UTF-8"):
        spreadsheet(event(), file, {"Title": "data.title"})
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ('path = "a.csv", columns = { Title = "title" }', "column 'Title': .* is nothing"),
        ('path = "a.csv", columns = { delivery = "data.x" }', "called 'delivery'"),
        ('path = "a.csv", columns = { "a " = "data.x" }', "cannot be called 'a '"),
        ('path = "a.csv", columns = {}', "name at least one column"),
        ('path = "a.xlsx", sheet = "a[b]"', r"'sheet': the name .* cannot have '\['"),
        ('path = "a.xlsx", sheet = ""', "the name of a sheet has 1 to 31"),
        ('path = "a.xlsx", sheet = "It is \'"', "without ' at its ends"),
        ('path = "a.xlsx", sheet = "' + "x" * 32 + '"', "has 1 to 31 characters"),
        ('path = "a.ods"', "its name must end in .csv or .xlsx"),
        ('path = "a.csv", columns = { Title = 7 }', "columns"),
        ('path = "a.csv", sheet = "Tasks"', "a CSV file has no sheets; leave out sheet"),
    ],
)
def test_mistakes_in_agent_toml_are_told_at_start(
    tmp_path: Path, given: str, problem: str
) -> None:
    """Given a column or a file that cannot be, Then the agent does not start."""
    config = tmp_path / "agent.toml"
    config.write_text(
        '[[listeners]]\nrun = "listeners.spreadsheet:spreadsheet"\n'
        'match = { event_type = ["==", "task"] }\nwith = { ' + given + " }\n"
    )
    with pytest.raises(ConfigError, match=problem):
        agent_of_config(str(config))


def test_a_mistake_in_code_waits_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given the same mistakes where nothing checks them, Then no event is lost."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Pause, match="'title' is nothing that an event has"):
        spreadsheet(event(), tmp_path / "a.csv", {"Title": "title"})
    with pytest.raises(Pause, match="a.csv: a CSV file has no sheets; leave out sheet"):
        spreadsheet(event(), tmp_path / "a.csv", COLUMNS, sheet="Tasks")
    with pytest.raises(Pause, match="the name of a sheet cannot have '/'; .*'a/b'"):
        spreadsheet(event(), tmp_path / "a.xlsx", COLUMNS, sheet="a/b")
    with pytest.raises(Pause, match="must end in"):
        spreadsheet(event(), tmp_path / "a.txt", COLUMNS)
    assert list(tmp_path.iterdir()) == []
