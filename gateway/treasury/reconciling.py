"""Correcting a price by a bill: the entries of a place share the difference.

A bill tells a sum for a day and a model, and the ledger has many entries there. Each takes a part
of the difference in proportion to what it cost, so every team and job pays its share, and the
parts add up to the difference to the nano-dollar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.clock import midnight, to_datetime
from gateway.ledger.entries import ADJUST, PRESUMED
from gateway.ledger.paging import entries_between
from gateway.ledger.queries import Range
from gateway.ledger.reconciliation import EVERY_MODEL, Difference, Place, Plan
from gateway.store.database import Database
from gateway.treasury.adjusting import Correction
from gateway.treasury.rerating import RECONCILED, price_corrections

_COLUMNS = ("kind", "provider", "model", "model_served", "quality", "amount_nanos", "tokens")


@dataclass(frozen=True, slots=True)
class Share:
    """An entry that a difference is shared among: its id, its weight, its price corrections."""

    entry: str
    weight: int
    earlier: int


def shared(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts that are proportional to the weights and add up to it exactly.

    What division leaves goes, one by one, to the largest remainders; of equal ones to the first.
    Weights are not negative; when all are zero they count as equal.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole, sign = sum(weights), -1 if total < 0 else 1
    parts = [divmod(abs(total) * weight, whole) for weight in weights]
    left = abs(total) - sum(part for part, _ in parts)
    by_remainder = sorted(range(len(parts)), key=lambda index: (-parts[index][1], index))
    more = set(by_remainder[:left])
    return [sign * (part + (index in more)) for index, (part, _) in enumerate(parts)]


def corrections(
    difference: Difference, shares: Sequence[Share], source: str, author: str
) -> Iterator[Correction]:
    """The entries that would put a difference of price right; `source` names the bill."""
    place = difference.place
    model = place.model or "all models"
    why = f"{RECONCILED}: {source}, {place.period}, {model}: the same tokens at another price"
    parts = shared(difference.nanos, [share.weight for share in shares])
    for share, nanos in zip(shares, parts, strict=True):
        if nanos:
            yield Correction(
                corrects=share.entry,
                amount_nanos=nanos,
                reason=why,
                author=author,
                name=f"{RECONCILED}-{share.earlier + 1}",
            )


def shares_of(
    database: Database, org: str, plan: Plan, places: Sequence[Place], zone: ZoneInfo
) -> dict[Place, list[Share]]:
    """The entries of each of these places that have a price to be corrected.

    Raises DatabaseDown.
    """
    if not places:
        return {}
    wanted = {(p.period, p.provider, p.model): p for p in places}
    found: dict[Place, list[Share]] = {place: [] for place in places}
    period = _span(places, zone)
    earlier = price_corrections(database, org, period.start)
    for page in entries_between(database, org, period, _COLUMNS):
        for row in page:
            place = _place(row, plan, wanted, zone)
            if place is not None:
                _, number = earlier.get(row["id"], (0, 0))
                found[place].append(Share(row["id"], max(0, row["amount_nanos"]), number))
    return found


def _place(
    row: Mapping[str, Any],
    plan: Plan,
    wanted: Mapping[tuple[str, str, str], Place],
    zone: ZoneInfo,
) -> Place | None:
    """The wanted place that an entry is in; corrections and presumed amounts are in none."""
    charged = row["kind"] != ADJUST and row["quality"] != PRESUMED and row["tokens"]
    if not charged or row["provider"] not in plan.providers:
        return None
    day = to_datetime(row["admitted_at"]).astimezone(zone).date()
    name = (plan.period(day), plan.provider(row["provider"]))
    model = plan.model(row["model_served"] or row["model"])
    return wanted.get((*name, model)) or wanted.get((*name, EVERY_MODEL))


def _span(places: Sequence[Place], zone: ZoneInfo) -> Range:
    """From the first of the days or months to the end of the last."""
    periods = sorted(place.period for place in places)
    first, last = _first_day(periods[0]), _first_day(periods[-1])
    length = timedelta(days=1) if len(periods[-1]) == len("2026-11-01") else timedelta(days=31)
    return Range(midnight(first, zone), midnight(last + length, zone))


def _first_day(period: str) -> date:
    return date.fromisoformat(period if len(period) == len("2026-11-01") else f"{period}-01")
