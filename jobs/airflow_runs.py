"""A job that watches the DAG runs of Apache Airflow 2 and 3."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field

from py_agent import BearerAuth, EventError, Handler, HttpError, at_path
from py_agent.observability import ContractError, HttpSettings, Report, sign_in
from py_agent.settings import Settings, WebUrl

RUNNING, COMPLETED, FAILED = "RUNNING", "COMPLETED", "FAILED"
HINT = (
    "look at DK_AGENT_USERNAME and DK_AGENT_PASSWORD, or DK_AGENT_TOKEN, and their rights"
)
UNNAMED = "The run failed, and Airflow names no failed task of it"
LIMIT = 100  # items of a page; more than Airflow's `maximum_page_limit` are not given
MAX_BYTES = 50_000_000  # of a page, as tasks carry their rendered fields
PASSES = 3  # over the tasks of a run, whose pages have no firm order in Airflow 2
MOST_TOLD = 50_000  # ended runs; so many fit into what a job may remember

# The states of Airflow's REST API reference, `TaskState` and `DagState`, as they count in
# `success_states` and `failed_states` of airflow/utils/state.py.
_RUN_ENDS = {"success": COMPLETED, "failed": FAILED}
_ENDS = {**_RUN_ENDS, "skipped": COMPLETED, "upstream_failed": FAILED}
_UNDER_WAY = ["running", "restarting", "deferred", "up_for_reschedule", "up_for_retry"]
_KNOWN = {*_ENDS, *_UNDER_WAY, "none", "scheduled", "queued", "removed"}
_ALL = "dags/~/dagRuns/~"
_End = tuple[datetime, str]
_Pages = Iterator[list[Any]]


class AirflowSettings(Settings, section="airflow", env_prefix="DK_AIRFLOW_"):
    """Which Airflow is watched.

    Args:
        api_url: as `http://airflow:8080/api/v1`, or `/api/v2` for Airflow 3; with neither
            of them, the server is asked which one it has.
        period: seconds between polls, for whoever schedules the job.
        overlap: seconds that the next poll looks at again.
        lookback: seconds that the very first poll looks back.
    """

    api_url: WebUrl
    period: float = Field(5, ge=0)
    overlap: float = Field(300, ge=0, le=86_400)
    lookback: float = Field(3_600, ge=0, le=31_536_000)


def airflow_runs(handler: Handler, settings: AirflowSettings, http: HttpSettings) -> None:
    """Report the DAG runs of Airflow and their tasks, from their start to their end.

    Each poll reads what runs now, and what has ended since the last successful poll. A
    run that was reported and is in neither is asked for itself; one that Airflow does not
    know any more ends as FAILED. Of a run, `queued` is not told. Of a task:

    - `running`, `restarting`, `deferred`, `up_for_reschedule` and `up_for_retry` are
      RUNNING. Each try has a RUNNING of its own; only the last one is FAILED.
    - `success` and `skipped` are COMPLETED, `failed` and `upstream_failed` FAILED, as
      Airflow itself counts them; the metadata has its own word.
    - `none`, `scheduled`, `queued` and `removed` are not told.
    - What had begun and is not over when its run ends, ends with it and as it does.
    - Any other state is counted in the log, and not told.

    Publishes:
        `run-status`, identifier `AIRFLOW/<dag id>/<run id>/<task>/<attempt>/<status>`,
        with, for example, `{"pipeline_key": "nightly", "run_key": "manual__7",
        "task_key": "load[2]", "status": "COMPLETED", "component_tool": "AIRFLOW",
        "event_timestamp": "2026-01-05T00:01:02+00:00", "metadata": {"try_number": 1}}`.
        A mapped task is `task_id[map_index]`. The attempt is the try; of a run itself,
        which may be cleared and run again, it is the start or end in microseconds.

        `message-log` of a run that failed, identifier `AIRFLOW/<dag id>/<run id>//
        <attempt>/<digest>`, with `{"message": "Failed tasks: load[2]", ...}`.

    Args:
        handler: fetches and publishes.
        settings: which Airflow.
        http: how it is asked.

    Raises:
        HttpError: Airflow could not be asked, or refuses the credentials.
        ValueError: an answer is not as the API has it.
        ConfigError: there are no complete credentials.
    """
    poll, (since, until) = _Poll(handler, _Api(handler, settings, http)), handler.window
    back = settings.lookback if since is None else settings.overlap
    start = ((since or until) - timedelta(seconds=back)).astimezone(UTC)
    ended: dict[str, Any] = {"end_date_gte": start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    poll.read_runs(state="running")
    if poll.open:
        poll.read_tasks(_ALL, None, state=_UNDER_WAY)
        poll.read_tasks(_ALL, None, state=list(_ENDS), **ended)
    poll.read_runs(**ended)
    poll.ask_for_missing()
    poll.finish()


class _Item(NamedTuple):
    dag: str
    run: str
    task: str  # empty, if this is the run itself
    name: str
    state: str
    start: datetime | None
    end: datetime | None = None
    attempt: int = 1
    about: dict[str, Any] = {}

    @property
    def key(self) -> str:
        return f"dags/{quote(self.dag, '')}/dagRuns/{quote(self.run, '')}"


class _Poll:  # what it has been told, and what it leaves to the next one
    def __init__(self, handler: Handler, api: _Api) -> None:
        self.handler, self.api, self.now = handler, api, handler.window.until
        # By key, the start: enough to end a run when Airflow knows it no more.
        self.open: dict[str, str | None] = handler.state.get("open", {})
        self.told_before, self.told = set(handler.state.get("told", [])), set[str]()
        self.seen, self.left_out, self.unknown = set[str](), list[str](), Counter[str]()

    def read_runs(self, **query: Any) -> None:
        for items in self.api.pages("dags/~/dagRuns", "dag_runs", order_by="id", **query):
            self.look_at(items)

    def read_tasks(self, of: str, over: _End | None, **query: Any) -> list[str] | None:
        """Tell of tasks of open runs; return those that failed, None if it is not known."""
        failed: dict[str, None] = {}
        path, passes = f"{of}/taskInstances", PASSES if over else 1
        try:
            for items in self.api.pages(path, "task_instances", passes, **query):
                failed |= dict.fromkeys(self.tell(items, over))
        except HttpError as error:
            # Of a DAG that was deleted (3), or with a task that it cannot unpack (2).
            if error.status not in (404, 500):
                raise
            self.handler.log.warning("tasks that cannot be read are not told: %s", error)
            return None
        return list(failed)

    def ask_for_missing(self) -> None:
        for key in [key for key in self.open if key not in self.seen]:
            try:
                self.look_at([self.api.get(key, {})])
            except HttpError as error:
                if error.status != 404:
                    raise
                _, dag, _, run = map(unquote, key.split("/"))
                lost = _Item(dag, run, "", dag, "", _moment(self.open.pop(key)))
                text = "Airflow does not know this run any more; it counts as failed"
                self.say(lost, FAILED, self.now, _micros(lost.start), text)

    def look_at(self, items: Iterable[Any]) -> None:
        for run in self.parsed(items, "dag_id", "dag_run_id"):
            self.seen.add(run.key)
            if run.state == "running":
                self.begin(run)
            elif run.state in _RUN_ENDS:
                self.end(run)
            elif run.state != "queued":
                self.unknown[f"run {run.state:.40}"] += 1

    def begin(self, run: _Item) -> None:
        start = run.start.isoformat() if run.start else None
        if self.open.get(run.key, "") != start:  # another one, if it was cleared
            self.say(run, RUNNING, run.start or run.end or self.now, _micros(run.start))
        self.open[run.key] = start

    def end(self, run: _Item) -> None:
        mark = hashlib.sha256(repr(run).encode(errors="replace")).hexdigest()[:16]
        failed: list[str] | None = []
        if mark not in self.told_before:
            self.begin(run)
            status, at = _RUN_ENDS[run.state], run.end or self.now
            at = max(at, run.start or at)
            failed = self.read_tasks(run.key, (at, status))
            text = f"Failed tasks: {', '.join(failed)}" if failed else UNNAMED
            self.say(run, status, at, _micros(run.end), text if status == FAILED else "")
        if failed is not None:  # else its tasks are asked for again while it is recent
            self.told.add(mark)
        self.open.pop(run.key, None)

    def tell(self, items: Iterable[Any], over: _End | None) -> list[str]:
        """Tell of a page of tasks in the order of time; return those that failed."""
        steps: list[tuple[datetime, str, _Item]] = []
        failed = []
        for task in self.parsed(items, "dag_id", "dag_run_id", "task_id"):
            if task.key not in self.open:
                continue  # all is told of a run when it ends
            if task.state not in _KNOWN:
                self.unknown[f"task {task.state:.40}"] += 1
            failed += [task.task] if task.state == "failed" else []
            began = _moment(self.open[task.key]) or self.now
            steps += ((*step, task) for step in _steps(task, began, over))
        for at, status, task in sorted(steps, key=lambda step: step[0]):
            self.say(task, status, at, task.attempt)
        return failed

    def say(self, of: _Item, status: str, at: datetime, nth: int, text: str = "") -> None:
        name, link = of.dag if of.task else of.name, self.api.link(of)
        report = Report(self.handler, "AIRFLOW", of.dag, of.run, name, of.run, link)
        task: dict[str, Any] = {"task": of.task, "task_name": of.name} if of.task else {}
        try:
            report.message("ERROR", text, at, attempt=nth)
            report.status(status, at, attempt=nth, metadata=of.about, **task)
        except (ContractError, EventError) as error:
            self.left_out.append(str(error))

    def parsed(self, items: Iterable[Any], *names: str) -> Iterator[_Item]:
        for item in items:
            found = item if isinstance(item, dict) else {}
            if all(isinstance(found.get(name), str) and found[name] for name in names):
                yield _parsed(found)
            else:
                self.left_out.append(f"it lacks one of {', '.join(names)}")

    def finish(self) -> None:
        self.handler.state.update(open=self.open, told=sorted(self.told)[:MOST_TOLD])
        if self.unknown:
            self.handler.log.warning("unknown states are not told: %s", dict(self.unknown))
        if left := self.left_out:
            self.handler.log.warning("%d left out; the first, as %s", len(left), left[0])


class _Tokens(dict[tuple[str, str], BearerAuth]):
    """By base URL and user; they last for a day, and each costs a password's hash."""


