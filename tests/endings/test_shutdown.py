"""The gateway is told to stop while requests are under way.

Those under way get the time that the operator grants them. When that is over they are broken
off, the callers are told, and everything is in the books before the process ends.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.store import database as store
from gateway.treasury import committer as committing
from tests.endings.bills import check_entry, money, said
from tests.endings.breaking import locked
from tests.endings.callers import CHUNKS, Leaver
from tests.endings.stopping import Stoppable, books_after, stoppable
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider, Seen

pytestmark = pytest.mark.anyio

STREAMED, PLAIN = True, False
LONG, SHORT = 5.0, 0.1


async def under_way(
    gateway: Stoppable, provider: ScriptedProvider, job: str, *, stream: bool
) -> Leaver:
    """A caller who has a part of a stream, or waits for a plain answer that is being made."""
    provider.script = Script(chunks=CHUNKS, stall_before_chunk=2)
    before = provider.stalled
    caller = await Leaver.asking(gateway.running, gateway.running.key(), job, stream=stream)
    await provider.until(lambda p: p.stalled == before + 1)
    if stream:
        await caller.reads_until(b" two")
    return caller


@pytest.mark.parametrize("stream", [PLAIN, STREAMED])
async def test_what_is_under_way_may_end_and_is_booked_to_the_nano(
    stream: bool, provider: ScriptedProvider, database_url: str
) -> None:
    async with stoppable(routes_for(provider.url), database_url, grace=LONG) as gateway:
        caller = await under_way(gateway, provider, "extraction", stream=stream)
        await gateway.told_to_stop()
        with pytest.raises(OSError):  # noqa: PT011 - refused, or reset: nobody new is let in
            await Leaver.connect(gateway.running)
        provider.resume()
        heard = await caller.reads_on()
        await gateway.stopped()
        await caller.hangs_up()
    (entry,) = books_after(database_url)
    check_entry(entry, money(provider.bill))
    assert said(entry) == ("ok", "reported")
    assert (b"[DONE]" if stream else b"one two three") in heard


ENDINGS = {
    "a stream": (STREAMED, "drain", ("other", "counted")),
    "a stream that may be cancelled": (STREAMED, "cancel", ("other", "counted")),
    "a plain answer": (PLAIN, "drain", ("shutting_down", "presumed")),
    "a plain answer that may be cancelled": (PLAIN, "cancel", ("caller_left", "presumed")),
}


@pytest.mark.parametrize("what", ENDINGS)
async def test_what_takes_longer_is_broken_off_told_and_booked(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    stream, policy, ending = ENDINGS[what]
    routes = routes_for(provider.url, on_disconnect=policy)
    async with stoppable(routes, sqlite_url, grace=SHORT) as gateway:
        caller = await under_way(gateway, provider, "extraction", stream=stream)
        await gateway.told_to_stop()
        heard = await caller.reads_on()
        await gateway.stopped()
        await caller.hangs_up()
    (entry,) = books_after(sqlite_url)
    check_entry(entry, money(provider.bill))
    assert said(entry) == ending
    assert b'"code":"shutting_down"' in heard
    assert stream or heard.startswith(b"HTTP/1.1 503 ")


def is_stream(seen: Seen) -> bool:
    return bool(seen.body.get("stream")) or "stream" in seen.path


async def test_everything_under_way_is_booked_before_the_process_ends(
    provider: ScriptedProvider, database_url: str
) -> None:
    async with stoppable(routes_for(provider.url), database_url, grace=SHORT) as gateway:
        callers = [
            await under_way(gateway, provider, job, stream=stream)
            for job in ("extraction", "narrative", "workspace", "volume", "private")
            for stream in (PLAIN, STREAMED)
        ]
        await gateway.told_to_stop()
        await gateway.stopped()
        await asyncio.gather(*(caller.hangs_up() for caller in callers))
    entries = books_after(database_url)
    assert len(entries) == len(callers)
    billed = {
        (line.model, is_stream(provider.requests[line.order - 1])): money([line])
        for line in provider.bill
    }
    for entry in entries:
        check_entry(entry, billed[entry["model"], bool(entry["stream"])])


async def test_a_caller_who_left_before_the_end_is_booked_too(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with stoppable(routes_for(provider.url), sqlite_url, grace=SHORT) as gateway:
        caller = await under_way(gateway, provider, "extraction", stream=STREAMED)
        await caller.leaves(gateway.running)
        await gateway.told_to_stop()
        await gateway.stopped()
    (entry,) = books_after(sqlite_url)
    check_entry(entry, money(provider.bill))
    assert said(entry) == ("caller_left", "counted")


FORMS = (PLAIN, STREAMED)
NEVER_ENDING = {
    "says nothing at all": (Script(stall_before_chunk=0), FORMS),
    "stops in the middle": (Script(chunks=CHUNKS, stall_before_chunk=2), FORMS),
    "talks on and on": (Script(chunks=("on ",) * 10_000, delay_between_chunks=0.01), (STREAMED,)),
}


@pytest.mark.parametrize("policy", ["drain", "cancel"])
@pytest.mark.parametrize("what", NEVER_ENDING)
async def test_a_provider_that_never_ends_does_not_keep_the_process(
    what: str, policy: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    """One caller for each form stays, one hangs up: all are booked when the time is over."""
    provider.script, forms = NEVER_ENDING[what]
    routes = routes_for(provider.url, on_disconnect=policy)
    async with stoppable(routes, sqlite_url, grace=SHORT) as gateway:
        key = gateway.running.key()
        callers = [
            await Leaver.asking(gateway.running, key, "extraction", stream=stream)
            for stream in (*forms, *forms)
        ]
        await provider.until(lambda p: len(p.requests) == len(callers))
        for leaver in callers[len(forms) :]:
            await leaver.leaves(gateway.running)
        began = time.monotonic()
        await gateway.told_to_stop()
        heard = [await caller.reads_on() for caller in callers[: len(forms)]]
        await gateway.stopped()
        took = time.monotonic() - began
        await asyncio.gather(*(caller.hangs_up() for caller in callers))
    entries = books_after(sqlite_url)
    assert took < SHORT + 3
    assert all(b"shutting_down" in answer for answer in heard)
    assert len(entries) == len(callers)
    for entry in entries:
        assert entry["kind"] == "charge"
        assert entry["quality"] in ("counted", "presumed")
        assert entry["amount_nanos"] > 0


async def test_with_the_database_away_it_stops_in_time_and_what_was_open_lapses(
    provider: ScriptedProvider, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SETTLE_PATIENCE", 0.3)
    monkeypatch.setattr(committing, "_BUSY_AT_MOST_SECONDS", 0.2)
    monkeypatch.setattr(store, "BUSY_SECONDS", 1)
    routes = routes_for(provider.url)
    async with stoppable(routes, sqlite_url, grace=SHORT) as gateway:
        callers = [
            await under_way(gateway, provider, "extraction", stream=stream)
            for stream in (PLAIN, STREAMED)
        ]
        with locked(gateway.running.gateway.database):
            began = time.monotonic()
            await gateway.told_to_stop()
            await gateway.stopped()
            took = time.monotonic() - began
        await asyncio.gather(*(caller.hangs_up() for caller in callers))
    assert took < SHORT + 5
    async with stoppable(routes, sqlite_url, grace=SHORT):
        pass
    entries = books_after(sqlite_url)
    assert [said(entry) for entry in entries] == [("lapsed", "presumed")] * 2
