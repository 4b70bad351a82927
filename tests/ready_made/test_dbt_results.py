"""jobs.dbt_results: what dbt leaves behind of an invocation becomes reports, once."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.dbt_results import DbtSettings, dbt_results
from py_agent.observability import EVENT_TYPES
from py_agent.testing import AgentUnderTest

START = datetime(2026, 1, 5, 11, 0, tzinfo=UTC)
RESULTS = "https://schemas.getdbt.com/dbt/run-results/v{}.json"
MAX_BYTES = 102_400


class Project:
    """A folder in which dbt has run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.target = folder, folder / "target"
        self.target.mkdir(parents=True)
        self.results: list[dict[str, Any]] = []
        self.nodes: dict[str, dict[str, Any]] = {}
        self.version, self.command = 6, "build"

    def add(
        self, key: str, status: str, at: float = 0, took: float = 1, **more: Any
    ) -> dict[str, Any]:
        """Let a node have run, some seconds after the start of all."""
        result = {
            "unique_id": key, "status": status, "thread_id": "Thread-1",
            "execution_time": took, "timing": timing(at, took), "message": None,
            "failures": None, "adapter_response": {}, **more,
        }  # fmt: skip
        self.results.append(result)
        name = key.split(".")[2]
        self.nodes[key] = {"name": name, "resource_type": key.split(".")[0]}
        return result

    def skip(self, key: str) -> None:
        """Let a node have been skipped."""
        self.add(key, "skipped", took=0, timing=[])

    def run_results(self, invocation: str, **more: Any) -> dict[str, Any]:
        about = {
            "dbt_schema_version": RESULTS.format(self.version), "dbt_version": "1.9.0",
            "generated_at": time(100), "invocation_id": invocation, "env": {},
        }  # fmt: skip
        args = {"which": self.command, "target": "prod"}
        more = {"results": self.results, "elapsed_time": 100.0, **more}
        return {"metadata": about, "args": args, **more}

    def manifest(self, invocation: str, at: float = 1, **more: Any) -> dict[str, Any]:
        about = {"invocation_id": invocation, "generated_at": time(at)}
        return {"metadata": {**about, "project_name": "shop"}, "nodes": self.nodes, **more}

    def write(self, invocation: str = "one", manifest: Any = ...) -> None:
        """Write both files, as dbt does at the end."""
        if manifest is ...:
            manifest = self.manifest(invocation)
        put(self.target / "manifest.json", manifest)
        put(self.target / "run_results.json", self.run_results(invocation))


