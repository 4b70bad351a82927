"""What the service manager is told: the protocol of sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_agent import supervisor as module
from py_agent.supervisor import Supervisor


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


class Asked:
    """A lock that tells when a second thread asks for it."""

    def __init__(self, asked: threading.Event) -> None:
        self._lock = threading.Lock()
        self._asked = asked

    def acquire(self, timeout: float) -> bool:
        """Acquire the lock, as threading's does."""
        if self._lock.locked():
            self._asked.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def test_a_path_is_told_lines(listening: socket.socket) -> None:
    """One datagram for each thing that is said."""
    told = Supervisor(listening.getsockname(), 10)
    told.ready("1 job")
    told.ping()
    told.stopping(2)
    assert listening.recv(999) == b"READY=1\nSTATUS=1 job\n"
    assert listening.recv(999) == b"WATCHDOG=1\n"
    assert listening.recv(999).startswith(b"STOPPING=1\nSTATUS=Stopping")


def test_an_abstract_name_is_told_too() -> None:
    """It is written with an @ where the NUL is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("")  # the kernel chooses a name
        made.setblocking(False)
        name = made.getsockname().decode().replace("\0", "@")
        Supervisor(name).tell(READY="1")
        assert made.recv(999) == b"READY=1\n"


def test_a_status_is_one_line(listening: socket.socket) -> None:
    """Whatever an error says, it sets no other variable."""
    Supervisor(listening.getsockname()).failed(ValueError("no\nREADY=1\x00\ud800"))
    assert listening.recv(999).count(b"\n") == 1


def test_the_variables_are_taken_away() -> None:
    """So that children do not speak in this process's name."""
    environ = {
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/root",
    }
    assert Supervisor.of_environment(environ).watchdog == 3
    assert environ == {"HOME": "/root"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/run/notify"},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "vsock:2:9", "WATCHDOG_USEC": "3000000"},
    ],
)
def test_there_may_be_no_watchdog(environ: dict[str, str]) -> None:
    """None is set, it is another process's, or it makes no sense."""
    assert Supervisor.of_environment(environ).watchdog is None
    assert environ == {}


def test_a_socket_that_is_gone_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And it hurts nobody."""
    told = Supervisor(str(tmp_path / "gone"), 10)
    told.ready("1 job")
    told.ping()
    told.stopping(1)
    assert [each.levelno for each in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("address", ["/" + "x" * 300, "@" + "x" * 300, "/a\0b"])
def test_an_address_that_cannot_be_hurts_nobody(address: str) -> None:
    """As a socket that is gone."""
    Supervisor(address).ready("1 job")


def test_what_found_no_room_is_said_later(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a ping is not: it was true of its moment only."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    name = listening.getsockname()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"X=1", name)
    told = Supervisor(name, 10)
    told.tell(patience=0.01, READY="1")
    told.ping()
    with pytest.raises(BlockingIOError):
        while True:
            assert listening.recv(999) == b"X=1"
    told.tell(STATUS="on")
    assert listening.recv(999) == b"READY=1\nSTATUS=on\n"


def test_a_ping_never_waits_for_room(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for long if another thread waits for it: a ping would hold up a loop."""
    monkeypatch.setattr(module, "TURN", 0.01)
    told = Supervisor(listening.getsockname(), 10)
    with told._lock:
        told.ping()
    with pytest.raises(BlockingIOError):
        listening.recv(999)


def test_a_ping_waits_for_its_turn(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a message that is just being sent, When pinged, Then the ping follows it."""
    told = Supervisor(listening.getsockname(), 10)
    begun, asked = threading.Event(), threading.Event()
    send = module._send

    def send_slowly(address: str, message: bytes, patience: float) -> None:
        begun.set()
        assert asked.wait(30)
        send(address, message, patience)

    monkeypatch.setattr(module, "_send", send_slowly)
    monkeypatch.setattr(told, "_lock", Asked(asked))
    speaker = threading.Thread(target=told.ready, args=["1 job"])
    speaker.start()
    assert begun.wait(30)
    told.ping()
    speaker.join()
    assert listening.recv(999) == b"READY=1\nSTATUS=1 job\n"
    assert listening.recv(999) == b"WATCHDOG=1\n"


def test_a_long_start_asks_for_time(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, until it has ended."""
    monkeypatch.setattr(module, "EXTENSION", 0.02)
    told = Supervisor(listening.getsockname())
    listening.settimeout(30)
    with told.starting():
        for _ in range(2):
            assert listening.recv(999) == b"STATUS=Starting\nEXTEND_TIMEOUT_USEC=20000\n"


def test_nobody_is_told_without_a_socket() -> None:
    """An agent that a person has started in a terminal."""
    told = Supervisor()
    with told.starting():
        told.ready("1 job")
    told.ping()
    told.stopping(1)
