"""What entries would cost at the prices that hold by the present word of routes.yaml and book.

A price can turn out to have been wrong: a contract signed late, a slip in the file, a book that
was corrected. Nothing is edited then (law 7): for each entry that would cost something else the
difference is worked out, told, and on demand posted as an adjusting entry.

What an entry would cost is worked out as it was the first time: the price that was valid when it
was admitted, of the model that answered, on the service tier that the answer named. What earlier
corrections of its price moved is part of what it cost, so a second run finds nothing.

Left alone are amounts that are not a product of prices: what the provider stated, or does not
bill, what was presumed, and attempts that used nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, func, or_, select

from gateway.jobs.routes import Routes, Target
from gateway.ledger.entries import ADJUST, CHARGE, CHARGE_STATED, PRESUMED, UNBILLED
from gateway.ledger.paging import entries_between
from gateway.ledger.queries import Range
from gateway.metering.usage import CLASSES, NOTHING, Usage
from gateway.prices.answering import price_of_answer
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price, Rates, charge
from gateway.store.database import Database
from gateway.store.statements import prepare
from gateway.store.tables import EntryRow
from gateway.treasury.adjusting import Correction

RERATED, RECONCILED = "rerated", "reconciled"
"""First words of the reasons of corrections of a price, and of their names."""

_TABLE = EntryRow.__table__  # type: ignore[attr-defined]
_COLUMNS = (
    "kind",
    "team",
    "target",
    "provider",
    "model",
    "model_served",
    "service_tier",
    "quality",
    "reason",
    "author",
    "amount_nanos",
    *CLASSES,
)


@dataclass(frozen=True, slots=True)
class Move:
    """One entry that would cost something else: by so many nano-dollars, at these rates."""

    entry: str
    admitted_at: int
    team: str
    nanos: int
    rates: Rates
    earlier: int
    """How many corrections of its price there are already."""

    def correction(self, why: str, author: str) -> Correction:
        """The entry that would put it right; its name keeps two runs at once from posting twice."""
        return Correction(
            corrects=self.entry,
            amount_nanos=self.nanos,
            rates=self.rates,
            reason=f"{RERATED}: {why}",
            author=author,
            name=f"{RERATED}-{self.earlier + 1}",
        )


@dataclass(slots=True)
class Rerating:
    """Goes through the entries of a period; counts what it has seen."""

    database: Database
    org: str
    routes: Routes
    book: PriceBook
    seen: int = 0
    unpriced: Counter[str] = field(default_factory=Counter)
    """Targets that have no price now, and how many of their entries were left as they are."""
    _targets: Mapping[str, Target] = field(init=False)

    def __post_init__(self) -> None:
        jobs = self.routes.jobs.values()
        self._targets = {target.name: target for job in jobs for target in job.reachable}

    def moves(self, period: Range) -> Iterator[list[Move]]:
        """The entries that would cost something else, in pages; a page can be empty."""
        corrected = price_corrections(self.database, self.org, period.start)
        for page in entries_between(self.database, self.org, period, _COLUMNS):
            found = []
            for row in page:
                usage = _usage(row)
                if not _is_a_product(row, usage):
                    continue
                self.seen += 1
                move = self._move(row, usage, corrected.get(row["id"], (0, 0)))
                if move is not None:
                    found.append(move)
            yield found

    def _move(self, row: Mapping[str, Any], usage: Usage, so_far: tuple[int, int]) -> Move | None:
        price = self.price_of(row)
        if price is None:
            self.unpriced[row["target"]] += 1
            return None
        cost = charge(price, usage, row["service_tier"] or None)
        nanos_so_far, earlier = so_far
        difference = cost.amount_nanos - row["amount_nanos"] - nanos_so_far
        if difference == 0:
            return None
        return Move(
            entry=row["id"],
            admitted_at=row["admitted_at"],
            team=row["team"],
            nanos=difference,
            rates=cost.rates,
            earlier=earlier,
        )

    def price_of(self, row: Mapping[str, Any]) -> Price | None:
        """The price that an entry has by the present word; None when there is none.

        A target that routes.yaml no longer names has the book's price, if its provider is still
        known or has its own name there.
        """
        target = self._targets.get(row["target"])
        if target is not None:
            own = target.price_at(row["admitted_at"])
            price_provider = target.provider.price_provider
        else:
            provider = self.routes.providers.get(row["provider"])
            price_provider = row["provider"] if provider is None else provider.price_provider
            facts = self.book.find(price_provider, row["model"])
            on_prem = provider is not None and provider.residency == "on_prem"
            own = None if facts is None or on_prem else facts.price
        if own is None or row["model_served"] in ("", row["model"]):
            return own
        return price_of_answer(own, self.book, price_provider, row["model_served"])


def price_corrections(database: Database, org: str, since: int) -> dict[str, tuple[int, int]]:
    """Earlier corrections of prices, by the entry corrected: their nano-dollars and number.

    `since` is in microseconds since 1970; a correction is never before what it corrects.
    """
    statement = (
        select(_TABLE.c.corrects, func.sum(_TABLE.c.amount_nanos), func.count())
        .where(
            _TABLE.c.org == bindparam("org"),
            _TABLE.c.admitted_at >= bindparam("since"),
            _TABLE.c.kind == bindparam("kind"),
            or_(
                _TABLE.c.reason.like(bindparam("rerated")),
                _TABLE.c.reason.like(bindparam("reconciled")),
            ),
        )
        .group_by(_TABLE.c.corrects)
    )
    values = {"org": org, "since": since, "kind": ADJUST}
    values |= {"rerated": f"{RERATED}: %", "reconciled": f"{RECONCILED}: %"}
    with database.reading() as cursor:
        rows: Sequence[tuple[str, Any, Any]] = cursor.rows(
            prepare(statement, database.engine_name), values
        )
    return {entry: (int(nanos or 0), int(number)) for entry, nanos, number in rows}


def _usage(row: Mapping[str, Any]) -> Usage:
    return Usage(**{name: row[name] for name in CLASSES})


def _is_a_product(row: Mapping[str, Any], usage: Usage) -> bool:
    """Whether an entry's amount is its usage at its prices.

    So is the gateway's own late booking of a hold that had lapsed, which is an adjustment; what a
    person corrected is that person's word.
    """
    booked_late = row["kind"] == ADJUST and row["author"] == "gateway"
    return (
        (row["kind"] == CHARGE or booked_late)
        and usage != NOTHING
        and row["quality"] != PRESUMED
        and row["reason"] not in (CHARGE_STATED, UNBILLED)
    )
