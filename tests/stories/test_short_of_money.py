"""When a budget has no room a job refuses, shortens the answer, or asks a cheaper model."""

from __future__ import annotations

import re
from typing import Any

import httpx
import openai
import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
JOBS = """
  shortening:
    purpose: Its answers may be shorter.
    owner: data
    targets: [openai/gpt-test]
    output_tokens: {default: 1000, max: 4000}
    retries: 0
    wait_for_room: 0
    when_short: shorten
    shorten_to_at_least: 200
  downgrading:
    purpose: A cheaper model will do.
    owner: data
    targets: [openai/gpt-test, anthropic/claude-test, openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    retries: 0
    wait_for_room: 0
    when_short: downgrade
"""
CHANGE = re.compile(r"max_\w+=(\d+)->(\d+) \(budget small\)")


def budget(limit: str, more: str = "period: month") -> str:
    """One budget for everybody."""
    return f"\n  small: {{scope: organisation, limit: {limit}, {more}}}"


async def ask(gateway: RunningGateway, job: str, **more: Any) -> tuple[int, str]:
    """The status of a request for 4,000 tokens, and what the header says was changed."""
    fields = {"model": job, "messages": QUESTION, "max_tokens": 4000, **more}
    try:
        raw = await gateway.client().chat.completions.with_raw_response.create(**fields)
    except openai.APIStatusError as error:
        return error.status_code, str(error.response.json()["error"]["code"])
    return raw.status_code, raw.headers.get("x-jobgate-changed", "")


async def test_an_answer_is_shortened_to_what_is_left_and_says_so(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.004 USD"))
    async with running(routes, database_url) as gateway:
        status, changed = await ask(gateway, "shortening")
        (entry,) = gateway.entries()
        (seen,) = provider.requests
    found = CHANGE.search(changed)
    assert found, changed
    asked, limit = map(int, found.groups())
    assert (status, asked) == (200, 4000)
    assert seen.body["max_tokens"] == limit, "the provider is told"
    # $0.004 buys 400 tokens of output, less what the input may cost; one token more is too much
    assert 300 < limit < 400
    assert 4_000_000 - 10_000 < entry["ceiling_nanos"] <= 4_000_000
    assert entry["changed"] == changed


async def test_a_stream_is_shortened_too(provider: ScriptedProvider, sqlite_url: str) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.004 USD"))
    async with running(routes, sqlite_url) as gateway:
        stream = await gateway.client().chat.completions.create(
            model="shortening", messages=QUESTION, stream=True
        )
        changed = stream.response.headers["x-jobgate-changed"]
        async for _ in stream:
            pass
    found = CHANGE.search(changed)
    assert found
    assert found[1] == "1000", "the job's own limit, when the caller states none"


async def test_nothing_is_shortened_that_fits(provider: ScriptedProvider, sqlite_url: str) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("5 USD"))
    async with running(routes, sqlite_url) as gateway:
        assert await ask(gateway, "shortening") == (200, "")
        assert await ask(gateway, "downgrading") == (200, "")


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        ("0.002 USD", "period: month"),
        ("230 tokens", "period: month"),
        ("0 requests", "period: month"),
    ],
)
async def test_nothing_is_shortened_under_the_jobs_minimum(
    limit: str, more: str, provider: ScriptedProvider, database_url: str
) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget(limit, more))
    async with running(routes, database_url) as gateway:
        assert await ask(gateway, "shortening") == (402, "budget_exhausted")
        assert gateway.entries() == []
    assert provider.arrived == 0


async def test_tokens_are_short_as_dollars_are(provider: ScriptedProvider, sqlite_url: str) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    limited = budget("500 tokens", "period: minute")
    async with running(routes_for(provider.url, jobs=JOBS, budgets=limited), sqlite_url) as gateway:
        status, changed = await ask(gateway, "shortening")
        (entry,) = gateway.entries()
    assert status == 200
    assert CHANGE.search(changed)
    assert entry["ceiling_tokens"] == 500


async def test_every_choice_is_shortened(provider: ScriptedProvider, sqlite_url: str) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.01 USD"))
    async with running(routes, sqlite_url) as gateway:
        _, changed = await ask(gateway, "shortening", n=3)
        (entry,) = gateway.entries()
    found = CHANGE.search(changed)
    assert found
    assert 250 < int(found[2]) <= 333
    assert entry["ceiling_nanos"] <= 10_000_000


