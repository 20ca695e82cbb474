"""One gateway for a whole file of front-door tests, and raw HTTP where the client is too polite.

A file that only looks at answers needs no fresh books for each test: it asks for `house` with
the scope of a module. Leaving it audits the books of all its tests at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateways import SECRETS, RunningGateway, routes_for, running
from tests.scripted import ScriptedProvider

CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "Say something."}]


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body; raises ValueError when it is not JSON."""
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        """The error, after checking that it is one as OpenAI's clients know them."""
        assert self.status >= 400
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-should-retry"] in ("true", "false")
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        assert error["message"]
        assert isinstance(error["code"], str)
        return dict(error)


@dataclass(frozen=True, slots=True)
class House:
    """A running gateway, its provider, and a plain HTTP client without any key of its own."""

    gateway: RunningGateway
    provider: ScriptedProvider
    http: aiohttp.ClientSession
    key: str
    """An app key that may use every job."""

    async def send(
        self, method: str, path: str, *, key: str | None = None, data: Any = None, **headers: str
    ) -> Told:
        """Any request; `job="x"` is the header X-Jobgate-Job, other names are the headers'."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        async with self.http.request(
            method, self.gateway.url + path, data=data, headers=named
        ) as answer:
            told = Told(answer.status, answer.headers, await answer.read())
        assert told.headers["x-jobgate-request-id"].startswith("req_"), (method, path)
        return told

    async def post(self, data: Any, **headers: str) -> Told:
        """A chat request with the good key; bytes go out as they are, anything else as JSON."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return await self.send("POST", CHAT, key=self.key, data=body, **headers)

    async def ask(self, job: str = "extraction", **fields: Any) -> Told:
        """A chat request about a job."""
        return await self.post({"model": job, "messages": QUESTION, **fields})

    def is_untouched(self, entries: int) -> bool:
        """Whether nothing is held and the books have as many entries as before."""
        return self.gateway.open_holds() == 0 and self.entries() == entries

    def entries(self) -> int:
        """How many entries the books have."""
        with self.gateway.gateway.database.reading() as cursor:
            return int(cursor.rows("SELECT COUNT(*) FROM entries", {})[0][0])


@asynccontextmanager
async def a_house(
    folder: Path,
    *,
    jobs: str = "",
    budgets: str = "",
    environment: Mapping[str, str] = SECRETS,
    **settings: Any,
) -> AsyncIterator[House]:
    """A gateway over SQLite in `folder` with a scripted provider behind it."""
    async with ScriptedProvider() as provider:
        routes = routes_for(provider.url, jobs=jobs, budgets=budgets)
        url = f"sqlite:///{folder}/books.db"
        async with (
            running(routes, url, environment=environment, **settings) as gateway,
            aiohttp.ClientSession(skip_auto_headers=("Content-Type",)) as http,
        ):
            yield House(gateway, provider, http, gateway.key())
        assert provider.mistakes == []
