"""What is tried again at the same provider, after how long, and what is not."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamBusy
from gateway.pipeline.pipeline import _pause
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.front_door import QUESTION

pytestmark = pytest.mark.anyio

AGAIN = """
  again:
    purpose: Tries again.
    owner: data
    targets: [openai/gpt-test]
    output_tokens: {default: 1000, max: 4000}
    retries: 1
"""


async def attempts_at(
    gateway: RunningGateway, provider: ScriptedProvider, script: Script
) -> tuple[list[dict[str, Any]], float]:
    """The entries of a request under a script, then under one that answers; and its seconds."""
    provider.scripts(script, Script(text="Two words", input=10, output=2))
    began = time.monotonic()
    with suppress(openai.APIStatusError):
        await gateway.client().chat.completions.create(model="again", messages=QUESTION)
    return gateway.entries(), time.monotonic() - began


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_what_cost_nothing_and_may_pass_is_tried_again(
    status: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url, jobs=AGAIN), sqlite_url) as gateway:
        entries, _took = await attempts_at(gateway, provider, Script(status=status))

    assert [(entry["attempt"], entry["outcome"] == "ok") for entry in entries] == [
        (1, False),
        (2, True),
    ]
    assert entries[0]["amount_nanos"] == 0


NOT_AGAIN = {
    "the request is wrong": Script(status=400),
    "the key is wrong": Script(status=401),
    "the model is unknown": Script(status=404),
    "hung up, and may have worked": Script(hang_up=True),
    "cut, and has worked": Script(text="One two three", cut_bytes=40),
    "answered nonsense": Script(body="<html>", content_type="text/html"),
    "asks for more patience than we have": Script(status=429, retry_after=60),
}


@pytest.mark.parametrize("case", NOT_AGAIN)
async def test_what_may_have_cost_or_will_not_pass_is_not_tried_again(
    case: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url, jobs=AGAIN), sqlite_url) as gateway:
        entries, _took = await attempts_at(gateway, provider, NOT_AGAIN[case])

    assert len(provider.requests) == len(entries) == 1


async def test_the_providers_own_wait_is_kept(provider: ScriptedProvider, sqlite_url: str) -> None:
    async with running(routes_for(provider.url, jobs=AGAIN), sqlite_url) as gateway:
        entries, took = await attempts_at(gateway, provider, Script(status=429, retry_after=0.5))

    assert len(entries) == 2
    assert 0.5 <= took < 3


@given(st.integers(0, 20))
def test_a_pause_doubles_up_to_two_seconds_and_is_never_the_same_for_all(retry: int) -> None:
    most = min(2.0, 0.2 * 2**retry)
    pauses = {_pause(retry, UpstreamBusy("busy")) for _ in range(20)}

    assert all(most / 2 <= pause <= most for pause in pauses)
    assert len(pauses) > 1
