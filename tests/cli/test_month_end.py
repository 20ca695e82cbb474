"""The end of a month on the command line: statements, closing, corrections, the cost export."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.clock import SystemClock, to_datetime
from gateway.ledger.audit import audit
from gateway.metering.usage import Usage
from tests.gateways import routes_for
from tests.ledger.spending import BRAND, DATA, Spending
from tests.treasury.booking import OPEN_SECONDS, opened

OCTOBER = "2024-10"


class Finance:
    """A person with the command line, and the books behind it: October 2024, Berlin."""

    def __init__(self, url: str, folder: Path) -> None:
        self.books = Spending(opened(url))
        self.url, self.folder = url, folder
        self.routes = folder / "routes.yaml"
        self.routes.write_text(routes_for("http://127.0.0.1:1"))

    def runs(self, *arguments: str) -> Result:
        where = ("--database-url", self.url, "--routes", str(self.routes))
        return CliRunner().invoke(app, [*arguments, *where], env={"COLUMNS": "200"})

    def file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def finance(database_url: str, tmp_path: Path) -> Iterator[Finance]:
    person = Finance(database_url, tmp_path)
    person.books.at("2024-10-15T12:00:00+02:00")
    person.books.book(Usage(input=2000), BRAND)
    person.books.book(Usage(input=100, output=3), DATA)
    yield person
    assert audit(person.books.database, "main")[0] == []
    person.books.database.close()


def test_a_statement_says_the_same_in_every_format(finance: Finance) -> None:
    asked = ("statement", "--team", "brand", "--month", OCTOBER)
    told = json.loads(finance.runs(*asked, "--format", "json").output)
    assert told["closing"]["amount_nanos"] == 3000
    assert told["organisation"] == "Test"
    rows = list(csv.DictReader(io.StringIO(finance.runs(*asked, "--format", "csv").output)))
    assert [row["amount_nanos"] for row in rows if row["section"] == "closing"] == ["3000"]
    page = finance.file("brand.html")
    assert finance.runs(*asked, "--format", "html", "--output", str(page)).exit_code == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "0.000003000" in page.read_text()
    assert "0.000003000" in finance.runs(*asked).output


def test_a_statement_of_an_unknown_team_names_the_nearest(finance: Finance) -> None:
    result = finance.runs("statement", "--team", "brant", "--month", OCTOBER)
    assert result.exit_code == 0
    assert "team 'brant' has no entries in 2024-10; did you mean 'brand'?" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("statement", "--team", "brand", "--month", "October"), "is not a month such as 2026-10"),
        (("close", "2024-13", "--author", "ann"), "is not a month such as 2026-10"),
        (("close", OCTOBER, "--author", " "), "--author: say who closes the month"),
        (("close", "2199-01", "--author", "ann"), "2199-01 is not over"),
        (("adjust", "req_none.1", "--usd", "1", "--reason", "r", "--author", "a"), "no entry"),
        (("adjust", "x", "--usd", "a lot", "--reason", "r", "--author", "a"), "--usd: 'a lot'"),
        (("adjust", "x", "--usd", "0.00", "--reason", "r", "--author", "a"), "of nothing"),
        (("export", "focus"), "either --output FILE or --check FILE"),
        (("export", "focus", "--output", "costs.xlsx"), "ends in .csv or .parquet"),
        (("export", "focus", "--check", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_cannot_be_done_is_told_with_status_2(
    finance: Finance, arguments: tuple[str, ...], said: str
) -> None:
    result = finance.runs(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_month_is_closed_once_and_its_later_corrections_stand_in_this_one(
    finance: Finance,
) -> None:
    entry = finance.books.ledger.entries_of("req_main0001")[0]["id"]
    before = json.loads(
        finance.runs(
            *("adjust", entry, "--usd", "-0.000001", "--reason", "too dear"),
            *("--author", "ann", "--json"),
        ).output
    )
    assert before["admitted_at"] == "2024-10-15T10:00:00.000000Z"
    assert before["total_nanos"] == 2000

    closed = json.loads(finance.runs("close", OCTOBER, "--author", "ann", "--json").output)
    assert (closed["entries"], closed["amount_nanos"]) == (3, 2000 + 160)
    again = finance.runs("close", OCTOBER, "--author", "bob")
    assert (again.exit_code, "2024-10 was closed by ann" in again.output) == (2, True)

    began = SystemClock().now()
    after = finance.runs("adjust", entry, "--usd", "0.5", "--reason", "x", "--author", "ann")
    assert f"{entry} comes to 0.500002000 USD now" in after.output
    ((admitted, reason),) = finance.books.rows(
        "SELECT admitted_at, reason FROM entries WHERE org = :org AND amount_nanos = 500000000"
    )
    assert admitted >= began
    assert reason == "x [corrects 2024-10, which is closed]"
    told = finance.runs("statement", "--team", "brand", "--month", OCTOBER, "--format", "json")
    assert json.loads(told.output)["closing"]["amount_nanos"] == 2000
    open_month = f"{to_datetime(began).astimezone(ZoneInfo('Europe/Berlin')):%Y-%m}"
    printed = finance.runs("statement", "--team", "brand", "--month", open_month).output
    assert "x [corrects 2024-10, which is closed]" in printed


def test_a_printed_statement_has_the_budgets_at_its_opening_and_its_closing(
    finance: Finance,
) -> None:
    printed = finance.runs("statement", "--team", "brand", "--month", OCTOBER).output
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()]
    ends = {(row[0], row[1]): row[4:] for row in cells if len(row) == 6}
    assert ends == {
        ("month", "everybody"): ["0.000000000", "0.000003160"],
        ("teams", "brand"): ["0.000000000", "0.000003000"],
        ("year", "everybody"): ["0.000000000", "0.000003160"],
    }


def test_closing_tells_the_open_holds_of_the_month_and_can_be_tried_again(
    finance: Finance,
) -> None:
    finance.books.hold(500, 50)
    lapse_at = SystemClock().now() + 3600 * 10**6
    with finance.books.database.writing() as cursor:
        cursor.run(f"UPDATE holds SET lapses_at = {lapse_at}", {})
    result = finance.runs("close", OCTOBER, "--author", "ann")
    assert result.exit_code == 75
    assert "1 hold of it still open; the last one lapses at" in result.output
    assert "Wait for them with --wait" in result.output


def test_with_wait_it_is_closed_when_the_last_hold_has_lapsed(finance: Finance) -> None:
    finance.books.hold(500, 50)
    with finance.books.database.writing() as cursor:
        cursor.run(f"UPDATE holds SET lapses_at = {SystemClock().now() + 300_000}", {})
    result = finance.runs("close", OCTOBER, "--author", "ann", "--wait", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["entries"], told["amount_nanos"]) == (3, 3000 + 160 + 500)


def test_a_hold_that_nobody_came_back_for_does_not_keep_a_month_open(finance: Finance) -> None:
    """No gateway has to run for it: the hold's time is over, so it lapses at its ceiling."""
    finance.books.hold(500, 50)
    finance.books.clock.move(OPEN_SECONDS)
    result = finance.runs("close", OCTOBER, "--author", "ann")
    assert "2024-10 is closed: 3 entries, 0.000003660 USD." in result.output


