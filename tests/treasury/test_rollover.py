"""What a period leaves goes to the next one, once; a limit that changes within one is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.clock import FrozenClock
from gateway.jobs.routes import Budget, Scope
from gateway.ledger.audit import audit
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.store.schema import migrate
from gateway.treasury.budgets import Amounts, lines
from gateway.treasury.decisions import Shortage
from gateway.treasury.groups import Admission, Closing
from gateway.treasury.holds import Hold
from gateway.treasury.raises import Raise, Raises
from tests.treasury.booking import BRAND, Books, a_budget, charged, cost

DAY = 86_400
SPENT = Usage(input=200)
assert cost(SPENT) == 300
"""A usage that costs 300 of a limit of 1,000 nano-dollars."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty books; at the end they have to balance."""
    found = Database(database_url)
    migrate(found)
    yield found
    assert audit(found, "main")[0] == []
    found.close()


def rolling(**changes: Any) -> Budget:
    """A thousand a month, and what is left of it."""
    return a_budget(rollover=True, **changes)


def books(database: Database, *budgets: Budget, at: str = "2026-10-15") -> Books:
    """Books whose clock stands in the middle of October."""
    return Books(database, budgets, clock=FrozenClock(f"{at}T12:00:00+00:00"))


def limits(found: Books) -> list[tuple[int, int | None]]:
    """Limit and what of it was carried over, of every period in order."""
    rows = found.rows(
        "SELECT limit_value, carried FROM balances WHERE org = :org ORDER BY starts_at"
    )
    return [(row[0], row[1]) for row in rows]


def test_what_is_left_is_added_to_the_next_period_once(database: Database) -> None:
    found = books(database, rolling())
    found.book(SPENT)
    found.clock.move(31 * DAY)
    assert isinstance(found.admit(1_701), Shortage)
    found.end(found.hold(1_700), charged())
    found.book(SPENT)
    assert limits(found) == [(1_000, 0), (1_700, 700)]
    found.clock.move(30 * DAY)
    found.book(SPENT)
    assert limits(found)[-1] == (2_400, 1_400)


def test_without_rollover_every_period_begins_anew(database: Database) -> None:
    found = books(database, a_budget())
    found.book(SPENT)
    found.clock.move(31 * DAY)
    assert isinstance(found.admit(1_001), Shortage)
    found.book(SPENT)
    assert limits(found) == [(1_000, 0), (1_000, 0)]


def test_before_the_first_period_there_was_no_budget(database: Database) -> None:
    found = books(database, rolling())
    assert isinstance(found.admit(1_001), Shortage)
    assert limits(found) == [(1_000, 0)]


@pytest.mark.parametrize(("most", "carried"), [(0, 0), (500, 500), (700, 700), (5_000, 700)])
def test_no_more_is_carried_than_the_budget_says(
    most: int, carried: int, database: Database
) -> None:
    found = books(database, rolling(rollover_max=most))
    found.book(SPENT)
    found.clock.move(31 * DAY)
    found.book(SPENT)
    assert limits(found)[-1] == (1_000 + carried, carried)


def test_what_is_held_when_the_new_period_begins_counts_as_spent(database: Database) -> None:
    found = books(database, rolling())
    still_open = found.hold(600)
    found.clock.move(31 * DAY)
    found.book(SPENT)
    found.end(still_open, charged(SPENT))
    found.book(SPENT)
    assert limits(found) == [(1_000, 0), (1_400, 400)], "settled later, it changes nothing"


def test_what_ends_in_the_same_transaction_is_not_held_any_more(database: Database) -> None:
    found = books(database, rolling())
    still_open = found.hold(600)
    found.clock.move(31 * DAY)
    request = found.request(Amounts(1_700, 0, 1))
    result = found.turn([request], [Closing(still_open, charged(SPENT))])
    (answer,) = [answer for _, answer in result.answers]
    assert isinstance(answer, Hold)
    assert limits(found)[-1] == (1_700, 700)
    found.end(answer, charged())


def test_a_period_in_which_nobody_asked_left_everything(database: Database) -> None:
    found = books(database, rolling(), a_budget("capped", rollover=True, rollover_max=800))
    found.book(SPENT)
    found.clock.move((31 + 30) * DAY)
    found.book(SPENT)
    rows = found.rows(
        "SELECT budget, carried FROM balances WHERE org = :org AND starts_at = :start",
        start=to_micros_of("2026-12-01"),
    )
    assert dict(rows) == {"cap": 700 + 1_000, "capped": 800}


