"""A flood of events, and the commands with which a person decides on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run, Start

APP = """
from pathlib import Path
from py_agent import Handler, listen_for

def poll(handler: Handler) -> None:
    for number in range(int(Path("count").read_text())):
        handler.publish("item", str(number))

@listen_for({"event_type": ("==", "item")})
def task(event) -> None:
    print("task", event.identifier)

@listen_for({"event_type": ("==", "job.held")})
def ask(event) -> None:
    print("asked:", event.data["job"], event.data["new"])
"""

CONFIG = """
[agent]
durability = "fast"
[[jobs]]
run = "app.poll"
every = "0.1 seconds"
hold_above = 50
[[listeners]]
run = "app.task"
[[listeners]]
run = "app.ask"
"""


@pytest.fixture
def count(folder: Path) -> Path:
    """The number of items in the source of a guarded job; first there are two."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    (folder / "agent.toml").write_text(CONFIG, encoding="utf-8")
    file = folder / "count"
    file.write_text("2", encoding="utf-8")
    return file


def grow(count: Path, number: int) -> None:
    """Let the source have so many items, at once for who reads it."""
    new = count.with_name("new")
    new.write_text(str(number), encoding="utf-8")
    new.replace(count)


def test_a_person_decides_beside_the_running_agent(
    count: Path, start: Start, run: Run
) -> None:
    """Given a flood, Then the commands show it, and what is released fires at once,
    what is discarded never.
    """
    agent = start("agent", "go")
    agent.wait_for("task 1")
    grow(count, 62)
    agent.wait_for("asked: app.poll 60")
    agent.wait_for("agent discard --held app.poll drops them")

    doctor = run("agent", "doctor")
    assert (doctor.returncode, doctor.stdout) == (
        1,
        "job app.poll: 60 of its events (60 deliveries) are held, as too many were new at "
        "once; agent release app.poll delivers them, agent discard --held app.poll drops "
        "them\n",
    )
    (job,) = json.loads(run("agent", "jobs", "--json").stdout)
    assert (job["name"], job["held"]) == ("app.poll", 60)
    assert "held: too many at once from app.poll" in run("agent", "deliveries").stdout
    assert not [line for line in agent.lines if line == "task 2"]

    assert run("agent", "release", "app.poll").stdout == "60 to be delivered\n"
    agent.wait_for("task ", times=62)
    grow(count, 162)
    agent.wait_for("asked: app.poll 100")
    assert run("agent", "discard", "--held", "app.poll").stdout == "100 discarded\n"
    assert run("agent", "doctor").returncode == 0
    assert agent.stop() == 0
    assert sum(line.startswith("task ") for line in agent.lines) == 62


def test_a_person_decides_without_an_agent(count: Path, run: Run) -> None:
    """Given a flood of an agent that has ended, When released, Then the next one
    delivers it.
    """
    grow(count, 60)
    once = run("agent", "go", "--once")
    assert (once.returncode, once.stdout) == (0, "asked: app.poll 60\n")
    assert "60 of its events" in run("agent", "doctor").stdout

    assert run("agent", "release", "app.poll").returncode == 0

    assert run("agent", "go", "--once").stdout.count("task ") == 60


def test_there_is_nothing_to_decide(count: Path, run: Run) -> None:
    """Given an unknown job, one without a flood, or two wishes, Then one line says so."""
    assert run("agent", "go", "--once").returncode == 0
    for words, said in [
        (["release", "nobody"], "Error: the store knows no job named nobody\n"),
        (["release", "app.poll"], "Error: nothing of job app.poll is held\n"),
        (["discard", "--held", "app.poll"], "Error: nothing of job app.poll is held\n"),
        (
            ["discard", "--held", "app.poll", "--all"],
            "Error: --held JOB takes all that is held of a job; name nothing else\n",
        ),
    ]:
        done = run("agent", *words)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_trial_holds_nothing(count: Path, run: Run) -> None:
    """Given a guarded job, When it is tried, Then its listeners fire."""
    grow(count, 60)
    done = run("agent-test", "-m", "-j", "app.poll", "-l", "app.task", "-l", "app.ask")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("task ")]) == 60
    assert not [line for line in lines if line.startswith("asked")]


@pytest.mark.parametrize("value", ["0", "true", '"often"', "[1]"])
def test_what_is_no_limit_is_refused(count: Path, run: Run, value: str) -> None:
    """Given a wrong value in agent.toml, When started, Then one line names it."""
    Path("agent.toml").write_text(CONFIG.replace("50", value), encoding="utf-8")
    done = run("agent", "go", "--once")
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if "hold_above" in each]
    assert "[[jobs]] 1" in line and "Traceback" not in done.stderr
