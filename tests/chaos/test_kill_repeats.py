"""The process is killed between a request and its repeat: the repeat is told, and not charged."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.processes import GatewayProcess, gateway_process
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider
from tests.stories.repeating import (
    Repeater,
    is_replayed,
    is_under_way,
    request_id,
    told_of_the_first,
)
from tests.treasury.booking import rows

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
COST_USD = "0.000270000"


@asynccontextmanager
async def a_caller(gateway: GatewayProcess) -> AsyncIterator[Repeater]:
    async with aiohttp.ClientSession() as http:
        yield Repeater(gateway.url, await asyncio.to_thread(gateway.key), http)


async def killed_and_started(gateway: GatewayProcess) -> None:
    await asyncio.to_thread(gateway.end, signal.SIGKILL)
    await asyncio.to_thread(gateway.start)


def booked(url: str) -> list[dict[str, Any]]:
    """The entries, after an audit."""
    names = ("request_id", "kind", "quality", "amount_nanos", "ceiling_nanos")
    database = Database(url)
    try:
        assert audit(database, "main")[0] == []
        found = rows(database, f"SELECT {', '.join(names)} FROM entries")
    finally:
        database.close()
    return [dict(zip(names, row, strict=True)) for row in found]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeat_after_a_kill_is_told_what_became_of_the_first_and_not_charged(
    stream: bool, provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    with gateway_process(tmp_path, routes_for(provider.url), database_url, forked=True) as gateway:
        async with a_caller(gateway) as caller:
            first = await caller.ask(stream=stream)
            await killed_and_started(gateway)
            repeat, another = await caller.ask(stream=stream), await caller.ask(key="another")
        entries = booked(database_url)
    assert (first.status, another.status, is_replayed(another)) == (200, 200, False)
    told = told_of_the_first(repeat)
    assert (told["request_id"], told["outcome"], told["cost_usd"]) == (
        request_id(first),
        "ok",
        COST_USD,
    )
    assert {entry["request_id"] for entry in entries} == {request_id(first), request_id(another)}
    assert [entry["amount_nanos"] for entry in entries] == [270_000] * 2
    assert len(provider.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeat_of_what_was_in_flight_at_a_kill_is_told_its_ceiling_and_asks_nobody(
    stream: bool, provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    provider.hold()
    with gateway_process(tmp_path, routes_for(provider.url), sqlite_url, forked=True) as gateway:
        async with a_caller(gateway) as caller:
            asking = asyncio.ensure_future(caller.ask(stream=stream))
            await provider.until(lambda p: p.open == 1)
            await killed_and_started(gateway)
            provider.release()
            with pytest.raises(aiohttp.ClientError):
                await asking
            told = told_of_the_first(await caller.ask(stream=stream))
        (entry,) = booked(sqlite_url)
    assert (entry["kind"], entry["quality"]) == ("lapse", "presumed")
    assert (told["request_id"], told["outcome"]) == (entry["request_id"], "lapsed")
    assert int(told["cost_usd"].replace(".", "")) == entry["amount_nanos"] == entry["ceiling_nanos"]
    assert len(provider.requests) == 1


async def test_on_postgresql_it_is_under_way_until_its_hold_lapses(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    provider.hold()
    with gateway_process(tmp_path, routes_for(provider.url), postgres_url, forked=True) as gateway:
        async with a_caller(gateway) as caller:
            asking = asyncio.ensure_future(caller.ask())
            await provider.until(lambda p: p.open == 1)
            await killed_and_started(gateway)
            provider.release()
            with pytest.raises(aiohttp.ClientError):
                await asking
            repeat = await caller.ask()
            assert is_under_way(repeat)
            its_time_is_over(postgres_url)
            async with asyncio.timeout(20):
                while is_under_way(repeat):
                    repeat = await caller.ask()
        (entry,) = booked(postgres_url)
    assert told_of_the_first(repeat)["outcome"] == "lapsed"
    assert entry["kind"] == "lapse"
    assert len(provider.requests) == 1


def its_time_is_over(url: str) -> None:
    """As if the minutes had passed that a hold may stay open."""
    database = Database(url)
    try:
        with database.writing() as cursor:
            assert cursor.changed("UPDATE holds SET lapses_at = 1", {}) == 1
    finally:
        database.close()
