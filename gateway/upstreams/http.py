"""HTTP to one provider: a pool of connections, timeouts, and foreign errors made ours.

Promises that nothing but UpstreamFailed and cancellation comes out, that redirects are not
followed and proxies of the environment not used (no host but the configured one is ever talked
to), and that an answer that was begun and failed is told apart from one that never began: only
the first may have cost money.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from gateway.errors import (
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.jobs.routes import Provider, Target
from gateway.upstreams.protocol import Meter
from gateway.wire.errors import error_status, provider_message
from gateway.wire.sse import EventSplitter

log = logging.getLogger(__name__)

ANSWER_BYTES_AT_MOST = 64 * 1024 * 1024
ERROR_BYTES_AT_MOST = 64 * 1024
_IDLE_CONNECTION_SECONDS = 15
_CONNECTIONS = 2048
_LAST_BYTES_SECONDS = 0.05
_READ_ON_SECONDS = 10.0
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class Exchange(msgspec.Struct, frozen=True):
    """What is sent where."""

    url: str | URL
    headers: Mapping[str, str]
    body: bytes


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


class Nonsense(UpstreamBroken):
    """An event that cannot be read; the stream may go on after it."""


class EventStream:
    """A stream of one provider, on its way; see protocol.StreamReply for what it promises."""

    def __init__(
        self, pool: Pool, target: Target, response: aiohttp.ClientResponse, events: Events
    ) -> None:
        self.meter = events.meter
        self._pool, self._target, self._response = pool, target, response
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
            if self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()

    async def _read_to_end(self) -> None:
        """The answer is whole: its last bytes are here or about to be; keep the connection."""
        try:
            async with asyncio.timeout(_LAST_BYTES_SECONDS):
                while await self._response.content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, OSError):
            log.debug("%s did not end its stream in time", self._target.name)

    async def _next(self, seconds: float, what: str) -> bytes:
        async with self._pool.guarded(self._target, seconds, what):
            return await self._response.content.readany()

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


class Guard:
    """Bounds the time of a block and makes foreign errors ours; written out, because it stands
    twice on the way of every request and `contextlib` costs several times as much."""

    __slots__ = ("_seconds", "_target", "_timer", "_what")

    def __init__(self, target: Target, seconds: float | None, what: str) -> None:
        self._target, self._seconds, self._what = target, seconds, what
        self._timer = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timer.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timer.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._too_late() from None
        name = self._target.name
        if error is None or isinstance(error, UpstreamFailed):
            return
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            said = f"{name} cannot be reached: {_reason(error)}"
            raise UpstreamBroken(said, target=name) from error
        if isinstance(error, TimeoutError):
            raise self._too_late() from None
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            said = f"{name} broke off: {_reason(error)}"
            raise UpstreamBroken(said, target=name, may_have_cost=True) from error

    def _too_late(self) -> UpstreamTimedOut:
        name = self._target.name
        said = f"{name}: waited {self._seconds:g} s for {self._what}"
        return UpstreamTimedOut(said, target=name, may_have_cost=True)


class Pool:
    """Connections to one provider."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=provider.timeouts.connect, sock_read=None
        )
        self._session: aiohttp.ClientSession | None = None

    async def whole(self, target: Target, exchange: Exchange) -> bytes:
        """Send, and read the whole answer. Raises UpstreamFailed."""
        began, total = time.monotonic(), target.timeouts.total
        response = await self._post(target, exchange, total)
        return await self._read(target, response, total - (time.monotonic() - began))

    async def stream(self, target: Target, exchange: Exchange, events: Events) -> EventStream:
        """Send, and return the answer when its first bytes have come. Raises UpstreamFailed."""
        began = time.monotonic()
        seconds = min(target.timeouts.first_byte, target.timeouts.total)
        response = await self._post(target, exchange, seconds)
        stream = EventStream(self, target, response, events)
        try:
            await stream.open(max(0.001, seconds - (time.monotonic() - began)))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def begin(self, method: str, exchange: Exchange) -> aiohttp.ClientResponse:
        """Send and wait for a status line, whatever it says; to be called inside `guarded`."""
        session = self._session or self._open()
        return await session.request(
            method,
            exchange.url,
            data=exchange.body,
            headers=exchange.headers,
            allow_redirects=False,
            timeout=self._timeout,
        )

    async def _post(
        self, target: Target, exchange: Exchange, seconds: float
    ) -> aiohttp.ClientResponse:
        """Send and wait for a good status line; the caller lets go of the response."""
        async with self.guarded(target, seconds, "the first byte of an answer"):
            response = await self.begin("POST", exchange)
            if response.status == 200:
                return response
            try:
                message = await response.content.read(ERROR_BYTES_AT_MOST)
            finally:
                response.close()
        raise failure(target, response.status, message, response.headers.get("retry-after"))

    async def _read(
        self, target: Target, response: aiohttp.ClientResponse, seconds: float
    ) -> bytes:
        async with self.guarded(target, max(0.001, seconds), "the rest of an answer"):
            try:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > ANSWER_BYTES_AT_MOST:
                        raise broken(target, f"answered more than {ANSWER_BYTES_AT_MOST} bytes")
                return bytes(body)
            finally:
                response.release()

    def guarded(self, target: Target, seconds: float | None, what: str) -> Guard:
        """Bound the time of what is inside (None: somebody else does), make foreign errors ours."""
        return Guard(target, seconds, what)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS, keepalive_timeout=_IDLE_CONNECTION_SECONDS
            ),
            timeout=_NO_TIMEOUT,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "jobgate"},
            skip_auto_headers=("Accept",),
        )
        return self._session


def failure(
    target: Target, status: int, body: bytes, retry_after: str | None = None
) -> UpstreamFailed:
    """The error for a provider's status, its message kept.

    400, 413 and 422 are about the request and go to the caller as they are; a refused credential
    or an unknown model is ours to mend, so it is a 502; 429, 503 and 529 pass by themselves.
    """
    name, message = target.name, provider_message(body)
    text = f"{name} answered {status}: {message}"
    if status in (400, 413, 422):
        return UpstreamRefused(text, status=400 if status == 422 else status, target=name)
    if status in (429, 503, 529):
        return UpstreamBusy(
            text, target=name, provider_status=status, retry_after=_wait(retry_after, body)
        )
    if status in (408, 504):
        return UpstreamTimedOut(text, target=name, provider_status=status)
    return UpstreamBroken(text, target=name, provider_status=status)


def failure_inside(target: Target, body: bytes) -> UpstreamFailed:
    """The error for a body that tells of one although its status is good: nothing was made."""
    status = error_status(body)
    if status is not None:
        return failure(target, status, body)
    text = f"{target.name} answered with an error: {provider_message(body)}"
    return UpstreamBroken(text, target=target.name)


def nonsense(target: Target, data: bytes) -> Nonsense:
    """The error for an event that cannot be read."""
    what = f"{target.name} sent an event of {len(data):,} bytes that is not JSON"
    return Nonsense(what, target=target.name, may_have_cost=True)


def broken(target: Target, what: str) -> UpstreamBroken:
    """The error for an answer that was begun and makes no sense; it may have cost money."""
    return UpstreamBroken(f"{target.name} {what}", target=target.name, may_have_cost=True)


def _wait(header: str | None, body: bytes) -> float | None:
    """Seconds after which to come back: from the header, or Gemini's place for it in the body."""
    if header is None and (found := _RETRY_DELAY.search(body)):
        header = found[1].decode()
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None  # a date: seldom sent, and our own back-off is a fair stand-in


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
