"""Runs of the agent's own jobs become events like those of any other tool."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from py_agent import Handler
from py_agent.testing import AgentUnderTest

from .support import KEY, Observability

CONFIG = """
[core]
agent_key = "a1"
observability_service_account_key = "{key}"
observability_base_url = "{url}"

[observability]
report_jobs = true
events_per_second = 1000
"""


@pytest.fixture
def reporting(tmp_path: Path, server: Observability) -> Any:
    """An agent that is configured by a file with `report_jobs`."""
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.format(key=KEY, url=server.url), encoding="utf-8")
    made = AgentUnderTest(tmp_path / "reporting.sqlite", config=file)
    yield made
    made.stop()


def good(handler: Handler) -> None:
    """A job that has nothing to say."""


def odd(handler: Handler) -> None:
    """A job that warns."""
    handler.log.warning("only %d rows", 3)
    handler.log.error("and none of yours")


def bad(handler: Handler) -> None:
    """A job that fails."""
    raise LookupError("no such table")


def told(server: Observability, job: Any) -> list[str]:
    """Return what the server heard of a job's runs, in order."""
    return [
        each.get("status") or f"{each['log_level']} {each['message']}"
        for each in server.stored()
        if each["pipeline_key"].endswith(f".{job.__name__}")
    ]


@pytest.mark.parametrize(
    ("job", "heard"),
    [
        (good, ["RUNNING", "COMPLETED"]),
        (
            odd,
            [
                "RUNNING",
                "WARNING only 3 rows\nand none of yours",
                "COMPLETED_WITH_WARNINGS",
            ],
        ),
        (bad, ["RUNNING", "ERROR LookupError: no such table", "FAILED"]),
    ],
)
def test_a_run_is_told_from_start_to_end(
    reporting: AgentUnderTest, server: Observability, job: Any, heard: list[str]
) -> None:
    """Given a job, When it has run, Then the server knows how it went, in order."""
    reporting.add_job(job, every="1 day")
    reporting.advance(minutes=1)
    assert told(server, job) == heard
    (run,) = {each["run_key"] for each in server.stored()}
    assert run.startswith("a1@")
    assert {each["component_tool"] for each in server.stored()} == {"PY_AGENT"}


def test_each_run_is_a_run_of_its_own(
    reporting: AgentUnderTest, server: Observability
) -> None:
    """Given a job that runs each minute, When ten pass, Then there are eleven runs."""
    reporting.add_job(good, every="1 minute")
    reporting.advance(minutes=10, seconds=1)
    assert told(server, good) == ["RUNNING", "COMPLETED"] * 11
    assert len({each["run_key"] for each in server.stored()}) == 11


def test_the_heartbeat_is_no_job_to_report(
    reporting: AgentUnderTest, server: Observability
) -> None:
    """Given services, When time passes and the agent stops, Then nothing is told."""

    def service(handler: Handler) -> None:
        while handler.wait(60):
            pass

    reporting.add_job(service, keep=True)
    reporting.advance(hours=1)
    reporting.stop()
    assert server.stored() == []
    assert len(server.stored("/heartbeat")) == 61


def test_a_run_that_was_cut_off_is_ended_at_the_next_start(
    reporting: AgentUnderTest, server: Observability
) -> None:
    """Given a process that was killed inside a run, When it starts again, Then the run has
    FAILED, once, and says why.
    """
    reporting.add_job(good, every="1 day", at_start=False)
    reporting.add_job(bad, every="1 day", at_start=False)
    reporting.advance(days=1, minutes=1)
    before = told(server, good)
    reporting.stop()
    # As after a kill in the middle of it: begun, told to have begun, and not ended.
    with closing(sqlite3.connect(reporting.store_path())) as store, store:
        name = f"{good.__module__}.good"
        store.execute(
            "UPDATE runs SET outcome = 'running', finished = NULL WHERE job = ?", (name,)
        )
        store.execute(
            "DELETE FROM deliveries WHERE event_id IN (SELECT id FROM events WHERE "
            "source = ? AND identifier LIKE '%/ended')",
            (name,),
        )
        store.execute(
            "DELETE FROM events WHERE source = ? AND identifier LIKE '%/ended'", (name,)
        )
    for _ in range(2):
        reporting.advance(minutes=1)
        reporting.stop()
    assert before == ["RUNNING", "COMPLETED"]
    after = told(server, good)[2:]
    assert after == ["ERROR the process ended while the job was running", "FAILED"]


