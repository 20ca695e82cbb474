"""What a job does when money is short, and what a budget carries over, as routes.yaml says it."""

from __future__ import annotations

import pytest

from gateway.jobs.routes import Budget
from tests.jobs.samples import changed, loaded, problems

LIMIT = "limit: 2000 USD, period: month"
DOLLAR = 1_000_000_000


def budget_with(words: str, limit: str = LIMIT) -> Budget:
    """The budget of the small file, with more words."""
    (found,) = loaded(changed((LIMIT, f"{limit}, {words}"))).budgets
    return found


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("rollover: true", None),
        ("rollover: true, rollover_max: 50%", 1000 * DOLLAR),
        ("rollover: true, rollover_max: 0%", 0),
        ("rollover: true, rollover_max: 100%", 2000 * DOLLAR),
        ("rollover: true, rollover_max: 1.5 USD", 1_500_000_000),
    ],
)
def test_a_budget_rolls_over_up_to_a_part_or_an_amount(words: str, most: int | None) -> None:
    found = budget_with(words)
    assert (found.rollover, found.rollover_max) == (True, most)


def test_a_budget_does_not_roll_over_unless_it_says_so() -> None:
    found = budget_with("enforce: hard")
    assert (found.rollover, found.rollover_max) == (False, None)


@pytest.mark.parametrize(
    ("words", "limit", "problem"),
    [
        ("rollover_max: 50%", LIMIT, "is for a budget with rollover: true"),
        ("rollover: true, rollover_max: 101%", LIMIT, 'must be like "50%"'),
        ("rollover: true, rollover_max: half", LIMIT, 'must be like "50%"'),
        ("rollover: true, rollover_max: 5 tokens", LIMIT, "must be in the unit of the limit"),
        (
            "rollover: true",
            "limit: 2 USD, period: minute",
            "the period minute carries nothing over",
        ),
        (
            "rollover: true",
            "limit: 2 USD, period: forever",
            "the period forever carries nothing over",
        ),
    ],
)
def test_what_cannot_roll_over_is_a_problem(words: str, limit: str, problem: str) -> None:
    (found,) = problems(changed((LIMIT, f"{limit}, {words}")))
    assert problem in found


OWNER = "    owner: data\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ("refuse", 1)),
        ("    when_short: refuse\n", ("refuse", 1)),
        ("    when_short: shorten\n    shorten_to_at_least: 200\n", ("shorten", 200)),
    ],
)
def test_a_job_says_what_it_does_when_money_is_short(words: str, expected: tuple[str, int]) -> None:
    job = loaded(changed((OWNER, OWNER + words))).jobs["extraction"]
    assert (job.when_short, job.shorten_to_at_least) == expected


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("    when_short: shorten\n", "shorten needs shorten_to_at_least"),
        ("    when_short: shorten\n    shorten_to_at_least: 5000\n", "is more than max 4000"),
        ("    shorten_to_at_least: 5\n", "is for a job with when_short: shorten"),
        ("    when_short: beg\n", "not 'beg'"),
    ],
)
def test_what_a_job_cannot_do_is_a_problem(words: str, problem: str) -> None:
    (found,) = problems(changed((OWNER, OWNER + words)))
    assert problem in found


def test_a_single_target_has_nothing_to_downgrade_to() -> None:
    (warning,) = loaded(changed((OWNER, OWNER + "    when_short: downgrade\n"))).warnings
    assert "nothing to downgrade to" in warning
