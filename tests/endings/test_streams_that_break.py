"""A stream that has begun and does not end as it should: every way, at every moment.

The caller has some of the answer already, so nothing is tried again behind its back. It always
learns how the stream ended: the last event is [DONE] or an error, never silence. What was
delivered is paid for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.endings.bills import check_entry, money, only_entry, said
from tests.endings.callers import CHUNKS, JOBS, QUESTION, Caller, all_is_well, calling
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

WORDS = "The provider's own words."
NONE, ONE, ALL = "", "one", "one two three"
OPENAI, ANTHROPIC, GEMINI, MISTRAL, OLLAMA = (
    "extraction",
    "narrative",
    "workspace",
    "volume",
    "private",
)
WITH_OPENING = (OPENAI, ANTHROPIC, MISTRAL)
"""Whose streams have an event before the first piece of text."""
WITH_DONE = (OPENAI, MISTRAL, OLLAMA)
"""Whose streams end with [DONE], after the finish and the usage; Gemini's have no mark at all."""


def script(**how: object) -> Script:
    return Script(chunks=CHUNKS, error=WORDS, **how)  # type: ignore[arg-type]


def closed(**how: object) -> Script:
    """The connection is closed in good order, the body is not at its end."""
    return script(cut_mode="eof", **how)


def ended(**how: object) -> Script:
    """The body ends as HTTP has it, and lacks the rest."""
    return script(cut_mode="end", **how)


@dataclass(frozen=True)
class Way:
    """How the provider behaves, and what of the answer the caller has when it is over."""

    script: Script
    heard: str
    words: str = ""
    jobs: Collection[str] = JOBS


Ways = Mapping[str, Way]
BREAKS: Mapping[str, Ways] = {
    "a reset": {
        "before the first chunk": Way(script(cut_after_chunk=0), NONE, jobs=WITH_OPENING),
        "after one chunk": Way(script(cut_after_chunk=1), ONE),
        "after the last chunk": Way(script(cut_after_chunk=3), ALL),
        "before the end mark": Way(script(cut_after_chunk=-1), ALL),
    },
    "a connection that is closed": {
        "before the first chunk": Way(closed(cut_after_chunk=0), NONE, jobs=WITH_OPENING),
        "after one chunk": Way(closed(cut_after_chunk=1), ONE),
        "within an event": Way(closed(cut_after_chunk=1, truncate_json=True), ONE),
        "after the last chunk": Way(closed(cut_after_chunk=3), ALL),
        "before the end mark": Way(closed(cut_after_chunk=-1), ALL),
    },
    "a body that ends well, but too early": {
        "before the first chunk": Way(ended(cut_after_chunk=0), NONE, jobs=WITH_OPENING),
        "after one chunk": Way(ended(cut_after_chunk=1), ONE, "before the answer was whole"),
        "within an event": Way(ended(cut_after_chunk=1, truncate_json=True), ONE, "not JSON"),
        "after the last chunk": Way(ended(cut_after_chunk=3), ALL, "before the answer was whole"),
    },
    "an error event": {
        "before the first chunk": Way(script(error_event_after=0), NONE, WORDS, WITH_OPENING),
        "after one chunk": Way(script(error_event_after=1), ONE, WORDS),
        "after the last chunk": Way(script(error_event_after=3), ALL, WORDS),
    },
}
NONSENSE: Ways = {
    "before the first chunk": Way(script(garbage_after=0), NONE, "not JSON", WITH_OPENING),
    "after one chunk": Way(script(garbage_after=1), ONE, "not JSON"),
    "after the last chunk": Way(script(garbage_after=3), ALL, "not JSON"),
}
SILENCE: Mapping[str, Ways] = {
    "{idle: 0.1}": {
        "after one chunk": Way(script(stall_before_chunk=1), ONE, "waited 0.1 s for the next"),
        "before the end": Way(script(stall_before_chunk=3), ALL, "waited 0.1 s for the next"),
    },
    "{total: 0.1}": {"as a whole": Way(script(stall_before_chunk=1), ONE, "waited 0.")},
}
WHOLE = {
    "the ordinary stream": (script(), "reported", JOBS),
    "in one piece": (script(burst=True), "reported", JOBS),
    "compressed": (script(gzip=True), "reported", JOBS),
    "usage twice": (script(duplicate_usage=True), "reported", JOBS),
    "usage that grows": (script(usage_grows=True), "reported", JOBS),
    "no usage": (script(omit_usage=True), "counted", JOBS),
    "no end mark": (script(no_done=True), "reported", (*WITH_DONE, GEMINI)),
}


async def check(
    ways: Ways, provider: ScriptedProvider, url: str, qualities: Collection[str], **more: str
) -> None:
    """Ask every job of each row; the caller hears the same, and so does the ledger."""
    code = "upstream_timed_out" if more else "upstream_failed"
    async with running(routes_for(provider.url, **more), url) as gateway:
        for number, (when, way) in enumerate(ways.items()):
            if number:
                await all_is_well(gateway, provider)
            async with calling(gateway) as caller:
                await check_way(way, provider, gateway, caller, (when, code, qualities))


async def check_way(
    way: Way,
    provider: ScriptedProvider,
    gateway: RunningGateway,
    caller: Caller,
    expected: tuple[str, str, Collection[str]],
) -> None:
    when, code, qualities = expected
    provider.script, before = way.script, provider.arrived
    for job in way.jobs:
        heard = await caller.ask(job, stream=True)
        entry = only_entry(gateway, heard.request_id)
        check_entry(entry, money(provider.bill[-1:]))
        told = heard.status, heard.text, heard.error.get("code")
        assert told == (200, way.heard, code), (when, job)
        assert way.words in heard.error["message"], (when, job)
        assert entry["outcome"] == "provider_cut", (when, job)
        assert entry["quality"] in qualities, (when, job)
    assert provider.arrived - before == len(way.jobs), "nothing was tried again"


@pytest.mark.parametrize("what", BREAKS)
async def test_a_stream_that_breaks_ends_with_an_error_and_is_booked_for_what_came(
    what: str, provider: ScriptedProvider, database_url: str
) -> None:
    await check(BREAKS[what], provider, database_url, {"counted"})


@pytest.mark.parametrize("limit", SILENCE)
async def test_a_stream_that_falls_silent_ends_with_an_error_and_is_booked_for_what_came(
    limit: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check(SILENCE[limit], provider, sqlite_url, {"counted"}, timeouts=limit)


async def test_nonsense_ends_the_stream_and_all_that_was_generated_is_booked(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check(NONSENSE, provider, sqlite_url, {"counted", "reported"})


async def test_a_stream_that_is_whole_ends_with_done(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for what, (provider.script, quality, jobs) in WHOLE.items():
            for job in jobs:
                heard = await caller.ask(job, stream=True)
                entry = only_entry(gateway, heard.request_id)
                check_entry(entry, money(provider.bill[-1:]))
                assert (heard.text, heard.events[-1]) == (ALL, "[DONE]"), what
                assert said(entry) == ("ok", quality), what


async def hear(stream: openai.AsyncStream[ChatCompletionChunk], heard: list[str]) -> None:
    async for chunk in stream:
        heard.append(chunk.choices[0].delta.content or "")


async def test_the_real_client_raises_when_a_stream_breaks(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = script(error_event_after=2)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        for job in JOBS:
            heard: list[str] = []
            stream = await client.chat.completions.create(model=job, messages=QUESTION, stream=True)
            with pytest.raises(openai.APIError, match=WORDS) as raised:
                await hear(stream, heard)
            assert "".join(heard) == "one two"
            assert raised.value.code == "upstream_failed"
