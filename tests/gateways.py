"""A gateway for tests: the real app on a real port, its database, and the questions tests ask.

async with running(routes_text, database_url) as gateway:
    client = gateway.client(gateway.key())
    ...
# leaving the block audits the books: no finding, and no hold left open
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import uvicorn

from gateway.app import FirstKey, Gateway
from gateway.callers.changes import By
from gateway.callers.registry import NewKey, Registry
from gateway.clock import Clock
from gateway.doors.connections import Connection
from gateway.jobs.loading import parse
from gateway.ledger.audit import Finding, audit
from gateway.ledger.queries import Ledger
from gateway.prices.book import PriceBook
from gateway.settings import Settings

BOOK = PriceBook.bundled()
TESTER = By("tester", "", "tests")
"""Who does in the tests what somebody has to do."""
SECRETS = {
    "OPENAI_API_KEY": "sk-canary-openai",
    "ANTHROPIC_API_KEY": "sk-canary-anthropic",
    "GEMINI_API_KEY": "canary-gemini",
    "MISTRAL_API_KEY": "canary-mistral",
}


class RunningGateway:
    """One gateway under test."""

    def __init__(self, gateway: Gateway, port: int, admin: list[FirstKey]) -> None:
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{port}"
        self.clients: list[openai.AsyncOpenAI] = []
        self._admin = admin
        self._registry = Registry(gateway.database, gateway.settings.org, gateway.clock)
        self.ledger = Ledger(gateway.database, gateway.settings.org)

    @property
    def admin_key(self) -> str:
        """The secret of the admin key that the first start made."""
        return self._admin[0].secret

    def key(self, team: str = "brand", app: str = "site", **more: Any) -> str:
        """The secret of a new app key; it works at once."""
        _key_id, secret = self._registry.create(NewKey(team=team, app=app, **more), TESTER)
        self.gateway._fresh.refresh()
        return secret

    def client(self, key: str | None = None, **more: Any) -> openai.AsyncOpenAI:
        """The real OpenAI client; it does not retry unless told to."""
        options = {"max_retries": 0, "timeout": 30.0, **more}
        client = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key or self.key(), **options)
        self.clients.append(client)
        return client

    def entries(self, request_id: str | None = None) -> list[dict[str, Any]]:
        """Entries of one request, or all of them, as rows of the ledger."""
        if request_id is not None:
            return self.ledger.entries_of(request_id)
        with self.gateway.database.reading() as cursor:
            ids = cursor.rows("SELECT DISTINCT request_id FROM entries ORDER BY request_id", {})
        return [row for (found,) in ids for row in self.ledger.entries_of(found)]

    def open_holds(self) -> int:
        """How many holds are open."""
        with self.gateway.database.reading() as cursor:
            return int(cursor.rows("SELECT COUNT(*) FROM holds", {})[0][0])

    def balances(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The balances of now, by budget and subject."""
        rows = self.ledger.balances_at(self.gateway.clock.now())
        return {(row["budget"], row["subject"]): row for row in rows}

    def audit(self) -> list[Finding]:
        """What the audit finds."""
        return audit(self.gateway.database, self.gateway.settings.org)[0]

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric now; 0 when it has not been seen."""
        return self.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running(
    routes: str,
    database_url: str,
    *,
    environment: Mapping[str, str] = SECRETS,
    clock: Clock | None = None,
    leaves_holds: bool = False,
    connection: type[Connection] = Connection,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    """Serve `routes` (the text of a routes.yaml) until the block ends, then audit the books."""
    rules = parse(routes, "routes.yaml", BOOK, environment)
    admin: list[FirstKey] = []
    gateway = Gateway(
        Settings(routes=Path("routes.yaml"), database_url=database_url, port=0, **settings),
        rules,
        BOOK,
        environment=environment,
        announce=admin.append,
        clock=clock,
    )
    async with serving(
        gateway, admin, leaves_holds=leaves_holds, connection=connection
    ) as running_gateway:
        yield running_gateway


@asynccontextmanager
async def serving(
    gateway: Gateway,
    admin: list[FirstKey],
    *,
    leaves_holds: bool = False,
    connection: type[Connection] = Connection,
) -> AsyncIterator[RunningGateway]:
    """Serve a gateway until the block ends, then audit its books."""
    server = uvicorn.Server(
        uvicorn.Config(
            gateway.asgi,
            host="127.0.0.1",
            port=0,
            http=connection,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
            raise RuntimeError("the gateway did not start")
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    running_gateway = RunningGateway(gateway, port, admin)
    try:
        yield running_gateway
        await gateway._live.drain()
        findings, open_holds = running_gateway.audit(), running_gateway.open_holds()
    finally:
        for client in running_gateway.clients:
            await client.close()
        server.should_exit = True
        await task
    assert findings == []
    assert leaves_holds or open_holds == 0


def routes_for(url: str, *, budgets: str = "", jobs: str = "", **options: str) -> str:
    """A routes.yaml whose providers are all at one scripted provider, each with its prefix.

    `options` are lines that every shipped test job gets, such as on_disconnect="cancel";
    `jobs` and `budgets` are further sections, indented by two.
    """
    extra = "".join(f"\n    {name}: {value}" for name, value in options.items())
    return ROUTES.format(url=url, extra=extra, jobs=jobs, budgets=budgets or " {}")


ROUTES = """
version: 1
organisation: {{name: Test, time_zone: Europe/Berlin}}
providers:
  openai: {{wire: openai, flavour: openai, base_url: "{url}/openai/v1", api_key_env: OPENAI_API_KEY}}
  anthropic: {{wire: anthropic, base_url: "{url}/anthropic", api_key_env: ANTHROPIC_API_KEY}}
  gemini: {{wire: gemini, base_url: "{url}/gemini", api_key_env: GEMINI_API_KEY}}
  mistral: {{wire: openai, flavour: mistral, base_url: "{url}/mistral/v1", api_key_env: MISTRAL_API_KEY}}
  ollama: {{wire: openai, flavour: ollama, base_url: "{url}/ollama/v1", residency: on_prem}}
