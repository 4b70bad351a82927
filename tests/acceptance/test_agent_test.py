"""`agent-test`: develop one job or listener."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run, Start

APP = """
from py_agent import Agent, RetryPolicy, listen_for

agent = Agent("agent.sqlite")
tries = iter(range(1, 10))

def job(handler, count=2):
    handler.publish_many(("n", str(each), each) for each in range(count))
    handler.publish("n", "0")

def lonely(handler):
    handler.publish("other", "1")

@listen_for({"event_type": ("==", "n")})
def listener(event, handler):
    print("heard", event.data)
    handler.publish("heard", event.identifier)

@listen_for({"event_type": ("==", "other")}, retry=RetryPolicy(first=0))
def stubborn(event):
    if next(tries) < 3:
        raise ValueError("not yet")

def plain(event):
    print("plain", event.identifier)

agent.add_job(job, every="1 hour", count=3)
agent.add_listener(plain, {"event_type": ("==", "n"), "data": ("==", 1)} and
                   {"event_type": ("==", "n")})
agent.go()
"""


@pytest.fixture
def app(folder: Path) -> Path:
    """A module with jobs and listeners in the working directory."""
    file = folder / "app.py"
    file.write_text(APP, encoding="utf-8")
    return file


def result(stdout: str) -> dict[str, Any]:
    """Return the JSON object that is all of stdout, whatever the functions print."""
    found: dict[str, Any] = json.loads(stdout)
    return found


def test_a_job_runs_with_its_registered_arguments(app: Path, run: Run) -> None:
    """Given a registered job, When tried alone, Then its arguments are the agent's."""
    done = run("agent-test", "-j", "app.job", "--json")
    told = result(done.stdout)
    assert done.returncode == 0
    assert told["run"]["outcome"] == "completed"
    assert [(row["identifier"], row["new"]) for row in told["published"]] == [
        ("0", True), ("1", True), ("2", True), ("0", False),
    ]  # fmt: skip
    assert told["deliveries"] == []


def test_what_listeners_publish_is_told(app: Path, run: Run) -> None:
    """Given a listener that publishes, When tried, Then what it published is listed."""
    told = result(run("agent-test", "-j", "app:job", "-l", "app:listener", "--json").stdout)
    sources = {row["source"] for row in told["published"]}
    assert sources == {"app.job", "agent-test:app.listener"} or "app.listener" in sources
    assert [row["state"] for row in told["deliveries"]] == ["completed"] * 3


def test_several_listeners(app: Path, run: Run) -> None:
    """Given -l twice, When the job runs, Then both listeners fire for each event."""
    told = result(
        run("agent-test", "-j", "app.job", "-l", "app.listener", "-l", "app.plain",
            "--json").stdout
    )  # fmt: skip
    fired = [(row["listener"], row["identifier"]) for row in told["deliveries"]]
    assert sorted(fired) == [
        (name, number) for name in ("app.listener", "app.plain") for number in "012"
    ]


def test_one_attempt_and_code_1(app: Path, run: Run) -> None:
    """Given a failing listener, When tried, Then one attempt, its error, and code 1."""
    done = run("agent-test", "-j", "app.lonely", "-l", "app.stubborn")
    assert done.returncode == 1
    assert "ValueError: not yet" in done.stdout
    assert "discarded" in done.stdout


def test_retries_follow_the_listeners_policy(app: Path, run: Run) -> None:
    """Given --retries, When the listener fails twice, Then the third attempt completes."""
    done = run(
        "agent-test", "-j", "app.lonely", "-l", "app.stubborn", "--retries", "--json"
    )
    row = result(done.stdout)["deliveries"][0]
    assert (row["state"], row["attempts"]) == ("completed", 3)


def test_emitting_again_works_after_completion(app: Path, run: Run) -> None:
    """Given completed deliveries, When emitted again, Then the listener fires again."""
    run("agent-test", "-j", "app.job", "-l", "app.listener")
    done = run("agent-test", "-l", "app.listener", "-t", "n", "-id", "1")
    assert done.returncode == 0
    assert done.stdout.count("heard 1") == 1
    assert "heard 2" not in done.stdout


def test_no_subscription_is_left_behind(app: Path, run: Run) -> None:
    """Given a run with a listener, When it is over, Then the store owes nobody anything."""
    first = result(
        run("agent-test", "-j", "app.job", "-l", "app.listener", "--json").stdout
    )
    store = first["store"]
    assert run("agent", "listeners", "--db", store, "--json").stdout.strip() == "[]"
    assert run("agent", "deliveries", "--db", store, "--json").stdout.strip() == "[]"
    assert [each.name for each in Path(store).parent.iterdir()] == [Path(store).name]


