"""What is remembered of a URL between two polls, so that only what is new is fetched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping
from typing import Any

import requests

from .text import shown_url

MAX_VALIDATORS = 1_000  # URLs whose state is kept

_VALIDATOR = re.compile(r"[ -~]{1,1000}")  # what may be sent back in a header


def key_of(request: requests.Request) -> str:
    """Return the name under which a URL's state is stored, without its secrets."""
    try:
        url = request.prepare().url or ""
    except (requests.RequestException, ValueError):
        return ""  # the request itself will say what is wrong
    shown = shown_url(url)
    if shown == url:
        return url
    return f"{shown}#{hashlib.sha256(url.encode()).hexdigest()[:32]}"


def conditions(known: Any) -> dict[str, str]:
    """Return the headers that ask only for what is new.

    Args:
        known: the state of a URL; what makes no sense in it is left out.
    """
    known = known if isinstance(known, dict) else {}
    names = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
    return {
        header: known[name]
        for name, header in names.items()
        if isinstance(known.get(name), str) and _VALIDATOR.fullmatch(known[name])
    }


def validators_of(answer: requests.Response) -> dict[str, str]:
    """Return what identifies an answer's content (RFC 9110, section 8.8)."""
    found = {
        "etag": answer.headers.get("ETag", "").strip(),
        "last_modified": answer.headers.get("Last-Modified", "").strip(),
    }
    return {name: value for name, value in found.items() if _VALIDATOR.fullmatch(value)}


def is_same(known: Any, found: dict[str, str]) -> bool:
    """Return whether an answer is the one that is known, though it is no 304.

    Only its ETag can prove that: a page may change twice in the second of its date.
    """
    return (
        isinstance(known, dict) and "etag" in found and found["etag"] == known.get("etag")
    )


def remember(state: MutableMapping[str, Any], key: str, found: dict[str, str]) -> None:
    """Replace the state of a URL; the oldest of too many is forgotten."""
    state.pop(key, None)
    if found:
        state[key] = found
    while len(state) > MAX_VALIDATORS:
        state.pop(next(iter(state)))
