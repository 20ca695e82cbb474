"""Budgets: how each stands, where it will end, who spends it; and raising one, with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from gateway.errors import ConfigurationError, NotFound
from gateway.insight.outlooks import Outlook
from gateway.jobs.routes import Scope
from gateway.ledger.queries import Range
from gateway.ledger.spending import Spending
from gateway.treasury.periods import SHORT_PERIODS
from gateway.treasury.raises import Raise, budget_to_raise, parse_amount
from gateway.treasury.standing import Standing
from gateway.web.foresight import Foresight
from gateway.web.pages import Html, Page, Redirect, Visit, link
from gateway.web.selections import behind
from gateway.web.sources import Sources
from gateway.web.spans import end_of_day
from gateway.web.trends import Point, by_day, foretold

ONE = "/budgets/one"
_SUMS = {"usd": "nanos", "tokens": "tokens", "requests": "requests"}
"""What a budget counts, as the sums of hours name it."""
_REASON_AT_MOST = 500
_SUBJECTS, _SUBJECTS_ALONE = 8, 200
"""Subjects of one budget, such as runs, that are shown beside others, and alone: the fullest."""


@dataclass(frozen=True, slots=True)
class Line:
    """One budget in the list."""

    standing: Standing
    outlook: Outlook | None

    @property
    def place(self) -> str:
        """Where its own page is."""
        return budget_link(self.standing.budget, self.standing.subject)

    @property
    def used(self) -> int:
        """What is spent of the limit, in millionths."""
        return self.standing.spent * 1_000_000 // max(1, self.standing.limit)

    @property
    def state(self) -> str:
        """In a word: over, full, tight, or nothing to say."""
        standing = self.standing
        if standing.spent > standing.limit:
            return "over"
        if standing.left <= 0:
            return "full"
        return "tight" if standing.spent * 5 >= standing.limit * 4 else ""


def budget_link(name: str, subject: str) -> str:
    """Where a budget's own page is."""
    return link(ONE, name=name, subject=subject)


class Budgets:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources, foresight: Foresight) -> None:
        self._sources, self._foresight = sources, foresight
        self._spending = Spending(sources.database, sources.org)

    def listed(self, visit: Visit) -> Html:
        """All of them; the forecasts come later, unless they are there."""
        known = self._foresight.known("budget")
        return Html("budgets.html", self._table(visit, known))

    def ahead(self, visit: Visit) -> Html:
        """The table again, with the forecasts."""
        return Html("budget_lines.html", self._table(visit, self._foresight.made("budget")))

    def _table(self, visit: Visit, known: Iterable[Outlook] | None) -> dict[str, Any]:
        """The lines, those of one budget together, and how many more subjects each has."""
        only = visit.query.get("name", "")
        at_most = _SUBJECTS_ALONE if only else _SUBJECTS
        groups: dict[str, list[Line]] = {}
        for line in self._lines(visit, known):
            if only in ("", line.standing.budget):
                groups.setdefault(line.standing.budget, []).append(line)
        for lines in groups.values():
            lines.sort(key=lambda line: (-line.used, line.standing.subject))
        shown = [(name, lines[:at_most], len(lines[at_most:])) for name, lines in groups.items()]
        return {"groups": shown, "known": known is not None, "only": only}

    def one(self, visit: Visit) -> Html:
        """One of them."""
        return self._one(visit, visit.query.get("name", ""), visit.query.get("subject", ""))

    def grant(self, visit: Visit) -> Html | Redirect:
        """Raise one until the end of a day."""
        form = visit.form
        name, subject = form.get("budget", ""), form.get("subject", "")
        try:
            budget = budget_to_raise(self._sources.desk.budgets(), name, subject)
            self._sources.raises.grant(
                budget.name,
                subject,
                parse_amount(form.get("amount", ""), budget),
                until=end_of_day(visit, form.get("until", ""), "until"),
                reason=_reason(form),
                by=visit.by,
            )
        except ConfigurationError as error:
            return self._one(visit, name, subject, "; ".join(error.problems))
        return Redirect(budget_link(name, subject), f"The budget {name} is raised.")

    def end(self, visit: Visit) -> Html | Redirect:
        """End a raise before its time."""
        name, subject = visit.form.get("budget", ""), visit.form.get("subject", "")
        try:
            self._sources.raises.withdraw(
                visit.path["raise_id"], reason=_reason(visit.form), by=visit.by
            )
        except ConfigurationError as error:
            return self._one(visit, name, subject, "; ".join(error.problems))
        return Redirect(budget_link(name, subject), "The raise has ended.")

    def _lines(self, visit: Visit, known: Iterable[Outlook] | None) -> list[Line]:
        seen = self._sources.desk.sees(visit.principal)
        ahead = {(one.name, one.subject): one for one in known or ()}
        return [
            Line(standing, ahead.get((standing.budget, standing.subject)))
            for standing in self._sources.desk.standings()
            if seen(standing.budget, standing.subject)
        ]

    def _one(self, visit: Visit, name: str, subject: str, problem: str = "") -> Html:
        lines = self._lines(visit, self._foresight.known("budget"))
        wanted = [
            line
            for line in lines
            if line.standing.budget == name and line.standing.subject == subject
        ]
        if not wanted:
            raise NotFound(f"there is no budget {name[:64]!r} for {subject[:64] or 'all'!r}")
        line = wanted[0]
        budget = {known.name: known for known in self._sources.desk.budgets()}.get(name)
        scope = budget.scope if budget is not None else Scope("key", subject)
        where = columns_of(scope, subject)
        calendar = self._sources.calendar()
        starts_at = calendar.bounds(line.standing.period, visit.now)[0]
        values: dict[str, Any] = {
            "line": line,
            "standing": line.standing,
            "budget": budget,
            "known": self._foresight.known("budget") is not None,
            "starts_at": starts_at,
            "raises": _raises(self._sources, name, subject),
            "problem": problem,
            "entered": visit.form,
            "points": [],
            "members": [],
            "entries": _entries(visit, scope, subject, starts_at),
            "tomorrow": visit.say.local(visit.now).date() + timedelta(days=1),
        }
        if where is not None and line.standing.period not in (*SHORT_PERIODS, "forever"):
            values |= self._spent(visit, line, where, starts_at)
        return Html("budget.html", values, 400 if problem else 200)

    def _spent(
        self, visit: Visit, line: Line, where: dict[str, str], starts_at: int
    ) -> dict[str, Any]:
        """Who spent it, and day by day what is left."""
        period = Range(starts_at, visit.now + 1)
        hours = self._spending.hourly(period, "job", where)
        sums = by_day(hours, visit.say, since=starts_at, name=_SUMS[line.standing.unit])
        cube = self._spending.cube(period, where)
        members = [(name, cube.by(name)) for name in ("team", "app", "job") if name not in where]
        return {"points": _burning_down(visit, line, sums, starts_at), "members": members}


