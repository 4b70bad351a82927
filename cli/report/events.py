"""The sections of a report about events. Pure: facts in, HTML out."""

from __future__ import annotations

from py_agent.cli.report.facts import MOST_NAMED, Facts
from py_agent.cli.report.shapes import (
    Series,
    added,
    series,
    strips,
)
from py_agent.cli.report.svg import (
    ALL,
    BARS,
    bars,
    escape,
    figure,
    hovers,
)
from py_agent.cli.report.window import Window
from py_agent.cli.report.words import (
    article,
    as_table,
    count,
    name,
    panel,
    plural,
    row,
    rows,
    shares_of,
    shortened,
    table,
    time_axis,
)


def event_panel(facts: Facts) -> str:
    """Return new events over time, a row for each of the busiest types."""
    window, types = facts.window, facts.types
    if not types.events:
        return panel("Events", "No event was published in this time.")
    shares, (grid, foot) = shares_of(window), time_axis(window)
    named = series(facts.events, [t.event_type for t in types.rows], len(shares) - 1)
    whole = added(named)
    busiest = max(range(len(whole.values)), key=whole.values.__getitem__)
    lead = (
        f"{plural(types.events, 'new event')} of {plural(types.types, 'type')}. The "
        f"busiest time was {escape(window.say_bin(busiest))}, with {count(whole.peak)}. "
        f"A bar is {escape(article(window.width))}; each row has a scale of its own."
    )
    parts = []
    if len(named) > 1:
        plot = bars(whole.values, shares, ALL) + _event_hovers(window, shares, named)
        parts.append(_event_row("e", "all types", whole, plot, facts, grid, "all"))
    for number, each in enumerate(named):
        label = _type_label(each, types.types - len(types.rows))
        kind = "others" if each.name is None else ""
        plot = bars(each.values, shares)
        parts.append(_event_row(f"e{number}", label, each, plot, facts, grid, kind))
    return panel("Events", lead, rows(parts, foot), as_table(_event_table(facts, named)))


def _type_label(each: Series, left: int) -> str:
    return f"and {plural(left, 'other')}" if each.name is None else each.name


def _event_row(
    key: str, label: str, each: Series, plot: str, facts: Facts, grid: list[float],
    kind: str,
) -> str:  # fmt: skip
    window = facts.window
    about = (
        f"{plural(each.total, 'event')}; the most are {count(each.peak)}, "
        f"{window.say_bin(each.peak_bin)}"
    )
    title = f"{shortened(label, 60)}: new events by {window.width}"
    note = f"{count(each.total)}<small>at most {count(each.peak)}</small>"
    height = ALL if kind == "all" else BARS
    return row(name(label), figure(key, height, title, about, plot, grid), note, kind)


def _event_hovers(window: Window, shares: list[float], named: list[Series]) -> str:
    texts = []
    for bin in range(len(shares) - 1):
        told = [
            f"{shortened(each.name or 'others', 40)} {count(each.values[bin])}"
            for each in named
            if each.values[bin]
        ]
        if told:
            text = f"{window.say_bin(bin)}: {', '.join(told)}"
            texts.append((shares[bin], shares[bin + 1], text))
    return hovers(texts, ALL)


def _event_table(facts: Facts, named: list[Series]) -> str:
    known = {each.event_type: each for each in facts.types.rows}
    cells = []
    for each in named:
        last = known[each.name].last if each.name in known else None
        label = _type_label(each, facts.types.types - len(known))
        cells.append(
            (name(label), count(each.total), count(each.peak),
             escape(facts.window.say_bin(each.peak_bin)), escape(facts.window.say(last)))
        )  # fmt: skip
    head = ("Type", "Events", "At most", "When", "Last")
    return table(head, cells, (1, 2), wide=True)


def named_panel(facts: Facts) -> str:
    """Return what failed most, what happened most, and who published most."""
    parts = [_failing(facts), _busy(facts), _publishers(facts)]
    if not any(parts):
        return ""
    lead = "What stands out by name, in this time."
    return panel("Identifiers and publishers", lead, *parts)


def _failing(facts: Facts) -> str:
    """Return what failed most, but for the dead letters, which stand above with more."""
    dead = {(each.listener, each.event_type, each.identifier) for each in facts.dead}
    failing = [
        each for each in facts.failing
        if (each.listener, each.event_type, each.identifier) not in dead
    ]  # fmt: skip
    if not failing:
        return ""
    cells = [
        (f"{name(each.identifier)}<small>{name(each.event_type)}</small>",
         name(each.listener), count(each.how_many), escape(each.state or "gone"),
         name(f"{each.kind}: {each.message}".rstrip(": "), 120))
        for each in failing[:MOST_NAMED]
    ]  # fmt: skip
    head = ("Identifier", "Listener", "Failures", "Now", "Last error")
    besides = ", besides the dead letters" if dead else ""
    return f"<h3>Failed most often{besides}</h3>{table(head, cells, (2,), wide=True)}"


def _busy(facts: Facts) -> str:
    if not facts.busy:
        return ""
    cells = [
        (name(each.identifier), count(each.how_many), escape(facts.window.say(each.last)))
        for each in facts.busy
    ]
    head = ("Identifier", "Event types", "Last")
    return f"<h3>Identifiers with the most events</h3>{table(head, cells, (1,))}"


def _publishers(facts: Facts) -> str:
    known = {
        each.job: each
        for each in strips([], facts.run_sums, [], 1)
        if each.published or each.duplicates
    }
    if not facts.sources:
        return ""
    cells = []
    for source, how_many in facts.sources:
        run = known.get(source or "")
        again = count(run.duplicates) if run else ""
        label = "by hand, or by another program" if source is None else source
        cells.append((name(label), count(how_many), again))
    head = ("Published by", "New events", "Known already")
    return f"<h3>Who published most</h3>{table(head, cells, (1, 2))}"
