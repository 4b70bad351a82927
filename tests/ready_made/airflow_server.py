"""Airflow as its REST API shows it, on loopback: runs and tasks that a test changes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .loopback import Answering, OnLoopback

USER, PASSWORD, TOKEN = "watcher", "canary-4711", "canary-token"
Row = dict[str, Any]

# Airflow 2 refuses what its specification does not have.
RUN_QUERY = {"limit", "offset", "order_by", "state", "end_date_gte", "start_date_gte"}
TASK_QUERY = RUN_QUERY - {"order_by"}


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str


class Airflow(OnLoopback):
    """A stateful server with the endpoints that a watcher needs.

    Args:
        version: `v1` is Airflow 2, `v2` Airflow 3.
        prefix: the path at which it is mounted.
    """

    def __init__(self, version: str = "v1", prefix: str = "") -> None:
        self.version, self.prefix = version, prefix
        self.most = 100  # `maximum_page_limit`
        self.runs: list[Any] = []
        self.tasks: list[Any] = []
        self.asked: list[Asked] = []
        self.tokens: list[str] = [TOKEN]  # valid ones
        self.issued = 0
        # A rule gets the path within the API and may return (status, body, headers).
        self.rules: list[Callable[[str], tuple[int, Any, dict[str, str]] | None]] = []
        self._lock = threading.Lock()
        super().__init__()

    @property
    def url(self) -> str:
        """Where it is, without the API."""
        return f"{self.host}{self.prefix}"

    @property
    def api(self) -> str:
        """Where its API is."""
        return f"{self.url}/api/{self.version}"

    def run(self, dag: str, run: str, state: str, **fields: Any) -> Row:
        """Add a run; change what is returned to let it go on."""
        date = "execution_date" if self.version == "v1" else "run_after"
        row = {
            "dag_id": dag, "dag_run_id": run, "state": state, "run_type": "scheduled",
            "logical_date": None, date: None, "start_date": None, "end_date": None,
            "conf": {}, "note": None, **fields,
        }  # fmt: skip
        self.runs.append(row)
        return row

    def task(self, run: Row, task: str, state: str | None, **fields: Any) -> Row:
        """Add a task to a run."""
        row = {
            "dag_id": run["dag_id"], "dag_run_id": run["dag_run_id"], "task_id": task,
            "map_index": -1, "state": state, "try_number": 1, "start_date": None,
            "end_date": None, "operator": "BashOperator", "rendered_fields": {}, **fields,
        }  # fmt: skip
        self.tasks.append(row)
        return row

    def paths(self, method: str = "GET") -> list[str]:
        """Return the paths that were asked for, within the API where they are in it."""
        return [self._within(each.path) for each in self.asked if each.method == method]

    # What it answers

    def _within(self, path: str) -> str:
        return path.removeprefix(f"{self.prefix}/api/{self.version}/")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        airflow = self

        class Handler(Answering):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                self._answer(json.loads(self.rfile.read(size)))

            def _answer(self, body: Any) -> None:
                parts = urlsplit(self.path)
                asked = Asked(
                    self.command, parts.path, parse_qs(parts.query),
                    self.headers.get("Authorization", ""),
                )  # fmt: skip
                with airflow._lock:
                    airflow.asked.append(asked)
                    status, found, headers = airflow._said(asked, body)
                raw = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        return Handler

    def _said(self, asked: Asked, body: Any) -> tuple[int, Any, dict[str, str]]:
        path = self._within(asked.path)
        for rule in self.rules:
            if (said := rule(path)) is not None:
                return said
        if asked.path == f"{self.prefix}/auth/token" and self.version == "v2":
            return self._token(body)
        if path == asked.path:
            return 404, {"title": "Not Found", "status": 404}, {}
        if path == "version":
            return 200, {"version": "2.11.0" if self.version == "v1" else "3.1.0"}, {}
        if not self._lets_in(asked.authorization):
            return 401, {"title": "Unauthorized", "status": 401}, {}
        return self._found(path, asked.query)

    def _token(self, body: Any) -> tuple[int, Any, dict[str, str]]:
        if body != {"username": USER, "password": PASSWORD}:
            return 401, {"detail": [{"msg": "Invalid credentials", "input": body}]}, {}
        self.issued += 1
        self.tokens.append(f"{TOKEN}-{self.issued}")
        return 201, {"access_token": self.tokens[-1]}, {}

    def _lets_in(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        if kind == "Bearer":
            return value in self.tokens
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.version == "v1" and (kind, value) == ("Basic", basic)

    def _found(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any, Any]:
        tasks = path.endswith("/taskInstances")
        parts = [unquote(part) for part in path.removesuffix("/taskInstances").split("/")]
        dag, run = parts[1], parts[3] if len(parts) > 3 else "~"
        extra = set(query) - (TASK_QUERY if tasks else RUN_QUERY)
        if extra and self.version == "v1":
            return 400, {"detail": f"Extra query parameter(s) {sorted(extra)}"}, {}
        rows = [
            row for row in (self.tasks if tasks else self.runs) if _is_of(row, dag, run)
        ]
        if run != "~" and not tasks:
            return (200, rows[0], {}) if rows else (404, {"title": "DAGRun not found"}, {})
        rows = [row for row in rows if self._matches(row, query)]
        start, limit = int(query["offset"][0]), min(int(query["limit"][0]), self.most)
        name = "task_instances" if tasks else "dag_runs"
        return 200, {name: rows[start : start + limit], "total_entries": len(rows)}, {}

    def _matches(self, row: Any, query: dict[str, list[str]]) -> bool:
        if not isinstance(row, dict) or "end_date" not in row:
            return True  # what is malformed is in every list
        if "state" in query and row.get("state") not in query["state"]:
            return False
        if (since := query.get("end_date_gte")) is None:
            return True
        if row.get("end_date") is None:
            return self.version == "v2"  # which takes now for it
        try:
            ended = datetime.fromisoformat(row["end_date"])
        except (TypeError, ValueError):
            return True
        ended = ended if ended.tzinfo else ended.replace(tzinfo=UTC)
        return ended >= datetime.fromisoformat(since[0])


def _is_of(row: Any, dag: str, run: str) -> bool:
    if not isinstance(row, dict):
        return (dag, run) == ("~", "~")
    return dag in ("~", row.get("dag_id")) and run in ("~", row.get("dag_run_id"))
