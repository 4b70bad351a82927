"""Reading events back: by a filter that the database and the filter decide together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, or_, select

from ..clock import from_micros
from ..errors import StoreRefusedError
from ..events import Event
from ..filters import Filter
from ..json_text import is_unicode
from .dialects import storage_errors
from .tables import events

PAGE = 500  # rows read at once
MAX_SOUGHT, MAX_SOUGHT_TEXT = 20, 200  # texts that are sought in data; their length
MAX_CHOSEN = 1_000  # values of one clause that a query binds; databases have a limit

COLUMNS = (
    events.c.id, events.c.event_type, events.c.identifier, events.c.created,
    events.c.source, events.c.data, events.c.depth,
)  # fmt: skip


def query(engine: Engine, path: Path, condition: Filter) -> Iterator[Event]:
    """Return the stored events that a filter matches, oldest first.

    The database narrows by what it can compare as we do; the compiled filter then
    decides, so that a query and a listener always agree.

    Args:
        engine: the store's engine; each page is read in a short transaction.
        path: the store's file, for errors.
        condition: the filter.
    """
    statement = select(*COLUMNS).where(*_narrow(condition)).order_by(events.c.id)
    last = 0
    while True:
        page = statement.where(events.c.id > last).limit(PAGE)
        with storage_errors(path), engine.connect() as connection:
            rows = connection.execute(page).fetchall()
        for row in rows:
            event = event_of(row)
            if condition.matches(event):
                yield event
        if len(rows) < PAGE:
            return
        last = rows[-1][0]


def event_of(row: Any) -> Event:
    """Return the event of a row of COLUMNS.

    Raises:
        StoreRefusedError: its moment is damaged.
    """
    id, event_type, identifier, created, source, text, depth = row
    try:
        moment = from_micros(created)
    except (TypeError, OverflowError) as error:
        raise StoreRefusedError(f"event {id} has a damaged moment: {error}") from error
    return Event.stored(id, event_type, identifier, moment, source, text, depth)


def _narrow(condition: Filter) -> list[Any]:
    """Return the conditions that the database and the filter understand alike."""
    columns = {"event_type", "identifier", "source"}
    narrowed: list[Any] = [
        events.c[clause.field].in_(clause.chosen or ())
        for clause in condition.clauses
        if clause.field in columns and _bindable(clause.chosen)
    ]
    narrowed += [
        _MOMENTS[clause.operator](clause.micros)
        for clause in condition.clauses
        if clause.field == "created" and clause.operator in _MOMENTS
    ]
    narrowed += [
        or_(*(events.c.data.contains(f'"{text}"', autoescape=True) for text in plain))
        for clause in condition.clauses
        if clause.field.startswith("data.") and (plain := _plain(clause.chosen))
    ]
    return narrowed


def _plain(chosen: list[Any] | None) -> list[str]:
    """Return the texts that data must hold, if they stand in JSON as they are.

    The filter decides; this spares it most of the rows. LIKE takes upper and lower case
    for the same, so it finds too much and never too little.
    """
    if not chosen or len(chosen) > MAX_SOUGHT:
        return []
    for text in chosen:
        simple = isinstance(text, str) and text.isascii() and text.isprintable()
        if not simple or len(text) > MAX_SOUGHT_TEXT or set('"\\') & set(text):
            return []
    return chosen


def _bindable(chosen: list[str] | None) -> bool:
    """Return whether the database takes these values; else the filter alone decides."""
    if chosen is None or len(chosen) > MAX_CHOSEN:
        return False
    return all(text.isascii() or is_unicode(text) for text in chosen)


_MOMENTS: dict[str, Callable[[Any], Any]] = {
    "==": lambda moment: events.c.created == moment,
    "<": lambda moment: events.c.created < moment,
    "<=": lambda moment: events.c.created <= moment,
    ">": lambda moment: events.c.created > moment,
    ">=": lambda moment: events.c.created >= moment,
}
