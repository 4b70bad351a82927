"""SQLite: the agent of a store is woken by other processes."""

from __future__ import annotations

import os
import platform
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_agent.store import wakeup
from py_agent.store.wakeup import WakeListener, address, wake

from .support import PATIENCE, in_processes


class Bell:
    """Counts how often it was rung, and lets a test wait for that."""

    def __init__(self) -> None:
        self._rung = threading.Semaphore(0)

    def ring(self) -> None:
        self._rung.release()

    def heard(self) -> bool:
        """Wait until it is rung once more."""
        return self._rung.acquire(timeout=PATIENCE)

    def silent(self) -> bool:
        """Return whether it has not been rung again."""
        return not self._rung.acquire(blocking=False)


@pytest.fixture(params=["here", "elsewhere"])
def path(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where a store would be; with this system's sockets, and with those in a folder."""
    if request.param == "elsewhere":
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "agent.sqlite"


@pytest.fixture
def bell(path: Path) -> Iterator[Bell]:
    """What the agent of the store hears."""
    heard = Bell()
    listening = WakeListener(path, heard.ring)
    listening.start()
    yield heard
    listening.stop()


def test_each_wake_is_heard(path: Path, bell: Bell) -> None:
    """The agent hears that it should look, as often as it is told."""
    wake(path)
    assert bell.heard()
    wake(path)
    assert bell.heard()
    assert bell.silent()


def test_another_process_wakes_the_agent(tmp_path: Path) -> None:
    """The address is the same in every process of this machine."""
    path = tmp_path / "agent.sqlite"
    heard = Bell()
    listening = WakeListener(path, heard.ring)
    listening.start()

    in_processes(1, wake, path)

    assert heard.heard()
    listening.stop()


def test_another_store_is_not_woken(path: Path, bell: Bell) -> None:
    """A wake for one store is not heard by the agent of its neighbour."""
    wake(path.with_name("other.sqlite"))
    wake(path)

    assert bell.heard()
    assert bell.silent()


def test_nobody_listens(path: Path) -> None:
    """Waking without an agent is no error and leaves no file."""
    wake(path)

    assert os.listdir(path.parent) == []


def test_a_forged_stop_is_only_a_wake(path: Path, bell: Bell) -> None:
    """Who does not know the secret cannot silence the agent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as forger:
        forger.sendto(b"stop", address(path))
        forger.sendto(b"stop" + bytes(16), address(path))
    assert bell.heard() and bell.heard()

    wake(path)

    assert bell.heard()


def test_a_stopped_listener_hears_nothing(path: Path) -> None:
    """After the stop no call comes, no file is left, and the next one can listen."""
    bells = [Bell(), Bell()]
    for heard in bells:
        listening = WakeListener(path, heard.ring)
        listening.start()
        wake(path)
        assert heard.heard()
        listening.stop()
        listening.stop()
        wake(path)
        assert heard.silent()

    assert os.listdir(path.parent) == []


def test_an_address_that_cannot_be_bound_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent does without; the slow look at the store remains."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    heard = Bell()
    listening = WakeListener(tmp_path / "agent.sqlite", heard.ring)

    listening.start()
    wake(tmp_path / "agent.sqlite")
    listening.stop()

    assert heard.silent()


def test_a_long_path_has_a_short_address(tmp_path: Path) -> None:
    """A socket's name has a limit far below that of a path."""
    assert len(address(tmp_path / ("x" * 200) / "agent.sqlite")) < 100
    assert wakeup.address(tmp_path / "a") != wakeup.address(tmp_path / "b")
