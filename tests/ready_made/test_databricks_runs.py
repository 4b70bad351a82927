"""jobs.databricks_runs: runs, tasks and repairs become reports, each once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from jobs import databricks_runs as module
from jobs.databricks_runs import DatabricksSettings, databricks_runs
from py_agent import HttpError
from py_agent.errors import ConfigError
from py_agent.observability import HttpSettings
from py_agent.observability.settings import ApiToken, AzureServicePrincipal
from py_agent.testing import AgentUnderTest

from .databricks_server import TOKEN, Databricks, run_of, state, status, task_of

SECRET = "canary-0815"
DAY = 86_400


@pytest.fixture
def workspace() -> Iterator[Databricks]:
    """A workspace without runs."""
    made = Databricks()
    yield made
    made.close()


@pytest.fixture
def agent(running: AgentUnderTest, workspace: Databricks) -> AgentUnderTest:
    """An agent that watches the workspace with a token."""
    configure(running, workspace)
    return running


def configure(agent: AgentUnderTest, workspace: Databricks, **values: Any) -> None:
    """Set the settings of the job; the requests are not tried again."""
    agent.settings[DatabricksSettings] = DatabricksSettings(
        **{"databricks_host": workspace.host} | values
    )
    agent.settings[HttpSettings] = HttpSettings(retries=0)
    agent.settings[ApiToken] = ApiToken(agent_token=SecretStr(TOKEN))


def poll(agent: AgentUnderTest, after: float = 5) -> list[str]:
    """Let some time pass and poll; return what was told anew, in order."""
    before = len(told(agent))
    agent.clock.advance(after)
    agent.run_job(databricks_runs)
    return told(agent)[before:]


def told(agent: AgentUnderTest) -> list[str]:
    """Return all that was told: run or task, attempt unless 1, and status or level."""
    found = [*agent.published("run-status"), *agent.published("message-log")]
    return [_short(event) for event in sorted(found, key=lambda event: event.id)]


def _short(event: Any) -> str:
    run, task, attempt = event.identifier.split("/")[2:5]
    what = event.data.get("status") or f"{event.data['log_level']}: {event.data['message']}"
    return f"{task or run}{'' if attempt == '1' else '#' + attempt} {what}"


def at(agent: AgentUnderTest, seconds: float = 0) -> int:
    """Return the milliseconds of a moment that lies so far from now."""
    return int((agent.clock.now() + timedelta(seconds=seconds)).timestamp() * 1000)


def time_of(agent: AgentUnderTest, short: str) -> int:
    """Return the milliseconds of what was told."""
    for event in [*agent.published("run-status"), *agent.published("message-log")]:
        if _short(event) == short:
            moment = datetime.fromisoformat(event.data["event_timestamp"])
            assert moment.utcoffset() is not None
            return int(moment.timestamp() * 1000)
    raise AssertionError(f"{short} was not told")


def end(run: dict[str, Any], when: int, result: str = "SUCCESS", text: str = "") -> None:
    """Let a run or task end."""
    run |= {"state": state("TERMINATED", result, text), "end_time": when}


def repair(run: dict[str, Any], agent: AgentUnderTest) -> dict[str, Any]:
    """Begin a repair of a run whose first task failed; return the repair."""
    first = {
        "type": "ORIGINAL",
        "start_time": run["start_time"],
        "end_time": run["end_time"],
    }
    first |= {"state": run["state"], "task_run_ids": [run["tasks"][0]["run_id"]]}
    history = run.setdefault("repair_history", [first])
    again = {"type": "REPAIR", "id": len(history), "start_time": at(agent), "end_time": 0}
    again |= {"state": state("RUNNING")}
    history.append(again)
    again_id = run["run_id"] + 10 * len(history)
    task = task_of(again_id, "load", at(agent), attempt_number=len(history) - 1)
    run["tasks"].append(task)
    run |= {"state": state("RUNNING"), "end_time": 0}
    return again


def end_repair(run: dict[str, Any], when: int, result: str = "SUCCESS") -> None:
    for part in (run["tasks"][-1], run["repair_history"][-1], run):
        end(part, when, result, "" if result == "SUCCESS" else "still broken")


def failed_run(
    agent: AgentUnderTest, run_id: int = 1, before: float = 60
) -> dict[str, Any]:
    """Return a run that failed so many seconds ago."""
    run = run_of(run_id, at(agent, -before - 60))
    run["tasks"] = [task_of(run_id + 1, "load", at(agent, -before - 50))]
    end(run["tasks"][0], at(agent, -before - 10), "FAILED", "no table")
    end(run, at(agent, -before), "FAILED", "Task load failed")
    return run


# From the start to the end


def test_a_run_is_told_from_its_start_to_its_end(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a run that goes on, When it ends, Then run, tasks and end are told in order."""
    run = workspace.runs[1] = run_of(1, at(agent, -60))
    begin, middle = at(agent, -60), at(agent, -30)
    run["tasks"] = [
        task_of(2, "load", begin),
        task_of(3, "clean", 0, state=state("BLOCKED")),
    ]
    assert poll(agent) == ["1 RUNNING", "load RUNNING"]
    end(run["tasks"][0], middle)
    run["tasks"][1] |= {"state": state("RUNNING"), "start_time": middle + 1}
    assert poll(agent) == ["load COMPLETED", "clean RUNNING"]
    last = at(agent)
    end(run["tasks"][1], last)
    end(run, last)
    assert poll(agent) == ["clean COMPLETED", "1 COMPLETED"]
    assert [time_of(agent, f"1 {each}") for each in ("RUNNING", "COMPLETED")] == [
        begin,
        last,
    ]
    assert time_of(agent, "clean RUNNING") == middle + 1
    assert poll(agent) == []


