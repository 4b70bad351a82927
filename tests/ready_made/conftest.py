"""A store to publish into, for jobs and listeners that are called plainly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from py_agent import Agent
from py_agent.testing import AgentUnderTest

from ..http.conftest import no_environment as no_environment
from ..http.support import Server


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that is not started: its handler publishes."""
    made = Agent(tmp_path / "agent.sqlite")
    yield made
    made.stop()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent that delivers, on a clock that the test advances."""
    made = AgentUnderTest(tmp_path / "running.sqlite")
    yield made
    made.stop()


@pytest.fixture
def web() -> Iterator[Server]:
    """A server on loopback that answers as it is told to."""
    made = Server()
    yield made
    made.close()
