"""Arguments: stable names, and calls that pass just what a function names."""

from __future__ import annotations

import functools
import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Annotated, Any, NotRequired, TypedDict, Unpack

import pytest

from py_agent.arguments import (
    MAX_NAME,
    SECTION,
    bound,
    check_call,
    checked_by,
    function_name,
    named,
    options_of,
    parameters,
    settings_of,
    settings_wanted,
)
from py_agent.errors import RegistrationError

OFFERED = frozenset({"handler", "event"})


def work(handler: Any = None, event: Any = None) -> tuple[Any, Any]:
    return handler, event


class Works:
    def method(self, handler: Any) -> Any:
        return handler

    def __call__(self, event: Any) -> Any:
        return event


def as_main(monkeypatch: pytest.MonkeyPatch, **values: Any) -> Callable[[], None]:
    """Return a function of a main module with the given attributes."""
    main = types.ModuleType("__main__")
    vars(main).update(values)
    monkeypatch.setitem(sys.modules, "__main__", main)

    def job() -> None: ...

    job.__module__ = "__main__"
    job.__qualname__ = "job"
    return job


def test_a_function_is_known_by_its_module_and_name() -> None:
    """The same name wherever it is registered."""
    assert function_name(work) == f"{__name__}.work"
    assert function_name(Works().method) == f"{__name__}.Works.method"


def test_a_given_name_wins() -> None:
    """Even where the function has a name of its own."""
    assert function_name(work, "shop.orders") == "shop.orders"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"__file__": "/some/where/example.py"}, "example.job"),
        ({"__file__": "example.py", "__spec__": None}, "example.job"),
        ({"__spec__": importlib.machinery.ModuleSpec("shop.main", None)}, "shop.main.job"),
        ({}, "__main__.job"),
    ],
    ids=["python file", "agent go file", "python -m", "typed in"],
)
def test_a_main_module_goes_by_the_name_it_is_imported_by(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], name: str
) -> None:
    """A delivery finds its listener again, whichever way the program was started."""
    assert function_name(as_main(monkeypatch, **values)) == name


@pytest.mark.parametrize(
    "function",
    [lambda: None, functools.partial(work), Works()],
    ids=["lambda", "partial", "instance"],
)
def test_a_function_without_a_name_needs_one(function: Callable[..., Any]) -> None:
    """Its name would not be the same after a restart, or be no name at all."""
    with pytest.raises(RegistrationError, match="give it name="):
        function_name(function)
    assert function_name(function, "given") == "given"


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "\ud800", 5, b"x"])
def test_a_name_that_cannot_be_shown_is_refused(name: Any) -> None:
    """Names stand in logs, tables and commands."""
    with pytest.raises(RegistrationError, match="cannot be a name"):
        function_name(work, name)


def test_a_name_is_at_most_255_bytes() -> None:
    """It must fit into a slot of the side file; letters may have several bytes."""
    assert function_name(work, "x" * MAX_NAME)
    with pytest.raises(RegistrationError, match="longer than 255 bytes"):
        function_name(work, "é" * 128)


def keyword(*rest: Any, handler: Any) -> tuple[Any, Any]:
    return rest, handler


def open_(**rest: Any) -> dict[str, Any]:
    return rest


def positional(event: Any, /, handler: Any) -> tuple[Any, Any]:
    return event, handler


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (work, {"handler", "event"}),
        (keyword, {"handler"}),
        (open_, set()),
        (positional, {"handler"}),
        (Works().method, {"handler"}),
        (Works(), {"event"}),
        (functools.partial(work, event=1), {"handler", "event"}),
    ],
)
def test_only_parameters_that_take_a_name_are_named(
    function: Callable[..., Any], names: set[str]
) -> None:
    """`**kwargs` asks for nothing in particular, so it is handed nothing."""
    assert named(function) == names


