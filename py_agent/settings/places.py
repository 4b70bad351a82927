"""Where a setting was written, or could have been: in a file, or in a variable."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from ..arguments import SECTION
from ..errors import ConfigError
from .config import LOCAL
from .mistakes import UNUSABLE_TOKEN, Location, aliases, alternatives, given, reasons
from .secret_types import secret_fields
from .stored import credentials, is_empty, secret_files, variables

JSON_KINDS = {"list_type", "dict_type", "model_type", "set_type", "tuple_type"}


@dataclass(frozen=True)
class Places:
    """The places of the values of one settings class.

    Args:
        cls: the class.
        path: the file; None if there is none.
        values: what its section in the file holds.
    """

    cls: type[BaseSettings]
    path: Path | None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def section(self) -> str:
        """The place of the section, as in `agent.toml: [shop]`; "" if it has none."""
        name = getattr(self.cls, SECTION)
        return f"{self.path or LOCAL}: [{name}]" if name else ""

    def in_file(self, location: Location) -> str:
        """Return a place in the section, counting from 1."""
        return f"{self.section} {_words(location)}".rstrip()

    def sentences(self, error: ValidationError) -> list[str]:
        """Return one sentence for each mistake, without the value."""
        missing, wrong = list[str](), list[tuple[str, str]]()
        for location, kind, reason in reasons(error, self._is_hidden):
            if kind == "missing" and len(location) == 1:
                missing.append(self._missing(self._field(str(location[0]))))
            else:
                wrong.append(self._told(location, kind, reason))
        return missing + alternatives(wrong)

    def _told(self, location: Location, kind: str, reason: str) -> tuple[str, str]:
        if not location:
            return self.section or f"the environment: {self._prefix}*", reason
        name = self._field(str(location[0]))
        if kind == UNUSABLE_TOKEN and (what := self._description(name)):
            reason = f"{reason}; it is to be {what}"
        written = next((each for each in self._keys(name) if each in self.values), None)
        if written is not None:
            inside = (written, *location[1:])
            shown = inside if kind == "missing" else given(self.values, inside)
            return self.in_file(shown), reason
        hint = "; write it as JSON" if kind in JSON_KINDS else ""
        if variable := self._variable(name):
            return f"the environment: {variable}", reason + hint
        if path := self._secret_file(name, empty=False):
            return str(path), reason + hint
        if place := self._in_credentials(name, location, kind):
            return place, reason
        return f"{self.cls.__module__}.{self.cls.__qualname__}: {name}: its default", reason

    def _missing(self, name: str) -> str:
        """Return the sentence about a missing value: what it is, and where it goes."""
        what = self._description(name)
        section, names = getattr(self.cls, SECTION), variables(self.cls, name)
        if not section and not names:
            where = f"{self.cls.__module__}.{self.cls.__qualname__}: {name}"
            told = f"{where} is missing{what and f': {what}'}"
            return f"{told}; give the class a section= or env_prefix="
        title = f"[{section}] {name}" if section else names[0]
        places = [f"in {self.path or LOCAL} as {title}"] if section else []
        if names:
            places.append(f"in the variable {' or '.join(names)}")
            places.append(f"in a file {names[0]} in the directory of secrets")
        told = f"{title} is missing{what and f': {what}'}. Put it {_either(places)}"
        empty = self._secret_file(name, empty=True)
        return f"{told}; {empty} is empty" if empty else told

    def _description(self, name: str) -> str:
        """Return what a field is, as its class says it; "" if it does not."""
        known = self.cls.model_fields.get(name)
        return " ".join(((known.description if known else None) or "").split()).rstrip(".")

    def _is_hidden(self, location: Location) -> bool:
        """Return whether what a check says there may hold a secret; not so if it is ours.

        Of all together, it is asked with no location.
        """
        secret = secret_fields(self.cls)
        if self.cls.__module__.startswith("py_agent."):
            return False
        return self._field(str(location[0])) in secret if location else bool(secret)

    def _secret_file(self, name: str, empty: bool) -> Path | None:
        """Return the file of secrets of a field, if there is one and it is such."""
        try:
            files = secret_files(self.cls, [name]).values()
        except ConfigError:
            return None
        return next((each for each in files if is_empty(each) is empty), None)

    def _in_credentials(self, name: str, location: Location, kind: str) -> str:
        """Return the place of a field in the file of credentials; "" if it is not there."""
        try:
            found = credentials(self.cls, [name])
        except ConfigError:
            return ""
        sections = {f"[{getattr(self.cls, SECTION)}] ": found.section, "": found.variables}
        for section, values in sections.items():
            for key in values:
                inside = (key, *location[1:])
                shown = inside if kind == "missing" else given(values, inside)
                return f"{found.path}: {section}{_words(shown)}"
        return ""

    def _variable(self, name: str) -> str | None:
        """Return the variable that is set and that a field was read from."""
        exact = self.cls.model_config.get("case_sensitive")
        here = {each if exact else each.upper(): each for each in os.environ}
        for variable in variables(self.cls, name):
            if variable in here:
                return here[variable]
        delimiter = self.cls.model_config.get("env_nested_delimiter")
        for variable in variables(self.cls, name) if delimiter else ():
            for each, real in here.items():
                if each.startswith(variable + str(delimiter).upper()):
                    return real
        return None

    def _field(self, key: str) -> str:
        """Return the name of the field that a key of a mistake belongs to."""
        return next((n for n in self.cls.model_fields if key in self._keys(n)), key)

    def _keys(self, name: str) -> list[str]:
        known = self.cls.model_fields.get(name)
        return [name, *(aliases(known) if known else ())]

    @property
    def _prefix(self) -> str:
        return str(self.cls.model_config.get("env_prefix") or "").upper()


def _words(location: Location) -> str:
    """Return a place inside a section, counting from 1."""
    return " ".join(str(each + 1 if isinstance(each, int) else each) for each in location)


def _either(places: list[str]) -> str:
    """Return places as a sentence lists them: `a`, `a or b`, `a, b, or c`."""
    *first, last = places
    if not first:
        return last
    return f"{', '.join(first)}{',' if len(first) > 1 else ''} or {last}"
