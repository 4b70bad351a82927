"""The section of a report about runs. Pure: facts in, HTML out."""

from __future__ import annotations

from py_agent.cli.report.facts import Facts
from py_agent.cli.report.shapes import (
    Strip,
    strips,
)
from py_agent.cli.report.svg import (
    STRIP,
    escape,
    figure,
    hovers,
    strip,
)
from py_agent.cli.report.window import Window
from py_agent.cli.report.words import (
    MOST_CAUSE,
    MOST_ROWS,
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


def run_panel(facts: Facts) -> str:
    """Return how runs ended over time, a strip for each job."""
    window = facts.window
    shares, (grid, foot) = shares_of(window), time_axis(window)
    found = strips(facts.runs, facts.run_sums, facts.spans, len(shares) - 1)
    if not found:
        return panel("Runs", "No job ran in this time.")
    runs, wrong = sum(each.runs for each in found), sum(each.troubles for each in found)
    jobs = sum(1 for each in found if each.troubles)
    lead = f"{plural(runs, 'run')} of {plural(len(found), 'job')}, " + (
        f"of which {count(wrong)} failed or crashed, in {plural(jobs, 'job')}. "
        if wrong
        else "and none failed. "
    )
    lead += f"A cell is {escape(article(window.width))}; where it is empty, nothing ran."
    if len(found) > MOST_ROWS:
        left = found[MOST_ROWS:]
        ill = sum(each.troubles for each in left)
        told = f"with {plural(ill, 'failure')}" if ill else "none of which failed"
        lead += f" {plural(len(left), 'other job is', 'other jobs are')} not shown, {told}."
    parts = [
        _run_row(f"r{number}", each, window, shares, grid)
        for number, each in enumerate(found[:MOST_ROWS])
    ]
    return panel(
        "Runs", lead, _run_key(), rows(parts, foot, "strips"),
        as_table(_run_table(facts, found[: MOST_ROWS * 2])),
    )  # fmt: skip


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
