"""A server process, and an agent that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listeners.observability import forward
from py_agent.testing import AgentUnderTest

from ..http.conftest import no_environment as no_environment
from .support import Observability, configure


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Observability]:
    """A server that takes everything, as a process of its own."""
    made = Observability(tmp_path / "posts.jsonl")
    yield made
    made.stop()


@pytest.fixture
def agent(tmp_path: Path, server: Observability) -> Iterator[AgentUnderTest]:
    """An agent that forwards to the server, on a clock that the test moves."""
    made = AgentUnderTest(tmp_path / "agent.sqlite")
    configure(made, server)
    made.add_listener(forward)
    yield made
    made.stop()
