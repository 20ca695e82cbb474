"""The provider's own bill in money, beside which the ledger is laid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from gateway.metering.usage import CLASSES
from tests.gateways import RunningGateway
from tests.scripted import BillLine

PRICES = {
    "gpt-test": {"input": 2_500, "output": 10_000},
    "gpt-spare": {"input": 1_000, "output": 4_000},
    "claude-test": {"input": 3_000, "output": 15_000},
    "gemini-test": {"input": 300, "output": 2_500},
    "mistral-test": {"input": 100, "output": 300},
    "llama-test": {"input": 10, "output": 20},
}
"""Nano-dollars a token, as `tests.gateways.ROUTES` states them in USD a million."""


def cost(line: BillLine) -> int:
    """What a line of the bill comes to, in nano-dollars."""
    prices = PRICES[line.model]
    return sum(prices[name] * count for name, count in line.usage.items() if count)


def money(lines: Iterable[BillLine]) -> int:
    """What the provider charges for all of it, in nano-dollars."""
    return sum(map(cost, lines))


def said(entry: dict[str, Any]) -> tuple[str, str]:
    """How an entry says that it ended, and how its amount is known."""
    return entry["outcome"], entry["quality"]


def check_entry(entry: dict[str, Any], billed: int) -> None:
    """An entry against what the provider charges for its attempt, in nano-dollars.

    reported is the bill to the nano; presumed is the ceiling of the hold; counted is between
    what was charged and what was held.
    """
    amount, ceiling = entry["amount_nanos"], entry["ceiling_nanos"]
    assert entry["kind"] == "charge"
    if entry["quality"] == "reported":
        assert amount == billed
    elif entry["quality"] == "presumed":
        assert amount == ceiling >= billed
        assert entry["reason"], "an amount that is presumed says why"
    else:
        assert entry["quality"] == "counted"
        assert ceiling >= amount >= billed
    prices = PRICES[entry["model"]]
    if entry["quality"] != "presumed":
        assert amount == sum(prices.get(name, 0) * entry[name] for name in CLASSES)


def only_entry(gateway: RunningGateway, request_id: str) -> dict[str, Any]:
    """The one entry of a request that took one attempt."""
    (entry,) = gateway.entries(request_id)
    return entry


async def settled(gateway: RunningGateway, count: int) -> list[dict[str, Any]]:
    """All entries, when there are so many and no hold is open. Raises TimeoutError."""
    async with asyncio.timeout(5):
        while True:
            entries = await asyncio.to_thread(gateway.entries)
            if len(entries) >= count and not await asyncio.to_thread(gateway.open_holds):
                return entries
