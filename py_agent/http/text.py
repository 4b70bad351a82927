"""URLs and foreign errors as they may be shown: without credentials, on one line."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ..failures import printable

SHOWN = 200  # characters of a text that comes from elsewhere

Origin = tuple[str, str, int | None]

_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> Origin:
    """Return scheme, host and port of a URL: who may see a credential (RFC 6454).

    Raises:
        ValueError: the URL cannot be read.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").rstrip(".")
    return scheme, host, parts.port or _PORTS.get(scheme)


def shown_url(url: str) -> str:
    """Return a URL as it may be logged: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "a URL that cannot be read"
    hidden = "?..." if parts.query else ""
    return excerpt(f"{parts.scheme}://{host}{parts.path}{hidden}")


def excerpt(text: str) -> str:
    """Return the first characters of a text on one line."""
    return printable(text[:SHOWN].strip())


def causes(error: BaseException, context: bool = False) -> Iterator[BaseException]:
    """Yield an exception and all that it was made of, outermost first, each once.

    Args:
        error: the outermost.
        context: whether errors that were being handled count, too. They may be a
            caller's, and say nothing about what went wrong here.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [*each.args[:2], getattr(each, "reason", None)]
        waiting += [each.__cause__, each.__context__ if context else None]


def fit_to_keep(error: BaseException) -> BaseException | None:
    """Return the outermost part of a foreign error that tells no secret, if any.

    What is kept of a failed run holds the texts of all causes; urllib3 writes whole URLs
    into some of them.
    """
    return next((each for each in causes(error) if _is_clean(each)), None)


def _is_clean(error: BaseException) -> bool:
    parts = list(causes(error, context=True))
    if any(isinstance(each, ValueError) for each in parts):
        return False  # http.client quotes header values
    return not any("?" in str(each) or "@" in str(each) for each in parts)
