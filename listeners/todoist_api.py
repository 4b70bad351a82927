"""Todoist's API v1 as a listener needs it, and what its answers mean for a delivery."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.todoist_account import WHERE, Known, TodoistSettings, check, listed, place
from listeners.todoist_texts import HOUR
from py_agent import (
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

CLOCKS = timedelta(seconds=30)  # by which Todoist's clock and ours may differ

_TOO_MANY = 429
_REFUSED = frozenset({401, 403})
_MAY_PASS = frozenset({408, 425, _TOO_MANY})  # and all from 500 on
_OF_ALL = frozenset({*range(300, 400), 404, 405, 407, 410})  # not of one task alone


class Todoist:
    """What a listener asks Todoist for.

    Args:
        handler: sends.
        settings: whose Todoist it is.
    """

    def __init__(self, handler: Handler, settings: TodoistSettings) -> None:
        self.handler, self.settings = handler, settings
        self.known = handler.shared(Known)
        self.trusts = False  # whether an id was taken that was looked up before
        self.auth = BearerAuth(settings.token)

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
        key = (self.settings.home, kind, name, *within.values())
        self.trusts = self.trusts or self.known.get(key) is not None
        try:
            return place(self.handler, self.settings, kind, name, **within)
        except ValueError as error:
            raise Pause(str(error), after=HOUR) from None

    def has_task(
        self, texts: Mapping[str, str], where: Mapping[str, str], since: datetime
    ) -> bool:
        """Return whether there is a task with these texts that was added since then.

        Todoist's clock may be a little behind ours.
        """
        within = {key: where[key] for key in ("project_id",) if key in where}
        for task in listed(self.handler, self.settings, "tasks", **within):
            same = all(at_path(task, key) == text for key, text in texts.items())
            added = _moment(at_path(task, "added_at"))
            if same and added is not None and added >= since - CLOCKS:
                return True
        return False

    def add(self, task: Mapping[str, Any], request_id: str) -> None:
        """Add a task, unless Todoist has had this request before, which is 204 or a task.

        Raises:
            HttpError: it was not added, or nobody knows.
        """
        answer: Any = self.handler.http.post(
            f"{self.settings.home}/tasks", json=dict(task), auth=self.auth,
            allow_redirects=False, headers={"X-Request-Id": request_id},
        )  # fmt: skip
        check(answer)
        if answer.status_code != 204 and not at_path(answer.json(), "id"):
            raise HttpError(f"{shown_url(answer.url)}: the answer names no task", 200)


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


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
