"""What validate, normalised, split and encode promise beyond the table of cases."""

from __future__ import annotations

import copy
import logging
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

import py_agent
from py_agent import observability
from py_agent.observability.models import (
    EVENT_TYPES,
    MAX_BYTES,
    ContractError,
    encode,
    normalised,
    validate,
)

from .case_parts import EVENTS, LEAST, OUTCOME, having, of_size, outcome
from .contract_cases import CASES
from .outcome_cases import root_having

TYPES = [*EVENT_TYPES, "heartbeat"]
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


class Status(StrEnum):
    """A choice as Python programs spell it."""

    DONE = "completed"


def refusal(event_type: Any, payload: Any) -> ContractError:
    """Return the error with which a payload is refused."""
    with pytest.raises(ContractError) as caught:
        validate(event_type, payload)
    return caught.value


# --- names


def test_the_event_types_are_those_of_the_server() -> None:
    """Given the package, when its types are listed, then they are the server's five."""
    assert EVENT_TYPES == tuple(EVENTS)
    assert observability.EVENT_TYPES is EVENT_TYPES
    assert MAX_BYTES == 102_400


def test_the_error_is_a_public_name() -> None:
    """Given a refusal, when a user catches EventError, then it is caught."""
    assert py_agent.ContractError is ContractError
    assert issubclass(ContractError, py_agent.EventError)


@pytest.mark.parametrize("wrong", ["", "RUN-STATUS", "heartbeats", "x" * 500, None, [], 5])
def test_an_event_type_that_does_not_exist_is_refused(wrong: Any) -> None:
    """Given an unknown event type, when it is checked, then the known ones are named."""
    error = refusal(wrong, LEAST["run-status"])
    assert error.field == "event_type"
    assert all(each in str(error) for each in TYPES)
    assert len(str(error)) <= 500


# --- what an error says


def test_every_fault_is_told_and_the_first_is_the_field() -> None:
    """Given several faults, when it is refused, then one line names all of them."""
    payload = having("run-status", run_key="", status="PENDING", more=1)
    error = refusal("run-status", payload)
    assert str(error) == (
        "run-status: run_key: must have at least 1 character; status: must be one of "
        "RUNNING, COMPLETED, COMPLETED_WITH_WARNINGS, FAILED, not 'PENDING'; "
        "more: there is no such field"
    )
    assert error.field == "run_key"


def test_rules_about_several_fields_wait_for_each_field() -> None:
    """Given no component and a bad level, when refused, then only the level is told."""
    error = refusal("message-log", {"log_level": "DEBUG", "message": "m"})
    assert "_schema" not in str(error)


def test_all_rules_about_several_fields_are_told() -> None:
    """Given an access with a run and no dataset, when refused, then all is told."""
    error = refusal("dataset-operation", {"operation": "READ", "run_key": "r"})
    assert error.field == "dataset_key"
    assert "run_key: must not be set" in str(error)
    assert "_schema: one of pipeline_key" in str(error)


def test_a_limit_is_in_the_message() -> None:
    """Given a name that is too long, when refused, then length and limit are told."""
    error = refusal("run-status", having("run-status", task_name="x" * 256))
    assert "has 256 characters, at most 255 are allowed" in str(error)


def test_faults_without_room_are_counted() -> None:
    """Given hundreds of faults, when refused, then the message is short and counts."""
    bad = having("test-outcomes", test_outcomes=[{"name": "", "status": 5}] * 400)
    message = str(refusal("test-outcomes", bad))
    assert len(message) <= 500
    assert message.endswith(" more")


@pytest.mark.parametrize("field", ["status", "event_timestamp", "component_tool", "x\ny"])
def test_a_long_value_is_not_quoted(field: str) -> None:
    """Given a long wrong value, when refused, then the line is short and printable."""
    message = str(refusal("run-status", having("run-status", **{field: "\n\x1b-" * 999})))
    assert len(message) <= 500
    assert message.isprintable()


def test_an_unknown_field_of_a_long_name_is_named_in_short() -> None:
    """Given a key that is no name, when refused, then the message still is one line."""
    for key in ("k" * 5000, "\ud83d\n", 5, None, ("a", 1), b"status"):
        error = refusal("run-status", {**LEAST["run-status"], key: 1})
        assert str(error).isprintable()
        assert error.field.isprintable()
        assert len(str(error)) <= 300


