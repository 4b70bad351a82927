"""Everything in which one database differs from another; today there is SQLite.

SQLite facts used here: a transaction that reads and then writes must begin IMMEDIATE
(a deferred one fails at once with SQLITE_BUSY_SNAPSHOT, whatever the busy timeout);
WAL with synchronous=FULL syncs at every commit, NORMAL only at checkpoints
(sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import (
    ClauseElement,
    Engine,
    Select,
    bindparam,
    create_engine,
    func,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ..errors import StorageFault, StoreError, StoreRefusedError

Durability = Literal["full", "fast"]

APPLICATION_ID = 0x50794147  # "PyAG", in the header of every store
BUSY_SECONDS = 30  # how long a writer waits for another process's transaction
CACHE_KIB = 65_536
INTEGRITY_LIMIT = 256 * 1024 * 1024  # bytes; a larger store is checked while it runs

# Checkpoints: at FULL a longer WAL makes every sync append instead of overwrite
# (measured: publishing fell by a third at 10,000 pages); at NORMAL it saves work.
CHECKPOINT_PAGES: dict[Durability, int] = {"full": 1_000, "fast": 10_000}
SYNCHRONOUS: dict[Durability, str] = {"full": "FULL", "fast": "NORMAL"}

insert = sqlite.insert

DIALECT = sqlite.dialect()
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Statement:
    """A Core statement, compiled once, executed on the driver's own cursor.

    Args:
        clause: the statement; its values are bound by name when it is executed.
        columns: for an insert or update, the columns whose values are bound.
    """

    def __init__(self, clause: ClauseElement, *columns: str) -> None:
        self._clause = clause
        self._columns = list(columns) or None
        self._compiled: tuple[str, list[str], dict[str, Any]] | None = None

    @property
    def compiled(self) -> tuple[str, list[str], dict[str, Any]]:
        """The SQL text, the parameter names in its order, and values set beforehand."""
        if self._compiled is None:
            compiled = DIALECT.statement_compiler(
                DIALECT, self._clause, column_keys=self._columns
            )
            names = list(compiled.positiontup or ())
            fixed = {k: v for k, v in compiled.params.items() if v is not None}
            self._compiled = str(compiled), names, fixed
        return self._compiled

    def run(self, cursor: sqlite3.Cursor, **values: Any) -> sqlite3.Cursor:
        """Execute with these values; names that are not given keep their set value."""
        sql, names, fixed = self.compiled
        if fixed:
            values = {**fixed, **values}
        return cursor.execute(sql, [values[name] for name in names])

    def run_many(
        self, cursor: sqlite3.Cursor, rows: Iterable[dict[str, Any]]
    ) -> sqlite3.Cursor:
        """Execute once for each mapping of values."""
        sql, names, fixed = self.compiled
        if fixed:
            rows = ({**fixed, **row} for row in rows)
        return cursor.executemany(sql, [[row[name] for name in names] for row in rows])


def values_of(name: str) -> Select[tuple[Any]]:
    """Return the rows of a parameter that is bound to a JSON list of texts or numbers.

    One parameter, however many values, so that a statement is compiled once.
    """
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


def open_engine(path: Path, durability: Durability) -> Engine:
    """Return an engine on an existing, verified store.

    Args:
        path: the store's file.
        durability: "full" survives a power cut, "fast" may lose the last moments.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri(path, mode="rw"),
            uri=True,
            isolation_level=None,  # transactions are begun and ended in the open
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={SYNCHRONOUS[durability]}",
            f"wal_autocheckpoint={CHECKPOINT_PAGES[durability]}",
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    return create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True
    )


def open_to_read(path: Path) -> Engine:
    """Return an engine on a verified store that can change nothing in it.

    Where the user may write, the connection could too, so that SQLite tidies up its side
    files as usual; `query_only` keeps it from changing data.
    """

    def connect() -> sqlite3.Connection:
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            return read_connection(path)
        connection = sqlite3.connect(
            uri(path, mode="rw"), uri=True, isolation_level=None, timeout=BUSY_SECONDS
        )
        connection.execute("PRAGMA query_only = ON").close()
        return connection

    return create_engine("sqlite://", creator=connect, hide_parameters=True)


