"""A WebSocket server that is killed, frozen, reset and floods: nothing is lost."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from .websocket import History, judge, run


@pytest.mark.chaos
def test_bad_days_of_a_server_lose_nothing(tmp_path: Path) -> None:
    """Given ten seconds of faults, Then what was sent while connected is stored once."""
    seed = random.randrange(10**6)
    verdict = run(tmp_path / "agent.sqlite", 10, random.Random(seed))
    assert verdict.good, f"seed {seed}: {verdict}"
    assert verdict.heard > 100, f"hardly anything was sent: {verdict}"


@pytest.mark.parametrize(
    ("stored", "fired", "wrong"),
    [
        (["s1-0"], ["s1-0"], "lost"),
        (["s1-0", "s1-1", "s1-1"], ["s1-0", "s1-1"], "stored_twice"),
        (["s1-0", "s1-1"], ["s1-0", "s1-1", "s1-1"], "fired_wrongly"),
        (["s1-0", "s1-1"], ["s1-0"], "fired_wrongly"),
        (["s1-0", "s1-1", "s2-0"], ["s1-0", "s1-1", "s2-0"], "unexpected"),
    ],
)
def test_the_checker_catches_what_is_wrong(
    stored: list[str], fired: list[str], wrong: str
) -> None:
    """Given a history and a store that do not agree, Then the verdict is not good."""
    history = History(fired=Counter(fired))
    history.note("s1", "send 0 1")
    history.note("s1", "heard 0 1")
    verdict = judge(history, Counter(stored))
    assert getattr(verdict, wrong) == 1
    assert not verdict.good
