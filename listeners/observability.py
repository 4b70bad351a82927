"""A listener that forwards run statuses and the like to DataKitchen Observability."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from py_agent import (
    Discard,
    Event,
    Handler,
    HttpError,
    Pause,
    Retry,
    RetryPolicy,
    StopAgent,
    StoppedError,
    listen_for,
)
from py_agent.observability import (
    EVENT_TYPES,
    UNAUTHORIZED,
    ContractError,
    CoreSettings,
    Link,
    ObservabilitySettings,
    Verdict,
    event_path,
    is_there,
    post,
    split,
    validate,
    verdict,
)

DOUBT = "in doubt: {why}, and the server keeps every repeat; see what it has"


@listen_for(
    {"event_type": ("in", list(EVENT_TYPES))},
    retry=RetryPolicy(attempts=None, first=1, factor=2, cap=300),
    concurrency=4,
    ordered_by=("~data.pipeline_key", "~data.run_key"),
)
def forward(
    handler: Handler,
    event: Event,
    core: CoreSettings,
    observability: ObservabilitySettings,
) -> None:
    """Post an event to Observability; its type is one of the five, its data the payload.

    A server that is away costs time only: everything waits in the store, in order per
    run, and is sent at `events_per_second` when it is back. What the server refuses is a
    dead letter with the server's text, and holds back nothing else. When it is not known
    whether a post arrived, a run's status is sent again; the server may then raise its
    alert "unexpected status change" for a run that had ended. Of other types it would
    keep both, so they become dead letters, `in doubt`; `resend` chooses.

    Args:
        handler: sends.
        event: what to post. Without `event_timestamp` it gets the moment at which it was
            published. With more outcomes of tests than one post may hold, it is
            published again in parts.
        core: where to, and with which key: `[core]` or `DK_*`.
        observability: how: `[observability]` or `DK_OBSERVABILITY_*`.

    Raises:
        Discard: it will never be taken, or may have been.
        Retry: the server failed, and may be able to take it later.
        Pause: no report can be sent for now.
        StopAgent: the key is refused, and `exit_on_unauthorized` is set.
        StoppedError: the agent stops.
    """
    resend = event.event_type in observability.resend
    if event.in_doubt and not resend:
        raise Discard(DOUBT.format(why="the agent ended while this was being sent"))
    try:
        payload = _dated(event)
        parts = split(payload) if event.event_type == "test-outcomes" else []
        wire = {} if len(parts) > 1 else validate(event.event_type, payload)
    except ContractError as error:
        raise Discard(str(error)) from error
    if len(parts) > 1:
        _publish_parts(handler, event, parts)
        return
    link = handler.shared(Link)
    if not handler.wait(link.turn(handler.clock.boot(), observability.events_per_second)):
        raise StoppedError("the agent stops, so this report waits for the next start")
    _ask_first(handler, link, core, observability, resend)
    handler.begin_effect()
    try:
        post(handler.http, core, observability, event_path(event.event_type), wire)
    except HttpError as error:
        raise _consequence(handler, link, event, error, core, observability) from error
    _note_arrival(handler, link, min(_moment(wire), handler.clock.now()))


def _ask_first(
    handler: Handler,
    link: Link,
    core: CoreSettings,
    how: ObservabilitySettings,
    resend: bool,
) -> None:
    """Let nothing go to a server that is known to be away.

    What must not be sent twice is risked only on one that has shown that it answers: a
    frozen server would else cost a dead letter at each try.
    """
    boot = handler.clock.boot()
    if (left := link.closed(boot)) > 0:
        raise Pause(link.reason, after=left)
    if link.doubtful and not resend and not is_there(handler.http, core, how):
        now = handler.clock.boot()
        raise Pause(link.reason, after=link.away(now, link.reason))


def _dated(event: Event) -> object:
    """Return the payload; without a moment of its own it is about when it was stored."""
    data = event.data
    if isinstance(data, dict) and data.get("event_timestamp") is None:
        return {**data, "event_timestamp": event.created.isoformat()}
    return data


def _publish_parts(handler: Handler, event: Event, parts: list[dict[str, Any]]) -> None:
    for number, part in enumerate(parts, 1):
        name = f"{event.identifier[:1_000]}#{number}/{len(parts)}"
        handler.publish(event.event_type, name, part)


def _note_arrival(handler: Handler, link: Link, moment: datetime | None = None) -> None:
    if link.arrived(moment):
        handler.log.info("Observability takes reports again")


def _moment(wire: dict[str, object]) -> datetime:
    # datetime knows Z and +hhmm, and so every form that a checked payload has.
    return datetime.fromisoformat(str(wire["event_timestamp"]))


def _consequence(
    handler: Handler,
    link: Link,
    event: Event,
    error: HttpError,
    core: CoreSettings,
    how: ObservabilitySettings,
) -> Exception:
    """Return what to raise after an error.

    Several failures in a row may be the server's or those reports' own; whether it
    answers at all tells them apart, so that a few bad reports never stop the others.
    """
    found, told = verdict(error), str(error)
    if found is Verdict.REFUSED:
        _note_arrival(handler, link)
        return Discard(told)
    if found is Verdict.UNAUTHORIZED:
        told = UNAUTHORIZED.format(what="events", status=error.status)
        if how.exit_on_unauthorized:
            return StopAgent(told)
    if found in (Verdict.LOST, Verdict.FAILED):
        several = link.failed(event.identifier)
        away = several and not is_there(handler.http, core, how)
        if found is Verdict.LOST and event.event_type not in how.resend:
            if away:
                link.away(handler.clock.boot(), told)
            return Discard(DOUBT.format(why=f"the answer was lost ({error})"))
        if not away:
            return Retry(after=error.retry_after, reason=told)
    least = error.retry_after or 0.0
    return Pause(told, after=link.away(handler.clock.boot(), told, least))
