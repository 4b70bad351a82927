"""A server on loopback, in a thread of this process: what all stand-ins have in common."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OnLoopback:
    """Listens from the start on; a subclass says how it answers, and calls this last."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def host(self) -> str:
        """Its address, as a user would configure it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError


class Answering(BaseHTTPRequestHandler):
    """Answers, and says nothing of it on stderr."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
