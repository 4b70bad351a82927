"""Where a WebSocket is and how it is read, checked before anything is sent."""

from __future__ import annotations

import math
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from ..http.text import shown_url


@dataclass
class Server:
    """Where to connect, and with what limits; the words are those of `websocket_reader`.

    Raises:
        ValueError: one of them is wrong.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None
    connect_timeout: float = 10
    ping_every: float = 20
    pong_timeout: float = 10
    max_message: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "ping_every", "pong_timeout", "max_message"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: more than 0, not {getattr(self, name)!r}")
        parts = _checked(self.url)
        self.url = parts.geturl()  # with its scheme in small letters
        self.shown = shown_url(self.url)
        self.sent = _header_lines(self.headers, parts)
        self.tls = _tls(self.ca) if parts.scheme == "wss" else None


def _checked(url: str) -> SplitResult:
    """Return the parts of a URL; no error shows it, as it may hold a password."""
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("url: it holds a space or a control character")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("url: it cannot be read; write it like wss://host/path")
    if parts.scheme not in ("ws", "wss"):
        raise ValueError(f"url: it must begin with ws:// or wss://, not {parts.scheme}://")
    return parts


def _header_lines(headers: dict[str, str], parts: SplitResult) -> list[str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\x00-\x1f\x7f]", value):
            raise ValueError(f"headers: {name!r} or its value holds a forbidden character")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    known = {name.lower() for name in headers}
    if parts.username is not None and "authorization" not in known:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {b64encode(secret.encode()).decode()}")
    return lines


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ValueError(f"ca: {ca} cannot be used: {error.strerror}") from error
