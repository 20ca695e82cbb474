"""Budgets: how each stands, where it will end, who spends it; and raising one, with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from gateway.errors import ConfigurationError, NotFound
from gateway.insight.outlooks import Outlook
from gateway.jobs.routes import Scope
from gateway.ledger.queries import Range
from gateway.treasury.periods import SHORT_PERIODS
from gateway.treasury.raises import Raise, budget_to_raise, parse_amount
from gateway.treasury.standing import Standing
from gateway.web.budget_lists import ONE, Line, budget_link, budget_lists, seen_by
from gateway.web.foresight import Foresight
from gateway.web.pages import Html, Page, Redirect, Visit, link
from gateway.web.selections import behind
from gateway.web.sources import Sources
from gateway.web.spans import end_of_day
from gateway.web.trends import Point, by_day, foretold

_SUMS = {"usd": "nanos", "tokens": "tokens", "requests": "requests"}
"""What a budget counts, as the sums of hours name it."""
_REASON_AT_MOST = 500


class Budgets:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources, foresight: Foresight) -> None:
        self._sources, self._foresight = sources, foresight
        self._spending = sources.spending

    def one(self, visit: Visit) -> Html:
        """One of them."""
        return self._one(visit, visit.query.get("name", ""), visit.query.get("subject", ""))

    def ahead(self, visit: Visit) -> Html:
        """How it stands again, with its forecast."""
        name, subject = visit.query.get("name", ""), visit.query.get("subject", "")
        standing = self._standing(visit, name, subject)
        known = self._foresight.made_of([standing])
        return Html("budget_stands.html", self._figures(visit, standing, known))

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

    def _one(self, visit: Visit, name: str, subject: str, problem: str = "") -> Html:
        standing = self._standing(visit, name, subject)
        values = self._figures(visit, standing, self._foresight.known_of([standing]))
        values |= {
            "raises": _raises(self._sources, name, subject),
            "problem": problem,
            "entered": visit.form,
            "tomorrow": visit.say.local(visit.now).date() + timedelta(days=1),
        }
        return Html("budget.html", values, 400 if problem else 200)

    def _standing(self, visit: Visit, name: str, subject: str) -> Standing:
        """How one stands. Raises NotFound for what is not there, or not the visitor's business."""
        seen = seen_by(visit, self._sources, name) if name else []
        standing = next((one for one in seen if one.subject == subject), None)
        if standing is None:
            raise NotFound(f"there is no budget {name[:64]!r} for {subject[:64] or 'all'!r}")
        return standing

    def _figures(
        self, visit: Visit, standing: Standing, known: Mapping[Any, Outlook] | None
    ) -> dict[str, Any]:
        """How it stands, where it will end if that is known, and who is in it."""
        line = Line(standing, next(iter((known or {}).values()), None))
        budgets = {budget.name: budget for budget in self._sources.desk.budgets()}
        budget = budgets.get(standing.budget)
        scope = budget.scope if budget is not None else Scope("key", standing.subject)
        where = columns_of(scope, standing.subject)
        starts_at = self._sources.calendar().bounds(standing.period, visit.now)[0]
        values: dict[str, Any] = {
            "line": line,
            "standing": standing,
            "known": known is not None,
            "budget": budget,
            "points": [],
            "members": [],
            "entries": _entries(visit, scope, standing.subject, starts_at),
        }
        if where is not None and standing.period not in (*SHORT_PERIODS, "forever"):
            values |= self._spent(visit, line, where, starts_at)
        return values

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
        *budget_lists(sources, foresight),
        Page("GET", ONE, budgets.one),
        Page("GET", "/parts/budget", budgets.ahead),
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
