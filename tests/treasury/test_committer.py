"""Books that are away for a while: nothing new is spent, nothing that happened is lost.

Another writer has the database, a connection breaks when a commit is done but nobody has been told,
the database refuses one operation of many. How a gateway behaves whose database is away for longer
is in tests/endings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.ledger.audit import audit
from gateway.ledger.entries import Entry
from gateway.metering.usage import Usage
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.treasury import committer as committing
from gateway.treasury import drivers
from gateway.treasury.budgets import Amounts
from gateway.treasury.committer import Committer
from gateway.treasury.decisions import Line
from gateway.treasury.drivers import LoopDriver, ThreadDriver
from gateway.treasury.groups import Admission, Closing
from gateway.treasury.holds import Hold
from tests.endings.breaking import alive, locked, until
from tests.endings.callers import calling
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.treasury.booking import Books, a_budget, charged, opening, rows
from tests.treasury.cutting import Wire

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
TOO_LARGE = 2**63
"""An amount that no column can keep."""


# ---- a gateway whose database is away for a moment (longer: tests/endings)


async def test_another_writer_for_a_moment_is_waited_for_and_nobody_is_refused(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        with locked(gateway.gateway.database):
            asking = [asyncio.ensure_future(caller.ask("extraction")) for _ in range(5)]
            for _ in range(5):
                await alive(gateway)
            assert provider.requests == []
        answered = await asyncio.gather(*asking)
    assert [heard.status for heard in answered] == [200] * 5


# ---- a connection that breaks when the commit is done and nobody has been told


async def test_a_hold_that_nobody_was_told_of_is_given_back(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.script = ANSWER
    with Wire(postgres_url) as wire:
        async with running(routes_for(provider.url), wire.url) as gateway:
            async with calling(gateway) as caller:
                wire.cut_at_commit("holds")
                refused = await caller.ask("extraction")
                assert wire.cut.wait(5)
                await until(gateway.url, 200)
                assert (await caller.ask("extraction")).status == 200
            entries = gateway.entries(refused.request_id)
    assert refused.status == 503
    assert [(e["kind"], e["outcome"], e["amount_nanos"]) for e in entries] == [
        ("release", "books_down", 0)
    ]


async def test_an_ending_that_nobody_was_told_of_is_booked_once(
    provider: ScriptedProvider, postgres_url: str
) -> None:
    provider.script = ANSWER
    with Wire(postgres_url) as wire:
        async with running(routes_for(provider.url), wire.url) as gateway:
            async with calling(gateway) as caller:
                provider.hold()
                asking = asyncio.ensure_future(caller.ask("extraction"))
                await provider.until(lambda p: p.open == 1)
                wire.cut_at_commit("entries")
                provider.release()
                heard = await asking
                assert wire.cut.wait(5)
                await until(gateway.url, 200)
            entries = gateway.entries(heard.request_id)
    assert heard.status == 200
    assert [(e["kind"], e["quality"]) for e in entries] == [("charge", "reported")]


# ---- a server that answers nothing, not even that it is down


async def test_nobody_waits_for_a_server_that_has_fallen_silent_and_nothing_is_lost(
    provider: ScriptedProvider, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "HANGS_AFTER", 0.3)
    monkeypatch.setattr(drivers, "_LOOK_SECONDS", 0.05)
    provider.script = ANSWER
    with Wire(postgres_url) as wire:
        async with running(routes_for(provider.url), wire.url) as gateway:
            async with calling(gateway) as caller:
                provider.hold()
                asking = asyncio.ensure_future(caller.ask("extraction"))
                await provider.until(lambda p: p.open == 1)
                wire.fall_silent()
                provider.release()
                async with asyncio.timeout(10):
                    refused = [await caller.ask("extraction") for _ in range(3)]
                    await until(gateway.url, 503)
                await alive(gateway)
                assert not asking.done(), "it waits for its entry"
                assert len(provider.requests) == 1
                wire.speak()
                answered = await asking
                await until(gateway.url, 200)
                after = await caller.ask("extraction")
            entries = gateway.entries(answered.request_id)
    assert [heard.status for heard in (*refused, answered, after)] == [503] * 3 + [200] * 2
    assert [(e["kind"], e["quality"]) for e in entries] == [("charge", "reported")]


async def test_who_waited_long_enough_for_a_silent_server_is_told_and_the_entry_is_written(
    provider: ScriptedProvider, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "HANGS_AFTER", 0.3)
    monkeypatch.setattr(committing, "SETTLE_PATIENCE", 0.3)
    monkeypatch.setattr(drivers, "_LOOK_SECONDS", 0.05)
    provider.script = ANSWER
    with Wire(postgres_url) as wire:
        async with running(routes_for(provider.url), wire.url) as gateway:
            async with calling(gateway) as caller, asyncio.timeout(10):
                wire.fall_silent_at_commit("entries")
                told = await caller.ask("extraction")
                wire.speak()
                await until(gateway.url, 200)
                assert (await caller.ask("extraction")).status == 200
            entries = gateway.entries(told.request_id)
    assert told.status == 503
    assert [(e["kind"], e["quality"]) for e in entries] == [("charge", "reported")]


async def test_a_hold_that_comes_after_all_when_nobody_waits_for_it_is_given_back(
    provider: ScriptedProvider, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "HANGS_AFTER", 0.3)
    monkeypatch.setattr(drivers, "_LOOK_SECONDS", 0.05)
    with Wire(postgres_url) as wire:
        async with running(routes_for(provider.url), wire.url) as gateway:
            async with calling(gateway) as caller, asyncio.timeout(10):
                wire.fall_silent_at_commit("holds")
                refused = await caller.ask("extraction")
                wire.speak()
                await until(gateway.url, 200)
                assert (await caller.ask("extraction")).status == 200
            entries = gateway.entries(refused.request_id)
    assert refused.status == 503
    assert [(e["kind"], e["outcome"], e["amount_nanos"]) for e in entries] == [
        ("release", "books_down", 0)
    ]


# ---- the committer alone


@asynccontextmanager
async def a_committer(books: Books, metrics: Metrics | None = None) -> AsyncIterator[Committer]:
    database = books.database
    driver = LoopDriver() if database.is_sqlite else ThreadDriver()
    found = Committer(database, books.group, books.clock, metrics or Metrics(), driver)
    found.start()
    yield found
    await found.stop()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opening(database_url) as found:
        yield found


def asks(books: Books, nanos: int, tokens: int = 1, waits: float = 0.0) -> Admission:
    request = books.request(Amounts(nanos, tokens, 1))
    request.future = asyncio.get_running_loop().create_future()
    request.wait_until = time.monotonic() + waits
    return request


async def answer_to(admission: Admission) -> Any:
    """What it came to; an error is an answer too."""
    async with asyncio.timeout(20):
        (found,) = await asyncio.gather(admission.future, return_exceptions=True)
    return found


async def test_one_poisoned_admission_does_not_take_its_group_down(database: Database) -> None:
    books = Books(database, [a_budget(limit=1_000)])
    async with a_committer(books) as committer:
        group = [asks(books, 10) for _ in range(5)]
        group.insert(2, asks(books, 10, tokens=TOO_LARGE))
        for admission in group:
            committer.admit(admission)
        answers = [await answer_to(admission) for admission in group]
        assert committer.healthy
    assert [type(answer) for answer in answers] == [Hold, Hold, Unavailable, Hold, Hold, Hold]
    assert audit(database, "main")[0] == []
    assert [held for _, held, _ in books.balances().values()] == [50]


async def test_one_poisoned_ending_does_not_take_its_group_down(database: Database) -> None:
    books = Books(database, [a_budget(limit=1_000)])
    holds = [books.hold(10, 10) for _ in range(4)]
    endings = [charged(Usage(input=2)) for _ in holds]
    endings[1] = charged(Usage(input=2), tokens=TOO_LARGE)
    async with a_committer(books) as committer:
        closings = [Closing(h, e, answer()) for h, e in zip(holds, endings, strict=True)]
        for closing in closings:
            committer.close(closing)
        futures = [closing.future for closing in closings if closing.future is not None]
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*futures, return_exceptions=True)
        assert committer.healthy
    assert [type(each) for each in answers] == [Entry, Unavailable, Entry, Entry]
    assert audit(database, "main") == ([], 3)
    assert rows(database, "SELECT id FROM holds") == [(holds[1].id,)], "it lapses in its time"


async def test_one_that_waits_and_is_poisoned_takes_nobody_with_it(database: Database) -> None:
    """It becomes poison only when there is room for it, among others who did nothing wrong."""
    books = Books(database, [a_budget(limit=100)])
    hold, metrics = books.hold(100), Metrics()
    async with a_committer(books, metrics) as committer:
        waiting = [asks(books, 30, waits=30.0) for _ in range(3)]
        waiting.insert(1, asks(books, 10, tokens=TOO_LARGE, waits=30.0))
        for admission in waiting:
            committer.admit(admission)
        while metrics.registry.get_sample_value("jobgate_holds_waiting") != len(waiting):
            await asyncio.sleep(0)
        ending = Closing(hold, charged(Usage(input=2)), answer())
        committer.close(ending)
        answers = [await answer_to(admission) for admission in waiting]
        assert ending.future is not None
        assert isinstance(await ending.future, Entry)
    assert [type(each) for each in answers] == [Hold, Unavailable, Hold, Hold]
    assert audit(database, "main") == ([], 1)


async def test_a_mistake_of_ours_costs_the_one_it_is_about_and_nobody_else(
    database: Database,
) -> None:
    def broken(_at: int) -> list[Line]:
        raise KeyError("a mistake")

    books = Books(database, [a_budget(limit=1_000)])
    async with a_committer(books) as committer:
        group = [asks(books, 10) for _ in range(3)]
        group[1].lines = broken
        for admission in group:
            committer.admit(admission)
        answers = [await answer_to(admission) for admission in group]
        assert committer.healthy
        later = asks(books, 10)
        committer.admit(later)
        assert isinstance(await answer_to(later), Hold)
    assert [type(answer) for answer in answers] == [Hold, Unavailable, Hold]
    assert audit(database, "main")[0] == []


async def test_who_stopped_waiting_before_the_commit_holds_nothing(database: Database) -> None:
    books = Books(database, [a_budget(limit=100)])
    hold = books.hold(100)
    async with a_committer(books) as committer:
        left, stays = asks(books, 50, waits=30.0), asks(books, 100, waits=30.0)
        committer.admit(left)
        committer.admit(stays)
        left.future.cancel()
        committer.close(Closing(hold, charged()))
        assert isinstance(await answer_to(stays), Hold)
    assert audit(database, "main") == ([], 1)
    assert rows(database, "SELECT id FROM holds") == [(stays.id,)]


async def test_what_arrived_before_the_end_is_committed(database: Database) -> None:
    books = Books(database, [a_budget(limit=1_000)])
    holds = [books.hold(1) for _ in range(600)]
    async with a_committer(books) as committer:
        for hold in holds:
            committer.close(Closing(hold, charged()))
    assert audit(database, "main") == ([], 600)
    assert rows(database, "SELECT COUNT(*) FROM holds") == [(0,)]


async def test_ending_while_the_books_are_away_does_not_hang(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is there as a hold, and lapses."""
    monkeypatch.setattr(committing, "_BUSY_AT_MOST_SECONDS", 0.1)
    with opening(sqlite_url) as database:
        books = Books(database, [a_budget(limit=1_000)])
        hold = books.hold(10)
        with locked(database):
            async with asyncio.timeout(5), a_committer(books) as committer:
                committer.close(Closing(hold, charged()))
                admission = asks(books, 10)
                committer.admit(admission)
                assert isinstance(await answer_to(admission), Unavailable)
        books.clock.move(3600)
        assert [entry.id for entry in books.lapse()] == [hold.id]
        assert audit(database, "main") == ([], 1)


def answer() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def test_the_file_of_the_books_is_where_the_address_says(sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        assert database.file == Path(sqlite_url.removeprefix("sqlite:///"))
