"""What happens to the gateways and their database in a chaos run: kills, stops, outages.

One thing after the other, in an order that the seed decides, with pauses between them in which
requests go on. A gateway may be killed while its database is away; it is started again when the
database is back, because without one it would not begin to serve.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from tests.chaos.processes import REPOSITORY, GatewayProcess
from tests.postgres import PostgresServer


class Engine(Protocol):
    """A database that can be taken away for some seconds."""

    url: str
    gateways: int
    outage: str
    """What taking it away is called."""

    async def goes(self, seconds: float) -> None:
        """Take it away, for so many seconds if nothing else ends it."""
        ...

    async def comes_back(self) -> None:
        """Return when it is there again."""
        ...


class LockedSqlite:
    """SQLite, whose lock another process takes."""

    gateways = 1
    outage = "locks of SQLite by another process"

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self._file = file
        self._locking: subprocess.Popen[bytes] | None = None

    async def goes(self, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.chaos.locking", str(self._file), f"{seconds:.3f}"]
        self._locking = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert self._locking.stdout is not None
        said = await asyncio.to_thread(self._locking.stdout.readline)
        assert said == b"locked\n"
        await asyncio.sleep(seconds / 2)

    async def comes_back(self) -> None:
        assert self._locking is not None
        await asyncio.to_thread(self._locking.communicate)


class StoppedPostgres:
    """PostgreSQL, stopped and started again."""

    gateways = 2
    outage = "restarts of PostgreSQL"

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.url, self._server = url, server

    async def goes(self, seconds: float) -> None:
        await asyncio.to_thread(self._server.stop)
        await asyncio.sleep(seconds)

    async def comes_back(self) -> None:
        await asyncio.to_thread(self._server.start)


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Engine]:
    """A database of that kind: "sqlite" or "postgresql"."""
    if name == "sqlite":
        yield LockedSqlite(folder / "books.db")
        return
    with PostgresServer() as server, server.database() as url:
        yield StoppedPostgres(server, url)


class Storm:
    """Does harm to gateways, and counts it."""

    def __init__(
        self, gateways: Sequence[GatewayProcess], database: Engine, chance: Random
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.bad_ends: list[str] = []
        """SIGTERMs that did not end well."""
        self._gateways, self._database, self._chance = gateways, database, chance

    async def rages(self, seconds: float) -> None:
        """One thing after the other, each kind at least once, for so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        kinds = {self._kill: 50, self._term: 20, self._outage: 30}
        to_come = self._chance.sample(tuple(kinds), len(kinds))  # each of them once at least
        while to_come or loop.time() < until:
            await asyncio.sleep(self._chance.uniform(0.3, 2.0))
            if not to_come:
                to_come = self._chance.choices(tuple(kinds), tuple(kinds.values()))
            await to_come.pop()()
        await asyncio.sleep(self._chance.uniform(0.3, 2.0))

    async def restart(self) -> None:
        """Stop every gateway in good order and start it again."""
        for gateway in self._gateways:
            await self._ends(gateway, signal.SIGTERM)
            await asyncio.to_thread(gateway.start)

    async def is_over(self) -> None:
        """Stop every gateway in good order."""
        for gateway in self._gateways:
            await self._ends(gateway, signal.SIGTERM)

    async def _kill(self) -> None:
        victims = self._chance.sample(self._gateways, self._chance.randint(1, len(self._gateways)))
        for gateway in victims:
            await self._ends(gateway, signal.SIGKILL)
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.3)))
        for gateway in victims:
            await asyncio.to_thread(gateway.start)

    async def _term(self) -> None:
        gateway = self._chance.choice(self._gateways)
        await self._ends(gateway, signal.SIGTERM)
        await asyncio.to_thread(gateway.start)

    async def _outage(self) -> None:
        victims = self._chance.sample(self._gateways, self._chance.choice((0, 0, 1)))
        how = self._chance.choice((signal.SIGKILL, signal.SIGTERM))
        async with self._away(self._chance.choice((0.1, 0.5, 1.5, 3.0, 7.0))):
            for gateway in victims:
                await self._ends(gateway, how)
        for gateway in victims:
            await asyncio.to_thread(gateway.start)

    @asynccontextmanager
    async def _away(self, seconds: float) -> AsyncIterator[None]:
        self.counts[self._database.outage] += 1
        await self._database.goes(seconds)
        try:
            yield
        finally:
            await self._database.comes_back()

    async def _ends(self, gateway: GatewayProcess, how: signal.Signals) -> None:
        self.counts["SIGKILL" if how is signal.SIGKILL else "SIGTERM"] += 1
        status = await asyncio.to_thread(gateway.end, how)
        if how is signal.SIGTERM and status != 0:
            self.bad_ends.append(f"a gateway ended with status {status} after SIGTERM")
