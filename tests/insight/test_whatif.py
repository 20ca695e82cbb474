"""What-if: every kind of entry, every reason, and what the command line makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.cli.options import rules_of
from gateway.clock import FrozenClock, SystemClock
from gateway.errors import ConfigurationError
from gateway.insight.differences import by_job, by_model, refusals, total
from gateway.insight.placing import IN_HOUSE, LIMIT, NO_JOB, NO_PRICE, Placing, Terms
from gateway.insight.promises import FollowQuestion, Promise, follow
from gateway.insight.recorded import Part, Row, parts_of
from gateway.insight.replay import Replay
from gateway.insight.replaying import Texts, Work, replay_all
from gateway.insight.whatif import Question, WhatIf, ask
from gateway.jobs.files import Files
from gateway.jobs.loading import parse
from gateway.jobs.versions import FILE, Versions, Why
from gateway.ledger.entries import CHARGE_STATED, REPORTED, Aside, Ending
from gateway.ledger.queries import Range
from gateway.ledger.reading import Books as Reading
from gateway.metering.usage import CLASSES, Usage
from gateway.prices.book import PriceBook
from gateway.prices.rates import charge
from gateway.store.database import Database
from gateway.treasury.budgets import Payer
from tests.insight.conftest import SHIPPED, Past
from tests.ledger.spending import Spending, moment, something_of_everything
from tests.treasury.booking import Books, a_budget, charged, opening, rows

BOOK = PriceBook.bundled()
EVERYTHING = Range(0, 2**61)
SITE = Payer("brand", "site", "key_1", "extraction", {})
DATA = Payer("data", "bot", "key_2", "narrative", {})

FILE_TEXT = """
version: 1
organisation: {name: Test}
providers:
  openai: {wire: openai, base_url: "http://127.0.0.1:1/v1"}
  spare: {wire: openai, base_url: "http://127.0.0.1:2/v1"}
  house: {wire: openai, base_url: "http://127.0.0.1:3/v1", residency: on_prem}
models:
  openai/gpt-test: {price: {input: 0.0015, cache_read: 0.000000001, output: 0.003333333}}
  openai/gpt-dear: {price: {input: 0.003, output: 0.006}}
  spare/cheap: {price: {input: 0.001, output: 0.002}, context_window: 900}
  house/small: {price: free}
jobs:
  extraction:
    purpose: Structured output.
    owner: data
    targets: [openai/gpt-test, openai/gpt-dear]
    output_tokens: {default: 1000, max: 4000}
    tags: [run]
  narrative:
    purpose: Long texts.
    owner: brand
    targets: [openai/gpt-test]
    output_tokens: {max: 4000}
