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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigError

log = logging.getLogger("py_agent.settings")

LOCAL = Path("agent.toml")
SHARED = Path("/etc/observability/agent.toml")  # shared with an existing framework
DEFAULT_STORE = "agent.sqlite"


class EngineSettings(BaseSettings):
    """The `[agent]` section and the `PY_AGENT_*` variables."""

    model_config = SettingsConfigDict(env_prefix="PY_AGENT_", extra="forbid")

    db: str | None = Field(None, min_length=1, validation_alias="PY_AGENT_DB_PATH")
    durability: Literal["full", "fast"] | None = None
    grace: float | None = Field(None, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] | None = None


class JobEntry(BaseModel):
    """One `[[jobs]]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str
    name: str | None = None
    every: str | float | None = None
    at: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")


class RetryEntry(BaseModel):
    """The `retry` of a `[[listeners]]` table."""

    model_config = ConfigDict(extra="forbid")

    attempts: int | Literal["forever"] = 10
    first: float = 1
    factor: float = 2
    cap: float = 3600


class ListenerEntry(BaseModel):
    """One `[[listeners]]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str
    name: str | None = None
    match: dict[str, list[Any]] | None = None
    retry: RetryEntry | None = None
    timeout: float | None = None
    concurrency: int | None = None
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
        jobs: the file's jobs.
        listeners: the file's listeners.
    """

    path: Path | None
    engine: EngineSettings
    jobs: tuple[JobEntry, ...] = ()
    listeners: tuple[ListenerEntry, ...] = ()

    @property
    def store(self) -> str | None:
        """The store named by the file, relative to it, or by the environment."""
        return self.engine.db


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


def read_config(path: str | os.PathLike[str] | None = None, whole: bool = True) -> Config:
    """Read agent.toml and the environment.

    Args:
        path: the file; the first of `./agent.toml` and the shared one if not given.
        whole: whether the jobs and listeners are read too.

    Raises:
        ConfigError: every mistake, one sentence each.
    """
    found = find_config(path)
    content = {} if found is None else _parse(found)
    if not whole:
        content = {"agent": content.get("agent", {})}
    elif found == SHARED:
        foreign = sorted(content.keys() - _File.model_fields.keys())
        if foreign:
            log.info("%s: sections of others are left alone: %s",
                     found, ", ".join(foreign))  # fmt: skip
        content = {key: content[key] for key in content if key not in foreign}
    problems: list[str] = []
    file = _File()
    try:
        file = _File(**content)
    except ValidationError as error:
        problems += _sentences(found, error, _File)
    engine = _engine(found, content.get("agent", {}), problems)
    if problems:
        raise ConfigError(problems)
    return Config(found, engine, tuple(file.jobs), tuple(file.listeners))


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
    if isinstance(values.get("db"), str) and values["db"] != ":memory:" and path:
        values["db"] = str(path.parent / values["db"])
    if "db" in values:
        values["PY_AGENT_DB_PATH"] = values.pop("db")
    try:
        return EngineSettings(**values)
    except ValidationError as error:
        problems += [
            sentence.replace("PY_AGENT_DB_PATH", "db")
            for sentence in _sentences(path, error, EngineSettings, ("agent",))
        ]
        return EngineSettings.model_construct()


def _sentences(
    path: Path | None,
    error: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str, ...] = (),
) -> list[str]:
    """Return one sentence for each mistake, without the value, which may be secret."""
    lines = []
    for each in error.errors(include_url=False, include_input=False):
        location = prefix + tuple(each["loc"])
        place = _place(location)
        if each["type"] == "extra_forbidden":
            known = _known_keys(model, tuple(each["loc"]))
            what = f"there is no key {location[-1]!r}{nearest(str(location[-1]), known)}"
            place = _place(location[:-1])
        else:
            what = each["msg"][:1].lower() + each["msg"][1:]
        source = str(path) if path else "the environment"
        lines.append(f"{source}: {place}{': ' if place else ''}{what}")
    return lines


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
