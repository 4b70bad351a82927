"""Data as JSON text: what has a JSON form is written in it, all else is refused.

These Python values are written in their JSON form, everything else that is not JSON is
refused with the path of the bad value:

    datetime, date, time    ISO 8601 text
    UUID, Decimal           text
    Enum                    its value
    dataclass               an object of its fields
    pydantic model          its own JSON form
    tuple                   a list
"""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from .errors import EventError

MAX_DATA = 1024 * 1024  # bytes of JSON; the default of Agent(max_data=...)
MAX_DEPTH = 200  # nested lists and objects; json's own recursion ends near 1,000


def is_unicode(text: str) -> bool:
    """Return whether a text is whole characters only, without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode(data: Any, limit: int = MAX_DATA) -> str:
    """Return data as compact JSON text.

    Args:
        data: the value, see the module's table for what is understood beyond JSON.
        limit: bytes of UTF-8 at most.

    Raises:
        EventError: a value without a JSON form (with its path), or too much data.
    """
    try:
        text = _ENCODE(data)
        if text.count("[") + text.count("{") > MAX_DEPTH:
            refuse_deep(json.loads(text))
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise EventError(_complaint(data, error)) from error
    if not text.isascii() and not is_unicode(text):
        text = _ENCODE_ASCII(data)  # half characters survive as \uXXXX escapes
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise EventError(
            f"the data has {size:,} bytes as JSON; at most {limit:,} are stored "
            f"(Agent(max_data=...) sets the limit)"
        )
    return text


def _json_form(value: Any) -> Any:
    """Return the JSON form of a value that json does not know."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        if isinstance(value, Decimal) and not value.is_finite():
            raise ValueError(f"{value} is not a finite number")
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")


# One encoder for all: json.dumps with options builds a new one at every call.
_OPTIONS: dict[str, Any] = {
    "allow_nan": False, "separators": (",", ":"), "default": _json_form,
}  # fmt: skip
_ENCODE = json.JSONEncoder(ensure_ascii=False, **_OPTIONS).encode
_ENCODE_ASCII = json.JSONEncoder(ensure_ascii=True, **_OPTIONS).encode


def refuse_deep(value: Any, left: int = MAX_DEPTH) -> None:
    """Refuse a JSON value that is nested too deeply for every decoder to read back.

    Raises:
        RecursionError: it has more than `left` levels.
    """
    if not isinstance(value, (list, dict)):
        return
    if left == 0:
        raise RecursionError
    for item in value if isinstance(value, list) else value.values():
        refuse_deep(item, left - 1)


def _complaint(data: Any, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"the data is nested more than {MAX_DEPTH} levels deep"
    try:
        found = _find_bad(data, "data", ())
    except (RecursionError, ValueError):
        found = None
    return found or f"the data has no JSON form: {error}"


def _find_bad(value: Any, path: str, above: tuple[int, ...]) -> str | None:
    """Return the complaint about the first bad value; slow, only after a failure."""
    if id(value) in above:
        return f"{path} contains itself"
    above = (*above, id(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, (str, int, float, bool, type(None))):
                return f"{path} has a key that is no text: {key!r:.80}"
            if problem := _refusal({key: None}):
                return f"{path} has a key that is not JSON: {problem}"
            if found := _find_bad(item, f"{path}.{key}", above):
                return found
        return None
    if isinstance(value, (list, tuple)):
        rows = (_find_bad(item, f"{path}[{n}]", above) for n, item in enumerate(value))
        return next((row for row in rows if row), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path} is {value}, which JSON does not know"
    if value is None or isinstance(value, (str, int, float)):
        problem = _refusal(value)
        return f"{path} is not JSON: {problem}" if problem else None
    try:
        return _find_bad(_json_form(value), path, above)
    except (TypeError, ValueError, AttributeError) as error:
        return f"{path} is not JSON: {error}"


def _refusal(value: Any) -> str:
    """Return why json refuses a single value, as a number of too many digits; or ""."""
    try:
        _ENCODE(value)
    except ValueError as error:
        return str(error)
    return ""
