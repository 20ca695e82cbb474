"""The command line as people use it: what it prints, and with which status it ends."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import PLACES, app
from gateway.ledger.entries import Draft, Ending
from gateway.metering.usage import Usage
from gateway.prices.rates import NO_COST
from gateway.store.database import Database
from gateway.store.schema import migrate
from gateway.treasury.groups import Admission, Closing, Group
from gateway.treasury.holds import Hold
from tests.gateways import routes_for

SHIPPED = str(Path(__file__).parents[2] / "routes.yaml")
NOON = 1_793_620_800_000_000
"""2026-11-02 at noon, UTC."""


def jobgate(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture
def books(sqlite_url: str) -> str:
    """A database in which two teams have spent something on 2 November 2026."""
    database = Database(sqlite_url)
    migrate(database)
    group = Group("main", "sqlite", "test")
    for number, (team, job, dollars) in enumerate(
        [("brand", "extraction", 3), ("brand", "private", 1), ("data", "extraction", 5)]
    ):
        book(database, group, f"req_{number}.1", team, job, dollars * 1_000_000_000)
    database.close()
    return sqlite_url


def book(database: Database, group: Group, hold_id: str, team: str, job: str, nanos: int) -> None:
    """Write one entry through the ledger's own code."""
    draft = Draft(
        request_id=hold_id.partition(".")[0],
        attempt=1,
        key_id="key_1",
        team=team,
        app=f"{team}-app",
        job=job,
        target="openai/gpt-test",
        provider="openai",
        residency="cloud",
        confined=False,
        model="gpt-test",
        stream=False,
        tags={},
        rates=NO_COST,
    )
    admission = Admission(
        id=hold_id,
        draft=draft,
        lines=lambda _now: [],
        ceiling_nanos=nanos,
        ceiling_tokens=10,
        request_count=1,
        open_micros=10**9,
        wait_until=0.0,
        future=None,  # type: ignore[arg-type]
    )
    with database.writing() as cursor:
        ((_, hold),) = group.run(cursor, [admission], [], NOON, 0.0).answers
        assert isinstance(hold, Hold)
        ending = Ending(
            outcome="ok",
            quality="reported",
            usage=Usage(input=7, output=3),
            amount_nanos=nanos,
            tokens=10,
            reason="the provider stated the charge",
        )
        group.run(cursor, [], [Closing(hold, ending)], NOON, 0.0)


def test_the_shipped_routes_are_valid_and_check_says_so() -> None:
    result = jobgate("check", "--routes", SHIPPED)
    assert result.exit_code == 0
    assert "is valid: 5 jobs, 5 providers" in result.output


