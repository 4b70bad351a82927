"""What does not come to its end fails the test, soon, and is named."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from py_agent import Event, Handler, Retry
from py_agent.errors import AgentError
from py_agent.testing import AgentUnderTest, StillRunningError

MakeAgent = Callable[..., AgentUnderTest]


class Hole:
    """A job and a listener that do not return before they are let go."""

    def __init__(self) -> None:
        self._free = threading.Event()

    def job(self) -> None:
        """Never end."""
        self._free.wait()  # the line that an error names

    def listener(self, event: Event) -> None:
        """Never end."""
        self._free.wait()

    def let_go(self) -> None:
        """Let all of them return."""
        self._free.set()


@pytest.fixture
def hurried(make_agent: MakeAgent) -> AgentUnderTest:
    """An agent that does not wait for long."""
    return make_agent(limit=0.05)


@pytest.fixture
def hole(hurried: AgentUnderTest) -> Iterator[Hole]:
    """A hole, emptied before the agent is stopped."""
    hole = Hole()
    yield hole
    hole.let_go()


def test_a_job_that_hangs_is_named(hurried: AgentUnderTest, hole: Hole) -> None:
    """Given a job that hangs, When it is run, Then the error names it and its line."""
    with pytest.raises(StillRunningError) as caught:
        hurried.run_job(hole.job, name="hole")
    line = Hole.job.__code__.co_firstlineno + 2
    assert f"job hole at {__file__}:{line}" in str(caught.value)
    assert "within 0.05 s of real time" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_listener_that_hangs_is_named(hurried: AgentUnderTest, hole: Hole) -> None:
    """Given a listener that hangs, When drained, Then the error names it and its line."""
    hurried.add_listener(hole.listener, {}, name="pit")
    hurried.handler.publish("t", "1")
    with pytest.raises(StillRunningError, match=rf"pit at {__file__}:\d+"):
        hurried.drain()


def test_time_does_not_pass_beside_what_hangs(hurried: AgentUnderTest, hole: Hole) -> None:
    """Given a job that hangs, When time shall pass, Then the error names the moment."""
    hurried.add_job(hole.job, every="1 hour", at_start=False, name="hole")
    with pytest.raises(StillRunningError, match="2026-01-05 13:00:00 UTC: job hole"):
        hurried.advance(days=1)


def test_a_coroutine_that_blocks_its_loop_is_named(
    hurried: AgentUnderTest, hole: Hole
) -> None:
    """Given an async job that blocks, When it is run, Then the error names it."""

    async def blocks() -> None:
        hole.job()

    with pytest.raises(StillRunningError, match="job blocks"):
        hurried.run_job(blocks, name="blocks")


def test_it_goes_on_once_it_is_free(hurried: AgentUnderTest, hole: Hole) -> None:
    """Given a listener that hung, When it is let go, Then the agent comes to rest."""
    hurried.add_listener(hole.listener, {}, name="pit")
    hurried.handler.publish("t", "1")
    with pytest.raises(StillRunningError):
        hurried.drain()
    hole.let_go()
    assert hurried.drain(timeout=30)
    assert [each.state for each in hurried.deliveries("pit")] == ["completed"]


def test_a_job_that_hangs_is_not_run_beside_itself(
    hurried: AgentUnderTest, hole: Hole
) -> None:
    """Given a job that still runs, When it is run again, Then that is refused."""
    with pytest.raises(StillRunningError):
        hurried.run_job(hole.job, name="hole")
    with pytest.raises(AgentError, match="job hole runs just now"):
        hurried.run_job(hole.job, name="hole")


def test_a_service_is_no_job_to_be_run(agent: AgentUnderTest) -> None:
    """Given a service, When it is run as a job, Then the error says how it is tested."""

    def service(handler: Handler) -> None:
        while handler.wait(60):
            pass

    with pytest.raises(StillRunningError, match=r"keep=True.*advance"):
        agent.run_job(service)


def test_what_becomes_due_without_end_is_ended(hurried: AgentUnderTest) -> None:
    """Given a listener that wants no wait at all, When time passes, Then the test ends."""

    def again() -> None:
        raise Retry(after=0, count=False)

    hurried.add_listener(again, {})
    hurried.handler.publish("t", "1")
    with pytest.raises(StillRunningError, match="time does not go on"):
        hurried.advance(hours=1)


def test_a_limit_of_one_call_counts_for_it(agent: AgentUnderTest) -> None:
    """Given a listener that hangs, When drained with a timeout, Then that one counts."""
    hole = Hole()
    agent.add_listener(hole.listener, {})
    agent.handler.publish("t", "1")
    with pytest.raises(StillRunningError, match=r"within 0\.05 s"):
        agent.drain(timeout=0.05)
    hole.let_go()
    assert agent.drain()
