"""Lists that a server hands out in pages: one after the other, all from the same host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from ..identity import MISSING, at_path
from .text import shown_url

_PORTS = {"http": 80, "https": 443}


class Page(NamedTuple):
    """One page, whole.

    Args:
        where: its URL, as it may be shown.
        document: the JSON of its body; None if there is no content.
    """

    where: str
    document: Any

    def items(self, path: str) -> list[Any]:
        """Return the items of the list at a dotted path.

        A single object counts as a list of one, null as an empty one.

        Args:
            path: as `data.items`; empty if the page itself is the list.

        Raises:
            ValueError: there are none where they should be.
        """
        found = at_path(self.document, path, MISSING)
        if isinstance(found, list):
            return found
        if isinstance(found, dict):
            return [found]
        if found is None:
            return []
        place = repr(path) if path else "the whole answer"
        if found is MISSING:
            raise ValueError(f"{self.where}: there is no {place} in the answer")
        raise ValueError(f"{self.where}: {place} is neither a list nor an object")


def pages_of(
    get: Callable[..., Any],
    url: str,
    most: int,
    *,
    next_page: str | None = None,
    unread: Callable[[str], object] = lambda sentence: None,
    **options: Any,
) -> Iterator[Page]:
    """Yield the pages of a list, each when it has been read as a whole.

    Args:
        get: asks for a URL, as `handler.http.get`; where it returns None, as
            `handler.http.get_if_changed` does, the pages end.
        url: of the first page; it may hold user and password.
        most: how many pages are read at most.
        next_page: the dotted path of the link to the next page in the answer, as
            `paging.next`; without it, that link is the header `Link` with rel="next"
            (RFC 8288). It must lead to the same host.
        unread: given a sentence if there are more pages than that.
        options: handed to `get`.

    Raises:
        HttpError: a page could not be had, or is not JSON.
        ValueError: the link to the next page cannot be followed.
    """
    asked: set[str] = set()
    here: str | None = url
    while here is not None and here not in asked:
        if len(asked) >= most:
            unread(
                f"{shown_url(url)}: there are more than pages={most} pages; "
                f"the others are not read"
            )
            return
        asked.add(here)
        answer = get(here, **options)
        if answer is None:
            return
        answer.raise_for_status()
        document = None if answer.status_code == 204 else answer.json()
        yield Page(shown_url(here), document)
        here = _following(url, answer, document, next_page)


def _following(url: str, answer: Any, document: Any, path: str | None) -> str | None:
    """Return the URL of the next page, None if there is none.

    Raises:
        ValueError: it is no URL, or at another host, which must not see our credentials.
    """
    link = _linked(answer) if path is None else at_path(document, path)
    if not link:
        return None
    try:
        if not isinstance(link, str):
            raise ValueError("it is no text")
        target, ours = urlsplit(urljoin(answer.url, link)), urlsplit(url)
        if _origin(target, ours.scheme) != _origin(ours, ours.scheme):
            raise ValueError("it is at another host")
        # Our own spelling of the host: it may hold user and password.
        followed = ours._replace(path=target.path, query=target.query, fragment="")
        return urlunsplit(followed)
    except ValueError as error:
        raise ValueError(
            f"{shown_url(url)}: the link to the next page cannot be followed: {error}"
        ) from error


def _linked(answer: Any) -> str | None:
    """Return the link in the header, if there is one (RFC 8288, section 3)."""
    for link in answer.links.values():
        if "next" in link.get("rel", "").lower().split():
            return str(link["url"])
    return None


def _origin(url: SplitResult, ours: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port.

    Servers behind a proxy that speaks https for them often write http into their links;
    that is taken for https if we came so.
    """
    scheme, port = url.scheme, url.port
    if (scheme, ours) == ("http", "https") and port in (None, 80):
        scheme, port = "https", None
    return scheme, url.hostname, port or _PORTS.get(scheme)
