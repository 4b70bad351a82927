"""A program that a job runs: started, read line by line, and ended with all it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path

from py_agent import Handler, StoppedError

# What a program is given of the agent's environment: nothing that may be a secret.
INHERITED = frozenset("HOME LANG LANGUAGE LOGNAME PATH TMPDIR TZ USER".split())

SLICE = 0.1  # seconds after which it is looked whether the program is to be ended
GRACE = 1.0  # seconds that a program has to end by itself when it is asked to
CHUNK = 64 * 1024  # bytes that are read at once
MOST_LEFT = 1024 * 1024  # bytes; a pipe holds no more when its program has ended
ERRORS_KEPT = 4 * 1024  # bytes at the end of stderr
LINES_TOLD, SHOWN = 5, 500  # of these: so many lines, and characters of them all
TELLING = 4  # characters; what is shorter tells nothing, and would blank whole texts


def environment(ours: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program.

    Raises:
        ValueError: a variable cannot be; its value is not shown.
    """
    for name, value in given.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env: {name!r} cannot be a variable, or not with that value")
    kept = {n: v for n, v in ours.items() if n in INHERITED or n.startswith("LC_")}
    return {**kept, **given}


def started(
    words: list[str], env: dict[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    """Return a program that runs.

    Raises:
        OSError: it cannot be started; the message says why.
    """
    program = shown(words[0])
    if cwd is not None and not Path(cwd).is_dir():
        raise NotADirectoryError(f"there is no folder {cwd} to run {program} in")
    why: Exception
    try:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=env, cwd=cwd, start_new_session=True, bufsize=0,
        )  # fmt: skip
    except FileNotFoundError:
        there = os.path.exists(os.path.join(cwd or "", words[0])) and "/" in words[0]
        why = FileNotFoundError(
            f"{program} names an interpreter that is not there; look at its first line"
            if there
            else f"there is no program {program}; PATH is {env.get('PATH', os.defpath)}"
        )
    except PermissionError:
        why = PermissionError(
            f"{program} may not be executed; chmod +x it, or name its interpreter first, "
            f'as ["python3", "{program}"]'
        )
    except OSError as error:
        why = OSError(f"{program} cannot be started: {error.strerror}")
    raise why


class Lines:
    """What a program prints, cut into whole lines.

    Args:
        longest: bytes of a line; of a longer one nothing is kept.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = b""
        self._too_long = False
        self._number = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Yield the number and text of each line that has ended; None if it is too long."""
        *whole, rest = data.split(b"\n")
        for each in whole:
            yield self.end(each)
        self._add(rest)

    def end(self, last: bytes = b"") -> tuple[int, bytes | None]:
        """Return the number and text of the line that ends here."""
        self._add(last)
        line = None if self._too_long else self._rest
        self._rest, self._too_long, self._number = b"", False, self._number + 1
        return self._number, line

    def _add(self, data: bytes) -> None:
        self._too_long = self._too_long or len(self._rest) + len(data) > self._longest
        self._rest = b"" if self._too_long else self._rest + data


class Run:
    """One program that runs, and what it prints.

    Args:
        handler: knows when to end.
        process: the program.
        lines: cuts stdout.
        name: the program, to be shown.
        timeout: seconds that it may take.
        most: bytes that it may print.
    """

    def __init__(
        self,
        handler: Handler,
        process: subprocess.Popen[bytes],
        lines: Lines,
        name: str,
        timeout: float,
        most: int,
    ) -> None:
        self.name = name
        self.errors = b""  # the end of stderr
        self._handler = handler
        self._process = process
        self._lines = lines
        self._timeout = timeout
        # Real time, whatever the agent's clock says in a test: the program is real.
        self._deadline = time.monotonic() + timeout
        self._most = most
        self._printed = 0

    def lines(self) -> Generator[tuple[int, bytes | None]]:
        """Yield each whole line, until the program has ended and all of them are read.

        Raises:
            TimeoutError: the time is up.
            StoppedError: the agent stops.
            RuntimeError: it printed too much.
        """
        process = self._process
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr, selectors.DefaultSelector() as ready:
            for stream in (process.stdout, process.stderr):
                os.set_blocking(stream.fileno(), False)
                ready.register(stream, selectors.EVENT_READ)
            # Not until the pipes are closed: a child of it may keep them open for ever.
            while process.poll() is None:
                self._check()
                if not ready.get_map():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(self._pause())
                    continue
                for key, _ in ready.select(self._pause()):
                    data = os.read(key.fd, CHUNK)
                    if not data:
                        ready.unregister(key.fileobj)
                    yield from self._read(data, key.fileobj is process.stdout)
            for key in list(ready.get_map().values()):
                yield from self._read(_left(key.fd), key.fileobj is process.stdout)

    def unended(self) -> tuple[int, bytes | None] | None:
        """Return the last line if it has no end: a whole one if the program succeeded."""
        number, line = self._lines.end()
        return None if line == b"" else (number, line)

    def _read(self, data: bytes, printed: bool) -> Iterator[tuple[int, bytes | None]]:
        if not printed:
            self.errors = (self.errors + data)[-ERRORS_KEPT:]
            return
        self._printed += len(data)
        if self._printed > self._most:
            raise RuntimeError(f"{self.name} was ended, as it printed more than "
                               f"{self._most:,} bytes")  # fmt: skip
        yield from self._lines.feed(data)

    def _pause(self) -> float:
        left = self._handler.time_left
        ends = self._deadline - time.monotonic()
        return max(0.0, min(SLICE, ends, SLICE if left is None else left))

    def _check(self) -> None:
        """Raise if the program is to be ended."""
        left = self._handler.time_left
        if self._handler.stop_requested:
            raise StoppedError(f"{self.name} was ended, as the agent stops")
        if left is not None and left <= 0:
            raise TimeoutError(f"{self.name} was ended, as the time for this step is up")
        if time.monotonic() >= self._deadline:
            raise TimeoutError(f"{self.name} did not end within {self._timeout:g} s")


def _left(descriptor: int) -> bytes:
    """Return what is in a pipe, however many may still write to it."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while len(found) < MOST_LEFT and (data := os.read(descriptor, CHUNK)):
            found += data
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it has started: they are asked to, and then killed."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    _signal(process, signal.SIGKILL)
    # One that belongs to another user cannot be killed, and must not hang the run.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    # Its group has its number: it was started in a session of its own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def failure(name: str, code: int, errors: bytes, given: Mapping[str, str]) -> str:
    """Return the sentence about a program that failed, with the last it said."""
    how = f"failed with exit code {code}"
    if code < 0:
        how = f"was ended by {_signal_name(-code)}"
    said = _last_lines(errors, given.values())
    return f"{name} {how}{said and f'; the last it said: {said}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_lines(errors: bytes, secrets: Collection[str]) -> str:
    """Return the last lines of stderr, fit to be shown, on one line."""
    text = errors.decode("utf-8", "replace")
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= TELLING:
            text = text.replace(secret, "***")
    if len(errors) == ERRORS_KEPT:  # its begin may be the end of a secret
        text = text[max(map(len, secrets), default=0) :]
    lines = [line.strip() for line in text.splitlines() if line.strip()][-LINES_TOLD:]
    return shown(" | ".join(lines)[-SHOWN:])


def shown(text: str) -> str:
    """Return a text with control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
