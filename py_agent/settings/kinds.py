"""Kinds of arguments that are checked as soon as agent.toml is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from .mistakes import UNUSABLE_TOKEN


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


def _sendable(token: SecretStr) -> SecretStr:
    text = token.get_secret_value().strip()  # files end with a line break
    if not text:
        raise PydanticCustomError(UNUSABLE_TOKEN, "it is empty")
    if not re.fullmatch("[!-~]+", text):
        raise PydanticCustomError(
            UNUSABLE_TOKEN,
            "it is no token, which has only ASCII letters, digits and signs, and no blanks",
        )
    return token


Token = Annotated[SecretStr, AfterValidator(_sendable)]
WebUrl = Annotated[str, AfterValidator(_with_scheme("http", "https"))]
SocketUrl = Annotated[str, AfterValidator(_with_scheme("ws", "wss"))]
