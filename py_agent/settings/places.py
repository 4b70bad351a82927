"""Where a setting was written, or could have been: in the file, or in a variable."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from ..arguments import SECTION
from .config import LOCAL
from .mistakes import Location, aliases, alternatives, given, reasons

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
        words = [str(each + 1 if isinstance(each, int) else each) for each in location]
        return " ".join([self.section, *words])

    def variables(self, name: str) -> list[str]:
        """Return the variables from which a field is read, the usual one first."""
        known = self.cls.model_fields.get(name)
        prefix = self.cls.model_config.get("env_prefix")
        own = [f"{prefix}{name}"] if prefix else []
        found = [*own, *(aliases(known) if known else ())]
        exact = self.cls.model_config.get("case_sensitive")
        return found if exact else [each.upper() for each in found]

    def sentences(self, error: ValidationError) -> list[str]:
        """Return one sentence for each mistake, without the value."""
        return alternatives(
            self._told(location, kind, reason) for location, kind, reason in reasons(error)
        )

    def _told(self, location: Location, kind: str, reason: str) -> tuple[str, str]:
        if not location:
            return self.section or f"the environment: {self._prefix}*", reason
        name = self._field(str(location[0]))
        written = next((each for each in self._keys(name) if each in self.values), None)
        if written is not None:
            inside = (written, *location[1:])
            shown = inside if kind == "missing" else given(self.values, inside)
            return self.in_file(shown), reason
        if kind == "missing" and len(location) == 1:
            return self._nowhere(name, reason)
        if variable := self._variable(name):
            hint = "; write it as JSON" if kind in JSON_KINDS else ""
            return f"the environment: {variable}", reason + hint
        return f"{self.cls.__module__}.{self.cls.__qualname__}: {name}: its default", reason

    def _nowhere(self, name: str, reason: str) -> tuple[str, str]:
        """Return the sentence about a missing value, and where it can be set."""
        variables = " or ".join(self.variables(name))
        if self.section and variables:
            reason += f"; set it there, or {variables} in the environment"
        if self.section:
            return self.in_file((name,)), reason
        if variables:
            return f"the environment: {variables}", reason
        where = f"{self.cls.__module__}.{self.cls.__qualname__}: {name}"
        return where, f"{reason}; give the class a section= or env_prefix="

    def _variable(self, name: str) -> str | None:
        """Return the variable that is set and that a field was read from."""
        exact = self.cls.model_config.get("case_sensitive")
        here = {each if exact else each.upper(): each for each in os.environ}
        for variable in self.variables(name):
            if variable in here:
                return here[variable]
        delimiter = self.cls.model_config.get("env_nested_delimiter")
        for variable in self.variables(name) if delimiter else ():
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
