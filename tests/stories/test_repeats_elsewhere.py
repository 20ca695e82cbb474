"""Repeats that come to another process than the first: after a restart, or beside it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import FrozenClock
from gateway.pipeline.repeats import life_seconds
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.repeating import (
    change_rows,
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
KILLED = {"state": "open", "status": 0}
"""A row whose request nobody was left to end."""


async def test_after_a_restart_a_repeat_is_told_what_became_of_the_first(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    routes = routes_for(provider.url)
    async with running(routes, database_url) as gateway, repeating(gateway) as caller:
        first = await caller.ask()
    async with running(routes, database_url) as gateway:
        async with repeating(gateway, caller.secret) as again:
            repeat = await again.ask()
        (entry,) = gateway.entries()

    told = told_of_the_first(repeat)
    assert told["request_id"] == request_id(first) == entry["request_id"]
    assert (told["status"], told["outcome"], told["cost_usd"]) == (200, "ok", "0.000270000")
    assert request_id(repeat) != request_id(first)
    assert len(provider.requests) == 1


async def test_a_first_that_was_booked_before_its_process_died_is_not_paid_for_twice(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url)
    async with running(routes, sqlite_url) as gateway, repeating(gateway) as caller:
        first = await caller.ask()
        change_rows(gateway, **KILLED)
    async with running(routes, sqlite_url) as gateway, repeating(gateway, caller.secret) as again:
        repeat = await again.ask()

    told = told_of_the_first(repeat)
    assert (told["request_id"], told["status"]) == (request_id(first), None)
    assert told["outcome"] == "ok"
    assert len(provider.requests) == 1


async def test_a_first_that_died_before_it_asked_does_not_keep_the_key(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url)
    async with running(routes, sqlite_url) as gateway, repeating(gateway) as caller:
        await caller.ask()
        change_rows(gateway, **KILLED, request_id="req_that_was_never_admitted")
    async with running(routes, sqlite_url) as gateway:
        async with repeating(gateway, caller.secret) as again:
            answer = await again.ask()
        assert rows(gateway) == [(request_id(answer), "done", 200)]

    assert (answer.status, is_replayed(answer)) == (200, False)


async def test_among_several_processes_a_dead_first_keeps_the_key_as_long_as_one_could_live(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    clock, routes = FrozenClock(), routes_for(provider.url)
    async with running(routes, postgres_url, clock=clock) as gateway, repeating(gateway) as caller:
        await caller.ask()
        change_rows(gateway, **KILLED, request_id="req_that_was_never_admitted")
    async with running(routes, postgres_url, clock=clock) as gateway:
        life = life_seconds(gateway.gateway.routes)
        async with repeating(gateway, caller.secret) as again:
            clock.move(life - 1)
            early = await again.ask()
            clock.move(1)
            answer = await again.ask()

    assert is_under_way(early)
    assert (answer.status, is_replayed(answer)) == (200, False)


async def test_a_row_that_could_not_be_ended_does_not_hide_the_bill(
    provider: ScriptedProvider, database_url: str
) -> None:
    clock = FrozenClock()
    async with (
        running(routes_for(provider.url), database_url, clock=clock) as gateway,
        repeating(gateway) as caller,
    ):
        first = await caller.ask()
        change_rows(gateway, **KILLED)
        kept = await caller.ask()
        clock.move(3600)
        repeat = await caller.ask()

    assert is_replayed(kept)
    assert told_of_the_first(repeat)["request_id"] == request_id(first)
    assert len(provider.requests) == 1


async def test_the_other_process_knows_whether_the_first_is_under_way_or_over(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.script = ANSWER
    provider.hold()
    routes = routes_for(provider.url)
    async with running(routes, postgres_url) as one, running(routes, postgres_url) as two:
        async with repeating(one) as here, repeating(two, here.secret) as there:
            two.gateway._fresh.refresh()
            asking = asyncio.create_task(here.ask())
            await provider.until(lambda seen: seen.arrived)
            during = await there.ask()
            another = await there.ask(temperature=1)
            provider.release()
            first = await asking
            after, replayed = await there.ask(), await here.ask()
        (entry,) = one.entries()

    assert is_under_way(during)
    assert another.status == 400
    assert told_of_the_first(after)["request_id"] == request_id(first) == entry["request_id"]
    assert (is_replayed(replayed), replayed.raw) == (True, first.raw)
    assert len(provider.requests) == 1


async def test_of_eight_at_two_processes_one_is_asked_and_booked(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.hold()
    routes = routes_for(provider.url)
    async with running(routes, postgres_url) as one, running(routes, postgres_url) as two:
        async with repeating(one) as here, repeating(two, here.secret) as there:
            two.gateway._fresh.refresh()
            callers = [here, there] * 4
            asking = [asyncio.create_task(caller.ask()) for caller in callers]
            await provider.until(lambda seen: seen.arrived)
            provider.release()
            answers = await asyncio.gather(*asking)
        entries = one.entries()

    answered = [told for told in answers if told.status == 200]
    assert {told.status for told in answers} <= {200, 409}
    assert {request_id(told) for told in answered} == {entries[0]["request_id"]}
    assert len(firsts(answered)) == len(entries) == len(provider.requests) == 1


async def lapsed(gateway: RunningGateway) -> None:
    """Wait until the committer has let the open hold lapse."""
    async with asyncio.timeout(5):
        while await asyncio.to_thread(gateway.open_holds):
            await asyncio.sleep(0)


async def test_a_first_whose_hold_lapsed_is_over_at_its_ceiling(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.script = ANSWER
    provider.hold()
    clock, routes = FrozenClock(), routes_for(provider.url)
    async with (
        running(routes, postgres_url, clock=clock) as one,
        running(routes, postgres_url, clock=clock) as two,
        repeating(one) as here,
        repeating(two, here.secret) as there,
    ):
        two.gateway._fresh.refresh()
        asking = asyncio.create_task(here.ask())
        await provider.until(lambda seen: seen.arrived)
        clock.move(3600)
        await lapsed(one)
        (lapse,) = one.entries()
        told = told_of_the_first(await there.ask())
        provider.release()
        first = await asking

    assert told["request_id"] == request_id(first)
    assert (told["status"], told["outcome"]) == (None, "lapsed")
    assert int(told["cost_usd"].replace(".", "")) == lapse["amount_nanos"] == lapse["ceiling_nanos"]
    assert len(provider.requests) == 1
