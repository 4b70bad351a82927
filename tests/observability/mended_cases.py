"""What we send in the server's own form, or mend and tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case_parts import ABSENT, EMOJI, EVENTS, HALF, Change, Payload, having, outcome
from .value_cases import NO_ZONE


def changes(
    section: str, event_type: str, field: str, told: bool, *pairs: tuple[Payload, Any]
) -> Iterator[Change]:
    """Yield the changes of one field at the top of a payload."""
    for before, after in pairs:
        payload = having(event_type, **{field: before})
        yield Change(section, event_type, payload, field, after, told)


def mended() -> Iterator[Change]:
    """Yield what we send in the server's own form, or repair with a notice."""
    for event_type in EVENTS:
        for field in ("event_timestamp", "metadata", "payload_keys"):
            yield from changes("a9", event_type, field, True, (None, ABSENT))
    yield from changes(
        "a2", "message-log", "component_tool", False,
        ("airflow", "AIRFLOW"), (" Power BI ", "POWER_BI"), ("caf\u00e9", "CAF\u00c9"),
        ("A_1", "A_1"), (None, None),
    )  # fmt: skip
    yield from changes(
        "a2", "message-log", "component_tool", True,
        ("power-bi", "POWER_BI"), ("a.b", "A_B"), ("_x_", "X"), ("-x-", "X"),
        ("a\tb", "A_B"),
        ("-" + "x" * 255, "X" * 255), (f"a{EMOJI}b", "A_B"), (f"a{HALF}", "A"),
    )  # fmt: skip
    yield from changes(
        "a4", "message-log", "external_url", True,
        *((link, ABSENT) for link in (
            "http://airflow:8080/dags", "https://airflow", "http://my_host.example.com/x",
            "http://my_host/", "ftp://files/x", "http://user@airflow/",
        )),
    )  # fmt: skip
    for event_type in EVENTS:
        yield from changes(
            "a4", event_type, "event_timestamp", False,
            *((text, f"{text}+00:00") for text in NO_ZONE),
            ("2026-01-02T03:04Z", "2026-01-02T03:04Z"),
        )  # fmt: skip
    latest = "latest_event_timestamp"
    told = [(text, f"{text}+00:00") for text in NO_ZONE]
    yield from changes("a5", "heartbeat", latest, True, *told)
    yield from changes("a5", "heartbeat", latest, False, (None, None))
    for field in ("start_time", "end_time"):
        payload, at = outcome(**{field: NO_ZONE[0]}), f"test_outcomes.0.{field}"
        yield Change("a4", "test-outcomes", payload, at, f"{NO_ZONE[0]}+00:00", False)
    for event_type, field, word in (
        ("run-status", "status", "completed_with_warnings"),
        ("dataset-operation", "operation", "Write"),
        ("message-log", "log_level", "warning"),
    ):
        yield from changes("a3", event_type, field, False, (word, word.upper()))
    payload = outcome(status="warning")
    yield Change("a3", "test-outcomes", payload, "test_outcomes.0.status", "WARNING", False)
