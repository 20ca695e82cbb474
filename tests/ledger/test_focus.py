"""The cost export: it keeps the rules of FOCUS 1.2 and adds up to the ledger."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.clock import to_micros
from gateway.ledger import paging
from gateway.ledger.focus import HEADING, OWN_COLUMNS, Row, focus_rows
from gateway.ledger.focus_columns import COLUMNS
from gateway.ledger.focus_files import as_text, read_csv, write_csv
from gateway.ledger.focus_rules import check
from gateway.ledger.parquet import read_parquet, write_parquet
from gateway.ledger.queries import Range
from gateway.metering.usage import CLASSES, Usage
from tests.ledger.spending import BRAND, DATA, Spending, moment, something_of_everything
from tests.treasury.booking import opened

EVER = Range(0, 2**61)


@pytest.fixture
def books(database_url: str) -> Iterator[Spending]:
    """October closed, November begun, with everything in them."""
    spending = Spending(opened(database_url))
    something_of_everything(spending)
    yield spending
    spending.database.close()


def exported(books: Spending, period: Range = EVER) -> list[Row]:
    return list(focus_rows(books.database, period, books.account))


def nanos(rows: list[Row], column: str = "BilledCost") -> Decimal:
    return sum((Decimal(str(row[column])) for row in rows), Decimal(0)) * 10**9


def test_the_export_keeps_every_rule(books: Spending) -> None:
    rows = [{name: as_text(value) for name, value in row.items()} for row in exported(books)]
    assert len(rows) > 15
    assert list(check(HEADING, rows)) == []


def test_it_has_every_mandatory_column_and_marks_its_own() -> None:
    mandatory = {column.name for column in COLUMNS.values() if column.mandatory}
    assert mandatory <= set(HEADING)
    assert set(HEADING) - set(COLUMNS) == set(OWN_COLUMNS)


def test_what_is_billed_is_the_ledger_to_the_nano(books: Spending) -> None:
    rows = exported(books)
    assert nanos(rows) == nanos(rows, "EffectiveCost") == books.sum()
    for team in ("brand", "data"):
        of_team = [row for row in rows if row["SubAccountId"] == team]
        assert nanos(of_team) == books.sum(team=team)


def test_list_and_contract_are_within_a_nano_for_each_entry_of_what_is_billed(
    books: Spending,
) -> None:
    rows = exported(books)
    ((entries,),) = books.rows("SELECT COUNT(*) FROM entries WHERE org = :org")
    assert abs(nanos(rows, "ListCost") - books.sum()) <= entries
    assert nanos(rows, "ListCost") == nanos(rows, "ContractedCost")


def test_every_token_of_the_ledger_is_consumed_in_its_class(books: Spending) -> None:
    rows = exported(books)
    for name in CLASSES:
        ((tokens,),) = books.rows(f"SELECT COALESCE(SUM({name}), 0) FROM entries WHERE org = :org")
        consumed = [row["ConsumedQuantity"] for row in rows if row["x_TokenClass"] == name]
        assert sum(Decimal(str(number)) for number in consumed) == tokens


def test_only_corrections_of_an_earlier_month_have_the_class(books: Spending) -> None:
    """Within the month the specification wants null."""
    adjusted = [row for row in exported(books) if row["x_EntryKind"] == "adjust"]
    by_class = {row["ChargeClass"] for row in adjusted}
    (refund,) = [row for row in adjusted if row["ChargeClass"] == "Correction"]
    assert by_class == {None, "Correction"}
    assert refund["BillingPeriodStart"] == books.calendar_date("2026-11-01")
    assert "refund [corrects 2026-10, which is closed]" in str(refund["ChargeDescription"])
    assert refund["BilledCost"] == Decimal("-0.000000029")


def test_money_alone_is_an_adjustment_and_not_use(books: Spending) -> None:
    found = {
        (str(row["ChargeDescription"]).partition(": ")[2], row["ChargeCategory"])
        for row in exported(books)
        if row["x_EntryKind"] == "adjust" and row["x_TokenClass"] is None
    }
    assert ("too dear", "Adjustment") in found
    assert ("settled after the hold had lapsed: the ceiling is taken back", "Usage") in found


def test_an_hour_that_a_month_ends_in_is_cut_in_two(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url), zone="Asia/Kolkata")
    books.at("2026-10-31T23:45:00+05:30").book(Usage(input=100))
    books.at("2026-11-01T00:15:00+05:30").book(Usage(input=100))
    before, after = exported(books)
    books.database.close()
    midnight = books.calendar_date("2026-11-01")
    assert before["ChargePeriodEnd"] == before["BillingPeriodEnd"] == midnight
    assert after["ChargePeriodStart"] == after["BillingPeriodStart"] == midnight


def test_charge_periods_lie_in_their_billing_period_and_in_what_was_asked_for(
    books: Spending,
) -> None:
    period = Range(moment("2026-10-25T02:40:00+02:00"), moment("2026-10-25T02:40:00+01:00"))
    rows = exported(books, period)
    assert nanos(rows) == books.sum(period.start, period.end) != 0
    for row in rows:
        names = ("BillingPeriodStart", "ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodEnd")
        moments = [row[name] for name in names]
        assert moments == sorted(moments, key=str)
        assert to_micros(row["ChargePeriodStart"]) >= period.start  # type: ignore[arg-type]
        assert to_micros(row["ChargePeriodEnd"]) <= period.end  # type: ignore[arg-type]


def test_entries_of_one_hour_and_price_are_one_row_for_each_class(sqlite_url: str) -> None:
    books = Spending(opened(sqlite_url))
    for _ in range(5):
        books.clock.move(60)
        books.book(Usage(input=3, output=2), BRAND)
        books.book(Usage(input=3), DATA)
    rows = exported(books)
    found = [(r["SubAccountId"], r["x_TokenClass"], r["ConsumedQuantity"]) for r in rows]
    books.database.close()
    assert found == [("brand", "input", 15), ("brand", "output", 10), ("data", "input", 15)]


def test_a_free_model_has_rows_that_cost_nothing_and_an_on_prem_one_is_sold_by_the_house(
    sqlite_url: str,
) -> None:
    books = Spending(opened(sqlite_url))
    books.book(Usage(input=3), provider="ollama", residency="on_prem", confined=True)
    (row,) = exported(books)
    books.database.close()
    assert row["ProviderName"] == row["InvoiceIssuerName"] == "Test & Sons"
    assert row["ServiceName"] == "Models of ollama"


def test_files_say_what_the_rows_say(books: Spending, tmp_path: Path) -> None:
    rows = exported(books)
    text = io.StringIO()
    assert write_csv(rows, text) == len(rows)
    text.seek(0)
    heading, from_csv = read_csv(text)
    assert write_parquet(rows, tmp_path / "costs.parquet") == len(rows)
    columns, from_parquet = read_parquet(tmp_path / "costs.parquet")
    assert tuple(heading) == tuple(columns) == HEADING
    plain = [{name: as_text(value) for name, value in row.items()} for row in rows]
    assert list(from_csv) == list(from_parquet) == plain


@pytest.mark.parametrize("text", ["", "a,b\n1\n", 'a,b\n1,"2\n'])
def test_what_is_no_export_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|fields|not CSV"):
        list(read_csv(io.StringIO(text))[1])


def test_hours_are_let_go_while_the_rest_is_still_to_be_read(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the memory that of one hour: rows come out before the next page is read."""
    books = Spending(opened(sqlite_url))
    for _ in range(6):
        books.clock.move(3600)
        books.book(Usage(input=3))
    read: list[int] = []
    next_page = paging._Pages.next

    def watched(pages: paging._Pages, cursor: object) -> list[dict[str, object]]:
        pages._values["page"] = 2
        found = next_page(pages, cursor)  # type: ignore[arg-type]
        read.append(len(found))
        return found

    monkeypatch.setattr(paging._Pages, "next", watched)
    pages_read = []
    for _row in focus_rows(books.database, EVER, books.account):
        pages_read.append(len(read))
    books.database.close()
    assert read == [2, 2, 2, 0]
    assert pages_read == sorted(pages_read)
    assert pages_read[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(pages_read))
