"""A store to publish into, for jobs and listeners that are called plainly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from py_agent import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that is not started: its handler publishes."""
    made = Agent(tmp_path / "agent.sqlite")
    yield made
    made.stop()
