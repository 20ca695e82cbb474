"""The first page: what was spent, against what, by whom, on what, and what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.clock import MICROS
from gateway.insight.outlooks import Outlook
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.ledger.spending import NOTHING, Cube, HourSums, Total
from gateway.treasury.standing import Standing
from gateway.web.foresight import Foresight
from gateway.web.pages import Html, Page, Visit
from gateway.web.refusals import refused
from gateway.web.sources import Sources
from gateway.web.spans import Span, span_of
from gateway.web.trends import (
    DAYS,
    adding_up,
    by_day,
    foretold,
    per_thousand,
    weekly_prices,
)

_SHOWN = 8
"""Rows of a table; what is beyond them is summed up in one."""
_BY = (
    ("team", "By team"),
    ("app", "By app"),
    ("job", "By job"),
    ("target", "By model"),
    ("stage", "By stage"),
)
_FORETOLD = ("team", "job")
_DAY = 24 * 3600 * MICROS


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what was spent on something, and in as much of the month before."""

    name: str
    now: Total
    before: Total


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Spending by one dimension, the dearest first."""

    dimension: str
    title: str
    rows: list[Row]
    others: Row | None
    """What is not shown, added up; its name says how many they are."""


@dataclass(frozen=True, slots=True)
class Mover:
    """An app's use of a job, and by how much it has changed."""

    app: str
    job: str
    now: Total
    before: Total

    @property
    def difference(self) -> int:
        """Nano-dollars."""
        return self.now.nanos - self.before.nanos


@dataclass(frozen=True, slots=True)
class Priced:
    """What a thousand requests of a job cost, and how that went."""

    job: str
    now: int | None
    before: int | None
    weeks: list[int]


