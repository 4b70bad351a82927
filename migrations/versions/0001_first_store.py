"""The first store: events, subscriptions, deliveries, runs and job state.

A migration describes its schema by itself: the tables in the code move on, this stays.
There are no downgrades: the previous release still runs on an upgraded store.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table of schema 1."""
    op.create_table(
        "store",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("oldest_schema", sa.Integer, nullable=False),
        sa.Column("subscriptions_version", sa.Integer, nullable=False),
        sa.Column("deliveries_version", sa.Integer, nullable=False),
        sa.Column("charged_life", sa.String, nullable=False),
    )
    op.execute("INSERT INTO store VALUES (1, 1, 0, 0, '')")
    op.create_table(
        "events",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("identifier", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("data", sa.Text),
        sa.UniqueConstraint("event_type", "identifier", name="one_event_per_identity"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("ordered_by", sa.Text, nullable=False),
        sa.Column("parked", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("paused_until", sa.BigInteger),
        sa.Column("pause_reason", sa.Text),
        sa.UniqueConstraint("name", name="one_subscription_per_name"),
        sqlite_autoincrement=True,
    )
    _create_deliveries()
    _create_runs()


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("event_id", KEY, sa.ForeignKey("events.id"), primary_key=True),
        sa.Column(
            "subscription_id", KEY, sa.ForeignKey("subscriptions.id"), primary_key=True
        ),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("order_key", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("finished", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    for name, columns, condition in (
        (
            "owed_deliveries",
            ["subscription_id", "due", "event_id"],
            "state IN ('available', 'retryable', 'running')",
        ),
        (
            "blocked_keys",
            ["subscription_id", "order_key"],
            "state = 'retryable' AND order_key IS NOT NULL",
        ),
        ("dead_letters", ["subscription_id", "event_id"], "state = 'discarded'"),
    ):
        where = sa.text(condition)
        op.create_index(
            name, "deliveries", columns, sqlite_where=where, postgresql_where=where
        )
    op.create_table(
        "attempt_errors",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("subscription_id", KEY, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("traceback", sa.Text, nullable=False),
    )
    op.create_index("errors_of_delivery", "attempt_errors", ["event_id", "subscription_id"])


def _create_runs() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("succeeded_until", sa.BigInteger),
        sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column(
            "paused",
            sa.Boolean(create_constraint=False),
            nullable=False,
            server_default=sa.false(),
        ),
        sa.Column("pause_reason", sa.Text),
    )
    op.create_table(
        "runs",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("published", sa.Integer, nullable=False),
        sa.Column("duplicates", sa.Integer, nullable=False),
        sa.Column("skips", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("traceback", sa.Text),
    )
    op.create_index("runs_of_job", "runs", ["job", "id"])
    open_runs = sa.text("outcome = 'running'")
    op.create_index(
        "open_runs", "runs", ["id"], sqlite_where=open_runs, postgresql_where=open_runs
    )
