"""What a test finds in its agent's store: plain values, to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..store.listing import Row

# As in `store.tables`, which is not imported before it is needed.
STATES = ("available", "running", "retryable", "completed", "discarded", "parked")
OUTCOMES = ("running", "completed", "failed", "skipped", "crashed")


@dataclass(frozen=True)
class Delivery:
    """One event owed to one listener.

    Args:
        listener: the listener's name.
        event_type: the event's type.
        identifier: the event's identifier.
        state: "available", "running", "retryable", "completed", "discarded", "parked".
        attempts: counted tries so far.
        due: when it is tried again; None if it does not wait for that.
        reason: why it is in this state, where there is something to say.
        error: the last error, as "kind: message".
    """

    listener: str
    event_type: str
    identifier: str
    state: str
    attempts: int
    due: datetime | None
    reason: str | None
    error: str | None


@dataclass(frozen=True)
class JobRun:
    """One run of a job, or several in a row that were skipped.

    Args:
        job: the job's name.
        outcome: "running", "completed", "failed", "skipped".
        started: when it began, or was skipped.
        finished: when it ended.
        published: how many new events it published.
        duplicates: how many known ones.
        skips: how often in a row it was due and did not run.
        error: its error, as "kind: message".
    """

    job: str
    outcome: str
    started: datetime
    finished: datetime | None
    published: int
    duplicates: int
    skips: int
    error: str | None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def delivery_of(row: Row) -> Delivery:
    """Return a delivery, given as a row of `agent deliveries`."""
    return Delivery(
        listener=row["listener"],
        event_type=row["event_type"],
        identifier=row["identifier"],
        state=row["state"],
        attempts=row["attempts"],
        due=_moment(row["due"]),
        reason=row["reason"],
        error=row["error"],
    )


def run_of(row: Row) -> JobRun:
    """Return a run, given as a row of `agent runs`."""
    return JobRun(
        job=row["job"],
        outcome=row["outcome"],
        started=datetime.fromisoformat(row["started"]),
        finished=_moment(row["finished"]),
        published=row["published"],
        duplicates=row["duplicates"],
        skips=row["skips"],
        error=row["error"],
    )


def check_word(what: str, word: str | None, known: tuple[str, ...]) -> None:
    """Refuse a word that matches nothing: `assert not ...` would always hold."""
    if word is not None and word not in known:
        raise UsageError(f"there is no {what} {word!r}; known are {', '.join(known)}")
