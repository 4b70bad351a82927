"""The public names: what `from py_agent import ...` promises."""

from __future__ import annotations

import importlib

import pytest

import py_agent
import py_agent.agent
import py_agent.utils


def test_the_public_names_are_sorted() -> None:
    """A new name has one place to go."""
    assert list(py_agent.__all__) == sorted(py_agent.__all__)
    assert len(set(py_agent.__all__)) == len(py_agent.__all__)


# What waits for a library is left out of `*`.
LATER = [
    "BearerAuth", "ClientCredentials", "HeaderAuth", "Http", "PasswordCredentials",
    "Settings", "pages_of", "shown_url",
]  # fmt: skip
NAMES = [*py_agent.__all__, *LATER]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_can_be_imported(name: str) -> None:
    """As `from py_agent import name` does."""
    found = getattr(py_agent, name)
    assert found.__name__ == name
    assert getattr(importlib.import_module(found.__module__), name) is found


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str) -> None:
    """`help(py_agent.name)` says something of its own."""
    assert vars(getattr(py_agent, name)).get("__doc__") or getattr(py_agent, name).__doc__


def test_the_two_spellings_are_the_same_names() -> None:
    """The first spelling is kept for those who wrote it down."""
    assert py_agent.utils.listen_for is py_agent.listen_for
    assert py_agent.agent.Agent is py_agent.Agent


def test_the_public_names_are_listed() -> None:
    """As completion shows them."""
    assert dir(py_agent) == sorted([*NAMES, "__version__"])


def test_the_version_is_the_distributions() -> None:
    """Read from what is installed, so that it is written once."""
    assert importlib.import_module("importlib.metadata").version("py-agent") == (
        py_agent.__version__
    )


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="'py_agent' has no attribute 'agnet'"):
        py_agent.agnet  # noqa: B018
