"""A server like Observability, as a process of its own: server.py PORT FILE.

It takes what it is sent as the real one does, and misbehaves when told to. `POST /_say`
with a JSON list sets what is done with the next requests that post something; the last
item holds on. An item is an object with any of

    status    the answer; 204 if not given
    headers   further headers
    body      of the answer; JSON
    delay     seconds before the answer
    busy      the same, but one request after the other, as a server of few workers
    lose      the request is taken, and the connection is closed instead of an answer
    only      a part of the path: other requests are answered as usual
    match     a part of the body, likewise

`POST /_key` changes the key that is good. Every request is a line of FILE, written before
it is answered, so that a kill forgets none.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMIT = 102_400  # bytes of an event

lock = threading.Lock()
script: list[dict[str, Any]] = []
worker = threading.Lock()
good = {"key": "good-key"}


def next_answer(path: str, body: str) -> dict[str, Any]:
    """Return what is to be done with a request."""
    with lock:
        if not script or script[0].get("only", "") not in path:
            return {}
        if script[0].get("match", "") not in body:
            return {}
        return script[0] if len(script) == 1 else script.pop(0)


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other of a connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path in ("/events/readyz", "/agent/readyz"):
            self.answer(200, {})
        else:
            self.answer(404, {"error": "not found", "details": {}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/_"):
            self.control(json.loads(body))
            return
        todo = next_answer(self.path, body.decode())
        time.sleep(todo.get("delay", 0))
        if "busy" in todo:
            with worker:
                time.sleep(todo["busy"])
        status = todo.get("status") or self.verdict(body)
        record = {"path": self.path, "status": status, "body": body.decode(),
                  "headers": dict(self.headers), "at": time.monotonic()}  # fmt: skip
        os.write(log, f"{json.dumps(record)}\n".encode())
        if todo.get("lose"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            said = todo.get("body", {"error": f"status {status}", "details": {}})
            self.answer(status, said, todo.get("headers"))

    def verdict(self, body: bytes) -> int:
        """Return the status with which the real server answers."""
        if self.headers.get("ServiceAccountAuthenticationKey") != good["key"]:
            return 401
        if self.path.startswith("/events/") and len(body) > LIMIT:
            return 413
        return 204 if body not in (b"", b"{}") else 400

    def control(self, told: Any) -> None:
        with lock:
            if self.path == "/_key":
                good["key"] = told
            else:
                script[:] = told
        self.answer(200, {})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Keeps quiet about clients that go away."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


if __name__ == "__main__":
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
