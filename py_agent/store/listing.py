"""What the store holds, as plain rows for people and programs to read.

Each row is a dictionary whose keys are the project's words; the newest come first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, not_, select

from ..clock import from_micros
from ..errors import StoreRefusedError
from . import schema, side_file
from .dialects import damaged_values, open_to_read, storage_errors
from .holding import HELD, OF_RUN, WITHHELD, by_run
from .lock import holder
from .subscriptions import NEVER
from .tables import (
    DROPPED,
    OWED,
    SNOOZED,
    Outcome,
    State,
    attempt_errors,
    deliveries,
    events,
    jobs,
    runs,
    subscriptions,
)

Row = dict[str, Any]

# Counted for themselves: nobody is to work them off, or not yet.
_HELD, _SNOOZED = "held", "snoozed"
SEVERAL = 3  # attempts after which a failure is more than a bad moment


class Listing:
    """Reads a store beside whatever agent runs on it, changing nothing.

    Args:
        path: the store's file.
        connection: a connection to it.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection

    def events(self, limit: int, **wanted: str | None) -> list[Row]:
        """Return events.

        Args:
            limit: how many at most.
            wanted: exact values of event_type, identifier or source.
        """
        query = _narrow(select(events), events.c, wanted).order_by(events.c.id.desc())
        return [
            {
                "id": row.id,
                "event_type": row.event_type,
                "identifier": row.identifier,
                "created": _moment(row.created),
                "source": row.source,
                "data": self._data(row.id, row.data),
                "pruned": row.data is None,
            }
            for row in self._connection.execute(query.limit(limit))
        ]

    def deliveries(self, limit: int, dead: bool = False, **wanted: str | None) -> list[Row]:
        """Return deliveries.

        Args:
            limit: how many at most.
            dead: only dead letters that nobody has dealt with.
            wanted: exact values of listener, state, event_type or identifier.
        """
        state = wanted.pop("state", None)
        listener = wanted.pop("listener", None)
        inside = self._inside()
        query = _narrow(_deliveries(), events.c, wanted)
        if listener is not None:
            query = query.where(subscriptions.c.name == listener)
        if dead:
            query = query.where(
                deliveries.c.state == State.DISCARDED,
                func.coalesce(deliveries.c.reason, "") != DROPPED,
            )
        if state == State.RUNNING:
            query = query.where(deliveries.c.state.in_(OWED))
        elif state is not None:
            query = query.where(deliveries.c.state == state)
        found = self._connection.execute(query)
        rows = (_delivery_row(row, inside) for row in found)
        wanted_rows = (row for row in rows if state in (None, row["state"]))
        return [row for row, _ in zip(wanted_rows, range(limit), strict=False)]

    def runs(self, limit: int, **wanted: str | None) -> list[Row]:
        """Return runs.

        Args:
            limit: how many at most.
            wanted: exact values of job or outcome.
        """
        query = _narrow(select(runs), runs.c, wanted).order_by(runs.c.id.desc())
        return [
            {
                "id": row.id,
                "job": row.job,
                "started": _moment(row.started),
                "finished": _moment(row.finished),
                "outcome": row.outcome,
                "published": row.published,
                "duplicates": row.duplicates,
                "skips": row.skips,
                "error": row.error,
            }
            for row in self._connection.execute(query.limit(limit))
        ]

    def jobs(self) -> list[Row]:
        """Return the jobs that have ever run, with their last run; a skip is no run."""
        rows = {row.job: _job_row(row) for row in self._connection.execute(_last_runs())}
        for row in self._connection.execute(select(jobs)):
            found = rows.setdefault(row.name, {"name": row.name, **_NEVER_RAN})
            found["paused"] = bool(row.paused)
            found["pause_reason"] = row.pause_reason
            found["state"] = row.state
        for each in self.withheld():
            if each["held"]:
                name = each["job"]
                rows.setdefault(name, {"name": name, **_NEVER_RAN})["held"] = each["events"]
        return sorted(rows.values(), key=lambda row: str(row["name"]))

    def withheld(self) -> list[Row]:
        """Return the jobs whose events are withheld, and how much of each.

        `held` is true for what waits for a person, false for what waits for the end of
        `run`, whose row says whether it is still going on.
        """
        held: dict[str, Row] = {}
        for row in self._connection.execute(by_run(HELD)):
            mine = held.setdefault(row.job, _withheld_row(row.job))
            mine["events"] += row.events
            mine["deliveries"] += row.deliveries
        waiting = [
            _withheld_row(row.job, row.run, row.events, row.deliveries)
            for row in self._connection.execute(by_run(OF_RUN))
        ]
        rows = [*sorted(held.values(), key=lambda row: str(row["job"])), *waiting]
        return [row for row in rows if row["job"] is not None]

    def last_started(self) -> dict[str, datetime]:
        """Return when the last run of each job began; a skip is no run."""
        found = self._connection.execute(
            select(runs.c.job, func.max(runs.c.started))
            .where(runs.c.outcome != Outcome.SKIPPED)
            .group_by(runs.c.job)
        )
        return {job: from_micros(started) for job, started in found}

    def known_since(self) -> dict[str, datetime]:
        """Return when each job that waits from its registration on was registered."""
        query = select(jobs.c.name, jobs.c.known_since).where(
            jobs.c.known_since.is_not(None)
        )
        return {name: from_micros(since) for name, since in self._connection.execute(query)}

    def listeners(self, now: int) -> list[Row]:
        """Return the subscriptions, with how many deliveries each is owed.

        Args:
            now: the present in microseconds.
        """
        state = case(
            (WITHHELD, _HELD), (_is_snoozed(now), _SNOOZED), else_=deliveries.c.state
        ).label("kind")
        counted = self._connection.execute(
            select(
                deliveries.c.subscription_id, state, deliveries.c.reason,
                func.count().label("how_many"),
            )
            .where(deliveries.c.state != State.COMPLETED)
            .group_by(deliveries.c.subscription_id, state, deliveries.c.reason)
        )  # fmt: skip
        counts: dict[int, dict[str, int]] = {}
        for row in counted:
            if row.reason != DROPPED:
                states = counts.setdefault(row.subscription_id, {})
                states[row.kind] = states.get(row.kind, 0) + row.how_many
        oldest, failing = self._oldest_owed(now), self._failing()
        found = self._connection.execute(select(subscriptions).order_by(subscriptions.c.id))
        return [
            _listener_row(row, counts.get(row.id, {}), now)
            | {
                "oldest_owed": _moment(oldest.get(row.id)),
                "failing": failing.get(row.id, 0),
            }
            for row in found
        ]

    def _failing(self) -> dict[int, int]:
        """Return how many deliveries of each subscription have failed several times."""
        found = self._connection.execute(
            select(deliveries.c.subscription_id, func.count())
            .where(deliveries.c.state == State.RETRYABLE, deliveries.c.attempts >= SEVERAL)
            .group_by(deliveries.c.subscription_id)
        )
        return {row[0]: row[1] for row in found}

    def _oldest_owed(self, now: int) -> dict[int, int]:
        """Return when the oldest event owed to each was stored, of those not snoozed."""
        found = self._connection.execute(
            select(deliveries.c.subscription_id, func.min(events.c.created))
            .join(events, events.c.id == deliveries.c.event_id)
            .where(deliveries.c.state.in_(OWED), not_(WITHHELD), not_(_is_snoozed(now)))
            .group_by(deliveries.c.subscription_id)
        )
        return {row[0]: row[1] for row in found}

    def errors(self, event_id: int, subscription_id: int) -> list[Row]:
        """Return every error of a delivery, the first attempt first."""
        query = (
            select(attempt_errors)
            .where(
                attempt_errors.c.event_id == event_id,
                attempt_errors.c.subscription_id == subscription_id,
            )
            .order_by(attempt_errors.c.id)
        )
        return [
            {
                "attempt": row.attempt,
                "at": _moment(row.at),
                "error": f"{row.kind}: {row.message}",
                "traceback": row.traceback,
            }
            for row in self._connection.execute(query)
        ]

    def _data(self, event_id: int, text: str | None) -> Any:
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise StoreRefusedError(
                f"{self._path}: the data of event {event_id} is damaged: {error}"
            ) from error

    def _inside(self) -> frozenset[tuple[int, int]]:
        """Return the deliveries that a living agent is inside of."""
        if holder(self._path) is None:
            return frozenset()
        return frozenset(side_file.read(self._path).deliveries)


