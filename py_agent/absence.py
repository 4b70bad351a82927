"""Tells when something that was to follow an event has not come in time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from .arguments import checked_by
from .context import Handler
from .errors import RegistrationError
from .events import Event, fitted
from .filters import Match, extractor
from .identity import identifier_of
from .lengths import parse_length
from .registry import listen_for
from .retry import Discard, Seconds, Snooze

MISSING = ".missing"  # what follows the type of the event that did not come

# What the jobs have to catch up after a start: the awaited event may have happened while
# nobody looked.
CATCH_UP = 60.0  # seconds

MAX_TOLD = 100_000  # characters of data that are told with it


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
    limit = _checked(within, by)
    match = {"event_type": ("==", after)} if isinstance(after, str) else after
    listener = functools.partial(watch, event_type=event_type, within=limit, by=by)
    return listen_for(match, name=name or f"expect.{event_type}")(listener)


def _checked(within: str | Seconds, by: str = "identifier") -> float:
    """Return the seconds of a time, and check what is to be compared.

    Raises:
        RegistrationError: `within` is no length of time, or zero.
        FilterError: `by` names what does not exist.
    """
    if not (limit := parse_length(within, "within")):
        raise RegistrationError("within must be more than 0 seconds")
    extractor(by)
    return limit


@checked_by(_checked)
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
    restart changes nothing. After a start or a sleep of the machine, jobs have a minute
    to find what happened meanwhile. With a path as `by`, what came up to a minute before
    the event that it follows counts as well: a source may list the newest first.

    Publishes:
        `<event_type>.missing`, identifier: the type and identifier of the event that was
        to be followed, as `run.started/42`, so that each is told once. The data is, for
        example, `{"expected": "run.ended", "within": 7200.0, "after": {"event_type":
        "run.started", "identifier": "42", "created": "2026-01-05T12:00:00+00:00", "data":
        {"run": 42}}}`; large data is left out, as null.

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
    if identifier_of({"value": value}, "value") is None:
        raise Discard(f"the event has no text or number at {by!r}, so nothing can follow")
    grace = min(limit, timedelta(seconds=CATCH_UP))
    if _came(handler, event_type, by, value, event.created - grace):
        return
    now, deadline = handler.clock.now(), event.created + limit
    deadline = max(deadline, handler.shared(_Awake).since(now, deadline) + grace)
    if now < deadline:
        raise Snooze(min(deadline - now, limit))
    data = {
        "expected": event_type, "within": limit.total_seconds(), "after": {
            "event_type": event.event_type, "identifier": event.identifier,
            "created": event.created,
            "data": event.data if len(event.text) <= MAX_TOLD else None,
        },
    }  # fmt: skip
    name = fitted(f"{event.event_type}/{event.identifier}")
    handler.publish(event_type + MISSING, name, data)


class _Awake:
    """Since when deadlines are met: the agent was down, or the machine asleep, before."""

    def __init__(self) -> None:
        self._since = datetime.fromtimestamp(0, UTC)

    def since(self, now: datetime, deadline: datetime) -> datetime:
        """Return since when; a deadline that was missed by far says that it is not long.

        Args:
            now: the present.
            deadline: one that is looked at now.
        """
        if now - deadline > timedelta(seconds=CATCH_UP) and self._since <= deadline:
            self._since = now
        return self._since


def _came(handler: Handler, event_type: str, by: str, value: Any, since: datetime) -> bool:
    """Return whether the event is stored.

    An identifier is told once, so any event with it will do. A value may come again and
    again, as a host's name does; then what is older belongs to another one.
    """
    match: dict[str, tuple[str, Any]] = {"event_type": ("==", event_type)}
    if by != "identifier":
        match["created"] = (">=", since)
    match[by] = ("==", value)
    return bool(handler.query_events(match, limit=1))
