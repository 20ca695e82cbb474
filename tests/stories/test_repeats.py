"""A request that is sent twice with one Idempotency-Key is answered twice and charged once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.clock import FrozenClock
from gateway.pipeline.kept_answers import ANSWER_BYTES, KEPT_SECONDS
from gateway.pipeline.repeats import REMEMBERED_SECONDS
from tests.endings.bills import settled
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.repeating import (
    BODIES,
    firsts,
    is_replayed,
    is_under_way,
    repeating,
    request_id,
    rows,
    told_of_the_first,
)

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
COST_USD = "0.000270000"
"""A hundred input tokens at 2.5 USD a million and two output tokens at 10."""
NAMES = ("request-id", "job", "target", "attempts", "cost-usd")


@pytest.mark.parametrize("path", BODIES)
async def test_a_repeat_gets_the_first_answer_and_is_not_charged(
    path: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            first, second = await caller.ask(path=path), await caller.ask(path=path)
        entries = gateway.entries()

    assert (first.status, second.status) == (200, 200)
    assert second.raw == first.raw
    assert (is_replayed(first), is_replayed(second)) == (False, True)
    for name in NAMES:
        header = f"x-jobgate-{name}"
        assert second.headers[header] == first.headers[header]
    assert second.headers["content-type"] == first.headers["content-type"]
    assert [entry["request_id"] for entry in entries] == [request_id(first)]
    assert len(provider.requests) == 1


async def test_without_the_header_nothing_is_remembered(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        async with repeating(gateway) as caller:
            answers = [await caller.ask(key=None), await caller.ask(key=None)]
        assert rows(gateway) == []

    assert firsts(answers) == answers
    assert len(provider.requests) == 2


async def test_a_stream_is_repeated_event_by_event(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            first, second = await caller.ask(stream=True), await caller.ask(stream=True)
        (entry,) = gateway.entries()

    assert second.raw == first.raw
    assert second.raw.endswith(b"data: [DONE]\n\n")
    assert second.headers["content-type"] == first.headers["content-type"]
    assert is_replayed(second)
    assert request_id(second) == request_id(first) == entry["request_id"]
    assert second.headers["x-jobgate-cost-usd"] == COST_USD


@pytest.mark.parametrize("stream", [False, True])
async def test_of_eight_at_once_one_is_asked_and_booked(
    stream: bool, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    provider.hold()
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            asking = [asyncio.create_task(caller.ask(stream=stream)) for _ in range(8)]
            await provider.until(lambda seen: seen.arrived)
            provider.release()
            answers = await asyncio.gather(*asking)
        entries = gateway.entries()

    assert {told.raw for told in answers} == {answers[0].raw}
    assert len(firsts(answers)) == len(entries) == len(provider.requests) == 1
    assert {request_id(told) for told in answers} == {entries[0]["request_id"]}


async def test_who_does_not_want_to_wait_longer_is_told_to_ask_again(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.hold()
    async with running(routes_for(provider.url), database_url) as gateway:
        gateway.gateway._repeats.wait_seconds = 0.0
        async with repeating(gateway) as caller:
            asking = asyncio.create_task(caller.ask())
            await provider.until(lambda seen: seen.arrived)
            repeat = await caller.ask()
            provider.release()
            first = await asking

    assert is_under_way(repeat)
    assert repeat.error["details"] == {"request_id": request_id(first)}
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "other",
    [{"temperature": 0.5}, {"stream": True}, {"path": "/v1/responses"}],
    ids=["a field", "a stream", "a door"],
)
async def test_a_key_is_not_taken_for_another_request(
    other: dict[str, Any], provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with (
        running(routes_for(provider.url), sqlite_url) as gateway,
        repeating(gateway) as caller,
    ):
        await caller.ask()
        in_memory = await caller.ask(**other)
        gateway.gateway._repeats._answers = type(gateway.gateway._repeats._answers)()
        in_the_books = await caller.ask(**other)

    for refused in (in_memory, in_the_books):
        assert (refused.status, refused.error["param"]) == (400, "Idempotency-Key")
    assert len(provider.requests) == 1


async def test_a_key_counts_for_one_api_key_alone(
    provider: ScriptedProvider, database_url: str
) -> None:
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as one, repeating(gateway) as other:
            answers = [await one.ask(), await other.ask()]
        entries = gateway.entries()

    assert firsts(answers) == answers
    assert len(entries) == len(provider.requests) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"], ids=["empty", "too long", "a tab"])
async def test_a_key_has_to_be_short_and_printable(
    key: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with (
        running(routes_for(provider.url), sqlite_url) as gateway,
        repeating(gateway) as caller,
    ):
        refused = await caller.ask(key=key)
        longest = await caller.ask(key="x" * 255)

    assert (refused.status, refused.error["param"]) == (400, "Idempotency-Key")
    assert longest.status == 200
    assert len(provider.requests) == 1


async def test_a_refusal_leaves_the_key_free(provider: ScriptedProvider, database_url: str) -> None:
    budgets = """
  pace: {scope: organisation, limit: 1 requests, period: minute}
