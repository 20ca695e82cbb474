"""One exchange over a pooled connection: what is written, and when a connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.exchanges import Connections, Exchange, head_of

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Provider:
    """A server of raw bytes: it keeps what each connection sent; an empty answer hangs up."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections: list[bytes] = []
        self.url = ""
        self.last = False
        """Whether it hangs up after its first answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of one connection."""
        self.connections.append(b"")
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.connections[-1] += head + await reader.readexactly(length)
                answer = self.answers.pop(0)
                writer.write(answer)
                await writer.drain()
                if self.last or not answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(*answers: bytes) -> AsyncIterator[tuple[Provider, Connections]]:
    provider = Provider(*answers)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    connections = Connections(connect_seconds=5)
    try:
        yield provider, connections
    finally:
        await connections.aclose()
        server.close()


async def ask(provider: Provider, connections: Connections, body: bytes = b"{}") -> bytes:
    head = head_of(f"{provider.url}/v1/chat?a=b", {"Content-Type": "application/json"})
    answer = await connections.send(Exchange(head, body))
    try:
        return await answer.content.read()
    finally:
        answer.release()


async def test_a_request_is_one_head_and_its_body_to_the_byte() -> None:
    async with listening(OK) as (provider, connections):
        assert await ask(provider, connections, b'{"a": 1}') == b"ok"
        host = provider.url.removeprefix("http://")
    assert provider.connections == [
        b"POST /v1/chat?a=b HTTP/1.1\r\n"
        b"Host: " + host.encode() + b"\r\nAccept-Encoding: identity\r\nUser-Agent: jobgate\r\n"
        b'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    ]


async def test_a_connection_is_used_again_when_its_answer_was_read() -> None:
    async with listening(OK, OK, OK) as (provider, connections):
        for _ in range(3):
            assert await ask(provider, connections) == b"ok"
    assert len(provider.connections) == 1


async def test_a_connection_is_not_used_again_when_its_answer_goes_on() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    async with listening(half, OK) as (provider, connections):
        answer = await connections.send(Exchange(head_of(provider.url, {}), b""))
        assert answer.status == 200
        answer.release()
        assert await ask(provider, connections) == b"ok"
    assert len(provider.connections) == 2


async def test_a_connection_is_not_used_again_when_the_provider_says_so() -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with listening(last, OK) as (provider, connections):
        assert await ask(provider, connections) == b"ok"
        assert await ask(provider, connections) == b"ok"
    assert len(provider.connections) == 2


async def test_an_answer_before_the_request_was_taken_ends_the_connection() -> None:
    """A provider that refuses a large body does not read it; what is left of it must not stand
    before the next request."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    heads: list[bytes] = []
    closed: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(refusal)
        await writer.drain()
        closed.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(connect_seconds=5)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for _ in range(2):
        answer = await connections.send(Exchange(head_of(url, {}), b"x" * 30_000_000))
        assert (answer.status, await answer.content.read()) == (413, b"no")
        answer.release()
    await connections.aclose()
    for writer in closed:
        writer.close()
    server.close()
    assert [head.count(b"HTTP/1.1") for head in heads] == [1, 1]


async def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with listening(early + OK) as (provider, connections):
        assert await ask(provider, connections) == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf",
    ],
)
async def test_what_is_no_answer_is_an_error_of_the_client_library(answer: bytes) -> None:
    async with listening(answer) as (provider, connections):
        provider.last = True
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(ask(provider, connections), 5)


async def test_whoever_reads_of_a_connection_that_is_closed_is_told() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    async with listening(half) as (provider, connections):
        answer = await connections.send(Exchange(head_of(provider.url, {}), b""))
        assert await answer.content.readany() == b"half"
        reading = asyncio.create_task(answer.content.readany())
        await asyncio.sleep(0)
        answer.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asyncio.wait_for(reading, 5)


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    away = b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with listening(away) as (provider, connections):
        answer = await connections.send(Exchange(head_of(provider.url, {}), b""))
        assert (answer.status, answer.headers["location"]) == (307, "http://127.0.0.1:9/")
        answer.close()


async def test_nobody_at_an_address_is_told_apart_from_a_broken_answer() -> None:
    connections = Connections(connect_seconds=5)
    with pytest.raises(aiohttp.ClientConnectorError):
        await connections.send(Exchange(head_of("http://127.0.0.1:1/", {}), b""))
    await connections.aclose()


async def test_whoever_stops_waiting_closes_the_connection() -> None:
    async with listening(b"", OK) as (provider, connections):
        provider.answers.insert(0, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(provider, connections)
        provider.answers[:] = [OK]
        assert await ask(provider, connections) == b"ok"
    assert len(provider.connections) == 2


@given(st.text(), st.text())
def test_no_value_becomes_a_line_of_its_own(name: str, value: str) -> None:
    broken = any(mark in name + value for mark in "\r\n\0")
    try:
        head = head_of("http://provider.test/v1", {f"X{name}": value})
    except UnicodeEncodeError:
        return  # half of a character: it cannot be sent at all
    except ValueError:
        assert broken
        return
    assert not broken
    assert head.text.count(b"\r\n") == head.text.count(b"\n") == 5


def test_headers_that_frame_a_request_are_ours_alone() -> None:
    stated = {"content-length": "7", "Transfer-Encoding": "chunked", "user-agent": "theirs"}
    text = head_of("http://provider.test/v1", stated, "GET").text
    assert text == (
        b"GET /v1 HTTP/1.1\r\nHost: provider.test\r\nAccept-Encoding: identity\r\n"
        b"user-agent: theirs\r\nContent-Length: "
    )


def test_a_value_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="'Authorization' has a line break") as refused:
        head_of("http://provider.test/v1", {"Authorization": "Bearer sk-canary\r\nX: y"})
    assert "canary" not in str(refused.value)
