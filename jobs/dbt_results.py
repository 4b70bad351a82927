"""A job that reads what dbt has written about its last invocation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from jobs import dbt_artifacts as said
from py_agent import EventError, Handler
from py_agent.observability import Report, safe_key, split
from py_agent.settings import Settings

TOOL = "DBT"
MOST_DESCRIPTION = 4_000  # characters, so that some outcomes fit into one event
MOST_TYPE = 40  # characters; the server cuts the rest without a word

# These commands leave the same file, and have run neither a node nor a test.
_COMPILERS = ("compile", "generate", "list", "parse", "show")
_OF_NODE = "package_name database schema alias original_file_path".split()
_OF_TEST = "package_name column_name attached_node original_file_path".split()

_Tell = Callable[[Report], object]


class DbtSettings(Settings, section="dbt", env_prefix="DK_DBT_"):
    """Which dbt project is watched.

    Args:
        project: its folder.
        target: the folder inside it where dbt leaves its artifacts.
        period: seconds between polls, for whoever schedules the job.
        pipeline_key: what tells the pipeline from others, if not the project's name.
    """

    project: Path
    target: str = Field("target", min_length=1)
    period: float = Field(30, ge=0)
    pipeline_key: str | None = Field(None, min_length=1)


def dbt_results(handler: Handler, settings: DbtSettings) -> None:
    """Report an invocation of dbt, when its `run_results.json` has been written.

    The file tells of the last invocation only, and is not parsed again until it changes.
    What only compiles (`compile`, `docs generate`, `show`) has run nothing and is not
    reported. `manifest.json` gives names; if it is half-written, or that of a later
    invocation, one poll is waited for a better one. An invocation that ended before it
    ran anything has left no file.

    Publishes:
        `run-status` of the run and of each model, seed, snapshot and whatever else is no
        test, identifier `DBT/<project>/<invocation id>/<unique id>/1/<status>`, for
        example `{"pipeline_key": "shop", "pipeline_name": "shop", "run_key": "8d0c-17",
        "task_key": "model.shop.orders", "task_name": "orders", "status": "COMPLETED",
        "event_timestamp": "2026-01-05T12:00:00+00:00", "component_tool": "DBT",
        "metadata": {"status": "success", "resource_type": "model"}}`. The unique id is
        empty for the run itself.

        `test-outcomes` of all tests, in as many events as they need, identifier
        `DBT/<project>/<invocation id>/<number>`, with, for example, `{"test_outcomes":
        [{"name": "not_null_orders_id", "key": "test.shop.not_null_orders_id.1a2b",
        "status": "FAILED", "description": "Got 2 results, configured to fail if != 0",
        "metric_name": "failures", "metric_value": 2}], ...}`.

        `metric-log` of what ran, identifier `DBT/<project>/<invocation id>/<unique
        id>/<metric>`, with `{"metric_key": "execution_time", "metric_value": 1.5, ...}`
        in seconds, and `rows_affected` where the database says it.

        `message-log` of errors, warnings and what was skipped, identifier
        `DBT/<project>/<invocation id>/<unique id>/1/<digest of the text>`, with, for
        example, `{"log_level": "ERROR", "message": "Database Error in model orders"}`.

    Args:
        handler: publishes.
        settings: which project.

    Raises:
        NotADirectoryError: there is no such project.
        OSError: a file is there and may not be read.
    """
    folder = settings.project.expanduser().resolve()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"there is no folder {folder}; look at project in [dbt], or DK_DBT_PROJECT"
        )
    target, state = folder / settings.target, handler.state
    found = said.read(target / "run_results.json", state.get("seen"))
    if found is None:
        return
    key = said.run_key(found.content)
    if key is None:
        _put_off(handler, target, found.stamp)
        return
    if said.command_of(found.content) not in _COMPILERS:
        manifest = said.read(target / "manifest.json")
        is_late = manifest is not None and said.must_wait(manifest, found.content)
        if is_late and state.get("waited") != key:
            state["waited"] = key
            handler.log.info("%s: its manifest is not there yet; one poll is waited", key)
            return
        names = {} if manifest is None else manifest.content
        project = said.project_of(names) or folder.name
        invocation = said.invocation_of(found.content, names, handler.window.until)
        report = Report(
            handler, TOOL, settings.pipeline_key or project, key, safe_key(project)
        )
        _tell_all(report, invocation)
    state.pop("broken", None)
    state.pop("waited", None)
    state["seen"] = found.stamp


def _put_off(handler: Handler, target: Path, stamp: list[int]) -> None:
    """Wait for a file that is being written; one that stays so is told of once."""
    if handler.state.get("broken") == stamp:
        handler.state["seen"] = stamp
        text = "%s/run_results.json is not as dbt writes it, and waits for a change"
        handler.log.warning(text, target)
    handler.state["broken"] = stamp


def _tell_all(report: Report, invocation: said.Invocation) -> None:
    """Publish what there is to tell; what is refused loses nothing else."""
    log = report.handler.log
    left_out = list(invocation.left_out)
    for tell in _story(invocation):
        try:
            tell(report)
        except EventError as error:
            left_out.append(str(error))
    if invocation.unknown:
        counts = ", ".join(f"{each} ({n})" for each, n in invocation.unknown.items())
        log.warning("statuses that are not known are not reported: %s", counts)
    if left_out:
        text = "items that are left out: %d; of the first, %s"
        log.warning(text, len(left_out), left_out[0])


# What is told of an invocation


class _Line(NamedTuple):
    at: datetime
    rank: int  # of what happens at the same time
    tell: _Tell


def _story(found: said.Invocation) -> Iterator[_Tell]:
    """Yield what there is to tell, in the order of time and with the end last."""
    yield lambda report: report.status("RUNNING", found.begun, metadata=found.about)
    lines = [line for node in found.nodes for line in _lines(node)]
    for line in sorted(lines, key=lambda line: line[:2]):
        yield line.tell
    if tests := [node for node in found.nodes if node.is_test and node.status]:
        yield lambda report: _tell_outcomes(report, tests, found.ended)
    yield lambda report: report.status(found.status, found.ended, metadata=found.about)


def _lines(node: said.Node) -> Iterator[_Line]:
    """Yield what is told of a node besides the outcome of a test."""
    if text := _trouble(node):
        yield _Line(node.ended, 2, _saying(node, text))
    if not node.is_test and node.status:
        yield _Line(node.begun, 0, _telling(node, "RUNNING", node.begun))
        for name, value in _metrics(node).items():
            yield _Line(node.ended, 1, _measuring(node, name, value))
        yield _Line(node.ended, 3, _telling(node, node.status, node.ended))


def _trouble(node: said.Node) -> str:
    """Return the message that a log needs, if any; a test's outcome says the rest."""
    failed = node.word in said.FAILED
    if node.is_test:
        wrong = failed and node.word != "fail"
        return f"{node.name}: {node.message or node.word}" if wrong else ""
    if node.word == "skipped":
        return f"{node.name} was skipped. {node.message}".strip()
    if failed:
        return node.message or f"{node.name}: {node.word}, of which dbt says no more"
    return node.message if node.word in said.WARNED else ""


