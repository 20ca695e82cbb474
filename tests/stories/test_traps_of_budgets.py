"""Traps of budgets, by their numbers in the list of traps, each through the front door."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from gateway.clock import FrozenClock
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION: Any = [{"role": "user", "content": "Say something."}]
ASK: Any = {"model": "extraction", "messages": QUESTION}
ANSWER = Script(text="Two words", input=100, output=2)
ANSWER_NANOS = 100 * 2_500 + 2 * 10_000


@pytest.mark.parametrize("scope", ["{tag: campaign}", "each app", "each team", "each key"])
async def test_trap_30_the_first_request_of_an_unknown_name_is_held_to_the_limit(
    scope: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    budgets = f'\n  each: {{scope: {scope}, limit: "0.005 USD", period: month}}'
    async with running(routes_for(provider.url, budgets=budgets), database_url) as gateway:
        for name in ("spring", "autumn"):
            key = gateway.key(team=f"team-{name}", app=f"app-{name}")
            client = gateway.client(key, default_headers={"x-jobgate-tags": f"campaign={name}"})
            with pytest.raises(openai.APIStatusError) as refusal:
                await client.chat.completions.create(**ASK, max_tokens=1000)
            assert refusal.value.status_code == 402
            await client.chat.completions.create(**ASK, max_tokens=100)
        spent = [balance["spent"] for balance in gateway.balances().values()]

    assert spent == [ANSWER_NANOS, ANSWER_NANOS]


@pytest.mark.parametrize(
    "ending",
    [
        Script(status=500),
        Script(text="One two three", cut_after_chunk=1),
        Script(hang_up=True),
        Script(text="late", first_byte_delay=9.0),
    ],
    ids=["an error", "a cut", "no answer", "no answer in time"],
)
async def test_trap_31_whatever_goes_wrong_upstream_no_hold_is_left(
    ending: Script, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ending
    budgets = "\n  cap: {scope: organisation, limit: 1 USD, period: month}"
    routes = routes_for(
        provider.url, budgets=budgets, timeouts="{first_byte: 0.3, idle: 0.3, total: 0.5}"
    )
    async with running(routes, database_url) as gateway:
        for stream in (False, True):
            try:
                answer = await gateway.client().chat.completions.create(**ASK, stream=stream)
                if stream:
                    async for _chunk in answer:
                        pass
            except openai.APIError as error:
                assert error.message
        (balance,) = gateway.balances().values()
        booked = sum(entry["amount_nanos"] for entry in gateway.entries())

    assert (balance["held"], balance["spent"]) == (0, booked)


async def test_trap_33_without_a_limit_of_its_own_a_request_leaves_room_for_its_neighbours(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="slow", stall_before_chunk=0)
    budgets = '\n  cap: {scope: organisation, limit: "0.045 USD", period: month}'
    async with running(routes_for(provider.url, budgets=budgets), sqlite_url) as gateway:
        client = gateway.client()
        asking = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(4)]
        await provider.until(lambda p: p.stalled == len(asking))
        assert gateway.open_holds() == len(asking)
        provider.resume()
        await asyncio.gather(*asking)
    limits = [request.body["max_completion_tokens"] for request in provider.requests]
    assert limits == [1000] * 4


@pytest.mark.parametrize(
    "scope",
    ["organisation", "each team", "each app", "each key", "{job: extraction}", "{tag: run}"],
)
async def test_trap_35_at_exact_equality_every_scope_says_the_same(
    scope: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    asked: dict[str, Any] = {**ASK, "max_tokens": 50, "extra_headers": {"x-jobgate-tags": "run=1"}}

    async def status(nanos: int, file: str) -> tuple[int, Any]:
        limit = f"{nanos / 1e9:.9f} USD"
        budgets = f'\n  cap: {{scope: {scope}, limit: "{limit}", period: month}}'
        routes = routes_for(provider.url, budgets=budgets)
        async with running(routes, sqlite_url + file) as gateway:
            try:
                answer = await gateway.client().chat.completions.with_raw_response.create(**asked)
            except openai.APIStatusError as refusal:
                return refusal.status_code, refusal.body
        return answer.status_code, None

    code, body = await status(1, ".tiny")
    wanted = body["details"]["wanted"]
    assert (code, wanted > ANSWER_NANOS) == (402, True)
    assert (await status(wanted, ".equal"))[0] == 200
    assert (await status(wanted - 1, ".short"))[0] == 402


async def test_trap_37_a_request_across_midnight_counts_once_on_the_day_of_its_admission(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(chunks=("Two", " words"), input=100, output=2)
    clock = FrozenClock("2026-11-22T23:59:59+01:00")
    budgets = "\n  daily: {scope: organisation, limit: 1 USD, period: day}"
    routes = routes_for(provider.url, budgets=budgets)
    async with running(routes, database_url, clock=clock) as gateway:
        stream = await gateway.client().chat.completions.create(**ASK, stream=True)
        async for _chunk in stream:
            clock.move(60)
        today = gateway.balances()
        (entry,) = gateway.entries()
        (balance,) = gateway.ledger.balances_at(entry["admitted_at"])
        with gateway.gateway.database.reading() as cursor:
            (hour,) = cursor.rows("SELECT hour, amount_nanos, entries FROM rollups", {})
        metric = gateway.metric(
            "jobgate_spend_nanodollars_total",
            job="extraction",
            target="openai/gpt-test",
            quality="reported",
        )

    assert today == {}
    assert (balance["spent"], balance["held"]) == (ANSWER_NANOS, 0)
    assert hour == (entry["admitted_at"] // 3_600_000_000, ANSWER_NANOS, 1)
    assert metric == entry["amount_nanos"] == ANSWER_NANOS


async def test_trap_38_a_clock_that_is_set_back_neither_loses_money_nor_frees_any(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    clock = FrozenClock("2026-11-23T00:00:01+01:00")
    budgets = "\n  daily: {scope: organisation, limit: 1 USD, period: day}"
    routes = routes_for(provider.url, budgets=budgets)
    async with running(routes, database_url, clock=clock) as gateway:
        client = gateway.client()
        await client.chat.completions.create(**ASK)
        clock.move(-2)
        await client.chat.completions.create(**ASK)
        clock.move(2)
        await client.chat.completions.create(**ASK)
        days = [
            sum(b["spent"] for b in gateway.ledger.balances_at(clock.now() + seconds * 1_000_000))
            for seconds in (-2, 0)
        ]

    assert days == [ANSWER_NANOS, 2 * ANSWER_NANOS]


@pytest.mark.parametrize("upstream_id", ["chatcmpl-the-same", ""])
async def test_trap_39_answers_with_the_same_upstream_id_or_none_are_entries_of_their_own(
    upstream_id: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2, answer_id=upstream_id)
    async with running(routes_for(provider.url), database_url) as gateway:
        for stream in (False, True):
            answer = await gateway.client().chat.completions.create(**ASK, stream=stream)
            if stream:
                assert [chunk async for chunk in answer]
        entries = gateway.entries()

    assert [entry["upstream_id"] for entry in entries] == [upstream_id] * 2
    assert [entry["amount_nanos"] for entry in entries] == [ANSWER_NANOS] * 2


async def test_trap_41_a_private_prompt_is_seen_at_the_on_prem_door_and_nowhere_else(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    canary = "a-private-prompt-7f3a"
    said: Any = [{"role": "user", "content": canary}]
    budgets = '\n  tiny: {scope: {job: private}, limit: "0.0002 USD", period: month}'
    async with running(routes_for(provider.url, budgets=budgets), sqlite_url) as gateway:
        client = gateway.client()
        scripts = (Script(text="ok"), Script(status=500), Script(text="a b", cut_after_chunk=1))
        for script in (*scripts, Script(omit_usage=True), Script(text="ok")):
            provider.script = script
            for stream in (False, True):
                try:
                    answer = await client.chat.completions.create(
                        model="private", messages=said, stream=stream, max_tokens=50
                    )
                    if stream:
                        async for _chunk in answer:
                            pass
                except openai.APIError as error:
                    assert canary not in error.message
        file = gateway.gateway.database.file
        assert file is not None
        on_disk = b"".join(path.read_bytes() for path in file.parent.iterdir() if path.is_file())

    doors = {
        request.path.strip("/").partition("/")[0]
        for request in provider.requests
        if canary in str(request.body)
    }
    assert doors == {"ollama"}
    assert canary.encode() not in on_disk
