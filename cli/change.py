"""Commands that change the store, beside a running agent or without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from py_agent.cli import output
from py_agent.cli.options import Common, common, json_value

from py_agent.errors import AgentError, UsageError

if TYPE_CHECKING:
    from py_agent.registry import Registry
    from py_agent.store.event_store import EventStore


@contextmanager
def _writing(common: Common) -> Iterator[EventStore]:
    """Open the store; at the end, wake the agent that may run on it."""
    from py_agent.clock import SystemClock
    from py_agent.settings.config import read_config
    from py_agent.store.event_store import EventStore
    from py_agent.store.wakeup import wake

    path = common.store()
    durability = read_config(common.config, whole=False).engine.durability or "full"
    store = EventStore.open(path, SystemClock(), durability)
    try:
        yield store
    finally:
        store.close()
        wake(path)


@click.command()
@click.argument("event_type", metavar="TYPE")
@click.argument("identifier")
@click.option(
    "--data", metavar="JSON|@FILE|-", help="The event's data; @FILE and - (stdin) read it."
)
@click.option("--no-deliver", is_flag=True, help="Store it as seen: no listener gets it.")
@click.option("--json", "as_json", is_flag=True, help="Print an object.")
@common
def publish(
    event_type: str, identifier: str, data: str | None, no_deliver: bool, as_json: bool,
    common: Common,
) -> None:  # fmt: skip
    """Publish an event by hand; the listeners of a running agent fire at once."""
    value = json_value(data)
    with _writing(common) as store:
        done = store.publish(event_type, identifier, value, deliver=not no_deliver)
        event = done.event
    if as_json:
        row = {
            "id": event.id, "event_type": event.event_type, "identifier": event.identifier,
            "created": event.created.isoformat(), "source": event.source,
            "data": event.data, "new": done.new,
        }  # fmt: skip
        click.echo(output.as_json(row))
    elif done.new:
        click.echo(f"New event {event.id}")
    else:
        click.echo(f"Duplicate of event {event.id} of {event.created.isoformat()}")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--listener", metavar="NAME", help="All dead letters of this listener.")
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@common
def redeliver(
    ids: tuple[str, ...], listener: str | None, every: bool, common: Common
) -> None:
    """Try deliveries again with the code of today, counting from the start.

    ID is a delivery's id like 12.3, in whatever state it is.
    """
    from py_agent.store import by_hand

    with _writing(common) as store:
        count = by_hand.redeliver(store, _chosen(store, ids, listener, every))
    click.echo(f"{count} to be delivered again")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--listener", metavar="NAME", help="All dead letters of this listener.")
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@click.option("--held", metavar="JOB", help="All that is held of this job; see release.")
@common
def discard(
    ids: tuple[str, ...], listener: str | None, every: bool, held: str | None,
    common: Common,
) -> None:  # fmt: skip
    """Give up deliveries: an owed one becomes a dead letter, a dead one leaves the list.

    ID is a delivery's id like 12.3. What is held leaves no dead letters.
    """
    from py_agent.store import by_hand

    if held is not None and (ids or listener or every):
        raise UsageError("--held JOB takes all that is held of a job; name nothing else")
    with _writing(common) as store:
        if held is not None:
            count = by_hand.discard_held(store, held)
        else:
            count = by_hand.discard(store, _chosen(store, ids, listener, every))
    click.echo(f"{count} discarded")


@click.command()
@click.argument("job", metavar="JOB")
@common
def release(job: str, common: Common) -> None:
    """Deliver what is held of a job that published far more than it should at once.

    Like new events: a listener that is throttled or debounced still leaves most of them
    out. `agent discard --held JOB` drops it all instead.
    """
    from py_agent.store import by_hand

    with _writing(common) as store:
        count = by_hand.release_held(store, job)
    click.echo(f"{count} to be delivered")


def _chosen(
    store: EventStore, ids: tuple[str, ...], listener: str | None, every: bool
) -> list[tuple[int, int]]:
    from py_agent.store import by_hand

    if bool(ids) + bool(listener) + every != 1:
        raise UsageError("name deliveries by id, or use --listener NAME, or --all")
    if ids:
        return [by_hand.parse_id(each) for each in ids]
    return by_hand.dead_letters(store, listener)


@click.command()
@click.argument("listener", metavar="NAME")
@click.option("--type", "event_type", metavar="TYPE", help="Only this event type.")
@click.option("--since", metavar="MOMENT", help="Only events since then, in ISO 8601.")
@common
def replay(
    listener: str, event_type: str | None, since: str | None, common: Common
) -> None:
    """Owe a listener the stored events from before it was added."""
    from py_agent.filters import compile_filter
    from py_agent.store import by_hand

    match: dict[str, tuple[str, Any]] = {}
    if event_type is not None:
        match["event_type"] = ("==", event_type)
    if since is not None:
        match["created"] = (">=", since)
    condition = compile_filter(match)
    with _writing(common) as store:
        count = by_hand.replay(store, listener, condition)
    click.echo(f"{count} to be delivered")


@click.command()
@click.argument("name")
@common
def resume(name: str, common: Common) -> None:
    """Let a paused listener or job go on."""
    from py_agent.store import by_hand

    with _writing(common) as store:
        kind = by_hand.resume(store, name)
    click.echo(f"The {kind} {name} goes on")


def _configured(common: Common) -> Registry:
    """Return the jobs and listeners of agent.toml, as far as it can be read."""
    from py_agent.registry import Registry

    try:
        common.prepare("error")
        return common.agent(None, needed=False).registry
    except AgentError:
        return Registry()


@click.command("forget-job")
@click.argument("name")
@common
def forget_job(name: str, common: Common) -> None:
    """Remove a job that is not in the code any more, with its runs; its events stay."""
    from py_agent.store import by_hand

    if name in {each.name for each in _configured(common).jobs}:
        raise UsageError(f"{name} is still in agent.toml; take it out there first")
    with _writing(common) as store:
        count = by_hand.forget_job(store, name)
    click.echo(f"{name} is forgotten, with {count} run{'' if count == 1 else 's'}")


@click.command("forget-listener")
@click.argument("name")
@common
def forget_listener(name: str, common: Common) -> None:
    """Remove a listener that is not in the code any more, with its deliveries."""
    from py_agent.store import by_hand

    if name in {each.name for each in _configured(common).listeners}:
        raise UsageError(f"{name} is still in agent.toml; take it out there first")
    with _writing(common) as store:
        count = by_hand.forget_listener(store, name)
    click.echo(f"{name} is forgotten, with {count} unfinished deliveries")
