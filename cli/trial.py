"""What `agent-test` does: one run of the real engine, on a store of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from py_agent.agent import Agent
from py_agent.clock import SystemClock
from py_agent.context import Handler
from py_agent.engine import Engine
from py_agent.errors import (
    ConfigError,
    LoadError,
    NotFoundError,
    RegistrationError,
    StoreMissingError,
)
from py_agent.events import Publication, Published
from py_agent.filters import compile_filter
from py_agent.fluent import Schedule
from py_agent.loading import agent_of_config, load_function
from py_agent.occasion import Occasion, Surroundings
from py_agent.registry import Job, Listener, Registry, make_job, make_listener
from py_agent.retry import RetryPolicy
from py_agent.settings.sections import Sections
from py_agent.signals import Doorbell
from py_agent.store import by_hand, schema
from py_agent.store.event_store import EventStore
from py_agent.store.listing import reading
from py_agent.store.lock import AgentLock
from py_agent.timing import Interval

PREFIX = "agent-test:"  # the subscriptions of a run, which are removed at its end
GRACE_SECONDS = 1.0

Row = dict[str, Any]


@contextmanager
def trial_store(memory: bool, file: str | None, drop: bool) -> Iterator[Path]:
    """Lend the store to use: a private one, the file, or the working directory's own.

    Raises:
        StoreMissingError: the file does not exist.
        StoreLockedError: the store to be dropped is in use.
    """
    if memory:
        with tempfile.TemporaryDirectory(prefix="py_agent-") as private:
            yield Path(os.path.realpath(private)) / "memory.sqlite"
        return
    if file is not None:
        if not Path(file).exists():
            raise StoreMissingError(f"there is no store at {os.path.abspath(file)}")
        yield Path(os.path.realpath(file))
        return
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    here = os.path.realpath(".")
    digest = hashlib.sha256(os.fsencode(here)).hexdigest()[:12]
    folder = Path(cache) / "py_agent"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the test store cannot be made in {folder}: {error.strerror}; "
            f"use -m for a store in memory, or name one with --db-file"
        ) from error
    store = Path(os.path.realpath(folder)) / f"{Path(here).name or 'root'}-{digest}.sqlite"
    if drop:
        _drop(store)
    yield store


def _drop(store: Path) -> None:
    lock = AgentLock(store)
    lock.acquire()
    try:
        for suffix in ("", "-wal", "-shm", ".inside"):
            Path(f"{store}{suffix}").unlink(missing_ok=True)
    finally:
        lock.release()


class Recorder(Handler):
    """A handler that remembers what is published through it.

    Args:
        seen: where each publication is noted.
        around: what all handlers have in common.
        source: the name of the job or listener.
        occasion: what belongs to this run or call.
    """

    def __init__(
        self, seen: list[Row], around: Surroundings, source: str, occasion: Occasion
    ) -> None:
        super().__init__(around, source, occasion)
        self._seen = seen

    def publish(
        self, event_type: str, identifier: str, data: Any = None, deliver: bool = True
    ) -> Publication:
        """Publish, and note whether it was new."""
        done = super().publish(event_type, identifier, data, deliver)
        self._note(event_type, identifier, done.new)
        return done

    def publish_many(
        self, triples: Iterable[tuple[str, str, Any]], deliver: bool = True
    ) -> Published:
        """Publish, and note for each event whether it was new."""

        def noted() -> Iterator[tuple[str, str, Any]]:
            offered: set[tuple[str, str]] = set()
            for triple in triples:
                key = (triple[0], triple[1])
                self._note(*key, key not in offered and not self._is_known(*key))
                offered.add(key)
                yield triple

        return super().publish_many(noted(), deliver)

    def _is_known(self, event_type: str, identifier: str) -> bool:
        try:
            self._around.opened().find(event_type, identifier)
        except NotFoundError:
            return False
        return True

    def _note(self, event_type: str, identifier: str, new: bool) -> None:
        self._seen.append(
            {
                "event_type": event_type,
                "identifier": identifier,
                "source": self.source,
                "new": new,
            }
        )


class Trial:
    """One run of a job and listeners.

    Args:
        job: the job's name, `module.job`, or its name in agent.toml; None for none.
        listeners: the listeners' names, likewise.
        retries: whether the listeners' own retry policies hold.
        config: the agent.toml to read.

    Raises:
        LoadError: one of them is not found or does not import.
        RegistrationError: it lacks a filter or an argument.
        ConfigError: agent.toml is wrong.
    """

    def __init__(
        self, job: str | None, listeners: tuple[str, ...], retries: bool, config: str | None
    ) -> None:
        self._known = agent_of_config(config, needed=False).registry
        self._retries = retries
        self._config = config
        self._published: list[Row] = []
        self._registry = Registry()
        self._schedule = Schedule(self._registry)
        for name in dict.fromkeys(listeners):
            self._registry.add_listener(self._renamed(self._listener(name)))
        if job is not None:
            # One run is wanted with all that follows, and leaves nothing to decide.
            tried = dataclasses.replace(self._job(job), hold_above=None)
            self._schedule.plan(tried, Interval(1), at_start=False)

    @property
    def _names(self) -> list[str]:
        return [each.name for each in self._registry.listeners]

    def run(
        self,
        path: Path,
        event_type: str | None,
        identifier: str | None,
        limit: float | None = None,
    ) -> Row:
        """Run on a store, and return what happened.

        Args:
            path: the store.
            event_type: stored events of this type are emitted again.
            identifier: stored events with this identifier are emitted again.
            limit: seconds after which the job is asked to end; None for never.

        Raises:
            StoreError: the store cannot be used.
            NotFoundError: there are no stored events to emit again.
        """
        opened: list[EventStore] = []

        def store() -> EventStore:
            if not opened:
                opened.append(EventStore.open(path, SystemClock()))
                _forget_old(opened[0])
            return opened[0]

        schema.ensure(path)
        engine = Engine(
            path,
            store,
            SystemClock(),
            self._registry,
            self._schedule,
            Doorbell(),
            Sections(self._config).get,
            park=False,
            handler=partial(Recorder, self._published),
        )
        try:
            emitted = self._emit(store(), event_type, identifier)
            engine.start(scheduling=False)
            _run_jobs(engine, limit)
            engine.dispatcher.drain(None, later=self._retries)
            store().writer.flush()
            return self._result(path, emitted, engine.failures)
        finally:
            engine.stop(GRACE_SECONDS, lambda: _clean(store(), self._names))

    def _result(self, path: Path, emitted: int, failures: int) -> Row:
        with reading(path) as listing:
            runs = listing.runs(1) if self._registry.jobs else []
            found = [
                {**row, "listener": name.removeprefix(PREFIX)}
                for name in self._names
                for row in reversed(listing.deliveries(sys.maxsize, listener=name))
            ]
        return {
            "store": str(path),
            "run": runs[0] if runs else None,
            "published": self._published,
            "emitted": emitted,
            "deliveries": found,
            "ok": failures == 0,
        }

    def _emit(
        self, store: EventStore, event_type: str | None, identifier: str | None
    ) -> int:
        """Owe stored events to the listeners; return how many deliveries that makes."""
        if event_type is None and identifier is None:
            return 0
        match: dict[str, tuple[str, Any]] = {}
        if event_type is not None:
            match["event_type"] = ("==", event_type)
        if identifier is not None:
            match["identifier"] = ("==", identifier)
        condition = compile_filter(match)
        if next(store.query(condition), None) is None:
            raise NotFoundError(
                f"the test store {store.path} has no event with {condition}"
            )
        return sum(by_hand.replay(store, name, condition) for name in self._names)

    # What is tried

    def _job(self, name: str) -> Job:
        for each in self._known.jobs:
            if each.name == name:
                return each
        function = load_function(name)
        for registry in (*_registries_of(function), self._known):
            for each in registry.jobs:
                if each.function is function:
                    return each
        return make_job(function, name.replace(":", "."))

    def _listener(self, name: str) -> Listener:
        for each in self._known.listeners:
            if each.name == name:
                return each
        function = load_function(name)
        for registry in (*_registries_of(function), self._known):
            for found in registry.listeners:
                if found.function is function:
                    return found
        try:
            return make_listener(function, name=name.replace(":", "."))
        except RegistrationError as error:
            raise LoadError(str(error)) from error

    def _renamed(self, listener: Listener) -> Listener:
        """Return a listener with a subscription of its own, for this run."""
        retry = listener.retry if self._retries else RetryPolicy(attempts=1)
        return dataclasses.replace(listener, name=PREFIX + listener.name, retry=retry)


def _run_jobs(engine: Engine, limit: float | None) -> None:
    """Run the job, and end it after the limit or at Ctrl-C; it gets a moment to do so."""

    def end() -> None:
        if not engine.stop_asked.requested:
            engine.stop_asked.request()
            given_up.start()

    given_up = threading.Timer(GRACE_SECONDS, engine.scheduler.stop)
    ending = threading.Timer(limit or 0, end)
    if limit is not None:
        ending.start()
    try:
        engine.scheduler.run_all(services=True)
    except KeyboardInterrupt:
        end()
        engine.scheduler.wait_until_idle()
    finally:
        for timer in (ending, given_up):
            timer.cancel()
        engine.scheduler.join(time.monotonic())


def _registries_of(function: Callable[..., Any]) -> list[Registry]:
    """Return the registries of the agents in the module that defines a function."""
    module = sys.modules.get(getattr(function, "__module__", ""), None)
    agents = [each for each in vars(module or object).values() if isinstance(each, Agent)]
    return [each.registry for each in agents]


def _forget_old(store: EventStore) -> None:
    """Remove the subscriptions of a run that was killed."""
    left = [each.name for each in store.subscriptions.all() if each.name.startswith(PREFIX)]
    if left:
        store.subscriptions.remove(left)


def _clean(store: EventStore, names: list[str]) -> None:
    store.subscriptions.remove(names)
    store.close()
