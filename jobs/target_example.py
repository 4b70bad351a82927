"""A complete integration, as an example: what a tool says on a WebSocket is reported.

docs/writing-an-agent.md tells how to come to a file like this one.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from jobs.websocket_reader import websocket_reader
from py_agent import Handler, Settings, identifier_of
from py_agent.observability import validate
from py_agent.settings import SocketUrl


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class ExampleSettings(Settings, section="example", env_prefix="DK_EXAMPLE_"):
    """Where the tool is, and what it is.

    Args:
        target_url: ws:// or wss://.
        component_type: BATCH_PIPELINE or DATASET, in any case.
        timeout: seconds that connecting may take.
        period: read and without effect: what is sent is read as it comes.
    """

    target_url: SocketUrl
    component_type: Annotated[Literal["BATCH_PIPELINE", "DATASET"], BeforeValidator(_upper)]
    timeout: float = Field(120.0, gt=0)
    period: float = Field(5.0, ge=0)


def target_example(handler: Handler, settings: ExampleSettings) -> None:
    """Report each message of the tool, for ever; a job with `keep=True`.

    A connection that is lost is made again. A message that Observability would refuse is
    left out, and the log says why; it stops none of the others.

    Publishes:
        `run-status`, identifier: the SHA-256 of the payload, so that a message which the
        tool sends again after a reconnect is known. The payload is the message:
        `{"pipeline_key": "nightly", "run_key": "42", "status": "RUNNING"}`. A DATASET
        that tells an `operation` becomes a `dataset-operation` instead.

    Args:
        handler: publishes.
        settings: where the tool is, and what it is.

    Raises:
        ValueError: the URL cannot be used.
    """
    websocket_reader(
        handler,
        settings.target_url,
        "run-status",
        parse=partial(understand, settings.component_type),
        connect_timeout=settings.timeout,
    )


def understand(component_type: str, message: str | bytes) -> tuple[str, str, Any]:
    """Return the event type, identifier and payload of a message.

    Args:
        component_type: BATCH_PIPELINE or DATASET.
        message: JSON.

    Raises:
        ContractError: Observability would refuse it.
        ValueError: it is no JSON.
    """
    said = json.loads(message)
    operates = isinstance(said, dict) and "operation" in said
    is_dataset = component_type == "DATASET" and operates
    event_type = "dataset-operation" if is_dataset else "run-status"
    payload = validate(event_type, said)
    return event_type, str(identifier_of(payload)), payload
