"""What one run or call remembers of those before it, and leaves to the next."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from .clock import from_micros
from .errors import AgentError, EventError
from .json_text import MAX_DATA, encode


@dataclass(frozen=True)
class Remembered:
    """What a job or listener remembers.

    Args:
        state: its own state, a JSON object as text.
        validators: what the pages that it fetched called themselves, likewise.
        since: until when the last successful run of a job looked, in microseconds; None
            if none has succeeded, and for listeners.
    """

    state: str = "{}"
    validators: str = "{}"
    since: int | None = None


class Window(NamedTuple):
    """The time that a run looks at.

    Args:
        since: when the last successful run of the job began; None if there is none.
        until: when this run began.
    """

    since: datetime | None
    until: datetime


class Memory:
    """A state and what pages called themselves, from the store and back to it.

    Args:
        stored: what the store remembers.
    """

    def __init__(self, stored: Remembered) -> None:
        self.stored = stored
        self._reached: int | None = None

    @cached_property
    def state(self) -> dict[str, Any]:
        """The state, to be read and changed in place."""
        return self._decoded(self.stored.state)

    @cached_property
    def validators(self) -> dict[str, Any]:
        """What pages called themselves when they were fetched last, by URL."""
        return self._decoded(self.stored.validators)

    @property
    def since(self) -> datetime | None:
        """Until when the last successful run looked; None if none has succeeded."""
        since = self.stored.since
        return None if since is None else from_micros(since)

    def left(self, since: int | None = None) -> Remembered:
        """Return what is to be remembered from now on.

        Args:
            since: until when a successful run of a job looked, in microseconds.

        Raises:
            AgentError: the state is no JSON object.
        """
        found = self.stored
        if since is not None and self._reached is not None:
            since = max(since, self._reached)  # not back behind a checkpoint
        looked_at = self.__dict__  # what nobody has looked at is as it was
        return Remembered(
            _encoded(self.state) if "state" in looked_at else found.state,
            _encoded(self.validators) if "validators" in looked_at else found.validators,
            found.since if since is None else since,
        )

    def reach(self, since: int | None) -> Remembered:
        """Return what is to be remembered from a checkpoint on, should the run fail.

        Args:
            since: until when everything has been looked at, in microseconds; None if
                that is for the whole run to say.

        Raises:
            AgentError: the state is no JSON object.
        """
        self._reached = since
        # A page's validators say that all of it was published, and only the end of the
        # run knows that.
        return replace(self.left(since), validators=self.stored.validators)

    def changed(self) -> Remembered | None:
        """Return what is to be remembered, None if that is what the store has.

        Raises:
            AgentError: the state is no JSON object.
        """
        found = self.left()
        return None if found == self.stored else found

    def _decoded(self, text: str) -> dict[str, Any]:
        found = json.loads(text)
        return found if isinstance(found, dict) else {}


def _encoded(value: dict[str, Any]) -> str:
    try:
        if problem := _comes_back_otherwise(value, "handler.state"):
            raise AgentError(f"{problem}; a state holds only what JSON gives back")
        return encode(value, MAX_DATA)
    except (EventError, RecursionError) as error:
        raise AgentError(f"handler.state cannot be stored: {error}") from error


def _comes_back_otherwise(value: Any, path: str) -> str | None:
    """Return what JSON would change without a word: the next run would not find it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{path}: the key {key!r:.80} is no text; write str(...) of it"
            if problem := _comes_back_otherwise(item, f"{path}[{key!r}]"):
                return problem
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            if problem := _comes_back_otherwise(item, f"{path}[{place}]"):
                return problem
    elif value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        return f"{path} is a {kind}, which would come back as something else"
    return None
