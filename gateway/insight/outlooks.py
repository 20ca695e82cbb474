"""Forecasts from the books: of the whole, of each team and job, and of each budget.

The days before today come from the roll-ups; what is spent so far is exact, from the same sums
and balances that reports and budgets show. Days are those of the organisation's zone; in a zone
of half hours, the hour around midnight counts for the day in which it begins.

Budgets of minutes and hours are too short to foretell, and those of "each run" too many: each
value of a tag is a budget of its own. Both are left out. One without an end is foretold to the
end of the month.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, func, literal_column, select

from gateway.clock import SystemClock, to_datetime, to_micros
from gateway.insight.backtest import BackTest, backtest
from gateway.insight.forecast import Forecast, Forecaster, Period
from gateway.insight.rhythm import Days, Rhythm
from gateway.jobs.routes import Routes, Scope, Unit
from gateway.ledger.entries import HOUR
from gateway.store.database import Database
from gateway.store.statements import LIST_SIZES, ListStatement, prepare
from gateway.store.tables import EntryRow, Rollup
from gateway.treasury.periods import SHORT_PERIODS, Calendar
from gateway.treasury.raises import RaiseBook
from gateway.treasury.standing import Standing, Standings

BY = ("organisation", "team", "job", "budget")
"""What a forecast can be asked for."""
HISTORY_DAYS = 760
"""Days that are read: two years and the month in which they began."""
_TODAY_FROM_DAYS = 28
"""Days whose hours say how much of an ordinary day is still to come."""

_ROLLUPS = Rollup.__table__  # type: ignore[attr-defined]
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_UNITS: Sequence[Unit] = ("usd", "tokens", "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One forecast and what it is of; amounts in `unit`, where `usd` means nano-dollars."""

    kind: str
    """organisation, team, job or budget."""
    name: str
    """Of the team, job or budget; empty for the organisation."""
    subject: str = ""
    """Of a budget: the team, app, key or job it is for."""
    unit: Unit = "usd"
    period_ends: date
    """The first day after the period that is foretold."""
    limit: int | None = None
    forecast: Forecast
    backtest: BackTest | None
    """How good the forecasts of past months were; None with too little history."""


def look_ahead(by: str, database: Database, org: str, routes: Routes, now: int) -> list[Outlook]:
    """The forecasts at a moment (microseconds since 1970), by one of BY.

    Blocks. Raises ValueError for another `by`, and DatabaseDown.
    """
    calendar = Calendar(routes.time_zone, routes.week_starts, routes.fiscal_year_starts)
    outlooks = Outlooks(database, org, calendar)
    if by != "budget":
        return outlooks.spending(by, now)
    raises = RaiseBook(database, org, SystemClock())
    raises.refresh()
    standings = Standings(database, org, routes.budgets, calendar).at(now, raises.known)
    scopes = {budget.name: budget.scope for budget in routes.budgets}
    return outlooks.budgets(standings, scopes, now)


