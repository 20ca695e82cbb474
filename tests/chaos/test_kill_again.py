"""More kills at other instants, and on PostgreSQL; see `test_kill`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.killing import (
    ANSWER,
    booked,
    every_line_of_the_bill_is_covered,
    kill_under_load,
    number,
    ten_kills,
)
from tests.chaos.processes import gateway_process
from tests.gateways import routes_for
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


async def test_after_ten_more_kills_the_books_are_as_exact(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    await ten_kills(21, provider, sqlite_url, tmp_path)


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
