"""Reading a chat request no deeper than needed, and missing nothing that decides about money."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.chat_body import read_chat
from gateway.wire.request_body import read_metadata

IMAGE = '{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}'
INLINE = '{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}'


def body(*parts: str) -> bytes:
    content = ",".join(parts)
    return f'{{"messages":[{{"role":"user","content":[{content}]}}]}}'.encode()


@pytest.mark.parametrize(
    ("parts", "images"),
    [
        ((), 0),
        (('{"type":"text","text":"see https://example.com/a.png"}',), 0),
        ((IMAGE, IMAGE), 2),
        ((INLINE,), 1),  # few bytes may be many tokens
        (('{"type":"image_url","image_url":"https://example.com"}',), 1),
        ((IMAGE.replace('"url"', '"url"  '),), 1),
        ((IMAGE.replace('"url"', r'"\u0075rl"'),), 1),
        ((IMAGE.replace("https", r"\u0068ttps"),), 1),
        ((IMAGE.replace('"url"', r'"\u0075\u0072\u006c"'), INLINE), 2),
    ],
)
def test_every_image_counts_however_it_is_written(parts: tuple[str, ...], images: int) -> None:
    assert read_chat(body(*parts)).images == images


@given(st.text(max_size=50), st.booleans())
def test_any_text_comes_through_as_it_is_unless_it_has_a_nul(text: str, as_ascii: bool) -> None:
    request = {"messages": [{"role": "user", "content": text}], "model": "m"}
    raw = json.dumps(request, ensure_ascii=as_ascii).encode()

    if "\0" in text:
        with pytest.raises(BadRequest):
            read_chat(raw)
    else:
        chat = read_chat(raw)
        assert json.loads(bytes(chat.fields["messages"])) == request["messages"]
        assert (chat.model, chat.size, chat.stream) == ("m", len(raw), False)


@pytest.mark.parametrize(
    ("metadata", "texts"),
    [
        ('{"a":"x","b":1,"c":null,"d":{"e":"f"}}', {"a": "x"}),
        ("null", {}),
        ("[]", {}),
        ('"a"', {}),
        ("1e999", {}),
    ],
)
def test_of_metadata_only_texts_are_ours(metadata: str, texts: dict[str, str]) -> None:
    raw = body('{"type":"text","text":"Hi"}')[:-1] + f',"metadata":{metadata}}}'.encode()

    assert read_metadata(read_chat(raw).fields) == texts
