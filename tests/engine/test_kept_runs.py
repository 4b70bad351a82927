"""The rows of runs are kept for a while, and the latest of each job for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from py_agent.testing import AgentUnderTest, FakeClock

Begin = Callable[[], AgentUnderTest]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An agent.toml that says nothing."""
    made = tmp_path / "agent.toml"
    made.write_text("[agent]\n")
    return made


@pytest.fixture
def begin(tmp_path: Path, config: Path, clock: FakeClock) -> Iterator[Begin]:
    """End the agent, if there is one, and begin another one on its store."""
    made: list[AgentUnderTest] = []

    def begin_again() -> AgentUnderTest:
        for each in made:
            each.stop()
        made.append(AgentUnderTest(tmp_path / "agent.sqlite", config=config, clock=clock))
        return made[-1]

    yield begin_again
    made[-1].stop()


@pytest.mark.parametrize(("setting", "days"), [("", 90), ('keep_runs = "30 days"', 30)])
def test_a_year_of_runs_is_not_kept(
    begin: Begin, config: Path, clock: FakeClock, setting: str, days: int
) -> None:
    """Given a job each six hours, When a year has passed, Then the last days stay."""
    config.write_text(f"[agent]\n{setting}\n")
    agent = begin()
    agent.add_job(lambda: None, every="6 hours", name="job")
    agent.advance(days=365)

    found = agent.runs("job")
    assert len(found) == days * 4 + 1
    assert clock.now() - found[0].started == timedelta(days)


def test_a_rare_job_keeps_its_runs(begin: Begin, clock: FakeClock) -> None:
    """Given a run each 200 days and restarts between them, Then none comes twice."""
    for _ in range(9):
        agent = begin()
        agent.add_job(lambda: None, every="200 days", at_start=False, name="rare")
        agent.advance(days=50)
    ran = [each.started for each in agent.runs("rare")]

    assert len(ran) == 2
    assert ran[1] - ran[0] == timedelta(200)
