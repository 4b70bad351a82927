"""What the Observability server takes and refuses, as a table, and what we mend.

The sections are those of the contract's description: a2 fields of every event, a3 fields
of one event type, a4 times and links, a5 heartbeats, a6 what the server takes and then
loses or breaks on (so we refuse it although the server answers 204), and size for the
limit of a whole event. Each row is one payload.
"""

from __future__ import annotations

from .case_parts import ABSENT, Case, Change
from .event_cases import (
    components,
    dataset_operation,
    message_log,
    metric_log,
    run_status,
    texts,
    tools_and_the_rest,
)
from .mended_cases import mended
from .outcome_cases import outcome_fields, outcomes, testgen_fields, testgen_rows
from .value_cases import harmful, heartbeats, moments_and_links, sizes

__all__ = ["ABSENT", "CASES", "CHANGES", "Case", "Change"]

CASES: list[Case] = [
    *components(), *texts(), *tools_and_the_rest(), *run_status(), *dataset_operation(),
    *message_log(), *metric_log(), *outcomes(), *outcome_fields(), *testgen_rows(),
    *testgen_fields(), *moments_and_links(), *heartbeats(), *harmful(), *sizes(),
]  # fmt: skip
CHANGES: list[Change] = list(mended())
