"""The values that Observability takes: one function for each rule, pure.

Each takes what a user gave and returns what is sent, a plain JSON value, or raises
ValueError with the rest of a sentence that begins with the field's name. `numbers` and
`links` hold the rules of theirs.

The server's rules are not the usual ones: text is counted in code points, numbers may be
text but never the other way round, and a time or a link has fewer forms than ISO 8601
and URLs have. What the server takes and then cannot store is refused here as well.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..errors import EventError
from ..json_text import encode, is_unicode, refuse_deep

MAX_BYTES = 102_400  # of an event as JSON; the server answers 413 to one byte more
MAX_DEPTH = 30  # levels of metadata; the server's databases end at 32 or at 100
SHOWN = 80  # characters of a value that a message may quote
LAST_PLAIN = "\uffff"  # the server's tables hold no character beyond it

_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
    r"(?P<zone>Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)


def shown(value: Any, most: int = SHOWN) -> str:
    """Return a value as a message may show it: printable, on one line and short."""
    text = value[: most + 1] if isinstance(value, str) else repr(value)[: most + 1]
    if len(text) > most:
        text = text[: most - 3] + "..."
    safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return safe if len(safe) <= most else safe[: most - 3] + "..."


def text(value: Any, least: int, most: int | None, plain: bool = False) -> str:
    """Return a text whose length is within limits, counted in code points.

    Args:
        value: what was given.
        least: characters at least.
        most: characters at most, None for any number.
        plain: whether characters beyond U+FFFF are refused, as in names and keys.

    Raises:
        ValueError: it is no text, too short or too long, or cannot be stored.
    """
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {kind(value)}")
    if len(value) < least:
        raise ValueError(f"must have at least {least} character{'s' * (least > 1)}")
    if most is not None and len(value) > most:
        raise ValueError(f"has {len(value):,} characters, at most {most:,} are allowed")
    if not is_unicode(value):
        raise ValueError("holds half of a character (an unpaired surrogate)")
    if plain and max(value, default="") > LAST_PLAIN:
        raise ValueError("holds a character beyond U+FFFF (an emoji?); it would be lost")
    return str.__str__(value)


def kind(value: Any) -> str:
    """Return what a value is, in words."""
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", int: "a number", float: "a number",
             dict: "an object", list: "a list", bytes: "bytes"}  # fmt: skip
    return names.get(type(value), shown(type(value).__name__))


def choice(value: Any, words: Iterable[str]) -> str:
    """Return one of some upper-case words, given in any letter case but not trimmed.

    Raises:
        ValueError: it is none of them.
    """
    known = tuple(words)
    if not isinstance(value, str):
        raise ValueError(f"must be one of {', '.join(known)}, not {kind(value)}")
    if value.upper() not in known:
        raise ValueError(f"must be one of {', '.join(known)}, not {shown(value, 40)!r}")
    return value.upper()


def tool(value: Any) -> tuple[str, str]:
    """Return a tool's name as the server stores it, and a notice if it was mended.

    Returns:
        The name, and "" where the server would have made the same of it.

    Raises:
        ValueError: it is no text, too long, or nothing is left of it.
    """
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {kind(value)}")
    usual = value.strip().upper().replace(" ", "_")
    other = re.sub(rf"[^\w]|[^\0-{LAST_PLAIN}]", "_", usual)
    mended = other.strip("_")
    if not mended:
        raise ValueError("must have a letter or a digit; others are letters, digits and _")
    mended = text(mended, 1, 255, plain=True)
    return mended, "" if mended == usual else f"is sent as {shown(mended, 40)}"


def time(value: Any) -> tuple[str, str]:
    """Return a moment as ISO 8601 text with a zone, and a notice if it had none.

    Args:
        value: text in one of the server's forms, or a datetime.

    Returns:
        The text, and "" where it had a zone.

    Raises:
        ValueError: it is no moment, or not in a form that the server reads.
    """
    written = _iso(value) if isinstance(value, datetime) else value
    found = _TIME.fullmatch(written) if isinstance(written, str) else None
    if found is None or not _is_day(found["day"]):
        raise ValueError(_no_time(value))
    if found["zone"]:
        return found[0], ""
    return f"{written}+00:00", "has no time zone and is sent as UTC"


def _is_day(written: str) -> bool:
    try:
        date.fromisoformat(written)
    except ValueError:
        return False
    return True


def _iso(moment: datetime) -> str:
    """Return a datetime as text; zones of odd seconds, as long ago, become UTC."""
    offset = moment.utcoffset()
    try:
        if offset is not None and offset.total_seconds() % 60:
            moment = moment.astimezone(UTC)
        return moment.isoformat()
    except OverflowError:
        return ""


def _no_time(value: Any) -> str:
    quoted = f"{shown(value, 40)!r}" if isinstance(value, str) else kind(value)
    return f"must be a time like 2026-01-31T08:15:00Z, not {quoted}"


def one(value: Any) -> int:
    """Return the only version there is of TestGen's data: the number 1.

    Raises:
        ValueError: it is another number or none.
    """
    known = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not known or value != 1:
        raise ValueError("must be the number 1")
    return 1


def uuid(value: Any) -> str:
    """Return a UUID as text.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, UUID):
        return str(value)
    try:
        UUID(text(value, 1, SHOWN))
    except ValueError:
        raise ValueError("must be a UUID") from None
    return str.__str__(value)


def yes_no(value: Any) -> bool:
    """Return true or false.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {kind(value)}")
    return value


def metadata(value: Any) -> dict[str, Any]:
    """Return an object of any JSON inside, as a copy; `json_text` says what has a form.

    Raises:
        ValueError: it is no object, nested too deeply, or not JSON, as NaN.
    """
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {kind(value)}")
    try:
        refuse_deep(value, MAX_DEPTH)
        written = encode(value, limit=sys.maxsize)
        found: dict[str, Any] = json.loads(written)
        refuse_deep(found, MAX_DEPTH)
    except RecursionError:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep") from None
    except EventError as error:
        reason = str(error).replace("data", "metadata", 1)
        raise ValueError(f"is not JSON: {shown(reason, 150)}") from None
    if "\\u" in written and not is_unicode(json.dumps(found, ensure_ascii=False)):
        raise ValueError("holds half of a character (an unpaired surrogate)")
    return found
