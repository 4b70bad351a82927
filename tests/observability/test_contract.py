"""The table of the wire contract: each case is decided as the server decides it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import pytest

from py_agent.observability.models import (
    EVENT_TYPES,
    ContractError,
    encode,
    normalised,
    validate,
)

from .contract_cases import ABSENT, CASES, CHANGES, Case, Change

TAKEN = [case for case in CASES if case.field is None]
REFUSED = [case for case in CASES if case.field is not None]


def names(rows: Iterable[Case | Change]) -> list[str]:
    """Return a readable name for each row."""
    return [
        re.sub(r"[^\w.*'-]+", " ", f"{n}-{row.section}-{row.event_type}-{row.field}")
        for n, row in enumerate(rows)
    ]


def at(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, or ABSENT."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)]
        elif step not in value:
            return ABSENT
        else:
            value = value[step]
    return value


@pytest.mark.parametrize("case", TAKEN, ids=names(TAKEN))
def test_what_the_server_takes_is_taken(case: Case) -> None:
    """Given a good payload, when it is checked twice, then both times it comes back."""
    wire = validate(case.event_type, case.payload)
    assert normalised(case.event_type, wire) == (wire, [])
    assert encode(wire)


@pytest.mark.parametrize("case", REFUSED, ids=names(REFUSED))
def test_what_the_server_refuses_is_refused(case: Case) -> None:
    """Given a bad payload, when it is checked, then the error names the server's field."""
    with pytest.raises(ContractError) as caught:
        validate(case.event_type, case.payload)
    assert caught.value.field == case.field
    message = str(caught.value)
    assert message.startswith(f"{case.event_type}: {case.field}: "[:60])
    assert message.isprintable()
    assert len(message) <= 500


@pytest.mark.parametrize("change", CHANGES, ids=names(CHANGES))
def test_what_can_be_mended_is_mended(change: Change) -> None:
    """Given a payload in another form, when it is checked, then it has the server's."""
    before = copy.deepcopy(change.payload)
    wire, notices = normalised(change.event_type, change.payload)
    assert at(wire, change.field) == change.value
    assert [notice.split()[0] for notice in notices] == [change.field] * change.told
    assert change.payload == before
    assert normalised(change.event_type, wire) == (wire, [])


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "heartbeat"])
def test_the_table_covers_every_type_both_ways(event_type: str) -> None:
    """Given the table, when its rows are counted, then each type is taken and refused."""
    assert len([case for case in TAKEN if case.event_type == event_type]) >= 5
    assert len([case for case in REFUSED if case.event_type == event_type]) >= 10


def test_the_table_is_large_enough_to_be_the_contract() -> None:
    """Given the table, when its rows are counted, then no part was lost unnoticed."""
    assert len(CASES) >= 1000
    assert {case.section for case in CASES} == {"a2", "a3", "a4", "a5", "a6", "size"}
