"""A million random entries, added up three ways: `python -m tests.bench.million`.

Requests with random usage, of models with awkward prices (halves of a nano, size tiers, service
tiers), are admitted and ended in groups by the gateway's own treasury, over a year and a half with
four changes of the clocks. Some are released, lapse, are settled after they lapsed, cost something
beside at another model's price, or are corrected by hand.

Beside it stands a calculation that shares no line with the gateway: dollars as decimals, from the
prices as a person would write them. At the end the ledger, the roll-ups, the balances and the
decimals have to say the same, to the nano, for every team, app, job, target, stage and quality,
for every hour, and for every month of every team. Exit status 1 when they do not, or when the
audit finds something.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from random import Random
from typing import Any

from gateway.callers.changes import By
from gateway.jobs.loading import parse
from gateway.jobs.routes import Scope, Target
from gateway.ledger.audit import Finding, audit
from gateway.ledger.entries import COUNTED, PRESUMED, REPORTED, Aside, Ending
from gateway.metering.usage import CLASSES, TOKEN_CLASSES, Usage
from gateway.prices.rates import charge
from gateway.store.database import Database
from gateway.treasury.adjusting import Correction
from gateway.treasury.budgets import Amounts, Payer
from gateway.treasury.groups import Admission, Closing
from gateway.treasury.holds import Hold
from tests.bench.second_books import ZONE, SecondBooks, differences
from tests.gateways import BOOK, SECRETS
from tests.ledger.spending import Spending
from tests.treasury.booking import OPEN_SECONDS, RELEASED, a_budget, opening

TOGETHER = 200
"""Requests in one group."""
ROOM = 10**17
BUDGETS = (
    a_budget("forever", ROOM, period="forever"),
    a_budget("teams", ROOM, scope=Scope("team")),
    a_budget("tokens", ROOM, scope=Scope("job"), unit="tokens", period="quarter"),
    a_budget("calls", ROOM, scope=Scope("app"), unit="requests", period="week"),
)
PRICES: dict[str, dict[str, str]] = {
    "plain": {"input": "2.5", "cache_read": "1.25", "output": "10"},
    "halves": {"input": "0.0375", "cache_read": "0.0005", "output": "0.0125", "reasoning": "0.075"},
    "odd": {
        "input": "0.123457",
        "cache_read": "0.000001",
        "cache_write": "0.333333",
        "cache_write_1h": "0.666667",
        "output": "3.141593",
        "audio_input": "40.000001",
        "audio_output": "79.999999",
        "image_input": "0.1",
        "image_output": "30.5",
        "per_call": "0.01",
    },
    "tiered": {"input": "1.25", "cache_read": "0.31", "output": "9.999999"},
    "served": {"input": "0.4", "cache_read": "0.04", "output": "1.6"},
}
"""USD for a million tokens; `per_call` for one call with a fee."""
ABOVE_200K = {"input": "2.5", "cache_read": "0.625", "output": "15.000001"}
FLEX = {"input": "0.2", "cache_read": "0.02", "output": "0.8"}
INPUTS = ("input", "cache_read", "cache_read_audio", "cache_write", "cache_write_1h")
"""With audio and image, what a size tier goes by."""


def written(prices: dict[str, str]) -> str:
    """Prices as routes.yaml has them."""
    return ", ".join(f'{name}: "{price}"' for name, price in prices.items())


ROUTES = f"""
version: 1
organisation: {{name: Test, time_zone: {ZONE}}}
providers:
  own: {{wire: openai, base_url: "http://127.0.0.1:9/v1", residency: on_prem}}
models:
  own/plain: {{price: {{{written(PRICES["plain"])}}}}}
  own/halves: {{price: {{{written(PRICES["halves"])}}}}}
  own/odd: {{price: {{{written(PRICES["odd"])}}}}}
  own/tiered:
    price: {{{written(PRICES["tiered"])}, tiers: [{{above: 200000, {written(ABOVE_200K)}}}]}}
  own/served:
    price: {{{written(PRICES["served"])}, service_tiers: {{flex: {{{written(FLEX)}}}}}}}
jobs:
  all:
    purpose: All of them.
    owner: data
    targets: [own/plain, own/halves, own/odd, own/tiered, own/served]
    output_tokens: {{default: 1000, max: 4000}}
