"""When listeners that are throttled were called last."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a table; the previous release does not look at it."""
    op.create_table(
        "last_calls",
        sa.Column("subscription_id", sa.Integer, nullable=False),
        sa.Column("order_key", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "order_key"),
        sqlite_with_rowid=False,
    )
