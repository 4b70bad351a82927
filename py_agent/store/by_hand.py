"""What a person changes by hand, beside a running agent or without one.

Each change raises the deliveries' version, so that a running agent looks again before
it enters a function.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

from sqlalchemy import bindparam, delete, func, literal_column, select, text, update

from ..errors import NotFoundError, UsageError
from ..filters import Filter
from .dialects import Statement, insert
from .event_store import EventStore
from .holding import HELD, OF_RUN, drop, goes_on, release, waiting
from .lock import holder
from .runs import pause_job, set_crashes
from .side_file import MAX_KEY
from .subscriptions import PAUSE, TOUCH, Subscription, erase
from .subscriptions import read_all as read_subscriptions
from .tables import DROPPED, OWED, State, deliveries, jobs, runs, store

DeliveryId = tuple[int, int]
MAX_ID = 40  # characters; two numbers as large as the store's keys can be

_TOUCH = Statement(update(store).values(deliveries_version=store.c.deliveries_version + 1))
_OF_DELIVERY = (
    deliveries.c.event_id == bindparam("event"),
    deliveries.c.subscription_id == bindparam("subscription"),
)
_STATE = Statement(select(deliveries.c.state).where(*_OF_DELIVERY))
_SET = Statement(
    update(deliveries).where(*_OF_DELIVERY),
    "state", "attempts", "crashes", "due", "reason",
)  # fmt: skip
_AGAIN = Statement(
    update(deliveries).where(*_OF_DELIVERY),
    "state", "attempts", "crashes", "due", "reason", "order_key", "finished",
    "admitted", "held_run",
)  # fmt: skip
_GIVE_UP = Statement(
    update(deliveries).where(*_OF_DELIVERY), "state", "due", "reason", "finished",
    "held_run",
)  # fmt: skip
_DEAD = Statement(
    select(deliveries.c.event_id, deliveries.c.subscription_id)
    .where(
        deliveries.c.subscription_id == bindparam("key"),
        text("state = 'discarded'"),
        text(f"coalesce(reason, '') <> '{DROPPED}'"),
    )
    .order_by(deliveries.c.event_id)
)
_DROP = Statement(
    update(deliveries).where(*_OF_DELIVERY).values(reason=literal_column(f"'{DROPPED}'"))
)
_UNFINISHED = Statement(
    select(func.count())
    .select_from(deliveries)
    .where(
        deliveries.c.subscription_id == bindparam("key"),
        text("state NOT IN ('completed', 'discarded')"),
    )
)
_OWE = Statement(
    insert(deliveries).on_conflict_do_nothing(),
    "event_id", "subscription_id", "state", "attempts", "crashes", "due", "order_key",
)  # fmt: skip
_JOB = Statement(select(jobs.c.paused).where(jobs.c.name == bindparam("key")))
_RAN = Statement(select(runs.c.id).where(runs.c.job == bindparam("key")).limit(1))
_FORGET_RUNS = Statement(delete(runs).where(runs.c.job == bindparam("key")))
_FORGET_JOB = Statement(delete(jobs).where(jobs.c.name == bindparam("key")))


def parse_id(text: str) -> DeliveryId:
    """Return a delivery's id, `<event id>.<subscription id>`, as two numbers.

    Raises:
        UsageError: it is not one.
    """
    event_id, dot, subscription_id = text.partition(".")
    numbers = event_id.isdecimal() and subscription_id.isdecimal()
    if not (dot and numbers and len(text) <= MAX_ID):
        raise UsageError(
            f"{text!r} is no delivery; write its id like 12.3, as `agent deliveries` does"
        )
    return int(event_id), int(subscription_id)


def dead_letters(opened: EventStore, listener: str | None) -> list[DeliveryId]:
    """Return the dead letters of a listener, or of all, that nobody has dealt with.

    Raises:
        NotFoundError: there is no such listener.
    """
    wanted = opened.subscriptions.all() if listener is None else [_named(opened, listener)]
    rows = (opened.reader.rows(_DEAD, key=each.id) for each in wanted)
    return sorted((row[0], row[1]) for found in rows for row in found)


def redeliver(opened: EventStore, ids: Iterable[DeliveryId]) -> int:
    """Make deliveries available again with a fresh count; return how many.

    Raises:
        NotFoundError: one of them does not exist, or the data of its event was dropped;
            then none is changed.
    """
    wanted = list(ids)

    def work(cursor: sqlite3.Cursor) -> int:
        known = {each.id: each for each in read_subscriptions(cursor)}
        for event_id, subscription_id in wanted:
            _state(cursor, event_id, subscription_id)
            # As if it were owed anew: the order may have changed since it ended.
            subscription = known[subscription_id]
            event = opened.event(event_id)
            if event.pruned:
                raise NotFoundError(
                    f"delivery {event_id}.{subscription_id} cannot be tried again: the "
                    f"data of its event was dropped for its age (keep_data)"
                )
            row = subscription.delivery_of(event, event_id)
            _AGAIN.run(
                cursor, event=event_id, subscription=subscription_id,
                state=row["state"], order_key=row["order_key"],
                attempts=0, crashes=0, due=0, reason=None, finished=None,
                admitted=True, held_run=None,
            )  # fmt: skip
        _TOUCH.run(cursor)
        return len(wanted)

    return opened.writer.run(work)


def discard(opened: EventStore, ids: Iterable[DeliveryId]) -> int:
    """Make owed deliveries dead letters, and take dead letters off the list.

    Raises:
        NotFoundError: one does not exist, or is completed; then none is changed.
    """
    wanted = list(ids)

    def work(cursor: sqlite3.Cursor) -> int:
        for event_id, subscription_id in wanted:
            state = _state(cursor, event_id, subscription_id)
            if state == State.DISCARDED:
                _DROP.run(cursor, event=event_id, subscription=subscription_id)
            elif state in (*OWED, State.PARKED):
                _GIVE_UP.run(
                    cursor, event=event_id, subscription=subscription_id,
                    state=State.DISCARDED, due=0, reason="discarded by hand",
                    finished=opened.now(), held_run=None,
                )  # fmt: skip
            else:
                raise NotFoundError(
                    f"delivery {event_id}.{subscription_id} is {state}; "
                    f"there is nothing to discard"
                )
        _TOUCH.run(cursor)
        return len(wanted)

    return opened.writer.run(work)


def release_held(opened: EventStore, job: str) -> int:
    """Deliver what is held of a job; return how many deliveries that are.

    Raises:
        NotFoundError: there is no such job, or nothing of it is held.
    """
    return _decide(opened, job, release)


def discard_held(opened: EventStore, job: str) -> int:
    """Give up what is held of a job, as dealt with; return how many deliveries.

    Raises:
        NotFoundError: there is no such job, or nothing of it is held.
    """
    now = opened.now()
    return _decide(opened, job, lambda cursor, due, runs: drop(cursor, due, runs, now))


def _decide(
    opened: EventStore, job: str, do: Callable[[sqlite3.Cursor, int, list[int]], int]
) -> int:
    runs_on = holder(opened.path) is not None

    def work(cursor: sqlite3.Cursor) -> int:
        left = _runs_of(cursor, job, OF_RUN)
        # What a run that did not end has left waits for the next run, or for us.
        present = [run for run in left if runs_on and goes_on(cursor, run)]
        count = do(cursor, HELD, _runs_of(cursor, job, HELD))
        count += do(cursor, OF_RUN, [run for run in left if run not in present])
        if count == 0:
            raise NotFoundError(_nothing(cursor, job, bool(present)))
        _TOUCH.run(cursor)
        return count

    return opened.writer.run(work)


def _runs_of(cursor: sqlite3.Cursor, job: str, moment: int) -> list[int]:
    return [run for run, name in waiting(cursor, moment).items() if name == job]


def _nothing(cursor: sqlite3.Cursor, job: str, going_on: bool) -> str:
    nothing = f"nothing of job {job} is held"
    if going_on:
        return f"{nothing}; what its present run publishes waits for its end"
    if any(each.run(cursor, key=job).fetchone() for each in (_JOB, _RAN)):
        return nothing
    return f"the store knows no job named {job}"


def replay(opened: EventStore, listener: str, condition: Filter) -> int:
    """Owe a listener the stored events that its filter and `condition` match.

    Events whose data was dropped are left out.

    Returns:
        How many deliveries are new; events that it was owed before are left alone.

    Raises:
        NotFoundError: there is no such listener.
    """
    subscription = _named(opened, listener)
    count = 0
    batch: list[dict[str, object]] = []
    for event in opened.query(condition):
        if not event.pruned and subscription.filter.matches(event):
            batch.append(subscription.delivery_of(event, event.id))
        if len(batch) == 1_000:
            count += _owe(opened, batch)
            batch = []
    return count + _owe(opened, batch)


def forget_listener(opened: EventStore, listener: str) -> int:
    """Remove a subscription with its deliveries; return how many were unfinished.

    Raises:
        NotFoundError: there is no such listener.
        UsageError: the running agent has its function, and would add it again.
    """
    subscription = _named(opened, listener)
    if not subscription.parked and (pid := holder(opened.path)) is not None:
        raise UsageError(
            f"{listener} is in the code of the agent that runs (pid {pid or 'unknown'}), "
            f"which would add it again; take it out of the code and restart the agent first"
        )

    def work(cursor: sqlite3.Cursor) -> int:
        (unfinished,) = _UNFINISHED.run(cursor, key=subscription.id).fetchone()
        erase(cursor, subscription.id)
        TOUCH.run(cursor)
        _TOUCH.run(cursor)
        return int(unfinished)

    return opened.writer.run(work)


def forget_job(opened: EventStore, job: str) -> int:
    """Remove a job's runs and what it remembers; return how many runs that were.

    The events that it has published stay.

    Raises:
        NotFoundError: there is no such job.
        UsageError: an agent runs, which may have it in its code, or events of it are held.
    """
    if (pid := holder(opened.path)) is not None:
        raise UsageError(
            f"an agent runs on the store (pid {pid or 'unknown'}), which may have {job} in "
            f"its code; stop it first"
        )

    def work(cursor: sqlite3.Cursor) -> int:
        # A run that is gone could have its number taken by a run of another job.
        if _runs_of(cursor, job, HELD) or _runs_of(cursor, job, OF_RUN):
            raise UsageError(
                f"events of {job} are held; agent release or agent discard --held first"
            )
        ran = _FORGET_RUNS.run(cursor, key=job).rowcount
        known = _FORGET_JOB.run(cursor, key=job).rowcount
        if not (ran or known):
            raise NotFoundError(f"the store knows no job named {job}")
        return ran

    return opened.writer.run(work)


def resume(opened: EventStore, name: str) -> str:
    """Let a paused listener or job go on; return which of the two it was.

    Raises:
        NotFoundError: nothing of that name is paused.
    """

    def work(cursor: sqlite3.Cursor) -> str:
        for each in read_subscriptions(cursor):
            if each.name == name and each.paused_until is not None:
                PAUSE.run(cursor, key=name, paused_until=None, pause_reason=None)
                TOUCH.run(cursor)
                _TOUCH.run(cursor)
                return "listener"
        row = _JOB.run(cursor, key=name).fetchone()
        if row is None or not row[0]:
            raise NotFoundError(f"no listener or job named {name} is paused")
        pause_job(cursor, name, None)
        set_crashes(cursor, name, 0)
        _TOUCH.run(cursor)
        return "job"

    return opened.writer.run(work)


def _named(opened: EventStore, listener: str) -> Subscription:
    for each in opened.subscriptions.all():
        if each.name == listener:
            return each
    raise NotFoundError(f"the store knows no listener named {listener}")


def _state(cursor: sqlite3.Cursor, event_id: int, subscription_id: int) -> str:
    known = abs(event_id) <= MAX_KEY and abs(subscription_id) <= MAX_KEY
    values = {"event": event_id, "subscription": subscription_id}
    row = _STATE.run(cursor, **values).fetchone() if known else None
    if row is None:
        raise NotFoundError(f"there is no delivery {event_id}.{subscription_id}")
    return str(row[0])


def _owe(opened: EventStore, batch: list[dict[str, object]]) -> int:
    def work(cursor: sqlite3.Cursor) -> int:
        new = _OWE.run_many(cursor, batch).rowcount if batch else 0
        _TOUCH.run(cursor)
        return new

    return opened.writer.run(work)