def overview_pages(sources: Sources, foresight: Foresight) -> list[Page]:
    """The pages of this room."""
    spending = sources.spending

    def overview(visit: Visit) -> Html:
        if spending.is_empty():
            return Html("first_run.html", {"jobs": list(sources.live().jobs)})
        span = span_of(visit)
        where = {} if visit.team is None else {"team": visit.team}
        cube, before = spending.cube(span.so_far, where), spending.cube(span.before, where)
        weeks = Range(span.so_far.end - DAYS * _DAY, span.so_far.end)
        weekly = spending.hourly(weeks, "job", where)
        if span.so_far.start % HOUR:  # in zones of half hours a month begins within one
            hours = spending.hourly(span.so_far, "job", where)
        else:
            hours = [sums for sums in weekly if sums.hour >= span.so_far.start // HOUR]
        budget = _budget(sources, visit) if span.is_now else None
        outlook = _outlook(foresight.known(_kind(visit)), visit) if span.is_now else None
        values = {
            "span": span,
            "total": cube.total,
            "before": before.total,
            "reported": cube.reported,
            "tables": [_breakdown(name, title, cube, before) for name, title in _BY],
            "movers": _movers(cube, before),
            "qualities": cube.by("quality"),
            "priced": _priced(cube, before, weekly, visit, span),
            "refused": refused(sources.metrics) if visit.team is None else None,
            "ends": None,
        }
        if span.is_now and visit.team is None:
            values |= _ends([foresight.known(kind) for kind in _FORETOLD])
        return Html("overview.html", {**values, **_so_far(visit, span, hours, budget, outlook)})

    def ahead(visit: Visit) -> Html:
        """The chart again, with the forecast."""
        span = span_of(visit)
        where = {} if visit.team is None else {"team": visit.team}
        hours = spending.hourly(span.so_far, "job", where)
        outlook = _outlook(foresight.made(_kind(visit)), visit)
        values = _so_far(visit, span, hours, _budget(sources, visit), outlook)
        return Html("so_far.html", {**values, "span": span, "asked": True})

    def ends(visit: Visit) -> Html:
        """Where each team and job will end; a role for one team is told of that team alone."""
        if visit.team is None:
            return Html("ends.html", _ends([foresight.made(kind) for kind in _FORETOLD]))
        own = _outlook(foresight.made("team"), visit)
        return Html("ends.html", _ends([[] if own is None else [own]]))

    return [
        Page("GET", "/", overview),
        Page("GET", "/parts/so-far", ahead),
        Page("GET", "/parts/ends", ends),
    ]


def _ends(known: list[list[Outlook] | None]) -> dict[str, Any]:
    """The forecasts of teams and of jobs, the dearest of each."""
    found = [outlooks for outlooks in known if outlooks is not None]
    ends = [one for outlooks in found for one in outlooks[:_SHOWN]]
    return {"ends": ends, "known": len(found) == len(known)}


def _so_far(
    visit: Visit,
    span: Span,
    hours: list[HourSums],
    budget: Standing | None,
    outlook: Outlook | None,
) -> dict[str, Any]:
    """What the first card shows: the month to date, its budget, and where it will end."""
    sums = by_day(hours, visit.say, since=span.whole.start)
    today = min(visit.say.local(visit.now).date(), span.days[-1])
    limit = None if budget is None else budget.limit
    points = adding_up(span.days, sums, today, limit)
    spent = sum(sums.get(day, 0) for day in span.days)
    if outlook is not None:
        told = outlook.forecast
        points = foretold(points, today, spent, (told.p10, told.p50, told.p90))
    return {
        "spent": spent,
        "budget": budget,
        "outlook": outlook,
        "points": points,
        "today": today,
        "asked": False,
    }


def _budget(sources: Sources, visit: Visit) -> Standing | None:
    """The tightest budget in dollars a month that counts all that the visitor sees spent here."""
    team = visit.team
    scopes = ("organisation",) if team is None else ("each team", f"team {team}")
    names = [
        budget.name
        for budget in sources.live().budgets
        if (budget.unit, budget.period) == ("usd", "month") and str(budget.scope) in scopes
    ]
    found = [
        standing
        for name in names
        for standing in sources.desk.standings(name)
        if standing.subject == (team or "")
    ]
    return min(found, key=lambda standing: standing.limit, default=None)


def _kind(visit: Visit) -> str:
    return "organisation" if visit.team is None else "team"


def _outlook(known: list[Outlook] | None, visit: Visit) -> Outlook | None:
    name = visit.team or ""
    return next((one for one in known or () if one.name == name), None)


def _breakdown(dimension: str, title: str, cube: Cube, before: Cube) -> Breakdown:
    now, then = cube.by(dimension), before.by(dimension)
    rows = [Row(name, total, then.get(name, NOTHING)) for name, total in now.items()]
    rest = rows[_SHOWN:]
    others = None
    if rest:
        others = Row(
            "1 other" if len(rest) == 1 else f"{len(rest)} others",
            _sum(rest, "now"),
            _sum(rest, "before"),
        )
    return Breakdown(dimension, title, rows[:_SHOWN], others)


def _sum(rows: list[Row], name: str) -> Total:
    together = NOTHING
    for row in rows:
        together = together + getattr(row, name)
    return together


def _movers(cube: Cube, before: Cube) -> list[Mover]:
    now, then = cube.by_all(("app", "job")), before.by_all(("app", "job"))
    found = [
        Mover(app, job, now.get((app, job), NOTHING), then.get((app, job), NOTHING))
        for app, job in now.keys() | then.keys()
    ]
    found = [mover for mover in found if mover.difference]
    found.sort(key=lambda mover: (-abs(mover.difference), mover.app, mover.job))
    return found[:_SHOWN]


def _priced(
    cube: Cube, before: Cube, hours: list[HourSums], visit: Visit, span: Span
) -> list[Priced]:
    then: Mapping[str, Total] = before.by("job")
    last: date = visit.say.local(span.so_far.end - 1).date()
    weeks = weekly_prices(hours, last, visit.say)
    return [
        Priced(
            job,
            per_thousand(total.nanos, total.requests),
            per_thousand(then[job].nanos, then[job].requests) if job in then else None,
            weeks.get(job, []),
        )
        for job, total in cube.by("job").items()
    ]
