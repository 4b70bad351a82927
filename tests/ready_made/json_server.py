"""A server of JSON on loopback, to be given the answers of some service."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

Answer = tuple[int, dict[str, str], str | bytes]  # status, headers, body


class Asked(NamedTuple):
    """One request as it came in."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case


class JsonServer(OnLoopback):
    """Answers what `answer` of a subclass returns, unless `refuse` holds something."""

    def __init__(self) -> None:
        self.refuse: list[Answer] = []  # the next answers, whatever is asked for
        self.asked: list[Asked] = []
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """Return the answer to a request."""
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Here(Answering):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(parts.path, dict(parse_qsl(parts.query)), headers)
                server.asked.append(asked)
                refused = server.refuse.pop(0) if server.refuse else None
                status, extra, body = refused or server.answer(asked)
                content = body.encode() if isinstance(body, str) else body
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if status != 304 else b"")

        return Here


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer with JSON; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): each for name, each in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(value)
