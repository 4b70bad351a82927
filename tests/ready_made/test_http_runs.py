"""jobs.http_runs: the runs in any list of JSON become reports, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from jobs import http_runs as module
from jobs.http_runs import HttpRunsSettings, http_runs
from jobs.http_runs_mapping import STATES, moment_of
from py_agent import Handler, HttpError
from py_agent.errors import ConfigError
from py_agent.loading import agent_of_config
from py_agent.observability import HttpSettings
from py_agent.observability.settings import (
    ApiToken,
    AzureServicePrincipal,
    UsernamePassword,
)
from py_agent.testing import AgentUnderTest

from .runs_server import RunsServer

SECRET = "canary-0815"
GONE = "ERROR: The tool does not know this run any more."
UNLISTED = "ERROR: The tool does not list this run any more."


@pytest.fixture
def tool() -> Iterator[RunsServer]:
    """A tool without runs."""
    made = RunsServer()
    yield made
    made.close()


@pytest.fixture
def agent(running: AgentUnderTest, tool: RunsServer) -> AgentUnderTest:
    """An agent that watches the tool."""
    configure(running, tool)
    return running


def configure(
    agent: AgentUnderTest, tool: RunsServer, /, leave_out: str = "", **values: Any
) -> None:
    """Set the settings of the job; the requests are not tried again."""
    given = {
        "url": f"{tool.host}/api/runs", "items": "data.runs", "pipeline": "pipe",
        "run": "id", "status": "state", "started": "began", "ended": "ended",
        "message": "error", "detail": f"{tool.host}/api/runs/{{run}}",
        "detail_item": "run",
    } | values  # fmt: skip
    given.pop(leave_out, None)
    agent.settings[HttpRunsSettings] = HttpRunsSettings(**given)
    agent.settings[HttpSettings] = HttpSettings(retries=0)


def poll(agent: AgentUnderTest, after: float = 30) -> list[str]:
    """Let some time pass and poll; return what was told anew, in order."""
    before = len(told(agent))
    agent.clock.advance(after)
    agent.run_job(http_runs)
    return told(agent)[before:]


def told(agent: AgentUnderTest) -> list[str]:
    """Return all that was told: run or task, attempt unless 1, and status or level."""
    found = [*agent.published("run-status"), *agent.published("message-log")]
    return [_short(event) for event in sorted(found, key=lambda event: event.id)]


def _short(event: Any) -> str:
    run, task, attempt = event.identifier.split("/")[2:5]
    what = event.data.get("status") or f"{event.data['log_level']}: {event.data['message']}"
    return f"{task or run}{'' if attempt == '1' else '#' + attempt} {what}"


def at(agent: AgentUnderTest, seconds: float = 0) -> str:
    """Return the moment that lies so far from now."""
    return (agent.clock.now() + timedelta(seconds=seconds)).isoformat()


def time_of(agent: AgentUnderTest, short: str) -> str:
    """Return when it was, for what was told."""
    found = [each for each in agent.published("run-status") if _short(each) == short]
    assert len(found) == 1
    return str(found[0].data["event_timestamp"])


def run_of(agent: AgentUnderTest, number: Any, **fields: Any) -> dict[str, Any]:
    """Return a run that goes on since a minute."""
    return {
        "id": number, "pipe": "nightly", "state": "running", "began": at(agent, -60),
        "ended": None, **fields,
    }  # fmt: skip


def ended(agent: AgentUnderTest, number: Any, state: str, **fields: Any) -> dict[str, Any]:
    """Return a run that has ended just now."""
    return run_of(agent, number, state=state, **{"ended": at(agent), **fields})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


# From the start to the end


def test_a_run_is_told_from_its_start_to_its_end(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a run that goes on, When it ends, Then start and end have the tool's times."""
    run = run_of(agent, 7)
    tool.runs = [run]
    assert poll(agent) == ["7 RUNNING"]
    assert poll(agent) == []
    run |= {"state": "success", "ended": at(agent, 11)}
    assert poll(agent) == ["7 COMPLETED"]
    assert poll(agent) == []
    assert time_of(agent, "7 RUNNING") == run["began"]
    assert time_of(agent, "7 COMPLETED") == run["ended"]


