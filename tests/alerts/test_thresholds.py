"""A budget's thresholds are told once each, by any number of processes, with the books' figures."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.alerts.outbox import SENT, Outbox
from gateway.clock import FrozenClock
from gateway.store.database import Database
from tests.alerts.receiving import an_inbox
from tests.alerts.telling import ANSWER, BUDGETS, COST, ENVIRONMENT, HARD, SECRET, spend, telling
from tests.chaos.processes import gateway_process
from tests.gateways import running
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


async def test_each_threshold_is_told_once_and_of_several_the_highest(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with (
        an_inbox() as inbox,
        running(telling(provider.url, inbox.url), database_url, environment=ENVIRONMENT) as gateway,
    ):
        key, alerting = gateway.key(), gateway.gateway.alerting
        for answers, told in ((4, 0), (1, 1), (1, 1), (3, 2), (1, 3)):
            assert await spend(gateway, key, answers) == [200] * answers
            await alerting.turn()
            await alerting.turn()
            assert len(inbox.posts) == told
        assert inbox.titles == [
            "Budget brands of brand: 50 % is spent",
            "Budget brands of brand: 90 % is spent",
            "Budget brands of brand: 100 % is spent",
        ]
        balance = gateway.balances()["brands", "brand"]
        facts = inbox.bodies[-1]["facts"]
        assert (
            (facts["spent"], facts["held"])
            == (balance["spent"], balance["held"])
            == (
                10 * COST,
                0,
            )
        )
        assert (facts["limit"], facts["unit"]) == (10 * COST, "nano_usd")
        assert [one["facts"]["threshold_percent"] for one in inbox.bodies] == [50, 80, 100]
        assert "Ask fin@x.com for more." in inbox.bodies[0]["text"]


async def test_the_next_period_is_told_of_anew(provider: ScriptedProvider, sqlite_url: str) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    routes = telling(provider.url, "http://127.0.0.1:9/hook")
    async with running(routes, sqlite_url, environment=ENVIRONMENT, clock=clock) as gateway:
        key, alerting = gateway.key(), gateway.gateway.alerting
        for month in (1, 2):
            await spend(gateway, key, 5)
            alerting.look()
            assert len(alerting.outbox.newest()) == month
            clock.move(31 * 86_400)
            alerting.look()


async def test_a_budget_can_say_otherwise(provider: ScriptedProvider, sqlite_url: str) -> None:
    provider.script = ANSWER
    budgets = BUDGETS.replace("}", ", alerts: {at: [30], projected: false}}")
    async with (
        an_inbox() as inbox,
        running(
            telling(provider.url, inbox.url, budgets=budgets), sqlite_url, environment=ENVIRONMENT
        ) as gateway,
    ):
        key, alerting = gateway.key(), gateway.gateway.alerting
        await spend(gateway, key, 2)
        await alerting.turn()
        assert inbox.posts == []
        await spend(gateway, key, 8)
        await alerting.turn()
        assert [one["facts"]["threshold_percent"] for one in inbox.bodies] == [30]


async def test_a_hard_budget_that_refuses_what_is_left_is_used_up(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    budgets = HARD.replace("0.10025", "0.109")
    async with (
        an_inbox() as inbox,
        running(
            telling(provider.url, inbox.url, budgets=budgets),
            database_url,
            environment=ENVIRONMENT,
        ) as gateway,
    ):
        key, alerting = gateway.key(), gateway.gateway.alerting
        assert await spend(gateway, key, 10) == [200] * 10
        await alerting.turn()
        assert inbox.titles == ["Budget brands of brand: 91 % is spent"]
        assert await spend(gateway, key) == [402]
        await alerting.turn()
        assert inbox.titles[1:] == [
            "Budget brands of brand is used up: 91 % is spent and requests are refused"
        ]
        assert inbox.bodies[1]["severity"] == "critical"


async def test_a_raise_makes_a_limit_whose_thresholds_are_told_anew(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with (
        an_inbox() as inbox,
        running(telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT) as gateway,
        aiohttp.ClientSession() as http,
    ):
        key, alerting = gateway.key(), gateway.gateway.alerting
        await spend(gateway, key, 10)
        await alerting.turn()
        more = {
            "budget": "brands",
            "subject": "brand",
            "amount": "0.06015",
            "until": "2099-01-01T00:00:00Z",
            "reason": "a launch",
        }
        headers = {"Authorization": f"Bearer {gateway.admin_key}"}
        async with http.post(
            f"{gateway.url}/admin/v1/raises", json=more, headers=headers
        ) as answer:
            assert answer.status == 201
        gateway.gateway._fresh.refresh()
        await spend(gateway, key, 6)
        await alerting.turn()
        assert [one["facts"]["limit"] for one in inbox.bodies] == [10 * COST, 16 * COST]
        assert inbox.titles[-1] == "Budget brands of brand: 100 % is spent"


async def test_two_gateways_that_look_at_once_tell_once(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.script = ANSWER
    async with an_inbox() as inbox:
        routes = telling(provider.url, inbox.url)
        async with (
            running(routes, postgres_url, environment=ENVIRONMENT) as one,
            running(routes, postgres_url, environment=ENVIRONMENT) as other,
        ):
            key = one.key()
            both = (one.gateway.alerting, other.gateway.alerting)
            for answers in (5, 3, 2):
                await spend(one, key, answers)
                await asyncio.gather(*(alerting.turn() for alerting in both * 3))
            assert [body["facts"]["threshold_percent"] for body in inbox.bodies] == [50, 80, 100]
            assert {found.attempts for found in both[0].outbox.newest()} == {1}


async def test_two_processes_deliver_by_themselves_and_once(
    provider: ScriptedProvider,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.script = ANSWER
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with an_inbox() as inbox, aiohttp.ClientSession() as http:
        routes = telling(provider.url, inbox.url, budgets=BUDGETS.replace("0.10025", "0.010025"))
        folders = [tmp_path / name for name in ("one", "other")]
        for folder in folders:
            folder.mkdir()
        with (
            gateway_process(folders[0], routes, postgres_url, forked=True) as one,
            gateway_process(folders[1], routes, postgres_url, forked=True) as other,
        ):
            headers = {"Authorization": f"Bearer {await asyncio.to_thread(one.key)}"}
            body = {
                "model": "extraction",
                "messages": [{"role": "user", "content": "Hi"}],
                "max_tokens": 1000,
            }
            async with http.post(
                f"{one.url}/v1/chat/completions", json=body, headers=headers
            ) as answer:
                assert answer.status == 200
            async with asyncio.timeout(30):
                await inbox.arrived.wait()
            for process in (one, other):  # each finishes what it is doing
                assert await asyncio.to_thread(process.end, signal.SIGTERM) == 0
        database = Database(postgres_url)
        (found,) = Outbox(database, "main").newest()
        database.close()
    assert inbox.titles == ["Budget brands of brand: 100 % is spent"]
    assert (found.state, found.attempts) == (SENT, 1)
