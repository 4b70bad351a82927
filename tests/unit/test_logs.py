"""The lines of the log: for people, for programs, and for the systemd journal."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from py_agent import logs
from py_agent.failures import Failure
from py_agent.logs import JournalLines, JsonLines
from py_agent.own_log import during


def record(
    message: Any, *args: object, level: int = logging.WARNING, **extra: object
) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    error = extra.pop("error", None)
    info = (type(error), error, None) if isinstance(error, BaseException) else None
    made = logging.LogRecord("shop", level, __file__, 1, message, args, info)
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    """Return the one object that a record becomes, strictly read."""
    line = JsonLines().format(made)
    assert "\n" not in line and line.isascii()
    found: dict[str, Any] = json.loads(line)
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # no half characters
    return found


def raised(error: Exception) -> Exception:
    """Return an error with a traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


@given(some.text(some.characters(exclude_categories=[])))
def test_any_message_is_one_object(message: str) -> None:
    """Control characters, half characters and quotes included."""
    found = as_json(record(message))
    assert (found["level"], found["logger"]) == ("warning", "shop")
    if not any("\ud800" <= each <= "\udfff" for each in message):
        assert found["message"] == message


def test_the_time_is_in_utc() -> None:
    """So that the lines of machines in several zones can be sorted."""
    made = record("hello")
    made.created = 1_767_614_400.25
    assert as_json(made)["time"] == "2026-01-05T12:00:00.250Z"


def test_what_goes_on_is_told() -> None:
    """The job and run, or listener and delivery, as fields of their own."""
    with during(job="poll", run=7):
        found = as_json(record("hello"))
    assert (found["job"], found["run"]) == ("poll", 7)
    assert "job" not in as_json(record("hello"))


def test_a_line_may_be_about_another_job() -> None:
    """What it says itself wins over what goes on."""
    with during(job="poll", run=7):
        assert "run" not in as_json(record("waits", job="other"))
        assert as_json(record("waits", job="poll"))["run"] == 7


def test_an_exception_has_its_traceback() -> None:
    """One that was caught here, or one that was kept as a failure."""
    found = as_json(record("no", error=raised(ValueError("bad\nthing"))))["exception"]
    assert (found["type"], found["message"]) == ("ValueError", "bad\nthing")
    kept = as_json(record("no", failure=Failure("E", "m", "t")))["exception"]
    assert kept == {"type": "E", "message": "m", "traceback": "t"}


class Unspeakable:
    """A message whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (record("%d apples", "no"), "%d apples ('no',)"),
        (record(Unspeakable()), "(a Unspeakable that cannot be shown)"),
    ],
)
def test_a_wrong_message_is_told_all_the_same(made: logging.LogRecord, told: str) -> None:
    """A line that cannot be written is worse than an ugly one."""
    assert as_json(made)["message"] == told
    assert JournalLines().format(made) == f"<4>{told}"


def test_a_job_that_cannot_be_shown_loses_no_line() -> None:
    """Any library may put anything there."""
    found = as_json(record("hello", job=Unspeakable(), run=7))
    assert (found["message"], found["run"]) == ("hello", 7)
    assert found["job"] == "(a Unspeakable that cannot be shown)"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_the_journal_is_told_priorities(level: str, priority: int) -> None:
    """So that journalctl -p warning shows what it should."""
    made = record("hello", level=getattr(logging, level))
    assert JournalLines().format(made) == f"<{priority}>hello"


def test_each_line_has_its_priority() -> None:
    """The journal takes each line for a message of its own."""
    made = record("a\nb\0c\n", error=raised(ValueError("bad")))
    lines = JournalLines().format(made).split("\n")
    assert lines[:3] == ["<4>a", "<4>b\\0c", "<4>"]
    assert lines[-1] == "<4>ValueError: bad"
    assert all(line.startswith("<4>") for line in lines)


@pytest.mark.parametrize(("written", "kind"), [("text", JournalLines), ("json", JsonLines)])
def test_the_journal_is_known_by_its_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str, kind: type
) -> None:
    """And not by the variable alone, which children with another stderr inherit."""
    with (tmp_path / "stderr").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv(logs.JOURNAL, f"{status.st_dev}:{status.st_ino}")
        assert type(logs._formatter(written)) in (logging.Formatter, JsonLines)
        monkeypatch.setattr(sys, "stderr", stream)
        assert type(logs._formatter(written)) is kind
    assert type(logs._formatter("text")) is logging.Formatter  # it is closed
