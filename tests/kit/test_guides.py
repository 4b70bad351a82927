"""The tests that docs/testing.md shows are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import RunPytest

ROOT = Path(__file__).parents[2]


def shown() -> list[str]:
    """Return the Python blocks of the page that hold tests."""
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if "\ndef test_" in block]


@pytest.mark.parametrize("block", shown())
def test_the_tests_that_are_shown_pass(block: str, run_pytest: RunPytest) -> None:
    """Given a block of tests from a page, When pytest runs it, Then all of them pass."""
    done = run_pytest(block)
    assert done.returncode == 0, done.stdout
    assert f"{block.count('def test_')} passed" in done.stdout


def test_the_page_shows_tests() -> None:
    """Given the page, When its blocks are searched, Then tests are found."""
    assert len(shown()) >= 4
