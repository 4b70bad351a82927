"""The page of a report: one HTML file that needs nothing else, not even a script.

Pure: facts in, text out.
"""

from __future__ import annotations

from datetime import datetime

from py_agent.cli.doctor import BEHIND
from py_agent.cli.report.deliveries import dead_panel, delivery_panel, owed_panel
from py_agent.cli.report.events import event_panel, named_panel
from py_agent.cli.report.facts import Facts, Row
from py_agent.cli.report.runs import run_panel
from py_agent.cli.report.shapes import latencies, quantile, say_length
from py_agent.cli.report.style import CSS
from py_agent.cli.report.svg import escape
from py_agent.cli.report.words import count, name, plural, shortened

from py_agent.clock import to_micros
from py_agent.tally import HEARTBEAT_JOB

MOST_PROBLEMS = 12

BEGIN = "<!DOCTYPE html>\n<!-- agent report -->\n"  # by which a page is known

# Nothing is fetched, and no script runs, whatever a text in the store says.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)

_WELL = (
    '<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><path fill="none" '
    'stroke="currentColor" stroke-width="2.6" d="M1.5 8.5l4.5 5L14.5 2.5"/></svg>'
)
_ILL = (
    '<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" '
    'd="M8 0l8 15H0zM7 5v5h2V5zm0 6.5v2h2v-2z" fill-rule="evenodd"/></svg>'
)


def page(facts: Facts) -> str:
    """Return the page as HTML."""
    panels = (
        event_panel(facts),
        run_panel(facts),
        delivery_panel(facts),
        owed_panel(facts),
        dead_panel(facts),
        named_panel(facts),
    )
    body = "\n".join(panels)
    title = f"{_verdict(facts)[1]} - agent report on {facts.standing.store.name}"
    return (
        f'{BEGIN}<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"{_header(facts)}\n<main>\n{body}\n</main>\n{_footer(facts)}\n"
        "</body>\n</html>\n"
    )


def _verdict(facts: Facts) -> tuple[bool, str]:
    problems = len(facts.standing.problems)
    if not problems:
        return True, "All is well"
    return False, f"{plural(problems, 'thing needs', 'things need')} a person"


def _header(facts: Facts) -> str:
    well, verdict = _verdict(facts)
    window = facts.window
    begins = ", when this store begins," if facts.begins else ""
    return (
        f'<header class="{"well" if well else "ill"}">'
        f'<p class="kicker">agent report on <bdi>{escape(facts.standing.store)}</bdi></p>'
        f"<h1>{_WELL if well else _ILL}{escape(verdict)}</h1>"
        f'<p class="soft">From {escape(window.say(window.start))}{begins} to '
        f"{escape(window.say(window.end))}. Times are local: {escape(window.zones())}.</p>"
        f"{_problems(facts.standing.problems)}{_figures(facts)}</header>"
    )


def _problems(rows: list[Row]) -> str:
    if not rows:
        return ""
    shown = [
        f"<li><b>{name(row['about'], 70)}</b><span>{_told(row['problem'])}</span></li>"
        for row in rows[:MOST_PROBLEMS]
    ]
    if len(rows) > MOST_PROBLEMS:
        rest = len(rows) - MOST_PROBLEMS
        shown.append(f"<li><b>and {rest} others</b><span>see agent doctor</span></li>")
    return f'<ul class="problems">{"".join(shown)}</ul>'


def _told(problem: object) -> str:
    return f"<bdi>{escape(shortened(str(problem), 200))}</bdi>"


def _figures(facts: Facts) -> str:
    figures = (
        _agent(facts),
        _owed(facts),
        _held(facts),
        _dead(facts),
        _jobs(facts),
        _heartbeat(facts),
        _events(facts),
        _runs(facts),
        _median(facts),
    )
    return f'<dl class="figures">{"".join(figures)}</dl>'


def _figure(what: str, value: str, more: str = "", bad: bool = False) -> str:
    small = f"<small>{more}</small>" if more else ""
    kind = ' class="bad"' if bad else ""
    return f"<div{kind}><dt>{what}</dt><dd>{escape(value)}{small}</dd></div>"


def _agent(facts: Facts) -> str:
    pid = facts.standing.pid
    if pid is None:
        return _figure("Agent", "not running", "no process on this store", True)
    return _figure("Agent", "running", f"process {pid}" if pid else "")