"""


def changed(*changes: tuple[str, str]) -> str:
    """The file with some texts replaced by others."""
    text = FILE_TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def files(text: str) -> Files:
    made = Files("routes.yaml", texts={"routes.yaml": text})
    rules_of(made)
    return made


def asked(database: Database, text: str, period: Range = EVERYTHING, **more: Any) -> WhatIf:
    """The answer, where FILE_TEXT is what was live."""
    question = Question(files(text), period, default=files(FILE_TEXT), **more)
    return ask(database, "main", rules_of, question, lambda _so_far, _all: None)


# ---- amounts

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
        entry = books.book(Usage(input=1_000), SITE)
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
        books.end(books.hold(10**6, 10**6, SITE), charged(Usage(input=100), beside=(beside,)))
        found = asked(database, text)
    assert total(found.tally).replayed == 100 + 50
    assert {group.new_target for group in found.tally.groups} == {
        "spare/cheap",
        "openai/file_search",
    }


# ---- reasons


def test_each_difference_has_its_reason(sqlite_url: str) -> None:
    text = changed(
        ("targets: [openai/gpt-test, openai/gpt-dear]", "targets: [spare/cheap]"),
        ("output_tokens: {max: 4000}", "output_tokens: {max: 300}"),
    )
    with opening(sqlite_url) as database:
        books = Books(database)
        books.book(Usage(input=100, output=50), SITE)
        books.book(Usage(input=850, output=60), SITE)  # 910 tokens in a window of 900
        books.book(Usage(input=100, output=500), DATA)
        books.book(Usage(input=100, output=250, reasoning=100), DATA)
        books.book(Usage(input=100, output=5_000), DATA)  # more than one answer may have had
        found = asked(database, text)
    lines = {line.name: line for line in by_job(found.tally)}
    told = {why: reason.nanos for why, reason in lines["extraction"].reasons.items()}
    old = [round(1.5 * read + 3.333333 * wrote) for read, wrote in ((100, 50), (850, 60))]
    moved = "target changed: openai/gpt-test -> spare/cheap"
    assert told == {moved: 200 - old[0], "context window: spare/cheap": -old[1]}
    # RATES charge nothing for reasoning; the file does, as for output
    assert {
        why: (reason.entries, reason.nanos) for why, reason in lines["narrative"].reasons.items()
    } == {
        "price changed: openai/gpt-test": (3, 1_317 - 983),
        LIMIT: (2, 1_150 - 1_817 + 1_150 - 1_317),
    }
    assert lines["narrative"].replayed == sum((1150, 1150, 16_817))
    assert refusals(found.tally).keys() == {("extraction", "context window of spare/cheap")}
    moves = {line.name: line.replayed for line in by_model(found.tally)}
    assert moves["spare/cheap"] == 200


def test_a_job_that_is_gone_is_no_saving(sqlite_url: str) -> None:
    text = changed(("  narrative:\n", "  tales:\n"), ("0.0015,", "0.003,"))
    with opening(sqlite_url) as database:
        books = Books(database)
        books.book(Usage(input=1_000), SITE)
        books.book(Usage(input=1_000_000), DATA)
        found = asked(database, text)
    whole = total(found.tally)
    assert refusals(found.tally)["narrative", NO_JOB].booked == 1_500_000
    assert (whole.booked, whole.replayed, whole.change) == (1_501_500, 3_000, 1)


def test_a_request_goes_by_the_alias_that_it_used(sqlite_url: str) -> None:
    text = changed(("jobs:\n", "aliases: {gpt-4o: narrative}\njobs:\n"))
    from_alias = '{"alias":"gpt-4o","budgets":"1/2/3"}'
    by_header = '{"by":"header","alias":"gpt-4o"}'
    with opening(sqlite_url) as database:
        books = Books(database)
        for _ in range(3):
            books.book(Usage(input=1_000), SITE)
        with database.writing() as cursor:
            for number, said in ((1, from_alias), (2, by_header), (3, '{"by":"header"}')):
                cursor.run(
                    "UPDATE entries SET decision = :said WHERE request_id = :name",
                    {"said": said, "name": f"req_main{number:04}"},
                )
        found = asked(database, text)
    jobs = {group.new_job: sums.requests for group, sums in found.tally.groups.items()}
    assert jobs == {"narrative": 2, "extraction": 1}


def test_who_was_passed_on_to_a_fallback_passes_the_same_targets_over(sqlite_url: str) -> None:
    dear = {"target": "openai/gpt-dear", "model": "gpt-dear"}
    with opening(sqlite_url) as database:
        Books(database).book(Usage(input=1_000), SITE, **dear)
        for chain, target in (
            ("openai/gpt-test, openai/gpt-dear", "openai/gpt-dear"),
            ("openai/gpt-test, spare/cheap", "spare/cheap"),
            ("spare/cheap, openai/gpt-dear", "spare/cheap"),
            ("openai/gpt-test", ""),
        ):
            text = changed(("openai/gpt-test, openai/gpt-dear", chain))
            (group,) = asked(database, text).tally.groups
            assert (group.new_target, group.passed_on) == (target, True)


def test_a_price_holds_from_its_day_on_or_as_of_the_day_that_is_named(sqlite_url: str) -> None:
    dated = "[{input: 0.001, output: 1}, {from: 2026-11-03, input: 0.005, output: 1}]"
    text = changed(("openai/gpt-dear: {price: {input: 0.003, output: 0.006}}", ""))
    text = text.replace(
        "gpt-test: {price: {input: 0.0015, cache_read: 0.000000001, output: 0.003333333}}",
        f"gpt-test: {{price: {dated}}}",
    ).replace(", openai/gpt-dear]", "]")
    with opening(sqlite_url) as database:
        clock = FrozenClock("2026-11-02T23:59:59+00:00")
        books = Books(database, clock=clock)
        books.book(Usage(input=1_000), SITE)
        clock.move(2)
        books.book(Usage(input=1_000), SITE)
        day = moment("2026-12-01T00:00:00+00:00")
        spent = [
            total(asked(database, text, **more).tally).replayed
            for more in ({}, {"prices_at": day}, {"prices_at": 1})
        ]
    assert spent == [6_000, 10_000, 2_000]


def test_a_model_without_a_price_is_refused(sqlite_url: str) -> None:
    text = changed(("[openai/gpt-test, openai/gpt-dear]", "[openai/unknown]"))
    with opening(sqlite_url) as database:
        Books(database).book(Usage(input=1_000), SITE)
        found = asked(database, text)
    assert refusals(found.tally).keys() == {("extraction", NO_PRICE)}


def test_the_model_that_answered_and_its_tier_have_their_own_price_while_the_target_stays(
    sqlite_url: str,
) -> None:
    """As they were billed: the book's price of the model that ran, on the tier that it named."""
    live = """
version: 1
organisation: {name: Test}
providers: {openai: {wire: openai, flavour: openai, base_url: "http://127.0.0.1:1/v1"}}
jobs:
  extraction: {purpose: A., owner: b, targets: [openai/gpt-5.4], output_tokens: {max: 9000}}
"""
    facts = BOOK.find("openai", "gpt-5.4-mini")
    assert facts is not None
    usage = Usage(input=12_345, output=678)
    paid = charge(facts.price, usage, "flex")
    assert paid.service_tier == "flex"
    with opening(sqlite_url) as database:
        books = Books(database)
        target = {"target": "openai/gpt-5.4", "model": "gpt-5.4"}
        hold = books.hold(10**12, 10**6, SITE, **target)
        more = {"model_served": "gpt-5.4-mini", "service_tier": "flex"}
        books.end(hold, charged(usage, amount_nanos=paid.amount_nanos, rates=paid.rates, **more))
        same = total(asked(database, live).tally)
        moved = total(asked(database, live.replace("gpt-5.4]", "gpt-5.4-nano]")).tally)
    nano = BOOK.find("openai", "gpt-5.4-nano")
    assert nano is not None
    assert same.replayed == same.booked == paid.amount_nanos
    assert moved.replayed == charge(nano.price, usage, "flex").amount_nanos


