"""Whatever comes as a body: an answer in OpenAI's shape that names the place, and nothing held."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.stories.front_door import CHAT, QUESTION, House, Told, a_house

pytestmark = pytest.mark.anyio

BODY_BYTES_AT_MOST = 1_000_000
JOBS_OF_EVERY_WIRE = ("extraction", "narrative", "workspace", "volume", "private")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("books")
    async with a_house(folder, body_bytes_at_most=BODY_BYTES_AT_MOST) as opened:
        yield opened


def body(content: str = '"Hi"', more: str = "") -> bytes:
    """A chat request whose content, and what follows the messages, are raw JSON."""
    head = '{"model":"extraction","messages":[{"role":"user","content":'
    return f"{head}{content}}}]{more}}}".encode()


async def refused(house: House, data: bytes, status: int = 400, **headers: str) -> Told:
    """The refusal of a body; the provider was not asked, and the books are as they were."""
    entries, asked = house.entries(), len(house.provider.requests)
    told = await house.post(data, **headers)
    assert told.status == status, told.raw
    assert told.error["type"] == "invalid_request_error"
    assert told.headers["x-should-retry"] == "false"
    assert len(house.provider.requests) == asked
    assert house.is_untouched(entries)
    return told


# ---- bodies that are not a chat request

BODIES = {
    "nothing at all": (b"", None, "not JSON"),
    "no JSON": (b"hello", None, "not JSON"),
    "half of it": (body()[:-5], None, "not JSON"),
    "two of them": (body() + body(), None, "not JSON"),
    "a form": (b"model=extraction&messages=hi", None, "not JSON"),
    "null": (b"null", None, "one JSON object"),
    "a list": (b"[]", None, "one JSON object"),
    "a text": (b'"hello"', None, "one JSON object"),
    "an empty object": (b"{}", "messages", "missing"),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), None, "not JSON"),
    "UTF-16": (body().decode().encode("utf-16"), None, "not JSON"),
    "NaN": (body(more=',"seed":NaN'), None, "not JSON"),
    "a raw NUL": (body('"a\x00b"'), None, "not JSON"),
    "a raw line break": (body('"a\nb"'), None, "not JSON"),
    "an escaped NUL": (body(r'"a\u0000b"'), "messages[0].content", "NUL"),
    "a NUL in a part": (
        body(r'[{"type":"text","text":"\u0000"}]'),
        "messages[0].content[0].text",
        "NUL",
    ),
    "a NUL in metadata": (body(more=r',"metadata":{"stage":"\u0000"}'), "metadata.stage", "NUL"),
    "a NUL in a name": (body(more=r',"metadata":{"st\u0000ge":"x"}'), "metadata", "NUL"),
    "an unknown escape": (body(r'"\q"'), None, "not JSON"),
    "half of an escape": (body(r'"\u12"'), None, "not JSON"),
    "a lone high surrogate": (body(r'"\ud800"'), None, "not JSON"),
    "a lone low surrogate": (body(r'"\udc00 abc"'), None, "not JSON"),
    "two high surrogates": (body(r'"\ud800\ud800 abc"'), None, "not JSON"),
    "a byte that is not UTF-8": (body().replace(b"Hi", b"\xff"), "messages", "not UTF-8"),
    "a surrogate in UTF-8": (body().replace(b"Hi", b"\xed\xa0\x80"), "messages", "not UTF-8"),
    "overlong UTF-8": (body().replace(b"Hi", b"\xc0\xaf"), "messages", "not UTF-8"),
    "a name that is not UTF-8": (b'{"\xff":1}', None, "UTF-8"),
    "100,000 levels of messages": (
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        None,
        "nested too deeply",
    ),
    "100,000 levels somewhere": (
        body(more=',"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000),
        None,
        "nested too deeply",
    ),
    "a line break in a name": (body(more=r',"a\r\nx-evil: 1":1'), r"a\r\nx-evil: 1", "printable"),
    "an endless name": (body(more=f',"{"x" * 200}":1'), "x" * 32, "longer than"),
    "too many fields": (
        body(more="".join(f',"f{i}":1' for i in range(300))),
        None,
        "more than 200 fields",
    ),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_is_no_chat_request_is_refused(case: str, house: House) -> None:
    data, param, says = BODIES[case]

    told = await refused(house, data)

    assert told.error["code"] == "invalid_request"
    assert told.error["param"] == param
    assert says in told.error["message"]
    assert len(told.raw) < 1000


# ---- fields of the wrong type: (field, value, the place that is named)

WRONG: list[tuple[str, Any, str]] = [
    ("messages", None, "messages"),
    ("messages", [], "messages"),
    ("messages", {}, "messages"),
    ("messages", "hello", "messages"),
    ("messages", 7, "messages"),
    ("messages", ["hello"], "messages[0]"),
    ("messages", [None], "messages[0]"),
    ("messages", [{}], "messages[0]"),
    ("messages", [*QUESTION, {"content": "no role"}], "messages[1]"),
    ("messages", [{"role": 7, "content": "x"}], "messages[0].role"),
    ("messages", [{"role": "", "content": "x"}], "messages[0].role"),
    ("messages", [{"role": "wizard", "content": "x"}], "messages[0].role"),
    ("messages", [{"role": "user", "content": 7}], "messages[0].content"),
    ("messages", [{"role": "user", "content": True}], "messages[0].content"),
    ("messages", [*QUESTION, {"role": "user", "content": {"text": "x"}}], "messages[1].content"),
    ("messages", QUESTION * 10_001, "messages"),
    ("model", 7, "model"),
    ("model", ["extraction"], "model"),
    ("stream", "true", "stream"),
    ("stream", 1, "stream"),
    ("stream_options", True, "stream_options"),
    ("stream_options", {"include_usage": "yes"}, "stream_options"),
    ("temperature", "0.5", "temperature"),
    ("temperature", True, "temperature"),
    ("temperature", [], "temperature"),
    ("n", 0, "n"),
    ("n", -1, "n"),
    ("n", 1.5, "n"),
    ("n", "2", "n"),
    ("n", 129, "n"),
    ("n", 10**400, "n"),
    ("reasoning_effort", 3, "reasoning_effort"),
    *(
        (name, value, name)
        for name in ("max_tokens", "max_completion_tokens")
        for value in (0, -1, -(10**400), 1.5, "100", True, [], {})
    ),
]


@pytest.mark.parametrize(("field", "value", "param"), WRONG, ids=lambda value: repr(value)[:30])
async def test_a_field_of_the_wrong_type_is_named(
    field: str, value: Any, param: str, house: House
) -> None:
    request = {"model": "extraction", "messages": QUESTION, field: value}

    told = await refused(house, json.dumps(request).encode())

    assert told.error["param"] == param
    assert param in told.error["message"]


# ---- numbers that no machine number can hold; whoever translates reads all of them

HUGE = ("1e999", "-1e999", "9" * 400, "9" * 5000, "1" + "0" * 308 + ".5")


@pytest.mark.parametrize("job", JOBS_OF_EVERY_WIRE)
@pytest.mark.parametrize("number", HUGE, ids=lambda number: number[:6] + f" {len(number)}")
async def test_a_huge_number_is_never_our_mistake(number: str, job: str, house: House) -> None:
    for field in ("max_tokens", "temperature", "seed", "n", "x"):
        data = body(more=f',"{field}":{number}').replace(b"extraction", job.encode())
        told = await house.post(data)
        assert told.status in (200, 400), (field, told.raw)
    assert house.gateway.open_holds() == 0


@pytest.mark.parametrize("value", [10**12, 10**400])
async def test_a_huge_limit_is_bounded_by_the_jobs_and_said_so(value: int, house: House) -> None:
    told = await house.ask(max_tokens=value)

    assert told.status == 200
    assert house.provider.requests[-1].body["max_tokens"] == 4000
    assert told.headers["x-jobgate-changed"].endswith("->4000 (job limit)")


async def test_no_limit_and_null_are_the_jobs_default(house: House) -> None:
    for fields in ({}, {"max_tokens": None}, {"max_completion_tokens": None}):
        told = await house.ask(**fields)
        assert told.status == 200
        assert house.provider.requests[-1].body["max_completion_tokens"] == 1000


# ---- nesting that is just about too much for one step or another


@pytest.mark.parametrize("job", JOBS_OF_EVERY_WIRE)
async def test_no_depth_of_nesting_is_our_mistake(job: str, house: House) -> None:
    for depth in (*range(100, 900, 100), *range(900, 1001, 2)):
        deep = "[" * depth + "]" * depth
        more = f',"thinking":{deep}' if depth % 4 else f',"tools":{deep}'
        content = f'[{{"type":"text","text":{deep}}}]' if depth % 8 else '"Hi"'
        told = await house.post(body(content, more).replace(b"extraction", job.encode()))
        assert told.status in (200, 400, 404, 422), (depth, told.raw)
    assert house.gateway.open_holds() == 0


# ---- duplicates: the last one counts, for us and for the provider alike


async def test_of_a_field_that_comes_twice_the_last_is_used_by_everybody(house: House) -> None:
    more = ',"max_tokens":5,"max_tokens":7,"model":"volume","model":"extraction"'

    told = await house.post(body(more=more))

    assert told.headers["x-jobgate-job"] == "extraction"
    received = house.provider.requests[-1]
    assert received.raw.count(b'"max_tokens"') == 1
    assert received.body["max_tokens"] == 7


# ---- size and encoding


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    chunked: bool, house: House
) -> None:
    data = body(json.dumps("x" * 50_000_000))

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]

    before = house.entries()
    told = await house.send(
        "POST", CHAT, key=house.key, data=in_pieces() if chunked else io.BytesIO(data)
    )

    assert (told.status, told.error["code"]) == (413, "request_too_large")
    assert "1,000,000 bytes" in told.error["message"]
    assert house.is_untouched(before)


async def test_a_prompt_beyond_the_context_window_is_refused(house: House) -> None:
    data = body(json.dumps("word " * 150_000))

    told = await refused(house, data, status=413)

    assert (told.error["code"], told.error["param"]) == ("request_too_large", "messages")
    assert "128,000" in told.error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "deflate, gzip"])
async def test_a_compressed_body_is_not_taken(encoding: str, house: House) -> None:
    told = await refused(house, gzip.compress(body()), **{"Content-Encoding": encoding})

    assert "compressed" in told.error["message"]


async def test_whatever_the_content_type_says_the_body_is_read_as_json(house: House) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"):
        told = await house.post(body(), **{"Content-Type": kind})
        assert told.status == 200


# ---- what a caller writes never becomes a header of ours


@pytest.mark.parametrize("job", ["narrative", "workspace"])
async def test_names_of_dropped_fields_cannot_forge_a_header(job: str, house: House) -> None:
    names = ["späti", "a; x-evil=1", "日本", "a:b"]

    told = await house.ask(job, **dict.fromkeys(names, 1))

    assert told.status == 200
    changed = told.headers["x-jobgate-changed"]
    assert changed.isascii()
    assert changed.isprintable()
    assert "a; x-evil=1 dropped" in changed
    assert not [name for name in told.headers if "evil" in name]


STRANGE = (
    "é",
    "日本",
    "a" * 5000,
    "../../etc",
    "'; DROP TABLE keys; --",
    "<b>",
    "{}",
    "%0d%0a",
)


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name[:12]))
async def test_strange_names_in_headers_are_just_unknown_jobs_and_tags(
    name: str, house: House
) -> None:
    by_job = await refused(house, body(), 404, **{"X-Jobgate-Job": name})
    by_tag = await refused(house, body(), 400, **{"X-Jobgate-Tags": f"{name}=x"})

    assert by_job.error["code"] == "unknown_job"
    assert by_tag.error["param"] == "X-Jobgate-Tags"
    assert len(by_job.raw) < 1000
    assert len(by_tag.raw) < 1000
