"""What the Jobs API of Databricks says of a run, and what is to be told of it.

Decisions of `jobs.databricks_runs`, which is the job: values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from py_agent.observability import Report

RUNNING, FAILED, WARNED = "RUNNING", "FAILED", "COMPLETED_WITH_WARNINGS"

# https://docs.databricks.com/api/workspace/jobs/getrun: `state.life_cycle_state` of 2.1
# and `status.state` of 2.2, then `state.result_state` or, of 2.2, the code of
# `termination_details`; all other codes are told by its type, one of the last four.
# EXCLUDED is a branch not taken, DISABLED a task switched off: both as they should be.
_OPEN = set("QUEUED PENDING RUNNING TERMINATING BLOCKED WAITING WAITING_FOR_RETRY".split())
_CLOSED = {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}
_RESULTS = {
    "COMPLETED": "EXCLUDED DISABLED SUCCESS",
    WARNED: "SUCCESS_WITH_FAILURES SKIPPED MAXIMUM_CONCURRENT_RUNS_REACHED"
    " MAX_CONCURRENT_RUNS_EXCEEDED MAX_JOB_QUEUE_SIZE_EXCEEDED",
    FAILED: "FAILED TIMEDOUT CANCELED USER_CANCELED UPSTREAM_FAILED UPSTREAM_CANCELED"
    " EVICTED UPSTREAM_EVICTED INTERNAL_ERROR CLIENT_ERROR CLOUD_FAILURE",
}
_ENDINGS = {word: status for status, words in _RESULTS.items() for word in words.split()}
TASKS = 100  # of a run in a list, at most
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(NamedTuple):
    """What has become of a run or task.

    Args:
        status: as Observability has it; None where it is unknown.
        word: as Databricks has it.
        text: Databricks' words on why it is so.
    """

    status: str | None
    word: str
    text: str


def state_of(item: Mapping[str, Any]) -> State:
    """Return what has become of a run, a task or a repair.

    Args:
        item: as 2.1 has it, as 2.2 has it, or with both, as most answers are.
    """
    old, new = _dict(item.get("state")), _dict(item.get("status"))
    ending = _dict(new.get("termination_details"))
    life = text_of(old.get("life_cycle_state")) or text_of(new.get("state"))
    text = text_of(old.get("state_message")) or text_of(ending.get("message"))
    if life in _OPEN:
        return State(RUNNING, life, text)
    words = [
        text_of(old.get("result_state")),
        *(text_of(ending.get(k)) for k in ("code", "type")),
    ]
    said = next(filter(None, words), life)
    for word in (*words, life) if life in _CLOSED else ():
        if word in _ENDINGS:
            return State(_ENDINGS[word], said, text)
    return State(None, f"{life or '-'}/{said or '-'}", text)


class Phase(NamedTuple):
    """A run until its end, or one repair of it.

    Args:
        attempt: 1 for the run, 2 for its first repair.
        state: what has become of it.
        begun: when it began.
        ended: when it ended; None while it goes on.
    """

    attempt: int
    state: State
    begun: datetime
    ended: datetime | None


def phases_of(
    run: Mapping[str, Any], known: Mapping[str, Any], now: datetime
) -> list[Phase]:
    """Return what a run consists of, in the order of time; at least one phase.

    Args:
        run: from a list, or with its `repair_history`.
        known: `attempt` and `start_time` of what goes on, as far as they are remembered.
        now: the present moment, where there is no other.
    """
    parts = [_dict(part) for part in items_of(run.get("repair_history"))]
    parts.sort(
        key=lambda part: (part.get("type") != "ORIGINAL", _number(part, "start_time"))
    )
    first, start = 1, run.get("start_time")
    if len(parts) < 2:  # it was never repaired, or stands in a list, which has no history
        first, start = known.get("attempt", 1), known.get("start_time") or start
        parts = [{**run, "start_time": start}]
    starts = [moment_of(part.get("start_time") or start) or now for part in parts]
    found: list[Phase] = []
    for place, part in enumerate(parts):
        is_last = part is parts[-1]
        state = state_of(run if is_last else part)
        until = now if is_last else starts[place + 1]
        told = part.get("end_time") or (run.get("end_time") if is_last else None)
        end = max(starts[place], moment_of(told) or until)
        goes_on = state.status in (None, RUNNING)
        found.append(Phase(first + place, state, starts[place], None if goes_on else end))
    return found


class Line(NamedTuple):
    """Something to tell of a run; in sorted lines, what comes first stands first.

    Args:
        phase: the number of its phase, from 0.
        rank: in a phase, its begin is 0, all of its tasks 1, its end 2.
        at: when it was.
        step: a begin is 0, a message 1, an end 2.
        task: the task's key; "" for the run.
        attempt: which try it is, from 1.
        what: the status, or the level of the message.
        word: what Databricks calls the status.
        text: the message; "" for a status.
        task_run: the run id of the task.
    """

    phase: int
    rank: int
    at: datetime
    step: int
    task: str
    attempt: int
    what: str = RUNNING
    word: str = ""
    text: str = ""
    task_run: str = ""

    def publish(self, report: Report, about: Mapping[str, Any]) -> None:
        """Publish it.

        Args:
            report: of its run.
            about: the metadata of the run's own status.

        Raises:
            ContractError: Observability would refuse it.
        """
        whose: Any = {"task": self.task or None, "task_name": self.task or None}
        whose["attempt"] = self.attempt
        if self.text:
            details = self.word or None
            report.message(self.what, self.text, self.at, details=details, **whose)
        else:
            told = {"run_id": self.task_run} if self.task else about
            data = {**told, "state": self.word}
            report.status(self.what, self.at, metadata=data, **whose)

    def ended(self, at: datetime, state: State) -> Iterator[Line]:
        """Yield what it ended with, after a message of it, if that needs one."""
        end = self._replace(at=at, step=2, word=state.word, what=str(state.status))
        if state.status == FAILED or (state.status == WARNED and state.text):
            text = state.text or f"It ended as {state.word}."
            level = "ERROR" if state.status == FAILED else "WARNING"
            yield end._replace(step=1, what=level, text=text)
        yield end


def lines_of(phases: list[Phase], tasks: list[Any], now: datetime) -> Iterator[Line]:
    """Yield what there is to tell of a run, in no order.

    Args:
        phases: of the run.
        tasks: of the run, each of them with a key.
        now: the present moment, where there is no other.
    """
    for place, phase in enumerate(phases):
        if phase.state.status is not None:
            line = Line(place, 0, phase.begun, 0, "", phase.attempt, word=RUNNING)
            yield line
            if phase.attempt > 1:
                text = f"Repair {phase.attempt - 1} of this run has begun."
                yield line._replace(step=1, what="INFO", text=text, word="")
            if phase.ended is not None:
                yield from line._replace(rank=2).ended(phase.ended, phase.state)
    for task in tasks:
        state, begun = state_of(task), moment_of(task.get("start_time"))
        # What waits has no start yet: told with another, its real one would be lost.
        waits = state.word in ("QUEUED", "BLOCKED") or (
            state.word == "PENDING" and not begun
        )
        if state.status is not None and not waits:
            yield from _task_lines(task, state, begun, phases, now)


def _task_lines(
    task: Any, state: State, begun: datetime | None, phases: list[Phase], now: datetime
) -> Iterator[Line]:
    last = len(phases) - 1
    before = [place for place, phase in enumerate(phases) if begun and phase.begun <= begun]
    place = max(before, default=0 if begun else last)
    at, attempt = begun or phases[place].begun, _number(task, "attempt_number") + 1
    line = Line(place, 1, at, 0, task_key_of(task), attempt, word=RUNNING)
    line = line._replace(task_run=str(task.get("run_id") or ""))
    if begun or state.status == RUNNING:
        yield line
    if state.status != RUNNING:
        end = moment_of(task.get("end_time")) or phases[place].ended or now
        yield from line.ended(max(at, end), state)


def is_enough(run: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Return whether a run from a list need not be asked for itself.

    A list tells of no repairs; but the tasks of a repair count as further tries, as do
    those that were just tried again.

    Args:
        run: from a list.
        known: what is remembered of it while it goes on; None if it is new.
    """
    if len(items_of(run.get("tasks"))) >= TASKS:
        return False
    if state_of(run).status == RUNNING:
        return known is not None and known["retries"] == retries_of(run)
    return not retries_of(run) and (known or {}).get("attempt", 1) == 1


