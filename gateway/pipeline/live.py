"""The configuration that requests meet: one immutable version, replaced between two requests.

A request takes the pipeline of the moment in which it begins and keeps it to its end, so it never
meets two versions. A version that was replaced lives on until its last request has ended; then
what it alone used, such as connections to a provider that is gone, is closed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gateway.jobs.routes import Routes
from gateway.pipeline.pipeline import Parts, Pipeline

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Configuration:
    """One version of the rules and all that was made from it; nothing in it is changed."""

    routes: Routes
    prices: str
    """The version of the price book."""
    parts: Parts
    pipeline: Pipeline
    loaded_at: int
    """Microseconds since 1970."""


class Live:
    """The version in force, and those before it whose requests have not ended.

    `pipeline` is all that the way of a request reads.
    """

    def __init__(self, first: Configuration) -> None:
        self.now, self.pipeline = first, first.pipeline
        self._alive = [first]
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def routes(self) -> Routes:
        """The rules in force."""
        return self.now.routes

    @property
    def alive(self) -> int:
        """How many versions have requests, the one in force included."""
        return len(self._alive)

    def swap(self, new: Configuration) -> None:
        """Put a version in force for every request that begins from now on; on the loop."""
        old, self.now, self.pipeline = self.now, new, new.pipeline
        self._alive.append(new)
        old.pipeline.when_idle(lambda: self._end(old))

    async def drain(self) -> None:
        """Wait for the endings that are under way, of every version."""
        for configuration in tuple(self._alive):
            await configuration.parts.endings.drain()

    async def aclose(self) -> None:
        """Close all that any version uses, whether or not its requests have ended."""
        while self._ending:
            await asyncio.wait(tuple(self._ending))
        for upstream in {
            id(u): u for c in self._alive for u in c.parts.upstreams.values()
        }.values():
            await upstream.aclose()

    def _end(self, old: Configuration) -> None:
        """The last request of a version that was replaced has ended."""
        task = asyncio.ensure_future(self._close(old))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close(self, old: Configuration) -> None:
        await old.parts.endings.drain()
        self._alive.remove(old)
        kept = {id(u) for c in self._alive for u in c.parts.upstreams.values()}
        for name, upstream in old.parts.upstreams.items():
            if id(upstream) not in kept:
                log.info("connections to %s as it was are closed", name)
                await upstream.aclose()
