"""GET /admin/v1/entries: what the books say of one request, to those who may read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.metering.usage import CLASSES
from tests.scripted import Script
from tests.stories.front_door import QUESTION, House, Told, a_house

pytestmark = pytest.mark.anyio

ENTRIES = "/admin/v1/entries"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


async def entries_of(house: House, told: Told, key: str) -> list[dict[str, Any]]:
    """What the door tells of an answer."""
    request_id = told.headers["x-jobgate-request-id"]
    found = await house.send("GET", f"{ENTRIES}?request_id={request_id}", key=key)
    assert found.status == 200, found.raw
    assert found.json["request_id"] == request_id
    return list(found.json["entries"])


@pytest.mark.parametrize("role", ["admin", "finance"])
async def test_each_class_each_price_and_the_amount_are_told(role: str, house: House) -> None:
    house.provider.script = Script(text="Hm.", input=1000, cache_read=400, output=30, reasoning=10)
    told = await house.post(
        {"model": "extraction", "messages": QUESTION, "stream": True, "max_tokens": 5000},
        **{"X-Jobgate-Tags": "stage=draft"},
    )

    (entry,) = await entries_of(house, told, house.gateway.key(app=f"{role}-page", role=role))

    usage = {"input": 1000, "cache_read": 400, "output": 30, "reasoning": 10}
    assert {name: entry[name] for name in CLASSES} == {**dict.fromkeys(CLASSES, 0), **usage}
    assert entry["usage"] == {name: entry[name] for name in CLASSES}
    assert entry["amount_nanos"] == 1000 * 2_500 + 400 * 1_250 + 40 * 10_000
    prices = entry["unit_prices"]
    assert (prices["input"], prices["cache_read"]) == (2_500_000_000, 1_250_000_000)
    assert prices["output"] == 10_000_000_000
    assert (entry["kind"], entry["quality"], entry["outcome"]) == ("charge", "reported", "ok")
    assert (entry["job"], entry["target"]) == ("extraction", "openai/gpt-test")
    assert (entry["attempt"], entry["stream"]) == (1, True)
    assert (entry["team"], entry["app"]) == ("brand", "site")
    assert entry["tags"] == {"stage": "draft"}
    assert entry["changed"] == "max_tokens=5000->4000 (job limit)"
    assert entry["admitted_at"] <= entry["recorded_at"]
    assert entry["admitted_at"].endswith("Z")
    assert entry["key_id"].startswith("key_")


async def test_every_attempt_is_there_in_order(house: House) -> None:
    house.provider.scripts(
        Script(status=503, retry_after=0),
        Script(status=500),
        Script(text="Well.", input=10, output=2),
    )
    told = await house.ask("with-fallback")

    found = await entries_of(house, told, house.gateway.admin_key)

    assert told.headers["x-jobgate-attempts"] == "3"
    assert [(e["attempt"], e["target"], e["outcome"], e["amount_nanos"]) for e in found] == [
        (1, "openai/gpt-test", "provider_busy", 0),
        (2, "openai/gpt-test", "provider_broken", 0),
        (3, "openai/gpt-spare", "ok", 10 * 1_000 + 2 * 4_000),
    ]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("none", 401, "invalid_api_key"),
        ("wrong", 401, "invalid_api_key"),
        ("app", 403, "forbidden"),
    ],
)
async def test_nobody_else_may_read_them(key: str, status: int, code: str, house: House) -> None:
    told = await house.ask()
    request_id = told.headers["x-jobgate-request-id"]
    shown = {"none": None, "wrong": "jg_wrong", "app": house.key}[key]

    refused = await house.send("GET", f"{ENTRIES}?request_id={request_id}", key=shown)

    assert (refused.status, refused.error["code"]) == (status, code)
    if status == 403:
        assert "platform or admin" in refused.error["message"]
    assert b"amount_nanos" not in refused.raw


@pytest.mark.parametrize("query", ["", "?request_id=", "?request_id=" + "x" * 129, "?other=1"])
async def test_a_question_without_a_request_id_is_refused_in_openais_shape(
    query: str, house: House
) -> None:
    told = await house.send("GET", ENTRIES + query, key=house.gateway.admin_key)

    assert (told.status, told.error["code"]) == (400, "invalid_request")
    assert told.error["param"] == "request_id"


@pytest.mark.parametrize("asked", ["req_unknown", "' OR 1=1 --", "%00", "%ff", "%25"])
async def test_a_request_that_never_was_is_not_found(asked: str, house: House) -> None:
    told = await house.send("GET", f"{ENTRIES}?request_id={asked}", key=house.gateway.admin_key)

    assert (told.status, told.error["code"]) == (404, "not_found")


async def test_a_refused_request_has_no_entries(house: House) -> None:
    refused = await house.ask(n=0)
    request_id = refused.headers["x-jobgate-request-id"]

    told = await house.send(
        "GET", f"{ENTRIES}?request_id={request_id}", key=house.gateway.admin_key
    )

    assert (refused.status, told.status) == (400, 404)
