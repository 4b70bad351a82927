"""jobs.airflow_runs: what runs in Airflow is reported from its start to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from jobs.airflow_runs import AirflowSettings, airflow_runs
from py_agent import Event, HttpError
from py_agent.observability.settings import ApiToken, HttpSettings, UsernamePassword
from py_agent.testing import AgentUnderTest

from .airflow_server import PASSWORD, TOKEN, USER, Airflow, Row

Make = Callable[..., Airflow]
RUN = "scheduled__2026-01-05T00:00:00+00:00"


@pytest.fixture
def make_airflow() -> Iterator[Make]:
    """Start servers; they are ended in the end."""
    made: list[Airflow] = []

    def make(*args: Any, **options: Any) -> Airflow:
        made.append(Airflow(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["v1", "v2"])
def airflow(make_airflow: Make, request: pytest.FixtureRequest) -> Airflow:
    """Airflow 2, then Airflow 3."""
    return make_airflow(request.param)


@pytest.fixture
def airflow2(make_airflow: Make) -> Airflow:
    """Airflow 2."""
    return make_airflow("v1")


@pytest.fixture
def airflow3(make_airflow: Make) -> Airflow:
    """Airflow 3."""
    return make_airflow("v2")


def watching(airflow: Airflow, url: str = "", **options: Any) -> AirflowSettings:
    given: dict[str, Any] = {"api_url": url or airflow.api, **options}
    return AirflowSettings(**given)


def poll(agent: AgentUnderTest, airflow: Airflow, url: str = "", **options: Any) -> None:
    """Poll once, signed in as the user unless the test has said otherwise."""
    agent.settings[AirflowSettings] = watching(airflow, url, **options)
    if ApiToken not in agent.settings and UsernamePassword not in agent.settings:
        agent.settings[UsernamePassword] = UsernamePassword(
            agent_username=USER, agent_password=SecretStr(PASSWORD)
        )
    agent.run_job(airflow_runs)


def ago(agent: AgentUnderTest, minutes: float) -> str:
    """Return the moment so many minutes before the test's present, as Airflow writes it."""
    return (agent.clock.now() - timedelta(minutes=minutes)).isoformat()


def told(agent: AgentUnderTest) -> list[tuple[str, str]]:
    """Return (task, status) of all that was published, in its order; "" is the run."""
    return [
        (event.data.get("task_key", ""), event.data.get("status", "message"))
        for event in agent.published()
    ]


def message(agent: AgentUnderTest) -> str:
    [event] = agent.published("message-log")
    return str(event.data["message"])


def moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.data["event_timestamp"])


def ended(agent: AgentUnderTest, airflow: Airflow, run: str = RUN, **fields: Any) -> Row:
    """Add a run that succeeded five minutes ago."""
    usual = {"start_date": ago(agent, 9), "end_date": ago(agent, 5), "state": "success"}
    return airflow.run("nightly", run, **usual | fields)


# From start to end


