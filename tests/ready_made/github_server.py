"""GitHub on loopback, as its API is documented, as far as notifications need it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .loopback import Answering, OnLoopback

Answer = tuple[int, dict[str, str], str]  # status, headers, body

WEB = "https://github.example"


class GithubServer(OnLoopback):
    """Keeps repositories of issues, and the notifications of the user `me`.

    Args:
        now: the time that it has, aware.
        token: what it wants to see.
    """

    def __init__(self, now: Callable[[], datetime], token: str) -> None:
        self.now, self.token = now, token
        self.size: int | None = None  # items of any page; what is asked for if not given
        self.poll_interval: int | None = 60
        self.has_etags = True  # of the notifications
        self.teams: list[dict[str, Any]] | None = []  # None: the token may not know
        self.refuse: list[Answer] = []  # the next answers, whatever is asked for
        self.of_paths: dict[str, Answer] = {}  # answers to some paths
        self.threads: dict[str, Any] = {}
        self.subjects: dict[str, dict[str, Any]] = {}
        self.timelines: dict[str, list[Any]] = {}
        self.in_code: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self._ids = 1000
        super().__init__()

    def paths(self) -> list[str]:
        """Return what was asked for, without queries."""
        return [path for path, _, _ in self.asked]

    # What people do

    def open_issue(self, number: int, repo: str = "octo/shop", **fields: Any) -> str:
        """Open an issue; return what names it."""
        return self._open("Issue", f"{repo}/issues/{number}", repo, number, fields)

    def open_pull(self, number: int, repo: str = "octo/shop", **fields: Any) -> str:
        """Open a pull request; return what names it."""
        return self._open("PullRequest", f"{repo}/pull/{number}", repo, number, fields)

    def _open(
        self, kind: str, page: str, repo: str, number: int, fields: dict[str, Any]
    ) -> str:
        key = f"{repo}#{number}"
        self.timelines[key], self.in_code[key] = [], []
        self.subjects[key] = {
            "kind": kind, "number": number, "title": "Add a basket", "state": "open",
            "html_url": f"{WEB}/{page}", "user": {"login": "ann"}, "body": "",
            "labels": [{"name": "bug"}], "created_at": self.at(), "updated_at": self.at(),
            **fields,
        }  # fmt: skip
        return key

    def event(self, key: str, name: str, reason: str | None = None, **fields: Any) -> int:
        """Let something happen to an issue, and notify of it."""
        item = {
            "id": self._id(), "event": name, "created_at": self.at(),
            "actor": {"login": "bob"}, **fields,
        }  # fmt: skip
        self.timelines[key].append(item)
        self.notify(key, reason)
        return int(item["id"])

    def request_review(self, key: str, of: str = "me", by: str = "bob") -> int:
        """Ask somebody, or a team as `octo/slug`, for a review."""
        team = of.partition("/")[2]
        asked = {"requested_team": {"slug": team}} if team else {
            "requested_reviewer": {"login": of}
        }  # fmt: skip
        more = {"review_requester": {"login": by}, **asked}
        return self.event(key, "review_requested", "review_requested", **more)

    def assign(self, key: str, to: str = "me", by: str = "bob") -> int:
        """Assign an issue to somebody."""
        more = {"assignee": {"login": to}, "assigner": {"login": by}}
        return self.event(key, "assigned", "assign", **more)

    def comment(
        self, key: str, body: str, by: str = "bob", reason: str | None = None
    ) -> str:
        """Write a comment; return its URL. The reason of the notification may stay."""
        number = self._id()
        url = f"{self.subjects[key]['html_url']}#issuecomment-{number}"
        self.timelines[key].append({
            "id": number, "event": "commented", "body": body, "html_url": url,
            "user": {"login": by}, "created_at": self.at(), "updated_at": self.at(),
        })  # fmt: skip
        self.notify(key, reason or ("mention" if "@me" in body else None))
        return url

    def review(self, key: str, body: str, by: str = "bob") -> str:
        """Review a pull request with some words; return their URL."""
        number = self._id()
        url = f"{self.subjects[key]['html_url']}#pullrequestreview-{number}"
        self.timelines[key].append({
            "id": number, "event": "reviewed", "body": body, "html_url": url,
            "user": {"login": by}, "submitted_at": self.at(), "state": "commented",
        })  # fmt: skip
        self.notify(key, "mention" if "@me" in body else None)
        return url

    def comment_in_code(self, key: str, body: str, by: str = "bob") -> str:
        """Write a comment at a line of code; return its URL."""
        number = self._id()
        url = f"{self.subjects[key]['html_url']}#discussion_r{number}"
        self.in_code[key].append({
            "id": number, "body": body, "html_url": url, "user": {"login": by},
            "created_at": self.at(), "updated_at": self.at(),
        })  # fmt: skip
        self.notify(key, "mention" if "@me" in body else None)
        return url

    def notify(self, key: str, reason: str | None = None, **fields: Any) -> dict[str, Any]:
        """Put a notification at the top; without a reason it keeps the one it had."""
        subject = self.subjects.get(key, {})
        repo, _, number = key.partition("#")
        kind = subject.get("kind", "Discussion")
        part = "pulls" if kind == "PullRequest" else "issues"
        url = f"{self.host}/repos/{repo}/{part}/{number}" if subject else None
        before = self.threads.pop(key, {})
        said = {
            "id": before.get("id") or str(self._id()), "unread": True,
            "reason": reason or before.get("reason", "subscribed"),
            "updated_at": self.at(),
            "subject": {
                "title": subject.get("title", "A question"), "url": url,
                "latest_comment_url": url, "type": kind,
            },
            "repository": {"full_name": repo, "html_url": f"{WEB}/{repo}"},
        }  # fmt: skip
        self.threads[key] = {**said, **fields}
        return dict(self.threads[key])

    def read_all(self) -> None:
        """Let the user read all notifications in the browser."""
        for each in self.threads.values():
            each["unread"] = False

    def at(self) -> str:
        """Return what time it is, as GitHub writes it."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    # What it answers

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """Return the answer to a request."""
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, '{"message": "Bad credentials"}'
        if path in self.of_paths:
            return self.of_paths[path]
        if path == "/user":
            return 200, {}, '{"login": "Me"}'
        if path == "/user/teams":
            if self.teams is None:
                return 403, {}, '{"message": "You need the scope read:org"}'
            return self._page(self.teams, path, query)
        if path == "/notifications":
            return self._notifications(path, query, headers)
        return self._of_repo(path, query)

    def _of_repo(self, path: str, query: dict[str, str]) -> Answer:
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)/(issues|pulls)/(\d+)(/\w+)?", path)
        key = f"{found[1]}#{found[3]}" if found else ""
        if not found or key not in self.subjects:
            return 404, {}, '{"message": "Not Found"}'
        if found[4] is None:
            return 200, {}, json.dumps(self.subjects[key])
        items = self.timelines if found[4] == "/timeline" else self.in_code
        since = query.get("since", "")
        recent = [each for each in items[key] if each.get("updated_at", "z") >= since]
        return self._page(recent, path, query)

    def _notifications(
        self, path: str, query: dict[str, str], headers: dict[str, str]
    ) -> Answer:
        items = [
            each for each in reversed(self.threads.values())
            if not isinstance(each, dict) or (
                each.get("updated_at", "z") >= query.get("since", "")
                and (each.get("unread") or query.get("all") == "true")
            )
        ]  # fmt: skip
        status, extra, body = self._page(items, path, query, 50)
        if self.poll_interval is not None:
            extra["X-Poll-Interval"] = str(self.poll_interval)
        tag = f'"{hashlib.sha256(body.encode()).hexdigest()}"'
        dates = [str(each.get("updated_at")) for each in items if isinstance(each, dict)]
        if dates and dates[0].startswith("20"):
            newest = datetime.fromisoformat(dates[0])
            extra["Last-Modified"] = format_datetime(newest, usegmt=True)
        if not self.has_etags:
            same = self._unmodified(extra, headers)
            return (304, extra, "") if same else (status, extra, body)
        if headers.get("if-none-match") == tag or self._unmodified(extra, headers):
            return 304, extra, ""
        return status, {**extra, "ETag": tag}, body

    @staticmethod
    def _unmodified(extra: dict[str, str], headers: dict[str, str]) -> bool:
        known, newest = headers.get("if-modified-since"), extra.get("Last-Modified")
        if known is None or newest is None or "if-none-match" in headers:
            return False
        return parsedate_to_datetime(newest) <= parsedate_to_datetime(known)

    def _page(
        self, items: list[Any], path: str, query: dict[str, str], most: int = 100
    ) -> Answer:
        size = self.size or min(int(query.get("per_page", 30)), most)
        page, last = int(query.get("page", 1)), max(1, -(-len(items) // size))
        rest = "".join(f"{k}={v}&" for k, v in query.items() if k != "page")
        links = {"next": page + 1, "last": last} if page < last else {}
        link = ", ".join(
            f'<{self.host}{path}?page={n}&{rest}>; rel="{rel}"' for rel, n in links.items()
        )
        shown = items[(page - 1) * size : page * size]
        return 200, {"Link": link} if link else {}, json.dumps(shown)

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
                    status, extra, body = server.answer(parts.path, query, headers)
                self.send_response(status)
                for name, value in {**extra, "Content-Length": len(body.encode())}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # it may hang up
                    self.wfile.write(body.encode())

            def date_time_string(self, timestamp: float | None = None) -> str:
                return format_datetime(server.now(), usegmt=True)

        return Here
