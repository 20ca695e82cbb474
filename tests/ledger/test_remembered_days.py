"""What was read before is told again only while it is still true: late entries are never missed."""

from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ledger import spending as asking
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.ledger.remembered_days import RememberedDays
from gateway.store.tables import ROLLUP_DIMENSIONS
from tests.ledger.by_chance import Spent, spent, write
from tests.ledger.spending import BRAND, Spending, moment
from tests.treasury.booking import opened, opening

FIRST = moment("2026-10-01T00:00:00+02:00")
LAST = moment("2026-11-19T00:00:00+01:00")
moments = st.integers(FIRST, LAST) | st.integers(FIRST // HOUR, LAST // HOUR).map(HOUR.__mul__)
WHERE: tuple[dict[str, str], ...] = ({}, {"team": "brand"}, {"job": "extraction", "stage": ""})
NAMES = (ROLLUP_DIMENSIONS, ("team", "target"), ("job",))


def test_whatever_is_added_in_whatever_order_it_is_all_there(database_url: str) -> None:
    """Between two looks, entries come to days of which much was read: from each look on the same
    memory, and without any, the same figures come."""
    database = opened(database_url)
    numbers = count(1)

    @settings(
        deadline=None,
        max_examples=20 if database.is_sqlite else 8,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        batches=st.lists(st.lists(spent, min_size=1, max_size=6), min_size=2, max_size=4),
        one=moments,
        other=moments,
        where=st.sampled_from(WHERE),
        names=st.sampled_from(NAMES),
        kept=st.sampled_from([0, 5, 10_000]),
    )
    def agree(
        batches: list[list[Spent]],
        one: int,
        other: int,
        where: dict[str, str],
        names: tuple[str, ...],
        kept: int,
    ) -> None:
        books = Spending(database, org=f"org{next(numbers)}")
        plain = asking.Spending(database, books.org)
        remembering = asking.Spending(database, books.org, RememberedDays(kept))
        period = Range(min(one, other), max(one, other) + 1)
        for batch in batches:
            write(books, batch)  # each begins again with the first of October: much comes late
            for sums in (asking.BASIC, asking.EVERYTHING):
                for _twice in range(2):
                    found = remembering.cube(period, where, names=names, sums=sums)
                    assert found == plain.cube(period, where, names=names, sums=sums)
            told = _by_hour(remembering.hourly(period, "app", where))
            assert told == _by_hour(plain.hourly(period, "app", where))
            everything = remembering.cube(period)
            assert everything.total.nanos == books.sum(period.start, period.end)

    agree()
    database.close()


def _by_hour(told: list[asking.HourSums]) -> dict[tuple[int, str], tuple[int, int, int]]:
    """An hour that is read in two parts has two rows."""
    found: dict[tuple[int, str], tuple[int, int, int]] = {}
    for one in told:
        old = found.get((one.hour, one.value), (0, 0, 0))
        sums = (old[0] + one.nanos, old[1] + one.requests, old[2] + one.tokens)
        found[one.hour, one.value] = sums
    return found


def test_an_entry_that_costs_nothing_is_not_missed_either(sqlite_url: str) -> None:
    """Only the count of entries tells that it came."""
    with opening(sqlite_url) as database:
        books = Spending(database).at("2026-10-05T10:20:00+02:00")
        remembering = asking.Spending(database, books.org, RememberedDays())
        period = Range(FIRST, LAST)
        entry = books.stated(500, BRAND)
        assert remembering.cube(period).total.entries == 1
        books.adjust(entry.id, -100)
        books.adjust(entry.id, 100)
        cube = remembering.cube(period)
        assert (cube.total.entries, cube.total.nanos) == (3, 500)


def test_no_more_is_kept_than_may_be_and_the_oldest_goes_first() -> None:
    days = RememberedDays(rows_at_most=3)
    for name in ("a", "b", "c"):
        days.keep(name, (1,), [(name, 1)])
    assert days.recall("a", (1,)) == [("a", 1)]
    days.keep("d", (1,), [("d", 1)])
    assert days.recall("b", (1,)) is None
    assert days.recall("a", (1,)) == [("a", 1)]
    days.keep("large", (1,), [("large", n) for n in range(4)])
    assert [days.recall(name, (1,)) for name in ("a", "c", "d", "large")] == [None] * 4


def test_another_count_is_another_day() -> None:
    days = RememberedDays()
    days.keep("a", (1, 10), [("a", 10)])
    assert days.recall("a", (2, 10)) is None
    days.keep("a", (2, 10), [("a", 5), ("b", 5)])
    assert days.recall("a", (2, 10)) == [("a", 5), ("b", 5)]