def test_a_run_is_told_from_its_start_to_its_end(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run with two tasks, When it goes on, Then each change is told once."""
    run = airflow.run("nightly", RUN, "queued")
    load = airflow.task(run, "load", None)
    save = airflow.task(run, "save", None)
    poll(running, airflow)
    assert told(running) == []
    run |= {"state": "running", "start_date": ago(running, 4)}
    load |= {"state": "running", "start_date": ago(running, 3)}
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("load", "RUNNING")]
    load |= {"state": "success", "end_date": ago(running, 2)}
    save |= {"state": "running", "start_date": ago(running, 1)}
    poll(running, airflow)
    save |= {"state": "success", "end_date": ago(running, 0.5)}
    run |= {"state": "success", "end_date": ago(running, 0)}
    poll(running, airflow)
    poll(running, airflow)
    assert told(running)[2:] == [
        ("save", "RUNNING"), ("load", "COMPLETED"), ("save", "COMPLETED"),
        ("", "COMPLETED"),
    ]  # fmt: skip


def test_a_run_that_came_and_went_between_two_polls_is_told_with_its_start(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run first seen when it is over, Then its events are in the order of time."""
    run = ended(running, airflow)
    for task, start, end in (("b", 7, 6), ("a", 8, 7.5)):
        times = {"start_date": ago(running, start), "end_date": ago(running, end)}
        airflow.task(run, task, "success", **times)
    poll(running, airflow)
    assert told(running) == [
        ("", "RUNNING"), ("a", "RUNNING"), ("a", "COMPLETED"), ("b", "RUNNING"),
        ("b", "COMPLETED"), ("", "COMPLETED"),
    ]  # fmt: skip
    moments = [moment(event) for event in running.published()]
    assert moments == sorted(moments)


def test_what_is_published_says_who_what_when_and_where(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a task that ended, Then key, name, tool, time and metadata are Airflow's."""
    run = ended(running, airflow)
    times = {"start_date": ago(running, 8), "end_date": ago(running, 6)}
    airflow.task(run, "load", "success", task_display_name="Load it", try_number=2, **times)
    poll(running, airflow)
    identifier = f"AIRFLOW/nightly/{RUN}/load/2/COMPLETED"
    [event] = running.published("run-status", identifier)
    assert moment(event).isoformat() == times["end_date"]
    expected = {
        "pipeline_key": "nightly", "pipeline_name": "nightly", "run_key": RUN,
        "run_name": RUN, "task_key": "load", "task_name": "Load it",
        "component_tool": "AIRFLOW", "status": "COMPLETED",
        "metadata": {"state": "success", "try_number": 2, "operator": "BashOperator"},
    }  # fmt: skip
    assert expected.items() <= event.data.items()


@pytest.mark.parametrize(
    ("version", "page"),
    [
        ("v1", "/x/dags/nightly/grid?dag_run_id=a%2Bb%3A1"),
        ("v2", "/x/dags/nightly/runs/a%2Bb%3A1"),
    ],
)
def test_a_run_has_a_link_without_credentials(
    running: AgentUnderTest, make_airflow: Make, version: str, page: str
) -> None:
    """Given credentials in the URL, Then the link has none, and leads to Airflow's page."""
    airflow = make_airflow(version, "/x")
    ended(running, airflow, "a+b:1")
    poll(running, airflow, airflow.api.replace("//", f"//{USER}:{PASSWORD}@"))
    links = {event.data["external_url"] for event in running.published()}
    assert links == {airflow.url.removesuffix("/x") + page}


def test_a_failed_run_names_its_failed_tasks(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given failed tasks, Then an ERROR names them, just before the run's end."""
    run = ended(running, airflow, state="failed")
    times = {"start_date": ago(running, 8), "end_date": ago(running, 6)}
    airflow.task(run, "load", "failed", map_index=3, **times)
    airflow.task(run, "check", "failed", **times)
    airflow.task(run, "save", "upstream_failed", **times)
    poll(running, airflow)
    assert message(running) == "Failed tasks: load[3], check"
    assert running.published("message-log", log_level="ERROR")
    assert told(running)[-2:] == [("", "message"), ("", "FAILED")]
    assert ("save", "FAILED") in told(running)


def test_a_run_that_failed_without_a_failed_task_says_so(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run that took too long, Then the message says that no task failed."""
    ended(running, airflow, state="failed")
    poll(running, airflow)
    assert "no failed task" in message(running)


def test_mapped_tasks_are_tasks_of_their_own(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a mapped task, Then each index has a key, and the name it was given."""
    run = ended(running, airflow)
    times = {"start_date": ago(running, 8), "end_date": ago(running, 6)}
    airflow.task(run, "load", "success", map_index=0, **times)
    airflow.task(run, "load", "success", map_index=1, rendered_map_index="de", **times)
    poll(running, airflow)
    names = {
        event.data["task_key"]: event.data["task_name"]
        for event in running.published()
        if "task_key" in event.data
    }
    assert names == {"load[0]": "load[0]", "load[1]": "load[de]"}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("running", ["RUNNING"]), ("restarting", ["RUNNING"]), ("deferred", ["RUNNING"]),
        ("up_for_reschedule", ["RUNNING"]), ("up_for_retry", ["RUNNING"]),
        ("success", ["RUNNING", "COMPLETED"]), ("skipped", ["RUNNING", "COMPLETED"]),
        ("failed", ["RUNNING", "FAILED"]), ("upstream_failed", ["RUNNING", "FAILED"]),
        (None, []), ("scheduled", []), ("queued", []), ("removed", []),
    ],
)  # fmt: skip
def test_each_state_of_a_task_counts_as_documented(
    running: AgentUnderTest, airflow: Airflow, state: str | None, expected: list[str]
) -> None:
    """Given a task in a state, while its run goes on, Then it counts as it should."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    over = ("success", "skipped", "failed", "upstream_failed")
    end = ago(running, 6) if state in over else None
    airflow.task(run, "load", state, start_date=ago(running, 8), end_date=end)
    poll(running, airflow)
    assert [status for task, status in told(running) if task] == expected


def test_a_task_that_was_never_entered_has_only_an_end(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a branch that was not taken, Then it is COMPLETED without a RUNNING."""
    run = ended(running, airflow)
    now = ago(running, 6)
    airflow.task(run, "other", "skipped", start_date=now, end_date=now, try_number=0)
    poll(running, airflow)
    assert told(running)[1:-1] == [("other", "COMPLETED")]


def test_only_the_last_try_of_a_task_fails(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a task that is tried again, Then each try is RUNNING, and one is FAILED."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    task = airflow.task(run, "load", "running", start_date=ago(running, 8))
    poll(running, airflow)
    task |= {"state": "up_for_retry", "end_date": ago(running, 7)}
    poll(running, airflow)
    task |= {
        "state": "running", "try_number": 2, "start_date": ago(running, 6),
        "end_date": None,
    }  # fmt: skip
    poll(running, airflow)
    task |= {"state": "failed", "end_date": ago(running, 5)}
    poll(running, airflow)
    identifiers = [event.identifier.split("/")[-3:] for event in running.published()][1:]
    assert identifiers == [
        ["load", "1", "RUNNING"], ["load", "2", "RUNNING"], ["load", "2", "FAILED"],
    ]  # fmt: skip


@pytest.mark.parametrize(("state", "end"), [("success", "COMPLETED"), ("failed", "FAILED")])
def test_what_is_not_over_when_its_run_is_ends_with_it(
    running: AgentUnderTest, airflow: Airflow, state: str, end: str
) -> None:
    """Given a run that was marked by hand, Then no task of it stays RUNNING."""
    run = ended(running, airflow, state=state)
    airflow.task(run, "load", "running", start_date=ago(running, 8))
    airflow.task(run, "old", "removed", start_date=ago(running, 7))
    airflow.task(run, "idle", "scheduled")
    poll(running, airflow)
    assert ("load", end) in told(running)
    assert ("old", end) in told(running)
    assert "idle" not in dict(told(running))
    assert told(running)[-1] == ("", end)


def test_a_run_that_is_cleared_runs_again(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run that ended and is cleared, Then it is RUNNING and COMPLETED once more."""
    run = ended(running, airflow)
    poll(running, airflow)
    run |= {"state": "queued", "start_date": None, "end_date": None}
    poll(running, airflow)
    run |= {"state": "running", "start_date": ago(running, 3)}
    poll(running, airflow)
    run |= {"state": "success", "end_date": ago(running, 1)}
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")] * 2


# The same world seen again


def test_a_restart_and_an_overlap_tell_nothing_twice(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given the same answers after a restart, Then nothing is new."""
    run = ended(running, airflow)
    airflow.task(
        run, "load", "success", start_date=ago(running, 8), end_date=ago(running, 6)
    )
    airflow.run("hourly", RUN, "running", start_date=ago(running, 2))
    poll(running, airflow)
    before = told(running)
    running.stop()
    poll(running, airflow)
    assert told(running) == before


def test_an_ended_run_is_read_once(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given a run that was told to its end, Then its tasks are not asked for again."""
    ended(running, airflow)
    poll(running, airflow)
    poll(running, airflow)
    of_one = [path for path in airflow.paths() if path.startswith("dags/nightly")]
    assert len(of_one) == 1


@pytest.mark.parametrize(("lookback", "expected"), [(600, 0), (10_000, 2)])
def test_the_first_poll_looks_back_as_far_as_it_is_told(
    running: AgentUnderTest, airflow: Airflow, lookback: float, expected: int
) -> None:
    """Given an end of two hours ago, Then only a longer look back tells of it."""
    ended(running, airflow, start_date=ago(running, 130), end_date=ago(running, 120))
    poll(running, airflow, lookback=lookback)
    assert len(told(running)) == expected


# What the existing agent does wrong


def test_defect_every_poll_sends_every_task_again(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given three tasks that go on, When polled four times, Then each is told once."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    for name in "abc":
        airflow.task(run, name, "running", start_date=ago(running, 8))
    for _ in range(4):
        poll(running, airflow)
    assert sorted(told(running)) == [("", "RUNNING")] + [
        (name, "RUNNING") for name in "abc"
    ]


def test_defect_memory_grows(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given runs that ended long ago, Then nothing is remembered of them."""
    left: list[dict[str, Any]] = []

    def look(handler: Any, settings: AirflowSettings, http: HttpSettings) -> None:
        airflow_runs(handler, settings, http)
        left.append(handler.state)

    running.settings[AirflowSettings] = watching(airflow)
    running.settings[ApiToken] = ApiToken(agent_token=SecretStr(TOKEN))
    for number in range(5):
        ended(running, airflow, str(number), end_date=ago(running, 0))
        running.run_job(look, name="watch")
        running.clock.advance(minutes=20)
    assert [len(state["told"]) for state in left] == [1, 2, 2, 2, 2]
    assert left[-1]["open"] == {}


def test_defect_unknown_states_are_posted(
    running: AgentUnderTest, airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    """Given states that nobody knows, Then one line counts them, and nothing is told."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    poll(running, airflow)
    run["state"] = "paused"
    over = ended(running, airflow, "2")
    for name in "ab":
        airflow.task(over, name, "dreaming")
    caplog.clear()
    poll(running, airflow)
    told_of = [each.getMessage() for each in caplog.records if "unknown" in each.message]
    assert len(told_of) == 1
    assert "'run paused': 1" in told_of[0]
    assert "'task dreaming': 2" in told_of[0]
    assert told(running) == [("", "RUNNING"), ("", "RUNNING"), ("", "COMPLETED")]
    run |= {"state": "success", "end_date": ago(running, 0)}
    poll(running, airflow)
    assert told(running)[-1] == ("", "COMPLETED")


def test_defect_a_task_without_a_start_loses_the_others(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a task without any date, Then it has its run's, and the others are told."""
    run = ended(running, airflow)
    airflow.task(run, "undated", "success")
    airflow.task(
        run, "load", "success", start_date=ago(running, 8), end_date=ago(running, 6)
    )
    poll(running, airflow)
    assert ("load", "COMPLETED") in told(running)
    [event] = [e for e in running.published() if e.data.get("task_key") == "undated"]
    assert moment(event).isoformat() == run["end_date"]


def test_defect_a_scheduled_run_is_outside_the_window(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run for the interval of a day ago, Then it counts when it runs."""
    yesterday = ago(running, 1_440)
    airflow.run(
        "nightly", RUN, "running", start_date=ago(running, 1), logical_date=yesterday,
        execution_date=yesterday,
    )  # fmt: skip
    poll(running, airflow)
    assert told(running) == [("", "RUNNING")]


def test_defect_only_the_first_page_is_read(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given pages of runs and of tasks, smaller than asked for, Then all are told."""
    airflow.most = 7
    for number in range(20):
        run = ended(running, airflow, str(number))
    for number in range(30):
        airflow.task(run, f"t{number}", "success", end_date=ago(running, 6))
    airflow.runs += [{**run, "dag_id": f"d{n}", "state": "running"} for n in range(20)]
    poll(running, airflow)
    assert len(running.published("run-status", status="RUNNING")) == 40
    assert len(running.published("run-status", status="COMPLETED")) == 50


@pytest.mark.parametrize("slash", ["", "/"])
def test_defect_a_url_without_a_slash_loses_its_last_part(
    running: AgentUnderTest, make_airflow: Make, slash: str
) -> None:
    """Given the URL with or without a slash, and a path before it, Then it is the same."""
    airflow = make_airflow("v1", "/team/airflow")
    ended(running, airflow)
    poll(running, airflow, airflow.api + slash)
    assert len(told(running)) == 2


def test_defect_no_running_of_the_run_itself(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run that has just begun, Then it is RUNNING before it ends."""
    airflow.run("nightly", RUN, "running", start_date=ago(running, 1))
    poll(running, airflow)
    assert told(running) == [("", "RUNNING")]


def test_defect_runs_that_begin_while_the_agent_is_down_are_never_seen(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run that came and went in an outage of a day, Then it is told afterwards."""
    poll(running, airflow)
    running.stop()
    running.clock.advance(days=1)
    ended(running, airflow, start_date=ago(running, 700), end_date=ago(running, 600))
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")]


def test_defect_the_window_of_a_failed_poll_is_skipped(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given polls that fail for hours, Then the next one tells what happened meanwhile."""
    poll(running, airflow)
    ended(running, airflow)
    airflow.rules.append(lambda path: (404, {"title": "gone"}, {}))
    with pytest.raises(HttpError, match="status 404"):
        poll(running, airflow)
    running.clock.advance(hours=9)
    airflow.rules.clear()
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")]


@pytest.mark.parametrize("status", [401, 403])
def test_defect_wrong_credentials_end_quietly(
    running: AgentUnderTest, airflow: Airflow, status: int
) -> None:
    """Given a refusal, Then the run fails with one line that names the settings."""
    airflow.rules.append(
        lambda path: (status, {"title": "no"}, {}) if path.startswith("dags") else None
    )
    with pytest.raises(HttpError, match=f"status {status} .*DK_AGENT_USERNAME") as caught:
        poll(running, airflow)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.status == status


# Runs that are not where they were


def test_a_run_that_is_deleted_is_ended(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given a run that Airflow does not know any more, Then it ends as FAILED, and why."""
    airflow.run("nightly", "a+b", "running", start_date=ago(running, 1))
    poll(running, airflow)
    airflow.runs.clear()
    poll(running, airflow)
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "message"), ("", "FAILED")]
    assert "does not know this run" in message(running)
    assert {event.data["run_key"] for event in running.published()} == {"a+b"}


def test_a_run_that_is_in_neither_list_is_asked_for(
    running: AgentUnderTest, airflow2: Airflow
) -> None:
    """Given a run that ended without a date, Then it is asked for, and ends now."""
    run = airflow2.run("nightly", RUN, "running", start_date=ago(running, 1))
    poll(running, airflow2)
    run["state"] = "success"
    poll(running, airflow2)
    poll(running, airflow2)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")]
    assert moment(running.published()[-1]) >= moment(running.published()[0])


@pytest.mark.parametrize("status", [404, 500])
def test_tasks_that_cannot_be_read_hold_up_nothing(
    running: AgentUnderTest, airflow: Airflow, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Given tasks that cannot be had for a while, Then runs end, and tasks come later."""
    airflow.rules.append(
        lambda path: (status, {}, {}) if path.endswith("taskInstances") else None
    )
    airflow.run("other", "1", "running", start_date=ago(running, 3))
    run = ended(running, airflow, end_date=ago(running, 1))
    airflow.task(run, "load", "success", end_date=ago(running, 6))
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "RUNNING"), ("", "COMPLETED")]
    assert "cannot be read" in caplog.text
    airflow.rules.clear()
    poll(running, airflow)
    assert told(running)[3:] == [("load", "COMPLETED")]


def test_tasks_are_read_again_where_a_page_repeats_some(
    running: AgentUnderTest, airflow2: Airflow
) -> None:
    """Given pages without an order, so that one is missing, Then it is found."""
    airflow2.most, turns = 2, 0
    run = ended(running, airflow2)
    tasks = [
        airflow2.task(run, name, "success", end_date=ago(running, 6)) for name in "abc"
    ]

    def turn(path: str) -> None:
        nonlocal turns
        if path.startswith("dags/nightly"):
            turns += 1
            last = [0, 1, 1] if turns == 2 else [0, 1, 2]
            airflow2.tasks[:] = [tasks[0], tasks[1], tasks[last[2]]]

    airflow2.rules.append(turn)
    poll(running, airflow2)
    assert {task for task, _ in told(running)} == {"", "a", "b", "c"}


@pytest.mark.parametrize(
    "broken",
    [
        None, "text", {}, {"dag_id": "d"}, {"dag_id": None, "dag_run_id": "r"},
        {"dag_id": 7, "dag_run_id": "r"}, {"dag_id": "d", "dag_run_id": ""},
        {"dag_id": "\0", "dag_run_id": "r", "state": {"a": 1}},
    ],
)  # fmt: skip
def test_a_malformed_item_never_loses_the_others(
    running: AgentUnderTest,
    airflow: Airflow,
    broken: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a run and a task without sense, Then the others are told, the log says it."""
    airflow.runs.append(broken)
    airflow.tasks.append(broken)
    run = ended(running, airflow)
    airflow.task(run, "load", "success", start_date="soon", end_date=7, try_number="x")
    airflow.runs.append({**run, "dag_run_id": "last", "start_date": "x"})
    poll(running, airflow)
    ends = [event.data for event in running.published("run-status", status="COMPLETED")]
    assert [end.get("task_key", end["run_key"]) for end in ends] == ["load", RUN, "last"]
    assert "left out" in caplog.text or "unknown" in caplog.text


def test_what_observability_refuses_loses_no_other_run(
    running: AgentUnderTest, airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a run that is too large to be told, Then the others are; the log says so."""
    ended(running, airflow, "odd", logical_date="x" * 2_000_000)
    ended(running, airflow, "even")
    poll(running, airflow)
    keys = [event.data["run_key"] for event in running.published()]
    assert keys == ["even", "even"]
    assert "2 left out" in caplog.text


def test_no_end_is_before_its_start(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given clocks that disagree, Then the server does not take a start for another run."""
    run = ended(running, airflow, start_date=ago(running, 4), end_date=ago(running, 5))
    airflow.task(
        run, "load", "success", start_date=ago(running, 4), end_date=ago(running, 6)
    )
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("load", "COMPLETED"), ("", "COMPLETED")]
    assert {moment(event).isoformat() for event in running.published()} == {
        run["start_date"]
    }


def test_a_task_without_a_start_ends_with_its_run(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a task that runs without a date, Then it is RUNNING, and ends with its run."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    airflow.task(run, "load", "running")
    poll(running, airflow)
    run |= {"state": "failed", "end_date": ago(running, 0)}
    poll(running, airflow)
    assert [status for task, status in told(running) if task] == ["RUNNING", "FAILED"]


def test_a_time_without_a_zone_is_utc(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given times without a zone, Then they are told with one."""
    naive = [ago(running, minutes).removesuffix("+00:00") for minutes in (9, 5)]
    ended(running, airflow, start_date=naive[0], end_date=naive[1])
    poll(running, airflow)
    times = [event.data["event_timestamp"] for event in running.published()]
    assert [datetime.fromisoformat(time).utcoffset() for time in times] == [timedelta()] * 2


def test_a_deferred_task_of_an_old_airflow_is_in_its_first_try(
    running: AgentUnderTest, airflow2: Airflow
) -> None:
    """Given try 0 while a task is deferred, as before 2.10, Then that is try 1."""
    run = airflow2.run("nightly", RUN, "running", start_date=ago(running, 9))
    task = airflow2.task(run, "load", "deferred", try_number=0, start_date=ago(running, 8))
    poll(running, airflow2)
    task |= {"state": "success", "try_number": 1, "end_date": ago(running, 1)}
    poll(running, airflow2)
    assert [status for task, status in told(running) if task] == ["RUNNING", "COMPLETED"]


def test_a_run_that_is_cleared_while_it_runs_begins_again(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a run with another start in the next poll, Then it is RUNNING once more."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 9))
    poll(running, airflow)
    run["start_date"] = ago(running, 2)
    poll(running, airflow)
    assert told(running) == [("", "RUNNING")] * 2


def test_an_end_that_shows_up_late_is_within_the_overlap(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given an end of before the last poll, as of a slow clock, Then it is told."""
    poll(running, airflow)
    ended(running, airflow, end_date=ago(running, 1))
    poll(running, airflow)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")]


# Sign-in


def test_basic_sign_in_is_sent_to_airflow_2(
    running: AgentUnderTest, airflow2: Airflow
) -> None:
    """Given user and password, Then Airflow 2 gets them with each request, and no POST."""
    poll(running, airflow2)
    assert {each.authorization.split()[0] for each in airflow2.asked} == {"Basic"}
    assert airflow2.paths("POST") == []


def test_a_token_of_the_settings_is_sent(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given a token, Then both versions get it, and no other is asked for."""
    running.settings[ApiToken] = ApiToken(agent_token=SecretStr(TOKEN))
    poll(running, airflow)
    assert {each.authorization for each in airflow.asked} == {f"Bearer {TOKEN}"}
    assert airflow.issued == 0


def test_airflow_3_gives_one_token_for_many_polls(
    running: AgentUnderTest, airflow3: Airflow
) -> None:
    """Given user and password, Then a token is had once, and again when it is refused."""
    for _ in range(3):
        poll(running, airflow3)
    assert airflow3.issued == 1
    airflow3.tokens.clear()
    ended(running, airflow3)
    poll(running, airflow3)
    assert airflow3.issued == 2
    assert len(told(running)) == 2


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((401, {"input": PASSWORD}, {}), "status 401; look at DK_AGENT_USERNAME"),
        ((422, {"input": PASSWORD}, {}), "status 422; look at DK_AGENT_USERNAME"),
        ((200, {"token": PASSWORD}, {}), "no token: status 200"),
        ((201, [PASSWORD], {}), "no token: status 201"),
        ((201, {"access_token": None}, {}), "no token: status 201"),
        ((302, {}, {"Location": "/login"}), "no token: status 302"),
        ((503, {}, {"Retry-After": "7"}), "no token: status 503"),
    ],
)
def test_no_token_is_told_in_one_line(
    running: AgentUnderTest, airflow3: Airflow, answer: Any, problem: str
) -> None:
    """Given no token, Then the line names the settings, and shows nothing of the answer."""
    airflow3.rules.append(lambda path: answer if path.endswith("auth/token") else None)
    with pytest.raises(HttpError, match=problem) as caught:
        poll(running, airflow3)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.retry_after == (7 if answer[0] == 503 else None)


def test_no_secret_is_logged(
    running: AgentUnderTest, airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    """Given user, password and token, Then no line of the log and no event has one."""
    caplog.set_level(logging.DEBUG)
    airflow.runs.append({})
    ended(running, airflow)
    poll(running, airflow)
    assert "left out" in caplog.text
    for secret in (PASSWORD, TOKEN):
        assert secret not in caplog.text
        assert secret not in repr([event.data for event in running.published()])


# Where it is


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/"])
def test_the_version_is_asked_for_where_the_path_has_none(
    running: AgentUnderTest, airflow: Airflow, path: str
) -> None:
    """Given only where Airflow is, Then its API is found."""
    ended(running, airflow)
    poll(running, airflow, airflow.url + path)
    assert len(told(running)) == 2


def test_a_version_in_the_path_is_not_asked_for(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given the version in the path, Then nothing else is asked for."""
    poll(running, airflow)
    assert [path for path in airflow.paths() if path.endswith("version")] == []


def test_no_airflow_is_told_in_one_line(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given another server, Then the error names the setting to look at."""
    airflow.rules.append(lambda path: (200, b"<html>", {}))
    with pytest.raises(ValueError, match="no Airflow at .*DK_AIRFLOW_API_URL"):
        poll(running, airflow, airflow.url)


def test_a_server_that_is_away_is_not_taken_for_another(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given an error instead of the version, Then that is the error."""
    airflow.rules.append(lambda path: (502, {}, {}))
    with pytest.raises(HttpError, match="status 502"):
        poll(running, airflow, airflow.url)


# Bad days


def test_an_empty_airflow_is_no_error(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given nothing at all, Then the run succeeds with two requests."""
    poll(running, airflow)
    assert told(running) == []
    assert airflow.paths() == ["dags/~/dagRuns"] * 2


@pytest.mark.parametrize("body", [[], {}, {"dag_runs": None}, {"runs": []}, None])
def test_an_answer_of_another_form_fails_the_run(
    running: AgentUnderTest, airflow: Airflow, body: Any
) -> None:
    """Given no list of runs, Then the run fails and says where."""
    airflow.rules.append(lambda path: (200, body, {}) if path.startswith("dags") else None)
    with pytest.raises(ValueError, match="dagRuns has no 'dag_runs'"):
        poll(running, airflow)


def test_a_limit_of_the_rate_is_obeyed(running: AgentUnderTest, airflow: Airflow) -> None:
    """Given a 429 with Retry-After, Then the same run waits so long, and goes on."""
    ended(running, airflow)
    answers: list[Any] = [(429, {}, {"Retry-After": "30"})]
    airflow.rules.append(
        lambda path: answers.pop() if path.startswith("dags") and answers else None
    )
    before = running.clock.now()
    poll(running, airflow)
    assert running.clock.now() - before >= timedelta(seconds=30)
    assert len(told(running)) == 2


def test_a_poll_that_breaks_off_is_caught_up(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given a failure in the middle of a poll, Then the next one tells the rest."""
    for number in range(3):
        ended(running, airflow, str(number))
    airflow.rules.append(
        lambda path: (503, {}, {"Retry-After": "7200"}) if "dagRuns/1" in path else None
    )
    with pytest.raises(HttpError):
        poll(running, airflow)
    airflow.rules.clear()
    poll(running, airflow)
    runs = [event.data["run_key"] for event in running.published()]
    assert sorted(runs) == ["0", "0", "1", "1", "2", "2"]


def test_three_thousand_runs_are_told_with_few_requests(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given 3,000 runs that go on, Then a poll reads pages, and asks for none alone."""
    start = ago(running, 9)
    for number in range(3_000):
        run = airflow.run(f"dag{number % 50}", str(number), "running", start_date=start)
        airflow.task(run, "load", "running", start_date=start)
    poll(running, airflow)
    assert len(told(running)) == 6_000
    assert len(airflow.asked) <= 95
    poll(running, airflow)
    assert len(told(running)) == 6_000


def test_polls_are_scheduled_like_any_job(
    running: AgentUnderTest, airflow: Airflow
) -> None:
    """Given the job with its period, When time passes, Then a run is told to its end."""
    run = airflow.run("nightly", RUN, "running", start_date=ago(running, 1))
    settings = watching(airflow)
    running.settings[AirflowSettings] = settings
    running.settings[ApiToken] = ApiToken(agent_token=SecretStr(TOKEN))
    running.add_job(airflow_runs, every=settings.period)
    running.advance(seconds=12)
    run |= {"state": "success", "end_date": ago(running, 0)}
    running.advance(seconds=12)
    assert told(running) == [("", "RUNNING"), ("", "COMPLETED")]
    assert len(running.runs(airflow_runs, "completed")) == 5
