"""What all commands have in common: five options, and how an error is told."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from py_agent.errors import AgentError, ConfigError, StoreMissingError
from py_agent.failures import printable

if TYPE_CHECKING:
    from py_agent.agent import Agent

log = logging.getLogger("py_agent")

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


@dataclass(frozen=True)
class Common:
    """The common options of one call.

    Args:
        config: the agent.toml to read.
        db: the store.
        path: the folder to put first where modules are looked for.
        log_level: how much is logged.
        log_format: how it is written.
    """

    config: str | None
    db: str | None
    path: str
    log_level: str | None
    log_format: str | None = None

    def prepare(self, level: str = "info") -> None:
        """Set up logging and the module path for a command that runs user code."""
        from py_agent.loading import add_path
        from py_agent.logs import log_to_stderr
        from py_agent.settings.config import log_level_of_core, read_config

        wanted, written = self.log_level, self.log_format
        if wanted is None or written is None:
            # Mistakes are told by who reads the whole file, all at once.
            found = read_config(self.config, whole=False, problems=[])
            core = log_level_of_core(found.path)
            wanted = wanted or found.engine.log_level or core or level
            written = written or found.engine.log_format or "text"
        log_to_stderr(getattr(logging, wanted.upper()), written)
        add_path(self.path)

    def agent(self, app: str | None, needed: bool = True) -> Agent:
        """Return the agent of an app, or of agent.toml, with these options set."""
        from py_agent.loading import agent_of_config, load_agent

        agent = load_agent(app) if app else agent_of_config(self.config, needed)
        agent.override(self.db, self.config)
        return agent

    def store(self) -> Path:
        """Return the path of the store that the options, agent.toml or environment name."""
        from py_agent.agent import Agent

        if self.db == ":memory:":
            raise StoreMissingError(
                "a store in memory belongs to one process; name a file with --db"
            )
        return Agent(self.db, config=self.config).store_path()


def common(function: F) -> F:
    """Give a command the common options, and turn errors into one line and a code."""

    @click.option("--config", metavar="FILE", help="The agent.toml to read.")
    @click.option("--db", metavar="FILE", help="The store.")
    @click.option(
        "--path", metavar="FOLDER", default=".", help="Where modules are looked for first."
    )
    @click.option("--log-level", type=click.Choice(LEVELS), help="How much is logged.")
    @click.option("--log-format", type=click.Choice(FORMATS), help="How it is written.")
    @functools.wraps(function)
    def command(
        *args: Any, config: str | None, db: str | None, path: str, log_level: str | None,
        log_format: str | None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        options = Common(config, db, path, log_level, log_format)
        try:
            return function(*args, common=options, **kwargs)
        except AgentError as error:
            fail(error)
        except BrokenPipeError:
            raise  # the reader has seen enough; click ends quietly
        except OSError as error:
            fail(AgentError(f"the output cannot be written: {error}"))

    return command  # type: ignore[return-value]


def fail(error: AgentError) -> NoReturn:
    """Tell an error, a line for each mistake, and end with its exit code."""
    for line in str(error).splitlines() or [type(error).__name__]:
        tell(line)
    sys.exit(error.exit_code)


def tell(problem: str) -> None:
    """Tell a problem on stderr, as a line of the log where programs read that."""
    from py_agent.logs import read_by_programs

    if read_by_programs():
        log.error("%s", printable(problem))
    else:
        click.echo(f"Error: {printable(problem)}", err=True)


def json_value(text: str | None) -> Any:
    """Return what `--data` means: JSON, `@FILE`, or `-` for stdin; None without it.

    Raises:
        ConfigError: it cannot be read, or is no JSON.
    """
    if text is None:
        return None
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--data: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"--data is not JSON: {error} (a text needs quotes, as in '\"text\"')"
        ) from error
