"""Those who ask: one who waits for the whole answer, and one who may hang up in the middle.

Neither is the OpenAI client: here every byte counts, and when a connection is closed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.gateways import RunningGateway
from tests.scripted import Script, ScriptedProvider

QUESTION = [{"role": "user", "content": "Say something."}]
CLOUD_JOBS = ("extraction", "narrative", "workspace", "volume")
JOBS = (*CLOUD_JOBS, "private")
"""Jobs whose providers speak OpenAI's format, Anthropic's, Gemini's, Mistral's and Ollama's."""
CHUNKS = ("one", " two", " three")
FORMS = (False, True)
"""A plain answer; a stream."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it arrived, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers["x-jobgate-request-id"]

    @property
    def attempts(self) -> int:
        return int(self.headers["x-jobgate-attempts"])

    @property
    def events(self) -> list[Any]:
        """What a stream said: its JSON, and the word [DONE]."""
        lines = self.body.decode().splitlines()
        said = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [one if one == "[DONE]" else json.loads(one) for one in said]

    @property
    def error(self) -> dict[str, Any]:
        """The error: the whole answer, or the last event of a stream; {} if there is none."""
        last = self.events[-1] if self.is_stream else json.loads(self.body)
        found = last.get("error", {}) if isinstance(last, dict) else {}
        assert not found or found.keys() >= {"message", "type", "param", "code"}
        return dict(found)

    @property
    def is_stream(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")

    @property
    def text(self) -> str:
        """What the model said, as far as it came."""
        if not self.is_stream:
            return str(json.loads(self.body)["choices"][0]["message"]["content"])
        chunks = [one for one in self.events if isinstance(one, dict) and one.get("choices")]
        return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)


class Caller:
    """Asks and waits."""

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self._url, self._key, self._session = url, key, session

    async def ask(self, job: str, *, stream: bool = False, **fields: Any) -> Heard:
        """The whole answer. Raises aiohttp.ClientError when the gateway breaks off: it must not."""
        body = {"model": job, "messages": QUESTION, "stream": stream, **fields}
        headers = {"authorization": f"Bearer {self._key}"}
        async with self._session.post(
            f"{self._url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            return Heard(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def calling(gateway: RunningGateway) -> AsyncIterator[Caller]:
    """A caller with a key of its own."""
    async with aiohttp.ClientSession() as session:
        yield Caller(gateway.url, gateway.key(), session)


async def all_is_well(gateway: RunningGateway, provider: ScriptedProvider) -> None:
    """Every target answers once, so that failures do not add up and open a breaker."""
    provider.script = Script()
    async with calling(gateway) as caller:
        for job in JOBS:
            assert (await caller.ask(job)).status == 200
    provider.bill.clear()


class Leaver:
    """A caller on one raw connection, who can hang up whenever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, gateway: RunningGateway) -> Self:
        port = int(gateway.url.rsplit(":", 1)[1])
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def asking(
        cls, gateway: RunningGateway, key: str, job: str, *, stream: bool, share: float = 1.0
    ) -> Self:
        """Send a question, or that share of its body."""
        leaver = await cls.connect(gateway)
        body = json.dumps({"model": job, "messages": QUESTION, "stream": stream}).encode()
        leaver._writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
            b"authorization: Bearer %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % (key.encode(), len(body))
        )
        leaver._writer.write(body[: round(share * len(body))])
        await leaver._writer.drain()
        return leaver

    async def reads_until(self, words: bytes) -> bytes:
        """All that arrives up to these words."""
        return await asyncio.wait_for(self._reader.readuntil(words), 5)

    async def reads_on(self) -> bytes:
        """All that arrives until the gateway closes the connection."""
        return await asyncio.wait_for(self._reader.read(), 5)

    async def hangs_up(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def leaves(self, gateway: RunningGateway) -> None:
        """Hang up, and return when the gateway has had the occasion to notice."""
        await self.hangs_up()
        other = await self.connect(gateway)
        other._writer.write(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
        await other.reads_on()
        await other.hangs_up()
