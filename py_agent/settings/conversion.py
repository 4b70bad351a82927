"""Fits the arguments that agent.toml gives a job or listener to what it declares."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..arguments import BY_NAME, SECTION, options_of, parameters, settings_of
from ..errors import ConfigError
from .mistakes import nearest, reasons
from .secret_types import is_secret


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
    known, options = parameters(function), options_of(function)
    open_ended = not options.hints and any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()
    )
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:
        hints = {}
    hints |= options.hints
    by_name = {name: p for name, p in known.items() if p.kind in BY_NAME}
    names = (by_name.keys() | options.hints.keys()) - reserved
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
        elif name not in names and not open_ended:
            problems.append(f"there is no argument {name!r}{nearest(name, names)}")
        elif name in hints:
            try:
                value = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                problems.append(f"argument {name!r}: {_why(error, hints[name], value)}")
        if isinstance(value, Path) and base is not None:
            value = base / value
        converted[name] = value
    needed = [name for name, p in by_name.items() if p.default is p.empty]
    problems += (
        f"argument {name!r} is missing; write it into `with`"
        for name in [*needed, *sorted(options.needed)]
        if name not in reserved and name not in given
    )
    if problems:
        raise ConfigError(problems)
    return converted


def _why(error: ValidationError, hint: Any, value: Any) -> str:
    """Return why a value does not fit an annotation."""
    secret = is_secret(hint)
    _, kind, reason = next(reasons(error, lambda _: secret, masked=secret))
    if kind == "list_type" and isinstance(value, str) and not secret:
        return f"write a list, as [{json.dumps(value, ensure_ascii=False)}]"
    return reason
