"""Any bytes, any JSON, and any chat request with something wrong in it: never our mistake.

Law under test: whatever the body, the answer is OpenAI-shaped, its status is not a 5xx of the
gateway's own, and no hold is left. The scripted provider answers everything that reaches it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio

from collections import Counter
COUNT=Counter(); MSG=Counter()
import atexit; atexit.register(lambda: open("/tmp/count.txt","w").write(repr(COUNT)+repr(MSG.most_common(60))))
JOBS = ("extraction", "narrative", "workspace", "volume", "private")
EXAMPLES = settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


async def check(house: House, body: bytes) -> None:
    """The law, for one body."""
    told = await house.post(body)
    COUNT[told.status] += 1
    if told.status!=200: MSG[told.error["message"][:40]] += 1
    if told.status == 200:
        kind = told.headers["content-type"]
        assert kind.startswith(("application/json", "text/event-stream"))
    else:
        assert told.error["code"] != "internal_error", told.raw
        assert told.status in (400, 402, 404, 413, 422), told.raw
    assert house.gateway.open_holds() == 0
    assert "\n" not in told.headers.get("x-jobgate-changed", "")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\r\n", "auto", "none", "function", "text", "data:,", "1"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=10), inner, max_size=4),
    ),
    max_leaves=12,
)

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
GOOD: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
            ],
        },
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}},
    },
    "stop": ["END"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "max_tokens": 10,
    "max_completion_tokens": 10,
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 1,
    "seed": 1,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": 2},
    "user": "u",
    "metadata": {"stage": "draft"},
    "reasoning_effort": "low",
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "modalities": ["text"],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a value."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    return [
        found for step, item in inside for found in ((*path, step), *places(item, (*path, step)))
    ]


PLACES = places(GOOD)


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A good request of some job in which one to three things are other things, or gone."""
    fields = draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=12)) | {"messages"}
    body = json.loads(json.dumps({name: GOOD[name] for name in fields}))
    inside = [place for place in PLACES if place[0] in fields]
    for place in draw(st.lists(st.sampled_from(inside), min_size=1, max_size=3)):
        *way, last = place
        holder = body
        try:
            for step in way:
                holder = holder[step]
            if draw(st.booleans()):
                holder[last] = draw(ANYTHING)
            else:
                del holder[last]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    body["model"] = draw(st.sampled_from(JOBS))
    return json.dumps(body).encode()


@EXAMPLES
@given(body=st.binary(max_size=200))
async def test_any_bytes_are_answered(body: bytes, house: House) -> None:
    await check(house, body)


@EXAMPLES
@given(value=ANYTHING)
async def test_any_json_is_answered(value: Any, house: House) -> None:
    await check(house, json.dumps(value).encode())


@EXAMPLES
@given(fields=st.dictionaries(st.text(max_size=10), ANYTHING), job=st.sampled_from(JOBS))
async def test_any_unknown_fields_are_answered(
    fields: dict[str, Any], job: str, house: House
) -> None:
    body = {**fields, "model": job, "messages": [{"role": "user", "content": "Hi"}]}
    await check(
        house, json.dumps(body, ensure_ascii=len(fields) % 2 == 0).encode("utf-8", "ignore")
    )


@settings(EXAMPLES, max_examples=8000)
@given(body=nearly_good())
async def test_a_request_with_anything_wrong_in_it_is_answered(body: bytes, house: House) -> None:
    await check(house, body)
