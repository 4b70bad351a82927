"""listeners.append_csv: one header, whole rows, none twice."""

from __future__ import annotations

import csv
import logging
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listeners.append_csv import append_csv
from listeners.log_event import log_event
from listeners.spreadsheet import row_key
from py_agent import Event, Pause

HEADER = ("created", "event_type", "identifier", "source", "data", "delivery")
MOMENT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def event(identifier: str = "1", data: object = None, key: str | None = "1.1") -> Event:
    return Event(
        "a", identifier, data, created=MOMENT, source="job", delivery_key=key
    )  # fmt: skip


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def test_one_header_and_a_row_each(tmp_path: Path) -> None:
    """Given two events, When appended, Then there is one header and two rows."""
    file = tmp_path / "seen.csv"
    append_csv(event("1", {"x": 1}, "1.1"), file)
    append_csv(event("2", "tea, hot", "2.1"), file)
    assert rows(file) == [
        list(HEADER),
        [
            "2026-01-05T12:00:00+00:00",
            "a",
            "1",
            "job",
            '{"x": 1}',
            row_key(event("1", key="1.1")),
        ],
        [
            "2026-01-05T12:00:00+00:00",
            "a",
            "2",
            "job",
            '"tea, hot"',
            row_key(event("2", key="2.1")),
        ],
    ]


def test_a_repeated_delivery_adds_nothing(tmp_path: Path) -> None:
    """Given a row, When the same delivery comes again, Then it is not written twice."""
    file = tmp_path / "seen.csv"
    for _ in range(3):
        append_csv(event(key="7.2"), file)
    append_csv(event("2", key="17.2"), file)
    append_csv(event("2", key="17.3"), file)  # another listener on the same file
    assert [row[2] for row in rows(file)[1:]] == ["1", "2", "2"]


@pytest.mark.parametrize(
    "torn", ["2026-01-05T12:0", '2026,"half a quoted cel', "x" * 200_000]
)
def test_a_torn_row_is_removed(tmp_path: Path, torn: str) -> None:
    """Given a crash that left half a row, When the next comes, Then all rows are whole."""
    file = tmp_path / "seen.csv"
    append_csv(event(key="1.1"), file)
    with file.open("a", encoding="utf-8") as out:
        out.write(torn)
    append_csv(event("2", key="2.1"), file)
    assert [row[2] for row in rows(file)] == ["identifier", "1", "2"]


@pytest.mark.parametrize("content", ["name,score\nAda,1\nBob,2", "a note", "\n"])
def test_a_file_of_someone_else_is_left_alone(tmp_path: Path, content: str) -> None:
    """Given a file with other columns, When an event comes, Then it stays as it is."""
    file = tmp_path / "mine.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Pause, match="has no column 'created'"):
        append_csv(event(), file)
    assert file.read_text(encoding="utf-8") == content


def test_a_torn_header_is_removed(tmp_path: Path) -> None:
    """Given half a header and no row, When an event comes, Then the header is whole."""
    file = tmp_path / "seen.csv"
    file.write_text("created,event_", encoding="utf-8")
    append_csv(event(), file)
    assert [row[0] for row in rows(file)] == ["created", MOMENT.isoformat()]


def test_a_line_break_in_a_text_stays_in_its_row(tmp_path: Path) -> None:
    """Given an identifier with a line break, When appended, Then the row is one line."""
    file = tmp_path / "seen.csv"
    append_csv(event("two\nlines", {"text": "a\nb"}), file)
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    assert rows(file)[1][2] == "two\\nlines"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Given no room for another row, When appended, Then it waits and the file is whole."""
    file = tmp_path / "seen.csv"
    append_csv(event(key="1.1"), file)
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(Pause, match="cannot be written: only 10 of"):
            append_csv(event("2", "x" * 100, "2.1"), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == before


def test_processes_do_not_mix_their_rows(tmp_path: Path) -> None:
    """Given four processes that append at once, Then every row is whole."""
    file = tmp_path / "seen.csv"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from listeners.append_csv import append_csv\n"
        "from py_agent import Event\n"
        "for n in range(50):\n"
        "    append_csv(Event('a', str(n), 'x' * 500, delivery_key=f'{n}.{sys.argv[1]}'),"
        " Path(sys.argv[2]))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(n), str(file)], cwd=tmp_path)
        for n in range(4)
    ]
    assert [each.wait(60) for each in running] == [0] * 4
    found = rows(file)
    assert len({row[-1] for row in found[1:]}) == 200
    assert {len(row) for row in found} == {len(HEADER)}
    assert found.count(list(HEADER)) == 1


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Given a new file, When it is made, Then only its owner can read it."""
    file = tmp_path / "seen.csv"
    before = os.umask(0)
    try:
        append_csv(event(), file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


def test_log_event_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Given an event with control characters, When logged, Then it is one clean line."""
    with caplog.at_level(logging.WARNING):
        log_event(event("two\nlines\x1b[31m", {"x": 1}), level="warning")
    assert caplog.messages == ['a two\\nlines\\x1b[31m {"x": 1}']