class _Api:
    def __init__(self, handler: Handler, settings: AirflowSettings, http: HttpSettings):
        self.http, self.options = handler.http, {"max_bytes": MAX_BYTES, **http.options}
        self.who, self.tokens = sign_in(handler), handler.shared(_Tokens)
        self.base, named = _base_and_version(settings.api_url)
        self.version = named or self.asked_version()

    def asked_version(self) -> str:
        for version in ("v2", "v1"):
            url = f"{self.base}/api/{version}/version"
            answer: Any = self.http.get(url, allow_redirects=False, **self.options)
            if answer.status_code == 429 or answer.status_code >= 500:
                answer.raise_for_status()
            if answer.status_code == 200 and b'"version"' in answer.content:
                return version
        raise ValueError(f"no Airflow at {self.base}/api; look at DK_AIRFLOW_API_URL")

    def pages(self, path: str, name: str, passes: int = 1, **query: Any) -> _Pages:
        """Yield the items of each page, again if not all of them were among them."""
        found: set[int] = set()
        for _ in range(passes):
            offset, total = 0, 1
            while offset < total:
                page = self.get(path, {"limit": LIMIT, "offset": offset, **query})
                items = page.get(name) if isinstance(page, dict) else None
                if not isinstance(items, list):
                    raise ValueError(f"{self.base}: the answer to {path} has no {name!r}")
                found.update(hash(repr(item)) for item in items)
                offset += len(items)  # a server may give fewer than it was asked for
                total = page.get("total_entries") or offset + 1 if items else 0
                yield items
            if len(found) >= total:
                return

    def get(self, path: str, query: dict[str, Any]) -> Any:
        url = f"{self.base}/api/{self.version}/{path}"
        signed = self.signed(None)
        answer: Any = self.http.get(url, params=query, auth=signed, **self.options)
        if answer.status_code == 401 and signed is not self.who:
            signed = self.signed(refused=signed)
            answer = self.http.get(url, params=query, auth=signed, **self.options)
        if answer.status_code in (401, 403):
            answer.reason = f"{answer.reason}; {HINT}"  # which the error shows
        answer.raise_for_status()
        return answer.json()

    def signed(self, refused: BearerAuth | None) -> Any:
        """Return what signs a request; for a user, Airflow 3 wants a token."""
        if self.version == "v1" or not isinstance(self.who, tuple):
            return self.who
        key, url = (self.base, self.who[0]), f"{self.base}/auth/token"
        if self.tokens.get(key) is refused:  # None, when there is none yet
            body = {"username": self.who[0], "password": self.who[1]}
            said: Any = self.http.post(
                url, json=body, allow_redirects=False, **self.options
            )
            status = said.status_code
            token = at_path(said.json(), "access_token") if status in (200, 201) else None
            if not isinstance(token, str):  # the answer itself may quote the password
                problem = f"POST {url}: no token: status {status}; {HINT}"
                raise HttpError(problem, status, said.retry_after)
            self.tokens[key] = BearerAuth(token)
        return self.tokens[key]

    def link(self, item: _Item) -> str:
        page, run = f"{self.base}/dags/{quote(item.dag, '')}", quote(item.run, "")
        return f"{page}/{'runs/' if self.version == 'v2' else 'grid?dag_run_id='}{run}"


