"""What the ledger has by day, provider and model, for comparing it with a bill.

A correction counts on the day of what it corrects, wherever it stands: once a month is closed its
corrections stand in the open one, and still they are about the day that the provider has billed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, bindparam, case, func, literal_column, select

from gateway.clock import midnight, to_datetime
from gateway.ledger.entries import ADJUST, PRESUMED
from gateway.ledger.queries import Range
from gateway.ledger.reconciliation import Place, Plan, Side
from gateway.store.database import Database
from gateway.store.statements import prepare
from gateway.store.tables import EntryRow

_TABLE = EntryRow.__table__  # type: ignore[attr-defined]
QUARTER = 900_000_000
"""Microseconds in a quarter of an hour: midnight is at the end of one in every time zone."""
_CLASSES = {
    "input": (
        *("input", "cache_read", "cache_read_audio", "cache_write", "cache_write_1h"),
        *("audio_input", "image_input"),
    ),
    "cache_read": ("cache_read", "cache_read_audio"),
    "cache_write": ("cache_write", "cache_write_1h"),
    "output": ("output", "reasoning", "audio_output", "image_output"),
}
"""The classes of a usage that make up each figure of a bill."""


def booked(
    database: Database, org: str, plan: Plan, days: Sequence[date], zone: ZoneInfo
) -> dict[Place, Side]:
    """What is booked on these days, as the zone counts them. Raises DatabaseDown.

    Places without tokens and without money are left out.
    """
    period = Range(midnight(days[0], zone), midnight(days[-1] + timedelta(days=1), zone))
    found: dict[Place, Side] = defaultdict(Side)
    with database.reading() as cursor:
        for of_corrections in (False, True):
            text = _statement(database.engine_name, of_corrections)
            values = {"org": org, "start": period.start, "end": period.end}
            values |= {"adjust": ADJUST, "presumed": PRESUMED}
            for row in cursor.stream(text, values):
                place, side = _understood(row, plan, zone)
                if place is not None:
                    found[place] += side
    return {p: side for p, side in found.items() if side.nanos or any(side.tokens.values())}


def _statement(engine: str, of_corrections: bool) -> str:
    """Sums by quarter of an hour, provider and model; of corrections by what they correct."""
    dated = _TABLE.alias("corrected") if of_corrections else _TABLE
    quarter = dated.c.admitted_at // literal_column(str(QUARTER), BigInteger)
    nought = literal_column("0", BigInteger)
    is_presumed = _TABLE.c.quality == bindparam("presumed")
    presumed = case((is_presumed, _TABLE.c.amount_nanos), else_=nought)
    names = (quarter, dated.c.provider, dated.c.model, dated.c.model_served)
    sums = [func.sum(sum((_TABLE.c[n] for n in names_), nought)) for names_ in _CLASSES.values()]
    is_correction = _TABLE.c.kind == bindparam("adjust")
    statement = (
        select(*names, func.count(), func.sum(_TABLE.c.amount_nanos), func.sum(presumed), *sums)
        .where(
            _TABLE.c.org == bindparam("org"),
            dated.c.admitted_at >= bindparam("start"),
            dated.c.admitted_at < bindparam("end"),
            _TABLE.c.admitted_at >= bindparam("start"),
            is_correction if of_corrections else ~is_correction,
        )
        .group_by(*names)
    )
    if of_corrections:
        joined = (dated.c.org == _TABLE.c.org) & (dated.c.id == _TABLE.c.corrects)
        statement = statement.select_from(_TABLE.join(dated, joined))
    return prepare(statement, engine)


def _understood(row: Sequence[Any], plan: Plan, zone: ZoneInfo) -> tuple[Place | None, Side]:
    quarter, provider, model, served, count, nanos, presumed, *figures = row
    tokens = {name: int(n or 0) for name, n in zip(_CLASSES, figures, strict=True)}
    side = Side(tokens, Fraction(int(nanos or 0)), int(count), int(presumed or 0))
    if provider not in plan.providers:
        return None, side
    day = to_datetime(int(quarter) * QUARTER).astimezone(zone).date()
    name = plan.model(served or model)
    return Place(plan.period(day), plan.provider(provider), name), side
