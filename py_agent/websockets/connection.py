"""One connection to a WebSocket, with limits of time and size, for services to read.

This is all that knows the library websocket-client; `jobs.websocket_reader` shows how
it is used. The library waits without an end in some places, takes in messages of any
size, and forgets to close a socket that the server has closed; hence this module.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, NamedTuple, Self, cast

import websocket
from websocket import ABNF

from ..context import Handler
from .server import Server

LOOK = 0.2  # seconds after which every wait looks whether a stop is requested
MORE = 0.001  # seconds that a message waits for others, to be handed over with them
BATCH = 500  # messages that are handed over together at most
BATCH_BYTES = 1024 * 1024  # and so many bytes, but for the last of them
SEND_TIMEOUT = 5  # seconds in which the network must take what is sent

PATIENCE = 6  # times the pong's timeout that one frame may take to come in

TOO_LATE = "it took too long"
CONTROL_BYTES = 125  # of a ping, pong or close at most: RFC 6455, 5.5
NORMAL, GOING_AWAY, PROTOCOL_ERROR, TOO_BIG = 1000, 1001, 1002, 1009  # RFC 6455, 7.4.1


class Message(NamedTuple):
    """A whole message as it came: its bytes, and whether they are meant as text."""

    payload: bytes
    is_text: bool


class Lost(Exception):
    """There is no connection, or it has ended; the text says why, and tells no secret.

    Args:
        reason: why.
        code: the status that the server is told when it is ended for this.
        refused: whether the server wants other credentials.
    """

    def __init__(self, reason: str, code: int = GOING_AWAY, refused: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.refused = refused


class Connection:
    """One connection: entering connects, leaving closes; each method may raise Lost.

    Args:
        handler: says when to stop.
        server: where to connect.
    """

    def __init__(self, handler: Handler, server: Server) -> None:
        self._handler = handler
        self._server = server
        self._socket = websocket.WebSocket(
            sslopt={"context": server.tls} if server.tls else {},
            enable_multithread=False,
            skip_utf8_validation=True,  # done by those who decode
        )
        self._receive = self._socket.frame_buffer.recv
        self._socket.frame_buffer = Frames(self._some, self._room)
        self._until = math.inf  # when the present wait ends
        self._payload: bytearray | None = None  # of a message that has begun
        self._is_text = False
        self._lost: Lost | None = None  # met after messages that were handed over first
        self._silent = False  # after a close (RFC 6455, 5.5.1), or a frame that failed
        self._pinged: float | None = None  # since when no answer has come
        self._frame_began: float | None = None  # of a frame that is not whole yet
        self._ping_at = 0.0

    def __enter__(self) -> Self:
        self._connect()
        self._ping_at = time.monotonic() + self._server.ping_every
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        with contextlib.suppress(Lost):
            self._close(error.code if isinstance(error, Lost) else GOING_AWAY)
        self._socket.shutdown()

    def send(self, text: str) -> None:
        """Send a message."""
        self._send(text.encode(), ABNF.OPCODE_TEXT)

    def arrived(self) -> list[Message]:
        """Wait a moment for a message; return it and those that came right after it."""
        if self._lost is not None:
            raise self._lost
        messages: list[Message] = []
        try:
            patience, size = LOOK, 0
            while len(messages) < BATCH and size < BATCH_BYTES:
                message = self._next(patience)
                if message is None:
                    break
                messages.append(message)
                patience, size = MORE, size + len(message.payload)
            self._keep_alive(time.monotonic(), waiting=not messages)
        except Lost as lost:
            if not messages:
                raise
            self._lost = lost
        return messages

    def say_goodbye(self) -> None:
        """Tell the server to end; what it sent before may still arrive."""
        self._close(NORMAL)

    # Connecting

    def _connect(self) -> None:
        """Connect on a thread of its own, as the library heeds no stop meanwhile."""
        attempt: Future[None] = Future()
        threading.Thread(target=self._attempt, args=(attempt,), daemon=True).start()
        deadline = time.monotonic() + self._server.connect_timeout
        late = False
        while not wait([attempt], LOOK).done:
            leaving = self._handler.stop_requested or time_is_up(self._handler)
            late = time.monotonic() > deadline
            if late or leaving:
                self._break_off()
            if leaving:
                attempt.add_done_callback(lambda _: self._socket.shutdown())
                raise Lost("nobody waits for it any more")
        error, status = attempt.exception(), self._socket.getstatus()
        if status not in (None, 101):
            self._socket.shutdown()
            raise Lost(f"it redirects (HTTP status {status}); use the new URL") from error
        if error is not None:
            raise (Lost(TOO_LATE) if late else explained(error)) from error

    def _attempt(self, attempt: Future[None]) -> None:
        try:
            self._socket.connect(
                self._server.url,
                timeout=self._server.connect_timeout,
                header=self._server.sent,
                suppress_origin=True,  # no browser sends this
                redirect_limit=0,  # the library would take the headers along to any host
            )
        except BaseException as error:
            attempt.set_exception(error)
        else:
            attempt.set_result(None)

    def _break_off(self) -> None:
        """End the handshake; what comes before it ends by the library's own timeouts."""
        opened = self._socket.sock
        with contextlib.suppress(OSError):
            if opened is not None:
                opened.shutdown(socket.SHUT_RDWR)

    # Reading

    def _next(self, patience: float) -> Message | None:
        """Return the next whole message; None if it has not come within the patience.

        A wait may end within a frame: what has come of it is kept for the next wait.
        """
        self._until = time.monotonic() + patience
        try:
            while True:
                frame = self._socket.recv_frame()
                self._frame_began = None
                message = self._take(frame)
                if message is not None:
                    return message
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError) as error:
            raise explained(error) from error

    def _some(self, size: int) -> bytes:
        """Receive some bytes until the wait ends, however slowly they trickle in."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise websocket.WebSocketTimeoutException("the wait is over")
        self._socket.settimeout(left)
        received: bytes = self._receive(size)
        self._pinged = None
        self._frame_began = self._frame_began or time.monotonic()
        return received

    def _room(self) -> int:
        """Return how many bytes the next part of a message may have."""
        return self._server.max_message - len(self._payload or b"")

    def _take(self, frame: ABNF) -> Message | None:
        """Answer a frame that is no part of a message; return the message it completes."""
        payload = cast(bytes, frame.data)
        if frame.opcode == ABNF.OPCODE_CLOSE:
            raise Lost(close_reason(payload), NORMAL)
        if frame.opcode == ABNF.OPCODE_PING:
            self._send_if_possible(payload, ABNF.OPCODE_PONG)
        if frame.opcode in (ABNF.OPCODE_PING, ABNF.OPCODE_PONG):
            return None
        return self._joined(frame, payload)

    def _joined(self, frame: ABNF, part: bytes) -> Message | None:
        if (frame.opcode == ABNF.OPCODE_CONT) == (self._payload is None):
            raise Lost("it mixed the parts of two messages", PROTOCOL_ERROR)
        if self._payload is None:
            self._payload = bytearray()
            self._is_text = frame.opcode == ABNF.OPCODE_TEXT
        self._payload += part
        if not frame.fin:
            return None
        message = Message(bytes(self._payload), self._is_text)
        self._payload = None
        return message

    def _keep_alive(self, now: float, waiting: bool) -> None:
        """Ping in time; give up when nothing has come for too long after a ping."""
        since = self._pinged if waiting else None
        if since is not None and now - since >= self._server.pong_timeout:
            raise Lost(f"no answer to a ping within {self._server.pong_timeout:g} s")
        began = self._frame_began if waiting else None
        if began is not None and now - began >= PATIENCE * self._server.pong_timeout:
            raise Lost("a message trickles in too slowly")
        if now >= self._ping_at:
            self._send_if_possible(b"", ABNF.OPCODE_PING)
            self._ping_at = now + self._server.ping_every
            self._pinged = self._pinged or now

    # Writing

    def _send(self, payload: bytes, opcode: int) -> None:
        if self._silent:
            return
        try:
            self._socket.settimeout(SEND_TIMEOUT)
            self._socket.send(payload, opcode)
        except (websocket.WebSocketException, OSError) as error:
            raise explained(error) from error

    def _send_if_possible(self, payload: bytes, opcode: int) -> None:
        """Send a frame, or nothing ever again: what has arrived is still to be read."""
        try:
            self._send(payload, opcode)
        except Lost:
            self._silent = True

    def _close(self, code: int) -> None:
        self._send(code.to_bytes(2), ABNF.OPCODE_CLOSE)
        self._silent = True


class Frames(websocket.frame_buffer):
    """The library's reader of frames, which lets none in that is too large.

    Args:
        receive: returns some of the bytes asked for.
        room: returns how many bytes the next part of a message may have.
    """

    def __init__(self, receive: Callable[[int], bytes], room: Callable[[], int]) -> None:
        super().__init__(receive, skip_utf8_validation=True)
        self._room = room

    def recv_length(self) -> None:
        """Read the length of a frame, whose first two bytes are there."""
        super().recv_length()
        assert self.header is not None and self.length is not None
        is_control = self.header[4] >= ABNF.OPCODE_CLOSE
        if is_control and self.length > CONTROL_BYTES:
            raise Lost("it sent a control frame that is too large", PROTOCOL_ERROR)
        if not is_control and self.length > self._room():
            raise Lost("it sent a message that is too large (max_message)", TOO_BIG)


# What errors and closes mean


def explained(error: BaseException) -> Lost:
    """Return a foreign error in plain words.

    Only texts that come without URLs, headers and bodies are passed on.
    """
    match error:
        case websocket.WebSocketBadStatusException(status_code=status):
            refused = status in (401, 403)
            advice = "; check the credentials" if refused else ""
            return Lost(f"it refused with HTTP status {status}{advice}", refused=refused)
        case websocket.WebSocketTimeoutException() | TimeoutError():
            return Lost(TOO_LATE)
        case websocket.WebSocketConnectionClosedException():
            return Lost("the connection broke off")
        case websocket.WebSocketAddressException():
            return Lost("its name is not known")
        case websocket.WebSocketProxyException():
            return Lost("the proxy made no connection")
        case websocket.WebSocketProtocolException():
            return Lost(f"it broke the protocol: {error}", PROTOCOL_ERROR)
        case ssl.SSLCertVerificationError():
            return Lost(f"its certificate is not trusted: {error.verify_message}")
        case OSError(strerror=str(reason)):
            return Lost(reason)
        case _:
            return Lost(f"it does not answer like a WebSocket ({type(error).__name__})")


def close_reason(payload: bytes) -> str:
    """Return what a close frame says: perhaps a code, and perhaps a text."""
    code = f" with {int.from_bytes(payload[:2])}" if payload else ""
    text = f" {payload[2:].decode(errors='replace')!r}" if payload[2:] else ""
    return f"the server closed{code}{text}"


def time_is_up(handler: Handler) -> bool:
    """Return whether a `timeout(...)` scope has ended."""
    left = handler.time_left
    return left is not None and left <= 0
