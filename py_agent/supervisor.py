"""Tells systemd, or whatever else speaks its protocol, how the process stands.

The protocol is that of sd_notify(3): lines of NAME=value, in one datagram, to the socket
that the environment names. Nothing that goes wrong with it is of any harm to the agent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, MutableMapping

from .failures import printable

log = logging.getLogger("py_agent")

PATIENCE = 5.0  # seconds to wait for room in a full socket; a ping does not wait for it
TURN = 1.0  # seconds to wait, at least, while another thread tells something
EXTENSION = 60.0  # seconds that a long start asks for, again and again
LONGEST_START = 3_600.0  # seconds after which a start does not ask any more
CLOSING = 60.0  # seconds beside the grace time; other writers may hold the store so long


class Supervisor:
    """What has started this process and wants to be told.

    Args:
        address: its socket's path, or its abstract name after an `@`; None without one.
        watchdog: seconds without a ping after which it ends the process; None for never.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = address
        self._unsent: dict[str, str] = {}  # what could not be told, but still holds
        self._lock = threading.Lock()
        self._complained = False
        self.watchdog = watchdog if address else None

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str]) -> Supervisor:
        """Return the supervisor that the environment names.

        The variables are removed, so that children do not speak in this process's name.
        """
        address = environ.pop("NOTIFY_SOCKET", None)
        usec, pid = environ.pop("WATCHDOG_USEC", None), environ.pop("WATCHDOG_PID", None)
        if address and address[0] not in "/@":
            log.warning("NOTIFY_SOCKET is left alone: %s is no path", printable(address))
            address = None
        return cls(address or None, _watchdog(usec, pid))

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Ask for time as long as the block runs: a large store takes a while."""
        if self._address is None:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(
            target=self._extend, args=(done,), name="py_agent-starting", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(PATIENCE * 2)  # so that READY is the last that is said of it

    def ready(self, status: str) -> None:
        """Tell that the agent has started.

        Args:
            status: what it does, in one line.
        """
        self.tell(READY="1", STATUS=status)

    def ping(self) -> None:
        """Tell the watchdog that all is well."""
        self.tell(patience=0, WATCHDOG="1")

    def stopping(self, grace: float) -> None:
        """Tell that the agent stops, and ask for the time that this may take.

        Args:
            grace: seconds that running work may take to end.
        """
        self.tell(
            STOPPING="1",
            STATUS=f"Stopping; running work may take {grace:g} s to end",
            EXTEND_TIMEOUT_USEC=_usec(grace + CLOSING),
        )

    def failed(self, error: Exception) -> None:
        """Tell why the agent ends."""
        self.tell(STATUS=" ".join(str(error).split()))

    def tell(self, patience: float = PATIENCE, **lines: str) -> None:
        """Send lines, and with them what could not be sent before.

        Args:
            patience: seconds to wait for room in the socket.
            lines: what to say.
        """
        # A ping that met another message and was left out would be half a watchdog late.
        if self._address is None or not self._lock.acquire(timeout=max(patience, TURN)):
            return
        try:
            lines = {**self._unsent, **lines}
            text = "".join(f"{name}={printable(lines[name])}\n" for name in lines)
            try:
                _send(self._address, text.encode("utf-8", "replace"), patience)
            except (OSError, ValueError) as error:
                # A ping is of its moment; what else was said holds until it is heard.
                lines.pop("WATCHDOG", None)
                self._unsent = lines
                self._complain(error)
            else:
                self._unsent = {}
        finally:
            self._lock.release()

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "the service manager cannot be told how the agent stands: %s: %s",
                printable(self._address or ""), error,
            )  # fmt: skip

    def _extend(self, done: threading.Event) -> None:
        for _ in range(int(LONGEST_START / EXTENSION * 2)):
            self.tell(1.0, STATUS="Starting", EXTEND_TIMEOUT_USEC=_usec(EXTENSION))
            if done.wait(EXTENSION / 2):
                return


def _watchdog(usec: str | None, pid: str | None) -> float | None:
    """Return the seconds of a watchdog that is meant for this process."""
    if usec is None or (pid is not None and pid.strip() != str(os.getpid())):
        return None
    if not (usec.isascii() and usec.isdecimal() and int(usec) > 0):
        log.warning("WATCHDOG_USEC is left alone: %s is no time", printable(usec))
        return None
    return int(usec) / 1_000_000


def _usec(seconds: float) -> str:
    return str(round(seconds * 1_000_000))


def _send(address: str, message: bytes, patience: float) -> None:
    """Send one datagram.

    Raises:
        OSError: nobody is there, or there is no room in time.
        ValueError: the address holds a NUL.
    """
    target = f"\0{address[1:]}" if address[0] == "@" else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(patience)
        sender.sendto(message, os.fsencode(target))
