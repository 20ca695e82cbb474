"""Would it have been right? Forecasts of past months, made with what was known then.

A rolling origin: in each whole month of the past, on every third morning, the month's end is
foretold from the days before, and compared with what the month came to. Beside it stands the
simplest forecast there is, that each day will be as the same weekday a week before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from gateway.insight.forecast import Forecaster, Period
from gateway.insight.rhythm import Rhythm

_EVERY = 3
"""Days from one origin to the next."""
_HISTORY_AT_LEAST = 7


@dataclass(frozen=True, slots=True)
class Trial:
    """One forecast of one month, compared with what it came to; shares of that."""

    error: float
    naive_error: float
    below: bool
    above: bool
    width: float


@dataclass(frozen=True, slots=True)
class BackTest:
    """How good past forecasts were. Errors are shares of what the month came to."""

    forecasts: int
    error: float
    """The mean of |P50 - actual|."""
    naive_error: float
    """The same of the simplest forecast."""
    below: int
    """Forecasts whose month ended below P10, and `above` those above P90."""
    above: int
    width: float
    """The mean of P90 - P10."""

    @property
    def coverage(self) -> float:
        """The share of forecasts in whose range the month ended; it should be 0.8."""
        return 1 - (self.below + self.above) / self.forecasts


def backtest(rhythm: Rhythm, months: int = 12) -> BackTest | None:
    """The last so many whole months that can be tested; None when there is none."""
    return summed(trials(rhythm, months))


def trials(rhythm: Rhythm, months: int) -> list[Trial]:
    """Every single trial of the last so many whole months, the last month first."""
    forecaster = Forecaster(rhythm)
    end = rhythm.day(len(rhythm.sums) - 1).replace(day=1)
    found: list[Trial] = []
    for _ in range(months):
        start = (end - timedelta(days=1)).replace(day=1)
        found += _month(rhythm, forecaster, start, end)
        end = start
    return found


def summed(trials: Sequence[Trial]) -> BackTest | None:
    """What trials, perhaps of several series, come to together; None when there is none."""
    if not trials:
        return None
    count = len(trials)
    return BackTest(
        forecasts=count,
        error=sum(trial.error for trial in trials) / count,
        naive_error=sum(trial.naive_error for trial in trials) / count,
        below=sum(trial.below for trial in trials),
        above=sum(trial.above for trial in trials),
        width=sum(trial.width for trial in trials) / count,
    )


def _month(rhythm: Rhythm, forecaster: Forecaster, start: date, end: date) -> list[Trial]:
    first, last = ((day - rhythm.day(0)).days for day in (start, end))
    if first < rhythm.begins + _HISTORY_AT_LEAST or last >= len(rhythm.sums):
        return []
    actual = rhythm.sums[last] - rhythm.sums[first]
    if not actual:
        return []
    found = []
    for number in range(first, last, _EVERY):
        spent = rhythm.sums[number] - rhythm.sums[first]
        told = forecaster.at(number, Period(rhythm.day(number), end, spent))
        week = [rhythm.sums[n + 1] - rhythm.sums[n] for n in range(number - 7, number)]
        naive = spent + sum(week[n % 7] for n in range(last - number))
        found.append(
            Trial(
                error=abs(told.p50 - actual) / actual,
                naive_error=abs(naive - actual) / actual,
                below=actual < told.p10,
                above=actual > told.p90,
                width=(told.p90 - told.p10) / actual,
            )
        )
    return found