async def test_the_tighter_of_two_budgets_decides(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    two = budget("0.01 USD") + "\n  tight: {scope: each team, limit: 0.004 USD, period: month}"
    async with running(routes_for(provider.url, jobs=JOBS, budgets=two), sqlite_url) as gateway:
        status, changed = await ask(gateway, "shortening")
        (entry,) = gateway.entries()
    assert (status, "(budget tight)" in changed) == (200, True)
    assert entry["ceiling_nanos"] <= 4_000_000


async def test_a_cheaper_target_is_asked_and_a_dearer_one_is_passed_over(
    provider: ScriptedProvider, database_url: str
) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.02 USD"))
    async with running(routes, database_url) as gateway:
        status, changed = await ask(gateway, "downgrading")
        (entry,) = gateway.entries()
    assert status == 200
    assert changed == "openai/gpt-test->openai/gpt-spare (budget small)"
    assert (entry["target"], entry["attempt"]) == ("openai/gpt-spare", 1)
    assert provider.arrived == 1


async def test_when_no_target_is_cheap_enough_the_preferred_ones_refusal_is_told(
    provider: ScriptedProvider, database_url: str
) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.01 USD"))
    async with running(routes, database_url) as gateway:
        assert await ask(gateway, "downgrading") == (402, "budget_exhausted")
    assert provider.arrived == 0


async def test_requests_are_not_cheaper_elsewhere(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0 requests"))
    async with running(routes, sqlite_url) as gateway:
        assert await ask(gateway, "downgrading") == (402, "budget_exhausted")
    assert provider.arrived == 0


async def test_a_job_that_says_nothing_refuses(provider: ScriptedProvider, sqlite_url: str) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.02 USD"))
    async with running(routes, sqlite_url) as gateway:
        assert await ask(gateway, "with-fallback") == (402, "budget_exhausted")
    assert provider.arrived == 0


async def test_who_has_waited_in_vain_takes_what_others_do_not_hold(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, jobs=JOBS, budgets=budget("0.045 USD"))
    async with running(routes, sqlite_url) as gateway:
        provider.script = Script(chunks=("one ", "two"), stall_before_chunk=1)
        first = await gateway.client().chat.completions.create(
            model="extraction", messages=QUESTION, max_tokens=4000, stream=True
        )
        provider.script = Script(text="Two words", input=10, output=2)
        status, changed = await ask(gateway, "shortening")
        provider.resume()
        async for _ in first:
            pass
    found = CHANGE.search(changed)
    assert status == 200
    assert found
    assert 300 < int(found[2]) < 600, "the first may need four of the four and a half cents"


THINKING = """
  thinking:
    purpose: Thinks before it answers.
    owner: brand
    targets: [anthropic/claude-test]
    output_tokens: {default: 4000, max: 16000}
    retries: 0
    wait_for_room: 0
    when_short: shorten
    shorten_to_at_least: 200
"""
DOORS = {"chat": "chat/completions", "messages": "messages"}


async def think(
    gateway: RunningGateway, door: str, max_tokens: int, budget: int
) -> tuple[int, str]:
    """The status of a request with a budget for its thinking, and what was changed."""
    body = {
        "model": "thinking",
        "messages": QUESTION,
        "max_tokens": max_tokens,
        "thinking": {"type": "enabled", "budget_tokens": budget},
    }
    headers = {"Authorization": f"Bearer {gateway.key()}"}
    async with httpx.AsyncClient(headers=headers) as http:
        answer = await http.post(f"{gateway.url}/v1/{DOORS[door]}", json=body)
    return answer.status_code, answer.headers.get("x-jobgate-changed", "")


@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_that_is_shortened_thinks_less(
    door: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    # 15 USD a million tokens of output: 0.06 USD are 4,000 of them, 0.02 USD 1,333
    routes = routes_for(provider.url, jobs=THINKING, budgets=budget("0.06 USD"))
    async with running(routes, sqlite_url) as gateway:
        status, changed = await think(gateway, door, 8000, 5000)
    (seen,) = provider.requests
    limit, thinks = seen.body["max_tokens"], seen.body["thinking"]["budget_tokens"]
    assert status == 200
    assert (3500 < limit < 4000, thinks) == (True, limit // 2)
    assert f"thinking.budget_tokens=5000->{thinks}" in changed
    assert f"max_tokens=8000->{limit} (budget small)" in changed


@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_is_not_shortened_until_no_room_is_left_to_think(
    door: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, jobs=THINKING, budgets=budget("0.02 USD"))
    async with running(routes, sqlite_url) as gateway:
        assert await think(gateway, door, 8000, 5000) == (402, "")
    assert provider.arrived == 0


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("most", "told"),
    [
        (16_000, ""),
        (4_000, "thinking.budget_tokens=5000->2000 (half of the output limit)"),
        (2_000, "thinking dropped (an answer of 2000 tokens leaves no room for it)"),
    ],
)
async def test_a_jobs_limit_holds_for_thinking_too(
    most: int, told: str, door: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    jobs = THINKING.replace("default: 4000, max: 16000", f"default: 1000, max: {most}")
    async with running(routes_for(provider.url, jobs=jobs), sqlite_url) as gateway:
        status, changed = await think(gateway, door, 8000, 5000)
    (seen,) = provider.requests
    assert status == 200
    assert told in changed
    assert ("thinking" in changed) == bool(told)
    thinks = seen.body.get("thinking", {}).get("budget_tokens", 0)
    assert thinks < seen.body["max_tokens"]
