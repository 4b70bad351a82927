"""The models of heartbeats and of events about one thing: a run, an access, a log line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from . import fields
from .fields import A_LIST, Fault, Part

COMPONENTS = ("pipeline_key", "dataset_key", "server_key", "stream_key")


class EventPart(Part):
    """The fields of every event, and which component it may be about."""

    pipeline_key: fields.KeyOrNull = None
    pipeline_name: fields.KeyOrNull = None
    dataset_key: fields.KeyOrNull = None
    dataset_name: fields.KeyOrNull = None
    server_key: fields.KeyOrNull = None
    server_name: fields.KeyOrNull = None
    stream_key: fields.KeyOrNull = None
    stream_name: fields.KeyOrNull = None
    run_key: fields.KeyOrNull = None
    run_name: fields.LongName = None
    task_key: fields.KeyOrNull = None
    task_name: fields.KeyOrNull = None
    component_tool: fields.Tool = None
    event_timestamp: fields.Time = ""
    external_url: fields.Link = None
    metadata: fields.Metadata = {}
    payload_keys: Annotated[list[fields.Key], A_LIST] = []

    def rules(self) -> Iterator[Fault]:
        """Yield what is wrong with the component that the event is about."""
        chosen = [each for each in COMPONENTS if getattr(self, each) is not None]
        if not chosen:
            yield "_schema", f"one of {', '.join(COMPONENTS)} must be set"
        elif len(chosen) > 1:
            yield "_schema", f"only one of {' and '.join(chosen)} may be set"
        elif chosen == ["pipeline_key"] and self.run_key is None:
            yield "_schema", "pipeline_key needs run_key"


class RunStatus(EventPart):
    """run-status: a run or one of its tasks is in a state now."""

    status: Annotated[
        str, fields.choice("RUNNING", "COMPLETED", "COMPLETED_WITH_WARNINGS", "FAILED")
    ]

    def rules(self) -> Iterator[Fault]:
        """Yield what is wrong with the run that the event is about."""
        yield from super().rules()
        if self.pipeline_key is None and any(getattr(self, each) for each in COMPONENTS):
            yield "_schema", "pipeline_key and run_key must be set"


class DatasetOperation(EventPart):
    """dataset-operation: a dataset was read or written."""

    operation: Annotated[str, fields.choice("READ", "WRITE")]
    path: fields.Path = None

    def rules(self) -> Iterator[Fault]:
        """Yield what is wrong with the dataset that the event is about."""
        yield from super().rules()
        if self.dataset_key is None:
            yield "dataset_key", "must be set"
        for name in ("pipeline_key", "run_key"):
            if getattr(self, name) is not None:
                yield name, "must not be set"


class MessageLog(EventPart):
    """message-log: a line of a log."""

    log_level: Annotated[str, fields.choice("ERROR", "WARNING", "INFO")]
    message: fields.Text
    message_details: fields.AnyTextOrNull = None


class MetricLog(EventPart):
    """metric-log: a number that was measured."""

    metric_key: fields.Name
    metric_value: fields.Number


class Heartbeat(Part):
    """A sign of life of an agent; no event, and without an event's fields."""

    key: fields.Word
    tool: fields.Word
    version: fields.Word
    latest_event_timestamp: fields.ToldTimeOrNull = None
