"""`agent backup`, beside a running agent."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Run, Start


def test_a_backup_is_made_beside_a_running_agent(
    example: Path, run: Run, start: Start
) -> None:
    """Given a running agent, When its store is backed up, Then the copy is a store."""
    start("agent", "go", "example.py").wait_for("hello world")

    done = run("agent", "backup", "copy.sqlite")

    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(run("agent", "events", "--json", "--db", "copy.sqlite").stdout)
    assert [row["identifier"] for row in rows] == ["123"]


def test_a_folder_keeps_the_newest(example: Path, run: Run) -> None:
    """Given older copies in a folder, When --keep 2 is asked for, Then two are left."""
    assert run("agent", "go", "--once", "example.py").returncode == 0
    folder = Path("backups")
    folder.mkdir()
    for day in ("01", "02", "03"):
        (folder / f"agent.sqlite.202001{day}T000000Z.backup").touch()

    done = run("agent", "backup", "backups", "--keep", "2")

    assert done.returncode == 0
    left = sorted(each.name for each in folder.iterdir())
    assert left[0] == "agent.sqlite.20200103T000000Z.backup"
    assert len(left) == 2
    assert done.stdout.count("is removed") == 2


def test_nothing_but_a_backup_is_replaced(example: Path, run: Run, start: Start) -> None:
    """Given names of other things, When a backup is asked for, Then each is refused."""
    start("agent", "go", "example.py").wait_for("hello world")
    text = example.read_text(encoding="utf-8")

    for target, reason in {
        "example.py": "exists and is no backup",
        "agent.sqlite": "is the store itself",
        "none/copy.sqlite": "is no folder",
    }.items():
        done = run("agent", "backup", target)
        assert (done.returncode, reason in done.stderr) == (2, True), done
    assert example.read_text(encoding="utf-8") == text
    assert run("agent", "backup", "copy.sqlite", "--keep", "3").returncode == 2


def test_a_restored_backup_fires_nothing_that_it_knew(example: Path, run: Run) -> None:
    """Given a restored backup, When the same event is published, Then it is no news."""
    assert run("agent", "go", "--once", "example.py").returncode == 0
    assert run("agent", "backup", "copy.sqlite").returncode == 0
    for each in Path().glob("agent.sqlite*"):
        each.unlink()
    Path("copy.sqlite").rename("agent.sqlite")

    done = run("agent", "go", "--once", "example.py")

    assert "running my job" in done.stdout
    assert "running my listener" not in done.stdout