class Outlooks:
    """Makes forecasts for one organisation. Every method blocks and raises DatabaseDown."""

    def __init__(self, database: Database, org: str, calendar: Calendar) -> None:
        self._database, self._org, self._calendar = database, org, calendar

    def spending(self, by: str, now: int) -> list[Outlook]:
        """The month of the organisation, or of each team or job, at a moment (microseconds).

        The dearest first. Raises ValueError for another `by`.
        """
        if by not in ("organisation", "team", "job"):
            raise ValueError(f"{by!r} is not one of organisation, team, job")
        names = [] if by == "organisation" else [by]
        hours = self._hours(_ROLLUPS, names, now)
        starts_at, ends_at = self._calendar.bounds("month", now)
        reading = _Reading(self._calendar, now, hours)
        found = []
        for key in hours or ([()] if not names else []):
            subject = hours.get(key, {})
            spent = reading.since(subject, "usd", starts_at)
            forecast, tested = reading.foretell(subject, "usd", ends_at, spent, None)
            if names and not forecast.p90:
                continue  # it has stopped long ago
            found.append(
                Outlook(
                    kind=by,
                    name="".join(key),
                    period_ends=reading.day(ends_at),
                    forecast=forecast,
                    backtest=tested,
                )
            )
        return sorted(found, key=lambda one: (-one.forecast.p50, one.name))

    def budgets(
        self, standings: Sequence[Standing], scopes: Mapping[str, Scope], now: int
    ) -> list[Outlook]:
        """Each budget in its period, as it stands at a moment; see `Standings.at`.

        `scopes` are those of routes.yaml by the budgets' names; others are a key's own.
        """
        found = []
        read: dict[tuple[str, ...], _Reading] = {}
        scoped = [(one, scopes.get(one.budget) or Scope("key", one.subject)) for one in standings]
        keys = sorted({standing.subject for standing, scope in scoped if scope.kind == "key"})
        for standing, scope in scoped:
            if standing.period in SHORT_PERIODS or (scope.kind == "tag" and scope.value is None):
                continue
            names, wanted = _where(scope, standing.subject)
            table = _ROLLUPS if set(names) <= _ROLLED_UP else _ENTRIES
            if names not in read:
                read[names] = self._reading(table, names, now, keys)
            reading = read[names]
            ends_at = standing.ends_at
            if standing.period == "forever":
                ends_at = self._calendar.bounds("month", now)[1]
            unit: Unit = standing.unit  # type: ignore[assignment]
            forecast, tested = reading.foretell(
                reading.subject(wanted), unit, ends_at, standing.spent, standing.limit
            )
            found.append(
                Outlook(
                    kind="budget",
                    name=standing.budget,
                    subject=standing.subject,
                    unit=unit,
                    period_ends=reading.day(ends_at),
                    limit=standing.limit,
                    forecast=forecast,
                    backtest=tested,
                )
            )
        return found

    def _reading(
        self, table: Any, names: tuple[str, ...], now: int, keys: Sequence[str]
    ) -> _Reading:
        """What is known by some columns. Of keys, only the entries of these are read: what is left
        of an ordinary day is then everybody's, as always."""
        if names != ("key_id",) or len(keys) > LIST_SIZES[-1]:
            return _Reading(self._calendar, now, self._hours(table, names, now))
        day = _Reading(self._calendar, now, self._hours(_ROLLUPS, (), now))
        return _Reading(self._calendar, now, self._hours(table, names, now, keys), day.left)

    def _hours(
        self, table: Any, names: Sequence[str], now: int, keys: Sequence[str] = ()
    ) -> _Hours:
        """Amounts by subject and hour, of the days that are read; of these keys, if any."""
        rolled = table is _ROLLUPS
        hour = (
            table.c.hour if rolled else table.c.admitted_at // literal_column(str(HOUR), BigInteger)
        )
        sums = (table.c.amount_nanos, table.c.tokens, table.c.request_count)
        time = table.c.hour if rolled else table.c.admitted_at
        dimensions = [table.c[name] for name in names]
        statement = (
            select(hour, *(func.sum(column) for column in sums), *dimensions)
            .where(table.c.org == bindparam("org"), time >= bindparam("since"))
            .group_by(hour, *dimensions)
        )
        since = now // HOUR - 24 * HISTORY_DAYS
        values = {"org": self._org, "since": since if rolled else since * HOUR}
        engine = self._database.engine_name
        asked = (
            ListStatement(lambda items: statement.where(table.c.key_id.in_(items)), engine).batches(
                keys, **values
            )
            if keys
            else [(prepare(statement, engine), values)]
        )
        found: _Hours = defaultdict(dict)
        with self._database.reading() as cursor:
            for text, bound in asked:
                for at, nanos, tokens, requests, *key in cursor.stream(text, bound):
                    found[tuple(map(str, key))][int(at)] = (int(nanos), int(tokens), int(requests))
        return found


_Subject = dict[int, tuple[int, int, int]]
"""Nano-dollars, tokens and requests by hour since 1970."""
_Hours = dict[tuple[str, ...], _Subject]
_ROLLED_UP = {"team", "app", "job", "stage"}


def _where(scope: Scope, subject: str) -> tuple[tuple[str, ...], Callable[[tuple[str, ...]], bool]]:
    """The columns that a scope is read by, and which of their values are its subject's."""
    if scope.kind == "organisation":
        return (), lambda _key: True
    if scope.kind != "tag":
        column = "key_id" if scope.kind == "key" else scope.kind
        return (column,), lambda key: key == (subject,)
    if scope.tag == "stage":
        return ("stage",), lambda key: key == (subject,)
    tag = scope.tag or ""
    return ("tags",), lambda key: bool(key[0]) and _tags(key[0]).get(tag) == subject


