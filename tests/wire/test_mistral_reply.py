"""Mistral's contents in parts come out as the text that OpenAI's clients expect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.wire.mistral_reply import in_parts, without_parts

THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see. "}]}
MORE = {"type": "thinking", "thinking": [{"type": "text", "text": "Four."}], "closed": True}
TEXT = {"type": "text", "text": "It is 4."}
CALL = {"id": "c", "function": {"name": "f", "arguments": "{}"}}

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "thoughts and text": (
        {"role": "assistant", "content": [THOUGHT, MORE, TEXT]},
        {
            "role": "assistant",
            "content": "It is 4.",
            "reasoning_content": "Let me see. Four.",
        },
    ),
    "text alone": ({"content": [TEXT]}, {"content": "It is 4."}),
    "thoughts alone": (
        {"content": [THOUGHT]},
        {"content": "", "reasoning_content": "Let me see. "},
    ),
    "thoughts as plain text": (
        {"content": [{"type": "thinking", "thinking": "Hm."}]},
        {"content": "", "reasoning_content": "Hm."},
    ),
    "a source has no text": (
        {"content": [TEXT, {"type": "reference", "reference_ids": [1]}]},
        {"content": "It is 4."},
    ),
    "calls stay": (
        {"content": [THOUGHT], "tool_calls": [CALL]},
        {"content": "", "tool_calls": [CALL], "reasoning_content": "Let me see. "},
    ),
    "text stays": ({"content": "It is 4."}, {"content": "It is 4."}),
    "nothing stays nothing": ({"content": None}, {"content": None}),
    "odd parts are passed over": ({"content": [None, 4, "It ", TEXT]}, {"content": "It It is 4."}),
}


@pytest.mark.parametrize("place", ["message", "delta"])
@pytest.mark.parametrize(("said", "becomes"), ROWS.values(), ids=ROWS)
def test_content_is_text(said: dict[str, Any], becomes: dict[str, Any], place: str) -> None:
    choices = [{"index": 0, place: said, "finish_reason": None}]
    after = msgspec.json.decode(without_parts(msgspec.json.encode(choices)))
    assert after == [{"index": 0, place: becomes, "finish_reason": None}]


@pytest.mark.parametrize("choices", [b"null", b"{}", b"4", b"[null,4]", b'[{"message":4}]'])
def test_what_is_no_list_of_choices_is_left_alone(choices: bytes) -> None:
    assert without_parts(choices) == choices


@pytest.mark.parametrize(
    ("data", "may_have"),
    [
        (b'{"message":{"content":["x"]}}', True),
        (b'{"message":{"content": ["x"]}}', True),
        (b'{"message":{"content":"[x]"}}', False),
        (b'{"message":{"content":null}}', False),
    ],
)
def test_only_a_content_in_parts_is_looked_into(data: bytes, may_have: bool) -> None:
    assert in_parts(data) is may_have
