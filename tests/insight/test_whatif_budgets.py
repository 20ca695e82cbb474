"""What-if: when a budget of the new file would have been hit, and by whom."""

from __future__ import annotations

from gateway.cli.options import rules_of
from gateway.clock import FrozenClock
from gateway.insight.whatif import Question, ask
from gateway.ledger.queries import Range
from gateway.metering.usage import Usage
from gateway.store.database import Database
from tests.insight.asking import EVERYTHING, FILE_TEXT, asked, files
from tests.ledger.spending import BRAND, DATA, moment
from tests.treasury.booking import Books, a_budget, opening


def hits(database: Database, budgets: str, start: int = 0) -> list[tuple[str, str, int, int]]:
    found = asked(database, FILE_TEXT + "budgets:\n" + budgets, Range(start, 2**61))
    return [(hit.budget.name, hit.subject, hit.slot, hit.beyond) for hit in found.hits]


def test_a_budget_is_hit_in_the_second_in_which_it_is_passed(database_url: str) -> None:
    with opening(database_url) as database:
        clock = FrozenClock("2026-11-02T12:00:00+00:00")
        books = Books(database, clock=clock)
        for _ in range(4):
            books.book(Usage(input=1_000), BRAND)
            books.book(Usage(input=1_000), DATA)
            clock.move(400)
        cap = "  cap: {scope: {team: brand}, limit: 0.0000045 USD, period: day}\n"
        rate = "  rate: {scope: each app, limit: 1500 tokens, period: hour, enforce: warn}\n"
        started = moment("2026-11-02T12:00:00+00:00")
        assert hits(database, cap) == [("cap", "brand", started + 1_200_000_000, 1_500)]
        assert [hit[:3] for hit in hits(database, rate)] == [
            ("rate", "bot", started + 400_000_000),
            ("rate", "site", started + 400_000_000),
        ]


def test_what_was_spent_before_the_replay_counts_where_the_books_know_it(sqlite_url: str) -> None:
    live = a_budget("cap", 10**6)
    with opening(sqlite_url) as database:
        clock = FrozenClock("2026-11-02T12:00:00+00:00")
        books = Books(database, [live], clock=clock)
        books.book(Usage(input=4_000), BRAND)
        clock.move(24 * 3600)
        books.book(Usage(input=1_000), BRAND)
        start = moment("2026-11-03T00:00:00+00:00")
        limit = "limit: 0.000007 USD, period: month}\n"
        known = hits(database, "  cap: {scope: organisation, " + limit, start)
        unknown = hits(database, "  other: {scope: organisation, " + limit, start)
    assert [(name, beyond) for name, _, _, beyond in known] == [("cap", 500)]
    assert unknown == []


def test_a_rate_that_is_in_force_already_is_not_looked_at_again(sqlite_url: str) -> None:
    """The same requests were within it; only a lower one can be passed."""
    rate = "budgets:\n  rate: {{scope: each app, limit: {} requests, period: minute}}\n"
    with opening(sqlite_url) as database:
        books = Books(database)
        for _ in range(5):
            books.book(Usage(input=1), BRAND)
        for limit, expected in ((4, [5]), (5, []), (6, [])):
            question = Question(
                files(FILE_TEXT + rate.format(limit)),
                EVERYTHING,
                default=files(FILE_TEXT + rate.format(5)),
            )
            found = ask(database, "main", rules_of, question, lambda _so_far, _all: None)
            assert [hit.charged for hit in found.hits] == expected
