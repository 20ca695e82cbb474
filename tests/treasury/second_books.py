"""A second set of books, by other means: a list of what was said, and sums over it.

It knows requests, holds and entries, and what the laws say of them. It knows no database, and
shares no arithmetic with the treasury: money is worked out in decimals, and every balance anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from gateway.jobs.routes import Budget
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Amounts, Payer
from gateway.treasury.holds import Hold
from tests.treasury.booking import RATES


@dataclass(frozen=True)
class Wish:
    """A request: who asks, what it will use, and by how much its ceiling is above that."""

    payer: Payer
    usage: Usage
    spare: int
    requests: int
    waits: bool

    @property
    def ceiling(self) -> Amounts:
        nanos, tokens = exact(self.usage), self.usage.total
        return Amounts(max(0, nanos + self.spare), max(0, tokens + self.spare), self.requests)


def exact(usage: Usage) -> int:
    """What a usage costs, in decimals."""
    pairs = [(usage.input, RATES.input), (usage.output, RATES.output)]
    pairs.append((usage.cache_read, RATES.cache_read))
    total = sum((Decimal(number) * price for number, price in pairs), Decimal(0))
    return int((total / 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN))


Name = tuple[str, str, str, int]
"""A balance: budget, subject, unit, start of its period."""


@dataclass
class Kept:
    """A hold as the second books know it."""

    hold: Hold
    wish: Wish
    lines: dict[Name, int]


@dataclass
class SecondBooks:
    """The same, kept by other means: a list of what was said, and sums over it."""

    limits: dict[str, Budget]
    open: dict[str, Kept] = field(default_factory=dict)
    lapsed: dict[str, Kept] = field(default_factory=dict)
    spent: list[tuple[Kept, int, int, int]] = field(default_factory=list)
    """Every entry: its hold, and nano-dollars, tokens and requests."""
    overrun: dict[Name, int] = field(default_factory=dict)
    known: set[Name] = field(default_factory=set)

    def sum_spent(self, name: Name) -> int:
        place = ("usd", "tokens", "requests").index(name[2])
        return sum(said[place] for kept, *said in self.spent if name in kept.lines)

    def sum_held(self, name: Name) -> int:
        return sum(kept.lines.get(name, 0) for kept in self.open.values())

    def says(self, wanted: dict[Name, int], waited_for: set[Name], *, waits: bool) -> str:
        """May it go? By the definition, balance by balance."""
        hard = {n: a for n, a in wanted.items() if a and self.limits[n[0]].hard}
        if any(self.sum_spent(n) + a > self.limits[n[0]].limit for n, a in hard.items()):
            return "never"
        if all(
            self.sum_spent(n) + self.sum_held(n) + a <= self.limits[n[0]].limit
            and n not in waited_for
            for n, a in hard.items()
        ):
            return "fits"
        if waits:
            waited_for.update(hard)
        return "wait"

    def end(self, kept: Kept, nanos: int, tokens: int, requests: int) -> None:
        """An entry that ends a hold."""
        del self.open[kept.hold.id]
        self.spent.append((kept, nanos, tokens, requests))
        self.went_over(kept, nanos, tokens)

    def went_over(self, kept: Kept, nanos: int, tokens: int) -> None:
        ceiling = kept.wish.ceiling
        over = {"usd": nanos - ceiling.nanos, "tokens": tokens - ceiling.tokens, "requests": 0}
        for name in kept.lines:
            self.overrun[name] = self.overrun.get(name, 0) + max(0, over[name[2]])

    def lapse(self, kept: Kept) -> None:
        ceiling = kept.wish.ceiling
        self.end(kept, ceiling.nanos, ceiling.tokens, ceiling.requests)
        self.lapsed[kept.hold.id] = kept

    def settle_late(self, kept: Kept) -> None:
        ceiling, usage = kept.wish.ceiling, kept.wish.usage
        self.spent.append((kept, -ceiling.nanos, -ceiling.tokens, 0))
        self.spent.append((kept, exact(usage), usage.total, 0))
        self.went_over(kept, exact(usage), usage.total)
        del self.lapsed[kept.hold.id]
