"""LiteLLM, who translates the long tail, is the judge: ours say the same but for what we chose.

DIFFERENCES is the list of what we chose; everything else must be equal, for any request and any
answer that the strategies below can make.
"""

from __future__ import annotations

import copy
import os
import re
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read when litellm is imported

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.llms.anthropic.chat.transformation import AnthropicConfig
from litellm.llms.gemini.chat.transformation import GoogleAIStudioGeminiConfig
from litellm.llms.vertex_ai.gemini.transformation import transform_request_body
from litellm.types.utils import ModelResponse

from gateway.wire.anthropic_reply import from_anthropic
from gateway.wire.anthropic_request import to_anthropic
from gateway.wire.gemini_reply import from_gemini
from gateway.wire.gemini_request import to_gemini
from tests.wire.chat_requests import WEATHER, Json, asking, called, result, user

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic")  # about their types

DIFFERENCES = {
    "anthropic tools": "we leave out `type: custom`, which is what a tool is anyway",
    "anthropic results": "ours are lists of blocks, as they must be with images; theirs text",
    "anthropic schema": "we send output_config.format; output_format is its deprecated name",
    "anthropic any json": "we ask for it in words; they send nothing (and an internal mark)",
    "anthropic answer": "prose around JSON stays as it was said; empty content is '' not null",
    "gemini names": "we write camelCase as the REST reference does; they mix in snake_case",
    "gemini tools": "we send JSON Schema as it is; they rewrite it as an OpenAPI subset",
    "gemini results": "a plain result is `result` with us and `content` with them",
    "gemini efforts": "ours are Google's own budgets for medium and high; theirs are smaller",
    "gemini images": "we send an image alone; they add a blank text, which no model needs now",
    "gemini filters": "a filtered answer keeps its text and usage with us; they empty it",
    "gemini twins": "two calls with the same arguments stay two; they lose one of them",
    "gemini plain text": "text/plain is what is sent anyway; they say it when asked for text",
    "gemini cut calls": "an answer cut by the limit is `length`, calls or not; theirs tool_calls",
    "gemini call ids": "ours are made from the answer's id; theirs are random",
    "not compared": "ids, times, their own extra fields, thought signatures, text token details",
}

CLAUDE, GEMINI, LIMIT = "claude-sonnet-4-5", "gemini-2.5-flash", 20_000
WORDS = st.text("abc é{}", min_size=1, max_size=8).map(lambda text: f"x{text}y")
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}}
TEXTS = WORDS.map(lambda text: {"type": "text", "text": text})
CONTENT = WORDS | st.tuples(TEXTS, st.just(PIXEL) | TEXTS).map(list)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
RESPONSE_FORMATS = st.just({"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}})
CHOICES = st.sampled_from(
    ["auto", "none", "required", {"type": "function", "function": {"name": "weather"}}]
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    messages = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    messages.append(user(draw(CONTENT)))
    for turn in range(draw(st.integers(0, 2))):
        calls = [f"call_{turn}_{number}" for number in range(draw(st.integers(0, 2)))]
        if calls:
            towns = [msgspec.json.encode({"town": call + draw(WORDS)}).decode() for call in calls]
            messages.append(called(*zip(calls, towns, strict=True), content=draw(WORDS)))
            messages += [result(call, draw(WORDS)) for call in calls]
        else:
            messages.append({"role": "assistant", "content": draw(WORDS)})
        messages.append(user(draw(CONTENT)))
    return messages


@st.composite
def requests(draw: st.DrawFn) -> Json:
    parameters: Json = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.sampled_from([0, 0.5, 1]),
                "top_p": st.just(0.9),
                "stop": st.lists(WORDS, min_size=1, max_size=3),
                "response_format": RESPONSE_FORMATS,
            },
        )
    )
    messages = draw(conversations())
    # Without tools they declare a dummy for old calls, and with a schema no choice goes along.
    if any("tool_calls" in message for message in messages) or draw(st.booleans()):
        parameters["tools"] = [WEATHER]
        parameters.pop("response_format", None)
        if draw(st.booleans()):
            parameters["tool_choice"] = draw(CHOICES)
    return asking(*messages, **parameters)


def theirs_for_anthropic(body: Json) -> Json:
    body = copy.deepcopy(body)
    messages = body.pop("messages")
    del body["model"]
    config = AnthropicConfig()
    optional = config.map_openai_params({**body, "max_tokens": LIMIT}, {}, CLAUDE, True)
    made: Json = config.transform_request(CLAUDE, messages, optional, {}, {})
    made.pop("json_mode", None)
    if "output_format" in made:
        made["output_config"] = {"format": made.pop("output_format")}
    for tool in made.get("tools", []):
        assert tool.pop("type") == "custom"
    for turn in made["messages"]:
        for block in turn["content"]:
            if block["type"] == "tool_result":
                block["content"] = [{"type": "text", "text": block["content"]}]
    return made


