"""What of a request may be a credential, and texts in which it is hidden."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from requests import PreparedRequest

TELLING = 4  # characters; what is shorter tells nothing, and would blank whole texts
LONG = 8  # characters that a key in a query has at least
SCHEMES = {"bearer", "basic", "token"}

# Headers that go along to another host, as they cannot hold a credential.
HARMLESS = frozenset(
    """accept accept-charset accept-encoding accept-language cache-control connection
    content-encoding content-language content-length content-type if-match
    if-modified-since if-none-match if-unmodified-since proxy-authorization range
    transfer-encoding user-agent""".split()
)

_SEPARATORS = re.compile(r"[\s/?&=:@;,]+")


def secret_headers(request: PreparedRequest) -> list[str]:
    """Return the headers of a request that may hold a credential."""
    return [name for name in request.headers if name.lower() not in HARMLESS]


def hide_secrets(text: str, request: PreparedRequest) -> str:
    """Return a text, such as what a server answered, without what it was sent."""
    return without(text, _secrets(request))


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which secrets and their parts are hidden."""
    whole = set(secrets)
    parts = {part for each in whole for part in _SEPARATORS.split(each)}
    for part in sorted(whole | parts, key=len, reverse=True):
        if len(part) >= TELLING and part.lower() not in SCHEMES:
            text = text.replace(part, "***")
    return text


def _secrets(request: PreparedRequest) -> Iterator[str]:
    for name in secret_headers(request):
        value = request.headers[name]
        yield value if isinstance(value, str) else value.decode("latin-1")
        yield from _basic(str(value))
    parts = urlsplit(request.url or "")
    for secret in (parts.netloc.rpartition("@")[0], *_values(parts.query)):
        yield secret
        yield unquote(secret)


def _values(query: str) -> Iterator[str]:
    """Yield the values that are long enough for a key, as most values are none."""
    for pair in query.split("&"):
        if len(value := pair.partition("=")[2]) >= LONG:
            yield value


def _basic(value: str) -> Iterator[str]:
    """Yield user and password of basic authorization (RFC 7617), if it is that."""
    kind, _, packed = value.partition(" ")
    if kind.lower() == "basic":
        try:
            yield base64.b64decode(packed).decode()
        except (binascii.Error, ValueError):
            return
