"""Section a3: fields of test outcomes, with and without TestGen's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case_parts import (
    NO_TEXT,
    NUMBERS,
    OUTCOME,
    Case,
    Payload,
    field_rows,
    having,
    lacking,
    outcome,
    outcome_rows,
)


def outcomes() -> Iterator[Case]:
    """Yield the cases of test-outcomes without what TestGen adds."""
    kind = "test-outcomes"
    lists: list[Payload] = [[OUTCOME], [OUTCOME] * 2, [OUTCOME] * 499, [OUTCOME] * 500]
    yield from field_rows("a3", kind, "test_outcomes", lists, True)
    wrong: list[Payload] = [[], [OUTCOME] * 501, None, "x", 5, True, {}, OUTCOME]
    yield from field_rows("a3", kind, "test_outcomes", wrong, False)
    yield Case("a3", kind, lacking(kind, "test_outcomes"), "test_outcomes")
    payload = having(kind, test_outcomes=[OUTCOME, None])
    yield Case("a3", kind, payload, "test_outcomes.1")
    for bad in ("x", 5, [OUTCOME]):
        payload = having(kind, test_outcomes=[OUTCOME, bad])
        yield Case("a3", kind, payload, "test_outcomes.1._schema")
    yield Case("a3", kind, having(kind, test_outcomes=[{}]), "test_outcomes.0.name")
    mixed = [OUTCOME, {**OUTCOME, "status": "X"}]
    yield Case("a3", kind, having(kind, test_outcomes=mixed), "test_outcomes.1.status")
    many = [{**OUTCOME, "name": ""}] * 501
    yield Case("a3", kind, having(kind, test_outcomes=many), "test_outcomes.0.name")
    for name in OUTCOME:
        rest = {key: value for key, value in OUTCOME.items() if key != name}
        payload = having(kind, test_outcomes=[rest])
        yield Case("a3", kind, payload, f"test_outcomes.0.{name}")


def outcome_fields() -> Iterator[Case]:
    """Yield the cases of each field of one test outcome."""
    yield from outcome_rows("name", ["n", " ", "x" * 300], True)
    yield from outcome_rows("name", ["", None, *NO_TEXT], False)
    words = ["PASSED", "FAILED", "WARNING", "passed", "Failed"]
    yield from outcome_rows("status", words, True)
    yield from outcome_rows(
        "status", ["", " PASSED", "OK", "RUNNING", None, 5, True], False
    )
    yield from outcome_rows("description", ["", "d", "x" * 300, None], True)
    yield from outcome_rows("description", NO_TEXT, False)
    for field in ("start_time", "end_time"):
        times = ["2026-01-02T03:04:05Z", "2026-01-02 03:04", None]
        yield from outcome_rows(field, times, True)
        yield from outcome_rows(field, ["", "2026-01-02", 5, True], False)
    for field in ("metric_value", "min_threshold", "max_threshold"):
        yield from outcome_rows(field, [*NUMBERS[-6:], 7, None], True)
        yield from outcome_rows(field, ["", "x", "NaN", True, "1e999999"], False)
    for field in ("metric_name", "metric_description", "result", "type", "key"):
        yield from outcome_rows(field, ["x", " ", "x" * 300, None], True)
        yield from outcome_rows(field, ["", 5, True, ["a"]], False)
    yield from outcome_rows("dimensions", [["a"], ["a"] * 50, None], True)
    yield from outcome_rows("dimensions", [[], "a", 5, {}], False)
    for bad in ("", None, 5):
        payload = outcome(dimensions=["a", bad])
        yield Case("a3", "test-outcomes", payload, "test_outcomes.0.dimensions.1")
    yield from outcome_rows("metadata", [{}, {"a": [None]}, None], True)
    yield from outcome_rows("metadata", [[], "x", 5, True], False)
    yield from outcome_rows("integrations", [None], True)
    yield from outcome_rows("surprise", [1, None], False)
    backwards = outcome(
        start_time="2026-01-02T00:00Z", end_time="2026-01-01T00:00Z",
        min_threshold=9, max_threshold=1,
    )  # fmt: skip
    yield Case("a3", "test-outcomes", backwards, None)


TABLES: dict[str, Payload] = {"include_list": ["t"]}
GROUP: dict[str, Payload] = {
    "group_id": "2f107d18-1e2f-40f1-acf7-16d0bdd13a04",
    "project_code": "c",
}
ROOT: dict[str, Payload] = {
    "version": 1, "database_name": "d", "connection_name": "c", "tables": TABLES,
}  # fmt: skip
ITEM: dict[str, Payload] = {"table": "t", "test_suite": "s", "version": 1}
ROOT_AT = "component_integrations.integrations.testgen"
ITEM_AT = "test_outcomes.0.integrations.testgen"


def with_testgen(
    root: dict[str, Payload] | None, *items: dict[str, Payload] | None
) -> dict[str, Payload]:
    """Return a payload with TestGen's data at the root and in the outcomes, or not."""
    payload = having("test-outcomes", test_outcomes=[
        OUTCOME if item is None else {**OUTCOME, "integrations": {"testgen": item}}
        for item in items
    ])  # fmt: skip
    if root is not None:
        payload["component_integrations"] = {"integrations": {"testgen": root}}
    return payload