def test_what_is_published(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given a run, Then identifiers and payloads are as the documentation says."""
    workspace.runs[1] = run_of(1, at(agent), tasks=[task_of(2, "load", at(agent))])
    poll(agent)
    run, task = agent.published("run-status")
    assert run.identifier == "DATABRICKS/11/1//1/RUNNING"
    assert task.identifier == "DATABRICKS/11/1/load/1/RUNNING"
    data = {"pipeline_key": "11", "pipeline_name": "nightly", "run_key": "1"}
    data |= {"component_tool": "DATABRICKS", "status": "RUNNING"}
    data["external_url"] = workspace.runs[1]["run_page_url"]
    assert data.items() <= run.data.items()
    about = {"job_id": 11, "run_id": 1, "trigger": "PERIODIC", "state": "RUNNING"}
    assert about.items() <= run.data["metadata"].items()
    assert "task_key" not in run.data
    data |= {"task_key": "load", "task_name": "load"}
    assert data.items() <= task.data.items()
    assert task.data["metadata"] == {"run_id": "2", "state": "RUNNING"}


def test_a_run_first_seen_when_it_has_ended_is_told_whole(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a failed run within the look-back, Then its begin comes first, its end last."""
    workspace.runs[1] = failed_run(agent)
    assert poll(agent) == [
        "1 RUNNING", "load RUNNING", "load ERROR: no table", "load FAILED",
        "1 ERROR: Task load failed", "1 FAILED",
    ]  # fmt: skip


def test_a_restart_tells_nothing_again(
    agent: AgentUnderTest, workspace: Databricks, tmp_path: Path
) -> None:
    """Given what was told, When another agent goes on with the store, Then it is silent."""
    workspace.runs |= {1: failed_run(agent), 5: run_of(5, at(agent))}
    before = poll(agent)
    agent.stop()
    again = AgentUnderTest(tmp_path / "running.sqlite", clock=agent.clock)
    configure(again, workspace)
    try:
        assert before
        assert poll(again) == []
    finally:
        again.stop()


def test_a_second_look_costs_no_request_for_each_run(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given runs with repeated tasks that were told, Then only the lists are asked for."""
    for number in range(10, 15):
        run = workspace.runs[number] = run_of(number, at(agent, -60))
        run["tasks"] = [task_of(1, "load", at(agent, -60), attempt_number=1)]
        if number < 13:
            end(run["tasks"][0], at(agent))
            end(run, at(agent))
    poll(agent)
    workspace.asked.clear()
    assert poll(agent) == []
    assert (workspace.count("list"), workspace.count("get")) == (2, 0)


def test_a_run_that_left_the_lists_is_asked_for(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a run that began long before the window, When it ends, Then that is told."""
    run = workspace.runs[1] = run_of(1, at(agent, -10 * DAY))
    assert poll(agent) == ["1 RUNNING"]
    end(run, at(agent, 3))
    assert poll(agent) == ["1 COMPLETED"]
    workspace.asked.clear()
    poll(agent)
    assert workspace.count("get") == 0


def test_a_run_that_is_gone_ends_as_failed(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a run that was deleted while it went on, Then it ends, and a line says why."""
    workspace.runs[1] = run_of(1, at(agent))
    poll(agent)
    del workspace.runs[1]
    lost = ["1 ERROR: Databricks does not know this run any more.", "1 FAILED"]
    agent.clock.advance(hours=2)
    assert poll(agent) == lost
    assert poll(agent) == poll(agent, 700) == []
    workspace.asked.clear()
    poll(agent, 700)
    assert workspace.count("get") == 0


def test_a_run_that_may_not_be_read_holds_up_no_other(
    agent: AgentUnderTest, workspace: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    """Given 403 for one run, Then it is left as it is, and said, and others are told."""
    workspace.runs[1] = run_of(1, at(agent, -10 * DAY))
    poll(agent)
    end(workspace.runs[1], at(agent))
    workspace.forbidden = {1}
    workspace.runs[2] = run_of(2, at(agent))
    assert poll(agent) == ["2 RUNNING"]
    assert "run 1 may not be read" in caplog.text
    workspace.forbidden = set()
    assert poll(agent) == ["1 COMPLETED"]


def test_an_error_about_one_run_fails_the_poll(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given 503 for a run that has left the lists, Then it is open until the next poll."""
    run = workspace.runs[1] = run_of(1, at(agent, -10 * DAY))
    poll(agent)
    end(run, at(agent))
    workspace.refuse_run = 503
    with pytest.raises(HttpError, match="status 503"):
        poll(agent)
    workspace.refuse_run = None
    assert poll(agent) == ["1 COMPLETED"]


# The states


ENDINGS = [
    ("SUCCESS", "COMPLETED"), ("EXCLUDED", "COMPLETED"), ("DISABLED", "COMPLETED"),
    ("SUCCESS_WITH_FAILURES", "COMPLETED_WITH_WARNINGS"),
    ("MAXIMUM_CONCURRENT_RUNS_REACHED", "COMPLETED_WITH_WARNINGS"),
    ("FAILED", "FAILED"), ("TIMEDOUT", "FAILED"), ("CANCELED", "FAILED"),
    ("UPSTREAM_FAILED", "FAILED"), ("UPSTREAM_CANCELED", "FAILED"), ("EVICTED", "FAILED"),
    ("UPSTREAM_EVICTED", "FAILED"),
]  # fmt: skip


@pytest.mark.parametrize(("result", "expected"), ENDINGS)
def test_each_result_has_its_status(
    agent: AgentUnderTest, workspace: Databricks, result: str, expected: str
) -> None:
    """Given a run and a task that ended so, Then both are told with that status."""
    run = workspace.runs[1] = run_of(
        1, at(agent, -9), tasks=[task_of(2, "t", at(agent, -9))]
    )
    end(run["tasks"][0], at(agent), result)
    end(run, at(agent), result)
    lines = poll(agent)
    assert (lines[0], lines[-1]) == ("1 RUNNING", f"1 {expected}")
    assert f"t {expected}" in lines
    assert ("ERROR" in "".join(lines)) == (expected == "FAILED")


LIVES = ["QUEUED", "PENDING", "RUNNING", "TERMINATING", "BLOCKED", "WAITING_FOR_RETRY"]


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("make", [state, status])
def test_a_run_that_has_not_ended_is_running(
    agent: AgentUnderTest, workspace: Databricks, life: str, make: Callable[[str], Any]
) -> None:
    """Given a run in that state, in either version, Then it is told as RUNNING."""
    field = "state" if make is state else "status"
    workspace.runs[1] = {**run_of(1, at(agent)), "state": {}, field: make(life)}
    assert poll(agent) == ["1 RUNNING"]
    assert poll(agent) == []


@pytest.mark.parametrize("life", ["QUEUED", "BLOCKED", "PENDING"])
def test_a_task_that_waits_is_told_when_it_begins(
    agent: AgentUnderTest, workspace: Databricks, life: str
) -> None:
    """Given a task that waits, Then it is told with its real start, later."""
    task = task_of(2, "load", 0, state=state(life))
    workspace.runs[1] = run_of(1, at(agent, -60), tasks=[task])
    assert poll(agent) == ["1 RUNNING"]
    task |= {"state": state("RUNNING"), "start_time": at(agent)}
    assert poll(agent) == ["load RUNNING"]
    assert time_of(agent, "load RUNNING") == task["start_time"]


CODES = [
    ("SUCCESS", "SUCCESS", "COMPLETED"),
    ("SUCCESS_WITH_FAILURES", "SUCCESS", "COMPLETED_WITH_WARNINGS"),
    ("SKIPPED", "CLIENT_ERROR", "COMPLETED_WITH_WARNINGS"),
    ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR", "COMPLETED_WITH_WARNINGS"),
    ("MAX_JOB_QUEUE_SIZE_EXCEEDED", "CLIENT_ERROR", "COMPLETED_WITH_WARNINGS"),
    ("DISABLED", "SUCCESS", "COMPLETED"),
    ("CANCELED", "CLIENT_ERROR", "FAILED"),
    ("USER_CANCELED", "CLIENT_ERROR", "FAILED"),
    *((code, kind, "FAILED") for code, kind in {
        "INTERNAL_ERROR": "INTERNAL_ERROR", "DRIVER_ERROR": "INTERNAL_ERROR",
        "CLUSTER_ERROR": "CLIENT_ERROR", "REPOSITORY_CHECKOUT_FAILED": "CLIENT_ERROR",
        "INVALID_CLUSTER_REQUEST": "CLIENT_ERROR", "FEATURE_DISABLED": "CLIENT_ERROR",
        "WORKSPACE_RUN_LIMIT_EXCEEDED": "CLIENT_ERROR", "CLOUD_FAILURE": "CLOUD_FAILURE",
        "CLUSTER_REQUEST_LIMIT_EXCEEDED": "CLIENT_ERROR",
        "STORAGE_ACCESS_ERROR": "CLIENT_ERROR", "RUN_EXECUTION_ERROR": "CLIENT_ERROR",
        "UNAUTHORIZED_ERROR": "CLIENT_ERROR", "LIBRARY_INSTALLATION_ERROR": "CLIENT_ERROR",
        "MAX_SPARK_CONTEXTS_EXCEEDED": "CLIENT_ERROR", "RESOURCE_NOT_FOUND": "CLIENT_ERROR",
        "INVALID_RUN_CONFIGURATION": "CLIENT_ERROR", "NEW_IN_2031": "CLOUD_FAILURE",
    }.items()),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind", "expected"), CODES)
def test_each_termination_code_has_its_status(
    agent: AgentUnderTest, workspace: Databricks, code: str, kind: str, expected: str
) -> None:
    """Given an end as 2.2 alone has it, Then its code, else its type decides."""
    configure(agent, workspace, databricks_jobs_version="2.2")
    run = workspace.runs[1] = run_of(1, at(agent, -60), end_time=at(agent))
    del run["state"]
    run["status"] = status("TERMINATED", code, kind, "as it is")
    assert poll(agent)[-1] == f"1 {expected}"
    assert agent.published("run-status")[-1].data["metadata"]["state"] == code
    texts = {event.data["message"] for event in agent.published("message-log")}
    assert texts == ({"as it is"} if expected != "COMPLETED" else set())
    assert {path.split("/")[2] for path, _ in workspace.asked} == {"2.2"}


def test_a_run_that_is_terminating_has_not_ended(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given termination details of a run that is still cleaned up, Then it is RUNNING."""
    run = workspace.runs[1] = run_of(1, at(agent))
    run |= {"state": {}, "status": status("TERMINATING", "SUCCESS", "SUCCESS")}
    assert poll(agent) == ["1 RUNNING"]


def test_unknown_states_are_counted_and_not_sent(
    agent: AgentUnderTest, workspace: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    """Given states from the future, Then one line counts them, and nothing has ended."""
    workspace.runs[1] = run_of(1, at(agent))
    poll(agent)
    workspace.runs[1]["state"] = state("TERMINATED", "VANISHED")
    workspace.runs[1]["end_time"] = at(agent)
    tasks = [
        task_of(3, "a", at(agent), state=state("DREAMING")),
        task_of(4, "b", at(agent)),
    ]
    workspace.runs[2] = run_of(2, at(agent), tasks=tasks)
    workspace.runs[5] = run_of(5, at(agent), state={})
    assert poll(agent) == ["2 RUNNING", "b RUNNING"]
    lines = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "-/- (1), DREAMING/DREAMING (1), TERMINATED/VANISHED (1)" in lines[0]
    end(workspace.runs[1], at(agent))
    assert "1 COMPLETED" in poll(agent, 601)


# What the existing agent does not do


def test_defect_no_run_level_running(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given a run with tasks, Then the run's own RUNNING comes, and before its tasks."""
    tasks = [task_of(2, "load", at(agent, -90))]  # by the clock of another machine
    workspace.runs[1] = run_of(1, at(agent, -60), tasks=tasks)
    assert poll(agent) == ["1 RUNNING", "load RUNNING"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"databricks_jobs": ["nightly"]}, [1]),
        ({"databricks_job_ids": [22]}, [2]),
        ({"databricks_job_ids": [22, 33]}, [2, 3]),
        ({"databricks_job_ids": [22, *range(100, 120)]}, [2]),
        ({"databricks_jobs": ["nightly"], "databricks_job_ids": [33]}, [1, 3]),
    ],
)
def test_defect_only_names_could_be_chosen(
    agent: AgentUnderTest, workspace: Databricks, chosen: Any, expected: list[int]
) -> None:
    """Given names or job ids, Then the runs of either are told."""
    configure(agent, workspace, **chosen)
    for number, (job, name) in enumerate([(11, "nightly"), (22, "hourly"), (33, None)], 1):
        workspace.runs[number] = run_of(number, at(agent), job_id=job, run_name=name)
    assert sorted(poll(agent)) == [f"{number} RUNNING" for number in expected]


def test_a_few_job_ids_are_asked_for_by_id(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given ids only, Then the runs of all other jobs are not even read."""
    configure(agent, workspace, databricks_job_ids=[22, 33])
    poll(agent)
    assert [query["job_id"] for _, query in workspace.asked] == ["22", "33"] * 2


def test_defect_queued_and_skipped_are_unknown(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a queued and a skipped run, Then both have a status, and the reason is told."""
    workspace.runs[1] = run_of(1, at(agent, -60), state=state("QUEUED"))
    skipped = state("SKIPPED", None, "a run is active already")
    workspace.runs[2] = run_of(2, at(agent), state=skipped, end_time=at(agent))
    assert poll(agent) == [
        "1 RUNNING", "2 RUNNING", "2 WARNING: a run is active already",
        "2 COMPLETED_WITH_WARNINGS",
    ]  # fmt: skip


def test_defect_no_previous_end_time(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given a night without the agent, Then what began or ended in it is told."""
    workspace.runs[1] = run_of(1, at(agent, -7_000))
    assert poll(agent) == ["1 RUNNING"]
    end(workspace.runs[1], at(agent, 3_000))
    workspace.runs[2] = run_of(2, at(agent, 5_000))
    end(workspace.runs[2], at(agent, 6_000))
    lines = poll(agent, 30_000)
    assert sorted(lines) == ["1 COMPLETED", "2 COMPLETED", "2 RUNNING"]


def test_a_failed_poll_skips_nothing(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given polls that fail for hours, Then the next one tells what began meanwhile."""
    poll(agent)
    workspace.runs[1] = run_of(1, at(agent))
    end(workspace.runs[1], at(agent, 9))
    for _ in range(3):
        workspace.refuse = [(500, {}, "")]
        with pytest.raises(HttpError):
            poll(agent, 3_600)
    assert poll(agent, 3_600) == ["1 RUNNING", "1 COMPLETED"]


ERRORS = [
    (401, "", "status 401.*look at DK_AGENT_TOKEN"),
    (403, '{"error_code": "PERMISSION_DENIED"}', "status 403.*PERMISSION_DENIED.*DK_AZURE"),
    (500, "<html>", "status 500"),
    (200, "<html>sign in</html>", "JSON"),
    (200, "[]", "the answer is no object"),
]


@pytest.mark.parametrize(("answer", "body", "problem"), ERRORS)
def test_defect_error_answers_are_taken_for_data(
    agent: AgentUnderTest, workspace: Databricks, answer: int, body: str, problem: str
) -> None:
    """Given an error answer, Then the run fails with one line, and tells nothing."""
    workspace.runs[1] = run_of(1, at(agent))
    workspace.refuse = [(answer, {}, body)]
    with pytest.raises((HttpError, ValueError), match=problem) as caught:
        poll(agent)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert told(agent) == []


def test_a_limit_of_speed_is_obeyed(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given 429 with Retry-After, Then the same poll waits so long and goes on."""
    agent.settings[HttpSettings] = HttpSettings(retries=3)
    workspace.runs[1] = run_of(1, at(agent))
    workspace.refuse = [(429, {"Retry-After": "7"}, "")]
    before = agent.clock.now()
    assert poll(agent, 0) == ["1 RUNNING"]
    assert (agent.clock.now() - before).total_seconds() >= 7


# Repairs


def test_a_repair_reopens_a_failed_run(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a failed run that is repaired, Then it runs again as attempt 2, and ends."""
    run = workspace.runs[1] = failed_run(agent)
    poll(agent)
    agent.clock.advance(hours=5)
    again = repair(run, agent)
    began = ["1#2 RUNNING", "1#2 INFO: Repair 1 of this run has begun.", "load#2 RUNNING"]
    assert poll(agent) == began
    assert time_of(agent, "1#2 RUNNING") == again["start_time"]
    assert poll(agent) == []
    end_repair(run, at(agent))
    assert poll(agent) == ["load#2 COMPLETED", "1#2 COMPLETED"]
    assert time_of(agent, "1#2 COMPLETED") == run["end_time"]


def test_a_repair_between_two_looks_is_found(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a repair that nobody saw running, Then the watch finds it after its period."""
    run = workspace.runs[1] = failed_run(agent)
    poll(agent)
    assert poll(agent, 3_600) == []
    repair(run, agent)
    end_repair(run, at(agent, 2))
    assert poll(agent, 300) == []
    assert poll(agent, 300) == [
        "1#2 RUNNING", "1#2 INFO: Repair 1 of this run has begun.", "load#2 RUNNING",
        "load#2 COMPLETED", "1#2 COMPLETED",
    ]  # fmt: skip


def test_each_repair_has_its_number(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given a failed repair and another one, seen at the end, Then all is in order."""
    run = failed_run(agent)
    repair(run, agent)
    end_repair(run, at(agent, 10), "FAILED")
    agent.clock.advance(20)
    repair(run, agent)
    end_repair(run, at(agent, 10))
    workspace.runs[1] = run
    assert [line for line in poll(agent, 30) if line.startswith("1")] == [
        "1 RUNNING", "1 ERROR: Task load failed", "1 FAILED",
        "1#2 RUNNING", "1#2 INFO: Repair 1 of this run has begun.",
        "1#2 ERROR: still broken", "1#2 FAILED",
        "1#3 RUNNING", "1#3 INFO: Repair 2 of this run has begun.", "1#3 COMPLETED",
    ]  # fmt: skip


def test_a_repair_right_after_the_failure_is_found(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a run that fails and is repaired between two polls, Then both are told."""
    run = workspace.runs[1] = run_of(1, at(agent, -60))
    run["tasks"] = [task_of(2, "load", at(agent, -50))]
    poll(agent)
    end(run["tasks"][0], at(agent, 1), "FAILED", "no table")
    end(run, at(agent, 1), "FAILED", "Task load failed")
    agent.clock.advance(2)
    repair(run, agent)
    assert poll(agent) == [
        "load ERROR: no table", "load FAILED", "1 ERROR: Task load failed", "1 FAILED",
        "1#2 RUNNING", "1#2 INFO: Repair 1 of this run has begun.", "load#2 RUNNING",
    ]  # fmt: skip


def test_a_failed_run_is_watched_for_so_long_and_no_longer(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given the watch's period and time, Then a failed run is asked for as they say."""
    watch = {
        "databricks_failed_watch_period": 100,
        "databricks_failed_watch_max_time": 1_000,
    }
    configure(agent, workspace, **watch)
    workspace.runs[1] = failed_run(agent, before=0)
    poll(agent)
    workspace.asked.clear()
    for _ in range(50):
        poll(agent, 50)
    assert 8 <= workspace.count("get") <= 10


def test_the_watch_is_spread_over_polls(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given many failed runs, Then one poll asks for a few, and all get their turn."""
    for number in range(10, 1_000, 10):
        workspace.runs[number] = failed_run(agent, number)
    poll(agent)
    workspace.asked.clear()
    poll(agent, 601)
    assert workspace.count("get") == module.AT_ONCE
    for _ in range(4):
        poll(agent)
    asked = {query["run_id"] for path, query in workspace.asked if path.endswith("get")}
    assert len(asked) == len(workspace.runs)


# Pages


@pytest.mark.parametrize("version", ["2.1", "2.2"])
@pytest.mark.parametrize("tokens", [True, False])
def test_all_pages_are_read(
    agent: AgentUnderTest, workspace: Databricks, version: str, tokens: bool
) -> None:
    """Given active and ended runs on several pages, Then all are told, however it pages."""
    configure(agent, workspace, databricks_jobs_version=version)
    workspace.tokens = tokens
    for number in range(1, 131):
        workspace.runs[number] = run_of(number, at(agent, -number))
        if number > 60:
            end(workspace.runs[number], at(agent))
    lines = poll(agent)
    assert sum("RUNNING" in line for line in lines) == 130
    assert sum("COMPLETED" in line for line in lines) == 70
    assert workspace.count("list") == 6


def test_thousands_of_runs_are_read_by_pages(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given 3,000 ended runs, Then each is told once, and no run is asked for itself."""
    for number in range(1, 3_001):
        workspace.runs[number] = run_of(number, at(agent, -number))
        end(workspace.runs[number], at(agent))
    assert len(poll(agent)) == 6_000
    assert (workspace.count("list"), workspace.count("get")) == (121, 0)
    assert poll(agent) == []


def test_what_is_remembered_has_a_limit(
    agent: AgentUnderTest, workspace: Databricks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more ended and failed runs than fit, Then the newest are kept, all are told."""
    monkeypatch.setattr(module, "MOST", 3)
    for number in range(10, 100, 10):
        workspace.runs[number] = failed_run(agent, number, before=number)
    assert sum(line.endswith("0 FAILED") for line in poll(agent)) == 9
    assert poll(agent) == []
    workspace.asked.clear()
    poll(agent, 5_000)
    asked = [query["run_id"] for path, query in workspace.asked if path.endswith("get")]
    assert sorted(asked) == ["10", "20", "30"]


def test_an_empty_workspace_is_no_error(agent: AgentUnderTest) -> None:
    """Given no runs at all, where Databricks leaves the list out, Then nothing is told."""
    assert poll(agent) == []


@pytest.mark.parametrize("tokens", [True, False])
def test_pages_that_do_not_end_fail_the_run(
    agent: AgentUnderTest, workspace: Databricks, tokens: bool
) -> None:
    """Given the same page again and again, Then the run fails instead of reading on."""
    workspace.stuck, workspace.tokens = True, tokens
    workspace.runs |= {number: run_of(number, at(agent)) for number in range(1, 30)}
    with pytest.raises(ValueError, match="the same page"):
        poll(agent)


def test_many_tasks_are_read_by_pages(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given 250 tasks, of which a list shows 100, Then all of them are told."""
    configure(agent, workspace, databricks_jobs_version="2.2")
    run = workspace.runs[1] = run_of(1, at(agent, -60))
    run["tasks"] = [task_of(n, f"t{n}", at(agent, -50)) for n in range(2, 252)]
    assert len(poll(agent)) == 251
    for task in run["tasks"]:
        end(task, at(agent))
    assert len(poll(agent)) == 250
    end(run, at(agent))
    assert poll(agent) == ["1 COMPLETED"]


# What is missing or wrong


def test_malformed_items_are_left_out(
    agent: AgentUnderTest, workspace: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    """Given items without sense, Then they are counted in one line, and others are told."""
    workspace.odd = [None, "run", 7]
    tasks = [None, {}, {"task_key": None}, task_of(2, "load", at(agent))]
    workspace.runs[1] = run_of(1, at(agent), tasks=tasks)
    workspace.runs[3] = run_of(3, at(agent), tasks="none", run_name=5, run_page_url=[])
    assert poll(agent) == ["1 RUNNING", "load RUNNING", "3 RUNNING"]
    lines = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "left out: 9; of the first, a run has no run_id" in lines[0]


def test_what_is_refused_holds_up_no_other(
    agent: AgentUnderTest, workspace: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a run too large to be published, Then it is left out, and all else is told."""
    tasks = [task_of(2, "load", at(agent))]
    workspace.runs[1] = run_of(1, at(agent), tasks=tasks, trigger="x" * 2_000_000)
    workspace.runs[3] = run_of(3, at(agent))
    assert poll(agent) == ["load RUNNING", "3 RUNNING"]
    assert "left out: 1; of the first, RUNNING of run 1: " in caplog.text


@pytest.mark.parametrize("nothing", [None, 0, "soon", 10**30])
def test_times_that_are_missing_are_the_best_known(
    agent: AgentUnderTest, workspace: Databricks, nothing: Any
) -> None:
    """Given no times, Then a task has its run's, and a run the time of the poll."""
    task = task_of(2, "load", 0, start_time=nothing, end_time=nothing)
    run = run_of(1, at(agent, -60), tasks=[task])
    workspace.runs[1] = run
    assert poll(agent, 0) == ["1 RUNNING", "load RUNNING"]
    assert time_of(agent, "load RUNNING") == run["start_time"]
    end(task, nothing)
    end(run, nothing)
    assert poll(agent) == ["load COMPLETED", "1 COMPLETED"]
    assert time_of(agent, "1 COMPLETED") == at(agent)


def test_a_task_that_never_began_is_told_by_its_end(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a task whose upstream failed, Then it ends with its run and has no start."""
    run = workspace.runs[1] = failed_run(agent)
    run["tasks"].append(task_of(3, "clean", 0))
    end(run["tasks"][1], 0, "UPSTREAM_FAILED")
    lines = poll(agent)
    assert "clean RUNNING" not in lines
    assert lines.index("clean FAILED") < lines.index("1 FAILED")
    assert time_of(agent, "clean FAILED") == run["end_time"]


def test_a_task_that_was_tried_again_has_its_attempts(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a task that failed and runs again, Then both tries are told."""
    first, second = task_of(2, "load", at(agent, -50)), task_of(3, "load", at(agent, -20))
    end(first, at(agent, -30), "FAILED", "no luck")
    second["attempt_number"] = 1
    run = workspace.runs[1] = run_of(1, at(agent, -60), tasks=[first, second])
    assert poll(agent) == [
        "1 RUNNING", "load RUNNING", "load ERROR: no luck", "load FAILED", "load#2 RUNNING",
    ]  # fmt: skip
    end(second, at(agent))
    end(run, at(agent))
    assert poll(agent) == ["load#2 COMPLETED", "1 COMPLETED"]


def test_a_failure_without_a_text_has_one(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given an empty state_message, Then the message says how it ended."""
    run = workspace.runs[1] = run_of(1, at(agent, -60))
    end(run, at(agent), "TIMEDOUT")
    assert "1 ERROR: It ended as TIMEDOUT." in poll(agent)


def test_a_submitted_run_is_known_by_its_name(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given runs without a job, Then their name is the pipeline, not a made-up job id."""
    for number, job in (1, 77), (2, 78):
        made = run_of(number, at(agent), job_id=job, run_type="SUBMIT_RUN")
        workspace.runs[number] = {**made, "run_name": "from outside"}
    poll(agent)
    keys = {event.data["pipeline_key"] for event in agent.published("run-status")}
    assert keys == {"from outside"}


# Who asks


def test_a_databricks_principal_signs_in_once(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given an OAuth client, Then one token serves all polls."""
    workspace.accepted.clear()
    given = {"databricks_client_id": "me", "databricks_client_secret": SECRET}
    configure(agent, workspace, **given)
    for _ in range(3):
        poll(agent)
    form = {"grant_type": "client_credentials", "scope": "all-apis"}
    assert workspace.signed_in == [("/oidc/v1/token", form)]


def test_an_azure_principal_signs_in_once(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given a principal of Entra, Then one token for Databricks serves all polls."""
    workspace.accepted.clear()
    agent.settings[ApiToken] = ApiToken()
    agent.settings[AzureServicePrincipal] = AzureServicePrincipal(
        client_id="me", client_secret=SecretStr(SECRET), tenant_id="t",
        authority=workspace.host,
    )  # fmt: skip
    for _ in range(3):
        poll(agent)
    ((path, form),) = workspace.signed_in
    assert path == "/t/oauth2/v2.0/token"
    assert form["scope"] == "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"


def test_another_secret_signs_in_anew(agent: AgentUnderTest, workspace: Databricks) -> None:
    """Given another secret and a restart, Then the old token is not used for it."""
    workspace.accepted.clear()
    for secret in "one", "two":
        given = {"databricks_client_id": "me", "databricks_client_secret": secret}
        configure(agent, workspace, **given)
        poll(agent)
        agent.stop()
    assert len(workspace.signed_in) == 2


def test_without_credentials_the_run_says_so(
    agent: AgentUnderTest, workspace: Databricks
) -> None:
    """Given none, Then the error names what may be set."""
    agent.settings[ApiToken] = ApiToken()
    with pytest.raises(ConfigError, match="DK_AGENT_TOKEN"):
        poll(agent)
    assert workspace.asked == []


def test_no_secret_is_logged(
    agent: AgentUnderTest, workspace: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    """Given secrets and a refusal, Then no line and no error holds one."""
    caplog.set_level(logging.DEBUG)
    given = {"databricks_client_id": "me", "databricks_client_secret": SECRET}
    configure(agent, workspace, **given)
    poll(agent)
    workspace.refuse = [(403, {}, "oauth-1 is refused")]
    with pytest.raises(HttpError) as caught:
        poll(agent)
    assert "jobs/runs/list" in caplog.text
    assert "oauth-1" not in caplog.text + str(caught.value)
    assert SECRET not in caplog.text


# The settings


@pytest.mark.parametrize("tail", ["", "/", "/?o=123", "/jobs#job/7"])
def test_the_host_may_be_copied_from_a_browser(
    agent: AgentUnderTest, workspace: Databricks, tail: str
) -> None:
    """Given the host with or without what follows it, Then the same API is asked."""
    configure(agent, workspace, databricks_host=workspace.host + tail)
    workspace.runs[1] = run_of(1, at(agent))
    assert poll(agent) == ["1 RUNNING"]


def test_the_names_of_the_environment_are_those_that_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given the variables of existing installations, Then each is read."""
    monkeypatch.setenv("DK_DATABRICKS_HOST", "https://adb-1.azuredatabricks.net")
    monkeypatch.setenv("DK_DATABRICKS_JOBS", '["nightly", "hourly"]')
    monkeypatch.setenv("DK_DATABRICKS_JOB_IDS", "[11]")
    monkeypatch.setenv("DK_DATABRICKS_JOBS_VERSION", "2.2")
    monkeypatch.setenv("DK_DATABRICKS_FAILED_WATCH_PERIOD", "60")
    monkeypatch.setenv("DK_DATABRICKS_FAILED_WATCH_MAX_TIME", "3600")
    monkeypatch.setenv("DK_TIMEOUT", "30")
    monkeypatch.setenv("DK_PERIOD", "15")
    found = DatabricksSettings(**{})
    assert found.model_dump(exclude_defaults=True) == {
        "databricks_host": "https://adb-1.azuredatabricks.net",
        "databricks_jobs": ["nightly", "hourly"], "databricks_job_ids": [11],
        "databricks_jobs_version": "2.2", "databricks_failed_watch_period": 60,
        "databricks_failed_watch_max_time": 3600, "timeout": 30, "period": 15,
    }  # fmt: skip


def test_the_defaults_are_those_that_exist() -> None:
    """Given the host only, Then all else is as installations are used to it."""
    found = DatabricksSettings(databricks_host="https://a.example")
    assert (found.databricks_jobs, found.databricks_jobs_version) == ([], "2.1")
    assert (found.timeout, found.period) == (120, 5)
    assert found.databricks_failed_watch_period == 600
    assert found.databricks_failed_watch_max_time == 604_800


@pytest.mark.parametrize("version", [2.1, 2.2])
def test_the_version_may_be_a_number(version: float) -> None:
    """Given a version without quotes, as TOML tempts one to write it, Then it is taken."""
    values: dict[str, Any] = {"databricks_jobs_version": version}
    found = DatabricksSettings(databricks_host="https://a.example", **values)
    assert found.databricks_jobs_version == str(version)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"databricks_jobs_version": "2.0"}, "2.1"),
        ({"databricks_host": "adb-1.azuredatabricks.net"}, "URL"),
        ({"databricks_client_id": "me"}, "go together"),
        ({"databricks_client_secret": SECRET}, "go together"),
    ],
)
def test_a_mistake_is_told_without_the_secret(values: Any, problem: str) -> None:
    """Given a mistake in the settings, Then its sentence names it and no secret."""
    with pytest.raises(ValidationError, match=problem) as caught:
        DatabricksSettings(**{"databricks_host": "https://a.example"} | values)
    assert SECRET not in str(caught.value)
