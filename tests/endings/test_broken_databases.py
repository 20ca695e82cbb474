"""The database is locked, full, read-only or gone under a running gateway, and comes back.

deploy/runbook.md says the same in the same words, in "The database is away".
"""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from gateway.treasury import committer as committing
from tests.endings.bills import check_entry, cost, money
from tests.endings.breaking import Breakable, alive, breakable, is_refused_at_once, until
from tests.endings.callers import Caller, Heard, calling
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.repeating import (
    is_replayed,
    is_under_way,
    repeating,
    request_id,
    rows,
    told_of_the_first,
)

__all__ = ["breakable"]

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
FORMS = (False, True, False, True)
"""Plain answers and streams."""


async def in_flight(caller: Caller, provider: ScriptedProvider) -> list[asyncio.Task[Heard]]:
    """Requests that the provider has been asked for, and has not answered yet."""
    provider.script = ANSWER
    provider.hold()
    asking = [asyncio.ensure_future(caller.ask("extraction", stream=stream)) for stream in FORMS]
    await provider.until(lambda p: p.open == len(asking))
    return asking


async def models(gateway: RunningGateway, caller: Caller) -> int:
    """The status of the list of jobs, which needs no database."""
    async with aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {caller._key}"}
        async with session.get(f"{gateway.url}/v1/models", headers=headers) as answer:
            return answer.status


async def says(gateway: RunningGateway, status: int) -> None:
    """What /readyz says now."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}/readyz") as answer,
    ):
        assert answer.status == status


async def test_new_requests_are_refused_and_answers_in_flight_wait_for_their_entries(
    provider: ScriptedProvider, breakable: Breakable
) -> None:
    async with running(routes_for(provider.url), breakable.url) as gateway:
        async with calling(gateway) as caller:
            asking = await in_flight(caller, provider)
            async with breakable.broken(gateway):
                provider.release()
                told = await until(gateway.url, 503)
                assert "the books cannot be written" in str(told)
                await alive(gateway)
                refused = [await is_refused_at_once(caller, gateway) for _ in range(3)]
                assert await models(gateway, caller) == 200
                assert len(provider.requests) == len(asking), "nobody is asked without a hold"
                assert not any(task.done() for task in asking), "no answer ends before its entry"
            answered = await asyncio.gather(*asking)
            await until(gateway.url, 200)
            answered.append(await caller.ask("extraction"))
        entries = {one.request_id: gateway.entries(one.request_id) for one in answered}
        assert [gateway.entries(one) for one in refused] == [[]] * 3
        assert gateway.metric("jobgate_committer_failures_total") > 0
        assert gateway.metric("jobgate_holds_open") == 0
    assert [heard.status for heard in answered] == [200] * 5
    for (entry,) in entries.values():
        assert entry["quality"] == "reported"
        check_entry(entry, cost(provider.bill[0]))


async def test_who_waited_too_long_is_told_and_the_entry_is_written_when_the_books_are_back(
    provider: ScriptedProvider, breakable: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SETTLE_PATIENCE", 0.3)
    async with running(routes_for(provider.url), breakable.url) as gateway:
        async with calling(gateway) as caller:
            asking = await in_flight(caller, provider)
            async with breakable.broken(gateway):
                provider.release()
                async with asyncio.timeout(10):
                    told = await asyncio.gather(*asking)
                assert gateway.metric("jobgate_holds_open") == len(asking), "nothing is forgotten"
            await until(gateway.url, 200)
            after = await caller.ask("extraction")
        entries = gateway.entries()
    for stream, heard in zip(FORMS, told, strict=True):
        assert heard.status == (200 if stream else 503)
        assert heard.error["code"] == "unavailable"
        assert b"[DONE]" not in heard.body
    assert {entry["request_id"] for entry in entries} == {h.request_id for h in (*told, after)}
    assert {(e["kind"], e["quality"]) for e in entries} == {("charge", "reported")}
    assert sum(entry["amount_nanos"] for entry in entries) == money(provider.bill)


async def test_it_does_not_say_that_it_is_ready_because_it_can_read(
    provider: ScriptedProvider, breakable: Breakable
) -> None:
    """Nothing waits to be written, so it has to find out by itself, again and again."""
    async with (
        running(routes_for(provider.url), breakable.url) as gateway,
        calling(gateway) as caller,
    ):
        async with breakable.broken(gateway):
            assert (await caller.ask("extraction")).status == 503
            began = time.monotonic()
            while time.monotonic() < began + 1.5:
                await says(gateway, 503)
            await is_refused_at_once(caller, gateway)
        await until(gateway.url, 200)
        assert (await caller.ask("extraction")).status == 200
    assert len(provider.requests) == 1


async def test_a_request_with_an_idempotency_key_is_refused_in_time_and_its_key_stays_free(
    provider: ScriptedProvider, breakable: Breakable
) -> None:
    async with running(routes_for(provider.url), breakable.url) as gateway:
        async with repeating(gateway) as caller:
            async with breakable.broken(gateway):
                assert (await caller.ask()).status == 503
                assert (await caller.ask(key=None)).status == 503
                for _ in range(3):
                    began = time.monotonic()
                    refused = await caller.ask()
                    assert time.monotonic() - began < 1
                    assert (refused.status, refused.error["code"]) == (503, "unavailable")
                    assert refused.headers["x-should-retry"] == "true"
                    assert refused.headers["retry-after"] == "2"
                assert provider.requests == []
            await until(gateway.url, 200)
            answered, repeated = await caller.ask(), await caller.ask()
        entries = gateway.entries()
        assert rows(gateway) == [(request_id(answered), "done", 200)]
    assert (answered.status, is_replayed(answered)) == (200, False)
    assert (repeated.status, is_replayed(repeated)) == (200, True)
    assert [entry["request_id"] for entry in entries] == [request_id(answered)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeat_of_what_could_not_be_written_in_time_is_not_charged(
    stream: bool,
    provider: ScriptedProvider,
    breakable: Breakable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "SETTLE_PATIENCE", 0.3)
    provider.script = ANSWER
    provider.hold()
    async with running(routes_for(provider.url), breakable.url) as gateway:
        async with repeating(gateway) as caller:
            asking = asyncio.ensure_future(caller.ask(stream=stream))
            await provider.until(lambda p: p.open == 1)
            async with breakable.broken(gateway):
                provider.release()
                async with asyncio.timeout(20):
                    first = await asking
                during = await caller.ask(stream=stream)
            await until(gateway.url, 200)
            after = await caller.ask(stream=stream)
            async with asyncio.timeout(10):
                while after.status == 503 or is_under_way(after):  # it is told to ask again
                    after = await caller.ask(stream=stream)
        (entry,) = gateway.entries()
    assert first.status == (200 if stream else 503)
    assert b"unavailable" in first.raw
    assert during.status in (409, 503)
    told = told_of_the_first(after)
    assert told["request_id"] == request_id(first) == entry["request_id"]
    assert told["outcome"] == "ok"
    assert int(told["cost_usd"].replace(".", "")) == entry["amount_nanos"] == money(provider.bill)
    assert len(provider.requests) == 1
