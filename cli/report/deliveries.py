"""The sections of a report about deliveries. Pure: facts in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence

from py_agent.cli.report.facts import Facts
from py_agent.cli.report.shapes import (
    Backlog,
    Latency,
    backlogs,
    latencies,
    quantile,
    say_length,
)
from py_agent.cli.report.svg import (
    AREA,
    BARS,
    Lengths,
    area,
    bars,
    escape,
    figure,
    quantiles,
)
from py_agent.cli.report.words import (
    MOST_CAUSE,
    MOST_ROWS,
    as_table,
    axis,
    count,
    name,
    panel,
    plural,
    row,
    rows,
    shortened,
    table,
    time_axis,
)


def delivery_panel(facts: Facts) -> str:
    """Return how long deliveries took, a distribution for each listener."""
    found = latencies(facts.lengths, facts.names)
    left_out = _without_length(found)
    found = [each for each in found if each.total]
    if not found:
        return panel("Delivery time", f"Nothing was delivered in this time.{left_out}")
    shown = found[:MOST_ROWS]
    lengths = Lengths.around([each.bars() for each in shown])
    ticks = lengths.ticks()
    grid = [share for share, _ in ticks]
    slowest = max(found, key=lambda each: quantile(each.counts, 0.95) or 0)
    lead = (
        "From an event's creation to the end of its delivery, retries included; the "
        f"scale is logarithmic. Slowest is {name(slowest.listener)}: 95% of its deliveries "
        f"ended within {escape(say_length(quantile(slowest.counts, 0.95)))}."
    )
    lead += left_out
    if len(found) > MOST_ROWS:
        lead += f" {_left(found)} not shown."
    parts = [
        _length_row(f"l{number}", each, lengths, grid) for number, each in enumerate(shown)
    ]
    return panel(
        "Delivery time", lead, _length_key(), rows(parts, axis(ticks), "lengths"),
        as_table(_length_table(found[: MOST_ROWS * 2])),
    )  # fmt: skip


def _without_length(found: Sequence[Latency]) -> str:
    """Return the sentences about deliveries that are not in the distribution."""
    backward = sum(each.backward for each in found)
    uncalled = sum(each.uncalled for each in found)
    told = ""
    if uncalled:
        told += (
            f" {plural(uncalled, 'delivery', 'deliveries')} ended without a call, as "
            f"throttled, debounced or not wanted, and left out."
        )
    if backward:
        told += (
            f" {plural(backward, 'delivery', 'deliveries')} ended before the event was "
            f"created, by a clock that was set back, and left out."
        )
    return told


def _left(rows: Sequence[object]) -> str:
    """Return how many listeners have no row of their own, in words."""
    return plural(len(rows) - MOST_ROWS, "other listener is", "other listeners are")


def _length_row(key: str, each: Latency, lengths: Lengths, grid: list[float]) -> str:
    half, most = quantile(each.counts, 0.5) or 0, quantile(each.counts, 0.95) or 0
    plot = bars(lengths.drawn(each.bars()), lengths.shares()) + quantiles(
        [(lengths.place(half), "half"), (lengths.place(most), "most")]
    )
    about = (
        f"{plural(each.total, 'delivery', 'deliveries')}: half within {say_length(half)}, "
        f"95% within {say_length(most)}, the longest {say_length(each.longest)}"
    )
    title = f"{shortened(each.listener, 60)}: how long deliveries took"
    note = f"{escape(say_length(half))}<small>95% within {escape(say_length(most))}</small>"
    total = plural(each.total, "delivery", "deliveries")
    label = f"{name(each.listener)}<small>{total}</small>"
    return row(label, figure(key, BARS, title, about, plot, grid), note)


def _length_key() -> str:
    return (
        '<ul class="key"><li><svg viewBox="0 0 14 22" aria-hidden="true">'
        '<path class="half" d="M7,2V22"/></svg>half were quicker (p50)</li>'
        '<li><svg viewBox="0 0 14 22" aria-hidden="true">'
        '<path class="most" d="M7,2V22"/></svg>95% were quicker (p95)</li></ul>'
    )


def _length_table(found: list[Latency]) -> str:
    cells = [
        (name(each.listener), count(each.total),
         *(escape(say_length(quantile(each.counts, share))) for share in (0.5, 0.95)),
         escape(say_length(each.longest)))
        for each in found
    ]  # fmt: skip
    head = ("Listener", "Deliveries", "p50", "p95", "Longest")
    return table(head, cells, (1, 2, 3, 4))


def owed_panel(facts: Facts) -> str:
    """Return how much was owed over time, a row for each listener that was behind."""
    window = facts.window
    steps = _steps(facts)
    found = backlogs(facts.owing, facts.names, steps)
    behind = [each for each in found if each.peak]
    unit = escape(say_length(facts.step))
    held = _held(facts)
    if not behind:
        return panel("Owed", f"Nothing was owed at the end of any {unit}.{held}")
    shown = behind[:MOST_ROWS]
    grid, foot = time_axis(window)
    now = sum(each.owed[-1] for each in found)
    worst = behind[0]
    lead = (
        f"{plural(now, 'delivery is', 'deliveries are')} owed now.{held} The longest "
        f"backlog was that of {name(worst.listener)}: {count(worst.peak)} at "
        f"{escape(_step_end(facts, worst.peak_step))}."
    )
    if quiet := len(found) - len(behind):
        lead += f" {plural(quiet, 'other listener')} never fell behind."
    if len(behind) > MOST_ROWS:
        lead += f" {_left(behind)} not shown."
    lead += f" Counted at the end of every {unit}; each row has a scale of its own."
    parts = [
        _owed_row(f"o{number}", each, facts, grid) for number, each in enumerate(shown)
    ]
    return panel("Owed", lead, rows(parts, foot), as_table(_owed_table(facts, behind)))


def _held(facts: Facts) -> str:
    """Return the sentence about what is withheld, which nobody is to work off."""
    held = sum(row["deliveries"] for row in facts.standing.withheld)
    if not held:
        return ""
    return f" {plural(held, 'delivery is', 'deliveries are')} held and not counted here."


def _steps(facts: Facts) -> int:
    """Return how many steps there are until now."""
    return (facts.window.end - facts.window.start) // facts.step + 1


def _step_end(facts: Facts, step: int) -> str:
    window = facts.window
    return window.say(min(window.end, window.start + (step + 1) * facts.step))


def _owed_row(key: str, each: Backlog, facts: Facts, grid: list[float]) -> str:
    plot = area(each.owed)
    about = (
        f"at most {count(each.peak)} at {_step_end(facts, each.peak_step)}, "
        f"{count(each.owed[-1])} now"
    )
    title = f"{shortened(each.listener, 60)}: deliveries owed over time"
    note = f"{count(each.owed[-1])} now<small>at most {count(each.peak)}</small>"
    return row(name(each.listener), figure(key, AREA, title, about, plot, grid), note)


def _owed_table(facts: Facts, behind: list[Backlog]) -> str:
    cells = [
        (name(each.listener), count(each.owed[-1]), count(each.peak),
         escape(_step_end(facts, each.peak_step)))
        for each in behind[: MOST_ROWS * 2]
    ]  # fmt: skip
    return table(("Listener", "Now", "At most", "When"), cells, (1, 2))


def dead_panel(facts: Facts) -> str:
    """Return the latest dead letters, and what most of them died of."""
    total = sum(row["dead"] for row in facts.standing.listeners)
    if not facts.dead:
        return panel("Dead letters", "There are none.")
    causes = "; ".join(
        f"{name(each.listener)} {plural(each.how_many, 'time')} with "
        f"<bdi>{escape(shortened(each.cause, 60))}</bdi>"
        for each in facts.groups
    )
    lead = (
        f"{plural(total, 'delivery', 'deliveries')} ended for good, whenever that was: "
        f"{causes}. "
        f"<code>agent dead --errors</code> shows each with every error, "
        f"<code>agent redeliver ID</code> tries it again."
    )
    if total > len(facts.dead):
        lead += f" The latest {len(facts.dead)} are listed."
    cells = [
        (f"<code>{each.event_id}.{each.subscription_id}</code>",
         escape(facts.window.say(each.at)), name(each.listener),
         f"{name(each.event_type)}<small>{name(each.identifier)}</small>",
         _cause(each.reason, each.kind, each.message, each.attempts))
        for each in facts.dead
    ]  # fmt: skip
    head = ("ID", "When", "Listener", "Event", "Why")
    return panel("Dead letters", lead, table(head, cells, wide=True))


def _cause(reason: str | None, kind: str | None, message: str | None, tries: int) -> str:
    error = ": ".join(part for part in (kind, message) if part)
    parts = dict.fromkeys(part for part in (error, reason) if part)
    told = escape(shortened(" - ".join(parts) or "no reason is kept", MOST_CAUSE))
    counted = plural(tries, "attempt")
    again = "" if counted in told else f"<small>{counted}</small>"
    return f"<bdi>{told}</bdi>{again}"
