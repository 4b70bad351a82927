"""jobs.watch_folder: new and changed files become events, each once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.watch_folder import watch_folder
from py_agent import Agent


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder with two files."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a.txt").write_text("one", encoding="utf-8")
    (folder / "b.csv").write_text("x,y", encoding="utf-8")
    return folder


def events(agent: Agent) -> list[tuple[str, str]]:
    found = agent.handler.query_events({})
    return [(event.event_type, event.data["name"]) for event in found]


def change(file: Path, text: str, seconds_later: int) -> None:
    """Write a file so that its time of change is later, whatever the clock's steps."""
    before = file.stat().st_mtime_ns
    file.write_text(text, encoding="utf-8")
    moment = before + seconds_later * 1_000_000_000
    os.utime(file, ns=(moment, moment))


def test_new_files_are_created_once(agent: Agent, inbox: Path) -> None:
    """Given two files, When looked at twice, Then each is one event."""
    watch_folder(agent.handler, inbox)
    watch_folder(agent.handler, inbox)
    assert events(agent) == [("file.created", "a.txt"), ("file.created", "b.csv")]


def test_each_change_is_an_event(agent: Agent, inbox: Path) -> None:
    """Given a known file, When it changes twice, Then each change is one event."""
    watch_folder(agent.handler, inbox, "a*")
    for step in (1, 2):
        change(inbox / "a.txt", "changed" * step, step)
        watch_folder(agent.handler, inbox, "a*")
        watch_folder(agent.handler, inbox, "a*")
    assert events(agent) == [
        ("file.created", "a.txt"),
        ("file.changed", "a.txt"),
        ("file.changed", "a.txt"),
    ]


def test_what_happened_while_down_is_found(agent: Agent, inbox: Path) -> None:
    """Given a file that changed between two runs of the job, Then the change is found."""
    watch_folder(agent.handler, inbox, "b*")
    change(inbox / "b.csv", "x,y,z", 60)
    watch_folder(agent.handler, inbox, "b*")
    data = agent.handler.query_events({"event_type": ("==", "file.changed")})[0].data
    assert data["size"] == 5
    assert data["path"] == str((inbox / "b.csv").resolve())


def test_two_folders_with_files_of_one_name(
    agent: Agent, inbox: Path, tmp_path: Path
) -> None:
    """Given the same name in two folders, When both are watched, Then both are new."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("two", encoding="utf-8")
    watch_folder(agent.handler, inbox, "a*")
    watch_folder(agent.handler, other)
    assert events(agent) == [("file.created", "a.txt")] * 2


def test_pattern_and_depth(agent: Agent, inbox: Path) -> None:
    """Given a folder in the folder, Then it counts only when asked for, by pattern."""
    (inbox / "deep").mkdir()
    (inbox / "deep" / "c.txt").write_text("three", encoding="utf-8")
    watch_folder(agent.handler, inbox, "*.txt")
    assert events(agent) == [("file.created", "a.txt")]
    watch_folder(agent.handler, inbox, "*.txt", recursive=True)
    assert events(agent) == [("file.created", "a.txt"), ("file.created", "c.txt")]


def test_names_that_are_no_unicode_and_too_long(agent: Agent, inbox: Path) -> None:
    """Given a name that is no text, Then it is escaped; and no name stops the others."""
    with open(os.fsencode(inbox) + b"/\xff.txt", "wb"):
        pass
    watch_folder(agent.handler, inbox)
    assert ("file.created", "\\xff.txt") in events(agent)
    assert len(events(agent)) == 3


def test_a_broken_link_is_left_out(agent: Agent, inbox: Path) -> None:
    """Given a link to nothing, When looked at, Then it is no file and no error."""
    (inbox / "gone").symlink_to(inbox / "nowhere")
    watch_folder(agent.handler, inbox, "gone")
    assert events(agent) == []


def test_a_folder_that_is_not_there(agent: Agent, tmp_path: Path) -> None:
    """Given no such folder, When looked at, Then the error names it."""
    with pytest.raises(NotADirectoryError, match="nowhere"):
        watch_folder(agent.handler, tmp_path / "nowhere")
