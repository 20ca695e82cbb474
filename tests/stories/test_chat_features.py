"""What OpenAI's client can ask, as each provider receives it: said in its own words, or dropped
and told. What is expected here is from the providers' references, not from the translators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.scripted import Script
from tests.stories.front_door import QUESTION, House, a_house

pytestmark = pytest.mark.anyio

JOBS = ("extraction", "narrative", "workspace", "volume", "private")
OPENAI, ANTHROPIC, GEMINI, MISTRAL, OLLAMA = JOBS
PASSED_THROUGH = (OPENAI, MISTRAL, OLLAMA)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather somewhere.", "parameters": CITY}
TOOLS = [{"type": "function", "function": WEATHER}]
NAMED = {"type": "function", "function": {"name": "weather"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
PIXEL = "iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
SEEN = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


async def ask(house: House, job: str, **fields: Any) -> tuple[Any, dict[str, Any], str]:
    """The answer, what the provider received, and the changes that were told."""
    house.provider.script = fields.pop("script", Script(text="Well.", input=10, output=2))
    raw = await house.gateway.client(house.key).chat.completions.with_raw_response.create(
        **{"model": job, "messages": QUESTION, **fields}
    )
    received = house.provider.requests[-1].body
    return raw.parse(), received, raw.headers.get("x-jobgate-changed", "")


def has(received: dict[str, Any], path: str) -> Any:
    """The value at a path such as "generationConfig.seed"; None when it is not there."""
    value: Any = received
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


# ---- one field, five providers: where it arrives, or None where it must not

FIELDS: dict[str, tuple[dict[str, Any], dict[str, tuple[str, Any] | None]]] = {
    "stop": (
        {"stop": ["END", "###"]},
        {
            OPENAI: ("stop", ["END", "###"]),
            ANTHROPIC: ("stop_sequences", ["END", "###"]),
            GEMINI: ("generationConfig.stopSequences", ["END", "###"]),
            MISTRAL: ("stop", ["END", "###"]),
            OLLAMA: ("stop", ["END", "###"]),
        },
    ),
    "seed": (
        {"seed": 7},
        {
            OPENAI: ("seed", 7),
            ANTHROPIC: None,
            GEMINI: ("generationConfig.seed", 7),
            MISTRAL: ("random_seed", 7),
            OLLAMA: ("seed", 7),
        },
    ),
    "logprobs": (
        {"logprobs": True, "top_logprobs": 2},
        {
            OPENAI: ("top_logprobs", 2),
            ANTHROPIC: None,
            GEMINI: ("generationConfig.logprobs", 2),
            MISTRAL: None,
            OLLAMA: ("top_logprobs", 2),
        },
    ),
    "max_tokens": (
        {"max_tokens": 50},
        {
            OPENAI: ("max_tokens", 50),
            ANTHROPIC: ("max_tokens", 50),
            GEMINI: ("generationConfig.maxOutputTokens", 50),
            MISTRAL: ("max_tokens", 50),
            OLLAMA: ("max_tokens", 50),
        },
    ),
    "max_completion_tokens": (
        {"max_completion_tokens": 60},
        {
            OPENAI: ("max_completion_tokens", 60),
            ANTHROPIC: ("max_tokens", 60),
            GEMINI: ("generationConfig.maxOutputTokens", 60),
            MISTRAL: ("max_tokens", 60),
            OLLAMA: ("max_tokens", 60),
        },
    ),
    "user": (
        {"user": "u-1"},
        {
            OPENAI: ("user", "u-1"),
            ANTHROPIC: ("metadata.user_id", "u-1"),
            GEMINI: None,
            MISTRAL: None,
            OLLAMA: ("user", "u-1"),
        },
    ),
    "some_new_field": (
        {"extra_body": {"some_new_field": {"on": [1]}}},
        {
            OPENAI: ("some_new_field", {"on": [1]}),
            ANTHROPIC: None,
            GEMINI: None,
            MISTRAL: ("some_new_field", {"on": [1]}),
            OLLAMA: ("some_new_field", {"on": [1]}),
        },
    ),
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("name", FIELDS)
async def test_a_field_arrives_in_the_providers_words_or_is_told_as_dropped(
    name: str, job: str, house: House
) -> None:
    fields, places = FIELDS[name]
    place = places[job]

    _, received, changed = await ask(house, job, **fields)

    if place is not None:
        path, value = place
        assert has(received, path) == value
        assert f"{name} dropped" not in changed
    else:
        assert not set(fields.get("extra_body", fields)) & set(received)
        assert f"{name} dropped" in changed


@pytest.mark.parametrize(("job", "most"), [(OPENAI, 2), (ANTHROPIC, 1), (GEMINI, 2), (MISTRAL, 2)])
async def test_so_many_answers_come_as_were_asked_or_as_the_provider_gives(
    job: str, most: int, house: House
) -> None:
    answer, _, changed = await ask(house, job, n=2)

    assert [choice.index for choice in answer.choices] == list(range(most))
    assert ("n=2->1" in changed) == (most == 1)


# ---- tools

TOOLS_AS_RECEIVED: dict[str, dict[str, Any]] = {
    **{key: {"tools": TOOLS, "tool_choice": NAMED} for key in PASSED_THROUGH},
    ANTHROPIC: {
        "tools": [
            {"name": "weather", "description": "The weather somewhere.", "input_schema": CITY}
        ],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    },
    GEMINI: {
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "The weather somewhere.",
                        "parametersJsonSchema": CITY,
                    }
                ]
            }
        ],
        "toolConfig": {
            "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}
        },
    },
}


@pytest.mark.parametrize("job", JOBS)
async def test_tools_arrive_and_parallel_calls_come_back(job: str, house: House) -> None:
    calls = (("weather", '{"city":"Bonn"}'), ("weather", '{"city":"Rome"}'))
    script = Script(tool_calls=calls, text="", input=30, output=20)

    answer, received, changed = await ask(
        house,
        job,
        tools=TOOLS,
        tool_choice=NAMED,
        parallel_tool_calls=False,
        script=script,
    )

    assert {name: received.get(name) for name in TOOLS_AS_RECEIVED[job]} == TOOLS_AS_RECEIVED[job]
    assert ("parallel_tool_calls dropped" in changed) == (job == GEMINI)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    made = choice.message.tool_calls
    assert [(call.type, call.function.name) for call in made] == [("function", "weather")] * 2
    assert [call.function.arguments.replace(" ", "") for call in made] == [a for _, a in calls]
    assert len({call.id for call in made}) == 2


@pytest.mark.parametrize("job", JOBS)
async def test_parallel_calls_come_back_in_a_stream_each_with_its_own_index(
    job: str, house: House
) -> None:
    calls = (("weather", '{"city":"Bonn"}'), ("weather", '{"city":"Rome"}'))
    house.provider.script = Script(tool_calls=calls, text="", input=30, output=20)

    stream = await house.gateway.client(house.key).chat.completions.create(
        model=job, messages=QUESTION, tools=TOOLS, stream=True
    )
    arguments: dict[int, str] = {}
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            said = (call.function.arguments or "") if call.function else ""
            arguments[call.index] = arguments.get(call.index, "") + said

    assert {i: text.replace(" ", "") for i, text in arguments.items()} == {
        0: calls[0][1],
        1: calls[1][1],
    }


@pytest.mark.parametrize("job", JOBS)
async def test_the_results_of_tools_go_back_to_the_provider(job: str, house: House) -> None:
    function = {"name": "weather", "arguments": '{"city":"Bonn"}'}
    messages = [
        *QUESTION,
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]

    _, received, _ = await ask(house, job, messages=messages, tools=TOOLS)

    if job == ANTHROPIC:
        called, result = (
            received["messages"][1]["content"][0],
            received["messages"][2]["content"][0],
        )
        assert called == {
            "type": "tool_use",
            "id": "c1",
            "name": "weather",
            "input": {"city": "Bonn"},
        }
        assert (result["type"], result["tool_use_id"]) == ("tool_result", "c1")
    elif job == GEMINI:
        called, result = (turn["parts"][0] for turn in received["contents"][1:])
        assert called["functionCall"]["args"] == {"city": "Bonn"}
        assert result["functionResponse"]["response"] == {"result": "rain"}
    else:
        assert received["messages"] == messages


# ---- formats and images


@pytest.mark.parametrize("job", JOBS)
async def test_a_json_schema_reaches_the_provider(job: str, house: House) -> None:
    _, received, _ = await ask(house, job, response_format=FORMAT)

    if job == ANTHROPIC:
        wanted = received["output_config"]["format"]
        assert wanted["type"] == "json_schema"
        assert wanted["schema"] == {**CITY, "additionalProperties": False}
    elif job == GEMINI:
        assert received["generationConfig"]["responseMimeType"] == "application/json"
        assert received["generationConfig"]["responseJsonSchema"] == CITY
    else:
        assert received["response_format"] == FORMAT


@pytest.mark.parametrize("job", JOBS)
async def test_an_image_reaches_the_provider(job: str, house: House) -> None:
    _, received, _ = await ask(house, job, messages=SEEN)

    if job == ANTHROPIC:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        assert received["messages"][0]["content"][1] == {"type": "image", "source": source}
    elif job == GEMINI:
        inline = {"mimeType": "image/png", "data": PIXEL}
        assert received["contents"][0]["parts"][1] == {"inlineData": inline}
    else:
        assert received["messages"] == SEEN


# ---- what only one provider can not be told is the caller's mistake, never ours

UNSAYABLE: dict[str, dict[str, Any]] = {
    "tools[0]": {"tools": [{"type": "web_search"}]},
    "messages[0].content[0]": {
        "messages": [{"role": "user", "content": [{"type": "hologram", "hologram": 1}]}]
    },
    "functions": {"functions": [WEATHER]},
    "stop": {"stop": [1]},
    "tool_choice": {"tools": TOOLS, "tool_choice": "perhaps"},
    "response_format.type": {"response_format": {"type": "poem"}},
    "response_format.json_schema": {"response_format": {"type": "json_schema"}},
}


@pytest.mark.parametrize("job", [ANTHROPIC, GEMINI])
@pytest.mark.parametrize("param", UNSAYABLE)
async def test_what_a_format_cannot_say_is_refused_with_its_place(
    param: str, job: str, house: House
) -> None:
    before = house.entries()

    told = await house.ask(job, **UNSAYABLE[param])

    assert (told.status, told.error["param"]) == (400, param)
    assert house.is_untouched(before)
