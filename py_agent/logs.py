"""Logging for programs that have set up none of their own: for people, or for programs.

Where stderr is the systemd journal, each line begins with its priority, as sd-daemon(3)
describes it, and leaves the time to the journal.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from .failures import Failure, failure_of
from .own_log import what_goes_on

log = logging.getLogger("py_agent")

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
        if read_by_programs():
            logging.captureWarnings(True)
            _log_what_nobody_catches()


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


def _log_what_nobody_catches() -> None:
    """Make records of what Python itself would write to stderr as plain lines."""

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            name = "a thread" if args.thread is None else f"thread {args.thread.name}"
            log.error("%s has ended with an error", name, exc_info=args.exc_value)

    def elsewhere(args: sys.UnraisableHookArgs) -> None:
        told = args.err_msg or "an error is left aside in"
        log.error("%s %s", told, _shown(args.object), exc_info=args.exc_value)

    threading.excepthook, sys.unraisablehook = of_thread, elsewhere


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
        return _shown(record.msg)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"(a {type(value).__name__} that cannot be shown)"


def _about(record: logging.LogRecord) -> dict[str, str | int]:
    """Return the job and run, or listener and delivery, that a record belongs to."""
    told: dict[str, str | int] = {}
    for name in ABOUT:
        if hasattr(record, name):
            value = getattr(record, name)
            told[name] = value if isinstance(value, int) else _shown(value)
    here = what_goes_on()
    # During a run, a line may be about another job.
    same = all(here.get(name, value) == value for name, value in told.items())
    return {**here, **told} if same else told


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