def test_a_function_of_which_python_knows_nothing_names_nothing() -> None:
    """Some functions in C have no signature."""
    assert dict(parameters(max)) == {}
    assert named(max) == frozenset()


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "result"),
    [
        (work, (), {}, ("H", "E")),
        (work, (), {"event": "mine"}, ("H", "mine")),
        (work, ("first",), {}, ("first", "E")),
        (work, ("first", "second"), {}, ("first", "second")),
        (keyword, (), {}, ((), "H")),
        (keyword, (1, 2, 3), {}, ((1, 2, 3), "H")),
        (positional, ("first",), {}, ("first", "H")),
        (open_, (), {"a": 1}, {"a": 1}),
        (Works(), (), {}, "E"),
        (functools.partial(work, "bound"), (), {}, ("bound", "E")),
    ],
)
def test_a_call_passes_what_was_given_and_what_is_named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    """What the user gave wins; a new offer breaks no function that does not name it."""
    offered = {"handler": "H", "event": "E", "something_new": "N"}
    check_call("it", function, args, kwargs, OFFERED)
    assert bound(function, args, kwargs, offered)() == result


def needs(handler: Any, order: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "words"),
    [
        (needs, (), {}, "missing a required argument: 'order'"),
        (needs, (), {"order": 1, "oder": 2}, "unexpected keyword argument 'oder'"),
        (needs, (1, 2, 3), {}, "too many positional arguments"),
        (needs, (1,), {"handler": 2, "order": 3}, "multiple values for argument 'handler'"),
        (positional, (), {}, "missing a required"),
        (lambda handlr: None, (), {}, "missing a required argument: 'handlr'"),
    ],
)
def test_a_call_that_will_not_fit_is_refused_at_registration(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    """A misspelt argument shows at once, with the function's own parameters."""
    with pytest.raises(RegistrationError) as caught:
        check_call("shop.job", function, args, kwargs, OFFERED)
    assert str(caught.value).startswith("shop.job: ")
    assert words in str(caught.value)
    assert all(name in str(caught.value) for name in parameters(function))


@pytest.mark.parametrize("function", [None, "work", 5])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    """The result of a call in place of the function is the usual mistake."""
    with pytest.raises(RegistrationError, match="is not a function"):
        check_call("it", function, (), {}, OFFERED)


def test_a_function_of_which_python_knows_nothing_is_taken_as_it_is() -> None:
    """What cannot be checked is not refused."""
    check_call("it", max, (1, 2), {}, OFFERED)
    assert bound(max, (1, 2), {}, {"handler": "H"})() == 2


class Marked:
    """What a settings class looks like from here."""


setattr(Marked, SECTION, "marked")
Space: Any = types.SimpleNamespace(Marked=Marked)


def as_text(handler: Any, settings: Marked, limit: int = 1) -> Any:
    return settings


def dotted(settings: Space.Marked) -> Any:
    return settings


def optional(settings: Marked | None = None) -> Any:
    return settings


def unknown(settings: NoSuchName) -> Any:  # type: ignore[name-defined]  # noqa: F821
    return settings


def by_place(settings: Marked, /) -> Any:
    return settings


class Asks:
    def method(self, mine: Marked) -> Any:
        return mine

    def __call__(self, mine: Marked) -> Any:
        return mine


def as_class(settings: Any) -> Any:
    return settings


as_class.__annotations__ = {"settings": Marked}


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (as_text, {"settings"}),
        (as_class, {"settings"}),
        (dotted, {"settings"}),
        (Asks().method, {"mine"}),
        (Asks(), {"mine"}),
        (functools.wraps(as_text)(lambda *args, **kwargs: None), {"settings"}),
        (functools.partial(as_text, limit=2), {"settings"}),
        (functools.partial(as_text, settings=Marked()), set()),
        (optional, set()),
        (unknown, set()),
        (by_place, set()),
        (work, set()),
        (max, set()),
        (Marked, set()),
    ],
)
def test_settings_are_asked_for_by_annotation(
    function: Callable[..., Any], names: set[str]
) -> None:
    """Whatever the argument is called, and whether annotations are text or not."""
    assert settings_of(function) == dict.fromkeys(names, Marked)


def test_a_class_made_inside_a_function_can_be_asked_for() -> None:
    """Where the function reaches it."""
    Local = type("Local", (), {SECTION: None})

    def job(settings: Local) -> Any:  # type: ignore[valid-type]
        return settings, Local

    assert settings_of(job) == {"settings": Local}


