"""What keeps an agent under test apart from the machine's settings, and from chance."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from ..choices import Choices
from ..errors import UsageError

if TYPE_CHECKING:
    from ..settings.config import EngineSettings


class OwnChoices(Choices):
    """What the test says, and nothing else: no agent.toml, no environment."""

    def _settings(self) -> EngineSettings:
        from ..settings.config import EngineSettings

        return EngineSettings.model_construct()


class LongestWait(random.Random):
    """Draws the longest wait every time, so that a test knows when a retry is due."""

    def uniform(self, a: float, b: float) -> float:
        return b


def defaults_of(wanted: type[Any]) -> Any:
    """Return the settings of a class without reading any file or environment.

    Args:
        wanted: a settings class.

    Raises:
        UsageError: a value is required, or it is no settings class.
    """
    name = getattr(wanted, "__name__", repr(wanted))
    fields: dict[str, Any] = getattr(wanted, "model_fields", {})
    missing = [key for key, field in fields.items() if field.is_required()]
    if missing or not fields:
        values = ", ".join(f"{key}=..." for key in missing)
        raise UsageError(
            f"the test gives no values for {name}; "
            f"write agent.settings[{name}] = {name}({values})"
        )
    return wanted.model_construct()
