"""What an ordinary day comes to: the share of each weekday, the ends of months, and the level.

Learnt from whole days alone, each of them an amount in whole units (nano-dollars, tokens,
requests). Shares are medians over weeks, so one odd week does not move them. The level follows
the last fortnight; a day far above the others counts only in part, so a runaway agent is not
taken for the new normal. But when several working days in a row are all higher, or all lower,
than before, then that is the new normal, and only they count: something was launched, or stopped.

Estimates are floats: they are no money, and nothing is ever booked from them. Every figure grows
in proportion when all amounts do. This room knows no holidays, no budgets and no database.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

_WEEKS = 12
"""Weeks whose shares are compared."""
_LEVEL_DAYS = 40
_HALF_LIFE = 8
"""Working days after which a day counts half as much for the level."""
_FAR = 2.0
"""Times the usual: what is beyond counts no further."""
_IN_A_ROW = 4
"""Working days that make a new normal."""
_HIGHER, _LOWER = 1.4, 0.6
_WORKING = 0.3
"""A weekday with less than this share of an average day says nothing about the level."""
_MONTH_ENDS_BACK = 400
"""Days in which past month ends are looked for."""
_BELIEF = 3
"""Month ends that would have to say otherwise before half of what they say is believed."""
_REFERENCE_DAYS = 28


@dataclass(frozen=True, slots=True)
class Days:
    """Amounts of whole days in a row, from `first` on; corrections may make one negative."""

    first: date
    amounts: Sequence[int]

    @property
    def after(self) -> date:
        """The day after the last one."""
        return self.first + timedelta(days=len(self.amounts))


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What was known on the morning of a day: the level, and how days differ from it."""

    level: float
    shares: Sequence[float]
    """By weekday, Monday first; 1 is an average day."""
    ends: Sequence[float]
    """Times as much on an ordinary day (1), on the last two of a month, and on the first."""
    reference: float
    """An average day of the last weeks: the size of what is measured."""

    def expected(self, day: date) -> float:
        """What this day will probably come to."""
        return self.level * self.shares[day.weekday()] * self.ends[_place(day)]

    def path(self, first: date, days: int) -> list[float]:
        """The running sum of so many days; one longer than that, it begins with 0."""
        sums = [0.0]
        for number in range(days):
            sums.append(sums[-1] + self.expected(first + timedelta(days=number)))
        return sums


