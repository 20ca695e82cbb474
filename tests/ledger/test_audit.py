"""Every check of the audit finds what it is for: books are broken by hand, and it says where."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.jobs.routes import Scope
from gateway.ledger import lines, reading
from gateway.ledger.audit import Finding, audit
from gateway.ledger.entries import CHARGE_STATED
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.treasury.budgets import Payer
from tests.treasury.booking import (
    OPEN_SECONDS,
    RATES,
    RELEASED,
    Books,
    a_budget,
    change,
    charged,
    cost,
)

BUDGETS = (
    a_budget("all", 100_000),
    a_budget("tokens", 10_000, scope=Scope("team"), unit="tokens"),
    a_budget("calls", 100, unit="requests"),
)
USAGE = Usage(input=101, output=7)
BRAND = Payer("brand", "site", "k1", "extraction", {})
HOME = Payer("legal", "desk", "k2", "private", {})
ORGANISATIONS = count(1)
LISTS = 5
"""Lists of prices that one statement multiplies with."""


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are read two at a time, four to a stretch, so small books have several."""
    monkeypatch.setattr(reading, "_ENTRIES_OF_A_PART", 2)
    monkeypatch.setattr(reading, "_PARTS", 2)
    monkeypatch.setattr(lines, "_LISTS_AT_MOST", LISTS)


@pytest.fixture
def books(shared_database: Database) -> Books:
    """An organisation of its own, with an entry of every kind and an open hold.

    The ids say what happened: `paid.1` was charged, `beyond.1` more than its ceiling, `unused.1`
    released; `gone.1` lapsed, `late.1` lapsed and was settled after all; `home.1` stayed in the
    house; `open.1` is open.
    """
    books = Books(shared_database, BUDGETS, org=f"org{next(ORGANISATIONS)}")
    books.end(books.hold(1_000, 500, BRAND, request_id="paid"), charged(USAGE))
    books.end(books.hold(100, 20, BRAND, request_id="beyond"), charged(USAGE))
    books.end(books.hold(1_000, 500, BRAND, request_id="unused"), RELEASED)
    home = {"request_id": "home", "residency": "on_prem", "confined": True, "target": "ollama/l"}
    books.end(books.hold(1_000, 500, HOME, **home), charged(USAGE))
    late = books.hold(1_000, 500, BRAND, request_id="late")
    books.hold(700, 70, BRAND, request_id="gone")
    books.clock.move(OPEN_SECONDS)
    books.lapse()
    books.end(late, charged(USAGE))
    books.hold(300, 30, BRAND, request_id="open")
    return books


def found_in(books: Books) -> list[Finding]:
    return audit(books.database, books.org)[0]


def test_books_that_were_kept_are_found_in_order(books: Books) -> None:
    findings, entries = audit(books.database, books.org)
    assert findings == []
    assert entries == 8
    kinds = books.rows("SELECT kind, COUNT(*) FROM entries WHERE org = :org GROUP BY 1 ORDER BY 1")
    assert kinds == [("adjust", 2), ("charge", 3), ("lapse", 2), ("release", 1)]


ENTRY = "UPDATE entries SET {} WHERE org = :org AND id = 'paid.1'"
BALANCE = "UPDATE balances SET {} WHERE org = :org AND budget = 'all'"
ROLLUP = "UPDATE rollups SET {} WHERE org = :org AND job = 'private'"
CORRECTION = "UPDATE entries SET {} WHERE org = :org AND id = 'late.1.late-1'"


