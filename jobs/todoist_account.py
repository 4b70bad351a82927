"""How jobs and listeners reach Todoist: whose account it is, its lists and places."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from py_agent import BearerAuth, Handler, HttpError, Settings, at_path, shown_url
from py_agent.settings import Token, WebUrl

PER_PAGE, PAGES = 200, 50  # of any list, at most
MOST_NAMED = 10  # projects that an error counts up
LONGEST_WAIT = 3_600.0  # seconds that an answer may ask for
WHERE = (
    "take the API token from Settings > Integrations > Developer in Todoist, and set it as "
    "TODOIST_TOKEN, or as token in [todoist]"
)


class TodoistSettings(Settings, section="todoist", env_prefix="TODOIST_"):
    """Whose Todoist it is.

    Args:
        token: the API token.
        api_url: where the API, version 1, is.
    """

    token: Token = Field(
        description="the API token of Todoist, from Settings > Integrations > Developer, "
        "https://app.todoist.com/app/settings/integrations/developer"
    )
    api_url: WebUrl = Field(
        "https://api.todoist.com/api/v1",
        description="where the API of Todoist is",
    )

    @property
    def home(self) -> str:
        """The address of the API without a slash at its end."""
        return self.api_url.rstrip("/")


class Known:
    """The ids of projects and sections that were looked up by their names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, ...], str] = {}

    def get(self, key: tuple[str, ...]) -> str | None:
        """Return an id; None if it is not known."""
        with self._lock:
            return self._ids.get(key)

    def keep(self, key: tuple[str, ...], found: str) -> None:
        """Remember an id."""
        with self._lock:
            self._ids[key] = found

    def forget(self) -> None:
        """Look everything up again."""
        with self._lock:
            self._ids.clear()


def place(
    handler: Handler, settings: TodoistSettings, kind: str, name: str, **within: str
) -> str:
    """Return the id of a project or section, which is looked up once by its name.

    Args:
        handler: fetches, and knows what was looked up before.
        settings: the account.
        kind: `project` or `section`.
        name: its name or id.
        within: where it must be: `project_id`.

    Raises:
        HttpError: it could not be looked up.
        ValueError: there is none, or there are several.
    """
    known = handler.shared(Known)
    key = (settings.home, kind, name, *within.values())
    found = known.get(key)
    if found is None:
        found = place_of(kind, name, list(listed(handler, settings, f"{kind}s", **within)))
        known.keep(key, found)
    return found


def listed(
    handler: Handler, settings: TodoistSettings, path: str, **query: str
) -> Iterator[Any]:
    """Yield the items of a list, page by page.

    Args:
        handler: fetches.
        settings: the account.
        path: which list: `projects`, `sections`, `tasks`.
        query: what narrows it.

    Raises:
        HttpError: it could not be had.
    """
    query = {**query, "limit": str(PER_PAGE)}
    for _ in range(PAGES):
        answer: Any = handler.http.get(
            f"{settings.home}/{path}?{urlencode(query)}", auth=BearerAuth(settings.token),
            allow_redirects=False,
        )  # fmt: skip
        check(answer)
        page = answer.json()
        items, cursor = at_path(page, "results"), at_path(page, "next_cursor")
        if not isinstance(items, list):
            raise HttpError(f"{shown_url(answer.url)}: the answer holds no results", 200)
        yield from items
        if not isinstance(cursor, str) or cursor in ("", query.get("cursor")):
            return
        query["cursor"] = cursor
    handler.log.warning("Todoist has more %s than the first %d", path, PER_PAGE * PAGES)


def place_of(kind: str, name: str, items: list[Any]) -> str:
    """Return the id of a project or section that is given by its id or name.

    Args:
        kind: `project` or `section`.
        name: what is looked for; the case of letters matters only where it tells two
            apart.
        items: those that there are.

    Raises:
        ValueError: there is none, or there are several.
    """
    pairs = [
        (each["id"], each["name"]) for each in items
        if isinstance(at_path(each, "id"), str) and isinstance(at_path(each, "name"), str)
    ]  # fmt: skip
    if any(known == name for known, _ in pairs):
        return name
    found = [place for place, known in pairs if known == name] or [
        place for place, known in pairs if known.casefold() == name.casefold()
    ]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise ValueError(
            f"{len(found)} {kind}s in Todoist are named {name!r}; write the id of one of "
            f"them: {', '.join(found)}"
        )
    names = ", ".join(repr(known) for _, known in pairs[:MOST_NAMED]) or "none"
    more = ", ..." if len(pairs) > MOST_NAMED else ""
    raise ValueError(f"Todoist has no {kind} {name!r}; it has {names}{more}")


def check(answer: Any) -> None:
    """Refuse an answer that is none of Todoist's.

    Raises:
        HttpError: its status is an error, a redirect, or it is a web page.
    """
    if answer.retry_after is None and answer.status_code >= 400:
        answer.retry_after = _wait_in(answer)
    answer.raise_for_status()
    status, page = answer.status_code, "html" in answer.headers.get("Content-Type", "")
    if status >= 300 or page:
        what = "a redirect" if status >= 300 else "a web page"
        where = shown_url(answer.url)
        raise HttpError(f"{where}: the answer is {what} and not Todoist's", status)


def _wait_in(answer: Any) -> float | None:
    """Return the wait that the body of an error asks for, as Todoist has it there."""
    try:
        asked = at_path(answer.json(), "error_extra.retry_after")
    except HttpError:
        return None
    known = isinstance(asked, int | float) and not isinstance(asked, bool)
    return min(max(float(asked), 0.0), LONGEST_WAIT) if known else None
