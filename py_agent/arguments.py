"""Which arguments a function names, and the call that passes just those.

Jobs and listeners are called by name and only with what they name (`handler`, `event`),
so a new thing to hand over breaks no function that does not ask for it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import RegistrationError

MAX_NAME = 255  # bytes of UTF-8: a name must fit into a slot of the side file

BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def function_name(function: Callable[..., Any], name: str | None = None) -> str:
    """Return the stable name under which a job or listener is known.

    Args:
        function: the job or listener.
        name: the name given by the user, which wins.

    Returns:
        `name`, else `module.qualname`, where `__main__` becomes the name that the module
        has when it is imported: the same however the program was started.

    Raises:
        RegistrationError: a lambda or partial without a name, or an unusable name.
    """
    if name is None:
        qualname = getattr(function, "__qualname__", None)
        if qualname is None or "<lambda>" in qualname:
            raise RegistrationError(f"{function!r} has no name of its own; give it name=")
        name = f"{_module_name(function.__module__)}.{qualname}"
    if not isinstance(name, str) or not name or not name.isprintable():
        raise RegistrationError(f"{name!r} cannot be a name; use printable text")
    if len(name.encode(errors="replace")) > MAX_NAME:
        raise RegistrationError(f"the name {name:.40}... is longer than {MAX_NAME} bytes")
    return name


def _module_name(module: str) -> str:
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else module


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return a function's parameters, empty where Python cannot tell them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def named(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the parameters that can be passed by name."""
    return frozenset(name for name, p in parameters(function).items() if p.kind in BY_NAME)


def _taken(function: Callable[..., Any], args: tuple[Any, ...]) -> set[str]:
    """Return the names of the parameters that the positional arguments fill."""
    places = [n for n, p in parameters(function).items() if p.kind in BY_PLACE]
    return set(places[: len(args)])


def check_call(
    what: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    offered: frozenset[str],
) -> None:
    """Check at registration that the later call will fit the function.

    Args:
        what: the name to use in the error.
        function: the job or listener.
        args: positional arguments that the user gave.
        kwargs: named arguments that the user gave.
        offered: names that the engine passes to a function that names them.

    Raises:
        RegistrationError: an argument that the function lacks, or one that is missing.
    """
    if not callable(function):
        raise RegistrationError(f"{what}: {function!r} is not a function")
    known = parameters(function)
    extra = dict.fromkeys((offered & named(function)) - kwargs.keys())
    taken = _taken(function, args)
    extra = {name: None for name in extra if name not in taken}
    try:
        inspect.signature(function).bind(*args, **kwargs, **extra)
    except TypeError as error:
        signature = f"{getattr(function, '__name__', 'it')}({', '.join(known)})"
        raise RegistrationError(f"{what}: {error}; the function is {signature}") from None
    except ValueError:
        return


def bound(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> Callable[[], Any]:
    """Return the call of a function with what the user gave and what it names.

    Args:
        function: the job or listener.
        args: positional arguments that the user gave.
        kwargs: named arguments that the user gave; they win over what is offered.
        offered: what the engine has to hand over, by name.
    """
    names = named(function) - _taken(function, args)
    passed = {name: value for name, value in offered.items() if name in names}
    return functools.partial(function, *args, **{**passed, **kwargs})