def test_what_was_not_told_to_have_begun_is_not_told_to_have_ended(
    tmp_path: Path, server: Observability
) -> None:
    """Given runs from before `report_jobs`, When it is switched on, Then they are left."""
    plain = AgentUnderTest(tmp_path / "late.sqlite")
    plain.add_job(bad, every="1 day")
    plain.advance(minutes=1)
    plain.stop()
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.format(key=KEY, url=server.url), encoding="utf-8")
    later = AgentUnderTest(tmp_path / "late.sqlite", config=file, clock=plain.clock)
    later.add_job(bad, every="1 day")
    later.advance(minutes=1)
    later.stop()
    assert told(server, bad) == ["RUNNING", "ERROR LookupError: no such table", "FAILED"]


def test_a_single_round_reports_too(
    reporting: AgentUnderTest, server: Observability
) -> None:
    """Given `--once`, When it has ended, Then its runs were reported and forwarded."""
    reporting.add_job(good, every="1 day")
    reporting.drain()
    assert {each.name for each in reporting.registry.listeners} == {
        "listeners.observability.forward"
    }
    reporting.run_job(good)
    reporting.drain()
    assert told(server, good) == ["RUNNING", "COMPLETED"]


ODD = [b"caf\xe9.txt".decode(errors="surrogateescape"), "\x1b" * 50_000]


@pytest.mark.parametrize("text", ODD, ids=["surrogate", "escapes"])
def test_a_text_that_cannot_be_sent_as_it_is_stops_nothing(
    reporting: AgentUnderTest,
    server: Observability,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given jobs that say what no report can hold, Then they and others go on, reported."""
    caplog.set_level(logging.CRITICAL, "py_agent")  # such a text cannot be shown either

    def loud(handler: Handler) -> None:
        handler.log.warning("odd: %s", text)

    def broken(handler: Handler) -> None:
        raise ValueError(text)

    for job in (loud, broken, good):
        reporting.add_job(job, every="1 hour")
    reporting.advance(hours=1, seconds=5)
    assert told(server, good) == ["RUNNING", "COMPLETED"] * 2
    statuses = [each["status"] for each in server.stored() if "status" in each]
    assert statuses.count("FAILED") == statuses.count("COMPLETED_WITH_WARNINGS") == 2


def test_a_job_that_is_gone_is_ended_too(
    reporting: AgentUnderTest, server: Observability, tmp_path: Path
) -> None:
    """Given a run that was cut off, When its job is not in the code any more, Then the
    next start ends it all the same.
    """
    reporting.add_job(good, every="1 day")
    reporting.advance(minutes=1)
    reporting.stop()
    with closing(sqlite3.connect(reporting.store_path())) as store, store:
        store.execute("UPDATE runs SET outcome = 'running', finished = NULL WHERE "
                      "job LIKE '%good'")  # fmt: skip
        store.execute("DELETE FROM deliveries WHERE event_id IN (SELECT id FROM events "
                      "WHERE identifier LIKE '%/ended')")  # fmt: skip
        store.execute("DELETE FROM events WHERE identifier LIKE '%/ended'")
    later = AgentUnderTest(
        reporting.store_path(), config=tmp_path / "agent.toml", clock=reporting.clock
    )
    later.advance(minutes=1)
    later.stop()
    assert told(server, good)[-1] == "FAILED"
