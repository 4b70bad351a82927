"""Errors: one tree, whose branches say how a command ends."""

from __future__ import annotations

import inspect

import pytest

from py_agent import errors
from py_agent.errors import AgentError, ConfigError, StoreLockedError

EVERY = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if each.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", EVERY)
def test_every_error_stands_in_the_one_tree(error: type[Exception]) -> None:
    """A user who catches AgentError catches everything that we refuse."""
    assert issubclass(error, AgentError)


@pytest.mark.parametrize("error", EVERY)
def test_every_error_is_drawn_in_the_tree_of_the_docstring(error: type[Exception]) -> None:
    """The picture of the tree is complete."""
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AgentError, 1),
        (errors.EventError, 1),
        (errors.EchoError, 1),
        (errors.HttpError, 1),
        (errors.HttpRefusedError, 1),
        (errors.StoppedError, 1),
        (errors.UsageError, 2),
        (errors.ConfigError, 2),
        (errors.FilterError, 2),
        (errors.LoadError, 2),
        (errors.RegistrationError, 2),
        (errors.NotFoundError, 2),
        (errors.StoreMissingError, 2),
        (errors.StoreError, 3),
        (errors.StoreRefusedError, 3),
        (errors.StoreLockedError, 3),
        (errors.StorageFault, 3),
    ],
)
def test_an_error_says_with_which_code_a_command_ends(
    error: type[AgentError], code: int
) -> None:
    """Scripts can tell a wrong call from a store that cannot be used."""
    assert error.exit_code == code


def test_a_config_error_keeps_each_problem_on_its_own_line() -> None:
    """Every mistake is shown at once, one sentence each."""
    error = ConfigError(line for line in ("a is wrong", "b is wrong"))
    assert error.problems == ["a is wrong", "b is wrong"]
    assert str(error) == "a is wrong\nb is wrong"


def test_a_config_error_takes_a_single_sentence() -> None:
    """One mistake needs no list."""
    assert ConfigError("a is wrong").problems == ["a is wrong"]


@pytest.mark.parametrize("pid", [None, 4711])
def test_a_lock_error_names_the_holder_where_it_is_known(pid: int | None) -> None:
    """A command can say which process to stop."""
    assert StoreLockedError("another agent runs", pid).pid == pid
