"""Where a period will end: P10, P50 and P90 of what it comes to, and when the limit is reached.

P50 is what is spent, and an ordinary day for each day that is left (`rhythm`). The range around
it is how wrong the same reckoning was before: on every morning of the last year, as many days
ahead. So it is as wide as this series is hard to foretell, and eight times in ten the truth lies
in it; `backtest` shows whether it did.

With little history the past errors are those of fewer days ahead, stretched, and a wide range
that is assumed for everything counts for more. Without any, nothing is foretold: P10, P50 and P90
are what is spent, and the basis says so.

Figures are what the period comes to if nothing is refused: a hard budget stops at its limit.
Amounts are in one unit (nano-dollars, tokens, requests), the same one everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from gateway.insight.rhythm import Days, Rhythm

Basis = Literal["none", "little", "enough"]

LITTLE_DAYS = 28
"""With fewer days of history than this, a forecast says so."""
_LEARNT_AFTER = 14
"""Days after which a reckoning is worth remembering for its error."""
_REMEMBERED = 365
_HALF_LIFE = 240
"""Days after which an error counts half as much."""
_ASSUMED = tuple(z / 100 for z in (-164, -104, -67, -39, -13, 13, 39, 67, 104, 164))
"""Ten errors of an ordinary spread."""
_BELIEF, _BELIEF_AT_FIRST = 1.0, 56.0
"""How many errors that were seen they count for: always, and divided by the days of history."""
_SPREAD, _SPREAD_AT_FIRST = 0.5, 0.8
"""The spread that is assumed, as a logarithm: it was, or it was hardly, a month."""
_OF_FORECAST, _OF_SIZE = 0.05, 0.01
"""What is added to both sides before they are compared, so that nothing is compared with zero."""
_LOW, _HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Period:
    """The period to be foretold, on a morning or in the middle of its day `today`."""

    today: date
    ends: date
    """The first day that is not in it any more."""
    spent: int
    """So far, today included."""
    left_of_today: float = 1.0
    """The share of an ordinary day that is still to come today, from 0 to 1."""

    @property
    def days(self) -> int:
        """Days that are not over, today included."""
        return max(0, (self.ends - self.today).days)


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """The days on which a limit is reached; None where it is not, within the period.

    `early` is when it goes as in P90, `expected` as in P50, `late` as in P10.
    """

    early: date | None
    expected: date | None
    late: date | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the period will come to, in the unit of the series."""

    spent: int
    p10: int
    p50: int
    p90: int
    basis: Basis
    history_days: int
    exhaustion: Exhaustion | None = None
    """None without a limit."""

    @property
    def note(self) -> str:
        """What has to be said beside the figures; empty when nothing."""
        if self.basis == "none":
            return "no history yet: nothing is foretold"
        if self.basis == "little":
            days = "day" if self.history_days == 1 else "days"
            return f"only {self.history_days} {days} of history: the range is wide"
        return ""


def forecast(days: Days, period: Period, limit: int | None = None) -> Forecast:
    """The forecast from the days that are over; `days` ends with yesterday.

    Raises ValueError when it ends with another day.
    """
    if days.amounts and days.after != period.today:
        raise ValueError(f"the last day is not the one before {period.today}")
    return Forecaster(Rhythm(days)).at(len(days.amounts), period, limit)