def test_rounds_on_one_size_tier_stay_on_it_though_together_they_reach_the_next(
    sqlite_url: str,
) -> None:
    facts = BOOK.find("openai", "gpt-5.4")
    assert facts is not None
    (tier,) = facts.price.tiers
    usage = Usage(input=tier.above + 1_000, output=10)
    base = facts.price.rates
    cost = (usage.input * base.input + usage.output * base.output) // 10**6
    live = """
version: 1
organisation: {name: Test}
providers: {openai: {wire: openai, flavour: openai, base_url: "http://127.0.0.1:1/v1"}}
jobs:
  extraction: {purpose: A., owner: b, targets: [openai/gpt-5.4], output_tokens: {max: 9000}}
"""
    with opening(sqlite_url) as database:
        books = Books(database)
        hold = books.hold(10**13, 10**7, SITE, target="openai/gpt-5.4", model="gpt-5.4")
        books.end(hold, charged(usage, amount_nanos=cost, rates=base, model_served="gpt-5.4"))
        found = total(asked(database, live).tally)
    assert found.replayed == found.booked == cost


def test_private_traffic_that_could_leave_is_told_by_the_path(sqlite_url: str) -> None:
    house = {"target": "house/small", "provider": "house", "residency": "on_prem"}
    both = changed(("[openai/gpt-test, openai/gpt-dear]", "[house/small, spare/cheap]"))
    out_at_once = changed(("targets: [openai/gpt-test]", "targets: [spare/cheap]"))
    with opening(sqlite_url) as database:
        books = Books(database)
        books.book(Usage(input=10), SITE, **house, confined=True)
        books.book(Usage(input=10), DATA, **house)
        leaving = [
            sorted(group.leaves for group in asked(database, text).tally.groups if group.leaves)
            for text in (both, out_at_once)
        ]
    assert leaving == [["confined", IN_HOUSE], ["confined", IN_HOUSE]]


def test_what_was_changed_tells_what_was_asked_and_so_what_would_be_changed(
    sqlite_url: str,
) -> None:
    """1.5 was clamped to 1: with a maximum of 2 it is left alone, with 0.5 clamped further."""
    asked_for = {
        "changed": ("temperature=1.5->1.0 (job maximum)", "max_tokens=9000->4000 (job limit)")
    }
    wide = changed(("    tags: [run]", "    tags: [run]\n    temperature: {max: 2}"))
    narrow = wide.replace("temperature: {max: 2}", "temperature: {max: 0.5, default: 0.2}")
    with opening(sqlite_url) as database:
        Books(database).book(Usage(input=10, output=1), SITE, **asked_for)
        found = [asked(database, text) for text in (wide, narrow)]
    assert set(found[0].tally.told_before) == {
        ("extraction", "temperature -> 1.0 (job maximum)"),
        ("extraction", "max_tokens -> 4000 (job limit)"),
    }
    assert set(found[0].tally.told_after) == {("extraction", "max_tokens -> 4000 (job limit)")}
    assert ("extraction", "temperature -> 0.5 (job maximum)") in found[1].tally.told_after
    assert found[1].defaults == {"extraction": ["temperature not sent -> 0.2"]}


# ---- budgets


def hits(database: Database, budgets: str, start: int = 0) -> list[tuple[str, str, int, int]]:
    found = asked(database, FILE_TEXT + "budgets:\n" + budgets, Range(start, 2**61))
    return [(hit.budget.name, hit.subject, hit.slot, hit.beyond) for hit in found.hits]