@pytest.mark.parametrize(
    ("broken", "law", "where", "what"),
    [
        # 1: a hold ends once
        (
            "INSERT INTO holds SELECT org, 'paid.1', instance, admitted_at, lapses_at, 0, 0, 0,"
            " '', draft FROM holds WHERE org = :org",
            "1",
            "hold paid.1",
            "open although its entry is written",
        ),
        # 3: balances and roll-ups are projections of holds and entries
        ("DELETE FROM entries WHERE org = :org AND id = 'paid.1'", "3", "all", "spent is"),
        ("DELETE FROM entries WHERE org = :org AND id = 'paid.1'", "3", "roll-up", "differs"),
        ("DELETE FROM entries WHERE org = :org AND id = 'unused.1'", "3", "roll-up", "differs"),
        ("DELETE FROM holds WHERE org = :org", "3", "all", "held is 300, not 0"),
        ("DELETE FROM balances WHERE org = :org AND budget = 'calls'", "3", "balance", "not there"),
        (BALANCE.format("spent = spent + 1"), "3", "all", "spent is"),
        (BALANCE.format("spent = spent - 1"), "3", "all", "spent is"),
        (BALANCE.format("held = held + 1"), "3", "all", "held is 301, not 300"),
        (BALANCE.format("overrun = overrun + 1"), "3", "all", "overrun is"),
        (
            "UPDATE balances SET spent = spent + 1 WHERE org = :org AND budget = 'tokens'"
            " AND subject = 'brand'",
            "3",
            "tokens brand",
            "spent is",
        ),
        (
            "UPDATE holds SET ceiling_nanos = 299 WHERE org = :org",
            "3",
            "all",
            "held is 300, not 299",
        ),
        (ENTRY.format("amount_nanos = amount_nanos + 1"), "3", "all", "spent is"),
        (ENTRY.format("tokens = tokens - 1"), "3", "tokens brand", "spent is"),
        (ENTRY.format("request_count = 2"), "3", "calls", "spent is"),
        (ENTRY.format("ceiling_nanos = 10"), "3", "all", "overrun is"),
        (ENTRY.format("balances = ''"), "3", "all", "spent is"),
        (ENTRY.format("team = 'legal'"), "3", "roll-up", "missing"),
        (ENTRY.format("admitted_at = admitted_at - 3600000000"), "3", "roll-up", "differs"),
        (ENTRY.format("cache_read = 1"), "3", "roll-up", "differs"),
        (ROLLUP.format("amount_nanos = amount_nanos + 1"), "3", "roll-up", "differs"),
        (ROLLUP.format("entries = 2"), "3", "roll-up", "differs"),
        (ROLLUP.format("hour = hour + 1"), "3", "roll-up", "differs"),
        (ROLLUP.format("stage = 'draft'"), "3", "roll-up", "missing"),
        ("DELETE FROM rollups WHERE org = :org AND job = 'private'", "3", "roll-up", "missing"),
        # 4: nobody overspent
        (BALANCE.format("limit_value = 1000"), "4", "budget all", "300 held, of 1000"),
        # 6, 7: what an entry is
        (ENTRY.format("kind = 'gift'"), "7", "entry paid.1", "'gift'"),
        (ENTRY.format("kind = 'release'"), "7", "entry paid.1", "'release'"),
        ("UPDATE entries SET tokens = 1 WHERE org = :org AND id = 'unused.1'", "7", "unused.1", ""),
        (
            "UPDATE entries SET amount_nanos = 699 WHERE org = :org AND id = 'gone.1'",
            "7",
            "gone",
            "",
        ),
        (
            "UPDATE entries SET quality = 'reported' WHERE org = :org AND id = 'gone.1'",
            "7",
            "entry gone.1",
            "'lapse'",
        ),
        (CORRECTION.format("reason = ''"), "7", "entry late.1.late-1", "why"),
        (CORRECTION.format("author = ''"), "7", "entry late.1.late-1", "who"),
        (CORRECTION.format("corrects = ''"), "7", "entry late.1.late-1", "what it corrects"),
        (CORRECTION.format("corrects = 'nothing.1'"), "7", "entry late.1.late-1", "what"),
        # 8, 9, 10: amounts follow from the prices beside them
        (
            ENTRY.format("amount_nanos = amount_nanos + 1"),
            "9",
            "entry paid.1",
            "its prices say 175",
        ),
        (ENTRY.format("amount_nanos = 0"), "9", "entry paid.1", "0 nanos are booked"),
        (ENTRY.format("input = 102"), "9", "entry paid.1", "its prices say 176"),
        (ENTRY.format("prices = ''"), "9", "entry paid.1", "its prices say 0"),
        (ENTRY.format("prices = replace(prices, '3333333', '3999999')"), "9", "paid.1", "say 179"),
        # 11: what is private stays home
        (
            "UPDATE entries SET residency = 'cloud' WHERE org = :org AND id = 'home.1'",
            "11",
            "job private",
            "sent to ollama/l",
        ),
        (ENTRY.format("confined = (1 = 1)"), "11", "job extraction", "openai/gpt-test"),
    ],
)
def test_what_is_broken_by_hand_is_named(
    books: Books, broken: str, law: str, where: str, what: str
) -> None:
    change(books.database, broken, org=books.org)
    findings = found_in(books)
    assert [f for f in findings if f.law == law and where in f.subject and what in f.message], (
        findings
    )


