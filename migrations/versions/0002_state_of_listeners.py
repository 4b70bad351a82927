"""What listeners remember, and what jobs and listeners know of the pages they fetched."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

EMPTY = sa.text("'{}'")


def upgrade() -> None:
    """Add three columns; the previous release names its own and does not see these."""
    for table, name in (
        ("subscriptions", "state"),
        ("subscriptions", "validators"),
        ("jobs", "validators"),
    ):
        op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=EMPTY))
