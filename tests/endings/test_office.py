"""The office on an address of its own: what is where, and how both end together."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.doors.office import parse_address
from gateway.errors import ConfigurationError
from tests.chaos.processes import GatewayProcess, free_port
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider
from tests.treasury.booking import opening, rows

pytestmark = pytest.mark.anyio

OFFICE = ("/admin/v1/me", "/admin/v1/keys", "/admin/v1/changes", "/docs", "/openapi.json")
ASK = b'{"model":"extraction","messages":[{"role":"user","content":"Hi"}]}'


@pytest.fixture
def office_port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("JOBGATE_OFFICE_ADDRESS", f"127.0.0.1:{port}")
    return port


async def status(session: aiohttp.ClientSession, url: str, **headers: str) -> int:
    async with session.get(url, headers=headers) as answer:
        return answer.status


async def test_each_side_has_its_own_and_a_signal_ends_both(
    tmp_path: Path, sqlite_url: str, provider: ScriptedProvider, office_port: int
) -> None:
    (tmp_path / "routes.yaml").write_text(routes_for(provider.url))
    gateway = GatewayProcess(tmp_path, sqlite_url)
    await asyncio.to_thread(gateway.start)
    key = await asyncio.to_thread(gateway.key)
    bearer = {"Authorization": f"Bearer {key}"}
    office = f"http://127.0.0.1:{office_port}"
    provider.script = Script(text="one two three", stall_before_chunk=0)
    async with aiohttp.ClientSession() as session:
        for path in (*OFFICE, "/metrics", "/"):
            assert await status(session, gateway.url + path, **bearer) == 404, path
            named = {"Host": f"127.0.0.1:{office_port}", "X-Forwarded-Host": office}
            assert await status(session, gateway.url + path, **named) == 404, path
        for path in ("/healthz", "/readyz"):
            assert await status(session, gateway.url + path) == 200
            assert await status(session, office + path) == 200
        assert await status(session, f"{gateway.url}/v1/models", **bearer) == 200
        assert await status(session, f"{office}/v1/models", **bearer) == 404
        assert await status(session, f"{office}/admin/v1/me", **bearer) == 200
        assert await status(session, f"{office}/admin/v1/me") == 401
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert await status(session, office + path) == 200
        async with session.post(f"{office}/v1/chat/completions", data=ASK, headers=bearer) as no:
            assert no.status == 404

        asking = asyncio.create_task(
            session.post(f"{gateway.url}/v1/chat/completions", data=ASK, headers=bearer)
        )
        await provider.until(lambda p: p.stalled == 1)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        await until_closed(gateway.port)
        await until_closed(office_port)
        provider.resume()
        async with await asking as answer:
            assert (answer.status, b"one two three" in await answer.read()) == (200, True)
    assert await asyncio.to_thread(gateway.process.wait, 30) == 0


async def test_what_is_under_way_in_the_office_is_answered_after_a_signal(
    tmp_path: Path, sqlite_url: str, office_port: int
) -> None:
    """One request has not come to its end, another waits until somebody else has written."""
    (tmp_path / "routes.yaml").write_text(routes_for("http://127.0.0.1:9"))
    gateway = GatewayProcess(tmp_path, sqlite_url)
    await asyncio.to_thread(gateway.start)
    admin = await asyncio.to_thread(gateway.key, "admin")
    arriving = await Begun.at(office_port, admin, b'{"name":"growth"}')
    waiting = await Begun.at(office_port, admin, b'{"name":"research"}')
    assert gateway.process is not None
    with opening(sqlite_url) as database:
        with database.writing():
            await waiting.complete()
            gateway.process.send_signal(signal.SIGTERM)
            await until_closed(gateway.port)
            await until_closed(office_port)
            assert gateway.process.poll() is None
        told = [await waiting.answer()]
        await arriving.complete()
        told.append(await arriving.answer())
        assert await asyncio.to_thread(gateway.process.wait, 30) == 0
        made = rows(database, "SELECT name FROM teams WHERE org = 'main' ORDER BY name")

    for answer, name in zip(told, (b"research", b"growth"), strict=True):
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert name in answer
        assert b"connection: close" in answer.lower()
    assert {("growth",), ("research",)} <= set(made)


class Begun:
    """A team that somebody is making: the server waits for the rest of what they say."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams
        self._rest = b""

    @classmethod
    async def at(cls, port: int, key: str, body: bytes) -> Begun:
        """Send the head; the office has looked at it and asks for the body."""
        begun = cls(await asyncio.open_connection("127.0.0.1", port))
        begun._rest = body
        head = (
            f"POST /admin/v1/teams HTTP/1.1\r\nHost: office\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        begun._writer.write(head.encode())
        asked = await asyncio.wait_for(begun._reader.readuntil(b"\r\n\r\n"), 10)
        assert asked.startswith(b"HTTP/1.1 100 "), asked
        return begun

    async def complete(self) -> None:
        """Send the rest."""
        self._writer.write(self._rest)
        await self._writer.drain()

    async def answer(self) -> bytes:
        """All of it, up to the end of the connection."""
        told = await asyncio.wait_for(self._reader.read(), 20)
        self._writer.close()
        return told


async def until_closed(port: int) -> None:
    """Wait until nobody is let in any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)


def test_an_address_is_a_host_and_a_port_of_either_kind() -> None:
    assert parse_address("127.0.0.1:4001", 4000) == ("127.0.0.1", 4001)
    assert parse_address("[::1]:4001", 4000) == ("::1", 4001)


@pytest.mark.parametrize(
    "text", ["4001", ":4001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "h:65536", "h:٤٠", "h:4000"]
)
def test_what_is_no_address_of_its_own_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_address(text, 4000)

    assert repr(text) in str(refused.value)


def test_an_address_that_is_taken_is_told_in_a_sentence(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "routes.yaml").write_text(routes_for("http://127.0.0.1:9"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = subprocess.run(
            [
                *(sys.executable, "-m", "gateway", "serve", "--port", str(free_port())),
                *("--routes", str(tmp_path / "routes.yaml"), "--database-url", sqlite_url),
                *("--office-address", f"127.0.0.1:{port}"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert told.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in told.stderr
    assert "Traceback" not in told.stderr
