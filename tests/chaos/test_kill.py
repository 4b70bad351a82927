"""`kill -9` at random moments loses nothing and doubles nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .kill import History, run


@pytest.mark.chaos
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """Given a busy agent, When it is killed 50 times, Then 0 lost and 0 stored twice."""
    seed = random.randrange(10**6)
    verdict = run(tmp_path / "agent.sqlite", 50, random.Random(seed))
    assert verdict.good, f"seed {seed}: {verdict}"
    assert verdict.kills[1] > 25, f"too few kills met a busy agent: {verdict}"


def test_the_checker_catches_what_is_lost() -> None:
    """Given a history in which an answer is repeated as new, Then the counts show it."""
    history = History()
    for line in (
        "try 1",
        "new 1",
        "try 1",
        "new 1",
        "call first 1 1.1",
        "call first 1 1.1",
    ):
        history.note(line)
    assert history.new[1] == 2
    assert history.calls[("first", 1)] == 2
