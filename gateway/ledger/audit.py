"""Do the books balance? Each check reads one moment of the books and returns what it found.

To add a law is to write a function and a line. The sums are made by the database, so the cost
grows with the number of distinct lists of balances and of price lists, and not with a row's
worth of Python for each entry.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gateway.ledger.entries import ADJUST, CHARGE, CHARGE_STATED, LAPSE, PRESUMED, RELEASE
from gateway.ledger.months import CLOSED_UNTIL, closed_months, totals
from gateway.metering.usage import CLASSES
from gateway.money import TOKENS_PER_PRICE
from gateway.prices.rates import Rates
from gateway.store.database import Cursor, Database
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS

_PARAMETER = re.compile(r":([a-z]+)")
_SHOWN = 20
"""Findings of one check that are listed; more of the same are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it has to be."""

    law: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Books:
    """One moment of the books of one organisation."""

    cursor: Cursor
    org: str
    sqlite: bool

    def rows(self, sql: str, **values: object) -> Iterator[tuple[object, ...]]:
        """Rows of a query with parameters such as `:org`, which is always the organisation."""
        if not self.sqlite:
            sql = _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))
        return self.cursor.stream(sql, {"org": self.org, **values})


def a_hold_ends_once(books: Books) -> Iterator[Finding]:
    """Law 1: what has an entry is not open any more."""
    for (hold,) in books.rows(
        "SELECT h.id FROM holds h JOIN entries e ON e.org = h.org AND e.id = h.id"
        " WHERE h.org = :org"
    ):
        yield Finding("1", f"hold {hold}", "it is open although its entry is written")


def balances_are_projections(books: Books) -> Iterator[Finding]:
    """Law 3: held is the sum of open holds, spent the sum of entries, for every balance."""
    should = _sums_of_entries(books)
    for numbers, *amounts in books.rows(
        "SELECT balances, SUM(ceiling_nanos), SUM(ceiling_tokens), SUM(request_count)"
        " FROM holds WHERE org = :org GROUP BY balances"
    ):
        for number in _numbers(numbers):
            for unit, amount in zip(_UNITS, amounts, strict=True):
                should[number, unit][1] += _int(amount)
    known: set[int] = set()
    for balance, name, subject, kept_in, spent, held, overrun in books.rows(
        "SELECT id, budget, subject, unit, spent, held, overrun FROM balances WHERE org = :org"
    ):
        known.add(_int(balance))
        expected = should[_int(balance), str(kept_in)]
        actual = [_int(spent), _int(held), _int(overrun)]
        for what, is_now, ought in zip(("spent", "held", "overrun"), actual, expected, strict=True):
            if is_now != ought:
                yield Finding(
                    "3", f"balance {balance} ({name} {subject})", f"{what} is {is_now}, not {ought}"
                )
    for number in sorted({number for number, _ in should} - known):
        yield Finding("3", f"balance {number}", "entries or holds name it, but it is not there")


def nobody_overspent(books: Books) -> Iterator[Finding]:
    """Law 4: spent + held is within every hard limit, but for what providers billed beyond."""
    for name, subject, limit, spent, held, overrun in books.rows(
        "SELECT budget, subject, limit_value, spent, held, overrun FROM balances"
        " WHERE org = :org AND hard AND spent + held > limit_value + overrun"
    ):
        yield Finding(
            "4",
            f"budget {name} {subject}",
            f"{spent} spent and {held} held, of {limit} and {overrun} beyond ceilings",
        )


def corrections_say_what_and_why(books: Books) -> Iterator[Finding]:
    """Law 7: a correction is another entry, with what it corrects, a reason and an author."""
    for (entry,) in books.rows(
        "SELECT a.id FROM entries a LEFT JOIN entries e ON e.org = a.org AND e.id = a.corrects"
        " WHERE a.org = :org AND a.kind = :kind"
        " AND (e.id IS NULL OR a.reason = '' OR a.author = '')",
        kind=ADJUST,
    ):
        yield Finding(
            "7", f"entry {entry}", "it does not say what it corrects, why, or who says so"
        )


def kinds_are_what_they_say(books: Books) -> Iterator[Finding]:
    """Laws 6, 7: a charge, an adjustment, a release of nothing or a lapse at the ceiling."""
    for entry, kind, amount in books.rows(
        "SELECT id, kind, amount_nanos FROM entries WHERE org = :org"
        " AND NOT (kind IN (:charge, :adjust)"
        " OR (kind = :release AND amount_nanos = 0 AND tokens = 0 AND request_count = 0)"
        " OR (kind = :lapse AND quality = :presumed"
        " AND amount_nanos = ceiling_nanos AND tokens = ceiling_tokens))",
        charge=CHARGE,
        adjust=ADJUST,
        release=RELEASE,
        lapse=LAPSE,
        presumed=PRESUMED,
    ):
        yield Finding("7", f"entry {entry}", f"{amount} nanos are not what a {kind!r} comes to")


def amounts_follow_from_prices(books: Books) -> Iterator[Finding]:
    """Laws 8, 9, 10: usage times the unit prices kept beside it, rounded once, is the amount."""
    lists = [
        str(row[0]) for row in books.rows("SELECT DISTINCT prices FROM entries WHERE org = :org")
    ]
    for text in lists:
        exact = _exact_cost(text)
        quotient = f"(({exact}) / {TOKENS_PER_PRICE})"
        rest = f"(({exact}) % {TOKENS_PER_PRICE})"
        half = TOKENS_PER_PRICE // 2
        rounded = (
            f"({quotient} + CASE WHEN {rest} > {half} OR ({rest} = {half}"
            f" AND {quotient} % 2 = 1) THEN 1 ELSE 0 END)"
        )
        for entry, amount, ought in books.rows(
            f"SELECT id, amount_nanos, {rounded} FROM entries WHERE org = :org"
            " AND prices = :prices AND kind = :charge AND quality <> :presumed"
            f" AND reason <> :stated AND amount_nanos <> {rounded}",
            prices=text,
            charge=CHARGE,
            presumed=PRESUMED,
            stated=CHARGE_STATED,
        ):
            yield Finding(
                "9", f"entry {entry}", f"{amount} nanos are booked, its prices say {ought}"
            )


def rollups_are_projections(books: Books) -> Iterator[Finding]:
    """Roll-ups say what the entries say, for every dimension and every sum."""
    dimensions = ", ".join(ROLLUP_DIMENSIONS)
    sums = [f"SUM({name})" for name in ROLLUP_SUMS if name != "entries"]
    keys = len(ROLLUP_DIMENSIONS) + 1
    ought = {
        row[:keys]: [_int(value) for value in row[keys:]]
        for row in books.rows(
            f"SELECT admitted_at / 3600000000, {dimensions}, COUNT(*), {', '.join(sums)}"
            f" FROM entries WHERE org = :org GROUP BY 1, {dimensions}"
        )
    }
    columns = ", ".join(ROLLUP_SUMS)
    for row in books.rows(f"SELECT hour, {dimensions}, {columns} FROM rollups WHERE org = :org"):
        expected = ought.pop(row[:keys], [0] * len(ROLLUP_SUMS))
        if [_int(value) for value in row[keys:]] != expected:
            yield Finding("3", f"roll-up {row[:keys]}", "it differs from its entries")
    for key in ought:
        yield Finding("3", f"roll-up {key}", "it is missing")


def private_jobs_stayed_home(books: Books) -> Iterator[Finding]:
    """Law 11: a job that is confined to the house has no entry with a target outside."""
    for job, target in books.rows(
        "SELECT DISTINCT job, target FROM entries WHERE org = :org"
        " AND confined AND residency <> 'on_prem'"
    ):
        yield Finding("11", f"job {job}", f"an entry says that it was sent to {target}")


def closed_months_stay_as_they_are(books: Books) -> Iterator[Finding]:
    """Law 7: what was added up when a month was closed is what it adds up to now."""
    engine = "sqlite" if books.sqlite else "postgresql"
    closed = closed_months(books.cursor, books.org, engine)
    for month in closed:
        bounds = (month.starts_at, month.ends_at)
        entries, nanos = totals(books.cursor, books.org, engine, bounds)
        if (entries, nanos) == (month.entries, month.amount_nanos):
            continue
        yield Finding(
            "7",
            f"month {month.month}",
            f"it has {entries} entries of {nanos} nanos, and had {month.entries} of"
            f" {month.amount_nanos} when it was closed",
        )
        for (entry,) in books.rows(
            "SELECT id FROM entries WHERE org = :org AND admitted_at >= :start"
            " AND admitted_at < :end AND recorded_at > :closed ORDER BY recorded_at",
            start=month.starts_at,
            end=month.ends_at,
            closed=month.closed_at,
        ):
            yield Finding("7", f"entry {entry}", f"it was posted into {month.month} when closed")
    until = max((month.ends_at for month in closed), default=0)
    for (said,) in books.rows(
        "SELECT value FROM counters WHERE org = :org AND name = :name AND value <> :until",
        name=CLOSED_UNTIL,
        until=until,
    ):
        yield Finding("7", "closed months", f"they end at {until}, but {said} is kept as their end")
    for (hold,) in books.rows(
        "SELECT id FROM holds WHERE org = :org AND admitted_at < :until", until=until
    ):
        yield Finding("7", f"hold {hold}", "it is open although its month is closed")


CHECKS: Sequence[Callable[[Books], Iterator[Finding]]] = (
    a_hold_ends_once,
    balances_are_projections,
    nobody_overspent,
    corrections_say_what_and_why,
    kinds_are_what_they_say,
    amounts_follow_from_prices,
    rollups_are_projections,
    private_jobs_stayed_home,
    closed_months_stay_as_they_are,
)


def audit(
    database: Database,
    org: str,
    *,
    progress: Callable[[str], None] = lambda _name: None,
) -> tuple[list[Finding], int]:
    """Run every check; returns the findings and how many entries were looked at.

    `progress` is told the name of each check as it begins. Raises DatabaseDown.
    """
    with database.reading() as cursor:
        books = Books(cursor, org, database.is_sqlite)
        findings: list[Finding] = []
        for check in CHECKS:
            progress(check.__name__.replace("_", " "))
            found = list(check(books))
            findings += found[:_SHOWN]
            if len(found) > _SHOWN:
                more = f"and {len(found) - _SHOWN} more like these"
                findings.append(Finding(found[0].law, check.__name__, more))
        entries = next(books.rows("SELECT COUNT(*) FROM entries WHERE org = :org"))[0]
    return findings, _int(entries)


_UNITS = ("usd", "tokens", "requests")


def _sums_of_entries(books: Books) -> dict[tuple[int, str], list[int]]:
    """Spent, held (0) and overrun for each balance and unit, from the entries."""
    should: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for numbers, nanos, over_nanos, tokens, over_tokens, requests in books.rows(
        "SELECT balances, SUM(amount_nanos),"
        " SUM(CASE WHEN amount_nanos > ceiling_nanos THEN amount_nanos - ceiling_nanos ELSE 0 END),"
        " SUM(tokens),"
        " SUM(CASE WHEN tokens > ceiling_tokens THEN tokens - ceiling_tokens ELSE 0 END),"
        " SUM(request_count) FROM entries WHERE org = :org GROUP BY balances"
    ):
        for number in _numbers(numbers):
            for unit, spent, over in (
                ("usd", nanos, over_nanos),
                ("tokens", tokens, over_tokens),
                ("requests", requests, 0),
            ):
                should[number, unit][0] += _int(spent)
                should[number, unit][2] += _int(over)
    return should


def _exact_cost(prices: str) -> str:
    """SQL for usage times unit prices; entries without prices must have cost nothing."""
    if not prices:
        return "0"
    rates = msgspec.json.decode(prices, type=Rates)
    terms = [f"{name} * {getattr(rates, name)}" for name in CLASSES if getattr(rates, name)]
    return " + ".join(terms) or "0"


def _numbers(text: object) -> list[int]:
    return [int(number) for number in str(text).split()]


def _int(value: object) -> int:
    return int(str(value or 0))
