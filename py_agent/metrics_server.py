"""Answers Prometheus: a small HTTP server that serves /metrics and nothing else."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from socketserver import TCPServer
from typing import Any

from .errors import ConfigError

log = logging.getLogger("py_agent")

PATH = "/metrics"
SECONDS = 10.0  # from a client's connection to its end, also where the store hangs
MOST = 8  # requests at a time; more are turned away, so that none can use up the threads

Render = Callable[[], tuple[bytes, str]]  # returns a body and its content type


class MetricsServer:
    """The endpoint; it takes its address when it is made, and answers once started.

    Args:
        host: the address to listen at.
        port: the port there.

    Raises:
        ConfigError: the extra is not installed, or the address cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigError("metrics needs: pip install 'py-agent[metrics]'")
        self._thread: threading.Thread | None = None
        try:
            self._server = _server(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"metrics: {_shown(host, port)} cannot be had ({reason}); "
                f"end what uses it, or choose another port"
            ) from error
        self._shown = _shown(host, port)

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return int(self._server.server_address[1])

    def start(self, render: Render) -> None:
        """Answer from now on.

        Args:
            render: returns what to answer; called for each request.
        """
        self._server.render = render
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="py_agent-metrics",
            daemon=True,
        )  # fmt: skip
        self._thread.start()
        log.info("Metrics are at http://%s%s", self._shown, PATH)

    def stop(self) -> None:
        """Answer no more, and give the address back."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Serves each request on a thread of its own, a few at a time."""

    block_on_close = False
    render: Render

    def __init__(self, *args: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST)
        self._ends: dict[socket.socket, float] = {}  # when each connection has to end
        super().__init__(*args)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the DNS for its own name and may wait for long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "metrics", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + SECONDS
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request: socket.socket) -> None:
        del self._ends[request]
        self._places.release()

    def service_actions(self) -> None:
        """End what has taken too long; called several times a second."""
        self._end_those_due(time.monotonic())

    def server_close(self) -> None:
        super().server_close()
        self._end_those_due(math.inf)

    def _end_those_due(self, now: float) -> None:
        for request, end in list(self._ends.items()):
            if end < now:
                with contextlib.suppress(OSError):  # it has ended just now
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request for metrics broke off", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Request(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    server_version = "py_agent"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(404, f"metrics are at {PATH}\n".encode(), "text/plain")
            return
        try:
            body, kind = self.server.render()
        except Exception:
            log.exception("the metrics cannot be told")
            self._answer(500, b"see the log of the agent\n", "text/plain")
            return
        self._answer(200, body, kind)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def _server(host: str, port: int) -> _Server:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, *_, address = found[0]
    kind = _Server6 if family == socket.AF_INET6 else _Server
    return kind(address[:2], _Request)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
