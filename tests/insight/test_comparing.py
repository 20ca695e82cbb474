"""A difference is told with the doubt that it has, and not at all from too little."""

from __future__ import annotations

import random

import pytest

from gateway.insight.comparing import Group, compare


def a_side(
    values: int, requests: int, mean: float, seed: int, *, unlike: float = 0.3
) -> list[Group]:
    """Values of unequal size, whose own means lie around one."""
    chance = random.Random(seed)
    found = []
    for _ in range(values):
        number = 1 + int(chance.expovariate(1 / requests))
        own = mean * chance.lognormvariate(0, unlike)
        found.append(Group(number, sum(own * chance.uniform(0.5, 1.5) for _ in range(number))))
    return found


@pytest.mark.parametrize(("old", "new"), [(8, 8), (40, 8), (20, 20)])
def test_of_two_equal_sides_a_difference_is_told_about_once_in_twenty(old: int, new: int) -> None:
    wrong = 0
    for trial in range(400):
        sides = a_side(old, 30, 1.0, trial), a_side(new, 30, 1.0, 10_000 + trial)
        wrong += compare(*sides, "app").is_told
    assert 6 <= wrong <= 40  # 20 are expected; ten per cent would be dishonest


def test_the_requests_of_a_few_values_do_not_count_as_if_they_were_strangers() -> None:
    wrong = sum(
        compare(
            a_side(8, 3_000, 1.0, trial, unlike=1.0),
            a_side(8, 3_000, 1.0, 10_000 + trial, unlike=1.0),
            "app",
        ).is_told
        for trial in range(60)
    )
    assert wrong <= 8, "a spread between requests would tell a difference nearly every time"


def test_a_difference_that_is_there_is_told_and_lies_in_its_interval() -> None:
    found = compare(a_side(40, 50, 1.0, 1), a_side(40, 50, 2.0, 2), "app")
    assert found.is_told
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 1.0 < found.high < 2.0


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ([Group(50, 1.0)] * 20, [Group(500, 1.0)], "1 app on the new side, at least 8 needed"),
        ([Group(50, 1.0)] * 20, [], "no apps on the new side, at least 8 needed"),
        ([Group(50, 1.0)] * 3, [Group(50, 1.0)] * 9, "3 apps on the old side, at least 8 needed"),
        ([Group(50, 1.0)] * 9, [Group(1, 1.0)] * 9, "9 requests on the new side, at least 30"),
    ],
)
def test_too_little_is_said_to_be_too_little(old: list[Group], new: list[Group], why: str) -> None:
    found = compare(old, new, "app")
    assert why in found.few
    assert (found.low, found.high, found.is_told) == (None, None, False)


def test_failures_that_hardly_happen_are_bounded_and_not_compared() -> None:
    side = [Group(100, 0.0)] * 10
    found = compare(side, side, "app", rare=True)
    assert found.few == (
        "none on both sides together, at least 10 needed; none in 1,000 means at most 0.30% or so"
    )
    seen = compare([Group(100, 1.0)] * 10, [Group(100, 3.0)] * 10, "app", rare=True)
    assert not seen.few
    assert seen.is_told


def test_sides_that_never_vary_differ_exactly() -> None:
    found = compare([Group(10, 20.0)] * 9, [Group(10, 30.0)] * 9, "run")
    assert (found.old, found.new, found.low, found.high) == (2.0, 3.0, 1.0, 1.0)
