"""A week of a small shop, in a store: an outage, failures, a backlog and dead letters.

`python -m tests.acceptance.week FILE` makes one to look at with `agent report`.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from py_agent.clock import to_micros
from py_agent.failures import Failure
from py_agent.filters import compile_filter
from py_agent.registry import Listener
from py_agent.store import schema
from py_agent.store.deliveries import Attempt, record
from py_agent.store.event_store import EventStore
from py_agent.store.runs import RunResult
from py_agent.store.side_file import Inside
from py_agent.store.tables import Outcome, State
from py_agent.store.takeover import take_over
from py_agent.testing import FakeClock

REFUSED = Failure("ConnectionError", "search.example.org: refused")
SERVICE = "jobs.websocket_reader"
HOUR = timedelta(hours=1)
STEP = timedelta(minutes=10)

# Event type, events in an hour at most, and the job that publishes it.
TYPES = (
    ("order.placed", 42, "shop.poll_orders"),
    ("order.paid", 38, "shop.poll_orders"),
    ("order.shipped", 30, "shop.poll_parcels"),
    ("stock.changed", 16, "shop.read_stock"),
    ("mail.received", 9, "jobs.read_inbox"),
    ("invoice.created", 7, "shop.make_invoices"),
    ("price.changed", 3, "shop.read_stock"),
    ("return.asked", 2, "jobs.read_inbox"),
    ("review.written", 1.4, "jobs.feed"),
    ("backup.done", 0.2, "nightly.backup"),
)
# Listener, the types that it wants, and its usual seconds.
LISTENERS = (
    ("listeners.append_csv", "order.", 0.004),
    ("shop.send_receipt", "order.paid", 0.35),
    ("shop.tell_warehouse", "order.placed", 0.08),
    ("shop.update_search", "stock.", 2.5),
    ("listeners.notify", "mail.", 0.9),
)
JOBS = (
    ("shop.poll_orders", STEP, 0.002),
    ("shop.poll_parcels", STEP, 0.004),
    ("shop.read_stock", STEP * 3, 0.01),
    ("jobs.read_inbox", STEP * 3, 0.0),
    ("shop.make_invoices", HOUR, 0.0),
    ("jobs.feed", HOUR, 0.02),
    ("nightly.backup", HOUR * 24, 0.0),
)


class Week:
    """Fills a store with what happened until a moment.

    Args:
        path: where the store is made.
        end: the last moment, aware.
        days: how many days it is.
    """

    def __init__(self, path: Path, end: datetime, days: int = 7) -> None:
        schema.create(path)
        self._end, self._begin = end, end - timedelta(days=days)
        self._clock = FakeClock(self._begin)
        self._store = EventStore.open(path, self._clock, "fast")
        self._chance = random.Random(7)
        self._numbers = dict.fromkeys((kind for kind, _, _ in TYPES), 0)
        self._down = (self._begin + HOUR * 61, self._begin + HOUR * 68)
        self._slow = (self._begin + HOUR * 108, self._begin + HOUR * 119)

    def fill(self) -> None:
        """Do it, and close the store."""
        listeners = [
            Listener(name, lambda: None, compile_filter({"event_type": ("startswith", to)}))
            for name, to, _ in LISTENERS
        ]
        self._start(listeners, self._begin)
        for moment in self._moments():
            self._clock.set_wall_clock(moment)
            if moment == self._down[1]:
                self._start(listeners, moment)
            self._run_jobs(moment)
            self._publish(moment)
        self._clock.set_wall_clock(self._end)
        self._deliver()
        self._store.close()

    def _start(self, listeners: list[Listener], moment: datetime) -> None:
        """Start as an agent does: what it was inside of before has crashed."""
        self._store.writer.flush()
        take_over(self._store, listeners, Inside(), to_micros(moment))
        self._store.runs.open(SERVICE, to_micros(moment))

    def _moments(self) -> Iterator[datetime]:
        moment = self._begin
        while moment < self._end:
            if not self._down[0] <= moment < self._down[1]:
                yield moment
            moment += STEP

    def _publish(self, moment: datetime) -> None:
        hour = moment.hour + moment.minute / 60
        busy = 0.12 + max(0.0, math.sin((hour - 6) / 17 * math.pi)) ** 1.5
        if moment.weekday() >= 5:
            busy *= 0.55
        for kind, most, job in TYPES:
            wanted = most * busy / 6
            count = int(wanted) + (self._chance.random() < wanted % 1)
            names = range(self._numbers[kind], self._numbers[kind] + count)
            self._numbers[kind] += count
            triples = [(kind, f"{_thing(kind)}/{4_200 + n}", {"n": n}) for n in names]
            self._store.publish_many(triples, source=job)

    def _run_jobs(self, moment: datetime) -> None:
        since = moment - self._begin
        for name, every, bad in JOBS:
            if since % every >= STEP:
                continue
            at = to_micros(moment)
            if self._chance.random() < 0.002:
                self._store.runs.skip(name, at, None)
                continue
            run = self._store.runs.open(name, at)
            bad = 0.9 if name == "shop.poll_parcels" and self._is_slow(moment) else bad
            failed = self._chance.random() < bad
            error = Failure("HttpError", "GET https://parcels.example.org/: 503")
            end = at + int(self._chance.expovariate(0.5) * 1e6) + 20_000
            self._store.runs.close(
                run,
                RunResult(Outcome.FAILED, end, failure=error)
                if failed
                else RunResult(Outcome.COMPLETED, end, 3, 12),
            )

    def _is_slow(self, moment: datetime) -> bool:
        return self._slow[0] <= moment < self._slow[1]

    def _deliver(self) -> None:
        names = {each.id: each.name for each in self._store.subscriptions.all()}
        usual = {name: seconds for name, _, seconds in LISTENERS}
        for number, name in names.items():
            owed = self._store.deliveries.load(number, 1_000_000, to_micros(self._end)).rows
            free = 0
            for each in owed:
                event = self._store.event(each.event_id)
                attempt, free = self._attempt(name, usual[name], event.created, free)
                if attempt is not None:
                    self._record(each.event_id, number, attempt)

    def _record(self, event: int, number: int, attempt: Attempt) -> None:
        if attempt.failure is not None:
            for count in range(1, attempt.attempts):
                before = replace(attempt, state=State.RETRYABLE, attempts=count)
                self._ride(event, number, before)
        self._ride(event, number, attempt)

    def _ride(self, event: int, number: int, attempt: Attempt) -> None:
        self._store.writer.ride(lambda cursor: record(cursor, event, number, attempt))

    def _attempt(
        self, name: str, usual: float, created: datetime, free: int
    ) -> tuple[Attempt | None, int]:
        """Return what became of a delivery, None if it waits; and when the next may be."""
        begin = max(to_micros(created), free)
        end = begin + int(usual * 1e6 * self._chance.lognormvariate(0, 0.7))
        if name == "shop.send_receipt" and self._is_slow(created):
            end = begin + int(100e6 * self._chance.lognormvariate(0, 0.3))
        if name == "shop.update_search" and created > self._end - HOUR * 5:
            return Attempt(State.RETRYABLE, 4, end, end + 10**9, failure=REFUSED), free
        if name == "shop.tell_warehouse" and self._chance.random() < 0.003:
            error = Failure("KeyError", "'weight'")
            end += int(3_600e6)
            return Attempt(State.DISCARDED, 10, end, reason="gave up after 10 attempts",
                           failure=error), free  # fmt: skip
        if self._chance.random() < 0.02:
            end += int(2e6 * 2 ** self._chance.randint(0, 8))  # retried
            return (None if end > to_micros(self._end) else _done(end, 3)), free
        late = end > to_micros(self._end)
        return (None if late else _done(end)), end if name == "shop.send_receipt" else free


def _done(end: int, attempts: int = 1) -> Attempt:
    return Attempt(State.COMPLETED, attempts, end)


def _thing(kind: str) -> str:
    return kind.partition(".")[0]


if __name__ == "__main__":
    Week(Path(sys.argv[1]).absolute(), datetime.now(UTC)).fill()
