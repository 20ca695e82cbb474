"""Two hundred reloads, a third of them of broken files, while 64 callers stream: nobody fails, and
nobody is served by a mixture of two versions.

Each version has its number in every place that a request can carry it: in the address of the
provider, the prompt, the temperature, the output limit, and the price that is booked.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.chaos.crowd import LONG, Crowd, a_crowd
from tests.endings.callers import Heard
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider, Seen
from tests.stories.changing import Followed, following
from tests.treasury.booking import rows

pytestmark = pytest.mark.anyio

CALLERS = 64
RELOADS = 1000 if LONG else 200
RELOAD = "/admin/v1/routes/reload"
ANSWER = Script(chunks=tuple("word " for _ in range(5)), output=5)


def version(url: str, number: int) -> str:
    """The rules with this number in them."""
    text = routes_for(url, system=f"Version {number}.")
    for old, new in (
        ("/openai/v1", f"/openai/{number}/v1"),
        ("price: {input: 2.5,", f"price: {{input: {number},"),
        ("temperature: {default: 0,", f"temperature: {{default: {number / 10_000},"),
        ("{default: 1000, max: 4000}", f"{{default: {1000 + number}, max: 4000}}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    return text


def broken(url: str, number: int) -> str:
    """Rules that must not go live, whichever way they are wrong."""
    text = version(url, number)
    return (
        text + "jobs: [\n",
        text.replace("openai/gpt-spare]", "opnai/gpt-spare]"),
        text.replace("Europe/Berlin", "Asia/Tokyo"),
    )[number // 3 % 3]


def numbers_in(seen: Seen) -> set[int]:
    """The versions that a request carried to the provider; one, if all is well."""
    path = re.search(r"/openai/(\d+)/v1", seen.path)
    prompt = re.fullmatch(r"Version (\d+)\.", seen.body["messages"][0]["content"])
    assert path is not None
    assert prompt is not None
    limit = seen.body.get("max_completion_tokens") or seen.body["max_tokens"]
    temperature = round(seen.body["temperature"] * 10_000)
    return {int(path[1]), int(prompt[1]), int(limit) - 1000, temperature}


async def keep_asking(crowd: Crowd, caller: int, done: asyncio.Event) -> list[Heard]:
    """Streams of one second to three, each caller's own, so that they begin at any time and each
    is cut through by several reloads."""
    pause = 0.2 + 0.4 * caller / CALLERS
    words = f'Write. script:{{"delay_between_chunks": {pause}}}'
    heard = []
    while not done.is_set():
        heard.append(await crowd.ask(words=words, stream=True, max_tokens=None, temperature=None))
    return heard


async def reload_again_and_again(house: Followed, url: str) -> list[int]:
    """How many reloads were answered 200, and how many 400."""
    statuses = [0, 0]
    for number in range(2, RELOADS + 2):
        wrong = number % 3 == 0
        house.write((broken if wrong else version)(url, number))
        status, told = await house.call("POST", RELOAD)
        assert status == (400 if wrong else 200), told
        statuses[wrong] += 1
    return statuses


async def test_no_request_fails_and_none_is_served_by_two_versions(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    done = asyncio.Event()
    first = version(provider.url, 1)
    async with following(tmp_path / "rules", first, sqlite_url, look_seconds=1.0) as house:
        async with a_crowd([house.running.url], house.running.key()) as crowd:
            asking = [
                asyncio.ensure_future(keep_asking(crowd, caller, done)) for caller in range(CALLERS)
            ]
            await provider.until(lambda p: p.open == CALLERS, timeout=20)
            good, bad = await reload_again_and_again(house, provider.url)
            done.set()
            heard = [one for each in await asyncio.gather(*asking) for one in each]
        await house.until(lambda: house.gateway._live.alive == 1)
        kept = rows(house.gateway.database, "SELECT COUNT(*) FROM config_versions")
        prices = {
            entry["request_id"]: json.loads(entry["prices"])["input"]
            for entry in house.running.entries()
        }
        assert house.running.metric("jobgate_configuration_rejected_total") >= bad

    assert (good, bad) == (RELOADS - bad, len(range(3, RELOADS + 2, 3)))
    assert kept == [(good + 1,)]
    assert [one for one in heard if one.status != 200 or b"[DONE]" not in one.body] == []
    assert len(heard) == len(provider.requests) == len(prices)
    mixed = [seen.order for seen in provider.requests if len(numbers_in(seen)) != 1]
    assert mixed == []
    served = sorted(number for seen in provider.requests for number in numbers_in(seen))
    assert sorted(price // 1_000_000_000 for price in prices.values()) == served
    assert len(set(served)) > RELOADS // 10
    assert not any(number % 3 == 0 for number in served)
