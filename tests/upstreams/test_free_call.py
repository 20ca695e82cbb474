"""The free call to a provider: what it asks, what it tells, and that it never waits for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from gateway.clock import MICROS
from gateway.jobs.loading import parse
from gateway.jobs.routes import Provider
from gateway.prices.book import PriceBook
from gateway.upstreams.free_call import address, ask_for_nothing, can_be_asked

pytestmark = pytest.mark.anyio

FILE = """
version: 1
organisation: {{name: Test}}
providers:
  one: {{base_url: "{url}", {more}}}
models: {{one/m: {{price: free}}}}
jobs:
  a: {{purpose: p, owner: o, targets: [one/m], output_tokens: {{max: 10}}}}
"""
BOOK = PriceBook.bundled()


def provider(url: str = "https://models.example.com/v1", more: str = "wire: openai") -> Provider:
    rules = parse(FILE.format(url=url, more=more), "routes.yaml", BOOK, {})
    return rules.providers["one"]


@pytest.mark.parametrize(
    ("more", "path", "header"),
    [
        ("wire: openai", "/v1/models", "Authorization"),
        ("wire: openai, flavour: openrouter", "/v1/key", "Authorization"),
        ("wire: anthropic", "/v1/models", "x-api-key"),
        ("wire: gemini", "/v1/v1beta/models", "x-goog-api-key"),
    ],
)
def test_each_wire_has_a_call_of_its_own(more: str, path: str, header: str) -> None:
    url, headers = address(provider(more=more), "sk-1")
    assert url == f"https://models.example.com{path}"
    assert headers[header].removeprefix("Bearer ") == "sk-1"
    _, without = address(provider(more=more), None)
    assert header not in without


def test_what_litellm_reaches_is_not_asked() -> None:
    assert not can_be_asked(provider(more="wire: litellm, litellm_provider: cohere"))
    assert can_be_asked(provider())


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A provider on loopback that answers every request in one way."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (host, port, *_) = runner.addresses[0]
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()


def says(status: int, body: Any, headers: Mapping[str, str]) -> Answer:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


@pytest.mark.parametrize("behind", [-7200, 0, 90])
async def test_its_clock_is_told_to_the_second(behind: int) -> None:
    date = formatdate(time.time() - behind, usegmt=True)
    async with serving(says(200, {"data": [{"id": "m"}]}, {"Date": date})) as url:
        reached = await ask_for_nothing(provider(url), None, 5)
    assert (reached.status, reached.error, reached.models) == (200, "", {"m"})
    assert reached.clock_off_micros is not None
    assert abs(reached.clock_off_micros + behind * MICROS) < 2 * MICROS


@pytest.mark.parametrize(
    ("body", "models"),
    [
        ({"models": [{"name": "models/gemini-x"}]}, {"gemini-x"}),
        ([{"id": "a"}, {"id": "b"}], {"a", "b"}),
        ({"data": [{"id": 7}, "b", None]}, set()),
        ({"data": "all of them"}, set()),
        ("hello", set()),
    ],
)
async def test_lists_of_any_shape_are_read_or_left(body: Any, models: set[str]) -> None:
    async with serving(says(200, body, {"Date": "yesterday"})) as url:
        reached = await ask_for_nothing(provider(url), "sk-1", 5)
    assert (reached.status, reached.models, reached.clock_off_micros) == (200, models, None)


async def test_a_redirect_is_told_and_not_followed() -> None:
    seen: list[str] = []

    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/v1/elsewhere"})

    async with serving(elsewhere) as url:
        reached = await ask_for_nothing(provider(url), "sk-1", 5)
    assert (reached.status, seen) == (302, ["/v1/models"])


async def test_who_says_nothing_is_not_waited_for() -> None:
    async def silent(_request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as url, asyncio.timeout(5):
        reached = await ask_for_nothing(provider(url), "sk-1", 0.1)
    assert (reached.status, reached.error) == (0, "no answer within 0.1 s")
