"""HTTP to one provider: time, sizes and streams, and foreign errors made ours.

Promises that nothing but UpstreamFailed and cancellation comes out, that redirects are not
followed and proxies of the environment not used (no host but the configured one is ever talked
to), and that an answer that was begun and failed is told apart from one that never began: only
the first may have cost money.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp

from gateway.errors import UpstreamFailed
from gateway.jobs.routes import Provider, Target
from gateway.upstreams.exchanges import Answer, Connections, Exchange
from gateway.upstreams.failures import Guard, Nonsense, broken, failure
from gateway.upstreams.protocol import Meter
from gateway.wire.sse import EventSplitter

log = logging.getLogger(__name__)

ANSWER_BYTES_AT_MOST = 64 * 1024 * 1024
ERROR_BYTES_AT_MOST = 64 * 1024
_LAST_BYTES_SECONDS = 0.05
_READ_ON_SECONDS = 10.0
_FIRST_BYTE = "the first byte of an answer"


class Events(Protocol):
    """Reads the raw events of one wire format and gives back OpenAI-shaped ones."""

    meter: Meter
    complete: bool

    def event(self, event: bytes) -> bytes | None:
        """What of a raw event goes to the caller.

        Raises Nonsense when it cannot be read, UpstreamBroken when it says that all is over.
        """
        ...

    def whole(self, body: bytes) -> bytes:
        """An answer that came in one piece, as raw events. Raises UpstreamFailed."""
        ...

    def end(self) -> None:
        """The connection ended in good order; raises UpstreamBroken if the answer did not."""
        ...

    def last_events(self) -> bytes:
        """What ends the stream."""
        ...

    def delivered_text(self) -> str:
        """All text that has arrived."""
        ...


class EventStream:
    """A stream of one provider, on its way; see protocol.StreamReply for what it promises."""

    def __init__(self, target: Target, response: Answer, events: Events) -> None:
        self.meter = events.meter
        self._target, self._response = target, response
        self._events, self._splitter = events, EventSplitter()
        self._first = b""
        self._failure: UpstreamFailed | None = None
        self._closed = False
        self._began = time.monotonic()

    @property
    def complete(self) -> bool:
        """True when the provider has said that the answer is whole."""
        return self._events.complete

    async def open(self, seconds: float) -> None:
        """Wait for the first bytes. Raises UpstreamFailed when none come in time, or at all: the
        caller has heard nothing yet, so this is an error like any other, and may be tried
        elsewhere. So is a JSON body in place of a stream, if it is an error."""
        self._first = await self._next(seconds, "the first byte of a stream")
        if not self._first:
            raise broken(self._target, "ended the stream before it began")
        if self._first.lstrip()[:1] in (b"{", b"["):  # no event begins like this
            self._first = self._events.whole(await self._rest(self._first))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunk, self._first = self._first, b""
        while chunk:
            if passed := self._pass_on(self._cut(chunk)):
                yield passed
            if self._failure is not None:
                await self._read_on()
                raise self._failure
            if self.complete:
                return
            chunk = await self._next(self._patience(), "the next part")
        rest = self._splitter.rest
        if rest.strip() and (passed := self._pass_on([rest + b"\n\n"])):
            yield passed
        if self._failure is not None:
            raise self._failure
        self._events.end()

    def last_events(self) -> bytes:
        """What ends the stream, held back until the entry is committed."""
        return self._events.last_events()

    def delivered_text(self) -> str:
        """All text that has arrived."""
        return self._events.delivered_text()

    async def aclose(self) -> None:
        """Let go of the connection; one that is not at its end is closed, not kept."""
        if not self._closed:
            self._closed = True
            if not self._response.content.at_eof() and self.complete:
                await self._read_to_end()
            elif arrived := _unread(self._response.content):
                self._note(arrived)
            if self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()

    def _note(self, arrived: bytes) -> None:
        """Count what is here already and will not be read by anybody."""
        try:
            self._pass_on(self._cut(arrived))
        except UpstreamFailed as error:
            log.debug("%s sent nonsense at the end: %s", self._target.name, error)

    async def _read_to_end(self) -> None:
        """The answer is whole: its last bytes are here or about to be; keep the connection."""
        try:
            async with asyncio.timeout(_LAST_BYTES_SECONDS):
                while await self._response.content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, OSError):
            log.debug("%s did not end its stream in time", self._target.name)

    async def _next(self, seconds: float, what: str) -> bytes:
        content = self._response.content
        try:
            async with Guard(self._target, seconds, what):
                return await content.readany()
        except UpstreamFailed:
            if arrived := _unread(content):
                return arrived  # what broke it is raised again when this has been read
            raise

    async def _rest(self, first: bytes) -> bytes:
        body = bytearray(first)
        while chunk := await self._next(self._patience(), "the rest of an answer"):
            body += chunk
            if len(body) > ANSWER_BYTES_AT_MOST:
                raise broken(self._target, f"answered more than {ANSWER_BYTES_AT_MOST} bytes")
        return bytes(body)

    def _cut(self, chunk: bytes) -> list[bytes]:
        try:
            return self._splitter.feed(chunk)
        except ValueError as error:
            raise broken(self._target, str(error)) from None

    def _pass_on(self, events: list[bytes]) -> bytes:
        """What of these events goes to the caller: all that came before the first failure."""
        passed = []
        for event in events:
            try:
                kept = self._events.event(event)
            except UpstreamFailed as error:
                self._failure = self._failure or error
                continue
            if kept and self._failure is None:
                passed.append(kept)
            if self.complete:
                break  # what follows the end counts for nothing, however the bytes were cut
        return passed[0] if len(passed) == 1 else b"".join(passed)

    async def _read_on(self) -> None:
        """After nonsense the provider may still write, and bill: its usage is worth a wait."""
        try:
            async with asyncio.timeout(_READ_ON_SECONDS):
                while isinstance(self._failure, Nonsense) and not self.complete:
                    if not (chunk := await self._next(self._patience(), "the usage")):
                        self._events.end()
                    self._pass_on(self._cut(chunk))
        except (TimeoutError, UpstreamFailed) as error:
            log.debug("%s told no usage after nonsense: %s", self._target.name, error)

    def _patience(self) -> float:
        """Seconds to wait for the next part."""
        timeouts = self._target.timeouts
        left = timeouts.total - (time.monotonic() - self._began)
        return min(timeouts.idle, max(0.001, left))


def _unread(content: aiohttp.StreamReader) -> bytes:
    """What arrived before a connection broke and was not read by then: aiohttp keeps it from us,
    and the provider bills it."""
    return content._read_nowait(-1) if content._buffer else b""  # noqa: SLF001 - no other way


class Pool:
    """Connections to one provider."""

    def __init__(self, provider: Provider) -> None:
        self._connect_seconds = provider.timeouts.connect
        self._connections: Connections | None = None

    async def whole(self, target: Target, exchange: Exchange) -> bytes:
        """Send, and read the whole answer. Raises UpstreamFailed."""
        async with Guard(target, target.timeouts.total, _FIRST_BYTE) as guard:
            response = await self.begin(exchange)
            if response.status == 200:
                guard.now_waits_for("the rest of an answer")
                return await _body(target, response)
            message = await _refusal(response)
        raise failure(target, response.status, message, response.headers.get("retry-after"))

    async def stream(self, target: Target, exchange: Exchange, events: Events) -> EventStream:
        """Send, and return the answer when its first bytes have come. Raises UpstreamFailed."""
        began = time.monotonic()
        seconds = min(target.timeouts.first_byte, target.timeouts.total)
        response = await self._post(target, exchange, seconds)
        stream = EventStream(target, response, events)
        try:
            await stream.open(max(0.001, seconds - (time.monotonic() - began)))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def begin(self, exchange: Exchange) -> Answer:
        """Send and wait for a status line, whatever it says; to be called inside a Guard."""
        if self._connections is None:
            self._connections = Connections(self._connect_seconds)
        return await self._connections.send(exchange)

    async def _post(self, target: Target, exchange: Exchange, seconds: float) -> Answer:
        """Send and wait for a good status line; the caller lets go of the response."""
        async with Guard(target, seconds, _FIRST_BYTE):
            response = await self.begin(exchange)
            if response.status == 200:
                return response
            message = await _refusal(response)
        raise failure(target, response.status, message, response.headers.get("retry-after"))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            await self._connections.aclose()


async def _body(target: Target, response: Answer) -> bytes:
    """The whole of an answer; most come in one piece."""
    content = response.content
    try:
        body: bytes | bytearray = await content.readany()
        while not content.at_eof() and len(body) <= ANSWER_BYTES_AT_MOST:
            if isinstance(body, bytes):
                body = bytearray(body)
            body += await content.readany()
        if len(body) > ANSWER_BYTES_AT_MOST:
            raise broken(target, f"answered more than {ANSWER_BYTES_AT_MOST} bytes")
        return bytes(body)
    finally:
        response.release()


async def _refusal(response: Answer) -> bytes:
    """What the provider says beside a bad status, as far as anybody reads it."""
    try:
        return await response.content.read(ERROR_BYTES_AT_MOST)
    finally:
        response.close()
