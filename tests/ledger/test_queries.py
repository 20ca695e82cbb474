"""What was spent, by any dimensions and over any range: the same from roll-ups and from entries."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import combinations, pairwise
from typing import Any

import pytest

from gateway.clock import FrozenClock
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import DIMENSIONS, SUMS, Ledger, Range
from gateway.metering.usage import CLASSES, Usage
from gateway.store.database import Database
from gateway.store.tables import ROLLUP_DIMENSIONS
from gateway.treasury.budgets import Payer
from gateway.treasury.groups import Closing
from tests.treasury.booking import (
    RATES,
    RELEASED,
    Amounts,
    Books,
    a_budget,
    charged,
)

ENTRIES = 400
FIRST = "2026-10-24T21:00:00+00:00"
"""An hour before the longest day of the year begins in Berlin."""


@pytest.fixture(scope="module")
def books(shared_database: Database) -> Books:
    """Some hundred entries of two days, at random moments, and those of another organisation."""
    chance = random.Random(20261024)
    clock = FrozenClock(FIRST)
    books = Books(shared_database, [a_budget(limit=10**9)], clock=clock)
    other = Books(shared_database, [a_budget(limit=10**9)], org="other", clock=clock)
    one = chance.choice
    for _ in range(ENTRIES // 20):
        closings = []
        for _ in range(20):
            payer = Payer(one("ab"), one("cd"), one("kl"), one("xy"), {"stage": one(["", "s"])})
            usage = Usage(**{name: one([0, 0, 1, 7, 90]) for name in CLASSES})
            model = one(["m", "n"])
            draft = {"model": model, "target": f"p/{model}", "provider": "p"}
            hold = books.hold(1_000, 2_000, payer, **draft)
            closings.append(Closing(hold, one([charged(usage), charged(usage), RELEASED])))
            clock.move(chance.uniform(0, 2 * 48 * 3600 / ENTRIES))
        books.turn(closings=closings)
    other.book(Usage(input=1_000_000))
    return books


def all_rows(books: Books) -> list[dict[str, Any]]:
    """Every entry of the organisation, read one by one."""
    ids = books.rows("SELECT request_id FROM entries WHERE org = :org")
    return [row for (request_id,) in ids for row in books.ledger.entries_of(request_id)]


def summed(rows: list[dict[str, Any]], by: tuple[str, ...], period: Range) -> dict[Any, Counter]:
    """The same question, answered by adding up."""
    found: dict[Any, Counter] = {}
    for row in rows:
        if period.start <= row["admitted_at"] < period.end:
            sums = found.setdefault(tuple(row[name] for name in by), Counter())
            sums["entries"] += 1
            for name in SUMS:
                sums[name] += row[name]
    return found


def start_of(hours: float) -> int:
    return FrozenClock(FIRST).now() + round(hours * HOUR)


RANGES = {
    "everything, in whole hours": Range(start_of(-1), start_of(100)),
    "whole hours": Range(start_of(3), start_of(20)),
    "one hour": Range(start_of(5), start_of(6)),
    "half hours, as in India": Range(start_of(1.5), start_of(25.5)),
    "to the microsecond": Range(start_of(2) + 1, start_of(30) - 1),
    "everything, but not in whole hours": Range(start_of(-1) - 1, start_of(100) + 1),
    "before anything was spent": Range(start_of(-48), start_of(-24)),
    "nothing": Range(start_of(3), start_of(3)),
}


@pytest.mark.parametrize("name", RANGES)
def test_sums_are_those_of_the_entries_by_any_two_dimensions(books: Books, name: str) -> None:
    period, rows = RANGES[name], all_rows(books)
    assert len(rows) == ENTRIES
    for by in ((), *((d,) for d in DIMENSIONS), *combinations(DIMENSIONS, 2)):
        found = books.ledger.spend(by, period)
        assert {
            tuple(row[d] for d in by): Counter({n: row[n] for n in ("entries", *SUMS)})
            for row in found
        } == summed(rows, by, period), by
        nanos = [row["amount_nanos"] for row in found]
        assert nanos == sorted(nanos, reverse=True)


def test_roll_ups_and_entries_say_the_same_about_the_same_hours(books: Books) -> None:
    """The key is not in the roll-ups; asking by it too goes to the entries."""
    for period in (RANGES["whole hours"], RANGES["everything, in whole hours"]):
        from_rollups = books.ledger.spend(ROLLUP_DIMENSIONS, period)
        by_key = books.ledger.spend((*ROLLUP_DIMENSIONS, "key_id"), period)
        added: dict[tuple[Any, ...], Counter] = {}
        for row in by_key:
            sums = added.setdefault(tuple(row[name] for name in ROLLUP_DIMENSIONS), Counter())
            sums.update({name: row[name] for name in ("entries", *SUMS)})
        assert added == {
            tuple(row[n] for n in ROLLUP_DIMENSIONS): Counter(
                {n: row[n] for n in ("entries", *SUMS)}
            )
            for row in from_rollups
        }


def test_the_total_is_that_of_decimal_arithmetic(books: Books) -> None:
    expected = 0
    for row in all_rows(books):
        exact = sum((Decimal(row[n]) * getattr(RATES, n) for n in CLASSES), Decimal(0))
        expected += int((exact / 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN))
    for period in (RANGES["everything, in whole hours"], Range(start_of(-1) - 1, start_of(100))):
        (total,) = books.ledger.spend((), period)
        assert total["amount_nanos"] == expected


def test_adjoining_ranges_add_up_to_the_whole(books: Books) -> None:
    cuts = [start_of(hours) for hours in (-1, 2, 2.25, 7, 11.5, 40, 100)]
    parts = [
        row["amount_nanos"]
        for start, end in pairwise(cuts)
        for row in books.ledger.spend((), Range(start, end))
    ]
    (whole,) = books.ledger.spend((), Range(cuts[0], cuts[-1]))
    assert sum(parts) == whole["amount_nanos"]


def test_a_word_that_is_no_dimension_is_refused_with_those_that_are(books: Books) -> None:
    with pytest.raises(ValueError, match="'prompt' is not one of team, app, job"):
        books.ledger.spend(["prompt"], RANGES["whole hours"])


def test_the_entries_of_a_request_come_in_the_order_of_its_attempts(
    shared_database: Database,
) -> None:
    books = Books(shared_database, org="attempts")
    for attempt in range(1, 12):
        request = books.request(Amounts(10, 10, 1), request_id="req_many", attempt=attempt)
        request.id = f"req_many.{attempt}"
        books.end(books.turn([request]).answers[0][1], charged())
    books.book(Usage(input=1), request_id="req_many2")
    books.book(Usage(input=1), request_id="req_man")
    books.book(Usage(input=1), request_id="req_many-more")
    found = books.ledger.entries_of("req_many")
    assert [row["id"] for row in found] == [f"req_many.{attempt}" for attempt in range(1, 12)]
    assert books.ledger.entries_of("req_none") == []


def test_balances_are_those_whose_period_it_is(shared_database: Database) -> None:
    budgets = [a_budget("month"), a_budget("day", period="day"), a_budget("ever", period="forever")]
    books = Books(
        shared_database, budgets, org="periods", clock=FrozenClock("2026-11-30T23:59:59+00:00")
    )

    def names() -> list[str]:
        return [row["budget"] for row in books.ledger.balances_at(books.clock.now())]

    assert names() == []
    books.book(Usage(input=2))
    assert names() == ["day", "ever", "month"]
    books.clock.move(1)
    assert names() == ["ever"]
    books.book(Usage(input=4))
    assert [row["spent"] for row in books.ledger.balances_at(books.clock.now())] == [6, 9, 6]


@pytest.mark.parametrize(
    "question",
    [
        lambda ledger: ledger.spend(("team",), RANGES["whole hours"]),
        lambda ledger: ledger.spend(("model",), RANGES["whole hours"]),
        lambda ledger: ledger.entries_of("' OR 1=1 --"),
        lambda ledger: ledger.balances_at(0),
    ],
)
def test_another_organisation_is_never_in_an_answer(
    books: Books, question: Callable[[Ledger], object]
) -> None:
    assert question(Ledger(books.database, "nobody")) == []
