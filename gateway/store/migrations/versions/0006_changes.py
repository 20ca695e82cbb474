"""Who changed what; addresses and rotation of keys; whom to ask about a team or an app."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, which only grows; keys that are there may be used from anywhere."""
    op.create_table(
        "changes",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "number"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER changes_no_{event.lower()} BEFORE {event} ON changes"
                " BEGIN SELECT RAISE(ABORT, 'the log of changes only grows'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION changes_only_grow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the log of changes only grows'"
            " USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER changes_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON changes"
            " FOR EACH STATEMENT EXECUTE FUNCTION changes_only_grow()"
        )
    for table in ("teams", "apps"):
        op.add_column(table, sa.Column("contact", sa.Text(), nullable=False, server_default=""))
    op.add_column("keys", sa.Column("addresses", sa.Text(), nullable=False, server_default=""))
    op.add_column("keys", sa.Column("old_hash", sa.Text(), nullable=True))
    op.add_column(
        "keys", sa.Column("old_until", sa.BigInteger(), autoincrement=False, nullable=True)
    )


def downgrade() -> None:
    """Remove it all."""
    for name in ("old_until", "old_hash", "addresses"):
        op.drop_column("keys", name)
    for table in ("apps", "teams"):
        op.drop_column(table, "contact")
    op.drop_table("changes")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION changes_only_grow()")