def time(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def timing(at: float, took: float) -> list[dict[str, Any]]:
    steps = (("compile", at, at), ("execute", at, at + took))
    return [
        {"name": name, "started_at": time(begun), "completed_at": time(ended)}
        for name, begun, ended in steps
    ]


def put(file: Path, content: Any) -> None:
    """Write a file in place, so that each state of it has a time of its own."""
    before = file.stat().st_mtime_ns if file.exists() else 1_700_000_000_000_000_000
    file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    os.utime(file, ns=(before + 1_000_000_000,) * 2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return Project(tmp_path / "shop_folder")


@pytest.fixture
def agent(running: AgentUnderTest, project: Project) -> AgentUnderTest:
    """An agent that watches the project."""
    running.settings[DbtSettings] = DbtSettings.model_validate({"project": project.folder})
    return running


def poll(agent: AgentUnderTest) -> list[str]:
    """Let some time pass and poll; return what was told anew, in order."""
    before = len(told(agent))
    agent.clock.advance(30)
    agent.run_job(dbt_results)
    return told(agent)[before:]


def told(agent: AgentUnderTest) -> list[str]:
    """Return all that was told but metrics: task or `run`, and what of it."""
    kinds = ("run-status", "message-log", "test-outcomes")
    found = [event for kind in kinds for event in agent.published(kind)]
    return [_short(event.data) for event in sorted(found, key=lambda event: event.id)]


def _short(data: dict[str, Any]) -> str:
    if "test_outcomes" in data:
        return f"{len(data['test_outcomes'])} tests"
    what = data.get("status") or f"{data.get('log_level')}: {data.get('message')}"
    return f"{data.get('task_name', 'run')} {what}"


def end(agent: AgentUnderTest) -> str:
    """Return how the run has ended."""
    return told(agent)[-1].removeprefix("run ")


def outcomes(agent: AgentUnderTest) -> dict[str, dict[str, Any]]:
    found = [each.data["test_outcomes"] for each in agent.published("test-outcomes")]
    return {each["name"]: each for part in found for each in part}


def size(event: Any) -> int:
    return len(json.dumps(event.data, ensure_ascii=False, separators=(",", ":")).encode())


# A run as a whole


def test_a_run_is_told_from_its_start_to_its_end(
    agent: AgentUnderTest, project: Project
) -> None:
    """Given a build, When it has been written, Then all of it is told in time order."""
    project.add("model.shop.orders", "success", at=20, took=5)
    project.add("seed.shop.countries", "success", at=10, took=5)
    project.add("test.shop.unique_id.1a2b", "pass", at=30)
    project.write()
    assert poll(agent) == [
        "run RUNNING",
        "countries RUNNING",
        "countries COMPLETED",
        "orders RUNNING",
        "orders COMPLETED",
        "1 tests",
        "run COMPLETED",
    ]
    first, *_, last = agent.published("run-status")
    assert first.data["pipeline_key"] == "shop" and first.data["run_key"] == "one"
    assert datetime.fromisoformat(first.data["event_timestamp"]) == START + timedelta(
        seconds=10
    )
    assert datetime.fromisoformat(last.data["event_timestamp"]) == START + timedelta(
        seconds=100
    )
    assert last.data["metadata"]["which"] == "build"
    assert last.data["metadata"]["results"] == {"success": 2, "pass": 1}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("success", "COMPLETED"),
        ("no-op", "COMPLETED"),
        ("warn", "COMPLETED_WITH_WARNINGS"),
        ("skipped", "COMPLETED_WITH_WARNINGS"),
        ("partial success", "COMPLETED_WITH_WARNINGS"),
        ("error", "FAILED"),
        ("fail", "FAILED"),
    ],
)
def test_each_status_has_its_own_and_decides_on_the_run(
    agent: AgentUnderTest, project: Project, word: str, status: str
) -> None:
    """Given a model with a status of dbt, Then it and its run end accordingly."""
    project.add("model.shop.orders", word)
    project.add("model.shop.items", "success")
    project.write()
    assert f"orders {status}" in poll(agent)
    assert end(agent) == status


@pytest.mark.parametrize(
    ("word", "status", "of_run"),
    [
        ("pass", "PASSED", "COMPLETED"),
        ("warn", "WARNING", "COMPLETED_WITH_WARNINGS"),
        ("skipped", "WARNING", "COMPLETED_WITH_WARNINGS"),
        ("fail", "FAILED", "FAILED"),
        ("error", "FAILED", "FAILED"),
    ],
)
@pytest.mark.parametrize("key", ["test.shop.unique_id.1a2b", "unit_test.shop.m.unique_id"])
def test_each_outcome_of_a_test(
    agent: AgentUnderTest, project: Project, word: str, status: str, of_run: str, key: str
) -> None:
    """Given a test with a status of dbt, Then outcome and run say so; it is no task."""
    project.add(key, word, message="Got 2 results", failures=2)
    project.nodes[key] |= {"name": "unique_id", "column_name": "id"}
    project.write()
    poll(agent)
    outcome = outcomes(agent)["unique_id"]
    assert (outcome["status"], outcome["metric_value"]) == (status, 2)
    assert "Got 2 results" in outcome["description"]
    assert outcome["metadata"] == {"column_name": "id"}
    assert ("skipped" in outcome["description"]) == (word == "skipped")
    assert end(agent) == of_run
    assert not agent.published(task_key=key)


