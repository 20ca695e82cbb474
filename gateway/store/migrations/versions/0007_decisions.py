"""How each attempt was decided: what picked the job, what was passed over, how budgets stood."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; of the entries that are there it is not known."""
    op.add_column("entries", sa.Column("decision", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("entries", "decision")
