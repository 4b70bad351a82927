"""How a process is asked to stop: by a signal, or by a call from any thread."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SECOND_CTRL_C = 130  # the exit code: 128 and the number of SIGINT


class Doorbell:
    """Rung to ask for a stop; safe to ring from a signal handler.

    A pipe and not a threading.Event: a handler that sets an event can meet its lock held
    by the very thread that it interrupts.
    """

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self.rung = False

    def arm(self) -> None:
        """Make it ready for one wait."""
        self.rung = False
        if self._pipe is None:
            self._pipe = os.pipe()

    def ring(self) -> None:
        """Ask for the stop."""
        self.rung = True
        if self._pipe is not None:
            os.write(self._pipe[1], b"!")

    def wait(self) -> None:
        """Wait until it is rung."""
        assert self._pipe is not None
        if not self.rung:
            os.read(self._pipe[0], 1)

    def disarm(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, None
        for descriptor in pipe or ():
            os.close(descriptor)


@contextlib.contextmanager
def stop_signals(doorbell: Doorbell, abort: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C ring, where this is the main thread.

    Args:
        doorbell: rung by the first signal.
        abort: called by a second Ctrl-C, just before the process ends at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts = 0

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            _end_at_once(abort)
        doorbell.ring()

    before = {each: signal.signal(each, ring) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end_at_once(abort: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        abort()
    for stream in (sys.stdout, sys.stderr):
        # The interrupted thread may be writing to the stream at this moment.
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(SECOND_CTRL_C)
