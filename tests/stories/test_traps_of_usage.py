"""Traps of usage, by their numbers in the list of traps: what a provider reports is booked in
disjoint classes and at the price of each, through the front door, plain and streamed alike.

Every class has a price of its own here, so a token in the wrong class is a wrong amount.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
PRICES = {
    "input": "2",
    "cache_read": "0.2",
    "cache_read_audio": "0.3",
    "cache_write": "2.5",
    "cache_write_1h": "4",
    "output": "10",
    "reasoning": "11",
    "audio_input": "30",
    "audio_output": "60",
    "image_input": "3",
    "image_output": "40",
}
"""USD per million tokens."""
FEE = Decimal("0.01")
"""USD per call."""
OPENAI, ANTHROPIC, GEMINI, MISTRAL = "extraction", "narrative", "workspace", "volume"


def routes(url: str) -> str:
    """Routes in which every model has the same price, with every class stated."""
    stated = ", ".join(f"{name}: {rate}" for name, rate in PRICES.items())
    price = f"price: {{{stated}, per_call: {FEE}}}"
    return re.sub(r"price: \{[^}]*\}", price, routes_for(url))


def worth(used: Mapping[str, int]) -> int:
    """Nano-dollars of a usage, by decimal arithmetic."""
    calls = Decimal(used.get("requests", 0)) * FEE * 10**9
    tokens = sum(Decimal(PRICES[name]) * n * 1000 for name, n in used.items() if name in PRICES)
    return int(calls + tokens)


@dataclass(frozen=True)
class Trap:
    """A usage as a provider reports it, and what has to be booked."""

    job: str
    reported: Mapping[str, Any]
    booked: Mapping[str, int]
    told: Mapping[str, int] = field(default_factory=dict)
    """Input, cached and output tokens that the caller sees, where they are worth a look."""


TRAPS = {
    "1 cache writes are not billed twice": Trap(
        ANTHROPIC,
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
        },
        {"input": 10, "cache_write": 200, "output": 5},
    ),
    "2 both cache classes survive the translation": Trap(
        ANTHROPIC,
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 200,
            "output_tokens": 5,
        },
        {"input": 10, "cache_read": 500, "cache_write": 200, "output": 5},
        {"prompt": 710, "cached": 500, "completion": 5},
    ),
    "3 cached tokens are not charged again at the full price": Trap(
        OPENAI,
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
        {"input": 36, "cache_read": 64, "output": 5},
    ),
    "4 each lifetime of a write has its own rate": Trap(
        ANTHROPIC,
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 150},
            "output_tokens": 5,
        },
        {"input": 10, "cache_write": 50, "cache_write_1h": 150, "output": 5},
    ),
    "5 OpenAI's written tokens are not ignored": Trap(
        OPENAI,
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 50},
        },
        {"input": 10, "cache_read": 40, "cache_write": 50, "output": 5},
    ),
    "6 Gemini's thoughts are part of the output": Trap(
        GEMINI,
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 70,
            "totalTokenCount": 190,
        },
        {"input": 100, "output": 20, "reasoning": 70},
        {"prompt": 100, "cached": 0, "completion": 90},
    ),
    "7 nor are they lost at its compatible endpoint": Trap(
        OPENAI,
        {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
        {"input": 66, "output": 6, "reasoning": 28},
    ),
    "8 reasoning is not added twice": Trap(
        OPENAI,
        {
            "prompt_tokens": 100,
            "completion_tokens": 90,
            "total_tokens": 190,
            "completion_tokens_details": {
                "reasoning_tokens": 64,
                "accepted_prediction_tokens": 9,
                "rejected_prediction_tokens": 7,
            },
        },
        {"input": 100, "output": 26, "reasoning": 64},
    ),
    "9 xAI's reasoning is beside the completion": Trap(
        OPENAI,
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 170,
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        {"input": 100, "output": 20, "reasoning": 50},
    ),
    "10 search fees are not forgotten": Trap(
        ANTHROPIC,
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 4},
        },
        {"input": 10, "output": 5, "requests": 3},
    ),
    "15 a compaction is billed": Trap(
        ANTHROPIC,
        {
            "input_tokens": 200,
            "output_tokens": 10,
            "iterations": [
                {"type": "compaction", "input_tokens": 1800, "output_tokens": 35},
                {"type": "message", "input_tokens": 200, "output_tokens": 10},
            ],
        },
        {"input": 2000, "output": 45},
        {"prompt": 2000, "cached": 0, "completion": 45},
    ),
    "15 a first try that a fallback declined is not": Trap(
        ANTHROPIC,
        {
            "input_tokens": 210,
            "output_tokens": 10,
            "iterations": [
                {"type": "message", "input_tokens": 200, "output_tokens": 0},
                {"type": "fallback_message", "input_tokens": 210, "output_tokens": 10},
            ],
        },
        {"input": 210, "output": 10},
    ),
    "22 a stated zero is a zero": Trap(
        MISTRAL, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, {}
    ),
}


def classes(entry: Mapping[str, Any]) -> dict[str, int]:
    """The classes of an entry that are not zero."""
    return {name: entry[name] for name in (*PRICES, "requests") if entry[name]}


async def ask(gateway: RunningGateway, job: str, stream: bool) -> dict[str, int]:
    """Ask, and give back the usage that the caller sees."""
    client = gateway.client()
    if stream:
        events = await client.chat.completions.create(
            model=job,
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
        usage = [chunk async for chunk in events][-1].usage
    else:
        usage = (await client.chat.completions.create(model=job, messages=QUESTION)).usage
    assert usage is not None
    details = usage.prompt_tokens_details
    return {
        "prompt": usage.prompt_tokens,
        "cached": (details and details.cached_tokens) or 0,
        "completion": usage.completion_tokens,
    }


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("trap", TRAPS)
async def test_what_is_reported_is_booked_once_in_its_class_and_at_its_price(
    trap: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    what = TRAPS[trap]
    provider.script = Script(text="Two words", wire_usage=what.reported)
    async with running(routes(provider.url), sqlite_url) as gateway:
        seen = await ask(gateway, what.job, stream)
        (entry,) = gateway.entries()

    assert classes(entry) == what.booked
    assert entry["amount_nanos"] == worth(what.booked)
    assert entry["quality"] == "reported"
    if what.told:
        assert seen == what.told


CUMULATIVE = {
    "10 what message_start leaves out is read at the end": (
        ANTHROPIC,
        Script(text="Two words", input=100, output=7, requests=2),
        {"input": 100, "output": 7, "requests": 2},
    ),
    "11 what the start said is not added to what the end says": (
        ANTHROPIC,
        Script(text="Two words", input=100, cache_read=40, output=7, usage_grows=True),
        {"input": 100, "cache_read": 40, "output": 7},
    ),
    "12 Gemini's running figures are not summed": (
        GEMINI,
        Script(chunks=("Two", " words", " more"), input=100, output=7, usage_grows=True),
        {"input": 100, "output": 7},
    ),
    "12 nor are those of a server that repeats them in every chunk": (
        OPENAI,
        Script(chunks=("Two", " words"), input=100, output=7, usage_in_every_chunk=True),
        {"input": 100, "output": 7},
    ),
    "12 nor a usage that comes twice": (
        OPENAI,
        Script(chunks=("Two", " words"), input=100, output=7, duplicate_usage=True),
        {"input": 100, "output": 7},
    ),
}


@pytest.mark.parametrize("trap", CUMULATIVE)
async def test_usage_that_repeats_or_grows_in_a_stream_is_counted_once(
    trap: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    job, provider.script, booked = CUMULATIVE[trap]
    async with running(routes(provider.url), sqlite_url) as gateway:
        await ask(gateway, job, stream=True)
        (entry,) = gateway.entries()

    assert classes(entry) == booked
    assert entry["amount_nanos"] == worth(booked)


@pytest.mark.parametrize(
    ("asked", "answered", "rate"),
    [
        ("auto", "priority", 4_000),
        ("priority", "default", 2_000),
        ("flex", "flex", 1_000),
        ("auto", None, 2_000),
    ],
)
async def test_trap_14_the_answered_service_tier_is_billed_and_not_the_asked_one(
    asked: str, answered: str | None, rate: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Yes", input=100, output=0, service_tier=answered)
    tiers = "service_tiers: {priority: {input: 4, output: 16}, flex: {input: 1, output: 4}}"
    price = f"price: {{input: 2, output: 8, {tiers}}}"
    text = re.sub(r"price: \{[^}]*\}", price, routes_for(provider.url))
    async with running(text, sqlite_url) as gateway:
        await gateway.client().chat.completions.create(
            model=OPENAI, messages=QUESTION, extra_body={"service_tier": asked}
        )
        (entry,) = gateway.entries()

    assert entry["amount_nanos"] == 100 * rate
    assert entry["ceiling_nanos"] >= entry["amount_nanos"]


async def test_trap_16_the_prompt_is_billed_once_and_the_hold_is_for_all_choices(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=30)
    async with running(routes(provider.url), sqlite_url) as gateway:
        for number in (1, 3):
            await gateway.client().chat.completions.create(
                model=OPENAI, messages=QUESTION, n=number, max_tokens=1000
            )
        one, three = sorted(gateway.entries(), key=lambda entry: entry["ceiling_tokens"])

    assert classes(one) == classes(three) == {"input": 100, "output": 30}
    assert 2000 <= three["ceiling_tokens"] - one["ceiling_tokens"] < 2100
    assert three["ceiling_nanos"] - one["ceiling_nanos"] >= 2000 * 10_000


async def test_trap_22_a_missing_count_is_unknown_and_counted_by_us(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", wire_usage={"prompt_tokens": None})
    async with running(routes(provider.url), sqlite_url) as gateway:
        await gateway.client().chat.completions.create(model=OPENAI, messages=QUESTION)
        (entry,) = gateway.entries()

    assert entry["quality"] == "counted"
    assert entry["input"] > 0
    assert entry["output"] == 2