models:
  openai/gpt-test: {{price: {{input: 2.5, cache_read: 1.25, output: 10}}, context_window: 128000}}
  openai/gpt-spare: {{price: {{input: 1, output: 4}}}}
  anthropic/claude-test: {{price: {{input: 3, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15}}}}
  gemini/gemini-test: {{price: {{input: 0.3, cache_read: 0.03, output: 2.5}}}}
  mistral/mistral-test: {{price: {{input: 0.1, output: 0.3}}}}
  ollama/llama-test: {{price: {{input: 0.01, output: 0.02}}}}
  openai/gpt-unpriced: {{context_window: 1000}}
jobs:
  extraction:
    purpose: Structured output.
    owner: data
    targets: [openai/gpt-test]
    output_tokens: {{default: 1000, max: 4000}}
    temperature: {{default: 0, min: 0, max: 1}}
    retries: 0
    tags: [stage, run, campaign]{extra}
  narrative:
    purpose: Long texts.
    owner: brand
    targets: [anthropic/claude-test]
    output_tokens: {{default: 1000, max: 4000}}
    retries: 0{extra}
  workspace:
    purpose: Work in Workspace.
    owner: office
    targets: [gemini/gemini-test]
    output_tokens: {{default: 1000, max: 4000}}
    retries: 0{extra}
  private:
    purpose: What stays in the house.
    owner: legal
    targets: [ollama/llama-test]
    residency: on_prem
    output_tokens: {{default: 1000, max: 4000}}
    retries: 0{extra}
  volume:
    purpose: Cheap and many.
    owner: data
    targets: [mistral/mistral-test]
    output_tokens: {{default: 1000, max: 4000}}
    retries: 0{extra}
  with-fallback:
    purpose: Falls back to a spare model.
    owner: data
    targets: [openai/gpt-test, openai/gpt-spare]
    output_tokens: {{default: 1000, max: 4000}}
    retries: 1{extra}
  unpriced:
    purpose: Its model has no price.
    owner: data
    targets: [openai/gpt-unpriced]
    output_tokens: {{default: 100, max: 400}}{extra}
{jobs}
aliases: {{gpt-4o: extraction}}
budgets:{budgets}
"""
