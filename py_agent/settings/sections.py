"""Reads the sections of agent.toml into settings classes, and says what is wrong.

A mistake is one sentence that names its place and never shows the value, which may be
secret; so the library's errors, which hold it, are not kept as causes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError
from pydantic.errors import PydanticUserError

from ..arguments import settings_wanted
from ..errors import ConfigError, UsageError
from .classes import Settings, defined, full_name
from .config import ENGINE_SECTIONS, find_config, is_shared, load
from .exposed import changeable, exposure, files_of_secrets, secret_credentials
from .mistakes import Location, aliases, misspelt, nearest, without_unknown
from .places import Places
from .secret_types import holds_secrets, secret_arguments
from .stored import names_in_directories

S = TypeVar("S", bound=Settings)

log = logging.getLogger("py_agent.settings")

# Sections of the shared file in which the existing framework takes any key.
LENIENT = frozenset({"http", "observability"})


# Any of these says that reports have somewhere to go, as a section [core] does.
OBSERVABILITY = frozenset({
    "DK_OBSERVABILITY_BASE_URL", "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY", "DK_AGENT_KEY",
})  # fmt: skip


# The sections of agents that watch a tool, ours and the existing framework's.
TOOLS = frozenset(
    """airflow blob_storage databricks dbt eventhubs example http_runs powerbi qlik ssis
    synapse_analytics""".split()
)


class Registered(Protocol):
    """A job or listener, as far as settings are concerned."""

    @property
    def function(self) -> Callable[..., Any]:
        """What is called."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The named arguments that the user gave."""


def check_settings(
    entries: Iterable[Registered], path: str | os.PathLike[str] | None = None
) -> None:
    """Check the settings of an agent that is made in code, before it starts.

    Checked is each class that a job or listener is to be handed, and each defined class
    that has a section in the file. A section of nobody may belong to another program
    that shares the file, so only one that looks misspelt is a mistake. A file with
    secrets that others may open is a warning.

    Args:
        entries: the jobs and listeners.
        path: agent.toml; the usual places if not given.

    Raises:
        ConfigError: every mistake, one sentence each.
    """
    sections, problems, entries = Sections(path), list[str](), list(entries)
    sections.check(wanted_by(entries), problems)
    sections.check_names(problems, strict=False)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    for sentence in sections.exposed(entries):
        log.warning("%s", sentence)


def wanted_by(entries: Iterable[Registered]) -> list[type[Settings]]:
    """Return the settings classes that jobs and listeners are to be handed."""
    found: dict[type[Settings], None] = {}
    for each in entries:
        args = getattr(each, "args", ())
        found.update(
            dict.fromkeys(settings_wanted(each.function, args, each.arguments).values())
        )
    return list(found)


