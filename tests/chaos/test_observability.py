"""Reports to a server that has bad days, from an agent that has them, too."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ..http.conftest import no_environment as no_environment
from .observability import judge, run


@pytest.mark.chaos
def test_bad_days_lose_no_report(tmp_path: Path) -> None:
    """Given ten seconds of faults, Then each status arrived, and nothing else twice."""
    seed = random.randrange(10**6)
    verdict = run(tmp_path, 90, 10, random.Random(seed))
    assert verdict.good, f"seed {seed}: {verdict}"
    assert sum(verdict.faults.values()) >= 3, f"hardly any faults: {verdict}"


def post(run_key: str, status: str | None = None, code: int = 204) -> dict[str, Any]:
    """Return a line of the server's log."""
    said = {"run_key": run_key, **({"status": status} if status else {})}
    return {"status": code, "body": json.dumps(said)}


def row(name: str, state: str = "completed", reason: str | None = None) -> dict[str, Any]:
    """Return a delivery."""
    kind = "message-log" if name.endswith("message") else "run-status"
    return {"event_type": kind, "identifier": name, "state": state, "reason": reason}


START, END, TEXT = post("r", "RUNNING"), post("r", "COMPLETED"), post("r")
ROWS = [row("r/RUNNING"), row("r/message"), row("r/COMPLETED")]


@pytest.mark.parametrize(
    ("posts", "rows", "wrong"),
    [
        ([START, TEXT], ROWS, "lost"),
        ([START, TEXT, post("r", "COMPLETED", 503)], ROWS, "lost"),
        ([END, START, TEXT], ROWS, "misordered"),
        ([START, TEXT, TEXT, END], ROWS, "twice"),
        ([START, END], ROWS, "unexplained"),
        ([START, END], [*ROWS[:1], row("r/message", "discarded", "400"), ROWS[2]],
         "unexplained"),
    ],
)  # fmt: skip
def test_the_checker_catches_what_is_wrong(
    posts: list[dict[str, Any]], rows: list[dict[str, Any]], wrong: str
) -> None:
    """Given a log and a store that do not agree, Then the verdict is not good."""
    verdict = judge(posts, rows)
    assert getattr(verdict, wrong) >= 1
    assert not verdict.good


def test_the_checker_allows_what_is_promised() -> None:
    """Given a status that arrived twice and a message in doubt, Then all is good."""
    doubtful = [ROWS[0], row("r/message", "discarded", "in doubt: lost"), ROWS[2]]
    assert judge([START, START, END], doubtful).good
    assert judge([START, TEXT, END], ROWS).good
