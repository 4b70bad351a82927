"""A job that watches any list of runs that is had as JSON, told apart by dotted paths."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from jobs.http_runs_mapping import (
    ENDINGS,
    PLACES,
    RUNNING,
    HttpRunsSettings,
    Line,
    Row,
    is_history,
    lines_of,
    lost_row,
    row_of,
)
from py_agent import (
    ContractError,
    EventError,
    Handler,
    HttpError,
    at_path,
    pages_of,
)
from py_agent.observability import HttpSettings, sign_in

__all__ = ["HttpRunsSettings", "http_runs"]

MAX_BYTES = 50_000_000  # of a page
MAX_OPEN = 2_000  # runs that are remembered; so many fit into a job's state
AT_ONCE = 50  # runs that are asked for by themselves in one poll; others wait for the next
HINT = "look at DK_AGENT_TOKEN, DK_AGENT_USERNAME and _PASSWORD, DK_AZURE_*, or the key of "


def http_runs(handler: Handler, settings: HttpRunsSettings, http: HttpSettings) -> None:
    """Report the runs in a list, from their start to their end.

    Each poll reads all pages. A run that was told as RUNNING and is not listed any more
    is asked for by itself if there is a `detail`; else it fails after some polls that
    could read the whole list. What ended before the window, and was not open, is history
    and not told.

    It signs in as all integrations do (`DK_AGENT_TOKEN`, ...), if that is configured. For
    a second list, give a class of its own to a job of your own::

        class OtherRuns(HttpRunsSettings, section="other", env_prefix="DK_OTHER_"):
            "..."

        def other_runs(handler: Handler, settings: OtherRuns, http: HttpSettings) -> None:
            http_runs(handler, settings, http)

    Publishes:
        `run-status`, identifier `<tool>/<pipeline>/<run>/<task>/<attempt>/<status>`, for
        example `HTTP/nightly/7//1/RUNNING` with `{"pipeline_key": "nightly", "run_key":
        "7", "status": "RUNNING", "event_timestamp": "2026-01-05T12:00:00+00:00",
        "component_tool": "HTTP", "metadata": {"state": "in_progress"}}`. The task is
        empty for the run itself.

        `message-log` of what failed or has warnings, identifier
        `<tool>/<pipeline>/<run>/<task>/<attempt>/<digest of the text>`, with, for example,
        `{"log_level": "ERROR", "message": "no table", ...}`.

    Args:
        handler: fetches and publishes.
        settings: which list, and what stands where.
        http: how it is asked.

    Raises:
        HttpError: a page could not be had, or the credentials are refused.
        ValueError: the answer is not as the settings say, or no item has what tells runs
            apart.
        ConfigError: credentials are there, but not complete.
    """
    poll = _Poll(handler, settings, http)
    try:
        poll.read()
        poll.ask_for_missing()
    except HttpError as error:
        if error.status not in (401, 403):
            raise
        text = f"{error}; {HINT}[{settings.__py_agent_section__}]"
        raise HttpError(text, error.status, error.retry_after, error.transient) from error
    poll.finish()


class _Poll:
    """One poll: what it was told by the last one, and leaves to the next."""

    def __init__(self, handler: Handler, settings: HttpRunsSettings, http: HttpSettings):
        self.handler, self.settings = handler, settings
        since, self.now = handler.window
        back = settings.lookback if since is None else settings.overlap
        self.begin = (since or self.now) - timedelta(seconds=back)
        self.open: dict[str, dict[str, Any]] = handler.state.get("open", {})
        self.options = {**http.options, "max_bytes": MAX_BYTES}
        self.options |= _signed(handler, settings)
        self.seen: set[str] = set()
        self.unknown: Counter[str] = Counter()
        self.left_out: list[str] = []
        self.unread = False

    def read(self) -> None:
        """Tell what is listed, page after page.

        Tries and tasks of one run may stand on several pages; then all come first.
        """
        settings, count, kept = self.settings, 0, list[Row]()
        url = _since(settings, self.open.values(), self.begin)
        paged: dict[str, Any] = {"next_page": settings.next_page, "unread": self._rest}
        get = self.handler.http.get
        for page in pages_of(get, url, settings.pages, **paged, **self.options):
            items = page.items(settings.items)
            rows = list(self._rows(items))
            count += len(items)
            kept += rows
            if settings.task is None and settings.attempt is None:
                self.tell(kept)
                kept = []
        self.tell(kept)
        if count and count == len(self.left_out):
            raise ValueError(f"none of the {count} items can be told: {self.left_out[0]}")

    def _rest(self, sentence: str) -> None:
        self.unread = True
        # Who asks for one page may well want the newest items only.
        level = logging.INFO if self.settings.pages == 1 else logging.WARNING
        self.handler.log.log(level, "%s", sentence)

    def _rows(self, items: Iterable[Any]) -> Iterator[Row]:
        for item in items:
            row = row_of(item, self.settings)
            if row is None:
                self.left_out.append("it has no pipeline or no run where they should be")
                continue
            if row.key in self.open:
                self.seen.add(row.key)
                self.open[row.key]["missed"] = 0
            if row.status is None:
                self.unknown[row.word] += 1
            elif row.key in self.open or not is_history(row, self.begin):
                yield row

    def ask_for_missing(self) -> None:
        """End what is open and not listed; of what is to be asked for, the oldest first."""
        rows, lost, asked = list[Row](), set[tuple[str, str]](), 0
        missing = [Row.of(key) for key in self.open.keys() - self.seen]
        # Runs before tasks, as with a run that is lost its tasks are, too.
        missing.sort(key=lambda row: (row.task is not None, -self._missed(row), row.key))
        for row in missing:
            entry, url = self.open[row.key], _detail_url(self.settings, row)
            row = row._replace(name=entry["name"])
            found: Row | None = None
            if row[:2] in lost:
                found = lost_row(row, self.now, "know the run of this task")
            elif url is not None and asked < AT_ONCE:
                asked, entry["missed"] = asked + 1, 0
                found = self._asked(url, row)
            elif url is not None or not self.unread:
                entry["missed"] += 1
                if url is None and entry["missed"] >= self.settings.missing_polls:
                    found = lost_row(row, self.now, "list this run")
            rows += [found] if found else []
            if found and found.word == "lost" and row.task is None:
                lost.add((row.pipeline, row.run))
        self.tell(rows)

    def _missed(self, row: Row) -> int:
        count: int = self.open[row.key]["missed"]
        return count

    def _asked(self, url: str, row: Row) -> Row | None:
        """Return a run as it is now; None if nobody can say."""
        answer: Any = self.handler.http.get(url, **self.options)
        if answer.status_code in (404, 410):
            return lost_row(row, self.now, "know this run")
        # The list could be read, so one run must not keep all others waiting.
        if 400 <= answer.status_code < 500 and answer.status_code not in (401, 429):
            self.left_out.append(f"status {answer.status_code} for an open run")
            return None
        answer.raise_for_status()
        item = at_path(answer.json(), self.settings.detail_item)
        found = row_of(item, self.settings, row)
        if found is None:
            self.left_out.append("the answer about an open run is no object")
        elif found.status is None:
            self.unknown[found.word] += 1
        return found

    def tell(self, rows: Iterable[Row]) -> None:
        """Publish what is new of some runs, and remember what is to come of them."""
        runs: dict[tuple[str, str], dict[str, Row]] = {}
        for row in rows:
            runs.setdefault((row.pipeline, row.run), {})[row.key] = row
        for group in runs.values():
            refused: set[str] = set()
            for line in lines_of(list(group.values()), self.open, self.now):
                try:
                    if line.row.key not in refused:
                        self._publish(line)
                except (ContractError, EventError) as error:
                    refused.add(line.row.key)
                    self.left_out.append(str(error))
            for key, row in group.items():
                if key not in refused:
                    self._remember(key, row)

    def _publish(self, line: Line) -> None:
        try:
            line.publish(self.handler, self.settings.tool)
        except ContractError:
            # Its status is worth more than a link or a name that cannot be sent.
            bare = line.row._replace(name=None, link=None)
            line._replace(row=bare).publish(self.handler, self.settings.tool)

    def _remember(self, key: str, row: Row) -> None:
        if row.status in ENDINGS:
            self.open.pop(key, None)
        elif row.status == RUNNING and key not in self.open:
            started = (row.started or self.now).isoformat()
            self.open[key] = {"started": started, "missed": 0, "name": row.name}
            self.seen.add(key)

    def finish(self) -> None:
        """Leave to the next poll what it needs, and say what was not told."""
        log = self.handler.log
        if len(self.open) > MAX_OPEN:
            log.warning("of %d open runs, %d are remembered", len(self.open), MAX_OPEN)
        self.handler.state["open"] = dict(list(self.open.items())[-MAX_OPEN:])
        if self.unknown:
            counts = ", ".join(f"{word} ({n})" for word, n in sorted(self.unknown.items()))
            log.warning("states that are not known are not reported: %s", counts)
        if self.left_out:
            count, first = len(self.left_out), self.left_out[0]
            log.warning("items that are left out: %d; the first, as %s", count, first)


# Requests


def _since(
    settings: HttpRunsSettings, known: Iterable[Mapping[str, Any]], begin: datetime
) -> str:
    """Return the URL of the list; without `detail` it goes back to all that is open."""
    if settings.since is None:
        return settings.url
    if settings.detail is None:
        began = (datetime.fromisoformat(entry["started"]) for entry in known)
        begin = min([begin, *began])
    text = begin.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts = urlsplit(settings.url)
    query = "&".join(filter(None, [parts.query, urlencode({settings.since: text})]))
    return urlunsplit(parts._replace(query=query))


def _detail_url(settings: HttpRunsSettings, row: Row) -> str | None:
    """Return where to ask for a run or task; None if nowhere."""
    if settings.detail is None or (row.task and "{task}" not in settings.detail):
        return None
    places = zip(PLACES, row[:4], strict=True)
    url = settings.detail.format(**{k: quote(str(v or ""), safe="") for k, v in places})
    # Our own spelling of the host: it may hold user and password.
    return urlunsplit(urlsplit(url)._replace(netloc=urlsplit(settings.url).netloc))


def _signed(handler: Handler, settings: HttpRunsSettings) -> dict[str, Any]:
    """Return what a request is signed with: a header of its own, a sign-in, or both."""
    headers, auth = {"Accept": "application/json"}, None
    name = settings.key_header or ""
    if settings.key is not None:
        headers[name] = settings.key.get_secret_value().strip()
    if name.lower() != "authorization":
        auth = sign_in(handler, needed=False)
    return {"headers": headers, "auth": auth}
