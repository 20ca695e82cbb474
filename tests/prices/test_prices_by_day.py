"""A price can begin on a day; the last that has begun holds, and what is booked stays booked."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.clock import FrozenClock, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.loading import parse
from gateway.jobs.routes import Routes, Target
from gateway.prices.book import PriceBook
from tests.gateways import SECRETS, routes_for, running
from tests.scripted import Script, ScriptedProvider

BOOK = PriceBook.bundled()
DOLLAR = 1_000_000_000
QUESTION = [{"role": "user", "content": "Say something."}]
TEST_PRICE = "openai/gpt-test: {price: {input: 2.5, cache_read: 1.25, output: 10}"


def routes(price: str, model: str = "openai/gpt-test", url: str = "http://127.0.0.1:1") -> str:
    """A routes.yaml in Berlin whose first model has this price."""
    text = routes_for(url).replace(TEST_PRICE, f"{model}: {{price: {price}")
    assert price in text
    return text.replace("openai/gpt-test", model)


def loaded(price: str, model: str = "openai/gpt-test") -> Routes:
    return parse(routes(price, model), "routes.yaml", BOOK, SECRETS)


def target(price: str, model: str = "openai/gpt-test") -> Target:
    return loaded(price, model).jobs["extraction"].targets[0]


def at(moment: str) -> int:
    return to_micros(datetime.fromisoformat(moment))


def input_price(of: Target, moment: str) -> int | None:
    price = of.price_at(at(moment))
    return None if price is None else price.rates.input


TWO = "[{from: 2026-01-01, input: 3, output: 15}, {from: 2026-11-01, input: 2, output: 10}]"


@pytest.mark.parametrize(
    ("moment", "dollars"),
    [
        ("2026-01-01T00:00:00+01:00", 3),
        ("2026-10-31T23:59:59.999999+01:00", 3),
        ("2026-11-01T00:00:00+01:00", 2),
        ("2030-01-01T00:00:00+01:00", 2),
    ],
)
def test_a_price_begins_at_midnight_in_the_organisations_zone(moment: str, dollars: int) -> None:
    assert input_price(target(TWO), moment) == dollars * DOLLAR


def test_a_price_may_begin_at_a_moment_of_its_own_zone() -> None:
    price = "[{input: 3, output: 15}, {from: 2026-11-01T00:00:00Z, input: 2, output: 10}]"
    assert input_price(target(price), "2026-11-01T00:59:59+01:00") == 3 * DOLLAR
    assert input_price(target(price), "2026-11-01T01:00:00+01:00") == 2 * DOLLAR


@pytest.mark.parametrize("word", ["from", "valid_from"])
def test_a_plain_price_holds_until_the_dated_one_beside_it_begins(word: str) -> None:
    price = f"[{{input: 3, output: 15}}, {{{word}: 2026-11-01, input: 2, output: 10}}]"
    assert input_price(target(price), "1999-01-01T00:00:00+01:00") == 3 * DOLLAR
    assert input_price(target(price), "2026-11-01T00:00:00+01:00") == 2 * DOLLAR


def test_the_order_in_which_prices_are_written_does_not_matter() -> None:
    price = "[{from: 2026-11-01, input: 2, output: 10}, {input: 3, output: 15}]"
    assert input_price(target(price), "2026-10-31T12:00:00+01:00") == 3 * DOLLAR


def test_until_the_first_dated_price_begins_the_price_books_holds() -> None:
    model = target("{valid_from: 2027-01-01, input: 2, output: 10}", "openai/gpt-5.4")
    assert input_price(model, "2026-12-31T12:00:00+01:00") == 2_500_000_000
    assert input_price(model, "2027-01-01T12:00:00+01:00") == 2 * DOLLAR


def test_without_a_price_in_the_book_nothing_is_served_until_the_first_begins() -> None:
    rules = loaded("[{from: 2027-01-01, input: 2, output: 10}]")
    model = rules.jobs["extraction"].targets[0]
    assert input_price(model, "2026-12-31T12:00:00+01:00") is None
    assert any("there is no price before 2027-01-01" in warning for warning in rules.warnings)


def test_a_model_can_become_free_and_a_discount_can_begin() -> None:
    price = "[{input: 3, output: 15}, {from: 2026-11-01, free: true}]"
    free = target(price).price_at(at("2026-11-02T00:00:00+01:00"))
    assert free is not None
    assert free.free
    price = "[{from: 2026-11-01, discount_percent: 20}]"
    assert input_price(target(price, "openai/gpt-5.4"), "2026-11-02T00:00:00+01:00") == 2 * DOLLAR


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("[]", "price: must have at least 1 item"),
        (
            "[{input: 3, output: 15}, {input: 2, output: 10}]",
            "price[1]: another price begins at the same time",
        ),
        ("{from: soon, input: 3, output: 15}", "'soon' is not a day such as 2026-11-01"),
        (
            "{from: 2026-11-01, valid_from: 2026-11-01, input: 3, output: 15}",
            "a price begins once: write `from` or `valid_from`, not both",
        ),
        ("[{from: 2026-11-01, input: 3}]", "price[0]: a price needs both `input` and `output`"),
        ("[{from: 2026-11-01}]", "price[0]: a price is stated in exactly one way"),
    ],
)
def test_what_cannot_be_a_dated_price_is_told(price: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(price)
    assert any(said in problem for problem in caught.value.problems)


def test_a_request_that_may_wait_across_a_change_is_bounded_by_both_prices() -> None:
    model = target(TWO)
    before, change = at("2026-10-31T23:59:55+01:00"), at("2026-11-01T00:00:00+01:00")
    inputs = [p.rates.input // DOLLAR for p in model.prices_between(before, change)]
    assert inputs == [2, 3]
    assert [p.rates.input // DOLLAR for p in model.prices_between(before, change - 1)] == [3]
    assert [p.rates.input // DOLLAR for p in model.prices_between(change, change + 1)] == [2]


@pytest.mark.anyio
async def test_trap_20_yesterdays_entry_keeps_yesterdays_price(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2)
    clock = FrozenClock("2026-10-31T23:59:59+01:00")
    async with running(routes(TWO, url=provider.url), database_url, clock=clock) as gateway:
        client = gateway.client()
        for _ in range(2):
            await client.chat.completions.create(model="extraction", messages=QUESTION)
            clock.move(1)
        entries = sorted(gateway.entries(), key=lambda entry: entry["admitted_at"])

    assert [entry["amount_nanos"] for entry in entries] == [
        100 * 3_000 + 2 * 15_000,
        100 * 2_000 + 2 * 10_000,
    ]
    assert ['"input":3000000000' in entry["prices"] for entry in entries] == [True, False]


@pytest.mark.anyio
async def test_trap_20_a_request_across_midnight_has_the_price_of_its_admission(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(chunks=("Two", " words"), input=100, output=2, stall_before_chunk=1)
    clock = FrozenClock("2026-10-31T23:59:59+01:00")
    async with running(routes(TWO, url=provider.url), sqlite_url, clock=clock) as gateway:
        stream = await gateway.client().chat.completions.create(
            model="extraction", messages=QUESTION, stream=True
        )
        async for _chunk in stream:
            clock.move(60)
            provider.resume()
        (entry,) = gateway.entries()

    assert entry["amount_nanos"] == 100 * 3_000 + 2 * 15_000
    assert entry["recorded_at"] > at("2026-11-01T00:00:00+01:00") > entry["admitted_at"]


@pytest.mark.anyio
async def test_before_its_first_price_begins_a_model_is_refused(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    text = routes("[{from: 2027-01-01, input: 2, output: 10}]", url=provider.url)
    clock = FrozenClock("2026-12-31T23:59:59+01:00")
    provider.script = Script(text="Two words", input=100, output=2)
    async with running(text, sqlite_url, clock=clock) as gateway:
        client = gateway.client()
        raw = client.chat.completions.with_raw_response
        with pytest.raises(Exception, match="has no price") as caught:
            await raw.create(model="extraction", messages=QUESTION)
        clock.move(1)
        answer = await raw.create(model="extraction", messages=QUESTION)
        (entry,) = gateway.entries()

    assert getattr(caught.value, "status_code", None) == 402
    assert answer.status_code == 200
    assert entry["amount_nanos"] == 100 * 2_000 + 2 * 10_000
