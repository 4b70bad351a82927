"""Sections a2 and a3: fields of every event, and of the plain event types."""

from __future__ import annotations

from collections.abc import Iterator

from .case_parts import (
    EMOJI,
    EVENTS,
    KEYS,
    LEAST,
    NO_DICT,
    NO_NUMBERS,
    NO_TEXT,
    NUMBERS,
    TEXTS,
    Case,
    field_rows,
    having,
    lacking,
)


def components() -> Iterator[Case]:
    """Yield what may and may not stand beside each other to name a component."""
    one = {"log_level": "INFO", "message": "m"}
    for key in ("dataset_key", "server_key", "stream_key"):
        yield Case("a2", "message-log", {**one, key: "x"}, None)
        yield Case("a2", "message-log", {**one, key: "x", "run_key": "r"}, None)
        yield Case("a2", "message-log", {**one, key: "x" * 255}, None)
        yield Case("a2", "message-log", {**one, key: "x" * 256}, key)
        yield Case("a2", "message-log", {**one, key: ""}, key)
        yield Case("a2", "message-log", {**one, key: " "}, None)
        yield Case("a2", "message-log", {**one, key: 5}, key)
        yield Case("a2", "message-log", {**one, key: None}, "_schema")
        yield Case("a2", "message-log", {**one, **KEYS, key: None}, None)
        yield Case("a2", "message-log", {**one, **KEYS, key: "x"}, "_schema")
    yield Case(
        "a2", "message-log", {**one, "dataset_key": "a", "server_key": "b"}, "_schema"
    )
    yield Case("a2", "metric-log", {"metric_key": "k", "metric_value": 1}, "_schema")
    yield Case("a2", "message-log", one, "_schema")
    yield Case("a2", "message-log", {**one, "run_key": "r"}, "_schema")
    yield Case("a2", "message-log", {**one, "pipeline_key": "p"}, "_schema")
    yield Case("a2", "message-log", {**one, **KEYS, "run_key": None}, "_schema")
    yield Case("a2", "message-log", {**one, **KEYS, "dataset_name": "other"}, None)
    # The rules about several fields wait until each field is right.
    yield Case("a2", "message-log", {"log_level": "INFO", "message": ""}, "message")


def texts() -> Iterator[Case]:
    """Yield the limits of every text that each event may carry."""
    for field, most in TEXTS.items():
        taken = ["x", "x" * most, " ", "\N{SNOWMAN}" * most, "é", None]
        yield from field_rows(
            "a2", "message-log", field, taken[: -1 if field == "run_key" else None], True
        )
        yield from field_rows("a2", "message-log", field, ["", "x" * (most + 1)], False)
        yield from field_rows("a2", "message-log", field, NO_TEXT, False)
    yield from field_rows("a2", "message-log", "pipeline_key", ["x" * 255, " "], True)
    wrong = ["", "x" * 256, *NO_TEXT]
    yield from field_rows("a2", "message-log", "pipeline_key", wrong, False)


def tools_and_the_rest() -> Iterator[Case]:
    """Yield tools, metadata, payload keys and fields that do not exist."""
    taken = ["AIRFLOW", "power_bi", " Power BI ", "7", "x" * 255, "caf\u00e9", None]
    yield from field_rows("a2", "message-log", "component_tool", taken, True)
    wrong = [
        "",
        " ",
        "-",
        "_",
        "x" * 256,
        "\N{LATIN SMALL LETTER SHARP S}" * 128,
        *NO_TEXT,
    ]
    yield from field_rows("a2", "message-log", "component_tool", wrong, False)
    data = [{}, {"a": None}, {"": [1, 1.5, True, None, "x", {"b": []}]}, {"a": EMOJI}]
    yield from field_rows("a2", "message-log", "metadata", data, True)
    wrong = ["", "a", 5, True, [], [{}]]
    yield from field_rows("a2", "message-log", "metadata", wrong, False)
    keys = [[], ["a"], ["x" * 255, " "], ["k"] * 600]
    yield from field_rows("a2", "message-log", "payload_keys", keys, True)
    wrong = ["a", 5, True, {"a": "b"}]
    yield from field_rows("a2", "message-log", "payload_keys", wrong, False)
    for bad in ("", "x" * 256, None, 5, True):
        payload = having("message-log", payload_keys=["a", bad])
        yield Case("a2", "message-log", payload, "payload_keys.1")
    for event_type, least in LEAST.items():
        yield Case("a2", event_type, least, None)
        yield from field_rows("a2", event_type, "surprise", [1, None], False)
    for event_type in EVENTS:
        for other in ("project_id", "event_type", "event_id", "received_timestamp"):
            yield Case("a2", event_type, having(event_type, **{other: "x"}), other)
        for payload in NO_DICT:
            yield Case("a2", event_type, payload, "_schema")


