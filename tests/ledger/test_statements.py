"""A team's month as people get it: every part adds up, in every format, and nothing is code."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from gateway.jobs.routes import Scope
from gateway.ledger import statements
from gateway.ledger.months import parse_month
from gateway.ledger.rendering import inert, to_csv, to_html, to_json
from gateway.ledger.statements import Statement, Statements
from gateway.metering.usage import CLASSES, Usage
from gateway.money import format_dollars
from gateway.treasury.budgets import Payer
from tests.ledger.spending import BRAND, Spending, something_of_everything
from tests.treasury.booking import a_budget, opened


@pytest.fixture
def books(database_url: str) -> Iterator[Spending]:
    """October closed, November begun, with everything in them."""
    spending = Spending(opened(database_url))
    something_of_everything(spending)
    yield spending
    spending.database.close()


def made(books: Spending, team: str = "brand", month: str = "2026-10") -> Statement:
    by = Statements(books.database, books.org, "Test & Sons", books.calendar.zone)
    return by.of(team, parse_month(month))


@pytest.mark.parametrize("team", ["brand", "data"])
@pytest.mark.parametrize("month", ["2026-10", "2026-11"])
def test_every_part_adds_up_to_the_ledger(books: Spending, team: str, month: str) -> None:
    found = made(books, team, month)
    bounds = parse_month(month).bounds(ZoneInfo("Europe/Berlin"))
    total = books.sum(*bounds, team=team)
    assert found.closing.nanos == total
    assert found.adjusted.nanos == books.sum(*bounds, team=team, kind="adjust")
    assert sum(quality.sums.nanos for quality in found.qualities) == total
    assert sum(quality.sums.entries for quality in found.qualities) == found.closing.entries


@pytest.mark.parametrize(
    ("month", "fiscal_year_starts", "since"),
    [
        ("2026-10", 1, "2026-01"),
        ("2026-11", 1, "2026-01"),
        ("2026-11", 10, "2026-10"),
        ("2026-11", 11, "2026-11"),
        ("2026-11", 12, "2025-12"),
        ("2027-02", 10, "2026-10"),
    ],
)
def test_the_opening_is_what_the_team_was_charged_in_the_fiscal_year_before(
    books: Spending, month: str, fiscal_year_starts: int, since: str
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    by = Statements(books.database, books.org, "Test", zone, fiscal_year_starts)
    found = by.of("brand", parse_month(month))
    start = parse_month(month).bounds(zone)[0]
    before = books.sum(parse_month(since).bounds(zone)[0], start, team="brand")
    assert found.opening_nanos == before
    assert found.to_date_nanos == before + found.closing.nanos
    told, rows = json.loads(to_json(found)), list(csv.DictReader(io.StringIO(to_csv(found))))
    assert (told["opening"], told["to_date"]) == tuple(
        {"amount_nanos": nanos, "amount_usd": format_dollars(nanos)}
        for nanos in (before, found.to_date_nanos)
    )
    by_section = {row["section"]: row["amount_nanos"] for row in rows}
    assert by_section["opening"] == str(before)
    assert by_section["to date"] == str(found.to_date_nanos)
    assert (rows[0]["section"], rows[0]["month"]) == ("opening", since)
    assert f"Opening: charged since {since}, USD" in to_html(found)


def test_the_opening_of_a_zone_of_half_hours_is_exact_too(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url), "Asia/Kolkata")
    for text in ("2025-12-31T18:29:59", "2025-12-31T18:30:00", "2026-10-31T18:29:59"):
        books.at(f"{text}+00:00").book(Usage(input=700))
    books.at("2026-10-31T18:30:00+00:00").book(Usage(input=30))
    found = made(books, month="2026-11")
    books.database.close()
    assert (found.opening_nanos, found.closing.nanos) == (2 * 1050, 45), "1.5 nano a token"


def test_charges_have_their_tokens_by_class(books: Spending) -> None:
    (charge,) = made(books, "data").charges
    assert (charge.job, charge.target) == ("narrative", "openai/gpt-test")
    used = {name: charge.usage[name] for name in CLASSES if charge.usage[name]}
    assert used == {"input": 11 + 60, "output": 13 + 40, "reasoning": 5, "requests": 2}
    assert charge.sums.requests == 3


def test_adjustments_say_what_they_correct_and_why(books: Spending) -> None:
    october, november = made(books).adjustments, made(books, month="2026-11").adjustments
    assert {a.reason for a in october} == {
        "too dear",
        "=HYPERLINK(<b>no</b>)",
        "settled after the hold had lapsed: the ceiling is taken back",
        "settled after the hold had lapsed: what was used",
    }
    (refund,) = november
    assert refund.reason == "refund [corrects 2026-10, which is closed]"
    assert (refund.month, refund.author, refund.sums.nanos) == ("2026-10", "ann", -29)
    assert refund.entry.startswith(f"{refund.corrects}.")


def test_many_adjustments_are_put_together_by_what_they_say(
    books: Spending, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = made(books)
    monkeypatch.setattr(statements, "LISTED_AT_MOST", 1)
    books.adjust(one_by_one.adjustments[0].corrects, -1, "refund")
    books.adjust(one_by_one.adjustments[0].corrects, -2, "refund")
    together = made(books, month="2026-11")
    (line,) = together.adjustments
    assert (line.entry, line.corrects, line.sums.entries) == ("", "", 3)
    assert line.sums.nanos == -29 - 1 - 2
    assert together.closing == made(books, month="2026-11").closing


def test_the_opening_says_what_of_each_budget_was_left_and_the_closing_what_is(
    books: Spending,
) -> None:
    before = {(b.budget, b.subject): (b.before, b.after) for b in made(books).budgets}
    after = {
        (b.budget, b.subject): (b.before, b.after) for b in made(books, month="2026-11").budgets
    }
    bounds = parse_month("2026-10").bounds(ZoneInfo("Europe/Berlin"))
    october, everything = books.sum(*bounds), books.sum()
    assert before == {
        ("month", ""): (0, october),
        ("teams", "brand"): (0, books.sum(*bounds, team="brand")),
        ("year", ""): (0, october),
    }
    assert after[("year", "")] == (october, everything)
    assert after[("month", "")] == (0, everything - october)


def test_budgets_in_tokens_and_requests_are_told_in_them(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    books.budgets = (
        a_budget("tokens", 10**9, unit="tokens", scope=Scope("team")),
        a_budget("calls", 10**9, unit="requests", period="quarter"),
    )
    books.book(Usage(input=40, output=2))
    found = {b.budget: (b.unit, b.before, b.after) for b in made(books).budgets}
    page = to_html(made(books))
    books.database.close()
    assert found == {"tokens": ("tokens", 0, 42), "calls": ("requests", 0, 1)}
    assert "42 tokens" in page
    assert "1 requests" in page


def test_it_says_whether_the_month_is_closed_and_by_whom(books: Spending) -> None:
    assert "Closed by ann on 2026-11-03 09:00" in to_html(made(books))
    assert "This month is open" in to_html(made(books, month="2026-11"))
    told = json.loads(to_json(made(books)))
    assert told["closed"] == {"at": "2026-11-03T08:00:00.000000Z", "author": "ann"}
    assert json.loads(to_json(made(books, month="2026-11")))["closed"] is None


@pytest.mark.parametrize("month", ["2026-10", "2026-11"])
def test_json_csv_and_page_say_the_same(books: Spending, month: str) -> None:
    found = made(books, month=month)
    total = found.closing.nanos
    told = json.loads(to_json(found))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert told["closing"]["amount_nanos"] == total
    for sections in (("charge", "adjustment"), ("quality",), ("closing",)):
        of_these = [row for row in rows if row["section"] in sections]
        assert sum(int(row["amount_nanos"]) for row in of_these) == total
        assert sum(int(row["request_count"]) for row in of_these) == found.closing.requests
    for name in ("charges", "adjustments"):
        assert len(told[name]) == len([row for row in rows if row["section"] == name[:-1]])
    shown = format_dollars(abs(total))
    assert shown in to_html(found)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_prints_and_knows_the_dark(books: Spending) -> None:
    text = to_html(made(books))
    page = Page(text)
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?:", text)
    for wanted in ("@media print", "prefers-color-scheme: dark", '<html lang="en">', "<title>"):
        assert wanted in text
    assert page.tags.count("table") == page.tags.count("caption") == 4
    assert page.tags.count("h1") == 1


def test_no_name_of_a_team_a_job_or_a_reason_becomes_markup_or_a_formula(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    evil = Payer("<script>alert(1)</script>", "a", "k", "=cmd|' /C calc'!A0", {})
    entry = books.book(Usage(input=1000), evil)
    books.adjust(entry.id, -1, '"><img src=x onerror=alert(1)>')
    found = made(books, team=evil.team)
    page, table = Page(to_html(found)), list(csv.DictReader(io.StringIO(to_csv(found))))
    books.database.close()
    assert not {"script", "img"} & set(page.tags)
    assert {row["job"] for row in table} == {"", "'=cmd|' /C calc'!A0"}


@pytest.mark.parametrize(
    ("text", "written"),
    [("-1.25", "-1.25"), ("-0.000000001", "-0.000000001"), ("-x", "'-x"), ("=1", "'=1"), (-5, -5)],
)
def test_a_negative_amount_is_no_formula(text: object, written: object) -> None:
    assert inert(text) == written


def test_a_team_without_entries_has_an_empty_statement(books: Spending) -> None:
    found = made(books, team="nobody")
    assert (found.closing.nanos, found.charges, found.budgets) == (0, (), ())
    assert "Nothing was charged" in to_html(found)
    by = Statements(books.database, books.org, "Test & Sons", books.calendar.zone)
    assert by.teams(parse_month("2026-10")) == ["brand", "data"]
    assert by.teams(parse_month("2026-09")) == []
    assert BRAND.team in by.teams(parse_month("2026-11"))
