"""Writing the synthetic company's history into books of its own, for `jobgate demo --history`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.callers.registry import NewKey, Registry
from gateway.cli.authorship import typed_by
from gateway.cli.options import err, interactive
from gateway.clock import FrozenClock, midnight, to_datetime, to_text
from gateway.errors import ConfigurationError
from gateway.insight.company import MARK, STORY_MONTHS
from gateway.insight.synthetic import Company, scaled
from gateway.jobs.routes import Routes
from gateway.store.database import Database
from gateway.treasury.finished import Finished, FinishedAttempts, Posted
from gateway.treasury.histories import Histories, History
from gateway.treasury.periods import Calendar

SYNTHETIC_DATABASE = "sqlite:///var/synthetic.db"
"""Where the history goes when no other database is named: never where real entries are."""

_WRITTEN = re.compile(r"(\d{1,3})\s*(mo|y)")
_MONTHS_AT_MOST = 120


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for: months up to `now` (microseconds), and which company."""

    months: int
    now: int
    seed: int = 1
    scale: float = 1.0


@dataclass(slots=True)
class Written:
    """What was written: entries, and how many attempts each budget refused."""

    first: date
    last: date
    entries: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, posted: Posted) -> None:
        """Count one more batch."""
        self.entries += len(posted.entries)
        for _attempt, shortage in posted.refused:
            name = shortage.line.budget.name
            self.refused[name] = self.refused.get(name, 0) + 1

    def __str__(self) -> str:
        if not self.entries:
            return f"The synthetic history up to {self.last} is there already."
        refused = ", ".join(f"{count:,} by {name}" for name, count in sorted(self.refused.items()))
        return (
            f"{self.entries:,} synthetic entries from {self.first} to {self.last}"
            f" (refused: {refused or 'none'})."
        )


def parse_months(text: str) -> int:
    """The months that a person wrote as 24mo or 2y. Raises ConfigurationError."""
    found = _WRITTEN.fullmatch(text.strip())
    months = int(found[1]) * (12 if found[2] == "y" else 1) if found else 0
    if not 0 < months <= _MONTHS_AT_MOST:
        raise ConfigurationError(
            [f"--history {text!r}: write how long it is, such as 24mo or 2y, at most 10 years"]
        )
    return months


def company_rules(routes: Routes, scale: float) -> Routes:
    """The rules that the synthetic company lives under: named as such, with limits of its size.

    Raises ConfigurationError for a scale that is not one.
    """
    if not 0 < scale <= 1000:
        raise ConfigurationError([f"--scale {scale:g}: it is more than 0 and at most 1000"])
    return replace(scaled(routes, scale), organisation=f"{routes.organisation} ({MARK})")


def write_history(
    database: Database,
    org: str,
    routes: Routes,
    plan: Plan,
    progress: Callable[[date, int], None] = lambda _day, _days: None,
) -> Written:
    """Write what is missing of the company's history, a day in a transaction. Blocks.

    `routes` are those of `company_rules`. Books that have a part of the history are continued.
    `progress` is told each day before it is written, and how many days there are in all. Raises
    ConfigurationError when the books have entries of anybody else, or routes.yaml none of the
    company's jobs; DatabaseDown.
    """
    histories = Histories(org, database.engine_name)
    zone = routes.time_zone
    today = to_datetime(plan.now).astimezone(zone).date()
    start = _before(today, plan.months)
    fresh = History(midnight(_before(today, STORY_MONTHS), zone), midnight(start, zone))
    with database.writing() as cursor:
        history = histories.find(cursor) or fresh
        company = _company(routes, plan, history, {})
        if history is fresh:
            histories.begin(cursor, history)
    company = _company(routes, plan, history, _keys(database, org, company, history))
    calendar = Calendar(routes.time_zone, routes.week_starts, routes.fiscal_year_starts)
    posting = FinishedAttempts(org, database.engine_name, calendar, routes.budgets, MARK)
    first = to_datetime(history.until).astimezone(routes.time_zone).date()
    written = Written(first, today)
    for day in _days(first, today):
        progress(day, (today - first).days + 1)
        batch = [a for a in company.day(day) if _is_wanted(a, history, plan.now)]
        if batch:
            with database.writing() as cursor:
                written.add(posting.post(cursor, batch))
                histories.reached(cursor, batch[-1].admitted_at + 1)
    if database.is_sqlite:
        database.checkpoint("TRUNCATE")
    return written


def write_with_progress(database: Database, org: str, routes: Routes, plan: Plan) -> Written:
    """The same, with a bar on standard error when a person is looking."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} days"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not interactive(),
    ) as bar:
        task = bar.add_task("writing a synthetic history", total=None)

        def told(_day: date, days: int) -> None:
            bar.update(task, total=days, advance=1)

        return write_history(database, org, routes, plan, told)


def _company(routes: Routes, plan: Plan, history: History, keys: Mapping[str, str]) -> Company:
    origin = to_datetime(history.origin).astimezone(routes.time_zone).date()
    try:
        return Company(routes, origin, seed=plan.seed, scale=plan.scale, keys=keys)
    except ValueError as error:
        raise ConfigurationError([str(error)]) from None


def _keys(database: Database, org: str, company: Company, history: History) -> dict[str, str]:
    """The ids of the keys of the company's apps, which are made if they are not there yet."""
    registry = Registry(database, org, FrozenClock(to_text(history.until)))
    keys = {row["app"]: row["id"] for row in registry.all()}
    for app, team in company.apps.items():
        if app not in keys:
            jobs = tuple(dict.fromkeys(w.job for w in company.workloads if w.app == app))
            new = NewKey(team=team, app=app, jobs=jobs)
            keys[app] = registry.create(new, typed_by())[0]
    return keys


def _is_wanted(attempt: Finished, history: History, now: int) -> bool:
    return attempt.admitted_at >= history.until and attempt.recorded_at <= now


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _before(day: date, months: int) -> date:
    """The same day so many months before; the 28th for what is later than that."""
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, min(day.day, 28))
