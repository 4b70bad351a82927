"""Todoist's API v1 as a listener needs it, and what its answers mean for a delivery."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import Field, SecretStr

from listeners.todoist_texts import HOUR
from py_agent import (
    AgentError,
    BearerAuth,
    Discard,
    Event,
    Handler,
    HttpError,
    Pause,
    Retry,
    at_path,
    shown_url,
)
from py_agent.settings import Settings, WebUrl

PER_PAGE, PAGES = 200, 50  # of any list, at most
MOST_NAMED = 10  # projects that an error counts up
WHERE = (
    "take the API token from Settings > Integrations > Developer in Todoist, and set it as "
    "TODOIST_TOKEN, or as token in [todoist]"
)

_TOO_MANY = 429
_REFUSED = frozenset({401, 403})
_MAY_PASS = frozenset({408, 425, _TOO_MANY})  # and all from 500 on
_OF_ALL = frozenset({*range(300, 400), 404, 405, 407, 410})  # not of one task alone


class TodoistSettings(Settings, section="todoist", env_prefix="TODOIST_"):
    """Whose Todoist it is.

    Args:
        token: the API token.
        api_url: where the API is.
    """

    token: SecretStr = Field(
        description="the API token of Todoist, from Settings > Integrations > Developer, "
        "https://app.todoist.com/app/settings/integrations/developer"
    )
    api_url: WebUrl = Field(
        "https://api.todoist.com/api/v1",
        description="where the API of Todoist is",
    )


class Known:
    """The ids of projects and sections that were looked up by their names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, ...], str] = {}

    def get(self, key: tuple[str, ...]) -> str | None:
        """Return an id; None if it is not known."""
        with self._lock:
            return self._ids.get(key)

    def keep(self, key: tuple[str, ...], found: str) -> None:
        """Remember an id."""
        with self._lock:
            self._ids[key] = found

    def forget(self) -> None:
        """Look everything up again."""
        with self._lock:
            self._ids.clear()


class Todoist:
    """What a listener asks Todoist for.

    Args:
        handler: sends.
        settings: whose Todoist it is.

    Raises:
        Pause: the token cannot be one.
    """

    def __init__(self, handler: Handler, settings: TodoistSettings) -> None:
        self.http, self.home = handler.http, settings.api_url.rstrip("/")
        self.known = handler.shared(Known)
        self.trusts = False  # whether an id was taken that was looked up before
        try:
            self.auth = BearerAuth(settings.token)
        except AgentError as error:
            raise Pause(f"the token of Todoist: {error}; {WHERE}", after=HOUR) from None

    def places(self, project: str | None, section: str | None) -> dict[str, str]:
        """Return where a task is put, as Todoist wants it.

        Raises:
            Pause: there is no such place, or there are several.
            HttpError: they could not be looked up.
        """
        found: dict[str, str] = {}
        if project is not None:
            found["project_id"] = self._place("project", project, {})
        if section is not None:
            within = dict(found)
            found["section_id"] = self._place("section", section, within)
        return found

    def _place(self, kind: str, name: str, within: dict[str, str]) -> str:
        key = (self.home, kind, name, *within.values())
        place = self.known.get(key)
        self.trusts = self.trusts or place is not None
        if place is None:
            place = place_of(kind, name, list(self._list(f"{kind}s", within)))
            self.known.keep(key, place)
        return place

    def has_task(
        self, texts: Mapping[str, str], where: Mapping[str, str], since: datetime
    ) -> bool:
        """Return whether there is a task with these texts that was added since then."""
        within = {key: where[key] for key in ("project_id",) if key in where}
        for task in self._list("tasks", within):
            same = all(at_path(task, key) == text for key, text in texts.items())
            added = _moment(at_path(task, "added_at"))
            if same and added is not None and added >= since:
                return True
        return False

    def add(self, task: Mapping[str, Any], request_id: str) -> None:
        """Add a task, unless Todoist has had this request before.

        Raises:
            HttpError: it was not added, or nobody knows.
        """
        answer: Any = self.http.post(
            f"{self.home}/tasks", json=dict(task), auth=self.auth, allow_redirects=False,
            headers={"X-Request-Id": request_id},
        )  # fmt: skip
        _check(answer)

    def _list(self, path: str, within: Mapping[str, str]) -> Iterator[Any]:
        """Yield the items of a list, page by page."""
        query = {**within, "limit": str(PER_PAGE)}
        for _ in range(PAGES):
            answer: Any = self.http.get(
                f"{self.home}/{path}?{urlencode(query)}", auth=self.auth,
                allow_redirects=False,
            )  # fmt: skip
            _check(answer)
            page = answer.json()
            items, cursor = at_path(page, "results"), at_path(page, "next_cursor")
            if not isinstance(items, list):
                raise HttpError(
                    f"{shown_url(answer.url)}: the answer holds no results", 200
                )
            yield from items
            if not isinstance(cursor, str) or cursor in ("", query.get("cursor")):
                return
            query["cursor"] = cursor


