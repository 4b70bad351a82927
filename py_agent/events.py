"""Events: immutable facts with a stable identity, and their JSON form.

Identity is the pair (event type, identifier), compared as exact text. Data is JSON;
these Python values are written in their JSON form, everything else is refused with the
path of the bad value:

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
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from .errors import EventError, StoreRefusedError

MAX_TYPE = 255  # characters
MAX_IDENTIFIER = 1024  # characters
MAX_DATA = 1024 * 1024  # bytes of JSON; the default of Agent(max_data=...)
MAX_DEPTH = 200  # nested lists and objects; json's own recursion ends near 1,000
MAX_ECHO = 32  # listeners answering listeners; more is taken for an endless echo


class Event:
    """One immutable fact.

    Args:
        event_type: its kind, 1 to 255 characters.
        identifier: the producer's stable id, 1 to 1,024 characters.
        data: the JSON value; each listener sees its own copy, as it was stored.
        created: when it was stored, aware UTC; now if not given.
        source: the name of the job or listener that published it.
        id: the store's number, 0 before it is stored.
        depth: how many listeners stand between this event and the world outside.
        delivery_key: `<event id>.<subscription id>`, the same on every attempt of one
            delivery; None outside a delivery.
    """

    __slots__ = (
        "_data", "_text", "created", "delivery_key", "depth",
        "event_type", "id", "identifier", "source",
    )  # fmt: skip

    id: int
    event_type: str
    identifier: str
    created: datetime
    source: str | None
    depth: int
    delivery_key: str | None
    _data: Any
    _text: str | None

    def __init__(
        self,
        event_type: str,
        identifier: str,
        data: Any = None,
        *,
        created: datetime | None = None,
        source: str | None = None,
        id: int = 0,
        depth: int = 0,
        delivery_key: str | None = None,
    ) -> None:
        self._fill(
            event_type, identifier, created or datetime.now(UTC), source, id, depth,
            delivery_key, data, None,
        )  # fmt: skip

    def _fill(
        self,
        event_type: str,
        identifier: str,
        created: datetime,
        source: str | None,
        id: int,
        depth: int,
        delivery_key: str | None,
        data: Any,
        text: str | None,
    ) -> None:
        fill = object.__setattr__  # spelled out: several are made for every event
        fill(self, "event_type", event_type)
        fill(self, "identifier", identifier)
        fill(self, "created", created)
        fill(self, "source", source)
        fill(self, "id", id)
        fill(self, "depth", depth)
        fill(self, "delivery_key", delivery_key)
        fill(self, "_data", data)
        fill(self, "_text", text)

    @classmethod
    def stored(
        cls,
        id: int,
        event_type: str,
        identifier: str,
        created: datetime,
        source: str | None,
        text: str | None,
        depth: int = 0,
        delivery_key: str | None = None,
    ) -> Event:
        """Return an event whose data is decoded from its JSON text on first access."""
        event = cls.__new__(cls)
        event._fill(
            event_type, identifier, created, source, id, depth, delivery_key,
            None, text,
        )  # fmt: skip
        return event

    def delivered(self, delivery_key: str) -> Event:
        """Return a fresh copy for one delivery, so that listeners share no data."""
        return Event.stored(
            self.id, self.event_type, self.identifier, self.created, self.source,
            self.text, self.depth, delivery_key,
        )  # fmt: skip

    @property
    def data(self) -> Any:
        """The event's data, decoded once.

        Raises:
            StoreRefusedError: what the store holds is not JSON any more.
        """
        if self._data is None and self._text is not None:
            try:
                object.__setattr__(self, "_data", json.loads(self._text))
            except (ValueError, RecursionError) as error:
                raise StoreRefusedError(
                    f"the stored data of event {self.id} is damaged: {error}"
                ) from error
        return self._data

    @property
    def text(self) -> str:
        """The event's data as JSON text."""
        return encode(self._data) if self._text is None else self._text

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an event is immutable; {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an event is immutable; {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return (self.event_type, self.identifier, self.data) == (
            other.event_type, other.identifier, other.data,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.event_type, self.identifier))

    def __repr__(self) -> str:
        return f"Event({self.event_type!r}, {self.identifier!r}, {self.data!r})"


class Publication:
    """The answer to publish(): the stored event, and whether it was new.

    A publication is true when the event was new, so `if handler.publish(...)` reads as
    it should. For a duplicate, `event` is the stored one, read on first access.
    """

    __slots__ = ("_event", "_read", "new")

    def __init__(
        self,
        new: bool,
        event: Event | None = None,
        read: Callable[[], Event] | None = None,
    ) -> None:
        self.new = new
        self._event = event
        self._read = read

    @property
    def event(self) -> Event:
        """The event as the store has it."""
        if self._event is None:
            assert self._read is not None
            self._event = self._read()
        return self._event

    def __bool__(self) -> bool:
        return self.new

    def __repr__(self) -> str:
        return f"Publication(new={self.new})"


@dataclasses.dataclass(frozen=True)
class Published:
    """The answer to publish_many(): how many events were offered and how many were new.

    Args:
        total: events taken from the iterable.
        new: events that the store did not know.
    """

    total: int = 0
    new: int = 0

    def __add__(self, other: Published) -> Published:
        return Published(self.total + other.total, self.new + other.new)


def check_identity(event_type: Any, identifier: Any) -> None:
    """Refuse an event type or identifier that breaks the limits.

    Raises:
        EventError: not a text, empty, too long, or with NUL or a lone surrogate.
    """
    _check_text("event type", event_type, MAX_TYPE)
    _check_text("identifier", identifier, MAX_IDENTIFIER)


def _check_text(what: str, value: Any, limit: int) -> None:
    if not isinstance(value, str):
        raise EventError(
            f"the {what} must be a text, not {type(value).__name__} {value!r:.80}"
        )
    if not 1 <= len(value) <= limit:
        raise EventError(
            f"the {what} must have 1 to {limit:,} characters, but has {len(value):,}"
        )
    if "\0" in value:
        raise EventError(f"the {what} {value!r:.80} holds a NUL character")
    if not value.isascii() and not is_unicode(value):
        raise EventError(f"the {what} {value!r:.80} holds half a character (surrogate)")


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
            _refuse_deep(json.loads(text), MAX_DEPTH)
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


def _refuse_deep(value: Any, left: int) -> None:
    if not isinstance(value, (list, dict)):
        return
    if left == 0:
        raise RecursionError
    for item in value if isinstance(value, list) else value.values():
        _refuse_deep(item, left - 1)


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
