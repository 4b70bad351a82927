"""Layers: who may import whom, and which third-party library has which owner."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import py_agent

PACKAGE = Path(py_agent.__file__).parent
HOUSE = PACKAGE.parent  # the checkout

# Each module may import what stands above it, and nothing below.
ORDER = """
    errors clock json_text identity events failures filters retry lengths matching
    arguments
    settings.mistakes settings.secret_types settings.conversion settings.config
    settings.stored settings.places
    settings.sources settings.classes settings.exposed settings.sections settings.kinds
    settings.__init__ registry signals
    tally stopping timeouts threads pulse supervisor timing phrases planning service memory
    store.tables
    store.dialects store.writer store.reader store.lock store.wakeup store.side_file
    store.backups store.schema store.subscriptions store.holding store.attempts
    store.deliveries store.runs store.states store.last_calls store.followers
    store.queries store.owing store.event_store
    store.pruning store.takeover store.by_hand store.measures store.listing store.stretch
    store.history store.delivery_history
    open_store backpressure http.text http.secrets http.waits http.changes
    http.limits http.guard http.answer http.wire http.mapping http.auth http.session
    http.paging http.__init__ shared own_log occasion context absence
    observation
    websockets.server websockets.connection websockets.__init__
    observability.values observability.numbers observability.links observability.fields
    observability.events observability.outcomes observability.models
    observability.settings
    observability.credentials observability.integrations observability.reporting
    observability.client observability.link observability.__init__ outcomes
    possession pacing lanes roster calls deliverer trials flood runner timetable forecast
    run_queue silence fluent retention observability.heartbeat observability.run_reports
    observability.attach scheduler dispatcher metrics metrics_server engine
    foreground choices logs noting agent
    entries loading testing.fake_loop testing.fake_clock testing.settling testing.evidence
    testing.isolation testing.agent testing.__init__ pytest_plugin utils
""".split()  # fmt: skip
ENTRIES = ["__init__", "__main__", "store.__init__"]  # by name only, or the commands

STORE = [each for each in ORDER if each.startswith("store.")]
HTTP = [each for each in ORDER if each.startswith("http.")]
SETTINGS = [each for each in ORDER if each.startswith("settings.")]
MODELS = [each for each in ORDER if each.startswith("observability.")]
OWNERS = {
    "sqlalchemy": STORE,
    "alembic": STORE,
    "schedule": ["fluent"],
    "pydantic": [*SETTINGS, *MODELS],
    "pydantic_settings": SETTINGS,
    "requests": HTTP,
    "urllib3": HTTP,
    "cronsim": ["timing", "phrases"],
    "tzlocal": ["timing"],
    "pytest": ["pytest_plugin"],
    "responses": ["pytest_plugin"],
    "prometheus_client": ["metrics"],
    "websocket": ["websockets.connection"],
    "click": [],
    "rich": [],
}
HEAVY = [
    "sqlalchemy", "alembic", "pydantic", "pydantic_settings", "click", "schedule",
    "requests", "urllib3",
]  # fmt: skip


def path_of(module: str) -> Path:
    """Return the file of a module of py_agent."""
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def modules() -> list[str]:
    """Return the names of all modules of the engine.

    Where the wheel is installed, the commands and migrations lie in the package, too.
    """
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    files = [file for file in files if file.parts[0] not in ("cli", "migrations")]
    return sorted(".".join(file.with_suffix("").parts) for file in files)


def imports(module: str) -> set[str]:
    """Return what a module imports anywhere, except for type checkers only.

    Modules of py_agent are named as in ORDER, others by their full name.
    """
    package = ["py_agent", *module.split(".")[:-1]]
    found: set[str] = set()
    for node in _running(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found.update(_targets(origin, [each.name for each in node.names]))
    ours = {each.removeprefix("py_agent.") for each in found}
    return {f"{each}.__init__" if path_of(f"{each}.__init__").is_file() else each
            for each in ours}  # fmt: skip


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from (other, *_running(other))
        else:
            yield from (child, *_running(child))


def _targets(origin: str, names: list[str]) -> list[str]:
    """Return the modules that `from origin import names` needs."""
    if not origin.startswith("py_agent"):
        return [origin]
    inside = [
        f"{origin}.{name}"
        for name in names
        if path_of(f"{origin}.{name}".removeprefix("py_agent.")).is_file()
    ]
    return inside if len(inside) == len(names) else [origin, *inside]


def test_every_module_has_its_place() -> None:
    """Whoever adds a module decides what it may import."""
    assert sorted([*ORDER, *ENTRIES]) == modules()


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_above_it(module: str) -> None:
    """So that each can be read, tested and changed without what stands below."""
    ours = imports(module) & {*ORDER, *ENTRIES, "py_agent", "store"}
    allowed = set(ORDER[: ORDER.index(module)])
    assert ours <= allowed, f"{module} must not import {sorted(ours - allowed)}"


@pytest.mark.parametrize("module", [each for each in ORDER if each != "utils"])
def test_no_module_imports_the_commands(module: str) -> None:
    """The commands use the engine, never the other way round."""
    reached = {each for each in imports(module) if each.split(".")[0] == "cli"}
    assert reached == set()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owner_only(library: str) -> None:
    """Its errors are mapped in one place, and it can be replaced there."""
    users = {
        module
        for module in modules()
        if library in {each.split(".")[0] for each in imports(module)}
    }
    assert users <= set(OWNERS[library])


@pytest.mark.parametrize("folder", ["jobs", "listeners"])
def test_a_shared_folder_has_no_init(folder: str) -> None:
    """It merges with the folder of the same name that a user keeps."""
    assert (HOUSE / folder).is_dir()
    assert list((HOUSE / folder).rglob("__init__.py")) == []


@pytest.mark.parametrize("folder", ["jobs", "listeners"])
def test_our_samples_use_public_names_only(folder: str) -> None:
    """They prove that the public API is enough."""
    public = {
        "py_agent",
        "py_agent.agent",
        "py_agent.utils",
        "py_agent.websockets",
        "py_agent.settings",
        "py_agent.observability",
    }
    reached = {
        name
        for path in (HOUSE / folder).glob("*.py")
        for node in _running(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.split(".")[0] == "py_agent"
    }
    assert reached <= public


@pytest.mark.parametrize(
    "code",
    [
        "import py_agent",
        "from py_agent import Agent; Agent()",
        "from py_agent import *",
        "from py_agent.utils import listen_for",
    ],
)
def test_importing_py_agent_stays_light(code: str, tmp_path: Path) -> None:
    """A script that only asks for a name does not wait for the database's library."""
    script = f"{code}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()
    assert list(tmp_path.iterdir()) == []