def test_a_link_is_never_shown() -> None:
    """Given a link with a password, when refused or left out, then it is not told."""
    error = refusal("message-log", having("message-log", external_url="s3://u:secret@x.y"))
    assert "secret" not in str(error)
    link = "http://u:secret@airflow/?token=secret"
    _, notices = normalised("message-log", having("message-log", external_url=link))
    assert notices == [
        "external_url is left out, as the host airflow is not taken by the server"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "http://example.com?",
        "http://example.com#x",
        "http://a@b@example.com",
        "http://-a.b",
    ],
)
def test_a_link_is_judged_as_by_the_server(wrong: str) -> None:
    """Given a link that browsers mend, when it is checked, then it is refused."""
    error = refusal("message-log", having("message-log", external_url=wrong))
    assert error.field == "external_url"


@pytest.mark.parametrize("host", ["node.x", "a..b.com", "10.1", "airflow.", "a_b.example"])
def test_a_host_that_only_the_company_knows_costs_the_link_alone(host: str) -> None:
    """Given a host that is no public name, when checked, then the event is kept."""
    payload = having("message-log", external_url=f"http://{host}:8080/x")
    wire, notices = normalised("message-log", payload)
    assert wire == LEAST["message-log"]
    assert len(notices) == 1


# --- what comes back


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.event_type)
def test_a_payload_is_never_changed(case: Any) -> None:
    """Given any payload, when it is checked, then it is as it was before."""
    before = copy.deepcopy(case.payload)
    try:
        wire = validate(case.event_type, case.payload)
    except ContractError:
        wire = None
    assert repr(case.payload) == repr(before)
    assert wire is not case.payload or wire is None


def test_what_comes_back_shares_nothing_with_the_payload() -> None:
    """Given nested values, when the answer is changed, then the payload is not."""
    payload = outcome(metadata={"a": [1]}, dimensions=["x"])
    wire = validate("test-outcomes", {**payload, "payload_keys": ["k"]})
    wire["test_outcomes"][0]["metadata"]["a"].append(2)
    wire["test_outcomes"][0]["dimensions"].append("y")
    assert payload == outcome(metadata={"a": [1]}, dimensions=["x"])


def test_datetimes_are_sent_as_text_with_a_zone() -> None:
    """Given datetimes, when they are checked, then they are ISO text, naive ones UTC."""
    india = timezone(timedelta(hours=5, minutes=30))
    wire = validate("test-outcomes", {
        **outcome(start_time=WHEN.replace(tzinfo=None), end_time=WHEN.astimezone(india)),
        "event_timestamp": WHEN,
    })  # fmt: skip
    assert wire["event_timestamp"] == "2026-01-02T03:04:05.000678+00:00"
    [found] = wire["test_outcomes"]
    assert found["start_time"] == "2026-01-02T03:04:05.000678+00:00"
    assert found["end_time"] == "2026-01-02T08:34:05.000678+05:30"


def test_a_zone_of_odd_seconds_becomes_utc() -> None:
    """Given a zone as of long ago, when it is checked, then the same moment is sent."""
    odd = timezone(timedelta(minutes=53, seconds=28))
    wire = validate(
        "run-status", having("run-status", event_timestamp=WHEN.astimezone(odd))
    )
    assert datetime.fromisoformat(wire["event_timestamp"]) == WHEN
    first = datetime(1, 1, 1, tzinfo=odd)
    error = refusal("run-status", having("run-status", event_timestamp=first))
    assert error.field == "event_timestamp"


@pytest.mark.parametrize("wrong", [date(2026, 1, 2), 5, b"2026-01-02T03:04:05Z"])
def test_a_day_is_no_moment(wrong: Any) -> None:
    """Given what is no moment, when it is checked, then the field is named."""
    error = refusal("run-status", having("run-status", event_timestamp=wrong))
    assert error.field == "event_timestamp"


def test_a_naive_datetime_of_a_heartbeat_is_told() -> None:
    """Given a heartbeat without a zone, when it is checked, then UTC is told."""
    naive = WHEN.replace(tzinfo=None)
    wire, notices = normalised(
        "heartbeat", having("heartbeat", latest_event_timestamp=naive)
    )
    assert wire["latest_event_timestamp"].endswith("+00:00")
    assert notices == ["latest_event_timestamp has no time zone and is sent as UTC"]


def test_decimals_keep_their_digits() -> None:
    """Given Decimals, when they are checked, then no digit is lost."""
    exact = Decimal("0.1000000000000000000000000001")
    wire = validate("metric-log", having("metric-log", metric_value=exact))
    assert Decimal(wire["metric_value"]) == exact
    for wrong in (
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1e999999"),
    ):
        error = refusal("metric-log", having("metric-log", metric_value=wrong))
        assert error.field == "metric_value"


