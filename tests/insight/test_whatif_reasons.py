"""What-if: each difference has its reason, and what cannot be served is told."""

from __future__ import annotations

from gateway.clock import FrozenClock
from gateway.insight.differences import by_job, by_model, refusals, total
from gateway.insight.placing import IN_HOUSE, LIMIT, NO_JOB, NO_PRICE
from gateway.metering.usage import Usage
from gateway.prices.rates import charge
from tests.gateways import BOOK
from tests.insight.asking import asked, changed
from tests.ledger.spending import BRAND, DATA, moment
from tests.treasury.booking import Books, charged, opening


def test_each_difference_has_its_reason(sqlite_url: str) -> None:
    text = changed(
        ("targets: [openai/gpt-test, openai/gpt-dear]", "targets: [spare/cheap]"),
        ("output_tokens: {max: 4000}", "output_tokens: {max: 300}"),
    )
    with opening(sqlite_url) as database:
        books = Books(database)
        books.book(Usage(input=100, output=50), BRAND)
        books.book(Usage(input=850, output=60), BRAND)  # 910 tokens in a window of 900
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
        books.book(Usage(input=1_000), BRAND)
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
            books.book(Usage(input=1_000), BRAND)
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
        Books(database).book(Usage(input=1_000), BRAND, **dear)
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
        books.book(Usage(input=1_000), BRAND)
        clock.move(2)
        books.book(Usage(input=1_000), BRAND)
        day = moment("2026-12-01T00:00:00+00:00")
        spent = [
            total(asked(database, text, **more).tally).replayed
            for more in ({}, {"prices_at": day}, {"prices_at": 1})
        ]
    assert spent == [6_000, 10_000, 2_000]


def test_a_model_without_a_price_is_refused(sqlite_url: str) -> None:
    text = changed(("[openai/gpt-test, openai/gpt-dear]", "[openai/unknown]"))
    with opening(sqlite_url) as database:
        Books(database).book(Usage(input=1_000), BRAND)
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
        hold = books.hold(10**12, 10**6, BRAND, **target)
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
        hold = books.hold(10**13, 10**7, BRAND, target="openai/gpt-5.4", model="gpt-5.4")
        books.end(hold, charged(usage, amount_nanos=cost, rates=base, model_served="gpt-5.4"))
        found = total(asked(database, live).tally)
    assert found.replayed == found.booked == cost


def test_private_traffic_that_could_leave_is_told_by_the_path(sqlite_url: str) -> None:
    house = {"target": "house/small", "provider": "house", "residency": "on_prem"}
    both = changed(("[openai/gpt-test, openai/gpt-dear]", "[house/small, spare/cheap]"))
    out_at_once = changed(("targets: [openai/gpt-test]", "targets: [spare/cheap]"))
    with opening(sqlite_url) as database:
        books = Books(database)
        books.book(Usage(input=10), BRAND, **house, confined=True)
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
        Books(database).book(Usage(input=10, output=1), BRAND, **asked_for)
        found = [asked(database, text) for text in (wide, narrow)]
    assert set(found[0].tally.told_before) == {
        ("extraction", "temperature -> 1.0 (job maximum)"),
        ("extraction", "max_tokens -> 4000 (job limit)"),
    }
    assert set(found[0].tally.told_after) == {("extraction", "max_tokens -> 4000 (job limit)")}
    assert ("extraction", "temperature -> 0.5 (job maximum)") in found[1].tally.told_after
    assert found[1].defaults == {"extraction": ["temperature not sent -> 0.2"]}
