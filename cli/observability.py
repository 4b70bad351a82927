"""`agent observability`: try the way to DataKitchen Observability by hand."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import click
from py_agent.cli.options import Common, common, json_value

from py_agent.errors import AgentError, HttpError, UsageError

if TYPE_CHECKING:
    from py_agent.http import Http
    from py_agent.observability import CoreSettings, ObservabilitySettings

LEAST_SKEW = 2.0  # seconds; a header tells whole ones, and takes a while to come
MOST_SKEW = 60.0  # seconds; more than that puts events into the wrong order
EVENT_TYPES = (  # as in py_agent.observability, which --help need not wait for
    "run-status", "dataset-operation", "message-log", "metric-log", "test-outcomes",
)  # fmt: skip


@click.group()
def observability() -> None:
    """Try the way to DataKitchen Observability by hand."""


def _configured(common: Common) -> tuple[CoreSettings, ObservabilitySettings]:
    from py_agent.observability import CoreSettings, ObservabilitySettings
    from py_agent.settings.sections import Sections

    sections = Sections(common.config)
    return sections.get(CoreSettings), sections.get(ObservabilitySettings)


@observability.command()
@common
def check(common: Common) -> None:
    """Say whether the server answers, takes the key, and shows the same time.

    Nothing is stored on the server. Exit code 1 if anything is wrong.
    """
    from py_agent.http import Http

    core, how = _configured(common)
    good = True
    with Http() as http:
        for what, fine, said in _findings(http, core, how):
            good = good and fine
            click.echo(f"{'ok   ' if fine else 'wrong'}  {what}: {said}")
    sys.exit(0 if good else 1)


def _findings(
    http: Http, core: CoreSettings, how: ObservabilitySettings
) -> Iterator[tuple[str, bool, str]]:
    """Yield what was looked at, whether it is fine, and in which words."""
    from py_agent.http.text import shown_url
    from py_agent.observability import event_path

    base = core.observability_base_url
    url = f"{base}events/readyz"
    options = {"timeout": how.read_timeout, "verify": how.verify, "retries": 0}
    try:
        answer = http.get(url, allow_redirects=False, **options)
    except HttpError as error:
        yield "server", False, str(error)
        return
    if answer.status_code != 200:
        told = f"{shown_url(url)} answers with status {answer.status_code}, not 200"
        yield "server", False, f"{told}; is observability_base_url right?"
        return
    yield "server", True, f"{shown_url(base)} answers"
    paths = (("events", event_path("run-status")), ("heartbeats", "agent/v1/heartbeat"))
    for what, path in paths:
        yield f"key for {what}", *_key(http, core, how, path)
    skew = skew_of(answer.headers.get("Date", ""), datetime.now(UTC))
    if skew is not None:
        fine = abs(skew) <= MOST_SKEW
        side = "ahead of" if skew > 0 else "behind"
        told = f"{abs(skew):.0f} s {side} the server's"
        yield "clock", fine, told if abs(skew) > LEAST_SKEW else "as the server's"


def _key(
    http: Http, core: CoreSettings, how: ObservabilitySettings, path: str
) -> tuple[bool, str]:
    """Post nothing at all: the server looks at the key first, and then refuses that."""
    from py_agent.observability import post

    try:
        post(http, core, how, path, {})
    except HttpError as error:
        if error.status == 400:
            return True, "it is taken"
        return False, str(error)
    return True, "it is taken"


def skew_of(date: str, now: datetime) -> float | None:
    """Return how many seconds our clock is ahead of a server's `Date`, None without."""
    try:
        theirs = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return (now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds()


@observability.command()
@click.argument("event_type", type=click.Choice(EVENT_TYPES), metavar="TYPE")
@click.option(
    "--data", metavar="JSON|@FILE|-", required=True,
    help="The payload; @FILE and - (stdin) read it.",
)  # fmt: skip
@common
def send(event_type: str, data: str, common: Common) -> None:
    """Check a payload and post it now, without a store and without trying again.

    TYPE is run-status, dataset-operation, message-log, metric-log or test-outcomes.
    """
    from py_agent.http import Http
    from py_agent.observability import UNAUTHORIZED, event_path, post, validate

    core, how = _configured(common)
    payload: Any = json_value(data)
    if isinstance(payload, dict):
        payload.setdefault("event_timestamp", datetime.now(UTC).isoformat())
    wire = validate(event_type, payload)
    try:
        with Http() as http:
            post(http, core, how, event_path(event_type), wire)
    except HttpError as error:
        if error.status not in (401, 403):
            raise
        raise AgentError(UNAUTHORIZED.format(what="events", status=error.status)) from error
    click.echo("The server has taken it")


@observability.command("stand-in")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8082, show_default=True,
    help="Where it listens, on this machine only; 0 for any that is free.",
)  # fmt: skip
@click.option("--key", default="any-key", show_default=True, help="The key that it takes.")
@common
def stand_in(port: int, key: str, common: Common) -> None:
    """Be a server like Observability, to try an agent without one.

    It takes and refuses what the real server does, shows it, and forgets it. Ctrl-C ends
    it.
    """
    from py_agent.cli.output import text
    from py_agent.cli.stand_in import make_server

    common.prepare("warning")
    try:
        server = make_server(port, key, lambda line: click.echo(text(line)))
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}; choose another with --port"
        ) from error
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    click.echo(f"It listens; set DK_OBSERVABILITY_BASE_URL={url} and "
               f"DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY={key}")  # fmt: skip
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
