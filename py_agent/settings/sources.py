"""The sources of the values of a settings class, in the form that the library wants.

What they need is read when an object of the class is made, and only for the fields that
no source before has given.
"""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)

from .mistakes import aliases
from .stored import credentials, folded, secret_files, secrets_in, unset


class Environment(EnvSettingsSource):
    """The environment; without a prefix only the variables that an alias names.

    Otherwise a field called `path` or `user` would be read from PATH or USER.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if self.env_prefix:
            return super().get_field_value(field, field_name)
        for alias in aliases(field):
            value = self.env_vars.get(alias if self.case_sensitive else alias.lower())
            if value:  # an empty variable is none, as with a prefix
                return value, alias, False
        return None, field_name, False

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        if value is None and not self.env_prefix:
            return None
        return super().prepare_field_value(field_name, field, value, value_is_complex)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if not isinstance(value, str):
            return value  # the file of credentials is JSON already
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value  # what it should have been is told with all other mistakes


class SecretFiles(Environment):
    """The directories of secrets: a file for each variable.

    The library's own source for these warns where we must fail, takes spaces off a
    secret, and knows no aliases without a prefix.
    """

    def __call__(self) -> dict[str, Any]:
        fields = unset(self.settings_cls, self.current_state)
        self.env_vars = secrets_in(secret_files(self.settings_cls, fields))
        return super().__call__()


class CredentialsByVariable(Environment):
    """The file of credentials, in which variables have their names in the environment."""

    def __call__(self) -> dict[str, Any]:
        fields = unset(self.settings_cls, self.current_state)
        found, fold = credentials(self.settings_cls, fields), folded(self.settings_cls)
        self.env_vars = {fold(key): value for key, value in found.variables.items()}
        return super().__call__()


class CredentialsBySection(PydanticBaseSettingsSource):
    """The file of credentials, in which sections have their names in agent.toml."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: the values are taken all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = unset(self.settings_cls, self.current_state)
        found = credentials(self.settings_cls, fields)
        return InitSettingsSource(self.settings_cls, found.section)()
