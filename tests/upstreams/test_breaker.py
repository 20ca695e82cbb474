"""A target that fails again and again is left alone for a while, and then tried with one call."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.breaker import (
    CLOSED,
    FAILURES_IN_A_ROW,
    HALF_OPEN,
    OPEN,
    PAUSE_SECONDS,
    Breaker,
)
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

QUESTION = [{"role": "user", "content": "Say something."}]


class Watched:
    """A breaker, a time that stands still until it is moved, and every state there was."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.states: list[int] = []
        self.breaker = Breaker(self.states.append, lambda: self.time)

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.failed()


def opened() -> Watched:
    watched = Watched()
    watched.fail(FAILURES_IN_A_ROW)
    return watched


def test_it_opens_at_the_last_of_several_failures_in_a_row() -> None:
    watched = Watched()
    watched.fail(FAILURES_IN_A_ROW - 1)
    assert watched.breaker.allows()
    watched.fail()
    assert not watched.breaker.allows()
    assert watched.states == [OPEN]


def test_a_success_in_between_starts_the_count_again() -> None:
    watched = Watched()
    for _ in range(3):
        watched.fail(FAILURES_IN_A_ROW - 1)
        watched.breaker.succeeded()
    assert watched.breaker.allows()
    assert watched.states == []


def test_an_open_one_says_how_long_it_stays_shut_and_never_less_than_a_second() -> None:
    watched = opened()
    assert watched.breaker.seconds_left == PAUSE_SECONDS
    watched.time += PAUSE_SECONDS - 4
    assert watched.breaker.seconds_left == 4
    watched.time += 100
    assert watched.breaker.seconds_left == 1


def test_after_the_pause_one_call_tries_it_and_the_others_wait() -> None:
    watched = opened()
    watched.time += PAUSE_SECONDS - 0.001
    assert not watched.breaker.allows()
    watched.time += 0.001
    assert [watched.breaker.allows() for _ in range(3)] == [True, False, False]
    assert watched.states == [OPEN, HALF_OPEN]


def test_a_trial_that_succeeds_closes_it() -> None:
    watched = opened()
    watched.time += PAUSE_SECONDS
    assert watched.breaker.allows()
    watched.breaker.succeeded()
    assert watched.breaker.allows()
    assert watched.states == [OPEN, HALF_OPEN, CLOSED]


def test_a_trial_that_fails_opens_it_for_another_pause() -> None:
    watched = opened()
    watched.time += PAUSE_SECONDS
    assert watched.breaker.allows()
    watched.fail()
    assert not watched.breaker.allows()
    assert watched.breaker.seconds_left == PAUSE_SECONDS
    assert watched.states == [OPEN, HALF_OPEN, OPEN]


def test_a_trial_that_never_comes_back_does_not_shut_it_for_ever() -> None:
    watched = opened()
    watched.time += PAUSE_SECONDS
    assert watched.breaker.allows()
    watched.time += PAUSE_SECONDS
    assert [watched.breaker.allows() for _ in range(2)] == [True, False]


@given(st.lists(st.sampled_from(["ask", "fail", "succeed", "wait"]), max_size=60))
def test_whatever_happens_a_broken_target_is_asked_once_a_pause_at_the_most(
    events: list[str],
) -> None:
    watched, in_a_row, tried_at = Watched(), 0, -PAUSE_SECONDS
    for event in events:
        if event == "ask" and watched.breaker.allows() and in_a_row >= FAILURES_IN_A_ROW:
            assert watched.time - tried_at >= PAUSE_SECONDS
            tried_at = watched.time
        elif event == "fail":
            watched.fail()
            in_a_row += 1
        elif event == "succeed":
            watched.breaker.succeeded()
            in_a_row = 0
        elif event == "wait":
            watched.time += PAUSE_SECONDS / 3
    if in_a_row == 0:
        assert watched.breaker.allows()