def test_a_price_list_that_is_dearer_by_less_than_a_rounding_is_not_a_finding(
    books: Books,
) -> None:
    """Seven tokens at 3.333333 and at 3.333334 nanos come to the same whole amount."""
    change(
        books.database,
        ENTRY.format("prices = replace(prices, '3333333', '3333334')"),
        org=books.org,
    )
    assert found_in(books) == []


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 99, 100])
def test_halves_are_rounded_to_the_even_nano_here_as_at_the_entry(
    books: Books, tokens: int
) -> None:
    books.book(Usage(input=tokens))
    assert found_in(books) == []


def test_a_charge_that_the_provider_stated_need_not_follow_from_prices(books: Books) -> None:
    stated = charged(USAGE, amount_nanos=3, reason=CHARGE_STATED)
    books.end(books.hold(1_000, 500, BRAND), stated)
    assert found_in(books) == []


def test_an_entry_without_prices_has_to_be_free(books: Books) -> None:
    free = charged(USAGE, amount_nanos=0)
    books.end(books.hold(0, 500, BRAND, rates=None), free)
    assert found_in(books) == []


def test_many_findings_of_one_kind_are_counted_and_not_all_listed(books: Books) -> None:
    for _ in range(25):
        books.book(Usage(input=2))
    change(books.database, "UPDATE entries SET kind = 'gift' WHERE org = :org", org=books.org)
    listed = [finding for finding in found_in(books) if finding.law == "7"]
    assert len(listed) < 30
    assert any(finding.message == "and 13 more like these" for finding in listed)


def test_another_organisations_books_are_another_matter(books: Books) -> None:
    other = Books(books.database, BUDGETS, org=f"{books.org}-other")
    other.book(USAGE)
    change(books.database, BALANCE.format("spent = 0"), org=other.org)
    assert found_in(books) == []
    assert found_in(other) != []


def test_it_says_how_far_it_is(books: Books) -> None:
    for _ in range(4):
        books.clock.move(1)
        books.book(USAGE)
    said: list[tuple[int, int]] = []
    audit(books.database, books.org, progress=lambda *now: said.append(now))
    assert said[0] == (0, 12)
    assert said[-1] == (12, 12)
    assert said == sorted(said)
    assert len(said) > 3


@pytest.mark.parametrize("minutes", [0, 1, 59, 61, 24 * 60])
def test_entries_of_one_moment_and_of_many_hours_are_all_looked_at(
    books: Books, minutes: int
) -> None:
    """All in one microsecond, several in an hour, one in each, hours without any."""
    for _ in range(9):
        books.clock.move(60 * minutes)
        books.book(USAGE)
    assert audit(books.database, books.org) == ([], 17)
    change(books.database, ENTRY.format("input = input + 1"), org=books.org)
    change(
        books.database,
        "UPDATE rollups SET tokens = tokens + 1 WHERE org = :org AND hour ="
        " (SELECT MAX(hour) FROM rollups WHERE org = :org)",
        org=books.org,
    )
    said = [f.message for f in found_in(books)]
    assert said.count("it differs from its entries") >= 2 - (minutes == 0)
    assert [message for message in said if "are booked, its prices say" in message]


def test_a_roll_up_of_an_hour_without_entries_is_found(books: Books) -> None:
    for hours in (-5, 100):
        books.book(USAGE)
        change(
            books.database,
            "UPDATE rollups SET hour = hour + :hours WHERE org = :org AND job = 'private'",
            org=books.org,
            hours=hours,
        )
        assert [f for f in found_in(books) if "differs" in f.message]


def test_a_new_list_of_prices_is_held_against_its_entries_from_the_first_on(books: Books) -> None:
    """More lists than one statement multiplies with, each with one entry that is wrong."""
    for number in range(3 * LISTS):
        books.clock.move(1)
        rates = replace(RATES, input=2_000_000 + number)
        right = charged(USAGE, amount_nanos=cost(USAGE, rates))
        wrong = charged(USAGE, amount_nanos=cost(USAGE, rates) + 1)
        for ending in (right, wrong, right):
            books.end(books.hold(1_000, 500, BRAND, rates=rates), ending)
    assert len([finding for finding in found_in(books) if finding.law == "9"]) == 3 * LISTS


def test_it_reads_one_moment_while_the_books_are_written(books: Books) -> None:
    """What is written during the audit, even with a finding in it, is for the next one."""
    written: list[Any] = []

    def write(_read: int, _expected: int) -> None:
        written.append(books.book(USAGE))

    findings, entries = audit(books.database, books.org, progress=write)
    assert findings == []
    assert entries < 8 + len(written)
    assert audit(books.database, books.org) == ([], 8 + len(written))
