"""Values that lie in files: the directories of secrets, and the file of credentials.

What is wrong with a file is one sentence that names it. The libraries' errors hold the
content, so none of them is kept as a cause.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from ..arguments import SECTION
from ..errors import ConfigError
from .mistakes import aliases, without_unknown

SYSTEMD = "CREDENTIALS_DIRECTORY"  # of LoadCredential= and SetCredential=
DIRECTORIES = (SYSTEMD, "PY_AGENT_SECRETS_DIR")
CREDENTIALS = "PY_AGENT_CREDENTIALS_FILE"


@dataclass(frozen=True)
class Credentials:
    """What the file of credentials holds for one settings class.

    Args:
        path: the file; None if none is named.
        section: the values of its section, by field or alias.
        variables: other values, by variable as it is written there.
    """

    path: Path | None = None
    section: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)


def variables(cls: type[BaseSettings], name: str) -> list[str]:
    """Return the variables from which a field is read, the usual one first."""
    known = cls.model_fields.get(name)
    prefix = cls.model_config.get("env_prefix")
    own = [f"{prefix}{name}"] if prefix else []
    found = [*own, *(aliases(known) if known else ())]
    exact = cls.model_config.get("case_sensitive")
    return found if exact else [each.upper() for each in found]


def folded(cls: type[BaseSettings]) -> Callable[[str], str]:
    """Return what makes one name of the cases in which a variable may be written."""
    return str if cls.model_config.get("case_sensitive") else str.lower


def unset(cls: type[BaseSettings], known: Mapping[str, Any]) -> list[str]:
    """Return the fields that have no value yet, or one to which more can be added."""
    return [
        name
        for name, info in cls.model_fields.items()
        if all(isinstance(known.get(key, {}), dict) for key in (name, *aliases(info)))
    ]


def names_in_directories() -> set[str]:
    """Return the names of all files of secrets, in upper case."""
    found: set[str] = set()
    for variable in DIRECTORIES:
        try:
            found.update(name.upper() for name in _listed(variable))
        except ConfigError:
            continue  # told with what is to be read from it
    return found


def secret_files(cls: type[BaseSettings], fields: Sequence[str]) -> dict[str, Path]:
    """Return the files of secrets that belong to fields, by folded variable.

    Raises:
        ConfigError: every directory that cannot be read, one sentence each.
    """
    fold, wanted = folded(cls), _belongs_to(cls, fields)
    found, problems = dict[str, Path](), list[str]()
    for variable in DIRECTORIES if fields else ():
        try:
            for name in filter(wanted, _listed(variable)):
                found.setdefault(fold(name), Path(os.environ[variable], name))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def secrets_in(files: Mapping[str, Path]) -> dict[str, str]:
    """Return what files of secrets hold, without the line breaks at their ends.

    Raises:
        ConfigError: every file that cannot be read, one sentence each.
    """
    read = {name: _text(path) for name, path in files.items()}
    if problems := [f"{files[name]} {what}" for name, (_, what) in read.items() if what]:
        raise ConfigError(problems)
    return {name: text.rstrip("\r\n") for name, (text, _) in read.items()}


def credentials(cls: type[BaseSettings], fields: Sequence[str]) -> Credentials:
    """Return what the file of credentials holds for fields; what is null is not there.

    Keys that nobody knows are left alone, as the file may be shared.

    Raises:
        ConfigError: it cannot be read, or is no object of JSON.
    """
    named = os.environ.get(CREDENTIALS)
    if not (named and fields):
        return Credentials()
    path, wanted = Path(named), _belongs_to(cls, fields)
    content = _json(path)
    name: Any = getattr(cls, SECTION, None)
    inside = content.get(name) if name else None
    if isinstance(inside, dict):
        del content[name]
    elif inside is not None and not wanted(name):
        raise ConfigError(f"{path}: {name}: write it as an object: {{{name!r}: {{...}}}}")
    kept, _ = without_unknown(cls, inside if isinstance(inside, dict) else {})
    keys = {key for each in fields for key in (each, *aliases(cls.model_fields[each]))}
    return Credentials(
        path,
        {key: value for key, value in kept.items() if key in keys and value is not None},
        {key: value for key, value in content.items() if wanted(key) and value is not None},
    )


def is_of_systemd(path: Path) -> bool:
    """Return whether a file lies in the directory that systemd has made."""
    folder = os.environ.get(SYSTEMD)
    return bool(folder) and path.resolve().is_relative_to(Path(str(folder)).resolve())


def _belongs_to(cls: type[BaseSettings], fields: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether a name is that of a variable of some fields."""
    fold = folded(cls)
    names = {fold(each) for name in fields for each in variables(cls, name)}
    delimiter = cls.model_config.get("env_nested_delimiter")
    inner = tuple(each + fold(delimiter) for each in names) if delimiter else ()
    return lambda text: fold(text) in names or fold(text).startswith(inner)


def _listed(variable: str) -> list[str]:
    """Return the names in the directory that a variable names, if it names one."""
    folder = os.environ.get(variable)
    try:
        # In this order a name in capitals comes first.
        return sorted(os.listdir(folder)) if folder else []
    except OSError as error:
        problem = error.strerror
    raise ConfigError(f"{variable}: the directory {folder} cannot be read: {problem}")


def _text(path: Path) -> tuple[str, str]:
    """Return the text of a file, and what is wrong with it."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "", "is a directory" if stat.S_ISDIR(mode) else "is no file"
        return path.read_text(encoding="utf-8-sig"), ""
    except UnicodeDecodeError:
        return "", "is not UTF-8 text"
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"


def _json(path: Path) -> dict[str, Any]:
    text, problem = _text(path)
    content: Any = None
    if not problem:
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            problem = f"is not JSON: see line {error.lineno}, column {error.colno}"
        except (ValueError, RecursionError):
            problem = "is not JSON that can be read"
    if not problem and not isinstance(content, dict):
        problem = "must hold an object of JSON, as in {...}"
    if problem:
        raise ConfigError(f"{CREDENTIALS}: {path} {problem}")
    found: dict[str, Any] = content
    return found