"""
    clock = FrozenClock()
    routes = routes_for(provider.url, budgets=budgets)
    async with running(routes, database_url, clock=clock) as gateway, repeating(gateway) as caller:
        await caller.ask(key=None)
        refused = await caller.ask()
        assert rows(gateway) == []
        clock.move(60)
        answered = await caller.ask()

    assert (refused.status, refused.error["code"]) == (429, "rate_limited")
    assert (answered.status, is_replayed(answered)) == (200, False)


async def test_a_failure_that_cost_nothing_leaves_the_key_free(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.scripts(Script(status=500), ANSWER)
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            failed, answered, again = [await caller.ask() for _ in range(3)]
        entries = gateway.entries()

    assert failed.status == 502
    assert (answered.status, is_replayed(answered)) == (200, False)
    assert is_replayed(again)
    assert [entry["amount_nanos"] for entry in entries] == [0, 270_000]


async def test_a_failure_that_may_have_cost_is_not_paid_for_twice(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.scripts(Script(body="not JSON"))
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            failed, repeat = await caller.ask(), await caller.ask()
        (entry,) = gateway.entries()

    told = told_of_the_first(repeat)
    assert (failed.status, entry["quality"]) == (502, "presumed")
    assert (told["request_id"], told["status"]) == (request_id(failed), 502)
    assert told["outcome"] == entry["outcome"]
    assert int(told["cost_usd"].replace(".", "")) == entry["amount_nanos"] > 0
    assert len(provider.requests) == 1


@pytest.mark.parametrize("chunk", [0, 2])
async def test_a_stream_that_broke_is_not_paid_for_twice(
    chunk: int, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(chunks=("one", " two", " three"), cut_after_chunk=chunk)
    async with (
        running(routes_for(provider.url), database_url) as gateway,
        repeating(gateway) as caller,
    ):
        broken, repeat = await caller.ask(stream=True), await caller.ask(stream=True)

    told = told_of_the_first(repeat)
    assert b"[DONE]" not in broken.raw
    assert (told["request_id"], told["outcome"]) == (request_id(broken), "provider_cut")
    assert len(provider.requests) == 1


async def test_when_the_first_fails_for_nothing_one_who_waits_takes_its_place(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.scripts(Script(status=500), Script(status=500), ANSWER)
    provider.hold()
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            asking = [asyncio.create_task(caller.ask()) for _ in range(8)]
            await provider.until(lambda seen: seen.arrived)
            provider.release()
            answers = await asyncio.gather(*asking)
        entries = gateway.entries()

    assert sorted(told.status for told in answers) == [200] * 6 + [502] * 2
    assert len(firsts(answers)) == len(provider.requests) == 3
    assert sum(entry["amount_nanos"] for entry in entries) == 270_000


async def test_who_left_a_job_that_stops_then_is_told_what_it_cost(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.hold()
    routes = routes_for(provider.url, on_disconnect="cancel")
    async with running(routes, database_url) as gateway:
        async with repeating(gateway) as caller:
            leaving = asyncio.create_task(caller.ask())
            await provider.until(lambda seen: seen.arrived)
            leaving.cancel()
            (entry,) = await settled(gateway, 1)
            repeat = await caller.ask()
        provider.release()

    told = told_of_the_first(repeat)
    assert (told["request_id"], told["outcome"]) == (entry["request_id"], "caller_left")
    assert int(told["cost_usd"].replace(".", "")) == entry["amount_nanos"] > 0
    assert len(provider.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_who_was_cut_off_finds_the_whole_answer_later(
    stream: bool, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    provider.hold()
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            leaving = asyncio.create_task(caller.ask(stream=stream))
            await provider.until(lambda seen: seen.arrived)
            leaving.cancel()
            asking = asyncio.create_task(caller.ask(stream=stream))
            provider.release()
            answer = await asking
        (entry,) = gateway.entries()

    assert (answer.status, is_replayed(answer)) == (200, True)
    assert request_id(answer) == entry["request_id"]
    assert b"words" in answer.raw
    assert len(provider.requests) == 1


async def test_an_answer_that_is_too_large_to_keep_is_told_of(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="x" * ANSWER_BYTES, input=100, output=2)
    async with (
        running(routes_for(provider.url), sqlite_url) as gateway,
        repeating(gateway) as caller,
    ):
        first, repeat = await caller.ask(), await caller.ask()

    told = told_of_the_first(repeat)
    assert (told["request_id"], told["status"]) == (request_id(first), 200)
    assert (told["outcome"], told["cost_usd"]) == ("ok", COST_USD)


async def test_answers_are_forgotten_first_and_keys_a_day_later(
    provider: ScriptedProvider, database_url: str
) -> None:
    clock = FrozenClock()
    async with running(routes_for(provider.url), database_url, clock=clock) as gateway:
        async with repeating(gateway) as caller:
            first = await caller.ask()
            await caller.ask(key="another")
            clock.move(KEPT_SECONDS - 1)
            kept = await caller.ask()
            clock.move(1)
            forgotten = await caller.ask()
            clock.move(REMEMBERED_SECONDS - KEPT_SECONDS)
            anew = await caller.ask()
        (row,) = rows(gateway)

    assert is_replayed(kept)
    assert told_of_the_first(forgotten)["request_id"] == request_id(first)
    assert (anew.status, is_replayed(anew)) == (200, False)
    assert row[0] == request_id(anew), "what has expired is swept"


async def test_neither_the_question_nor_the_answer_is_in_the_row(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        async with repeating(gateway) as caller:
            await caller.ask()
        with gateway.gateway.database.reading() as cursor:
            (row,) = cursor.rows("SELECT * FROM idempotency", {})

    kept = json.dumps(row)
    assert not [word for word in ("Say", "something", "words", "order-4711") if word in kept]