class Forecaster:
    """Forecasts of one series, as they were made on any morning of it."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._errors: dict[tuple[int, int], float | None] = {}

    def at(self, number: int, period: Period, limit: int | None = None) -> Forecast:
        """What was foretold when so many days of the series were over."""
        history = max(0, number - self._rhythm.begins)
        if not history or not period.days:
            figures = (period.spent,) * 3
            basis: Basis = "enough" if history >= LITTLE_DAYS else "little" if history else "none"
            reached = _exhaustion(period, limit, [])
            return Forecast(period.spent, *figures, basis, history, reached)
        path = self._remaining(number, period)
        low, high = self._range(number, period.days)
        reckoned = path[-1]
        slack = self._slack(number, reckoned, period.days)
        ends = [
            max(0.0, (reckoned + slack) * math.exp(error) - slack) for error in (low, 0.0, high)
        ]
        p10, p50, p90 = (period.spent + round(end) for end in ends)
        scales = [end / reckoned if reckoned > 0 else 0.0 for end in ends]
        paths = [[total * scale for total in path] for scale in scales]
        return Forecast(
            spent=period.spent,
            p10=p10,
            p50=p50,
            p90=p90,
            basis="enough" if history >= LITTLE_DAYS else "little",
            history_days=history,
            exhaustion=_exhaustion(period, limit, paths),
        )

    def _remaining(self, number: int, period: Period) -> list[float]:
        """The running sum of the days that are left, what is left of today first."""
        path = self._rhythm.path(number, period.days)
        over = path[1] * (1 - period.left_of_today)
        return [0.0, *(total - over for total in path[1 : period.days + 1])]

    def _range(self, number: int, days: int) -> tuple[float, float]:
        """The errors, as logarithms, that are low and high; 0 lies between them."""
        rhythm = self._rhythm
        first = rhythm.begins + _LEARNT_AFTER
        ahead = max(1, min(days, (number - first) // 2))
        stretched = math.sqrt(days / ahead)
        spread = _SPREAD if number - rhythm.begins >= LITTLE_DAYS else _SPREAD_AT_FIRST
        belief = _BELIEF + _BELIEF_AT_FIRST / (number - rhythm.begins)
        told = [(spread * z, belief / len(_ASSUMED)) for z in _ASSUMED]
        for then in range(max(first, number - ahead - _REMEMBERED), number - ahead + 1):
            error = self._error(then, ahead)
            if error is not None:
                # Mornings in a row say much the same, so each counts for a part.
                weight = 2 * 0.5 ** ((number - ahead - then) / _HALF_LIFE) / ahead
                told.append((stretched * error, weight))
        told.sort()
        return min(0.0, _quantile(told, _LOW)), max(0.0, _quantile(told, _HIGH))

    def _error(self, then: int, ahead: int) -> float | None:
        """How wrong the reckoning was on a morning, so many days ahead; None when both are 0."""
        if (then, ahead) not in self._errors:
            reckoned = self._rhythm.path(then, ahead)[ahead]
            slack = self._slack(then, reckoned, ahead)
            actual = self._rhythm.sums[then + ahead] - self._rhythm.sums[then]
            error = math.log((actual + slack) / (reckoned + slack)) if slack > 0 else None
            self._errors[then, ahead] = error
        return self._errors[then, ahead]

    def _slack(self, number: int, reckoned: float, days: int) -> float:
        size = self._rhythm.before(number).reference
        return _OF_FORECAST * reckoned + _OF_SIZE * days * size


def _quantile(told: Sequence[tuple[float, float]], share: float) -> float:
    """The weighted quantile of ascending values, between the two that are nearest."""
    wanted = share * sum(weight for _, weight in told)
    passed, before = 0.0, (told[0][0], 0.0)
    for value, weight in told:
        here = passed + weight / 2
        if here >= wanted:
            low, at = before
            return value if here == at else low + (value - low) * (wanted - at) / (here - at)
        passed, before = passed + weight, (value, here)
    return told[-1][0]


def _exhaustion(
    period: Period, limit: int | None, paths: Sequence[Sequence[float]]
) -> Exhaustion | None:
    if limit is None:
        return None
    late, expected, early = (_reached(period, limit, path) for path in (paths or [[0.0]] * 3))
    return Exhaustion(early, expected, late)


def _reached(period: Period, limit: int, path: Sequence[float]) -> date | None:
    room = limit - period.spent
    if room <= 0:
        return period.today
    for number, total in enumerate(path[1:]):
        if total >= room:
            return period.today + timedelta(days=number)
    return None
