"""Settings classes: a section of agent.toml and a prefix in the environment.

A class registers by being defined. A value in the file wins over the environment, and
that over the directories of secrets and the file of credentials.
"""

from __future__ import annotations

import re
import sys
from typing import Any, ClassVar, Unpack

from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ..arguments import module_name, settings_classes
from ..errors import ConfigError
from .config import ENGINE_SECTIONS
from .sources import (
    CredentialsBySection,
    CredentialsByVariable,
    Environment,
    SecretFiles,
)


class Settings(BaseSettings):
    """The settings of a job or listener; a subclass names its section and prefix.

    `class ShopSettings(Settings, section="shop", env_prefix="DK_SHOP_")` is read from
    `[shop]` of agent.toml and, for what is not there, from the variables `DK_SHOP_*`,
    from files of these names in `$CREDENTIALS_DIRECTORY` and `$PY_AGENT_SECRETS_DIR`,
    and from the JSON in `$PY_AGENT_CREDENTIALS_FILE`. Without a section it is not read
    from agent.toml, without a prefix not from variables. A job or listener gets it
    through an argument annotated with the class, or by `handler.settings(ShopSettings)`.

    The `description` of a field is told when its value is missing: say what it is, and
    where to get it.

    Args:
        values: the fields by name, as a test gives them.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        populate_by_name=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )
    __py_agent_section__: ClassVar[str | None] = None

    def __init_subclass__(
        cls, *, section: str | None = None, **kwargs: Unpack[SettingsConfigDict]
    ) -> None:
        super().__init_subclass__()
        cls.__py_agent_section__ = section

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        _define(cls)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from; what stands first wins."""
        return (
            init_settings,
            Environment(settings_cls),
            dotenv_settings,
            file_secret_settings,
            SecretFiles(settings_cls),
            CredentialsBySection(settings_cls),
            CredentialsByVariable(settings_cls),
        )


def _key(cls: type[Any]) -> tuple[str, str]:
    return module_name(cls.__module__), cls.__qualname__


def full_name(cls: type[Any]) -> str:
    """Return the name of a class as a user would import it."""
    return ".".join(_key(cls))


def _define(cls: type[Settings]) -> None:
    """Note a class; one that its module does not hold any more gives way to it.

    Raises:
        ConfigError: its section is no name, or belongs to another.
    """
    section = cls.__py_agent_section__
    if section is not None:
        if not isinstance(section, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", section):
            raise ConfigError(
                f"{full_name(cls)}: section={section!r} is no name of a section; "
                f"use letters, digits, - and _"
            )
        if section in ENGINE_SECTIONS:
            raise ConfigError(
                f"{full_name(cls)}: [{section}] belongs to the engine; name another section"
            )
    for key, other in list(settings_classes.items()):
        if key == _key(cls) or section is None or other.__py_agent_section__ != section:
            continue
        if _is_current(other):
            raise ConfigError(
                f"[{section}] is the section of both {full_name(other)} and "
                f"{full_name(cls)}; give one of them another"
            )
        del settings_classes[key]
    settings_classes.pop(_key(cls), None)  # the last one defined stands last
    settings_classes[_key(cls)] = cls


def _is_current(cls: type[Any]) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for step in cls.__qualname__.split("."):
        found = getattr(found, step, None)
    return found is cls


def defined() -> list[type[Settings]]:
    """Return the settings classes that have been defined, in that order.

    Those of a module that is not imported any more are left out.
    """
    return [each for each in settings_classes.values() if each.__module__ in sys.modules]
