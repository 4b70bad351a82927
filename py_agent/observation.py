"""A value that is looked at again and again, and an event when it has really changed.

What the last change was is read back from the store: a run that fails after its change
was stored forgets what it has seen, and the change must neither be lost nor come twice.
"""

from __future__ import annotations

import json
from typing import Any

from .context import Handler
from .errors import UsageError
from .events import Event, Publication, fitted
from .json_text import MAX_DATA, encode

STATE = "observed"  # where it is kept in handler.state


def observe(
    handler: Handler,
    key: str,
    value: Any,
    confirm: int = 3,
    *,
    event_type: str = "value.changed",
    first: bool = False,
) -> Publication | None:
    """Look at a value; publish one event when it has changed and stays so.

    A new value counts once it was seen `confirm` times in a row. A value that flaps
    between two states publishes nothing, and one that comes back before it is confirmed
    was never away. What was seen is kept in `handler.state`, over restarts; a job or
    listener that is given another name begins anew.

    Publishes:
        `value.changed`, identifier: the name of the job, the key, when it was looked at
        first, and the number of the change. The data is, for example, `{"key": "door",
        "value": "open", "before": "closed", "change": 7}`.

    Args:
        handler: the job's.
        key: what the value belongs to, 1 to 500 characters.
        value: JSON, and what `handler.publish` turns into JSON.
        confirm: how often in a row a new value is to be seen; 1 publishes each change.
        event_type: the type of the event.
        first: whether the first value ever is a change, too, from null.

    Returns:
        The publication of a change; None if there was none.

    Raises:
        UsageError: `key` or `confirm` cannot be used.
        EventError: the value is refused; the message names what is wrong.
    """
    _check(key, confirm)
    text = json.dumps(json.loads(encode(value, MAX_DATA)), sort_keys=True)
    known = handler.state.setdefault(STATE, {})
    seen = known.get(key) or {"since": handler.clock.now().isoformat(), **_NOTHING}
    seen = _caught_up(handler, event_type, key, seen)
    now = looked(seen, text, confirm, first)
    publication = None
    if now["change"] > seen["change"]:
        publication = _publish(handler, event_type, key, seen, now)
    known[key] = now
    return publication


_NOTHING: dict[str, Any] = {"value": None, "change": 0, "next": None, "times": 0}


def looked(seen: dict[str, Any], text: str, confirm: int, first: bool) -> dict[str, Any]:
    """Return what is known of a value after one more look at it: a pure decision.

    Args:
        seen: what was known: the confirmed `value` as JSON text, or null, how many times
            it has changed (`change`), a `next` value that is not confirmed, and how often
            in a row that one was seen (`times`).
        text: what it is now, as JSON text.
        confirm: how often in a row a new value is to be seen.
        first: whether the first value is a change.
    """
    settled = seen | {"next": None, "times": 0}
    if text == seen["value"]:
        return settled
    times = seen["times"] + 1 if text == seen["next"] else 1
    if times < confirm:
        return settled | {"next": text, "times": times}
    counts = first or seen["value"] is not None
    return settled | {"value": text, "change": seen["change"] + counts}


def _caught_up(
    handler: Handler, event_type: str, key: str, seen: dict[str, Any]
) -> dict[str, Any]:
    """Return what was seen, and with it the changes that a run has stored and forgotten."""
    while told := _told(handler, event_type, _next(handler, key, seen)):
        value = json.dumps(told.data["value"], sort_keys=True)
        change = seen["change"] + 1
        seen = seen | {"value": value, "change": change, "next": None, "times": 0}
    return seen


def _told(handler: Handler, event_type: str, identifier: str) -> Event | None:
    match = {"event_type": ("==", event_type), "identifier": ("==", identifier)}
    return next(iter(handler.query_events(match, limit=1)), None)


def _publish(
    handler: Handler, event_type: str, key: str, seen: dict[str, Any], now: dict[str, Any]
) -> Publication:
    before = seen["value"]
    data = {
        "key": key, "value": json.loads(now["value"]),
        "before": None if before is None else json.loads(before),
        "change": now["change"],
    }  # fmt: skip
    return handler.publish(event_type, _next(handler, key, seen), data)


def _next(handler: Handler, key: str, seen: dict[str, Any]) -> str:
    """Return the identifier of a value's next change."""
    # The first value ever is told once, even if the run that tells it fails.
    since = "first" if seen["value"] is None else seen["since"]
    return fitted(f"{handler.source}/{key}@{since}#{seen['change'] + 1}")


def _check(key: str, confirm: int) -> None:
    if not isinstance(key, str) or not 1 <= len(key) <= 500:
        raise UsageError(f"observe: key must be a text of 1 to 500 characters, not {key!r}")
    if isinstance(confirm, bool) or not isinstance(confirm, int) or confirm < 1:
        raise UsageError(f"observe: confirm must be 1 or more, not {confirm!r}")
