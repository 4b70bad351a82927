"""A job that watches the runs of Databricks jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from jobs import databricks_answers as said
from py_agent import ClientCredentials, EventError, Handler, HttpError
from py_agent.observability import ContractError, HttpSettings, Report, sign_in
from py_agent.settings import Settings, WebUrl

AZURE_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"  # Databricks, in any tenant
HINT = "look at DK_AGENT_TOKEN, DK_DATABRICKS_CLIENT_ID and _SECRET, or DK_AZURE_*, and at "
HINT += "what that account may see in the workspace of DK_DATABRICKS_HOST"
SINGLY = 10  # job ids; up to so many are asked for one by one, instead of all runs
AT_ONCE = 20  # failed runs that are looked at again in one poll; others wait for the next
MOST = 5_000  # runs that failed, and that have ended; so many fit into a job's state
MAX_BYTES = 50_000_000  # of an answer
_ABOUT = "job_id run_id number_in_job trigger run_type creator_user_name".split()


class DatabricksSettings(Settings, section="databricks", env_prefix="DK_"):
    """Which workspace is watched, and what of it.

    Args:
        databricks_host: as `https://adb-1.azuredatabricks.net`.
        databricks_jobs: names of runs to watch; with no name and no id all of them.
        databricks_job_ids: ids of jobs to watch, besides those names.
        databricks_jobs_version: of the Jobs API.
        databricks_client_id: of a service principal of Databricks itself; without it, the
            sign-in is that of all tools (`DK_AGENT_TOKEN`, `DK_AZURE_*`).
        databricks_client_secret: its OAuth secret.
        databricks_failed_watch_period: seconds from one look at a failed run, which may
            have been repaired, to the next.
        databricks_failed_watch_max_time: seconds after its end until when that is done.
        databricks_overlap: seconds that the next poll looks at again.
        databricks_lookback: seconds that the very first poll looks back.
        timeout: seconds for each request, all in all.
        period: seconds between polls, for whoever schedules the job.
    """

    databricks_host: WebUrl
    databricks_jobs: list[str] = Field(default_factory=list)
    databricks_job_ids: list[int] = Field(default_factory=list)
    # In TOML the version is easily written as a number.
    databricks_jobs_version: Annotated[Literal["2.1", "2.2"], BeforeValidator(str)] = "2.1"
    databricks_client_id: str | None = None
    databricks_client_secret: SecretStr | None = None
    databricks_failed_watch_period: float = Field(default=600, gt=0, le=31_536_000)
    databricks_failed_watch_max_time: float = Field(default=604_800, ge=0, le=31_536_000)
    databricks_overlap: float = Field(default=300, ge=0, le=86_400)
    databricks_lookback: float = Field(default=3_600, ge=0, le=5_184_000)
    timeout: float = Field(default=120, gt=0, le=86_400)
    period: float = Field(default=5, ge=0)

    @model_validator(mode="after")
    def _both(self) -> DatabricksSettings:
        if (self.databricks_client_id is None) != (self.databricks_client_secret is None):
            raise ValueError("databricks_client_id and its secret go together")
        return self


def databricks_runs(
    handler: Handler, settings: DatabricksSettings, http: HttpSettings
) -> None:
    """Report the runs of Databricks jobs and their tasks, from their start to their end.

    Each poll reads what is active, and what began since the last successful poll and has
    ended. A run that was reported and is in neither is asked for itself; one that
    Databricks does not know any more ends as FAILED. A failed run is watched for repairs.

    Publishes:
        `run-status`, identifier
        `DATABRICKS/<job id>/<run id>/<task key>/<attempt>/<status>`, for example
        `{"pipeline_key": "11", "pipeline_name": "nightly", "run_key": "502", "task_key":
        "load", "task_name": "load", "status": "RUNNING", "event_timestamp":
        "2026-01-05T12:00:00+00:00", "component_tool": "DATABRICKS", "metadata": {"run_id":
        "503", "state": "RUNNING"}}`. The task key is empty for the run itself, whose
        attempt is 1, and 2 for its first repair; of a task it counts the tries. A run
        that was submitted without a job has its name instead of the job id, as Databricks
        makes up another id each time.

        `message-log` of what failed, in Databricks' words, and of each repair, identifier
        `DATABRICKS/<job id>/<run id>/<task key>/<attempt>/<digest of the text>`, with, for
        example, `{"log_level": "ERROR", "message": "Table not found", ...}`.

    Args:
        handler: fetches and publishes.
        settings: which workspace, and what of it.
        http: how it is asked.

    Raises:
        HttpError: Databricks could not be asked, or refuses the credentials.
        ValueError: an answer is not as the Jobs API has it.
        ConfigError: there are no complete credentials.
    """
    poll, (since, until) = _Poll(handler, settings, http), handler.window
    back = settings.databricks_lookback if since is None else settings.databricks_overlap
    start = said.milliseconds_of((since or until) - timedelta(seconds=back))
    ids = settings.databricks_job_ids
    singly = len(ids) <= SINGLY and not settings.databricks_jobs
    for which in (
        {"active_only": "true"},
        {"completed_only": "true", "start_time_from": start},
    ):
        for job in [{"job_id": each} for each in ids if singly] or [{}]:
            for run in poll.api.runs({"limit": 25, "expand_tasks": "true", **which, **job}):
                poll.listed(run)
    poll.ask_for_open()
    poll.ask_for_failed()
    poll.finish()


class _Poll:
    """One poll: what it was told by the last one, and leaves to the next."""

    def __init__(self, handler: Handler, settings: DatabricksSettings, http: HttpSettings):
        self.handler, self.settings = handler, settings
        self.api, self.now = _Api(handler, settings, http), handler.window.until
        # What has no end yet; of what failed, when to look again and until when to do so.
        self.open: dict[str, dict[str, Any]] = handler.state.get("open", {})
        self.failed: dict[str, list[int]] = handler.state.get("failed", {})
        # The ends in the window: what was told once costs nothing to see again.
        self.told: dict[str, Any] = handler.state.get("told", {})
        self.telling: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.unknown: Counter[str] = Counter()
        self.left_out: list[str] = []

    def listed(self, run: Any) -> None:
        """Take a run as it stands in a list."""
        if not isinstance(run, dict) or not run.get("run_id"):
            self.left_out.append("a run has no run_id")
        elif _is_wanted(run, self.settings):
            key, end = str(run["run_id"]), run.get("end_time")
            self.seen.add(key)
            goes_on = said.state_of(run).status == said.RUNNING
            if end and end == self.told.get(key) and not goes_on:
                self.telling[key] = end
            elif said.is_enough(run, self.open.get(key)):
                self.take(key, run)
            else:
                self.take(key, self.asked(key) or run)

    def ask_for_open(self) -> None:
        """End what has left the lists."""
        for key in sorted(self.open.keys() - self.seen):
            if (run := self.asked(key)) is None:
                text = "Databricks does not know this run any more."
                state = {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}
                end = {"end_time": said.milliseconds_of(self.now), "run_id": key}
                run = {**self.open[key], **end, "state": {**state, "state_message": text}}
            self.take(key, run)

    def ask_for_failed(self) -> None:
        """Look for repairs, first at the runs that have waited longest for that."""
        now = said.milliseconds_of(self.now)
        alive = {key: times for key, times in self.failed.items() if times[1] > now}
        kept = sorted(alive, key=lambda key: alive[key][1])[-MOST:]
        self.failed = {key: alive[key] for key in kept}
        due = sorted(
            (times[0], key) for key, times in self.failed.items() if times[0] <= now
        )
        for _, key in due[:AT_ONCE]:
            if (run := self.asked(key)) is None:
                del self.failed[key]
            else:
                self.watch(key, self.failed[key][1])
                self.take(key, run)

    def finish(self) -> None:
        """Leave to the next poll what it needs, and say what was not told."""
        state, log = self.handler.state, self.handler.log
        told = dict(list(self.telling.items())[:MOST])
        state.update(open=self.open, failed=self.failed, told=told)
        if self.unknown:
            counts = ", ".join(f"{word} ({n})" for word, n in sorted(self.unknown.items()))
            log.warning("states that are not known are not reported: %s", counts)
        if self.left_out:
            count, first = len(self.left_out), self.left_out[0]
            log.warning("items that are left out: %d; of the first, %s", count, first)

    def asked(self, key: str) -> dict[str, Any] | None:
        """Return a run as a whole; {} if we may not read it, None if there is none."""
        try:
            return self.api.run(key)
        except HttpError as error:
            # The lists could be read, so one run must not keep all others waiting.
            if error.status != 403 or error.retry_after is not None:
                raise
            self.left_out.append(f"run {key} may not be read")
            return {}

    def take(self, key: str, run: Mapping[str, Any]) -> None:
        """Tell what there is to tell of a run, and remember what is to come."""
        if not run:
            return
        phases = said.phases_of(run, self.open.pop(key, {}), self.now)
        items = said.items_of(run.get("tasks"))
        tasks = [each for each in items if said.task_key_of(each)]
        self.left_out += ["a task has no key"] * (len(items) - len(tasks))
        states = [phases[-1].state, *map(said.state_of, tasks)]
        self.unknown.update(state.word for state in states if state.status is None)
        pipeline, name = said.pipeline_of(run), said.text_of(run.get("run_name"))
        url = said.text_of(run.get("run_page_url")) or None
        report = Report(self.handler, "DATABRICKS", pipeline, key, name, url=url)
        about = {field: run[field] for field in _ABOUT if run.get(field) is not None}
        for line in sorted(said.lines_of(phases, tasks, self.now)):
            try:
                line.publish(report, about)
            except (ContractError, EventError) as error:
                self.left_out.append(f"{line.what} of run {key}: {error}")
        self.remember(key, run, phases[-1])

    def remember(self, key: str, run: Mapping[str, Any], last: said.Phase) -> None:
        """Keep what the next poll has to know of a run."""
        until, status = self.failed.pop(key, [0, 0])[1], last.state.status
        if status == said.RUNNING:
            known = {name: run.get(name) for name in ("job_id", "run_name", "run_type")}
            known |= {"start_time": said.milliseconds_of(last.begun)}
            known |= {"attempt": last.attempt, "retries": said.retries_of(run)}
            self.open[key] = known
        elif run.get("end_time"):
            self.telling[key] = run["end_time"]
        if status in (said.FAILED, None):
            # What is unknown may be known later, but is no question for each poll.
            most = timedelta(seconds=self.settings.databricks_failed_watch_max_time)
            again = until if status is None else 0
            self.watch(key, again or said.milliseconds_of((last.ended or self.now) + most))

    def watch(self, key: str, until: int) -> None:
        """Look at a run again after some time."""
        period = timedelta(seconds=self.settings.databricks_failed_watch_period)
        self.failed[key] = [said.milliseconds_of(self.now + period), until]


class _Api:
    """The part of the Jobs API that tells of runs."""

    def __init__(self, handler: Handler, settings: DatabricksSettings, http: HttpSettings):
        version = settings.databricks_jobs_version
        self.url = urljoin(settings.databricks_host, f"/api/{version}/jobs/runs/")
        own = {"timeout": settings.timeout, "max_bytes": MAX_BYTES}
        self.options = {**http.options, **own, "auth": _auth(handler, settings)}
        self.session = handler.http

    def runs(self, params: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the runs of a list, page after page."""
        extra, asked, before = dict[str, Any](), list[Any](), list[Any]()
        while extra not in asked:
            asked.append(extra)
            page = self.get("list", {**params, **extra})
            runs = said.items_of(page.get("runs"))
            if runs and runs == before:
                break
            yield from (before := runs)
            if token := page.get("next_page_token"):
                extra = {"page_token": token}
            elif page.get("has_more") and runs:  # an older workspace knows no tokens
                extra = {"offset": extra.get("offset", 0) + len(runs)}
            else:
                return
        raise ValueError(f"{self.url}list: the same page comes again and again")

    def run(self, key: str) -> dict[str, Any] | None:
        """Return a run with all of its tasks and repairs; None if there is none."""
        params = {"run_id": key, "include_history": "true"}
        try:
            part = whole = self.get("get", params)
        except HttpError as error:
            if error.status == 404 or (
                error.status == 400 and "does not exist" in str(error)
            ):
                return None
            raise
        asked: list[Any] = []
        while (token := part.get("next_page_token")) and token not in asked:
            asked.append(token)
            part = self.get("get", {**params, "page_token": token})
            for name in "tasks", "repair_history":
                whole[name] = said.items_of(whole.get(name)) + said.items_of(part.get(name))
        return whole

    def get(self, what: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return an answer; a refusal says where to look."""
        try:
            answer = self.session.get(self.url + what, params=params, **self.options)
            answer.raise_for_status()
            page = answer.json()
        except HttpError as error:
            if error.status not in (401, 403):
                raise
            text, after = f"{error}; {HINT}", error.retry_after
            raise HttpError(text, error.status, after, error.transient) from error
        if not isinstance(page, dict):
            raise ValueError(f"{self.url}{what}: the answer is no object")
        return page


def _auth(handler: Handler, settings: DatabricksSettings) -> Any:
    """Return what signs requests: always the same, as it keeps its token."""
    if not settings.databricks_client_id:
        return sign_in(handler, AZURE_SCOPE)
    who, secret = settings.databricks_client_id, settings.databricks_client_secret
    url = urljoin(settings.databricks_host, "/oidc/v1/token")
    made = ClientCredentials(url, who, secret, "all-apis")
    return handler.shared(_Principals).setdefault((url, who), made)


class _Principals(dict[tuple[str, str], ClientCredentials]):
    """Who has signed in, by where and as whom."""


def _is_wanted(run: Mapping[str, Any], settings: DatabricksSettings) -> bool:
    names, ids = settings.databricks_jobs, settings.databricks_job_ids
    return not (names or ids) or run.get("run_name") in names or run.get("job_id") in ids
