"""The metrics of a running agent, as Prometheus scrapes and parses them."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from py_agent import Agent, Discard, Handler, Pause, Retry
from py_agent.errors import ConfigError, StorageFault
from py_agent.metrics_server import MetricsServer
from py_agent.store.measures import measure
from py_agent.testing import AgentUnderTest, FakeClock

from .support import WANTED, StoreFile

# Beforehand: while two threads import, CPython 3.11.7 may fail to compile what pytest
# rewrites ("AST constructor recursion depth mismatch"), and an agent imports it at start.
pytest.importorskip("py_agent.metrics")

Key = tuple[str, frozenset[str]]


class Scraped(AgentUnderTest):
    """An agent under test that tells metrics, at a port that the machine chooses."""

    def _listen_for_metrics(self) -> Any:
        return MetricsServer("127.0.0.1", 0)

    def ask(self, path: str = "/metrics") -> tuple[int, str]:
        """Return the status and body of an answer."""
        assert self._metrics is not None
        asked = http.client.HTTPConnection("127.0.0.1", self._metrics.port, timeout=30)
        try:
            asked.request("GET", path)
            answer = asked.getresponse()
            return answer.status, answer.read().decode()
        finally:
            asked.close()

    def scrape(self) -> dict[Key, float]:
        """Return the value of each sample, by its name and the values of its labels."""
        status, text = self.ask()
        assert status == 200
        return {
            (sample.name.removeprefix("py_agent_"), frozenset(sample.labels.values())): (
                sample.value
            )
            for family in parse(text)
            for sample in family.samples
        }


def of(name: str, *labels: str) -> Key:
    """Return the key of a sample."""
    return name, frozenset(labels)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Scraped]:
    """An agent whose metrics are told."""
    made = Scraped(tmp_path / "store.sqlite")
    yield made
    made.stop()


def test_runs_and_publications_are_counted(agent: Scraped) -> None:
    """Given jobs that publish and fail, Then both are counted, by job and outcome."""

    def poll(handler: Handler) -> None:
        handler.publish("t", "1")
        handler.publish_many([("t", "2", None), ("u", "1", None)])

    def bad() -> None:
        raise ValueError("broken")

    agent.add_job(poll, every=60, name="poll")
    agent.add_job(bad, every=3600, name="bad")
    agent.advance(60)
    found = agent.scrape()
    assert found[of("runs_total", "poll", "completed")] == 2
    assert found[of("runs_total", "poll", "failed")] == 0
    assert found[of("runs_total", "bad", "failed")] == 1
    assert found[of("publications_total", "t", "new")] == 2
    assert found[of("publications_total", "t", "duplicate")] == 2
    assert found[of("publications_total", "u", "duplicate")] == 1
    assert found[of("events")] == 3
    started = agent.runs("poll", "completed")[-1].started
    assert found[of("job_last_success_timestamp_seconds", "poll")] == started.timestamp()


def test_deliveries_are_told_by_their_state(agent: Scraped) -> None:
    """Given listeners that fail in their ways, Then each state and age is told."""

    def fail(event: Any) -> None:
        if event.identifier == "1":
            raise Discard("no use")
        raise Retry(after=3600)

    agent.add_listener(fail, WANTED, name="fail")
    agent.add_listener(print, WANTED, name="fine", where=lambda event: True)
    agent.start()
    agent.handler.publish("t", "1")
    agent.handler.publish("t", "2")
    agent.advance(100)
    found = agent.scrape()
    assert found[of("dead_letters", "fail")] == 1
    assert found[of("deliveries", "fail", "retryable")] == 1
    assert found[of("deliveries", "fail", "available")] == 0
    assert found[of("oldest_owed_seconds", "fail")] == 100
    assert found[of("oldest_owed_seconds", "fine")] == 0
    assert found[of("attempts_total", "fail", "discarded")] == 1
    assert found[of("attempts_total", "fail", "failed")] == 1
    assert found[of("attempts_total", "fine", "completed")] == 2
    assert found[of("listener_paused", "fail")] == 0


def test_what_a_flood_withholds_has_states_of_its_own(agent: Scraped) -> None:
    """Given a run with too much news, Then what it owes waits for its end, and is held
    for a person after it.
    """
    during: list[dict[Key, float]] = []

    def flood(handler: Handler) -> None:
        handler.publish_many(("t", str(n), None) for n in range(30))
        during.append(agent.scrape())

    agent.add_listener(print, WANTED, name="mine")
    agent.add_job(flood, every=3600, name="flood", hold_above=20, at_start=False)
    agent.start()  # all of it, or the run would find no metrics yet
    agent.advance(3_600)
    agent.drain()
    for found, states in ((during[0], (30, 0)), (agent.scrape(), (0, 30))):
        waiting, held = (found[of("deliveries", "mine", x)] for x in ("waiting", "held"))
        assert (waiting, held) == states
        assert found[of("deliveries", "mine", "available")] == 0
        assert found[of("oldest_owed_seconds", "mine")] == 0


def test_jobs_that_are_silent_and_skipped_are_told(agent: Scraped) -> None:
    """Given a job that is expected to succeed and does not, Then it is silent."""

    def bad() -> None:
        raise ValueError("broken")

    agent.add_job(bad, every=60, name="bad", expect_every=600)
    agent.advance(10)
    assert agent.scrape()[of("job_silent", "bad")] == 0
    agent.advance(1_000)
    assert agent.scrape()[of("job_silent", "bad")] == 1


def test_a_skip_has_its_reason(agent: Scraped) -> None:
    """Given a job that runs for longer than its interval, Then the skips are counted."""

    def slow(handler: Handler) -> None:
        handler.wait(150)

    agent.add_job(slow, every=60, name="slow")
    agent.advance(150)
    assert agent.scrape()[of("skips_total", "slow", "busy")] == 2


def test_a_store_that_cannot_be_read_is_told(
    agent: Scraped, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a read that fails or takes too long, Then the rest is told all the same."""
    agent.add_job(print, every=60, name="poll")
    agent.advance(1)
    monkeypatch.setattr(
        "py_agent.metrics.measure", lambda path, now: measure(path, now, -1)
    )
    monkeypatch.setattr("py_agent.store.measures.STEPS", 1)
    for _ in range(2):
        found = agent.scrape()
        assert found[of("store_readable")] == 0
        assert of("events") not in found
        assert found[of("runs_total", "poll", "completed")] == 1
    told = [each for each in caplog.records if "left out" in each.message]
    assert [each.levelno for each in told] == [logging.ERROR]
    monkeypatch.undo()
    assert agent.scrape()[of("store_readable")] == 1


