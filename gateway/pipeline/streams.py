"""A stream on its way to the caller, with the meter running.

Closing it settles the bill, however it ended: with the last event, with an error, or because the
caller hung up. Closing it twice is harmless. It is a class and not a generator because the
`finally` of a generator that nobody started never runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.errors import UpstreamFailed
from gateway.pipeline.asked import Trace, usd
from gateway.pipeline.endings import Attempt, Endings
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.protocol import StreamReply

DRAIN_SECONDS = 120.0
"""How long a stream whose caller has left is read on to its usage."""


class MeteredStream:
    """Events for the caller, in the form of the request, up to and including the last.

    `outcome` is the word for how it ended; empty while it has not.
    """

    def __init__(
        self,
        endings: Endings,
        attempt: Attempt,
        reply: StreamReply,
        trace: Trace,
        breaker: Breaker,
    ) -> None:
        self.outcome = ""
        self._endings, self._attempt, self._reply = endings, attempt, reply
        self._trace, self._breaker = trace, breaker
        self._arriving = aiter(reply)
        self._first = b""
        self._left = False
        self._closing: asyncio.Task[None] | None = None
        self._drain_limit: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._over: Callable[[], None] | None = None

    def when_over(self, told: Callable[[], None]) -> None:
        """Say so when it is closed and settled; to be asked for once, before it is read."""
        self._over = told

    async def begin(self) -> None:
        """Wait for the first events that go to the caller. Raises UpstreamFailed when the stream
        breaks before there are any: it is booked by then, and since the caller has heard nothing
        the request may be tried elsewhere."""
        try:
            self._first = await anext(self._arriving, b"")
        except UpstreamFailed as error:
            self._breaker.failed()
            await self._close("provider_cut", error)
            raise
        except BaseException:  # cancellation: the caller left, or this process is about to end
            stops = self._attempt.job.on_disconnect == "cancel"
            await self._close("caller_left" if stops else "shutting_down")
            raise

    async def events(self) -> AsyncIterator[bytes]:
        """Everything that goes to the caller. Raises GatewayError when the stream broke or could
        not be booked; the bill is settled by then as far as it can be."""
        if self._first:
            yield self._first
        try:
            async for chunk in self._arriving:
                yield chunk
        except UpstreamFailed as error:
            if not self._left:
                self._breaker.failed()
            await self._close("provider_cut", error)
            raise
        await self._close("ok")
        request_id, cost = self._trace.request_id.encode(), usd(self._trace.cost_nanos)
        yield b": jobgate %s cost-usd %s\n\n%s" % (request_id, cost, self._reply.last_events())

    def caller_left(self) -> None:
        """The caller hung up: stop upstream, or read on to the usage, as the job says."""
        if self._left or self._closing is not None:
            return
        self._left = True
        loop = asyncio.get_running_loop()
        if self._attempt.job.on_disconnect == "cancel":
            self._stop()
        else:
            self._drain_limit = loop.call_later(DRAIN_SECONDS, self._stop)

    async def aclose(self) -> None:
        """End it if it has not ended; idempotent, and shielded from cancellation."""
        await self._close("caller_left" if self._left else "other")

    def _stop(self) -> None:
        """Close the connection to the provider; whoever reads from it notices."""
        self._stopping = asyncio.ensure_future(self._reply.aclose())

    async def _close(self, outcome: str, failure: UpstreamFailed | None = None) -> None:
        if self._closing is None:
            self.outcome = "caller_left" if self._left else outcome
            self._closing = asyncio.ensure_future(self._settle(failure))
        await asyncio.shield(self._closing)

    async def _settle(self, failure: UpstreamFailed | None) -> None:
        if self._drain_limit is not None:
            self._drain_limit.cancel()
        try:
            await self._endings.streamed(
                self._attempt, self._reply, self._trace, self.outcome, failure
            )
        finally:
            try:
                await self._reply.aclose()
            finally:
                if self._over is not None:
                    self._over()
