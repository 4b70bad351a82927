"""The agent: wires everything together; nothing else knows everything."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .choices import Choices
from .clock import Clock, SystemClock
from .context import Handler
from .errors import AgentError
from .filters import Match
from .foreground import Told, run_until_stopped
from .json_text import MAX_DATA
from .logs import log_to_stderr
from .noting import importing, note
from .occasion import Surroundings
from .open_store import OpenStore
from .pulse import Pulse
from .registry import Job, Listener, Registry, Where, make_job, make_listener
from .retry import RetryPolicy, Seconds, seconds
from .signals import Doorbell
from .stopping import Stop
from .supervisor import Supervisor

if TYPE_CHECKING:
    from .engine import Engine
    from .fluent import Schedule
    from .metrics_server import MetricsServer
    from .observability.run_reports import RunReports
    from .settings.sections import Sections
    from .store.event_store import EventStore

log = logging.getLogger("py_agent")


class Agent:
    """An automation agent; making one touches no file, thread or lock.

    Args:
        db: the store's path, or ":memory:" for a private one that is removed at the
            end. If not given: agent.toml's, `PY_AGENT_DB_PATH`, else `agent.sqlite`.
        durability: "full" (the default) survives a power cut; "fast" may lose the last
            moments before one.
        grace: seconds or timedelta that running work may take to end after a stop.
        max_data: bytes of JSON that one event may hold.
        max_owed: deliveries that may be owed before a job that publishes has to wait;
            any number if not given.
        job_threads: how many short runs of jobs go on at the same time (4).
        config: the agent.toml to read for `[agent]`; the usual places if not given.
        clock: tells the time; tests pass a fake one.
    """

    def __init__(
        self,
        db: str | os.PathLike[str] | None = None,
        *,
        durability: str | None = None,
        grace: Seconds | None = None,
        max_data: int = MAX_DATA,
        max_owed: int | None = None,
        job_threads: int | None = None,
        config: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._choices = Choices(db, durability, grace, config, max_owed, job_threads)
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._stopping = threading.Lock()
        self._registry = Registry()
        self._store = OpenStore(
            self.store_path, lambda: self._choices.durability(), max_data, self._clock,
            lambda: self._registry.listeners,
        )  # fmt: skip
        self._engine: Engine | None = None
        self._ending: Engine | None = None  # the one that is being stopped
        self._started_in = 0  # the process that called start()
        self._doorbell = Doorbell()
        self._grace = 0.0  # of the engine that runs
        self._metrics: MetricsServer | None = None  # of the engine that runs
        self._supervisor = Supervisor()  # told how the process stands, while go() runs
        self._sections: Sections | None = None
        self._parts: dict[str, Any] = {}  # of the engine, that a test replaces
        stop = Stop(self._clock)
        self.handler = Handler(
            Surroundings(self._store.get, self._settings, self._clock, stop, self._run_soon)
        )

    @cached_property
    def schedule(self) -> Schedule:
        """The fluent API: `agent.schedule.every(10).minutes.do(job)`."""
        from .fluent import Schedule

        return Schedule(self._registry)

    @property
    def registry(self) -> Registry:
        """The jobs and listeners of this agent."""
        return self._registry

    @property
    def running(self) -> bool:
        """Whether the agent has been started and not stopped."""
        return self._engine is not None

    # Registration

    def add_listener(
        self,
        function: Callable[..., Any],
        match: Match | None = None,
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        timeout: Seconds | None = None,
        concurrency: int | None = None,
        ordered_by: str | tuple[str, ...] | None = None,
        where: Where | None = None,
        debounce: str | Seconds | None = None,
        throttle: str | Seconds | None = None,
        **arguments: Any,
    ) -> None:
        """Register a listener.

        Args:
            function: called by name with `event` and `handler`.
            match: the filter; a function decorated with `listen_for` has its own.
            name: see `listen_for`, for this and the other options; what is given here
                wins over the decorator.
            retry: see `listen_for`.
            timeout: see `listen_for`.
            concurrency: see `listen_for`.
            ordered_by: see `listen_for`.
            where: see `listen_for`.
            debounce: see `listen_for`.
            throttle: see `listen_for`.
            arguments: further named arguments for the function.

        Raises:
            RegistrationError: no filter, no usable name, or arguments that do not fit.
            FilterError: the filter is wrong.
        """
        listener = make_listener(
            function, match, arguments, name=name, retry=retry, timeout=timeout,
            concurrency=concurrency, ordered_by=ordered_by, where=where,
            debounce=debounce, throttle=throttle,
        )  # fmt: skip
        with self._lock:
            self._registry.add_listener(listener)
            if self._engine is not None:
                self._engine.add(listener)
            else:
                self._store.subscribe(listener)

    def add_job(
        self,
        function: Callable[..., Any],
        *,
        every: str | Seconds | None = None,
        at: str | None = None,
        cron: str | None = None,
        name: str | None = None,
        tz: str | tzinfo | None = None,
        at_start: bool | None = None,
        misfire: str | None = None,
        grace: str | Seconds | None = None,
        expect_every: str | Seconds | None = None,
        keep: bool = False,
        first: str | None = None,
        hold_above: int | str | None = None,
        **arguments: Any,
    ) -> None:
        """Register a job.

        Args:
            function: called by name with `handler`, and with settings that it names.
            every: an interval, `"10 minutes"`, seconds or a timedelta.
            at: a local time of day, `"02:30"`.
            cron: a line of a crontab, `"*/5 * * * *"`.
            name: the job's stable name; `module.qualname` if not given.
            tz: the time zone of `at` or `cron`, by name or as a tzinfo; the machine's
                own if not given.
            at_start: whether it also runs as soon as the agent starts; if not given,
                true for `every`, false for `at` and `cron`.
            misfire: what becomes of runs that were missed: "coalesce" (the default)
                makes up for all of them by one run, "skip" leaves them out.
            grace: how late a missed run may begin; for any time if not given.
            expect_every: how long it may go without a success; after that one event
                `job.silent` is published, and `job.recovered` when it succeeds again.
            keep: makes it a service: started with the agent, started again whenever it
                ends or raises, and to end by itself when `handler.stop_requested`.
            first: "baseline" stores what the first successful run finds as seen, so
                that it fires nothing.
            hold_above: a number of new events, or "usual": of a run that publishes more
                than that, or far more than usual, nothing is delivered until a person
                says so, by `agent release` or `agent discard --held`. What a run
                publishes is then delivered when it has ended.
            arguments: further named arguments for the function.

        Raises:
            RegistrationError: no schedule or two, no usable name, or arguments that do
                not fit.
        """
        from .planning import plan_of

        plan = plan_of(
            every, at, cron, tz, at_start, misfire, grace, expect_every, keep, first,
            hold_above,
        )  # fmt: skip
        job = make_job(function, name, (), arguments, str(plan.rule), **plan.options)
        self.schedule.plan(job, plan.rule, plan.at_start)

    # Running

    def start(self) -> None:
        """Begin to run jobs and to deliver, on threads of their own.

        Raises:
            StoreLockedError: another agent runs on the store.
            StoreError: the store cannot be used.
            ConfigError: agent.toml or the environment is wrong.
            AgentError: the agent has been started, or its file is being imported.
        """
        if importing():
            raise AgentError("start() cannot be called while a command imports this file")
        self._doorbell.rung = False
        self._start(scheduling=True)
        self._started_in = os.getpid()
        atexit.register(self._at_exit)

    def drain(self, timeout: Seconds | None = None) -> bool:
        """Deliver until nothing is available or running and all results are stored.

        An agent that has not been started takes the lock for that time, and runs no
        job. What is due later, paused, parked or stuck is not waited for.

        Args:
            timeout: seconds or timedelta to wait at most; None for as long as it takes.

        Returns:
            Whether it came to that in time.

        Raises:
            StoreError: the store cannot be used.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        deadline = None if limit is None else time.monotonic() + limit
        with self._lock:
            borrowed = self._engine is None
            if borrowed:
                self._doorbell.rung = False
            engine = self._engine or self._start(scheduling=False)
        try:
            return engine.dispatcher.drain(deadline)
        finally:
            if borrowed:
                self._stop_engine(close=False)

    def stop(self) -> None:
        """Finish or hand back all work within the grace time; safe to call twice."""
        self._doorbell.ring()
        atexit.unregister(self._at_exit)
        with self._stopping:  # who comes second returns when all is done, too
            self._stop_engine(close=True)
            self._close()

    def go(self) -> None:
        """Start, and run until stopped by SIGTERM, Ctrl-C or `stop()`.

        On the main thread, SIGTERM and the first Ctrl-C end the agent within the grace
        time, a second Ctrl-C at once. While a command imports the file that calls this,
        the agent is only noted, and the command runs it.

        Raises:
            SystemExit: the agent could not start; one line has been logged, and the
                code is 2 for wrong use, 3 for a store that was refused.
        """
        if note(self):
            return
        if not logging.getLogger().handlers:
            level, written = self._choices.logging()
            log_to_stderr(getattr(logging, level.upper()), written)
        log.info("Starting agent")
        try:
            self._run(lambda: self._start(scheduling=True))
        except AgentError as error:
            for line in str(error).splitlines():
                log.error("%s", line)
            raise SystemExit(error.exit_code) from None

    def run_once(self) -> bool:
        """Run every job once now and deliver until nothing more is due.

        Returns:
            Whether no job and no attempt failed, and nothing waits for a listener that is
            paused.

        Raises:
            StoreError: the store cannot be used.
        """

        services = [each.name for each in self._registry.jobs if each.keep]
        if services:
            log.info("Services are left out: %s", ", ".join(services))

        waits: list[tuple[str, str]] = []

        def work(engine: Engine) -> None:
            engine.scheduler.run_all()
            engine.dispatcher.drain(None)
            waits.extend(engine.held_up())

        failures = self._run(lambda: self._start(scheduling=False), work)
        for name, _ in waits:
            log.error("%s is paused, so that what it is owed waits", name)
        return not failures and not waits

    def override(
        self,
        db: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
    ) -> None:
        """Set what a command line says; it wins over the code."""
        self._choices.override(db, config)

    def _settings(self, wanted: type[Any]) -> Any:
        # Without the agent's lock, which is held while a call is tried at the start.
        if self._sections is None:
            from .settings.sections import Sections

            self._sections = Sections(self._choices.config)
        return self._sections.get(wanted)

    def _run_soon(self, job: str) -> None:
        engine = self._engine
        if engine is None:
            raise AgentError(f"job {job} cannot run: the agent has not been started")
        engine.scheduler.run_soon(job)

    # The store

    def store_path(self) -> Path:
        """Return the real path of this agent's store, which need not exist yet.

        Raises:
            ConfigError: agent.toml or the environment is wrong.
        """
        return self._choices.store_path()

    # The engine

    def _run(
        self, start: Callable[[], Engine], work: Callable[[Engine], None] | None = None
    ) -> int:
        """Run in the foreground, and tell what has started the process how it stands."""
        self._supervisor = supervisor = Supervisor.of_environment(os.environ)
        try:
            return run_until_stopped(
                self._doorbell, start, self.stop, self._abort, work,
                Told(supervisor, self._summary, lambda: self._grace),
            )  # fmt: skip
        finally:
            self._supervisor = Supervisor()

    def _summary(self) -> str:
        """Return what this agent does, in one line."""
        found = {"job": len(self._registry.jobs), "listener": len(self._registry.listeners)}
        told = (
            f"{count} {word}{'' if count == 1 else 's'}" for word, count in found.items()
        )
        return f"{', '.join(told)} on {self.store_path()}"

    def _start(self, scheduling: bool) -> Engine:
        from .engine import Engine, Limits

        with self._lock:
            if self._engine is not None:
                raise AgentError("the agent has been started already")
            path = self.store_path()
            log.info("The store is %s", path)
            reports = self._attach()
            self._attach_retention()
            self._check_settings()
            if scheduling and not (self._registry.jobs or self._registry.listeners):
                log.warning("There are no jobs and no listeners, so nothing will happen")
            self._grace = self._choices.grace()
            metrics = self._listen_for_metrics() if scheduling else None
            engine: Engine | None = None
            try:
                self._engine = engine = Engine(
                    path, self._store.get, self._clock, self._registry, self.schedule,
                    self._doorbell, self._settings, Limits(**self._choices.limits()),
                    reports, pulse=self._pulse(), **self._parts,
                )  # fmt: skip
                engine.start(scheduling)
                if metrics is not None:
                    metrics.start(engine.metrics())
            except BaseException:
                self._engine = None
                if metrics is not None:
                    metrics.stop()
                if engine is not None:
                    engine.stop(0)
                raise
            self._metrics = metrics
            return engine

    def _listen_for_metrics(self) -> MetricsServer | None:
        """Take the address for metrics, if there is one, before anything starts."""
        address = self._choices.metrics()
        if address is None:
            return None
        from .metrics_server import MetricsServer

        return MetricsServer(*address)

    def _pulse(self) -> Pulse:
        """Return what pings the watchdog, at half the time that it allows."""
        limit, ping = self._supervisor.watchdog, self._supervisor.ping
        return Pulse(self._clock, None if limit is None else limit / 2, ping)

    def _attach(self) -> Callable[[EventStore, Clock], RunReports] | None:
        """Give it what belongs to Observability, if that is configured."""
        from .settings.sections import Sections

        sections = Sections(self._choices.config)
        if not sections.has_observability():
            return None
        from .observability.attach import attach

        return attach(self._registry, self.schedule, sections)

    def _attach_retention(self) -> None:
        """Give it what drops the data of old events, if that is configured."""
        if (keep := self._choices.keep_data()) is not None:
            from .retention import attach

            attach(self._registry, self.schedule, keep, self._store.get)

    def _check_settings(self) -> None:
        from .settings.sections import check_settings

        registered: list[Job | Listener] = [
            *self._registry.jobs, *self._registry.listeners,
        ]  # fmt: skip
        check_settings(registered, self._choices.config)

    def _stop_engine(self, close: bool) -> None:
        with self._lock:
            engine, self._engine = self._engine, None
            metrics, self._metrics = self._metrics, None
            self._ending = engine
        if metrics is not None:
            metrics.stop()
        if engine is not None:
            engine.stop(self._grace, self._close if close else lambda: None)
            self._ending = None

    def _close(self) -> None:
        self.handler.close()
        self._store.close()
        self._choices.remove_private()

    def _abort(self) -> None:
        engine = self._engine or self._ending
        if engine is not None:
            engine.abort()

    def _at_exit(self) -> None:
        """Stop an agent whose program ends: its calls are not to blame for that."""
        if os.getpid() == self._started_in:
            self.stop()
