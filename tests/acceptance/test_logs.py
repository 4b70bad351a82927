"""The log of `agent go`, as programs and the systemd journal read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import LIMIT, Run

APP = """
import logging
from py_agent import Agent, listen_for

agent = Agent("agent.sqlite")

def poll(handler):
    logging.getLogger("library").warning("two\\nlines")
    handler.publish("a", "1")
    raise ValueError("broken")

@listen_for({"event_type": ("==", "a")})
async def look(event):
    logging.getLogger("library").warning("seen")

agent.schedule.every(1).hours.do(poll)
agent.add_listener(look)
"""

THREADS = """
import sys
from threading import Thread
from py_agent import Agent

agent = Agent("agent.sqlite")

def die():
    raise ValueError("in a thread")

class Gone:
    def __del__(self):
        raise ValueError("in del")

def poll(handler):
    for function in (die, sys.exit, Gone):
        thread = Thread(target=function)
        thread.start()
        thread.join()

agent.schedule.every(1).hours.do(poll)
"""


@pytest.fixture
def app(folder: Path) -> Path:
    """A job that logs, publishes and fails, and a listener that logs."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    return folder


@pytest.mark.parametrize("how", ["option", "variable", "file"])
def test_json_is_an_object_a_line(
    app: Path, run: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Given a job that fails, When the log is JSON, Then its lines know whose they are."""
    words = ["--log-format", "json"] if how == "option" else []
    if how == "variable":
        monkeypatch.setenv("PY_AGENT_LOG_FORMAT", "json")
    if how == "file":
        (app / "agent.toml").write_text('[agent]\nlog_format = "json"\n')
    done = run("agent", "go", "app.py", "--once", *words)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    named = {each["message"]: each for each in lines}
    assert (named["two\nlines"]["job"], named["two\nlines"]["run"]) == ("app.poll", 1)
    assert named["New event -> a: 1"]["job"] == "app.poll"
    failed = named["job app.poll failed: ValueError: broken"]
    assert (failed["job"], failed["level"]) == ("app.poll", "warning")
    assert "in poll" in failed["exception"]["traceback"]
    seen = named["seen"]
    assert (seen["listener"], seen["delivery"]) == ("app.look", "1.1")
    assert named["a job or an attempt failed; see above"]["level"] == "error"


def test_what_nobody_catches_is_an_object_too(folder: Path, run: Run) -> None:
    """Given a thread that dies and an object that fails as it goes, When the log is JSON,
    Then each is one line, and SystemExit none, as ever.
    """
    (folder / "app.py").write_text(THREADS, encoding="utf-8")
    done = run("agent", "go", "app.py", "--once", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    caught = {each["exception"]["message"]: each for each in lines if "exception" in each}
    assert caught.keys() == {"in a thread", "in del"}
    assert "die" in caught["in a thread"]["exception"]["traceback"]
    assert {each["level"] for each in caught.values()} == {"error"}


def test_a_mistake_is_an_object_too(folder: Path, run: Run) -> None:
    """Given a file that is missing, When the log is JSON, Then so is the error."""
    done = run("agent", "go", "gone.py", "--log-format", "json")
    assert done.returncode == 2
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["error"]


def in_the_journal(folder: Path, *words: str) -> list[str]:
    """Return what a command writes to a stderr that the environment calls the journal."""
    with (folder / "journal").open("w+", encoding="utf-8") as journal:
        status = os.fstat(journal.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=journal, timeout=LIMIT, check=False,
            env=os.environ | stream,
        )  # fmt: skip
        journal.seek(0)
        return journal.read().splitlines()


def test_the_journal_gets_priorities_and_no_time(app: Path) -> None:
    """Given the journal, When a job logs and fails, Then each line has its priority."""
    found = in_the_journal(app, "agent", "go", "app.py", "--once")
    for line in ("<4>two", "<4>lines", "<6>New event -> a: 1", "<4>seen"):
        assert line in found
    assert "<4>job app.poll failed: ValueError: broken" in found
    assert found[-1] == "<3>a job or an attempt failed; see above"
    assert all(line[0] == "<" and line[2] == ">" for line in found)


def test_an_agent_of_ones_own_obeys_the_settings(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a script that calls go(), Then level and format are those of the settings."""
    code = "from py_agent import Agent; Agent('/proc/none.sqlite').go()"
    monkeypatch.setenv("PY_AGENT_LOG_FORMAT", "json")
    monkeypatch.setenv("PY_AGENT_LOG_LEVEL", "error")
    done = run(sys.executable, "-c", code)
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["error"]
    monkeypatch.setenv("PY_AGENT_LOG_FORMAT", "xml")
    done = run(sys.executable, "-c", code)
    assert done.returncode == 2
    assert "the environment: PY_AGENT_LOG_FORMAT" in done.stderr
