"""Random entries, added up by the ledger, the roll-ups, the balances and by decimals.

The long form has a million: `python -m tests.bench.million`.
"""

from __future__ import annotations

import logging

import pytest

from tests.bench.million import Life, empty_books, lived
from tests.bench.second_books import differences
from tests.treasury.booking import change, opening

ENTRIES = {"sqlite": 20_000, "postgresql": 4_000}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of holds are settled after they lapsed, and each is told of."""
    caplog.set_level(logging.ERROR)


def test_ledger_roll_ups_balances_and_decimals_agree_to_the_nano(database_url: str) -> None:
    with opening(database_url) as database:
        entries = ENTRIES[database.engine_name]
        outcome = lived(database, entries, seed=entries)
    assert outcome.differing == []
    assert outcome.findings == []
    assert outcome.audited == outcome.second.entries >= entries
    assert set(outcome.second.qualities) == {"reported", "counted", "presumed"}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("UPDATE entries SET amount_nanos = amount_nanos + 1 WHERE id = {}", "ledger by place"),
        ("UPDATE rollups SET amount_nanos = amount_nanos - 1 WHERE {} <> ''", "roll-ups by hour"),
        ("UPDATE balances SET spent = spent + 1 WHERE {} <> ''", "balances by team and month"),
    ],
)
def test_one_nano_more_or_less_is_noticed(broken: str, told: str, sqlite_url: str) -> None:
    with opening(sqlite_url) as database:
        books = empty_books(database)
        life = Life(books, seed=1)
        life.goes_on(300)
        assert list(differences(books, life.second)) == []
        change(database, broken.format("(SELECT MIN(id) FROM entries)"))
        assert [said for said in differences(books, life.second) if said.startswith(told)]
