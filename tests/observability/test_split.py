"""split: many or large test outcomes in as few payloads as the limits allow."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from py_agent.observability.models import MAX_BYTES, ContractError, encode, split, validate

from .case_parts import OUTCOME, having
from .outcome_cases import ITEM, ROOT, with_testgen

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def numbered(count: int, size: int = 1) -> dict[str, Any]:
    """Return a payload of so many outcomes, each with a description of so many bytes."""
    items = [{**OUTCOME, "name": str(n), "description": "x" * size} for n in range(count)]
    return having("test-outcomes", test_outcomes=items, task_key="t", metadata={"a": 1})


@pytest.mark.parametrize("count", [1, 2, 499, 500])
def test_what_needs_no_split_comes_back(count: int) -> None:
    """Given few outcomes, when they are split, then the payload is the only item."""
    payload = numbered(count)
    assert split(payload) == [payload]


@pytest.mark.parametrize(
    ("count", "size", "least"),
    [
        (501, 1, 2),
        (1000, 1, 2),
        (1001, 1, 3),
        (500, 300, 2),
        (30, 50_000, 15),
        (2, 102_000, 2),
    ],
)
def test_a_split_keeps_everything(count: int, size: int, least: int) -> None:
    """Given many or large outcomes, when split, then all parts pass and none is lost."""
    payload = numbered(count, size)
    before = copy.deepcopy(payload)
    found = split(payload)
    assert payload == before
    assert len(found) >= least
    assert [each for part in found for each in part["test_outcomes"]] == (
        payload["test_outcomes"]
    )
    for part in found:
        assert {**part, "test_outcomes": []} == {**payload, "test_outcomes": []}
        assert len(encode(validate("test-outcomes", part))) <= MAX_BYTES


def test_a_split_fills_each_part_to_the_last_byte() -> None:
    """Given outcomes that fill one body exactly, when split, then they stay together."""
    payload = numbered(2)
    left = MAX_BYTES - len(encode(payload))
    payload["test_outcomes"][0]["description"] += "x" * left
    assert len(split(payload)) == 1
    payload["test_outcomes"][0]["description"] += "x"
    assert len(split(payload)) == 2


def test_a_split_keeps_the_data_of_testgen_whole() -> None:
    """Given outcomes of TestGen, when they are split, then each part carries the root."""
    found = split(with_testgen(ROOT, *[ITEM] * 501))
    assert [len(part["test_outcomes"]) for part in found] == [500, 1]
    assert all(validate("test-outcomes", part) for part in found)


def test_a_split_counts_values_as_they_are_sent() -> None:
    """Given datetimes, when they are split, then they come back as they were given."""
    payload = having("test-outcomes", test_outcomes=[{**OUTCOME, "end_time": WHEN}] * 501)
    assert split(payload)[1]["test_outcomes"] == [{**OUTCOME, "end_time": WHEN}]


@pytest.mark.parametrize("field", ["description", "result"])
def test_one_outcome_that_is_too_large_cannot_be_split(field: str) -> None:
    """Given an outcome over the limit, when it is split, then it is named."""
    payload = numbered(3)
    payload["test_outcomes"][1][field] = "x" * MAX_BYTES
    with pytest.raises(ContractError, match="item 1 has 102,") as caught:
        split(payload)
    assert caught.value.field == "test_outcomes"


def test_a_split_has_no_room_beside_large_fields() -> None:
    """Given metadata that fills the body, when it is split, then that is told."""
    payload = {**numbered(1), "metadata": {"a": "x" * MAX_BYTES}}
    with pytest.raises(ContractError, match="has no room") as caught:
        split(payload)
    assert caught.value.field == "test_outcomes"


@pytest.mark.parametrize("wrong", [None, [], {}, having("test-outcomes", test_outcomes=[])])
def test_a_wrong_payload_is_refused_by_split_too(wrong: Any) -> None:
    """Given a payload that is wrong anyway, when it is split, then it is refused."""
    with pytest.raises(ContractError):
        split(wrong)