def test_what_dbt_measures_becomes_metrics(agent: AgentUnderTest, project: Project) -> None:
    """Given rows that are known, unknown or text, Then the metrics are those known."""
    project.add("model.shop.a", "success", took=1.5, adapter_response={"rows_affected": 7})
    project.add("model.shop.b", "success", took=2, adapter_response={"rows_affected": "8"})
    project.add("model.shop.c", "success", took=3, adapter_response={"rows_affected": -1})
    project.skip("model.shop.d")
    project.write()
    poll(agent)
    found = {
        (each.data["task_name"], each.data["metric_key"]): each.data["metric_value"]
        for each in agent.published("metric-log")
    }
    assert found == {
        ("a", "execution_time"): 1.5, ("a", "rows_affected"): 7,
        ("b", "execution_time"): 2, ("b", "rows_affected"): 8,
        ("c", "execution_time"): 3,
    }  # fmt: skip


def test_errors_are_logged(agent: AgentUnderTest, project: Project) -> None:
    """Given a model and a test with errors, Then dbt's words are told before the end."""
    project.add("model.shop.orders", "error", message="Database Error in orders")
    project.add("test.shop.unique_id.1a2b", "error", message="no such column")
    project.write()
    assert poll(agent) == [
        "run RUNNING",
        "orders RUNNING",
        "orders ERROR: Database Error in orders",
        "run ERROR: unique_id: no such column",
        "orders FAILED",
        "1 tests",
        "run FAILED",
    ]


def test_an_empty_run_is_a_run(agent: AgentUnderTest, project: Project) -> None:
    """Given an invocation that selected nothing, Then it has a start and an end."""
    project.write()
    assert poll(agent) == ["run RUNNING", "run COMPLETED"]


@pytest.mark.parametrize("version", [4, 5, 6])
def test_versions_of_the_file(
    agent: AgentUnderTest, project: Project, version: int
) -> None:
    """Given a file of another version, Then it is read as well."""
    project.version = version
    result = project.add("model.shop.orders", "success")
    if version == 6:
        result |= {"compiled": True, "compiled_code": "select 1", "relation_name": "a.b"}
    manifest = project.manifest("one")
    if version == 4:
        del manifest["metadata"]["project_name"]
    project.write(manifest=manifest)
    assert poll(agent)[-1] == "run COMPLETED"
    pipeline = "shop_folder" if version == 4 else "shop"
    assert len(agent.published(pipeline_key=pipeline)) == len(agent.published())


def test_what_only_compiles_is_no_run(agent: AgentUnderTest, project: Project) -> None:
    """Given docs generate, whose tests are not run, Then nothing is told of it."""
    project.command = "generate"
    project.add("test.shop.unique_id.1a2b", "success")
    project.write()
    assert poll(agent) == []


# What the existing connector gets wrong


def test_defect_whole_node_in_metadata(agent: AgentUnderTest, project: Project) -> None:
    """Given a node of 300 kB in the manifest, Then a few of its fields are told."""
    key = "model.shop.orders"
    project.add(key, "success", message="x" * 200_000)
    project.add("test.shop.long.1", "fail", message="y" * 200_000)
    project.nodes[key] |= {"raw_code": "z" * 300_000, "schema": "public"}
    project.nodes[key] |= {"config": {"materialized": "table", "meta": {"a": "b" * 9_000}}}
    project.write()
    poll(agent)
    told = agent.published("run-status", task_key=key)[-1].data["metadata"]
    assert (told["materialized"], told["schema"]) == ("table", "public")
    assert "raw_code" not in told
    assert max(size(event) for event in agent.published()) < MAX_BYTES
    assert "long" in outcomes(agent)


@pytest.mark.parametrize(("count", "text"), [(1_201, "short"), (300, "long " * 400)])
def test_defect_outcomes_not_split(
    agent: AgentUnderTest, project: Project, count: int, text: str
) -> None:
    """Given too many outcomes, or too large ones, Then several events hold them all."""
    for number in range(count):
        project.add(f"test.shop.t{number}.1", "fail", message=text)
    project.write()
    poll(agent)
    events = agent.published("test-outcomes")
    assert len(events) > 2
    assert max(len(event.data["test_outcomes"]) for event in events) <= 500
    assert max(size(event) for event in events) <= MAX_BYTES
    assert len(outcomes(agent)) == count


