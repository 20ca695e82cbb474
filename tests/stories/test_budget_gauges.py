"""What /metrics says of budgets is how they stand in the books now, whoever wrote them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from gateway.callers.changes import By
from gateway.cli.commands import app
from gateway.clock import MICROS, FrozenClock
from gateway.treasury.raises import RaiseBook
from tests.endings.callers import calling
from tests.gateways import SECRETS, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

DOLLAR = 1_000_000_000
BUDGETS = """
  whole: {scope: organisation, limit: 100 USD, period: month}
  teams: {scope: each team, limit: 50 USD, period: month}"""


async def scraped(gateway: RunningGateway, name: str) -> dict[str, float]:
    """The values of a budget gauge, by budget and subject."""
    async with calling(gateway) as caller:
        answer = await caller._session.get(f"{gateway.url}/metrics")
        text = await answer.text()
    return {
        " ".join(filter(None, (sample.labels["budget"], sample.labels["subject"]))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"jobgate_budget_{name}"
    }


async def test_a_raise_that_is_over_is_out_of_the_limit_before_anybody_asks_for_anything(
    provider: ScriptedProvider, database_url: str
) -> None:
    clock = FrozenClock()
    routes = routes_for(provider.url, budgets=BUDGETS)
    async with running(routes, database_url, clock=clock) as gateway, calling(gateway) as caller:
        assert await scraped(gateway, "limit") == {"whole": 100 * DOLLAR}, "no team has asked yet"
        inside = gateway.gateway
        book = RaiseBook(inside.database, inside.settings.org, clock)
        until, by = clock.now() + 3600 * MICROS, By("fin", "finance", "tests")
        book.grant("whole", "", 10 * DOLLAR, until=until, reason="a launch", by=by)
        async with asyncio.timeout(2.0):
            while not inside._raises.known:
                await asyncio.sleep(0.01)
        assert (await scraped(gateway, "limit"))["whole"] == 110 * DOLLAR
        assert (await caller.ask("extraction")).status == 200
        assert await scraped(gateway, "limit") == {
            "whole": 110 * DOLLAR,
            "teams brand": 50 * DOLLAR,
        }
        clock.move(3600)
        assert (await scraped(gateway, "limit"))["whole"] == 100 * DOLLAR


async def test_a_correction_from_the_command_line_is_in_the_next_scrape(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.script = Script(text="Two words", input=100, output=2)
    text, url = routes_for(provider.url, budgets=BUDGETS), f"sqlite:///{tmp_path}/books.db"
    (tmp_path / "routes.yaml").write_text(text)
    async with running(text, url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction")
        (entry,) = gateway.entries(heard.request_id)
        options = ("--usd=0.5", "--reason=late bill", "--author=fin")
        environment = {
            **SECRETS,
            "JOBGATE_ROUTES": str(tmp_path / "routes.yaml"),
            "JOBGATE_DATABASE_URL": url,
        }
        result = await asyncio.to_thread(
            CliRunner().invoke, app, ["adjust", entry["id"], *options], env=environment
        )
        assert result.exit_code == 0, result.output
        spent = entry["amount_nanos"] + DOLLAR // 2
        assert await scraped(gateway, "spent") == {"whole": spent, "teams brand": spent}
