"""What-if: what the command line makes of an answer, for people, programs and checks."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.clock import FrozenClock, SystemClock
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Payer
from tests.insight.asking import FILE_TEXT, changed
from tests.insight.test_whatif_promises import a_version
from tests.treasury.booking import Books, opening


def jobgate(tmp_path: Path, url: str, text: str, *arguments: str) -> Result:
    (tmp_path / "routes.yaml").write_text(FILE_TEXT)
    (tmp_path / "new.yaml").write_text(text)
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "JOBGATE_ROUTES": str(tmp_path / "routes.yaml"),
        "JOBGATE_DATABASE_URL": url,
    }
    new = [] if "--follow" in arguments else [str(tmp_path / "new.yaml")]
    return CliRunner().invoke(app, ["whatif", *new, *arguments], env=environment)


DEARER = changed(("gpt-test: {price: {input: 0.0015", "gpt-test: {price: {input: 0.0018"))


@pytest.fixture
def url(sqlite_url: str) -> str:
    """Books of a team with an awkward name, which spent a little yesterday."""
    with opening(sqlite_url) as database:
        clock = FrozenClock()
        clock.micros = SystemClock().now() - 24 * 3_600_000_000
        books = Books(database, clock=clock)
        books.book(Usage(input=1_000_000), Payer("a|b <i>", "site", "key_1", "extraction", {}))
    return sqlite_url


INCREASES: Sequence[tuple[str, int]] = (("10%", 1), ("19.9", 1), ("20%", 0), ("25%", 0))


@pytest.mark.parametrize(("most", "status"), INCREASES)
def test_a_check_fails_when_the_cost_grows_by_more(
    tmp_path: Path, url: str, most: str, status: int
) -> None:
    told = jobgate(tmp_path, url, DEARER, "--fail-if-increase", most)
    assert told.exit_code == status, told.stderr
    assert ("the cost changes by +20.0%" in told.stderr) == bool(status)
    assert "+$0.000300 (+20.0%)" in told.stdout


def test_a_comment_shows_names_as_they_are(tmp_path: Path, url: str) -> None:
    told = jobgate(tmp_path, url, DEARER, "--format", "markdown").stdout
    assert r"| a\|b \<i> |" in told
    assert "<details><summary>Spend by model</summary>" in told
    assert told.count("<details>") == told.count("</details>")


def test_programs_are_told_exact_amounts(tmp_path: Path, url: str) -> None:
    told = json.loads(jobgate(tmp_path, url, DEARER, "--format", "json").stdout)
    assert told["difference_nanos"] == 300_000
    assert told["by_job"][0]["reasons"] == [
        {"why": "price changed: openai/gpt-test", "entries": 1, "nanos": 300_000}
    ]


def test_refused_requests_fail_a_check_that_asks_for_it(tmp_path: Path, url: str) -> None:
    text = changed(("  extraction:\n", "  other:\n"))
    assert jobgate(tmp_path, url, text, "--fail-if-increase", "0%").exit_code == 0
    told = jobgate(tmp_path, url, text, "--fail-if-refused")
    assert (told.exit_code, "1 request would be refused" in told.stderr) == (1, True)
    assert "refused: 1 request would get no answer" in told.stdout


def test_where_there_were_no_requests_nothing_is_said_to_be_new(
    tmp_path: Path, sqlite_url: str
) -> None:
    with opening(sqlite_url) as database:
        now = SystemClock().now()
        a_version(database, FILE_TEXT, now - 7_200_000_000)
        a_version(database, DEARER, now - 3_600_000_000)
    told = jobgate(tmp_path, sqlite_url, "", "--follow", "2")
    assert "Version 2 had no requests to go by before it went live on" in told.stdout
    assert "; there were no requests since." in told.stdout

    told = jobgate(tmp_path, sqlite_url, DEARER, "--fail-if-increase", "10%")
    assert told.exit_code == 0, told.stderr
    assert "nothing was recorded in this time" in told.stdout


REFUSED = {
    "a file that is not valid": ("jobs: [\n", [], "not valid YAML"),
    "no percentage": (FILE_TEXT, ["--fail-if-increase", "ten"], "write a percentage"),
    "no day": (FILE_TEXT, ["--prices-on", "soon"], "is not a day"),
    "a check of what came": (
        FILE_TEXT,
        ["--follow", "2", "--fail-if-increase", "10%"],
        "are for a file; --follow only tells what came",
    ),
    "no such version": (FILE_TEXT, ["--follow", "7"], "no version '7' was ever live"),
}


@pytest.mark.parametrize(("text", "arguments", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_is_said(
    tmp_path: Path, url: str, text: str, arguments: list[str], sentence: str
) -> None:
    told = jobgate(tmp_path, url, text, *arguments)
    assert told.exit_code == 2
    assert sentence in told.stderr
