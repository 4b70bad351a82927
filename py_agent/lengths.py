"""Lengths of time in the words of a user: `"10 minutes"`, `"1h"`, seconds, a timedelta."""

from __future__ import annotations

import re

from .errors import RegistrationError
from .retry import Seconds, seconds

UNITS = {
    "second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800,
}  # fmt: skip
_SHORT = {
    "s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour",
    "d": "day", "w": "week",
}  # fmt: skip


def parse_length(every: str | Seconds, what: str) -> float:
    """Return the seconds of `"10 minutes"`, a number of seconds or a timedelta.

    Args:
        every: the length of time.
        what: the name of the argument, for the error.

    Raises:
        UsageError: it is none.
    """
    if isinstance(every, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", every.lower())
        unit = found[2] if found else ""
        short = _SHORT.get(unit) if found and found[1] else None
        unit = short or unit.removesuffix("s")
        if not found or unit not in UNITS:
            raise RegistrationError(
                f"{what}: {every!r} is no length of time; "
                f"write for example '30 seconds', '10 minutes', '1 hour' or '2 days'"
            )
        return seconds(float(found[1] or 1) * UNITS[unit], what)
    return seconds(every, what)
