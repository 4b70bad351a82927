"""Making, recognising and upgrading a store file.

A file is looked at without changing a byte before anything is opened for writing; what
we do not understand is refused with one sentence. A store carries its schema and the
oldest schema whose release may open it, so a roll-back swaps the code only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.schema import CreateIndex, CreateTable

from ..errors import StorageFault, StoreError, StoreMissingError, StoreRefusedError
from . import backups
from .dialects import (
    APPLICATION_ID,
    DIALECT,
    INTEGRITY_LIMIT,
    check_integrity,
    open_engine,
    read_connection,
    storage_errors,
    transaction,
)
from .tables import OLDEST, REVISION, SCHEMA, metadata


@dataclass(frozen=True)
class Stamp:
    """What a store says of itself.

    Args:
        schema: the schema of its tables.
        oldest: the oldest schema whose release may open it.
    """

    schema: int
    oldest: int


def ensure(path: Path) -> bool:
    """Make the store if there is none at the path; return whether it was made.

    Raises:
        StoreRefusedError: the folder does not exist or cannot be written.
    """
    if os.path.lexists(path):
        return False
    create(path)
    return True


def create(path: Path) -> None:
    """Make a new store: complete, stamped and synced before it has its name.

    Of two processes that make the same store at once, one wins and both use it.
    """
    folder = path.parent
    if not folder.is_dir():
        raise StoreRefusedError(f"cannot make the store {path}: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreRefusedError(f"cannot make the store {path}: the folder is not writable")
    draft = folder / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new"
    draft.unlink(missing_ok=True)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _fill(draft)
        _name(draft, path)
    except OSError as error:
        raise StorageFault(f"cannot make the store {path}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _fill(draft: Path) -> None:
    with storage_errors(draft), contextlib.closing(sqlite3.connect(draft)) as db:
        db.isolation_level = None
        cursor = db.cursor()
        cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with transaction(cursor):
            make_tables(cursor)
        cursor.execute("PRAGMA journal_mode = WAL")


def make_tables(cursor: sqlite3.Cursor) -> None:
    """Make all tables of the newest schema and stamp them."""
    for table in metadata.sorted_tables:
        cursor.execute(str(CreateTable(table).compile(dialect=DIALECT)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            cursor.execute(str(CreateIndex(index).compile(dialect=DIALECT)))
    cursor.execute("INSERT INTO alembic_version VALUES (?)", [REVISION])
    cursor.execute("INSERT INTO store VALUES (1, ?, 0, 0, '')", [OLDEST])


def _name(draft: Path, path: Path) -> None:
    """Give the finished draft its name; a store that got there first stays."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a filesystem without hard links
            if not path.exists():
                os.rename(draft, path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify(path: Path, writing: bool = True) -> Stamp:
    """Check that a file is a store that this release may open; change nothing.

    Args:
        path: the store's file.
        writing: whether the caller will write.

    Returns:
        The store's stamp; its schema may be older than ours.

    Raises:
        StoreMissingError: there is no such file.
        StoreRefusedError: it is not a store, damaged, too new, or read-only.
    """
    if not os.path.lexists(path):
        raise StoreMissingError(
            f"there is no store at {path}; start the agent there once, "
            f"or name another with --db"
        )
    if not path.is_file():
        raise StoreRefusedError(f"{path} is not a file, so it cannot be a store")
    if not os.access(path, os.R_OK):
        raise StoreRefusedError(f"{path} cannot be read by this user")
    stamp = _read_stamp(path)
    if stamp.oldest > SCHEMA:
        raise StoreRefusedError(
            f"{path} was written by a newer release (schema {stamp.schema}, needs at "
            f"least {stamp.oldest}; this release knows {SCHEMA}); update py-agent"
        )
    if writing and not os.access(path, os.W_OK):
        raise StoreRefusedError(f"{path} is read-only for this user")
    if writing and not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreRefusedError(f"the folder of {path} is read-only for this user")
    return stamp


def _read_stamp(path: Path) -> Stamp:
    foreign = StoreRefusedError(
        f"{path} is not a py_agent store; nothing was changed, name another with --db"
    )
    if path.stat().st_size == 0:
        raise foreign
    try:
        with contextlib.closing(read_connection(path, main_only=True)) as db:
            # Without it, SQLite refuses a main file that a killed checkpoint has left
            # shorter than its first page says; the -wal still holds the rest.
            db.execute("PRAGMA writable_schema = ON").close()
            found = db.execute("PRAGMA application_id").fetchone()
            if not found or found[0] != APPLICATION_ID:
                raise foreign
        with contextlib.closing(read_connection(path)) as db:
            version = db.execute("SELECT version_num FROM alembic_version").fetchall()
            oldest = db.execute("SELECT oldest_schema FROM store").fetchall()
            stamp = Stamp(int(version[0][0]), int(oldest[0][0]))
            if stamp.schema < 1:
                raise ValueError(f"schema {stamp.schema}")
            return stamp
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise foreign from error
        raise StoreRefusedError(f"{path} cannot be read: {error}") from error
    except (ValueError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise StoreRefusedError(f"{path} does not say which schema it has") from error


def verify_current(path: Path, writing: bool = True) -> None:
    """As `verify`, for a process that may not upgrade: an old schema is refused too."""
    stamp = verify(path, writing)
    if stamp.schema < SCHEMA:
        raise StoreRefusedError(
            f"{path} has the older schema {stamp.schema}; start the agent of this "
            f"release once to upgrade it to {SCHEMA}"
        )


def prepare(path: Path, thorough: bool = True) -> bool:
    """Check a store and upgrade it; for the holder of the lock only.

    Args:
        path: the store's file.
        thorough: whether tables are compared with their indexes.

    Returns:
        Whether the store is too large to have been compared with its indexes, so that
        `check_integrity` should run beside the work.

    Raises:
        StoreError: the store cannot be used; it was left as it is.
    """
    stamp = verify(path)
    large = path.stat().st_size > INTEGRITY_LIMIT
    if thorough and not large:
        check_integrity(path)
    if stamp.schema < SCHEMA:
        upgrade(path, stamp.schema)
    return large


def upgrade(path: Path, schema: int, scripts: Path | None = None) -> Path:
    """Run the migrations in one transaction, after an online backup.

    Args:
        path: the store's file, whose lock the caller holds.
        schema: its present schema, which names the backup.
        scripts: the folder of migrations; the installed ones if not given.

    Returns:
        The path of the backup.
    """
    from alembic import command
    from alembic.config import Config

    saved = path.with_name(f"{path.name}.schema-{schema}.backup")
    backups.write(path, saved)
    folder = str(scripts or _installed_scripts())
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    engine = open_engine(path, "full")
    try:
        with storage_errors(path), engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except StoreError:
        raise
    except Exception as error:
        raise StoreRefusedError(
            f"{path} could not be upgraded from schema {schema} ({error}); "
            f"it was left as it is"
        ) from error
    finally:
        engine.dispose()
    return saved


def _installed_scripts() -> Path:
    from importlib.resources import files

    return Path(str(files("py_agent.migrations")))
