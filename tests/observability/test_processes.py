"""Agents and servers as processes that are killed, stopped and refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listeners.observability import forward
from py_agent import Agent
from py_agent.store.listing import reading

from ..acceptance.conftest import Run, Start
from ..acceptance.conftest import default_signals as default_signals
from ..acceptance.conftest import folder as folder
from ..acceptance.conftest import run as run
from ..acceptance.conftest import start as start
from .support import KEY, Observability, runs_of, wait_for

# Four posts at a time, and as many whose results wait 5 ms for a commit.
MOST_REPEATED = 8

CONFIG = """
[agent]
grace = 2

[core]
agent_key = "a1"
observability_service_account_key = "{key}"
observability_base_url = "{url}"

[observability]
events_per_second = 500
{more}

"""


@pytest.fixture
def config(folder: Path, server: Observability, monkeypatch: Any) -> Callable[..., None]:
    """Write the agent.toml of the working directory."""
    for name in ("DK_AGENT_KEY", "DK_OBSERVABILITY_BASE_URL", "DK_AGENT_TYPE"):
        monkeypatch.delenv(name, raising=False)

    def write(more: str = "", key: str = KEY) -> None:
        text = CONFIG.format(key=key, url=server.url, more=more)
        (folder / "agent.toml").write_text(text, encoding="utf-8")

    write()
    return write


def publish(count: int, event_type: str = "run-status") -> None:
    """Publish reports of so many runs, with no agent on the store."""
    agent = Agent("agent.sqlite")
    agent.add_listener(forward)
    bodies = {
        "run-status": {"status": "RUNNING"},
        "message-log": {"log_level": "INFO", "message": "m"},
    }
    names = [f"r{number}" for number in range(count)]
    agent.handler.publish_many(
        (event_type, name, {"pipeline_key": "p", "run_key": name, **bodies[event_type]})
        for name in names
    )
    agent.stop()


def deliveries() -> list[dict[str, Any]]:
    with reading(Path("agent.sqlite").resolve()) as listing:
        return listing.deliveries(10_000)


def test_a_kill_loses_nothing(
    config: Callable[..., None], server: Observability, start: Start
) -> None:
    """Given an agent that is killed with about 50 of 100 unsent, When it starts again,
    Then all arrive, and twice at most what was just being sent.
    """
    publish(100)
    server.say_events({"delay": 0.02})
    agent = start("agent", "go")
    server.await_stored(50)
    agent.stop(signal.SIGKILL)
    before = len(server.seen())
    again = start("agent", "go")
    wait_for(lambda: len(runs_of(server.stored())) == 100)
    assert again.stop() == 0
    assert 50 <= before < 100
    assert len(server.stored()) <= 100 + MOST_REPEATED
    assert {each["state"] for each in deliveries()} == {"completed"}


def test_a_kill_repeats_nothing_that_must_not_be(
    config: Callable[..., None], server: Observability, start: Start
) -> None:
    """Given messages in place of statuses, When the agent is killed, Then the server has
    none twice, and each that it lacks is a dead letter, in doubt.
    """
    publish(100, "message-log")
    server.say_events({"delay": 0.02})
    agent = start("agent", "go")
    server.await_stored(50)
    agent.stop(signal.SIGKILL)
    again = start("agent", "go")
    wait_for(lambda: all(x["state"] in ("completed", "discarded") for x in deliveries()))
    assert again.stop() == 0
    arrived = runs_of(server.stored())
    assert set(arrived.values()) == {1}
    dead = [each for each in deliveries() if each["state"] == "discarded"]
    assert len(dead) <= MOST_REPEATED
    assert all(each["reason"].startswith("in doubt") for each in dead)
    completed = {x["identifier"] for x in deliveries() if x["state"] == "completed"}
    assert len(completed) + len(dead) == 100
    assert completed <= set(arrived)


@pytest.mark.parametrize("event_type", ["run-status", "message-log"])
def test_ctrl_c_during_a_slow_post_waits_for_its_answer(
    config: Callable[..., None], server: Observability, start: Start, event_type: str
) -> None:
    """Given a post that takes a while, When Ctrl-C comes, Then its answer is awaited and
    it is done; nothing is sent again later.
    """
    publish(1, event_type)
    server.say_events({"delay": 0.7})
    agent = start("agent", "go")
    agent.wait_for("heartbeats go to")
    wait_for(lambda: bool(server.seen("/heartbeat")))
    assert agent.stop(signal.SIGINT) == 0
    again = start("agent", "go")
    again.wait_for("heartbeats go to")
    assert again.stop() == 0
    assert len(server.stored()) == 1
    assert [each["state"] for each in deliveries()] == ["completed"]


@pytest.mark.parametrize("event_type", ["run-status", "message-log"])
def test_ctrl_c_during_a_post_that_takes_too_long(
    config: Callable[..., None], server: Observability, start: Start, event_type: str
) -> None:
    """Given a post that outlasts the grace time, When the agent starts again, Then a
    status is sent again, and anything else is in doubt.
    """
    publish(1, event_type)
    server.say_events({"delay": 4})
    agent = start("agent", "go")
    agent.wait_for("heartbeats go to")
    wait_for(lambda: bool(server.seen("/heartbeat")))
    assert agent.stop(signal.SIGINT) == 0
    server.await_stored(1)
    server.say({})
    again = start("agent", "go")
    wait_for(lambda: deliveries()[0]["state"] in ("completed", "discarded"))
    assert again.stop() == 0
    (row,) = deliveries()
    if event_type == "run-status":
        assert row["state"] == "completed"
        assert len(server.stored()) == 2
    else:
        assert row["reason"].startswith("in doubt")
        assert len(server.stored()) == 1


def test_a_slow_server_gets_each_once(
    config: Callable[..., None], server: Observability, start: Start
) -> None:
    """Given a server that takes two seconds for each, When ten are sent, Then it has each
    once, four at a time.
    """
    publish(10)
    server.say_events({"delay": 2})
    agent = start("agent", "go")
    server.await_stored(10)
    assert agent.stop() == 0
    assert set(runs_of(server.stored()).values()) == {1}


@pytest.mark.parametrize("what", ["/events/", "/heartbeat"])
def test_a_refused_key_may_end_the_agent(
    config: Callable[..., None],
    server: Observability,
    run: Run,
    start: Start,
    what: str,
) -> None:
    """Given `exit_on_unauthorized`, When the key is refused, Then the agent ends with 1,
    says why without the key, and nothing is lost.
    """
    config("exit_on_unauthorized = true")
    publish(3)
    server.say({"status": 401, "only": what})
    done = run("agent", "go")
    assert done.returncode == 1
    assert "refuses the service-account key" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    server.say({})
    again = start("agent", "go")
    again.wait_for("heartbeats go to")
    server.await_stored(3)
    assert again.stop() == 0
    assert runs_of(server.stored()) == {"r0": 1, "r1": 1, "r2": 1}


def test_the_key_is_nowhere_to_be_seen(
    folder: Path,
    config: Callable[..., None],
    server: Observability,
    start: Start,
    run: Run,
) -> None:
    """Given a canary for a key and every kind of trouble, When all is over, Then it is in
    no log, no store, no answer of a command, and not in the list of processes.
    """
    canary = "canary-4711-service-account"
    config("report_jobs = true", key=canary)
    publish(8)
    quoting = {"body": {"error": f"what is {canary}?"}}
    server.say(
        {"status": 401, **quoting}, {"status": 400, **quoting}, {"status": 500, **quoting},
        {"status": 301, "headers": {"Location": f"/{canary}"}}, {"status": 503},
        {"lose": True}, {"status": 429, "headers": {"Retry-After": "0"}}, {},
    )  # fmt: skip
    server.change_key(canary)
    agent = start("agent", "go", "--log-level", "debug")
    agent.wait_for("heartbeats go to")
    wait_for(lambda: len(server.seen("")) >= 6)
    processes = "".join(
        file.read_bytes().decode(errors="replace")
        for file in Path("/proc").glob("[0-9]*/cmdline")
    )
    commands = ("dead", "deliveries", "doctor")
    told = [run("agent", each, "--json").stdout for each in commands]
    told += [run("agent", "dead", "--errors").stdout, run("agent", "jobs").stdout]
    assert agent.stop() == 0
    wrong = json.dumps("x" * 5) + " = 1"
    (folder / "wrong.toml").write_text(
        (folder / "agent.toml").read_text().replace("[core]", f"[core]\n{wrong}")
    )
    told.append(run("agent", "go", "--config", "wrong.toml").stderr)
    assert "there is no key 'xxxxx'" in told[-1]
    written = "".join(
        file.read_bytes().decode(errors="replace") for file in folder.glob("agent.sqlite*")
    )
    for text in (processes, written, *told, *agent.lines):
        assert canary not in text
