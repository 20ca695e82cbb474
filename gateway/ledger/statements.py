"""A statement for one team and one month: what was there, what was charged, what it comes to.

    opening       what the team was charged in the fiscal year before, and the budgets that its
                  requests counted in, as they stood when the month began
    charges       by job and target, with the tokens of each class
    adjustments   each correction that was posted into the month: of what, and why
    qualities     how well the amounts are known
    closing       the total, the fiscal year to date, and the same budgets as they stand then

Everything comes from the entries of the month, at one moment of the books, so charges and
adjustments add up to the closing total, and so do the qualities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, bindparam, case, func, literal_column, select

from gateway.ledger.entries import ADJUST
from gateway.ledger.months import ClosedMonth, Month, closed_months, month_of, totals
from gateway.metering.usage import CLASSES
from gateway.store.database import Cursor, Database
from gateway.store.statements import ListStatement, prepare
from gateway.store.tables import Balance, EntryRow

LISTED_AT_MOST = 500
"""Adjustments that are listed one by one; more are put together by what they say."""
_LONG_PERIODS = ("month", "quarter", "year", "fiscal_year", "forever")
"""Periods of budgets that a month's statement tells about."""

_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_BALANCES = Balance.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget at the beginning and at the end of the month; amounts in its unit.

    `limit` is what was in force last, with what the period before left over (`carried`) and what
    raises added. `before` was spent in its period before the month began, `after` by its end, by
    everybody who shares the budget.
    """

    budget: str
    subject: str
    unit: str
    period: str
    limit: int
    carried: int
    raised: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What some entries come to."""

    entries: int = 0
    requests: int = 0
    tokens: int = 0
    nanos: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.entries + other.entries,
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.nanos + other.nanos,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What one job spent at one target."""

    job: str
    target: str
    usage: Mapping[str, int]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One correction, or several that say the same: then `entry` and `corrects` are empty."""

    entry: str
    corrects: str
    month: str
    """The month of what is corrected, such as 2026-10."""
    job: str
    target: str
    reason: str
    author: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class Quality:
    """How much is known how."""

    quality: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class Statement:
    """One team's month; times in microseconds since 1970."""

    org: str
    organisation: str
    team: str
    month: str
    zone: str
    starts_at: int
    ends_at: int
    closed: ClosedMonth | None
    """How the month was closed; None while it is open and its figures can change."""
    since: str
    """The first month of its fiscal year, such as 2026-01."""
    opening_nanos: int
    """What the fiscal year came to before the month began."""
    budgets: tuple[BudgetLine, ...]
    charges: tuple[Charge, ...]
    adjustments: tuple[Adjustment, ...]
    qualities: tuple[Quality, ...]

    @property
    def charged(self) -> Sums:
        """All charges."""
        return sum((charge.sums for charge in self.charges), Sums())

    @property
    def adjusted(self) -> Sums:
        """All adjustments."""
        return sum((adjustment.sums for adjustment in self.adjustments), Sums())

    @property
    def closing(self) -> Sums:
        """What the month comes to."""
        return self.charged + self.adjusted

    @property
    def to_date_nanos(self) -> int:
        """What the fiscal year comes to by the end of the month."""
        return self.opening_nanos + self.closing.nanos


