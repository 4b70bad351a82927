"""Logging for programs that have set up none of their own: for people, or for programs.

Where stderr is the systemd journal, each line begins with its priority, as sd-daemon(3)
describes it, and leaves the time to the journal.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from .failures import Failure, failure_of
from .own_log import what_goes_on

JOURNAL = "JOURNAL_STREAM"  # names the stream of the journal: its device and inode
ABOUT = ("job", "run", "listener", "delivery")  # what a record may belong to


def log_to_stderr(level: int = logging.INFO, written: str = "text") -> None:
    """Add a stderr handler to the root logger if it has none.

    Args:
        level: the least level that is shown.
        written: "text" or "json".
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_formatter(written))
        root.addHandler(handler)
        root.setLevel(level)
        logging.captureWarnings(read_by_programs())


def read_by_programs() -> bool:
    """Return whether each line on stderr has to be a record of the log."""
    written = [each.formatter for each in logging.getLogger().handlers]
    return any(isinstance(each, JsonLines | JournalLines) for each in written)


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object on one line of ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_about(record),
        }
        if (failure := _failure(record)) is not None:
            line["exception"] = {
                "type": failure.kind,
                "message": failure.message,
                "traceback": failure.traceback,
            }
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps({name: _whole(value) for name, value in line.items()})


class JournalLines(logging.Formatter):
    """Writes a record as lines that each begin with its priority."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_message(record)]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(failure_of(record.exc_info[1]).traceback.rstrip("\n"))
        if record.stack_info:
            parts.append(record.stack_info)
        start = f"<{_priority(record.levelno)}>"
        # A NUL would end a line, as the journal reads them.
        lines = "\n".join(parts).replace("\0", "\\0").split("\n")
        return "\n".join(f"{start}{line}" for line in lines)


def _formatter(written: str) -> logging.Formatter:
    if written == "json":
        return JsonLines()
    if _is_journal():
        return JournalLines()
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def _is_journal() -> bool:
    """Return whether stderr is the stream that the environment says is the journal's."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get(JOURNAL) == f"{status.st_dev}:{status.st_ino}"


def _priority(level: int) -> int:
    """Return the priority of a level, as syslog(3) numbers them."""
    steps = (
        (logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6),
    )  # fmt: skip
    return next((number for least, number in steps if level >= least), 7)


def _message(record: logging.LogRecord) -> str:
    """Return what a record says; arguments that do not fit stand beside it."""
    try:
        return record.getMessage()
    except Exception:
        pass
    try:
        return f"{record.msg} {record.args!r}"
    except Exception:
        return f"(a {type(record.msg).__name__} that cannot be shown)"


def _about(record: logging.LogRecord) -> dict[str, str | int]:
    """Return the job and run, or listener and delivery, that a record belongs to."""
    told = {name: getattr(record, name) for name in ABOUT if hasattr(record, name)}
    here = what_goes_on()
    # During a run, a line may be about another job.
    same = all(here.get(name, value) == value for name, value in told.items())
    found = {**here, **told} if same else told
    return {
        name: value if isinstance(value, int) else str(value)
        for name, value in found.items()
    }


def _failure(record: logging.LogRecord) -> Failure | None:
    if record.exc_info and record.exc_info[1] is not None:
        return failure_of(record.exc_info[1])
    failure = getattr(record, "failure", None)
    return failure if isinstance(failure, Failure) else None


def _whole(value: Any) -> Any:
    """Return a value without half characters, which strict readers of JSON refuse."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
