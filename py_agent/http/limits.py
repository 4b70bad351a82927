"""The limits of one request: its whole time, the size of its answer, where it may go.

They are held where bytes come in: each read of a socket gets the time that is left, so
that a server which sends a byte now and then ("slow loris") gains nothing by it.
"""

from __future__ import annotations

import gzip
import io
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import HttpError
from .text import Origin

MAX_BYTES = 10 * 1024 * 1024  # of a body, packed as well as unpacked
MAX_FRAMING = 1024 * 1024  # of headers, chunk sizes and trailers, beside the body
LONGEST_STEP = 86_400.0  # seconds; sockets do not take much more than twenty days

_WINDOWS = {"deflate": zlib.MAX_WBITS, "raw": -zlib.MAX_WBITS}

TimeLeft = Callable[[], float | None]


class Deadline:
    """The time of one request, with its redirects and retries.

    Args:
        limit: seconds.
        time_left: seconds left of the scope around it, None without one.
    """

    def __init__(self, limit: float, time_left: TimeLeft) -> None:
        self.limit = limit
        self._end = time.monotonic() + limit
        self._time_left = time_left

    def left(self) -> float:
        """Return the seconds that are left, zero or less when the time is up."""
        own = self._end - time.monotonic()
        scope = self._time_left()
        return own if scope is None else min(own, scope)

    def spend(self, wait: Callable[[float], bool], seconds: float) -> bool:
        """Wait, and count the wait even where the clock behind `wait` is another one.

        Returns:
            What `wait` returned.
        """
        before = time.monotonic()
        passed = wait(seconds)
        self._end -= max(0.0, seconds - (time.monotonic() - before))
        return passed


@dataclass
class Call:
    """One try of a request, known to all that happens below it.

    Args:
        deadline: when it has to be over.
        max_bytes: the most bytes of its body.
        guard: whether only public addresses are allowed.
        allow_private: whether the guard allows private ones, too.
        session: who asks, for an auth object that has to ask for a token.
        first: where the first request went; None before it is sent.
        secret: whether the first request carried anything that may be a credential.
        received: bytes of the present answer so far.
        ended: whether the server has closed the connection.
        where: the request that was sent last, as it may be shown.
        sent: whether all of a request has gone out, so that an answer is due.
    """

    deadline: Deadline
    max_bytes: int = MAX_BYTES
    guard: bool = False
    allow_private: bool = False
    session: Any = None
    first: Origin | None = None
    secret: bool = False
    received: int = 0
    ended: bool = False
    where: str = ""
    sent: bool = False

    def time_for_one_step(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none.
        """
        left = self.deadline.left()
        if left <= 0:
            raise TimeoutError("the time of the request is up")
        return min(left, LONGEST_STEP)

    def count(self, size: int) -> None:
        """Note bytes that came in; none means that no more will come.

        Raises:
            HttpError: more than any answer within the limits needs.
        """
        self.received += size
        self.ended = size == 0
        if self.received > self.max_bytes + MAX_FRAMING:
            raise too_long(self.max_bytes)


current: ContextVar[Call | None] = ContextVar("current", default=None)


def bad_answer(problem: str, transient: bool = False) -> HttpError:
    """Return the error about an answer that cannot be taken."""
    call = current.get()
    where = f"{call.where}: " if call and call.where else ""
    return HttpError(f"{where}the answer {problem}", transient=transient)


def too_long(limit: int) -> HttpError:
    """Return the error about a body that is too long."""
    return bad_answer(f"is longer than {limit:,} bytes (max_bytes=... sets the limit)")


def _let_wait(sock: socket.socket) -> None:
    """Give the next step of a socket the time that its request has left."""
    call = current.get()
    if call is not None:
        sock.settimeout(call.time_for_one_step())


def _note(size: int) -> int:
    call = current.get()
    if call is not None:
        call.count(size)
    return size


class PlainSocket(socket.socket):
    """A TCP socket whose every step ends with the request's time."""

    def recv_into(self, *args: Any, **options: Any) -> int:
        _let_wait(self)
        return _note(super().recv_into(*args, **options))

    def sendall(self, *args: Any, **options: Any) -> None:
        _let_wait(self)
        super().sendall(*args, **options)


class TlsSocket(ssl.SSLSocket):
    """A TLS socket whose every step ends with the request's time, the handshake too."""

    def do_handshake(self, block: bool = False) -> None:
        _let_wait(self)
        super().do_handshake(block)

    def recv_into(self, *args: Any, **options: Any) -> int:
        _let_wait(self)
        return _note(super().recv_into(*args, **options))

    def send(self, *args: Any, **options: Any) -> int:
        _let_wait(self)
        return super().send(*args, **options)


def collect(pieces: Iterable[bytes], limit: int) -> bytes:
    """Return the pieces as one.

    Raises:
        HttpError: they have more than `limit` bytes.
    """
    whole = bytearray()
    for piece in pieces:
        whole += piece
        if len(whole) > limit:
            raise too_long(limit)
    return bytes(whole)


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its content encoding (RFC 9110, section 8.4).

    Args:
        body: as it was sent.
        encoding: the header's value.
        limit: bytes at most, once unpacked.

    Raises:
        HttpError: an unknown encoding, a damaged or cut body, or too many bytes.
    """
    kind = encoding.strip().lower()
    if not body or kind in ("", "identity"):
        return body
    try:
        if kind in ("gzip", "x-gzip"):
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
        elif kind == "deflate":
            unpacked = _inflate(body, limit)
        else:
            raise bad_answer(f"is encoded as {kind[:40]!r}, not as gzip or deflate")
    except (OSError, EOFError, zlib.error) as error:
        raise bad_answer(f"is damaged: {error}", transient=True) from error
    if len(unpacked) > limit:
        raise too_long(limit)
    return unpacked


def _inflate(body: bytes, limit: int) -> bytes:
    """Unpack deflate, with the zlib header or, as some servers do, without it."""
    has_header = body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    inflater = zlib.decompressobj(_WINDOWS["deflate" if has_header else "raw"])
    unpacked = inflater.decompress(body, limit + 1)
    if len(unpacked) <= limit and not inflater.eof:
        raise EOFError("it ends too early")
    return unpacked
