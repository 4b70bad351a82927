"""`agent go` under a service manager: what it tells its socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import LIMIT, Run, Start

APP = """
import os
from py_agent import Agent, listen_for

agent = Agent("agent.sqlite")

def once(handler):
    handler.publish("a", "1")

@listen_for({"event_type": ("==", "a")})
def look(event):
    print("inside with", [x for x in os.environ if "NOTIFY" in x or "WATCHDOG" in x],
          flush=True)

agent.schedule.every(1).seconds.do(once)
agent.add_listener(look)
agent.go()
"""


@pytest.fixture
def manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager that listens, and a watchdog of half a second."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("")  # an abstract name, as the path of a test's folder may be too long
        made.settimeout(LIMIT)
        name = made.getsockname().decode().replace("\0", "@")
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "500000")
        (folder / "app.py").write_text(APP, encoding="utf-8")
        yield made


def told_until(manager: socket.socket, last: str) -> list[dict[str, str]]:
    """Return what is told, up to the first message with a variable, as dictionaries."""
    found: list[dict[str, str]] = []
    while not found or last not in found[-1]:
        lines = manager.recv(4096).decode().splitlines()
        found.append(dict(line.split("=", 1) for line in lines))
    return found


def test_a_service_is_ready_alive_and_stopping(
    manager: socket.socket, folder: Path, start: Start
) -> None:
    """Given a service, Then it tells READY once, pings, and tells that it stops."""
    agent = start("agent", "go", "app.py")
    ready = told_until(manager, "READY")[-1]
    assert ready["STATUS"] == f"1 job, 1 listener on {folder / 'agent.sqlite'}"
    agent.wait_for("inside with []")
    pings = told_until(manager, "WATCHDOG") + told_until(manager, "WATCHDOG")
    assert pings == [{"WATCHDOG": "1"}] * 2
    assert agent.stop(signal.SIGTERM) == 0
    rest = told_until(manager, "STOPPING")
    assert "READY" not in {name for each in rest for name in each}
    assert rest[-1]["EXTEND_TIMEOUT_USEC"] == "70000000"


def test_a_start_that_fails_is_never_ready(
    manager: socket.socket, folder: Path, run: Run
) -> None:
    """Given a file that is no store, When started, Then the reason is the status."""
    (folder / "agent.sqlite").write_text("no store", encoding="utf-8")
    assert run("agent", "go", "app.py").returncode == 3
    *before, last = told_until(manager, "STATUS") + told_until(manager, "STATUS")
    assert "agent.sqlite" in last["STATUS"]
    assert "READY" not in {name for each in (*before, last) for name in each}


def test_a_manager_that_is_gone_changes_nothing(
    manager: socket.socket, start: Start
) -> None:
    """Given a socket that nobody listens to, Then the agent works all the same."""
    manager.close()
    agent = start("agent", "go", "app.py")
    agent.wait_for("inside with []")
    agent.wait_for("the service manager cannot be told")
    assert agent.stop(signal.SIGTERM) == 0
