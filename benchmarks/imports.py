"""W9: how long does a program wait for `from py_agent import Agent`?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .measure import Contestant, Plan, Row, interleave, row

ALL = (
    "import schedule, sqlalchemy, alembic, requests, websocket, pydantic_settings, "
    "click, rich"
)


def measure(plan: Plan) -> Iterator[Row]:
    """Compare with importing all libraries, and with importing nothing."""
    contestants = {
        "all": importing(ALL),
        "ours": importing("from py_agent import Agent"),
        "bare": importing("pass"),
    }
    figures = interleave(contestants, plan)
    yield row(
        "from py_agent import Agent, to all eight libraries", "ms", figures,
        raw="all", target="<= 0.12",
    )  # fmt: skip
    yield row(
        "from py_agent import Agent, to an empty program", "ms", figures,
        raw="bare", target="<= 5",
    )  # fmt: skip


def importing(code: str) -> Contestant:
    """Return a contestant: a new Python that runs the code, in milliseconds."""

    def contestant(folder: Path) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
        return (time.perf_counter() - start) * 1_000

    return contestant
