"""A folder of a user's own, in which pytest runs as the user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 120  # seconds

RunPytest = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_pytest(tmp_path: Path) -> RunPytest:
    """Write a test file, and run pytest on it with warnings as errors."""

    def run(
        source: str, *options: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_users.py").write_text(source, encoding="utf-8")
        command = ["-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options]
        return subprocess.run(
            [sys.executable, *command, "test_users.py"],
            cwd=tmp_path, env={**os.environ, **environment}, capture_output=True,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    return run
