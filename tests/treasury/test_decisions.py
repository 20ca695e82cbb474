"""May this request go? The same answer in every scope, in order of arrival, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs.routes import Budget, Scope
from gateway.treasury.budgets import Amounts, Payer, in_scope
from gateway.treasury.decisions import Line, Shortage, State, decide, give_back

SCOPES = [
    Scope("organisation"),
    Scope("team"),
    Scope("team", "brand"),
    Scope("app"),
    Scope("app", "site"),
    Scope("key"),
    Scope("key", "key_1"),
    Scope("job"),
    Scope("job", "extraction"),
    Scope("tag", None, "run"),
    Scope("tag", "nightly", "run"),
]
UNITS = ("usd", "tokens", "requests")
PAYER = Payer("brand", "site", "key_1", "extraction", {"run": "nightly", "stage": "draft"})


def a_budget(limit: int = 100, **changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "name": "cap",
        "scope": Scope("organisation"),
        "limit": limit,
        "unit": "usd",
        "period": "month",
        "hard": True,
        "contact": "",
    }
    return Budget(**fields | changes)


def a_line(amount: int, budget: Budget) -> Line:
    return Line(budget, "", 0, 1000, amount)


class Book:
    """Some balances, and requests that come one after the other."""

    def __init__(self, *budgets: Budget, spent: int = 0, held: int = 0) -> None:
        self.budgets = budgets
        self.states = [
            State(i, b.unit, spent, held, 0, b.limit, b.hard) for i, b in enumerate(budgets)
        ]
        self.waited_for: set[int] = set()

    def ask(self, *amounts: int | None, waits: bool = True) -> str:
        """One amount for each budget; None is not in its scope."""
        lines = [
            (a_line(amount, self.budgets[i]), self.states[i])
            for i, amount in enumerate(amounts)
            if amount is not None
        ]
        before = [(s.spent, s.held) for s in self.states]
        found = decide(lines, self.waited_for, waits=waits)
        if found is None:
            return "fits"
        assert [(s.spent, s.held) for s in self.states] == before, "who does not go takes nothing"
        return "never" if found.for_good else "wait"


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@pytest.mark.parametrize("unit", UNITS)
def test_the_last_of_a_budget_can_be_spent_in_every_scope_and_no_more(
    scope: Scope, unit: str
) -> None:
    budget = a_budget(100, scope=scope, unit=unit)
    assert [each for each, _ in in_scope([budget], PAYER)] == [budget]
    assert Amounts(1, 2, 3).of(unit) == {"usd": 1, "tokens": 2, "requests": 3}[unit]
    assert Book(budget, spent=60).ask(40) == "fits"
    assert Book(budget, spent=60).ask(41) == "never"
    assert Book(budget, spent=50, held=10).ask(40) == "fits"
    assert Book(budget, spent=50, held=10).ask(41) == "wait"
    assert Book(budget, spent=50, held=10).ask(50) == "wait"
    assert Book(budget, spent=50, held=10).ask(51) == "never"


@pytest.mark.parametrize(
    ("limit", "spent", "held", "amount", "answer"),
    [
        (100, 0, 0, 100, "fits"),
        (100, 0, 0, 101, "never"),
        (100, 0, 1, 100, "wait"),
        (100, 0, 100, 1, "wait"),
        (100, 100, 0, 1, "never"),
        (100, 99, 1, 1, "wait"),
        (0, 0, 0, 1, "never"),
        (0, 0, 0, 0, "fits"),
    ],
)
def test_it_waits_only_for_what_others_hold(
    limit: int, spent: int, held: int, amount: int, answer: str
) -> None:
    assert Book(a_budget(limit), spent=spent, held=held).ask(amount) == answer


@pytest.mark.parametrize(("spent", "held"), [(100, 0), (130, 0), (0, 100), (90, 10)])
def test_who_needs_nothing_of_a_budget_is_not_stopped_by_it(spent: int, held: int) -> None:
    book = Book(a_budget(100), a_budget(10, name="other"), spent=spent, held=held)
    book.states[1].spent = book.states[1].held = 0
    assert book.ask(0, 10) == "fits"
    assert not book.states[0].changed


def test_a_budget_that_only_warns_counts_and_stops_nobody() -> None:
    book = Book(a_budget(100, hard=False))
    assert book.ask(500) == "fits"
    assert book.ask(500) == "fits"
    assert book.states[0].held == 1000


def test_nothing_is_taken_anywhere_when_one_of_several_budgets_is_short() -> None:
    book = Book(a_budget(100), a_budget(5, name="small"), a_budget(1, name="warns", hard=False))
    assert book.ask(10, 6, 6) == "never"
    assert [state.held for state in book.states] == [0, 0, 0]
    assert not any(state.changed for state in book.states)


def test_never_is_said_before_wait() -> None:
    book = Book(a_budget(100), a_budget(5, name="small"))
    book.states[0].held = 95
    assert book.ask(10, 6) == "never"
    assert book.waited_for == set()


def test_a_refusal_names_the_budget_and_what_it_was_at() -> None:
    budgets = [a_budget(100), a_budget(50, name="team")]
    states = [
        State(1, "usd", 10, 20, 0, 100, hard=True),
        State(2, "usd", 30, 5, 0, 50, hard=True),
    ]
    lines = [(a_line(18, budget), state) for budget, state in zip(budgets, states, strict=True)]
    shortage = decide(lines, set(), waits=True)
    assert shortage == Shortage(lines[1][0], spent=30, held=5, for_good=False)


def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    book = Book(a_budget(100), held=50)
    assert [book.ask(80), book.ask(1), book.ask(50)] == ["wait", "wait", "wait"]
    assert Book(a_budget(100), held=50).ask(1) == "fits"


def test_a_large_one_that_never_fits_keeps_nobody_out() -> None:
    book = Book(a_budget(100), held=50)
    assert [book.ask(101), book.ask(50)] == ["never", "fits"]


def test_one_that_will_not_wait_keeps_nobody_out_and_overtakes_nobody() -> None:
    book = Book(a_budget(100), held=50)
    assert [book.ask(80, waits=False), book.ask(10)] == ["wait", "fits"]
    assert [book.ask(80), book.ask(1, waits=False)] == ["wait", "wait"]


def test_waiting_for_one_budget_does_not_stop_those_who_are_not_in_its_scope() -> None:
    book = Book(a_budget(100, name="brand"), a_budget(100, name="legal"))
    book.states[0].held = 90
    assert [book.ask(50, None), book.ask(None, 50), book.ask(5, None)] == ["wait", "fits", "wait"]


def test_one_that_waits_keeps_its_place_in_all_its_budgets() -> None:
    book = Book(a_budget(100, name="team"), a_budget(100, name="organisation"))
    book.states[0].held = 90
    assert [book.ask(50, 50), book.ask(None, 60), book.ask(None, 0)] == ["wait", "wait", "fits"]


def test_one_that_waits_does_not_stop_others_by_a_budget_of_which_it_needs_nothing() -> None:
    book = Book(a_budget(100, name="dollars"), a_budget(9, name="requests", unit="requests"))
    book.states[0].held = 90
    assert [book.ask(50, 0), book.ask(None, 1)] == ["wait", "fits"]


def test_a_passing_request_notes_the_limit_that_it_passed() -> None:
    budget = a_budget(80, hard=True)
    state = State(1, "usd", 10, 0, 0, limit=100, hard=False)
    assert decide([(a_line(70, budget), state)], set(), waits=True) is None
    assert (state.limit, state.hard, state.held, state.changed) == (80, True, 70, True)


@pytest.mark.parametrize(
    ("ceiling", "spent", "overrun"), [(40, 10, 0), (40, 40, 0), (40, 55, 15), (0, 7, 7), (40, 0, 0)]
)
def test_giving_back_frees_what_was_held_and_counts_what_went_over(
    ceiling: int, spent: int, overrun: int
) -> None:
    state = State(1, "usd", 5, 100, 1, 200, hard=True)
    give_back(state, ceiling, spent, ceiling)
    assert (state.spent, state.held, state.overrun) == (5 + spent, 100 - ceiling, 1 + overrun)
    assert state.changed


amounts = st.lists(st.integers(0, 60), min_size=1, max_size=12)


@given(st.integers(0, 100), amounts, st.lists(st.booleans(), min_size=12, max_size=12))
def test_in_any_order_nothing_passes_the_limit_and_room_is_left_only_for_a_reason(
    limit: int, wanted: list[int], patience: list[bool]
) -> None:
    book = Book(a_budget(limit))
    answers = [book.ask(a, waits=p) for a, p in zip(wanted, patience, strict=False)]
    taken = sum(a for a, answer in zip(wanted, answers, strict=True) if answer == "fits")
    assert book.states[0].held == taken <= limit
    somebody_waits = False
    held = 0
    for amount, answer, waits in zip(wanted, answers, patience, strict=False):
        fits = held + amount <= limit
        if amount == 0:
            assert answer == "fits"
        elif amount > limit:
            assert answer == "never"
        else:
            assert answer == ("fits" if fits and not somebody_waits else "wait")
        somebody_waits |= answer == "wait" and waits
        held += amount if answer == "fits" else 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=20))
def test_whatever_is_held_and_given_back_the_overrun_is_what_went_beyond_ceilings(
    ends: list[tuple[int, int]],
) -> None:
    book = Book(a_budget(10_000))
    for ceiling, _ in ends:
        assert book.ask(ceiling) == "fits"
    for ceiling, spent in ends:
        give_back(book.states[0], ceiling, spent, ceiling)
    state = book.states[0]
    assert state.held == 0
    assert state.spent == sum(spent for _, spent in ends)
    assert state.overrun == sum(max(0, spent - ceiling) for ceiling, spent in ends)
