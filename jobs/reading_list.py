"""Jobs that read the pages behind links, from Todoist or a file, and publish articles."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from jobs.reading_list_links import Found, of_file, of_project
from jobs.reading_list_memory import (
    due_since,
    is_due,
    key_of,
    note_failure,
    note_unreached,
    remembered,
)
from jobs.reading_list_page import NoArticle, article_in
from jobs.todoist_account import TodoistSettings
from py_agent import EventError, Handler, HttpError, HttpRefusedError

if find_spec("trafilatura") is None:
    raise ImportError("jobs.reading_list needs: pip install 'py-agent[articles]'")

MAX_LINKS = 10_000  # of one list, so that what is remembered of them stays small
POLITE = 1.0  # seconds between two pages of one host

MOST_UNREACHED = 3  # hosts; after them it is this machine that is offline

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Projects = Annotated[list[str], Field(min_length=1)]

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
    projects: Projects,
    *,
    most: Count = 10,
    tries: Count = 6,
    allow_private: bool = False,
    timeout: Seconds = 30.0,
    max_bytes: Count = 5 * 1024 * 1024,
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
    _read(handler, found, options, is_online=True)  # Todoist has answered


def link_file(
    handler: Handler,
    file: Path,
    *,
    most: Count = 10,
    tries: Count = 6,
    allow_private: bool = False,
    timeout: Seconds = 30.0,
    max_bytes: Count = 5 * 1024 * 1024,
) -> None:
    """Publish the article behind each link in a text file, once.

    The file has one link per line. What follows a `#` that begins a line or stands after
    a space is a comment. All else is as `reading_list` does it. While no page at all can
    be reached, no try is counted: this machine is offline.

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
    _read(handler, list(of_file(handler, file)), options, is_online=False)


# What is fetched when


def _read(handler: Handler, found: list[Found], options: Options, is_online: bool) -> None:
    """Publish what is new among links; what fails is tried again in a later run."""
    links = list({each.name: each for each in reversed(found)}.values())[::-1]
    if len(links) > MAX_LINKS:
        handler.log.warning("of %d links the first %d are read", len(links), MAX_LINKS)
    links = links[:MAX_LINKS]
    memory = remembered(handler, links)
    links.sort(key=lambda each: due_since(memory.get(key_of(each))))
    _Reading(handler, memory, options, is_online).read(links)


class _Reading:
    """Reads what is due of the links, in one run.

    Args:
        handler: fetches, remembers and publishes.
        memory: what is known of links, by digest.
        options: how pages are read.
        is_online: whether the internet was reached in this run.
    """

    def __init__(
        self, handler: Handler, memory: dict[str, Any], options: Options, is_online: bool
    ) -> None:
        self._handler = handler
        self._memory = memory
        self._options = options
        self._is_online = is_online
        self._left_alone: set[str] = set()  # hosts
        self._unreached: list[tuple[Found, HttpError]] = []  # until one is reached

    def read(self, links: list[Found]) -> None:
        """Fetch one page after the other, until it is enough for a run."""
        handler, fetched = self._handler, list[str]()
        for link in links:
            if len(fetched) >= self._options.most or handler.stop_requested:
                break
            if len(self._unreached) >= MOST_UNREACHED:
                break
            if link.host in self._left_alone or not is_due(handler, self._memory, link):
                continue
            if link.host in fetched and not handler.wait(POLITE):
                break
            fetched.append(link.host)
            self._take(link)
            handler.checkpoint()  # a page is not asked for again because a later one failed
        if self._unreached:
            handler.log.warning(
                "nothing could be reached, so no try is counted: %s", self._unreached[-1][1]
            )

    def _take(self, link: Found) -> None:
        """Archive a page, or note why not."""
        error = _archive(self._handler, self._memory, link, self._options)
        if getattr(error, "retry_after", None):
            self._left_alone.add(link.host)
        if _is_unreached(error) and not self._is_online:
            # Is it the page, or this machine? The next ones will tell.
            assert isinstance(error, HttpError)
            self._left_alone.add(link.host)
            self._unreached.append((link, error))
            note_unreached(self._handler, self._memory, link)
            return
        if error is not None:
            self._note(link, error)
        if not isinstance(error, HttpRefusedError):
            self._is_online = True
            for each in self._unreached:
                self._note(*each)
            self._unreached.clear()

    def _note(self, link: Found, error: Exception) -> None:
        wait = getattr(error, "retry_after", None) or 0.0
        never = isinstance(error, _Never | HttpRefusedError | EventError)
        tries = 1 if never else self._options.tries
        note_failure(self._handler, self._memory, link, str(error), wait, tries)


def _is_unreached(error: Exception | None) -> bool:
    """Return whether no server was reached, be it that it or this machine is offline."""
    if not isinstance(error, HttpError) or isinstance(error, HttpRefusedError):
        return False
    return error.status is None and not error.sent


def _archive(
    handler: Handler, memory: dict[str, Any], link: Found, options: Options
) -> Exception | None:
    """Fetch a page and publish its article; return why there is none."""
    try:
        data = {"url": link.url, **_article(handler, link.url, options)}
        data |= {"tags": link.tags, "task": link.task}
        handler.publish("archive_article", link.name, data)
    except (HttpError, NoArticle, EventError) as error:
        return error
    memory[key_of(link)] = "done"
    return None


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
    return article_in(handler, answer.content, kind, url, seconds)
