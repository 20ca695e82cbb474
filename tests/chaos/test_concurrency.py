"""Five hundred at once on a budget for a hundred: nobody overspends, nobody is refused falsely."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

CALLERS = 500
OUTPUT_LIMIT = 50
ANSWER = Script(text="Two words", input=40, output=10)
COST = 40 * 2_500 + 10 * 10_000
"""What each answer costs; its ceiling is several times as much."""


async def ask_all(gateway: RunningGateway, key: str, seed: int) -> list[dict[str, Any]]:
    """Every caller asks once, in random order; returns what each was told."""
    chance = random.Random(seed)
    body = {
        "model": "extraction",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_tokens": OUTPUT_LIMIT,
    }
    headers = {"Authorization": f"Bearer {key}"}
    told: list[dict[str, Any]] = []

    async def ask(session: aiohttp.ClientSession) -> None:
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        url = f"{gateway.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as answer:
            content = await answer.json()
            told.append({"status": answer.status, "retry": answer.headers, **content})

    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(CALLERS):
            group.create_task(ask(session))
    return told


def patient(routes: str, seconds: int) -> str:
    """The same routes, where admissions wait so long for room."""
    return routes.replace(
        "    tags: [stage, run", f"    wait_for_room: {seconds}\n    tags: [stage, run"
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_request_that_fits_in_the_end_is_served_and_not_one_more(
    seed: int, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    limit = 100 * COST + COST // 2
    budgets = f"\n  small: {{scope: organisation, limit: {limit / 1e9:.9f} USD, period: month}}"
    routes = patient(routes_for(provider.url, budgets=budgets), 60)
    async with running(routes, database_url) as gateway:
        told = await ask_all(gateway, gateway.key(), seed)
        balance = gateway.balances()[("small", "")]
        ceilings = {entry["ceiling_nanos"] for entry in gateway.entries()}

    statuses = Counter(answer["status"] for answer in told)
    assert set(statuses) == {200, 402}
    served = statuses[200]
    assert balance["spent"] == served * COST <= limit
    assert balance["held"] == 0
    smallest = min(ceilings)
    assert balance["spent"] + smallest > limit, "another request would have fitted"
    refused = [answer["error"] for answer in told if answer["status"] == 402]
    for error in refused:
        assert error["code"] == "budget_exhausted"
        details = error["details"]
        assert details["spent"] + details["wanted"] > details["limit"], "a false refusal"


async def test_who_waits_too_long_is_told_to_come_back(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    provider.hold()
    budgets = "\n  small: {scope: organisation, limit: 0.0012 USD, period: month}"
    routes = patient(routes_for(provider.url, budgets=budgets), 1)
    async with running(routes, sqlite_url) as gateway:
        client = gateway.client()
        question = [{"role": "user", "content": "Say something."}]
        asks = [
            asyncio.create_task(
                client.chat.completions.with_raw_response.create(
                    model="extraction", messages=question, max_tokens=OUTPUT_LIMIT
                )
            )
            for _ in range(3)
        ]
        await provider.until(lambda p: p.open >= 1)
        done, waiting = await asyncio.wait(asks, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
        errors = [task.exception() for task in done]
        provider.release()
        await asyncio.wait(waiting)

    assert errors
    for error in errors:
        assert error is not None
        assert error.status_code == 429  # type: ignore[attr-defined]
        assert error.code == "budget_busy"  # type: ignore[attr-defined]
        assert int(error.response.headers["retry-after"]) >= 1  # type: ignore[attr-defined]
