"""A site with pages, and a Todoist whose tasks link to them, on loopback."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

TOKEN = "canary-4711"
Answer = tuple[int, dict[str, str], bytes]  # status, headers, body


def article(title: str = "Tea", words: int = 60, inside: str = "", head: str = "") -> bytes:
    """Return a page with an article."""
    text = " ".join(f"word{number}" for number in range(words))
    return (
        f'<!doctype html><html lang="en-GB"><head><meta charset="utf-8">'
        f"<title>{title}</title>{head}</head><body><nav><a href='/'>Home</a></nav>"
        f"<article><h1>{title}</h1><p>All of it is hot. {text}.</p><p>And wet.</p>"
        f"{inside}</article></body></html>"
    ).encode()


def page(body: bytes, kind: str = "text/html; charset=utf-8", **headers: str) -> Answer:
    """Return an answer with a page."""
    return 200, {"Content-Type": kind, **headers}, body


class ReadingServer(OnLoopback):
    """Has `pages` by their path, and the `tasks` of projects at /api/v1/tasks.

    A project with the id `P1` is called `Project P1`.

    Args:
        size: tasks of one answer.
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.pages: dict[str, Answer] = {}
        self.tasks: dict[str, list[Any]] = {}
        self.refuse: list[Answer] = []  # the next answers of Todoist
        self.asked: list[str] = []  # paths of pages with their queries
        self.tokens: list[str | None] = []  # what Todoist was shown
        self.shown: list[str | None] = []  # what the pages were shown
        super().__init__()

    def url(self, path: str = "") -> str:
        """Return the URL of a path."""
        return f"{self.host}{path}"

    def task(self, content: str, project: str = "P1", **fields: Any) -> None:
        """Add a task as Todoist has them."""
        tasks = self.tasks.setdefault(project, [])
        tasks.append(
            {
                "id": f"T{len(tasks) + 1}", "project_id": project, "content": content,
                "description": "", "labels": [], "checked": False, "priority": 1,
            } | fields
        )  # fmt: skip

    def todoist(self, path: str, query: dict[str, str], token: str | None) -> Answer:
        """Return an answer of Todoist."""
        if self.refuse:
            return self.refuse.pop(0)
        if token != f"Bearer {TOKEN}":
            return 401, {}, f"no such token: {token}".encode()
        if path == "/api/v1/projects":
            names = [{"id": each, "name": f"Project {each}"} for each in self.tasks]
            document = {"results": names, "next_cursor": None}
            return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
        tasks = self.tasks.get(query.get("project_id", ""))
        if tasks is None:
            return 404, {}, b'{"error": "Project not found", "error_code": 478}'
        start = int(query.get("cursor") or 0)
        end = start + min(self.size, int(query.get("limit", 50)))
        following = str(end) if end < len(tasks) else None
        document = {"results": tasks[start:end], "next_cursor": following}
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Here(Answering):
            def do_GET(self) -> None:
                parts, token = urlsplit(self.path), self.headers["Authorization"]
                if parts.path in ("/api/v1/tasks", "/api/v1/projects"):
                    server.tokens.append(token)
                    answer = server.todoist(parts.path, dict(parse_qsl(parts.query)), token)
                else:
                    server.asked.append(self.path)
                    server.shown.append(token)
                    answer = server.pages.get(parts.path, (404, {}, b"nothing here"))
                self.say(*answer)

            def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Here
