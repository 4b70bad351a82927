"""Tells when something that was to follow an event has not come in time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from .context import Handler
from .errors import RegistrationError
from .events import MAX_IDENTIFIER, Event
from .filters import Match, extractor
from .identity import identifier_of
from .lengths import parse_length
from .registry import listen_for
from .retry import Discard, Seconds, Snooze

MISSING = ".missing"  # what follows the type of the event that did not come

# What the jobs have to catch up after a start: the awaited event may have happened while
# nobody looked.
CATCH_UP = 60.0


def expect(
    event_type: str,
    *,
    after: str | Match,
    within: str | Seconds,
    by: str = "identifier",
    name: str | None = None,
) -> Callable[..., None]:
    """Return a listener that tells when an event does not follow another one in time.

    `agent.add_listener(expect("run.ended", after="run.started", within="2 hours"))`
    publishes `run.ended.missing`; see `watch`.

    Args:
        event_type: the type of the event that is to come.
        after: the type of the event that it follows, or a filter as in `listen_for`.
        within: `"2 hours"`, seconds or timedelta since that one was published.
        by: what both have in common: their identifier, or a path such as `data.run.id`.
        name: the listener's stable name; `expect.` and the event type if not given.

    Raises:
        RegistrationError: `within` is no length of time, or zero.
        FilterError: `by` or the filter names what does not exist.
    """
    if not (limit := parse_length(within, "within")):
        raise RegistrationError("within must be more than 0 seconds")
    extractor(by)
    match = {"event_type": ("==", after)} if isinstance(after, str) else after
    listener = functools.partial(watch, event_type=event_type, within=limit, by=by)
    return listen_for(match, name=name or f"expect.{event_type}")(listener)


def watch(
    handler: Handler,
    event: Event,
    event_type: str,
    within: str | float,
    by: str = "identifier",
) -> None:
    """Wait for what is to follow an event, and publish one event if it does not come.

    In agent.toml: `run = "py_agent.absence.watch"`, `match` for the event that it
    follows, and `with = { event_type = "run.ended", within = "2 hours" }`.

    It looks at once and when the time is over; in between, the delivery is snoozed, so a
    restart changes nothing. After a start, jobs have a minute to find what happened
    while the agent was down.

    Publishes:
        `<event_type>.missing`, identifier: what both events have in common, so that each
        is told once. The data is, for example, `{"expected": "run.ended", "within":
        7200.0, "after": {"event_type": "run.started", "identifier": "42", "created":
        "2026-01-05T12:00:00+00:00", "data": {"run": 42}}}`.

    Args:
        handler: looks for the event, and publishes.
        event: the event that is to be followed.
        event_type: the type of the event that is to come.
        within: `"2 hours"` or seconds.
        by: what both have in common.

    Raises:
        Snooze: there is time left.
        Discard: the event lacks what `by` names.
    """
    limit = timedelta(seconds=parse_length(within, "within"))
    value = extractor(by)(event)
    common = identifier_of({"value": value}, "value")
    if common is None:
        raise Discard(f"the event has no text or number at {by!r}, so nothing can follow")
    if _came(handler, event_type, by, value, event.created - limit):
        return
    now = handler.clock.now()
    up = handler.shared(_Up).since(now)
    deadline = max(event.created + limit, up + min(limit, timedelta(seconds=CATCH_UP)))
    if now < deadline:
        raise Snooze(min(deadline - now, limit))
    data = {
        "expected": event_type, "within": limit.total_seconds(), "after": {
            "event_type": event.event_type, "identifier": event.identifier,
            "created": event.created, "data": event.data,
        },
    }  # fmt: skip
    handler.publish(event_type + MISSING, _short(common), data)


class _Up:
    """When expected events were first looked for since the start of the agent."""

    def __init__(self) -> None:
        self._since: datetime | None = None

    def since(self, now: datetime) -> datetime:
        self._since = self._since or now
        return self._since


def _came(handler: Handler, event_type: str, by: str, value: Any, since: datetime) -> bool:
    """Return whether the event is stored.

    It may be older than the one that it follows, where a source lists the newest first.
    """
    match: dict[str, tuple[str, Any]] = {"event_type": ("==", event_type)}
    if by != "identifier":
        match["created"] = (">=", since)
    match[by] = ("==", value)
    return bool(handler.query_events(match, limit=1))


def _short(common: str) -> str:
    if len(common) <= MAX_IDENTIFIER:
        return common
    return hashlib.sha256(common.encode()).hexdigest()
