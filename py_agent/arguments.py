"""Which arguments a function names, and the call that passes just those.

Jobs and listeners are called by name and only with what they name (`handler`, `event`),
so a new thing to hand over breaks no function that does not ask for it.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .errors import RegistrationError

MAX_NAME = 255  # bytes of UTF-8: a name must fit into a slot of the side file

SECTION = "__py_agent_section__"  # what marks a settings class, and names its section
CHECK = "__py_agent_check__"  # where a function keeps what checks its arguments

# Every settings class by module and name. They are noted here, as asking whether a
# function names one must not import pydantic.
settings_classes: dict[tuple[str, str], type[Any]] = {}

F = TypeVar("F", bound=Callable[..., Any])

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
        name = f"{module_name(function.__module__)}.{qualname}"
    if not isinstance(name, str) or not name or not name.isprintable():
        raise RegistrationError(f"{name!r} cannot be a name; use printable text")
    if len(name.encode(errors="replace")) > MAX_NAME:
        raise RegistrationError(f"the name {name:.40}... is longer than {MAX_NAME} bytes")
    return name


def module_name(module: str) -> str:
    """Return the name by which a module is imported, also while it is the main one."""
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


class Options(NamedTuple):
    """Named arguments that a function has in common with others.

    Args:
        hints: their annotations by name.
        needed: those that must be given.
    """

    hints: Mapping[str, Any] = {}
    needed: frozenset[str] = frozenset()


def options_of(function: Callable[..., Any]) -> Options:
    """Return the arguments that a function declares by `**options: Unpack[Options]`.

    None, if it has no such argument, or what is unpacked is no TypedDict.
    """
    rest = _rest(function)
    if rest is None:
        return Options()
    try:
        hint = typing.get_type_hints(function, include_extras=True).get(rest)
        if typing.get_origin(hint) is not typing.Unpack:
            return Options()
        kind = typing.get_args(hint)[0]
        hints = typing.get_type_hints(kind, include_extras=True)
        usual = kind.__required_keys__  # it does not see the marks in annotations as text
    except Exception:  # an annotation that means nothing here says nothing
        return Options()
    marks = {name: typing.get_origin(each) for name, each in hints.items()}
    for name, mark in marks.items():
        if mark in (typing.Required, typing.NotRequired):
            hints[name] = typing.get_args(hints[name])[0]
    optional = {name for name, mark in marks.items() if mark is typing.NotRequired}
    needed = {name for name, mark in marks.items() if mark is typing.Required}
    return Options(hints, frozenset((usual - optional) | needed))


def _rest(function: Callable[..., Any]) -> str | None:
    """Return the name of what takes all other named arguments, as `**options` does."""
    kind = inspect.Parameter.VAR_KEYWORD
    return next((n for n, p in parameters(function).items() if p.kind is kind), None)


def _taken(function: Callable[..., Any], args: tuple[Any, ...]) -> set[str]:
    """Return the names of the parameters that the positional arguments fill."""
    places = [n for n, p in parameters(function).items() if p.kind in BY_PLACE]
    return set(places[: len(args)])


def settings_of(function: Callable[..., Any]) -> dict[str, type[Any]]:
    """Return the settings classes that a function asks for by annotation.

    Args:
        function: the job or listener.

    Returns:
        The classes by the name of the parameter. An annotation may be text, as with
        `from __future__ import annotations`; other than a class, such as `Optional`,
        it asks for nothing. What a partial has bound already is not asked for.
    """
    bound_already = function.keywords if isinstance(function, functools.partial) else {}
    found: dict[str, type[Any]] = {}
    for name, parameter in parameters(function).items():
        if parameter.kind in BY_NAME and name not in bound_already:
            wanted = parameter.annotation
            if isinstance(wanted, str):
                wanted = _named_in(function, wanted)
            if isinstance(wanted, type) and hasattr(wanted, SECTION):
                found[name] = wanted
    return found


def _named_in(function: Callable[..., Any], text: str) -> Any:
    """Return what a dotted name means in a function's module, None if it is unknown."""
    inner: Any = function.func if isinstance(function, functools.partial) else function
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    inner = inspect.unwrap(getattr(inner, "__func__", inner))
    first, *rest = text.strip().strip("'\"").split(".")
    known = {**vars(builtins), **getattr(inner, "__globals__", {}), **_closure(inner)}
    if first in known:
        return functools.reduce(
            lambda at, step: getattr(at, step, None), rest, known[first]
        )
    # A class made inside a function, as in a test, is in no namespace by now.
    here = module_name(inner.__module__)
    local = [
        each for (module, name), each in settings_classes.items()
        if module == here and name.endswith(f"<locals>.{text}")
    ]  # fmt: skip
    return local[-1] if local else None


