"""The heartbeat: at the start and then in step, whatever becomes of reports."""

from __future__ import annotations

from datetime import datetime

import pytest

import py_agent
from listeners.observability import forward
from py_agent.observability.heartbeat import heartbeat, next_due
from py_agent.testing import AgentUnderTest

from .support import KEY, Observability, configure, status


def beats(server: Observability) -> list[dict[str, object]]:
    return server.stored("/heartbeat")


@pytest.fixture
def beating(agent: AgentUnderTest) -> AgentUnderTest:
    """The agent, with its heartbeat."""
    agent.add_job(heartbeat, keep=True)
    return agent


def test_the_first_beat_says_who_it_is(
    beating: AgentUnderTest, server: Observability
) -> None:
    """Given an agent, When it starts, Then a heartbeat has key, tool and version."""
    beating.advance(1)
    assert beats(server) == [
        {
            "key": "a1",
            "tool": "py_agent",
            "version": py_agent.__version__,
            "latest_event_timestamp": None,
        }
    ]


def test_beats_keep_step(beating: AgentUnderTest, server: Observability) -> None:
    """Given a server that takes a while, When an hour passes, Then there are 61 beats."""
    beating.advance(hours=1)
    assert len(beats(server)) == 61


@pytest.mark.parametrize(
    ("due", "now", "next_one"),
    [(0, 0, 60), (0, 59.9, 60), (0, 60, 120), (0, 61, 120), (120, 120.5, 180),
     (0, 3_700, 3_720), (60, 60, 120)],
)  # fmt: skip
def test_missed_beats_are_one(due: float, now: float, next_one: float) -> None:
    """Given a beat that took long, Then the next is in step with the first."""
    assert next_due(due, now, 60) == next_one


def test_a_beat_tells_the_latest_report(
    beating: AgentUnderTest, server: Observability
) -> None:
    """Given reports, When the heart beats, Then it tells the latest one that arrived, with
    a zone, and not the last one that was sent.
    """
    early, late = "2026-01-05T10:00:00+02:00", "2026-01-05T12:00:00+02:00"
    beating.clock.set_wall_clock(datetime.fromisoformat("2026-01-06T00:00:00+00:00"))
    beating.start()
    beating.handler.publish("run-status", "1", status("r1", event_timestamp=late))
    beating.handler.publish("run-status", "2", status("r2", event_timestamp=early))
    beating.advance(seconds=61)
    told = str(beats(server)[-1]["latest_event_timestamp"])
    assert datetime.fromisoformat(told) == datetime.fromisoformat(late)


def test_a_report_about_the_future_is_no_latest(
    beating: AgentUnderTest, server: Observability
) -> None:
    """Given a report with a moment to come, When the heart beats, Then it tells now."""
    future = "2999-01-01T00:00:00+00:00"
    beating.start()
    beating.handler.publish("run-status", "1", status(event_timestamp=future))
    beating.advance(seconds=61)
    told = datetime.fromisoformat(str(beats(server)[-1]["latest_event_timestamp"]))
    assert told <= beating.clock.now()


def test_a_restart_does_not_wipe_the_latest(
    beating: AgentUnderTest, server: Observability
) -> None:
    """Given a report before a restart, When the heart beats again, Then it is not null."""
    beating.start()
    beating.handler.publish("run-status", "1", status())
    beating.advance(seconds=61)
    before = beats(server)[-1]["latest_event_timestamp"]
    beating.stop()
    beating.advance(seconds=1)
    assert before is not None
    assert beats(server)[-1]["latest_event_timestamp"] == before
    assert len(beats(server)) == 3


def test_it_beats_while_reports_fail(
    beating: AgentUnderTest, server: Observability
) -> None:
    """Given a server that takes no reports, When an hour passes, Then all beats come."""
    server.say_events({"status": 503})
    beating.start()
    beating.handler.publish("run-status", "1", status())
    beating.advance(hours=1)
    assert len(beats(server)) == 61
    assert [each.state for each in beating.deliveries(forward)] != ["completed"]


def test_beats_that_are_missed_are_not_made_up_for(
    beating: AgentUnderTest, server: Observability, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a server that is away for an hour, When it is back, Then there is one beat a
    minute, and the trouble was said when it came, then once an hour, and its end.
    """
    caplog.set_level("INFO", "py_agent")
    beating.advance(seconds=1)
    server.stop()
    beating.advance(minutes=59)
    server.start()
    beating.advance(minutes=2)
    assert len(beats(server)) == 3
    said = [each for each in caplog.messages if "no heartbeat arrives" in each]
    assert len(said) == 1
    assert any("heartbeats arrive again" in each for each in caplog.messages)


def test_a_refused_key_is_said_and_beats_go_on(
    beating: AgentUnderTest, server: Observability, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a key that is refused, When three hours pass, Then it is said once an hour,
    without the key, and the heart goes on beating.
    """
    server.change_key("another")
    beating.advance(hours=3)
    said = [each for each in caplog.messages if "for heartbeats" in each]
    assert 3 <= len(said) <= 4
    assert KEY not in caplog.text
    server.change_key(KEY)
    beating.advance(minutes=2)
    assert len(beats(server)) == 2


def test_a_period_can_be_chosen(beating: AgentUnderTest, server: Observability) -> None:
    """Given a period of ten seconds, When a minute passes, Then there are seven beats."""
    from py_agent.observability import CoreSettings

    core = beating.settings[CoreSettings]
    beating.settings[CoreSettings] = core.model_copy(update={"heartbeat_period": 10.0})
    beating.advance(minutes=1)
    assert len(beats(server)) == 7
    configure(beating, server)


def test_the_age_of_a_beat_is_told(beating: AgentUnderTest, server: Observability) -> None:
    """Given metrics, When beats arrive and then do not, Then their age says so."""

    def age() -> float:
        assert beating._engine is not None
        text = beating._engine.metrics()()[0].decode()
        wanted = "py_agent_heartbeat_age_seconds "
        [found] = [line for line in text.splitlines() if line.startswith(wanted)]
        return float(found.removeprefix(wanted))

    beating.advance(90)
    assert age() == 30
    server.change_key("another")
    beating.advance(600)
    assert age() == 630
