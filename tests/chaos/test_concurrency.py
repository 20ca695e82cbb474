"""Hundreds of requests at once on one small budget: never over it, and nobody refused in vain."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.store.database import Database
from tests.chaos.crowd import (
    INPUT_PRICE,
    LONG,
    OUTPUT_PRICE,
    OUTPUT_TOKENS,
    Crowd,
    a_crowd,
    budget_of,
    no_refusal_was_false,
    spent_and_held,
    statuses,
)
from tests.endings.callers import Heard
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

REQUESTS = 500
FITS = 100
"""So many ceilings fit the budget at once."""
CEILING = 1_200_000
"""About the most that a request can cost, in nano-dollars: a hundred tokens and its words."""
LIMIT = FITS * CEILING
SEEDS = range(40 if LONG else 3)


def answers(seed: int, output: int) -> list[Script]:
    """An answer for each request, after a moment of its own, so they end in random order."""
    chance = random.Random(seed)
    return [
        Script(
            text="ok",
            input=chance.randint(5, 15),
            output=chance.randint(output // 2, output),
            first_byte_delay=chance.uniform(0.0, 0.1),
        )
        for _ in range(REQUESTS)
    ]


@asynccontextmanager
async def watched(gateway: RunningGateway, limit: int) -> AsyncIterator[list[int]]:
    """Look at the budget all the time; what it had spent and held at the most is in the list."""
    database: Database = gateway.gateway.database
    done = asyncio.Event()
    most = [0]

    async def watch() -> None:
        while not done.is_set():
            spent, held, _ = await asyncio.to_thread(spent_and_held, database)
            most[0] = max(most[0], spent + held)

    watching = asyncio.ensure_future(watch())
    try:
        yield most
    finally:
        done.set()
        await watching
    assert most[0] <= limit


def crowd_at(gateway: RunningGateway) -> AbstractAsyncContextManager[Crowd]:
    return a_crowd([gateway.url], gateway.key())


async def rush(
    provider: ScriptedProvider, database_url: str, limit: int, wait: str = "60"
) -> tuple[list[Heard], int, int]:
    """Everybody asks at once: what they were told, what was spent, what the provider charges."""
    routes = routes_for(provider.url, budgets=budget_of(limit), wait_for_room=wait)
    async with running(routes, database_url) as gateway:
        async with crowd_at(gateway) as crowd, watched(gateway, limit):
            heard = await crowd.all_ask(REQUESTS)
        spent, held, overrun = spent_and_held(gateway.gateway.database)
        assert (held, overrun) == (0, 0)
        assert gateway.metric("jobgate_holds_open") == gateway.metric("jobgate_holds_waiting") == 0
    used = provider.totals()
    return heard, spent, used.input * INPUT_PRICE + used.output * OUTPUT_PRICE


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_are_served_when_what_they_really_cost_fits(
    seed: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    """Only a fifth fits at a time; holds settle far below their ceilings, and make room."""
    provider.scripts(*answers(seed, output=10))
    heard, spent, bill = await rush(provider, sqlite_url, LIMIT)
    assert statuses(heard) == {200: REQUESTS}
    assert spent == bill <= LIMIT


@pytest.mark.parametrize("seed", SEEDS)
async def test_when_not_all_fit_the_budget_is_filled_and_nobody_is_refused_in_vain(
    seed: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.scripts(*answers(seed, output=OUTPUT_TOKENS))
    heard, spent, bill = await rush(provider, sqlite_url, LIMIT)
    told = statuses(heard)
    assert told.keys() == {200, 402}
    assert told[200] > FITS
    assert spent == bill <= LIMIT
    no_refusal_was_false(heard, LIMIT, spent)


async def test_it_is_the_same_on_postgresql(provider: ScriptedProvider, postgres_url: str) -> None:
    provider.scripts(*answers(0, output=OUTPUT_TOKENS))
    heard, spent, bill = await rush(provider, postgres_url, LIMIT)
    assert statuses(heard).keys() == {200, 402}
    assert spent == bill <= LIMIT
    no_refusal_was_false(heard, LIMIT, spent)


# ---- waiting


async def waiting(gateway: RunningGateway, number: int) -> None:
    """Until so many requests wait for room."""
    async with asyncio.timeout(10):
        while gateway.metric("jobgate_holds_waiting") != number:
            await asyncio.sleep(0)


async def test_who_waits_is_served_in_order_of_arrival_the_small_behind_the_large(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="ok", input=5, output=1)
    routes = routes_for(provider.url, budgets=budget_of(CEILING * 3 // 2), wait_for_room="60")
    async with running(routes, sqlite_url) as gateway, crowd_at(gateway) as crowd:
        provider.hold()
        asking = [asyncio.ensure_future(crowd.ask(words="0"))]
        await provider.until(lambda p: p.open == 1)
        for number, tokens in enumerate([OUTPUT_TOKENS, 20, OUTPUT_TOKENS, 1, 50], 1):
            one = crowd.ask(words=str(number), max_tokens=tokens)
            asking.append(asyncio.ensure_future(one))
            await waiting(gateway, number)
        provider.release()
        heard = await asyncio.gather(*asking)
    assert statuses(heard) == {200: 6}
    arrived = [seen.body["messages"][-1]["content"] for seen in provider.requests]
    assert arrived == ["0", "1", "2", "3", "4", "5"]


async def test_waiting_ends_after_the_time_that_the_job_states_with_429_and_when_to_come_back(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="ok", input=5, output=1)
    routes = routes_for(provider.url, budgets=budget_of(CEILING * 3 // 2), wait_for_room="0.3")
    async with running(routes, database_url) as gateway, crowd_at(gateway) as crowd:
        provider.hold()
        first = asyncio.ensure_future(crowd.ask())
        await provider.until(lambda p: p.open == 1)
        began = time.monotonic()
        refused = await crowd.all_ask(20)
        took = time.monotonic() - began
        provider.release()
        assert (await first).status == 200
        assert (await crowd.ask()).status == 200
    assert 0.3 <= took < 10
    for one in refused:
        assert (one.status, one.error["code"]) == (429, "budget_busy")
        assert one.headers["x-should-retry"] == "true"
        assert 1 <= int(one.headers["retry-after"]) <= 60
        assert one.error["details"]["held"] > 0
    assert len(provider.requests) == 2


async def test_402_is_said_at_once_when_no_ending_of_open_holds_could_make_room(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    """One token less, and it waits; and when what was held comes to nothing, it is served."""
    answer = Script(text="ok", input=5, output=1)
    provider.scripts(answer, Script(status=400, error="No."), answer)
    limit = CEILING * 3 // 2
    routes = routes_for(provider.url, budgets=budget_of(limit), wait_for_room="60")
    async with running(routes, sqlite_url) as gateway, crowd_at(gateway) as crowd:
        assert (await crowd.ask(words="0")).status == 200
        provider.hold()
        holding = asyncio.ensure_future(crowd.ask(words="0"))
        await provider.until(lambda p: p.open == 1)
        far = await crowd.ask(words="0", max_tokens=1_000)
        details = far.error["details"]
        too_much = details["spent"] + details["wanted"] - limit
        fits = 1_000 - -(-too_much // OUTPUT_PRICE)
        beyond = await crowd.ask(words="0", max_tokens=fits + 1)
        within = asyncio.ensure_future(crowd.ask(words="0", max_tokens=fits))
        await waiting(gateway, 1)
        provider.release()
        assert [(await holding).status, (await within).status] == [400, 200]
    for never in (far, beyond):
        assert (never.status, never.error["code"]) == (402, "budget_exhausted")
        assert never.headers["x-should-retry"] == "false"
        assert "retry-after" not in never.headers
        assert never.error["details"]["held"] > 0
