"""What an attempt used of other models is written with it, and shares the ceiling of its hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.ledger.audit import audit
from gateway.ledger.entries import Aside, Ending, Entry, with_asides
from gateway.metering.usage import Usage
from gateway.store.database import Database
from tests.treasury.booking import (
    BRAND,
    OPEN_SECONDS,
    Books,
    a_budget,
    a_draft,
    charged,
    opening,
)

OWN = Usage(input=200, output=10)
ADVICE = Usage(input=80, output=9)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty books."""
    with opening(database_url) as found:
        yield found


def aside(usage: Usage, model: str = "wise") -> Aside:
    return Aside(target=f"openai/{model}", model=model, ending=charged(usage, model_served=model))


def advised(*others: Usage) -> Ending:
    """An attempt that was answered, and asked for advice on the way."""
    return replace(charged(OWN), beside=tuple(map(aside, others)))


def told(books: Books, *columns: str) -> list[tuple[Any, ...]]:
    return books.rows(f"SELECT {', '.join(columns)} FROM entries WHERE org = :org ORDER BY id")


def test_an_entry_and_what_stands_beside_it_are_one_transaction(database: Database) -> None:
    books = Books(database, [a_budget(limit=10_000), a_budget("words", 10_000, unit="tokens")])
    ending = advised(ADVICE, ADVICE)
    own = books.end(books.hold(5_000, 5_000), ending)

    assert own.ending.usage == OWN
    assert told(books, "model", "corrects", "request_count") == [
        ("gpt-test", "", 1),
        ("wise", "", 0),
        ("wise", "", 0),
    ]
    assert {key[0]: amounts for key, amounts in books.balances().items()} == {
        "cap": (ending.total_nanos, 0, 0),
        "words": (OWN.total + 2 * ADVICE.total, 0, 0),
    }
    assert sum(nanos for (nanos,) in told(books, "ceiling_nanos")) == 5_000
    assert audit(database, books.org)[0] == []


def test_an_advised_attempt_that_had_lapsed_is_corrected_as_a_whole(database: Database) -> None:
    books = Books(database, [a_budget(limit=10_000)])
    hold = books.hold(5_000, 500)
    books.clock.move(OPEN_SECONDS + 1)
    books.lapse()
    ending = advised(ADVICE)
    books.end(hold, ending)
    books.end(hold, ending)

    kinds = told(books, "kind", "amount_nanos", "corrects")
    advice = ending.beside[0].ending.amount_nanos
    assert kinds == [
        ("lapse", 5_000, ""),
        ("adjust", -5_000, hold.id),
        ("adjust", ending.amount_nanos, hold.id),
        ("adjust", advice, hold.id),
    ]
    ((spent, held, _overrun),) = books.balances().values()
    assert (spent, held) == (ending.total_nanos, 0)
    assert audit(database, books.org)[0] == []


def test_an_ending_that_is_tried_again_is_booked_once_with_all_beside_it(
    database: Database,
) -> None:
    books = Books(database, [a_budget(limit=10_000)])
    hold = books.hold(5_000)
    for _ in range(2):
        books.end(hold, advised(ADVICE))
    assert len(told(books, "id")) == 2


AMOUNTS = st.integers(0, 50)


@given(ceiling=AMOUNTS, own=AMOUNTS, others=st.lists(AMOUNTS, max_size=4))
def test_whatever_the_parts_cost_what_goes_beyond_the_ceiling_is_counted_once(
    ceiling: int, own: int, others: list[int]
) -> None:
    ending = Ending(
        outcome="ok",
        quality="reported",
        amount_nanos=own,
        tokens=own,
        beside=tuple(
            Aside(
                target="t",
                model="m",
                ending=Ending(outcome="ok", quality="reported", amount_nanos=cost, tokens=cost),
            )
            for cost in others
        ),
    )
    made = with_asides(an_entry(ending, ceiling))
    together = own + sum(others)
    assert ending.total_nanos == together
    assert sum(each.ceiling_nanos for each in made) == ceiling
    beyond = sum(max(0, each.ending.amount_nanos - each.ceiling_nanos) for each in made)
    assert beyond == max(0, together - ceiling)
    assert beyond == sum(max(0, each.ending.tokens - each.ceiling_tokens) for each in made)
    assert len({each.id for each in made}) == len(made)


def an_entry(ending: Ending, ceiling: int) -> Entry:
    return Entry(
        id="req.1",
        draft=a_draft("req", BRAND, {}),
        ending=ending,
        admitted_at=0,
        recorded_at=0,
        request_count=1,
        ceiling_nanos=ceiling,
        ceiling_tokens=ceiling,
        balances="",
    )
