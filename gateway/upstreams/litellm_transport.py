"""The way out for LiteLLM: whatever it sends goes through a provider's own pool.

LiteLLM's own HTTP follows redirects (API key and all), uses the proxies of the environment, sends
a request again when a connection breaks, and turns errors into errors of its own. Here none of
that happens, and what happened on the wire is noted beside it, so that an attempt is booked by
what really went out and came back. A request that belongs to no call, or that goes to another
host than the configured one, is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

import httpx
from yarl import URL

from gateway.errors import UpstreamBroken, UpstreamFailed
from gateway.jobs.routes import Target
from gateway.upstreams.exchanges import Answer, Exchange, head_of
from gateway.upstreams.failures import Guard, broken, failure
from gateway.upstreams.http import ANSWER_BYTES_AT_MOST, ERROR_BYTES_AT_MOST, Pool

_NOT_PASSED_ON = frozenset({"accept-encoding", "connection", "content-length", "host"})
_NOT_PASSED_BACK = frozenset(
    {"connection", "content-encoding", "content-length", "location", "transfer-encoding"}
)


@dataclass(slots=True)
class Sending:
    """One call on its way out, and what has become of it."""

    pool: Pool
    target: Target
    headers: Mapping[str, str]
    """The provider's own headers, from routes.yaml."""
    asked: bool = False
    """True when a request was to be sent; until then nothing can have cost anything."""
    answered: bool = False
    """True when the provider has begun to answer, with a good status."""
    failure: UpstreamFailed | None = None
    """What went wrong with the last request."""
    response: Answer | None = None
    mark: bytes = b""
    """Bytes to look for in the answer."""
    marked: bool = False
    """Whether they have come."""

    def close(self) -> None:
        """Let go of the connection; it is kept only if the answer has been read to its end."""
        if self.response is not None:
            if self.response.content.at_eof():
                self.response.release()
            else:
                self.response.close()


SENDING: ContextVar[Sending] = ContextVar("sending")
"""The call that the current task is making."""


class PoolTransport(httpx.AsyncBaseTransport):
    """Takes requests from LiteLLM's HTTP clients to the pool of the call that makes them."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send. Raises httpx.ReadError, which nobody above answers by sending again."""
        sending = SENDING.get(None)
        if sending is None:
            raise httpx.ReadError("a request that belongs to no call is not sent")
        body = await request.aread()
        sending.asked, sending.answered, sending.failure = True, False, None
        try:
            response = await self._send(sending, request, body)
        except UpstreamFailed as error:
            sending.failure = error
            raise httpx.ReadError(error.message, request=request) from error
        headers = [
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in _NOT_PASSED_BACK
        ]
        if response.status >= 300:
            content = await self._refusal(sending, response)
            return httpx.Response(response.status, headers=headers, content=content)
        sending.answered, sending.response = True, response
        return httpx.Response(
            response.status, headers=headers, stream=_Body(sending, response), request=request
        )

    async def _send(self, sending: Sending, request: httpx.Request, body: bytes) -> Answer:
        target, url = sending.target, str(request.url)
        if (base := target.provider.base_url) and not _same_host(base, request.url):
            raise UpstreamBroken(
                f"{target.name}: LiteLLM meant to reach {request.url.host}, which is not the"
                " provider's base_url",
                target=target.name,
            )
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _NOT_PASSED_ON
        }
        async with Guard(target, None, "the first byte of an answer"):
            address, told = URL(url, encoded=True), {**headers, **sending.headers}
            head = head_of(address, told, request.method)
            return await sending.pool.begin(Exchange(head, body))

    async def _refusal(self, sending: Sending, response: Answer) -> bytes:
        """Note the error that a status means, by the rules for all providers."""
        target, wait = sending.target, response.headers.get("retry-after")
        try:
            async with Guard(target, None, "an error's text"):
                content = await response.content.read(ERROR_BYTES_AT_MOST)
        except UpstreamFailed:
            content = b""
        finally:
            response.close()
        sending.failure = failure(target, response.status, content, wait)
        return content


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it arrives."""

    def __init__(self, sending: Sending, response: Answer) -> None:
        self._sending, self._response = sending, response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sending, read, tail = self._sending, 0, b""
        while chunk := await self._next():
            read += len(chunk)
            if sending.mark and not sending.marked:
                sending.marked = sending.mark in tail + chunk
                tail = chunk[-len(sending.mark) :]
            if read > ANSWER_BYTES_AT_MOST:
                said = f"answered more than {ANSWER_BYTES_AT_MOST} bytes"
                sending.failure = broken(sending.target, said)
                raise httpx.ReadError(sending.failure.message)
            yield chunk

    async def _next(self) -> bytes:
        sending = self._sending
        try:
            async with Guard(sending.target, None, "the next part"):
                return await self._response.content.readany()
        except UpstreamFailed as error:
            sending.failure = error
            raise httpx.ReadError(error.message) from error

    async def aclose(self) -> None:
        """Let go of the connection."""
        self._sending.close()


def _same_host(base: str, url: httpx.URL) -> bool:
    wanted = httpx.URL(base)
    return (wanted.scheme, wanted.host, wanted.port) == (url.scheme, url.host, url.port)
