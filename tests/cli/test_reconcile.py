"""`jobgate reconcile`: a bill against the books, and correcting what differs in price."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.clock import MICROS, FrozenClock
from gateway.ledger.audit import audit
from gateway.ledger.months import ClosedMonth, Month
from gateway.metering.usage import Usage
from gateway.prices.rates import NO_COST
from gateway.treasury.budgets import Payer
from gateway.treasury.closing import MonthClosing
from tests.gateways import TESTER, routes_for
from tests.treasury.booking import Books, a_budget, charged, opened

BILL = """\
date,model,key,input_tokens,output_tokens,amount_usd
2026-11-02,gpt-test,gateway,300,30,{amount}
"""
AMOUNTS = (100, 200, 400)
"""Nano-dollars of three entries, each of a team, of a hundred input and ten output tokens."""


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """Books with the three entries on 2 November 2026."""
    database = opened(database_url)
    found = Books(database, [a_budget(limit=10**9)], clock=FrozenClock("2026-11-02T12:00:00+00:00"))
    for team, nanos in zip(("brand", "data", "legal"), AMOUNTS, strict=True):
        hold = found.hold(1_000, 1_000, Payer(team, "site", "key_1", "extraction", {}))
        usage = Usage(input=60, cache_read=40, output=7, reasoning=3)
        rates = replace(NO_COST, cache_read=nanos * 1_000_000 // 40)
        fields = {"model_served": "gpt-test", "amount_nanos": nanos, "rates": rates}
        found.end(hold, charged(usage, **fields))
    yield found
    database.close()


@pytest.fixture
def routes(tmp_path: Path) -> str:
    path = tmp_path / "routes.yaml"
    path.write_text(routes_for("http://127.0.0.1:1"))
    return str(path)


def reconcile(books: Books, routes: str, bill: str, *more: str, **options: Any) -> Result:
    path = Path(routes).with_name(options.get("name", "bill.csv"))
    path.write_text(bill)
    url = books.database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(
        app,
        [
            *("reconcile", str(path), "--provider", options.get("provider", "generic")),
            *("--ours", "openai", "--routes", routes, "--database-url", url, *more),
        ],
        env={"COLUMNS": "200"},
    )


def found(result: Result) -> list[dict[str, Any]]:
    rows = json.loads(result.stdout)["differences"]
    assert isinstance(rows, list)
    return rows


def test_a_bill_that_agrees_ends_with_0(books: Books, routes: str) -> None:
    bill = BILL.format(amount="0.000000700")
    result = reconcile(books, routes, bill)
    assert result.exit_code == 0
    assert "1 same" in result.output
    (row,) = found(reconcile(books, routes, bill, "--all", "--format", "json"))
    assert (row["kind"], row["billed_input"], row["booked_input"]) == ("same", 300, 300)
    assert (row["billed_usd"], row["booked_usd"]) == ("0.000000700", "0.000000700")


def test_a_bill_without_amounts_is_not_told_as_a_bill_of_nothing(books: Books, routes: str) -> None:
    bill = "date,model,input_tokens,output_tokens\n2026-11-02,gpt-test,300,30\n"
    result = reconcile(books, routes, bill)
    assert result.exit_code == 0
    assert "The bill states no amounts; booked 0.000000700 USD." in result.output
    told = json.loads(reconcile(books, routes, bill, "--format", "json").stdout)
    assert (told["billed_usd"], told["booked_usd"]) == (None, "0.000000700")


def test_a_google_bill_without_a_line_for_the_output_is_no_difference_of_price(
    books: Books, routes: str
) -> None:
    bill = (
        "Project ID,SKU description,Usage start date,Usage amount,Cost,Currency\n"
        "p,Generate content input token count gemini test text,2026-11-02,300,0.1,USD\n"
    )
    options = ("--model", "gemini-test=gpt-test", "--post", "--author", "ann", "--format", "json")
    result = reconcile(books, routes, bill, *options, provider="google")
    assert [row["kind"] for row in found(result)] == ["missing"]
    assert len(books.rows("SELECT id FROM entries WHERE org = :org")) == 3, "nothing is posted"


def test_a_bill_with_more_tokens_ends_with_1_and_says_around(books: Books, routes: str) -> None:
    bill = BILL.format(amount="0.000000700") + "2026-11-02,gpt-test,laptop,5,5,0.000000100\n"
    result = reconcile(books, routes, bill, "--format", "csv")
    assert result.exit_code == 1
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["kind"], row["difference_nanos"]) == ("around", "100")
    named = reconcile(books, routes, bill, "--key", "gateway=openai", "--format", "json", "--all")
    assert [(r["kind"], r["note"]) for r in found(named)] == [
        ("around", "laptop: not a key of the gateway"),
        ("same", ""),
    ]


def test_a_difference_of_price_is_posted_in_proportion_and_then_is_none(
    books: Books, routes: str
) -> None:
    bill = BILL.format(amount="0.000000801")
    told = reconcile(books, routes, bill, "--format", "json")
    assert told.exit_code == 1
    assert [(r["kind"], r["difference_nanos"]) for r in found(told)] == [("price", 101)]
    posted = reconcile(books, routes, bill, "--post", "--author", "finance")
    assert (posted.exit_code, "3 correcting entries are posted" in posted.stderr) == (0, True)
    rows = books.rows(
        "SELECT team, amount_nanos, reason, author FROM entries"
        " WHERE org = :org AND kind = 'adjust' ORDER BY team"
    )
    assert [row[:2] for row in rows] == [("brand", 14), ("data", 29), ("legal", 58)]
    assert {row[2:] for row in rows} == {
        (
            "reconciled: bill.csv, 2026-11-02, gpt-test: the same tokens at another price",
            "finance",
        )
    }
    assert audit(books.database, "main")[0] == []
    again = reconcile(books, routes, bill, "--post", "--format", "json", "--all")
    assert (again.exit_code, found(again)[0]["kind"]) == (0, "same")
    assert len(books.rows("SELECT id FROM entries WHERE org = :org")) == 6


def test_a_closed_month_is_corrected_in_the_open_one_and_counts_as_corrected(
    books: Books, routes: str
) -> None:
    after = books.clock.now() + 60 * 24 * 3600 * MICROS
    closing = MonthClosing("main", books.database.engine_name, books.calendar)
    with books.database.writing() as cursor:
        assert isinstance(closing.close(cursor, Month(2026, 11), TESTER, after), ClosedMonth)
    bill = BILL.format(amount="0.000000801")
    assert reconcile(books, routes, bill, "--post").exit_code == 0
    rows = books.rows(
        "SELECT admitted_at, reason FROM entries WHERE org = :org AND kind = 'adjust'"
    )
    december = Month(2026, 12).bounds(books.calendar.zone)[0]
    assert all(row[0] >= december for row in rows)
    assert all(row[1].endswith("[corrects 2026-11, which is closed]") for row in rows)
    again = reconcile(books, routes, bill, "--post", "--format", "json", "--all")
    assert [row["kind"] for row in found(again)] == ["same"]
    assert audit(books.database, "main")[0] == []


def test_only_differences_of_price_are_posted(books: Books, routes: str) -> None:
    bill = BILL.format(amount="0.000000801").replace(",300,", ",301,")
    result = reconcile(books, routes, bill, "--post")
    assert result.exit_code == 1
    assert len(books.rows("SELECT id FROM entries WHERE org = :org")) == 3


def test_rerating_to_the_billed_price_after_posting_does_not_move_it_twice(
    books: Books, routes: str
) -> None:
    # 60 input, 40 cached and 10 output tokens at these prices: 250 nano-dollars an entry
    text = Path(routes).read_text()
    priced = text.replace(
        "{input: 2.5, cache_read: 1.25, output: 10}",
        "{input: 0.0025, cache_read: 0.0, output: 0.01}",
    )
    Path(routes).write_text(priced)
    reconcile(books, routes, BILL.format(amount="0.000000750"), "--post")
    url = books.database.url.render_as_string(hide_password=False)
    result = CliRunner().invoke(
        app,
        [
            *("prices", "rerate", "--from", "2026-11-02", "--to", "2026-11-02"),
            *("--routes", routes, "--database-url", url, "--json"),
        ],
    )
    moved = json.loads(result.stdout)["moved"]
    assert sum(row["moved_nanos"] for row in moved) == 0
    total = books.rows("SELECT SUM(amount_nanos) FROM entries WHERE org = :org")
    assert int(total[0][0]) == 750
    assert audit(books.database, "main")[0] == []


def test_usage_and_costs_of_openai_are_held_against_the_books_together(
    books: Books, routes: str
) -> None:
    costs = Path(routes).with_name("costs.json")
    costs.write_text(
        '{"data": [{"start_time": 1793577600, "results": [{"amount": {"value": 0.0000008,'
        ' "currency": "usd"}, "line_item": "gpt-test, input"}]}]}'
    )
    usage = (
        '{"data": [{"start_time": 1793577600, "results": [{"input_tokens": 300,'
        ' "input_cached_tokens": 120, "output_tokens": 30, "model": "gpt-test-2026-01-01"}]}]}'
    )
    options = {"provider": "openai", "name": "usage.json"}
    result = reconcile(books, routes, usage, str(costs), "--format", "json", **options)
    assert [(r["kind"], r["difference_nanos"]) for r in found(result)] == [("price", 100)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--key", "k=opnai"), "no provider 'opnai'; did you mean 'openai'?"),
        (("--key", "k"), "--key 'k' is not NAME=NAME"),
        (("--zone", "Mars/North"), "--zone: 'Mars/North' is not a time zone"),
        (("--usd-per-unit", "0"), "--usd-per-unit: '0' is not a rate"),
        (("--from", "2026-12-01"), "--from 2026-12-01 is after --to 2026-11-02"),
        (("--from", "soon"), "--from, --to: "),
    ],
)
def test_what_is_asked_wrongly_is_told_with_status_2(
    more: tuple[str, str], said: str, books: Books, routes: str
) -> None:
    result = reconcile(books, routes, BILL.format(amount="1"), *more)
    assert result.exit_code == 2
    assert said in result.output


def test_a_bill_that_cannot_be_read_ends_with_2(books: Books, routes: str) -> None:
    result = reconcile(books, routes, BILL.format(amount="much"))
    assert result.exit_code == 2
    assert "bill.csv: row 2, column amount_usd: 'much' is not a number" in result.output


def test_lines_about_a_whole_month_are_compared_by_month(books: Books, routes: str) -> None:
    bill = (
        "SKU description,Usage start date,Usage end date,Usage amount,Cost ($)\n"
        "Generate content input token count gemini 2.5 flash,2026-11-01,2026-11-30,5,0.01\n"
    )
    result = reconcile(books, routes, bill, provider="google")
    assert (result.exit_code, "compare months with --by month" in result.output) == (2, True)
    result = reconcile(books, routes, bill, "--by", "month", "--format", "json", provider="google")
    assert [(r["period"], r["kind"]) for r in found(result)] == [("2026-11", "around")]
