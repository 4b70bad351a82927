"""What jobs and listeners say themselves: under their names, warnings noted."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from .failures import printable

OWN = logging.getLogger("py_agent.own")

MOST_WARNINGS = 20  # of a run that are kept; who warns more often has made the point


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
