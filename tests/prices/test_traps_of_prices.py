"""Traps 13, 18, 19 and 21 of exact money, each through the front door of a running gateway."""

from __future__ import annotations

import random
from decimal import Decimal

import openai
import pytest

from gateway.metering.usage import CLASSES, Usage
from gateway.prices.rates import NO_COST, Price, Rates, charge
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

QUESTION = [{"role": "user", "content": "Say something."}]
TEST_PRICE = "{input: 2.5, cache_read: 1.25, output: 10}"


def routes(url: str, price: str = TEST_PRICE) -> str:
    return routes_for(url).replace(TEST_PRICE, price)


async def ask(gateway: RunningGateway, job: str = "extraction") -> None:
    await gateway.client().chat.completions.create(model=job, messages=QUESTION)


TIERED = (
    "{input: 2, cache_read: 1, output: 8,"
    " tiers: [{above: 1000, input: 4, cache_read: 2, output: 16AT}]}"
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tier", "plain", "cached", "nanos"),
    [
        ("", 1000, 0, 1000 * 2_000 + 8_000),
        ("", 1001, 0, 1001 * 4_000 + 16_000),
        ("", 400, 600, 400 * 2_000 + 600 * 1_000 + 8_000),
        ("", 400, 601, 400 * 4_000 + 601 * 2_000 + 16_000),
        (", at_or_above: true", 999, 0, 999 * 2_000 + 8_000),
        (", at_or_above: true", 400, 600, 400 * 4_000 + 600 * 2_000 + 16_000),
    ],
    ids=[
        "exactly at the threshold",
        "one token beyond it",
        "at it with cached tokens",
        "beyond it with a cached token",
        "below where the tier begins at the threshold",
        "at it where the tier begins there",
    ],
)
async def test_trap_13_a_size_tier_begins_after_its_threshold_and_counts_cached_tokens(
    tier: str, plain: int, cached: int, nanos: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Yes", input=plain, cache_read=cached, output=1)
    text = routes(provider.url, TIERED.replace("AT", tier))
    async with running(text, sqlite_url) as gateway:
        await ask(gateway)
        (entry,) = gateway.entries()

    assert (entry["input"], entry["cache_read"], entry["output"]) == (plain, cached, 1)
    assert entry["amount_nanos"] == nanos


@pytest.mark.anyio
async def test_trap_18_each_attempt_of_a_fallback_has_the_price_of_its_own_model(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.by_model = {
        "gpt-test": Script(status=500),
        "gpt-spare": Script(text="Yes", input=100, output=2),
    }
    text = routes(provider.url)
    async with running(text, database_url) as gateway:
        await ask(gateway, "with-fallback")
        entries = gateway.entries()

    assert [(e["model"], e["amount_nanos"]) for e in entries] == [
        ("gpt-test", 0),
        ("gpt-test", 0),
        ("gpt-spare", 100 * 1_000 + 2 * 4_000),
    ]


@pytest.mark.anyio
async def test_trap_18_the_model_that_answered_sets_the_price(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Yes", input=1000, output=10, model_served="gpt-5.4-nano")
    text = routes_for(provider.url).replace("openai/gpt-test", "openai/gpt-5.4")
    text = text.replace(f"  openai/gpt-5.4: {{price: {TEST_PRICE}, context_window: 128000}}\n", "")
    async with running(text, sqlite_url) as gateway:
        await ask(gateway)
        (entry,) = gateway.entries()
        nano = gateway.gateway.routes.jobs["extraction"].targets[0].price
    assert nano is not None
    assert (entry["model"], entry["model_served"]) == ("gpt-5.4", "gpt-5.4-nano")
    assert entry["amount_nanos"] < charge(nano, Usage(input=1000, output=10), None).amount_nanos
    assert '"input":200000000,' in entry["prices"]


@pytest.mark.anyio
async def test_trap_19_halves_of_a_nano_are_rounded_to_the_even_one_and_do_not_add_up(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    price = "{input: 0.0005, output: 0.0005}"  # half a nano-dollar for a token
    async with running(routes(provider.url, price), sqlite_url) as gateway:
        for tokens in (1, 3, 5, 7, 2, 4):
            provider.script = Script(text="", input=tokens, output=0)
            await ask(gateway)
        entries = gateway.entries()

    booked = {entry["input"]: entry["amount_nanos"] for entry in entries}
    assert booked == {1: 0, 2: 1, 3: 2, 4: 2, 5: 2, 7: 4}
    assert sum(booked.values()) == (1 + 3 + 5 + 7 + 2 + 4) // 2


def test_trap_19_rounding_does_not_drift_over_a_hundred_thousand_requests() -> None:
    chance = random.Random(19)
    rates = Rates(**dict.fromkeys(CLASSES, 0) | {"input": 37_500, "output": 123_457})
    price = Price(rates=rates, source="a test")
    booked, exact = 0, Decimal(0)
    for _ in range(100_000):
        usage = Usage(input=chance.randrange(5_000), output=chance.randrange(500))
        booked += charge(price, usage, None).amount_nanos
        exact += Decimal(usage.input * 37_500 + usage.output * 123_457) / 1_000_000
    # a hundred thousand roundings of at most a half each scatter around nought, by 91 or so
    assert abs(booked - exact) < 500


def test_trap_19_no_single_amount_is_off_by_more_than_half_a_nano() -> None:
    chance = random.Random(20)
    for _ in range(2_000):
        drawn = {name: chance.randrange(10**10) for name in CLASSES}
        used = {name: chance.randrange(10**6) for name in CLASSES}
        nanos = charge(Price(rates=Rates(**drawn), source="a test"), Usage(**used), None)
        exact = sum(Decimal(drawn[name]) * used[name] for name in CLASSES) / 1_000_000
        assert abs(nanos.amount_nanos - exact) <= Decimal("0.5")
    assert charge(Price(rates=NO_COST, source="a test"), Usage(**used), None).amount_nanos == 0


@pytest.mark.anyio
async def test_trap_21_a_model_without_a_price_is_refused_and_never_asked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(gateway, "unpriced")
        entries = gateway.entries()

    assert caught.value.status_code == 402
    assert caught.value.code == "unpriced_model"
    assert entries == []
    assert provider.bill == []


@pytest.mark.anyio
async def test_trap_21_an_unknown_model_that_answers_has_the_price_of_the_one_that_was_asked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Yes", input=1000, output=10, model_served="gpt-unheard-of")
    text = routes_for(provider.url).replace("openai/gpt-test", "openai/gpt-5.4")
    text = text.replace(f"  openai/gpt-5.4: {{price: {TEST_PRICE}, context_window: 128000}}\n", "")
    async with running(text, sqlite_url) as gateway:
        await ask(gateway)
        (entry,) = gateway.entries()

    assert entry["model_served"] == "gpt-unheard-of"
    assert entry["amount_nanos"] == 1000 * 2_500 + 10 * 15_000
