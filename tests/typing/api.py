"""How users' code is typed; never run, only checked."""

from __future__ import annotations

from datetime import timedelta

from py_agent import (
    Agent,
    Discard,
    Event,
    Handler,
    Pause,
    Publication,
    Published,
    Retry,
    RetryPolicy,
    Settings,
    listen_for,
)

agent = Agent("my.sqlite", durability="fast", grace=timedelta(seconds=5))


def job(handler: Handler, path: str) -> None:
    publication: Publication = handler.publish("a", "1", {"path": path})
    if publication:
        event: Event = publication.event
        name: str = event.event_type
        print(name)
    many: Published = handler.publish_many(("a", str(n), None) for n in range(3))
    print(many.total, many.new)
    found: list[Event] = handler.query_events({"event_type": ("==", "a")}, limit=5)
    print(found)


@listen_for({"event_type": ("==", "a")}, retry=RetryPolicy(attempts=None), timeout=5)
def listener(event: Event, handler: Handler) -> None:
    if event.data is None:
        raise Discard("nothing in it")
    if event.delivery_key is None:
        raise Retry(after=timedelta(minutes=1), count=False)
    raise Pause("closed", after=3600)


# A marked function keeps its type, so that a test calls it plainly.
listener(event=Event("a", "1"), handler=agent.handler)

agent.add_job(job, every="10 minutes", path="inbox")
agent.add_job(job, at="02:30", name="nightly", path="inbox", hold_above=50)
agent.add_job(job, at="03:30", name="guarded", path="inbox", hold_above="usual")
agent.add_listener(listener, ordered_by=("data.a", "identifier"), concurrency=2)
agent.schedule.every(10).minutes.do(job, path="inbox", name="often").tag("polls")
drained: bool = agent.drain(timeout=10)


class ShopSettings(Settings, section="shop", env_prefix="DK_SHOP_"):
    url: str
    pages: int = 10


def with_settings(handler: Handler, mine: ShopSettings) -> None:
    url: str = mine.url
    pages: int = handler.settings(ShopSettings).pages
    print(url, pages)
