"""A listener that writes each event to the log."""

from __future__ import annotations

import json
import logging
from typing import Literal

from py_agent import Event

log = logging.getLogger(__name__)

LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
    "error": logging.ERROR,
}  # fmt: skip


def log_event(
    event: Event, level: Literal["debug", "info", "warning", "error"] = "info"
) -> None:
    """Write an event to the log, on one line.

    Args:
        event: what to log.
        level: the level to log at.
    """
    line = f"{event.event_type} {event.identifier} {json.dumps(event.data)}"
    log.log(
        LEVELS[level], "%s", "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    )
