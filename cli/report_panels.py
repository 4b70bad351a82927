"""The sections of a report. Pure: facts in, HTML out."""

from __future__ import annotations

from py_agent.cli.report_facts import Facts
from py_agent.cli.report_shapes import (
    Backlog,
    Latency,
    Series,
    Strip,
    added,
    backlogs,
    latencies,
    quantile,
    say_length,
    series,
    strips,
)
from py_agent.cli.report_svg import (
    AREA,
    ALL,
    BARS,
    STRIP,
    Lengths,
    area,
    bars,
    escape,
    figure,
    hovers,
    quantiles,
    strip,
)
from py_agent.cli.report_window import Window
from py_agent.cli.report_words import (
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
)

MOST_ROWS = 12  # jobs or listeners with a row of their own
MOST_CAUSE = 240  # characters of an error


def shares_of(window: Window) -> list[float]:
    """Return the edges of the bins as shares of the width."""
    return [window.share(edge) for edge in window.edges]


def _time_axis(window: Window) -> tuple[list[float], str]:
    """Return where the grid's lines are, and the axis."""
    ticks = [(window.share(tick.at), tick.label) for tick in window.ticks]
    return [share for share, _ in ticks], axis(ticks)


# Events


def event_panel(facts: Facts) -> str:
    """Return new events over time, a row for each of the busiest types."""
    window, types = facts.window, facts.types
    if not types.events:
        return panel("Events", "No event was published in this time.")
    shares, (grid, foot) = shares_of(window), _time_axis(window)
    named = series(facts.events, [t.event_type for t in types.rows], len(shares) - 1)
    whole = added(named)
    busiest = max(range(len(whole.values)), key=whole.values.__getitem__)
    lead = (
        f"{plural(types.events, 'new event')} of {plural(types.types, 'type')}. The busiest "
        f"time was {escape(window.say_bin(busiest))}, with {count(whole.peak)}. A bar is "
        f"{escape(_article(window.width))}; each row has a scale of its own."
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


# Runs


def run_panel(facts: Facts) -> str:
    """Return how runs ended over time, a strip for each job."""
    window = facts.window
    shares, (grid, foot) = shares_of(window), _time_axis(window)
    found = strips(facts.runs, facts.run_sums, facts.spans, len(shares) - 1)
    if not found:
        return panel("Runs", "No job ran in this time.")
    runs, wrong = sum(each.runs for each in found), sum(each.troubles for each in found)
    ill = [each for each in found if each.troubles]
    lead = f"{plural(runs, 'run')} of {plural(len(found), 'job')}, " + (
        f"of which {count(wrong)} failed or crashed, in {plural(len(ill), 'job')}. "
        if wrong
        else "and none failed. "
    )
    lead += f"A cell is {escape(_article(window.width))}; where it is empty, nothing ran."
    if len(found) > MOST_ROWS:
        left = found[MOST_ROWS:]
        troubles = sum(each.troubles for each in left)
        lead += (
            f" {plural(len(left), 'other job')} not shown, with {count(troubles)} failures."
        )
    parts = [
        _run_row(f"r{number}", each, window, shares, grid)
        for number, each in enumerate(found[:MOST_ROWS])
    ]
    return panel(
        "Runs", lead, _run_key(), rows(parts, foot, "strips"),
        as_table(_run_table(facts, found[: MOST_ROWS * 2])),
    )  # fmt: skip


def _article(width: str) -> str:
    if width[0].isdigit():
        return width
    return f"an {width}" if width == "hour" else f"a {width}"


def _run_row(
    key: str, each: Strip, window: Window, shares: list[float], grid: list[float]
) -> str:
    spans = [
        (window.share(began), window.share(window.end if ended is None else ended))
        for began, ended in each.spans
    ]
    plot = strip(each, shares, spans) + hovers(_run_hovers(each, window, shares), STRIP)
    sums = ", ".join(f"{count(n)} {outcome}" for outcome, n in sorted(each.sums.items()))
    svg = figure(
        key, STRIP, f"{shortened(each.job, 60)}: how its runs ended", sums, plot, grid
    )
    if each.troubles:
        told = " and ".join(
            f"{count(each.sums[outcome])} {outcome}"
            for outcome in ("failed", "crashed")
            if each.sums.get(outcome)
        )
        note = (
            f'<span class="bad">{told}</span><small>of {plural(each.runs, "run")}</small>'
        )
    else:
        note = plural(each.runs, "run")
    return row(name(each.job), svg, note)


def _run_hovers(
    each: Strip, window: Window, shares: list[float]
) -> list[tuple[float, float, str]]:
    texts = []
    for bin in range(len(shares) - 1):
        counts = each.counts(bin)
        if counts.keys() & {"failed", "crashed"}:
            told = ", ".join(f"{count(n)} {outcome}" for outcome, n in counts.items())
            text = f"{window.say_bin(bin)}: {told}"
            texts.append((shares[bin], shares[bin + 1], text))
    return texts


def _run_key() -> str:
    kinds = (
        ("completed", '<rect class="ok" y="10" width="14" height="12"/>'),
        (
            "some failed",
            '<rect class="ok" y="10" width="14" height="12"/>'
            '<rect class="fail" width="14" height="8"/>'
            '<rect class="fail" y="10" width="14" height="5"/>',
        ),
        (
            "all failed",
            '<rect class="fail" width="14" height="8"/>'
            '<rect class="fail" y="10" width="14" height="12"/>',
        ),
        (
            "crashed: the agent's process ended in it",
            '<rect class="crash" width="14" height="8"/>'
            '<rect class="crash" y="10" width="14" height="12"/>',
        ),
        ("skipped only", '<rect class="skip" y="19" width="14" height="3"/>'),
        ("a long run", '<rect class="span" y="14" width="14" height="3"/>'),
    )
    items = (
        f'<li><svg viewBox="0 0 14 22" aria-hidden="true">{mark}</svg>{text}</li>'
        for text, mark in kinds
    )
    return f'<ul class="key">{"".join(items)}</ul>'


def _run_table(facts: Facts, found: list[Strip]) -> str:
    troubles = {each.job: each for each in facts.troubles}
    cells = []
    for each in found:
        last = troubles.get(each.job)
        told = ""
        if last is not None:
            error = escape(shortened(last.error or last.outcome, MOST_CAUSE))
            told = f"{escape(facts.window.say(last.at))}<small><bdi>{error}</bdi></small>"
        cells.append(
            (name(each.job), count(each.runs), count(each.sums.get("failed", 0)),
             count(each.sums.get("crashed", 0)), count(each.skips), told)
        )  # fmt: skip
    head = ("Job", "Runs", "Failed", "Crashed", "Skipped", "Last failure")
    return table(head, cells, (1, 2, 3, 4), wide=True)


# Delivery times


def delivery_panel(facts: Facts) -> str:
    """Return how long deliveries took, a distribution for each listener."""
    found = latencies(facts.lengths, facts.names)
    backward = sum(each.backward for each in found)
    found = [each for each in found if each.total]
    if not found:
        return panel("Delivery time", "Nothing was delivered in this time.")
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
    if backward:
        lead += (
            f" {plural(backward, 'delivery', 'deliveries')} ended before the event was "
            f"created, by a clock that was set back, and left out."
        )
    if len(found) > MOST_ROWS:
        lead += f" {plural(len(found) - MOST_ROWS, 'other listener')} not shown."
    parts = [
        _length_row(f"l{number}", each, lengths, grid) for number, each in enumerate(shown)
    ]
    return panel(
        "Delivery time", lead, _length_key(), rows(parts, axis(ticks)),
        as_table(_length_table(found[: MOST_ROWS * 2])),
    )  # fmt: skip


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


# Owed


def owed_panel(facts: Facts) -> str:
    """Return how much was owed over time, a row for each listener that was behind."""
    window = facts.window
    steps = _steps(facts)
    found = backlogs(facts.owing, facts.names, steps)
    behind = [each for each in found if each.peak]
    unit = escape(say_length(facts.step))
    if not behind:
        return panel("Owed", f"Nothing waited at the end of any {unit}.")
    shown = behind[:MOST_ROWS]
    grid, foot = _time_axis(window)
    now = sum(each.owed[-1] for each in found)
    worst = behind[0]
    lead = (
        f"{plural(now, 'delivery is', 'deliveries are')} owed now. The longest backlog was "
        f"that of {name(worst.listener)}: {count(worst.peak)} at "
        f"{escape(_step_end(facts, worst.peak_step))}."
    )
    if quiet := len(found) - len(behind):
        lead += f" {plural(quiet, 'other listener')} never fell behind."
    if len(behind) > MOST_ROWS:
        lead += f" {plural(len(behind) - MOST_ROWS, 'other listener')} not shown."
    lead += f" Counted at the end of every {unit}; each row has a scale of its own."
    parts = [
        _owed_row(f"o{number}", each, facts, grid) for number, each in enumerate(shown)
    ]
    return panel("Owed", lead, rows(parts, foot), as_table(_owed_table(facts, behind)))


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


# Dead letters


def dead_panel(facts: Facts) -> str:
    """Return the latest dead letters, and what most of them died of."""
    total = sum(row["dead"] for row in facts.standing.listeners)
    if not facts.dead:
        return panel("Dead letters", "There are none.")
    causes = "; ".join(
        f"{count(each.how_many)} of {name(each.listener)}: "
        f"<bdi>{escape(shortened(each.cause, 60))}</bdi>"
        for each in facts.groups
    )
    lead = (
        f"{plural(total, 'delivery', 'deliveries')} gave up, whenever that was: {causes}. "
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
    return f"<bdi>{told}</bdi><small>{plural(tries, 'attempt')}</small>"


# Identifiers


def named_panel(facts: Facts) -> str:
    """Return what failed most, what happened most, and who published most."""
    parts = [_failing(facts), _busy(facts), _publishers(facts)]
    if not any(parts):
        return ""
    lead = "What stands out by name, in this time."
    return panel("Identifiers and publishers", lead, *parts)


def _failing(facts: Facts) -> str:
    if not facts.failing:
        return ""
    cells = [
        (f"{name(each.identifier)}<small>{name(each.event_type)}</small>",
         name(each.listener), count(each.how_many), escape(each.state or "gone"),
         name(f"{each.kind}: {each.message}".rstrip(": "), 120))
        for each in facts.failing
    ]  # fmt: skip
    head = ("Identifier", "Listener", "Failures", "Now", "Last error")
    return f"<h3>Failed most often</h3>{table(head, cells, (2,), wide=True)}"


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
