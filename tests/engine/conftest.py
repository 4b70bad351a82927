"""Agents on a store of their own, on a clock that the test advances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from py_agent import Agent
from py_agent.testing import FakeClock

from .support import Gate, MakeAgent, MakeGate, StoreFile


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> StoreFile:
    """The store that `make_agent` uses."""
    return StoreFile(tmp_path / "agent.sqlite")


@pytest.fixture
def make_agent(store: StoreFile, clock: FakeClock) -> Iterator[MakeAgent]:
    """Make agents on one store; they are stopped in the end."""
    made: list[Agent] = []

    def make(**options: Any) -> Agent:
        chosen: dict[str, Any] = {"db": store.path, "clock": clock, "grace": 2}
        agent = Agent(**chosen | options)
        made.append(agent)
        return agent

    yield make
    for agent in reversed(made):
        agent.stop()


@pytest.fixture
def agent(make_agent: MakeAgent) -> Agent:
    """One agent, not started."""
    return make_agent()


@pytest.fixture
def make_gate(make_agent: MakeAgent) -> Iterator[MakeGate]:
    """Make gates, which are opened before the agents are stopped."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.open()


@pytest.fixture
def gate(make_gate: MakeGate) -> Gate:
    """One closed gate."""
    return make_gate()
