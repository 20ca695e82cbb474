"""Kill the process at any instant: what was answered is in the books, what was not lapses.

`test_kill_again` has as many kills once more.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.crowd import a_crowd
from tests.chaos.killing import ANSWER, CALLERS, booked, number, ten_kills
from tests.chaos.processes import Load, gateway_process
from tests.gateways import routes_for
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


async def test_after_ten_kills_every_answered_request_is_booked_and_the_rest_lapsed(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    await ten_kills(20, provider, sqlite_url, tmp_path)


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
