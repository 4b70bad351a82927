"""Reports on the runs of a data tool, as events that are stored once.

An event's type is one of Observability's, its data is the payload. Its identifier is
made of what it is about and what it says, so that a poll which sees the same thing again
publishes nothing, whatever was restarted meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .models import normalised

if TYPE_CHECKING:
    from ..context import Handler

RUNNING, COMPLETED, FAILED = "RUNNING", "COMPLETED", "FAILED"
WARNED = "COMPLETED_WITH_WARNINGS"

MAX_KEY = 255  # characters of a key or name, as the server counts them
MAX_RUN_NAME = 1_024
MOST_BYTES = 20_000  # of a text: two of them, escaped as JSON, stay below 100 kB
MAX_IDENTIFIER = 1_000  # characters; the store takes a few more
_DIGEST = 16  # characters that tell cut keys apart


@dataclass(frozen=True)
class Report:
    """One run of a pipeline in another tool, and what is told of it.

    Args:
        handler: publishes.
        tool: the tool's name, as `AIRFLOW`.
        pipeline: what tells the pipeline from others.
        run: what tells the run from others of its pipeline.
        pipeline_name: what people call the pipeline.
        run_name: what people call the run.
        url: where the run can be looked at.
    """

    handler: Handler
    tool: str
    pipeline: str
    run: str
    pipeline_name: str | None = None
    run_name: str | None = None
    url: str | None = None

    def status(
        self,
        status: str,
        at: datetime | str,
        *,
        task: str | None = None,
        task_name: str | None = None,
        attempt: int = 1,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Publish that the run, or a task of it, has come to a status.

        Args:
            status: RUNNING, COMPLETED, COMPLETED_WITH_WARNINGS or FAILED.
            at: when; aware, or ISO 8601 text.
            task: what tells the task from others of the run; None for the run itself.
            task_name: what people call the task.
            attempt: of a task or run that is tried again, which try it is.
            metadata: JSON of your own.

        Returns:
            Whether it was new.

        Raises:
            ContractError: Observability would refuse it.
        """
        return self._publish(
            "run-status", (task or "", str(attempt), status),
            status=status, event_timestamp=at, metadata=dict(metadata or {}),
            **_task(task, task_name),
        )  # fmt: skip

    def message(
        self,
        level: str,
        text: str,
        at: datetime | str,
        *,
        details: str | None = None,
        task: str | None = None,
        task_name: str | None = None,
        attempt: int = 1,
    ) -> bool:
        """Publish a line of the run's log. Texts that are too long are cut.

        Args:
            level: ERROR, WARNING or INFO.
            text: the message; nothing is published of an empty one.
            at: when; aware, or ISO 8601 text.
            details: more of it, such as a traceback.
            task: the task that it is about.
            task_name: what people call the task.
            attempt: of a task that is tried again, which try it is.

        Returns:
            Whether it was new.

        Raises:
            ContractError: Observability would refuse it.
        """
        if not text:
            return False
        told = hashlib.sha256(f"{level} {text}".encode(errors="replace")).hexdigest()
        return self._publish(
            "message-log", (task or "", str(attempt), told[:_DIGEST]),
            log_level=level, message=fit_text(text), event_timestamp=at,
            message_details=None if details is None else fit_text(details),
            **_task(task, task_name),
        )  # fmt: skip

    def event(self, event_type: str, about: tuple[str, ...], **fields: Any) -> bool:
        """Publish any other event of the run.

        Args:
            event_type: one of Observability's.
            about: what tells it from other events of this type and run.
            fields: the rest of its payload; `event_timestamp` is one of them.

        Returns:
            Whether it was new.

        Raises:
            ContractError: Observability would refuse it.
        """
        return self._publish(event_type, about, **fields)

    def _publish(self, event_type: str, about: tuple[str, ...], **fields: Any) -> bool:
        payload = {
            "pipeline_key": safe_key(self.pipeline),
            "run_key": safe_key(self.run),
            "component_tool": self.tool,
            "pipeline_name": _cut(self.pipeline_name, MAX_KEY),
            "run_name": _cut(self.run_name, MAX_RUN_NAME),
            "external_url": self.url,
            **fields,
        }
        given = {key: value for key, value in payload.items() if value is not None}
        wire, notices = normalised(event_type, given)
        identifier = identifier_for(self.tool, self.pipeline, self.run, *about)
        new = self.handler.publish(event_type, identifier, wire).new
        for notice in notices if new else ():
            self.handler.log.info("%s: %s", identifier, notice)
        return new


def _task(task: str | None, name: str | None) -> dict[str, str | None]:
    return {
        "task_key": None if task is None else safe_key(task),
        "task_name": _cut(name, MAX_KEY),
    }


def _cut(text: str | None, most: int) -> str | None:
    return text[:most] if text else None


def fit_text(text: str) -> str:
    """Return a text that fits into a report: what cannot be shown is a question mark."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    return shown.encode()[:MOST_BYTES].decode(errors="ignore")


def safe_key(key: str) -> str:
    """Return a key as the server can take and keep it.

    A key that is too long, empty, has outer blanks or characters beyond U+FFFF would be
    refused, merged with another or lost after it was taken; it gets a digest instead of
    what cannot be kept. Keys that differ by case or accents alone are left as they are,
    though the server's database may take them for one.
    """
    kept = "".join(c for c in key if ord(c) <= 0xFFFF and not 0xD800 <= ord(c) <= 0xDFFF)
    kept = kept.strip()
    if kept == key and 1 <= len(key) <= MAX_KEY:
        return key
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{kept[: MAX_KEY - _DIGEST - 1]}~{digest}"


def identifier_for(*parts: str) -> str:
    """Return an identifier made of parts, each of which stays apart from the others."""
    text = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
    text = "".join(c if c != "\0" and not 0xD800 <= ord(c) <= 0xDFFF else "�" for c in text)
    if len(text) <= MAX_IDENTIFIER:
        return text
    digest = hashlib.sha256("/".join(parts).encode(errors="surrogatepass")).hexdigest()
    return f"{text[: MAX_IDENTIFIER - len(digest) - 1]}~{digest}"