def test_a_number_of_too_many_digits_is_refused() -> None:
    """Given a number that Python does not write, when checked, then it is refused."""
    huge = 10**5000
    for event_type, payload, field in (
        ("metric-log", having("metric-log", metric_value=huge), "metric_value"),
        ("metric-log", having("metric-log", metadata={"a": huge}), "metadata"),
    ):
        assert refusal(event_type, payload).field == field


def test_metadata_may_hold_what_has_a_json_form() -> None:
    """Given Python values in metadata, when they are checked, then they are JSON."""
    unique = UUID("2f107d18-1e2f-40f1-acf7-16d0bdd13a04")
    data = {"when": WHEN, "id": unique, "sum": Decimal("1.50"), "pair": (1, 2)}
    wire = validate("run-status", having("run-status", metadata=data))
    assert wire["metadata"] == {
        "when": WHEN.isoformat(), "id": str(unique), "sum": "1.50", "pair": [1, 2],
    }  # fmt: skip


def test_metadata_that_contains_itself_is_refused() -> None:
    """Given endless metadata, when it is checked, then the field is named."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert refusal("run-status", having("run-status", metadata=endless)).field == "metadata"


def test_tuples_and_named_words_are_plain_json() -> None:
    """Given tuples and words of an Enum, when they are checked, then they are plain."""
    wire = validate("run-status", having(
        "run-status", status=Status.DONE, run_key=Status.DONE, payload_keys=(Status.DONE,)
    ))  # fmt: skip
    assert wire["status"] == "COMPLETED"
    assert type(wire["run_key"]) is str
    assert wire["payload_keys"] == ["completed"]


def test_a_group_may_be_a_uuid_object() -> None:
    """Given a UUID object, when it is checked, then its text is sent."""
    unique = UUID("2f107d18-1e2f-40f1-acf7-16d0bdd13a04")
    group = {"group_id": unique, "project_code": "c"}
    wire = validate("test-outcomes", root_having(table_group_configuration=group))
    found = wire["component_integrations"]["integrations"]["testgen"]
    assert found["table_group_configuration"]["group_id"] == str(unique)


# --- notices


def test_notices_are_logged_by_validate_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Given a tool to mend, when it is checked, then validate logs what was mended."""
    payload = having("message-log", component_tool="power-bi", metadata=None)
    with caplog.at_level(logging.INFO, "py_agent.observability"):
        _, notices = normalised("message-log", payload)
        assert caplog.messages == []
        validate("message-log", payload)
    assert caplog.messages == [f"message-log: {notice}" for notice in notices]
    assert notices == [
        "metadata is left out, as it was None",
        "component_tool is sent as POWER_BI",
    ]


def test_a_heartbeat_may_not_have_the_fields_that_may_be_none_elsewhere() -> None:
    """Given a heartbeat with metadata of None, when checked, then it is refused."""
    assert refusal("heartbeat", having("heartbeat", metadata=None)).field == "metadata"


# --- encode and size


def test_the_body_is_compact_utf_8() -> None:
    """Given a wire payload, when it is encoded, then it is short and not escaped."""
    assert encode({"a": [1, "\N{SNOWMAN}"]}) == '{"a":[1,"\N{SNOWMAN}"]}'.encode()


def test_nan_is_never_encoded() -> None:
    """Given NaN, when it is encoded, then it is refused."""
    with pytest.raises(ValueError, match="JSON compliant"):
        encode({"a": float("nan")})


def test_a_large_event_is_refused_with_its_size() -> None:
    """Given one byte too many, when it is checked, then size and limit are told."""
    assert len(encode(validate("message-log", of_size(MAX_BYTES)))) == MAX_BYTES
    message = str(refusal("message-log", of_size(MAX_BYTES + 1)))
    assert "102,401 bytes" in message
    assert "102,400" in message


def test_too_many_outcomes_are_sent_to_split() -> None:
    """Given 501 outcomes or too large ones, when refused, then split is named."""
    many = having("test-outcomes", test_outcomes=[OUTCOME] * 501)
    assert "501 items, at most 500 are allowed; split()" in str(
        refusal("test-outcomes", many)
    )
    large = having("test-outcomes", test_outcomes=[{**OUTCOME, "result": "x" * 900}] * 200)
    assert "split()" in str(refusal("test-outcomes", large))