class Statements:
    """Makes statements for one organisation."""

    def __init__(
        self,
        database: Database,
        org: str,
        organisation: str,
        zone: ZoneInfo,
        fiscal_year_starts: int = 1,
    ) -> None:
        """`fiscal_year_starts` is a month, 1 for January."""
        self._database, self._org, self._engine = database, org, database.engine_name
        self._organisation, self._zone = organisation, zone
        self._fiscal_year_starts = fiscal_year_starts

    def of(self, team: str, month: Month) -> Statement:
        """The statement of a team for a month; blocks. Raises DatabaseDown."""
        with self._database.reading() as cursor:
            closed = {m.month: m for m in closed_months(cursor, self._org, self._engine)}
            found = closed.get(str(month))
            start, end = month.bounds(self._zone)
            if found is not None:
                start, end = found.starts_at, found.ends_at
            values = {"org": self._org, "team": team, "start": start, "end": end}
            values |= {"adjust": ADJUST}
            since = self._fiscal_year_of(month)
            before = (min(since.bounds(self._zone)[0], start), start)
            return Statement(
                org=self._org,
                organisation=self._organisation,
                team=team,
                month=str(month),
                zone=str(self._zone),
                starts_at=start,
                ends_at=end,
                closed=found,
                since=str(since),
                opening_nanos=totals(cursor, self._org, self._engine, before, team)[1],
                budgets=self._budgets(cursor, values),
                charges=self._charges(cursor, values),
                adjustments=self._adjustments(cursor, values),
                qualities=self._qualities(cursor, values),
            )

    def _fiscal_year_of(self, month: Month) -> Month:
        """The first month of the fiscal year that a month is in."""
        first = self._fiscal_year_starts
        return Month(month.year - (month.number < first), first)

    def teams(self, month: Month) -> list[str]:
        """The teams that have entries in a month, in alphabetical order; blocks."""
        start, end = month.bounds(self._zone)
        statement = select(_ENTRIES.c.team).distinct().where(*_IN_THE_MONTH)
        values = {"org": self._org, "start": start, "end": end}
        with self._database.reading() as cursor:
            rows = cursor.rows(prepare(statement, self._engine), values)
        return sorted(str(row[0]) for row in rows)

    def _charges(self, cursor: Cursor, values: Mapping[str, Any]) -> tuple[Charge, ...]:
        statement = (
            select(
                _ENTRIES.c.job,
                _ENTRIES.c.target,
                *_SUMS,
                *(func.sum(_ENTRIES.c[name]) for name in CLASSES),
            )
            .where(*_OF_THE_TEAM, _ENTRIES.c.kind != bindparam("adjust"))
            .group_by(_ENTRIES.c.job, _ENTRIES.c.target)
        )
        found = []
        for job, target, *numbers in cursor.rows(prepare(statement, self._engine), values):
            usage = dict(zip(CLASSES, map(int, numbers[4:]), strict=True))
            found.append(Charge(job, target, usage, _sums(numbers[:4])))
        return tuple(sorted(found, key=lambda row: (-row.sums.nanos, row.job, row.target)))

    def _adjustments(self, cursor: Cursor, values: Mapping[str, Any]) -> tuple[Adjustment, ...]:
        count = select(func.count()).where(*_OF_THE_TEAM, _ENTRIES.c.kind == bindparam("adjust"))
        number = cursor.rows(prepare(count, self._engine), values)[0][0]
        original = _ENTRIES.alias("original")
        one_by_one = [_ENTRIES.c.id, _ENTRIES.c.corrects]
        said = [_ENTRIES.c.job, _ENTRIES.c.target, _ENTRIES.c.reason, _ENTRIES.c.author]
        if number > LISTED_AT_MOST:
            one_by_one = [literal_column("''"), literal_column("''")]
        keys = [*said] if number > LISTED_AT_MOST else [*one_by_one, *said]
        statement = (
            select(*one_by_one, *said, func.min(original.c.admitted_at), *_SUMS)
            .select_from(
                _ENTRIES.outerjoin(
                    original,
                    (original.c.org == _ENTRIES.c.org) & (original.c.id == _ENTRIES.c.corrects),
                )
            )
            .where(*_OF_THE_TEAM, _ENTRIES.c.kind == bindparam("adjust"))
            .group_by(*keys)
        )
        found = []
        for row in cursor.rows(prepare(statement, self._engine), values):
            entry, corrects, job, target, reason, author, moment, *sums = row
            month = "" if moment is None else str(month_of(int(moment), self._zone))
            found.append(
                Adjustment(entry, corrects, month, job, target, reason, author, _sums(sums))
            )
        return tuple(sorted(found, key=lambda row: (row.month, row.reason, row.entry, row.job)))

    def _qualities(self, cursor: Cursor, values: Mapping[str, Any]) -> tuple[Quality, ...]:
        statement = (
            select(_ENTRIES.c.quality, *_SUMS)
            .where(*_OF_THE_TEAM)
            .group_by(_ENTRIES.c.quality)
            .order_by(_ENTRIES.c.quality)
        )
        rows = cursor.rows(prepare(statement, self._engine), values)
        return tuple(Quality(str(quality), _sums(sums)) for quality, *sums in rows)

    def _budgets(self, cursor: Cursor, values: Mapping[str, Any]) -> tuple[BudgetLine, ...]:
        named = select(_ENTRIES.c.balances).distinct().where(*_OF_THE_TEAM)
        lists = cursor.rows(prepare(named, self._engine), values)
        numbers = sorted({int(number) for (text,) in lists for number in str(text).split()})
        known = [row for row in self._balances(cursor, numbers) if row["period"] in _LONG_PERIODS]
        if not known:
            return ()
        spent = self._spent(cursor, values, min(row["starts_at"] for row in known))
        return tuple(
            BudgetLine(
                budget=row["budget"],
                subject=row["subject"],
                unit=row["unit"],
                period=row["period"],
                limit=row["limit_value"],
                carried=row["carried"] or 0,
                raised=row["raised"],
                before=spent.get((row["id"], row["unit"]), (0, 0))[0],
                after=sum(spent.get((row["id"], row["unit"]), (0, 0))),
            )
            for row in known
        )

    def _balances(self, cursor: Cursor, numbers: Sequence[int]) -> list[dict[str, Any]]:
        names = [column.name for column in _BALANCES.columns]
        statement = ListStatement(
            lambda items: (
                select(*_BALANCES.columns)
                .where(_BALANCES.c.org == bindparam("org"), _BALANCES.c.id.in_(items))
                .order_by(_BALANCES.c.id)
            ),
            self._engine,
        )
        found = []
        for text, values in statement.batches(numbers, org=self._org) if numbers else ():
            found += [dict(zip(names, row, strict=True)) for row in cursor.rows(text, values)]
        return sorted(found, key=lambda row: (row["budget"], row["subject"], row["starts_at"]))

    def _spent(
        self, cursor: Cursor, values: Mapping[str, Any], since: int
    ) -> dict[tuple[int, str], tuple[int, int]]:
        """What counted in each balance before the month and in it, by balance and unit."""
        earlier = _ENTRIES.c.admitted_at < bindparam("start")
        nothing = literal_column("0", BigInteger)
        columns = []
        for name in _SPENT_IN.values():
            for when in (earlier, ~earlier):
                columns.append(func.sum(case((when, _ENTRIES.c[name]), else_=nothing)))
        statement = (
            select(_ENTRIES.c.balances, *columns)
            .where(
                _ENTRIES.c.org == bindparam("org"),
                _ENTRIES.c.admitted_at >= bindparam("since"),
                _ENTRIES.c.admitted_at < bindparam("end"),
            )
            .group_by(_ENTRIES.c.balances)
        )
        asked = {name: values[name] for name in ("org", "start", "end")}
        found: dict[tuple[int, str], tuple[int, int]] = {}
        text = prepare(statement, self._engine)
        for listed, *numbers in cursor.rows(text, {**asked, "since": since}):
            pairs = list(zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True))
            for number in map(int, str(listed).split()):
                for unit, (before, within) in zip(_SPENT_IN, pairs, strict=True):
                    known = found.get((number, unit), (0, 0))
                    found[number, unit] = (known[0] + before, known[1] + within)
        return found


_SPENT_IN = {"usd": "amount_nanos", "tokens": "tokens", "requests": "request_count"}
"""What counts in a budget of each unit."""
_IN_THE_MONTH = (
    _ENTRIES.c.org == bindparam("org"),
    _ENTRIES.c.admitted_at >= bindparam("start"),
    _ENTRIES.c.admitted_at < bindparam("end"),
)
_OF_THE_TEAM = (*_IN_THE_MONTH, _ENTRIES.c.team == bindparam("team"))
_SUMS = (
    func.count(_ENTRIES.c.id),
    func.sum(_ENTRIES.c.request_count),
    func.sum(_ENTRIES.c.tokens),
    func.sum(_ENTRIES.c.amount_nanos),
)


def _sums(numbers: Sequence[Any]) -> Sums:
    return Sums(*(int(number or 0) for number in numbers))
