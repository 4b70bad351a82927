"""The tables of the store. A change here needs a migration and a new SCHEMA number.

Moments are whole microseconds since 1970 UTC; JSON is text, readable with any tool.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

SCHEMA = 3  # the schema that this release makes and upgrades to
OLDEST = 1  # the oldest schema whose release may open a store of schema SCHEMA
REVISION = f"{SCHEMA:04d}"  # the Alembic revision of SCHEMA

# SQLite's integer key must be INTEGER to be the row's own id.
Key = BigInteger().with_variant(Integer(), "sqlite")


class State(StrEnum):
    """The states of a delivery."""

    AVAILABLE = "available"  # may be tried as soon as there is a free slot
    RUNNING = "running"  # inside the listener, past its timeout
    RETRYABLE = "retryable"  # failed; tried again when it is due
    COMPLETED = "completed"  # the listener returned, or did not want it
    DISCARDED = "discarded"  # a dead letter: not tried again unless asked
    PARKED = "parked"  # its listener is not in the code of the running agent


class Outcome(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"  # due while the run before was still going on
    CRASHED = "crashed"  # the process ended while it was running


OWED = (State.AVAILABLE, State.RETRYABLE, State.RUNNING)
IN_DOUBT = "in doubt"  # the reason of an owed delivery whose effect may have happened
SNOOZED = "snoozed"  # the reason of an owed delivery that waits without a failure
DROPPED = "dropped by hand"  # the reason of a dead letter that a person has dealt with

EMPTY = text("'{}'")  # a JSON object that nobody has written to

metadata = MetaData()

# One row: what the store is, and counters that tell processes to look again.
store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("oldest_schema", Integer, nullable=False),
    Column("subscriptions_version", Integer, nullable=False),
    Column("deliveries_version", Integer, nullable=False),
    # The side file whose crashed calls have been charged, so that none is twice.
    Column("charged_life", String, nullable=False),
)

# Alembic's own table, under its own name.
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

events = Table(
    "events",
    metadata,
    Column("id", Key, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("source", Text),
    Column("depth", Integer, nullable=False),
    Column("data", Text),
    UniqueConstraint("event_type", "identifier", name="one_event_per_identity"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("ordered_by", Text, nullable=False),
    Column("parked", Boolean(create_constraint=False), nullable=False),
    Column("paused_until", BigInteger),
    Column("pause_reason", Text),
    Column("state", Text, nullable=False, server_default=EMPTY),
    Column("validators", Text, nullable=False, server_default=EMPTY),
    UniqueConstraint("name", name="one_subscription_per_name"),
    sqlite_autoincrement=True,  # a forgotten listener's delivery keys never come back
)

_owed = text("state IN ('available', 'retryable', 'running')")

deliveries = Table(
    "deliveries",
    metadata,
    Column("event_id", Key, ForeignKey("events.id"), primary_key=True),
    Column("subscription_id", Key, ForeignKey("subscriptions.id"), primary_key=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    # 0 while available, so that "by due, then by event" is "the new ones in order".
    Column("due", BigInteger, nullable=False),
    Column("order_key", Text),
    Column("reason", Text),
    Column("finished", BigInteger),
    # Whether its listener's pace has let it in: it was called before, or a person said so.
    Column("admitted", Boolean(create_constraint=False), nullable=False,
           server_default=false()),
    # The guarded run that it waits for, or by which it is held.
    Column("held_run", BigInteger),
    Index(
        "owed_deliveries", "subscription_id", "due", "event_id",
        sqlite_where=_owed, postgresql_where=_owed,
    ),
    Index(
        "blocked_keys", "subscription_id", "order_key",
        sqlite_where=text("state = 'retryable' AND order_key IS NOT NULL"),
        postgresql_where=text("state = 'retryable' AND order_key IS NOT NULL"),
    ),
    Index(
        "dead_letters", "subscription_id", "event_id",
        sqlite_where=text("state = 'discarded'"),
        postgresql_where=text("state = 'discarded'"),
    ),
    sqlite_with_rowid=False,
)  # fmt: skip

attempt_errors = Table(
    "attempt_errors",
    metadata,
    Column("id", Key, primary_key=True),
    Column("event_id", Key, nullable=False),
    Column("subscription_id", Key, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index("errors_of_delivery", "event_id", "subscription_id"),
)

# When throttled listeners were called last, for each key that they keep apart. Without a
# foreign key: a release before it forgets a listener and knows nothing of these rows.
last_calls = Table(
    "last_calls",
    metadata,
    Column("subscription_id", Key, primary_key=True),
    Column("order_key", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=EMPTY),
    Column("succeeded_until", BigInteger),
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    Column("paused", Boolean(create_constraint=False), nullable=False,
           server_default=false()),
    Column("pause_reason", Text),
    # What the pages of the last successful run called themselves, by URL.
    Column("validators", Text, nullable=False, server_default=EMPTY),
    # When an interval was planned first, so that restarts do not put it off for ever.
    Column("known_since", BigInteger),
    # When the last run that succeeded began; a checkpoint is none.
    Column("last_success", BigInteger),
)  # fmt: skip

runs = Table(
    "runs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("job", Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("outcome", Text, nullable=False),
    Column("published", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("skips", Integer, nullable=False),
    Column("error", Text),
    Column("traceback", Text),
    Index("runs_of_job", "job", "id"),
    Index("open_runs", "id", sqlite_where=text("outcome = 'running'"),
          postgresql_where=text("outcome = 'running'")),
)  # fmt: skip
