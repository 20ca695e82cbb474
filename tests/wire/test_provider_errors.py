"""The sentence inside an error body is found whatever its shape, and secrets stay behind."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.errors import LONGEST_MESSAGE, NO_REASON, provider_message

SHAPES = {
    "OpenAI": {"error": {"message": "no such model", "type": "invalid_request_error"}},
    "Anthropic": {"type": "error", "error": {"type": "not_found", "message": "no such model"}},
    "Gemini": {"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}},
    "Gemini, an array of one": [{"error": {"code": 404, "message": "no such model"}}],
    "Mistral": {"object": "error", "message": "no such model", "type": "invalid_model"},
    "Ollama": {"error": "no such model"},
    "FastAPI": {"detail": "no such model"},
    "a body in a body": {"error": {"message": '{"error": {"message": "no such model"}}'}},
    "OAuth": {"error_description": "no such model"},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_sentence_is_found_in_every_shape(shape: object) -> None:
    assert provider_message(msgspec.json.encode(shape)) == "no such model"


def test_a_validation_error_says_where() -> None:
    faults = [
        {"type": "missing", "loc": ["body", "messages", 0], "msg": "field required"},
        {"type": "extra", "loc": ["body", "seed"], "msg": "not permitted"},
    ]
    said = "body.messages.0: field required; body.seed: not permitted"
    assert provider_message(msgspec.json.encode({"detail": faults})) == said
    assert provider_message(msgspec.json.encode({"message": {"detail": faults}})) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"upstream connect error", "upstream connect error"),
        (b"<html><style>a{}</style><h1>502 Bad\n Gateway</h1></html>", "502 Bad Gateway"),
        (b'{"error": {"mess', '{"error": {"mess'),
        (b"\xff\xfe", "��"),
        (b"", NO_REASON),
        (b"{}", NO_REASON),
        (b"17", NO_REASON),
        (b'{"error": null}', NO_REASON),
        (b"[" * 100_000, "[" * (LONGEST_MESSAGE - 1) + "…"),
    ],
)
def test_a_body_of_no_known_shape_gives_its_own_text(body: bytes, said: str) -> None:
    assert provider_message(body) == said


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "sk-ant-api03-abcdef",
        "sk-abc***********xyz",
        "AIzaSyA1234567890abcdefghij",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln",
        "gsk_0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "0123456789abcdef0123456789abcdef",
    ],
)
@pytest.mark.parametrize(
    "sentence",
    [
        "Incorrect API key provided: {}. Look it up.",
        "GET https://example.com/v1?key={}&alt=sse failed",
        "header Authorization: Bearer {} was refused",
        'bad header "x-api-key": "{}"',
    ],
)
def test_what_looks_like_a_secret_is_left_out(sentence: str, secret: str) -> None:
    body = msgspec.json.encode({"error": {"message": sentence.format(secret)}})
    assert secret not in provider_message(body)
    assert "[secret]" in provider_message(body)


def test_a_sentence_about_tokens_keeps_its_figures() -> None:
    sentence = "max_tokens: 99999 > 8192; key 'seed' is unknown; 12 tokens: too many"
    assert provider_message(msgspec.json.encode({"message": sentence})) == sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "loc", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_it_never_raises_and_is_one_short_line(body: bytes) -> None:
    message = provider_message(body)
    assert message
    assert len(message) <= LONGEST_MESSAGE
    assert "\n" not in message