def _saying(node: said.Node, text: str) -> _Tell:
    level = "ERROR" if node.word in said.FAILED else "WARNING"
    # A test is no task: a message would open one that never ends.
    task, name = (None, None) if node.is_test else (node.key, node.name)
    return lambda report: report.message(level, text, node.ended, task=task, task_name=name)


def _telling(node: said.Node, status: str, at: datetime) -> _Tell:
    metadata = {"status": node.word[: said.MOST], "resource_type": node.kind[: said.MOST]}
    metadata |= said.few_of(node.result, ("message", "thread_id", "relation_name"))
    metadata |= said.few_of(node.named, _OF_NODE)
    metadata |= said.few_of(said.dict_of(node.named.get("config")), ("materialized",))
    return lambda report: report.status(
        status, at, task=node.key, task_name=node.name, metadata=metadata
    )


def _measuring(node: said.Node, name: str, value: float) -> _Tell:
    return lambda report: report.event(
        "metric-log", (node.key, name), event_timestamp=node.ended, metric_key=name,
        metric_value=value, task_key=safe_key(node.key), task_name=node.name,
    )  # fmt: skip


def _metrics(node: said.Node) -> dict[str, float]:
    """Return what dbt has measured; nothing of what did not run."""
    if node.word == "skipped":
        return {}
    response = said.dict_of(node.result.get("adapter_response"))
    found = {
        "execution_time": said.number_of(node.result.get("execution_time")),
        "rows_affected": said.number_of(response.get("rows_affected")),
    }
    # Databases say -1 where they do not know.
    return {name: n for name, n in found.items() if n is not None and n >= 0}


def _outcome(node: said.Node) -> dict[str, Any]:
    """Return the outcome of a test."""
    skipped = "The test was skipped. " if node.word == "skipped" else ""
    kind = said.text_of(said.dict_of(node.named.get("test_metadata")).get("name"))
    fields: dict[str, Any] = {
        "name": node.name, "key": safe_key(node.key), "status": node.status,
        "description": (skipped + node.message)[:MOST_DESCRIPTION],
        "result": node.word, "type": (kind or node.kind)[:MOST_TYPE],
        "metadata": said.few_of(node.named, _OF_TEST),
    }  # fmt: skip
    if not skipped:
        fields |= {"start_time": node.begun, "end_time": node.ended}
    if (failures := said.number_of(node.result.get("failures"))) is not None:
        fields |= {"metric_name": "failures", "metric_value": failures}
    return fields


def _tell_outcomes(report: Report, tests: list[said.Node], at: datetime) -> None:
    """Publish outcomes in as many events as they need."""
    fields = {
        "pipeline_key": safe_key(report.pipeline), "run_key": safe_key(report.run),
        "component_tool": report.tool, "pipeline_name": report.pipeline_name,
        "event_timestamp": at, "test_outcomes": [_outcome(test) for test in tests],
    }  # fmt: skip
    for number, part in enumerate(split(fields), 1):
        report.event(
            "test-outcomes", (str(number),),
            event_timestamp=at, test_outcomes=part["test_outcomes"],
        )  # fmt: skip