@pytest.mark.anyio
async def test_a_job_falls_back_and_the_broken_target_is_not_asked_any_more(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model = {
        "gpt-test": Script(status=500),
        "gpt-spare": Script(text="Spare", input=10, output=1),
    }
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        door = gateway.gateway._doors["/v1/chat/completions"]
        breaker = door._live.pipeline._parts.breakers["openai/gpt-test"]
        time = [1000.0]
        breaker._now = lambda: time[0]
        client = gateway.client()

        async def targets_asked() -> list[str]:
            before = len(provider.requests)
            await client.chat.completions.create(model="with-fallback", messages=QUESTION)
            return [seen.body["model"] for seen in provider.requests[before:]]

        for _ in range(FAILURES_IN_A_ROW - 1):
            breaker.failed()
        assert await targets_asked() == ["gpt-test", "gpt-spare"]
        assert gateway.metric("jobgate_breaker_state", target="openai/gpt-test") == OPEN
        assert await targets_asked() == ["gpt-spare"]

        provider.by_model["gpt-test"] = Script(text="Back", input=10, output=1)
        time[0] += PAUSE_SECONDS
        assert await targets_asked() == ["gpt-test"]
        assert gateway.metric("jobgate_breaker_state", target="openai/gpt-test") == CLOSED


@pytest.mark.anyio
async def test_a_job_without_another_target_says_when_to_come_back_and_holds_nothing(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=500)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        for _ in range(FAILURES_IN_A_ROW):
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="extraction", messages=QUESTION)
        with pytest.raises(openai.InternalServerError) as shut:
            await client.chat.completions.create(model="extraction", messages=QUESTION)
        booked = len(gateway.entries())

    assert shut.value.status_code == 503
    assert 1 <= int(shut.value.response.headers["retry-after"]) <= PAUSE_SECONDS
    assert len(provider.requests) == booked == FAILURES_IN_A_ROW


@pytest.mark.anyio
async def test_a_request_that_is_wrong_does_not_count_against_the_target(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=400)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        for _ in range(FAILURES_IN_A_ROW + 1):
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="extraction", messages=QUESTION)

    assert len(provider.requests) == FAILURES_IN_A_ROW + 1


TEAMS = """
  poor: {scope: {team: poor}, limit: 0.000001 USD, period: month}"""


@pytest.mark.anyio
async def test_a_trial_is_not_used_up_by_a_request_that_no_budget_covers(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Back", input=10, output=1)
    async with running(routes_for(provider.url, budgets=TEAMS), database_url) as gateway:
        door = gateway.gateway._doors["/v1/chat/completions"]
        breaker = door._live.pipeline._parts.breakers["openai/gpt-test"]
        time = [1000.0]
        breaker._now = lambda: time[0]
        for _ in range(FAILURES_IN_A_ROW):
            breaker.failed()
        time[0] += PAUSE_SECONDS

        poor = gateway.client(gateway.key(team="poor", app="slides"))
        with pytest.raises(openai.APIStatusError, match="poor") as refused:
            await poor.chat.completions.create(model="extraction", messages=QUESTION)
        assert refused.value.status_code == 402
        await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
        assert gateway.metric("jobgate_breaker_state", target="openai/gpt-test") == CLOSED

    assert provider.arrived == 1


@pytest.mark.anyio
async def test_a_target_that_broke_while_a_request_waited_for_money_is_not_asked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model["gpt-spare"] = Script(text="Spare", input=10, output=1)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        parts = gateway.gateway._doors["/v1/chat/completions"]._live.pipeline._parts
        breaker, admit = parts.breakers["openai/gpt-test"], parts.treasury.admit

        async def admit_late(request: Any) -> Any:
            if request.draft.target == "openai/gpt-test":
                for _ in range(FAILURES_IN_A_ROW):
                    breaker.failed()
            return await admit(request)

        parts.treasury.admit = admit_late
        answer = await gateway.client().chat.completions.create(
            model="with-fallback", messages=QUESTION
        )
        entries = gateway.entries()

    assert answer.choices[0].message.content == "Spare"
    assert [(e["target"], e["outcome"], e["amount_nanos"]) for e in entries] == [
        ("openai/gpt-test", "provider_busy", 0),
        ("openai/gpt-spare", "ok", 10 * 1_000 + 4_000),
    ]
    assert provider.arrived == 1
