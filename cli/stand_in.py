"""A stand-in for Observability: it takes and refuses what the real server does."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from py_agent.observability import EVENT_TYPES, ContractError, validate
from py_agent.observability.client import HEARTBEAT, KEY_HEADER, event_path

MAX_BODY = 1_048_576  # bytes; the real one looks at 102,400 of an event
ADDRESSES = {f"/{event_path(each)}": each for each in EVENT_TYPES}
ADDRESSES[f"/{HEARTBEAT}"] = "heartbeat"
PROBES = {f"/{service}/{probe}" for service in ("events", "agent")
          for probe in ("readyz", "livez")}  # fmt: skip


def verdict(path: str, key: str, good_key: str, body: bytes) -> tuple[int, str]:
    """Return the status with which the real server answers a post, and the error.

    Args:
        path: where it was sent.
        key: the key that came along.
        good_key: the key that is good.
        body: what was sent.
    """
    event_type = ADDRESSES.get(path)
    if event_type is None:
        return 404, "The requested URL was not found on the server"
    if not hmac.compare_digest(key.encode(), good_key.encode()):
        return 401, "Invalid service account key"
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return 400, "The body is not JSON"
    try:
        validate(event_type, payload)
    except ContractError as error:
        return 400, f"Invalid request: {error}"
    return 204, ""


def make_server(
    port: int, good_key: str, tell: Callable[[str], None]
) -> ThreadingHTTPServer:
    """Return a server on loopback.

    Args:
        port: where it listens; 0 for any that is free.
        good_key: the key that it takes.
        tell: called with a line about each post.
    """

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200 if self.path in PROBES else 404, {})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                self.close_connection = True
                self._answer(413 if length.isdecimal() else 500, {"error": "no length"})
                return
            body = self.rfile.read(int(length))
            key = self.headers.get(KEY_HEADER, "")
            status, error = verdict(self.path, key, good_key, body)
            shown = body.decode(errors="replace") if status == 204 else error
            tell(f"{status} {self.path} {shown}")
            self._answer(status, {"error": error, "details": {}})

        def _answer(self, status: int, body: Any) -> None:
            content = b"" if status == 204 else json.dumps(body).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing; `tell` does."""

    return ThreadingHTTPServer(("127.0.0.1", port), Answers)
