"""A stand-in for Observability: it takes what the real server takes, and no more."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from py_agent.observability import EVENT_TYPES, ContractError
from py_agent.observability.client import HEARTBEAT, KEY_HEADER, event_path
from py_agent.observability.models import MAX_BYTES, normalised

MAX_BODY = 1_048_576  # bytes; the real one looks at 102,400 of an event
PREFIX = "/api"  # which the product's own proxy puts before all addresses
ADDRESSES = {f"/{event_path(each)}": each for each in EVENT_TYPES}
ADDRESSES[f"/{HEARTBEAT}"] = "heartbeat"
PROBES = {f"/{service}/{probe}" for service in ("events", "agent")
          for probe in ("readyz", "livez")}  # fmt: skip


def judged(path: str, key: str, good_key: str, kind: str, body: bytes) -> tuple[int, str]:
    """Return the status with which the real server answers a post, and the error.

    Args:
        path: where it was sent.
        key: the key that came along.
        good_key: the key that is good.
        kind: the content type.
        body: what was sent.
    """
    event_type = ADDRESSES.get(path.removeprefix(PREFIX))
    if event_type is None:
        return 404, "The requested URL was not found on the server"
    if not hmac.compare_digest(key.encode(), good_key.encode()):
        return 401, "Invalid service account key"
    if not re.match(r"application/([\w.+-]+\+)?json\b", kind, re.IGNORECASE):
        return 400, f"The content type is {kind or 'missing'}, not application/json"
    if event_type != "heartbeat" and len(body) > MAX_BYTES:
        return 413, "Request Entity Too Large"
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return 400, "The body is not JSON"
    try:
        _, mended = normalised(event_type, payload)
    except ContractError as error:
        return 400, f"Invalid request: {error}"
    # What we would mend before it is sent, the server does not.
    return (400, f"Invalid request: {'; '.join(mended)}") if mended else (204, "")


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
            known = self.path.removeprefix(PREFIX) in PROBES
            self._answer(200 if known else 404, {})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                self.close_connection = True
                self._answer(413 if length.isdecimal() else 500, {"error": "no length"})
                return
            body = self.rfile.read(int(length))
            key = self.headers.get(KEY_HEADER, "")
            kind = self.headers.get("Content-Type", "")
            status, error = judged(self.path, key, good_key, kind, body)
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

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that are gone before they are answered."""

    return Server(("127.0.0.1", port), Answers)
