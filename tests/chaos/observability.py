"""Agents and servers that fail at random, and what became of each report.

`python -m tests.chaos.observability --events 1000 --seconds 120`. The server takes eight
reports a second, and is slow, full, lying or gone in between; the agent is killed and
stopped. At the end every run status has arrived, in order; nothing else has arrived
twice; and what is missing is a dead letter, in doubt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listeners.observability import forward
from py_agent import Agent
from py_agent.store.listing import reading

from ..observability.support import KEY, Observability

PACE = 8.0  # reports that the server takes in a second
PATIENCE = 600  # seconds until all has been sent at that pace
USUAL = {"busy": 1 / PACE}
CONFIG = """
[agent]
grace = 1
[core]
agent_key = "a1"
observability_service_account_key = "{key}"
observability_base_url = "{url}"
[observability]
events_per_second = 100
"""

Post = dict[str, Any]


@dataclass
class Verdict:
    """What the checker found; the first four must be 0.

    Args:
        lost: statuses that never arrived.
        misordered: runs whose end arrived before their start.
        twice: messages that arrived more than once.
        unexplained: messages that did not arrive and are not in doubt, and other deaths.
        events: reports in all.
        repeated: statuses that arrived more than once, as is allowed.
        in_doubt: messages that are dead letters, in doubt.
        faults: how often each kind of fault was made.
        seconds: how long it took.
    """

    lost: int = 0
    misordered: int = 0
    twice: int = 0
    unexplained: int = 0
    events: int = 0
    repeated: int = 0
    in_doubt: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.misordered or self.twice or self.unexplained)


class Agents:
    """One agent process after the other, on one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start one."""
        agent = Path(sys.executable).parent / "agent"
        with open(self._folder / "agent.log", "ab") as log:
            self._process = subprocess.Popen(
                [agent, "go"], cwd=self._folder, stdout=log, stderr=log,
                env={key: text for key, text in os.environ.items() if key[:3] != "DK_"},
            )  # fmt: skip

    def end(self, number: int) -> None:
        """Send a signal, and wait until it is gone."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE)


def run(folder: Path, events: int, seconds: float, chance: random.Random) -> Verdict:
    """Let reports through for a while, with faults, and judge what became of them."""
    began = time.monotonic()
    server = Observability(folder / "posts.jsonl")
    text = CONFIG.format(key=KEY, url=server.url)
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    store = folder / "agent.sqlite"
    _publish(store, events)
    agents, faults = Agents(folder), Counter[str]()
    server.say(USUAL)
    agents.start()
    try:
        while time.monotonic() - began < seconds:
            time.sleep(chance.uniform(0.2, 1.5))
            faults[_fault(server, agents, chance)] += 1
        server.say(USUAL)
        _await_all(store)
    finally:
        agents.end(signal.SIGTERM)
        found = server.seen()
        server.stop()
    verdict = judge(found, _deliveries(store))
    verdict.events, verdict.faults = events, faults
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


def judge(posts: list[Post], deliveries: list[Post]) -> Verdict:
    """Compare what the server took with what the store says of each delivery.

    Args:
        posts: what came, in order, as the server's log has it.
        deliveries: rows as `Listing.deliveries` returns them.
    """
    taken = [each for each in posts if each["status"] == 204]
    arrived = Counter(_name(each) for each in taken)
    first = {name: n for n, name in reversed(list(enumerate(map(_name, taken))))}
    verdict = Verdict()
    for row in deliveries:
        name = row["identifier"]
        doubtful = row["state"] == "discarded" and row["reason"].startswith("in doubt")
        if row["event_type"] == "message-log":
            verdict.in_doubt += doubtful
            verdict.twice += arrived[name] > 1
            fine = doubtful or (row["state"] == "completed" and arrived[name] == 1)
            verdict.unexplained += not fine
        else:
            verdict.unexplained += row["state"] != "completed"
            verdict.lost += arrived[name] == 0
            verdict.repeated += arrived[name] > 1
            if name.endswith("/COMPLETED"):
                start = first.get(name.replace("COMPLETED", "RUNNING"), len(taken))
                verdict.misordered += first.get(name, len(taken)) < start
    return verdict


def _name(post: Post) -> str:
    """Return the identifier of the event that a post was made of."""
    said = json.loads(post["body"])
    return f"{said['run_key']}/{said.get('status', 'message')}"


def _publish(store: Path, events: int) -> None:
    """Publish runs with a message between their start and their end."""
    agent = Agent(store)
    agent.add_listener(forward)
    triples = []
    for number in range(events // 3):
        run = {"pipeline_key": "p", "run_key": f"r{number}"}
        message = {**run, "log_level": "INFO", "message": "half of it"}
        triples += [
            ("run-status", f"r{number}/RUNNING", {**run, "status": "RUNNING"}),
            ("message-log", f"r{number}/message", message),
            ("run-status", f"r{number}/COMPLETED", {**run, "status": "COMPLETED"}),
        ]
    agent.handler.publish_many(triples)
    agent.stop()


def _fault(server: Observability, agents: Agents, chance: random.Random) -> str:
    """Make a fault; return its name."""
    ways: dict[str, list[dict[str, Any]]] = {
        "503": [{"status": 503}, {"status": 503}, USUAL],
        "500": [{"status": 500}, USUAL],
        "429": [{"status": 429, "headers": {"Retry-After": "1"}}, USUAL],
        "401": [{"status": 401}, USUAL],
        "301": [{"status": 301, "headers": {"Location": "/elsewhere"}}, USUAL],
        "lost answer": [{"lose": True}, USUAL],
        "slow": [{"delay": 2}, USUAL],
    }
    name = chance.choice([*ways, "server killed", "agent killed", "agent stopped"])
    if name in ways:
        server.say(*ways[name])
    elif name == "server killed":
        server.stop()
        time.sleep(chance.uniform(0, 2))
        server.start()
        server.say(USUAL)
    else:
        agents.end(signal.SIGKILL if name == "agent killed" else signal.SIGTERM)
        agents.start()
    return name


def _await_all(store: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(row["state"] not in ("completed", "discarded") for row in _deliveries(store)):
        assert time.monotonic() < deadline, "not all was sent"
        time.sleep(0.5)


def _deliveries(store: Path) -> list[Post]:
    with reading(store) as listing:
        return listing.deliveries(1_000_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory() as place:
        verdict = run(
            Path(os.path.realpath(place)), arguments.events, arguments.seconds,
            random.Random(arguments.seed),
        )  # fmt: skip
    print(verdict)
    raise SystemExit(0 if verdict.good else 1)