@pytest.mark.parametrize("name", ["costs.csv", "costs.parquet"])
def test_the_cost_export_is_written_and_keeps_the_rules(finance: Finance, name: str) -> None:
    path = str(finance.file(name))
    days = ("--from", "2024-10-01", "--to", "2024-10-31")
    written = finance.runs("export", "focus", *days, "--output", path)
    assert f"{path}: 3 rows" in written.output
    checked = finance.runs("export", "focus", "--check", path)
    assert (checked.exit_code, checked.output) == (0, "3 rows, all rules of FOCUS 1.2 are kept.\n")
    assert [file.name for file in finance.folder.glob("*.part")] == []


def test_the_check_tells_what_is_wrong_and_where(finance: Finance) -> None:
    path = finance.file("costs.csv")
    finance.runs("export", "focus", "--from", "2024-10-01", "--output", str(path))
    path.write_text(path.read_text().replace("Usage-Based", "Sometimes"))
    result = finance.runs("export", "focus", "--check", str(path))
    assert result.exit_code == 1
    assert "row 1, ChargeFrequency: 'Sometimes' is not one of" in result.output
    assert "3 rows, 3 violations." in result.output


def test_a_file_that_is_no_table_is_told(finance: Finance) -> None:
    for name in ("empty.csv", "empty.parquet"):
        finance.file(name).write_text("")
        result = finance.runs("export", "focus", "--check", str(finance.file(name)))
        assert result.exit_code == 2
        assert name in result.output


def test_an_export_that_fails_leaves_the_old_file_as_it_was(finance: Finance) -> None:
    folder = finance.file("costs.csv")
    folder.mkdir()
    result = finance.runs("export", "focus", "--from", "2024-10-01", "--output", str(folder))
    assert (result.exit_code, "cannot be written" in result.output) == (2, True)
    assert list(finance.folder.glob(".*.part")) == []


def test_without_pyarrow_it_is_said_what_to_install(
    finance: Finance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway.ledger.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = finance.runs("export", "focus", "--output", str(finance.file("costs.parquet")))
    assert result.exit_code == 2
    assert "pip install 'jobgate[parquet]'" in result.output
