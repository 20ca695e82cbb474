"""Kill the process at any instant: what was answered is in the books, what was not lapses."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.processes import GatewayProcess, Load, gateway_process
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
COST = 100 * 2_500 + 2 * 10_000
CALLERS = 12


def booked(database: Database) -> dict[str, str]:
    """The quality of each request's entry."""
    with database.reading() as cursor:
        return dict(cursor.rows("SELECT request_id, quality FROM entries", {}))  # type: ignore[arg-type]


def number(database: Database, question: str) -> int:
    """The answer to a question that is a number."""
    with database.reading() as cursor:
        return int(cursor.rows(question, {})[0][0] or 0)


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
    with gateway_process(tmp_path, routes_for(provider.url), sqlite_url) as gateway:
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
        spent = number(database, "SELECT SUM(amount_nanos) FROM entries")
        lapsed = number(database, "SELECT COUNT(*) FROM entries WHERE kind = 'lapse'")
        database.close()
    assert len(answered) > 100, "the load was real"
    assert lapsed > 0, "some were in flight"
    assert spent >= len(provider.bill) * COST, "the books may count too much, never too little"


async def test_on_postgresql_what_was_in_flight_stays_held_until_its_time_is_over(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    with gateway_process(tmp_path, routes_for(provider.url), postgres_url) as gateway:
        key = await asyncio.to_thread(gateway.key)
        answered: list[str] = []
        for seconds in (0.3, 0.5):
            answered += await kill_under_load(gateway, provider, key, seconds, held=True)
            await asyncio.to_thread(gateway.start)
        database = Database(postgres_url)
        qualities = booked(database)
        in_flight = number(database, "SELECT COUNT(*) FROM holds")
        held = number(database, "SELECT SUM(ceiling_nanos) FROM holds")
        spent = number(database, "SELECT SUM(amount_nanos) FROM entries")
        assert audit(database, "main")[0] == []
        database.close()
    assert [request for request in answered if qualities.get(request) != "reported"] == []
    assert in_flight > 0
    assert spent + held >= len(provider.bill) * COST


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
