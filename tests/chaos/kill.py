"""Kills an agent at random moments, starts it again, and checks what its store holds.

The history stands outside the agent: what it wrote to its pipe before it was killed. An
operation that was tried and not answered has an unknown outcome, and may be either.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .subject import LISTENERS

SUBJECT = [sys.executable, "-m", "tests.chaos.subject"]
ROOT = Path(__file__).parents[2]
LIMIT = 60  # seconds, far above what one start takes; only a hang meets it


@dataclass
class History:
    """What was seen from outside.

    Args:
        tried: numbers that publish() was called with.
        new: how often publish() said of a number that it was new.
        answered: numbers for which publish() returned.
        calls: how often each listener was called for each number.
        busy_kills: kills that came while publishing and delivering.
    """

    tried: set[int] = field(default_factory=set)
    new: Counter[int] = field(default_factory=Counter)
    answered: set[int] = field(default_factory=set)
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    keys: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    busy_kills: int = 0

    def note(self, line: str) -> None:
        """Take in one whole line of the subject."""
        kind, *words = line.split()
        if kind == "call":
            pair = (words[0], int(words[1]))
            self.calls[pair] += 1
            self.keys.setdefault(pair, set()).add(words[2])
            return
        number = int(words[0])
        if kind == "try":
            self.tried.add(number)
            return
        self.answered.add(number)
        self.new[number] += kind == "new"


@dataclass
class Verdict:
    """What the checker found; the first four must be 0.

    Args:
        lost: published, and not in the store.
        stored_twice: in the store more than once, or new more than once.
        never_delivered: in the store, and some listener was never called.
        unexpected: in the store, and never published.
        events: events in the store.
        repeated: calls that were made again.
        kills: how often the agent was killed, and how often of these while busy.
    """

    lost: int
    stored_twice: int
    never_delivered: int
    unexpected: int
    events: int
    repeated: int
    kills: tuple[int, int]

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled, forgotten or invented."""
        return not (
            self.lost or self.stored_twice or self.never_delivered or self.unexpected
        )


def run(store: Path, kills: int, chance: random.Random) -> Verdict:
    """Kill the agent so often, let it finish, and check.

    Args:
        store: where its store is made.
        kills: how often it is killed.
        chance: draws the moments.
    """
    history = History()
    for _ in range(kills):
        _run_and_kill(store, history, chance.randint(1, 400))
    _finish(store, history)
    return _check(store, history, kills)


def _run_and_kill(store: Path, history: History, after: int) -> None:
    first = max(history.tried, default=-1) + 1
    process = subprocess.Popen(
        [*SUBJECT, str(store), str(first), "go"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    kinds = set()
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    with process.stdout as lines:
        for number, line in enumerate(lines):
            if line.endswith("\n"):
                history.note(line)
                kinds.add(line.split()[0])
            if number == after:
                process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    watchdog.cancel()
    history.busy_kills += {"try", "new"} <= kinds


def _finish(store: Path, history: History) -> None:
    done = subprocess.run(
        [*SUBJECT, str(store), "0", "finish"],
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=300,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        history.note(line)


def _check(store: Path, history: History, kills: int) -> Verdict:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT identifier, count(*) FROM events GROUP BY 1").fetchall()
        # A kill may meet the same call three times in a row: a dead letter, as promised.
        owed = db.execute(
            "SELECT count(*) FROM deliveries WHERE state NOT IN ('completed', 'discarded')"
        )
        unfinished = owed.fetchone()[0]
    db.close()
    stored = {int(identifier): count for identifier, count in rows}
    forgotten = [
        (name, number)
        for name in LISTENERS
        for number in stored
        if not history.calls[(name, number)]
    ]
    changed_keys = sum(len(keys) > 1 for keys in history.keys.values())
    return Verdict(
        lost=len(history.answered - stored.keys()),
        stored_twice=sum(count > 1 for count in stored.values())
        + sum(count > 1 for count in history.new.values())
        + changed_keys,
        never_delivered=len(forgotten) + unfinished,
        unexpected=len(stored.keys() - history.tried),
        events=len(stored),
        repeated=sum(count - 1 for count in history.calls.values()),
        kills=(kills, history.busy_kills),
    )
