"""A server process to be told, an agent to tell it, and what both can be asked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from py_agent.observability import CoreSettings, ObservabilitySettings
from py_agent.testing import AgentUnderTest

KEY = "good-key"
PATIENCE = 60  # seconds after which a wait has failed; never waited for in a good run
SCRIPT = Path(__file__).parent / "server.py"


class Observability:
    """A server process, which may be killed and started again at the same port.

    Args:
        log: where it writes what it is sent.
    """

    def __init__(self, log: Path) -> None:
        self.port = 0
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process, at the port that it had."""
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.port), str(self._log)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        """Kill the process; what it saw is kept."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate(timeout=PATIENCE)

    def freeze(self) -> None:
        """Stop it in its tracks: it still accepts connections, by its system."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def say(self, *answers: dict[str, Any]) -> None:
        """Set what is done with the next posts; the last answer holds on."""
        self._tell("/_say", answers)

    def say_events(self, *answers: dict[str, Any]) -> None:
        """Set what is done with the next events; heartbeats are taken meanwhile."""
        self.say(*({"only": "/events/", **each} for each in answers))

    def change_key(self, key: str) -> None:
        """Set the only key that is good from now on."""
        self._tell("/_key", key)

    def seen(self, part: str = "/events/") -> list[dict[str, Any]]:
        """Return the posts to paths with this part, in order."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        posts = [json.loads(line) for line in lines]
        return [each for each in posts if part in each["path"]]

    def stored(self, part: str = "/events/") -> list[dict[str, Any]]:
        """Return the bodies that it took, in order, repeats included."""
        return [json.loads(x["body"]) for x in self.seen(part) if x["status"] == 204]

    def await_stored(self, count: int, part: str = "/events/") -> list[dict[str, Any]]:
        """Wait until it has taken so many; return them."""
        wait_for(lambda: len(self.stored(part)) >= count)
        return self.stored(part)

    def _tell(self, path: str, what: Any) -> None:
        requests.post(f"{self.url}{path}", json=what, timeout=PATIENCE)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another process."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def configure(agent: AgentUnderTest, server: Observability, **how: Any) -> None:
    """Let an agent know the server."""
    agent.settings[CoreSettings] = CoreSettings(
        agent_key="a1",
        observability_service_account_key=KEY,
        observability_base_url=server.url,
    )
    agent.settings[ObservabilitySettings] = ObservabilitySettings(**how)


def status(
    run: str = "r1", status: str = "RUNNING", pipeline: str = "p", **more: Any
) -> dict[str, Any]:
    """Return the payload of a run status."""
    return {"pipeline_key": pipeline, "run_key": run, "status": status, **more}


def runs_of(stored: list[dict[str, Any]]) -> Counter[str]:
    """Return how often each run was reported."""
    return Counter(each["run_key"] for each in stored)
