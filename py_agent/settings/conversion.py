"""Fits the arguments that agent.toml gives a job or listener to what it declares."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..arguments import BY_NAME, SECTION, parameters, settings_of
from ..errors import ConfigError
from .mistakes import nearest, reasons


def convert_arguments(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    reserved: frozenset[str],
    base: Path | None = None,
) -> dict[str, Any]:
    """Check named arguments against a function's annotations and convert them.

    Args:
        function: the job or listener.
        given: the arguments, as TOML has them.
        reserved: names that the engine passes.
        base: the folder that relative paths are relative to; the working directory if
            not given.

    Raises:
        ConfigError: every argument that the function lacks or that does not fit.
    """
    settings = settings_of(function)
    reserved = reserved | settings.keys()
    known = parameters(function)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:
        hints = {}
    problems: list[str] = []
    converted: dict[str, Any] = {}
    for name, value in given.items():
        if name in settings:
            section = getattr(settings[name], SECTION)
            where = f"[{section}]" if section else "the environment"
            problems.append(
                f"{name!r} is settings, handed over by the agent; set them in {where}"
            )
        elif name in reserved:
            problems.append(f"{name!r} is handed over by the agent and cannot be set")
        elif name not in known and not open_ended:
            names = known.keys() - reserved
            problems.append(f"there is no argument {name!r}{nearest(name, names)}")
        elif name in hints:
            try:
                value = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                _, _, why = next(reasons(error))
                problems.append(f"argument {name!r}: {why}")
        if isinstance(value, Path) and base is not None:
            value = base / value
        converted[name] = value
    for name, parameter in known.items():
        needed = parameter.kind in BY_NAME and parameter.default is parameter.empty
        if needed and name not in reserved and name not in given:
            problems.append(f"argument {name!r} is missing; write it into `with`")
    if problems:
        raise ConfigError(problems)
    return converted
