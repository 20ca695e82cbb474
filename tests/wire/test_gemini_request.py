"""What a chat request says, the generateContent request says too, in Gemini's words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from gateway.errors import BadRequest
from gateway.wire.gemini_request import to_gemini
from gateway.wire.openai_request import Translated
from tests.wire.chat_requests import ANYTHING, WEATHER, Json, asking, called, result, user

HELLO = {"text": "hello"}
PARAMETERS = WEATHER["function"]["parameters"]
DECLARED = {
    "name": "weather",
    "description": "The weather in a town",
    "parametersJsonSchema": PARAMETERS,
}


def translate(
    body: Json, model: str = "gemini-2.5-flash", max_tokens: int | None = None
) -> Translated:
    return to_gemini(body, max_tokens=max_tokens, model=model)


def config_of(model: str = "gemini-2.5-flash", **parameters: Any) -> Json:
    return translate(asking(**parameters), model).body.get("generationConfig", {})


def test_a_plain_question_is_one_turn() -> None:
    assert translate(asking(), max_tokens=50) == Translated(
        {
            "contents": [{"role": "user", "parts": [HELLO]}],
            "generationConfig": {"maxOutputTokens": 50},
        },
        (),
    )


def test_system_and_developer_messages_are_the_system_instruction() -> None:
    body = translate(
        asking(
            {"role": "system", "content": "long"},
            user("hello"),
            {"role": "developer", "content": [{"type": "text", "text": "short"}]},
        )
    ).body
    assert body["systemInstruction"] == {"parts": [{"text": "long"}, {"text": "short"}]}
    assert body["contents"] == [{"role": "user", "parts": [HELLO]}]


def test_a_system_prompt_alone_is_the_question() -> None:
    body = translate(asking({"role": "system", "content": "hello"})).body
    assert body == {"contents": [{"role": "user", "parts": [HELLO]}]}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.test/a.PNG?size=1"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a.PNG?size=1"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "gs://bucket/picture"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/picture"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        ),
    ],
)
def test_images_sounds_and_files_are_said(part: Json, said: Json) -> None:
    content = [{"type": "text", "text": "hello"}, part]
    assert translate(asking(user(content))).body["contents"][0]["parts"] == [HELLO, said]


def test_results_go_by_the_name_of_the_call_and_share_a_turn_of_their_own() -> None:
    body = translate(
        asking(
            user("hello"),
            called(("c1", '{"town": "Rome"}'), ("c2", ""), content="looking"),
            result("c1", "sunny"),
            result("c2", '{"degrees": 30}'),
            user("well?"),
            user("hello"),
        )
    ).body
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "looking"},
                {"functionCall": {"name": "weather", "args": {"town": "Rome"}}},
                {"functionCall": {"name": "weather", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"result": "sunny"}}},
                {"functionResponse": {"name": "weather", "response": {"degrees": 30}}},
            ],
        },
        {"role": "user", "parts": [{"text": "well?"}, HELLO]},
    ]


def test_the_signature_of_a_call_goes_back_with_it() -> None:
    message = called(("c1", "{}"), ("c2", "{}"))
    message["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "sig"}}
    body = translate(asking(user("hello"), message, result("c1", "x")), "gemini-3-flash").body
    assert body["contents"][1]["parts"] == [
        {
            "functionCall": {"name": "weather", "args": {}, "id": "c1"},
            "thoughtSignature": "sig",
        },
        {"functionCall": {"name": "weather", "args": {}, "id": "c2"}},
    ]
    assert body["contents"][2]["parts"][0]["functionResponse"]["id"] == "c1"


def test_a_call_that_another_model_made_passes_without_a_signature() -> None:
    messages = [user("hello"), called(("c1", "{}"), ("c2", "{}"))]
    new = translate(asking(*messages), "gemini-3-pro-preview").body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in new] == [
        "skip_thought_signature_validator",
        None,
    ]
    old = translate(asking(*messages), "gemini-2.5-pro").body["contents"][1]["parts"]
    assert all(set(part) == {"functionCall"} for part in old)


def test_tools_keep_their_json_schema() -> None:
    bare = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    body = translate(asking(tools=[WEATHER, bare])).body
    assert body["tools"] == [{"functionDeclarations": [DECLARED, {"name": "now"}]}]
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_the_choice_of_tools_is_said(choice: object, said: Json) -> None:
    body = translate(asking(tools=[WEATHER], tool_choice=choice)).body
    assert body["toolConfig"] == {"functionCallingConfig": said}
    assert "toolConfig" not in translate(asking(tool_choice=choice)).body


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "topP": 0.5}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"n": 2, "seed": 7}, {"candidateCount": 2, "seed": 7}),
        ({"n": 1}, {}),
        (
            {"presence_penalty": 0.1, "frequency_penalty": 0.2},
            {"presencePenalty": 0.1, "frequencyPenalty": 0.2},
        ),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": PARAMETERS}}},
            {"responseMimeType": "application/json", "responseJsonSchema": PARAMETERS},
        ),
        ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
        ({"logprobs": False}, {}),
        ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
    ],
)
def test_parameters_are_said_under_their_other_names(parameters: Json, said: Json) -> None:
    assert config_of(**parameters) == said


@pytest.mark.parametrize(
    ("model", "effort", "said"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("", "xhigh", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-flash", "none", {"thinkingLevel": "minimal", "includeThoughts": False}),
        ("gemini-3.1-pro", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.1-pro", "high", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-10-flash", "max", {"thinkingLevel": "high", "includeThoughts": True}),
    ],
)
def test_effort_is_said_as_the_generation_understands_it(
    model: str, effort: str, said: Json
) -> None:
    assert config_of(model, reasoning_effort=effort) == {"thinkingConfig": said}


def test_parameters_without_a_place_are_named() -> None:
    translated = translate(asking(user="u", logit_bias={}, parallel_tool_calls=False, store=None))
    assert translated.dropped == ("user", "logit_bias", "parallel_tool_calls")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"messages": []}, "messages"),
        (asking(user("")), "messages"),
        (asking({"role": "function", "content": "x"}), "messages[0].role"),
        (asking(user("x"), user([{"type": "video"}])), "messages[1].content[0]"),
        (
            asking(user([{"type": "image_url", "image_url": {"url": "file:///x"}}])),
            "messages[0].content[0]",
        ),
        (asking(user([{"type": "input_audio"}])), "messages[0].content[0].input_audio"),
        (asking(user([{"type": "file", "file": {"file_id": "f"}}])), "messages[0].content[0].file"),
        (asking(result("unknown", "x")), "messages[0].tool_call_id"),
        (asking({"role": "system", "content": [{"type": "image_url"}]}), "messages[0].content[0]"),
        (asking(modalities="text"), "modalities"),
        (asking(tools=[{"type": "file_search"}]), "tools[0]"),
    ],
)
def test_what_can_not_be_said_is_refused_with_its_place(body: Json, place: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        translate(body)
    assert refusal.value.param == place


@given(ANYTHING)
def test_any_body_is_translated_or_refused(body: Json) -> None:
    before = msgspec.json.encode(body)
    try:
        translated = translate(body, "gemini-3-flash")
    except BadRequest as refusal:
        assert refusal.param
    else:
        assert msgspec.json.encode(translated.body)
        assert all(turn["parts"] for turn in translated.body["contents"])
    assert msgspec.json.encode(body) == before
