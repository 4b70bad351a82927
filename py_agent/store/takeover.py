"""What the new holder of the agent lock does first, in one transaction.

It charges the calls in which the last process ended, makes what was running available,
brings the subscriptions in line with its code, and parks the deliveries of listeners
that its code lacks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sqlalchemy import bindparam, literal_column, select, text, update

from ..clock import from_micros
from ..events import Event
from ..failures import Failure
from ..matching import order_key
from ..registry import Listener
from .deliveries import Attempt, record
from .dialects import Statement, damaged_values
from .event_store import EventStore
from .holding import OF_RUN, release, run_of, waiting
from .runs import pause_job, set_crashes
from .side_file import Inside
from .subscriptions import CHANGE, NEVER, PAUSE, TOUCH, Subscription, add, read_all
from .tables import IN_DOUBT, OWED, Outcome, State, deliveries, events, jobs, runs, store

CRASH_LIMIT = 3  # times in a row that a call may end the process
SERVICE_CRASH_LIMIT = 10  # of a service, which is inside its function at every crash
STUCK = "too many calls are stuck"  # a pause with this reason ends with the process

_OF_DELIVERY = (
    deliveries.c.event_id == bindparam("event"),
    deliveries.c.subscription_id == bindparam("subscription"),
)
_LOOK = Statement(
    select(
        deliveries.c.state,
        deliveries.c.attempts,
        deliveries.c.crashes,
        deliveries.c.reason,
    ).where(*_OF_DELIVERY)
)
_FREE = Statement(
    update(deliveries)
    .where(
        text("state = 'running'"),
        text("state IN ('available', 'retryable', 'running')"),
    )
    .values(state=literal_column("'available'"), due=literal_column("0"))
)
_DOUBT = Statement(
    update(deliveries).where(
        *_OF_DELIVERY, text("state NOT IN ('completed', 'discarded')")
    ),
    "reason",
)
_PARK = Statement(
    update(deliveries)
    .where(
        deliveries.c.subscription_id == bindparam("key"),
        text("state IN ('available', 'retryable', 'running')"),
        deliveries.c.due < NEVER,  # what is withheld is parked once it is released
    )
    .values(state=literal_column("'parked'"))
)
_UNPARK = Statement(
    update(deliveries)
    .where(deliveries.c.subscription_id == bindparam("key"), text("state = 'parked'"))
    .values(state=literal_column("'available'"), due=literal_column("0"))
)
_CRASHED_RUNS = Statement(
    update(runs).where(text("outcome = 'running'")), "finished", "outcome", "error"
)
_JOB_CRASHES = Statement(select(jobs.c.crashes).where(jobs.c.name == bindparam("key")))
_CHARGED = Statement(select(store.c.charged_life))
_SET_CHARGED = Statement(update(store), "charged_life")
_OWED_EVENTS = Statement(
    select(events.c.id, events.c.event_type, events.c.identifier, events.c.created,
           events.c.source, events.c.data)
    .join(deliveries, deliveries.c.event_id == events.c.id)
    .where(deliveries.c.subscription_id == bindparam("key"),
           text("deliveries.state NOT IN ('completed', 'discarded')"))
)  # fmt: skip
_SET_ORDER = Statement(update(deliveries).where(*_OF_DELIVERY), "order_key")


@dataclass
class Takeover:
    """What the new holder found.

    Args:
        crashed: calls in which the last process ended, in words.
        dead: those of them that are dead letters or paused now, in words.
        parked: names of subscriptions without a function in the code.
    """

    crashed: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)


def take_over(
    opened: EventStore,
    listeners: Iterable[Listener],
    inside: Inside,
    now: int,
    park: bool = True,
    services: Collection[str] = (),
    unguarded: Collection[str] = (),
) -> Takeover:
    """Bring the store in line with this process.

    Args:
        opened: the store, whose lock the caller holds.
        listeners: the listeners of this process's code.
        inside: what the side file of the last process says.
        now: the present in microseconds.
        park: whether this process speaks for all listeners of the store.
        services: the names of the jobs that are services.
        unguarded: the names of the jobs whose events are not withheld: what a run of
            theirs has left so, from when that was otherwise, is delivered.

    Returns:
        What was found, for the log.
    """
    known = {each.name: each for each in listeners}

    def work(cursor: sqlite3.Cursor) -> Takeover:
        found = Takeover()
        if inside.life and inside.life != _CHARGED.run(cursor).fetchone()[0]:
            _charge(cursor, inside, now, found, services)
            _SET_CHARGED.run(cursor, charged_life=inside.life)
        _FREE.run(cursor)
        _CRASHED_RUNS.run(
            cursor,
            finished=now,
            outcome=Outcome.CRASHED,
            error="the process ended while the job was running",
        )
        _adopt(cursor, known, park, found)
        for reason in waiting(cursor):
            run = run_of(reason)
            if run is not None and run[1] in unguarded:
                release(cursor, OF_RUN, reason)
        return found

    with damaged_values(opened.path):
        return opened.writer.run(work)


def adopt(opened: EventStore, listener: Listener) -> None:
    """Bring one subscription in line with a listener that comes while the agent runs."""

    def work(cursor: sqlite3.Cursor) -> None:
        add(cursor, [listener])
        for subscription in read_all(cursor):
            if subscription.name == listener.name:
                _renew(cursor, subscription, listener)

    opened.writer.run(work)


def _charge(
    cursor: sqlite3.Cursor,
    inside: Inside,
    now: int,
    found: Takeover,
    services: Collection[str],
) -> None:
    for event_id, subscription_id in inside.deliveries:
        row = _LOOK.run(cursor, event=event_id, subscription=subscription_id).fetchone()
        if row is None or row[0] not in (*OWED, State.PARKED):
            continue
        crashes = row[2] + 1
        dead = crashes >= CRASH_LIMIT
        doubt = IN_DOUBT if row[3] == IN_DOUBT else None  # of the try before this one
        attempt = Attempt(
            State.DISCARDED if dead else State.AVAILABLE,
            # A stuck call has been counted when it was found to be stuck.
            attempts=row[1] + (row[0] != State.RUNNING),
            at=now,
            crashes=crashes,
            reason=f"it ended the agent {crashes} times in a row" if dead else doubt,
            failure=Failure("Crash", "the process ended inside this call"),
        )
        record(cursor, event_id, subscription_id, attempt)
        name = f"delivery {event_id}.{subscription_id}"
        (found.dead if dead else found.crashed).append(name)
    for event_id, subscription_id in inside.doubtful:
        _DOUBT.run(cursor, event=event_id, subscription=subscription_id, reason=IN_DOUBT)
    for name in inside.jobs:
        row = _JOB_CRASHES.run(cursor, key=name).fetchone()
        crashes = (row[0] if row else 0) + 1
        set_crashes(cursor, name, crashes)
        dead = crashes >= (SERVICE_CRASH_LIMIT if name in services else CRASH_LIMIT)
        if dead:
            pause_job(cursor, name, f"it ended the agent {crashes} times in a row")
        (found.dead if dead else found.crashed).append(f"job {name}")


def _adopt(
    cursor: sqlite3.Cursor, known: dict[str, Listener], park: bool, found: Takeover
) -> None:
    stored = {each.name: each for each in read_all(cursor)}
    if lacking := [each for name, each in known.items() if name not in stored]:
        add(cursor, lacking)
    touched = False
    for name, subscription in stored.items():
        if subscription.pause_reason == STUCK:
            PAUSE.run(cursor, key=name, paused_until=None, pause_reason=None)
            touched = True
        if name in known:
            touched |= _renew(cursor, subscription, known[name])
        elif park:
            found.parked.append(name)
            _PARK.run(cursor, key=subscription.id)
            if not subscription.parked:
                _change(cursor, subscription, subscription, parked=True)
                touched = True
    if touched:
        TOUCH.run(cursor)


def _renew(cursor: sqlite3.Cursor, stored: Subscription, listener: Listener) -> bool:
    """Bring one subscription in line with its listener; return whether it changed."""
    if stored.parked:
        _UNPARK.run(cursor, key=stored.id)
    reordered = stored.ordered_by != listener.ordered_by
    if reordered:
        _reorder(cursor, stored.id, listener)
    same_filter = stored.filter.to_json() == listener.filter.to_json()
    if not stored.parked and not reordered and same_filter:
        return False
    _change(cursor, stored, listener, parked=False)
    return True


def _change(
    cursor: sqlite3.Cursor,
    stored: Subscription,
    wanted: Subscription | Listener,
    parked: bool,
) -> None:
    CHANGE.run(
        cursor,
        key=stored.id,
        filter=wanted.filter.to_json(),
        ordered_by=json.dumps(wanted.ordered_by),
        parked=parked,
    )


def _reorder(cursor: sqlite3.Cursor, subscription_id: int, listener: Listener) -> None:
    """Give the unfinished deliveries of a listener the keys of its new order."""
    rows = _OWED_EVENTS.run(cursor, key=subscription_id).fetchall()
    for event_id, event_type, identifier, created, source, data in rows:
        event = Event.stored(
            event_id, event_type, identifier, from_micros(created), source, data
        )
        _SET_ORDER.run(
            cursor,
            event=event_id,
            subscription=subscription_id,
            order_key=order_key(listener.ordered_by, event),
        )
