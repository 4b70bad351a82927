"""Settings from the environment and agent.toml, checked all at once.

A value in the file wins over the environment. A mistake is one sentence that names its
place; an unknown key names the nearest known one.
"""

from __future__ import annotations

import difflib
import logging
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigError

log = logging.getLogger("py_agent.settings")

LOCAL = Path("agent.toml")
SHARED = Path("/etc/observability/agent.toml")  # shared with an existing framework
DEFAULT_STORE = "agent.sqlite"
STORE_VARIABLE = "PY_AGENT_DB_PATH"


Number = Annotated[float, Strict()]  # true and false are no numbers


class EngineSettings(BaseSettings):
    """The `[agent]` section and the `PY_AGENT_*` variables."""

    model_config = SettingsConfigDict(env_prefix="PY_AGENT_", extra="forbid")

    db: str | None = Field(None, min_length=1, validation_alias=STORE_VARIABLE)
    durability: Literal["full", "fast"] | None = None
    grace: float | None = Field(None, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] | None = None


class JobEntry(BaseModel):
    """One `[[jobs]]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str
    name: str | None = None
    every: str | Number | None = None
    at: str | None = None
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
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agent: dict[str, Any] = Field(default_factory=dict)
    jobs: list[JobEntry] = Field(default_factory=list)
    listeners: list[ListenerEntry] = Field(default_factory=list)


@dataclass(frozen=True)
class Config:
    """What was read.

    Args:
        path: the file; None if there is none.
        engine: the engine's own settings.
        jobs: the file's jobs, by their position from 1.
        listeners: the file's listeners, likewise.
    """

    path: Path | None
    engine: EngineSettings
    jobs: Mapping[int, JobEntry] = field(default_factory=dict)
    listeners: Mapping[int, ListenerEntry] = field(default_factory=dict)


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


def read_config(
    path: str | os.PathLike[str] | None = None,
    whole: bool = True,
    problems: list[str] | None = None,
) -> Config:
    """Read agent.toml and the environment.

    Args:
        path: the file; the first of `./agent.toml` and the shared one if not given.
        whole: whether the jobs and listeners are read too.
        problems: where to add mistakes, one sentence each, instead of raising; the jobs
            and listeners that have none are returned.

    Raises:
        ConfigError: every mistake, one sentence each.
    """
    found = find_config(path)
    content = {} if found is None else _parse(found)
    if not whole:
        content = {"agent": content.get("agent", {})}
    elif found == SHARED:
        content = _without_foreign(content)
    mistakes: list[str] = [] if problems is None else problems
    engine = _engine(found, content.get("agent", {}), mistakes)
    jobs, listeners = _tables(found, content, mistakes)
    if mistakes and problems is None:
        raise ConfigError(mistakes)
    return Config(found, engine, jobs, listeners)


def _without_foreign(content: dict[str, Any]) -> dict[str, Any]:
    foreign = sorted(content.keys() - _File.model_fields.keys())
    if foreign:
        names = ", ".join(foreign)
        log.info("%s: sections of others are left alone: %s", SHARED, names)
    return {key: value for key, value in content.items() if key not in foreign}


def _tables(
    path: Path | None, content: dict[str, Any], problems: list[str]
) -> tuple[dict[int, JobEntry], dict[int, ListenerEntry]]:
    """Return the tables that have no mistake, by position."""
    try:
        file = _File(**content)
    except ValidationError as error:
        problems += _sentences(path, error, _File, content)
        wrong = {tuple(each["loc"][:2]) for each in error.errors()}
    else:
        return dict(enumerate(file.jobs, 1)), dict(enumerate(file.listeners, 1))
    good: dict[str, dict[int, Any]] = {"jobs": {}, "listeners": {}}
    for key, model in _TABLES.items():
        tables = content.get(key, [])
        for number, table in enumerate(tables if isinstance(tables, list) else []):
            if (key, number) not in wrong and (key,) not in wrong:
                good[key][number + 1] = model(**table)
    return good["jobs"], good["listeners"]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the known word nearest to a wrong one, or ""."""
    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if found:
        return f"; did you mean {found[0]}?"
    return f"; known are {', '.join(names)}" if names else ""


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _engine(path: Path | None, section: Any, problems: list[str]) -> EngineSettings:
    values = dict(section) if isinstance(section, Mapping) else {}
    if STORE_VARIABLE in values:
        del values[STORE_VARIABLE]
        problems.append(f"{path}: [agent]: there is no key {STORE_VARIABLE!r}; it is db")
    given = set(values)
    db = values.pop("db", None)
    if db is not None:
        if path and isinstance(db, str) and db not in ("", ":memory:"):
            db = str(path.parent / Path(db).expanduser())
        values[STORE_VARIABLE] = db
    try:
        return EngineSettings(**values)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            key = "db" if each["loc"][0] == STORE_VARIABLE else str(each["loc"][0])
            variable = STORE_VARIABLE if key == "db" else f"PY_AGENT_{key.upper()}"
            where = f"{path}: [agent]" if key in given else f"the environment: {variable}"
            if each["type"] == "extra_forbidden":
                known = _known_keys(EngineSettings, ())
                problems.append(f"{where}: {_no_key(key, known)}")
            else:
                place = f"{where} {key}" if key in given else where
                problems.append(f"{place}: {_lower(each['msg'])}")
        return EngineSettings.model_construct()


def _hint(kind: str, location: tuple[Any, ...], message: str) -> str:
    """Return what to write instead, where the mistake is a common one."""
    if kind == "list_type" and len(location) == 1:
        return f"write [[{location[0]}]], in double brackets, for each one"
    if kind == "list_type" and "match" in location:
        return 'write [operator, value], as in ["==", "file.created"]'
    return _lower(message)


def _sentences(
    path: Path | None, error: ValidationError, model: type[BaseModel], content: Any
) -> list[str]:
    """Return one sentence for each mistake, without the value, which may be secret."""
    lines: list[str] = []
    wrong: dict[str, list[str]] = {}  # by place: what each type would have wanted
    for each in error.errors(include_url=False, include_input=False):
        location = tuple(each["loc"])
        if each["type"] == "extra_forbidden":
            what = _no_key(str(location[-1]), _known_keys(model, location))
            place = _place(location[:-1])
            lines.append(f"{path}: {place}{': ' if place else ''}{what}")
        else:
            if each["type"] != "missing":
                location = _given(content, location)
            wrong.setdefault(_place(location), []).append(
                _hint(each["type"], location, each["msg"])
            )
    return lines + [f"{path}: {place}: {' or '.join(w)}" for place, w in wrong.items()]


def _no_key(key: str, known: Iterable[str]) -> str:
    return f"there is no key {key!r}{nearest(key, known)}"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _given(content: Any, location: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the part of a location that is in the file, without names of types."""
    for depth, step in enumerate(location):
        if isinstance(content, dict) and step in content:
            content = content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        else:
            return location[:depth]
    return location


def _place(location: tuple[Any, ...]) -> str:
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


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    if len(location) > 1 and location[0] in _TABLES:
        model = RetryEntry if "retry" in location[:-1] else _TABLES[location[0]]
    fields = model.model_fields
    return ["with" if field.alias == "with" else name for name, field in fields.items()]
