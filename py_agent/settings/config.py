"""The engine's settings, jobs and listeners: agent.toml and the environment.

A value in the file wins over the environment. A mistake is one sentence that names its
place; an unknown key names the nearest known one. Sections of the user's own are read
by `settings`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..errors import ConfigError, UsageError
from ..lengths import parse_length
from .mistakes import Location, alternatives, given, nearest, no_key, reasons

LOCAL = Path("agent.toml")
SHARED = Path("/etc/observability/agent.toml")  # shared with an existing framework
DEFAULT_STORE = "agent.sqlite"
STORE_VARIABLE = "PY_AGENT_DB_PATH"
DAY = 86_400  # seconds


Number = Annotated[float, Strict()]  # true and false are no numbers


def address(value: Any) -> tuple[str, int] | None:
    """Return the host and port of a text such as "127.0.0.1:9464", or of a port alone.

    A port alone is on this machine only; to be reached from others, one has to say so.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    host, colon, port = str(value).rpartition(":")
    if isinstance(value, bool) or not (port.isascii() and port.isdecimal()):
        raise ValueError("write a port of this machine, or an address, a colon and a port")
    if not 0 < int(port) < 65_536:
        raise ValueError("a port is a number from 1 to 65535")
    if colon and not host:
        raise ValueError(
            "write the port alone for this machine only, or the address to be reached at "
            "before the colon; 0.0.0.0 or [::] is every one that it has"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def days(value: Any) -> float | None:
    """Return the seconds of a text such as "90 days", of a day at least.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    try:
        found = parse_length(value, "")
    except UsageError:
        found = 0.0
    if found < DAY:
        raise ValueError('write a length of time of a day at least, as in "90 days"')
    return found


class EngineSettings(BaseSettings):
    """The `[agent]` section and the `PY_AGENT_*` variables."""

    model_config = SettingsConfigDict(env_prefix="PY_AGENT_", extra="forbid")

    db: str | None = Field(None, min_length=1, validation_alias=STORE_VARIABLE)
    durability: Literal["full", "fast"] | None = None
    grace: float | None = Field(None, ge=0)
    max_owed: int | None = Field(None, ge=1)
    job_threads: int | None = Field(None, ge=1)
    keep_data: Annotated[Any, BeforeValidator(days)] = None
    keep_runs: Annotated[Any, BeforeValidator(days)] = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    log_format: Literal["text", "json"] | None = None
    # Any, or the library would take the variable's text for JSON.
    metrics: Annotated[Any, BeforeValidator(address)] = None


class JobEntry(BaseModel):
    """One `[[jobs]]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str
    name: str | None = None
    every: str | Number | None = None
    at: str | None = None
    cron: str | None = None
    tz: str | None = None
    at_start: Annotated[bool, Strict()] | None = None
    misfire: str | None = None
    grace: str | Number | None = None
    expect_every: str | Number | None = None
    keep: Annotated[bool, Strict()] = False
    first: str | None = None
    hold_above: Annotated[int, Strict()] | Literal["usual"] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")


class RetryEntry(BaseModel):
    """The `retry` of a `[[listeners]]` table."""

    model_config = ConfigDict(extra="forbid")

    attempts: Annotated[int, Strict()] | Literal["forever"] = 10
    first: Number = 1
    factor: Number = 2
    cap: Number = 3600


class ListenerEntry(BaseModel):
    """One `[[listeners]]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str
    name: str | None = None
    match: dict[str, list[Any]] | None = None
    retry: RetryEntry | None = None
    timeout: Number | None = None
    concurrency: Annotated[int, Strict()] | None = None
    ordered_by: str | list[str] | None = None
    debounce: str | Number | None = None
    throttle: str | Number | None = None
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agent: dict[str, Any] = Field(default_factory=dict)
    jobs: list[JobEntry] = Field(default_factory=list)
    listeners: list[ListenerEntry] = Field(default_factory=list)


ENGINE_SECTIONS = frozenset(_File.model_fields)


@dataclass(frozen=True)
class Config:
    """What was read.

    Args:
        path: the file; None if there is none.
        engine: the engine's own settings.
        jobs: the file's jobs, by their position from 1.
        listeners: the file's listeners, likewise.
        torn_jobs: what is right of the tables that have mistakes, so that what else is
            wrong with them can be told, too; `run` is "" where it is not readable.
        torn_listeners: likewise.
    """

    path: Path | None
    engine: EngineSettings
    jobs: Mapping[int, JobEntry] = field(default_factory=dict)
    listeners: Mapping[int, ListenerEntry] = field(default_factory=dict)
    torn_jobs: Mapping[int, JobEntry] = field(default_factory=dict)
    torn_listeners: Mapping[int, ListenerEntry] = field(default_factory=dict)

    @property
    def torn(self) -> list[JobEntry | ListenerEntry]:
        """All of those."""
        return [*self.torn_jobs.values(), *self.torn_listeners.values()]


def find_config(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the file to read: the one named, else the first that exists, else None.

    Raises:
        ConfigError: the file named does not exist.
    """
    if path is not None:
        if not Path(path).is_file():
            raise ConfigError(f"there is no file {path}")
        return Path(path)
    return next((each for each in (LOCAL, SHARED) if each.is_file()), None)


def is_shared(path: Path | None) -> bool:
    """Return whether a file is the one that is shared with an existing framework."""
    return path == SHARED


def log_level_of_core(path: Path | None) -> str | None:
    """Return the log level that an existing Observability agent is started with, if any.

    It is `[core] log_level` or `DK_LOG_LEVEL`; a value that is none is told with the
    other mistakes, by who reads that section.

    Args:
        path: agent.toml; None if there is none.
    """
    try:
        section = {} if path is None else load(path).get("core", {})
    except ConfigError:
        return None
    written = section.get("log_level") if isinstance(section, dict) else None
    named = {name.upper(): value for name, value in os.environ.items()}
    found = str(written or named.get("DK_LOG_LEVEL") or "").lower()
    return found if found in ("debug", "info", "warning", "error") else None


def read_config(
    path: str | os.PathLike[str] | None = None,
    whole: bool = True,
    problems: list[str] | None = None,
) -> Config:
    """Read what agent.toml and the environment say about the engine and what it runs.

    Sections of others are left to `settings.Sections`.

    Args:
        path: the file; the first of `./agent.toml` and the shared one if not given.
        whole: whether the jobs and listeners are read too.
        problems: where to add mistakes, one sentence each, instead of raising; the jobs
            and listeners that have none are returned.

    Raises:
        ConfigError: every mistake, one sentence each.
    """
    found = find_config(path)
    content = {} if found is None else load(found)
    if not whole:
        content = {"agent": content.get("agent", {})}
    mistakes: list[str] = [] if problems is None else problems
    engine = _engine(found, content.get("agent", {}), mistakes)
    whole_ones, torn = _tables(found, content, mistakes)
    if mistakes and problems is None:
        raise ConfigError(mistakes)
    return Config(
        found, engine, whole_ones["jobs"], whole_ones["listeners"],
        torn["jobs"], torn["listeners"],
    )  # fmt: skip


_Tables = dict[str, dict[int, Any]]


def _tables(
    path: Path | None, content: dict[str, Any], problems: list[str]
) -> tuple[_Tables, _Tables]:
    """Return the tables that have no mistake, by position, and what is left of others."""
    whole: _Tables = {key: {} for key in _TABLES}
    torn: _Tables = {key: {} for key in _TABLES}
    wrong: dict[tuple[Any, ...], set[Any]] = {}  # by table, its keys
    try:
        _File(**{key: content[key] for key in ENGINE_SECTIONS & content.keys()})
    except ValidationError as error:
        problems += _sentences(path, error, _File, content)
        for each in error.errors():
            place = each["loc"]
            wrong.setdefault(tuple(place[:2]), set()).update(place[2:3])
    for name, model in _TABLES.items():
        tables = content.get(name, [])
        for number, table in enumerate(tables if isinstance(tables, list) else [None]):
            if (name, number) not in wrong and (name,) not in wrong:
                whole[name][number + 1] = model(**table)
                continue
            keys = wrong.get((name, number), set())
            right = {
                key: value
                for key, value in (table.items() if isinstance(table, dict) else ())
                if key not in keys
            }
            torn[name][number + 1] = model(**{"run": "", **right})
    return whole, torn


def load(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        ConfigError: it is no TOML, or cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: this is not TOML: line {line} is not UTF-8; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _engine(path: Path | None, section: Any, problems: list[str]) -> EngineSettings:
    values = dict(section) if isinstance(section, Mapping) else {}
    known = _known_keys(EngineSettings, ())
    for key in values.keys() - set(known):
        del values[key]
        hint = "; it is db" if key == STORE_VARIABLE else nearest(key, known)
        problems.append(f"{path}: [agent]: there is no key {key!r}{hint}")
    written = set(values)
    db = values.pop("db", None)
    if db is not None:
        if path and isinstance(db, str) and db not in ("", ":memory:"):
            db = str(path.parent / Path(db).expanduser())
        values[STORE_VARIABLE] = db
    try:
        return EngineSettings(**values)
    except ValidationError as error:
        for location, _, reason in reasons(error):
            key = "db" if location[0] == STORE_VARIABLE else str(location[0])
            variable = STORE_VARIABLE if key == "db" else f"PY_AGENT_{key.upper()}"
            written_here = f"{path}: [agent] {key}"
            place = written_here if key in written else f"the environment: {variable}"
            problems.append(f"{place}: {reason}")
        return EngineSettings.model_construct()


def _hint(kind: str, location: Location, reason: str) -> str:
    """Return what to write instead, where the mistake is a common one."""
    if kind == "list_type" and len(location) == 1:
        return f"write [[{location[0]}]], in double brackets, for each one"
    if kind == "list_type" and "match" in location:
        return 'write [operator, value], as in ["==", "file.created"]'
    return reason


def _sentences(
    path: Path | None, error: ValidationError, model: type[BaseModel], content: Any
) -> list[str]:
    lines: list[str] = []
    wrong: list[tuple[str, str]] = []
    for location, kind, reason in reasons(error):
        if kind == "extra_forbidden":
            what = no_key(str(location[-1]), _known_keys(model, location))
            place = _place(location[:-1])
            lines.append(f"{path}: {place}{': ' if place else ''}{what}")
        else:
            if kind != "missing":
                location = given(content, location)
            wrong.append((f"{path}: {_place(location)}", _hint(kind, location, reason)))
    return lines + alternatives(wrong)


def _place(location: Location) -> str:
    """Return a place in the file, counting tables from 1, as in `[[jobs]] 2: every`."""
    if not location:
        return ""
    head, *rest = location
    if rest and isinstance(rest[0], int):
        words = [f"[[{head}]] {rest[0] + 1}", *map(str, rest[1:])]
    else:
        words = [f"[{head}]", *map(str, rest)]
    return " ".join(words)


_TABLES: dict[str, type[BaseModel]] = {"jobs": JobEntry, "listeners": ListenerEntry}


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    if len(location) > 1 and location[0] in _TABLES:
        model = RetryEntry if "retry" in location[:-1] else _TABLES[location[0]]
    fields = model.model_fields
    return ["with" if field.alias == "with" else name for name, field in fields.items()]
