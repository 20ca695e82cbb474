"""A stream that has begun and does not end as it should: every way, at every moment.

The caller has some of the answer already, so nothing is tried again behind its back. It always
learns how the stream ended: the last event is [DONE] or an error, never silence. What was
delivered is paid for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.endings.bills import check_entry, money, only_entry, said
from tests.endings.callers import CHUNKS, JOBS, QUESTION, calling
from tests.gateways import routes_for, running
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


@dataclass(frozen=True)
class Way:
    """How the provider behaves, and what of the answer the caller has when it is over."""

    script: Script
    heard: str
    code: str = "upstream_failed"
    words: str = ""
    jobs: Collection[str] = JOBS
    timeouts: str = "{}"


BREAKS = {
    "reset before the first chunk": Way(script(cut_after_chunk=0), NONE, jobs=WITH_OPENING),
    "reset after one chunk": Way(script(cut_after_chunk=1), ONE),
    "reset after the last chunk": Way(script(cut_after_chunk=3), ALL),
    "reset before the end mark": Way(script(cut_after_chunk=-1), ALL),
    "closed before the first chunk": Way(
        script(cut_after_chunk=0, cut_mode="eof"), NONE, jobs=WITH_OPENING
    ),
    "closed after one chunk": Way(script(cut_after_chunk=1, cut_mode="eof"), ONE),
    "closed after the last chunk": Way(script(cut_after_chunk=3, cut_mode="eof"), ALL),
    "closed before the end mark": Way(script(cut_after_chunk=-1, cut_mode="eof"), ALL),
    "ended well before the first chunk": Way(
        script(cut_after_chunk=0, cut_mode="end"), NONE, jobs=WITH_OPENING
    ),
    "ended well after one chunk": Way(script(cut_after_chunk=1, cut_mode="end"), ONE),
    "ended well after the last chunk": Way(
        script(cut_after_chunk=3, cut_mode="end"), ALL, words="before the answer was whole"
    ),
    "cut within an event": Way(script(cut_after_chunk=1, truncate_json=True, cut_mode="eof"), ONE),
    "ended well within an event": Way(
        script(cut_after_chunk=1, truncate_json=True, cut_mode="end"), ONE, words="not JSON"
    ),
    "an error event before the first chunk": Way(
        script(error_event_after=0), NONE, words=WORDS, jobs=WITH_OPENING
    ),
    "an error event after one chunk": Way(script(error_event_after=1), ONE, words=WORDS),
    "an error event after the last chunk": Way(script(error_event_after=3), ALL, words=WORDS),
    "silence after one chunk": Way(
        script(stall_before_chunk=1),
        ONE,
        "upstream_timed_out",
        "waited 0.1 s for the next part",
        timeouts="{idle: 0.1}",
    ),
    "silence before the end": Way(
        script(stall_before_chunk=3), ALL, "upstream_timed_out", timeouts="{idle: 0.1}"
    ),
    "too slow as a whole": Way(
        script(stall_before_chunk=1), ONE, "upstream_timed_out", timeouts="{total: 0.1}"
    ),
}
NONSENSE = {
    "nonsense before the first chunk": Way(
        script(garbage_after=0), NONE, words="not JSON", jobs=WITH_OPENING
    ),
    "nonsense after one chunk": Way(script(garbage_after=1), ONE, words="not JSON"),
    "nonsense after the last chunk": Way(script(garbage_after=3), ALL, words="not JSON"),
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


async def check(way: Way, provider: ScriptedProvider, url: str, qualities: Collection[str]) -> None:
    """Ask every job of the row; the caller hears the same, and so does the ledger."""
    provider.script = way.script
    told, booked = {}, {}
    routes = routes_for(provider.url, timeouts=way.timeouts)
    async with running(routes, url) as gateway, calling(gateway) as caller:
        for job in way.jobs:
            heard = await caller.ask(job, stream=True)
            entry = only_entry(gateway, heard.request_id)
            check_entry(entry, money(provider.bill[-1:]))
            told[job] = heard.status, heard.text, heard.error.get("code")
            assert way.words in heard.error["message"]
            outcome, quality = said(entry)
            booked[job] = outcome
            assert quality in qualities
    assert len(provider.bill) == provider.arrived == len(way.jobs), "nothing was tried again"
    assert told == dict.fromkeys(way.jobs, (200, way.heard, way.code))
    assert booked == dict.fromkeys(way.jobs, "provider_cut")


@pytest.mark.parametrize("what", BREAKS)
async def test_a_stream_that_breaks_ends_with_an_error_and_is_booked_for_what_came(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check(BREAKS[what], provider, sqlite_url, {"counted"})


@pytest.mark.parametrize("what", ["reset after one chunk", "silence after one chunk"])
async def test_it_is_the_same_in_both_databases(
    what: str, provider: ScriptedProvider, postgres_url: str
) -> None:
    await check(BREAKS[what], provider, postgres_url, {"counted"})


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_ends_the_stream_and_all_that_was_generated_is_booked(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check(NONSENSE[what], provider, sqlite_url, {"counted", "reported"})


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
