"""Many callers at once, and what they were told."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.store.database import Database
from tests.endings.callers import Heard
from tests.treasury.booking import rows

LONG = "JOBGATE_LONG" in os.environ
"""Whether the long form was asked for: more seeds, more rounds."""

INPUT_PRICE, OUTPUT_PRICE = 2_500, 10_000
"""Nano-dollars a token of gpt-test, which job `extraction` asks."""
OUTPUT_TOKENS = 100
"""The most that each request may answer."""


@dataclass(frozen=True)
class Crowd:
    """Callers with one key, each on a connection of its own."""

    urls: Sequence[str]
    key: str
    session: aiohttp.ClientSession

    async def ask(self, number: int = 0, **fields: Any) -> Heard:
        """One request, at one of the gateways in turn."""
        words = fields.pop("words", f"Question {number}.")
        body = {
            "model": "extraction",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": OUTPUT_TOKENS,
            **fields,
        }
        async with self.session.post(
            f"{self.urls[number % len(self.urls)]}/v1/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {self.key}"},
        ) as answer:
            return Heard(answer.status, answer.headers, await answer.read())

    async def all_ask(self, number: int) -> list[Heard]:
        """So many requests at once."""
        return await asyncio.gather(*(self.ask(each) for each in range(number)))


@asynccontextmanager
async def a_crowd(urls: Sequence[str], key: str) -> AsyncIterator[Crowd]:
    """Callers without any limit to their connections."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=100)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Crowd(urls, key, session)


def budget_of(limit: int) -> str:
    """The section of routes.yaml: a hard budget of everybody's, in nano-dollars a month."""
    return f' {{cap: {{scope: organisation, limit: "{limit / 1e9:.9f} USD", period: month}}}}'


def statuses(heard: Iterable[Heard]) -> Counter[int]:
    """How many were told what."""
    return Counter(one.status for one in heard)


def spent_and_held(database: Database, budget: str = "cap") -> tuple[int, int, int]:
    """Spent, held and overrun of a budget with one balance; nothing before its first request."""
    found = rows(
        database, "SELECT spent, held, overrun FROM balances WHERE budget = :budget", budget=budget
    )
    spent, held, overrun = found[0] if found else (0, 0, 0)
    return spent, held, overrun


def no_refusal_was_false(heard: Iterable[Heard], limit: int, spent: int) -> None:
    """Law 5: whoever was told that there is no money could not have been served, whatever came.

    `spent` is what was spent in the end, so each refused ceiling would have gone beyond the limit.
    """
    for refused in (one for one in heard if one.status == 402):
        details = refused.error["details"]
        assert refused.error["code"] == "budget_exhausted"
        assert details["spent"] + details["wanted"] > limit, "refused although it could have fitted"
        assert spent + details["wanted"] > limit
