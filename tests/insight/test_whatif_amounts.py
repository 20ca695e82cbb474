"""What-if: every kind of entry comes to the amount that the gateway itself would book."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.options import rules_of
from gateway.errors import ConfigurationError
from gateway.insight.differences import by_job, total
from gateway.insight.placing import Placing, Terms
from gateway.insight.recorded import Part, Row, parts_of
from gateway.insight.replay import Replay
from gateway.insight.replaying import Texts, Work, replay_all
from gateway.insight.whatif import Question, ask
from gateway.jobs.files import Files
from gateway.jobs.loading import parse
from gateway.ledger.entries import CHARGE_STATED, REPORTED, Aside, Ending
from gateway.ledger.reading import Books as Reading
from gateway.metering.usage import CLASSES, Usage
from gateway.prices.rates import charge
from tests.gateways import BOOK
from tests.insight.asking import EVERYTHING, asked, changed
from tests.insight.conftest import SHIPPED, Past
from tests.ledger.spending import BRAND, Spending, something_of_everything
from tests.treasury.booking import Books, charged, opening, rows

nanos = st.integers(1, 10**11)
tokens = st.integers(0, 10**6)


@given(
    prices=st.tuples(nanos, nanos, nanos),
    usages=st.lists(st.tuples(tokens, tokens, tokens, tokens), min_size=1, max_size=5),
)
def test_the_short_way_to_an_amount_comes_to_what_charge_does(
    prices: tuple[int, int, int], usages: list[tuple[int, int, int, int]]
) -> None:
    usd = [f'"{price // 10**9}.{price % 10**9:09}"' for price in prices]
    text = changed(
        ("gpt-test: {price: {input: 0.0015", f"gpt-test: {{price: {{input: {usd[0]}"),
        ("cache_read: 0.000000001, output: 0.003333333", f"cache_read: {usd[1]}, output: {usd[2]}"),
        ("default: 1000, max: 4000", "max: 2000000"),
    )
    routes = parse(text, "routes.yaml", BOOK, {})
    price = routes.jobs["extraction"].targets[0].price
    assert price is not None
    what = "\x1f".join(
        ["extraction", "", "openai/gpt-test", "", "", "brand", "p", "1", "0", "cloud", "", "", ""]
    )
    made: list[Row] = [(0, what, *usage, None, 0, None, None) for usage in usages]
    replay = Replay(Placing(Terms(routes, BOOK, ()), None), ())
    replay.take(made)
    names = ("input", "cache_read", "output", "reasoning")
    expected = sum(
        charge(price, Usage(**dict(zip(names, usage, strict=True))), None).amount_nanos
        for usage in usages
    )
    assert [sums.replayed for sums in replay.tally().groups.values()] == [expected]


def test_what_is_no_product_of_prices_stays_and_all_else_is_priced_again(
    database_url: str,
) -> None:
    text = changed(("gpt-test: {price: {input: 0.0015", "gpt-test: {price: {input: 0.0017"))
    price = parse(text, "routes.yaml", BOOK, {}).jobs["narrative"].targets[0].price
    assert price is not None
    with opening(database_url) as database:
        something_of_everything(Spending(database))
        found = asked(database, text)
        names = ("kind", "quality", "author", "reason", "amount_nanos", *CLASSES)
        entries = rows(database, f"SELECT {', '.join(names)} FROM entries")
    expected = 0
    for kind, quality, author, reason, amount, *counts in entries:
        product = quality != "presumed" and reason != CHARGE_STATED
        if product and (kind == "charge" or (kind == "adjust" and author == "gateway")):
            usage = Usage(**dict(zip(CLASSES, counts, strict=True)))
            amount = charge(price, usage, None).amount_nanos
        expected += amount
    whole = total(found.tally)
    assert (whole.entries, whole.replayed) == (len(entries), expected)
    assert whole.replayed != whole.booked == sum(row[4] for row in entries)


def test_an_unchanged_file_makes_no_difference_to_three_months(past: Past) -> None:
    files_ = Files.at(SHIPPED)
    rules_of(files_)
    question = Question(files_, EVERYTHING, default=files_)
    found = ask(past.database, "main", rules_of, question, lambda _so_far, _all: None)
    assert found.tally.entries == past.written.entries
    assert all(sums.booked == sums.replayed for sums in found.tally.groups.values())
    assert [line.reasons for line in by_job(found.tally)] == [{}] * 5


def test_several_processes_and_any_parts_come_to_the_same(past: Past) -> None:
    files_ = Files.at(SHIPPED)
    rules_of(files_)
    texts = Texts.of(files_)
    url = past.database.url.render_as_string(hide_password=False)
    work = Work(url, "main", rules_of, texts, (texts, None), texts)
    first = rows(past.database, "SELECT MIN(admitted_at) FROM entries")[0][0]
    border = first + 20 * 24 * 3_600_000_000 + 1
    tallies = []
    for size, borders, processes in ((10**9, (), 1), (700, (), 1), (2_000, (border,), 2)):
        with past.database.reading() as cursor:
            parts = parts_of(Reading(cursor, "main", True), 0, past.now, borders=borders, size=size)
        assert all(a.end <= b.start for a, b in pairwise(parts))
        claimed = [Part(p.start, p.end, 10**6, p.era) for p in parts]
        told: list[int] = []
        tallies.append(replay_all(work, claimed, processes, told.append))
        assert sum(told) == past.written.entries
    sums = [
        {(g.team, g.job, g.target): s.booked for g, s in t.groups.items() if not g.passed_on}
        for t in tallies
    ]
    assert sums[0] == sums[1]
    assert len({total(t).booked for t in tallies}) == 1


def test_what_no_process_can_do_is_told(past: Past) -> None:
    texts = Texts("routes.yaml", {"routes.yaml": "not rules"})
    url = past.database.url.render_as_string(hide_password=False)
    work = Work(url, "main", rules_of, texts, (None,), None)
    with pytest.raises(ConfigurationError):
        replay_all(work, [Part(0, 1, 1)], 1, lambda _entries: None)


def test_a_correction_of_a_price_is_part_of_what_its_entry_was_booked_at(sqlite_url: str) -> None:
    right = changed(("gpt-test: {price: {input: 0.0015", "gpt-test: {price: {input: 0.0012"))
    with opening(sqlite_url) as database:
        books = Spending(database)
        entry = books.book(Usage(input=1_000), BRAND)
        books.adjust(entry.id, -300, "rerated: the contract of October")
        books.adjust(entry.id, -7, "a kindness")
        whole = total(asked(database, right).tally)
    assert whole.booked == whole.replayed == 1_193


def test_what_an_answer_used_beside_its_model_stays_as_it_was_booked(sqlite_url: str) -> None:
    text = changed(("[openai/gpt-test, openai/gpt-dear]", "[spare/cheap]"))
    search = Ending(outcome="ok", quality=REPORTED, amount_nanos=50, usage=Usage(requests=1))
    beside = Aside(target="openai/file_search", model="file_search", ending=search)
    with opening(sqlite_url) as database:
        books = Books(database)
        books.end(books.hold(10**6, 10**6, BRAND), charged(Usage(input=100), beside=(beside,)))
        found = asked(database, text)
    assert total(found.tally).replayed == 100 + 50
    assert {group.new_target for group in found.tally.groups} == {
        "spare/cheap",
        "openai/file_search",
    }
