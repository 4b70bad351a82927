"""W5: does the way of one event get longer with 1,000 listeners that do not want it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from py_agent import Agent

from . import ours
from .end_to_end import listen, publish_and_drain, strict
from .measure import Plan, Row, interleave, row, samples

LISTENERS = 1_000


def measure(plan: Plan) -> Iterator[Row]:
    """Compare with one listener, in the same rounds."""
    events = samples(plan.events(2_000))

    def with_others(others: Callable[[Agent], None]) -> Callable[[Path], float]:
        def contestant(folder: Path) -> float:
            with ours.agent(folder) as agent:
                seen = listen(agent)
                others(agent)
                agent.start()
                return publish_and_drain(agent, events, seen)

        return contestant

    contestants = {
        "raw": lambda folder: strict(folder, events),
        "one": with_others(lambda agent: None),
        "types": with_others(_of_other_types),
        "values": with_others(_of_other_values),
    }
    figures = interleave(contestants, plan)
    yield row(
        "1,000 listeners of other types, to one listener", "events/s", figures,
        ours="types", raw="one", target=">= 0.97",
    )  # fmt: skip
    yield row(
        "1,000 listeners of one type, other == value, to one", "events/s", figures,
        ours="values", raw="one", target=">= 0.95",
    )  # fmt: skip
    yield row(
        "1,000 listeners of other types, to two raw commits", "events/s", figures,
        ours="types",
    )  # fmt: skip


def _never(event: object) -> None:
    raise AssertionError("this listener does not want the event")


def _of_other_types(agent: Agent) -> None:
    for number in range(LISTENERS):
        match = {"event_type": ("==", f"other {number}")}
        agent.add_listener(_never, match, name=f"other {number}")


def _of_other_values(agent: Agent) -> None:
    for number in range(LISTENERS):
        match = {"event_type": ("==", "measured"), "data.number": ("==", -1 - number)}
        agent.add_listener(_never, match, name=f"other {number}")