def root_having(**fields: Payload) -> dict[str, Payload]:
    """Return a payload whose TestGen data at the root has these fields besides."""
    return with_testgen({**ROOT, **fields}, ITEM)


def item_having(**fields: Payload) -> dict[str, Payload]:
    """Return a payload whose TestGen data of the outcome has these fields besides."""
    return with_testgen(ROOT, {**ITEM, **fields})


def testgen_rows() -> Iterator[Case]:
    """Yield who must carry TestGen's data, and what it is wrapped in."""
    kind = "test-outcomes"
    yield Case("a3", kind, with_testgen(ROOT, ITEM), None)
    yield Case("a3", kind, with_testgen(ROOT, ITEM, ITEM), None)
    missing = "test_outcomes[*].integrations.testgen"
    yield Case("a3", kind, with_testgen(ROOT, None), missing)
    yield Case("a3", kind, with_testgen(ROOT, ITEM, None), missing)
    yield Case("a3", kind, with_testgen(None, ITEM), ROOT_AT)
    yield Case("a3", kind, with_testgen(None, None, ITEM), ROOT_AT)
    nothing = {**with_testgen(None, ITEM), "component_integrations": None}
    yield Case("a3", kind, nothing, ROOT_AT)
    yield from field_rows("a3", kind, "component_integrations", [None], True)
    for root, at in (
        ({}, "integrations"),
        ({"integrations": None}, "integrations"),
        ({"integrations": {}}, "integrations.testgen"),
        ({"integrations": {"testgen": None}}, "integrations.testgen"),
        ({"integrations": {"testgen": ROOT}, "more": 1}, "more"),
        ({"integrations": {"testgen": ROOT, "more": 1}}, "integrations.more"),
        ("x", "_schema"),
        ([], "_schema"),
    ):
        payload = {**with_testgen(None, ITEM), "component_integrations": root}
        yield Case("a3", kind, payload, f"component_integrations.{at}")
    for item, at in (({}, "testgen"), ({"testgen": None}, "testgen"), ("x", "_schema")):
        payload = {
            **with_testgen(ROOT, ITEM),
            "test_outcomes": [{**OUTCOME, "integrations": item}],
        }
        yield Case("a3", kind, payload, f"test_outcomes.0.integrations.{at}")


def parts(
    make: Any, at: str, field: str, taken: list[Payload], wrong: list[Payload]
) -> Iterator[Case]:
    """Yield a case for each value of one field of TestGen's data."""
    for value in taken:
        yield Case("a3", "test-outcomes", make(**{field: value}), None)
    for value in wrong:
        yield Case("a3", "test-outcomes", make(**{field: value}), f"{at}.{field}")