def test_a_broken_file_ends_with_status_2_and_tells_every_mistake_with_its_line(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "routes.yaml"
    text = routes_for("http://127.0.0.1:1").replace("openai/gpt-spare]", "opnai/gpt-spare]")
    broken.write_text(text.replace("gpt-4o: extraction", "gpt-4o: extracton"))
    for command in (["check"], ["serve", "--port", "1"], ["explain", "extraction"]):
        result = jobgate(*command, "--routes", str(broken))
        assert result.exit_code == 2
        assert "unknown provider 'opnai'; did you mean 'openai'?" in result.output
        assert "did you mean 'extraction'?" in result.output
        assert "Traceback" not in result.output


@pytest.mark.parametrize(("option", "value"), [("--port", "99999"), ("--log-level", "loud")])
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(
    option: str, value: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    result = jobgate("serve", option, value, "--routes", SHIPPED, "--database-url", url)
    assert result.exit_code == 2
    assert option in result.output
    assert not list(tmp_path.iterdir())


def test_a_narrow_screen_cuts_no_figure_and_no_name(books: str) -> None:
    command = [
        "report",
        "--by",
        "team,job,app,target",
        "--from",
        "2026-11-01",
        "--to",
        "2026-11-30",
    ]
    told = CliRunner().invoke(app, [*command, "--database-url", books], env={"COLUMNS": "40"})
    for word in ("extraction", "openai/gpt-test", "3.000000000", "5.000000000", "9.000000000"):
        assert word in told.output


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = jobgate("check", "--routes", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 2
    assert "nowhere.yaml: cannot be read" in result.output


def test_a_database_that_is_away_is_told_in_a_sentence_and_can_be_tried_again() -> None:
    result = jobgate("audit", "--database-url", "postgresql://postgres@127.0.0.1:1/none")
    assert result.exit_code == 75
    assert result.output.startswith("the database: ")
    assert "Traceback" not in result.output


def test_explain_tells_targets_prices_and_what_would_be_changed() -> None:
    result = jobgate("explain", "gpt-4o", "--routes", SHIPPED, "--temperature", "1.7", "--json")
    told = json.loads(result.output)
    assert (told["asked"], told["job"]) == ("gpt-4o", "extraction")
    assert told["targets"][0]["changes"] == ["temperature=1.7->0.3 (job maximum)"]
    assert all(float(target["usd_per_1000_requests"]) > 0 for target in told["targets"])
    assert {budget["name"] for budget in told["budgets"]} >= {"everything", "app-rate"}


def test_explain_names_the_nearest_job() -> None:
    result = jobgate("explain", "extractoin", "--routes", SHIPPED)
    assert result.exit_code == 2
    assert "did you mean 'extraction'?" in result.output


def test_a_key_is_printed_once_as_json_and_listed_without_its_secret(sqlite_url: str) -> None:
    made = jobgate(
        *("keys", "create", "--team", "brand", "--app", "site", "--jobs", "extraction,private"),
        *("--budget", "50/month", "--expires", "90d", "--json"),
        *("--routes", SHIPPED, "--database-url", sqlite_url),
    )
    told = json.loads(made.output)
    assert set(told) == {"id", "key"}
    assert told["key"].startswith("jg_")
    listed = json.loads(jobgate("keys", "list", "--json", "--database-url", sqlite_url).output)
    assert [key["id"] for key in listed] == [told["id"]]
    assert listed[0]["jobs"] == ["extraction", "private"]
    assert listed[0]["budget_nanos"] == 50 * 10**9
    assert told["key"] not in json.dumps(listed)


def test_a_key_for_an_unknown_job_is_not_made(sqlite_url: str) -> None:
    result = jobgate(
        *("keys", "create", "--team", "brand", "--app", "site", "--jobs", "extracton"),
        *("--routes", SHIPPED, "--database-url", sqlite_url),
    )
    assert result.exit_code == 2
    assert "did you mean 'extraction'?" in result.output
    assert json.loads(jobgate("keys", "list", "--json", "--database-url", sqlite_url).output) == []


def test_revoking_twice_is_told(sqlite_url: str) -> None:
    made = jobgate(
        *("keys", "create", "--team", "t", "--app", "a", "--json"),
        *("--routes", SHIPPED, "--database-url", sqlite_url),
    )
    key_id = json.loads(made.output)["id"]
    assert jobgate("keys", "revoke", key_id, "--database-url", sqlite_url).exit_code == 0
    again = jobgate("keys", "revoke", key_id, "--database-url", sqlite_url)
    assert again.exit_code == 2
    assert key_id in again.output


def test_a_report_says_the_same_as_json_csv_and_table(books: str) -> None:
    period = ("--from", "2026-11-01", "--to", "2026-11-30", "--routes", SHIPPED)
    arguments = ("report", "--by", "team,job", *period, "--database-url", books)
    told = json.loads(jobgate(*arguments, "--format", "json").output)
    assert [(row["team"], row["job"], row["amount_nanos"]) for row in told] == [
        ("data", "extraction", 5 * 10**9),
        ("brand", "extraction", 3 * 10**9),
        ("brand", "private", 1 * 10**9),
    ]
    rows = list(csv.DictReader(io.StringIO(jobgate(*arguments, "--format", "csv").output)))
    assert [(row["team"], row["amount_usd"]) for row in rows] == [
        ("data", "5.000000000"),
        ("brand", "3.000000000"),
        ("brand", "1.000000000"),
    ]
    assert "9.000000" in jobgate(*arguments).output


def test_a_report_outside_the_period_is_empty_and_says_so(books: str) -> None:
    result = jobgate(
        *("report", "--from", "2026-10-01", "--to", "2026-10-31"),
        *("--routes", SHIPPED, "--database-url", books),
    )
    assert result.exit_code == 0
    assert "Nothing was spent in this period." in result.output


def test_a_report_is_to_the_nano_and_names_each_dimension_once(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    migrate(database)
    book(database, Group("main", "sqlite", "test"), "req_0.1", "brand", "extraction", 101)
    database.close()
    period = ("--from", "2026-11-01", "--to", "2026-11-30", "--routes", SHIPPED)
    result = jobgate("report", "--by", "team,team", *period, "--database-url", sqlite_url)
    (row,) = [line for line in result.output.splitlines() if "brand" in line]
    assert (row.count("brand"), "0.000000101" in row) == (1, True)


@pytest.mark.parametrize("said", ["[/bold]", "[red]x", "[corrects 2026-10]", "\\["])
def test_what_callers_write_is_printed_as_it_stands(said: str, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    migrate(database)
    book(database, Group("main", "sqlite", "test"), "req_0.1", said, "extraction", 100)
    database.close()
    period = ("--from", "2026-11-01", "--to", "2026-11-30", "--routes", SHIPPED)
    result = jobgate("report", "--by", "team", *period, "--database-url", sqlite_url)
    assert (result.exit_code, said in result.output) == (0, True), result.output
    statement = ("statement", "--team", said, "--month", "2026-11", "--routes", SHIPPED)
    result = jobgate(*statement, "--database-url", sqlite_url)
    assert (result.exit_code, said in result.output) == (0, True), result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2026-13-01"), "--from: '2026-13-01' is not a day such as 2026-11-01"),
        (("--to", "soon"), "--to: 'soon' is not a day such as 2026-11-01"),
        (("--to", "2001-01-01"), "--from the first of this month is not before --to 2001-01-01"),
    ],
)
def test_a_period_that_is_none_is_told_with_its_option(
    books: str, arguments: tuple[str, ...], said: str
) -> None:
    result = jobgate("report", *arguments, "--database-url", books, "--routes", SHIPPED)
    assert (result.exit_code, said in result.output) == (2, True)


def test_a_report_without_routes_says_whose_days_it_takes(books: str, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.yaml")
    result = jobgate("report", "--database-url", books, "--routes", nowhere, "--format", "csv")
    assert result.exit_code == 0
    assert f"{nowhere} is not there: days are those of UTC" in result.stderr
    assert "UTC" not in result.stdout


def test_a_report_by_something_unknown_is_refused(books: str) -> None:
    result = jobgate("report", "--by", "colour", "--database-url", books, "--routes", SHIPPED)
    assert result.exit_code == 2
    assert "--by: 'colour' is not one of team, app, job" in result.output


def test_audit_counts_entries_and_ends_with_1_when_something_is_found(books: str) -> None:
    good = jobgate("audit", "--json", "--database-url", books)
    assert (good.exit_code, json.loads(good.output)) == (0, {"findings": [], "entries": 3})
    database = Database(books)
    with database.writing() as cursor:
        cursor.run("UPDATE rollups SET tokens = tokens + 1 WHERE team = 'data'", {})
    database.close()
    bad = jobgate("audit", "--json", "--database-url", books)
    assert bad.exit_code == 1
    assert [finding["law"] for finding in json.loads(bad.output)["findings"]] == ["3"]


# ---- the list of commands


def test_the_version_is_told() -> None:
    result = jobgate("--version")
    assert (result.exit_code, result.stdout) == (0, f"jobgate {version('jobgate')}\n")


@pytest.mark.parametrize("name", PLACES)
def test_every_command_is_where_the_list_says_and_has_its_own_help(name: str) -> None:
    result = jobgate(name, "--help")
    assert (result.exit_code, f"jobgate {name}" in result.stdout) == (0, True), result.output


def test_the_help_lists_every_command_and_a_slip_is_understood() -> None:
    listed = jobgate("--help").stdout
    assert [name for name in PLACES if f" {name} " not in listed] == []
    slip = jobgate("chekc")
    assert (slip.exit_code, "Did you mean 'check'?" in slip.output) == (2, True)


def test_a_command_reads_no_more_of_the_program_than_it_needs() -> None:
    """Checking a file takes no database, and making a key no web framework."""
    for command, unneeded in (
        ("routing", ("sqlalchemy", "fastapi", "aiohttp", "tiktoken")),
        ("keys", ("fastapi", "aiohttp", "tiktoken", "litellm")),
    ):
        program = f"import sys, gateway.cli.{command}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert done.stdout.split().count(b"gateway.cli.options") == 1
        assert not set(done.stdout.decode().split()) & set(unneeded), command


LOOKING = (
    ["audit"],
    ["report", "--by", "team", "--from", "2026-11-01", "--to", "2026-11-30"],
    ["routes", "history"],
    ["routes", "rollback", "1", "--reason", "x"],
    ["whatif", SHIPPED],
    ["changes"],
    ["why", "req_1"],
    ["sessions", "list"],
    ["forecast"],
)


@pytest.mark.parametrize("arguments", LOOKING, ids=lambda words: " ".join(words[:2]))
def test_books_that_are_not_there_are_not_taken_for_empty_ones(
    arguments: list[str], tmp_path: Path
) -> None:
    """An audit of a mistyped name would say that the books balance."""
    missing = tmp_path / "typo" / "books.db"
    told = jobgate(*arguments, "--database-url", f"sqlite:///{missing}")
    assert told.exit_code == 2, told.output
    assert f"there are no books at {missing}" in told.stderr.replace("\n", "")
    assert not missing.parent.exists()
