"""The synthetic company: what is in its days, and that nobody can take it for a real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from gateway.insight import company
from gateway.insight.synthetic import Company, scaled
from gateway.jobs.routes import Routes
from gateway.ledger.entries import COUNTED, LAPSE, PRESUMED, REPORTED
from gateway.prices.rates import charge
from gateway.treasury.finished import Finished

ORIGIN = date(2024, 11, 1)
MONTH = timedelta(days=30.4375)


def month(number: float) -> date:
    """The first whole day after so many months of the story."""
    return ORIGIN + number * MONTH + timedelta(days=1)


def a_weekday(day: date, weekday: int) -> date:
    return day + timedelta(days=(weekday - day.weekday()) % 7)


def spent(attempts: Sequence[Finished], **wanted: str) -> int:
    return sum(
        attempt.ending.amount_nanos
        for attempt in attempts
        if all(getattr(attempt.draft, name) == value for name, value in wanted.items())
    )


def a_week(firm: Company, first: date) -> list[Finished]:
    return [a for number in range(7) for a in firm.day(first + timedelta(days=number))]


@pytest.fixture(scope="module")
def firm(shipped: Routes) -> Company:
    return Company(shipped, ORIGIN)


def test_a_seed_is_a_company(firm: Company, shipped: Routes) -> None:
    day = month(6)
    assert firm.day(day) == Company(shipped, ORIGIN, seed=1).day(day)
    assert firm.day(day) != Company(shipped, ORIGIN, seed=2).day(day)


def test_nobody_can_take_it_for_a_real_one(firm: Company) -> None:
    for attempt in firm.day(month(12)):
        assert attempt.draft.team.startswith("synthetic-")
        assert attempt.ending.upstream_id == "synthetic"


def test_its_entries_are_what_the_gateway_would_have_written(
    firm: Company, shipped: Routes
) -> None:
    attempts = a_week(firm, month(20))
    assert len({attempt.id for attempt in attempts}) == len(attempts)
    assert {a.ending.quality for a in attempts} == {REPORTED, COUNTED, PRESUMED}
    for attempt in attempts:
        draft, ending, ceiling = attempt.draft, attempt.ending, attempt.ceiling
        job = shipped.jobs[draft.job]
        target = next(t for t in job.targets if t.name == draft.target)
        assert attempt.id == f"{draft.request_id}.{draft.attempt}"
        assert set(draft.tags) <= job.tags
        assert ending.amount_nanos <= ceiling.nanos
        assert ending.tokens <= ceiling.tokens
        assert attempt.admitted_at < attempt.recorded_at
        if ending.kind != LAPSE and target.price is not None:
            assert ending.amount_nanos == charge(target.price, ending.usage, None).amount_nanos
        if draft.job == "private":
            assert (draft.residency, draft.confined) == ("on_prem", True)


def test_a_day_is_in_order_and_within_itself(firm: Company) -> None:
    first, second = firm.day(month(3)), firm.day(month(3) + timedelta(days=1))
    moments = [attempt.admitted_at for attempt in (*first, *second)]
    assert moments == sorted(moments)


def test_weekends_and_holidays_are_quiet(firm: Company) -> None:
    first = a_weekday(month(3), 0)
    week = [len(firm.day(first + timedelta(days=number))) for number in range(7)]
    assert max(week[5:]) < min(week[:5]) * 0.75
    assert len(firm.day(date(2025, 12, 25))) < min(week[:5]) * 0.75


@pytest.mark.parametrize(
    ("year", "easter_monday"),
    [(2024, (4, 1)), (2025, (4, 21)), (2026, (4, 6)), (2027, (3, 29)), (2049, (4, 19))],
)
def test_easter_is_when_it_is(year: int, easter_monday: tuple[int, int]) -> None:
    assert date(year, *easter_monday) in company.holidays(year)


def test_an_app_is_launched_and_another_one_stops(firm: Company) -> None:
    def apps(number: float) -> set[str]:
        return {attempt.draft.app for attempt in firm.day(a_weekday(month(number), 1))}

    assert "help-centre" not in apps(8.5)
    assert "help-centre" in apps(9.5)
    assert "translation-trial" in apps(13.5)
    assert "translation-trial" not in apps(14.3)


def test_a_price_cut_lowers_what_the_same_tokens_cost(firm: Company, shipped: Routes) -> None:
    target = shipped.jobs["extraction"].targets[0]

    def rate(number: float) -> int:
        found = next(a for a in firm.day(month(number)) if a.draft.target == target.name)
        assert found.draft.rates is not None
        return found.draft.rates.output

    assert target.price is not None
    assert rate(13) == target.price.rates.output
    assert rate(11) == target.price.rates.output * 7 // 5


def test_a_runaway_agent_spends_a_weekend(firm: Company) -> None:
    saturday = a_weekday(ORIGIN + timedelta(days=round(7.2 * 30.4375)), 5)
    mad, calm = firm.day(saturday), firm.day(saturday - timedelta(days=7))
    assert spent(mad, app="catalogue-agent") > 5 * spent(calm, app="catalogue-agent")
    assert any(a.draft.app == "catalogue-agent" and not a.draft.tags for a in mad)


def test_the_second_one_has_a_run_that_a_budget_can_stop(firm: Company) -> None:
    wednesday = a_weekday(ORIGIN + timedelta(days=round(22.4 * 30.4375)), 2)
    runs: Counter[str] = Counter()
    for attempt in firm.day(wednesday):
        runs[attempt.draft.tags.get("run", "")] += attempt.ending.amount_nanos
    assert runs[f"nightly-in-a-loop-{wednesday}"] > 5_000_000_000


def test_an_outage_sends_requests_to_the_next_target(firm: Company) -> None:
    day = ORIGIN + timedelta(days=round(16.3 * 30.4375))
    failed = [a for a in firm.day(day) if a.ending.outcome == "upstream_failed"]
    assert len(failed) > 20
    assert {a.ending.amount_nanos for a in failed} == {0}
    answered = {a.id for a in firm.day(day)}
    assert all(f"{a.draft.request_id}.2" in answered for a in failed)


def test_a_larger_company_has_more_requests_and_larger_limits(shipped: Routes) -> None:
    day = a_weekday(month(5), 1)
    small, large = (len(Company(shipped, ORIGIN, scale=s).day(day)) for s in (0.2, 2.0))
    assert 7 < large / small < 13
    limits = {b.name: b.limit for b in shipped.budgets}
    grown = {b.name: b.limit for b in scaled(shipped, 3).budgets}
    assert grown["everything"] == 3 * limits["everything"]
    assert grown["one-run"] == limits["one-run"]
    assert grown["app-rate"] == limits["app-rate"]
