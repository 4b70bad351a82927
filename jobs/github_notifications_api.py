"""GitHub's REST API as a polite program asks it, and who asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field

from jobs.github_notifications_names import text_at
from jobs.github_notifications_threads import date_of
from py_agent import BearerAuth, Handler, HttpError, pages_of, shown_url
from py_agent.settings import Settings, Token, WebUrl

MOST = 10  # pages of one timeline, and of any other list, at most
PER_PAGE = 100  # things of a timeline; GitHub gives no more
SMALL = 10  # things of a page, where a hundred are too long to be read
LIMITED = 60.0  # seconds to wait after a rate limit that does not say how long
HOME = "https://api.github.com"
WHERE = (
    "make one under Settings > Developer settings > Personal access tokens > Tokens "
    "(classic), with the scope `notifications`, and `repo` for private repositories, and "
    "set it as GITHUB_TOKEN, or as token in [github]"
)


class GithubSettings(Settings, section="github", env_prefix="GITHUB_"):
    """Who asks GitHub, and which GitHub.

    Args:
        token: a classic personal access token; the newer fine-grained ones cannot read
            notifications.
        api_url: of GitHub Enterprise Server it is `https://HOST/api/v3`.
    """

    token: Token = Field(
        description="a classic personal access token of GitHub with the scope "
        "`notifications` (and `repo` for private repositories), from Settings > Developer "
        "settings > Personal access tokens > Tokens (classic), "
        "https://github.com/settings/tokens"
    )
    api_url: WebUrl = Field(
        HOME,
        description="where the REST API of GitHub is",
    )


class Api:
    """GitHub's REST API: the token goes to its own host only."""

    def __init__(self, handler: Handler, settings: GithubSettings) -> None:
        self.http, self.home = handler.http, settings.api_url.rstrip("/")
        self.shown = shown_url(self.home)
        self.auth = BearerAuth(settings.token)
        token = settings.token.get_secret_value()
        account = f"{self.home} {token}".encode()
        self.account = hashlib.sha256(account).hexdigest()[:32]  # whose login is kept

    def url(self, path: str, **query: Any) -> str:
        """Return the URL of a path."""
        return f"{self.home}/{path}{'?' if query else ''}{urlencode(query)}"

    def get(self, url: str, known: dict[str, str] | None = None) -> Any:
        """Return the answer to a request.

        Raises:
            HttpError: there is none, the token is refused, or we are to wait.
        """
        headers = {
            "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28",
            **(known or {}),
        }  # fmt: skip
        answer: Any = self.http.get(url, headers=headers, auth=self.auth)
        if answer.status_code == 401:
            raise HttpError(f"{self.shown}: GitHub refused the token; {WHERE}", 401)
        asked = answer.retry_after is not None or "rate limit" in answer.text.lower()
        if answer.status_code == 429 or (answer.status_code == 403 and asked):
            raise HttpError(
                f"{self.shown}: the rate limit of GitHub is used up", answer.status_code,
                answer.retry_after or LIMITED, transient=True,
            )  # fmt: skip
        return answer

    def _good(self, url: str) -> Any:
        answer = self.get(url)
        answer.raise_for_status()
        return answer

    def object(self, path: str) -> Any:
        """Return one thing."""
        return self._good(self.url(path)).json()

    def login(self) -> str:
        """Return the name of the user to whom the token belongs.

        Raises:
            HttpError: there is none.
        """
        found = text_at(self.object("user"), "login")
        if not found:
            raise HttpError(f"{self.shown}: the answer names no user")
        return found

    def items(self, path: str, **query: Any) -> list[Any]:
        """Return a list, all of its pages up to a limit.

        Raises:
            HttpError: it could not be had, or is none.
        """
        return _in_parts(lambda size: self._items(path, {"per_page": size, **query}))

    def _items(self, path: str, query: dict[str, Any]) -> list[Any]:
        try:
            pages = pages_of(self._good, self.url(path, **query), MOST)
            return [each for page in pages for each in page.items("")]
        except ValueError as error:
            raise HttpError(str(error), 200) from error

    def last_items(self, path: str, since: datetime) -> list[Any]:
        """Return the end of a list that begins with the oldest, back to a moment.

        Raises:
            HttpError: it could not be had, or is none.
        """
        return _in_parts(lambda size: self._last_items(path, since, size))

    def _last_items(self, path: str, since: datetime, size: int) -> list[Any]:
        answer = self._good(self.url(path, per_page=size))
        first, found = _listed(answer), list[Any]()
        last = _last_page(answer)
        for page in range(last, max(1, last - MOST), -1):
            items = _listed(self._good(self.url(path, per_page=size, page=page)))
            found = items + found
            if any((date_of(each) or since) < since for each in items):
                return found
        return first + found


def _in_parts(read: Callable[[int], list[Any]]) -> list[Any]:
    """Return a list that is read in pages, in small ones if a page is too long."""
    try:
        return read(PER_PAGE)
    except HttpError as error:
        if error.status is not None or error.transient:
            raise
        return read(SMALL)


def _listed(answer: Any) -> list[Any]:
    """Return the list of an answer.

    Raises:
        HttpError: it is none.
    """
    found = answer.json()
    if not isinstance(found, list):
        raise HttpError(f"{shown_url(answer.url)}: the answer is no list", 200)
    return found


def _last_page(answer: Any) -> int:
    """Return the number of the last page, as the header Link has it."""
    link = str(answer.links.get("last", {}).get("url", ""))
    digits = dict(parse_qsl(urlsplit(link).query)).get("page", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else 1


def date_in(answer: Any, name: str = "Date") -> datetime | None:
    """Return the moment in a header; None if there is none."""
    try:
        return parsedate_to_datetime(answer.headers.get(name, "")).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