def test_a_read_that_takes_too_long_says_so(
    agent: Scraped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no time left, When the store is measured, Then the reason is the time."""
    agent.add_job(print, every=60)
    agent.start()
    monkeypatch.setattr("py_agent.store.measures.STEPS", 1)
    with pytest.raises(StorageFault, match="reading took longer than -1 s"):
        measure(tmp_path / "store.sqlite", 0, -1)


def test_many_listeners_share_what_is_counted(
    agent: Scraped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given many listeners that are far behind, Then fewer deliveries of each are counted,
    so that all of it takes no longer than one listener's.
    """

    def pause() -> None:
        raise Pause("not now")

    for name in ("one", "two"):
        agent.add_listener(pause, WANTED, name=name)
    agent.start()
    agent.handler.publish_many(("t", str(n), None) for n in range(9))
    for least, counted in ((1, 5), (7, 7)):
        monkeypatch.setattr("py_agent.store.measures.IN_ALL", 10)
        monkeypatch.setattr("py_agent.store.measures.LEAST", least)
        found = measure(tmp_path / "store.sqlite", 0).listeners
        owed = {sum(each.deliveries.values()) for each in found.values()}
        assert owed == {counted}


def test_what_fails_otherwise_is_a_500(
    agent: Scraped, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an error of ours, Then the scrape fails and the agent goes on."""
    agent.add_job(print, every=60, name="poll")
    agent.advance(1)
    monkeypatch.setattr("py_agent.metrics.size", lambda path: 1 / 0)
    status, text = agent.ask()
    assert (status, text) == (500, "see the log of the agent\n")
    monkeypatch.undo()
    agent.advance(60)
    assert agent.scrape()[of("runs_total", "poll", "completed")] == 2


def test_only_one_path_is_served(agent: Scraped) -> None:
    """Given another path, Then the answer says where the metrics are."""
    agent.add_job(print, every=60)
    agent.start()
    assert agent.ask("/") == (404, "metrics are at /metrics\n")


def test_a_client_that_does_not_ask_keeps_nobody_waiting(agent: Scraped) -> None:
    """Given connections that say nothing, Then others are answered, and the stop ends."""
    agent.add_job(print, every=60)
    agent.start()
    assert agent._metrics is not None
    with socket.create_connection(("127.0.0.1", agent._metrics.port), 5) as silent:
        assert agent.ask()[0] == 200
        agent.stop()
        assert silent.recv(1) == b""  # nor does it keep a thread


@pytest.mark.parametrize("asked", [b"GET /met", b"GET /metrics HTTP/1.0\r\n\r\n"])
def test_nobody_waits_for_ever(asked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a client that does not ask in full, or a store that hangs, Then the
    connection ends after its time.
    """
    monkeypatch.setattr("py_agent.metrics_server.SECONDS", 0.1)
    goes_on = threading.Event()

    def hang() -> tuple[bytes, str]:
        goes_on.wait(60)
        return b"", "text/plain"

    server = MetricsServer("127.0.0.1", 0)
    server.start(hang)
    try:
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            client.sendall(asked)
            assert client.recv(1) == b""
    finally:
        goes_on.set()
        server.stop()


def test_the_address_is_given_back(agent: Scraped) -> None:
    """Given a stopped agent, Then its port is free, also where the start failed."""
    agent.add_job(print, every=60)
    agent.start()
    assert agent._metrics is not None
    port = agent._metrics.port
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be had"):
        MetricsServer("127.0.0.1", port)
    agent.stop()
    MetricsServer("127.0.0.1", port).stop()


def test_a_start_that_fails_gives_the_address_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a file that is no store, Then nothing listens after the failed start."""
    made: list[MetricsServer] = []
    (tmp_path / "store.sqlite").write_text("no store")
    agent = Agent(tmp_path / "store.sqlite", clock=FakeClock())

    def listen() -> MetricsServer:
        made.append(MetricsServer("127.0.0.1", 0))
        return made[0]

    monkeypatch.setattr(agent, "_listen_for_metrics", listen)
    with pytest.raises(Exception, match=r"store\.sqlite"):
        agent.start()
    MetricsServer("127.0.0.1", made[0].port).stop()


def test_an_agent_under_test_takes_no_address(tmp_path: Path) -> None:
    """Given a configuration with metrics, Then a test leaves the port to the agent."""
    (tmp_path / "agent.toml").write_text("[agent]\nmetrics = 9464\n")
    agent = AgentUnderTest(tmp_path / "s.sqlite", config=tmp_path / "agent.toml")
    agent.start()
    assert agent._metrics is None
    agent.stop()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no prometheus-client, Then the extra is named."""
    monkeypatch.setattr("py_agent.metrics_server.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        MetricsServer("127.0.0.1", 0)
    assert str(caught.value) == "metrics needs: pip install 'py-agent[metrics]'"


def test_what_a_listener_lost_is_told(agent: Scraped, tmp_path: Path) -> None:
    """Given a listener that left the code, Then what is parked for it is counted."""
    agent.add_listener(print, WANTED, name="gone")
    agent.handler.publish("t", "1")
    agent.stop()
    other = Scraped(tmp_path / "store.sqlite")
    other.add_job(print, every=60)
    other.start()
    try:
        found = other.scrape()
    finally:
        other.stop()
    assert found[of("deliveries", "gone", "parked")] == 1


def test_no_table_is_read_to_its_end(agent: Scraped, tmp_path: Path) -> None:
    """Given the indexes, Then each look uses one, but for parked deliveries."""
    from py_agent.store import measures

    agent.add_job(print, every=60)
    agent.start()
    agent.stop()
    store = StoreFile(tmp_path / "store.sqlite")
    for statement, index in (
        (measures._DUE_THEN, "owed_deliveries"), (measures._DEAD, "dead_letters"),
        (measures._CREATED, "INTEGER PRIMARY KEY"),
    ):  # fmt: skip
        sql, names, fixed = statement.compiled
        plan = store.rows(f"EXPLAIN QUERY PLAN {sql}", *[fixed.get(x, 1) for x in names])
        assert any(index in row[3] for row in plan), plan
        assert not any(row[3].startswith("SCAN deliveries") for row in plan), plan


def test_the_store_has_a_size(agent: Scraped, tmp_path: Path) -> None:
    """Given a store, Then its bytes are told, and those left on its disk."""
    agent.add_job(print, every=60)
    agent.start()
    found = agent.scrape()
    assert found[of("store_size_bytes")] >= os.stat(tmp_path / "store.sqlite").st_size
    assert found[of("store_free_bytes")] > 0
