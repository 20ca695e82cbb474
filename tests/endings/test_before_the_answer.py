"""A provider that does not begin to answer: the caller gets one error, the ledger one entry.

Plain or streamed makes no difference here. What a provider refuses costs nothing; what it might
have worked on without saying so is presumed to have cost the ceiling.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest

from tests.endings.bills import check_entry, money, only_entry, said
from tests.endings.callers import FORMS, JOBS, QUESTION, Heard, all_is_well, calling
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

EVERY = [(job, stream) for job in JOBS for stream in FORMS]
WORDS = "The provider's own words."


@dataclass(frozen=True)
class Ending:
    """What the caller is told, and what the entry says."""

    status: int
    code: str
    outcome: str
    quality: str = "reported"

    @property
    def retry(self) -> str:
        return "false" if self.code == "upstream_refused" else "true"


BROKEN = Ending(502, "upstream_failed", "provider_broken")
BUSY = Ending(503, "upstream_busy", "provider_busy")
LATE = Ending(504, "upstream_timed_out", "provider_timed_out")
BROKEN_OFF = Ending(502, "upstream_failed", "provider_broken", "presumed")
SILENT = Ending(504, "upstream_timed_out", "provider_timed_out", "presumed")

STATUSES = {
    "the request is wrong: the caller's to mend": {
        400: Ending(400, "upstream_refused", "provider_refused"),
        413: Ending(413, "upstream_refused", "provider_refused"),
        422: Ending(400, "upstream_refused", "provider_refused"),
    },
    "the gateway's key or its model is wrong: not the caller's to mend": {
        401: BROKEN,
        403: BROKEN,
        404: BROKEN,
    },
    "the provider is broken": {500: BROKEN, 502: BROKEN},
    "the provider is late": {408: LATE, 504: LATE},
    "the provider is busy, which passes": {429: BUSY, 503: BUSY, 529: BUSY},
}


async def check_every(
    gateway: RunningGateway, provider: ScriptedProvider | None, ending: Ending, words: str
) -> list[Heard]:
    """Ask every job both ways; each time the caller and the ledger are told the same ending."""
    answers, told, booked = [], {}, {}
    async with calling(gateway) as caller:
        for job, stream in EVERY:
            before = len(provider.bill) if provider else 0
            heard = await caller.ask(job, stream=stream)
            entry = only_entry(gateway, heard.request_id)
            check_entry(entry, money(provider.bill[before:]) if provider else 0)
            told[job, stream] = heard.status, heard.error["code"], heard.headers["x-should-retry"]
            booked[job, stream] = said(entry)
            assert words in heard.error["message"]
            assert entry["reason"].startswith("the provider ")
            assert WORDS not in entry["reason"], "a provider's words may quote the prompt (law 13)"
            assert heard.attempts == 1
            answers.append(heard)
    assert told == dict.fromkeys(EVERY, (ending.status, ending.code, ending.retry))
    assert booked == dict.fromkeys(EVERY, (ending.outcome, ending.quality))
    return answers


@pytest.mark.parametrize("why", STATUSES)
async def test_a_provider_that_refuses_costs_nothing_and_its_words_are_kept(
    why: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        for status, ending in STATUSES[why].items():
            await all_is_well(gateway, provider)
            provider.script = Script(status=status, error=WORDS)
            for heard in await check_every(gateway, provider, ending, WORDS):
                assert f"answered {status}" in heard.error["message"]
                assert only_entry(gateway, heard.request_id)["amount_nanos"] == 0
            assert provider.bill == []


async def test_a_busy_provider_says_when_to_come_back_and_the_caller_is_told(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        for status in (429, 503, 529):
            await all_is_well(gateway, provider)
            provider.script = Script(status=status, error=WORDS, retry_after=7)
            answers = await check_every(gateway, provider, BUSY, WORDS)
            assert {heard.headers["retry-after"] for heard in answers} == {"7"}


async def test_an_error_without_any_words_is_an_error_all_the_same(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=500, body="")
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        await check_every(gateway, provider, BROKEN, "answered 500")


async def test_a_provider_that_hangs_up_without_a_word_may_have_cost_the_ceiling(
    provider: ScriptedProvider, database_url: str
) -> None:
    async with running(routes_for(provider.url), database_url) as gateway:
        for how in ("reset", "eof"):
            provider.script = Script(hang_up=True, cut_mode=how)
            await check_every(gateway, provider, BROKEN_OFF, "broke off")


async def test_a_provider_that_does_not_listen_costs_nothing(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with running(routes_for(f"http://127.0.0.1:{port}"), sqlite_url) as gateway:
        await check_every(gateway, None, BROKEN, "cannot be reached")


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full: whoever comes now is not let in."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door:
        address = door.getsockname()
        queue = [socket.socket() for _ in range(4)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]
        for waiting in queue:
            waiting.close()


async def test_a_provider_that_does_not_take_the_connection_in_time_costs_nothing(
    full_port: int, sqlite_url: str
) -> None:
    routes = routes_for(f"http://127.0.0.1:{full_port}").replace(
        "{wire:", "{timeouts: {connect: 0.1}, wire:"
    )
    async with running(routes, sqlite_url) as gateway:
        await check_every(gateway, None, BROKEN, "cannot be reached")


@pytest.mark.parametrize("limit", ["first_byte: 0.1, total: 0.1", "first_byte: 9, total: 0.1"])
async def test_a_provider_that_says_nothing_in_time_may_have_cost_the_ceiling(
    limit: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.hold()
    async with running(routes_for(provider.url, timeouts=f"{{{limit}}}"), sqlite_url) as gateway:
        await check_every(gateway, provider, SILENT, "waited 0.1 s")
    assert all(seen.client_gone for seen in provider.requests)


@pytest.mark.parametrize("how", ["reset", "eof", "end"])
async def test_a_stream_that_ends_before_its_first_event_is_an_error_and_no_stream(
    how: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Never heard", cut_after_chunk=0, cut_mode=how)
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for job in ("workspace", "private"):  # Gemini's and Ollama's streams have no opening
            heard = await caller.ask(job, stream=True)
            entry = only_entry(gateway, heard.request_id)
            check_entry(entry, money(provider.bill[-1:]))
            assert (heard.status, heard.error["code"]) == (502, "upstream_failed")
            assert said(entry) == ("provider_broken", "presumed")


async def test_what_a_real_client_raises_has_the_providers_words(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=429, error=WORDS)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.InternalServerError) as raised:
            await gateway.client().chat.completions.create(model="extraction", messages=QUESTION)
    assert WORDS in raised.value.message
    assert raised.value.code == "upstream_busy"
