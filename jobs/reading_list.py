"""Jobs that read the pages behind links, from Todoist or a file, and publish articles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.reading_list_links import Found, digest, of_file, of_project
from jobs.reading_list_page import NoArticle, article_in
from jobs.todoist_account import TodoistSettings
from py_agent import EventError, Handler, HttpError, HttpRefusedError, shown_url

if find_spec("trafilatura") is None:
    raise ImportError("jobs.reading_list needs: pip install 'py-agent[articles]'")

MAX_LINKS = 10_000  # of one list, so that what is remembered of them stays small
POLITE = 1.0  # seconds between two pages of one host

FIRST_WAIT = timedelta(minutes=15)  # after a page failed; four times as long each time

_WEB_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Options:
    """How pages are read.

    Args:
        most: pages in one run.
        tries: tries after which a link is given up.
        allow_private: whether links may lead into the own network.
        timeout: seconds to fetch a page, and again to read it.
        max_bytes: of a page at most.
    """

    most: int
    tries: int
    allow_private: bool
    timeout: float
    max_bytes: int

    def __post_init__(self) -> None:
        if self.most < 1 or self.tries < 1:
            raise ValueError(
                f"most={self.most} and tries={self.tries}: 1 is the least, else no page "
                f"would ever be read"
            )


def reading_list(
    handler: Handler,
    settings: TodoistSettings,
    projects: list[str],
    *,
    most: int = 10,
    tries: int = 6,
    allow_private: bool = False,
    timeout: float = 30.0,
    max_bytes: int = 5 * 1024 * 1024,
) -> None:
    """Publish the article behind each link in the open tasks of Todoist projects, once.

    A page is fetched once for ever: what the store has is not asked for again, nor is
    the same link with another fragment or with `utm_source` and the like. At most
    `most` pages are fetched in a run, one after the other, and those of one host with a
    second between them; the rest has its turn in the next runs.

    A page that fails (404, a sign-in, no text, too slow, too large) is tried again after
    15 minutes, then 1, 4, 16 and 64 hours, and given up with the sixth try. What will
    never be an article, as a PDF, an address in your own network or a page that is Gone,
    is given up at once. A link that was taken off the list and comes back begins anew.

    The page is read in a process of its own, with limits of time and memory.

    Publishes:
        `archive_article`, identifier: the link in its normal form. The data is, for
        example, `{"url": "https://example.org/tea", "title": "Tea", "author": "Ann Lee",
        "published": "2026-01-05", "site": "Example", "language": "en", "summary": "All
        about tea.", "text": "Tea is hot.\\nIt is wet, too.", "truncated": false, "words":
        812, "paywall": false, "tags": ["drinks"], "task": {"id": "6X7rM8", "project_id":
        "6Jf8VQ", "content": "[Tea](https://example.org/tea)"}}`.

        `text` has a line for each paragraph, and 150,000 characters at most; otherwise
        it is `truncated`. `summary` is what the page says of itself, else its first
        sentences. `published` is null and `author` and `language` are empty where the
        page does not say; `paywall` is true where it says that it is not free. `tags`
        are the labels of the task. All texts are the web's: escape them before a browser
        sees them.

        `archive_failed` when a link is given up, identifier: the link, `@` and when it
        was first tried. Data: `{"url": "...", "reason": "status 404", "tries": 6, "task":
        {...}}`.

    Args:
        handler: fetches, remembers and publishes.
        settings: the account: `[todoist]`, or `TODOIST_TOKEN`.
        projects: their names or ids.
        most: pages in one run.
        tries: tries after which a link is given up.
        allow_private: whether links, and where they redirect, may lead to addresses in
            your own network.
        timeout: seconds to fetch a page, and again to read it.
        max_bytes: of a page at most.

    Raises:
        HttpError: Todoist cannot be asked, or refuses the token.
        ValueError: it has no such project, or an argument cannot be right.
    """
    if not projects:
        raise ValueError("projects is empty; give it the name of a project of Todoist")
    options = Options(most, tries, allow_private, timeout, max_bytes)
    found = [each for one in projects for each in of_project(handler, settings, one)]
    _read(handler, found, options)


def link_file(
    handler: Handler,
    file: Path,
    *,
    most: int = 10,
    tries: int = 6,
    allow_private: bool = False,
    timeout: float = 30.0,
    max_bytes: int = 5 * 1024 * 1024,
) -> None:
    """Publish the article behind each link in a text file, once.

    The file has one link per line. What follows a `#` that begins a line or stands after
    a space is a comment. All else is as `reading_list` does it.

    Publishes:
        `archive_article` and `archive_failed`, as `reading_list` does; `task` is null
        and there are no tags.

    Args:
        handler: fetches, remembers and publishes.
        file: the text file, in UTF-8.
        most: pages in one run.
        tries: tries after which a link is given up.
        allow_private: whether links may lead into your own network.
        timeout: seconds to fetch a page, and again to read it.
        max_bytes: of a page at most.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large to be a list of links, or an argument cannot be
            right.
    """
    options = Options(most, tries, allow_private, timeout, max_bytes)
    _read(handler, list(of_file(handler, file)), options)


# What is fetched when


def _read(handler: Handler, found: list[Found], options: Options) -> None:
    """Publish what is new among links; what fails is tried again in a later run."""
    links = list({each.name: each for each in reversed(found)}.values())[::-1]
    if len(links) > MAX_LINKS:
        handler.log.warning("of %d links the first %d are read", len(links), MAX_LINKS)
    memory = _remembered(handler, links[:MAX_LINKS])
    fetched: list[str] = []
    asked_to_wait: set[str] = set()
    for link in links[:MAX_LINKS]:
        if len(fetched) >= options.most or handler.stop_requested:
            break
        if link.host in asked_to_wait or not _is_due(handler, memory, link):
            continue
        if link.host in fetched and not handler.wait(POLITE):
            break
        fetched.append(link.host)
        if _archive(handler, memory, link, options):
            asked_to_wait.add(link.host)
        handler.checkpoint()  # a page is not asked for again because a later one failed


def _remembered(handler: Handler, links: list[Found]) -> dict[str, Any]:
    """Return what is known of links, by digest; those off the list are forgotten."""
    known = handler.state.get("links", {})
    kept = {key: known[key] for each in links if (key := _key(each)) in known}
    handler.state["links"] = kept
    return kept


def _is_due(handler: Handler, memory: dict[str, Any], link: Found) -> bool:
    """Return whether a link is to be fetched now."""
    noted = memory.get(_key(link))
    if noted is None:
        match = {"event_type": ("==", "archive_article"), "identifier": ("==", link.name)}
        if handler.query_events(match, limit=1):
            memory[_key(link)] = "done"
            return False
        return True
    return isinstance(noted, dict) and handler.clock.now() >= _moment(noted["next"])


def _archive(
    handler: Handler, memory: dict[str, Any], link: Found, options: Options
) -> bool:
    """Fetch a page and publish its article, or note that it failed.

    Returns:
        Whether the host wants to be left alone for a while.
    """
    try:
        data = {"url": link.url, **_article(handler, link.url, options)}
        data |= {"tags": link.tags, "task": link.task}
        handler.publish("archive_article", link.name, data)
        memory[_key(link)] = "done"
    except (HttpError, NoArticle, EventError) as error:
        wait = getattr(error, "retry_after", None) or 0.0
        never = isinstance(error, _Never | HttpRefusedError | EventError)
        tries = 1 if never else options.tries
        _note_failure(handler, memory, link, str(error), wait, tries)
        return bool(wait)
    return False


class _Never(NoArticle):
    """The page will never be one that can be read."""


def _article(handler: Handler, url: str, options: Options) -> dict[str, Any]:
    """Return the article at a URL.

    Raises:
        HttpError: the page cannot be had.
        NoArticle: there is no article in it.
    """
    answer = handler.http.get(
        url, guard=True, allow_private=options.allow_private, retries=0,
        timeout=options.timeout, max_bytes=options.max_bytes,
        headers={"Accept": "text/html, application/xhtml+xml;q=0.9"},
    )  # fmt: skip
    if answer.status_code == 410:
        raise _Never("status 410, it is gone for good")
    if not answer.ok:
        # What the server says beyond that is a web page.
        wait = getattr(answer, "retry_after", None)
        raise HttpError(
            f"status {answer.status_code}", answer.status_code, retry_after=wait
        )
    kind = answer.headers.get("Content-Type", "")
    name = kind.partition(";")[0].strip().lower()
    if name and name not in _WEB_PAGES:
        raise _Never(f"it is no web page, but {ascii(name)[1:-1][:80]}")
    left = handler.time_left
    seconds = options.timeout if left is None else max(0.0, min(options.timeout, left))
    return article_in(answer.content, kind, url, seconds)


def _note_failure(
    handler: Handler,
    memory: dict[str, Any],
    link: Found,
    why: str,
    wait: float,
    tries: int,
) -> None:
    """Remember when to try again, or give a link up and say so."""
    now, noted = handler.clock.now(), memory.get(_key(link)) or {}
    tried, first = noted.get("tries", 0) + 1, noted.get("first", now.isoformat())
    where = shown_url(link.url)
    if tried >= tries:
        data = {"url": link.url, "reason": why, "tries": tried, "task": link.task}
        name = link.name if len(link.name) < 990 else digest(link.name)
        handler.publish("archive_failed", f"{name}@{first}", data)
        handler.log.warning("%s is given up, try %d: %s", where, tried, why)
        memory[_key(link)] = "given up"
        return
    due = now + max(FIRST_WAIT * 4 ** (tried - 1), timedelta(seconds=wait))
    memory[_key(link)] = {"tries": tried, "first": first, "next": due.isoformat()}
    handler.log.info("%s is tried again at %s: %s", where, due.isoformat(), why)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _key(link: Found) -> str:
    return digest(link.name)[:20]
