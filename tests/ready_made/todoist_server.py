"""Todoist on loopback: its API v1 as it is documented, as far as adding tasks goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

Answer = tuple[int, dict[str, str], str]  # status, headers, body


class TodoistServer(OnLoopback):
    """Keeps tasks, projects and sections; a request whose id it knows changes nothing.

    Args:
        now: the time that it has, aware.
        token: what it wants to see.
    """

    def __init__(self, now: Callable[[], datetime], token: str) -> None:
        self.now, self.token = now, token
        self.size = 200  # items of a page
        self.projects = [_place("inbox", "Inbox"), _place("p1", "Work")]
        self.sections: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.known: set[str] = set()  # request ids
        self.refuse: list[Answer] = []  # the next answers; nothing is added
        self.then: list[Answer | Callable[[], Answer]] = []  # the next, when it was added
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        super().__init__()

    @property
    def host(self) -> str:
        """Its address, as a user would configure it."""
        return f"{super().host}/api/v1"

    def posts(self) -> list[dict[str, str]]:
        """Return the headers of the requests that wanted to add something."""
        return [headers for path, _, headers in self.asked if path == "POST /tasks"]

    def paths(self) -> list[str]:
        """Return what was asked for, without queries."""
        return [path for path, _, _ in self.asked]

    def answer(self, path: str, query: dict[str, str], body: str, headers: Any) -> Answer:
        """Return the answer to a request."""
        if self.refuse:
            return self.refuse.pop(0)
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, "Forbidden"
        lists = {
            "GET /projects": self.projects, "GET /sections": self.sections,
            "GET /tasks": self.tasks,
        }  # fmt: skip
        if path == "POST /tasks":
            return self._add(json.loads(body), headers.get("x-request-id", ""))
        if path not in lists:
            return 404, {}, '{"error": "Not found", "error_code": 478}'
        wanted = {key: query[key] for key in ("project_id",) if key in query}
        found = [each for each in lists[path] if wanted.items() <= each.items()]
        return self._page(found, query)

    def _add(self, task: dict[str, Any], request_id: str) -> Answer:
        places = {each["id"] for each in [*self.projects, *self.sections]}
        named = [task[key] for key in ("project_id", "section_id") if key in task]
        if not 1 <= len(task.get("content", "")) <= 500 or len(request_id) > 36:
            return 400, {}, '{"error": "Invalid argument value", "error_code": 20}'
        if not places.issuperset(named):
            return 404, {}, '{"error": "Project not found", "error_code": 478}'
        if request_id in self.known:
            return 204, {}, ""
        self.known.add(request_id)
        added = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        whole = {"id": f"t{len(self.tasks)}", "project_id": "inbox", "added_at": added}
        self.tasks.append({**whole, **task})
        if self.then:
            then = self.then.pop(0)
            return then() if callable(then) else then
        return 200, {}, json.dumps(self.tasks[-1])

    def _page(self, items: list[Any], query: dict[str, str]) -> Answer:
        start = int(query.get("cursor", "0"))
        end = start + min(self.size, int(query.get("limit", 50)))
        cursor = str(end) if end < len(items) else None
        return 200, {}, json.dumps({"results": items[start:end], "next_cursor": cursor})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Here(Answering):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0))).decode()
                path = f"{self.command} {parts.path.removeprefix('/api/v1')}"
                server.asked.append((path, query, headers))
                status, extra, said = server.answer(path, query, body, headers)
                kind = {"Content-Type": "application/json"} if said else {}
                self.send_response(status)
                for name, value in {
                    **kind, **extra, "Content-Length": len(said.encode()),
                }.items():  # fmt: skip
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(said.encode())

            do_POST = do_GET

        return Here


def _place(place: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"id": place, "name": name, **fields}
