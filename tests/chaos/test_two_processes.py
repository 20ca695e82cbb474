"""Two gateways on one PostgreSQL are one set of books: no overspend, no false refusal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gateway.ledger.audit import audit
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
from tests.chaos.processes import GatewayProcess, gateway_process
from tests.endings.callers import Heard
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider
from tests.treasury.booking import rows

pytestmark = pytest.mark.anyio

CLIENTS = 64
EACH_ASKS = 50 if LONG else 12
COST = 10 * INPUT_PRICE + OUTPUT_TOKENS // 2 * OUTPUT_PRICE
"""About what a request costs, in nano-dollars: half of what it might."""
LIMIT = CLIENTS * EACH_ASKS * COST // 10
"""Enough for a tenth of them."""


@contextmanager
def two_gateways(folder: Path, routes: str, url: str) -> Iterator[list[GatewayProcess]]:
    with ExitStack() as stack:
        found = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            found.append(
                stack.enter_context(gateway_process(folder / name, routes, url, forked=True))
            )
        yield found


async def ask_again_and_again(crowd: Crowd, client: int) -> list[Heard]:
    """One client, now at this gateway, now at that."""
    return [await crowd.ask(client + number, stream=number % 3 == 0) for number in range(EACH_ASKS)]


async def test_64_clients_at_two_gateways_never_overspend_and_are_not_refused_in_vain(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    chance = random.Random(64)
    provider.scripts(
        *(
            Script(
                text="ok",
                input=10,
                output=chance.randint(1, OUTPUT_TOKENS),
                first_byte_delay=chance.uniform(0, 0.02),
            )
            for _ in range(CLIENTS * EACH_ASKS)
        )
    )
    routes = routes_for(provider.url, budgets=budget_of(LIMIT), wait_for_room="60")
    with two_gateways(tmp_path, routes, postgres_url) as gateways:
        key = await asyncio.to_thread(gateways[0].key)
        async with a_crowd([gateway.url for gateway in gateways], key) as crowd:
            await knows(crowd, len(gateways))
            asking = (ask_again_and_again(crowd, client) for client in range(CLIENTS))
            heard = [one for several in await asyncio.gather(*asking) for one in several]
        database = Database(postgres_url)
        spent, held, overrun = spent_and_held(database)
        findings, entries = audit(database, "main")
        writers = rows(database, "SELECT COUNT(*) FROM holds")[0][0]
        database.close()
    told = statuses(heard)
    used = provider.totals()
    assert findings == []
    assert (held, overrun, writers) == (0, 0, 0)
    assert spent == used.input * INPUT_PRICE + used.output * OUTPUT_PRICE <= LIMIT
    assert told.keys() == {200, 402}
    assert entries == told[200] == len(provider.bill)
    assert told[200] >= LIMIT // (2 * COST) - 1
    no_refusal_was_false(heard, LIMIT, spent)


async def knows(crowd: Crowd, gateways: int) -> None:
    """Until every gateway has heard of the new key: a request without messages is then a 400."""
    for number in range(gateways):
        async with asyncio.timeout(5):
            while (await crowd.ask(number, messages=[])).status == 401:
                await asyncio.sleep(0)


async def test_who_waits_at_one_gateway_is_served_when_the_other_makes_room(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    provider.script = Script(text="ok", input=10, output=1)
    routes = routes_for(provider.url, budgets=budget_of(COST * 3), wait_for_room="60")
    with two_gateways(tmp_path, routes, postgres_url) as gateways:
        key = await asyncio.to_thread(gateways[0].key)
        async with a_crowd([gateway.url for gateway in gateways], key) as crowd:
            await knows(crowd, len(gateways))
            provider.hold()
            first = asyncio.ensure_future(crowd.ask(0))
            await provider.until(lambda p: p.open == 1)
            second = asyncio.ensure_future(crowd.ask(1))
            done, _ = await asyncio.wait([second], timeout=0.3)
            assert not done
            assert len(provider.requests) == 1
            provider.release()
            assert statuses([await first, await second]) == {200: 2}
