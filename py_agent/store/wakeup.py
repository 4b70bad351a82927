"""Wakes the agent of a store when another process changed something in it.

Linux: an abstract datagram socket named by a hash of the store's real path, which
leaves no file behind. Elsewhere: a short path in the user's runtime folder. A datagram
says nothing but "look": one that is lost or forged costs a look and no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("py_agent.store")

_STOP = b"stop"
_listening: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def address(store: Path) -> str:
    """Return the socket address of a store's agent."""
    digest = hashlib.sha256(os.fsencode(store)).hexdigest()[:32]
    if platform.system() == "Linux":
        return f"\0py_agent-{digest}"
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return str(Path(folder) / f"py_agent-{digest[:16]}")


def wake(store: Path) -> None:
    """Tell the store's agent to look; nothing happens if there is none."""
    with contextlib.suppress(OSError), _socket() as sender:
        sender.setblocking(False)
        sender.sendto(b"look", address(store))


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


class WakeListener:
    """A thread that waits for datagrams, without a single wake-up when none comes.

    Args:
        store: the store's real path.
        woken: called, on that thread, for each datagram.
    """

    def __init__(self, store: Path, woken: Callable[[], None]) -> None:
        self._address = address(store)
        self._woken = woken
        self._secret = os.urandom(16)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and listen; where that fails, the slow look at the store remains."""
        if not self._address.startswith("\0"):
            with contextlib.suppress(OSError):
                os.unlink(self._address)  # we hold the agent lock: it is left over
        receiver = _socket()
        try:
            receiver.bind(self._address)
        except OSError as error:
            receiver.close()
            log.warning("other processes cannot wake the agent: %s", error)
            return
        _listening.add(receiver)
        self._socket = receiver
        self._thread = threading.Thread(
            target=self._listen, args=(receiver,), name="py_agent-wakeup", daemon=True
        )
        self._thread.start()

    def join(self, deadline: float) -> None:
        """Do nothing: `stop` has waited already, as that takes no time."""

    def stop(self) -> None:
        """Stop listening; safe to call twice."""
        if self._socket is None or self._thread is None:
            return
        with contextlib.suppress(OSError), _socket() as sender:
            sender.sendto(_STOP + self._secret, self._address)
        self._thread.join()
        self._socket.close()
        self._socket = None
        if not self._address.startswith("\0"):
            with contextlib.suppress(OSError):
                os.unlink(self._address)

    def _listen(self, receiver: socket.socket) -> None:
        while True:
            try:
                message = receiver.recv(64)
            except OSError:
                return
            if message == _STOP + self._secret:
                return
            self._woken()


def _after_fork() -> None:
    """Close a forked child's copies, so that an orphan does not keep the address."""
    for receiver in list(_listening):
        receiver.close()


os.register_at_fork(after_in_child=_after_fork)
