"""Chat requests for the tests of this room: ordinary ones, and anything at all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}


def asking(*messages: Json, **parameters: Any) -> Json:
    """A request with these messages, or with one short question."""
    return {"model": "x", "messages": list(messages) or [user("hello")], **parameters}


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def called(*calls: tuple[str, str], content: str | None = None) -> Json:
    """An assistant's message that calls `weather` for each id and arguments."""
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}
            for id, arguments in calls
        ],
    }


def result(call: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": call, "content": content}


KEYS = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "file",
        "file_data",
        "input_audio",
        "data",
        "format",
        "tool_calls",
        "id",
        "function",
        "name",
        "arguments",
        "tool_call_id",
        "parameters",
        "properties",
        "strict",
        "schema",
        "json_schema",
        "cache_control",
        "thinking_blocks",
        "signature",
    ]
)
WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "system",
        "tool",
        "text",
        "image_url",
        "file",
        "function",
        "json_schema",
        "json_object",
        "required",
        "auto",
        "none",
        "high",
        "object",
        "data:image/png;base64,AA==",
        "https://x/y.png",
        "{}",
        '{"a":1}',
        "allowed_tools",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
MESSAGES = st.fixed_dictionaries(
    {"role": WORDS}, optional={"content": VALUES, "tool_calls": VALUES}
)
PARAMETERS = st.sampled_from(
    [
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "stop",
        "n",
        "user",
        "thinking",
        "modalities",
        "functions",
        "parallel_tool_calls",
        "temperature",
        "logprobs",
        "seed",
        "x",
    ]
)
ANYTHING = st.builds(
    lambda messages, parameters: {"messages": messages, **parameters},
    st.lists(MESSAGES, min_size=1, max_size=4) | VALUES,
    st.dictionaries(PARAMETERS, VALUES, max_size=4),
)
