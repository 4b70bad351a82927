"""`agent plan`: what will run, by the agent's own timetable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run, Start

APP = """
from py_agent import Agent

def often(handler): handler.publish('seen', 'x')
def nightly(handler): pass
def serving(handler):
    while handler.wait(60): pass

agent = Agent('agent.sqlite')
agent.add_job(often, every='1 hour')
agent.add_job(nightly, at='02:30', tz='Europe/Berlin')
agent.add_job(serving, keep=True)
agent.schedule.cron('*/20 * * * *').do(nightly, name='cron')
agent.go()
"""


@pytest.fixture
def app(folder: Path) -> Path:
    """A program with four jobs in the working directory."""
    file = folder / "app.py"
    file.write_text(APP, encoding="utf-8")
    return file


def planned(run: Run, *words: str) -> dict[str, dict[str, Any]]:
    """Return the rows of `agent plan` by job."""
    done = run("agent", "plan", *words, "--json")
    assert done.returncode == 0, done.stderr
    return {row["job"]: row for row in json.loads(done.stdout)}


def test_it_counts_the_runs_of_each_job(app: Path, run: Run) -> None:
    """Given no agent runs, When a day is planned, Then each job has its runs of a day."""
    rows = planned(run, "24h", "app.py")
    counts = {name: row["runs"] for name, row in rows.items()}
    assert counts == {
        "app.often": 25, "app.nightly": 1, "app.serving": "always", "cron": 72,
    }  # fmt: skip


def test_a_job_that_ran_is_planned_from_there(app: Path, run: Run, start: Start) -> None:
    """Given a running agent, When an hour is planned, Then the job runs once more in it."""
    agent = start("agent", "go", "app.py")
    agent.wait_for("New event")
    rows = planned(run, "1h", "app.py")
    assert rows["app.often"]["runs"] == 1
    assert agent.stop() == 0


def test_one_job_shows_each_of_its_runs(app: Path, run: Run) -> None:
    """Given a cron line, When its runs are asked for, Then they are 20 minutes apart."""
    done = run("agent", "plan", "2h", "app.py", "--job", "cron", "--json")
    times = [row["at"] for row in json.loads(done.stdout)]
    assert len(times) == 6
    assert [each[14:16] for each in sorted(times, key=lambda at: at[14:16])] == [
        "00", "00", "20", "20", "40", "40",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["24x", "app.py"], "'24x' is no length of time"),
        (["24x"], "'24x' is no length of time"),
        (["24h", "nothing.py"], "there is no file nothing.py"),
        (
            ["24h", "app.py", "--job", "cronn"],
            "there is no job 'cronn'; did you mean cron?",
        ),
    ],
)
def test_a_mistake_is_one_line(words: list[str], told: str, app: Path, run: Run) -> None:
    """Given a mistake, When planning, Then one line says what, and the code is 2."""
    done = run("agent", "plan", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_paused_job_is_not_planned(app: Path, run: Run) -> None:
    """Given agent.toml and a job that is paused, When planning, Then it says why."""
    assert run("agent", "go", "app.py", "--once").returncode == 0
    pause = (
        "import sqlite3; db = sqlite3.connect('agent.sqlite'); "
        "db.execute(\"UPDATE jobs SET paused = 1, pause_reason = 'it crashed' "
        "WHERE name = 'app.often'\"); db.commit(); db.close()"
    )
    assert run("python", "-c", pause).returncode == 0
    row = planned(run, "24h", "app.py")["app.often"]
    assert (row["runs"], row["next"], row["paused"]) == (0, None, "it crashed")


def test_a_machine_without_a_known_zone_needs_tz(
    app: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a zone without a name, When a cron line has none, Then it says to give one."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    done = run("agent", "plan", "24h", "app.py")
    assert done.returncode == 2
    assert "say which one is meant with tz=" in done.stderr
    assert done.stderr.count("\n") == 1
