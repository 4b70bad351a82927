"""An agent for one test: real in every part, but for the clock.

Usable with any runner; `py_agent.pytest_plugin` makes pytest's fixtures of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..agent import Agent
from ..arguments import function_name, named
from ..errors import NotFoundError
from ..events import Event
from ..filters import Match
from ..registry import Job, make_job
from ..retry import Seconds, seconds
from .evidence import OUTCOMES, STATES, Delivery, JobRun, check_word, delivery_of, run_of
from .fake_clock import FakeClock
from .isolation import LongestWait, OwnChoices, defaults_of
from .settling import Settling, StillRunningError

if TYPE_CHECKING:
    from ..engine import Engine
    from ..store.listing import Row


LIMIT_SECONDS = 30.0  # real time that a test waits for what does not come to an end
MOST_SECONDS = 86_400.0  # fake time that passes so that one run can come to its end
_ALL = 1_000_000_000  # rows
_HALF = 0.5e-6  # of a microsecond, which is the clock's step

Function = Callable[..., Any]


class _Patience(NamedTuple):
    """How long something is waited for, in real time.

    Args:
        length: seconds.
        deadline: monotonic time at which to give up.
    """

    length: float
    deadline: float


class AgentUnderTest(Agent):
    """An agent for one test: real in every part, but for the clock.

    It starts by itself when a method needs that. Neither agent.toml nor the environment
    is read, unless `config` names a file.

    Args:
        db: the store's path.
        config: an agent.toml whose `[agent]` and sections are used; see `Agent`.
        clock: the clock; one of its own if not given.
        limit: real seconds after which a method that waits gives up.
        options: further arguments of `Agent`.
    """

    __test__ = False  # pytest collects no tests from it, whatever its name

    def __init__(
        self,
        db: str | os.PathLike[str],
        *,
        config: str | os.PathLike[str] | None = None,
        clock: FakeClock | None = None,
        limit: float = LIMIT_SECONDS,
        **options: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.limit = limit
        self.settings: dict[type[Any], Any] = {}
        options = {"durability": "fast", "grace": 2, **options}
        super().__init__(db, config=config, clock=self.clock, **options)
        self._parts = {"chance": LongestWait(), "new_loop": self.clock.event_loop}
        self._named_config = config
        if config is None:
            chosen = ("durability", "grace", "max_owed", "job_threads")
            rest = {name: options.get(name) for name in chosen}
            self._choices = OwnChoices(db, config=None, **rest)
        self._settling: Settling | None = None
        self._scheduling = False
        self._recorders = 0

    # What a test does

    def run_job(self, job: str | Function, /, **arguments: Any) -> JobRun:
        """Run a job once, now, with everything that a run is handed.

        Time that the job waits for passes, up to a day; see `Handler.wait`.

        Args:
            job: the function, or the name under which a job was added.
            arguments: named arguments for the function; they win over those with which
                the job was added. `name` names the job, as in `add_job`.

        Returns:
            The run.

        Raises:
            Exception: what the job raised.
            StillRunningError: it did not come to its end.
            NotFoundError: there is no job of that name.
        """
        found = self._job(job, arguments)
        engine, patience = self._ready(), self._patience()
        run = engine.scheduler.begin(found)
        ended = partial(engine.scheduler.has_ended, run)
        self._let_pass(ended, patience, f"job {found.name} did not end")
        if run.error is not None:
            raise run.error
        return next(
            run_of(row) for row in self._runs(found.name) if row["id"] == run.number
        )

    def drain(self, timeout: Seconds | None = None) -> bool:
        """Deliver until nothing is available or running and all results are stored.

        Time that a listener waits for passes, up to a day; what is due later is not
        waited for.

        Args:
            timeout: real seconds to wait; `limit` if not given.

        Returns:
            True.

        Raises:
            StillRunningError: it did not come to that in time.
        """
        engine, patience = self._ready(), self._patience(timeout)
        engine.dispatcher.wake()
        self._settle(patience, "the agent did not come to rest")

        def idle() -> bool:
            return engine.dispatcher.idle

        self._let_pass(idle, patience, "the listeners did not end")
        return True

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Let time pass, and everything happen at its time that becomes due meanwhile.

        Runs of jobs by their schedule, retries, `job.silent`, and what waits for the
        time to pass. It is finished when this returns, unless it waits for a later time.

        Args:
            seconds: seconds to pass.
            units: further time in the words of timedelta, as in `hours=3`.

        Raises:
            StillRunningError: something does not end, or too much becomes due.
        """
        length = _length(seconds, units)
        self.start()
        patience, target = self._patience(), self.clock.boot() + length
        while True:
            self._settle(patience, "time does not go on")
            due = self._next_due()
            if due > target + _HALF:  # what is due at the end of that time is in it
                break
            self.clock.advance_to(due)
        self.clock.advance_to(target)
        self._settle(patience, "time does not go on")

    def record(self, match: Match, name: str | None = None) -> list[Event]:
        """Add a listener that keeps what it is given.

        Args:
            match: the filter; see `listen_for`.
            name: the listener's name; made up if not given.

        Returns:
            The events, in the order in which they come; it grows.
        """
        found: list[Event] = []
        self._recorders += 1

        def keep(event: Event) -> None:
            found.append(event)

        self.add_listener(keep, match, name=name or f"recorder-{self._recorders}")
        return found

    def start(self) -> None:
        """Begin to deliver and to run jobs; does nothing if that is so already."""
        self._ready(scheduling=True)

    def stop(self) -> None:
        """Finish or hand back all work; it can be started again on the same store.

        What waits for time to pass even now is given up at once, as no time will pass.
        """
        if self._engine is not None and self._settling is not None:
            self._engine.ask_to_stop()
            self.clock.wake()  # who waits only for the stop has ended then
            self._settling.await_rest(time.monotonic() + self._grace)
            self._grace = 0.0
        super().stop()
        self._settling = None
        self._scheduling = False

    # What a test looks at

    def published(
        self, event_type: str | None = None, identifier: str | None = None, /, **data: Any
    ) -> list[Event]:
        """Return the events in the store, oldest first.

        Args:
            event_type: only of this type.
            identifier: only with this identifier.
            data: only with these values in their data.
        """
        wanted = {"event_type": event_type, "identifier": identifier}
        match = {key: ("==", value) for key, value in wanted.items() if value is not None}
        return [
            event for event in self.handler.query_events(match) if _has(event.data, data)
        ]

    def deliveries(
        self,
        listener: str | Function | None = None,
        state: str | None = None,
        event_type: str | None = None,
        identifier: str | None = None,
    ) -> list[Delivery]:
        """Return the deliveries in the store, oldest first.

        Args:
            listener: only to this listener, by its function or name.
            state: only in this state.
            event_type: only of events of this type.
            identifier: only of events with this identifier.

        Raises:
            NotFoundError: no listener was added with that function.
            UsageError: there is no such state.
        """
        check_word("state", state, STATES)
        wanted = {"state": state, "event_type": event_type, "identifier": identifier}
        wanted["listener"] = self._listener_name(listener)
        from ..store.listing import reading

        self._write_down()
        with reading(self.store_path()) as listing:
            rows = listing.deliveries(_ALL, dead=False, **wanted)
        return [delivery_of(row) for row in reversed(rows)]

    def runs(
        self, job: str | Function | None = None, outcome: str | None = None
    ) -> list[JobRun]:
        """Return the runs in the store, oldest first.

        Args:
            job: only of this job, by its function or name.
            outcome: only with this outcome.

        Raises:
            UsageError: there is no such outcome.
        """
        check_word("outcome", outcome, OUTCOMES)
        name = job if job is None or isinstance(job, str) else self._job(job, {}).name
        return [run_of(row) for row in self._runs(name, outcome)]

    # The engine

    def _ready(self, scheduling: bool = False) -> Engine:
        """Return the engine, started as far as needed."""
        with self._lock:
            if self._engine is None:
                self._doorbell.rung = False
                self._settling = Settling(self._start(scheduling), self.clock)
            elif scheduling and not self._scheduling:
                self._engine.scheduler.start()
            self._scheduling = self._scheduling or scheduling
            assert self._engine is not None
            return self._engine

    def _patience(self, limit: Seconds | None = None) -> _Patience:
        length = self.limit if limit is None else seconds(limit, "timeout")
        return _Patience(length, time.monotonic() + length)

    def _settle(
        self, patience: _Patience, what: str, done: Callable[[], bool] = lambda: False
    ) -> None:
        assert self._settling is not None
        try:
            self._settling.settle(patience.deadline, done)
        except StillRunningError as error:
            raise StillRunningError(
                f"{what} within {patience.length:g} s of real time; "
                f"still running at {self.clock.now():%Y-%m-%d %H:%M:%S} UTC: {error}"
            ) from None

    def _let_pass(self, done: Callable[[], bool], patience: _Patience, what: str) -> None:
        """Let time pass until something has come true."""
        most = self.clock.boot() + MOST_SECONDS
        while True:
            self._settle(patience, what, done)
            if done():
                return
            if (due := self._next_due()) > most:
                raise StillRunningError(
                    f"{what} within a day of its own time; a service is tested "
                    f"with add_job(..., keep=True), advance(...) and stop()"
                )
            self.clock.advance_to(due)

    def _next_due(self) -> float:
        assert self._settling is not None
        return self._settling.next_due()

    # What it is made of

    def _job(self, job: str | Function, arguments: dict[str, Any]) -> Job:
        known = {each.name: each for each in self._registry.jobs}
        if isinstance(job, str):
            if job not in known:
                raise NotFoundError(f"no job was added under the name {job!r}")
            found = known[job]
        else:
            takes_name = "name" in named(job)
            name = None if takes_name else arguments.pop("name", None)
            name = function_name(job, name)
            if name not in known:
                return make_job(job, name, (), arguments)
            found = known[name]
        return found if not arguments else _with(found, arguments)

    def _listener_name(self, listener: str | Function | None) -> str | None:
        if listener is None or isinstance(listener, str):
            return listener
        for each in self._registry.listeners:
            if each.function == listener:
                return each.name
        raise NotFoundError(f"no listener was added with the function {listener!r}")

    def _settings(self, wanted: type[Any]) -> Any:
        if wanted in self.settings:
            return self.settings[wanted]
        if self._named_config is not None:
            return super()._settings(wanted)
        return defaults_of(wanted)

    def _attach(self) -> Any:
        return None if self._named_config is None else super()._attach()

    def _listen_for_metrics(self) -> None:
        """Take no address: the agent that this is a test of may be using it."""

    def _check_settings(self) -> None:
        if self._named_config is not None:
            super()._check_settings()

    def _write_down(self) -> None:
        """Commit the last results, so that a look at the store finds them."""
        self._store.get().writer.flush()

    def _runs(self, job: str | None, outcome: str | None = None) -> list[Row]:
        from ..store.listing import reading

        self._write_down()
        with reading(self.store_path()) as listing:
            return listing.runs(_ALL, job=job, outcome=outcome)[::-1]


def _with(job: Job, arguments: dict[str, Any]) -> Job:
    """Return a job that is called with other arguments."""
    merged = {**job.arguments, **arguments}
    made = make_job(job.function, job.name, job.args, merged)
    return replace(made, first=job.first, hold_above=job.hold_above)


def _has(data: Any, wanted: dict[str, Any]) -> bool:
    if not wanted:
        return True
    return isinstance(data, dict) and wanted.items() <= data.items()


def _length(length: float, units: dict[str, float]) -> float:
    """Return the seconds of `advance(seconds, hours=...)`."""
    return seconds(timedelta(seconds=length, **units), "advance(...)")
