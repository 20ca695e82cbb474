"""`jobgate prices`: showing, importing, comparing, checking, and rerating what was booked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.clock import FrozenClock
from gateway.ledger.audit import audit
from gateway.ledger.entries import CHARGE_STATED, PRESUMED
from gateway.metering.usage import NOTHING, Usage
from gateway.prices.book import BUNDLED
from gateway.prices.rates import NO_COST
from gateway.treasury.budgets import Payer
from tests.gateways import routes_for
from tests.treasury.booking import Books, a_budget, charged, opened

SHIPPED = str(Path(__file__).parents[2] / "routes.yaml")
TEST_PRICE = "{input: 2.5, cache_read: 1.25, output: 10}"
TEST_RATES = replace(NO_COST, input=2_500_000_000, output=10_000_000_000)


def jobgate(*arguments: str, **environment: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", **environment})


def told(*arguments: str, **environment: str) -> object:
    """What a command prints as JSON."""
    result = jobgate(*arguments, "--json", **environment)
    return json.loads(result.output)


def routes(folder: Path, price: str = TEST_PRICE) -> str:
    """A routes.yaml whose model openai/gpt-test has this price."""
    path = folder / "routes.yaml"
    path.write_text(routes_for("http://127.0.0.1:1").replace(TEST_PRICE, price))
    return str(path)


# ---- show


def test_show_tells_the_rates_of_a_model_and_who_states_them() -> None:
    sheets = told("prices", "show", "openai/gpt-5.4", "--routes", SHIPPED)
    assert isinstance(sheets, list)
    assert [sheet["place"] for sheet in sheets] == ["routes", "book"]
    book = sheets[1]
    assert book["source"].startswith("litellm 1.106.2")
    assert (book["usd_per_million"]["input"], book["usd_per_million"]["output"]) == ("2.5", "15")
    assert [tier["above"] for tier in book["tiers"]] == [272_000]
    assert set(book["service_tiers"]) >= {"flex", "priority"}
    text = jobgate("prices", "show", "openai/gpt-5.4", "--routes", SHIPPED).output
    assert "in the price book" in text
    assert "above 272,000" in text


def test_show_takes_the_price_of_a_day(tmp_path: Path) -> None:
    dated = "[{input: 3, output: 15}, {from: 2026-11-01, input: 2, output: 10}]"
    path = routes(tmp_path, dated)
    for day, dollars, until in (
        ("2026-10-31", "3", "2026-10-31T23:00:00.000000Z"),
        ("2026-11-01", "2", None),
    ):
        (sheet,) = told("prices", "show", "gpt-test", "--at", day, "--routes", path)  # type: ignore[misc]
        assert sheet["usd_per_million"]["input"] == dollars
        assert sheet["valid_until"] == until


def test_show_names_the_nearest_model() -> None:
    result = jobgate("prices", "show", "gpt-5.44", "--provider", "openai", "--routes", SHIPPED)
    assert result.exit_code == 2
    assert "gpt-5.44 has no price; did you mean openai/gpt-5.4" in result.output


# ---- import and diff


def a_map(folder: Path, **prices: float) -> str:
    """A LiteLLM price map with models at one provider and their input prices per token."""
    path = folder / "map.json"
    entries = {
        name: {
            "litellm_provider": "acme",
            "mode": "chat",
            "input_cost_per_token": price,
            "output_cost_per_token": 2e-06,
        }
        for name, price in prices.items()
    }
    path.write_text(json.dumps(entries))
    return str(path)


def a_book(folder: Path, name: str, **prices: float) -> str:
    """A price book made by `prices import`."""
    output = str(folder / name)
    made = jobgate(
        *("prices", "import", "--map", a_map(folder, **prices)),
        *("--on", "2026-11-02", "--output", output),
    )
    assert made.exit_code == 0
    assert f"{len(prices)} models" in made.output
    return output


def test_import_makes_a_book_from_the_installed_map(tmp_path: Path) -> None:
    output = tmp_path / "book.jsonl"
    result = jobgate("prices", "import", "--on", "2026-11-22", "--output", str(output))
    assert result.exit_code == 0
    assert output.read_bytes() == BUNDLED.read_bytes()


def test_an_imported_book_can_be_used_instead_of_the_bundled_one(tmp_path: Path) -> None:
    book = a_book(tmp_path, "book.jsonl", large=1e-06)
    found = jobgate("prices", "show", "acme/large", "--routes", "nowhere", JOBGATE_PRICE_BOOK=book)
    assert found.exit_code == 0
    assert "imported 2026-11-02" in found.output


def test_diff_tells_what_changed_in_percent_and_ends_with_1(tmp_path: Path) -> None:
    old = a_book(tmp_path, "old.jsonl", large=1e-06, small=1e-07, gone=1e-06)
    new = a_book(tmp_path, "new.jsonl", large=1.5e-06, small=1e-07, fresh=1e-06)
    result = jobgate("prices", "diff", old, new, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "added": ["acme/fresh"],
        "removed": ["acme/gone"],
        "changed": [
            {
                "provider": "acme",
                "model": "large",
                "what": "input",
                "before": "1",
                "after": "1.5",
                "percent": "50.0",
            }
        ],
    }
    assert "+50.0%" in jobgate("prices", "diff", old, new).output
    assert jobgate("prices", "diff", old, old).exit_code == 0


def test_show_names_the_nearest_provider() -> None:
    result = jobgate("prices", "show", "gpt-5.4", "--provider", "opnai", "--routes", SHIPPED)
    assert result.exit_code == 2
    assert "no provider 'opnai'; did you mean 'openai'?" in result.output


@pytest.mark.parametrize("content", ["{}", '{"gpt-5": {"mode": "chat"}}'])
def test_a_map_without_a_price_makes_no_book(tmp_path: Path, content: str) -> None:
    wrong, book = tmp_path / "map.json", tmp_path / "book"
    wrong.write_text(content)
    result = jobgate("prices", "import", "--map", str(wrong), "--output", str(book))
    assert (result.exit_code, book.exists()) == (2, False)
    assert f"{wrong} has no model with a price" in result.output


def test_a_file_that_is_no_book_or_no_map_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1]")
    for arguments in (
        ("diff", str(wrong), str(wrong)),
        ("diff", str(tmp_path / "nowhere"), str(wrong)),
        ("import", "--map", str(wrong), "--output", str(tmp_path / "book")),
        ("import", "--map", str(tmp_path / "nowhere"), "--output", str(tmp_path / "book")),
        ("import", "--on", "soon", "--output", str(tmp_path / "book")),
    ):
        result = jobgate("prices", *arguments)
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output


# ---- check


def test_check_finds_the_shipped_prices_plausible() -> None:
    result = jobgate("prices", "check", "--routes", SHIPPED)
    assert (result.exit_code, "all plausible" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("price", "intention"),
    [
        ("{input: 0.0000025, output: 15}", "a price per token"),
        ("[{input: 2.5, output: 15}, {from: 2030-01-01, input: 250, output: 15}]", "cents"),
        (
            "{input: 2.5, output: 15, tiers: [{above: 272000, input: 0.005, output: 22.5}]}",
            "`input` above 272,000 tokens is stated as $0.005",
        ),
        (
            "{input: 2.5, output: 15, service_tiers: {flex: {input: 1250, output: 7.5}}}",
            "`input` of flex is stated as $1250",
        ),
    ],
)
def test_check_refuses_a_price_that_is_off_by_more_than_five_times(
    price: str, intention: str, tmp_path: Path
) -> None:
    path = routes(tmp_path, price)
    text = Path(path).read_text().replace("openai/gpt-test", "openai/gpt-5.4")
    Path(path).write_text(text)
    result = jobgate("prices", "check", "--routes", path)
    assert result.exit_code == 2
    assert intention in result.output
    assert "confirmed: true" in result.output


@pytest.mark.parametrize(
    ("price", "meant"),
    [
        ("{input: 0.25, output: 1.5, confirmed: true}", 1),
        ("{input: 2.5, output: 15, confirmed: true}", 0),
        ("{discount_percent: 90}", 1),
    ],
)
def test_a_price_that_is_far_off_and_meant_is_told_and_not_refused(
    price: str, meant: int, tmp_path: Path
) -> None:
    path = routes(tmp_path, price)
    text = Path(path).read_text().replace("openai/gpt-test", "openai/gpt-5.4")
    Path(path).write_text(text)
    result = jobgate("prices", "check", "--json", "--routes", path)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["far_off_and_meant"]) == meant


def test_a_gateway_does_not_start_with_a_price_that_looks_like_a_slip(tmp_path: Path) -> None:
    path = routes(tmp_path, "{input: 250, output: 1500}")
    text = Path(path).read_text().replace("openai/gpt-test", "openai/gpt-5.4")
    Path(path).write_text(text)
    for command in (("check",), ("serve", "--port", "0")):
        result = jobgate(*command, "--routes", path)
        assert result.exit_code == 2
        assert "routes.yaml:" in result.output
        assert "it looks like cents, where dollars belong" in result.output


def test_check_tells_which_targets_have_no_price(tmp_path: Path) -> None:
    result = jobgate("prices", "check", "--routes", routes(tmp_path))
    assert result.exit_code == 0
    assert "openai/gpt-unpriced has no price" in result.output


# ---- rerate

PERIOD = ("--from", "2026-11-01", "--to", "2026-11-30")


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """Books in which two teams have used a hundred input and ten output tokens each."""
    database = opened(database_url)
    found = Books(database, [a_budget(limit=10**9)], clock=FrozenClock("2026-11-02T12:00:00+01:00"))
    for team in ("brand", "data"):
        book(found, team, Usage(input=100, output=10), 100 * 2_500 + 10 * 10_000)
    yield found
    database.close()


def book(books: Books, team: str, usage: Usage, nanos: int, **more: object) -> None:
    payer = Payer(team, "site", "key_1", "extraction", {})
    hold = books.hold(max(nanos, 1), 1_000, payer)
    fields = {"model_served": "gpt-test", "amount_nanos": nanos, "rates": TEST_RATES}
    books.end(hold, charged(usage, **fields | more))


def rerate(books: Books, path: str, *more: str, period: tuple[str, ...] = PERIOD) -> Result:
    url = books.database.url.render_as_string(hide_password=False)
    return jobgate("prices", "rerate", *period, "--routes", path, "--database-url", url, *more)


def spent(books: Books) -> int:
    ((budget, *_), (nanos, *_)), *others = books.balances().items()
    assert (budget, others) == ("cap", [])
    return nanos


def test_a_dry_run_tells_what_other_prices_would_move_by_team_and_month(
    books: Books, tmp_path: Path
) -> None:
    before = spent(books)
    result = rerate(books, routes(tmp_path, "{input: 3, output: 10}"), "--dry-run", "--json")
    assert json.loads(result.output)["moved"] == [
        {
            "team": team,
            "month": "2026-11",
            "entries": 1,
            "moved_nanos": 50_000,
            "moved_usd": "0.000050000",
        }
        for team in ("brand", "data")
    ]
    assert spent(books) == before
    text = rerate(books, routes(tmp_path, "{input: 3, output: 10}"), "--dry-run").output
    assert "2 would move 0.000100000 USD in all." in text


def test_rerating_posts_adjusting_entries_and_a_second_run_finds_nothing(
    books: Books, tmp_path: Path
) -> None:
    before, path = spent(books), routes(tmp_path, "{input: 3, output: 10}")
    result = rerate(books, path, "--author", "finance", "--reason", "the new contract")
    assert (result.exit_code, "2 moved 0.000100000 USD" in result.output) == (0, True)
    found = books.rows(
        "SELECT id, corrects, amount_nanos, reason, author, prices FROM entries"
        " WHERE org = :org AND kind = 'adjust' ORDER BY id"
    )
    for entry, corrects, nanos, reason, author, prices in found:
        assert (entry, nanos) == (f"{corrects}.rerated-1", 50_000)
        assert (reason, author) == ("rerated: the new contract", "finance")
        assert '"input":3000000000' in prices
    assert len(found) == 2
    assert spent(books) == before + 100_000
    assert audit(books.database, "main")[0] == []
    again = json.loads(rerate(books, path, "--json").output)
    assert (again["seen"], again["moved"]) == (2, [])


def test_a_price_that_is_put_back_moves_the_money_back(books: Books, tmp_path: Path) -> None:
    before = spent(books)
    rerate(books, routes(tmp_path, "{input: 3, output: 10}"))
    rerate(books, routes(tmp_path))
    assert spent(books) == before
    assert len(books.rows("SELECT id FROM entries WHERE org = :org")) == 6
    assert audit(books.database, "main")[0] == []


def test_rerating_uses_the_price_of_the_day_and_the_range_that_is_asked_for(
    books: Books, tmp_path: Path
) -> None:
    path = routes(tmp_path, "[{input: 2.5, output: 10}, {from: 2026-11-03, input: 9, output: 9}]")
    assert json.loads(rerate(books, path, "--json").output)["moved"] == []
    cheaper = routes(tmp_path, "{input: 1, output: 10}")
    tomorrow = ("--from", "2026-11-03", "--to", "2026-11-03")
    result = rerate(books, cheaper, "--json", "--dry-run", period=tomorrow)
    assert json.loads(result.output)["seen"] == 0


def test_amounts_that_are_not_a_product_of_prices_are_left_alone(
    books: Books, tmp_path: Path
) -> None:
    book(books, "brand", Usage(input=9), 77, reason=CHARGE_STATED)
    book(books, "brand", Usage(input=9), 77, quality=PRESUMED)
    book(books, "brand", NOTHING, 0)
    result = json.loads(rerate(books, routes(tmp_path), "--json").output)
    assert (result["seen"], result["moved"]) == (2, [])


def test_entries_of_a_target_without_a_price_are_told_and_left_alone(
    books: Books, tmp_path: Path
) -> None:
    path = routes(tmp_path)
    text = Path(path).read_text().replace(f"openai/gpt-test: {{price: {TEST_PRICE}, ", "x/y: {")
    Path(path).write_text(text.replace("x/y: {", "openai/gpt-test: {"))
    result = json.loads(rerate(books, path, "--json").output)
    assert result["unpriced"] == {"openai/gpt-test": 2}
    assert result["moved"] == []
