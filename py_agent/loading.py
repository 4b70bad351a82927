"""Finds the user's code: an agent in a file or module, or what agent.toml names.

While user code is imported, `go()` in it only notes its agent, so that every command can
look at a file that would start an agent when it is run as a program.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import pkgutil
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from .agent import Agent
from .entries import (
    add_job,
    add_listener,
    arguments_of,
    job_options,
    listener_options,
)
from .errors import AgentError, ConfigError, LoadError
from .noting import noting
from .settings.config import Config, JobEntry, ListenerEntry, read_config
from .settings.mistakes import nearest
from .settings.sections import Sections, wanted_by

log = logging.getLogger("py_agent")

Function = Callable[..., Any]


def add_path(path: str) -> None:
    """Put a folder first where Python looks for modules, as `python` does by itself."""
    full = os.path.abspath(path)
    if full not in sys.path[:1]:
        sys.path.insert(0, full)
        importlib.invalidate_caches()


def load_agent(app: str) -> Agent:
    """Return the agent that a file or module defines.

    Args:
        app: a file, `module` or `module:name`.

    Raises:
        LoadError: there is no such file or module, it does not import, or it does not
            say which of its agents is meant.
    """
    module, agents, name = _import_app(app)
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Agent):
            known = [key for key, value in vars(module).items() if isinstance(value, Agent)]
            raise LoadError(
                f"{app}: there is no agent named {name!r}{nearest(name, known)}"
            )
        return found
    candidates = agents or [
        each for each in vars(module).values() if isinstance(each, Agent)
    ]
    unique = list(dict.fromkeys(candidates))
    if not unique:
        raise LoadError(f"{app} defines no agent; write agent = Agent() in it")
    if len(unique) > 1:
        raise LoadError(f"{app} defines {len(unique)} agents; name one, as in module:agent")
    return unique[0]


def agent_of_config(path: str | None = None, needed: bool = True) -> Agent:
    """Return the agent that agent.toml describes.

    Args:
        path: the file; the usual places if not given.
        needed: whether it is to run. If not, it may be empty, and the values of the
            settings classes, which may be known to the running agent only, are not
            checked.

    Raises:
        ConfigError: every mistake in it, one sentence each.
    """
    problems: list[str] = []
    lost: list[str] = []
    config = read_config(path, problems=problems)
    sections = Sections(config.path)
    observed = sections.has_observability()
    if config.path is None and needed and not observed:
        raise ConfigError(
            "there is no agent.toml here; write one, or name your app: agent go example.py"
        )
    agent = Agent(config=config.path)
    tables: dict[str, dict[int, JobEntry | ListenerEntry]] = {
        "jobs": {**config.jobs, **config.torn_jobs},
        "listeners": {**config.listeners, **config.torn_listeners},
    }
    for kind, entries in tables.items():
        for number, entry in sorted(entries.items()):
            place = f"{config.path}: [[{kind}]] {number} ({entry.run})"
            # Of one that does not say what to run, that is told already.
            told = problems if entry.run or entry not in config.torn else []
            _add_entry(agent, entry, config, partial(_collecting, told, place, lost))
    if observed:
        with _collecting(problems, str(config.path or "the environment"), lost):
            _add_observability(agent, config, sections)
    complete = needed and not lost
    _check_sections(agent, config, sections, needed, problems, complete)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    if needed and not (observed or config.jobs or config.listeners):
        text = "%s names no job and no listener; write [[jobs]] and [[listeners]]"
        log.warning(text, config.path)
    return agent


def _add_observability(agent: Agent, config: Config, sections: Sections) -> None:
    """Add what belongs to Observability: without jobs, the integration of `agent_type`.

    So does the configuration of an existing agent become one of ours as it is.
    """
    from .observability.attach import attach, integrate

    attach(agent.registry, agent.schedule, sections)
    # Read by itself, so that what is wrong with the other settings is told together with
    # what is wrong with the integration's own.
    agent_type = sections.text("core", "agent_type", "DK_AGENT_TYPE")
    if not (agent_type or config.jobs or config.listeners or config.torn):
        log.warning(
            "There is no job, so only heartbeats are sent; set agent_type in [core], or "
            "DK_AGENT_TYPE, or write [[jobs]]"
        )
    if agent_type and not (config.jobs or config.torn):
        alone = not config.listeners
        integrate(
            agent_type, alone, agent.registry, agent.schedule, sections, load_function
        )


def _check_sections(
    agent: Agent,
    config: Config,
    sections: Sections,
    needed: bool,
    problems: list[str],
    complete: bool,
) -> None:
    """Check the sections of the user's own, when the code has been imported.

    Where not all of it could be, a section may belong to what is missing; so it may where
    another function is to be tried.
    """
    if config.path is not None:
        sections.check_names(problems, strict=complete)
    if needed:
        registry = agent.registry
        sections.check(wanted_by([*registry.jobs, *registry.listeners]), problems)


def load_function(name: str) -> Function:
    """Return the function named `module:function` or `module.function`.

    The name of a module alone means the function in it that is called like the module.

    Raises:
        LoadError: there is no such module or function, or it does not import.
    """
    module, path = _import_named(name)
    module = _of_its_own_name(module, path, name)
    found: Any = module
    for step in path.split("."):
        owner, found = found, getattr(found, step, None)
        if found is None:
            here = getattr(owner, "__name__", "")
            known = [
                key for key, value in vars(owner).items()
                if callable(value) and getattr(value, "__module__", "") == here
            ]  # fmt: skip
            inner = pkgutil.iter_modules(getattr(owner, "__path__", ()))
            known += [each.name for each in inner]
            raise LoadError(
                f"module {module.__name__} has no function {path!r}{nearest(step, known)}"
            )
    if not callable(found):
        raise LoadError(f"{name} is not a function but {type(found).__name__}")
    return typing.cast(Function, found)


def _of_its_own_name(module: ModuleType, path: str, asked: str) -> ModuleType:
    """Return the module inside a package that is meant, if a module is meant at all."""
    inner = f"{module.__name__}.{path}"
    is_package = hasattr(module, "__path__") and "." not in path
    if not is_package or callable(getattr(module, path, None)) or not _exists(inner):
        return module
    return _import_module(inner, asked)


@contextmanager
def _collecting(problems: list[str], place: str, lost: list[str]) -> Iterator[None]:
    """Note what is wrong at one place of the file, so that all is told at once.

    Args:
        problems: where mistakes are added.
        place: what they begin with.
        lost: where the place is noted if its code could not be loaded.
    """
    try:
        yield
    except AgentError as error:
        problems += [f"{place}: {line}" for line in str(error).splitlines()]
        if isinstance(error, LoadError):
            lost.append(place)


def _add_entry(
    agent: Agent,
    entry: JobEntry | ListenerEntry,
    config: Config,
    collecting: Callable[[], AbstractContextManager[None]],
) -> None:
    """Add a job or listener; what is wrong with its arguments hides nothing else.

    A torn one, of which something was wrong already, is only checked, and only in what is
    left of it.
    """
    is_torn = entry in config.torn
    given = entry.model_fields_set
    called: list[tuple[Function, dict[str, Any]]] = []
    options: list[dict[str, Any]] = []
    with collecting():
        function = load_function(entry.run)
        if not is_torn or "arguments" in given:
            called.append((function, arguments_of(function, entry, config)))
    with collecting():
        options.append(
            job_options(entry, is_torn) if isinstance(entry, JobEntry)
            else listener_options(entry)
        )  # fmt: skip
    if called and options and not is_torn:
        with collecting():
            add = add_job if isinstance(entry, JobEntry) else add_listener
            add(agent, entry.name, *called[0], options[0])


def _import_app(app: str) -> tuple[ModuleType, list[Agent], str]:
    file, colon, name = app.partition(":")
    if app.endswith(".py") or Path(app).is_file():
        file, name = app, ""
    elif not all(part.isidentifier() for part in file.removesuffix(".py").split(".")):
        raise LoadError(f"{app!r} is no file, module or module:name")
    elif not (file.endswith(".py") and colon):
        with noting() as agents:
            return _import_module(file, app), agents, name
    path = Path(file)
    if not path.is_file():
        raise LoadError(f"there is no file {file}")
    add_path(str(path.parent))
    with noting() as agents:
        return _import_file(path), agents, name


def _import_file(path: Path) -> ModuleType:
    """Import a file under its stem: the name that its jobs have as a program, too."""
    stem = path.stem
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    loader = spec.loader
    _guarded(str(path), lambda: loader.exec_module(module))
    return module


def _import_named(name: str) -> tuple[ModuleType, str]:
    """Return the module of a dotted name, and the rest of the name."""
    module_name, colon, path = name.partition(":")
    if colon:
        if not module_name or not path:
            raise LoadError(f"{name!r} is no function; write module:function")
        with noting():
            return _import_module(module_name, name), path
    steps = name.split(".")
    if len(steps) < 2 or not all(steps):
        raise LoadError(
            f"{name!r} is no function; write module.function or module:function"
        )
    for cut in range(len(steps) - 1, 0, -1):
        module_name = ".".join(steps[:cut])
        if _exists(module_name):
            with noting():
                return _import_module(module_name, name), ".".join(steps[cut:])
    raise LoadError(f"{name}: there is no module {steps[0]!r} here")


def _exists(module_name: str) -> bool:
    try:
        with noting():
            return importlib.util.find_spec(module_name) is not None
    except (ImportError, ValueError):
        return False


def _import_module(module_name: str, asked: str) -> ModuleType:
    try:
        if importlib.util.find_spec(module_name) is None:
            raise ModuleNotFoundError(name=module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise LoadError(
                f"{asked}: there is no module {module_name!r} here{_hidden(module_name)}"
            ) from None
    except (ImportError, ValueError):
        pass  # the import below says why
    found: list[ModuleType] = []
    _guarded(asked, lambda: found.append(importlib.import_module(module_name)))
    return found[0]


def _hidden(module_name: str) -> str:
    """Say so if a package of the user's hides the ready-made modules beside it."""
    top = module_name.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if top not in ("jobs", "listeners") or file is None:
        return ""
    return f"; {file} hides the ready-made {top}, so remove that file"


def _guarded(asked: str, work: Callable[[], None]) -> None:
    """Import user code; whatever it raises becomes one line that says where."""
    try:
        work()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, AgentError):
            text = str(error)
        else:
            text = f"{type(error).__name__}: {error}"
        raise LoadError(f"{_where(error) or asked}: {text}") from error


def _where(error: BaseException) -> str:
    """Return `file:line` of the innermost frame that is the user's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    ours = os.path.dirname(__file__)
    frames = traceback.extract_tb(error.__traceback__)
    users = [
        frame for frame in frames
        if not frame.filename.startswith((ours, "<frozen"))
        and "site-packages" not in frame.filename
        and not frame.filename.startswith(os.path.dirname(os.__file__))
    ]  # fmt: skip
    return f"{users[-1].filename}:{users[-1].lineno}" if users else ""
