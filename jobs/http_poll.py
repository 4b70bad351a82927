"""A job that asks a URL for JSON and publishes what is new in the answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import SecretStr

from py_agent import BearerAuth, EventError, Handler, identifier_of, pages_of, shown_url
from py_agent.settings import WebUrl


def http_poll(
    handler: Handler,
    url: WebUrl,
    event_type: str,
    identifier: str | list[str] | None = None,
    items: str = "",
    *,
    pages: int = 1,
    next_page: str | None = None,
    headers: dict[str, str] | None = None,
    token: SecretStr | str | None = None,
    auth: Any = None,
    timeout: float = 30.0,
    max_bytes: int = 10 * 1024 * 1024,
) -> None:
    """Publish an event for each item of a JSON answer that was not seen before.

    A page is published when it has been read as a whole; if it fails, so does the run,
    and the next run begins anew: what is in the store already is not published twice.
    One page (`pages=1`) is asked for only if it has changed (ETag, Last-Modified). With
    more, all are read each time, as an unchanged first page says nothing of the second.

    Publishes:
        `event_type`, the item's own identifier, and the item as it is. With the answer
        `{"data": {"items": [{"id": 7, "name": "a"}]}}`, `items="data.items"` and
        `identifier="id"`, that is the identifier `7` with `{"id": 7, "name": "a"}`.

        Several fields make each change an event: `identifier=["id", "updated_at"]`
        gives `7@2026-01-05T12:00:00Z`. Without any, the content is the identifier, as
        its SHA-256.

    Args:
        handler: fetches and publishes.
        url: http or https; it may hold user and password.
        event_type: the type of the events.
        identifier: the dotted path of the field in an item, as `id` or `meta.key`, or
            a list of them, of which the first must be there. An item without it is
            left out, and the log says so.
        items: the dotted path of the list in the answer, as `data.items`; empty if the
            answer itself is the list. A single object counts as a list of one, null as
            an empty one.
        pages: how many pages are read at most. The link to the next one is the header
            `Link` with rel="next" (RFC 8288); it must lead to the same host.
        next_page: the dotted path of that link in the answer, as `paging.next`, for
            servers that have it there.
        headers: sent along.
        token: sent as `Authorization: Bearer`.
        auth: user and password as a pair, or what `requests` takes as `auth`, as
            `py_agent.HeaderAuth` and `py_agent.ClientCredentials`.
        timeout: seconds for each page, all in all.
        max_bytes: of each page at most.

    Raises:
        HttpError: a page could not be had, or is not JSON.
        ValueError: the answer is not as the arguments say, or all items are left out.
    """
    if pages < (1 if next_page is None else 2):
        raise ValueError(f"pages={pages} is too few; 1 is the least, with next_page 2")
    if token is not None and auth is not None:
        raise ValueError("token and auth are two ways to say who asks; give one of them")
    fields = [identifier] if isinstance(identifier, str) else list(identifier or [])
    options = {
        "headers": headers, "auth": _auth(token, auth), "timeout": timeout,
        "max_bytes": max_bytes,
    }  # fmt: skip
    # Who asks for one page may well want the newest items only.
    level = logging.INFO if pages == 1 else logging.WARNING
    get = handler.http.get_if_changed if pages == 1 else handler.http.get
    seen, left_out = 0, 0
    unread = partial(handler.log.log, level, "%s")
    for page in pages_of(get, url, pages, next_page=next_page, unread=unread, **options):
        found = page.items(items)
        problems = _publish(handler, event_type, found, fields)
        seen, left_out = seen + len(found), left_out + len(problems)
        if problems:
            handler.log.warning(
                "%s: %d of %d items are left out; the first, as %s",
                page.where, len(problems), len(found), problems[0],
            )  # fmt: skip
    if left_out and left_out == seen:
        raise ValueError(
            f"{shown_url(url)}: none of the {seen} items could be published, "
            f"the last one as {problems[-1]}"
        )


def _auth(token: SecretStr | str | None, auth: Any) -> Any:
    if token is not None:
        return BearerAuth(token)
    if isinstance(auth, list | tuple):  # a list is what agent.toml has for a pair
        return tuple(
            each.get_secret_value() if isinstance(each, SecretStr) else each
            for each in auth
        )
    return auth


def _publish(
    handler: Handler, event_type: str, items: Sequence[Any], fields: Sequence[str]
) -> list[str]:
    """Publish items; return why some were not."""
    problems = []
    for item in items:
        name = identifier_of(item, fields)
        if name is None:
            problems.append(f"it has no {fields[0]!r}")
            continue
        try:
            handler.publish(event_type, name, item)
        except EventError as error:
            problems.append(str(error))
    return problems
