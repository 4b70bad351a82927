"""The heartbeat: a service that tells Observability that this agent is alive.

It goes on while reports fail: that is for `agent doctor`, and for the server, to tell. The
server overwrites the latest event's moment with whatever comes, also with nothing; so it
is stored before it is sent, and never goes back.
"""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from ..errors import HttpError
from ..http.text import shown_url
from ..retry import StopAgent
from ..tally import Tally
from .client import HEARTBEAT, UNAUTHORIZED, Verdict, post, verdict
from .link import Link
from .models import validate
from .settings import CoreSettings, ObservabilitySettings

if TYPE_CHECKING:
    from ..context import Handler

TOOL = "py_agent"  # where the settings name no other
TROUBLE = "trouble"  # what `agent doctor` tells
LATEST = "latest_event_timestamp"
AGAIN_SECONDS = 3_600.0  # how often the same trouble is logged


def heartbeat(
    handler: Handler, core: CoreSettings, observability: ObservabilitySettings
) -> None:
    """Send a heartbeat now and then each `heartbeat_period`; a job with `keep=True`.

    Args:
        handler: sends, waits and remembers.
        core: whose heart beats, how often, and where it is told.
        observability: how it is told.

    Raises:
        StopAgent: the key is refused, and `exit_on_unauthorized` is set.
    """
    handler.log.info(
        "heartbeats go to %s as %s, every %g s",
        shown_url(core.observability_base_url), core.agent_key, core.heartbeat_period,
    )  # fmt: skip
    troubles = _Troubles(handler)
    due = handler.clock.boot()
    while not handler.stop_requested:
        _beat(handler, core, observability, troubles)
        now = handler.clock.boot()
        due = next_due(due, now, core.heartbeat_period)
        handler.wait(due - now)


def next_due(due: float, now: float, period: float) -> float:
    """Return when the next beat is due: in step with the first; missed ones are one.

    Args:
        due: when the last beat was due.
        now: the present.
        period: seconds from one to the next.
    """
    missed = max(0, int((now - due) / period))
    return due + (missed + 1) * period


def _beat(
    handler: Handler,
    core: CoreSettings,
    how: ObservabilitySettings,
    troubles: _Troubles,
) -> None:
    body = {
        "key": core.agent_key,
        "tool": core.agent_type or TOOL,
        "version": version("py-agent"),
        LATEST: _latest(handler),
    }
    limit = min(how.read_timeout, core.heartbeat_period)
    try:
        post(handler.http, core, how, HEARTBEAT, validate("heartbeat", body), limit)
    except HttpError as error:
        if verdict(error) is not Verdict.UNAUTHORIZED:
            troubles.say(str(error))
            return
        told = UNAUTHORIZED.format(what="heartbeats", status=error.status)
        if how.exit_on_unauthorized:
            raise StopAgent(told) from error
        troubles.say(told)
    else:
        handler.shared(Tally).beat = handler.clock.boot()
        troubles.end()


def _latest(handler: Handler) -> str | None:
    """Return the latest event's moment, having stored it if it is a new one."""
    stored: str | None = handler.state.get(LATEST)
    found = handler.shared(Link).latest
    if found is not None and (stored is None or found > datetime.fromisoformat(stored)):
        stored = handler.state[LATEST] = found.isoformat()
        handler.checkpoint()
    return stored


class _Troubles:
    """Says each trouble when it comes, and then once an hour."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._said = ""
        self._when = 0.0

    def say(self, trouble: str) -> None:
        boot = self._handler.clock.boot()
        if trouble != self._said or boot - self._when >= AGAIN_SECONDS:
            self._said, self._when = trouble, boot
            self._note(trouble)
            self._handler.log.warning("no heartbeat arrives: %s", trouble)

    def end(self) -> None:
        if self._said:
            self._handler.log.info("heartbeats arrive again")
        if self._handler.state.get(TROUBLE):
            self._note(None)
        self._said = ""

    def _note(self, trouble: str | None) -> None:
        self._handler.state[TROUBLE] = trouble
        self._handler.checkpoint()
