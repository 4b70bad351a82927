"""Check what is reported to Observability before it is sent: the wire contract.

    run = {"pipeline_key": "sales", "run_key": "2026-01-31"}
    body = encode(validate("run-status", {**run, "status": "failed"}))

The server refuses an event for one wrong field, and takes some that break it later. So an
event is checked where it is made, by the server's own rules, and the error names the
field that the server would name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from ..errors import ContractError as ContractError
from .events import DatasetOperation, Heartbeat, MessageLog, MetricLog, RunStatus
from .fields import Check, Fault, Part
from .outcomes import MAX_OUTCOMES, TestOutcomes
from .values import MAX_BYTES as MAX_BYTES
from .values import shown

logger = logging.getLogger("py_agent.observability")

_MODELS: dict[str, type[Part]] = {
    "run-status": RunStatus,
    "dataset-operation": DatasetOperation,
    "message-log": MessageLog,
    "metric-log": MetricLog,
    "test-outcomes": TestOutcomes,
    "heartbeat": Heartbeat,
}
EVENT_TYPES = tuple(each for each in _MODELS if each != "heartbeat")

# The server refuses null for these, where leaving them out says the same.
_NEVER_NULL = ("event_timestamp", "metadata", "payload_keys")
_ENOUGH = 400  # characters of a message; what is wrong besides is counted

Wire = dict[str, Any]


def validate(event_type: str, payload: Any) -> Wire:
    """Check a payload, and return it as it is sent; the payload is left as it is.

    What was mended is logged. The rules are the server's, and those about several fields
    are looked at only when each field is right.

    Args:
        event_type: one of EVENT_TYPES, or "heartbeat".
        payload: the fields by the contract's names. Times may be datetimes, numbers
            Decimals; metadata may hold what `json_text` has a form for.

    Returns:
        A new dictionary of JSON values only.

    Raises:
        ContractError: the server would refuse or lose it; all faults are in the message.
    """
    wire, notices = normalised(event_type, payload)
    for notice in notices:
        logger.info("%s: %s", event_type, notice)
    return wire


def normalised(event_type: str, payload: Any) -> tuple[Wire, list[str]]:
    """Do the work of `validate`, and return what was mended instead of logging it.

    Returns:
        What is sent, and one sentence for each field that was mended.

    Raises:
        ContractError: the server would refuse or lose it; all faults are in the message.
    """
    check = Check()
    wire = _checked(event_type, payload, check)
    if event_type in EVENT_TYPES:
        _refuse_large(event_type, len(encode(wire)))
    return wire, check.notices


def encode(wire: Wire) -> bytes:
    """Return the body of a request: compact JSON in UTF-8.

    Raises:
        ValueError: NaN, infinity or half of a character, which `validate` never returns.
    """
    compact = json.dumps(wire, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return compact.encode()


def split(payload: Any) -> list[Wire]:
    """Make several payloads of test-outcomes that are too many or too large for one.

    Each keeps all other fields, has its outcomes in the order given, and passes
    `validate`.

    Args:
        payload: the fields of test-outcomes; left as it is.

    Returns:
        The payloads; the one given is the only item when it needs no split.

    Raises:
        ContractError: the payload is wrong, or one outcome alone is too large.
    """
    wire = _checked("test-outcomes", payload, Check(any_length=True))
    outcomes = wire["test_outcomes"]
    room = MAX_BYTES - len(encode({**wire, "test_outcomes": []}))
    sizes = [len(encode(each)) for each in outcomes]
    spans = list(_spans(sizes, room))
    if len(spans) == 1:
        return [payload]
    given = list(payload["test_outcomes"])
    return [{**payload, "test_outcomes": given[start:end]} for start, end in spans]


def _spans(sizes: list[int], room: int) -> Iterator[tuple[int, int]]:
    """Yield where each payload begins and ends, as full as the limits allow."""
    start, used = 0, 0
    for index, size in enumerate(sizes):
        if size > room:
            raise _refusal(
                "test-outcomes", [("test_outcomes", _too_large(index, size, room))]
            )
        comma = 1 if index > start else 0
        if index - start == MAX_OUTCOMES or used + comma + size > room:
            yield start, index
            start, used, comma = index, 0, 0
        used += comma + size
    yield start, len(sizes)


def _too_large(index: int, size: int, room: int) -> str:
    if room <= 0:
        return f"has no room, as the other fields fill all {MAX_BYTES:,} bytes"
    return f"item {index} has {size:,} bytes as JSON, and {room:,} are left for it"


def _refuse_large(event_type: str, size: int) -> None:
    if size > MAX_BYTES:
        reason = f"the event has {size:,} bytes as JSON, at most {MAX_BYTES:,} are allowed"
        if event_type == "test-outcomes":
            reason += "; split() makes several payloads of it"
        raise _refusal(event_type, [("_schema", reason)])


def _checked(event_type: str, payload: Any, check: Check) -> Wire:
    """Return what is sent of a payload of any size.

    Raises:
        ContractError: a field is wrong, or there is no such event type.
    """
    model = _MODELS.get(event_type) if isinstance(event_type, str) else None
    if model is None:
        reason = f"there is no such event type, use one of {', '.join(_MODELS)}"
        raise _refusal(shown(event_type, 40), [("event_type", reason)])
    if event_type in EVENT_TYPES and isinstance(payload, dict):
        payload = _without_null(payload, check)
    try:
        found = model.model_validate(payload, context=check)
    except ValidationError as error:
        raise _refusal(event_type, list(_faults(error))) from None
    wire = found.model_dump(exclude_unset=True, by_alias=True)
    if wire.get("external_url", "") is None and payload.get("external_url") is not None:
        del wire["external_url"]
    return wire


def _without_null(payload: Wire, check: Check) -> Wire:
    empty = [name for name in _NEVER_NULL if name in payload and payload[name] is None]
    check.notices += [f"{name} is left out, as it was None" for name in empty]
    return {name: value for name, value in payload.items() if name not in empty}


def _faults(error: ValidationError) -> Iterator[Fault]:
    """Yield the field and the reason of each mistake that pydantic found."""
    for each in error.errors(include_url=False, include_input=False):
        place = [str(step) for step in each["loc"]]
        if each["type"] == "faults":
            for at, reason in each["ctx"]["faults"]:
                yield ".".join([*place, *([at] if at else [])]) or "_schema", reason
        else:
            yield ".".join(place), _REASONS.get(each["type"], each["msg"])


_REASONS = {"extra_forbidden": "there is no such field", "missing": "must be set"}


def _refusal(event_type: str, found: list[Fault]) -> ContractError:
    """Return the error of some faults; those that have no room are counted."""
    parts: list[str] = []
    length = 0
    for field, reason in found:
        part = f"{shown(field, 120)}: {reason}"
        length += len(part) + 2
        if parts and length > _ENOUGH:
            parts.append(f"and {len(found) - len(parts):,} more")
            break
        parts.append(part)
    return ContractError(f"{event_type}: {'; '.join(parts)}", found[0][0])
