"""Kills and freezes a WebSocket server at random, and checks what its reader stored.

`python -m tests.chaos.websocket --seconds 300`. A message counts as sent while connected
when the server got the answer to a ping that it sent after the message, on the same
connection: then the reader has met the message, and must store it.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from jobs.websocket_reader import websocket_reader
from py_agent import Agent, Event

SOURCE = [sys.executable, "-m", "tests.chaos.websocket_source"]
ROOT = Path(__file__).parents[2]
PATIENCE = 30  # seconds, far above what one start takes; only a hang meets it


@dataclass
class History:
    """What was seen from outside.

    Args:
        tried: messages that were to be sent.
        heard: messages that were sent while connected.
        fired: how often the listener was called for each message.
        faults: how often each kind of fault was made.
    """

    tried: set[str] = field(default_factory=set)
    heard: set[str] = field(default_factory=set)
    fired: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, line: str) -> None:
        """Take in one whole line of the server with this name."""
        kind, *words = line.split()
        if kind in ("send", "heard"):
            numbers = range(int(words[0]), int(words[1]) + 1)
            known = self.tried if kind == "send" else self.heard
            known.update(f"{name}-{number}" for number in numbers)
        else:
            self.faults[kind] += 1


@dataclass
class Verdict:
    """What the checker found; the first four must be 0.

    Args:
        lost: sent while connected, and not in the store.
        stored_twice: in the store more than once.
        fired_wrongly: stored, and its listener was not called just once.
        unexpected: in the store, and never sent.
        heard: sent while connected.
        events: events in the store.
        faults: how often each kind of fault was made.
    """

    lost: int
    stored_twice: int
    fired_wrongly: int
    unexpected: int
    heard: int
    events: int
    faults: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or invented."""
        return not (self.lost or self.stored_twice or self.fired_wrongly or self.unexpected)


def judge(history: History, stored: Counter[str]) -> Verdict:
    """Compare what was seen with what is stored, by identifier."""
    return Verdict(
        lost=len(history.heard - stored.keys()),
        stored_twice=sum(count > 1 for count in stored.values()),
        fired_wrongly=sum(history.fired[each] != 1 for each in stored),
        unexpected=len(stored.keys() - history.tried),
        heard=len(history.heard),
        events=stored.total(),
        faults=dict(history.faults),
    )


class Server:
    """The server's process, which is replaced when it was killed.

    Args:
        history: told of all it does.
        chance: draws its seeds.
    """

    def __init__(self, history: History, chance: random.Random) -> None:
        self._history = history
        self._chance = chance
        self._starts = 0
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it on the port that it has always had."""
        self._starts += 1
        name = f"s{self._starts}"
        seed = self._chance.randrange(10**6)
        self._process = subprocess.Popen(
            [*SOURCE, str(self.port), name, str(seed)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(name,))
        self._reader.start()
        assert self._listening.wait(PATIENCE), "the server did not start"

    def _read(self, name: str) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith("port "):
                    self.port = int(line.split()[1])
                    self._listening.set()
                elif line.endswith("\n"):
                    self._history.note(name, line)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Freeze or thaw it."""
        self._process.send_signal(number)


def run(store: Path, seconds: float, chance: random.Random) -> Verdict:
    """Read a server that has bad days for some seconds, and check.

    Args:
        store: where the reader's store is made.
        seconds: how long.
        chance: draws what happens, and when.
    """
    history = History()
    server = Server(history, chance)
    agent = _agent(store, server.port, history)
    agent.start()
    try:
        _harass(server, history, seconds, chance)
    finally:
        server.kill()
        agent.stop()  # what has been read is stored before this returns
        agent.drain(PATIENCE)
        agent.stop()
    return judge(history, _stored(store))


def _agent(store: Path, port: int, history: History) -> Agent:
    agent = Agent(store)

    def count(event: Event) -> None:
        history.fired[event.identifier] += 1

    agent.add_listener(count, {"event_type": ("==", "message")}, name="count")
    agent.add_job(
        websocket_reader, keep=True, name="reader", url=f"ws://127.0.0.1:{port}/",
        event_type="message", identifier="id", ping_every=1, pong_timeout=1,
    )  # fmt: skip
    return agent


def _harass(
    server: Server, history: History, seconds: float, chance: random.Random
) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()  # never set: it only lets some time pass
    while time.monotonic() < deadline:
        pause.wait(chance.uniform(0, 4))
        fault = chance.choice(["kill", "freeze", "none"])
        history.faults[fault] += 1
        if fault == "kill":
            server.kill()
            pause.wait(chance.uniform(0, 1))
            server.start()
        if fault == "freeze":
            server.signal(signal.SIGSTOP)
            pause.wait(chance.uniform(0, 4))
            server.signal(signal.SIGCONT)


def _stored(store: Path) -> Counter[str]:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
        rows = opened.execute("SELECT identifier FROM events WHERE event_type = 'message'")
        return Counter(identifier for (identifier,) in rows)


def main() -> None:
    """Run as long as the command line says, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        chance = random.Random(given.seed)
        verdict = run(Path(folder) / "agent.sqlite", given.seconds, chance)
    print(json.dumps(vars(verdict), indent=2))
    raise SystemExit(0 if verdict.good else 1)


if __name__ == "__main__":
    main()
