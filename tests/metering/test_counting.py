"""Counting tokens ourselves: without a network, and never above a bound that was promised."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.counting import (
    DEFAULT_ENCODING,
    IMAGE_TOKENS_AT_MOST,
    OVERHEAD_PER_REQUEST,
    TokenCounter,
    cheap_bound,
    encoding_for,
    image_tokens,
)
from gateway.metering.prompts import TOKENS_PER_MESSAGE, brings_files, read_prompt, text_of_choices

COUNTER = TokenCounter()
MODELS = ("gpt-4o", "gpt-4-turbo", "openai/gpt-3.5-turbo", "claude-sonnet-5", "gemini-3-flash")
ROLES = st.sampled_from(["system", "user", "assistant", "tool"])


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("openai/gpt-4-0613", "cl100k_base"),
        ("gpt-5.4", DEFAULT_ENCODING),
        ("claude-sonnet-5", DEFAULT_ENCODING),
        ("", DEFAULT_ENCODING),
    ],
)
def test_a_model_has_the_encoding_of_its_family(model: str, encoding: str) -> None:
    assert encoding_for(model) == encoding


@pytest.mark.parametrize("model", MODELS)
def test_counting_needs_no_network(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*address: object) -> None:
        raise AssertionError(f"a connection was opened: {address}")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert TokenCounter().count("Two words", model) == 2


def test_special_tokens_of_a_model_are_plain_text_in_a_prompt() -> None:
    assert COUNTER.count("<|endoftext|>", "gpt-4o") > 1


@given(text=st.text(max_size=400), model=st.sampled_from(MODELS))
def test_a_text_never_has_more_tokens_than_bytes(text: str, model: str) -> None:
    assert COUNTER.count(text, model) <= len(text.encode("utf-8"))


@given(
    messages=st.lists(
        st.fixed_dictionaries({"role": ROLES, "content": st.text(max_size=80)}),
        min_size=1,
        max_size=5,
    )
)
def test_the_cheap_bound_is_above_every_count(messages: list[dict[str, str]]) -> None:
    body = msgspec.json.encode({"model": "gpt-4o", "messages": messages})
    prompt = read_prompt(msgspec.json.encode(messages), [])
    counted = COUNTER.count(prompt.text, "gpt-4o") + prompt.messages * TOKENS_PER_MESSAGE
    assert counted <= cheap_bound(len(body), 0, "gpt-4o")


def test_the_cheap_bound_has_room_for_pictures_and_a_template() -> None:
    with_two = 1000 + 2 * IMAGE_TOKENS_AT_MOST + OVERHEAD_PER_REQUEST
    assert cheap_bound(1000, 2, "gpt-4o") == with_two


def test_a_model_that_bills_more_for_a_picture_is_bounded_by_that() -> None:
    # OpenAI, images and vision: 2,833 and 5,667 a tile; 2048 x 768 pixels are 4 x 2 tiles
    assert image_tokens(1, "openai/gpt-4o-mini-2024-07-18") >= 2_833 + 8 * 5_667
    assert image_tokens(3, "gpt-4o") == 3 * IMAGE_TOKENS_AT_MOST


PROMPTS: dict[str, tuple[list[Any], str]] = {
    "plain text": ([{"role": "user", "content": "one"}], "one"),
    "parts of text": (
        [{"role": "user", "content": [{"type": "text", "text": "one"}]}],
        "one",
    ),
    "a call and its result": (
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "two"},
        ],
        "f\n{}\ntwo",
    ),
    "a legacy call": (
        [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}],
        "f\n{}",
    ),
    "a refusal": ([{"role": "assistant", "content": None, "refusal": "no"}], "no"),
    "thoughts in parts": (
        [
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}],
            }
        ],
        "hm",
    ),
    "a name": ([{"role": "user", "name": "ann", "content": "one"}], "one\nann"),
    "a picture is not text": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}],
        "",
    ),
}


@pytest.mark.parametrize(("messages", "text"), PROMPTS.values(), ids=PROMPTS)
def test_the_text_of_a_prompt_is_what_is_said_in_it(messages: list[Any], text: str) -> None:
    prompt = read_prompt(msgspec.json.encode(messages), [])
    assert prompt.text == text
    assert prompt.messages == len(messages)


def test_pictures_are_counted_one_by_one_and_tools_as_they_stand() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [{"role": "user", "content": [picture, picture]}]
    prompt = read_prompt(msgspec.json.encode(messages), [b'[{"type":"function"}]'])
    assert prompt.images == 2
    assert prompt.text == '[{"type":"function"}]'


BRINGING: dict[str, tuple[Any, bool]] = {
    "text": ("see file_id", False),
    "a picture": ([{"type": "image_url", "image_url": {"url": "https://x"}}], False),
    "a file by its id": ([{"type": "file", "file": {"file_id": "f"}}], True),
    "a file sent along": ([{"type": "file", "file": {"file_data": "data:a/pdf;base64,"}}], True),
    "a document": ([{"type": "document", "source": {"type": "base64", "data": ""}}], True),
    "a document of text": ([{"type": "document", "source": {"type": "text", "data": ""}}], False),
    "a picture by its id": ([{"type": "image", "source": {"type": "file", "file_id": "f"}}], True),
    "a film": ([{"type": "video_url", "video_url": {"url": "https://x"}}], True),
    "in a tool's result": ([{"type": "tool_result", "content": [{"type": "document"}]}], True),
    "a tool's argument": ([{"type": "tool_use", "input": {"file_id": "f"}}], False),
}


@pytest.mark.parametrize(("content", "brings"), BRINGING.values(), ids=BRINGING)
def test_what_brings_more_tokens_than_bytes_is_known(content: Any, brings: bool) -> None:
    assert brings_files(msgspec.json.encode([{"role": "user", "content": content}])) is brings


def test_an_item_that_is_only_named_brings_tokens() -> None:
    assert brings_files(b'[{"type":"item_reference","id":"msg_1"}]')
    assert brings_files(b'[{"id":"msg_1"}]')
    assert not brings_files(b'"file_id"')
    assert not brings_files(b"[")


CHOICES: dict[str, tuple[list[Any], str]] = {
    "a message": ([{"index": 0, "message": {"role": "assistant", "content": "one"}}], "one"),
    "a piece": ([{"index": 0, "delta": {"content": "one"}}], "one"),
    "two choices": ([{"message": {"content": "one"}}, {"message": {"content": "two"}}], "onetwo"),
    "a completion": ([{"index": 0, "text": "one"}], "one"),
    "thoughts": ([{"delta": {"reasoning_content": "hm"}}], "hm"),
    "thoughts under their other name": ([{"delta": {"reasoning": "hm"}}], "hm"),
    "thoughts under both names are counted once": (
        [{"delta": {"reasoning": "hm", "reasoning_content": "hm"}}],
        "hm",
    ),
    "a call": (
        [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}}],
        "f{",
    ),
    "a refusal": ([{"delta": {"refusal": "no"}}], "no"),
    "spoken words": ([{"message": {"content": None, "audio": {"transcript": "one"}}}], "one"),
    "an empty piece": ([{"index": 0, "delta": {}, "finish_reason": "stop"}], ""),
    "none": ([], ""),
}


@pytest.mark.parametrize(("choices", "text"), CHOICES.values(), ids=CHOICES)
def test_the_text_of_an_answer_is_all_that_was_generated(choices: list[Any], text: str) -> None:
    assert text_of_choices([msgspec.json.encode(choices)]) == text


def test_the_pieces_of_an_answer_are_one_text() -> None:
    pieces = [b'[{"delta":{"content":"on"}}]', b"", b"null", b'[{"delta":{"content":"e"}}]']
    assert text_of_choices(pieces) == "one"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=5)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(["delta", "message", "content", "text", "tool_calls", "reasoning"]),
            below,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(choices=JSON)
def test_no_answer_however_odd_cannot_be_counted(choices: Any) -> None:
    raw = msgspec.json.encode(choices)
    assert COUNTER.count(text_of_choices([raw]), "gpt-4o") <= len(raw)
