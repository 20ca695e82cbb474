"""Answers that are not quite what the format says: read as well as they can be, or refused with
the provider's own words, and booked either way."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import openai
import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
USAGE = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}
ANSWER = {"id": "a", "model": "gpt-test", "choices": [CHOICE], "usage": USAGE}
COST = 100 * 2_500 + 2 * 10_000
"""Nano-dollars of that usage at the prices of gpt-test."""


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def events(*datas: object) -> str:
    lines = [data if isinstance(data, str) else f"data: {as_json(data)}" for data in datas]
    return "".join(f"{line}\n\n" for line in lines)


def piece(**more: Any) -> dict[str, Any]:
    return {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}


async def streamed(gateway: RunningGateway, job: str = "extraction", **more: Any) -> list[Any]:
    stream = await gateway.client().chat.completions.create(
        model=job, messages=QUESTION, stream=True, **more
    )
    return [chunk async for chunk in stream]


ERRORS = {
    "as Azure tells of its filter": ({"error": {"message": "Filtered.", "status": 400}}, 400),
    "as OpenRouter tells of a limit": ({"error": {"message": "Slow.", "code": 429}}, 503),
    "as a proxy tells of anything": ({"error": "Broken."}, 502),
    "as Mistral tells of anything": ({"object": "error", "message": "Broken."}, 502),
    "with no choices beside it": ({"error": {"message": "Broken."}, "choices": []}, 502),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "status"), ERRORS.values(), ids=ERRORS)
async def test_an_error_that_comes_as_a_success_is_an_error_and_free(
    body: Any, status: int, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=as_json(body))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError) as raised:
            await gateway.client().chat.completions.create(
                model="extraction", messages=QUESTION, stream=stream
            )
        (entry,) = gateway.entries(raised.value.response.headers["x-jobgate-request-id"])
    error = body.get("error", body)
    message = error["message"] if isinstance(error, dict) else error
    assert raised.value.status_code == status
    assert message in raised.value.message
    assert entry["amount_nanos"] == 0


@pytest.mark.parametrize("job", ["narrative", "workspace"])
@pytest.mark.parametrize("stream", [False, True])
async def test_so_it_is_where_answers_are_translated(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    error = {"type": "overloaded_error", "code": 503, "message": "Overloaded."}
    provider.script = Script(body=as_json({"type": "error", "error": error}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError, match="Overloaded") as raised:
            await gateway.client().chat.completions.create(
                model=job, messages=QUESTION, stream=stream
            )
        (entry,) = gateway.entries()
    assert raised.value.status_code == 503
    assert entry["amount_nanos"] == 0


async def test_a_whole_answer_in_place_of_a_stream_is_streamed(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi.", "tool_calls": [call]}
    provider.script = Script(body=as_json({**ANSWER, "choices": [{**CHOICE, "message": message}]}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        chunks = await streamed(gateway, stream_options={"include_usage": True})
        (entry,) = gateway.entries()
    assert chunks[0].choices[0].delta.content == "Hi."
    assert chunks[0].choices[0].delta.tool_calls[0].index == 0
    assert [chunk.usage is not None for chunk in chunks] == [False, True]
    assert (entry["quality"], entry["amount_nanos"]) == ("reported", COST)


async def test_a_stream_of_gemini_as_one_array_is_streamed(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    first = {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}
    last = {
        "candidates": [{"content": {"parts": [{"text": "lo."}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 2},
    }
    provider.script = Script(body=as_json([first, last]))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        chunks = await streamed(gateway, "workspace")
        (entry,) = gateway.entries()
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello."
    assert (entry["quality"], entry["input"], entry["output"]) == ("reported", 100, 2)


ODD_FIELDS = {
    "an id that is a number": {"id": 7},
    "no model": {"model": None},
    "a tier that is a list": {"service_tier": []},
    "a field of Groq's that is text": {"x_groq": "x"},
}


@pytest.mark.parametrize("odd", ODD_FIELDS.values(), ids=ODD_FIELDS)
async def test_an_odd_field_does_not_lose_an_answer(
    odd: dict[str, Any], provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=as_json({**ANSWER, **odd}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        answer = await gateway.client().chat.completions.create(
            model="extraction", messages=QUESTION
        )
        (entry,) = gateway.entries()
    assert answer.choices[0].message.content == "Hi."
    assert (entry["quality"], entry["amount_nanos"]) == ("reported", COST)


@pytest.mark.parametrize("usage", [None, [], "many", 7, {}, {"prompt_tokens": "?"}])
async def test_a_usage_that_tells_nothing_is_counted(
    usage: Any, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=as_json({**ANSWER, "usage": usage}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
        (entry,) = gateway.entries()
    assert entry["quality"] == "counted"
    assert entry["input"] > 0
    assert entry["output"] > 0


async def test_contents_in_parts_reach_the_caller_as_text(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]
    parts += [{"type": "text", "text": "Hi."}]
    delta = {"index": 0, "delta": {"content": parts}, "finish_reason": "stop"}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        message = {"role": "assistant", "content": parts}
        provider.script = Script(
            body=as_json({**ANSWER, "choices": [{**CHOICE, "message": message}]})
        )
        answer = await gateway.client().chat.completions.create(model="volume", messages=QUESTION)
        provider.script = Script(body=events(piece(choices=[delta], usage=USAGE), "data: [DONE]"))
        (chunk,) = await streamed(gateway, "volume")
        entries = gateway.entries()
    for said in (answer.choices[0].message, chunk.choices[0].delta):
        assert said.content == "Hi."
        assert said.reasoning_content == "Hm."
    assert [(entry["input"], entry["output"]) for entry in entries] == [(100, 2), (100, 2)]


async def test_what_is_no_piece_of_the_answer_does_not_reach_the_caller(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    delta = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}
    provider.script = Script(
        body=events(
            piece(choices=[], object="", prompt_filter_results=[]),
            "retry: 3000",
            "data:",
            piece(choices=[delta]),
            piece(choices=[], usage=USAGE),
            "data:  [DONE]",
            piece(choices=[], usage={"prompt_tokens": 0, "completion_tokens": 0}),
        )
    )
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        (chunk,) = await streamed(gateway)
        (entry,) = gateway.entries()
    assert chunk.choices[0].delta.content == "Hi."
    assert (entry["quality"], entry["amount_nanos"]) == ("reported", COST)


async def test_zeros_after_a_usage_do_not_take_it_back(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    delta = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    provider.script = Script(
        body=events(
            piece(choices=[delta], usage=USAGE), piece(choices=[], usage=zeros), "data: [DONE]"
        )
    )
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await streamed(gateway)
        (entry,) = gateway.entries()
    assert (entry["quality"], entry["amount_nanos"]) == ("reported", COST)


LAST = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}
PLACES: dict[str, dict[str, Any]] = {
    "in its own place": {"choices": [LAST], "usage": USAGE},
    "alone": {"choices": [], "usage": USAGE},
    "with choices of null": {"choices": None, "usage": USAGE},
    "under x_groq": {"choices": [LAST], "x_groq": {"usage": USAGE}},
    "under x_groq, beside a null": {"choices": [LAST], "usage": None, "x_groq": {"usage": USAGE}},
    "under x_groq, beside nothing": {"choices": [LAST], "usage": {}, "x_groq": {"usage": USAGE}},
    "in a choice": {"choices": [{**LAST, "usage": USAGE}]},
    "in a choice, beside a null": {"choices": [{**LAST, "usage": USAGE}], "usage": None},
}


@pytest.mark.parametrize("wanted", [False, True], ids=["not asked for", "asked for"])
@pytest.mark.parametrize("place", PLACES)
async def test_usage_is_found_wherever_it_stands(
    place: str, wanted: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    begun = piece(choices=[{**LAST, "finish_reason": None}])
    provider.script = Script(body=events(begun, piece(**PLACES[place]), "data: [DONE]"))
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        chunks = await streamed(gateway, **options)
        (entry,) = gateway.entries()
    assert (entry["quality"], entry["amount_nanos"]) == ("reported", COST)
    told = [chunk for chunk in chunks if chunk.usage is not None]
    assert told == (chunks[-1:] if wanted else [])
    assert all(chunk.choices == [] for chunk in told)


@pytest.mark.parametrize(
    ("model", "fees"),
    [("gpt-4o-search-preview-2025-03-11", 1), ("gpt-5-search-api", 1), ("gpt-test", 0)],
)
async def test_a_model_that_searches_before_every_answer_has_a_fee_for_each(
    model: str, fees: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=as_json({**ANSWER, "model": model}))
    priced = f"openai/{model}: {{price: {{per_call: 0.025, confirmed: true, input: 2.5"
    routes = routes_for(provider.url).replace("openai/gpt-test: {price: {input: 2.5", priced)
    routes = routes.replace("openai/gpt-test", f"openai/{model}")
    async with running(routes, sqlite_url) as gateway:
        await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
        (entry,) = gateway.entries()
    assert (entry["requests"], entry["amount_nanos"]) == (fees, COST + fees * 25_000_000)
    assert entry["ceiling_nanos"] >= entry["amount_nanos"]


async def test_words_about_usage_in_an_answer_are_no_usage(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    said = {**LAST, "delta": {"content": '{"usage": {"prompt_tokens": 9}}'}}
    provider.script = Script(body=events(piece(choices=[said]), "data: [DONE]"))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await streamed(gateway)
        (entry,) = gateway.entries()
    assert entry["quality"] == "counted"


async def test_an_input_repeated_as_zero_at_the_end_stays_what_it_was(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    start = {"id": "m", "model": "claude-test", "usage": {"input_tokens": 100, "output_tokens": 1}}
    provider.script = Script(
        body=events(
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "Hi."},
            },
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"input_tokens": 0, "output_tokens": 2},
            },
            {"type": "message_stop"},
        )
    )
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await streamed(gateway, "narrative")
        (entry,) = gateway.entries()
    assert (entry["quality"], entry["input"], entry["output"]) == ("reported", 100, 2)


async def test_a_cost_that_is_not_openrouters_is_not_a_charge(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=as_json({**ANSWER, "usage": {**USAGE, "cost": 0.5}}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
        (entry,) = gateway.entries()
    assert entry["amount_nanos"] == COST


@pytest.mark.parametrize("job", ["extraction", "narrative", "workspace", "volume"])
async def test_a_stream_that_lacks_only_its_end_marker_is_whole_and_reported(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    """The reason why it ended and the final usage have come; the connection ended in order."""
    provider.script = Script(
        chunks=("Two", " words"), input=100, output=2, cut_after_chunk=-1, cut_mode="end"
    )
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        chunks = await streamed(gateway, job)
        (entry,) = gateway.entries()
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (entry["input"], entry["output"]) == (100, 2)
    assert (entry["outcome"], entry["quality"]) == ("ok", "reported")


async def test_a_message_that_lacks_only_its_end_marker_is_whole_too(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(
        chunks=("Two", " words"), input=100, output=2, cut_after_chunk=-1, cut_mode="end"
    )
    body = {"model": "narrative", "messages": QUESTION, "max_tokens": 50, "stream": True}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        headers = {"x-api-key": gateway.key()}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as http:
            told = await http.post("/v1/messages", json=body)
        (entry,) = gateway.entries()
    assert "error" not in told.text
    assert (entry["outcome"], entry["quality"], entry["output"]) == ("ok", "reported", 2)