def test_what_is_published(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a run with a name and a link, Then all of it stands in the payload."""
    configure(agent, tool, name="title", link="web", tool="My Tool")
    link = "https://tool.example.org/runs/7"
    tool.runs = [run_of(agent, 7, title="Nightly load", web=link, state="In_Progress")]
    poll(agent)
    (event,) = agent.published("run-status")
    assert event.identifier == "My Tool/nightly/7//1/RUNNING"
    assert event.data == {
        "pipeline_key": "nightly", "pipeline_name": "Nightly load", "run_key": "7",
        "status": "RUNNING", "event_timestamp": tool.runs[0]["began"],
        "component_tool": "MY_TOOL", "external_url": link,
        "metadata": {"state": "In_Progress"},
    }  # fmt: skip


def test_a_constant_pipeline(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a path that begins with =, Then that is the pipeline of all runs."""
    configure(agent, tool, pipeline="=hourly load")
    tool.runs = [{"id": 7, "state": "running"}]
    assert poll(agent) == ["7 RUNNING"]
    assert agent.published("run-status")[0].data["pipeline_key"] == "hourly load"


def test_a_run_first_seen_when_it_has_ended_is_told_whole(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a run that failed between two polls, Then its begin is first, its end last."""
    poll(agent)
    tool.runs = [ended(agent, 7, "failed", error="no table")]
    assert poll(agent) == ["7 RUNNING", "7 ERROR: no table", "7 FAILED"]


def test_history_is_not_told(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a list that goes back for years, Then only the look-back is told."""
    tool.runs = [
        ended(agent, 3, "failed", ended=at(agent, -900), began=at(agent, -9_000)),
        ended(agent, 2, "ok", ended=at(agent, -9_000), began=at(agent, -9_900)),
        ended(agent, 1, "ok", ended=None, began=at(agent, -9_900)),
    ]
    assert poll(agent)[0] == "3 RUNNING"
    assert {each.split()[0] for each in told(agent)} == {"3"}
    assert poll(agent, 9_000) == []


def test_what_happened_while_the_agent_was_down_is_told(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given runs that began or ended in an outage, Then the next poll tells them."""
    tool.runs = [run_of(agent, 1)]
    poll(agent)
    tool.runs = [
        ended(agent, 2, "ok", began=at(agent, 90_000), ended=at(agent, 90_060)),
        ended(agent, 1, "ok", ended=at(agent, 80_000)),
    ]
    agent.stop()
    agent.clock.advance(days=3)
    agent.start()
    assert sorted(poll(agent)) == ["1 COMPLETED", "2 COMPLETED", "2 RUNNING"]


def test_a_restart_tells_nothing_again(
    agent: AgentUnderTest, tool: RunsServer, tmp_path: Path
) -> None:
    """Given what was told, When another agent goes on with the store, Then it is silent."""
    tool.runs = [ended(agent, 2, "failed"), run_of(agent, 1)]
    before = poll(agent)
    agent.stop()
    again = AgentUnderTest(tmp_path / "running.sqlite", clock=agent.clock)
    configure(again, tool)
    try:
        assert len(before) == 4
        assert poll(again) == []
        tool.runs.clear()
        assert poll(again) == [f"1 {GONE}", "1 FAILED"]
    finally:
        again.stop()


def test_tries_of_a_run_are_told_in_the_order_of_time(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given the newest first and a page for each, Then the first try still comes first."""
    tool.size = 1
    configure(agent, tool, attempt="try")
    tool.runs = [
        run_of(agent, 7, **{"try": 2}),
        ended(agent, 7, "failed", began=at(agent, -600), ended=at(agent, -500)),
    ]
    assert poll(agent) == [
        "7 RUNNING", "7 ERROR: It ended as failed.", "7 FAILED", "7#2 RUNNING",
    ]  # fmt: skip


def test_tasks_lie_within_their_run(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given tasks with times beside those of their run, Then its end is told last."""
    tool.size = 1
    configure(agent, tool, task="step")
    tool.runs = [
        ended(agent, 7, "failed", error="load failed", ended=at(agent, -1)),
        ended(agent, 7, "failed", step="load", error="no table", began=at(agent, -45)),
        ended(agent, 7, "ok", step="get", began=at(agent, -61), ended=at(agent, -50)),
    ]
    assert poll(agent) == [
        "7 RUNNING", "get RUNNING", "get COMPLETED", "load RUNNING",
        "load ERROR: no table", "load FAILED", "7 ERROR: load failed", "7 FAILED",
    ]  # fmt: skip


def test_a_warning_is_told_with_its_message(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a run with warnings, Then the message comes before the end."""
    tool.runs = [ended(agent, 7, "partial", error="3 rows left out")]
    assert poll(agent) == [
        "7 RUNNING", "7 WARNING: 3 rows left out", "7 COMPLETED_WITH_WARNINGS",
    ]  # fmt: skip


# States


@pytest.mark.parametrize("word", STATES)
def test_usual_states_are_known(agent: AgentUnderTest, tool: RunsServer, word: str) -> None:
    """Given a usual state in capitals, Then the run is told with its status."""
    tool.runs = [ended(agent, 7, word.upper())]
    statuses = {
        each.removeprefix("7 ") for each in poll(agent) if "ERROR" not in each
    }  # fmt: skip
    expected = {STATES[word], "RUNNING"} - {"WAITING"}
    assert statuses == (set() if STATES[word] == "WAITING" else expected)


@pytest.mark.parametrize(
    ("states", "given", "expected"),
    [
        ({"Tip Top": "completed"}, " tip top ", "COMPLETED"),
        ({"true": "COMPLETED"}, True, "COMPLETED"),
        ({"3": "FAILED"}, 3, "FAILED"),
        ({"null": "RUNNING"}, None, "RUNNING"),
        ({"ok": "COMPLETED_WITH_WARNINGS"}, "OK", "COMPLETED_WITH_WARNINGS"),
    ],
)
def test_own_states_are_added(
    agent: AgentUnderTest, tool: RunsServer, states: Any, given: Any, expected: str
) -> None:
    """Given states of the tool's own, Then they count in any letter case and kind."""
    configure(agent, tool, states=states)
    tool.runs = [ended(agent, 7, given)]
    assert poll(agent)[-1] == f"7 {expected}"


def test_unknown_states_are_counted_and_not_sent(
    agent: AgentUnderTest, tool: RunsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given states that are not known, Then one line counts them, and no run has ended."""
    tool.runs = [run_of(agent, 1)]
    poll(agent)
    tool.runs = [ended(agent, n, "dreaming\n") for n in (1, 2)] + [run_of(agent, 3)]
    del tool.runs[2]["state"]
    assert poll(agent) == []
    lines = warnings(caplog)
    assert len(lines) == 1
    assert lines[0].endswith("not reported: dreaming (2), null (1)")
    tool.runs = [ended(agent, 1, "ok")]
    assert poll(agent) == ["1 COMPLETED"]


def test_what_waits_is_told_with_its_real_start(
    agent: AgentUnderTest, tool: RunsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a run in a queue, Then nothing is told and nothing is wrong until it begins."""
    tool.runs = [run_of(agent, 7, state="queued", began=None)]
    assert poll(agent) == []
    tool.runs = [run_of(agent, 7, began=at(agent, 5))]
    assert poll(agent) == ["7 RUNNING"]
    assert time_of(agent, "7 RUNNING") == tool.runs[0]["began"]
    assert warnings(caplog) == []


# Times


MOMENT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    ["2026-01-05T12:00:00Z", "2026-01-05T13:00:00+01:00", " 2026-01-05 12:00:00 ",
     "2026-01-05T12:00:00.000000000Z", "20260105T120000Z", MOMENT.timestamp(),
     int(MOMENT.timestamp()), int(MOMENT.timestamp() * 1_000),
     str(int(MOMENT.timestamp())), str(int(MOMENT.timestamp() * 1_000))],
)  # fmt: skip
def test_times_are_read_in_each_form(given: Any) -> None:
    """Given ISO 8601, seconds or milliseconds, Then it is the same moment, in UTC."""
    assert moment_of(given) == MOMENT
    assert moment_of("20260105") == moment_of("2026-01-05") == MOMENT.replace(hour=0)


@pytest.mark.parametrize(
    "given",
    [None, "", "soon", 0, -1, "0001-01-01T00:00:00Z", True, [], {}, 1e300, "²" * 9,
     "9" * 4_000, 10**400, "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_none(given: Any) -> None:
    """Given something else, or a tool's zero, Then there is no time, and no error."""
    assert moment_of(given) is None


def test_without_times_the_poll_counts(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given runs without any times, Then they are told with those of the polls."""
    configure(agent, tool, started=None, ended=None)
    tool.runs = [{"id": 7, "pipe": "nightly", "state": "running"}]
    poll(agent)
    first = at(agent)
    tool.runs[0]["state"] = "ok"
    assert poll(agent) == ["7 COMPLETED"]
    assert time_of(agent, "7 RUNNING") == first
    assert time_of(agent, "7 COMPLETED") == at(agent)


def test_an_end_before_its_start_is_told_as_at_the_start(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given times that contradict, Then the run still ends, not before it began."""
    tool.runs = [ended(agent, 7, "ok", ended=at(agent, -90))]
    assert poll(agent) == ["7 RUNNING", "7 COMPLETED"]
    assert time_of(agent, "7 COMPLETED") == tool.runs[0]["began"]


# Pages


@pytest.mark.parametrize("in_body", [False, True])
def test_thousands_of_runs_are_read_over_pages(
    running: AgentUnderTest, in_body: bool
) -> None:
    """Given 3,000 runs, links in header or answer, Then each is told, and told once."""
    tool = RunsServer(size=100, in_body=in_body)
    configure(running, tool, pages=40, next_page="next" if in_body else None)
    tool.runs = [ended(running, number, "ok") for number in range(3_000)]
    tool.runs[5::30] = [run_of(running, number) for number in range(3_000, 3_100)]
    try:
        assert len(poll(running)) == 2_900 * 2 + 100
        assert len(tool.asked) == 30
        assert poll(running) == []
    finally:
        tool.close()


def test_runs_on_pages_that_are_not_read_are_not_lost(
    agent: AgentUnderTest, tool: RunsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given more pages than are read, Then what is not seen is not taken for vanished."""
    tool.size = 1
    configure(agent, tool, leave_out="detail", pages=2)
    tool.runs = [run_of(agent, 1)]
    poll(agent)
    tool.runs = [run_of(agent, 4), run_of(agent, 3), run_of(agent, 1)]
    for _ in range(5):
        poll(agent)
    assert told(agent) == ["1 RUNNING", "4 RUNNING", "3 RUNNING"]
    assert "more than pages=2" in caplog.text


def test_more_open_runs_than_can_be_remembered(
    agent: AgentUnderTest,
    tool: RunsServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given very many open runs, Then all are told, and a line is said."""
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    tool.runs = [run_of(agent, number) for number in range(4)]
    assert len(poll(agent)) == 4
    assert "of 4 open runs, 2 are remembered" in caplog.text
    tool.runs = [ended(agent, number, "ok") for number in range(4)]
    assert len(poll(agent)) == 4


def test_a_link_to_another_host_fails_the_run(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a next page elsewhere, Then no credential goes there."""
    link = {"Link": '<http://127.0.0.1:1/>; rel="next"'}
    tool.refuse = [(200, link, '{"data": {"runs": []}}')]
    with pytest.raises(ValueError, match="it is at another host"):
        poll(agent)


@pytest.mark.parametrize("body", ['{"data": {"runs": []}}', '{"data": {"runs": null}}'])
def test_an_empty_list_is_no_error(
    agent: AgentUnderTest, tool: RunsServer, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given no runs, Then the run succeeds and nothing is said."""
    tool.refuse = [(200, {}, body), (204, {}, "")]
    configure(agent, tool)
    assert poll(agent) == []
    configure(agent, tool, items="")
    assert poll(agent) == []
    assert warnings(caplog) == []


# The window


def test_the_window_is_asked_for(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a query parameter for it, Then look-back, then overlap are asked for."""
    url = f"{tool.host}/api/runs?kind=all"
    configure(agent, tool, url=url, since="from", lookback=600, overlap=60)
    poll(agent)
    first = agent.clock.now()
    poll(agent)
    asked = [query for _, query, _ in tool.asked]
    assert [each["kind"] for each in asked] == ["all", "all"]
    starts = [datetime.fromisoformat(each["from"]) for each in asked]
    expected = [first - timedelta(seconds=600), first - timedelta(seconds=60)]
    assert starts == [each.replace(microsecond=0) for each in expected]


def test_without_detail_the_window_goes_back_to_what_is_open(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a long run and no other way to ask for it, Then the list must hold it."""
    configure(agent, tool, leave_out="detail", since="from")
    tool.runs = [run_of(agent, 7, began=at(agent, -86_400))]
    poll(agent)
    poll(agent)
    start = datetime.fromisoformat(tool.asked[-1][1]["from"])
    began = datetime.fromisoformat(tool.runs[0]["began"])
    assert start == began.replace(microsecond=0)


# Runs that vanish


def test_a_run_that_left_the_list_is_asked_for(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given an open run that is not listed, When it has ended, Then that is told."""
    run = run_of(agent, "a/b c")
    tool.runs = [run]
    poll(agent)
    tool.runs, tool.unlisted = [], {"a%2Fb%20c": run}
    assert poll(agent) == []
    run |= {"state": "failed", "ended": at(agent), "error": "no table"}
    assert poll(agent) == ["a%2Fb c ERROR: no table", "a%2Fb c FAILED"]
    tool.asked.clear()
    poll(agent)
    assert tool.paths() == ["/api/runs"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_run_that_is_gone_ends_as_failed(
    agent: AgentUnderTest, tool: RunsServer, status: int
) -> None:
    """Given a run that was deleted while it went on, Then it ends, and a line says why."""
    tool.runs = [run_of(agent, 7)]
    poll(agent)
    tool.runs, tool.of_runs = [], {"7": (status, {}, "{}")}
    assert poll(agent) == [f"7 {GONE}", "7 FAILED"]
    assert time_of(agent, "7 FAILED") == at(agent)
    assert poll(agent) == []


def test_without_detail_a_run_vanishes_after_some_polls(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given no way to ask for a run, Then only polls in a row without it are its end."""
    configure(agent, tool, leave_out="detail")
    run = run_of(agent, 7)
    tool.runs = [run]
    poll(agent)
    for listed in ([], [], [run], [], []):
        tool.runs = listed
        assert poll(agent) == []
    tool.refuse = [(500, {}, "")]
    with pytest.raises(HttpError):
        poll(agent)
    assert poll(agent) == [f"7 {UNLISTED}", "7 FAILED"]
    assert poll(agent) == []


def test_the_tasks_of_a_run_that_is_gone_end_before_it(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a run that was deleted, Then its open tasks have failed, too."""
    configure(agent, tool, task="step")
    tool.runs = [run_of(agent, 7, step="load"), run_of(agent, 7)]
    assert poll(agent) == ["7 RUNNING", "load RUNNING"]
    tool.runs = []
    lost = "load ERROR: The tool does not know the run of this task any more."
    assert poll(agent) == [lost, "load FAILED", f"7 {GONE}", "7 FAILED"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((403, {}, "no"), "status 403 for an open run"),
        ((200, {}, "[]"), "the answer about an open run is no object"),
        ((200, {}, '{"run": null}'), "the answer about an open run is no object"),
    ],
)
def test_a_run_that_cannot_be_read_holds_up_no_other(
    agent: AgentUnderTest,
    tool: RunsServer,
    answer: Any,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given no usable answer about one run, Then it stays open, and others are told."""
    tool.runs = [run_of(agent, 7)]
    poll(agent)
    tool.runs, tool.of_runs = [run_of(agent, 8)], {"7": answer}
    assert poll(agent) == ["8 RUNNING"]
    assert problem in caplog.text
    tool.of_runs = {}
    assert poll(agent) == [f"7 {GONE}", "7 FAILED"]


def test_not_all_is_asked_for_at_once(
    agent: AgentUnderTest, tool: RunsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given many open runs that are not listed, Then each has its turn."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    runs = [run_of(agent, number) for number in range(6)]
    tool.runs = runs
    poll(agent)
    tool.runs, tool.unlisted = [], {str(run["id"]): run for run in runs}
    tool.asked.clear()
    for _ in range(3):
        poll(agent)
    asked = [path for path in tool.paths() if path != "/api/runs"]
    assert sorted(asked) == [f"/api/runs/{number}" for number in range(6)]


# Malformed items


BAD: list[Any] = [
    None, 7, "text", [], {}, {"id": 7}, {"pipe": "p"}, {"id": None, "pipe": "p"},
    {"id": {}, "pipe": "p"}, {"id": True, "pipe": "p"}, {"id": "", "pipe": "p"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_item_loses_no_other(
    agent: AgentUnderTest, tool: RunsServer, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an item that names no run, Then it is left out and counted, alone."""
    tool.runs = [run_of(agent, 1), bad, run_of(agent, 2)]
    tool.unlisted = {}
    assert poll(agent) == ["1 RUNNING", "2 RUNNING"]
    assert len(warnings(caplog)) == 1
    assert "items that are left out: 1; the first, as it has no" in caplog.text


@pytest.mark.parametrize(
    "odd",
    [{"web": "no link"}, {"web": "http://["}, {"title": "🚀"}, {"title": "\ud800"},
     {"error": "\ud800"}, {"error": {"a": 1}}, {"try": "two"}, {"try": -1},
     {"began": "soon", "ended": []}, {"began": None, "ended": None},
     {"title": "x" * 9_999}, {"error": "x" * 99_999}],
)  # fmt: skip
def test_an_odd_field_does_not_lose_the_run(
    agent: AgentUnderTest, tool: RunsServer, odd: dict[str, Any]
) -> None:
    """Given a link, name or time that is none, Then the run is told without it."""
    configure(agent, tool, name="title", link="web", attempt="try")
    tool.runs = [{**ended(agent, 1, "failed"), **odd}]
    lines = [each for each in poll(agent) if "ERROR" not in each]
    assert lines == ["1 RUNNING", "1 FAILED"]


@pytest.mark.parametrize("odd", ["\ud800", "🚀", " ", "x" * 9_999, "\0", "..", "a/b", 1.5])
def test_an_odd_id_is_kept_apart(agent: AgentUnderTest, tool: RunsServer, odd: Any) -> None:
    """Given an id that the server would lose, Then the run is told and ended."""
    configure(agent, tool, leave_out="detail", missing_polls=1)
    tool.runs = [run_of(agent, odd), run_of(agent, "x")]
    agent.run_job(http_runs)
    tool.runs = [run_of(agent, "x")]
    agent.run_job(http_runs)
    statuses = [each.data["status"] for each in agent.published("run-status")]
    assert statuses == ["RUNNING", "RUNNING", "FAILED"]


def test_paths_that_no_item_has_fail_the_run(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a mistyped path, Then the run fails and is not silently empty."""
    configure(agent, tool, run="ID")
    tool.runs = [run_of(agent, 1), run_of(agent, 2)]
    with pytest.raises(ValueError, match="none of the 2 items can be told"):
        poll(agent)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "there is no 'data.runs' in the answer"),
        ('{"data": {"runs": 7}}', "'data.runs' is neither a list nor an object"),
        ("<html>", "is not JSON"),
    ],
)
def test_an_answer_of_another_form_fails_the_run(
    agent: AgentUnderTest, tool: RunsServer, body: str, problem: str
) -> None:
    """Given no list at the path, Then the error says so, and no run is lost."""
    tool.runs = [run_of(agent, 7)]
    poll(agent)
    tool.refuse = [(200, {}, body)]
    with pytest.raises((ValueError, HttpError), match=problem):
        poll(agent)
    assert poll(agent) == []


# Bad days


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_loses_nothing(
    agent: AgentUnderTest, tool: RunsServer, status: int
) -> None:
    """Given an error for some polls, Then the next one tells what happened meanwhile."""
    poll(agent)
    run = ended(agent, 7, "ok")
    tool.refuse = [(status, {"Retry-After": "60"}, "")] * 2
    for _ in range(2):
        with pytest.raises(HttpError, match=f"status {status}"):
            poll(agent, 3_000)
    tool.runs = [run]
    assert poll(agent, 3_000) == ["7 RUNNING", "7 COMPLETED"]


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_when_to_come_again(
    agent: AgentUnderTest, tool: RunsServer, status: int
) -> None:
    """Given Retry-After, Then the same poll waits so long and goes on."""
    agent.settings[HttpSettings] = HttpSettings(retries=1)
    tool.runs = [run_of(agent, 7)]
    tool.refuse = [(status, {"Retry-After": "20"}, "")]
    before = agent.clock.now()
    assert poll(agent, 0) == ["7 RUNNING"]
    assert agent.clock.now() - before >= timedelta(seconds=20)


@pytest.mark.parametrize("status", [429, 503])
def test_an_error_about_one_run_fails_the_poll(
    agent: AgentUnderTest, tool: RunsServer, status: int
) -> None:
    """Given a busy tool, When an open run is asked for, Then it stays open for the next."""
    tool.runs = [run_of(agent, 7)]
    poll(agent)
    tool.runs, tool.of_runs = [], {"7": (status, {}, "")}
    with pytest.raises(HttpError, match=f"status {status}"):
        poll(agent)
    tool.of_runs = {}
    assert poll(agent) == [f"7 {GONE}", "7 FAILED"]


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_the_settings(
    agent: AgentUnderTest, tool: RunsServer, status: int
) -> None:
    """Given 401 or 403, Then one line says where to look."""
    tool.refuse = [(status, {}, "")]
    with pytest.raises(HttpError, match=r"DK_AGENT_TOKEN.* key of \[http_runs\]") as caught:
        poll(agent)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


# Who asks


def test_nobody_signs_in_where_nothing_is_configured(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given no credentials, Then none are sent."""
    poll(agent)
    assert "authorization" not in tool.asked[0][2]


def test_all_requests_are_signed(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a token and a key, Then every page and every single run gets both."""
    tool.size = 1
    configure(agent, tool, key_header="X-Key", key=SecretStr(f"{SECRET}\n"))
    agent.settings[ApiToken] = ApiToken(agent_token=SecretStr("token-1"))
    tool.runs = [run_of(agent, 1)]
    poll(agent)
    tool.runs = [run_of(agent, 2), run_of(agent, 3)]
    poll(agent)
    assert tool.paths() == ["/api/runs", "/api/runs", "/api/runs", "/api/runs/1"]
    sent = {(each["x-key"], each["authorization"]) for _, _, each in tool.asked}
    assert sent == {(SECRET, "Bearer token-1")}


def test_a_key_may_be_the_authorization(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a scheme of the tool's own, Then that header is the key's alone."""
    configure(agent, tool, key_header="Authorization", key=SecretStr("Token abc"))
    agent.settings[ApiToken] = ApiToken(agent_token=SecretStr("token-1"))
    poll(agent)
    assert tool.asked[0][2]["authorization"] == "Token abc"


def test_user_and_password_of_the_url_go_with_each_request(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given them in the URL of the list, Then single runs are asked for with them, too."""
    url = f"{tool.host}/api/runs".replace("//", "//me:pass@")
    configure(agent, tool, url=url)
    tool.runs = [run_of(agent, 7)]
    poll(agent)
    tool.runs = []
    poll(agent)
    sent = [each["authorization"] for _, _, each in tool.asked]
    assert sent == ["Basic bWU6cGFzcw=="] * 3


def test_a_token_serves_many_polls(agent: AgentUnderTest, tool: RunsServer) -> None:
    """Given a service principal, Then its token is fetched once, not for each poll."""
    agent.settings[AzureServicePrincipal] = AzureServicePrincipal(
        client_id="me", client_secret=SecretStr("s"), tenant_id="t", authority=tool.host
    )
    poll(agent)
    poll(agent)
    assert tool.tokens == 1
    assert {each["authorization"] for _, _, each in tool.asked} == {"Bearer token-1"}


def test_half_of_the_credentials_is_a_mistake(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a user without password, Then the poll fails instead of asking as nobody."""
    agent.settings[UsernamePassword] = UsernamePassword(agent_username="me")
    with pytest.raises(ConfigError, match="no complete credentials"):
        poll(agent)
    assert tool.asked == []


@pytest.mark.parametrize("answer", [None, (401, {}, SECRET), (500, {}, SECRET)])
def test_no_secret_is_logged(
    agent: AgentUnderTest,
    tool: RunsServer,
    caplog: pytest.LogCaptureFixture,
    answer: Any,
) -> None:
    """Given secrets everywhere, Then no line of the log and no error holds one."""
    caplog.set_level(logging.DEBUG)
    url = f"{tool.host}/api/runs?key={SECRET}".replace("//", f"//me:{SECRET}@")
    detail = f"{tool.host}/api/runs/{{run}}?key={SECRET}"
    configure(
        agent, tool, url=url, detail=detail, key_header="X-Key", key=SecretStr(SECRET)
    )
    agent.settings[ApiToken] = ApiToken(agent_token=SecretStr(SECRET))
    tool.runs = [run_of(agent, 7), {}]
    poll(agent)
    tool.runs = [run_of(agent, 8), {}]
    tool.of_runs = {"7": answer} if answer else {"7": (403, {}, SECRET)}
    try:
        poll(agent)
    except HttpError as error:
        assert SECRET not in str(error)
    assert "left out" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(agent.settings[HttpRunsSettings].key)


# Settings


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"states": {"done": "FINISHED"}}, "COMPLETED_WITH_WARNINGS"),
        ({"key": SECRET}, "key and key_header go together"),
        ({"key_header": "X-Key"}, "key and key_header go together"),
        ({"key_header": "X Key", "key": SECRET}, "cannot be the name of a header"),
        ({"key_header": "X-Key", "key": "a\nb"}, "printable ASCII"),
        ({"detail": "https://other.test/{run}"}, "same host"),
        ({"detail": "https://tool.test:8443/{run}"}, "same host"),
        ({"detail": "https://{run}/x"}, "same host"),
        ({"detail": "https://tool.test/x"}, "needs {run}"),
        ({"detail": "https://tool.test/{run}/{run.__class__}"}, "needs {run}"),
        ({"detail": "https://tool.test/{run"}, "detail|expected"),
        ({"run": ""}, "at least 1 character"),
        ({"tool": "!"}, "pattern"),
        ({"url": "tool.test/runs"}, "must be a URL"),
        ({"pages": 0}, "greater than or equal to 1"),
    ],
)
def test_mistakes_are_told_at_the_start(values: dict[str, Any], problem: str) -> None:
    """Given settings that cannot be right, Then they are refused, and no secret shown."""
    usual = {"url": "https://tool.test/runs", "pipeline": "p", "run": "r", "status": "s"}
    with pytest.raises(ValidationError, match=problem) as caught:
        HttpRunsSettings(**{**usual, **values})
    assert SECRET not in str(caught.value)


def test_the_environment_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: RunsServer
) -> None:
    """Given agent_type and variables only, Then the agent has the job, without [[jobs]]."""
    monkeypatch.chdir(tmp_path)
    variables = {
        "DK_AGENT_TYPE": "http_runs", "DK_AGENT_KEY": "me",
        "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY": "k", "DK_OBSERVABILITY_BASE_URL": tool.host,
        "DK_HTTP_RUNS_URL": f"{tool.host}/api/runs", "DK_HTTP_RUNS_ITEMS": "data.runs",
        "DK_HTTP_RUNS_PIPELINE": "=nightly", "DK_HTTP_RUNS_RUN": "id",
        "DK_HTTP_RUNS_STATUS": "state", "DK_HTTP_RUNS_STATES": '{"on": "RUNNING"}',
        "DK_HTTP_RUNS_PERIOD": "45",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tool.runs = [{"id": 7, "state": "on"}]
    made = agent_of_config()
    (job,) = [each for each in made.registry.jobs if each.function is http_runs]
    assert "45" in str(job.schedule)


class OtherRuns(HttpRunsSettings, section="other_runs", env_prefix="OTHER_RUNS_"):
    """A second list."""


def other_runs(handler: Handler, settings: OtherRuns, http: HttpSettings) -> None:
    """Watch a second list."""
    http_runs(handler, settings, http)


def test_a_second_list_has_a_class_of_its_own(
    agent: AgentUnderTest, tool: RunsServer
) -> None:
    """Given a subclass and a job of the user's own, Then both lists are watched."""
    tool.runs = [run_of(agent, 7)]
    first = agent.settings[HttpRunsSettings]
    agent.settings[OtherRuns] = OtherRuns(**{**first.model_dump(), "pipeline": "=other"})
    poll(agent)
    agent.run_job(other_runs)
    identifiers = [each.identifier for each in agent.published("run-status")]
    assert identifiers == ["HTTP/nightly/7//1/RUNNING", "HTTP/other/7//1/RUNNING"]
    tool.refuse = [(401, {}, "")]
    with pytest.raises(HttpError, match=r"key of \[other_runs\]"):
        agent.run_job(other_runs)