def test_an_overspent_period_takes_nothing_from_the_next(database: Database) -> None:
    found = books(database, rolling(hard=False))
    found.book(Usage(input=2_000))
    found.clock.move(31 * DAY)
    found.book(SPENT)
    assert limits(found)[-1] == (1_000, 0)


def test_every_subject_carries_its_own(database: Database) -> None:
    found = books(database, rolling(scope=Scope("team")))
    legal = type(BRAND)("legal", "contracts", "key_2", "extraction", {})
    found.book(SPENT)
    found.clock.move(31 * DAY)
    found.book(SPENT)
    found.book(SPENT, payer=legal)
    rows = found.rows(
        "SELECT subject, carried FROM balances WHERE org = :org AND starts_at = :start",
        start=to_micros_of("2026-11-01"),
    )
    assert dict(rows) == {"brand": 700, "legal": 0}


# ---- raises


def raised(found: Books, amount: int, until: str) -> Raises:
    """A raise of the budget from now on."""
    now = found.clock.now()
    return Raises([Raise("r", "cap", "", amount, now, to_micros_of(until), "why", "who", now)])


def asking(found: Books, nanos: int, raises: Raises) -> Hold | Shortage:
    """A request that knows of raises."""
    request = found.request(Amounts(nanos, 0, 1))
    scoped = [(budget, "") for budget in found.budgets]

    def wanted(at: int) -> Any:
        return lines(scoped, Amounts(nanos, 0, 1), found.calendar, at, raises)

    changed = Admission(
        **{name: getattr(request, name) for name in Admission.__slots__} | {"lines": wanted}
    )
    answer: Hold | Shortage = found.turn([changed]).answers[0][1]
    return answer


def test_a_raise_counts_until_its_time_is_over_and_is_not_carried_over(database: Database) -> None:
    found = books(database, rolling())
    raises = raised(found, 500, "2026-10-20")
    hold = asking(found, 1_500, raises)
    assert isinstance(hold, Hold)
    assert limits(found) == [(1_500, 0)]
    found.end(hold, charged(SPENT))
    found.clock.move(5 * DAY)
    short = asking(found, 701, raises)
    assert isinstance(short, Shortage)
    assert (short.limit, short.spent) == (1_000, 300)
    found.clock.move(26 * DAY)
    found.book(SPENT)
    assert limits(found)[-1] == (1_700, 700)


def test_a_raise_is_no_change_of_the_limit_in_the_file(database: Database) -> None:
    found = books(database, a_budget())
    hold = asking(found, 1_500, raised(found, 500, "2026-10-20"))
    assert isinstance(hold, Hold)
    found.end(hold, charged(SPENT))
    found.book(SPENT)
    assert changes(found) == []


# ---- changes of the file


def changes(found: Books) -> list[tuple[Any, ...]]:
    """What is written down of changes."""
    return found.rows(
        "SELECT old_limit, new_limit, changed_at, source FROM limit_changes WHERE org = :org"
        " ORDER BY changed_at"
    )


def test_a_limit_that_changes_within_a_period_is_written_down_when_it_is_first_used(
    database: Database,
) -> None:
    found = books(database, rolling())
    found.book(SPENT)
    found.clock.move(31 * DAY)
    found.book(SPENT)
    later = Books(database, [rolling(limit=1_200)], clock=found.clock, instance="second")
    assert isinstance(later.admit(5_000), Shortage)
    assert changes(found) == [], "nothing was admitted under it yet"
    later._ids = found._ids
    for _ in range(2):
        later.book(SPENT)
    now = found.clock.now()
    assert changes(found) == [(1_000, 1_200, now, "routes.yaml")]
    assert limits(found)[-1] == (1_900, 700)


def test_another_limit_in_a_new_period_is_no_change_within_one(database: Database) -> None:
    found = books(database, a_budget())
    found.book(SPENT)
    found.clock.move(31 * DAY)
    later = Books(database, [a_budget(limit=50_000)], clock=found.clock, instance="second")
    later._ids = found._ids
    later.book(SPENT)
    assert changes(found) == []


def to_micros_of(day: str) -> int:
    """Midnight of a day, UTC."""
    return FrozenClock(f"{day}T00:00:00+00:00").now()
