"""A model of each generation is asked to think in the way it understands, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.anthropic_request import to_anthropic
from gateway.wire.openai_request import Translated
from tests.wire.chat_requests import WEATHER, Json, asking, called, result, user


def translate(body: Json, model: str = "claude-sonnet-4-5", max_tokens: int = 9000) -> Translated:
    return to_anthropic(body, model=model, max_tokens=max_tokens)


@pytest.mark.parametrize(
    ("model", "effort", "max_tokens", "thinking", "level", "dropped"),
    [
        ("claude-sonnet-4-5", "low", 9000, 1024, None, ()),
        ("claude-sonnet-4-5", "high", 9000, 4096, None, ()),
        ("claude-sonnet-4-5", "high", 4000, 2000, None, ()),
        ("claude-sonnet-4-5", "high", 2047, None, None, ("reasoning_effort",)),
        ("claude-3-7-sonnet-20250219", "minimal", 9000, 1024, None, ()),
        ("claude-sonnet-4-5", "none", 9000, None, None, ()),
        ("claude-opus-4-6", "none", 9000, None, None, ()),
        ("claude-opus-4-6", "minimal", 9000, "adaptive", "low", ()),
        ("claude-opus-4-6", "xhigh", 9000, "adaptive", "high", ()),
        ("claude-opus-4-7", "xhigh", 9000, "adaptive", "xhigh", ()),
        ("claude-sonnet-5", "medium", 100, "adaptive", "medium", ()),
        ("claude-sonnet-5", "none", 9000, "disabled", None, ()),
        ("claude-haiku-5-5", "none", 9000, "disabled", None, ()),
        ("claude-opus-5-5", "none", 9000, None, "low", ("reasoning_effort",)),
        ("claude-fable-5", "none", 9000, None, "low", ("reasoning_effort",)),
        ("a-name-of-our-own", "high", 9000, "adaptive", "high", ()),
    ],
)
def test_effort_is_said_as_the_generation_understands_it(
    model: str,
    effort: str,
    max_tokens: int,
    thinking: Any,
    level: str | None,
    dropped: tuple[str, ...],
) -> None:
    translated = translate(asking(reasoning_effort=effort), model, max_tokens)
    said = translated.body.get("thinking", {})
    assert said.get("budget_tokens") == thinking or said.get("type") == thinking
    assert translated.body.get("output_config", {}).get("effort") == level
    assert translated.dropped == dropped


def test_effort_and_schema_share_one_place() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    body = translate(asking(response_format=wanted, reasoning_effort="low"), "claude-opus-5").body
    assert set(body["output_config"]) == {"format", "effort"}


def test_there_is_no_thinking_where_the_provider_refuses_it() -> None:
    forced = asking(tools=[WEATHER], tool_choice="required", reasoning_effort="low")
    assert translate(forced).dropped == ("reasoning_effort",)
    assert "thinking" not in translate(forced).body
    unsigned = [user("hello"), called(("c", "{}")), result("c", "sunny")]
    assert "thinking" not in translate(asking(*unsigned, reasoning_effort="low")).body
    unsigned[1]["thinking_blocks"] = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    body = translate(asking(*unsigned, reasoning_effort="low")).body
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "s",
    }


def test_a_model_that_is_not_to_think_is_not_shown_its_thoughts() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    answer = {"role": "assistant", "content": "Rome", "thinking_blocks": [signed]}
    said = {"type": "text", "text": "Rome"}
    for model, effort, blocks in [
        ("claude-sonnet-4-5", None, [said]),
        ("claude-sonnet-4-5", "low", [signed, said]),
        ("claude-opus-4-6", None, [said]),
        ("claude-sonnet-5", None, [signed, said]),
        ("claude-sonnet-5", "none", [said]),
    ]:
        body = asking(user("hello"), answer, user("well?"), reasoning_effort=effort)
        assert translate(body, model).body["messages"][1]["content"] == blocks


def test_unsigned_and_foreign_thoughts_are_not_sent_back() -> None:
    answer = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Rome"}],
        "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking", "thinking": "hm"}, 3],
    }
    turns = translate(asking(user("hello"), answer, user("hello"))).body["messages"]
    assert turns[1]["content"] == [{"type": "text", "text": "Rome"}]
