"""Which budgets a request is in the scope of, and for whom each of them counts.

A budget over the organisation, or over one named team, app, key, job or tag value, has one
balance in a period. A budget over "each team" (or app, key, job, tag value) has one for each.
Scopes follow the key and the job that was picked; of what the caller says, only declared tags
count, and they can only put a request under more budgets, never under fewer (law 12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.jobs.routes import Budget
from gateway.treasury.decisions import Line
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import NO_RAISES, Raises


class Payer(msgspec.Struct, frozen=True):
    """Whom a request is charged to: all that a budget's scope can ask for."""

    team: str
    app: str
    key_id: str
    job: str
    tags: Mapping[str, str]


class Amounts(msgspec.Struct, frozen=True):
    """The most that a request can use, in each unit of a budget."""

    nanos: int
    tokens: int
    requests: int

    def of(self, unit: str) -> int:
        """Nano-dollars, tokens or requests."""
        if unit == "usd":
            return self.nanos
        return self.tokens if unit == "tokens" else self.requests


def in_scope(budgets: Sequence[Budget], payer: Payer) -> list[tuple[Budget, str]]:
    """The budgets that this payer is under, each with the subject it counts for."""
    found = []
    for budget in budgets:
        subject = _subject(budget, payer)
        if subject is not None:
            found.append((budget, subject))
    return found


def lines(
    scoped: Sequence[tuple[Budget, str]],
    amounts: Amounts,
    calendar: Calendar,
    now: int,
    raises: Raises = NO_RAISES,
) -> list[Line]:
    """What the request wants of each balance, in the periods and with the raises of `now`."""
    wanted = []
    for budget, subject in scoped:
        starts_at, ends_at = calendar.bounds(budget.period, now)
        raised = raises.of(budget.name, subject, now) if raises else 0
        wanted.append(Line(budget, subject, starts_at, ends_at, amounts.of(budget.unit), raised))
    return wanted


def _subject(budget: Budget, payer: Payer) -> str | None:
    """Empty for the organisation, a name for the rest, None when the budget does not apply."""
    scope = budget.scope
    if scope.kind == "organisation":
        return ""
    if scope.kind == "tag":
        actual = payer.tags.get(scope.tag or "")
    elif scope.kind == "team":
        actual = payer.team
    elif scope.kind == "app":
        actual = payer.app
    elif scope.kind == "key":
        actual = payer.key_id
    else:
        actual = payer.job
    if not actual or (scope.value is not None and scope.value != actual):
        return None
    return actual