def _parsed(item: dict[str, Any]) -> _Item:
    dag, task, index = item["dag_id"], item.get("task_id", ""), item.get("map_index")
    name = item.get("task_display_name") or task or item.get("dag_display_name") or dag
    if task and isinstance(index, int) and index >= 0:
        task, shown = f"{task}[{index}]", item.get("rendered_map_index")
        name = f"{name}[{index if shown is None else shown}]"
    about = ("state", "try_number", "operator", "run_type", "logical_date")
    return _Item(
        dag, item["dag_run_id"], task, str(name), str(item.get("state") or "none"),
        _moment(item.get("start_date")), _moment(item.get("end_date")),
        max(1, tried) if isinstance(tried := item.get("try_number"), int) else 1,
        {key: item[key] for key in about if item.get(key) is not None},
    )  # fmt: skip


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _micros(moment: datetime | None) -> int:
    return 1 if moment is None else int(moment.timestamp() * 1_000_000)


def _steps(task: _Item, began: datetime, over: _End | None) -> list[tuple[datetime, str]]:
    """Return what is told of a task; `over` is when and how its run ended, if it has."""
    start, under_way = task.start or began, task.state in _UNDER_WAY
    if task.state in _ENDS:
        at, status = task.end or (over[0] if over else start), _ENDS[task.state]
    elif over and (task.start or under_way):
        at, status = over
    else:
        return [(start, RUNNING)] if under_way else []
    ran = [(start, RUNNING)] if task.start and start < at else []
    return [*ran, (max(at, start), status)]


def _base_and_version(url: str) -> tuple[str, str | None]:
    """Return where Airflow is, without credentials, and which API the path names."""
    parts = urlsplit(url)
    path, version = parts.path.rstrip("/"), None
    if path.endswith(("/api/v1", "/api/v2")):
        path, _, version = path.rpartition("/")
    host, path = parts.netloc.rpartition("@")[2], path.removesuffix("/api")
    return f"{parts.scheme}://{host}{path}", version
