"""What-if: what a version promised, beside what it delivered."""

from __future__ import annotations

import pytest

from gateway.cli.options import rules_of
from gateway.clock import FrozenClock
from gateway.errors import ConfigurationError
from gateway.insight.promises import FollowQuestion, Promise, follow
from gateway.jobs.loading import parse
from gateway.jobs.versions import FILE, Versions, Why
from gateway.metering.usage import Usage
from gateway.store.database import Database
from tests.gateways import BOOK
from tests.insight.asking import FILE_TEXT, changed
from tests.ledger.spending import BRAND, DATA
from tests.treasury.booking import Books, charged, opening


def a_version(database: Database, text: str, at: int) -> None:
    with database.writing() as cursor:
        routes = parse(text, "routes.yaml", BOOK, {})
        why = Why(FILE, "ann", "cheaper")
        Versions("main", database.engine_name).keep(cursor, routes, BOOK.version, why, at)


def followed(database: Database, version: str, now: int) -> Promise:
    question = FollowQuestion(30, now, 1, lambda _so_far, _all: None)
    return follow(database, "main", rules_of, version, question)


def test_a_promise_is_worked_out_again_and_compared_on_the_same_requests(
    database_url: str,
) -> None:
    """Ten times the traffic and a job of its own are no failure of a cheaper model."""
    cheaper = changed(("[openai/gpt-test, openai/gpt-dear]", "[spare/cheap]"))
    with opening(database_url) as database:
        clock = FrozenClock("2026-11-01T12:00:00+00:00")
        books = Books(database, clock=clock)
        a_version(database, FILE_TEXT, clock.micros)
        books.book(Usage(input=600, output=30), BRAND)
        books.book(Usage(input=600), DATA)
        clock.move(3600)
        a_version(database, cheaper, clock.micros)
        clock.move(1)
        usage, spare = Usage(input=60), {"target": "spare/cheap", "model": "cheap"}
        for _ in range(10):
            hold = books.hold(10**6, 100, BRAND, provider="spare", **spare)
            books.end(hold, charged(usage, amount_nanos=60))
        books.book(Usage(input=600), DATA)
        found = followed(database, "2", clock.micros + 1)
        with pytest.raises(ConfigurationError, match="nothing was live before"):
            followed(database, "1", clock.micros + 1)
    whole, *lines = found.jobs
    jobs = {one.job: one for one in lines}
    promised, delivered = jobs["extraction"].promised, jobs["extraction"].delivered
    assert (promised.before, promised.after) == (1_000, 660)
    assert (delivered.before, delivered.after) == (900, 600)
    assert (promised.tokens(promised.read), delivered.tokens(delivered.read)) == (600, 60)
    assert jobs["narrative"].promised.change == jobs["narrative"].delivered.change == 0
    assert (whole.promised.before, whole.delivered.requests) == (1_900, 11)
