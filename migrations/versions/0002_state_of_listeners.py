"""What listeners remember, what is known of fetched pages, and since when of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

EMPTY = sa.text("'{}'")


def upgrade() -> None:
    """Add columns; the previous release names its own and does not see these."""
    for table, name in (
        ("subscriptions", "state"),
        ("subscriptions", "validators"),
        ("jobs", "validators"),
    ):
        op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=EMPTY))
    for name in ("known_since", "last_success"):
        op.add_column("jobs", sa.Column(name, sa.BigInteger))
