"""What is kept of an exception: its type, message and traceback, never local values."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

MAX_MESSAGE = 2_000  # characters
MAX_TRACEBACK = 20_000  # characters; the end is kept, where the cause stands


@dataclass(frozen=True)
class Failure:
    """What went wrong in one attempt or run.

    Args:
        kind: the exception's type.
        message: its text, shortened.
        traceback: where it came from, shortened.
    """

    kind: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


def failure_of(error: BaseException) -> Failure:
    """Return what to keep of an exception, however badly it behaves itself."""
    try:
        message = str(error)
    except BaseException:
        message = "(its text cannot be shown)"
    try:
        told = traceback.TracebackException.from_exception(error, capture_locals=False)
        trace = "".join(told.format())
    except BaseException:
        trace = "(its traceback cannot be shown)"
    return Failure(
        type(error).__name__,
        _clean(message)[:MAX_MESSAGE],
        _clean(trace)[-MAX_TRACEBACK:],
    )


def _clean(text: str) -> str:
    """Return text that any database takes: no NUL, no half characters."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Return text with control characters escaped, so that it stays on its log line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
