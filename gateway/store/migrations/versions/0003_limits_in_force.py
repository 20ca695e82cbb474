"""What moves the limit of a budget beside routes.yaml: raises, and what was carried over."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables; balances that are there carry nothing over and are not raised."""
    op.create_table(
        "budget_raises",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("starts_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("withdraws", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "id"),
    )
    op.create_table(
        "limit_changes",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("balance", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("old_limit", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("new_limit", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changed_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "id"),
    )
    op.add_column(
        "balances", sa.Column("carried", sa.BigInteger(), autoincrement=False, nullable=True)
    )
    op.execute("UPDATE balances SET carried = 0")
    op.add_column(
        "balances",
        sa.Column(
            "raised", sa.BigInteger(), autoincrement=False, nullable=False, server_default="0"
        ),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_column("balances", "raised")
    op.drop_column("balances", "carried")
    op.drop_table("limit_changes")
    op.drop_table("budget_raises")
