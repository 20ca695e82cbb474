"""A caller who hangs up: at every moment, under both policies.

`drain` reads on to the provider's own figures, so the entry is exact. `cancel` stops the
provider, so the entry is what we count ourselves, or the ceiling where nothing can be counted.
Before anything was sent nothing is owed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests.endings.bills import check_entry, money, said, settled
from tests.endings.callers import CHUNKS, JOBS, Leaver
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

WITH_OPENING = ("extraction", "narrative", "volume")
"""Jobs whose streams have an event before the first piece of text."""


@dataclass(frozen=True)
class Moment:
    """Where the provider stands when the caller leaves, and what the caller has read by then."""

    stream: bool
    stall_before: int | None
    """The chunk before which the provider stalls; None: it has not begun to answer at all."""
    read: bytes = b""
    jobs: tuple[str, ...] = JOBS
    drained: tuple[str, ...] = ("caller_left",)
    """How an entry may call it under `drain`: nobody looks whether the caller of a plain answer
    is there, and a stream that begins after its caller left may be over before it is noticed."""


MOMENTS = {
    "plain, before the provider begins": Moment(False, None, drained=("ok",)),
    "plain, while the answer is made": Moment(False, 0, drained=("ok",)),
    "streamed, before the provider begins": Moment(True, None, drained=("ok", "caller_left")),
    "streamed, before the first chunk": Moment(True, 0, b"assistant", WITH_OPENING),
    "streamed, between two chunks": Moment(True, 2, b" two"),
    "streamed, after the last chunk": Moment(True, 3, b" three"),
}


async def leave_at(moment: Moment, gateway: RunningGateway, provider: ScriptedProvider) -> None:
    """One caller for each job asks, comes as far as the moment says, and leaves."""
    if moment.stall_before is None:
        provider.hold()
    provider.script = Script(chunks=CHUNKS, stall_before_chunk=moment.stall_before)
    key = gateway.key()
    for number, job in enumerate(moment.jobs, 1):
        leaver = await Leaver.asking(gateway, key, job, stream=moment.stream)
        if moment.stall_before is None:
            await provider.until(lambda p, n=number: p.arrived == n)
        else:
            await provider.until(lambda p: p.stalled == 1)
        if moment.read:
            await leaver.reads_until(moment.read)
        await leaver.leaves(gateway)
        if moment.stall_before is not None:
            provider.resume()
            await provider.until(lambda p: p.stalled == 0)
    provider.release()


@pytest.mark.parametrize("what", MOMENTS)
async def test_drain_reads_on_and_books_the_bill_to_the_nano(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    moment = MOMENTS[what]
    async with running(routes_for(provider.url, on_disconnect="drain"), sqlite_url) as gateway:
        await leave_at(moment, gateway, provider)
        entries = await settled(gateway, len(moment.jobs))
    assert not any(seen.client_gone for seen in provider.requests)
    for entry, line in zip(entries, provider.bill, strict=True):
        check_entry(entry, money([line]))
    assert {entry["job"] for entry in entries} == set(moment.jobs)
    assert {entry["quality"] for entry in entries} == {"reported"}
    assert {entry["outcome"] for entry in entries} <= set(moment.drained)


@pytest.mark.parametrize("what", MOMENTS)
async def test_cancel_stops_the_provider_and_books_no_less_than_the_bill(
    what: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    moment = MOMENTS[what]
    async with running(routes_for(provider.url, on_disconnect="cancel"), sqlite_url) as gateway:
        await leave_at(moment, gateway, provider)
        entries = await settled(gateway, len(moment.jobs))
    assert all(seen.client_gone for seen in provider.requests)
    billed = {line.model: money([line]) for line in provider.bill}
    for entry in entries:
        check_entry(entry, billed.get(entry["model"], 0))
    quality = "counted" if moment.stream else "presumed"
    assert {entry["job"]: said(entry) for entry in entries} == dict.fromkeys(
        moment.jobs, ("caller_left", quality)
    )


@pytest.mark.parametrize("policy", ["drain", "cancel"])
async def test_it_is_the_same_in_both_databases(
    policy: str, provider: ScriptedProvider, postgres_url: str
) -> None:
    moment = MOMENTS["streamed, between two chunks"]
    async with running(routes_for(provider.url, on_disconnect=policy), postgres_url) as gateway:
        await leave_at(moment, gateway, provider)
        entries = await settled(gateway, len(moment.jobs))
    assert {entry["outcome"] for entry in entries} == {"caller_left"}
    assert sum(entry["amount_nanos"] for entry in entries) >= money(provider.bill) > 0


async def test_a_drain_that_never_ends_is_ended(
    provider: ScriptedProvider, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.streams.DRAIN_SECONDS", 0.1)
    provider.script = Script(chunks=CHUNKS, stall_before_chunk=2)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        leaver = await Leaver.asking(gateway, gateway.key(), "extraction", stream=True)
        await leaver.reads_until(b" two")
        await leaver.leaves(gateway)
        (entry,) = await settled(gateway, 1)
        await provider.until(lambda p: p.requests[0].client_gone)
        check_entry(entry, money(provider.bill))
    assert said(entry) == ("caller_left", "counted")


@pytest.mark.parametrize("policy", ["drain", "cancel"])
@pytest.mark.parametrize("share", [0.0, 0.5])
async def test_who_leaves_while_still_asking_has_asked_nothing(
    share: float, policy: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url, on_disconnect=policy), sqlite_url) as gateway:
        leaver = await Leaver.asking(gateway, gateway.key(), "extraction", stream=True, share=share)
        await leaver.leaves(gateway)
        assert gateway.entries() == []
    assert provider.arrived == 0


TIGHT = """
  room-for-one: {scope: organisation, limit: 0.015 USD, period: forever}"""


async def waiting_for_money(
    gateway: RunningGateway, provider: ScriptedProvider, *, stream: bool
) -> tuple[Leaver, Leaver]:
    """A first caller who holds nearly all the money, and a second who waits for it."""
    provider.script = Script(chunks=CHUNKS, stall_before_chunk=1)
    key = gateway.key()
    first = await Leaver.asking(gateway, key, "extraction", stream=True)
    await provider.until(lambda p: p.stalled == 1)
    second = await Leaver.asking(gateway, key, "extraction", stream=stream)
    async with asyncio.timeout(5):
        while not gateway.metric("jobgate_holds_waiting"):
            await asyncio.to_thread(gateway.open_holds)
    return first, second


async def check_leaving_while_waiting(
    policy: str, provider: ScriptedProvider, database_url: str, *, stream: bool
) -> None:
    routes = routes_for(provider.url, budgets=TIGHT, on_disconnect=policy)
    async with running(routes, database_url) as gateway:
        first, second = await waiting_for_money(gateway, provider, stream=stream)
        await second.leaves(gateway)
        provider.resume()
        await first.reads_until(b"[DONE]")
        (entry,) = await settled(gateway, 1)
        check_entry(entry, money(provider.bill))
        await first.leaves(gateway)
        spent = gateway.balances()["room-for-one", ""]["spent"]
    assert provider.arrived == 1, "nobody was left to be answered"
    assert spent == entry["amount_nanos"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", ["drain", "cancel"])
async def test_who_leaves_while_waiting_for_money_has_spent_none(
    policy: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    await check_leaving_while_waiting(policy, provider, sqlite_url, stream=stream)


async def test_who_leaves_while_waiting_has_spent_none_on_postgresql_either(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    await check_leaving_while_waiting("drain", provider, postgres_url, stream=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_stays_gets_the_money_that_others_give_back(
    stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, budgets=TIGHT)
    async with running(routes, sqlite_url) as gateway:
        first, second = await waiting_for_money(gateway, provider, stream=stream)
        provider.script = Script(chunks=CHUNKS)
        provider.resume()
        await second.reads_until(b"three")
        entries = await settled(gateway, 2)
        await first.leaves(gateway)
        await second.leaves(gateway)
    assert [said(entry) for entry in entries] == [("ok", "reported")] * 2
    assert sum(entry["amount_nanos"] for entry in entries) == money(provider.bill)
