"""Connections to providers: kept, bounded in time and size, and never a second way out."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.errors import (
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.jobs.loading import parse
from gateway.jobs.routes import Target, Timeouts
from gateway.upstreams import http
from gateway.upstreams.failures import failure
from gateway.upstreams.openai_compatible import OpenAICompatible
from gateway.upstreams.protocol import Call, Prepared
from tests.gateways import BOOK, SECRETS, routes_for
from tests.scripted import Script, ScriptedProvider
from tests.stories.front_door import QUESTION

pytestmark = pytest.mark.anyio


def target_at(url: str, **timeouts: float) -> Target:
    """The model gpt-test at an address, with these timeouts."""
    target = parse(routes_for(url), "routes.yaml", BOOK, SECRETS).jobs["extraction"].targets[0]
    patience = replace(Timeouts(), **timeouts)
    return replace(target, timeouts=patience, provider=replace(target.provider, timeouts=patience))


@asynccontextmanager
async def upstream_of(target: Target) -> AsyncIterator[OpenAICompatible]:
    upstream = OpenAICompatible(target.provider)
    try:
        yield upstream
    finally:
        await upstream.aclose()


def asking(target: Target, *, stream: bool = False) -> Prepared:
    body = {"model": target.model, "messages": QUESTION, "stream": stream}
    call = Call(
        request_id="req_1",
        form="chat",
        target=target,
        credential="sk-canary",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        output_limit=100,
        stream=stream,
        caller_wants_usage=False,
    )
    return OpenAICompatible(target.provider).prepare(call)


async def whole(upstream: OpenAICompatible, target: Target, *, stream: bool = False) -> bytes:
    """All bytes of one answer."""
    reply = await upstream.send(asking(target, stream=stream))
    if not stream:
        return reply.body
    try:
        return b"".join([events async for events in reply])
    finally:
        await reply.aclose()


class TinyServer:
    """Answers every request with the same bytes, and counts its connections."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connections = 0
        self.requests = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                self.requests += 1
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tiny(answer: bytes) -> AsyncIterator[TinyServer]:
    server = TinyServer(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


CHOICE = b'{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}'
BODY = b'{"id":"1","choices":[%s]}' % CHOICE
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
EVENTS = b"data: %s\n\ndata: [DONE]\n\n" % BODY
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    len(EVENTS),
    EVENTS,
)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_one_connection_serves_many_requests_one_after_another(stream: bool) -> None:
    async with tiny(STREAM if stream else PLAIN) as server:
        target = target_at(server.url)
        async with upstream_of(target) as upstream:
            for _ in range(5):
                assert await whole(upstream, target, stream=stream)

    assert (server.requests, server.connections) == (5, 1)


async def test_a_redirect_is_a_failure_and_nothing_goes_where_it_points() -> None:
    async with tiny(PLAIN) as elsewhere:
        place = f"location: {elsewhere.url}/\r\ncontent-length: 0\r\n\r\n".encode()
        async with tiny(b"HTTP/1.1 308 Moved\r\n" + place) as server:
            target = target_at(server.url)
            async with upstream_of(target) as upstream:
                with pytest.raises(UpstreamBroken, match="answered 308"):
                    await whole(upstream, target)

    assert elsewhere.connections == 0


async def test_the_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tiny(PLAIN) as proxy, tiny(PLAIN) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        target = target_at(server.url)
        async with upstream_of(target) as upstream:
            await whole(upstream, target)

    assert (server.requests, proxy.connections) == (1, 0)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a host that never lets a connection come about: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for each in waiting:
            each.close()


async def test_a_connection_that_does_not_come_about_is_given_up_and_costs_nothing(
    deaf: str,
) -> None:
    target = target_at(deaf, connect=0.1)
    async with upstream_of(target) as upstream:
        with pytest.raises(UpstreamBroken, match="cannot be reached") as failed:
            await whole(upstream, target)

    assert not failed.value.may_have_cost


async def test_a_closed_port_costs_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = target_at(f"http://127.0.0.1:{unused.getsockname()[1]}")
        async with upstream_of(target) as upstream:
            with pytest.raises(UpstreamBroken, match="cannot be reached") as failed:
                await whole(upstream, target)

    assert not failed.value.may_have_cost


SLOW = {
    "first byte of a plain answer": (Script(first_byte_delay=30), False, {"total": 0.1}),
    "first byte of a stream": (Script(first_byte_delay=30), True, {"first_byte": 0.1}),
    "between two chunks": (Script(text="One two", stall_before_chunk=1), True, {"idle": 0.1}),
    "a stream that never pauses and never ends": (
        Script(text="word " * 500, delay_between_chunks=0.01),
        True,
        {"total": 0.2, "idle": 5},
    ),
}


