"""A value that is looked at again and again, and an event when it has really changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .context import Handler
from .errors import UsageError
from .events import Publication
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
    was never away. What was seen is kept in `handler.state`, over restarts.

    Publishes:
        `value.changed`, identifier: the key, the number of the change and a digest of the
        new value. The data is, for example, `{"key": "door", "value": "open", "before":
        "closed", "change": 7}`.

    Args:
        handler: the job's.
        key: what the value belongs to, 1 to 900 characters.
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
    seen = looked(known.get(key), text, confirm, first)
    publication = None
    if seen["change"] > known.get(key, {}).get("change", 0):
        before = known.get(key, {}).get("value")
        publication = _publish(handler, event_type, key, seen, before)
    known[key] = seen
    return publication


def looked(
    seen: dict[str, Any] | None, text: str, confirm: int, first: bool
) -> dict[str, Any]:
    """Return what is known of a value after one more look at it: a pure decision.

    Args:
        seen: what was known: the confirmed `value` as JSON text, or null, how many times
            it has changed (`change`), a `next` value that is not confirmed, and how often
            in a row that one was seen (`times`); None before the first look.
        text: what it is now, as JSON text.
        confirm: how often in a row a new value is to be seen.
        first: whether the first value is a change.
    """
    was = seen or {"value": None, "change": 0, "next": None, "times": 0}
    settled = {"value": was["value"], "change": was["change"], "next": None, "times": 0}
    if text == was["value"]:
        return settled
    times = was["times"] + 1 if text == was["next"] else 1
    if times < confirm:
        return settled | {"next": text, "times": times}
    counts = first or was["value"] is not None
    return settled | {"value": text, "change": was["change"] + counts}


def _publish(
    handler: Handler, event_type: str, key: str, seen: dict[str, Any], before: str | None
) -> Publication:
    # The digest: should the state be lost after the event was stored, then another value
    # may become the change of the same number, and is an event of its own.
    digest = hashlib.sha256(seen["value"].encode()).hexdigest()[:16]
    data = {
        "key": key, "value": json.loads(seen["value"]),
        "before": None if before is None else json.loads(before),
        "change": seen["change"],
    }  # fmt: skip
    return handler.publish(event_type, f"{key}@{seen['change']}:{digest}", data)


def _check(key: str, confirm: int) -> None:
    if not isinstance(key, str) or not 1 <= len(key) <= 900:
        raise UsageError(f"observe: key must be a text of 1 to 900 characters, not {key!r}")
    if isinstance(confirm, bool) or not isinstance(confirm, int) or confirm < 1:
        raise UsageError(f"observe: confirm must be 1 or more, not {confirm!r}")
