"""The tests that the README and docs/testing.md show are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import RunPytest

ROOT = Path(__file__).parents[2]


def shown(page: str) -> list[str]:
    """Return the Python blocks of a page that hold tests."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if "\ndef test_" in block]


SHOWN = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("README.md", "docs/testing.md")
    for number, block in enumerate(shown(page), 1)
]


@pytest.mark.parametrize("block", SHOWN)
def test_the_tests_that_are_shown_pass(block: str, run_pytest: RunPytest) -> None:
    """Given a block of tests from a page, When pytest runs it, Then all of them pass."""
    done = run_pytest(block)
    assert done.returncode == 0, done.stdout
    assert f"{block.count('def test_')} passed" in done.stdout


@pytest.mark.parametrize(("page", "least"), [("README.md", 1), ("docs/testing.md", 3)])
def test_the_pages_show_tests(page: str, least: int) -> None:
    """Given a page, When its blocks are searched, Then tests are found."""
    assert len(shown(page)) >= least