def checked_by(check: Callable[..., object]) -> Callable[[F], F]:
    """Mark a function with what checks its arguments together, when it is registered.

    An annotation says what one argument may be; this says which of them go together. The
    function can still be called plainly.

    Args:
        check: called by name with those of the arguments that it names and that were
            given; it raises ValueError with what is wrong.
    """

    def mark(function: F) -> F:
        setattr(function, CHECK, check)
        return function

    return mark


def check_together(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Ask a function's own check, if it has one; see `checked_by`.

    Args:
        function: the job or listener.
        arguments: those that it is given, by name.

    Raises:
        ValueError: the check says that they do not go together.
    """
    inner: Any = function
    if isinstance(function, functools.partial):
        inner, arguments = function.func, {**function.keywords, **arguments}
    check = getattr(inner, CHECK, None)
    if check is not None:
        bound(check, (), {}, arguments)()


def _check_options(given: Set[str], options: Options) -> None:
    """Check what is given beside the parameters, as a call would if they were parameters.

    Raises:
        TypeError: an argument is unknown or missing.
    """
    if options.hints and (unknown := given - options.hints.keys()):
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
    if missing := options.needed - given:
        raise TypeError(f"missing a required argument: {min(missing)!r}")


def _not_imported(function: Callable[..., Any], filled: Mapping[str, Any]) -> str:
    """Return what to say of an annotation that means nothing when the function runs."""
    for name, parameter in parameters(function).items():
        text = parameter.annotation
        if isinstance(text, str) and name not in filled and text.isidentifier():
            if _named_in(function, text) is None:
                return f"; {text} is not imported there, except perhaps for type checkers"
    return ""


def _closure(function: Any) -> dict[str, Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    values: dict[str, Any] = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            values[name] = cell.cell_contents
    return values


def settings_wanted(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, type[Any]]:
    """Return the settings classes to be handed over: those the user gave no value for.

    Args:
        function: the job or listener.
        args: positional arguments that the user gave.
        kwargs: named arguments that the user gave.
    """
    filled = _taken(function, args) | kwargs.keys()
    return {
        name: wanted for name, wanted in settings_of(function).items() if name not in filled
    }


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
        offered: names that the engine passes to a function that names them; it also
            passes settings, by annotation.

    Raises:
        RegistrationError: an argument that the function lacks, one that is missing, or
            some that do not go together.
    """
    if not callable(function):
        raise RegistrationError(f"{what}: {function!r} is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistrationError(
            f"{what}: it has a yield, so calling it would run nothing; "
            f"publish with handler.publish(...) instead"
        )
    known = parameters(function)
    ours = (offered & named(function)) | settings_of(function).keys()
    extra = dict.fromkeys(ours - kwargs.keys())
    taken = _taken(function, args)
    extra = {name: None for name in extra if name not in taken}
    options, rest = options_of(function), _rest(function)
    try:
        inspect.signature(function).bind(*args, **kwargs, **extra)
        _check_options(kwargs.keys() - known.keys(), options)
    except TypeError as error:
        names = [each for each in known if not (options.hints and each == rest)]
        shown = ", ".join([*names, *options.hints])
        signature = f"{getattr(function, '__name__', 'it')}({shown})"
        raise RegistrationError(
            f"{what}: {error}; the function is {signature}{_not_imported(function, extra)}"
        ) from None
    except ValueError:
        return  # Python cannot tell its parameters
    given = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    try:
        check_together(function, {**given, **given.get(rest or "", {})})
    except ValueError as error:
        raise RegistrationError(f"{what}: {error}") from None


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