def _tags(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


class _Reading:
    """What one question to the books brought, and the forecasts that are made of it."""

    def __init__(
        self, calendar: Calendar, now: int, hours: _Hours, left: float | None = None
    ) -> None:
        self._zone, self._now, self._hours = calendar.zone, now, hours
        self._dates: dict[int, date] = {}
        self._today = self.day(now)
        self.left = self._left_of_today() if left is None else left
        """The share of an ordinary day that is still to come."""

    def day(self, moment: int) -> date:
        """The date of a moment where the organisation is."""
        return to_datetime(moment).astimezone(self._zone).date()

    def subject(self, wanted: Callable[[tuple[str, ...]], bool]) -> _Subject:
        """The hours of everything that is wanted, put together."""
        together: _Subject = {}
        for key, by_hour in self._hours.items():
            if wanted(key):
                for hour, (nanos, tokens, requests) in by_hour.items():
                    old = together.get(hour, (0, 0, 0))
                    together[hour] = (old[0] + nanos, old[1] + tokens, old[2] + requests)
        return together

    def since(self, subject: _Subject, unit: Unit, moment: int) -> int:
        """What was spent since a moment that is a midnight (nearly, in a zone of half hours)."""
        place, first = _UNITS.index(unit), self.day(moment)
        return sum(v[place] for hour, v in subject.items() if self._date(hour) >= first)

    def foretell(
        self, subject: _Subject, unit: Unit, ends_at: int, spent: int, limit: int | None
    ) -> tuple[Forecast, BackTest | None]:
        """The forecast to the end of a period, and how good such forecasts were."""
        days = self._days(subject, unit)
        period = Period(self._today, self.day(ends_at), spent, self.left)
        rhythm = Rhythm(days)
        return Forecaster(rhythm).at(len(days.amounts), period, limit), backtest(rhythm)

    def _days(self, subject: _Subject, unit: Unit) -> Days:
        """Whole days from the first on which anything was spent up to yesterday."""
        place = _UNITS.index(unit)
        sums: dict[date, int] = {}
        for hour, values in subject.items():
            day = self._date(hour)
            sums[day] = sums.get(day, 0) + values[place]
        first = min((day for day, amount in sums.items() if amount), default=self._today)
        length = max(0, (self._today - first).days)
        return Days(first, [sums.get(first + timedelta(days=n), 0) for n in range(length)])

    def _date(self, hour: int) -> date:
        found = self._dates.get(hour)
        if found is None:
            found = self._dates[hour] = self.day(hour * HOUR)
        return found

    def _left_of_today(self) -> float:
        """The share of an ordinary day that comes after this moment."""
        midnight = datetime(self._today.year, self._today.month, self._today.day, tzinfo=self._zone)
        gone = (self._now - to_micros(midnight)) / HOUR
        since = self._today - timedelta(days=_TODAY_FROM_DAYS)
        by_hour = [0.0] * 24
        for day_hours in self._hours.values():
            for hour, values in day_hours.items():
                if since <= self._date(hour) < self._today:
                    local = to_datetime(hour * HOUR).astimezone(self._zone)
                    by_hour[local.hour] += max(0, values[0])
        total = sum(by_hour)
        if not total:
            return max(0.0, 1 - gone / 24)
        left = (by_hour[n] * min(1.0, max(0.0, n + 1 - gone)) for n in range(24))
        return sum(left) / total


def told(outlooks: Sequence[Outlook]) -> Iterator[dict[str, Any]]:
    """Each outlook as JSON can carry it: amounts whole, days as 2026-11-30, shares as floats."""
    for one in outlooks:
        forecast, reached, tested = one.forecast, one.forecast.exhaustion, one.backtest
        yield {
            "kind": one.kind,
            "name": one.name,
            "subject": one.subject,
            "unit": "nano_usd" if one.unit == "usd" else one.unit,
            "period_ends": one.period_ends.isoformat(),
            "spent": forecast.spent,
            "p10": forecast.p10,
            "p50": forecast.p50,
            "p90": forecast.p90,
            "limit": one.limit,
            "exhausted": None
            if reached is None
            else {name: day and day.isoformat() for name, day in asdict(reached).items()},
            "basis": forecast.basis,
            "history_days": forecast.history_days,
            "note": forecast.note,
            "backtest": None
            if tested is None
            else {
                "forecasts": tested.forecasts,
                "error": round(tested.error, 4),
                "naive_error": round(tested.naive_error, 4),
                "coverage": round(tested.coverage, 4),
            },
        }
