"""Events: immutable facts with a stable identity.

Identity is the pair (event type, identifier), compared as exact text. Data is JSON; see
`json_text` for the Python values that have a JSON form.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .errors import EventError, StoreRefusedError
from .json_text import encode, is_unicode

MAX_TYPE = 255  # characters
MAX_IDENTIFIER = 1024  # characters
_PRUNED = object()  # stands for data that was dropped
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

    Attributes:
        in_doubt: whether an attempt before was cut off after `handler.begin_effect()`, by
            a crash or a stop, so that its effect may have happened, and none since has
            begun it again and ended.
        pruned: whether its data was dropped for its age (`keep_data`); it is None then.
    """

    __slots__ = (
        "_data", "_text", "created", "delivery_key", "depth",
        "event_type", "id", "identifier", "in_doubt", "source",
    )  # fmt: skip

    id: int
    event_type: str
    identifier: str
    created: datetime
    source: str | None
    depth: int
    delivery_key: str | None
    in_doubt: bool
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
        fill(self, "in_doubt", False)

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
        """Return an event whose data is decoded from its JSON text on first access.

        Without a text, its data was dropped.
        """
        event = cls.__new__(cls)
        event._fill(
            event_type, identifier, created, source, id, depth, delivery_key,
            _PRUNED if text is None else None, text,
        )  # fmt: skip
        return event

    def delivered(self, delivery_key: str, in_doubt: bool = False) -> Event:
        """Return a fresh copy for one delivery, so that listeners share no data."""
        event = Event.stored(
            self.id, self.event_type, self.identifier, self.created, self.source,
            self.text, self.depth, delivery_key,
        )  # fmt: skip
        if in_doubt:
            object.__setattr__(event, "in_doubt", True)
        return event

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
        return None if self.pruned else self._data

    @property
    def pruned(self) -> bool:
        """Whether its data was dropped for its age."""
        return self._data is _PRUNED

    @property
    def text(self) -> str:
        """The event's data as JSON text."""
        return encode(self.data) if self._text is None else self._text

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


def fitted(name: str) -> str:
    """Return a name as an identifier: itself, or its digest where it is too long."""
    if len(name) <= MAX_IDENTIFIER:
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


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
