"""Registry: marks on functions, checked options, and names that are used once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from py_agent.errors import FilterError, RegistrationError, UsageError
from py_agent.events import Event
from py_agent.registry import (
    MAX_CONCURRENCY,
    Registry,
    listen_for,
    make_job,
    make_listener,
    marks_of,
)
from py_agent.retry import RetryPolicy

ORDERS = {"event_type": ("==", "order")}
ORDER = Event("order", "1")
POLICY = RetryPolicy(attempts=3)


def plain(event: Any = None, handler: Any = None, extra: Any = None) -> str:
    return "called"


@listen_for(ORDERS, name="shop.orders", retry=POLICY, timeout=5, concurrency=2)
def marked(event: Any = None) -> str:
    return "called"


def job(handler: Any = None) -> None: ...


def test_a_marked_function_is_still_called_plainly() -> None:
    """A test of a listener needs no agent."""
    assert marked() == "called"
    assert marked.__name__ == "marked"


def test_a_function_without_a_mark_has_none() -> None:
    """It is a listener only if its filter is passed."""
    assert marks_of(plain) is None


def test_a_listener_takes_what_its_mark_says() -> None:
    """The decorator is the one place where it is written."""
    listener = make_listener(marked)
    assert listener.name == "shop.orders"
    assert (listener.retry, listener.timeout, listener.concurrency) == (POLICY, 5.0, 2)
    assert listener.filter.matches(ORDER)


def test_options_win_over_the_mark() -> None:
    """One function can be registered in several ways."""
    listener = make_listener(
        marked, {"event_type": ("==", "bill")}, name="bills", timeout=timedelta(minutes=1)
    )
    assert (listener.name, listener.timeout, listener.concurrency) == ("bills", 60.0, 2)
    assert not listener.filter.matches(ORDER)


def test_options_of_none_leave_the_mark_as_it_is() -> None:
    """None means "not given"."""
    assert make_listener(marked, None, timeout=None, concurrency=None).concurrency == 2


def test_a_plain_function_is_a_listener_with_a_filter() -> None:
    """The decorator is a convenience, and the rest has defaults."""
    listener = make_listener(plain, ORDERS)
    assert listener.name == f"{__name__}.plain"
    assert (listener.retry, listener.timeout, listener.concurrency) == (
        RetryPolicy(),
        None,
        1,
    )
    assert (listener.ordered_by, listener.where) == ((), None)


def test_a_function_without_a_filter_is_refused() -> None:
    """It would get nothing, or everything."""
    with pytest.raises(RegistrationError, match="does not say which events it wants"):
        make_listener(plain)


def test_an_empty_filter_is_a_filter() -> None:
    """It asks for every event, and says so."""
    assert make_listener(plain, {}).filter.matches(ORDER)


def test_a_listener_keeps_further_arguments_as_they_were_given() -> None:
    """A later change of the dictionary changes no registered listener."""
    given = {"extra": 1}
    listener = make_listener(plain, ORDERS, given)
    given["extra"] = 2
    assert dict(listener.arguments) == {"extra": 1}


WRONG: list[tuple[dict[str, Any], type[UsageError], str]] = [
    ({"match": {"typ": ("==", "x")}}, FilterError, "no field 'typ'"),
    ({"match": plain}, FilterError, "a filter is a dictionary"),
    ({"concurrency": 0}, RegistrationError, "concurrency must be 1 to 1,000"),
    ({"concurrency": MAX_CONCURRENCY + 1}, RegistrationError, "concurrency must be"),
    ({"concurrency": 1.5}, RegistrationError, "concurrency must be a number"),
    ({"concurrency": True}, RegistrationError, "concurrency must be a number"),
    ({"retry": 3}, RegistrationError, "retry must be a RetryPolicy"),
    ({"timeout": 0}, RegistrationError, "timeout must be more than 0"),
    ({"timeout": -1}, UsageError, "timeout must not be negative"),
    ({"timeout": "5"}, UsageError, "timeout must be a number"),
    ({"where": "x"}, RegistrationError, "where must be a function"),
    ({"ordered_by": "run"}, FilterError, "no field 'run'"),
    ({"ordered_by": 5}, FilterError, "ordered_by must be a path"),
]


def decorate(match: Any = ORDERS, **options: Any) -> Any:
    """Mark a function with options."""
    return listen_for(match, **options)(lambda event: None)


@pytest.mark.parametrize("write", [decorate, functools.partial(make_listener, plain)])
@pytest.mark.parametrize(("options", "error", "words"), WRONG)
def test_a_wrong_option_is_refused_where_it_is_written(
    write: Callable[..., Any], options: dict[str, Any], error: type[UsageError], words: str
) -> None:
    """In the decorator as well as at registration."""
    with pytest.raises(error, match=words):
        write(**{"match": ORDERS, **options})


def test_an_unknown_option_is_refused_by_name() -> None:
    """A misspelt option is not dropped in silence."""
    with pytest.raises(RegistrationError, match="no option time_out"):
        make_listener(plain, ORDERS, time_out=5)


@pytest.mark.parametrize("make", [make_job, functools.partial(make_listener, match=ORDERS)])
def test_arguments_that_do_not_fit_are_refused(make: Callable[..., Any]) -> None:
    """Now, and not at the first run or event."""
    with pytest.raises(RegistrationError, match="oder"):
        make(plain, arguments={"oder": 1})


@pytest.mark.parametrize("function", [None, "work", 5])
def test_what_cannot_be_called_is_no_job(function: Any) -> None:
    """The result of a call in place of the function is the usual mistake."""
    with pytest.raises(RegistrationError, match="is not a function"):
        make_job(function)


def test_a_listener_is_not_offered_more_than_a_listener_gets() -> None:
    """A job has no event, so a job that requires one is refused."""
    with pytest.raises(RegistrationError, match="event"):
        make_job(lambda event: None, name="wants an event")


def test_a_job_keeps_how_it_is_called() -> None:
    """Name, arguments and its schedule in words."""
    made = make_job(plain, "shop.poll", (1,), {"extra": 2}, "every minute")
    assert (made.name, made.args, made.schedule) == ("shop.poll", (1,), "every minute")
    assert dict(made.arguments) == {"extra": 2}


def test_a_registry_keeps_the_order_of_registration() -> None:
    """As they are shown and started."""
    registry = Registry()
    for name in ("b", "a"):
        registry.add_job(make_job(job, name))
        registry.add_listener(make_listener(plain, ORDERS, name=name))
    assert [each.name for each in registry.jobs] == ["b", "a"]
    assert [each.name for each in registry.listeners] == ["b", "a"]


@pytest.mark.parametrize("kind", ["job", "listener"])
def test_a_name_in_use_is_refused(kind: str) -> None:
    """The second use of one function needs a name of its own."""
    registry = Registry()
    entry: Any = make_job(job) if kind == "job" else make_listener(plain, ORDERS)
    add: Callable[[Any], None] = getattr(registry, f"add_{kind}")
    add(entry)
    with pytest.raises(RegistrationError, match=rf"already a {kind} named .* name="):
        add(entry)


def test_a_job_and_a_listener_may_have_the_same_name() -> None:
    """They are told apart by what they are."""
    registry = Registry()
    registry.add_job(make_job(job, "same"))
    registry.add_listener(make_listener(plain, ORDERS, name="same"))
    assert (len(registry.jobs), len(registry.listeners)) == (1, 1)


def test_a_removed_job_leaves_its_name_free() -> None:
    """Removing what is not there is no mistake."""
    registry = Registry()
    registry.add_job(make_job(job, "same"))
    registry.remove_job("same")
    registry.remove_job("same")
    registry.add_job(make_job(job, "same"))
    assert [each.name for each in registry.jobs] == ["same"]


def test_of_many_threads_one_gets_the_name() -> None:
    """Two agents of one program may register at the same time."""
    registry, together = Registry(), threading.Barrier(8)
    refused: list[RegistrationError] = []

    def add() -> None:
        together.wait(30)
        try:
            registry.add_job(make_job(job, "same"))
        except RegistrationError as error:
            refused.append(error)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(registry.jobs), len(refused)) == (1, 7)


def test_a_generator_is_no_job_and_no_listener() -> None:
    """Given a function with a yield, When registered, Then it is refused."""

    def job(handler: Any) -> Any:
        yield handler

    async def listener(event: Any) -> Any:
        yield event

    with pytest.raises(RegistrationError, match="it has a yield"):
        make_job(job, "job")
    with pytest.raises(RegistrationError, match="it has a yield"):
        make_listener(listener, {"event_type": ("==", "t")}, name="l")