def budgets_pages(sources: Sources, foresight: Foresight) -> list[Page]:
    """The pages of this room."""
    budgets = Budgets(sources, foresight)
    return [
        Page("GET", "/budgets", budgets.listed),
        Page("GET", "/parts/budgets", budgets.ahead),
        Page("GET", ONE, budgets.one),
        Page("POST", "/budgets/raises", budgets.grant),
        Page("POST", "/budgets/raises/{raise_id}/end", budgets.end),
    ]


def columns_of(scope: Scope, subject: str) -> dict[str, str] | None:
    """The dimension of the roll-ups that a scope is; None where they do not know it."""
    if scope.kind == "organisation":
        return {}
    if scope.kind in ("team", "app", "job"):
        return {scope.kind: subject}
    return {"stage": subject} if scope.tag == "stage" else None


def _burning_down(visit: Visit, line: Line, sums: dict[date, int], starts_at: int) -> list[Point]:
    """What was left at the end of each day, beside an even pace; the last is what is left now.

    It is reckoned backwards from the balance: what was spent before the budget was there is not
    a part of it. Where all that was spent is, a refund may leave more than the limit.
    """
    standing, say = line.standing, visit.say
    today, first = say.local(visit.now).date(), say.local(starts_at).date()
    last = say.local(standing.ends_at - 1).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    left = standing.limit - standing.spent
    counts_all = standing.spent == sum(sums.values())
    at_end: dict[date, int] = {}
    for day in (day for day in reversed(days) if day <= today):
        at_end[day] = left
        left += sums.get(day, 0)
        if not counts_all:
            left = min(standing.limit, left)
    even = [standing.limit - standing.limit * (n + 1) // len(days) for n in range(len(days))]
    points = [Point(day, at_end.get(day), pace) for day, pace in zip(days, even, strict=True)]
    if line.outlook is None:
        return points
    told = line.outlook.forecast
    ends = tuple(standing.limit - amount for amount in (told.p90, told.p50, told.p10))
    return foretold(points, today, at_end[today], (ends[0], ends[1], ends[2]))


def _raises(sources: Sources, name: str, subject: str) -> list[tuple[Raise, bool]]:
    """Every raise of a budget for a subject, the newest first, and whether it was ended early."""
    rows = [r for r in sources.raises.all() if r.budget == name and r.subject in ("", subject)]
    ended = {row.withdraws for row in rows}
    return [(row, row.id in ended) for row in reversed(rows) if not row.withdraws]


def _entries(visit: Visit, scope: Scope, subject: str, starts_at: int) -> str:
    """A link to the entries that a budget counts."""
    first = max(visit.say.local(starts_at).date(), date(1971, 1, 1)).isoformat()
    today = visit.say.local(visit.now).date().isoformat()
    days = {"from": first, "to": today}
    if scope.kind == "organisation":
        return link("/requests", **days)
    if scope.kind == "tag" and scope.tag != "stage":
        return link("/requests", tag=f"{scope.tag}={subject}", **days)
    name = {"key": "key_id", "tag": "stage"}.get(scope.kind, scope.kind)
    return behind(name, subject, **days)


def _reason(form: Mapping[str, str]) -> str:
    reason = form.get("reason", "")
    if not reason.isprintable() or len(reason) > _REASON_AT_MOST:
        raise ConfigurationError([f"reason: one line of at most {_REASON_AT_MOST} characters"])
    return reason
