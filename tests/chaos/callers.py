"""Those who ask in a chaos run: they wait, they leave, they ask again; and what they were told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count

import aiohttp

from tests.chaos.processes import GatewayProcess
from tests.chaos.weather import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Wanted, Weather

PATIENCE_SECONDS = 60.0
"""Nobody has to wait so long for an answer, whatever happens."""
_PAUSE_SECONDS = 0.2
"""When the gateway, or its database, is not there just now."""
_REPEATS = 2
_ENDS = {
    CHAT: b"data: [DONE]\n\n",
    RESPONSES: b'"type":"response.completed"',
    MESSAGES: b'"type":"message_stop"',
}
"""What a stream has that came whole, by its door."""


class Callers:
    """They ask until they are told to stop."""

    def __init__(self, gateways: Sequence[GatewayProcess], key: str, weather: Weather) -> None:
        self.told: Counter[str] = Counter()
        """How requests went, in words: a status, broken off, left, repeated."""
        self.answered: dict[str, int] = {}
        """Ids of requests that were answered whole, and their numbers."""
        self.bugs: list[str] = []
        """Nobody is told 500, and nobody waits for ever."""
        self.stopping = False
        self._gateways, self._key, self._weather = gateways, key, weather
        self._numbers = count(1)

    async def run(self, callers: int) -> None:
        """So many at once, until `stopping`."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(callers):
                group.create_task(self._go_on(session))

    async def _go_on(self, session: aiohttp.ClientSession) -> None:
        while not self.stopping:
            wanted = self._weather.wanted(next(self._numbers))
            whole = await self._ask(session, wanted, wanted.gateway)
            for again in range(1, 1 + _REPEATS):
                if whole or not wanted.repeats:
                    break
                self.told["repeated"] += 1
                whole = await self._ask(session, wanted, wanted.gateway + again)

    async def _ask(self, session: aiohttp.ClientSession, wanted: Wanted, gateway: int) -> bool:
        """Ask once; whether the answer came whole."""
        url = self._gateways[gateway % len(self._gateways)].url
        headers = {
            "authorization": f"Bearer {self._key}",
            "x-jobgate-tags": f"run=chaos-{wanted.number}",
        }
        if wanted.repeats:
            headers["idempotency-key"] = f"chaos-{wanted.number}"
        try:
            async with (
                asyncio.timeout(wanted.leaves_after or PATIENCE_SECONDS),
                session.post(
                    f"{url}/v1/{wanted.door}", json=wanted.body, headers=headers
                ) as answer,
            ):
                body = await answer.read()
        except TimeoutError:
            if wanted.leaves_after is None:
                self.bugs.append(f"chaos-{wanted.number} waited {PATIENCE_SECONDS:g} s")
            self.told["left"] += 1
            return False
        except aiohttp.ClientConnectorError:
            self.told["found nobody"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        except aiohttp.ClientError:
            self.told["broken off"] += 1
            return False
        if answer.status == 500:
            self.bugs.append(f"chaos-{wanted.number} was told 500: {body.decode(errors='replace')}")
        whole = answer.status == 200 and (not wanted.stream or _ENDS[wanted.door] in body)
        if whole:
            self.answered[answer.headers["x-jobgate-request-id"]] = wanted.number
        kind = "answered" if whole else "answered in part" if answer.status == 200 else "refused"
        self.told[f"{kind} ({answer.status})" if kind == "refused" else kind] += 1
        if answer.status == 503:
            await asyncio.sleep(_PAUSE_SECONDS)
        return whole


assert EMBEDDINGS not in _ENDS, "embeddings are never streamed"
