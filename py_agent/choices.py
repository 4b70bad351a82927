"""What an agent's store, durability and grace time are, and who says so.

The command line wins over the code, the code over agent.toml, and that over the
environment. Nothing is read before it is asked for: making an agent touches no file.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .retry import Seconds, seconds

if TYPE_CHECKING:
    from .settings.config import EngineSettings
    from .store.dialects import Durability

GRACE_SECONDS = 10.0  # how long running work may take to end after a stop
MEMORY = ":memory:"  # a private store in a temporary file, removed at the end


class Choices:
    """The choices of one agent.

    Args:
        db: the store that the code names.
        durability: "full" or "fast", as the code says.
        grace: seconds or timedelta, as the code says.
        config: the agent.toml that the code names.
        max_owed: deliveries that may be owed while jobs publish, as the code says.
        job_threads: short runs of jobs at once, likewise.

    Raises:
        ConfigError: the durability is neither, or a number is none.
        UsageError: the grace time is no duration.
    """

    def __init__(
        self,
        db: str | os.PathLike[str] | None,
        durability: str | None,
        grace: Seconds | None,
        config: str | os.PathLike[str] | None,
        max_owed: int | None = None,
        job_threads: int | None = None,
    ) -> None:
        if durability not in (None, "full", "fast"):
            raise ConfigError(f'durability is "full" or "fast", not {durability!r}')
        self._db = db
        self._durability: Durability | None = durability  # type: ignore[assignment]
        self._grace = None if grace is None else seconds(grace, "grace")
        self._config = config
        self._limits = {"max_owed": max_owed, "job_threads": job_threads}
        for name, number in self._limits.items():
            if number is not None and (type(number) is not int or number < 1):
                raise ConfigError(f"{name} is a number from 1, not {number!r}")
        self._path: Path | None = None  # resolved once: the program may change folders
        self._private: str | None = None
        self._pid = os.getpid()

    def override(
        self, db: str | os.PathLike[str] | None, config: str | os.PathLike[str] | None
    ) -> None:
        """Take over what a command line says, where it says something."""
        self._path = None
        self._db = db or self._db
        self._config = config or self._config

    def store_path(self) -> Path:
        """Return the real path of the store, which need not exist yet.

        Raises:
            ConfigError: agent.toml or the environment is wrong.
        """
        if self._path is None:
            self._path = self._resolve()
        return self._path

    def durability(self) -> Durability:
        """Return whether a commit survives a power cut ("full") or only a kill."""
        return self._durability or self._settings().durability or "full"

    def grace(self) -> float:
        """Return the seconds that running work may take to end after a stop."""
        if self._grace is not None:
            return self._grace
        grace = self._settings().grace
        return GRACE_SECONDS if grace is None else grace

    def limits(self) -> dict[str, Any]:
        """Return the limits of what goes on at once, and is kept, that anyone has set."""
        found = self._settings()
        limits: dict[str, Any] = {"keep_runs": found.keep_runs}
        limits |= {
            name: getattr(found, name) if number is None else number
            for name, number in self._limits.items()
        }
        return {name: number for name, number in limits.items() if number is not None}

    def keep_data(self) -> float | None:
        """Return the seconds for which the data of events is kept; None for ever."""
        found: float | None = self._settings().keep_data
        return found

    def metrics(self) -> tuple[str, int] | None:
        """Return the host and port at which metrics are told; None for nowhere."""
        found: tuple[str, int] | None = self._settings().metrics
        return found

    def logging(self) -> tuple[str, str]:
        """Return the level and format of the log; mistakes are told by who starts."""
        from .settings.config import read_config

        try:
            found = read_config(self._config, whole=False, problems=[]).engine
        except ConfigError:
            return "info", "text"
        return found.log_level or "info", found.log_format or "text"

    @property
    def config(self) -> str | os.PathLike[str] | None:
        """The agent.toml that is named; None for the usual places."""
        return self._config

    def remove_private(self) -> None:
        """Remove the private store, if there is one."""
        if self._private is not None and os.getpid() == self._pid:
            self._path = None
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None
            atexit.unregister(self.remove_private)

    def _resolve(self) -> Path:
        from .settings.config import DEFAULT_STORE

        db = self._settings().db or DEFAULT_STORE if self._db is None else self._db
        if str(db) == MEMORY:
            return self._private_path()
        return Path(os.path.realpath(os.path.expanduser(db)))

    def _settings(self) -> EngineSettings:
        from .settings.config import read_config

        return read_config(self._config, whole=False).engine

    def _private_path(self) -> Path:
        if self._private is None:
            self._private = tempfile.mkdtemp(prefix="py_agent-")
            self._pid = os.getpid()
            atexit.register(self.remove_private)
        return Path(os.path.realpath(self._private)) / "memory.sqlite"
