"""What jobs and listeners say themselves: under their names, warnings noted.

What else is said during a run or a call, by whatever library, is known to belong to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .failures import printable

OWN = logging.getLogger("py_agent.own")

MOST_WARNINGS = 20  # of a run that are kept; who warns more often has made the point

_during: ContextVar[Mapping[str, str | int]] = ContextVar("during")


@contextmanager
def during(**what: str | int) -> Iterator[None]:
    """Note what goes on in a block, coroutines included, for what is logged in it.

    Args:
        what: the job and run, or the listener and delivery.
    """
    token = _during.set(what)
    try:
        yield
    finally:
        _during.reset(token)


def what_goes_on() -> Mapping[str, str | int]:
    """Return what a line that is logged here and now belongs to."""
    return _during.get({})


class OwnLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the name of a job or listener before what it says, and notes its warnings."""

    def __init__(self, logger: logging.Logger, name: str | None) -> None:
        super().__init__(logger)
        self.warnings: list[str] = []
        self._prefix = "" if name is None else f"{printable(name)}: ".replace("%", "%%")

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{self._prefix}{msg}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level >= logging.WARNING and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(_in_full(msg, args))
        # One frame up, so that a record names the line that said it, and not this one.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        super().log(level, msg, *args, **kwargs)


def _in_full(message: object, args: tuple[object, ...]) -> str:
    """Return a line of the log; with what is wrong with it, as logging does not raise."""
    try:
        return str(message) % args if args else str(message)
    except (TypeError, ValueError):
        return f"{message} {args!r}"
