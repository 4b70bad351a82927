"""What tells one thing from another in a source that has no stable id ready to hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any


class _Missing:
    """The value of a field that the event does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()  # nothing stands there


def at_path(value: Any, path: str, default: Any = None) -> Any:
    """Return what stands at a dotted path in JSON data.

    Args:
        value: the data: dicts, lists and what they hold.
        path: keys, and numbers for the places in lists, as `items.0.id`; empty for the
            data itself.
        default: what to return where nothing stands.
    """
    return walk(value, path.split(".") if path else (), default)


def walk(value: Any, steps: Sequence[str], default: Any = MISSING) -> Any:
    """Return what stands at a path that is split into its steps; see `at_path`."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return default
    return value


def identifier_of(item: Any, fields: str | Sequence[str] | None = None) -> str | None:
    """Return the identifier of an item of JSON data.

    Args:
        item: the item.
        fields: the dotted path of its id, as `id` or `meta.key`, or several paths, so
            that each change is an event: `["id", "updated_at"]`. None for an item that
            has no id: then its content is the identifier.

    Returns:
        The text at the path, or the texts joined by `@`; the SHA-256 of the content as
        JSON with sorted keys; None if the first field holds no text or number.

    Raises:
        RecursionError: it is nested too deeply.
    """
    paths = [fields] if isinstance(fields, str) else list(fields or ())
    if not paths:
        return hashlib.sha256(_json(item).encode()).hexdigest()
    first, *others = (at_path(item, path, MISSING) for path in paths)
    if isinstance(first, bool) or not isinstance(first, str | int | float) or first == "":
        return None
    if not others:
        return _text(first)
    # Escaped, so that ("a@b", "c") and ("a", "b@c") stay two things.
    parts = [_text(each) for each in (first, *others)]
    return "@".join(part.replace("%", "%25").replace("@", "%40") for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "null" if value is MISSING else _json(value)


def _json(value: Any) -> str:
    """Return the one text of a JSON value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
