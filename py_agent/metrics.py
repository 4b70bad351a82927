"""What an agent tells Prometheus: what it has done, and what its store holds.

Counts come from this process and begin at 0 with it; how many deliveries are owed, and
since when, is read from the store at each request. When that fails, those metrics are
left out and `py_agent_store_readable` is 0.

Jobs are labelled `job_name`, as Prometheus itself puts `job` on all that it scrapes.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily as Count
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from .clock import Clock, to_micros
from .errors import StoreError
from .registry import Registry
from .silence import Silence
from .store.measures import ListenerMeasures, Measures, measure, size
from .store.tables import Outcome, State
from .tally import HEARTBEAT_JOB, Tally

log = logging.getLogger("py_agent")

SECOND = 1_000_000  # microseconds


class Metrics(Collector):
    """Collects the metrics of one agent.

    Args:
        path: the store.
        clock: tells the time.
        registry: the jobs and listeners.
        tally: what this process has done.
        silence: which jobs have not succeeded for too long.
    """

    def __init__(
        self, path: Path, clock: Clock, registry: Registry, tally: Tally, silence: Silence
    ) -> None:
        self._path = path
        self._clock = clock
        self._registry = registry
        self._tally = tally
        self._silence = silence
        self._started = clock.boot()
        self._failing = False
        self._lock = threading.Lock()
        self._exposed = CollectorRegistry(auto_describe=False)
        self._exposed.register(self)
        ProcessCollector(registry=self._exposed)

    def render(self) -> tuple[bytes, str]:
        """Return all metrics as Prometheus reads them, and their content type."""
        with self._lock:  # who asks twice at a time does not double the work
            return generate_latest(self._exposed), CONTENT_TYPE_LATEST

    def describe(self) -> list[Metric]:
        """Return nothing: nobody else registers metrics here."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield Info(
            "py_agent_build", "The release that runs",
            {"version": version("py-agent"), "python": platform.python_version()},
        )  # fmt: skip
        yield self._runs()
        yield self._skips()
        yield self._publications()
        yield self._attempts()
        yield self._silent()
        if HEARTBEAT_JOB in self._jobs() or self._tally.beat is not None:
            yield Gauge(
                "py_agent_heartbeat_age_seconds",
                "Time since a heartbeat arrived at Observability, or since the start",
                self._clock.boot() - (self._tally.beat or self._started),
            )
        yield from self._of_store()

    # What this process has done

    def _jobs(self) -> list[str]:
        return [job.name for job in list(self._registry.jobs)]

    def _listeners(self) -> list[str]:
        return [listener.name for listener in list(self._registry.listeners)]

    def _runs(self) -> Metric:
        known = [
            (job, str(outcome))
            for job in self._jobs()
            for outcome in (Outcome.COMPLETED, Outcome.FAILED)
        ]
        return self._count("runs", "Runs that have ended", ("job_name", "outcome"), known)

    def _skips(self) -> Metric:
        told = "Runs that were due and did not begin"
        return self._count("skips", told, ("job_name", "reason"), [])

    def _publications(self) -> Metric:
        told = "Events that were offered by this process"
        return self._count("publications", told, ("event_type", "result"), [])

    def _attempts(self) -> Metric:
        known = [
            (listener, outcome)
            for listener in self._listeners()
            for outcome in ("completed", "failed", "discarded")
        ]
        told = "Calls of listeners that have ended"
        return self._count("attempts", told, ("listener", "outcome"), known)

    def _count(
        self,
        name: str,
        told: str,
        labels: tuple[str, str],
        known: Iterable[tuple[str, ...]],
    ) -> Metric:
        """Return a counter, which begins at 0 for what is known to come."""
        family = Count(f"py_agent_{name}", told, labels=labels)
        counts = dict.fromkeys(known, 0) | self._tally.counts(name)
        for values, count in counts.items():
            family.add_metric(list(values), count)
        return family

    def _silent(self) -> Metric:
        family = Gauge(
            "py_agent_job_silent",
            "Whether a job has not succeeded for longer than it is expected to",
            labels=["job_name"],
        )
        for job, silent in self._silence.silent().items():
            family.add_metric([job], silent)
        return family

    # What the store holds

    def _of_store(self) -> Iterator[Metric]:
        now = to_micros(self._clock.now())
        found: list[Metric] = []
        try:
            taken, free = size(self._path)
            found.append(
                Gauge("py_agent_store_size_bytes", "Bytes that the store takes", taken)
            )
            found.append(
                Gauge("py_agent_store_free_bytes", "Bytes left on the store's disk", free)
            )
            found += self._of_measures(measure(self._path, now), now)
            self._failing = False
        except StoreError as error:
            if not self._failing:
                log.error("the metrics of the store are left out: %s", error)
            self._failing = True
        yield from found
        yield Gauge(
            "py_agent_store_readable", "Whether the store could be read for the metrics",
            not self._failing,
        )  # fmt: skip

    def _of_measures(self, measures: Measures, now: int) -> list[Metric]:
        return [
            Gauge("py_agent_events", "Events that have ever been stored", measures.events),
            *self._of_jobs(measures),
            *_of_listeners(measures.listeners, now),
        ]

    def _of_jobs(self, measures: Measures) -> list[Metric]:
        paused = Gauge(
            "py_agent_job_paused",
            "Whether a job waits for agent resume",
            labels=["job_name"],
        )
        success = Gauge(
            "py_agent_job_last_success_timestamp_seconds",
            "When the last successful run of a job began", labels=["job_name"],
        )  # fmt: skip
        for name in self._jobs():  # a job that left the code stays in the store for ever
            known = measures.jobs.get(name)
            paused.add_metric([name], known is not None and known.paused)
            if known is not None and known.last_success is not None:
                success.add_metric([name], known.last_success / SECOND)
        return [paused, success]


def _of_listeners(listeners: dict[str, ListenerMeasures], now: int) -> list[Metric]:
    states = Gauge(
        "py_agent_deliveries",
        "Deliveries that are not completed; of large numbers not all are counted",
        labels=["listener", "state"],
    )
    dead = Gauge(
        "py_agent_dead_letters", "Dead letters that nobody has dealt with",
        labels=["listener"],
    )  # fmt: skip
    oldest = Gauge(
        "py_agent_oldest_owed_seconds", "Age of the oldest event that a listener is owed",
        labels=["listener"],
    )  # fmt: skip
    paused = Gauge(
        "py_agent_listener_paused", "Whether a listener is held", labels=["listener"]
    )
    for name, found in listeners.items():
        for state, count in found.deliveries.items():
            if state != State.DISCARDED:
                states.add_metric([name, str(state)], count)
        dead.add_metric([name], found.deliveries[State.DISCARDED])
        age = 0.0 if found.oldest is None else max(0.0, (now - found.oldest) / SECOND)
        oldest.add_metric([name], age)
        paused.add_metric([name], found.paused)
    return [states, dead, oldest, paused]