class Sections:
    """The sections of agent.toml that belong to settings classes; read when first used.

    Args:
        path: agent.toml; the usual places if not given.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._file: tuple[Path | None, dict[str, Any]] | None = None
        self._made: dict[type[Settings], Settings] = {}

    def get(self, wanted: type[S]) -> S:
        """Return the settings of a class, the same object every time.

        Raises:
            ConfigError: every mistake in them, one sentence each.
            UsageError: it is no settings class of the user's own.
        """
        if not (isinstance(wanted, type) and issubclass(wanted, Settings)):
            raise UsageError(f"{wanted!r} is no settings class; derive it from Settings")
        if wanted is Settings:
            raise UsageError(
                "Settings has no values; name a class of your own that is derived from it"
            )
        with self._lock:
            if wanted not in self._made:
                problems: list[str] = []
                made = self._make(wanted, problems)
                if made is None:
                    raise ConfigError(problems)
                self._made[wanted] = made
            found: Any = self._made[wanted]
            return found  # type: ignore[no-any-return]

    def has_observability(self) -> bool:
        """Return whether Observability is configured: in agent.toml, the environment, or
        by a file in a directory of secrets, as these are given to this agent alone.

        The file of credentials does not count, as it may be shared with another agent.
        Asked before its settings classes are imported, which takes a while.

        Raises:
            ConfigError: the file cannot be read.
        """
        names = {name.upper() for name in os.environ} | names_in_directories()
        return "core" in self._content()[1] or not names.isdisjoint(OBSERVABILITY)

    def text(self, section: str, key: str, variable: str) -> str:
        """Return a value as the file or else a variable has it, unchecked; "" for none.

        Args:
            section: where it stands in the file.
            key: its name there.
            variable: its name in the environment, in upper case.
        """
        here = self._content()[1].get(section)
        written = here.get(key) if isinstance(here, dict) else None
        named = {name.upper(): value for name, value in os.environ.items()}
        return str(written or named.get(variable) or "")

    def check(self, classes: Iterable[type[Settings]], problems: list[str]) -> None:
        """Check classes, and each defined class that has a section in the file.

        Args:
            classes: the classes that jobs and listeners are to be handed.
            problems: where mistakes are added, one sentence each.
        """
        try:
            content = self._content()[1]
        except ConfigError as error:
            problems += error.problems
            return
        here = [each for each in defined() if each.__py_agent_section__ in content]
        for cls in dict.fromkeys([*classes, *here]):
            try:
                self.get(cls)
            except ConfigError as error:
                problems += (each for each in error.problems if each not in problems)
            except UsageError as error:
                problems.append(str(error))

    def exposed(self, entries: Iterable[Registered] = ()) -> list[str]:
        """Return a sentence for each file with secrets that others may open.

        In a directory of secrets all may read them, as Docker and Kubernetes make them.

        Args:
            entries: the jobs and listeners, as far as they are known.

        Raises:
            ConfigError: the file cannot be read.
        """
        (path, content), entries = self._content(), list(entries)
        classes = list(dict.fromkeys([*wanted_by(entries), *defined()]))
        hidden = secret_arguments(each.function for each in entries)
        secret = any(hidden & table.keys() for table in _tables(content)) or any(
            isinstance(values := content.get(_section(cls) or ""), dict)
            and holds_secrets(cls, values)
            for cls in classes
        )
        files = [path if secret else None, secret_credentials(classes)]
        told = [exposure(each) for each in files if each]
        told += [changeable(each) for each in files_of_secrets(classes)]
        return [each for each in told if each]

    def check_names(self, problems: list[str], strict: bool = True) -> None:
        """Check that each section belongs to somebody.

        Args:
            problems: where mistakes are added, one sentence each.
            strict: whether a section of nobody is a mistake; else only one that looks
                misspelt is. In the shared file none is, and one notice names them.
        """
        path, content = self._content()
        known = {*ENGINE_SECTIONS, *filter(None, map(_section, defined()))}
        if self.has_observability():
            known |= TOOLS  # a file may hold the sections of several agents
        foreign = sorted(content.keys() - known)
        if is_shared(path):
            names = [*foreign, *self._foreign_keys()]
            if names and strict:
                told = ", ".join(names)
                log.info("%s: sections and keys of others are left alone: %s", path, told)
            return
        for name in foreign:
            if strict or misspelt(name, known - content.keys()):
                kind = "section" if isinstance(content[name], dict | list) else "key"
                problems.append(
                    f"{path}: there is no {kind} {name!r}{nearest(name, known)}"
                )

    def _content(self) -> tuple[Path | None, dict[str, Any]]:
        with self._lock:
            if self._file is None:
                path = find_config(self._path)
                self._file = path, {} if path is None else load(path)
            return self._file

    def _foreign_keys(self) -> list[str]:
        """Return the keys of others in sections that we share with them."""
        path, content = self._content()
        found: list[str] = []
        for cls in defined():
            name = cls.__py_agent_section__
            if name in LENIENT and isinstance(content.get(name), dict):
                kept, _ = without_unknown(cls, content[name])
                found += (f"{name}.{key}" for key in sorted(content[name].keys() - kept))
        return found

    def _make(self, cls: type[Settings], problems: list[str]) -> Settings | None:
        """Return the settings of a class, or None and what is wrong with them."""
        path, content = self._content()
        places, unknown = _places(cls, path, content, problems)
        problems += (f"{places.in_file(at)}: {what}" for at, what in unknown)
        try:
            made = cls(**places.values)
        except ValidationError as error:
            problems += places.sentences(error)
        except ConfigError as error:
            problems += error.problems
        except PydanticUserError as error:
            problems.append(f"{full_name(cls)}: {' '.join(error.message.split())}")
        except Exception as error:
            # What it says may hold the value, so only its kind is told.
            name = type(error).__name__
            problems.append(f"{full_name(cls)}: its own code failed with {name}")
        return None if problems else made


def _section(cls: type[Settings]) -> str | None:
    return cls.__py_agent_section__


def _tables(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the arguments that the jobs and listeners of agent.toml are given."""
    for key in ("jobs", "listeners"):
        tables = content.get(key)
        for table in tables if isinstance(tables, list) else ():
            given = table.get("with") if isinstance(table, dict) else None
            if isinstance(given, dict):
                yield given


def _places(
    cls: type[Settings], path: Path | None, content: dict[str, Any], problems: list[str]
) -> tuple[Places, list[tuple[Location, str]]]:
    """Return the places and known values of a class, and its unknown keys."""
    section = cls.__py_agent_section__
    values = content.get(section, {}) if section else {}
    if not isinstance(values, dict):
        problems.append(f"{path}: [{section}]: write it once, as [{section}] and keys")
        values = {}
    kept, unknown = without_unknown(cls, values)
    if is_shared(path) and section in LENIENT:
        unknown = [(at, what) for at, what in unknown if at]
    return Places(cls, path, _from_the_file(cls, path, kept)), unknown


def _from_the_file(
    cls: type[Settings], path: Path | None, values: dict[str, Any]
) -> dict[str, Any]:
    """Return a section's values, relative paths in it as seen from the file's folder."""
    if path is None:
        return values
    paths = {
        key
        for name, field in cls.model_fields.items()
        if field.annotation in (Path, Path | None)
        for key in (name, *aliases(field))
    }
    return {
        key: str(path.parent / value) if key in paths and isinstance(value, str) else value
        for key, value in values.items()
    }
