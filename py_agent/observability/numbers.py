"""The numbers that Observability takes: text that Python reads as one is a number, too."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from .values import MAX_BYTES, kind, shown, text


def number(value: Any) -> int | float | str:
    """Return a number; numeric text stays as it is, and a Decimal becomes text.

    Raises:
        ValueError: it is no finite number, or too long when written out in full, as the
            server does.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError(f"must be a number, not {kind(value)}")
    try:
        plain = _plain(value)
        found = _read(plain)
    except (ArithmeticError, ValueError):
        quoted = f", not {shown(value, 40)!r}" if isinstance(value, str) else ""
        raise ValueError(f"must be a number that can be written down{quoted}") from None
    if not found.is_finite():
        raise ValueError("must be a finite number")
    if _length(found) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} digits when written out")
    return plain


def _plain(value: int | float | str | Decimal) -> int | float | str:
    """Return a number or numeric text as plain JSON.

    Raises:
        ValueError: an integer of more digits than are written in decimal.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    return str(value) if isinstance(value, Decimal) else int(str(int(value)))


def _read(value: int | float | str) -> Decimal:
    """Return a number as the server reads it, which makes text of it first.

    Raises:
        ArithmeticError: it is no number.
        ValueError: it is not even text that can be written down.
    """
    return Decimal(str(value))


def _length(finite: Decimal) -> int:
    """Return the digits of a number without writing it out, which may take gigabytes."""
    _, digits, exponent = finite.as_tuple()
    return len(digits) + abs(int(exponent))


def number_or_text(value: Any) -> int | float | str:
    """Return the value of a parameter of a test: a number, or any text.

    Raises:
        ValueError: it is neither, or a number that the server turns into infinity.
    """
    if isinstance(value, str):
        text(value, 1, None)
    try:
        plain = number(value)
    except ValueError:
        if not isinstance(value, str) or _is_endless(value):
            raise
        return str.__str__(value)
    if _is_endless(plain):
        raise ValueError("must be a number of at most 308 digits")
    return plain


def _is_endless(value: int | float | str) -> bool:
    """Return whether the server would read a finite number as infinity."""
    try:
        found = _read(value)
    except (ArithmeticError, ValueError):
        return False
    return found.is_finite() and math.isinf(float(found))


def whole(value: Any) -> int:
    """Return a whole number.

    Raises:
        ValueError: it is none, or of more digits than are written in decimal.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {kind(value)}")
    return int(number(value))