def choices(event_type: str, field: str, words: list[str], others: list[str]) -> list[Case]:
    """Return what a field takes that chooses from words in any letter case."""
    taken = [form for word in words for form in (word, word.lower(), word.title())]
    wrong = [*others, "", " ", f" {words[0]}", f"{words[0]} ", None, *NO_TEXT]
    return [
        *field_rows("a3", event_type, field, taken, True),
        *field_rows("a3", event_type, field, wrong, False),
        Case("a3", event_type, lacking(event_type, field), field),
    ]


def run_status() -> Iterator[Case]:
    """Yield the cases of run-status."""
    words = ["RUNNING", "COMPLETED", "COMPLETED_WITH_WARNINGS", "FAILED"]
    others = ["PENDING", "MISSING", "UNKNOWN", "COMPLETED WITH WARNINGS"]
    yield from choices("run-status", "status", words, others)
    for name in KEYS:
        yield Case("a3", "run-status", lacking("run-status", name), "_schema")
        yield Case("a3", "run-status", having("run-status", **{name: None}), "_schema")
    for key in ("dataset_key", "server_key", "stream_key"):
        alone = {"status": "RUNNING", key: "x"}
        yield Case("a3", "run-status", alone, "_schema")
        yield Case("a3", "run-status", {**alone, "run_key": "r"}, "_schema")
        yield Case("a3", "run-status", having("run-status", **{key: "x"}), "_schema")
    full = having(
        "run-status", task_key="t", task_name="T", run_name="R", pipeline_name="P"
    )
    yield Case("a3", "run-status", full, None)
    yield Case("a3", "run-status", having("run-status", message="m"), "message")


def dataset_operation() -> Iterator[Case]:
    """Yield the cases of dataset-operation."""
    kind = "dataset-operation"
    yield from choices(kind, "operation", ["READ", "WRITE"], ["DELETE", "R"])
    yield from field_rows("a3", kind, "path", ["a", " ", "x" * 4096, None], True)
    yield from field_rows("a3", kind, "path", ["", "x" * 4097, *NO_TEXT], False)
    for key in KEYS:
        yield from field_rows("a3", kind, key, ["x"], False)
        yield from field_rows("a3", kind, key, [None], True)
    yield from field_rows("a3", kind, "task_key", ["t"], True)
    yield from field_rows("a3", kind, "run_name", ["R"], True)
    yield Case("a3", kind, lacking(kind, "dataset_key"), "dataset_key")
    yield Case("a3", kind, having(kind, dataset_key=None), "dataset_key")
    yield Case("a3", kind, {"operation": "READ", "server_key": "s"}, "dataset_key")
    yield Case("a3", kind, having(kind, server_key="s"), "_schema")


def message_log() -> Iterator[Case]:
    """Yield the cases of message-log."""
    words, others = ["ERROR", "WARNING", "INFO"], ["DEBUG", "WARN", "CRITICAL"]
    yield from choices("message-log", "log_level", words, others)
    taken = ["m", " ", "x" * 50_000, EMOJI, "a\nb\x00"]
    yield from field_rows("a3", "message-log", "message", taken, True)
    yield from field_rows("a3", "message-log", "message", ["", None, *NO_TEXT], False)
    yield Case("a3", "message-log", lacking("message-log", "message"), "message")
    details = ["", "d", EMOJI, None, "x" * 50_000]
    yield from field_rows("a3", "message-log", "message_details", details, True)
    yield from field_rows("a3", "message-log", "message_details", NO_TEXT, False)


def metric_log() -> Iterator[Case]:
    """Yield the cases of metric-log."""
    kind = "metric-log"
    yield from field_rows("a3", kind, "metric_key", ["k", " ", "x" * 5000], True)
    yield from field_rows("a3", kind, "metric_key", ["", None, *NO_TEXT], False)
    yield from field_rows("a3", kind, "metric_value", NUMBERS, True)
    yield from field_rows("a3", kind, "metric_value", [None, *NO_NUMBERS], False)
    for field in ("metric_key", "metric_value"):
        yield Case("a3", kind, lacking(kind, field), field)
