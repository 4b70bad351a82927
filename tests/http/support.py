"""A scripted server: it says what a test tells it to, however wrong, on real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PATIENCE = 30  # seconds after which a wait has failed; never waited for in a good run
STEP = 0.02  # seconds between the bytes of a slow server
SHORT = 0.3  # seconds; a time limit that a test waits for


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


@dataclass
class Talk:
    """One connection, while an answer is being sent."""

    sock: socket.socket
    request: Seen
    stopping: threading.Event
    sent: int = 0

    def send(self, data: bytes) -> None:
        """Send some bytes; raises OSError when the client is gone."""
        self.sock.sendall(data)
        self.sent += len(data)

    def reset(self) -> None:
        """End the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise ConnectionAbortedError

    def forever(self, data: bytes, pause: float = 0) -> None:
        """Send the same bytes again and again, until one of both goes away."""
        while not self.stopping.wait(pause):
            self.send(data)


@dataclass
class Server:
    """Answers each request with the next answer of its script; the last one repeats.

    Args:
        tls: for https; None for http.
        greet: called with each new connection, before any TLS.
    """

    tls: ssl.SSLContext | None = None
    greet: Callable[[socket.socket, threading.Event], None] | None = None
    seen: list[Seen] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._script: list[bytes | Callable[[Talk], None]] = [reply()]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.over = threading.Semaphore(0)  # released as each connection ends
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._listening.getsockname()[1]
        return port

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{path}"

    def say(self, *answers: bytes | Callable[[Talk], None]) -> None:
        """Set the answers to come."""
        self._script = list(answers)

    def close(self) -> None:
        """End all connections and threads."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listening.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):
                if self.greet:
                    self.greet(sock, self._stopping)
                if self.tls:
                    sock = self._wrap(sock)
                self._converse(sock)
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()
            self.over.release()

    def _wrap(self, sock: socket.socket) -> socket.socket:
        assert self.tls
        with self._lock:
            self._open.discard(sock)
            wrapped = self.tls.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
            self._open.add(wrapped)
        try:
            wrapped.do_handshake()
        except OSError:
            wrapped.close()
            raise
        return wrapped

    def _converse(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as stream:
            for request in _requests(stream):
                with self._lock:
                    self.seen.append(request)
                    last = len(self._script) == 1
                    answer = self._script[0] if last else self._script.pop(0)
                talk = Talk(sock, request, self._stopping)
                self.talks.append(talk)
                if callable(answer):
                    answer(talk)
                    return  # it has its own idea of where the answer ends
                talk.send(answer)
                if b"content-length" not in answer.lower():
                    return


def _requests(stream: object) -> Iterator[Seen]:
    read, line = stream.read, stream.readline  # type: ignore[attr-defined]
    while first := line():
        method, target, _ = first.decode().split(" ", 2)
        headers: dict[str, str] = {}
        while (header := line().decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = read(int(headers.get("content-length", 0)))
        yield Seen(method, target, headers, body)


def head(status: int = 200, **headers: object) -> bytes:
    """Return a status line and headers; underscores in names become dashes."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode("latin-1")


def reply(status: int = 200, body: bytes = b"", **headers: object) -> bytes:
    """Return a whole answer."""
    return head(status, Content_Length=len(body), **headers) + body


def moved(location: str, status: int = 302, **headers: object) -> bytes:
    """Return a redirect."""
    return reply(status, Location=location, **headers)


class Waits:
    """Stands for waiting: notes each wait, which is over at once.

    Args:
        stop_at: the number of the wait in which a stop is asked for.
    """

    def __init__(self, stop_at: int | None = None) -> None:
        self.seconds: list[float] = []
        self._stop_at = stop_at

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) != self._stop_at