def test_settings_that_the_user_gives_are_not_wanted() -> None:
    """By name or by place, the user's own win."""
    assert settings_wanted(as_text, (), {}) == {"settings": Marked}
    assert settings_wanted(as_text, (), {"settings": 1}) == {}
    assert settings_wanted(as_text, ("handler", 1), {}) == {}


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((), {"settings": 1}), (("handler", 1), {})]
)
def test_a_call_with_settings_fits(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The engine hands over what the user does not give."""
    check_call("it", as_text, args, kwargs, OFFERED)
    offered = {"handler": "H", **settings_wanted(as_text, args, kwargs)}
    assert bound(as_text, args, kwargs, offered)() in (Marked, 1)


def test_an_annotation_that_is_not_imported_is_told() -> None:
    """An import for type checkers only is the usual reason."""
    with pytest.raises(RegistrationError, match="NoSuchName is not imported there"):
        check_call("it", unknown, (), {}, OFFERED)


def pair(first: Any = None, second: Any = None) -> None:
    if (first is None) != (second is None):
        raise ValueError("first and second go together")


@checked_by(pair)
def of_pairs(handler: Any, first: Any = None, second: Any = None, other: int = 0) -> str:
    return f"{first} {second} {other}"


@pytest.mark.parametrize(
    ("function", "args", "given"),
    [
        (of_pairs, (), {"first": 1}),
        (of_pairs, (), {"second": 1, "other": 2}),
        (functools.partial(of_pairs, first=1), (), {}),
    ],
)
def test_a_functions_own_check_is_asked_when_it_is_registered(
    function: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]
) -> None:
    """Given arguments that do not go together, When a function is registered, Then its own
    check says so, in one line that names it.
    """
    with pytest.raises(RegistrationError, match="^shop: first and second go together$"):
        check_call("shop", function, args, given, OFFERED)


def test_a_checked_function_is_called_plainly() -> None:
    """Given a check, When its function is called as in a test, Then it is not asked."""
    check_call("shop", of_pairs, (), {"first": 1, "second": 2}, OFFERED)
    check_call("shop", of_pairs, (), {"other": 2}, OFFERED)
    assert of_pairs(None, first=1) == "1 None 0"


class Place(TypedDict):
    room: NotRequired[Annotated[str, "where"]]
    floor: int


def placed(handler: Any, name: str = "x", **place: Unpack[Place]) -> tuple[Any, ...]:
    return name, place.get("room"), place["floor"]


def test_functions_share_arguments_by_a_typed_dict() -> None:
    """Given `**place: Unpack[Place]`, Then what is in it are arguments like any other."""
    options = options_of(placed)
    assert options.hints == {"room": Annotated[str, "where"], "floor": int}
    assert options.needed == {"floor"}
    check_call("shop", placed, (), {"name": "y", "floor": 2}, OFFERED)
    check_call("shop", placed, (), {"room": "r", "floor": 2}, OFFERED)
    call = bound(placed, (), {"floor": 2, "room": "r"}, {"handler": 1})
    assert call() == ("x", "r", 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"floor": 1, "rom": "r"}, "unexpected keyword argument 'rom'"),
        ({"room": "r"}, "missing a required argument: 'floor'"),
        ({}, "missing a required argument: 'floor'"),
    ],
)
def test_shared_arguments_that_misfit(given: dict[str, Any], said: str) -> None:
    """Given one that is unknown or missing, When registered, Then one line says so, with
    all that there are.
    """
    with pytest.raises(RegistrationError, match=said) as caught:
        check_call("shop", placed, (), given, OFFERED)
    assert "the function is placed(handler, name, room, floor)" in str(caught.value)


def open_ended(handler: Any, **anything: Any) -> None: ...


def of_nothing(**values: Unpack[Nowhere]) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize("function", [open_ended, of_nothing, work])
def test_what_is_open_to_all_shares_nothing(function: Callable[..., Any]) -> None:
    """Given `**anything`, or an annotation that means nothing, Then nothing is declared."""
    assert options_of(function).hints == {}
    if function is not work:
        check_call("shop", function, (), {"rom": 1}, OFFERED)