def testgen_fields() -> Iterator[Case]:
    """Yield the cases of each field of TestGen's data."""
    no_text: list[Payload] = ["", None, 5, True]
    no_version: list[Payload] = [0, 2, "1", None, True]
    for field in ("database_name", "connection_name"):
        yield from parts(root_having, ROOT_AT, field, ["x", "x" * 300], no_text)
    yield from parts(root_having, ROOT_AT, "version", [1], no_version)
    yield from parts(root_having, ROOT_AT, "schema", ["x", None], ["", 5])
    tables: list[Payload] = [
        {"include_list": ["a", "b"]}, {"include_pattern": "%"},
        {"include_list": None, "include_pattern": "x"},
        {"include_list": [], "include_pattern": "x", "exclude_pattern": "y"},
        {**TABLES, "include_pattern": None, "exclude_pattern": None},
    ]  # fmt: skip
    yield from parts(root_having, ROOT_AT, "tables", tables, [None])
    yield from parts(root_having, ROOT_AT, "surprise", [], [1])
    for wrong, at in (
        ({}, "include_list"), ({"include_list": []}, "include_list"),
        ({"exclude_pattern": "x"}, "include_list"), ({"include_list": "a"}, "include_list"),
        ({"include_list": ["a", ""]}, "include_list.1"),
        ({"include_pattern": ""}, "include_pattern"),
        ({**TABLES, "more": 1}, "more"), ("x", "_schema"),
    ):  # fmt: skip
        payload = root_having(tables=wrong)
        yield Case("a3", "test-outcomes", payload, f"{ROOT_AT}.tables.{at}")
    for name in ROOT:
        less = {key: value for key, value in ROOT.items() if key != name}
        yield Case("a3", "test-outcomes", with_testgen(less, ITEM), f"{ROOT_AT}.{name}")
    group = "table_group_configuration"
    yield from parts(root_having, ROOT_AT, group, [GROUP, None], [])
    for part, bad in (
        ("group_id", "x"),
        ("group_id", 5),
        ("project_code", ""),
        ("more", 1),
    ):
        payload = root_having(**{group: {**GROUP, part: bad}})
        yield Case("a3", "test-outcomes", payload, f"{ROOT_AT}.{group}.{part}")
    yield Case(
        "a3", "test-outcomes", root_having(**{group: {}}), f"{ROOT_AT}.{group}.group_id"
    )
    full = {
        **GROUP,
        "uses_sampling": True,
        "sample_percentage": "5",
        "sample_minimum_count": 9,
    }
    yield Case("a3", "test-outcomes", root_having(**{group: full}), None)
    for field in ("table", "test_suite"):
        yield from parts(item_having, ITEM_AT, field, ["x"], no_text)
    yield from parts(item_having, ITEM_AT, "version", [1], no_version)
    yield from parts(item_having, ITEM_AT, "columns", [["a"], [], None], ["a", 5])
    good: list[Payload] = [
        [],
        *([{"name": "a", "value": each}] for each in (1, 1.5, "x", "5")),
    ]
    yield from parts(item_having, ITEM_AT, "test_parameters", good, ["x", 5, {}])
    yield from parts(item_having, ITEM_AT, "surprise", [], [1])
    for name in ITEM:
        less = {key: value for key, value in ITEM.items() if key != name}
        yield Case("a3", "test-outcomes", with_testgen(ROOT, less), f"{ITEM_AT}.{name}")
    for wrong, at in (
        ({"name": "a"}, "value"), ({"value": 1}, "name"),
        ({"name": "", "value": 1}, "name"),
        ({"name": "a", "value": ""}, "value"), ({"name": "a", "value": True}, "value"),
        ({"name": "a", "value": None}, "value"), ({"name": "a", "value": 1, "x": 2}, "x"),
        ("x", "_schema"),
    ):  # fmt: skip
        payload = item_having(test_parameters=[wrong])
        yield Case("a3", "test-outcomes", payload, f"{ITEM_AT}.test_parameters.0.{at}")
