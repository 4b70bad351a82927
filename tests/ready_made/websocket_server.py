"""WebSocket servers on loopback that follow a script, one act for each connection."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

PATIENCE = 30  # seconds after which a wait has failed; never waited for in a good run

Act = Callable[[ServerConnection], Any]
RawAct = Callable[[socket.socket], Any]


class Visits:
    """Counts connections, and lets the test wait for them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.count = 0

    def note(self) -> int:
        """Count one more; return how many came before."""
        with self._condition:
            self.count += 1
            self._condition.notify_all()
            return self.count - 1

    def reached(self, count: int, seconds: float = PATIENCE) -> bool:
        """Wait until there were so many; return whether it came to that in time."""
        with self._condition:
            return self._condition.wait_for(lambda: self.count >= count, seconds)


class ScriptedServer:
    """A real WebSocket server. The last act of the script is repeated for ever.

    Args:
        tls: makes it a `wss://` server.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Act] = [stay]
        self.answers: list[int] = []  # HTTP statuses for the first handshakes; 101 lets in
        self.headers: list[Any] = []
        self.heard: list[str | bytes] = []
        self.visits = Visits()
        self._open: set[ServerConnection] = set()
        self._server = serve(
            self._handle, "127.0.0.1", 0, ssl=tls, process_request=self._answer,
            ping_interval=None, close_timeout=1, compression=None,
        )  # fmt: skip
        self.port = self._server.socket.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """End it, and all that is open."""
        for connection in list(self._open):
            connection.socket.close()
        self._server.shutdown()
        self._thread.join(PATIENCE)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.headers.append(request.headers)
        if not self.answers:
            return None
        status = self.answers.pop(0)
        if status == 101:
            return None
        self.visits.note()
        return connection.respond(status, "no\n")

    def _handle(self, connection: ServerConnection) -> None:
        act = self.script[min(self.visits.note(), len(self.script) - 1)]
        self._open.add(connection)
        with suppress(ConnectionClosed, OSError):
            act(connection)
        self._open.discard(connection)


def send(*messages: Any) -> Act:
    """Send messages, texts and bytes as they are and all else as JSON, and stay."""

    def act(connection: ServerConnection) -> None:
        for message in messages:
            as_is = isinstance(message, (str, bytes))
            connection.send(message if as_is else json.dumps(message))
        stay(connection)

    return act


def stay(connection: ServerConnection) -> None:
    """Wait until the client leaves."""
    for _ in connection:
        pass


def close(code: int, *messages: Any) -> Act:
    """Send messages, and close with a code."""

    def act(connection: ServerConnection) -> None:
        for message in messages:
            connection.send(json.dumps(message))
        connection.close(code, "a reason")

    return act


class RawServer:
    """A server that does the handshake, and then what the script does with the socket.

    Args:
        handshake: false leaves it to the script.
        listening: false refuses all connections until `listen`.
    """

    def __init__(self, handshake: bool = True, listening: bool = True) -> None:
        self.script: list[RawAct] = [drain]
        self.visits = Visits()
        self._handshake = handshake
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._ending = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        if listening:
            self.listen()

    def listen(self) -> None:
        """Let connections in."""
        self._listener.listen()
        self._run(self._accept)

    def _run(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def close(self) -> None:
        """End it, and all that is open."""
        self._ending = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while not self._ending:
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(opened)
            self._run(self._serve, opened)

    def _serve(self, opened: socket.socket) -> None:
        with opened, suppress(OSError):
            if self._handshake:
                shake_hands(opened)
            self.script[min(self.visits.note(), len(self.script) - 1)](opened)


def shake_hands(opened: socket.socket) -> None:
    """Answer a handshake as RFC 6455, 4.2.2 says."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += opened.recv(4096)
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    opened.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(digest) + b"\r\n\r\n"
    )  # fmt: skip


def frame(payload: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    """Return a frame as a server sends it."""
    return head(len(payload), opcode, fin) + payload


def head(length: int, opcode: int = 1, fin: bool = True) -> bytes:
    """Return the head of a frame, whatever comes after it."""
    first = opcode | (0x80 if fin else 0)
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def drain(opened: socket.socket) -> None:
    """Read, and answer nothing, until the client leaves."""
    while opened.recv(65536):
        pass


def then(*parts: bytes, act: RawAct = drain) -> RawAct:
    """Send bytes, and go on with an act."""

    def whole(opened: socket.socket) -> None:
        for part in parts:
            opened.sendall(part)
        act(opened)

    return whole


def reset(opened: socket.socket) -> None:
    """End the connection without a word: the client meets ECONNRESET."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened.close()
