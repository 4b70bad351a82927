"""What a job or listener is handed as `handler`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .clock import Time
from .errors import AgentError, EchoError
from .events import MAX_ECHO, Event, Publication, Published
from .failures import printable
from .filters import Match, compile_filter
from .memory import Memory, Window
from .occasion import NO_OCCASION, Occasion, Surroundings
from .own_log import OWN, OwnLog
from .retry import Seconds, seconds
from .stopping import on_event_loop
from .timeouts import check_time, time_left

if TYPE_CHECKING:
    from .http.session import Http
    from .settings.classes import Settings

    S = TypeVar("S", bound=Settings)
else:
    S = TypeVar("S")

T = TypeVar("T")

log = logging.getLogger("py_agent")

# How many listeners stand before what is published in this context; set by the
# dispatcher around each call, so that agent.handler cannot be used to hide an echo.
depth_of_publications: ContextVar[int] = ContextVar("depth_of_publications", default=0)


class Handler:
    """What a job or listener works with: it publishes, remembers, waits and fetches.

    Args:
        surroundings: what all handlers of the agent have in common.
        source: the name of the job or listener; None publishes on nobody's behalf.
        occasion: what belongs to this run or call.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        source: str | None = None,
        occasion: Occasion = NO_OCCASION,
    ) -> None:
        self._around = surroundings
        self._source = source
        self._occasion = occasion
        self._new = 0
        self._known = 0

    @property
    def source(self) -> str | None:
        """The name under which this handler publishes."""
        return self._source

    @property
    def counts(self) -> tuple[int, int]:
        """How many new events and how many duplicates were published through it."""
        return self._new, self._known

    @cached_property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The log of this job or listener, whose name stands before each line.

        Its logger is `py_agent.own.<the name>`.
        """
        return OwnLog(OWN.getChild(self._source) if self._source else OWN, self._source)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was logged through `log` as a warning or worse, the first twenty of it."""
        logged = self.__dict__.get("log")
        return () if logged is None else tuple(logged.warnings)

    # What is remembered

    @property
    def state(self) -> dict[str, Any]:
        """What the job or listener remembers: a dict of its own, to be changed in place.

        It is stored when the run or call has succeeded, in one transaction with that,
        and thrown away when it fails; so it is never ahead of what was published.

        Raises:
            AgentError: this handler belongs to no job or listener, or to a listener with
                several calls at once.
        """
        return self._memory.state

    @property
    def window(self) -> Window:
        """The time this run looks at: since the last successful run began, until now.

        `since` is None until a run has succeeded.

        Raises:
            AgentError: this handler belongs to no job.
        """
        if self._occasion.window is None:
            raise AgentError("only the run of a job has a window")
        return self._occasion.window

    def checkpoint(self) -> None:
        """Store the state as it is now, from within a run that goes on for long.

        Everything published so far is in the store already, so the state stays behind
        it. What `http.get_if_changed` knows of pages is stored by the end of a run only.
        The window of a service begins here from now on.

        Raises:
            AgentError: this handler belongs to no job, or the state is no JSON.
        """
        if self._occasion.checkpoint is None:
            raise AgentError("only the run of a job has checkpoints")
        self._occasion.checkpoint()

    @property
    def _memory(self) -> Memory:
        if self._occasion.memory is None:
            raise AgentError(self._occasion.why)
        return self._occasion.memory

    # Waiting and ending

    @property
    def stop_requested(self) -> bool:
        """Whether the agent is stopping, so that this work should end soon."""
        return self._around.stop.requested

    @property
    def time_left(self) -> float | None:
        """The seconds left of the nearest `timeout(...)` scope; None without one."""
        return time_left()

    def wait(self, duration: Seconds) -> bool:
        """Wait, and end the wait at once when the agent stops.

        Args:
            duration: seconds or timedelta.

        Returns:
            Whether the time passed; false when a stop is requested, so that a service
            can be written as `while handler.wait(60): ...`.

        Raises:
            TimeoutError: a `timeout(...)` scope around it has ended.
            AgentError: it is called in a coroutine.
        """
        if on_event_loop():
            raise AgentError(
                "handler.wait() would stop all coroutines; write await asyncio.sleep(...)"
            )
        left = time_left()
        wanted = seconds(duration, "wait")
        passed = self._around.stop.wait(wanted if left is None else min(wanted, left))
        if passed and left is not None and left < wanted:
            check_time()
        return passed

    def run_soon(self, job: str) -> None:
        """Let a job of this agent run as soon as possible, and then as planned.

        If it runs just now, it runs once more after that.

        Args:
            job: its name.

        Raises:
            NotFoundError: the agent has no such job.
        """
        self._around.run_soon(job)

    def run_again(self, after: Seconds) -> None:
        """Let this job run again so long after this run, and then as planned.

        So a job changes its own rhythm: it says so at the end of each run.

        Args:
            after: seconds or timedelta; a run that fails waits at least for the back-off.

        Raises:
            AgentError: this handler belongs to no job.
        """
        if self._occasion.run_again is None:
            raise AgentError("only the run of a job can be followed by another")
        self._occasion.run_again(seconds(after, "run_again"))

    def begin_effect(self) -> None:
        """Say that from here on a repeat might do something twice.

        A listener calls it just before what cannot be taken back and does not know its
        own repeats. Should this attempt be cut off after that, by a crash or a stop,
        then the next one finds `event.in_doubt`, and can look, or give up. Outside a
        listener's call it does nothing.

        Raises:
            StoppedError: this call was given up already, as the agent stops.
        """
        if self._occasion.begin_effect is not None:
            self._occasion.begin_effect()

    # What it is given to work with

    def settings(self, wanted: type[S]) -> S:
        """Return the settings of a class, read from agent.toml and the environment.

        Args:
            wanted: a subclass of `Settings`.

        Raises:
            ConfigError: every mistake in them, one sentence each.
        """
        found: S = self._around.settings(wanted)
        return found

    def shared(self, make: Callable[[], T]) -> T:
        """Return what all jobs and listeners of this agent share.

        Args:
            make: called without arguments when it is first asked for; each later call
                with the same `make`, on whatever thread, returns what it returned.
        """
        return self._around.shared.get(make)

    @property
    def clock(self) -> Time:
        """The agent's clock: `now()`, aware UTC, and `boot()`, seconds for durations.

        In a test it is the one that the test moves.
        """
        return self._around.clock

    @cached_property
    def http(self) -> Http:
        """A session for requests with limits of time and size; see `http.Http`."""
        from .http.session import Http

        memory = self._occasion.memory
        return Http(
            wait=self.wait,
            time_left=time_left,
            validators=None if memory is None else memory.validators,
            now=self._around.clock.now,
        )

    def close(self) -> None:
        """Close the connections that were opened for it."""
        if "http" in self.__dict__:
            self.http.close()

    # Events

    def publish(
        self, event_type: str, identifier: str, data: Any = None, deliver: bool = True
    ) -> Publication:
        """Store an event if it is new, and owe it to every listener that wants it.

        When this returns, the event is in the store and is never lost.

        Args:
            event_type: its kind, 1 to 255 characters.
            identifier: a stable id from the source, 1 to 1,024 characters; the same
                type and identifier are new once, for ever.
            data: JSON, and the values that `events` knows how to write as JSON.
            deliver: false stores it as seen: no listener ever gets it.

        Returns:
            A publication, true when the event was new; its `event` is the stored one.

        Raises:
            EventError: the event is refused; the message names the bad value.
            StorageFault: the disk failed; it is safe to publish again.
            StoppedError: the agent stops, or has stopped.
        """
        depth = self._depth(event_type, identifier)
        self._occasion.admit()
        deliver = deliver and self._occasion.deliver
        hold = self._occasion.hold if deliver else None
        publication = self._around.opened().publish(
            event_type, identifier, data, deliver=deliver, source=self._source,
            depth=depth, hold=None if hold is None else hold.reason,
        )  # fmt: skip
        if publication.new:
            self._new += 1
            if hold is not None:
                hold.count(1)
            log.info("New event -> %s: %s%s", printable(event_type),
                     printable(identifier), self._how)  # fmt: skip
        else:
            self._known += 1
        return publication

    def publish_many(
        self, triples: Iterable[tuple[str, str, Any]], deliver: bool = True
    ) -> Published:
        """Publish many events, a thousand in a transaction.

        Args:
            triples: (event type, identifier, data); if the iterable raises, the earlier
                thousands stay stored.
            deliver: as in `publish`.

        Returns:
            How many events were offered, and how many of them were new.

        Raises:
            EventError: an event is refused, and with it its thousand.
            StorageFault: the disk failed; it is safe to publish again.
        """
        depth = self._depth("publish_many", "")
        deliver = deliver and self._occasion.deliver
        hold = self._occasion.hold if deliver else None
        done = self._around.opened().publish_many(
            self._admitted(triples), deliver=deliver, source=self._source, depth=depth,
            hold=None if hold is None else hold.reason,
        )  # fmt: skip
        if hold is not None:
            hold.count(done.new)
        self._new += done.new
        self._known += done.total - done.new
        if done.new:
            log.info("New events -> %s of %s%s", f"{done.new:,}", f"{done.total:,}",
                     self._how)  # fmt: skip
        return done

    def query_events(self, match: Match, limit: int | None = None) -> list[Event]:
        """Return the stored events that a filter matches, oldest first.

        Args:
            match: a filter as in `listen_for`; `{}` matches every event.
            limit: how many at most; None for all.

        Raises:
            FilterError: the filter is wrong.
            StoreError: the store cannot be read.
        """
        found: list[Event] = []
        for event in self._around.opened().query(compile_filter(match)):
            if limit is not None and len(found) >= limit:
                break
            found.append(event)
        return found

    @property
    def _how(self) -> str:
        return "" if self._occasion.deliver else " (stored as seen)"

    def _admitted(self, triples: Iterable[tuple[str, str, Any]]) -> Iterator[Any]:
        """Yield each event when it may be published; the store takes a thousand first."""
        for triple in triples:
            self._occasion.admit()
            yield triple

    def _depth(self, event_type: str, identifier: str) -> int:
        depth = depth_of_publications.get()
        if depth > MAX_ECHO:
            raise EchoError(
                f"{MAX_ECHO} listeners in a row have answered each other; "
                f"{event_type}: {identifier} is not published, as this looks endless"
            )
        return depth