@contextmanager
def reading(path: Path) -> Iterator[Listing]:
    """Open a store to read it.

    Raises:
        StoreMissingError: there is none.
        StoreError: it cannot be read.
    """
    with connected(path) as connection:
        yield Listing(path, connection)


@contextmanager
def connected(path: Path) -> Iterator[Connection]:
    """Lend a connection that can change nothing; as `reading` does."""
    schema.verify_current(path, writing=False)
    with storage_errors(path), damaged_values(path):
        engine = open_to_read(path)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()


def _is_snoozed(now: int) -> ColumnElement[bool]:
    """What is owed, and waits without a failure until a moment that is still to come."""
    return and_(
        deliveries.c.state.in_(OWED),
        deliveries.c.due > now,
        func.coalesce(deliveries.c.reason, "") == SNOOZED,
    )


def _last_runs() -> Select[Any]:
    """Return the query of the last run of each job, or its skips if it never ran.

    From one job to the next by the index: after a year, the table has millions of rows.
    """
    later = runs.alias()
    first = select(func.min(runs.c.job).label("job")).cte("names", recursive=True)
    behind = select(func.min(later.c.job)).where(later.c.job > first.c.job)
    names = first.union_all(
        select(behind.scalar_subquery()).where(first.c.job.is_not(None))
    )

    def last(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        newest = select(runs.c.id).where(runs.c.job == names.c.job, *conditions)
        return newest.order_by(runs.c.id.desc()).limit(1).scalar_subquery()

    found = func.coalesce(last(runs.c.outcome != Outcome.SKIPPED), last())
    return select(runs).where(runs.c.id.in_(select(found).select_from(names)))


def _deliveries() -> Select[Any]:
    latest = (
        select(func.max(attempt_errors.c.id))
        .where(
            attempt_errors.c.event_id == deliveries.c.event_id,
            attempt_errors.c.subscription_id == deliveries.c.subscription_id,
        )
        .correlate(deliveries)
        .scalar_subquery()
    )
    return (
        select(
            deliveries, events.c.event_type, events.c.identifier,
            subscriptions.c.name.label("listener"),
            attempt_errors.c.kind, attempt_errors.c.message,
        )
        .join(events, events.c.id == deliveries.c.event_id)
        .join(subscriptions, subscriptions.c.id == deliveries.c.subscription_id)
        .outerjoin(attempt_errors, and_(attempt_errors.c.id == latest))
        .order_by(deliveries.c.event_id.desc(), deliveries.c.subscription_id)
    )  # fmt: skip


def _delivery_row(row: Any, inside: frozenset[tuple[int, int]]) -> Row:
    is_inside = (row.event_id, row.subscription_id) in inside and row.state in OWED
    waits = row.state == State.RETRYABLE and not is_inside
    return {
        "id": f"{row.event_id}.{row.subscription_id}",
        "event_id": row.event_id,
        "event_type": row.event_type,
        "identifier": row.identifier,
        "listener": row.listener,
        "state": str(State.RUNNING) if is_inside else row.state,
        "attempts": row.attempts,
        "due": _moment(row.due) if waits else None,
        "finished": _moment(row.finished),
        "reason": row.reason,
        "error": None if row.kind is None else f"{row.kind}: {row.message}".rstrip(": "),
    }


_NEVER_RAN: Row = {
    "last_run": None, "outcome": None, "error": None, "paused": False,
    "pause_reason": None, "held": 0,
}  # fmt: skip


def _job_row(row: Any) -> Row:
    return {
        "name": row.job,
        "last_run": _moment(row.started),
        "outcome": row.outcome,
        "error": row.error,
        "paused": False,
        "pause_reason": None,
        "held": 0,
    }


def _withheld_row(
    job: str, run: int | None = None, events: int = 0, deliveries: int = 0
) -> Row:
    return {
        "job": job,
        "held": run is None,
        "run": run,
        "events": events,
        "deliveries": deliveries,
    }


def _listener_row(row: Any, counts: dict[str, int], now: int) -> Row:
    paused = row.paused_until is not None and now < row.paused_until
    until = row.paused_until if paused and row.paused_until < NEVER else None
    return {
        "name": row.name,
        "filter": json.loads(row.filter),
        "ordered_by": json.loads(row.ordered_by),
        "owed": sum(counts.get(kind, 0) for kind in (*OWED, _SNOOZED)),
        "snoozed": counts.get(_SNOOZED, 0),
        "held": counts.get(_HELD, 0),
        "parked": counts.get(State.PARKED, 0),
        "dead": counts.get(State.DISCARDED, 0),
        "in_code": not row.parked,
        "paused": paused,
        "paused_until": _moment(until),
        "pause_reason": row.pause_reason if paused else None,
    }


def _narrow(query: Select[Any], columns: Any, wanted: dict[str, str | None]) -> Select[Any]:
    for name, value in wanted.items():
        if value is not None:
            query = query.where(columns[name] == value)
    return query


def _moment(micros: int | None) -> str | None:
    return None if micros is None else from_micros(micros).isoformat()
