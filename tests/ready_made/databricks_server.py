"""A workspace of Databricks: the part of its Jobs API that tells of runs, on loopback."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

ACTIVE = {"QUEUED", "PENDING", "RUNNING", "TERMINATING"}  # what active_only gives
TOKEN = "dapi-canary-4711"
MOST, MOST_TASKS = 25, 100


class Databricks(OnLoopback):
    """Runs that a test changes as it likes, and what was asked about them.

    Args:
        tokens: whether pages have tokens; older workspaces know offsets only.
    """

    def __init__(self, tokens: bool = True) -> None:
        self.runs: dict[int, Any] = {}
        self.odd: list[Any] = []  # what stands in lists beside the runs
        self.tokens = tokens
        self.refuse: list[tuple[int, dict[str, str], str]] = []  # the next answers
        self.forbidden: set[int] = set()  # runs that may not be read
        self.refuse_run: int | None = None  # the status of all answers about one run
        self.stuck = False  # whether each page is the first one
        self.accepted = {f"Bearer {TOKEN}"}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.signed_in: list[tuple[str, dict[str, str]]] = []
        super().__init__()

    def count(self, what: str) -> int:
        """Return how often `list` or `get` was asked for."""
        return sum(path.endswith(f"/{what}") for path, _ in self.asked)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        """Return status and body of an answer."""
        if path.endswith("/jobs/runs/list"):
            return self._list(query)
        if path.endswith("/jobs/runs/get"):
            return self._get(int(query["run_id"]), query, "/2.2/" in path)
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": path}

    def _list(self, query: dict[str, str]) -> tuple[int, Any]:
        limit = int(query.get("limit", 20))
        if not 0 < limit <= MOST:
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "limit"}
        found = [*self.odd, *sorted(self.runs.values(), key=_start, reverse=True)]
        found = [run for run in found if not isinstance(run, dict) or _fits(run, query)]
        begin = int(query.get("page_token", "t0")[1:]) or int(query.get("offset", 0))
        begin = 0 if self.stuck else begin
        page: dict[str, Any] = {"has_more": begin + limit < len(found)}
        if runs := [_in_a_list(run) for run in found[begin : begin + limit]]:
            page["runs"] = runs  # an empty list is left out
        if page["has_more"] and self.tokens:
            page["next_page_token"] = f"t{begin + limit}"
        return 200, page

    def _get(self, run_id: int, query: dict[str, str], paged: bool) -> tuple[int, Any]:
        if self.refuse_run is not None:
            return self.refuse_run, {"error_code": "TEMPORARILY_UNAVAILABLE"}
        if run_id in self.forbidden:
            return 403, {"error_code": "PERMISSION_DENIED", "message": "no view permission"}
        if run_id not in self.runs:
            message = f"Run {run_id} does not exist."
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": message}
        run = dict(self.runs[run_id])
        if query.get("include_history") != "true":
            run.pop("repair_history", None)
        if paged and len(run["tasks"]) > MOST_TASKS:
            begin = int(query.get("page_token", "t0")[1:])
            end = begin + MOST_TASKS
            if end < len(run["tasks"]):
                run["next_page_token"] = f"t{end}"
            run["tasks"] = run["tasks"][begin:end]
            if begin:
                run.pop("repair_history", None)
        return 200, run

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        workspace = self

        class Here(Answering):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                workspace.asked.append((parts.path, query))
                if workspace.refuse:
                    status, headers, body = workspace.refuse.pop(0)
                    self.say(status, body, headers)
                elif self.headers.get("Authorization") not in workspace.accepted:
                    self.say(
                        401, '{"error_code": "401", "message": "Credential was not sent"}'
                    )
                else:
                    status, document = workspace.answer(parts.path, query)
                    self.say(status, json.dumps(document))

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = dict(parse_qsl(self.rfile.read(length).decode()))
                workspace.signed_in.append((self.path, form))
                token = f"oauth-{len(workspace.signed_in)}"
                workspace.accepted.add(f"Bearer {token}")
                answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
                self.say(200, json.dumps(answer))

            def say(
                self, status: int, body: str, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": len(body), **(headers or {})}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body.encode())

        return Here


def _start(run: dict[str, Any]) -> int:
    return run.get("start_time") or 0


def _life(run: dict[str, Any]) -> Any:
    new = run.get("status", {}).get("state")
    return run.get("state", {}).get("life_cycle_state") or new


def _fits(run: dict[str, Any], query: dict[str, str]) -> bool:
    if "job_id" in query and str(run.get("job_id")) != query["job_id"]:
        return False
    if "start_time_from" in query and _start(run) < int(query["start_time_from"]):
        return False
    if query.get("active_only") == "true":
        return _life(run) in ACTIVE
    return query.get("completed_only") != "true" or _life(run) not in ACTIVE


def _in_a_list(run: Any) -> Any:
    if not isinstance(run, dict):
        return run
    tasks = run.get("tasks")
    found = {key: value for key, value in run.items() if key != "repair_history"}
    return {**found, "tasks": tasks[:MOST_TASKS] if isinstance(tasks, list) else tasks}


# What Databricks answers


def state(life: str, result: str | None = None, text: str = "") -> dict[str, Any]:
    """Return the state of 2.1."""
    found = {"life_cycle_state": life, "state_message": text}
    return {**found, **({"result_state": result} if result else {})}


def status(life: str, code: str | None = None, kind: str = "", text: str = "") -> Any:
    """Return the status of 2.2."""
    details = {"code": code, "type": kind, "message": text}
    return {"state": life, **({"termination_details": details} if code else {})}


def run_of(run_id: int, start: int, **fields: Any) -> dict[str, Any]:
    """Return a run of the job 11 that goes on."""
    return {
        "job_id": 11, "run_id": run_id, "number_in_job": run_id, "run_name": "nightly",
        "original_attempt_run_id": run_id, "state": state("RUNNING"), "start_time": start,
        "setup_duration": 0, "execution_duration": 0, "cleanup_duration": 0, "end_time": 0,
        "trigger": "PERIODIC", "run_type": "JOB_RUN", "creator_user_name": "me@example.org",
        "run_page_url": f"https://adb-1.azuredatabricks.net/?o=1#job/11/run/{run_id}",
        "tasks": [], **fields,
    }  # fmt: skip


def task_of(run_id: int, key: str, start: int, **fields: Any) -> dict[str, Any]:
    """Return a task that goes on."""
    return {
        "run_id": run_id, "task_key": key, "state": state("RUNNING"), "start_time": start,
        "end_time": 0, "attempt_number": 0, "notebook_task": {"notebook_path": "/a"},
        **fields,
    }  # fmt: skip
