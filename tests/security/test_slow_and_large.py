"""Callers who are slow, or large, on purpose: what they cost is bounded, and others are served."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.doors.connections import HEAD_BYTES_AT_MOST, with_limits
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.security.wire import Line, say
from tests.stories.front_door import CHAT, QUESTION, House, a_house

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n"
MEGABYTE = 1024 * 1024
IMPATIENT = with_limits(
    look_seconds=0.05, head_seconds=0.3, request_seconds=0.6, untaken_seconds=0.3
)


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books"), connection=IMPATIENT) as opened:
        yield opened


async def drip(line: Line, raw: bytes) -> int:
    """Send a byte now and then until the other side hangs up; how many it took."""
    over = asyncio.ensure_future(line.hear(10))
    for sent, byte in enumerate(raw):
        if over.done():
            return sent
        await line.send(bytes([byte]))
        await asyncio.wait([over], timeout=0.02)
    over.cancel()
    return len(raw)


# ---- slow


@pytest.mark.parametrize(
    "begun",
    [b"", b"\r\n", GET, b"GET /heal", GET + b"X-A: "],
    ids=["nothing", "an empty line", "headers", "a path", "a header"],
)
async def test_a_head_that_does_not_come_to_its_end_ends_the_connection(
    begun: bytes, house: House
) -> None:
    said = await say(house.gateway.url, begun, seconds=5)

    assert (said.raw, said.closed) == (b"", True)


async def test_slow_loris_a_byte_now_and_then_does_not_keep_a_connection(house: House) -> None:
    line = await Line.to(house.gateway.url)
    sent = await drip(line, GET + b"X-Slow: " + b"a" * 500)
    await line.close()

    assert len(GET) / 10 < sent < 400


async def test_empty_lines_after_an_answer_do_not_keep_a_connection(house: House) -> None:
    line = await Line.to(house.gateway.url)
    await line.send(GET + b"\r\n")
    assert (await line.hear(0.2)).statuses == [200]

    sent = await drip(line, b"\r\n" * 200)
    await line.close()

    assert sent < 400


@pytest.mark.parametrize("key", ["a good key", "no key"])
async def test_a_body_that_drips_ends_the_connection_and_holds_no_money(
    key: str, house: House
) -> None:
    before = house.entries()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5000\r\n"
    if key == "a good key":
        head += f"Authorization: Bearer {house.key}\r\n"
    line = await Line.to(house.gateway.url)
    await line.send(head.encode() + b"\r\n")

    sent = await drip(line, b" " * 400)
    await line.close()

    assert sent < 400
    assert house.is_untouched(before)
    await house.send("GET", "/v1/models", key=house.key)  # forgives the address


async def test_a_hundred_slow_callers_do_not_keep_others_waiting(house: House) -> None:
    lines = await asyncio.gather(*(Line.to(house.gateway.url) for _ in range(100)))
    await asyncio.gather(*(line.send(GET) for line in lines))

    async with asyncio.timeout(5):
        told = await house.ask()
    heard = await asyncio.gather(*(line.hear(5) for line in lines))
    await asyncio.gather(*(line.close() for line in lines))

    assert told.status == 200
    assert all(said.closed for said in heard)


async def test_a_caller_who_does_not_take_the_answer_is_let_go_and_charged(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    provider.script = Script(chunks=("word " * 4000,) * 800, input=10, output=1000)  # 16 MB
    async with running(
        routes_for(provider.url), f"sqlite:///{tmp_path}/books.db", connection=IMPATIENT
    ) as gateway:
        body = json.dumps({"model": "extraction", "messages": QUESTION, "stream": True}).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {gateway.key()}\r\n\r\n"
        )
        line = await Line.to(gateway.url)
        await line.send(head.encode() + body)
        line.reader._transport.pause_reading()  # takes nothing any more

        async with asyncio.timeout(20):
            while not gateway.entries():
                await asyncio.sleep(0.05)
        (entry,) = gateway.entries()
        line.writer.transport.abort()

    assert entry["outcome"] == "caller_left"
    assert entry["output"] == 1000
    assert entry["quality"] == "reported"


async def test_an_idle_connection_that_is_used_again_is_kept(house: House) -> None:
    line = await Line.to(house.gateway.url)
    for _ in range(3):
        await line.send(GET + b"\r\n")
        assert (await line.hear(0.5)).statuses == [200]  # longer than a head may take
    await line.close()


# ---- large


async def test_a_head_without_an_end_is_refused_when_it_is_large(house: House) -> None:
    line = await Line.to(house.gateway.url)
    await line.send(GET + b"X-A: ")
    for _ in range(2 * HEAD_BYTES_AT_MOST // 1024):
        await line.send(b"a" * 1024)
    said = await line.hear(5)
    await line.close()

    assert said.closed
    assert said.statuses in ([431], [])  # the answer may be lost when we go on sending


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"GET /v1/models/" + b"%41" * 20_000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n",
        GET + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        GET + b"Cookie: " + b"a=b; " * 12_000 + b"\r\n\r\n",
        GET + b"Authorization: Bearer " + b"k" * 60_000 + b"\r\n\r\n",
    ],
    ids=["path", "escapes", "headers", "cookies", "key"],
)
async def test_a_large_head_that_is_whole_does_no_harm(head: bytes, house: House) -> None:
    said = await say(house.gateway.url, head, seconds=2)

    assert len(said.statuses) <= 1
    assert all(status < 500 for status in said.statuses)
    assert len(said.raw) < 4096  # what was sent is not sent back
    await house.send("GET", "/v1/models", key=house.key)


# ---- decompression bombs


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"])
async def test_a_compressed_request_is_refused_and_not_unpacked(coding: str, house: House) -> None:
    before = house.entries()
    bomb = gzip.compress(b" " * 20 * MEGABYTE)

    told = await house.post(bomb, Content_Encoding=coding)

    assert (told.status, told.error["code"]) == (400, "invalid_request")
    assert "compressed" in told.error["message"]
    assert house.is_untouched(before)


def bomb(megabytes: int) -> bytes:
    """So many megabytes of one character, a thousandth as large when packed."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, 31), b"a" * MEGABYTE
    return b"".join(packer.compress(piece) for _ in range(megabytes)) + packer.flush()


@asynccontextmanager
async def bomber(status: int, kind: str) -> AsyncIterator[str]:
    """A provider that answers every request with a quarter of a gigabyte, packed; its address."""
    packed = bomb(256)
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(packed)}\r\n\r\n"
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + packed)
            await writer.drain()
            await reader.read()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_bomb_in_a_providers_answer_is_unpacked_to_a_bound_and_no_further(
    stream: bool, status: int, tmp_path: Path
) -> None:
    kind = "text/event-stream" if stream else "application/json"
    async with (
        bomber(status, kind) as url,
        running(routes_for(url), f"sqlite:///{tmp_path}/books.db") as gateway,
        aiohttp.ClientSession() as http,
    ):
        body = {"model": "extraction", "messages": QUESTION, "stream": stream}
        headers = {"Authorization": f"Bearer {gateway.key()}"}
        before = peak_kilobytes()
        async with http.post(gateway.url + CHAT, json=body, headers=headers) as answer:
            told = await answer.read()
        grown = peak_kilobytes() - before

    assert answer.status == (400 if status == 400 else 502)
    assert len(told) < 2000
    assert grown < 220 * 1024