def theirs_for_gemini(body: Json) -> Json:
    body = copy.deepcopy(body)
    messages = body.pop("messages")
    del body["model"]
    config = GoogleAIStudioGeminiConfig()
    optional = config.map_openai_params({**body, "max_tokens": LIMIT}, {}, GEMINI, True)
    made: Json = camel_case(
        transform_request_body(messages, GEMINI, optional, "gemini", {}, None)  # type: ignore[arg-type]
    )
    for tool in made.get("tools", []):
        for function in tool["functionDeclarations"]:
            function["parametersJsonSchema"] = function.pop("parameters")
    for turn in made["contents"]:
        for part in turn["parts"]:
            if "functionResponse" in part:
                answer = part["functionResponse"]["response"]
                part["functionResponse"]["response"] = {"result": answer["content"]}
    return made


def camel_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            re.sub(r"_([a-z])", lambda found: found[1].upper(), key): camel_case(each)
            for key, each in value.items()
        }
    return [camel_case(each) for each in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=60)
@given(requests())
def test_requests_to_anthropic_are_the_same(body: Json) -> None:
    ours = to_anthropic(body, model=CLAUDE, max_tokens=LIMIT)
    assert ours.body == theirs_for_anthropic(body)
    assert ours.dropped == ()


@settings(deadline=None, max_examples=60)
@given(requests())
def test_requests_to_gemini_are_the_same(body: Json) -> None:
    ours = to_gemini(body, model=GEMINI, max_tokens=LIMIT)
    assert ours.body == theirs_for_gemini(body)
    assert ours.dropped == ()


def test_the_same_efforts_are_the_same_thinking() -> None:
    for effort in ("minimal", "low", "medium", "high", "none"):
        body = asking(reasoning_effort=effort)
        ours = to_anthropic(body, model=CLAUDE, max_tokens=LIMIT).body
        assert ours == theirs_for_anthropic(body)
    for effort in ("low", "none"):
        body = asking(reasoning_effort=effort)
        assert to_gemini(body, model=GEMINI, max_tokens=LIMIT).body == theirs_for_gemini(body)


COUNTS = st.integers(0, 5000)
ANTHROPIC_USAGES = st.fixed_dictionaries(
    {"input_tokens": COUNTS, "output_tokens": COUNTS},
    optional={"cache_read_input_tokens": COUNTS, "cache_creation_input_tokens": COUNTS},
)
ANTHROPIC_BLOCKS = st.lists(
    WORDS.map(lambda text: {"type": "text", "text": text})
    | WORDS.map(lambda text: {"type": "thinking", "thinking": text, "signature": "s"})
    | WORDS.map(
        lambda town: {"type": "tool_use", "id": "t", "name": "weather", "input": {"town": town}}
    ),
    min_size=1,
    max_size=4,
)
GEMINI_PARTS = st.lists(
    WORDS.map(lambda text: {"text": text})
    | WORDS.map(lambda text: {"text": text, "thought": True})
    | WORDS.map(lambda town: {"functionCall": {"name": "weather", "args": {"town": town}}}),
    min_size=1,
    max_size=4,
)


@st.composite
def gemini_usages(draw: st.DrawFn) -> Json:
    cached = draw(COUNTS)
    prompt, candidates, thoughts = cached + draw(COUNTS), draw(COUNTS), draw(st.integers(1, 5000))
    return {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + candidates + thoughts,
    }


def gist(completion: Json) -> Json:
    """What a caller reads, without ids and with arguments decoded."""
    choice = completion["choices"][0]
    message, usage = choice["message"], completion["usage"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return {
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
        "calls": [(call["name"], msgspec.json.decode(call["arguments"])) for call in calls],
        "finish": choice["finish_reason"],
        "model": completion["model"],
        "tokens": [usage[f"{kind}_tokens"] for kind in ("prompt", "completion", "total")],
        "cached": usage["prompt_tokens_details"]["cached_tokens"] or 0,
    }


@settings(deadline=None, max_examples=60)
@given(
    ANTHROPIC_BLOCKS,
    st.sampled_from(["end_turn", "max_tokens", "tool_use", "stop_sequence", "refusal"]),
    ANTHROPIC_USAGES,
)
def test_answers_of_anthropic_are_the_same(blocks: list[Json], stop: str, usage: Json) -> None:
    reply = {"id": "m", "model": CLAUDE, "content": blocks, "stop_reason": stop, "usage": usage}
    theirs = AnthropicConfig().transform_parsed_response(
        completion_response=copy.deepcopy(reply),
        raw_response=httpx.Response(200),
        model_response=ModelResponse(),
    )
    assert gist(from_anthropic(reply, created=1)) == gist(theirs.model_dump())


@settings(deadline=None, max_examples=60)
@given(
    GEMINI_PARTS, st.sampled_from(["STOP", "MAX_TOKENS", "UNEXPECTED_TOOL_CALL"]), gemini_usages()
)
def test_answers_of_gemini_are_the_same(parts: list[Json], finish: str, usage: Json) -> None:
    if any("functionCall" in part for part in parts):
        finish = "STOP"
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}
    reply = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": GEMINI}
    log = Logging(GEMINI, [], False, "completion", None, "1", "1")
    log.optional_params = {}
    theirs = (
        GoogleAIStudioGeminiConfig().transform_google_generate_content_to_openai_model_response(
            copy.deepcopy(reply), ModelResponse(), GEMINI, log, httpx.Response(200)
        )
    )
    assert gist(from_gemini(reply, created=1, answer_id="c")) == gist(theirs.model_dump())
