"""A job that runs a program and publishes an event for each JSON line that it prints."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

from jobs.command_process import Lines, Run, end, environment, failure, shown, started
from py_agent import EventError, Handler, identifier_of

MOST_TOLD = 10  # lines of which a warning of its own is logged


def _no_text(argv: Any) -> Any:
    if isinstance(argv, str | bytes):
        raise ValueError(
            'write a list of the program and its arguments, as ["ls", "-l", "/tmp"]; there '
            "is no shell that would take a text apart"
        )
    return argv


Words = Annotated[list[str], BeforeValidator(_no_text)]


def command(
    handler: Handler,
    argv: Words,
    event_type: str | None = None,
    identifier: str | list[str] | None = None,
    *,
    env: dict[str, SecretStr] | None = None,
    cwd: Path | None = None,
    timeout: float = 300.0,
    max_bytes: int = 50 * 1024 * 1024,
    max_line: int = 1024 * 1024,
) -> None:
    """Run a program, and publish an event for each line of JSON that it prints.

    A line is published as soon as it is there as a whole. When the program fails after
    some lines, they stay published, and the run fails: the next one publishes only what
    is new. A line that is no JSON is left out with a warning; if all are, the run fails.

    The program is started without a shell, without input, in a process group of its own,
    and with a small environment: PATH, HOME, USER, LOGNAME, LANG, LANGUAGE, LC_*, TZ,
    TMPDIR and what `env` adds. When its time is up or the agent stops, it is asked to end
    (SIGTERM) and killed a second later. What it leaves running in its group when it ends
    is killed, too.

    Publishes:
        `event_type`, or what the line has as `event_type`; the line's own identifier; and
        the line as it is. With `event_type="disk"` and `identifier="name"`, the line
        `{"name": "sda1", "free": 12}` is the event `disk: sda1` with that as its data.
        With `identifier=["name", "free"]` each change is an event. Without any, the
        content is the identifier, as its SHA-256.

    It needs no credentials. A program that does gets them through `env`, which is never
    shown; on the command line everybody on the machine could read them. A job of your own
    takes them from its settings::

        def backups(handler: Handler, settings: BackupSettings) -> None:
            command(handler, ["backups", "--json"], "backup", "id",
                    env={"BACKUP_TOKEN": settings.token})

    Args:
        handler: publishes.
        argv: the program and its arguments, as a list.
        event_type: the type of the events; if not given, each line says its own.
        identifier: the dotted path of the field in a line, as `id` or `meta.key`, or a
            list of them, of which the first must be there.
        env: variables that the program gets besides; they may hold secrets.
        cwd: the folder in which it runs; the agent's if not given.
        timeout: seconds that it may take.
        max_bytes: that it may print, all in all.
        max_line: bytes of a line; a longer one is left out.

    Raises:
        ValueError: the arguments cannot be, or no line could be published.
        OSError: the program cannot be started; the message says why.
        TimeoutError: it did not end in time.
        StoppedError: the agent stops.
        RuntimeError: it failed, or printed too much.
    """
    words = _checked(argv)
    given = {name: _revealed(value) for name, value in (env or {}).items()}
    process = started(words, environment(os.environ, given), cwd)
    run = Run(handler, process, Lines(max_line), shown(words[0]), timeout, max_bytes)
    publisher = _Publisher(handler, run.name, event_type, identifier)
    try:
        with closing(run.lines()) as lines:
            for number, line in lines:
                publisher.take(number, line)
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(failure(run.name, process.returncode, run.errors, given))
    if rest := run.unended():
        publisher.take(*rest)
    publisher.finish()


def _checked(argv: Any) -> list[str]:
    """Return the words of a command.

    Raises:
        ValueError: it is a text, empty, or has something in it that is no text.
    """
    words = _no_text(argv)
    what = "it names no program"
    if not isinstance(words, list | tuple):
        what = f"it is {type(words).__name__}"
    elif words and words[0]:
        strange = (n for n, each in enumerate(words, 1) if not _is_word(each))
        if (number := next(strange, None)) is None:
            return list(words)
        what = f"word {number} is no text that a program can be given"
    raise ValueError(f'argv: {what}; write a list as ["ls", "-l", "/tmp"]')


def _is_word(word: Any) -> bool:
    return isinstance(word, str) and "\0" not in word


def _revealed(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class _Publisher:
    """Publishes lines, and counts those that cannot be.

    Args:
        handler: publishes.
        name: the program, to be shown.
        event_type: the type of the events; None if each line says its own.
        identifier: the path or paths of the identifier.
    """

    def __init__(
        self,
        handler: Handler,
        name: str,
        event_type: str | None,
        identifier: str | list[str] | None,
    ) -> None:
        self._handler = handler
        self._name = name
        self._event_type = event_type
        self._fields = [identifier] if isinstance(identifier, str) else identifier or []
        self._seen = 0
        self._problems = 0
        self._last = ""

    def take(self, number: int, line: bytes | None) -> None:
        """Publish a line, or say why not; an empty one is no line."""
        if line is not None and not line.strip():
            return
        self._seen += 1
        if problem := self._published(line):
            self._problems, self._last = self._problems + 1, problem
            if self._problems <= MOST_TOLD:
                self._handler.log.warning(
                    "%s: line %d is left out, as %s", self._name, number, problem
                )

    def finish(self) -> None:
        """Say how many lines are left out.

        Raises:
            ValueError: all are.
        """
        if self._seen and self._problems == self._seen:
            raise ValueError(f"{self._name}: none of the {self._seen} lines could be "
                             f"published, the last one as {self._last}")  # fmt: skip
        if self._problems > MOST_TOLD:
            self._handler.log.warning("%s: %d of %d lines are left out",
                                      self._name, self._problems, self._seen)  # fmt: skip

    def _published(self, line: bytes | None) -> str:
        """Publish a line; return why it could not be, "" if it could."""
        if line is None:
            return "it is longer than max_line"
        try:
            item = json.loads(line.decode())
            name = identifier_of(item, self._fields)
        except UnicodeDecodeError:
            return "it is not UTF-8 text"
        except (ValueError, RecursionError):
            return "it is no JSON"
        if name is None:
            return f"it has no {self._fields[0]!r}"
        kind = self._event_type
        if kind is None:
            kind = item.get("event_type") if isinstance(item, dict) else None
            if not isinstance(kind, str):
                return "it has no 'event_type', and the job has none either"
        try:
            self._handler.publish(kind, name, item)
        except EventError as error:
            return str(error)
        return ""
