"""What a chat request says, the Messages request says too, in Anthropic's words."""

from __future__ import annotations

import base64
import itertools

import msgspec
import pytest
from hypothesis import given

from gateway.errors import BadRequest
from gateway.wire.anthropic_request import to_anthropic
from gateway.wire.openai_request import Translated
from tests.wire.chat_requests import ANYTHING, WEATHER, Json, asking, called, result, user

TEXT = {"type": "text", "text": "hello"}
EPHEMERAL = {"type": "ephemeral"}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
WEATHER_TOOL = {
    "name": "weather",
    "description": "The weather in a town",
    "input_schema": WEATHER["function"]["parameters"],
}


def translate(body: Json, model: str = "claude-sonnet-4-5", max_tokens: int = 9000) -> Translated:
    return to_anthropic(body, model=model, max_tokens=max_tokens)


def test_a_plain_question_is_one_turn() -> None:
    assert translate(asking(temperature=0.2, top_p=0.9, stream=True)) == Translated(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 9000,
            "messages": [{"role": "user", "content": [TEXT]}],
            "stream": True,
            "temperature": 0.2,
            "top_p": 0.9,
        },
        (),
    )


def test_system_and_developer_messages_are_the_system_prompt_with_their_marks() -> None:
    marked = {"type": "text", "text": "long", "cache_control": EPHEMERAL}
    body = translate(
        asking(
            {"role": "system", "content": [marked, {"type": "text", "text": "short"}]},
            user("hello"),
            {"role": "developer", "content": "brief"},
        )
    ).body
    assert body["system"] == [
        marked,
        {"type": "text", "text": "short"},
        {"type": "text", "text": "brief"},
    ]
    assert body["messages"] == [{"role": "user", "content": [TEXT]}]


def test_a_system_prompt_alone_is_the_question() -> None:
    body = translate(asking({"role": "system", "content": "hello"})).body
    assert body["messages"] == [{"role": "user", "content": [TEXT]}]
    assert "system" not in body


def test_a_mark_on_a_message_goes_to_its_last_part() -> None:
    body = translate(asking({**user([TEXT, TEXT]), "cache_control": EPHEMERAL})).body
    assert body["messages"][0]["content"] == [TEXT, {**TEXT, "cache_control": EPHEMERAL}]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            PIXEL,
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="},
            },
        ),
        (
            {"type": "image_url", "image_url": "https://x.test/a.png", "cache_control": EPHEMERAL},
            {
                "type": "image",
                "source": {"type": "url", "url": "https://x.test/a.png"},
                "cache_control": EPHEMERAL,
            },
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            },
        ),
        (
            {
                "type": "file",
                "file": {
                    "file_data": "data:text/plain;base64," + base64.b64encode(b"note").decode()
                },
            },
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "note"},
            },
        ),
    ],
)
def test_images_and_documents_are_said(part: Json, block: Json) -> None:
    assert translate(asking(user([TEXT, part]))).body["messages"][0]["content"] == [TEXT, block]


def test_parallel_calls_are_one_turn_and_their_results_the_next() -> None:
    body = translate(
        asking(
            user("hello"),
            called(("call_1", '{"town": "Rome"}'), ("a.b/2", ""), content="looking"),
            result("call_1", "sunny"),
            result("a.b/2", [{**TEXT, "cache_control": EPHEMERAL}]),
            user("well?"),
            tools=[WEATHER],
        )
    ).body
    assert body["tools"] == [WEATHER_TOOL]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "looking"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"town": "Rome"}},
        {"type": "tool_use", "id": "a_b_2", "name": "weather", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "content": [{"type": "text", "text": "sunny"}],
        },
        {
            "type": "tool_result",
            "tool_use_id": "a_b_2",
            "content": [TEXT],
            "cache_control": EPHEMERAL,
        },
        {"type": "text", "text": "well?"},
    ]


def test_empty_texts_and_empty_turns_are_left_out() -> None:
    messages = [
        user("hello"),
        {"role": "assistant", "content": ""},
        user([TEXT, {**TEXT, "text": ""}]),
    ]
    assert translate(asking(*messages)).body["messages"] == [
        {"role": "user", "content": [TEXT, TEXT]}
    ]


def test_an_answer_begun_by_the_caller_does_not_end_in_white_space() -> None:
    body = translate(asking(user("hello"), {"role": "assistant", "content": "It is \n"})).body
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "It is"}]
    body = translate(asking(user("hello"), {"role": "assistant", "content": " "})).body
    assert body["messages"] == [{"role": "user", "content": [TEXT]}]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"type": "tool", "name": "weather"},
        ),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_the_choice_of_tools_is_said(parameters: Json, said: Json | None) -> None:
    assert translate(asking(tools=[WEATHER], **parameters)).body.get("tool_choice") == said


