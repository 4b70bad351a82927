"""No module opens the store, its -wal or -shm as a plain file.

Closing such a file would drop the locks that SQLite holds in this process.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import py_agent

ROOT = Path(py_agent.__file__).parent

# These open files of their own: the lock, the side file, settings, the user's code.
FREE = {
    "store/lock.py",
    "store/side_file.py",
    "store/wakeup.py",
    "settings/config.py",
    "settings/stored.py",
    "loading.py",
    "cli/options.py",  # --data @FILE; only where the wheel is installed
}
# A draft that has no store's name yet, and the folder that gives it one.
ALLOWED = {
    "store/schema.py": {"draft", "path.parent"},
    "store/backups.py": {"draft", "target.parent"},
    "cli/report/command.py": {"descriptor", "target"},  # the page, which is never the store
}

READS_AND_WRITES = {"read_bytes", "read_text", "write_bytes", "write_text"}
OF_MODULES = {
    "os": {"open", "fdopen", "truncate"},
    "io": {"open", "open_code", "FileIO"},
    "shutil": {"copy", "copy2", "copyfile", "copyfileobj", "move", "copytree"},
    "mmap": {"mmap"},
    "codecs": {"open"},
}


def _opened(tree: ast.AST) -> list[str]:
    """Return what a module opens as a plain file, as it is written in the source."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function, first = node.func, ast.unparse(node.args[0]) if node.args else ""
        if isinstance(function, ast.Name) and function.id == "open":
            found.append(first)
        if not isinstance(function, ast.Attribute):
            continue
        owner = ast.unparse(function.value)
        if function.attr in OF_MODULES.get(owner, ()):
            found.append(first)
        elif function.attr in READS_AND_WRITES:
            found.append(owner)
        elif function.attr == "open" and owner.endswith(("path", "Path", "file", ")")):
            found.append(owner)
    return found


def _modules() -> list[str]:
    return sorted(str(each.relative_to(ROOT)) for each in ROOT.rglob("*.py"))


@pytest.mark.parametrize("module", _modules())
def test_no_module_opens_the_store_as_a_plain_file(module: str) -> None:
    """Only what never opens a store may open files at all."""
    opened = _opened(ast.parse((ROOT / module).read_text(encoding="utf-8")))

    assert module in FREE or set(opened) <= ALLOWED.get(module, set()), opened


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "path.read_bytes()",
        "Path(f'{path}-wal').open()",
        "path.open('rb')",
        "os.open(path, 0)",
        "io.open(path)",
        "shutil.copy(path, target)",
    ],
)
def test_every_spelling_is_seen(source: str) -> None:
    """The check above does find what it looks for."""
    assert _opened(ast.parse(source))


def test_the_known_places_are_seen() -> None:
    """The modules that are named above exist, and open what they are said to."""
    for module in ("store/lock.py", "store/side_file.py", "settings/config.py"):
        assert _opened(ast.parse((ROOT / module).read_text(encoding="utf-8"))), module
    schema = ast.parse((ROOT / "store/schema.py").read_text(encoding="utf-8"))
    assert set(_opened(schema)) == ALLOWED["store/schema.py"]