budgets: {{}}
"""

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NANO = Decimal("0.000000001")
_MILLION = Decimal(1_000_000)


def dollars(model: str, usage: dict[str, int], tier: str | None) -> Decimal:
    """What it costs, in dollars, rounded once to nine places: nothing of the gateway's in it.

    A class that a price does not state costs what it is a kind of.
    """
    prices = PRICES[model]
    read = sum(usage[name] for name in (*INPUTS, "audio_input", "image_input"))
    if model == "tiered" and read > 200_000:
        prices = ABOVE_200K
    if model == "served" and tier == "flex":
        prices = FLEX
    exact = Decimal(prices.get("per_call", 0)) * usage["requests"]
    for name, number in usage.items():
        if number and name != "requests":
            price = prices[name] if name in prices else prices[STANDS_FOR[name]]
            exact = _EXACT.add(exact, Decimal(price) * number / _MILLION)
    return exact.quantize(_NANO, context=_EXACT)


STANDS_FOR = {"reasoning": "output"}
"""Under which price a class goes whose own is not stated; random usage has no other such class."""


@dataclass(frozen=True)
class Asked:
    """A request that has a hold, or will."""

    payer: Payer
    target: Target
    admission: Admission


class Life:
    """Requests that come and end, at random."""

    def __init__(self, books: Spending, seed: int) -> None:
        self.books, self.second, self._chance = books, SecondBooks(), Random(seed)
        routes = parse(ROUTES, "routes.yaml", BOOK, SECRETS)
        self._targets = list(routes.jobs["all"].targets)
        self._number = 0
        self._late: list[tuple[Asked, Hold]] = []

    def goes_on(self, entries: int) -> None:
        """Until there are so many entries, and nothing is open."""
        open_ones: list[tuple[Asked, Hold]] = []
        hours = 18 * 30 * 24 / (entries / TOGETHER)
        while self.second.entries < entries or open_ones:
            more = self.second.entries + len(open_ones) < entries
            asked = [self._asks() for _ in range(TOGETHER if more else 0)]
            closings = list(self._endings(open_ones))
            result = self.books.turn([one.admission for one in asked], closings)
            holds = [answer for _, answer in result.answers]
            assert all(isinstance(hold, Hold) for hold in holds)
            open_ones = list(zip(asked, holds, strict=True))  # type: ignore[arg-type]
            self._corrects([entry.id for entry in result.entries if entry.ending.quality])
            self.books.clock.move(self._chance.uniform(0, 2 * hours * 3600))
            if self._chance.random() < 0.1:
                self._forgotten(open_ones)

    def _asks(self) -> Asked:
        chance = self._chance
        self._number += 1
        team = chance.choice(["brand", "data", "legal", "=1+1"])
        tags = {"stage": chance.choice(["draft", "final"])} if chance.random() < 0.5 else {}
        app, job = f"{team}-{chance.randrange(3)}", chance.choice(["extraction", "narrative"])
        payer = Payer(team, app, f"key_{app}", job, tags)
        target = chance.choice(self._targets)
        assert target.price is not None
        admission = self.books.request(
            Amounts(10**11, 10**6, 1),
            payer,
            request_id=f"req_{chance.getrandbits(48):012x}{self._number:08x}",
            target=target.name,
            provider="own",
            model=target.model,
            residency="on_prem",
            rates=target.price.rates,
        )
        return Asked(payer, target, admission)

    def _usage(self, target: Target) -> dict[str, int]:
        """Usage in the classes that its prices state, and reasoning; many zeros and small ones."""
        chance = self._chance
        prices = PRICES[target.model]
        names = [name for name in TOKEN_CLASSES if name in prices or name == "reasoning"]
        names += ["requests"] if "per_call" in prices else []
        usage = dict.fromkeys(CLASSES, 0)
        for name in names:
            most = 3 if name == "requests" else chance.choice([0, 1, 9, 1_000, 100_000])
            usage[name] = chance.randint(0, most)
        if target.model == "tiered" and chance.random() < 0.3:
            usage["input"] += chance.choice(
                [200_000 - usage["input"] - usage["cache_read"], 250_000]
            )
        return usage

    def _priced(self, target: Target, **more: Any) -> tuple[Ending, Decimal]:
        """An ending as the gateway prices it, and what it comes to in decimals."""
        tier = self._chance.choice([None, "flex", "default"])
        usage = self._usage(target)
        assert target.price is not None
        cost = charge(target.price, Usage(**usage), tier)
        ending = Ending(
            outcome="ok",
            quality=self._chance.choice([REPORTED, REPORTED, REPORTED, COUNTED]),
            usage=Usage(**usage),
            amount_nanos=cost.amount_nanos,
            tokens=sum(usage.values()) - usage["requests"],
            rates=cost.rates,
            **more,
        )
        return ending, dollars(target.model, usage, tier)

    def _endings(self, open_ones: Sequence[tuple[Asked, Hold]]) -> Iterator[Closing]:
        for asked, hold in open_ones:
            if self._chance.random() < 0.02:
                self._books(asked, hold, REPORTED, Decimal(0))
                yield Closing(hold, RELEASED)
            else:
                yield self._settles(asked, hold)
        for asked, hold in self._late:  # what was presumed is taken back
            self._books(asked, hold, PRESUMED, -Decimal(hold.ceiling_nanos).scaleb(-9))
            yield self._settles(asked, hold)
        self._late = []

    def _settles(self, asked: Asked, hold: Hold) -> Closing:
        beside = self._beside(asked, hold) if self._chance.random() < 0.02 else ()
        ending, amount = self._priced(asked.target, beside=beside)
        self._books(asked, hold, ending.quality, amount)
        return Closing(hold, ending)

    def _beside(self, asked: Asked, hold: Hold) -> tuple[Aside, ...]:
        """An advisor of another model."""
        other = self._chance.choice(self._targets)
        ending, amount = self._priced(other)
        self.second.add(asked.payer, other.name, ending.quality, hold.admitted_at, amount)
        return (Aside(target=other.name, model=other.model, ending=ending),)

    def _forgotten(self, open_ones: list[tuple[Asked, Hold]]) -> None:
        """The gateway dies: all that is open lapses, and some of it is settled after all."""
        self.books.clock.move(OPEN_SECONDS)
        lapsed = {entry.id for entry in self.books.lapse()}
        for asked, hold in open_ones:
            assert hold.id in lapsed
            self._books(asked, hold, PRESUMED, Decimal(hold.ceiling_nanos).scaleb(-9))
        self._late = [one for one in open_ones if self._chance.random() < 0.3]
        open_ones.clear()

    def _corrects(self, entries: Sequence[str]) -> None:
        """Somebody corrects an entry by hand now and then."""
        if not entries or self._chance.random() > 0.3:
            return
        wanted = Correction(
            corrects=self._chance.choice(entries),
            amount_nanos=self._chance.randint(-999, 999),
            reason="credit",
            author="finance",
        )
        with self.books.database.writing() as cursor:
            (made,) = self.books.adjustments.post(
                cursor, [wanted], By("finance", "", "tests"), self.books.clock.now()
            )
        draft = made.draft
        payer = Payer(draft.team, draft.app, draft.key_id, draft.job, draft.tags)
        amount = Decimal(wanted.amount_nanos).scaleb(-9)
        self.second.add(payer, draft.target, made.ending.quality, made.admitted_at, amount)

    def _books(self, asked: Asked, hold: Hold, quality: str, amount: Decimal) -> None:
        self.second.add(asked.payer, asked.target.name, quality, hold.admitted_at, amount)


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    second: SecondBooks
    differing: list[str]
    findings: list[Finding]
    audited: int


def empty_books(database: Database) -> Spending:
    """The books before the first request, half an hour before a month begins."""
    books = Spending(database, ZONE)
    books.budgets = BUDGETS
    return books.at("2025-09-30T21:30:00+00:00")


def lived(database: Database, entries: int, seed: int) -> Outcome:
    """Make so many entries, then compare and audit."""
    books = empty_books(database)
    life = Life(books, seed)
    life.goes_on(entries)
    findings, audited = audit(database, books.org)
    return Outcome(life.second, list(differences(books, life.second)), findings, audited)


def main() -> None:
    """Make them, compare them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url", default="", help="an empty database to take instead")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a hundred thousand holds are settled after they lapsed
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        opening(options.database_url or f"sqlite:///{folder}/books.db") as database,
    ):
        outcome = lived(database, options.entries, options.seed)
    second, seconds = outcome.second, time.perf_counter() - began
    total = sum(second.by_place.values(), Decimal(0))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{second.entries:,} entries, seed {options.seed}, {seconds:,.0f} s, {megabytes:,} MB")
    print(", ".join(f"{number:,} {name}" for name, number in sorted(second.qualities.items())))
    print(
        f"{total:,} USD by decimals, in {len(second.by_place):,} places,"
        f" {len(second.by_hour):,} hours, {len(second.by_month):,} months of teams"
    )
    for difference in outcome.differing[:20]:
        print(difference)
    for finding in outcome.findings:
        print(finding)
    agree = not outcome.differing and outcome.audited == second.entries
    print(f"ledger, roll-ups, balances and decimals {'agree' if agree else 'DIFFER'}")
    print(f"audit: {outcome.audited:,} entries, {len(outcome.findings)} findings")
    if not agree or outcome.findings:
        sys.exit(1)


if __name__ == "__main__":
    main()
