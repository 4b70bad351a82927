"""A tool that lists its runs as JSON, page by page, on loopback."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

Answer = tuple[int, dict[str, str], str]  # status, headers, body


class RunsServer(OnLoopback):
    """Lists `runs` at /api/runs, newest first as they stand, and knows each by its id.

    Args:
        size: items of a page.
        in_body: whether the link to the next page stands in the answer.
    """

    def __init__(self, size: int = 100, in_body: bool = False) -> None:
        self.size, self.in_body = size, in_body
        self.runs: list[Any] = []
        self.unlisted: dict[str, Any] = {}  # runs that are known by their id only
        self.refuse: list[Answer] = []  # the next answers, whatever is asked for
        self.of_runs: dict[str, Answer] = {}  # answers about one run
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.tokens = 0  # that were handed out
        super().__init__()

    def paths(self) -> list[str]:
        """Return what was asked for, without queries."""
        return [path for path, _, _ in self.asked]

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """Return the answer to a request."""
        if path == "/api/runs":
            return self._list(int(query.get("page", 0)))
        key = path.removeprefix("/api/runs/")
        if key in self.of_runs:
            return self.of_runs[key]
        known = {str(run["id"]): run for run in self.runs if isinstance(run, dict)}
        found = {**known, **self.unlisted}.get(key)
        return (200, {}, json.dumps({"run": found})) if found else (404, {}, '"no run"')

    def _list(self, page: int) -> Answer:
        end = (page + 1) * self.size
        document: dict[str, Any] = {"data": {"runs": self.runs[end - self.size : end]}}
        headers = {}
        if end < len(self.runs):
            link = f"/api/runs?page={page + 1}"
            document["next"] = link if self.in_body else None
            headers = {} if self.in_body else {"Link": f'<{link}>; rel="next"'}
        return 200, headers, json.dumps(document)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Here(Answering):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((parts.path, query, headers))
                if server.refuse:
                    status, extra, body = server.refuse.pop(0)
                else:
                    status, extra, body = server.answer(parts.path, query)
                self.say(status, extra, body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                server.tokens += 1
                token = {"access_token": f"token-{server.tokens}", "expires_in": 3600}
                self.say(200, {}, json.dumps(token))

            def say(self, status: int, extra: dict[str, str], body: str) -> None:
                self.send_response(status)
                for name, value in {**extra, "Content-Length": len(body.encode())}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body.encode())

        return Here