def uri(path: Path, **options: str) -> str:
    """Return SQLite's URI for a file, with its query options."""
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"file:{quote(os.fsencode(path))}?{query}"


@contextmanager
def transaction(cursor: sqlite3.Cursor) -> Iterator[None]:
    """Run a block in one writing transaction; any exception rolls it back."""
    try:
        cursor.execute("BEGIN IMMEDIATE")  # within: Ctrl-C may come as it returns
        yield
        cursor.execute("COMMIT")
    except BaseException:
        # A failed commit may have ended the transaction already.
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(cursor: sqlite3.Cursor) -> Iterator[None]:
    """Run a block in which all reads see one state of the store."""
    try:
        cursor.execute("BEGIN")
        yield
    finally:
        if cursor.connection.in_transaction:
            cursor.execute("COMMIT")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Map the database's errors to ours; the original stays on `__cause__`."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(path, error) from error
    except DBAPIError as error:
        original = error.orig
        if isinstance(original, sqlite3.Error):
            raise storage_error(path, original) from error
        raise StoreRefusedError(f"{path}: {original}") from error
    except (UnicodeError, RecursionError) as error:
        raise StoreRefusedError(f"{path} holds damaged text: {error}") from error


@contextmanager
def damaged_values(what: object) -> Iterator[None]:
    """Map what reading a value raises that no release wrote to our error."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreRefusedError(f"{what} holds a damaged value: {error}") from error


def storage_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Return our error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _CORRUPT or "decode" in str(error):
        return StoreRefusedError(
            f"{path} is damaged ({error}); restore a backup, or move the file away"
        )
    return StorageFault(f"{path}: {error}")


def check_integrity(path: Path, progress: Callable[[], int] | None = None) -> None:
    """Compare every table of a store with its indexes, changing nothing.

    `integrity_check` and not `quick_check`: the latter does not compare an index with
    its table, and a store whose unique index is damaged would store events twice.

    Args:
        path: the store's file.
        progress: called now and then; a non-zero answer ends the check early.

    Raises:
        StoreRefusedError: the store is damaged.
    """
    with storage_errors(path):
        connection = read_connection(path)
        if progress is not None:
            connection.set_progress_handler(progress, 100_000)
        try:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return
            raise
        finally:
            connection.close()
    if found is None or found[0] != "ok":
        raise StoreRefusedError(
            f"{path} is damaged ({found[0] if found else 'no answer'}); "
            f"restore a backup, or move the file away"
        )


def read_connection(path: Path, main_only: bool = False) -> sqlite3.Connection:
    """Open a file to look at it without changing a byte.

    A store at rest (no -wal and no -shm beside it) is opened as immutable, which makes
    no side files; otherwise read-only, which reads the -wal and leaves it, but makes
    a -shm where there is none.

    Args:
        path: the file.
        main_only: leave a -wal aside, for a first look at a file that may be foreign.
    """
    # An open store has a -shm even while its -wal is empty: it may change any moment.
    used = _has_content(Path(f"{path}-wal")) or Path(f"{path}-shm").exists()
    options = {"immutable": "1"} if main_only or not used else {}
    return sqlite3.connect(
        uri(path, mode="ro", **options), uri=True, isolation_level=None,
        timeout=BUSY_SECONDS, check_same_thread=False,
    )  # fmt: skip


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def backup(path: Path, target: Path) -> None:
    """Copy a store that may be in use, through SQLite's online backup.

    Raises:
        StoreError: the copy could not be made.
    """
    with storage_errors(path):
        source = sqlite3.connect(uri(path, mode="rw"), uri=True, timeout=BUSY_SECONDS)
        copy = sqlite3.connect(target)
        try:
            # A copy that fails is thrown away, and a journal on a full disk stays behind.
            copy.execute("PRAGMA journal_mode = MEMORY").close()
            source.backup(copy)
        finally:
            copy.close()
            source.close()