def retries_of(run: Mapping[str, Any]) -> int:
    """Return how often tasks of a run were tried again, in a repair or before."""
    return sum(
        _number(_dict(task), "attempt_number") for task in items_of(run.get("tasks"))
    )


def pipeline_of(run: Mapping[str, Any]) -> str:
    """Return what tells the pipeline of a run from others.

    That is its job; a run that was submitted without one has a made-up job id, which no
    other run has, so that its name says more.
    """
    name, job = text_of(run.get("run_name")), run.get("job_id")
    is_job = job and (run.get("run_type") != "SUBMIT_RUN" or not name)
    return str(job) if is_job else name or "Untitled"


def task_key_of(task: Any) -> str:
    """Return what tells a task from others of its run; "" if nothing does."""
    return text_of(_dict(task).get("task_key")) or str(_dict(task).get("run_id") or "")


def _number(item: Mapping[str, Any], name: str) -> int:
    value = item.get(name)
    return value if isinstance(value, int) else 0


def moment_of(given: Any) -> datetime | None:
    """Return the moment of milliseconds since 1970; 0 stands for none."""
    try:
        return _EPOCH + timedelta(milliseconds=int(given)) if given else None
    except (TypeError, ValueError, OverflowError):
        return None


def milliseconds_of(at: datetime) -> int:
    """Return a moment as Databricks has it."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """Return a text without outer blanks; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""