@pytest.mark.parametrize("case", SLOW)
async def test_each_wait_has_its_end_and_may_have_cost_something(
    case: str, provider: ScriptedProvider
) -> None:
    script, stream, timeouts = SLOW[case]
    provider.script = script
    target = target_at(provider.url, **timeouts)
    began = time.monotonic()
    async with upstream_of(target) as upstream:
        with pytest.raises(UpstreamTimedOut, match=r"waited 0\.\d+ s for") as late:
            await whole(upstream, target, stream=stream)
        await provider.until(lambda seen: not seen.open)

    assert late.value.may_have_cost
    assert time.monotonic() - began < 5
    assert provider.requests[0].client_gone


async def test_a_plain_answer_that_stops_in_its_middle_is_given_up() -> None:
    async with tiny(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{") as server:
        target = target_at(server.url, total=0.1)
        async with upstream_of(target) as upstream:
            with pytest.raises(UpstreamTimedOut, match="the rest of an answer") as late:
                await whole(upstream, target)

    assert late.value.may_have_cost


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_cancellation_while_nothing_has_come_hangs_up_on_the_provider(
    stream: bool, provider: ScriptedProvider
) -> None:
    provider.hold()
    target = target_at(provider.url)
    async with upstream_of(target) as upstream:
        task = asyncio.create_task(whole(upstream, target, stream=stream))
        await provider.until(lambda seen: seen.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.until(lambda seen: not seen.open)

    assert provider.requests[0].client_gone


async def test_closing_a_stream_in_its_middle_hangs_up_on_the_provider(
    provider: ScriptedProvider,
) -> None:
    provider.script = Script(text="One two three", stall_before_chunk=2)
    target = target_at(provider.url)
    async with upstream_of(target) as upstream:
        reply = await upstream.send(asking(target, stream=True))
        await provider.until(lambda seen: seen.stalled)
        await reply.aclose()
        await reply.aclose()
        await provider.until(lambda seen: not seen.open)

    assert provider.requests[0].client_gone


async def test_an_answer_without_end_is_cut_off(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_BYTES_AT_MOST", 10_000)
    provider.script = Script(text="word " * 5_000)
    target = target_at(provider.url)
    async with upstream_of(target) as upstream:
        with pytest.raises(UpstreamBroken, match="more than 10000 bytes") as broken:
            await whole(upstream, target)

    assert broken.value.may_have_cost


STATUSES: dict[int, tuple[type[UpstreamFailed], int]] = {
    301: (UpstreamBroken, 502),
    400: (UpstreamRefused, 400),
    401: (UpstreamBroken, 502),
    403: (UpstreamBroken, 502),
    404: (UpstreamBroken, 502),
    408: (UpstreamTimedOut, 504),
    413: (UpstreamRefused, 413),
    422: (UpstreamRefused, 400),
    429: (UpstreamBusy, 503),
    500: (UpstreamBroken, 502),
    502: (UpstreamBroken, 502),
    503: (UpstreamBusy, 503),
    504: (UpstreamTimedOut, 504),
    529: (UpstreamBusy, 503),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_says_whose_fault_it_is_and_that_nothing_was_charged(status: int) -> None:
    error = failure(target_at("http://127.0.0.1:1"), status, b'{"error":{"message":"No."}}')

    assert (type(error), error.status) == STATUSES[status]
    assert error.message == f"openai/gpt-test answered {status}: No."
    assert not error.may_have_cost


@pytest.mark.parametrize("cut", ["reset", "eof"])
async def test_what_arrived_before_a_connection_broke_is_read_however_late(
    cut: Any, provider: ScriptedProvider
) -> None:
    provider.script = Script(
        text="one two three", stall_before_chunk=1, cut_after_chunk=3, cut_mode=cut
    )
    target = target_at(provider.url)
    async with upstream_of(target) as upstream:
        reply = await upstream.send(asking(target, stream=True))
        await provider.until(lambda p: p.stalled == 1)
        provider.resume()
        async with asyncio.timeout(5):
            while reply._response.content.exception() is None:  # nobody reads, and it breaks
                await asyncio.sleep(0)
        with pytest.raises(UpstreamBroken, match="broke off") as error:
            [events async for events in reply]
        await reply.aclose()
    assert error.value.may_have_cost
    assert reply.delivered_text() == "one two three"