def _owed(facts: Facts) -> str:
    rows = facts.standing.listeners
    owed = sum(row["owed"] for row in rows)
    since = [datetime.fromisoformat(r["oldest_owed"]) for r in rows if r["oldest_owed"]]
    snoozed = sum(row["snoozed"] for row in rows)
    if not since:
        empty = "" if facts.standing.withheld else "nothing waits"
        return _figure("Owed now", count(owed), "all snoozed" if owed else empty)
    oldest = to_micros(min(since))
    age = say_length(max(0, facts.window.end - oldest))
    behind = any(row["problem"].startswith(BEHIND) for row in facts.standing.problems)
    told = f"for {escape(age)}, since {escape(facts.window.say(oldest))}"
    if snoozed:
        told = f"{count(snoozed)} of them snoozed; the oldest other {told}"
    else:
        told = f"the oldest {told}"
    return _figure("Owed now", count(owed), told, behind)


def _held(facts: Facts) -> str:
    """Return what is withheld; "" without any."""
    rows = facts.standing.withheld
    held = sum(row["deliveries"] for row in rows if row["held"])
    waiting = sum(row["deliveries"] for row in rows if not row["held"])
    told = [f"{count(held)} until a person decides"] if held else []
    told += [f"{count(waiting)} until their run ends"] if waiting else []
    return _figure("Held", count(held + waiting), "; ".join(told), held > 0) if told else ""


def _dead(facts: Facts) -> str:
    rows = [row for row in facts.standing.listeners if row["dead"]]
    dead = sum(row["dead"] for row in rows)
    more = f"of {plural(len(rows), 'listener')}" if rows else "none"
    return _figure("Dead letters", count(dead), more, bool(dead))


def _jobs(facts: Facts) -> str:
    jobs = facts.standing.jobs
    problems = {
        row["about"]: row["problem"]
        for row in facts.standing.problems
        if row["about"].startswith("job ")
    }
    ill = [job for job in jobs if f"job {job['name']}" in problems]
    more = plural(len(ill), "needs a person", "need a person") if ill else "all is well"
    return _figure("Jobs", count(len(jobs)), more if jobs else "none has run", bool(ill))


def _heartbeat(facts: Facts) -> str:
    standing = facts.standing
    if all(job["name"] != HEARTBEAT_JOB for job in standing.jobs):
        return _figure("Heartbeat", "none", "Observability is not set up")
    bad = any(row["about"] == f"job {HEARTBEAT_JOB}" for row in standing.problems)
    if bad:
        return _figure("Heartbeat", "does not arrive", "", True)
    if standing.pid is None:
        return _figure("Heartbeat", "stopped", "with the agent", True)
    return _figure("Heartbeat", "arrives")


def _events(facts: Facts) -> str:
    types = plural(facts.types.types, "event type")
    return _figure("New events", count(facts.types.events), f"of {types}")


def _runs(facts: Facts) -> str:
    ended = [row for row in facts.run_sums if row.outcome != "skipped"]
    wrong = sum(row.how_many for row in ended if row.outcome in ("failed", "crashed"))
    runs = sum(row.how_many for row in ended)
    return _figure("Runs", count(runs), f"{count(wrong)} failed or crashed")


def _median(facts: Facts) -> str:
    rows = latencies(facts.lengths, facts.names)
    sums = [sum(column) for column in zip(*(row.counts for row in rows), strict=True)]
    half, most = quantile(sums, 0.5), quantile(sums, 0.95)
    if half is None:
        return _figure("Delivered", "0", "no call has ended")
    total = plural(sum(sums), "delivery", "deliveries")
    told = f"half of {total}; 95% within {escape(say_length(most))}"
    return _figure("Delivered within", say_length(half), told)


def _footer(facts: Facts) -> str:
    notes = [
        "What was owed in the past is worked out from when events were created and their "
        "deliveries ended. The store does not keep when one was replayed, redelivered or "
        "released: such a delivery counts from its event's creation until its last end.",
        "Each event is stored once, so how often it was offered again is known of each "
        "run only. Delivery times are read off bins and are right to about 6 percent.",
    ]
    if facts.ahead:
        notes.insert(
            0,
            f"{plural(facts.ahead, 'event is', 'events are')} dated after now, by a clock "
            f"that was set back since, and left out of the plots.",
        )
    return f"<footer>{''.join(f'<p>{escape(note)}</p>' for note in notes)}</footer>"
