"""Two sides of a trial compared: the difference of their means, and how sure one can be of it.

Requests of one app, or of one run, resemble each other, and a trial puts all of them on one side.
So what is drawn by lot is not the request but the value it sticks by, and the spread is taken
between those values: a thousand requests of one app say little about the next app. The interval
is Student's t with the degrees of freedom of Welch and Satterthwaite; with few values, or few
requests, or hardly any failures to count, there is none, and the reason is told instead.

Means are floats: they are estimates, and the books do not need them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
VALUES_AT_LEAST = 8
"""Values (apps, runs) on each side; with fewer the spread between them is not known."""
REQUESTS_AT_LEAST = 30
EVENTS_AT_LEAST = 10
"""Of what is counted (failures), on both sides together; a mean of hardly any is no mean."""
_RULE_OF_THREE = 3.0
"""Nothing seen in n independent trials: at most 3/n of them, with 95 % confidence."""


@dataclass(frozen=True, slots=True)
class Group:
    """The requests of one value: how many, and the sum of what is measured in them."""

    requests: int
    total: float


@dataclass(frozen=True, slots=True)
class Difference:
    """New less old, in the unit of what was measured.

    `low` and `high` are the ends of the interval; None when there is too little to tell, and
    then `few` says why. `old` and `new` are None for a side without a request.
    """

    old: float | None
    new: float | None
    low: float | None = None
    high: float | None = None
    few: str = ""

    @property
    def is_told(self) -> bool:
        """Whether zero is outside the interval: the sides differ, as far as one can know."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


def compare(
    old: Sequence[Group], new: Sequence[Group], noun: str, *, rare: bool = False
) -> Difference:
    """The difference of the means per request; `noun` is what a value is: app, run.

    `rare`: what is measured happens or not, and mostly does not.
    """
    means = _mean(old), _mean(new)
    few = _few(old, new, noun) or (_rare(old, new) if rare else "")
    if few or means[0] is None or means[1] is None:
        return Difference(*means, few=few)
    spread, freedom = _spread(old, new)
    difference, reach = means[1] - means[0], _t(freedom) * spread
    return Difference(*means, low=difference - reach, high=difference + reach)


def _mean(groups: Sequence[Group]) -> float | None:
    requests = sum(group.requests for group in groups)
    return sum(group.total for group in groups) / requests if requests else None


def _few(old: Sequence[Group], new: Sequence[Group], noun: str) -> str:
    for name, side in (("new", new), ("old", old)):
        if len(side) < VALUES_AT_LEAST:
            return (
                f"{_number(len(side), noun)} on the {name} side, at least {VALUES_AT_LEAST} needed"
            )
        requests = sum(group.requests for group in side)
        if requests < REQUESTS_AT_LEAST:
            said = _number(requests, "request")
            return f"{said} on the {name} side, at least {REQUESTS_AT_LEAST} needed"
    return ""


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}" + ("" if count == 1 else "s")


def _rare(old: Sequence[Group], new: Sequence[Group]) -> str:
    events = sum(group.total for group in (*old, *new))
    if events >= EVENTS_AT_LEAST:
        return ""
    seen = round(events)
    said = f"{seen or 'none'} on both sides together, at least {EVENTS_AT_LEAST} needed"
    requests = sum(group.requests for group in new)
    if sum(group.total for group in new) == 0:
        said += f"; none in {requests:,} means at most {_RULE_OF_THREE / requests:.2%} or so"
    return said


def _spread(old: Sequence[Group], new: Sequence[Group]) -> tuple[float, float]:
    """The standard error of the difference, and its degrees of freedom."""
    variances, freedoms = (
        tuple(map(_variance, (old, new))),
        tuple(map(_freedom, (old, new))),
    )
    together = sum(variances)
    if together == 0:
        return 0.0, min(freedoms)
    squares = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return math.sqrt(together), together**2 / squares


def _variance(groups: Sequence[Group]) -> float:
    """Of the mean per request: how it moves when one value after the other is left out."""
    requests = sum(group.requests for group in groups)
    mean = sum(group.total for group in groups) / requests
    moves = ((g.total - mean * g.requests) / (requests - g.requests) for g in groups)
    return (len(groups) - 1) / len(groups) * math.fsum(move**2 for move in moves)


def _freedom(groups: Sequence[Group]) -> float:
    """Degrees of freedom: values of unequal size count for fewer than there are."""
    requests = sum(group.requests for group in groups)
    return max(1.0, requests**2 / sum(group.requests**2 for group in groups) - 1)


def _t(freedom: float) -> float:
    """The two-sided quantile of Student's t, by its expansion around the normal one; within a
    hundredth from 3 degrees of freedom on."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
