"""Whatever comes is refused in words, or returned as good and final."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from py_agent.observability.models import EVENT_TYPES, ContractError, encode, normalised

from ..unit.strategies import JSON
from .case_parts import LEAST, OUTCOME, having, outcome

TYPES = [*EVENT_TYPES, "heartbeat"]
FIELDS = sorted({name for least in LEAST.values() for name in least} | {
    "component_tool", "event_timestamp", "external_url", "metadata", "payload_keys",
    "dataset_key", "task_key", "path", "message_details", "latest_event_timestamp",
    "component_integrations",
})  # fmt: skip
LIKELY = st.sampled_from(
    ["a", "passed", "RUNNING", "read", "info", "2026-01-02T03:04", "http://a.example/x"]
)
LINKS = st.text("ab.-_:/?#@1[]", max_size=12).map("http://{}".format)
OUTCOMES = st.lists(
    st.dictionaries(st.sampled_from([*OUTCOME, "key", "result"]), LIKELY | JSON)
)
VALUES = LIKELY | JSON | LINKS | st.text() | OUTCOMES
CHANGED = st.dictionaries(st.sampled_from(FIELDS) | st.text(), VALUES, max_size=5)


def holds_whatever_comes(event_type: str, payload: Any) -> None:
    """Check that a payload is refused in one line, or returned as good and final."""
    try:
        wire, _ = normalised(event_type, payload)
    except ContractError as error:
        assert str(error).isprintable()
        assert len(str(error)) <= 500
        return
    assert normalised(event_type, json.loads(encode(wire))) == (wire, [])


@given(st.sampled_from(TYPES), JSON)
def test_any_json_is_decided(event_type: str, payload: Any) -> None:
    """Given any JSON, when it is checked, then it is refused in words or good."""
    holds_whatever_comes(event_type, payload)


@given(st.sampled_from(TYPES), CHANGED)
def test_any_change_of_a_good_payload_is_decided(
    event_type: str, changed: dict[str, Any]
) -> None:
    """Given a good payload with any change, when checked, then the same holds."""
    holds_whatever_comes(event_type, {**LEAST[event_type], **changed})
    holds_whatever_comes("test-outcomes", outcome(**changed))


@given(st.text())
def test_any_tool_is_mended_once(tool: str) -> None:
    """Given any text as a tool, when it is mended, then it needs no second mending."""
    holds_whatever_comes("message-log", having("message-log", component_tool=tool))
