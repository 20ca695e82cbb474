"""Views for dashboards: budgets hour by hour, raises in their time, tokens by class."""

from alembic import op

revision = "0010"
down_revision = "0009"

_BUDGET_STATUS = """
    SELECT org, budget, subject, unit, period, hard,
           starts_at / 1000000 AS time, ends_at / 1000000 AS time_end,
           limit_value, spent, held, overrun"""
BEFORE = f"{_BUDGET_STATUS} FROM balances"
AFTER = f"{_BUDGET_STATUS}, COALESCE(carried, 0) AS carried, raised FROM balances"
"""A view that is there can only grow at its end; those who may read it then still may."""

VIEWS = {
    # An entry is admitted within the period of every balance that it moves, so the entries of a
    # balance are found by their time; which of them are its own, their lists say.
    "budget_by_hour": """
        SELECT balances.org, balances.budget, balances.subject, balances.unit, balances.period,
               balances.starts_at / 1000000 AS period_time,
               balances.ends_at / 1000000 AS period_time_end,
               entries.admitted_at / 3600000000 * 3600 AS time,
               entries.team, entries.app, entries.job, entries.target,
               SUM(CASE balances.unit WHEN 'usd' THEN entries.amount_nanos
                   WHEN 'tokens' THEN entries.tokens ELSE entries.request_count END) AS amount
        FROM balances
        JOIN entries ON entries.org = balances.org
         AND entries.admitted_at >= balances.starts_at
         AND entries.admitted_at < balances.ends_at
         AND (' ' || entries.balances || ' ') LIKE ('% ' || balances.id || ' %')
        GROUP BY balances.org, balances.budget, balances.subject, balances.unit, balances.period,
                 balances.starts_at, balances.ends_at, entries.admitted_at / 3600000000,
                 entries.team, entries.app, entries.job, entries.target""",
    "raise_status": """
        SELECT raises.org, raises.budget, raises.subject, raises.amount,
               raises.starts_at / 1000000 AS time,
               COALESCE(MIN(ended.starts_at), raises.until) / 1000000 AS time_end,
               raises.reason, raises.author
        FROM budget_raises AS raises
        LEFT JOIN budget_raises AS ended
          ON ended.org = raises.org AND ended.withdraws = raises.id
        WHERE raises.withdraws = ''
        GROUP BY raises.org, raises.id, raises.budget, raises.subject, raises.amount,
                 raises.starts_at, raises.until, raises.reason, raises.author""",
    "tokens_by_hour": """
        SELECT org, hour * 3600 AS time, team, app, job, target, stage, quality,
               input, cache_read, cache_read_audio, cache_write, cache_write_1h, output,
               reasoning, audio_input, audio_output, image_input, image_output, tokens
        FROM rollups""",
}
"""What dashboards read: times in seconds since 1970, amounts in the unit of their budget."""


def upgrade() -> None:
    """Make the views."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE VIEW budget_status AS {AFTER}")
    else:
        op.execute("DROP VIEW budget_status")
        op.execute(f"CREATE VIEW budget_status AS {AFTER}")
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Remove them."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.execute("DROP VIEW budget_status")
    op.execute(f"CREATE VIEW budget_status AS {BEFORE}")
