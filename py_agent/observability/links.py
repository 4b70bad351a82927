"""The links that Observability takes, and which of the others are left out."""

from __future__ import annotations

import re
from typing import Any

from .values import shown, text

_LINK = re.compile(r"(?P<scheme>[a-z]+)://(?P<place>[^/?#]*)(?P<rest>.*)", re.I | re.S)
_PORT = re.compile(r":\d+\Z", re.ASCII)
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_IPV6 = re.compile(r"\[[A-F0-9]*:[A-F0-9:]+\]", re.I | re.ASCII)
_USER = re.compile(r"\A(?:[\w.~!$&'()*+,;=:-]|%[0-9A-F]{2})*@", re.I | re.ASCII)
_LABEL = re.compile(r"[A-Z0-9](?:[A-Z0-9-]{0,61}[A-Z0-9])?", re.I | re.ASCII)
_LAST_LABEL = re.compile(r"[A-Z0-9-]{2,}", re.I | re.ASCII)
_INNER_HOST = re.compile(r"[A-Z0-9_](?:[A-Z0-9_.-]*[A-Z0-9_])?\.?", re.I | re.ASCII)
_SCHEMES = ("http", "https", "ftp", "ftps")


def link(value: Any) -> tuple[str | None, str]:
    """Return a link, or None with a notice where the server does not take its host.

    Hosts without a dot are common inside a company; that the link is left out is less of
    a loss than that the whole event is refused. A message never shows the link, which
    may hold a password.

    Raises:
        ValueError: it is no link, or wrong in more than its host.
    """
    given = text(value, 1, None)
    found = _LINK.fullmatch(given)
    if found is None or found["scheme"].lower() not in _SCHEMES:
        raise ValueError(f"must be a link that begins with one of {', '.join(_SCHEMES)}")
    if re.search(r"\s", given):
        raise ValueError("must be a link without blanks")
    host = _PORT.sub("", _USER.sub("", found["place"], count=1))
    if found["rest"].startswith("#") or found["rest"] == "?":
        raise ValueError("must be a link with a / or a query after its host")
    if _is_host(host):
        return given, ""
    if not _INNER_HOST.fullmatch(host):
        raise ValueError("must be a link whose host is localhost, an IP or has a dot")
    return None, f"is left out, as the host {shown(host, 40)} is not taken by the server"


def _is_host(host: str) -> bool:
    """Return whether the server takes a host."""
    if host.lower() == "localhost" or _IPV4.fullmatch(host) or _IPV6.fullmatch(host):
        return True
    *labels, last = host.removesuffix(".").split(".")
    known = all(_LABEL.fullmatch(each) for each in labels)
    return bool(labels) and known and _LAST_LABEL.fullmatch(last) is not None