def test_each_directory_has_its_own_store(
    app: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two working directories, When a job is tried in both, Then both are new."""
    first = result(run("agent-test", "-j", "app.lonely", "--json").stdout)
    other = tmp_path / "other"
    other.mkdir()
    (other / "app.py").write_text(APP, encoding="utf-8")
    monkeypatch.chdir(other)
    second = result(run("agent-test", "-j", "app.lonely", "--json").stdout)
    assert first["store"] != second["store"]
    assert second["published"][0]["new"]


def test_an_existing_store_by_name(app: Path, run: Run) -> None:
    """Given the agent's own store, When named with --db-file, Then its listeners stay."""
    assert run("agent", "go", "--once", "app.py").returncode == 0
    before = json.loads(run("agent", "deliveries", "--json").stdout)
    done = run("agent-test", "--db-file", "agent.sqlite", "-l", "app.plain", "-t", "n")
    assert done.stdout.count("plain") >= 3
    assert json.loads(run("agent", "deliveries", "--json").stdout) == before


def test_a_cache_that_cannot_be_made(
    app: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no place for the test store, When a job is tried, Then one line helps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(app))
    done = run("agent-test", "-j", "app.lonely")
    assert done.returncode == 2
    assert "use -m for a store in memory" in done.stderr
    assert "Traceback" not in done.stderr


SERVICE = """
def serve(handler):
    handler.publish('served', 'begin')
    while handler.wait(60):
        pass
    handler.publish('served', 'end')

def deaf(handler):
    import threading
    threading.Event().wait()

def short(handler):
    handler.state['runs'] = handler.state.get('runs', 0) + 1
    handler.publish('ran', str(handler.state['runs']))
"""


@pytest.fixture
def services(folder: Path) -> Path:
    """A module with services in the working directory."""
    file = folder / "services.py"
    file.write_text(SERVICE, encoding="utf-8")
    return file


def test_a_service_is_ended_after_its_time(services: Path, run: Run) -> None:
    """Given a service, When tried for a moment, Then it ends by itself and succeeds."""
    done = run("agent-test", "-m", "-j", "services.serve", "--for", "0.2s", "--json")
    assert done.returncode == 0, done.stderr
    told = result(done.stdout)
    assert told["run"]["outcome"] == "completed"
    assert [row["identifier"] for row in told["published"]] == ["begin", "end"]


def test_a_service_that_does_not_end_has_failed(services: Path, run: Run) -> None:
    """Given a function that ignores the stop, When its time is up, Then it has failed."""
    done = run("agent-test", "-m", "-j", "services.deaf", "--for", "100 ms")
    assert done.returncode == 2
    assert "'100 ms' is no length of time" in done.stderr
    done = run("agent-test", "-m", "-j", "services.deaf", "--for", "0.1s", "--json")
    assert done.returncode == 1
    assert "did not end before stop" in result(done.stdout)["run"]["error"]


def test_a_job_remembers_from_one_try_to_the_next(services: Path, run: Run) -> None:
    """Given a job with a state, When tried twice, Then the second try goes on from it."""
    found = [
        result(run("agent-test", "-j", "services.short", "--json").stdout)["published"]
        for _ in range(2)
    ]
    assert [rows[0]["identifier"] for rows in found] == ["1", "2"]


def test_ctrl_c_ends_a_service_and_tells_what_it_did(services: Path, start: Start) -> None:
    """Given a service without a time, When Ctrl-C is pressed, Then its result is told."""
    (services.parent / "services.py").write_text(
        SERVICE.replace("while handler", "print('serving')\n    while handler"), "utf-8"
    )
    tried = start("agent-test", "-m", "-j", "services.serve")
    tried.wait_for("serving")
    assert tried.stop(signal.SIGINT) == 0
    assert "Job services.serve: completed" in tried.lines


def test_what_a_job_says_is_heard_under_its_name(services: Path, run: Run) -> None:
    """Given a job that logs, When it is tried, Then its line is shown, and whose it is."""
    text = "\ndef talk(handler):\n    handler.log.info('%d%% done', 50)\n"
    services.write_text(SERVICE + text, encoding="utf-8")
    done = run("agent-test", "-m", "-j", "services.talk")
    assert "INFO services.talk: 50% done" in done.stderr