class Rhythm:
    """The ordinary days of one series, as they were known on any morning of it."""

    def __init__(self, days: Days) -> None:
        self._amounts = [max(0, amount) for amount in days.amounts]
        self._first = days.first
        self._weekday = days.first.weekday()
        dates = (days.first + timedelta(days=n) for n in range(len(days.amounts)))
        self._places = [_place(day) for day in dates]
        self.begins = next(
            (n for n, amount in enumerate(self._amounts) if amount), len(days.amounts)
        )
        """The number of the first day on which anything was spent."""
        self.sums = [0]
        """What came to pass before each day, from the first on; negative days count as nothing."""
        for amount in self._amounts:
            self.sums.append(self.sums[-1] + amount)
        self._known: dict[int, Ordinary] = {}
        self._ends: dict[date, tuple[float, float, float]] = {}
        self._paths: dict[int, list[float]] = {}

    def day(self, number: int) -> date:
        """The date of a day by its number."""
        return self._first + timedelta(days=number)

    def before(self, number: int) -> Ordinary:
        """What is known when so many days are over."""
        found = self._known.get(number)
        if found is None:
            shares = self._shares(number)
            ends = self._month_ends(number)
            since = max(self.begins, number - _REFERENCE_DAYS)
            size = (self.sums[number] - self.sums[since]) / max(1, number - since)
            level = self._level(number, shares, ends)
            found = self._known[number] = Ordinary(level, shares, ends, size)
        return found

    def path(self, number: int, days: int) -> list[float]:
        """The running sum of what was expected on that morning, of at least so many days."""
        found = self._paths.get(number)
        if found is None or len(found) <= days:
            most = max(days, 31)
            found = self._paths[number] = self.before(number).path(self.day(number), most)
        return found

    def _weekday_of(self, number: int) -> int:
        return (self._weekday + number) % 7

    def _shares(self, number: int) -> list[float]:
        weeks: list[list[float]] = []
        for end in range(number, max(self.begins + 6, number - 7 * _WEEKS), -7):
            total = self.sums[end] - self.sums[end - 7]
            if total > 0:
                row = [0.0] * 7
                for n in range(end - 7, end):
                    row[self._weekday_of(n)] = self._amounts[n] / total
                weeks.append(row)
        if not weeks:
            return [1.0] * 7
        # A part of one more week is believed to have been even: all of it after the first one.
        even = 1 / len(weeks)
        found = [len(weeks) * median(row[w] for row in weeks) + even / 7 for w in range(7)]
        total_share = sum(found)
        return [7 * share / total_share for share in found]

    def _month_ends(self, number: int) -> tuple[float, float, float]:
        """How much more there is at month ends than two weeks around them, as was known when the
        month began."""
        day = self.day(number)
        month, began = day.replace(day=1), max(0, number - day.day + 1)
        if month not in self._ends:
            shares = self._shares(began)
            last, first = (self._times(began, shares, place) for place in (1, 2))
            self._ends[month] = (1.0, last, first)
        return self._ends[month]

    def _times(self, number: int, shares: Sequence[float], place: int) -> float:
        told = []
        for n in range(max(self.begins + 11, number - _MONTH_ENDS_BACK), number):
            share = shares[self._weekday_of(n)]
            if self._places[n] != place or share < _WORKING:
                continue
            around = [
                t
                for t in range(max(self.begins, n - 14), min(number, n + 8))
                if not self._places[t]
            ]
            spent = sum(self._amounts[t] for t in around)
            if spent > 0:
                usual = spent / sum(shares[self._weekday_of(t)] for t in around)
                told.append(self._amounts[n] / (usual * share))
        if len(told) < 2:
            return 1.0
        times: float = median(told)
        return (times * len(told) + _BELIEF) / (len(told) + _BELIEF)

    def _level(self, number: int, shares: Sequence[float], ends: Sequence[float]) -> float:
        told: list[tuple[float, float]] = []  # the newest first
        for n in range(number - 1, self.begins - 1, -1):
            share = shares[self._weekday_of(n)]
            if share >= _WORKING:
                usual = share * ends[self._places[n]]
                told.append((self._amounts[n] / usual, usual))
                if len(told) == _LEVEL_DAYS:
                    break
        told = _since_it_changed(told)
        if not told:
            return 0.0
        most = _FAR * median(level for level, _ in told[:21])
        weights = [math.pow(0.5, age / _HALF_LIFE) * usual for age, (_, usual) in enumerate(told)]
        levels = (min(level, most) if most > 0 else level for level, _ in told)
        return sum(w * v for w, v in zip(weights, levels, strict=True)) / sum(weights)


def _since_it_changed(told: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The days since the last change of level, if there was one lately; else all."""
    if len(told) < 3 * _IN_A_ROW:
        return told
    before = median(level for level, _ in told[_IN_A_ROW : _IN_A_ROW + 21])
    latest = [level for level, _ in told[:_IN_A_ROW]]
    if min(latest) > _HIGHER * before:
        changed = [level > _HIGHER * before for level, _ in told]
    elif max(latest) < _LOWER * before:
        changed = [level < _LOWER * before for level, _ in told]
    else:
        return told
    return told[: changed.index(False)] if False in changed else told


def _place(day: date) -> int:
    """1 on the last two days of a month, 2 on its first, else 0."""
    if (day + timedelta(days=2)).month != day.month:
        return 1
    return 2 if day.day == 1 else 0
