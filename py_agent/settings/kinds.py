"""Kinds of arguments that are checked as soon as agent.toml is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _with_scheme(*schemes: str) -> Callable[[str], str]:
    def check(url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme.lower() in schemes and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"it must be a URL like {schemes[-1]}://host/path")
        return url

    return check


WebUrl = Annotated[str, AfterValidator(_with_scheme("http", "https"))]
SocketUrl = Annotated[str, AfterValidator(_with_scheme("ws", "wss"))]
