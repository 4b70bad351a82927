"""What stands where in a list of runs, what it says, and what is to be told of it.

The settings and decisions of `jobs.http_runs`, which is the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from py_agent import AgentError, Handler, HeaderAuth, at_path, identifier_of
from py_agent.observability import Report
from py_agent.settings import Settings, WebUrl

RUNNING, COMPLETED, WARNED = "RUNNING", "COMPLETED", "COMPLETED_WITH_WARNINGS"
FAILED, WAITING = "FAILED", "WAITING"
ENDINGS = {COMPLETED, WARNED, FAILED}
_WORDS = {
    WAITING: "queued pending scheduled waiting created",
    RUNNING: "running in_progress started active",
    COMPLETED: "success succeeded successful ok completed complete finished done",
    WARNED: "warning partial completed_with_warnings",
    FAILED: "failed failure error errored canceled cancelled aborted timeout timed_out",
}
STATES = {word: status for status, words in _WORDS.items() for word in words.split()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS = 1e11  # as seconds that is the year 5138, as milliseconds 1973
PLACES = ("pipeline", "run", "task", "attempt")

Path = Annotated[str, Field(min_length=1)]
Status = Annotated[
    Literal["RUNNING", "COMPLETED", "COMPLETED_WITH_WARNINGS", "FAILED", "WAITING"],
    BeforeValidator(lambda word: word.upper() if isinstance(word, str) else word),
]


class HttpRunsSettings(Settings, section="http_runs", env_prefix="DK_HTTP_RUNS_"):
    """Which list is read, and what stands where in one of its items.

    A dotted path is `id` or `meta.id`; one that begins with = is a constant, as
    `=nightly`. Times are ISO 8601 text (UTC without a zone), or seconds or milliseconds
    since 1970; which of these, their size tells.

    Args:
        url: of the list; it may hold user and password.
        tool: the component's tool, in letters, digits and _.
        items: path of the list in the answer; empty if the answer itself is the list.
        pipeline: path of what tells the pipeline from others, or a constant.
        run: path of what tells a run from others of its pipeline.
        status: path of the state; null counts as the word `null`.
        started: path of the start; without a start the time of polling is told.
        ended: path of the end, likewise.
        task: path of the task's key. An item without one is the run itself; the list must
            have these, too, as the end of its tasks does not end a run.
        attempt: path of the number of the try; without it each run has one.
        name: path of what people call the pipeline.
        link: path of a link for people.
        message: path of why a run failed, or was completed with warnings only.
        states: the tool's words in any letter case, each with RUNNING, COMPLETED,
            COMPLETED_WITH_WARNINGS, FAILED or WAITING, which is not told; beside the
            usual ones in `STATES`.
        pages: how many are read at most, by the header `Link` with rel="next".
        next_page: path of that link in the answer, if it stands there.
        since: name of a query parameter that is given the start of the window.
        key_header: name of a header that holds the key.
        key: its value.
        detail: URL of one run at the same host, as `https://x/api/runs/{run}`; {pipeline},
            {task} and {attempt} may stand there, too.
        detail_item: path of the run in that answer; empty if the answer is the run.
        missing_polls: without `detail`, polls in a row that do not list an open run,
            after which it counts as failed.
        overlap: seconds that the next poll looks at again.
        lookback: seconds that the very first poll looks back.
        period: seconds between polls, for whoever schedules the job.
    """

    url: WebUrl
    tool: str = Field("HTTP", pattern="[A-Za-z0-9]", max_length=255)
    items: str = ""
    pipeline: Path
    run: Path
    status: Path
    started: Path | None = None
    ended: Path | None = None
    task: Path | None = None
    attempt: Path | None = None
    name: Path | None = None
    link: Path | None = None
    message: Path | None = None
    states: dict[str, Status] = Field(default_factory=dict)
    pages: int = Field(20, ge=1)
    next_page: Path | None = None
    since: Path | None = None
    key_header: str | None = None
    key: SecretStr | None = None
    detail: WebUrl | None = None
    detail_item: str = ""
    missing_polls: int = Field(3, ge=1)
    overlap: float = Field(300, ge=0, le=86_400)
    lookback: float = Field(3_600, ge=0, le=5_184_000)
    period: float = Field(30, ge=0)

    @field_validator("states")
    @classmethod
    def _folded(cls, states: dict[str, Status]) -> dict[str, Status]:
        return {word.strip().casefold(): status for word, status in states.items()}

    @model_validator(mode="after")
    def _fits(self) -> HttpRunsSettings:
        if (self.key is None) != (self.key_header is None):
            raise ValueError("key and key_header go together")
        if self.key is not None:
            try:
                HeaderAuth(self.key_header or "", self.key)
            except AgentError as error:
                raise ValueError(str(error)) from None
        if self.detail is not None:
            places = {name for _, name, _, _ in Formatter().parse(self.detail)} - {None}
            if "run" not in places or not places <= {*PLACES}:
                raise ValueError("detail needs {run}, and knows " + ", ".join(PLACES))
            if _host(self.detail) != _host(self.url):
                raise ValueError("detail must be at the same host as url")
        return self


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname, parts.port


class Row(NamedTuple):
    """A run, or a task of it, as the list has it."""

    pipeline: str
    run: str
    task: str | None
    attempt: int
    status: str | None  # None where the word is unknown
    word: str
    started: datetime | None = None
    ended: datetime | None = None
    name: str | None = None
    link: str | None = None
    message: str | None = None

    @property
    def key(self) -> str:
        """What tells it from others."""
        return json.dumps(self[:4])

    @classmethod
    def of(cls, key: str) -> Row:
        """Return what a key tells apart, without its status."""
        pipeline, run, task, attempt = json.loads(key)
        return cls(pipeline, run, task, attempt, None, "")


class Line(NamedTuple):
    """Something to tell; of one run, what is less comes first."""

    phase: int  # which try of the run, from 0
    rank: int  # the begin of the run is 0, its tasks 1, its end 2
    at: datetime
    step: int  # a begin is 0, a message 1, an end 2
    row: Row
    what: str  # a status, or the level of a message
    text: str = ""

    def publish(self, handler: Handler, tool: str) -> None:
        """Publish it.

        Args:
            handler: publishes.
            tool: the component's tool.

        Raises:
            ContractError: Observability would refuse it.
        """
        row = self.row
        report = Report(handler, tool, row.pipeline, row.run, row.name, url=row.link)
        whose: Any = {"task": row.task, "task_name": row.task, "attempt": row.attempt}
        if self.text:
            report.message(self.what, self.text, self.at, **whose)
        else:
            report.status(self.what, self.at, metadata={"state": row.word}, **whose)


def row_of(item: Any, settings: HttpRunsSettings, known: Row | None = None) -> Row | None:
    """Return a run as an item has it; None if nothing tells it from others.

    Args:
        item: of the list, or the answer about one run.
        settings: what stands where.
        known: which run it is, where that was asked for.
    """
    if not isinstance(item, dict):
        return None
    pipeline, run = _text(item, settings.pipeline), _text(item, settings.run)
    attempt = _text(item, settings.attempt) or ""
    number = int(attempt) if attempt.isdecimal() and len(attempt) < 10 else 1
    if known is not None:
        pipeline, run, task, number = known[:4]
    elif pipeline is None or run is None:
        return None
    else:
        task = _text(item, settings.task)
    word = _word(at_path(item, settings.status))
    status = {**STATES, **settings.states}.get(word.casefold())
    started, ended = _moment(item, settings.started), _moment(item, settings.ended)
    name, link = _text(item, settings.name), _text(item, settings.link)
    # Half of a character is no reason to lose a message.
    text = (_text(item, settings.message) or "").encode(errors="replace").decode()
    told = (status, word, started, ended, name, link, text or None)
    return Row(pipeline, run, task, number, *told)


def is_history(row: Row, begin: datetime) -> bool:
    """Return whether a run that is not open ended before the window began."""
    last = row.ended or row.started
    return row.status in ENDINGS and last is not None and last < begin


def lines_of(
    rows: list[Row], known: Mapping[str, Mapping[str, Any]], now: datetime
) -> list[Line]:
    """Return what there is to tell of one run and its tasks, in order.

    Args:
        rows: of the run.
        known: what was told as RUNNING.
        now: the present moment, where there is no other.
    """
    starts = sorted(_start(row, known, now) for row in rows if row.task is None)
    found: list[Line] = []
    for row in rows:
        start, is_task = _start(row, known, now), row.task is not None
        phase = max(0, sum(each <= start for each in starts) - 1)
        line = Line(phase, 1 if is_task else 0, start, 0, row, RUNNING)
        if row.status not in (None, WAITING) and row.key not in known:
            found.append(line)
        if row.status in ENDINGS:
            end, rank = max(start, row.ended or now), 1 if is_task else 2
            last = line._replace(at=end, rank=rank, step=2, what=str(row.status))
            text = row.message or f"It ended as {row.word}."
            if row.status == FAILED or (row.status == WARNED and row.message):
                level = "ERROR" if row.status == FAILED else "WARNING"
                found.append(last._replace(step=1, what=level, text=text))
            found.append(last)
    return sorted(found, key=lambda line: line[:4])


def _start(row: Row, known: Mapping[str, Mapping[str, Any]], now: datetime) -> datetime:
    told = known.get(row.key)
    if told is not None:
        return datetime.fromisoformat(told["started"])
    return row.started or row.ended or now


def moment_of(value: Any) -> datetime | None:
    """Return a moment, aware; None for what is none, and for 1970 and before.

    Some tools write their zero for a time that there is not.
    """
    if isinstance(value, str):
        value = value.strip()
        if value.isdecimal() and len(value) > 8:  # shorter ones are days
            value = int(value)
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS else value
            found = _EPOCH + timedelta(seconds=seconds)
        else:
            return None
        return found.astimezone(UTC) if found > _EPOCH else None
    except (ValueError, OverflowError):
        return None


def _moment(item: Any, path: str | None) -> datetime | None:
    return None if path is None else moment_of(at_path(item, path))


def _text(item: Any, path: str | None) -> str | None:
    if path is None:
        return None
    return (path[1:] or None) if path.startswith("=") else identifier_of(item, path)


def _word(value: Any) -> str:
    word = value.strip() if isinstance(value, str) else json.dumps(value)
    return "".join(each if each.isprintable() else "?" for each in word[:80])


def lost_row(row: Row, now: datetime, what: str) -> Row:
    """Return a run that the tool does not `what` any more, as failed."""
    text = f"The tool does not {what} any more."
    return row._replace(status=FAILED, word="lost", ended=now, message=text)