def test_defect_skipped_nodes_not_reported(agent: AgentUnderTest, project: Project) -> None:
    """Given a model that is skipped, Then it has a start, an end and a message."""
    project.add("model.shop.items", "success")
    project.skip("model.shop.orders")
    project.write()
    assert poll(agent)[-5:] == [
        "items COMPLETED",
        "orders RUNNING",
        "orders WARNING: orders was skipped.",
        "orders COMPLETED_WITH_WARNINGS",
        "run COMPLETED_WITH_WARNINGS",
    ]


def test_defect_first_error_aborts_everything(
    agent: AgentUnderTest, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Given malformed results before good ones, Then the good ones are told."""
    project.results += [{"status": "success"}, {"unique_id": 5, "status": "error"}]
    odd = project.add("model.shop.odd", "success", message=7, thread_id={})
    odd |= {"timing": "never", "adapter_response": [], "execution_time": "long"}
    project.add("test.shop.odd.1", "pass", timing=[None, 5], failures="many", message=[])
    project.add("model.shop.good", "error", message="no such table")
    project.add("test.shop.good.1", "pass")
    project.nodes["model.shop.odd"] = {"name": 5, "config": "table", "schema": ["a"]}
    project.write()
    content = project.run_results("one")
    content["results"].insert(0, None)
    put(project.target / "run_results.json", content)
    with caplog.at_level(logging.WARNING):
        found = poll(agent)
    assert {"odd COMPLETED", "good FAILED", "2 tests"} <= set(found)
    assert found[-1] == "run FAILED"
    assert "items that are left out: 3" in caplog.text


def test_defect_first_refusal_aborts_everything(
    tmp_path: Path, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a store that takes small events only, Then the others and the end are told."""
    project.add("model.shop.first", "error", message="long " * 500)
    project.add("model.shop.good", "success", at=50)
    project.write()
    agent = AgentUnderTest(tmp_path / "small.sqlite", max_data=2_000)
    agent.settings[DbtSettings] = DbtSettings.model_validate({"project": project.folder})
    with caplog.at_level(logging.WARNING):
        found = poll(agent)
    agent.stop()
    assert found == [
        "run RUNNING",
        "first RUNNING",
        "first FAILED",
        "good RUNNING",
        "good COMPLETED",
        "run FAILED",
    ]
    assert "items that are left out: 1" in caplog.text


def test_defect_run_never_failed(agent: AgentUnderTest, project: Project) -> None:
    """Given one test of many that fails, Then the run has failed."""
    project.add("model.shop.orders", "success")
    for number in range(20):
        project.add(f"test.shop.t{number}.1", "fail" if number == 7 else "pass")
    project.write()
    poll(agent)
    assert end(agent) == "FAILED"


def test_defect_anything_else_completed_with_warnings(
    agent: AgentUnderTest, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Given statuses that nobody knows, Then they are counted, logged and not sent."""
    project.add("model.shop.a", "dreaming")
    project.add("model.shop.b", "dreaming")
    project.add("test.shop.c.1", "asleep")
    project.add("model.shop.d", "no-op")
    project.write()
    with caplog.at_level(logging.WARNING):
        found = poll(agent)
    assert found == ["run RUNNING", "d RUNNING", "d COMPLETED", "run COMPLETED"]
    assert "dreaming (2), asleep (1)" in caplog.text
    assert caplog.text.count("are not known") == 1


# Once, whatever happens


def test_an_unchanged_file_is_not_parsed_again(
    agent: AgentUnderTest, project: Project
) -> None:
    """Given a file that is as it was, Then nothing is offered; a new time offers all."""
    project.add("model.shop.orders", "success")
    project.write()
    poll(agent)
    again = agent.run_job(dbt_results)
    assert (again.published, again.duplicates) == (0, 0)
    project.write()
    rewritten = agent.run_job(dbt_results)
    assert rewritten.published == 0 and rewritten.duplicates > 0


def test_each_invocation_is_a_run(agent: AgentUnderTest, project: Project) -> None:
    """Given a second invocation with the same results, Then it is told as well."""
    project.add("model.shop.orders", "success")
    project.write("one")
    first = poll(agent)
    project.write("two")
    assert poll(agent) == first
    assert {e.data["run_key"] for e in agent.published("run-status")} == {"one", "two"}


@pytest.mark.parametrize("length", [0, 1, 200, -1])
def test_half_written_results_wait(
    agent: AgentUnderTest, project: Project, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a file that is being written, When it is whole, Then the run is told."""
    project.add("model.shop.orders", "success")
    project.write()
    whole = (project.target / "run_results.json").read_text("utf-8")
    put(project.target / "run_results.json", whole[:length])
    with caplog.at_level(logging.WARNING):
        assert poll(agent) == []
    assert "waits for a change" not in caplog.text
    put(project.target / "run_results.json", whole)
    assert poll(agent)[-1] == "run COMPLETED"


@pytest.mark.parametrize("text", ["{", "[]", '{"metadata": {}}', "[" * 100_000, "\ud83d"])
def test_a_file_that_stays_broken_is_told_of_once(
    agent: AgentUnderTest, project: Project, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a file that dbt did not write, Then polls succeed, and one of them warns."""
    (project.target / "run_results.json").write_bytes(text.encode(errors="surrogatepass"))
    with caplog.at_level(logging.WARNING):
        assert [poll(agent) for _ in range(4)] == [[]] * 4
    assert caplog.text.count("waits for a change") == 1


@pytest.mark.parametrize("manifest", ["half", "later"])
def test_a_manifest_of_another_moment_is_waited_for(
    agent: AgentUnderTest, project: Project, manifest: str
) -> None:
    """Given a half-written or later manifest, Then the next poll has the names."""
    project.add("model.shop.orders", "success")
    other = '{"nodes": ' if manifest == "half" else project.manifest("two", at=200)
    project.write(manifest=other)
    assert poll(agent) == []
    project.nodes["model.shop.orders"]["name"] = "better"
    put(project.target / "manifest.json", project.manifest("one"))
    assert "better COMPLETED" in poll(agent)


@pytest.mark.parametrize("manifest", ["half", "later"])
def test_a_manifest_is_waited_for_once(
    agent: AgentUnderTest, project: Project, manifest: str
) -> None:
    """Given a manifest that stays so, Then the second poll tells the run."""
    project.add("model.shop.orders", "success")
    other = '{"nodes": ' if manifest == "half" else project.manifest("two", at=200)
    project.write(manifest=other)
    assert poll(agent) == []
    assert poll(agent)[-1] == "run COMPLETED"


def test_an_older_manifest_costs_names_only(
    agent: AgentUnderTest, project: Project
) -> None:
    """Given partial parsing and a node that the manifest lacks, Then its id names it."""
    project.add("model.shop.orders", "success")
    project.add("test.shop.unique_orders_id.1a2b", "pass")
    project.nodes.clear()
    project.write(manifest=project.manifest("before", at=-500))
    assert "orders COMPLETED" in poll(agent)
    assert list(outcomes(agent)) == ["unique_orders_id"]
    assert agent.published("run-status")[0].data["pipeline_key"] == "shop"


# Where the files are not


def test_no_manifest_costs_names_only(agent: AgentUnderTest, project: Project) -> None:
    """Given no manifest, Then the folder's name is the pipeline's, and all is told."""
    project.add("model.shop.orders", "error", message="no")
    project.write()
    (project.target / "manifest.json").unlink()
    assert poll(agent)[-1] == "run FAILED"
    assert agent.published("run-status")[0].data["pipeline_key"] == "shop_folder"


def test_dbt_that_never_ran_is_nothing_to_report(
    agent: AgentUnderTest, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Given no results, then no target, Then polls succeed and say nothing."""
    with caplog.at_level(logging.WARNING):
        assert poll(agent) == []
        project.target.rmdir()
        assert poll(agent) == []
    assert not caplog.records


def test_a_missing_project_is_one_clear_error(agent: AgentUnderTest) -> None:
    """Given no such folder, Then the error names it and the setting."""
    agent.settings[DbtSettings] = DbtSettings.model_validate({"project": "/nowhere/at-all"})
    with pytest.raises(NotADirectoryError, match="/nowhere/at-all.*DK_DBT_PROJECT"):
        agent.run_job(dbt_results)


def test_settings_choose_folder_and_key(agent: AgentUnderTest, project: Project) -> None:
    """Given another target and a key, Then they are used."""
    project.add("model.shop.orders", "success")
    project.write()
    project.target.rename(project.folder / "out")
    agent.settings[DbtSettings] = DbtSettings.model_validate(
        {"project": project.folder, "target": "out", "pipeline_key": "Nightly"}
    )
    assert poll(agent)[-1] == "run COMPLETED"
    data = agent.published("run-status")[0].data
    assert (data["pipeline_key"], data["pipeline_name"]) == ("Nightly", "shop")


def test_settings_are_checked() -> None:
    """Given no project, or a period that is none, Then the settings are refused."""
    assert DbtSettings.model_validate({"project": "shop"}).period == 30
    for values in ({}, {"project": "shop", "period": -1}, {"project": "a", "target": ""}):
        with pytest.raises(ValidationError):
            DbtSettings.model_validate(values)


# Times, names and numbers


def test_missing_times_take_the_best_known(agent: AgentUnderTest, project: Project) -> None:
    """Given results without times, Then the run's own are taken, with a zone."""
    project.add("model.shop.a", "error", took=4, timing=[{"started_at": None}])
    project.add("model.shop.b", "success", timing=[{"started_at": "2026-01-05T11:00:07"}])
    project.write()
    found = poll(agent)
    assert found.index("a RUNNING") < found.index("a FAILED")
    times = {
        _short(e.data): e.data["event_timestamp"] for e in agent.published("run-status")
    }
    seconds = {
        key: (datetime.fromisoformat(at) - START).total_seconds()
        for key, at in times.items()
    }
    assert seconds == {
        "run RUNNING": 7, "b RUNNING": 7, "b COMPLETED": 8,
        "a RUNNING": 96, "a FAILED": 100, "run FAILED": 100,
    }  # fmt: skip


def test_no_time_at_all(agent: AgentUnderTest, project: Project) -> None:
    """Given a file without any time, Then the time of the poll is taken."""
    project.add("model.shop.a", "success", timing=None)
    content = project.run_results("one")
    content["metadata"] = {"invocation_id": "one"}
    put(project.target / "run_results.json", content)
    assert poll(agent)[-1] == "run COMPLETED"
    last = agent.published("run-status")[-1].data["event_timestamp"]
    assert datetime.fromisoformat(last) == agent.runs(dbt_results)[0].started


def test_names_that_the_server_cannot_keep(agent: AgentUnderTest, project: Project) -> None:
    """Given long, strange and half characters, Then everything is told all the same."""
    long = "model.shop." + "x" * 400
    for key in (long, long + "y", "model.shop.\U0001f600", "model.shop.\ud800"):
        project.add(key, "error", message="half \ud800 \U0001f600")
        project.nodes[key]["name"] = key
    project.add("test.shop.\U0001f600.1", "fail", message="\ud800")
    project.write()
    found = poll(agent)
    assert sum(each.endswith(" FAILED") for each in found) == 5
    assert sum(" ERROR: half" in each for each in found) == 4
    assert "1 tests" in found


def test_numbers_that_json_has_not(agent: AgentUnderTest, project: Project) -> None:
    """Given NaN and infinity as Python writes them, Then they count as not known."""
    project.add("model.shop.a", "success", execution_time=float("nan"))
    project.add("test.shop.t.1", "pass", failures=float("inf"))
    project.write()
    poll(agent)
    assert not agent.published("metric-log")
    assert "metric_value" not in outcomes(agent)["t"]
    assert end(agent) == "COMPLETED"


def test_20_000_results(agent: AgentUnderTest, project: Project) -> None:
    """Given 20,000 results in a project of that size, Then each of them is told."""
    for number in range(2_000):
        project.add(f"model.shop.m{number}", "success", at=number / 100)
    for number in range(18_000):
        project.add(f"test.shop.t{number}.1", "pass", at=20 + number / 1_000)
    project.write()
    poll(agent)
    assert len(agent.published("run-status")) == 2 * 2_000 + 2
    assert len(outcomes(agent)) == 18_000
    assert {event.event_type for event in agent.published()} <= set(EVENT_TYPES)
