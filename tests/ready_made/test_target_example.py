"""jobs.target_example: what a tool says on a WebSocket is reported."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.target_example import ExampleSettings, target_example, understand
from py_agent import Agent, ContractError
from py_agent.testing import FakeClock

from ..engine.support import Calls
from .websocket_server import ScriptedServer, send

RUN = {"pipeline_key": "nightly", "run_key": "42", "status": "running"}
OPERATION = {"dataset_key": "orders", "operation": "write"}


@pytest.fixture
def target() -> Iterator[ScriptedServer]:
    """A tool that speaks on a WebSocket."""
    made = ScriptedServer()
    yield made
    made.close()


class Watching:
    """An agent that watches the tool, and notes what it publishes."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.agent = Agent(path, clock=self.clock, grace=10)
        self.calls = Calls()
        self.agent.add_listener(lambda event: self.calls.note(event.event_type), {},
                                name="note")  # fmt: skip

    def start(self, url: str, component_type: str = "BATCH_PIPELINE") -> None:
        """Begin to watch."""
        settings = ExampleSettings(target_url=url, component_type=component_type)
        self.agent.add_job(target_example, keep=True, settings=settings)
        self.agent.start()

    def events(self) -> list[Any]:
        """Return what is in the store."""
        return self.agent.handler.query_events({})


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    """An agent that is not started."""
    made = Watching(tmp_path / "agent.sqlite")
    yield made
    made.agent.stop()


def test_messages_become_run_statuses(watching: Watching, target: ScriptedServer) -> None:
    """Given messages of a tool, When watched, Then each is a run status, checked."""
    ended = {**RUN, "status": "COMPLETED"}
    target.script[:] = [send(json.dumps(RUN), json.dumps(ended))]
    watching.start(target.url)
    assert watching.calls.await_count(2) == ["run-status", "run-status"]
    assert [each.data["status"] for each in watching.events()] == ["RUNNING", "COMPLETED"]


def test_a_message_that_makes_no_sense_stops_no_other(
    watching: Watching, target: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given messages that would be refused, When watched, Then the good one arrives and
    the log names the field.
    """
    caplog.set_level(logging.WARNING)
    wrong = json.dumps({**RUN, "status": "PENDING"})
    target.script[:] = [send("no JSON", "[]", wrong, json.dumps(RUN))]
    watching.start(target.url)
    watching.calls.await_count(1)
    assert [each.data["run_key"] for each in watching.events()] == ["42"]
    assert "is left out" in caplog.text


def test_what_is_said_again_is_known(watching: Watching, target: ScriptedServer) -> None:
    """Given a tool that says all again after a restart of the agent, Then it is one."""
    target.script[:] = [send(json.dumps(RUN))]
    watching.start(target.url)
    watching.calls.await_count(1)
    watching.agent.stop()
    other = {**RUN, "run_key": "43"}
    target.script[:] = [send(json.dumps(RUN), json.dumps(other))]
    watching.agent.start()
    watching.calls.await_count(2)
    assert [each.data["run_key"] for each in watching.events()] == ["42", "43"]


@pytest.mark.parametrize(
    ("component_type", "said", "event_type"),
    [
        ("BATCH_PIPELINE", RUN, "run-status"),
        ("DATASET", RUN, "run-status"),
        ("DATASET", OPERATION, "dataset-operation"),
    ],
)
def test_a_message_is_understood(
    component_type: str, said: dict[str, Any], event_type: str
) -> None:
    """Given a message, Then its type is that of its component, its identifier stable."""
    first = understand(component_type, json.dumps(said))
    again = understand(component_type, json.dumps(dict(reversed(said.items()))).encode())
    assert first == again
    assert first[0] == event_type


def test_an_operation_is_no_run_of_a_pipeline() -> None:
    """Given a pipeline, When it tells a dataset's operation, Then the field is named."""
    with pytest.raises(ContractError):
        understand("BATCH_PIPELINE", json.dumps(OPERATION))


@pytest.mark.parametrize("written", ["dataset", "DATASET", "Batch_Pipeline"])
@pytest.mark.parametrize("url", ["ws://host/x", "wss://host"])
def test_the_settings_take_any_case(written: str, url: str) -> None:
    """Given a component type in any case and a WebSocket's URL, Then both are taken."""
    settings = ExampleSettings(target_url=url, component_type=written)
    assert settings.component_type == written.upper()
    assert settings.timeout == 120.0


@pytest.mark.parametrize(
    "wrong",
    [{"target_url": "http://host"}, {"component_type": "REPORT"}, {"timeout": -1},
     {"timeout": 0}],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Given a setting that cannot be right, Then it is refused."""
    given = {"target_url": "ws://host", "component_type": "DATASET", **wrong}
    with pytest.raises(ValidationError):
        ExampleSettings(**given)
