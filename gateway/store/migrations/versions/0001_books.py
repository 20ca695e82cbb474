"""The books: callers, balances, holds, entries, roll-ups, and views for dashboards."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

HOLD_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Ids of holds are compared by their bytes, whatever the server's locale."""

VIEWS = {
    "spend_by_hour": """
        SELECT org, hour * 3600 AS time, team, app, job, target, stage, quality,
               entries, request_count, tokens, amount_nanos, amount_nanos / 1e9 AS amount_usd
        FROM rollups""",
    "budget_status": """
        SELECT org, budget, subject, unit, period, hard,
               starts_at / 1000000 AS time, ends_at / 1000000 AS time_end,
               limit_value, spent, held, overrun
        FROM balances""",
    "open_holds": """
        SELECT org, id, admitted_at / 1000000 AS time, lapses_at / 1000000 AS time_end,
               ceiling_nanos, ceiling_tokens
        FROM holds""",
}
"""What dashboards read: times in seconds since 1970; floats only here, on the way out."""


def upgrade() -> None:
    """Make the tables and the views."""
    op.create_table(
        "apps",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org", "name"),
    )
    op.create_table(
        "balances",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ends_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("limit_value", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("spent", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("held", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("overrun", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org", "id"),
        sa.UniqueConstraint(
            "org", "budget", "subject", "unit", "starts_at", name="uq_balances_period"
        ),
    )
    op.create_table(
        "counters",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org", "name"),
    )
    op.create_table(
        "entries",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", HOLD_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("admitted_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("residency", sa.Text(), nullable=False),
        sa.Column("confined", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_served", sa.Text(), nullable=False),
        sa.Column("upstream_id", sa.Text(), nullable=False),
        sa.Column("service_tier", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.Column("input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_read", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_read_audio", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_write", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_write_1h", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reasoning", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audio_input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audio_output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ceiling_nanos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ceiling_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prices", sa.Text(), nullable=False),
        sa.Column("balances", sa.Text(), nullable=False),
        sa.Column("changed", sa.Text(), nullable=False),
        sa.Column("corrects", HOLD_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "id"),
    )
    op.create_index("ix_entries_admitted", "entries", ["org", "admitted_at"], unique=False)
    op.create_table(
        "holds",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", HOLD_ID, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("admitted_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lapses_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ceiling_nanos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ceiling_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("balances", sa.Text(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "id"),
    )
    op.create_index("ix_holds_lapse", "holds", ["org", "lapses_at"], unique=False)
    op.create_table(
        "keys",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("jobs", sa.Text(), nullable=False),
        sa.Column("default_job", sa.Text(), nullable=True),
        sa.Column("budget_nanos", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("budget_period", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("org", "id"),
        sa.UniqueConstraint("hash", name="uq_keys_hash"),
    )
    op.create_table(
        "rollups",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_read", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_read_audio", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_write", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cache_write_1h", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reasoning", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audio_input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audio_output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_input", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org", "hour", "team", "app", "job", "target", "stage", "quality"),
    )
    op.create_table(
        "teams",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org", "name"),
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Remove them."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_table("teams")
    op.drop_table("rollups")
    op.drop_table("keys")
    op.drop_table("holds")
    op.drop_table("entries")
    op.drop_table("counters")
    op.drop_table("balances")
    op.drop_table("apps")
