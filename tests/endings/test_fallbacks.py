"""A job with a spare model: the first fails in each way, the second answers.

Every attempt is an entry of its own, at the price of its own model, and the header says how many
there were. The same target is asked again only when the failure cost nothing; after the first
byte has reached the caller nothing is tried again at all.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import pytest

from tests.endings.bills import check_entry, money, said
from tests.endings.callers import FORMS, QUESTION, Caller, Heard, calling
from tests.gateways import SECRETS, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

FIRST, SPARE = "openai/gpt-test", "openai/gpt-spare"
GOOD = Script(chunks=("spare", " words"))
BUSY, BROKEN = ("provider_busy", "reported"), ("provider_broken", "reported")
BROKEN_OFF, SILENT = ("provider_broken", "presumed"), ("provider_timed_out", "presumed")
WELL = ("ok", "reported")


@dataclass(frozen=True)
class Way:
    """How the first target fails, how often it is asked, and what each entry of it says."""

    script: Script
    tries: int
    entry: tuple[str, str]
    forms: tuple[bool, ...] = FORMS


WAYS = {
    "busy": Way(Script(status=429), 2, BUSY),
    "busy for a moment": Way(Script(status=429, retry_after=0.01), 2, BUSY),
    "busy for a minute": Way(Script(status=429, retry_after=60), 1, BUSY),
    "overloaded": Way(Script(status=529), 2, BUSY),
    "broken": Way(Script(status=500), 2, BROKEN),
    "wrong key": Way(Script(status=401), 1, BROKEN),
    "unknown model": Way(Script(status=404), 1, BROKEN),
    "hangs up": Way(Script(hang_up=True), 1, BROKEN_OFF),
    "says nothing": Way(Script(text="late", first_byte_delay=9), 1, SILENT),
    "says nonsense": Way(Script(body="<html>"), 1, BROKEN_OFF, forms=(False,)),
    "cut within the body": Way(Script(text="cut", cut_bytes=20), 1, BROKEN_OFF, forms=(False,)),
    "cut before the body": Way(Script(text="cut", cut_bytes=0), 1, BROKEN_OFF),
}


def check_attempts(
    gateway: RunningGateway, provider: ScriptedProvider, heard: Heard
) -> list[dict[str, Any]]:
    """The entries of a request, each against the bill of its model; they and the header agree."""
    entries = gateway.entries(heard.request_id)
    assert heard.attempts == len(entries)
    assert [entry["attempt"] for entry in entries] == list(range(1, len(entries) + 1))
    assert sum(entry["request_count"] for entry in entries) == 1, "one request, however often"
    # a target is asked again only after a failure that cost nothing: its last attempt has the bill
    last = {entry["model"]: entry["attempt"] for entry in entries}
    for entry in entries:
        lines = [line for line in provider.bill if line.model == entry["model"]]
        check_entry(entry, money(lines) if entry["attempt"] == last[entry["model"]] else 0)
    if not heard.is_stream and heard.status == 200:
        total = sum(entry["amount_nanos"] for entry in entries)
        assert heard.headers["x-jobgate-cost-usd"] == f"0.{total:09d}"
    provider.bill.clear()
    return entries


async def check_fallback(way: Way, provider: ScriptedProvider, url: str) -> None:
    provider.by_model = {"gpt-test": way.script, "gpt-spare": GOOD}
    routes = routes_for(provider.url, timeouts="{first_byte: 0.1, total: 0.1}")
    async with running(routes, url) as gateway, calling(gateway) as caller:
        for stream in way.forms:
            heard = await caller.ask("with-fallback", stream=stream)
            entries = check_attempts(gateway, provider, heard)
            assert (heard.status, heard.text) == (200, "spare words")
            assert heard.headers["x-jobgate-target"] == SPARE
            assert [entry["target"] for entry in entries] == [FIRST] * way.tries + [SPARE]
            assert [said(entry) for entry in entries] == [way.entry] * way.tries + [WELL]


@pytest.mark.parametrize("what", WAYS)
async def test_the_spare_answers_when_the_first_is(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check_fallback(WAYS[what], provider, sqlite_url)


async def test_attempts_are_booked_alike_in_postgresql(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    await check_fallback(WAYS["broken"], provider, postgres_url)


async def test_a_request_that_is_wrong_is_not_tried_elsewhere(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model = {"gpt-test": Script(status=400, error="no such field"), "gpt-spare": GOOD}
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for stream in FORMS:
            heard = await caller.ask("with-fallback", stream=stream)
            (entry,) = check_attempts(gateway, provider, heard)
            assert (heard.status, heard.error["code"]) == (400, "upstream_refused")
            assert "no such field" in heard.error["message"]
            assert said(entry) == ("provider_refused", "reported")


async def test_a_stream_that_has_begun_is_not_tried_elsewhere(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model = {"gpt-test": Script(text="a b c", cut_after_chunk=1), "gpt-spare": GOOD}
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("with-fallback", stream=True)
        (entry,) = check_attempts(gateway, provider, heard)
    assert (heard.text, heard.error["code"]) == ("a", "upstream_failed")
    assert said(entry) == ("provider_cut", "counted")
    assert provider.arrived == 1


FIRST_EVENTS = """
  claude-first:
    purpose: Its first target speaks Anthropic's format.
    owner: data
    targets: [anthropic/claude-test, openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    retries: 1
  gemini-first:
    purpose: Its first target speaks Gemini's format.
    owner: data
    targets: [gemini/gemini-test, openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    retries: 1
"""
WORDS = '{"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}'


@pytest.mark.parametrize("job", ["with-fallback", "claude-first", "gemini-first"])
@pytest.mark.parametrize(
    ("event", "quality"),
    [(f"event: error\ndata: {WORDS}\n\n", "counted"), ("data: <html>\n\n", "presumed")],
)
async def test_a_stream_whose_first_event_is_a_failure_is_tried_elsewhere(
    job: str, event: str, quality: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=event, content_type="text/event-stream")
    provider.by_model = {"gpt-spare": GOOD}
    routes = routes_for(provider.url, jobs=FIRST_EVENTS)
    async with running(routes, sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask(job, stream=True)
        first, second = gateway.entries(heard.request_id)
        breakers = gateway.gateway._doors["/v1/chat/completions"]._live.pipeline._parts.breakers
        assert breakers[first["target"]]._failures == 1
    assert (heard.status, heard.text, heard.events[-1]) == (200, "spare words", "[DONE]")
    assert heard.attempts == 2
    assert said(first) == ("provider_cut", quality), "what was asked may have been billed"
    assert 0 < first["amount_nanos"] <= first["ceiling_nanos"]
    assert first["output"] == 0
    assert (second["target"], *said(second)) == (SPARE, *WELL)


async def test_a_stream_that_fails_at_its_first_event_and_has_no_spare_is_an_ordinary_error(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    event = f"event: error\ndata: {WORDS}\n\n"
    provider.script = Script(body=event, content_type="text/event-stream")
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction", stream=True)
        (entry,) = gateway.entries(heard.request_id)
    assert (heard.status, heard.error["code"]) == (502, "upstream_failed")
    assert "overloaded" in heard.error["message"]
    assert said(entry) == ("provider_cut", "counted")


async def test_a_second_try_at_the_same_target_may_be_enough(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="at last", fail_first=1, fail_status=503)
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("with-fallback")
        entries = check_attempts(gateway, provider, heard)
    assert heard.text == "at last"
    assert [(entry["target"], *said(entry)) for entry in entries] == [
        (FIRST, *BUSY),
        (FIRST, *WELL),
    ]


async def test_when_all_fail_the_last_failure_is_told_and_nothing_is_charged(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model = {
        "gpt-test": Script(status=500, error="first"),
        "gpt-spare": Script(status=503, error="second"),
    }
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for stream in FORMS:
            heard = await caller.ask("with-fallback", stream=stream)
            entries = check_attempts(gateway, provider, heard)
            assert (heard.status, heard.error["code"]) == (503, "upstream_busy")
            assert "second" in heard.error["message"]
            assert [said(entry) for entry in entries] == [BROKEN] * 2 + [BUSY] * 2
            assert sum(entry["amount_nanos"] for entry in entries) == 0


async def fail_five_times(caller: Caller, provider: ScriptedProvider, job: str) -> None:
    provider.by_model["gpt-test"] = Script(status=500)
    for _ in range(5):
        await caller.ask(job)
    assert sum(seen.body["model"] == "gpt-test" for seen in provider.requests) == 5


async def test_a_target_that_keeps_failing_is_left_alone_for_a_while(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = GOOD
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        await fail_five_times(caller, provider, "extraction")
        spare = await caller.ask("with-fallback")
        nobody = await caller.ask("extraction")
        (entry,) = check_attempts(gateway, provider, spare)
        assert gateway.entries(nobody.request_id) == []
    assert (entry["target"], *said(entry)) == (SPARE, *WELL)
    assert (nobody.status, nobody.error["code"], nobody.attempts) == (503, "upstream_busy", 0)
    assert 1 <= int(nobody.headers["retry-after"]) <= 15
    assert provider.arrived == 6


OTHER_HOUSE = """
  two-houses:
    purpose: Falls back to another provider.
    owner: data
    targets: [openai/gpt-test, mistral/mistral-test]
    output_tokens: {default: 100, max: 400}"""


async def test_another_provider_answers_when_the_first_cannot_be_reached(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = GOOD
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    routes = routes_for(provider.url, jobs=OTHER_HOUSE).replace(
        f"{provider.url}/openai", f"{nowhere}/openai"
    )
    async with running(routes, sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("two-houses")
        entries = check_attempts(gateway, provider, heard)
    assert heard.text == "spare words"
    assert [said(entry) for entry in entries] == [BROKEN, BROKEN, WELL]


async def test_a_provider_without_a_key_is_passed_over(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = GOOD
    keys = {name: key for name, key in SECRETS.items() if name != "OPENAI_API_KEY"}
    routes = routes_for(provider.url, jobs=OTHER_HOUSE)
    async with (
        running(routes, sqlite_url, environment=keys) as gateway,
        calling(gateway) as caller,
    ):
        heard = await caller.ask("two-houses")
        (entry,) = check_attempts(gateway, provider, heard)
        alone = await caller.ask("extraction")
        assert gateway.entries(alone.request_id) == []
    assert (entry["target"], *said(entry)) == ("mistral/mistral-test", *WELL)
    assert (alone.status, alone.error["code"]) == (503, "no_credential")
    assert "OPENAI_API_KEY" in alone.error["message"]


async def test_the_real_client_sees_one_answer_and_two_attempts(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model = {"gpt-test": Script(status=401), "gpt-spare": GOOD}
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        raw = await gateway.client().chat.completions.with_raw_response.create(
            model="with-fallback", messages=QUESTION
        )
    assert raw.parse().choices[0].message.content == "spare words"
    assert raw.headers["x-jobgate-attempts"] == "2"
