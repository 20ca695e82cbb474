"""Kill the process at any instant: what was answered is in the books, what was not lapses."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.crowd import a_crowd
from tests.chaos.processes import GatewayProcess, Load, gateway_process
from tests.endings.bills import cost
from tests.gateways import routes_for
from tests.scripted import BillLine, Script, ScriptedProvider
from tests.treasury.booking import rows

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
CALLERS = 12


def booked(database: Database) -> dict[str, str]:
    """The quality of each request's entry."""
    with database.reading() as cursor:
        return dict(cursor.rows("SELECT request_id, quality FROM entries", {}))  # type: ignore[arg-type]


def number(database: Database, question: str) -> int:
    """The answer to a question that is a number."""
    with database.reading() as cursor:
        return int(cursor.rows(question, {})[0][0] or 0)


def every_line_of_the_bill_is_covered(database: Database, bill: list[BillLine]) -> None:
    """By its own entry, to the nano, or by a hold or a lapse at a ceiling that is not below it."""
    charged = dict(
        rows(database, "SELECT upstream_id, amount_nanos FROM entries WHERE kind = 'charge'")
    )
    ceilings = rows(
        database,
        "SELECT ceiling_nanos FROM holds UNION ALL"
        " SELECT amount_nanos FROM entries WHERE kind = 'lapse'",
    )
    lost = [cost(line) for line in bill if line.answer_id not in charged]
    for line in bill:
        assert charged.get(line.answer_id, cost(line)) == cost(line)
    assert len(lost) <= len(ceilings)
    assert max(lost, default=0) <= min((ceiling for (ceiling,) in ceilings), default=0)


async def kill_under_load(
    gateway: GatewayProcess, provider: ScriptedProvider, key: str, seconds: float, *, held: bool
) -> list[str]:
    """Load it, kill it in the middle, and return the ids of what was answered.

    `held`: the provider keeps its answers for the last moment, so some are surely in flight.
    """
    load = Load(gateway.url, key)
    running = asyncio.create_task(load.run(CALLERS, stream=True))
    await asyncio.wait([running], timeout=seconds)
    if held:
        provider.hold()
        await provider.until(lambda p: p.open > 0)
    await asyncio.to_thread(gateway.end, signal.SIGKILL)
    provider.release()
    load.stopping = True
    await running
    assert set(load.statuses) <= {200}
    return load.answered


async def test_after_twenty_kills_every_answered_request_is_booked_and_the_rest_lapsed(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    chance = random.Random(20)
    answered: list[str] = []
    routes = routes_for(provider.url)
    with gateway_process(tmp_path, routes, sqlite_url, forked=True) as gateway:
        key = await asyncio.to_thread(gateway.key)
        for kill in range(20):
            seconds, held = chance.uniform(0.05, 0.4), kill % 5 == 4
            answered += await kill_under_load(gateway, provider, key, seconds, held=held)
            await asyncio.to_thread(gateway.start)
            database = Database(sqlite_url)
            qualities = booked(database)
            missing = [request for request in answered if qualities.get(request) != "reported"]
            assert missing == [], f"after kill {kill}"
            assert number(database, "SELECT COUNT(*) FROM holds") == 0
            assert audit(database, "main")[0] == []
            database.close()
        database = Database(sqlite_url)
        lapsed = number(database, "SELECT COUNT(*) FROM entries WHERE kind = 'lapse'")
        every_line_of_the_bill_is_covered(database, provider.bill)
        database.close()
    assert len(answered) > 100, "the load was real"
    assert lapsed > 0, "some were in flight"


async def test_on_postgresql_what_was_in_flight_stays_held_until_its_time_is_over(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    routes = routes_for(provider.url)
    with gateway_process(tmp_path, routes, postgres_url, forked=True) as gateway:
        key = await asyncio.to_thread(gateway.key)
        answered: list[str] = []
        for seconds in (0.3, 0.5):
            answered += await kill_under_load(gateway, provider, key, seconds, held=True)
            await asyncio.to_thread(gateway.start)
        database = Database(postgres_url)
        qualities = booked(database)
        in_flight = number(database, "SELECT COUNT(*) FROM holds")
        every_line_of_the_bill_is_covered(database, provider.bill)
        assert audit(database, "main")[0] == []
        database.close()
    assert [request for request in answered if qualities.get(request) != "reported"] == []
    assert in_flight > 0


async def test_sigterm_lets_what_is_in_flight_finish_and_ends_with_0(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    provider.hold()
    with gateway_process(tmp_path, routes_for(provider.url), sqlite_url) as gateway:
        key = await asyncio.to_thread(gateway.key)
        load = Load(gateway.url, key)
        running = asyncio.create_task(load.run(CALLERS))
        await provider.until(lambda p: len(p.requests) == CALLERS)
        load.stopping = True
        ending = asyncio.create_task(asyncio.to_thread(gateway.end, signal.SIGTERM))
        await asyncio.wait([ending], timeout=0.3)
        assert not ending.done(), "it waits for what is in flight"
        async with a_crowd([gateway.url], key) as late:
            with pytest.raises(aiohttp.ClientConnectionError):
                await late.ask()
        provider.release()
        await running
        status = await ending
        database = Database(sqlite_url)
        qualities = booked(database)
        assert audit(database, "main")[0] == []
        assert number(database, "SELECT COUNT(*) FROM holds") == 0
        database.close()
    assert status == 0
    assert len(load.answered) == CALLERS
    assert set(qualities) == set(load.answered)