def test_a_budget_is_hit_in_the_second_in_which_it_is_passed(database_url: str) -> None:
    with opening(database_url) as database:
        clock = FrozenClock("2026-11-02T12:00:00+00:00")
        books = Books(database, clock=clock)
        for _ in range(4):
            books.book(Usage(input=1_000), SITE)
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
        books.book(Usage(input=4_000), SITE)
        clock.move(24 * 3600)
        books.book(Usage(input=1_000), SITE)
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
            books.book(Usage(input=1), SITE)
        for limit, expected in ((4, [5]), (5, []), (6, [])):
            question = Question(
                files(FILE_TEXT + rate.format(limit)),
                EVERYTHING,
                default=files(FILE_TEXT + rate.format(5)),
            )
            found = ask(database, "main", rules_of, question, lambda _so_far, _all: None)
            assert [hit.charged for hit in found.hits] == expected


# ---- promised and delivered


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
        books.book(Usage(input=600, output=30), SITE)
        books.book(Usage(input=600), DATA)
        clock.move(3600)
        a_version(database, cheaper, clock.micros)
        clock.move(1)
        usage, spare = Usage(input=60), {"target": "spare/cheap", "model": "cheap"}
        for _ in range(10):
            hold = books.hold(10**6, 100, SITE, provider="spare", **spare)
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


# ---- the command line


def jobgate(tmp_path: Path, url: str, text: str, *arguments: str) -> Result:
    (tmp_path / "routes.yaml").write_text(FILE_TEXT)
    (tmp_path / "new.yaml").write_text(text)
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "JOBGATE_ROUTES": str(tmp_path / "routes.yaml"),
        "JOBGATE_DATABASE_URL": url,
    }
    new = [] if "--follow" in arguments else [str(tmp_path / "new.yaml")]
    return CliRunner().invoke(app, ["whatif", *new, *arguments], env=environment)


DEARER = changed(("gpt-test: {price: {input: 0.0015", "gpt-test: {price: {input: 0.0018"))


@pytest.fixture
def url(sqlite_url: str) -> str:
    """Books of a team with an awkward name, which spent a little yesterday."""
    with opening(sqlite_url) as database:
        clock = FrozenClock()
        clock.micros = SystemClock().now() - 24 * 3_600_000_000
        books = Books(database, clock=clock)
        books.book(Usage(input=1_000_000), Payer("a|b <i>", "site", "key_1", "extraction", {}))
    return sqlite_url


INCREASES: Sequence[tuple[str, int]] = (("10%", 1), ("19.9", 1), ("20%", 0), ("25%", 0))


@pytest.mark.parametrize(("most", "status"), INCREASES)
def test_a_check_fails_when_the_cost_grows_by_more(
    tmp_path: Path, url: str, most: str, status: int
) -> None:
    told = jobgate(tmp_path, url, DEARER, "--fail-if-increase", most)
    assert told.exit_code == status, told.stderr
    assert ("the cost changes by +20.0%" in told.stderr) == bool(status)
    assert "+$0.000300 (+20.0%)" in told.stdout


def test_a_comment_shows_names_as_they_are(tmp_path: Path, url: str) -> None:
    told = jobgate(tmp_path, url, DEARER, "--format", "markdown").stdout
    assert r"| a\|b \<i> |" in told
    assert "<details><summary>Spend by model</summary>" in told
    assert told.count("<details>") == told.count("</details>")


def test_programs_are_told_exact_amounts(tmp_path: Path, url: str) -> None:
    told = json.loads(jobgate(tmp_path, url, DEARER, "--format", "json").stdout)
    assert told["difference_nanos"] == 300_000
    assert told["by_job"][0]["reasons"] == [
        {"why": "price changed: openai/gpt-test", "entries": 1, "nanos": 300_000}
    ]


def test_refused_requests_fail_a_check_that_asks_for_it(tmp_path: Path, url: str) -> None:
    text = changed(("  extraction:\n", "  other:\n"))
    assert jobgate(tmp_path, url, text, "--fail-if-increase", "0%").exit_code == 0
    told = jobgate(tmp_path, url, text, "--fail-if-refused")
    assert (told.exit_code, "1 request would be refused" in told.stderr) == (1, True)
    assert "refused: 1 request would get no answer" in told.stdout


REFUSED = {
    "a file that is not valid": ("jobs: [\n", [], "not valid YAML"),
    "no percentage": (FILE_TEXT, ["--fail-if-increase", "ten"], "write a percentage"),
    "no day": (FILE_TEXT, ["--prices-on", "soon"], "is not a day"),
    "no such version": (FILE_TEXT, ["--follow", "7"], "no version '7' was ever live"),
}


@pytest.mark.parametrize(("text", "arguments", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_is_said(
    tmp_path: Path, url: str, text: str, arguments: list[str], sentence: str
) -> None:
    told = jobgate(tmp_path, url, text, *arguments)
    assert told.exit_code == 2
    assert sentence in told.stderr