def place_of(kind: str, name: str, items: list[Any]) -> str:
    """Return the id of a project or section that is given by its id or name.

    Args:
        kind: `project` or `section`.
        name: what is looked for; the case of letters matters only where it tells two
            apart.
        items: those that there are.

    Raises:
        Pause: there is none, or there are several.
    """
    pairs = [
        (each["id"], each["name"]) for each in items
        if isinstance(at_path(each, "id"), str) and isinstance(at_path(each, "name"), str)
    ]  # fmt: skip
    if any(place == name for place, _ in pairs):
        return name
    found = [place for place, known in pairs if known == name] or [
        place for place, known in pairs if known.casefold() == name.casefold()
    ]
    if len(found) == 1:
        return str(found[0])
    if found:
        problem = (
            f"{len(found)} {kind}s in Todoist are named {name!r}; write the id of one of "
            f"them: {', '.join(found)}"
        )
    else:
        names = ", ".join(repr(known) for _, known in pairs[:MOST_NAMED]) or "none"
        more = ", ..." if len(pairs) > MOST_NAMED else ""
        problem = f"Todoist has no {kind} {name!r}; it has {names}{more}"
    raise Pause(problem, after=HOUR)


def request_id(event: Event, listener: str | None) -> str:
    """Return what this event has for this listener only, whatever the store.

    `event.delivery_key` counts within one store. The moment at which the store took the
    event tells stores apart. Todoist takes at most 36 characters, as a UUID has.

    Args:
        event: the event.
        listener: the listener's name.
    """
    parts = [event.event_type, event.identifier, event.created.isoformat(), listener]
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def verdict(error: HttpError, trusts: bool = False) -> Retry | Discard | Pause:
    """Return what to ask for after an error.

    Args:
        error: what went wrong.
        trusts: whether an id was sent that may be of a project that is gone.
    """
    status, asked, reason = error.status or 0, error.retry_after or None, str(error)
    if status == _TOO_MANY and asked:
        return Pause(reason, after=asked)
    if error.transient or status in _MAY_PASS or status >= 500 or 200 <= status < 300:
        return Retry(after=asked, reason=reason)
    if status in (400, 404) and trusts:
        return Retry(reason=f"{reason}; projects and sections are looked up again")
    if status in _REFUSED:
        return Pause(f"{reason}; if the token is refused, {WHERE}", after=asked or HOUR)
    if status == 0 or status in _OF_ALL:
        return Pause(f"{reason}; is api_url in [todoist] right?", after=asked or HOUR)
    return Discard(reason)


def _check(answer: Any) -> None:
    """Refuse an answer that is none of Todoist's.

    Raises:
        HttpError: its status is an error, a redirect, or it is a web page.
    """
    if answer.retry_after is None and answer.status_code >= 400:
        answer.retry_after = _wait_in(answer)
    answer.raise_for_status()
    status, page = answer.status_code, "html" in answer.headers.get("Content-Type", "")
    if status >= 300 or page:
        what = "a redirect" if status >= 300 else "a web page"
        where = shown_url(answer.url)
        raise HttpError(f"{where}: the answer is {what} and not Todoist's", status)


def _wait_in(answer: Any) -> float | None:
    """Return the wait that the body of an error asks for, as Todoist has it there."""
    try:
        asked = at_path(answer.json(), "error_extra.retry_after")
    except HttpError:
        return None
    known = isinstance(asked, int | float) and not isinstance(asked, bool)
    return min(max(float(asked), 0.0), HOUR) if known else None


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
