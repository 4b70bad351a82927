"""An agent whose service manager has a watchdog: what stops its pings."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_agent import Agent
from py_agent.testing import FakeClock

from .support import PATIENCE

WATCHDOG = 20  # seconds
PING = b"WATCHDOG=1\n"


class QuietClock(FakeClock):
    """A clock that can go on while a loop hangs: who waits looks at it now and then."""

    def pass_quietly(self, seconds: float) -> None:
        """Let time pass without waking anybody."""
        with self._lock:
            self._boot += seconds


class Supervised:
    """An agent that go() runs, and the socket on which it tells how it stands."""

    def __init__(self, place: Path) -> None:
        self.clock = QuietClock()
        self.agent = Agent(place / "store.sqlite", clock=self.clock, grace=1)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(place / "notify"))
        self.socket.settimeout(PATIENCE)
        self.thread = threading.Thread(target=self.agent.go)

    def told(self, wanted: bytes) -> bytes:
        """Return the next message with a line, others left out."""
        while wanted not in (found := self.socket.recv(999)):
            pass
        return found

    def count(self) -> int:
        """Return how many pings have come and not been read yet."""
        self.socket.setblocking(False)
        found = 0
        try:
            while True:
                found += self.socket.recv(999) == PING
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(PATIENCE)

    def pass_time(self, loop: str, seconds: float) -> None:
        """Let time pass, and wait until a loop has turned meanwhile."""
        for _ in range(4):
            self.clock.pass_quietly(seconds / 4)
            self.await_turn(loop)

    def await_turn(self, loop: str) -> None:
        """Wait until a loop has nothing to do but to wait."""
        thread = next(x for x in threading.enumerate() if x.name == f"py_agent-{loop}")
        assert thread.ident is not None
        deadline = time.monotonic() + PATIENCE
        news = self.clock.news.count
        while thread.ident not in self.clock.waiting():
            assert self.clock.news.await_more(news, deadline), f"the {loop} hangs"
            news = self.clock.news.count


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    """An agent that has said that it is ready."""
    made = Supervised(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG * 1_000_000))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    made.thread.start()
    try:
        made.told(b"READY=1")
        yield made
    finally:
        made.agent.stop()
        made.thread.join(PATIENCE)
        made.socket.close()


def test_pings_come_at_half_the_time(supervised: Supervised) -> None:
    """Given a watchdog, When time passes, Then a ping comes in each half of its time."""
    for _ in range(3):
        for loop in ("dispatcher", "scheduler"):
            supervised.await_turn(loop)  # or it would begin to wait after the time passed
        supervised.clock.advance(WATCHDOG / 2)
        assert supervised.told(b"WATCHDOG=1") == PING


def test_a_scheduler_that_hangs_stops_the_pings(supervised: Supervised) -> None:
    """Given a stuck scheduler, Then the dispatcher alone says nothing of the agent."""
    engine = supervised.agent._engine
    assert engine is not None
    with engine.scheduler._changed:
        supervised.pass_time("dispatcher", WATCHDOG * 2)
        assert supervised.count() == 0
    supervised.clock.advance(WATCHDOG)
    assert supervised.told(b"WATCHDOG=1") == PING


def test_a_dispatcher_that_hangs_stops_the_pings(supervised: Supervised) -> None:
    """Given a stuck dispatcher, Then the scheduler alone says nothing of the agent."""
    engine = supervised.agent._engine
    assert engine is not None
    with engine.dispatcher._deliverer.lock:
        supervised.pass_time("scheduler", WATCHDOG * 2)
        assert supervised.count() == 0
    supervised.clock.advance(WATCHDOG)
    assert supervised.told(b"WATCHDOG=1") == PING


@pytest.mark.parametrize(("reader", "goes_on"), [
    ("reader", "dispatcher"), ("calls", "scheduler"),
])  # fmt: skip
def test_a_read_that_does_not_end_stops_the_pings(
    supervised: Supervised, reader: str, goes_on: str
) -> None:
    """Given a connection on which a read hangs, Then there are no pings."""
    store = supervised.agent._store.get()
    found = store.reader if reader == "reader" else store.deliveries._reader
    with found._lock:
        supervised.pass_time(goes_on, WATCHDOG * 2)
        assert supervised.count() == 0
    supervised.clock.advance(WATCHDOG)
    assert supervised.told(b"WATCHDOG=1") == PING


def test_the_stop_is_told(supervised: Supervised) -> None:
    """Given a running agent, When it is stopped, Then the service manager knows."""
    supervised.agent.stop()
    told = supervised.told(b"STOPPING=1").decode().splitlines()
    assert told[0] == "STOPPING=1"
    assert told[2] == "EXTEND_TIMEOUT_USEC=61000000"


def test_children_are_told_nothing(supervised: Supervised) -> None:
    """Given a running agent, Then its environment names no socket and no watchdog."""
    names = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    assert names.isdisjoint(os.environ)
