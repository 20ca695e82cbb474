"""Killing a gateway under load, again and again, and what has to be in the books each time.

The kills are spread over two files of tests, so that they run beside each other.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.processes import GatewayProcess, Load, gateway_process
from tests.endings.bills import cost
from tests.gateways import routes_for
from tests.scripted import BillLine, Script, ScriptedProvider
from tests.treasury.booking import rows

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


async def ten_kills(seed: int, provider: ScriptedProvider, url: str, folder: Path) -> None:
    """Kill one gateway ten times, at moments that the seed decides; after each of them all that
    was answered is booked, and the rest has lapsed."""
    provider.script = ANSWER
    chance = random.Random(seed)
    answered: list[str] = []
    with gateway_process(folder, routes_for(provider.url), url, forked=True) as gateway:
        key = await asyncio.to_thread(gateway.key)
        for kill in range(10):
            seconds, held = chance.uniform(0.05, 0.4), kill % 5 == 4
            answered += await kill_under_load(gateway, provider, key, seconds, held=held)
            await asyncio.to_thread(gateway.start)
            database = Database(url)
            qualities = booked(database)
            missing = [request for request in answered if qualities.get(request) != "reported"]
            assert missing == [], f"after kill {kill}"
            assert number(database, "SELECT COUNT(*) FROM holds") == 0
            assert audit(database, "main")[0] == []
            database.close()
        database = Database(url)
        lapsed = number(database, "SELECT COUNT(*) FROM entries WHERE kind = 'lapse'")
        every_line_of_the_bill_is_covered(database, provider.bill)
        database.close()
    assert len(answered) > 50, "the load was real"
    assert lapsed > 0, "some were in flight"
