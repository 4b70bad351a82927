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
            os.set_blocking(self._pipe[1], False)

    @property
    def descriptor(self) -> int:
        """Where a byte wakes who waits, even before Python runs a signal's handler."""
        assert self._pipe is not None
        return self._pipe[1]

    def ring(self) -> None:
        """Ask for the stop."""
        self.rung = True
        pipe = self._pipe
        if pipe is not None:
            with contextlib.suppress(OSError):  # a full pipe wakes as well
                os.write(pipe[1], b"!")

    def wait(self) -> None:
        """Wait until it is rung."""
        assert self._pipe is not None
        while not self.rung:
            os.read(self._pipe[0], 64)

    def disarm(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, None
        for descriptor in pipe or ():
            os.close(descriptor)


@contextlib.contextmanager
def stop_signals(doorbell: Doorbell, abort: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM, Ctrl-C and a closed terminal ring, where this is the main thread.

    A handler runs only between two steps of the main thread, which may be asleep in a
    system call just then, or the signal may reach another thread: so the signal itself
    writes into the doorbell's pipe.

    Args:
        doorbell: armed; rung by the first signal.
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

    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        wanted.append(signal.SIGHUP)
    before = {each: signal.signal(each, ring) for each in wanted}
    woken = signal.set_wakeup_fd(doorbell.descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
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
