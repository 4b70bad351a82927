"""The numbers of `agent report` agree with each other and with `agent doctor`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from py_agent.cli.agent import main
from py_agent.cli.report.facts import read_facts
from py_agent.cli.report.page import page

from py_agent.clock import SystemClock, to_micros
from py_agent.failures import Failure
from py_agent.outcomes import completed, put_off, suppressed
from py_agent.pacing import THROTTLED
from py_agent.registry import Listener
from py_agent.store import holding, schema
from py_agent.store.attempts import Attempt, record
from py_agent.store.event_store import EventStore
from py_agent.store.runs import RunResult
from py_agent.store.tables import Outcome, State
from py_agent.testing import FakeClock

from ..store.support import EVERY, start
from .test_report import Page

RUN = 1  # of `poll`
MINUTE = 60_000_000


class Shop:
    """A store with one job and one listener, filled an hour ago.

    Args:
        path: where it is made.
    """

    def __init__(self, path: Path) -> None:
        schema.create(path)
        self.path = path
        self.clock = FakeClock(SystemClock().now() - timedelta(hours=1))
        self.store = EventStore.open(path, self.clock, "fast")
        start(self.store, Listener("task", lambda: None, EVERY))
        self.store.runs.open("poll", self.now)

    @property
    def now(self) -> int:
        """The present of its clock."""
        return to_micros(self.clock.now())

    def publish(self, kind: str, count: int, hold: int | None = None) -> None:
        """Publish so many events."""
        self.store.publish_many([(kind, str(n), None) for n in range(count)], hold=hold)

    def hold(self) -> None:
        """End the run, and hold for a person what it has published."""
        self.store.runs.close(1, RunResult(Outcome.COMPLETED, self.now, 50))
        self.store.writer.run(lambda cursor: holding.hold(cursor, RUN, "poll"))

    def end(self, event: int, attempt: Attempt) -> None:
        """Record what became of a delivery."""
        self.store.writer.ride(lambda cursor: record(cursor, event, 1, attempt))

    def report(self) -> Page:
        """Return the page of the last day."""
        self.store.writer.flush()
        now = SystemClock().now()
        return Page(page(read_facts(self.path, now - timedelta(days=1), now, None)))

    def doctor(self) -> str:
        """Return what `agent doctor` says."""
        self.store.writer.flush()
        return CliRunner().invoke(main, ["doctor", "--db", str(self.path)]).stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop of its own for each test."""
    made = Shop(tmp_path / "agent.sqlite")
    yield made
    made.store.close()


def test_what_is_held_is_not_owed(shop: Shop) -> None:
    """Given 50 deliveries that are held and 7 that are owed, When reported, Then each is
    a number of its own, the same at the top and below.
    """
    shop.publish("item", 50, hold=RUN)
    shop.hold()
    shop.publish("other", 7)
    told = shop.report()
    assert told.figures["Owed now"] == "7"
    assert "7 deliveries are owed now" in told.text
    assert told.figures["Held"] == "50"
    assert "50 until a person decides" in told.text
    assert "50 deliveries are held and not counted here" in told.text


def test_only_what_is_held_waits(shop: Shop) -> None:
    """Given a run that goes on and withholds its events, Then nothing is owed."""
    shop.publish("item", 50, hold=RUN)
    told = shop.report()
    assert told.figures["Owed now"] == "0" and "nothing waits" not in told.text
    assert "50 until their run ends" in told.text
    assert "Nothing was owed at the end of any" in told.text


def test_a_job_whose_events_are_held_neither_fails_nor_pauses(shop: Shop) -> None:
    """Given a flood of a job that is well, Then it needs a person, and no more is told."""
    shop.publish("item", 50, hold=RUN)
    shop.hold()
    told = shop.report()
    assert told.figures["Jobs"] == "1"
    assert "1 needs a person" in told.text
    assert not re.search("failing, silent or paused", told.text)


@pytest.mark.parametrize(
    ("snoozed", "words", "doctor"),
    [
        (3, "all snoozed", "it is paused: 401; 3 owed, all snoozed; agent resume"),
        (
            2,
            "2 of them snoozed; the oldest other for 1 h",
            "it is paused: 401; 3 owed, 2 of them snoozed, the oldest other since ",
        ),
        (0, "the oldest for 1 h", "it is paused: 401; 3 owed, the oldest since "),
    ],
)
def test_what_is_snoozed_is_owed_and_not_late(
    shop: Shop, snoozed: int, words: str, doctor: str
) -> None:
    """Given deliveries that were put off, When reported, Then they are owed, at the top
    as below, and whose age is told is said.
    """
    shop.publish("item", 3)
    for event in range(1, snoozed + 1):
        shop.end(event, put_off(0, shop.now, shop.now + 9_000 * MINUTE))
    shop.store.subscriptions.pause("task", shop.now + 9_000 * MINUTE, "401")
    told = shop.report()
    assert told.figures["Owed now"] == "3"
    assert words in told.text and "3 deliveries are owed now" in told.text
    assert doctor in shop.doctor()


def test_only_calls_have_a_delivery_time(shop: Shop) -> None:
    """Given 199 deliveries that were throttled and one that took 30 s, When reported,
    Then half were within 30 s, and the others are told apart.
    """
    shop.publish("item", 200)
    for event in range(1, 200):
        shop.end(event, suppressed(0, shop.now, THROTTLED))
    shop.end(200, completed(0, shop.now + MINUTE // 2))
    told = shop.report()
    half = told.figures["Delivered within"]
    assert half.endswith(" s") and 27 < float(half.removesuffix(" s")) < 33, half
    assert "half of 1 deliveries" not in told.text
    assert "199 deliveries ended without a call" in told.text


def test_without_a_call_nothing_was_delivered(shop: Shop) -> None:
    """Given throttled deliveries only, When reported, Then no time is made up for them."""
    shop.publish("item", 2)
    for event in (1, 2):
        shop.end(event, suppressed(0, shop.now, THROTTLED))
    told = shop.report()
    assert told.figures["Delivered"] == told.figures["Owed now"] == "0"
    assert "nothing waits" in told.text
    assert "Nothing was delivered in this time. 2 deliveries ended without" in told.text


def test_a_dead_letter_is_listed_once(shop: Shop) -> None:
    """Given a dead letter and a delivery that goes on failing, Then each is in one table,
    and the count of attempts is told once.
    """
    shop.publish("task", 2)
    failure = Failure("KeyError", "'weight'")
    gave_up = "gave up after 10 attempts"
    end = Attempt(State.DISCARDED, 10, shop.now, reason=gave_up, failure=failure)
    shop.end(1, end)
    for tries in (1, 2, 3):
        again = Attempt(State.RETRYABLE, tries, shop.now, due=shop.now, failure=failure)
        shop.end(2, again)
    text = shop.report().text
    dead, _, failed = text.partition("Failed most often, besides the dead letters")
    assert dead.count("10 attempts") == 1
    assert "retryable" in failed and "discarded" not in failed


def test_a_page_says_that_it_begins_with_the_store(shop: Shop, tmp_path: Path) -> None:
    """Given a store of an hour, Then its page of a day begins with it, and says so; given
    one of a moment, Then its page is of a minute, and does not say so.
    """
    assert "when this store begins" in shop.report().text
    path = tmp_path / "young.sqlite"
    schema.create(path)
    store = EventStore.open(path, SystemClock(), "fast")
    store.publish_many([("task", "1", None)])
    store.close()
    now = SystemClock().now()
    facts = read_facts(path, now - timedelta(days=1), now, None)
    assert "begins" not in Page(page(facts)).text
    assert facts.window.end - facts.window.start < 2 * MINUTE
