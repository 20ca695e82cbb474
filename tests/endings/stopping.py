"""A gateway that is told to stop while requests are under way, and its books afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from gateway.app import FirstKey, Gateway
from gateway.jobs.loading import parse
from gateway.ledger.audit import audit
from gateway.ledger.queries import Ledger
from gateway.settings import Settings
from gateway.store.database import Database
from tests.gateways import BOOK, SECRETS, RunningGateway


class Stoppable:
    """A running gateway, and the server that it runs in."""

    def __init__(self, running: RunningGateway, server: uvicorn.Server) -> None:
        self.running = running
        self._server = server
        self._serving: asyncio.Task[None]

    async def start(self) -> None:
        """Serve; returns when the port is open."""
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            assert not self._serving.done(), "the gateway did not start"
            await asyncio.sleep(0)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.running.url = f"http://127.0.0.1:{port}"

    async def told_to_stop(self) -> None:
        """As by SIGTERM; returns when nobody new is let in."""
        listening = self._server.servers[0]
        self._server.should_exit = True
        async with asyncio.timeout(5):
            while listening.is_serving():
                await asyncio.sleep(0)

    async def stopped(self) -> None:
        """Wait until the process would end."""
        await asyncio.wait_for(self._serving, 10)

    async def aclose(self) -> None:
        """Stop it if nobody has."""
        self._server.should_exit = True
        with suppress(asyncio.CancelledError):
            await self._serving


@asynccontextmanager
async def stoppable(routes: str, database_url: str, *, grace: float) -> AsyncIterator[Stoppable]:
    """Serve until told to stop; requests then have `grace` seconds to end."""
    admin: list[FirstKey] = []
    gateway = Gateway(
        Settings(routes=Path("routes.yaml"), database_url=database_url, port=0),
        parse(routes, "routes.yaml", BOOK, SECRETS),
        BOOK,
        environment=SECRETS,
        announce=admin.append,
    )
    config = uvicorn.Config(
        gateway.asgi,
        host="127.0.0.1",
        port=0,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
    )
    config.timeout_graceful_shutdown = grace  # type: ignore[assignment]
    found = Stoppable(RunningGateway(gateway, 0, admin), uvicorn.Server(config))
    await found.start()
    try:
        yield found
    finally:
        await found.aclose()


def books_after(database_url: str) -> list[dict[str, Any]]:
    """The entries that a gateway left; its books are audited, and no hold may be open."""
    database = Database(database_url)
    try:
        findings, _ = audit(database, "main")
        with database.reading() as cursor:
            holds = cursor.rows("SELECT id FROM holds", {})
            ids = cursor.rows("SELECT DISTINCT request_id FROM entries ORDER BY request_id", {})
        ledger = Ledger(database, "main")
        entries = [row for (found,) in ids for row in ledger.entries_of(found)]
    finally:
        database.close()
    assert findings == []
    assert list(holds) == []
    return entries