def test_only_the_allowed_tools_are_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [WEATHER]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    body = translate(asking(tools=[WEATHER, other], tool_choice=choice)).body
    assert body["tools"] == [WEATHER_TOOL]
    assert body["tool_choice"] == {"type": "any"}


def test_a_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in translate(asking(tool_choice="none")).body


def test_a_strict_tool_is_held_to_its_schema_where_the_model_can() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}
    held = translate(asking(tools=[tool])).body["tools"][0]
    assert held["strict"] is True
    assert held["input_schema"]["additionalProperties"] is False
    assert translate(asking(tools=[tool]), "claude-sonnet-4-0").body["tools"] == [
        {"name": "f", "input_schema": SCHEMA}
    ]


def test_a_schema_for_the_answer_is_held_to_where_the_model_can() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    assert translate(asking(response_format=wanted)).body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}},
                "additionalProperties": False,
            },
        }
    }
    old = translate(asking(response_format=wanted), "claude-3-5-haiku-20241022").body
    assert "output_config" not in old
    assert msgspec.json.encode(SCHEMA).decode() in old["system"][0]["text"]


def test_any_json_is_asked_for_in_words() -> None:
    body = translate(asking(response_format={"type": "json_object"})).body
    assert "JSON" in body["system"][0]["text"]
    assert "output_config" not in body
    assert "system" not in translate(asking(response_format={"type": "text"})).body


def test_tools_of_the_past_are_declared_but_may_not_be_called() -> None:
    body = translate(asking(user("hello"), called(("c", "{}")), result("c", "sunny"))).body
    assert body["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


def test_parameters_without_a_place_are_named() -> None:
    translated = translate(
        asking(
            seed=7,
            logit_bias=None,
            presence_penalty=0.5,
            store=True,
            max_completion_tokens=5,
            stream_options={"include_usage": True},
            user="u-1",
            stop=["END", "\n"],
            n=1,
            top_k=3,
        )
    )
    assert translated.dropped == ("seed", "presence_penalty", "store", "stop")
    assert translated.body["metadata"] == {"user_id": "u-1"}
    assert translated.body["stop_sequences"] == ["END"]
    assert translated.body["top_k"] == 3


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        (asking({"content": "x"}), "messages[0].role"),
        (asking({"role": "function", "content": "x"}), "messages[0].role"),
        (asking(user("x"), user([TEXT, {"type": "input_audio"}])), "messages[1].content[1]"),
        (
            asking(user([{"type": "image_url", "image_url": {"url": "ftp://x"}}])),
            "messages[0].content[0]",
        ),
        (asking(user([{"type": "file", "file": {"file_id": "f"}}])), "messages[0].content[0].file"),
        (asking(user(7)), "messages[0].content"),
        (asking({"role": "system", "content": [PIXEL]}), "messages[0].content[0]"),
        (asking(called(("c", "{"))), "messages[0].tool_calls[0].function.arguments"),
        (asking(called(("c", "[1]"))), "messages[0].tool_calls[0].function.arguments"),
        (asking({"role": "tool", "content": "x"}), "messages[0].tool_call_id"),
        (asking(user("")), "messages"),
        (asking(tools=[{"type": "web_search"}]), "tools[0]"),
        (asking(tools=[{"function": {"name": 1}}]), "tools[0].function.name"),
        (asking(functions=[]), "functions"),
        (asking(tool_choice="maybe"), "tool_choice"),
        (asking(response_format={"type": "grammar"}), "response_format.type"),
        (asking(reasoning_effort="heroic"), "reasoning_effort"),
        (asking(n=2), "n"),
        (asking(n=0), "n"),
        (asking(stop=[1]), "stop"),
    ],
)
def test_what_can_not_be_said_is_refused_with_its_place(body: Json, place: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        translate(body)
    assert refusal.value.param == place


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: Json = {}
    for _ in range(5000):
        schema = {"items": schema}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    with pytest.raises(BadRequest, match="nested too deeply"):
        translate(asking(response_format=wanted))
    with pytest.raises(BadRequest, match="nested too deeply"):
        translate(asking(response_format=wanted), "claude-3-5-haiku-20241022")


@given(ANYTHING)
def test_any_body_is_translated_or_refused(body: Json) -> None:
    before = msgspec.json.encode(body)
    try:
        translated = translate(body)
    except BadRequest as refusal:
        assert refusal.param
    else:
        assert msgspec.json.encode(translated.body)
        turns = [turn["role"] for turn in translated.body["messages"]]
        assert all(a != b for a, b in itertools.pairwise(turns))
    assert msgspec.json.encode(body) == before
