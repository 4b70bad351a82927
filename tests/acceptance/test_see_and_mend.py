"""The commands that show the store and mend what is in it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from .conftest import LIMIT, Run, Start

APP = """
from pathlib import Path
from py_agent import Agent, Pause, RetryPolicy

agent = Agent("agent.sqlite")

def job(handler):
    handler.publish("a", "1", {"text": "[red]no markup[/red]"})
    handler.publish("b", "1")

def broken(event):
    if not Path("mended").exists():
        raise ValueError("out of order")

def shy(event):
    if not Path("mended").exists():
        raise Pause("not now")

agent.add_job(job, every="1 hour")
agent.add_listener(broken, {"event_type": ("==", "a")}, retry=RetryPolicy(attempts=1))
agent.add_listener(shy, {"event_type": ("==", "b")})
"""


@pytest.fixture
def app(folder: Path, run: Run) -> Path:
    """A store with a dead letter and a paused listener."""
    file = folder / "app.py"
    file.write_text(APP, encoding="utf-8")
    assert run("agent", "go", "--once", "app.py").returncode == 1
    return file


def states(run: Run, *words: str) -> list[tuple[str, str]]:
    rows = json.loads(run("agent", "deliveries", "--json", *words).stdout)
    return [(row["listener"], row["state"]) for row in rows]


def test_dead_letters_are_shown_with_every_error(app: Path, run: Run) -> None:
    """Given a dead letter, When shown, Then its error and traceback are there."""
    told = run("agent", "dead", "--errors").stdout
    assert "ValueError: out of order" in told
    assert 'raise ValueError("out of order")' in told
    (row,) = json.loads(run("agent", "dead", "--errors", "--json").stdout)
    assert (row["state"], row["attempts"], len(row["errors"])) == ("discarded", 1, 1)
    assert run("agent", "dead", "--listener", "nobody").stdout == ""


def test_a_dead_letter_is_redelivered_with_mended_code(app: Path, run: Run) -> None:
    """Given mended code, When redelivered, Then the delivery completes."""
    assert run("agent", "redeliver", "--all").stdout == "1 to be delivered again\n"
    Path("mended").touch()
    run("agent", "go", "--once", "app.py")
    assert ("app.broken", "completed") in states(run)


def test_a_dead_letter_is_taken_off_the_list(app: Path, run: Run) -> None:
    """Given a dead letter, When discarded by hand, Then only `dead` forgets it."""
    assert run("agent", "discard", "--listener", "app.broken").returncode == 0
    assert json.loads(run("agent", "dead", "--json").stdout) == []
    assert ("app.broken", "discarded") in states(run)


def test_an_owed_delivery_becomes_a_dead_letter(app: Path, run: Run) -> None:
    """Given a waiting delivery, When discarded by hand, Then it is a dead letter."""
    (row,) = json.loads(run("agent", "deliveries", "--json", "--type", "b").stdout)
    assert row["state"] == "available"
    assert run("agent", "discard", row["id"]).returncode == 0
    dead = json.loads(run("agent", "dead", "--json", "--listener", "app.shy").stdout)
    assert [each["reason"] for each in dead] == ["discarded by hand"]


def test_a_paused_listener_goes_on(app: Path, run: Run) -> None:
    """Given a paused listener, When resumed, Then its delivery is made."""
    rows = {
        row["name"]: row for row in json.loads(run("agent", "listeners", "--json").stdout)
    }
    assert (rows["app.shy"]["paused"], rows["app.shy"]["pause_reason"]) == (True, "not now")
    Path("mended").touch()
    assert run("agent", "resume", "app.shy").stdout == "The listener app.shy goes on\n"
    run("agent", "go", "--once", "app.py")
    assert ("app.shy", "completed") in states(run)


def test_a_listener_that_left_the_code_is_parked_and_forgotten(app: Path, run: Run) -> None:
    """Given code without a listener, When run, Then it is parked until forgotten."""
    app.write_text(APP.replace("agent.add_listener(shy", "# ("), encoding="utf-8")
    run("agent", "go", "--once", "app.py")
    assert ("app.shy", "parked") in states(run)
    told = run("agent", "forget-listener", "app.shy").stdout
    assert told == "app.shy is forgotten, with 1 unfinished deliveries\n"
    assert "app.shy" not in dict(states(run))


def test_a_job_that_left_the_code_is_forgotten(folder: Path, run: Run) -> None:
    """Given a job that failed and has another name now, When forgotten, Then doctor and
    the list do not tell of it any more, and its events are known.
    """
    text = (
        "from py_agent import Agent\n"
        "agent = Agent('agent.sqlite')\n"
        "def old(handler):\n"
        "    handler.publish('t', '1')\n"
        "    raise ValueError('broken')\n"
        "agent.add_job(old, every='1 hour')\n"
    )
    (folder / "jobs_of_mine.py").write_text(text, encoding="utf-8")
    assert run("agent", "go", "--once", "jobs_of_mine.py").returncode == 1
    assert "broken" in run("agent", "doctor").stdout

    done = run("agent", "forget-job", "jobs_of_mine.old")
    assert (done.returncode, done.stdout) == (
        0,
        "jobs_of_mine.old is forgotten, with 1 run\n",
    )
    assert "jobs_of_mine" not in run("agent", "doctor").stdout
    assert json.loads(run("agent", "jobs", "--json").stdout) == []
    assert len(json.loads(run("agent", "events", "--json").stdout)) == 1
    again = run("agent", "forget-job", "jobs_of_mine.old")
    assert (again.returncode, "knows no job" in again.stderr) == (2, True)


def test_a_job_that_may_run_is_not_forgotten(folder: Path, run: Run, start: Start) -> None:
    """Given a job in agent.toml or an agent that runs, When it is to be forgotten, Then
    that is refused.
    """
    job = '[[jobs]]\nrun = "jobs.watch_folder"\nname = "inbox"\nevery = "1 hour"\n'
    (folder / "agent.toml").write_text(job + 'with = { path = "." }\n', encoding="utf-8")
    agent = start("agent", "go")
    agent.wait_for("New event")
    told = run("agent", "forget-job", "inbox")
    assert (told.returncode, "is still in agent.toml" in told.stderr) == (2, True)
    (folder / "agent.toml").unlink()
    told = run("agent", "forget-job", "inbox")
    assert (told.returncode, "stop it first" in told.stderr) == (2, True)
    assert agent.stop() == 0
    assert run("agent", "forget-job", "inbox").returncode == 0


def test_running_deliveries_are_shown_as_running(
    folder: Path, start: Start, run: Run
) -> None:
    """Given a call in progress, When deliveries are shown, Then its state is running."""
    (folder / "long.py").write_text(
        "import threading\n"
        "from py_agent import Agent\n"
        "agent = Agent('agent.sqlite', grace=0.1)\n"
        "def job(handler): handler.publish('a', '1')\n"
        "def long(event):\n    print('inside', flush=True)\n    threading.Event().wait()\n"
        "agent.add_job(job, every='1 hour')\n"
        "agent.add_listener(long, {'event_type': ('==', 'a')})\n",
        encoding="utf-8",
    )
    agent = start("agent", "go", "long.py")
    agent.wait_for("inside")
    assert states(run, "--state", "running") == [("long.long", "running")]
    assert states(run, "--state", "available") == []
    assert agent.stop() == 0


@pytest.mark.parametrize("command", ["events", "deliveries", "runs", "jobs", "listeners"])
def test_a_table_on_a_terminal(command: str, app: Path) -> None:
    """Given a terminal, When rows are shown, Then it is a table, and data is no markup."""
    leader, follower = pty.openpty()
    os.environ["COLUMNS"] = "200"
    try:
        done = subprocess.run(
            ["agent", command, "--db", "agent.sqlite"], stdout=follower,
            stderr=subprocess.PIPE, timeout=LIMIT, check=False,
        )  # fmt: skip
    finally:
        del os.environ["COLUMNS"]
    os.close(follower)
    shown = os.read(leader, 1_000_000).decode()
    os.close(leader)
    assert done.returncode == 0, done.stderr
    assert "app." in shown
    if command == "events":
        assert "[red]no markup[/red]" in shown


def test_a_listener_that_agent_toml_names_is_not_forgotten(folder: Path, run: Run) -> None:
    """Given a listener in agent.toml, When it is to be forgotten, Then that is refused."""
    (folder / "agent.toml").write_text(
        '[[listeners]]\nrun = "listeners.log_event:log_event"\nname = "log"\n'
        'match = { event_type = ["==", "t"] }\n',
        encoding="utf-8",
    )
    assert run("agent", "go", "--once").returncode == 0
    done = run("agent", "forget-listener", "log")
    assert (done.returncode, "is still in agent.toml" in done.stderr) == (2, True)
    (folder / "agent.toml").unlink()
    assert run("agent", "forget-listener", "log").returncode == 0
