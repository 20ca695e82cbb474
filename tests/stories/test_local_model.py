"""The demo's way to a real language model: every job answers, and what it counts is what we book.

SmolLM2-135M (Llama architecture), served by llama.cpp's own server in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.app import FirstKey, Gateway
from gateway.cli.demo import local_model, with_stand_ins
from gateway.jobs.loading import load
from gateway.settings import Settings
from tests.gateways import BOOK, serving

pytestmark = pytest.mark.anyio

SHIPPED = Path(__file__).parents[2] / "routes.yaml"
QUESTION = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The address of the local model."""
    with local_model() as address:
        yield address


async def test_all_five_jobs_answer_from_the_real_model_and_are_booked_as_it_counted(
    model: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ANTHROPIC", "OPENAI", "GEMINI", "MISTRAL"):
        monkeypatch.delenv(f"{variable}_API_KEY", raising=False)
    shipped = load(SHIPPED, book=BOOK, environment={})
    routes, stood_in = with_stand_ins(shipped, model)
    admin: list[FirstKey] = []
    settings = Settings(database_url=sqlite_url, port=0)
    made = Gateway(settings, routes, BOOK, environment={}, announce=admin.append)
    async with serving(made, admin) as gateway:
        client = gateway.client()
        for job in shipped.jobs:
            raw = await client.chat.completions.with_raw_response.create(
                model=job, messages=QUESTION, max_tokens=8
            )
            answer = raw.parse()
            (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])
            assert answer.choices[0].message.content
            assert answer.usage is not None
            told = answer.usage.prompt_tokens, answer.usage.completion_tokens
            assert told == (entry["input"] + entry["cache_read"], entry["output"])
            assert (entry["quality"], entry["job"]) == ("reported", job)
            if job in stood_in:
                assert "local model for" in raw.headers["x-jobgate-changed"]

        stream = await client.chat.completions.create(
            model="private",
            messages=QUESTION,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        (entry,) = gateway.entries(stream.response.headers["x-jobgate-request-id"])
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == entry["output"]
    assert usage.prompt_tokens == entry["input"] + entry["cache_read"]
