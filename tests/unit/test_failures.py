"""Failures: what is kept of an exception, however it behaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.failures import MAX_MESSAGE, MAX_TRACEBACK, Failure, failure_of, printable

ANY_TEXT = st.text(st.characters(codec=None))


class Rude(Exception):
    """An exception whose text cannot be had."""

    def __init__(self, answer: BaseException) -> None:
        self.answer = answer

    def __str__(self) -> str:
        raise self.answer


def raised(error: BaseException) -> BaseException:
    """Return an exception with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_failure_keeps_type_message_and_where_it_came_from() -> None:
    """Enough to find the mistake without running it again."""
    failure = failure_of(raised(ValueError("too small")))
    assert (failure.kind, failure.message) == ("ValueError", "too small")
    assert "in raised" in failure.traceback


def test_a_failure_keeps_the_cause() -> None:
    """The first error is the interesting one."""
    error = RuntimeError("outer")
    error.__cause__ = KeyError("inner")
    assert "KeyError: 'inner'" in failure_of(raised(error)).traceback


def test_local_values_are_not_kept() -> None:
    """A password in a variable stays out of the store."""

    def fail() -> None:
        password = "hunter" + "2"
        raise ValueError(len(password))

    with pytest.raises(ValueError) as caught:
        fail()
    assert "hunter2" not in failure_of(caught.value).traceback


@pytest.mark.parametrize("answer", [ValueError(), RecursionError(), SystemExit()])
def test_an_exception_without_a_text_is_kept_all_the_same(answer: BaseException) -> None:
    """A rude exception does not break the one who records it."""
    failure = failure_of(raised(Rude(answer)))
    assert (failure.kind, failure.message) == ("Rude", "(its text cannot be shown)")


@given(ANY_TEXT)
def test_what_is_kept_can_be_stored_anywhere(text: str) -> None:
    """No NUL and no half characters, whatever was raised."""
    failure = failure_of(raised(ValueError(text)))
    for kept in (failure.message, failure.traceback):
        assert "\0" not in kept
        assert kept.encode().decode() == kept


def test_what_is_kept_is_bounded() -> None:
    """A message with a whole document in it does not fill the store."""
    failure = failure_of(raised(ValueError("\ud800" * 100_000)))
    assert len(failure.message) == MAX_MESSAGE
    assert len(failure.traceback) == MAX_TRACEBACK


def test_the_end_of_a_long_traceback_is_kept() -> None:
    """The last lines say what happened."""
    error = ValueError("the end")
    error.__cause__ = raised(ValueError("x" * MAX_TRACEBACK))
    assert failure_of(raised(error)).traceback.endswith("ValueError: the end\n")


@pytest.mark.parametrize(
    ("failure", "text"),
    [(Failure("ValueError", "bad"), "ValueError: bad"), (Failure("Exit", ""), "Exit")],
)
def test_a_failure_reads_as_python_shows_it(failure: Failure, text: str) -> None:
    """Without a message there is no colon."""
    assert str(failure) == text


@given(ANY_TEXT)
def test_printable_text_stays_on_its_line(text: str) -> None:
    """A line break in an identifier cannot forge a line of the log."""
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b", "a b"), ("a\nb", "a\\nb"), ("é", "é"), ("\x1b[31m", "\\x1b[31m")],
)
def test_only_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    """Ordinary text is shown as it is."""
    assert printable(text) == shown
