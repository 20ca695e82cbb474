"""`jobgate why`: the page of one request, as a table and as JSON."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.cli.why import budgets_table
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
BUDGETS = "\n  all: {scope: organisation, limit: 100 USD, period: month}"


async def jobgate(url: str, *arguments: str) -> Result:
    """Run a command beside the running gateway, on its books."""
    environment = {"COLUMNS": "200", "JOBGATE_DATABASE_URL": url}
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)


async def asked(gateway: RunningGateway, provider: ScriptedProvider, **more: Any) -> str:
    """The id of a request by an alias whose first attempt fails."""
    provider.scripts(Script(status=500), Script(text="Two words", input=100, output=2))
    raw = await gateway.client().chat.completions.with_raw_response.create(
        model="with-fallback", messages=QUESTION, extra_headers={"X-Jobgate-Tags": ""}, **more
    )
    return str(raw.headers["x-jobgate-request-id"])


async def test_the_page_reads_from_who_asked_to_the_last_correction(
    provider: ScriptedProvider, database_url: str
) -> None:
    async with running(routes_for(provider.url, budgets=BUDGETS), database_url) as gateway:
        request_id = await asked(gateway, provider, max_tokens=5000)
        corrected = await jobgate(
            database_url,
            *("adjust", f"{request_id}.2", "--usd", "-0.0001"),
            *("--reason", "a credit", "--author", "fin"),
        )
        assert corrected.exit_code == 0, corrected.stderr
        told = await jobgate(database_url, "why", request_id)
        by_attempt = await jobgate(database_url, "why", f"{request_id}.2", "--format", "json")

    assert told.exit_code == by_attempt.exit_code == 0, told.stderr
    page = told.stdout
    in_order = (
        f"{request_id}: ended, $0.000170000",
        "of app site, team brand",
        "with-fallback: the field `model` named it",
        "1. openai/gpt-test: attempt 1: provider_broken",
        "2. openai/gpt-test: attempt 2: ok",
        "Attempt 1 at openai/gpt-test (cloud): provider_broken, $0.000000000",
        "Attempt 2 at openai/gpt-test (cloud): ok, $0.000170000",
        "changed  max_tokens=5000->4000 (job limit)",
        "bound    at most $0.04",
        "all (month)  $100.00  $0.00   $0.0404075  $0.00017  $0.00017  $0.00017",
        "100 input x $2.5 a million = $0.000250000",
        "2 output x $10 a million = $0.000020000",
        "-$0.000100000  reported",
        "by fin: a credit",
    )
    at = 0
    for sentence in in_order:
        assert sentence in page[at:], (sentence, page)
        at = page.index(sentence, at)
    found = json.loads(by_attempt.stdout)
    assert found["request_id"] == request_id
    assert found["amount_nanos"] == 270_000 - 100_000
    (budget,) = found["attempts"][1]["budgets"]
    assert (budget["booked"], budget["after"]["spent"]) == (170_000, 170_000)
    (adjustment,) = found["attempts"][1]["adjustments"]
    assert (adjustment["author"], adjustment["corrects"]) == ("fin", f"{request_id}.2")


def test_no_figure_is_cut_off_however_narrow_the_terminal() -> None:
    figures = {"limit": 10**12, "spent": 123_456_789_012, "held": 0}
    row = {"budget": "all", "subject": "", "period": "month", "hard": True, "unit": "usd"}
    stood: dict[str, Any] = dict.fromkeys(("before", "after", "now"), figures)
    paper = io.StringIO()
    table = budgets_table([{**row, **stood, "taken": 1_234_567_890, "booked": 1}])
    Console(width=48, file=paper, color_system=None).print(table)
    assert "…" not in paper.getvalue()


async def test_of_a_refused_request_it_says_what_can_be_told(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url):
        told = await jobgate(sqlite_url, "why", "req_never")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "holds and spends nothing, so it leaves no entry" in told.stderr
    assert "GET /admin/v1/requests/req_never" in told.stderr
