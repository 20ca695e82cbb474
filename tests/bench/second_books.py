"""Books in decimals beside the gateway's own, and where the two do not say the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from gateway.treasury.budgets import Payer
from tests.ledger.spending import Spending

ZONE = "Europe/Berlin"
PLACE = "team, app, job, target, stage, quality"


@dataclass
class SecondBooks:
    """The same in decimals: counts and dollars by place, by hour, and by team and month."""

    entries: int = 0
    by_place: dict[tuple[str, ...], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    by_hour: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    by_month: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    qualities: Counter[str] = field(default_factory=Counter)

    def add(self, payer: Payer, target: str, quality: str, at: int, amount: Decimal) -> None:
        """One entry."""
        place = (payer.team, payer.app, payer.job, target, payer.tags.get("stage", ""), quality)
        self.entries += 1
        self.by_place[place] += amount
        self.counts[place] += 1
        self.qualities[quality] += 1
        self.by_hour[at // 3_600_000_000] += amount
        moment = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC")) + timedelta(microseconds=at)
        month = moment.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m")
        self.by_month[payer.team, month] += amount


def differences(books: Spending, second: SecondBooks) -> Iterator[str]:
    """Where the ledger, the roll-ups, the balances and the decimals do not say the same."""
    places = {
        place: (second.counts[place], int(amount.scaleb(9)))
        for place, amount in second.by_place.items()
    }
    hours = {hour: int(amount.scaleb(9)) for hour, amount in second.by_hour.items()}
    ledger = "SELECT {}, COUNT(*), SUM(amount_nanos) FROM entries WHERE org = :org GROUP BY {}"
    rollups = "SELECT {}, SUM(entries), SUM(amount_nanos) FROM rollups WHERE org = :org GROUP BY {}"
    for name, sql in (("ledger", ledger), ("roll-ups", rollups)):
        said = {
            tuple(row[:-2]): (int(row[-2]), int(row[-1]))
            for row in books.rows(sql.format(PLACE, PLACE))
        }
        yield from differing(f"{name} by place", said, places)
        hour = "hour" if name == "roll-ups" else "admitted_at / 3600000000"
        by_hour = {int(row[0]): int(row[-1]) for row in books.rows(sql.format(hour, "1"))}
        yield from differing(f"{name} by hour", by_hour, hours)
    months = {place: int(amount.scaleb(9)) for place, amount in second.by_month.items()}
    kept: dict[tuple[str, str], int] = {}
    total = 0
    for (budget, subject, _unit, start), (spent, _held, _overrun) in books.balances().items():
        if budget == "teams":
            moment = datetime.fromtimestamp(start / 1e6, ZoneInfo(ZONE))
            kept[subject, moment.strftime("%Y-%m")] = spent
        total += spent if budget == "forever" else 0
    yield from differing("balances by team and month", kept, months)
    yield from differing("balance of all", {0: total}, {0: sum(months.values())})


def differing(what: str, said: dict[Any, Any], ought: dict[Any, Any]) -> Iterator[str]:
    """One sentence for each figure that is not as it has to be."""
    for key in said.keys() | ought.keys():
        if said.get(key) != ought.get(key):
            yield f"{what}: {key} is {said.get(key)}, by decimals {ought.get(key)}"
