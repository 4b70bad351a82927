"""When a request may be sent again, and how long the server asks us to wait before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 3600.0  # seconds; no server makes us wait longer
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # asking twice changes nothing there

_PASSING = frozenset({429, 500, 502, 503, 504})
_LIMITED = frozenset({403, 429})  # statuses with which servers limit rates
_LIMITS = ("X-RateLimit", "X-Rate-Limit", "RateLimit")
_EPOCH = 1_000_000_000  # a reset above this is a moment, not a duration
_MILLISECONDS = 100_000_000_000  # and above this one in milliseconds


def is_worth_retrying(status: int, asked: float | None) -> bool:
    """Return whether an answer may be another one later.

    Args:
        status: the HTTP status.
        asked: what `asked_wait` returned for it.
    """
    return status in _PASSING or (status == 403 and asked is not None)


def asked_wait(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that a server asks us to wait, at most an hour.

    Args:
        status: the HTTP status; a success asks for nothing.
        headers: of the answer; their names in any case.
        now: the present moment, aware.

    Returns:
        What Retry-After says (RFC 9110, section 10.2.3), else when the rate limit is
        reset; None if neither is there or makes sense.
    """
    if status < 400:
        return None
    wait = _retry_after(headers.get("Retry-After", ""), now)
    if wait is None and status in _LIMITED:
        wait = _until_reset(status, headers, now)
    return None if wait is None else min(wait, LONGEST)


def _retry_after(value: str, now: datetime) -> float | None:
    seconds = _number(value)
    if seconds is not None:
        return seconds if seconds >= 0 else None
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _until_reset(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds until the rate limit ends, where it is used up."""
    for name in _LIMITS:
        remaining = _number(headers.get(f"{name}-Remaining", ""))
        reset = _number(headers.get(f"{name}-Reset", ""))
        used_up = remaining == 0 or (remaining is None and status == 429)
        if used_up and reset is not None and reset >= 0:
            if reset > _MILLISECONDS:
                reset /= 1_000
            return max(0.0, reset - now.timestamp()) if reset > _EPOCH else reset
    return None


def _number(text: str) -> float | None:
    """Return a decimal number as it stands in a header, None for anything else."""
    text = text.strip()
    digits = text.removeprefix("-").replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()):
        return None
    return float(text[:30])
