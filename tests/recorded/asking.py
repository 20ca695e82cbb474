"""The recordings as providers: a replay server, a gateway in front of it, and an app that asks.

Everything is asked once, by a bounded number of connections, and what came of it is kept; the
tests then only look.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from gateway.metering.usage import CLASSES, Usage
from tests.gateways import RunningGateway, running
from tests.recorded.recordings import CORPUS, REPLAY, Row, stated_price

CONNECTIONS = 16
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Door:
    """A provider of routes.yaml."""

    wire: str
    path: str
    flavour: str | None = None


DOORS = {
    # Responses and embeddings of a provider are behind the same door as its chats.
    ("openai", "chat"): Door("openai", "openai/v1", "openai"),
    ("azure", "chat"): Door("openai", "azure/openai/v1", "azure"),
    ("groq", "chat"): Door("openai", "groq/openai/v1", "groq"),
    ("deepseek", "chat"): Door("openai", "deepseek/v1", "deepseek"),
    ("xai", "chat"): Door("openai", "xai/v1", "xai"),
    ("openrouter", "chat"): Door("openai", "openrouter/api/v1", "openrouter"),
    ("mistral", "chat"): Door("openai", "mistral/v1", "mistral"),
    ("ollama", "chat"): Door("openai", "ollama/v1", "ollama"),
    ("google", "chat"): Door("openai", "google/v1beta/openai", "gemini"),
    ("anthropic", "messages"): Door("anthropic", "anthropic"),
    ("google", "generate"): Door("gemini", "google"),
    ("google-vertex", "generate"): Door("gemini", "google-vertex"),
}
_BESIDE_CHAT = frozenset({"responses", "embeddings"})
ANY_OPENAI = Door("openai", "{provider}/v1", "generic")


@dataclass(frozen=True, slots=True)
class Asked:
    """One row that is asked for, and how the replay server is to answer."""

    row: Row
    directives: str = ""
    wants_usage: bool = False
    form: str = "chat"
    """The form of the request: chat, responses, embeddings or messages."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    asked: Asked
    status: int
    body: bytes
    request_id: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    billed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The entries of the attempts, without what stands beside them."""
        return [entry for entry in self.entries if ".beside-" not in entry["id"]]

    @property
    def beside(self) -> list[dict[str, Any]]:
        """The entries of what attempts used of other models."""
        return [entry for entry in self.entries if ".beside-" in entry["id"]]

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the last attempt."""
        return self.attempts[-1]

    @property
    def usage(self) -> Usage:
        """The usage of the last attempt."""
        return used(self.entry)

    @property
    def events(self) -> list[bytes]:
        """The data of the events of a stream, comments left out."""
        *parts, rest = _BLANK_LINE.split(self.body)
        assert rest == b""
        return [part.rpartition(b"data: ")[2] for part in parts if not part.startswith(b":")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The decoded events of a stream, without the end marker."""
        return [msgspec.json.decode(data) for data in self.events if data != b"[DONE]"]


def used(entry: dict[str, Any]) -> Usage:
    """The usage of an entry."""
    return Usage(**{name: entry[name] for name in CLASSES})


@contextmanager
def replaying(folder: Path) -> Iterator[str]:
    """The address of a replay server on loopback."""
    corpus = folder / "recorded.jsonl"
    with gzip.open(CORPUS) as packed, corpus.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    command = [sys.executable, str(REPLAY), "--corpus", str(corpus), "--port", "0"]
    command += ["--log", str(folder / "requests.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield msgspec.json.decode(server.stdout.readline())["listening"]
        finally:
            server.terminate()


def routes_for(rows: Sequence[Row], url: str, *, retries: int) -> tuple[str, dict[str, str]]:
    """A routes.yaml with a job for each model and price, and the job of each row by its id.

    A model whose rows have different prices is at as many providers, all the same door.
    """
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    jobs: dict[str, Any] = {}
    job_of: dict[str, str] = {}
    known: dict[str, str] = {}
    for row in rows:
        api = "chat" if row["api"] in _BESIDE_CHAT else row["api"]
        door = DOORS.get((row["provider"], api), ANY_OPENAI)
        model, price = row["model"] or row["model_served"] or "unknown", stated_price(row)
        key = repr((door, row["provider"], model, sorted(price.items())))
        if key not in known:
            provider, number = f"{row['provider']}-{row['api']}", 1
            while f"{provider}-{number}/{model}" in models:
                number += 1
            name = f"{provider}-{number}"
            path = door.path.format(provider=row["provider"])
            providers[name] = {"wire": door.wire, "base_url": f"{url}/{path}"}
            if door.flavour:
                providers[name]["flavour"] = door.flavour
            models[f"{name}/{model}"] = {"price": {**price, "confirmed": True}}
            known[key] = f"job-{len(jobs)}"
            jobs[known[key]] = {
                "purpose": "Recorded answers.",
                "owner": "tests",
                "targets": [f"{name}/{model}"],
                "output_tokens": {"default": 500, "max": 500},
                "retries": retries,
            }
        job_of[row["id"]] = known[key]
    document = {
        "version": 1,
        "organisation": {"name": "Recorded"},
        "providers": providers,
        "models": models,
        "jobs": jobs,
    }
    return msgspec.json.encode(document).decode(), job_of


async def ask_all(
    asked: Sequence[Asked], url: str, database_url: str, *, retries: int = 0
) -> list[Outcome]:
    """Ask for every row through a gateway; its books are audited at the end."""
    routes, job_of = routes_for([each.row for each in asked], url, retries=retries)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=SECONDS),
        ) as session,
        session.post(f"{url}/_heldout/reset") as reset,
    ):
        assert reset.status == 200
        async with running(routes, database_url) as gateway:
            session.headers["Authorization"] = f"Bearer {gateway.key()}"
            room = asyncio.Semaphore(CONNECTIONS)

            async def ask(each: Asked) -> Outcome:
                async with room:
                    return await _ask(session, gateway, each, job_of[each.row["id"]])

            outcomes = list(await asyncio.gather(*map(ask, asked)))
            for outcome in outcomes:
                outcome.entries = gateway.entries(outcome.request_id)
        async with session.get(f"{url}/_heldout/invoice") as answer:
            invoice = msgspec.json.decode(await answer.read())
    for outcome in outcomes:
        wanted = outcome.asked.row["id"]
        outcome.billed = [line for line in invoice["lines"] if line["id"] == wanted]
    return outcomes


async def _ask(
    session: aiohttp.ClientSession, gateway: RunningGateway, asked: Asked, job: str
) -> Outcome:
    row = asked.row
    path, body = _request(asked, job)
    if row["stream"]:
        body["stream"] = True
        if asked.wants_usage:
            body["stream_options"] = {"include_usage": True}
    async with session.post(f"{gateway.url}/v1/{path}", json=body) as answer:
        request_id = answer.headers["x-jobgate-request-id"]
        return Outcome(asked, answer.status, await answer.read(), request_id)


def _request(asked: Asked, job: str) -> tuple[str, dict[str, Any]]:
    """The path of a form, and a request for the row in it."""
    directives = f";{asked.directives}" if asked.directives else ""
    marker = f"heldout:{asked.row['id']}{directives}"
    said: list[dict[str, Any]] = [{"role": "user", "content": marker}]
    if asked.form in _BESIDE_CHAT:
        return asked.form, {"model": job, "input": marker}
    if asked.form == "messages":
        return "messages", {"model": job, "max_tokens": 500, "messages": said}
    return "chat/completions", {"model": job, "messages": said}
