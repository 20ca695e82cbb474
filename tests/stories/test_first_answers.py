"""An app with the ordinary OpenAI client names a job and gets an answer; the books show it."""

from __future__ import annotations

import pytest

from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
ANSWER = Script(text="Two words", input=100, output=2)
JOBS = {
    "extraction": 100 * 2_500 + 2 * 10_000,
    "narrative": 100 * 3_000 + 2 * 15_000,
    "workspace": 100 * 300 + 2 * 2_500,
    "private": 100 * 10 + 2 * 20,
    "volume": 100 * 100 + 2 * 300,
}
"""Jobs, and what a hundred input and two output tokens cost in nano-dollars."""


@pytest.mark.parametrize("job", JOBS)
async def test_a_plain_answer_is_booked_to_the_nano(
    job: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        raw = await gateway.client().chat.completions.with_raw_response.create(
            model=job, messages=QUESTION
        )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])

    assert raw.parse().choices[0].message.content == "Two words"
    assert raw.headers["x-jobgate-job"] == job
    assert raw.headers["x-jobgate-attempts"] == "1"
    assert float(raw.headers["x-jobgate-cost-usd"]) * 1e9 == pytest.approx(JOBS[job])
    assert (entry["input"], entry["output"]) == (100, 2)
    assert entry["amount_nanos"] == JOBS[job]
    assert (entry["quality"], entry["outcome"], entry["team"]) == ("reported", "ok", "brand")


@pytest.mark.parametrize("job", JOBS)
async def test_a_stream_is_booked_although_the_caller_did_not_ask_for_usage(
    job: str, provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), database_url) as gateway:
        stream = await gateway.client().chat.completions.create(
            model=job, messages=QUESTION, stream=True
        )
        chunks = [chunk async for chunk in stream]
        (entry,) = gateway.entries(stream.response.headers["x-jobgate-request-id"])

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Two words"
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert entry["amount_nanos"] == JOBS[job]
    assert (entry["quality"], entry["outcome"], bool(entry["stream"])) == ("reported", "ok", True)


@pytest.mark.parametrize("job", JOBS)
async def test_who_asks_for_usage_gets_exactly_one_last_chunk_with_it(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        stream = await gateway.client().chat.completions.create(
            model=job,
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    with_usage = [chunk for chunk in chunks if chunk.usage is not None]
    assert with_usage == chunks[-1:]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == 100
    assert chunks[-1].usage.completion_tokens == 2
