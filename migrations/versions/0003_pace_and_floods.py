"""Which deliveries may be left out, which are held, and when throttled listeners ran."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns and a table; the previous release does not look at them."""
    admitted = sa.Column("admitted", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("deliveries", admitted)
    op.add_column("deliveries", sa.Column("held_run", sa.BigInteger))
    op.create_table(
        "last_calls",
        sa.Column("subscription_id", sa.Integer, nullable=False),
        sa.Column("order_key", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "order_key"),
        sqlite_with_rowid=False,
    )
