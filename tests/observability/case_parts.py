"""What the table of cases is made of: its rows, and the payloads they start from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Payload = Any

ABSENT = object()  # the field is not in what is sent
NO_TEXT = [5, 1.5, True, ["a"], {"a": "b"}]  # what is no text
EMOJI = "\N{ROCKET}"  # beyond U+FFFF
HALF = "\ud83d"  # half of such a character
MAX_BYTES = 102_400


@dataclass(frozen=True)
class Case:
    """One payload and the server's answer to it.

    `field` is None when the payload is taken, else the field named in the refusal:
    dotted for nested ones, `_schema` where it is about no single field.
    """

    section: str
    event_type: str
    payload: Payload
    field: str | None


@dataclass(frozen=True)
class Change:
    """One payload that we mend before it is sent, and what one field then holds.

    `told` says whether the user hears of it.
    """

    section: str
    event_type: str
    payload: Payload
    field: str
    value: Any
    told: bool


KEYS: dict[str, Payload] = {"pipeline_key": "p", "run_key": "r"}
OUTCOME: dict[str, Payload] = {"name": "n", "status": "PASSED"}
LEAST: dict[str, dict[str, Payload]] = {
    "run-status": {**KEYS, "status": "RUNNING"},
    "dataset-operation": {"dataset_key": "d", "operation": "READ"},
    "message-log": {**KEYS, "log_level": "INFO", "message": "m"},
    "metric-log": {**KEYS, "metric_key": "k", "metric_value": 1},
    "test-outcomes": {**KEYS, "test_outcomes": [OUTCOME]},
    "heartbeat": {"key": "k", "tool": "t", "version": "1"},
}
EVENTS = [each for each in LEAST if each != "heartbeat"]
NO_DICT: list[Payload] = [None, "text", 5, 1.5, True, [], [{}]]


def having(event_type: str, /, **fields: Payload) -> dict[str, Payload]:
    """Return the least payload of a type with these fields besides or instead."""
    return {**LEAST[event_type], **fields}


def lacking(event_type: str, *names: str) -> dict[str, Payload]:
    """Return the least payload of a type without these fields."""
    return {name: value for name, value in LEAST[event_type].items() if name not in names}


def outcome(**fields: Payload) -> dict[str, Payload]:
    """Return a test-outcomes payload whose only outcome has these fields besides."""
    return having("test-outcomes", test_outcomes=[{**OUTCOME, **fields}])


def of_size(size: int) -> dict[str, Payload]:
    """Return a message-log payload of so many bytes as compact JSON."""
    empty = having("message-log", message_details="")
    used = len(json.dumps(empty, separators=(",", ":")))
    return {**empty, "message_details": "x" * (size - used)}


def nested(levels: int, leaf: Payload = 1) -> dict[str, Payload]:
    """Return an object of so many levels; itself is the first."""
    for _ in range(levels - 1):
        leaf = {"a": leaf}
    return {"a": leaf}


def field_rows(
    section: str, event_type: str, field: str, values: Iterable[Payload], taken: bool
) -> Iterator[Case]:
    """Yield a case for each value of one field at the top of a payload."""
    for value in values:
        named = None if taken else field
        yield Case(section, event_type, having(event_type, **{field: value}), named)


def outcome_rows(field: str, values: Iterable[Payload], taken: bool) -> Iterator[Case]:
    """Yield a case for each value of one field of a test outcome."""
    for value in values:
        named = None if taken else f"test_outcomes.0.{field}"
        yield Case("a3", "test-outcomes", outcome(**{field: value}), named)


NAMES = ["pipeline_name", "dataset_name", "server_name", "stream_name", "task_name"]
TEXTS = {**dict.fromkeys([*NAMES, "run_key", "task_key"], 255), "run_name": 1024}


NUMBERS: list[Payload] = [
    0, -1, 1.5, 1e300, 10**40, "0", "-1.5", "+2", ".5", "5.", "1_000", "  5 ", "5\n",
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}", "1e3", "1E-3", "1e1000",
]  # fmt: skip
NO_NUMBERS: list[Payload] = [
    "", " ", "x", "1,5", "1 000", "0x10", "1e", "--1", "NaN", "nan", "sNaN", "Infinity",
    "-inf", float("nan"), float("inf"), float("-inf"), True, False, [], [1], {}, {"a": 1},
    "1e999999", "-1e999999", "1e-999999", "1e9999999999999999999",
]  # fmt: skip
